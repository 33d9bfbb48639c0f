"""What is certified is signed: who can write to the database, and has no key, can take away and give nothing (C179)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from hilum.audit import store as audit_store
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import service as installations
from hilum.kernel.errors import Conflict, Unavailable
from hilum.kernel.ids import TenantId
from hilum.keys import service as keys
from hilum.keys import store as keys_store
from hilum.keys.models import Purpose
from hilum.policies.models import Tier
from hilum.registry import attestation_store, attestations, service, store, tiers
from hilum.registry.models import CertifyOrder, Environment
from tests.effort import effort
from tests.sim.proofs import certify as certify_in_order
from tests.sim.world import FakeClock
from tests.store.registry_life import BODY, SCOPES, Life, admitted

A, C, V, T = store.apps, store.certifications, store.versions, attestation_store.attestations
EVENTS = audit_store.audit_event


@pytest.fixture
def life(uow: UnitOfWork, clock: FakeClock) -> Life:
    attestations._kept.clear()
    return Life(uow, clock)


def run(life: Life, *statements: Any) -> None:
    life.do(lambda ctx: [ctx.tx.execute(each) for each in statements])


def restarted(life: Life) -> Any:
    """The facts as a process has them that starts now."""
    attestations._kept.clear()
    return life.facts().value


def certified(life: Life, facts: Any = None) -> list[bool]:
    """Which of the three apps get anything."""
    facts = facts or restarted(life)
    return [bool(admitted(facts, app)) for app in life.apps]


def faults(life: Life) -> str:
    attestations._kept.clear()
    return " ".join(life.do(attestations.faults))


def row_of(life: Life, table: Any, app: Any) -> dict[str, Any]:
    of = table.c.id if table is A else table.c.app
    query = (
        select(table)
        .where(of == app)
        .order_by(table.c[0].desc() if False else table.primary_key.columns[0].desc())
    )
    return dict(life.do(lambda ctx: ctx.tx.execute(query).mappings().first()))


def test_what_was_certified_counts_at_a_start_and_nothing_is_reported(life: Life) -> None:
    assert certified(life) == [True, True, True]
    assert faults(life) == ""
    assert restarted(life).faults == {}


CHANGES: dict[str, Callable[[Any], Any]] = {
    "its tier": lambda app: update(C).where(C.c.app == app).values(tiers="none=high"),
    "its scopes": lambda app: update(C).where(C.c.app == app).values(scopes="launch openid patient/*.cruds"),
    "its end": lambda app: update(C).where(C.c.app == app).values(expires_at=C.c.certified_at),
    "its category": lambda app: update(C).where(C.c.app == app).values(category="scheduling"),
    "its environment": lambda app: update(C).where(C.c.app == app).values(environment="sandbox"),
    "its reviewer": lambda app: update(C).where(C.c.app == app).values(certified_by="per_other"),
    "its id": lambda app: update(C).where(C.c.app == app).values(id="cert_other"),
    "the app's category": lambda app: update(A).where(A.c.id == app).values(category="scheduling"),
    "the app as a peer": lambda app: update(A).where(A.c.id == app).values(category="peer"),
    "the workflows of its version": lambda app: update(V).where(V.c.app == app).values(workflows="reading"),
    "the placements of its version": lambda app: update(V).where(V.c.app == app).values(placements="none"),
    "its use of AI": lambda app: (
        update(V)
        .where(V.c.app == app)
        .values(ai_use={"model": "m", "purpose": "p", "autonomy": "acts_alone"})
    ),
    "whom its version reaches": lambda app: update(V).where(V.c.app == app).values(population="one"),
    "its version": lambda app: delete(V).where(V.c.app == app),
    "the certification": lambda app: delete(C).where(C.c.app == app),
    "its attestation": lambda app: delete(T).where(T.c.app == app),
    "what was signed": lambda app: update(T).where(T.c.app == app).values(category="scheduling"),
    "which certifications count": lambda app: update(T).where(T.c.app == app).values(after="cert_z"),
    "the digest": lambda app: update(T).where(T.c.app == app).values(digest="0" * 64),
    "whose it is": lambda app: update(T).where(T.c.app == app).values(app="app_other"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_an_app_that_is_not_as_it_was_signed_gets_nothing(life: Life, change: Callable[[Any], Any]) -> None:
    """C179: a category, a tier, scopes or dates that somebody writes into the database count as no certification."""
    last = life.apps[-1]

    run(life, change(last))

    facts = restarted(life)
    assert not admitted(facts, last)
    assert faults(life)
    # At the control plane too.
    assert life.do(service.certifications_of, last) == []


@pytest.mark.parametrize("signed_by", ["the verb", "the next start"])
def test_a_suspension_that_somebody_takes_out_of_the_database_ends_nothing(
    life: Life, clock: FakeClock, signed_by: str
) -> None:
    """C179: nor is what was issued before a suspension valid again, once its end is dated back."""
    app = life.apps[-1]
    resume = update(A).where(A.c.id == app).values(state="active", active_since=A.c.created_at)
    if signed_by == "the verb":
        life.do(service.suspend_app, app, "It misbehaves.")
    else:
        # As a release before left it: suspended, and signed as if it were not.
        run(life, update(A).where(A.c.id == app).values(state="suspended"))
        assert faults(life) == ""
        assert life.do(attestations.attest_stops) == 1
        assert life.do(attestations.attest_stops) == 0
    assert certified(life) == [True, True, False]

    run(life, resume)

    assert certified(life) == [True, True, False]
    assert f"App {app}: Its suspension or its certifications do not match what was signed." in faults(life)
    run(life, update(A).where(A.c.id == app).values(state="suspended"))
    clock.advance(timedelta(minutes=1))
    life.do(service.resume_app, app, "It is fixed.")
    assert certified(life) == [True, True, True]
    run(life, resume)
    assert certified(life) == [True, True, False], "what was issued before the suspension is not valid again"


def test_a_suspension_by_a_release_before_counts_and_vouches_for_nothing_else(
    life: Life, clock: FakeClock
) -> None:
    """C179: of an app that was resumed before, the suspension was signed; that release did not sign the next one."""
    app = life.apps[-1]
    life.do(service.suspend_app, app, "It misbehaves.")
    clock.advance(timedelta(minutes=1))
    life.do(service.resume_app, app, "It is fixed.")
    suspended = update(A).where(A.c.id == app).values(state="suspended")
    run(life, suspended)
    assert faults(life)

    assert life.do(attestations.attest_stops) == 1

    assert faults(life) == ""
    assert certified(life) == [True, True, False]
    clock.advance(timedelta(minutes=1))
    life.do(service.resume_app, app, "It is fixed.")
    assert certified(life) == [True, True, True], "and it needs no other certification"
    run(life, suspended, update(A).where(A.c.id == app).values(active_since=A.c.created_at))
    assert life.do(attestations.attest_stops) == 0
    assert faults(life)


def test_a_suspension_waits_for_nothing_that_is_not_as_it_was_signed(life: Life) -> None:
    """It is a stop: also where all attestations were deleted, and of an app that nobody certified."""
    run(life, delete(T))
    life.do(service.suspend_app, life.apps[0], "It misbehaves.")

    assert row_of(life, A, life.apps[0])["state"] == "suspended"


def test_the_others_go_on_where_one_app_is_not_as_it_was_signed(life: Life) -> None:
    run(life, CHANGES["its tier"](life.apps[1]))

    facts = restarted(life)

    assert certified(life, facts) == [True, False, True]
    assert set(facts.faults) == {life.apps[1]}
    assert life.apps[1] in faults(life)


def test_a_certification_that_somebody_inserts_gives_nothing(life: Life) -> None:
    first = life.apps[0]
    more = row_of(life, C, first) | {"id": "cert_zzz", "scopes": "launch openid patient/*.cruds"}

    run(life, C.insert().values(more))

    assert certified(life) == [False, True, True]


@pytest.mark.parametrize("how", ["its date is cleared", "it is deleted", "its old row is back"])
def test_a_withdrawn_certification_does_not_revive(life: Life, how: str) -> None:
    """C179: nor with the attestation of before the withdrawal, which was signed by this platform."""
    last = life.apps[-1]
    before, signed = row_of(life, C, last), row_of(life, T, last)
    life.do(service.withdraw_certification, before["id"])
    assert certified(life) == [True, True, False]

    if how == "its date is cleared":
        run(life, update(C).where(C.c.app == last).values(withdrawn_at=None))
    elif how == "it is deleted":
        run(life, delete(C).where(C.c.app == last))
    else:
        newest = row_of(life, T, last)
        again = signed | {"number": newest["number"]}
        run(
            life,
            update(C).where(C.c.app == last).values(withdrawn_at=None),
            delete(T).where(T.c.number == newest["number"]),
            T.insert().values(again),
        )

    assert not certified(life)[-1]
    assert faults(life)


def test_a_raised_tier_that_is_deleted_from_the_database_does_not_fall(life: Life) -> None:
    """C19, C179."""
    last = life.apps[-1]
    version = life.do(service.list_versions, last)[0].id
    life.do(tiers.raise_tier, version, Tier.HIGH, "It was seen to do more.")
    assert faults(life) == ""

    run(life, update(V).where(V.c.app == last).values(raised_tier=None))

    assert certified(life) == [True, True, False]
    assert faults(life)


def test_a_tail_that_is_cut_off_is_found_by_the_audit_trail(life: Life) -> None:
    """C179: the withdrawal's attestation is deleted and its row is as before; the record of it is still there."""
    last = life.apps[-1]
    life.do(service.withdraw_certification, row_of(life, C, last)["id"])
    number = row_of(life, T, last)["number"]

    run(
        life,
        update(C).where(C.c.app == last).values(withdrawn_at=None),
        delete(T).where(T.c.number == number),
    )

    assert certified(life) == [False, False, False]
    assert "the audit trail has their records" in faults(life)


def test_a_process_goes_back_to_no_earlier_attestation(life: Life) -> None:
    """C179: also where the record of it is gone, for as long as a process runs that has seen it."""
    last = life.apps[-1]
    life.do(service.withdraw_certification, row_of(life, C, last)["id"])
    held = life.facts()
    number = row_of(life, T, last)["number"]
    run(
        life,
        update(C).where(C.c.app == last).values(withdrawn_at=None),
        delete(T).where(T.c.number == number),
        delete(EVENTS).where(EVENTS.c.action == attestations.ATTEST_ACTION),
    )

    life.do(service.announce_change, last)

    with pytest.raises(Unavailable, match="registry_went_back"):
        life.facts(held)


def test_of_a_gap_only_apps_certified_after_it_are_spared(life: Life) -> None:
    """What is missing may have been about any app that was not signed since."""
    second = life.apps[1]
    run(life, delete(T).where(T.c.app == second))

    assert certified(life) == [False, False, True]
    assert "are missing" in faults(life)


def test_all_attestations_deleted_certify_nothing(life: Life) -> None:
    run(life, delete(T))

    assert certified(life) == [False, False, False]
    assert life.do(attestations.attest_existing) == 0, (
        "what there was is not made good by signing what there is"
    )
    with pytest.raises(Conflict, match="registry_not_as_signed"):
        life.certify(life.pick_first)


def test_a_key_of_somebody_else_signs_no_attestation(life: Life) -> None:
    """C179: nor does a damaged signature."""
    last = life.apps[-1]
    forged = row_of(life, T, last) | {"signature": "A" * 86}

    run(life, update(T).where(T.c.number == forged["number"]).values(signature=forged["signature"]))

    assert certified(life) == [False, False, False]


def test_certifying_again_vouches_for_nothing_that_was_not_signed(life: Life) -> None:
    first = life.apps[0]
    forged = row_of(life, C, first) | {"id": "cert_000", "scopes": "launch openid patient/*.cruds"}
    run(life, C.insert().values(forged))
    assert not certified(life)[0]

    version = life.do(service.list_versions, first)[0].id
    made = life.do(
        certify_in_order, CertifyOrder(version, Environment.PRODUCTION, SCOPES, life.later(days=9))
    )

    assert certified(life) == [True, True, True]
    assert [each.id for each in life.do(service.certifications_of, first)] == [made.id]
    assert faults(life) == ""


def test_an_app_whose_category_was_changed_is_certified_only_once_it_was_moved(life: Life) -> None:
    """C179: a reviewer must not certify in a category that nobody chose."""
    first = life.apps[0]
    run(life, update(A).where(A.c.id == first).values(category="scheduling"))
    version = life.do(service.list_versions, first)[0].id
    order = CertifyOrder(version, Environment.PRODUCTION, ("launch", "openid"), life.later(days=9))

    with pytest.raises(Conflict, match="category_not_as_signed"):
        life.do(certify_in_order, order)
    life.do(service.change_category, first, "clinical_decision_support", "as it was found to be")
    life.do(certify_in_order, order)

    assert certified(life) == [True, True, True]


@pytest.mark.parametrize("cut", [[T], [T, keys_store.signing_key]], ids=["before keys", "with the keys"])
def test_an_upgrade_signs_what_there_is_once(life: Life, cut: list[Any]) -> None:
    """C179: a database from before has neither attestations, nor their key, nor records of them."""
    record = delete(EVENTS).where(EVENTS.c.action == attestations.ATTEST_ACTION)
    run(life, delete(T), delete(keys_store.signing_key), record)
    assert certified(life) == [False, False, False]

    assert life.do(attestations.attest_existing) == 3
    assert life.do(attestations.attest_existing) == 0
    assert certified(life) == [True, True, True]

    run(life, CHANGES["its tier"](life.apps[0]), *(delete(each) for each in cut))
    assert life.do(attestations.attest_existing) == 0, "the record shows that there were some"
    assert certified(life) == [False, False, False]


def test_the_host_signs_again_what_cannot_be_trusted(life: Life) -> None:
    run(life, update(T).values(signature="A" * 86))
    assert certified(life) == [False, False, False]

    assert life.do(partial(attestations.attest_existing, from_scratch=True)) == 3

    assert certified(life) == [True, True, True]
    life.certify(life.pick_first)
    assert faults(life) == ""


def test_an_app_that_was_deleted_does_not_come_back(life: Life, clock: FakeClock) -> None:
    client = life.do(installations.register_dynamically, TenantId("general"), BODY)[0]
    rows = {table: row_of(life, table, client.app) for table in (A, C, V)}
    clock.advance(timedelta(hours=25))
    life.do(installations.register_dynamically, TenantId("clinic"), BODY)

    run(life, *(table.insert().values(row) for table, row in rows.items()))

    assert life.do(service.certifications_of, client.app) == []
    assert "was deleted" in faults(life)


def test_rotating_the_key_breaks_no_attestation(life: Life) -> None:
    life.do(keys.rotate, Purpose.REGISTRY, "")
    assert certified(life) == [True, True, True]

    life.certify(life.pick_last)
    life.do(keys.rotate, Purpose.REGISTRY, "")

    assert certified(life) == [True, True, True]
    assert faults(life) == ""


def test_many_who_certify_at_once_make_one_chain(life: Life) -> None:
    """Two processes that certify at one moment: each attestation follows another, and neither's certification is lost."""
    orders = [
        CertifyOrder(
            life.do(service.list_versions, app)[0].id, Environment.PRODUCTION, SCOPES, life.later(days=n)
        )
        for n in range(20, 20 + effort(2, 20))
        for app in life.apps
    ]

    def certify(order: CertifyOrder) -> bool:
        try:
            life.do(certify_in_order, order)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(certify, orders))

    assert any(done)
    count = life.do(lambda ctx: ctx.tx.execute(select(func.count()).select_from(T)).scalar_one())
    assert count == 3 + sum(done)
    assert certified(life) == [True, True, True]
    assert faults(life) == ""
    assert sum(len(life.do(service.certifications_of, app)) for app in life.apps) == 3 + sum(done)


def test_a_process_reads_only_what_is_new(life: Life) -> None:
    """Cost is proportional to what changed: what was verified is not read again."""
    life.facts()
    read: list[int] = []
    whole = attestation_store.read_attestations

    def counting(*args: Any, **more: Any) -> Any:
        found = list(whole(*args, **more))
        read.append(len(found))
        return iter(found)

    attestation_store.read_attestations = counting
    try:
        life.facts()
        assert read == []
        life.certify(life.pick_first)
        read.clear()
        life.facts()
    finally:
        attestation_store.read_attestations = whole
    assert sum(read) <= 2


def test_an_upgrade_with_nothing_to_sign_makes_no_key(life: Life) -> None:
    """C179: a key without an attestation would count as attestations that were deleted."""
    record = delete(EVENTS).where(EVENTS.c.action == attestations.ATTEST_ACTION)
    run(life, delete(T), delete(keys_store.signing_key), record, delete(A))

    assert life.do(attestations.attest_existing) == 0

    assert not life.do(keys.has_keys, Purpose.REGISTRY)
