"""Facilities of an installation and the record of its approval, on each backend (C97, C146, C147)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, NarrowOrder, WidenOrder
from hilum.foundation.infra.epoch import Change
from hilum.foundation.infra.facts import EVERYTHING, Since
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import FacilityId
from hilum.foundation.standards.smart.scopes import LAUNCH_AND_IDENTITY
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewFacility
from tests.sim.world import FakeClock
from tests.store import registry_ground
from tests.store.registry_ground import GENERAL, GINA, MARY, MERCY, ROOT, SAM, Ground

ground = registry_ground.ground


def clinic(ground: Ground, name: str) -> FacilityId:
    order = NewFacility(GENERAL, name, "General Ltd", f"Location/{name.lower()}")
    return FacilityId(ground.do(GINA, identity.add_facility, order=order).id)


def test_facilities_are_stored_followed_and_narrowed(ground: Ground) -> None:
    """C146, on each backend: what is stored, read alone and followed by the snapshot is the same."""
    client, _ = ground.client()
    ground.certify()
    east, west = clinic(ground, "East"), clinic(ground, "West")
    order = InstallOrder(GENERAL, client.app, frozenset({"physician"}), facilities=frozenset({east, west}))
    made = ground.do(GINA, installations.install, order=order)
    narrower = NarrowOrder(denied=frozenset({west}))

    ground.do(GINA, installations.narrow_installation, installation_id=made.id, order=narrower)

    one = ground.do(SYSTEM, installations.installation, GENERAL, client.app)
    assert one is not None
    assert (one.facilities, one.denied) == (frozenset({east, west}), frozenset({west}))
    assert ground.facts().installations[GENERAL, client.app] == one


def test_what_a_widening_gives_back_is_approved_anew_by_whoever_widens(
    ground: Ground, clock: FakeClock
) -> None:
    """C97."""
    client, _ = ground.client()
    ground.certify()
    order = InstallOrder(GENERAL, client.app, frozenset({"physician", "nurse"}))
    made = ground.do(GINA, installations.install, order=order)
    less = NarrowOrder(roles=frozenset({"nurse"}))
    ground.do(GINA, installations.narrow_installation, installation_id=made.id, order=less)
    clock.advance(timedelta(days=1))

    more = WidenOrder(roles=frozenset({"physician"}))
    ground.do(SYSTEM, installations.widen, installation_id=made.id, order=more)

    kept = ground.do(SYSTEM, installations.get_installation, installation_id=made.id)
    assert (kept.approved_by, kept.approved_at) == (str(SYSTEM), clock.now())


def test_the_record_keeps_what_was_asked_and_given_whatever_is_narrowed_since(
    ground: Ground, clock: FakeClock
) -> None:
    """C97: who approved, what was asked, what was given, when it was last validated."""
    client, _ = ground.client()
    certified = ground.certify()
    ends = ground.uow.clock.now() + timedelta(days=30)
    order = InstallOrder(
        GENERAL, client.app, frozenset({"physician", "nurse"}), ("patient/Observation.rs",), ends
    )
    made = ground.do(GINA, installations.install, order=order)
    less = NarrowOrder(roles=frozenset({"nurse"}))
    ground.do(GINA, installations.narrow_installation, installation_id=made.id, order=less)
    clock.advance(timedelta(days=7))

    ground.do(GINA, installations.revalidate, installation_id=made.id)

    found = ground.do(GINA, installations.get_installation, installation_id=made.id)
    assert found.record is not None
    assert set(found.record.asked) == set(certified.scopes)
    assert "patient/Observation.rs" in found.record.scopes
    assert "patient/*.rs" not in found.record.scopes
    assert found.record.roles == ("nurse", "physician")
    assert (found.record.expires_at, found.roles) == (ends, {"nurse"})
    assert found.approved_by == found.validated_by == str(GINA)
    assert found.validated_at == ground.uow.clock.now() > found.approved_at


def test_what_is_not_in_force_is_not_validated_and_only_by_its_hospital(ground: Ground) -> None:
    """C97."""
    client, _ = ground.client()
    ground.certify()
    order = InstallOrder(GENERAL, client.app, frozenset({"physician"}))
    made = ground.do(GINA, installations.install, order=order)

    for actor, kind in ((MARY, NotFound), (SAM, NotPermitted), (ROOT, NotPermitted)):
        with pytest.raises(kind):
            ground.do(actor, installations.revalidate, installation_id=made.id)
    with pytest.raises(NotFound):
        ground.do(MARY, installations.get_installation, installation_id=made.id)
    ground.do(GINA, installations.uninstall, installation_id=made.id)
    with pytest.raises(Conflict) as caught:
        ground.do(GINA, installations.revalidate, installation_id=made.id)
    assert caught.value.code == "installation_not_in_force"


def test_launch_and_identity_scopes_come_with_what_is_installed_and_stay_when_it_is_narrowed(
    ground: Ground,
) -> None:
    """C147: without them the app could not be opened, and nobody would see why."""
    client, _ = ground.client()
    certified = ground.certify()
    needed = [each for each in certified.scopes if each in LAUNCH_AND_IDENTITY]
    assert needed
    order = InstallOrder(GENERAL, client.app, frozenset({"physician"}), ("patient/*.rs",))

    made = ground.do(GINA, installations.install, order=order)
    less = NarrowOrder(scopes=("patient/Observation.rs",))
    after = ground.do(GINA, installations.narrow_installation, installation_id=made.id, order=less)

    assert set(made.scopes) == {*needed, "patient/*.rs"}
    assert set(after.scopes) == {*needed, "patient/Observation.rs"}


def test_a_facilitys_name_and_reference_are_its_own_while_it_is_in_use(ground: Ground) -> None:
    east = clinic(ground, "East")
    for name, reference in (("East", "Location/other"), ("Other", "Location/east")):
        with pytest.raises(Conflict):
            ground.do(GINA, identity.add_facility, order=NewFacility(GENERAL, name, "Ltd", reference))
    ground.do(ROOT, identity.add_facility, order=NewFacility(MERCY, "East", "Ltd", "Location/east"))

    ground.do(GINA, identity.remove_facility, facility_id=east)
    gone = ground.do(SYSTEM, identity.find_facility_named, GENERAL, "Location/east")
    again = clinic(ground, "East")

    assert (gone.id, gone.is_open) == (east, False)
    assert again != east
    assert ground.do(SYSTEM, identity.find_facility_named, GENERAL, "Location/east").id == again
    assert [each.id for each in ground.do(GINA, identity.list_facilities)] == [again]
    with pytest.raises(Conflict):
        ground.do(GINA, identity.remove_facility, facility_id=east)


def test_a_removed_facility_is_followed_by_the_snapshot(ground: Ground) -> None:
    """C146: read whole, or as what changed."""
    east, west = clinic(ground, "East"), clinic(ground, "West")
    before = ground.do(SYSTEM, identity.facts, EVERYTHING).applied(None)
    ground.do(GINA, identity.remove_facility, facility_id=east)

    whole = ground.do(SYSTEM, identity.facts, EVERYTHING).applied(None)
    since = Since(
        (
            Change(1, f"facility/{east}", ground.uow.clock.now()),
            Change(2, f"facility/{west}", ground.uow.clock.now()),
        )
    )
    followed = ground.do(SYSTEM, identity.facts, since).applied(before)

    assert set(before.removed_facilities) == set()
    assert set(whole.removed_facilities) == set(followed.removed_facilities) == {east}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"name": " "}, {"name": "missing"}),
        ({"name": "x" * 201}, {"name": "name_malformed"}),
        ({"legal_entity": "a\nb"}, {"legal_entity": "name_malformed"}),
        ({"reference": ""}, {"reference": "reference_malformed"}),
        ({"reference": "Patient/1"}, {"reference": "reference_malformed"}),
        ({"reference": "Location/a b"}, {"reference": "reference_malformed"}),
    ],
)
def test_a_bad_facility_is_refused_by_its_field(
    ground: Ground, change: dict[str, str], fields: dict[str, str]
) -> None:
    order = replace(NewFacility(GENERAL, "East", "General Ltd", "Location/east"), **change)  # type: ignore[arg-type]

    with pytest.raises(Invalid) as caught:
        ground.do(GINA, identity.add_facility, order=order)

    assert caught.value.fields == fields


def test_only_who_administers_a_hospital_adds_and_removes_its_facilities(ground: Ground) -> None:
    """C145."""
    east = clinic(ground, "East")
    order = NewFacility(GENERAL, "West", "General Ltd", "Location/west")

    for actor, kind in ((MARY, NotFound), (SAM, NotPermitted)):
        with pytest.raises(NotPermitted):
            ground.do(actor, identity.add_facility, order=order)
        with pytest.raises(kind):
            ground.do(actor, identity.remove_facility, facility_id=east)
    with pytest.raises(NotFound):
        ground.do(MARY, identity.list_facilities, tenant=GENERAL)
