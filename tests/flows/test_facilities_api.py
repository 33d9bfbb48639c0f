"""Facilities and the record of an approval by the API and by its callers (C97, C145, C146, C147)."""

from typing import Any

from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.use_ground import EAST
from tests.flows.vendor_ground import FUTURE, SCOPE, made, register
from tests.sim.one_world import in_one_world


def certified(site: ControlSite) -> str:
    app, version = register(site.api("root"))
    order = {"version": version["id"], "environment": "sandbox", "scopes": SCOPE.split()}
    made(site.api("rita").post("/certifications", json=order | {"expires_at": FUTURE}))
    return str(app["id"])


def test_a_hospital_limits_an_app_to_a_facility_and_looks_at_what_it_approved(site: ControlSite) -> None:
    """C97, C146: who approved, what was asked and given, and when it was last validated."""
    app, gina = certified(site), site.api("gina")
    east = made(gina.post("/facilities", json=EAST))
    west = made(gina.post("/facilities", json=EAST | {"name": "West", "reference": "Organization/west"}))
    order: dict[str, Any] = {"tenant": "general", "app": app, "roles": ["physician"]}

    installed = made(
        gina.post(
            "/installations",
            json=order | {"scopes": ["patient/Observation.rs"], "facilities": [east["id"], west["id"]]},
        )
    )
    path = f"/installations/{installed['id']}"
    narrowed = made(gina.patch(path, json={"denied": [west["id"]]}), 200)
    validated = made(gina.post(f"{path}/validation"), 200)
    shown = made(gina.get(path), 200)

    assert set(installed["scopes"]) == {"launch", "openid", "fhirUser", "patient/Observation.rs"}
    assert (set(narrowed["facilities"]), narrowed["denied"]) == ({east["id"], west["id"]}, [west["id"]])
    assert shown == validated
    assert shown["record"] == {
        "asked": SCOPE.split(),
        "scopes": installed["scopes"],
        "roles": ["physician"],
        "facilities": sorted((east["id"], west["id"])),
        "denied": [],
        "expires_at": None,
        "without": [],
    }
    assert shown["approved_by"] == shown["validated_by"]
    assert made(gina.delete(f"/facilities/{east['id']}"), 200)["removed_at"]
    assert [each["id"] for each in made(gina.get("/facilities"), 200)["items"]] == [west["id"]]


@in_one_world(
    ("change", "fields"),
    [
        ({"facilities": []}, {"facilities": "facilities_missing"}),
        ({"facilities": ["fac_nowhere"]}, {"facilities": "facility_unknown"}),
        ({"denied": ["fac_nowhere"]}, {"denied": "facility_unknown"}),
    ],
)
def test_bad_facilities_of_an_installation_are_refused_by_their_field(
    site: ControlSite, change: dict[str, Any], fields: dict[str, str]
) -> None:
    """C146: nothing is installed."""
    order = {
        "tenant": "general",
        "app": site.furnished_once("certified", lambda: certified(site)),
        "roles": ["physician"],
    } | change

    found = problem(site.api("gina").post("/installations", json=order), 422, "installation_invalid")

    assert codes(found) == fields
    assert made(site.api("gina").get("/installations"), 200)["items"] == []


def test_facilities_and_approvals_of_another_hospital_are_not_there(site: ControlSite) -> None:
    """C145."""
    app, gina, carl = certified(site), site.api("gina"), site.api("carl")
    east = made(gina.post("/facilities", json=EAST))
    order = {"tenant": "general", "app": app, "roles": ["physician"]}
    installed = made(gina.post("/installations", json=order))

    problem(carl.post("/facilities", json=EAST | {"name": "Other"}), 403, "not_permitted")
    problem(carl.get("/facilities?tenant=general"), 404, "tenant_not_found")
    problem(carl.delete(f"/facilities/{east['id']}"), 404, "facility_not_found")
    problem(carl.get(f"/installations/{installed['id']}"), 404, "installation_not_found")
    problem(carl.post(f"/installations/{installed['id']}/validation"), 404, "installation_not_found")
    problem(site.api("root").post(f"/installations/{installed['id']}/validation"), 403, "not_permitted")
    assert made(carl.get("/facilities"), 200)["items"] == []
