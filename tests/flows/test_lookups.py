"""Names and ids: whoever may see something finds it by its exact name, and everybody else is answered as if it did not exist (C183)."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.apps.names.policy import named_at
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewFacility
from tests.flows.control_site import ControlSite, build, problem
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.world import FakeClock


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    CALLERS.clear()
    return build(sqlite_uow, clock)


CALLERS: dict[str, TestClient] = {}


def caller(site: ControlSite, who: str) -> TestClient:
    """One token of a person for all that a test asks: nobody has more than twenty."""
    if who not in CALLERS:
        CALLERS[who] = site.api(who)
    return CALLERS[who]


def look_up(site: ControlSite, who: str, kind: str, named: str, **more: str) -> list[dict[str, Any]]:
    answer = caller(site, who).get("/lookups", params={"kind": kind, "named": named, **more})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


def app_of(site: ControlSite, vendor: str, name: str) -> str:
    about = {"description": "Shows.", "purpose": "Review.", "category": "scheduling"}
    return str(made(site.api("root").post("/apps", json={"vendor": vendor, "name": name, **about}))["id"])


def client_of(site: ControlSite, app: str, name: str) -> str:
    version = site.system(registry.add_version, app_id=AppId(app), order=NewVersion("1.0")).id
    body = {
        "app": app,
        "version": version,
        "client_name": name,
        "client_type": "public",
        "deployment": "browser",
        "redirect_uris": ["http://127.0.0.1:9009/callback"],
        "scope": "launch/patient patient/Patient.rs",
    }
    return str(made(site.api("root").post("/clients", json=body))["id"])


def test_everything_that_has_a_name_is_found_by_it_and_by_its_id(site: ControlSite) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    app = app_of(site, vendor, "Chart Viewer")
    client = client_of(site, app, "Chart Viewer in a browser")
    order = NewFacility(TenantId("general"), "East Clinic", "General Ltd", "Location/east")
    facility = site.system(identity.add_facility, order=order).id
    (version,) = look_up(site, "root", "version", "Chart Viewer@1.0")

    for kind, named, id_ in (
        ("app", "Chart Viewer", app),
        ("vendor", "Acme Health", vendor),
        ("tenant", "General", "general"),
        ("client", "Chart Viewer in a browser", client),
        ("person", "gina@general", str(site.people["gina"].id)),
    ):
        assert [each["id"] for each in look_up(site, "root", kind, named)] == [id_], kind
        assert [each["id"] for each in look_up(site, "root", kind, id_)] == [id_], kind
        assert look_up(site, "root", kind, f"{named} ") == [], "exactly the name"
    for named in ("East Clinic", "Location/east", facility):
        assert [each["id"] for each in look_up(site, "gina", "facility", named)] == [facility]
    assert look_up(site, "root", "facility", "East Clinic", tenant="children") == []
    assert version["name"] == "Chart Viewer@1.0"
    assert look_up(site, "root", "version", "Chart Viewer@2.0") == []


def test_a_vendors_member_names_hospitals_and_its_own_apps_only(site: ControlSite) -> None:
    """C8: what another vendor has is nobody's business; where to ask for an app is."""
    acme, other = furnish_vendor(site, "Acme Health", "acme"), furnish_vendor(site, "Umber Medical", "umber")
    own, foreign = app_of(site, acme, "Chart Viewer"), app_of(site, other, "Night Rounds")
    client = client_of(site, foreign, "Night Rounds at work")

    member = "acme.developer"
    assert [each["id"] for each in look_up(site, member, "tenant", "General")] == ["general"]
    assert [each["id"] for each in look_up(site, member, "app", "Chart Viewer")] == [own]
    assert [each["id"] for each in look_up(site, member, "person", "acme.owner")] == []
    assert [each["name"] for each in look_up(site, "acme.owner", "person", "acme.billing")] == [
        "acme.billing"
    ]
    for kind, named in (
        ("app", "Night Rounds"),
        ("app", foreign),
        ("client", "Night Rounds at work"),
        ("client", client),
        ("person", "gina@general"),
        ("person", "umber.owner@" + other),
        ("facility", "East Clinic"),
    ):
        assert look_up(site, member, kind, named) == [], (kind, named)
    assert member_names(site, member, own, foreign, client) == {own: "Chart Viewer"}
    site.api("root").patch("/tenants/general", json={"active": False})
    assert look_up(site, member, "tenant", "General") == [], "nobody can ask there"


def member_names(site: ControlSite, who: str, *ids: str) -> dict[str, str]:
    answer = site.api(who).get("/names", params={"id": list(ids)})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_hospitals_people_name_apps_but_neither_other_hospitals_nor_their_people(site: ControlSite) -> None:
    """C214: clinicians ask for an app by its name. C37: other hospitals are not disclosed."""
    app = app_of(site, furnish_vendor(site, "Acme Health", "acme"), "Chart Viewer")
    carl = str(site.people["carl"].id)

    assert [each["id"] for each in look_up(site, "ann", "app", "Chart Viewer")] == [app]
    ann = site.people["ann"]
    assert member_names(site, "ann", app, carl, str(ann.id)) == {app: "Chart Viewer", str(ann.id): ann.name}
    for who in ("ann", "gina"):
        for kind, named in (
            ("tenant", "Children"),
            ("tenant", "children"),
            ("person", "carl@children"),
            ("person", carl),
            ("facility", "East Clinic"),
        ):
            assert look_up(site, who, kind, named, tenant="children") == [], (who, kind, named)
    assert look_up(site, "ann", "person", "gina") == [], "a clinician reads no names of colleagues"
    assert [each["id"] for each in look_up(site, "gina", "person", "ann")] == [str(site.people["ann"].id)]


def test_an_id_counts_before_a_name_and_a_shared_name_finds_all_that_have_it(site: ControlSite) -> None:
    """Whoever names a hospital by another's id gets nothing by it; of two clients of one name a person chooses."""
    app = app_of(site, furnish_vendor(site, "Acme Health", "acme"), "Chart Viewer")
    first = client_of(site, app, "Viewer")
    other = app_of(site, furnish_vendor(site, "Umber Medical", "umber"), "Night Rounds")
    second = client_of(site, other, "Viewer")
    site.api("root").patch("/tenants/children", json={"name": "general"})

    assert [each["id"] for each in look_up(site, "root", "tenant", "general")] == ["general"]
    found = look_up(site, "root", "client", "Viewer")
    assert {each["id"] for each in found} == {first, second}
    assert {each["of"] for each in found} == {"Chart Viewer, sandbox", "Night Rounds, sandbox"}


def test_what_is_no_name_is_refused_with_its_field(site: ControlSite) -> None:
    queries: tuple[tuple[str, dict[str, str]], ...] = (
        ("named", {"kind": "app"}),
        ("named", {"kind": "app", "named": ""}),
        ("kind", {"kind": "secret", "named": "x"}),
        ("named", {"kind": "app", "named": "a\nb"}),
        ("named", {"kind": "app", "named": "x" * 201}),
        ("tenant", {"kind": "person", "named": "ann", "tenant": "../staff"}),
        ("more", {"kind": "app", "named": "x", "more": "1"}),
    )
    api = site.api("root")
    for field, query in queries:
        found = problem(api.get("/lookups", params=query), 422, "fields_invalid")
        assert list(found["fields"]) == [field]


def test_without_a_token_nothing_is_looked_up(site: ControlSite) -> None:
    problem(site.api().get("/lookups", params={"kind": "tenant", "named": "General"}), 401, "token_invalid")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Chart Viewer@1.0", ("Chart Viewer", "1.0")),
        ("a@b@general", ("a@b", "general")),
        ("plain", ("", "")),
        ("@general", ("", "")),
        ("ann@", ("", "")),
        ("", ("", "")),
    ],
)
def test_a_place_follows_the_last_at_sign(text: str, found: tuple[str, str]) -> None:
    assert named_at(text) == found
