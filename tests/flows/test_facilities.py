"""Facilities: where an app may be opened, at every endpoint, and what stops when a facility is denied or removed (C38, C146)."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, NarrowOrder
from hilum.authorization.launches import service as launches
from hilum.foundation.kernel.errors import HilumError, Invalid, NotPermitted
from hilum.identity.people import service as identity
from hilum.identity.people.models import Facility, NewFacility
from tests.flows.authorize_flow import Front, answer, front
from tests.flows.token_flow import MERCY
from tests.sim.one_world import in_one_world

__all__ = ["front"]

SCOPES = ("launch", "openid", "fhirUser", "offline_access", "patient/*.rs")


@pytest.fixture
def east(front: Front) -> Facility:
    return added(front, "East")


@pytest.fixture
def west(front: Front) -> Facility:
    return added(front, "West")


def added(front: Front, name: str) -> Facility:
    new = NewFacility(MERCY, name, "Mercy Ltd", f"Location/{name.lower()}")
    return front.run(lambda ctx: installations.add_facility(ctx, new))


def installed(front: Front) -> Installation:
    found = front.run(lambda ctx: installations.list_installations(ctx, MERCY))
    return next(each for each in found if each.app == front.clients["web"].app)


def narrow(
    front: Front, facilities: list[Facility] | None = None, denied: tuple[Facility, ...] = ()
) -> Installation:
    listed = None if facilities is None else frozenset(each.id for each in facilities)
    order = NarrowOrder(facilities=listed, denied=frozenset(each.id for each in denied))
    narrowing = partial(installations.narrow_installation, installation_id=installed(front).id, order=order)
    return front.run(narrowing)


def opened_at(front: Front, facility: str) -> Any:
    """Return the tokens of an app that was opened at a facility."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch(facility=facility).handle, prompt="consent")
    redeemed = front.redeem(answer(browser.allow())["code"], "web")
    assert redeemed.status_code == 200, redeemed.text
    return redeemed.json()


def refused(verb: Callable[[], Any], code: str) -> HilumError:
    with pytest.raises(NotPermitted) as caught:
        verb()
    assert caught.value.code == code
    return caught.value


def test_an_app_limited_to_facilities_is_opened_there_and_nowhere_else(
    front: Front, east: Facility, west: Facility
) -> None:
    """C38, C146: by id and by reference; one that is not known or not named is none of them."""
    narrow(front, facilities=[east])

    for named in (east.id, east.reference):
        front.open_launch(facility=named)
    for named in (west.id, west.reference, "Location/unknown", "", "fac_00000000"):
        refused(partial(front.open_launch, facility=named), "facility_not_allowed")


def test_without_a_limit_every_facility_inherits_the_installation(front: Front, east: Facility) -> None:
    """C146: also one that is added later, and one that nobody added."""
    later = added(front, "Later")

    for named in (east.id, later.id, "Organization/unknown", ""):
        front.open_launch(facility=named)


def test_a_deny_for_one_facility_wins_over_the_list(front: Front, east: Facility, west: Facility) -> None:
    """C146."""
    narrow(front, facilities=[east, west])
    narrow(front, denied=(east,))

    refused(partial(front.open_launch, facility=east.id), "facility_not_allowed")
    front.open_launch(facility=west.id)


@pytest.mark.parametrize("how", ["deny", "limit", "remove"])
def test_a_facility_denied_or_removed_later_stops_what_runs_from_there_and_nothing_else(
    front: Front, east: Facility, west: Facility, how: str
) -> None:
    """C38, C146: at the gateway, refresh, the token endpoint, authorize and a launch that is open."""
    there, elsewhere = opened_at(front, east.id), opened_at(front, west.reference)
    begun = front.browser("dora")
    begun.authorize(launch=front.open_launch(facility=east.id).handle, prompt="consent")
    form = begun.form("decision")
    launch = front.open_launch(facility=east.id)
    assert front.read("Patient/p1", there["access_token"]).status == 200

    match how:
        case "deny":
            narrow(front, denied=(east,))
        case "limit":
            narrow(front, facilities=[west])
        case _:
            front.run(lambda ctx: identity.remove_facility(ctx, east.id))

    denied = front.read("Patient/p1", there["access_token"])
    assert denied.status == 403
    assert denied.json["issue"][0]["details"]["coding"][0]["code"] == "facility_not_allowed"
    assert "facility_not_allowed" in front.refresh(there["refresh_token"], "web").text
    assert front.post("introspect", "resource", {"token": there["access_token"]}).json() == {"active": False}
    left = begun.press(form, ("decision", "allow"))
    assert "code=" not in left.headers.get("location", "")
    refused(lambda: front.take(launch.handle, "web"), "facility_not_allowed")
    assert front.read("Patient/p1", elsewhere["access_token"]).status == 200
    assert front.refresh(elsewhere["refresh_token"], "web").status_code == 200
    refused(partial(front.open_launch, facility=east.reference), "facility_not_allowed")


@pytest.mark.parametrize(
    ("name", "reference", "stays"),
    [
        ("East", "Location/east", True),
        ("East Wing", "Location/east", True),
        ("East", "Location/east-2", True),
        ("East Wing", "Location/east-2", False),
        ("West", "Location/west", False),
    ],
)
def test_a_denial_continues_where_a_facility_is_removed_and_added_again(
    front: Front, east: Facility, name: str, reference: str, stays: bool
) -> None:
    """C38, C146: by its name or its reference at the FHIR server, since the id is a new one; also after the second time."""
    narrow(front, denied=(east,))
    on_record = len(front.events("registry.installation.narrow"))
    again = east
    for _ in range(2):
        front.run(partial(identity.remove_facility, facility_id=again.id))
        again = front.run(
            lambda ctx: installations.add_facility(ctx, NewFacility(MERCY, name, "Mercy Ltd", reference))
        )

    assert again.id != east.id
    assert (again.id in installed(front).denied) is stays
    assert len(front.events("registry.installation.narrow")) == on_record + (2 if stays else 0)
    if stays:
        refused(partial(front.open_launch, facility=reference), "facility_not_allowed")
    else:
        front.open_launch(facility=reference)


def test_a_facility_that_is_added_again_revives_nothing_and_denies_nothing_that_was_not_denied(
    front: Front, east: Facility
) -> None:
    there = opened_at(front, east.id)
    front.run(lambda ctx: identity.remove_facility(ctx, east.id))

    added(front, "East")

    assert installed(front).denied == frozenset()
    assert front.read("Patient/p1", there["access_token"]).status == 403
    front.open_launch(facility="Location/east")


def test_the_deny_of_one_hospital_follows_no_facility_of_another(front: Front, east: Facility) -> None:
    narrow(front, denied=(east,))
    front.run(lambda ctx: identity.remove_facility(ctx, east.id))
    other = next(each.id for each in front.run(identity.list_tenants) if each.id != MERCY)
    elsewhere = NewFacility(other, "East", "Other Ltd", "Location/east")

    front.run(lambda ctx: installations.add_facility(ctx, elsewhere))

    assert installed(front).denied == {east.id}


def test_a_facility_of_another_hospital_is_none_of_this_one(front: Front, east: Facility) -> None:
    """C145."""
    narrow(front, facilities=[east])
    other = next(each.id for each in front.run(identity.list_tenants) if each.id != MERCY)
    new = NewFacility(other, "East", "Other Ltd", "Location/other")
    foreign = front.run(lambda ctx: identity.add_facility(ctx, new))

    refused(partial(front.open_launch, facility=foreign.id), "facility_not_allowed")
    with pytest.raises(Invalid) as caught:
        narrow(front, denied=(foreign,))
    assert caught.value.fields == {"denied": "facility_unknown"}


def test_facilities_narrow_and_never_widen(front: Front, east: Facility, west: Facility) -> None:
    """C147."""
    narrow(front, facilities=[east])

    with pytest.raises(Invalid) as caught:
        narrow(front, facilities=[east, west])
    assert caught.value.fields == {"facilities": "widens"}
    narrow(front, denied=(west,))
    assert narrow(front, denied=(east,)).denied == {east.id, west.id}


def test_where_facilities_are_limited_a_launch_without_an_ehr_is_refused(
    front: Front, east: Facility
) -> None:
    """C38: nobody says where it is opened."""
    narrow(front, denied=(east,))
    browser = front.browser("dora")

    told = browser.authorize()

    assert "facility_not_allowed" in told.headers.get("location", "") + told.text


@in_one_world("named", ["Patient/p1", "Location/", "x" * 200, "fac_", "Location/a b"])
def test_what_cannot_be_a_facility_is_refused_by_its_field(front: Front, named: str) -> None:
    with pytest.raises(Invalid) as caught:
        front.open_launch(facility=named)

    assert set(caught.value.fields) == {"facility"}


def test_an_ehr_learns_what_may_be_opened_from_a_facility_and_without_one_it_is_not_judged(
    front: Front, east: Facility, west: Facility
) -> None:
    """C38, C140: its buttons say what a launch from there would be answered."""
    narrow(front, denied=(east,))
    client = front.clients["web"].id

    def reason(facility: str) -> str:
        (found,) = front.as_ehr(lambda ctx: launches.availability(ctx, "dora", [client], facility))
        return found.reason

    found = {each: reason(each) for each in ("", west.reference, east.reference, "Location/nowhere")}

    assert found == {
        "": "",
        west.reference: "",
        east.reference: "facility_not_allowed",
        "Location/nowhere": "facility_not_allowed",
    }
