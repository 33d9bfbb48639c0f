"""Who may make, open and see a vendor's snapshots, and which place a new one takes (C123)."""

from dataclasses import replace

import pytest

from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import ClientId, TenantId, VendorId
from hilum.hospitals.vendor_hospitals import policy
from hilum.hospitals.vendor_hospitals.models import (
    CLAIMED_FOR,
    PLACES,
    NewSnapshot,
    Snapshot,
    State,
    Template,
)
from tests.sim.world import START

OURS, THEIRS = VendorId("ven_ours"), VendorId("ven_theirs")
HELD = Snapshot(
    TenantId("own-1"), OURS, 0, "mine", "general", ClientId("cli_1"), State.READY, "member:x", START, START, START
)  # fmt: skip


def member(role: str, vendor: VendorId = OURS) -> Actor:
    return Actor(ActorKind.MEMBER, "per_1", roles=frozenset({role}), vendor=vendor)


STAFF = Actor(ActorKind.STAFF, "per_2", roles=frozenset({"platform_admin"}))
AUDITOR = Actor(ActorKind.STAFF, "per_3", roles=frozenset({"auditor"}))
CLINICIAN = Actor(ActorKind.PERSON, "per_4", TenantId("general"), frozenset({"administrator"}))
RIGHTS = [
    (member("vendor_owner"), "make open see remove"),
    (member("vendor_developer"), "make open see remove"),
    (member("vendor_security"), "open see"),
    # It has the EHR's secret and everybody's password.
    (member("vendor_billing"), "see"),
    (member("vendor_owner", THEIRS), ""),
    (replace(member("vendor_owner"), roles=frozenset()), ""),
    (STAFF, "see remove"),
    (AUDITOR, "see"),
    (SYSTEM, "see remove"),
    (CLINICIAN, ""),
    (replace(CLINICIAN, vendor=OURS), ""),
]


@pytest.mark.parametrize(("actor", "may"), RIGHTS, ids=range(len(RIGHTS)))
def test_only_members_open_one_and_only_those_of_apps_make_it(actor: Actor, may: str) -> None:
    found = {
        "make": policy.may_make(actor, OURS),
        "open": policy.may_open(actor, OURS),
        "see": policy.may_see(actor, OURS),
        "remove": policy.may_remove(actor, OURS),
    }
    assert {name for name, holds in found.items() if holds} == set(may.split())


@pytest.mark.parametrize(
    ("name", "template", "faults"),
    [
        ("other", "general", {}),
        ("  other ", "general", {}),
        ("", "general", {"name": "name_missing"}),
        ("x" * 41, "general", {"name": "name_too_long"}),
        ("a\nb", "general", {"name": "name_characters"}),
        ("mine", "general", {"name": "name_taken"}),
        ("other", "nowhere", {"template": "template_unknown"}),
    ],
    ids=["good", "blanks", "none", "long", "lines", "taken", "template"],
)
def test_a_new_one_has_a_name_of_its_own_and_a_template(
    name: str, template: str, faults: dict[str, str]
) -> None:
    assert policy.order_faults(NewSnapshot(name, template), {"general"}, [HELD]) == faults
    gone = replace(HELD, state=State.REMOVED)
    assert "name" not in policy.order_faults(NewSnapshot("mine", template), {"general"}, [gone])


def test_a_place_that_was_there_before_is_taken_first_and_none_beyond_the_bound() -> None:
    """So that removing and making again needs no further tenants."""
    held = [replace(HELD, id=TenantId(f"own-{n}"), slot=n) for n in range(PLACES)]
    gone = replace(held[1], state=State.REMOVED)
    making = replace(held[1], state=State.MAKING)

    assert policy.free_place([], START) == (0, None)
    assert policy.free_place(held[:1], START) == (1, None)
    assert policy.free_place([held[0], gone], START) == (1, gone)
    assert policy.free_place(held, START) is None
    assert policy.free_place([replace(held[0], state=State.RESETTING), *held[1:]], START) is None
    # A colleague makes one there now; whoever broke off keeps nobody out for long.
    assert policy.free_place([held[0], making, held[2]], START) is None
    assert policy.free_place([held[0], making, held[2]], START + CLAIMED_FOR) == (1, making)


def test_its_address_cannot_be_guessed_and_says_nothing() -> None:
    ids = {policy.tenant_id_of(f"secret {n}") for n in range(50)}
    assert len(ids) == 50
    assert all(len(each) == 30 and each.startswith("own-") for each in ids)


def test_a_snapshot_never_bears_the_bare_name_of_the_hospital_it_is_made_of() -> None:
    """C123: beside its template in a search, in a list or before a stop it is another hospital."""
    template = Template("Meridian General Hospital", (), "https://ehr.example")

    assert policy.hospital_name("mine", template) == "Meridian General Hospital (snapshot mine)"
