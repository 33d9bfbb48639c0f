"""What a vendor must have proved to have a version certified for production, as the policy's entry says (C6, C7)."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import PROOF_LIFE, ContactKind, NewContact
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import VendorId, VersionId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.comparison import privilege_increases
from hilum.policy.matrix.document import read_stored, render
from hilum.policy.matrix.models import PROOFS, SANDBOX_TRIAL, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.flows.control_site import ControlSite, build
from tests.flows.domain_ground import Ground, checker_at
from tests.flows.policy_ground import put_in_force
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.jwks_host import running
from tests.sim.proofs import prove_contact
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import book, faults_of

ASKED = {f"categories.scheduling.entries.{tier}.proofs": list(PROOFS) for tier in ("low", "moderate")}
SCOPES = ["launch", "user/Slot.rs"]


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    with running() as host:
        checker = checker_at(host)
        site = build(sqlite_uow, clock, checker)
        site.system(policies.adopt_shipped)
        yield Ground(site, host, checker, furnish_vendor(site, "Acme Health", "acme"))


def version_of(ground: Ground) -> str:
    api = ground.site.api("root")
    about = {"name": "Rota", "description": "Shows.", "purpose": "Planning.", "category": "scheduling"}
    app = made(api.post("/apps", json={"vendor": ground.vendor, **about}))["id"]
    declared = {"label": "1", "workflows": [], "placements": []}
    return str(made(api.post(f"/apps/{app}/versions", json=declared))["id"])


def certify(ground: Ground, version: str, environment: str = "production") -> str:
    """Certify as a decision of review does, and return the refusal; empty if it is certified."""
    ends = ground.site.clock.now() + timedelta(days=30)
    order = CertifyOrder(VersionId(version), Environment(environment), tuple(SCOPES), ends)
    try:
        ground.site.system(registry.certify, order=order, unproved=contacts.unproved)
    except Invalid as refused:
        return refused.detail
    return ""


def prove(site: ControlSite, vendor: str, kind: ContactKind) -> None:
    site.system(prove_contact, order=NewContact(VendorId(vendor), kind, f"{kind.value}@acme.example"))


def test_what_is_not_proved_keeps_a_version_from_production_and_is_listed(
    ground: Ground, clock: FakeClock
) -> None:
    """C6, C7: each of them, until all are proved; and again once one has lapsed."""
    version = version_of(ground)
    put_in_force(ground.site, ASKED)

    assert certify(ground, version).endswith("Not proved now: domain, owner, security, support.")
    for kind in (ContactKind.OWNER, ContactKind.SUPPORT):
        prove(ground.site, ground.vendor, kind)
    ground.prove()
    assert certify(ground, version).endswith("now: security.")
    prove(ground.site, ground.vendor, ContactKind.SECURITY)
    assert certify(ground, version) == ""

    clock.advance(PROOF_LIFE)
    assert certify(ground, version).endswith("Not proved now: domain, owner, security, support.")


def test_a_sandbox_and_a_entry_that_asks_for_none_need_no_proof(ground: Ground) -> None:
    version = version_of(ground)
    put_in_force(ground.site, {"categories.scheduling.entries.low.proofs": []})
    assert certify(ground, version) == ""

    put_in_force(ground.site, ASKED)

    assert certify(ground, version, "sandbox") == ""


def test_who_does_not_look_for_proofs_counts_as_having_found_none(ground: Ground) -> None:
    """Unknown means no: also for the platform itself."""
    version = version_of(ground)
    put_in_force(ground.site, ASKED)
    ends = ground.site.clock.now() + timedelta(days=30)
    order = CertifyOrder(VersionId(version), Environment.PRODUCTION, tuple(SCOPES), ends)

    with pytest.raises(Invalid) as caught:
        ground.site.system(registry.certify, order=order)

    assert caught.value.fields == {"version": "proofs_missing"}


def test_proofs_of_a_entry_are_stored_and_asking_for_fewer_takes_two_people() -> None:
    """C210: and a higher tier asks for no fewer."""
    asked = book(ASKED)
    again, faults = read_stored(render(asked), asked.digest)

    assert faults == ()
    assert again is not None
    assert again.categories["scheduling"].entries[Tier.LOW].proofs == frozenset(PROOFS)
    assert privilege_increases(shipped_book(), asked) == ()
    assert privilege_increases(asked, shipped_book())
    path = "categories.scheduling.entries"
    assert faults_of({f"{path}.moderate.proofs": ["domain"]}) == [
        (f"{path}.moderate.proofs", "looser_than_lower_tier")
    ]
    assert faults_of({f"{path}.low.proofs": ["certificate"]})


def test_the_shipped_book_asks_for_contacts_at_every_tier_and_for_a_domain_above_the_low_one() -> None:
    """C7: in every category in which an app can be certified for production."""
    contacts_of = frozenset(ContactKind)
    for category in shipped_book().categories.values():
        for tier, entry in category.entries.items():
            asked = contacts_of if tier is Tier.LOW else frozenset(PROOFS)
            assert entry.proofs == (frozenset() if category.name == SANDBOX_TRIAL else asked), category.name
