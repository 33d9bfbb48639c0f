"""The registry's working minimum by the API: vendors, apps, clients, certification, installation (S3; C1, C2, C9, C15, C111, C144, C146)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.faults import SENTENCES
from tests.flows.control_site import TRACE, ControlSite, codes, problem
from tests.flows.vendor_ground import FUTURE, SCOPE, made, register
from tests.sim.one_world import in_one_world


def client_body(app: str, version: str, **change: Any) -> dict[str, Any]:
    return {
        "app": app,
        "version": version,
        "client_name": "Viewer",
        "client_type": "public",
        "deployment": "browser",
        "redirect_uris": ["https://app.example/cb"],
        "launch_url": "https://app.example/launch",
        "scope": SCOPE,
    } | change


def registered(site: ControlSite) -> tuple[Any, Any]:
    """Return an app and its version, which root has registered."""
    return site.furnished_once("registered by root", lambda: register(site.api("root")))


def test_a_version_declares_workflows_and_placements_of_the_policy(site: ControlSite) -> None:
    """C18, C191."""
    root = site.api("root")
    app, undeclared = registered(site)
    path = f"/apps/{app['id']}/versions"

    declared = made(
        root.post(path, json={"label": "2", "workflows": ["outreach"], "placements": ["note", "banner"]})
    )
    none = made(root.post(path, json={"label": "3", "workflows": [], "placements": []}))
    both = {"label": "4", "workflows": ["surgery"], "placements": ["*", "note"]}
    found = problem(root.post(path, json=both), 422, "version_invalid")

    assert (undeclared["workflows"], undeclared["placements"]) == (["*"], ["*"])
    assert (declared["workflows"], declared["placements"]) == (["outreach"], ["note", "banner"])
    assert (none["workflows"], none["placements"]) == ([], [])
    assert codes(found) == {
        "workflows": "workflow_unknown",
        "placements": "placement_unknown",
    }
    listed = root.get(path).json()["items"]
    assert [each["label"] for each in listed] == ["3", "2", "1.0"]


def test_an_app_moves_to_another_category_and_is_certified_for_what_is_new_there(site: ControlSite) -> None:
    """C21."""
    root, rita = site.api("root"), site.api("rita")
    app, version = registered(site)
    path = f"/apps/{app['id']}/category"
    scopes = ["launch", "patient/Observation.rs", "user/Goal.cu", "user/MedicationRequest.cu"]
    ends = (site.clock.now() + timedelta(days=100)).isoformat()
    certificate = {"version": version["id"], "environment": "sandbox", "scopes": scopes, "expires_at": ends}
    made(rita.post("/certifications", json=certificate))

    moved = rita.post(path, json={"category": "order_entry", "reason": "it writes orders"})

    assert moved.status_code == 200, moved.text
    (what,) = moved.json()["certifications"]
    assert moved.json()["app"]["category"] == "order_entry"
    assert what["tiers"]["private_key_jwt"].startswith("high, because its category is order entry")
    assert (what["certify_again"], what["not_allowed"]) == (["user/MedicationRequest.cu"], ["user/Goal.cu"])
    assert root.get(f"/apps/{app['id']}").json()["category"] == "order_entry"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"category": "games", "reason": "x"}, {"category": "category_unknown"}),
        ({"category": "unclassified", "reason": "x"}, {"category": "category_closed"}),
        ({"category": "sandbox_trial", "reason": "x"}, {"category": "category_closed"}),
        ({"category": "care_recommendations", "reason": "x"}, {"category": "category_unchanged"}),
        ({"category": "order_entry", "reason": " "}, {"reason": "reason_missing"}),
    ],
)
def test_a_move_that_cannot_be_is_refused_and_moves_nothing(
    site: ControlSite, body: dict[str, str], fields: dict[str, str]
) -> None:
    root = site.api("root")
    app, _ = registered(site)

    found = problem(root.post(f"/apps/{app['id']}/category", json=body), 422, "category_invalid")

    assert codes(found) == fields
    assert root.get(f"/apps/{app['id']}").json()["category"] == "care_recommendations"


def test_a_hospitals_ehr_gets_no_category_and_nobody_else_moves_an_app(site: ControlSite) -> None:
    root = site.api("root")
    app, _ = registered(site)
    body = {"category": "order_entry", "reason": "x"}

    for name in ("sam", "gina"):
        assert site.api(name).post(f"/apps/{app['id']}/category", json=body).status_code == 403
    assert root.post("/apps/app_nowhere/category", json=body).status_code == 404


def test_an_app_goes_from_registration_to_installation_by_three_peoples_words(site: ControlSite) -> None:
    """C111: registering, certifying and installing are separate decisions by different roles."""
    root, rita, gina = site.api("root"), site.api("rita"), site.api("gina")
    app, version = registered(site)
    client = made(root.post("/clients", json=client_body(app["id"], version["id"])))
    certificate = {
        "version": version["id"],
        "environment": "sandbox",
        "scopes": SCOPE.split(),
        "expires_at": FUTURE,
    }
    problem(root.post("/certifications", json=certificate), 403, "not_permitted")
    certified = made(rita.post("/certifications", json=certificate))
    wish = {
        "tenant": "general",
        "app": app["id"],
        "roles": ["physician"],
        "scopes": ["openid", "patient/Observation.rs"],
    }
    problem(root.post("/installations", json=wish), 403, "not_permitted")
    problem(site.api("carl").post("/installations", json=wish), 403, "not_permitted")

    installed = made(gina.post("/installations", json=wish))

    assert (client["client_secret"], client["origins"]) == (None, ["https://app.example"])
    assert [each["id"] for each in made(gina.get("/installations"), 200)["items"]] == [installed["id"]]
    assert made(site.api("carl").get("/installations"), 200)["items"] == []
    problem(site.api("carl").get("/installations?tenant=general"), 403, "not_permitted")
    problem(gina.post("/installations", json=wish), 409, "already_installed")
    narrowed = made(gina.patch(f"/installations/{installed['id']}", json={"scopes": ["openid"]}), 200)
    assert narrowed["scopes"] == ["launch", "openid", "fhirUser"], "it can still be launched"
    problem(
        gina.patch(f"/installations/{installed['id']}", json={"scopes": ["patient/*.rs"]}),
        422,
        "installation_invalid",
    )
    problem(site.api("carl").delete(f"/installations/{installed['id']}"), 404, "installation_not_found")
    assert made(gina.delete(f"/installations/{installed['id']}"), 200)["removed_at"]
    assert made(rita.delete(f"/certifications/{certified['id']}"), 200)["withdrawn_at"]
    problem(gina.post("/installations", json=wish), 422, "installation_invalid")
    assert len(made(gina.get(f"/apps/{app['id']}/certifications"), 200)["items"]) == 1


def test_scopes_that_cannot_be_installed_are_listed_with_those_that_can(site: ControlSite) -> None:
    """C147: whoever installs an app learns which of the scopes are not certified, and which are."""
    rita, gina = site.api("rita"), site.api("gina")
    app, version = registered(site)
    certificate = {"version": version["id"], "environment": "sandbox", "expires_at": FUTURE}
    wish = {"tenant": "general", "app": app["id"], "roles": ["physician"]}
    none = problem(gina.post("/installations", json=wish), 422, "installation_invalid")
    made(rita.post("/certifications", json=certificate | {"scopes": ["openid", "patient/Observation.rs"]}))
    asked = {"scopes": ["openid", "patient/Observation.rs", "patient/Observation.c", "user/Patient.rs"]}

    beyond = problem(gina.post("/installations", json=wish | asked), 422, "installation_invalid")
    faulty = problem(
        gina.post("/installations", json=wish | {"roles": ["wizard"]}), 422, "installation_invalid"
    )
    seen = made(gina.get(f"/apps/{app['id']}/certifications"), 200)
    installed = made(gina.post("/installations", json=wish | {"scopes": ["openid"]}))
    wider = gina.patch(
        f"/installations/{installed['id']}", json={"scopes": ["openid", "patient/Observation.rs"]}
    )

    assert "No version of the app is certified" in none["detail"]
    sentence = (
        "Not certified: patient/Observation.c, user/Patient.rs. Certified: openid, patient/Observation.rs."
    )
    assert sentence in beyond["detail"]
    assert "ertified" not in faulty["detail"], "nothing is wrong with its scopes"
    assert [each["scopes"] for each in seen["items"]] == [["openid", "patient/Observation.rs"]]
    narrowed = problem(wider, 422, "installation_invalid")["detail"]
    assert "Not installed: patient/Observation.rs. Installed: openid." in narrowed


@in_one_world(
    ("change", "fields"),
    [
        ({"redirect_uris": ["http://app.example/cb"]}, {"redirect_uris": "redirect_not_https"}),
        ({"redirect_uris": ["https://*.example/cb"]}, {"redirect_uris": "redirect_wildcard"}),
        ({"redirect_uris": ["https://app.example/#"]}, {"redirect_uris": "redirect_fragment"}),
        ({"redirect_uris": ["https://u@app.example/"]}, {"redirect_uris": "redirect_userinfo"}),
        ({"redirect_uris": ["https://10.0.0.1/"]}, {"redirect_uris": "redirect_ip_host"}),
        ({"redirect_uris": ["com.example.app:/cb"]}, {"redirect_uris": "redirect_private_scheme_not_native"}),
        ({"redirect_uris": []}, {"redirect_uris": "redirect_missing"}),
        ({"client_type": "confidential-symmetric"}, {"token_endpoint_auth_method": "confidential_on_device"}),
        ({"deployment": "server"}, {"token_endpoint_auth_method": "server_must_authenticate"}),
        ({"scope": "system/*.rs patient/*.rs"}, {"scope": "scope_mixed"}),
        ({"scope": "patient/Observation.sr"}, {"scope": "scope_letters"}),
        ({"jwks": {"keys": []}}, {"jwks": "keys_unexpected"}),
        ({"client_name": " "}, {"client_name": "name_missing"}),
    ],
)
def test_bad_metadata_is_refused_with_the_field_codes_of_dynamic_registration(
    site: ControlSite, change: dict[str, Any], fields: dict[str, str]
) -> None:
    """C1, C2, C15, C16."""
    root = site.api("root")
    app, version = registered(site)

    refused = problem(
        root.post("/clients", json=client_body(app["id"], version["id"], **change)), 422, "client_invalid"
    )

    assert fields.items() <= codes(refused).items()
    if "deployment" in change or change.get("client_type"):
        return
    body = {
        "client_name": "Viewer",
        "token_endpoint_auth_method": "none",
        "redirect_uris": ["https://app.example/cb"],
    } | change

    def dynamic(ctx: Any) -> Any:
        return installations.register_dynamically(ctx, TenantId("general"), body)

    with pytest.raises(Invalid) as same:
        site.uow.write_now(dynamic, actor=SYSTEM, trace=TRACE)
    assert fields.items() <= same.value.fields.items()


def test_a_secret_is_shown_once_and_rotated_with_overlap(site: ControlSite) -> None:
    """C9."""
    root = site.api("root")
    app, version = registered(site)
    body = client_body(app["id"], version["id"], client_type="confidential-symmetric", deployment="server")
    client = made(root.post("/clients", json=body))

    rotated = made(root.post(f"/clients/{client['id']}/secret", json={"overlap_s": 60}), 200)
    shown = root.get(f"/clients/{client['id']}").text

    assert client["client_secret"].startswith("hil_cs_")
    assert client["client_secret"] != rotated["client_secret"]
    assert [client["client_secret"] in shown, rotated["client_secret"] in shown, "digest" in shown] == [
        False
    ] * 3
    assert (
        min(str(each["expires_at"]) for each in root.get(f"/clients/{client['id']}").json()["secrets"])
        < "2026-03-02T09:01:01"
    )
    problem(root.post(f"/clients/{client['id']}/secret", json={"overlap_s": 10**9}), 422, "fields_invalid")
    problem(site.api("gina").post(f"/clients/{client['id']}/secret", json={}), 403, "not_permitted")


def test_an_administrator_keeps_the_system_clients_of_the_own_tenant(site: ControlSite) -> None:
    """C37."""
    gina = site.api("gina")

    asked = made(
        gina.post("/tenants/general/system-clients", json={"client_type": "ehr", "client_name": "EHR"}), 202
    )
    ehr = made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)

    assert asked["secret_start"].startswith("hil_cs_")
    assert made(gina.get(f"/clients/{ehr['target']}"), 200)["type"] == "ehr"
    problem(
        gina.post("/tenants/children/system-clients", json={"client_type": "ehr", "client_name": "EHR"}),
        403,
        "not_permitted",
    )
    problem(
        gina.post("/tenants/nowhere/system-clients", json={"client_type": "ehr", "client_name": "EHR"}),
        404,
        "tenant_not_found",
    )
    problem(
        gina.post("/tenants/general/system-clients", json={"client_type": "public", "client_name": "X"}),
        422,
        "client_invalid",
    )
    problem(site.api("carl").get(f"/clients/{ehr['target']}"), 404, "client_not_found")


def test_an_app_is_suspended_with_a_reason_and_resumed(site: ControlSite) -> None:
    root, sam = site.api("root"), site.api("sam")
    app, _ = registered(site)

    assert (
        made(sam.post(f"/apps/{app['id']}/suspend", json={"reason": "findings"}), 200)["state"] == "suspended"
    )
    problem(sam.post(f"/apps/{app['id']}/suspend", json={"reason": "again"}), 409, "app_state_unchanged")
    problem(sam.post(f"/apps/{app['id']}/resume", json={"reason": " "}), 422, "reason_invalid")
    problem(site.api("gina").post(f"/apps/{app['id']}/suspend", json={"reason": "x"}), 403, "not_permitted")

    assert made(root.post(f"/apps/{app['id']}/resume", json={"reason": "cleared"}), 200)["state"] == "active"


def test_tenants_and_people_are_kept_by_those_who_may(site: ControlSite) -> None:
    """C144, C145."""
    root, gina, carl = site.api("root"), site.api("gina"), site.api("carl")
    body = {
        "id": "clinic",
        "name": "Clinic",
        "sandbox": True,
        "upstream": {"kind": "http", "url": "https://fhir.example", "authorization": "Basic x"}
        | {"public_url": "https://public.example/r4", "attachment_hosts": ["images.example"]},
    }
    problem(gina.post("/tenants", json=body), 403, "not_permitted")
    tenant = made(root.post("/tenants", json=body))
    assert (tenant["upstream_url"], "sealed" in str(tenant), "Basic" in str(tenant)) == (
        "https://fhir.example",
        False,
        False,
    )
    assert tenant["upstream_public_url"] == "https://public.example/r4"
    assert tenant["attachment_hosts"] == ["images.example"]
    problem(root.post("/tenants", json=body), 409, "tenant_exists")
    problem(root.post("/tenants", json=body | {"id": "Bad Id"}), 422, "tenant_invalid")
    real = problem(root.post("/tenants", json=body | {"id": "real", "sandbox": False}), 422, "tenant_invalid")
    assert real["fields"]["sandbox"]["code"] == "real_in_sandbox", "a sandbox must start again"
    problem(
        root.post(
            "/tenants", json=body | {"id": "c2", "upstream": {"kind": "http", "url": "http://fhir.example"}}
        ),
        422,
        "tenant_invalid",
    )
    assert {each["id"] for each in made(root.get("/tenants"), 200)["items"]} == {
        "general",
        "children",
        "mercy",
        "clinic",
    }
    assert [each["id"] for each in made(carl.get("/tenants"), 200)["items"]] == ["children"]
    problem(carl.get("/tenants/general"), 404, "tenant_not_found")
    problem(site.api("ann").get("/tenants"), 403, "not_permitted")
    assert made(gina.patch("/tenants/general", json={"name": "G"}), 200)["name"] == "G"
    problem(gina.patch("/tenants/general", json={"active": False}), 403, "not_permitted")

    person = {
        "tenant": "general",
        "username": "new",
        "name": "New",
        "role": "nurse",
        "fhir_user": "Practitioner/9",
    }
    problem(carl.post("/people", json=person), 403, "not_permitted")
    new = made(gina.post("/people", json=person))
    problem(gina.post("/people", json=person), 409, "username_taken")
    problem(gina.post("/people", json=person | {"username": "x", "role": "king"}), 422, "person_invalid")
    problem(gina.post("/people", json=person | {"tenant": None, "role": "security"}), 403, "not_permitted")
    assert "new" in {each["username"] for each in made(gina.get("/people?tenant=general"), 200)["items"]}
    problem(carl.get("/people?tenant=general"), 403, "not_permitted")
    problem(gina.get("/people"), 403, "not_permitted")
    problem(carl.get(f"/people/{new['id']}"), 404, "person_not_found")
    problem(carl.delete(f"/people/{new['id']}"), 404, "person_not_found")
    assert made(gina.delete(f"/people/{new['id']}"), 200)["active"] is False


@in_one_world(
    ("method", "path", "body"),
    [
        ("POST", "/vendors", {"name": "x"}),
        ("POST", "/vendors", {"name": "x", "support_contact": "a", "security_contact": "b", "extra": 1}),
        ("POST", "/vendors", {"name": "a\x00", "support_contact": "a", "security_contact": "b"}),
        ("POST", "/vendors", [1]),
        ("POST", "/vendors", "x"),
        ("POST", "/vendors", None),
        (
            "POST",
            "/apps",
            {"vendor": "a\x00b", "name": "x", "description": "d", "purpose": "p", "category": "scheduling"},
        ),
        (
            "POST",
            "/apps",
            {"vendor": "v", "name": "x", "description": "a\x00", "purpose": "p", "category": "scheduling"},
        ),
        (
            "POST",
            "/clients",
            {
                "app": "a",
                "version": "v",
                "client_name": "x",
                "client_type": "telepathic",
                "deployment": "browser",
            },
        ),
        (
            "POST",
            "/clients",
            {
                "app": "a",
                "version": "v",
                "client_name": "x",
                "client_type": "public",
                "deployment": "browser",
                "expires_at": "2026-01-01",
            },
        ),
        (
            "POST",
            "/certifications",
            {"version": "v", "environment": "sandbox", "scopes": ["a b"], "expires_at": FUTURE},
        ),
        ("POST", "/installations", {"tenant": "../x", "app": "a"}),
        ("POST", "/installations", {"tenant": "general", "app": "a", "roles": "physician"}),
        ("GET", "/apps?after=%00", None),
        ("GET", "/apps?surprise=1", None),
        ("GET", "/apps/%00", None),
        ("GET", "/people?tenant=%27", None),
        ("PATCH", "/tenants/general", {"moved_reads": "sometimes"}),
        ("POST", "/switches", {"kind": "app", "key": "x\x00", "reason": "y"}),
        ("PUT", "/quotas/a/b", {"rate_per_s": 0, "burst": 1}),
        ("PUT", "/quotas/a/b", {"rate_per_s": 1e308, "burst": 1}),
    ],
)
def test_invalid_input_is_reported_by_field_and_never_fails_us(
    site: ControlSite, method: str, path: str, body: Any
) -> None:
    """Contract, Errors: unknown fields are refused, never a 500 for input."""
    by = {"/certifications": "rita", "/installations": "gina"}.get(path, "root")
    answer = site.api(by).request(method, path, json=body)

    assert set(codes(problem(answer, 422, "fields_invalid")).values()) <= set(SENTENCES)


def test_a_body_that_is_not_json_is_refused_as_such(site: ControlSite) -> None:
    root = site.api("root")

    for body in (b"{", b"\xff", b'{"name": NaN}', b"[" * 10_000):
        answer = root.post("/vendors", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in {400, 422}, answer.text


def test_a_tenants_own_vendors_are_seen_there_and_by_staff_only(site: ControlSite) -> None:
    """C145: what another hospital calls its EHR, and that it has one, is its own business."""
    register(site.api("root"))
    wish = {"client_type": "ehr", "client_name": "Ward system"}
    asked = made(site.api("carl").post("/tenants/children/system-clients", json=wish), 202)
    made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)

    def names(username: str) -> list[str]:
        return sorted(each["name"] for each in made(site.api(username).get("/vendors"), 200)["items"])

    assert names("gina") == ["Vendor"]
    assert names("carl") == names("root") == ["Vendor", "Ward system"]
