"""The stored policy: what was edited, deleted or swapped decides nothing and is named; and the way back to one that decides (C179, C218)."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import delete, func, select, update

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import EVERYTHING
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Unavailable
from hilum.policy.matrix import chain, loading, service, store
from hilum.policy.matrix.document import canonical
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import FORMAT, ApplyOrder, Book, Version
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.keys import service as keys
from hilum.records.keys.models import KeyState, Purpose
from hilum.records.keys.store import signing_key
from tests.flows.control_site import TRACE, ControlSite, build, with_policy
from tests.flows.policy_ground import (
    ENTRY,
    NARROWER,
    WIDER,
    add,
    agree,
    apply,
    burst,
    in_force,
    json_of,
    plain,
)
from tests.sim.backends import both_backends
from tests.sim.facts import whole
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import book

V, A = store.versions, store.applications


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


def run(site: ControlSite, *statements: Any) -> None:
    def tamper(ctx: Context) -> None:
        for each in statements:
            ctx.tx.execute(each)

    site.system(tamper)


def refused(site: ControlSite, code: str = "policy_not_as_signed") -> str:
    """Assert that nothing is decided; return the reason."""
    with pytest.raises(Unavailable) as raised:
        site.system(whole(service.facts))
    assert raised.value.code == code
    return raised.value.detail


def faults(site: ControlSite) -> str:
    return " ".join(site.system(service.verify).faults)


# --- while somebody else applies -------------------------------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("read", [service.in_force, service.verify])
def test_what_is_applied_between_two_reads_of_one_transaction_does_not_count_as_deleted(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch, read: Callable[[Context], Any]
) -> None:
    """On PostgreSQL each statement sees what is committed by then."""
    number = add(site, NARROWER)
    reads = {
        each: getattr(of, each)
        for of, each in ((store, "list_applications_in_force"), (loading, "recorded_applications"))
    }
    done: list[str] = []

    def then_apply(name: str, *given: Any, **more: Any) -> Any:
        found = reads[name](*given, **more)
        done.append(name)
        if len(done) == 1:
            order = ApplyOrder(number, (), 1, "meanwhile", emergency=True)
            with ThreadPoolExecutor(1) as pool:
                pool.submit(site.system, service.apply, order=order).result(10)
        return found

    monkeypatch.setattr(
        store, "list_applications_in_force", partial(then_apply, "list_applications_in_force")
    )
    monkeypatch.setattr(loading, "recorded_applications", partial(then_apply, "recorded_applications"))

    found = site.uow.read_now(read, actor=SYSTEM, trace=TRACE)

    assert set(done) == set(reads)
    assert not (found.faults if read is service.verify else found.fault)


# --- keys of somebody else -------------------------------------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize("state", list(KeyState))
def test_an_application_signed_by_a_key_that_somebody_added_to_the_database_decides_nothing(
    site: ControlSite, state: KeyState
) -> None:
    """It follows the chain, and whoever can only write to the database cannot seal a key as this platform does (ADR 43)."""
    wider = add(site, WIDER)
    seed = Ed25519PrivateKey.generate()
    public = base64.urlsafe_b64encode(seed.public_key().public_bytes_raw()).rstrip(b"=").decode()

    def forge(ctx: Context) -> None:
        kept = ctx.tx.execute(select(signing_key).where(signing_key.c.purpose == "policy")).one()
        active = state is KeyState.ACTIVE
        if active:
            ctx.tx.execute(update(signing_key).where(signing_key.c.kid == kept.kid).values(state="retired"))
        # The best that they have: what another row holds.
        forged = dict(kept._mapping) | {"kid": "key_forged", "state": state.value}
        ctx.tx.execute(
            signing_key.insert().values(forged | {"public": {"kty": "OKP", "crv": "Ed25519", "x": public}})
        )
        last = store.list_applications_in_force(ctx.tx)[-1]
        digest = store.get_version(ctx.tx, wider).digest
        made = replace(
            last,
            number=2,
            version=wider,
            digest=digest,
            previous=chain.application_digest(last),
            kid="key_forged",
        )
        signature = base64.urlsafe_b64encode(seed.sign(chain.application_bytes(made))).rstrip(b"=").decode()
        store.add_application(ctx.tx, replace(made, signature=signature))

    site.system(forge)

    assert "Application 2 of the policy does not match what was signed." in refused(site)
    assert "Application 2 of the policy does not match what was signed." in faults(site)


def test_a_retired_key_whose_public_half_was_replaced_verifies_nothing(site: ControlSite) -> None:
    site.system(keys.rotate, purpose=Purpose.POLICY, ring="")
    other = {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43}
    intact = faults(site)

    run(site, update(signing_key).where(signing_key.c.state == "retired").values(public=other))

    assert intact == ""
    assert "not match what was signed" in refused(site)


# --- deleted rows ----------------------------------------------------------------------------------------------------------------


@both_backends
def test_a_deleted_last_application_does_not_bring_back_the_book_before(site: ControlSite) -> None:
    """Version 2 narrows everywhere; without its application version 1, which allows more, would decide."""
    apply(site, add(site, NARROWER))

    run(site, delete(A).where(A.c.number == 2))

    assert "Applications 2 to 2 of the policy are missing" in refused(site)
    assert "Applications 2 to 2 of the policy are missing" in faults(site)


def test_a_deleted_last_application_is_named_though_the_same_number_was_applied_again(
    site: ControlSite,
) -> None:
    apply(site, add(site, NARROWER))
    run(site, delete(A).where(A.c.number == 2))
    forged = site.system(lambda ctx: _resigned(ctx, store.list_applications_in_force(ctx.tx)[0], number=2))
    run(site, A.insert().values(_row(forged)))

    assert "not the one in the audit trail" in refused(site)
    assert "not the one in the audit trail" in faults(site)


@both_backends
@pytest.mark.parametrize("tables", [(A,), (A, V)], ids=["applications", "both"])
def test_where_all_rows_were_deleted_the_shipped_book_does_not_decide_and_is_not_adopted(
    site: ControlSite, tables: tuple[Any, ...]
) -> None:
    apply(site, add(site, NARROWER))

    run(site, *map(delete, tables))
    site.system(service.adopt_shipped)

    assert refused(site)
    assert site.system(lambda ctx: ctx.tx.execute(select(func.count()).select_from(A)).scalar_one()) == 0


@pytest.mark.parametrize("with_key", [True, False], ids=["key left", "key deleted"])
def test_a_policy_that_is_gone_is_noticed_by_the_key_or_by_the_audit_trail(
    site: ControlSite, *, with_key: bool
) -> None:
    from hilum.records.audit import store as records

    traces = [delete(records.audit_event)] if with_key else [delete(signing_key)]

    run(site, delete(A), delete(V), *traces)

    assert refused(site)


def test_a_new_platform_has_the_shipped_book_until_it_adopts_it(uow: UnitOfWork, clock: FakeClock) -> None:
    site = build(uow, clock)
    before = site.system(whole(service.facts))

    site.system(service.adopt_shipped)

    after = site.system(whole(service.facts))
    assert (before.last, after.last) == (0, 1)
    assert before.everywhere.digest == after.everywhere.digest
    assert site.system(service.verify).faults == ()


def test_a_deleted_version_is_not_replaced_by_another_of_its_number(site: ControlSite) -> None:
    """One person would put in force what takes two: the application names a version, and the version's digest."""
    narrow = add(site, NARROWER)
    apply(site, narrow)
    run(site, delete(V).where(V.c.number == narrow))

    wide = add(site, WIDER)

    assert wide != narrow
    assert "missing" in refused(site)
    swapped = site.system(lambda ctx: _version_resigned(ctx, store.get_version(ctx.tx, wide), number=narrow))
    run(site, V.insert().values({c.name: getattr(swapped, c.name) for c in V.c}))
    assert "not the one that was put in force" in refused(site)
    assert "not the one that application 2 put in force" in faults(site)


def test_an_application_everywhere_that_was_deleted_does_not_leave_the_shipped_book(
    site: ControlSite,
) -> None:
    apply(site, add(site, NARROWER), "general")

    run(site, delete(A).where(A.c.number == 1))

    assert refused(site)


# --- edited fields ---------------------------------------------------------------------------------------------------------------


def edited(site: ControlSite, table: Any, number: int, change: dict[str, Any]) -> tuple[str, str]:
    """Edit one row for a moment; return why nothing was decided meanwhile, and what a verification found."""
    before = site.system(
        lambda ctx: dict(ctx.tx.execute(select(table).where(table.c.number == number)).one()._mapping)
    )
    run(site, update(table).where(table.c.number == number).values(change))
    found = refused(site), faults(site)
    run(site, update(table).where(table.c.number == number).values(before))
    return found


@both_backends
def test_every_field_of_an_application_is_signed(site: ControlSite) -> None:
    version = add(site, NARROWER)
    apply(site, version, "general")
    apply(site, version, "children")
    changes: dict[str, Any] = {
        "reason": "another",
        "applied_by": "staff:forged",
        "applied_at": site.clock.now() + timedelta(seconds=1),
        "agreed_by": "staff:forged",
        "digest": "0" * 64,
        "previous": "0" * 64,
        "version": 7,
        "tenants": "mercy",
        "kid": "key_other",
        "signature": "AAAA",
    }
    assert changes.keys() | {"number"} == {column.name for column in A.c}

    for number in (2, 3):
        for column, value in changes.items():
            assert all(edited(site, A, number, {column: value})), (number, column)
    assert burst(site, "general") == 99


@both_backends
def test_every_field_of_a_version_is_signed(site: ControlSite) -> None:
    text = canonical(json.loads(site.system(store_text)) | {"title": "Another"}).decode()
    changes: dict[str, Any] = {
        "document": text,
        "digest": "0" * 64,
        "base": 7,
        "note": "x",
        "added_by": "staff:forged",
        "added_at": site.clock.now() + timedelta(seconds=1),
        "kid": "key_other",
        "signature": "AAAA",
    }
    assert changes.keys() | {"number"} == {column.name for column in V.c}

    for column, value in changes.items():
        why, found = edited(site, V, 1, {column: value})
        assert "Version 1 of the policy does not match what was signed" in why, column
        assert "Version 1 of the policy does not match what was signed" in found, column


def store_text(ctx: Context) -> str:
    return store.get_version(ctx.tx, 1).document


def test_a_version_in_force_nowhere_that_was_edited_is_named_and_harms_nobody(site: ControlSite) -> None:
    version = add(site, NARROWER)

    run(site, update(V).where(V.c.number == version).values(note="x"))

    assert burst(site) == 100
    assert f"Version {version} of the policy does not match what was signed." in faults(site)
    assert json_of(apply(site, version))["code"] == "policy_not_as_signed"


def test_an_application_before_the_last_one_everywhere_that_was_edited_is_named(site: ControlSite) -> None:
    """It decides nothing any more, and is evidence of who did what."""
    apply(site, add(site, NARROWER))

    run(site, update(A).where(A.c.number == 1).values(reason="another"))

    assert burst(site) == 99
    assert "Application 1 of the policy does not match what was signed." in faults(site)


# --- processes and the audit trail -----------------------------------------------------------------------------------------------


@both_backends
def test_each_application_is_in_the_audit_trail_with_its_number_and_digest(site: ControlSite) -> None:
    apply(site, add(site, NARROWER))

    events = site.system(audit.list_events, query=EventQuery(action="policies.book.apply")).events
    rows = site.system(lambda ctx: list(store.read_applications(ctx.tx)))

    assert {(each.event.facts["application"], each.event.facts["head"]) for each in events} == {
        (each.number, chain.application_digest(each)) for each in rows
    }
    assert [each.number for each in rows] == [1, 2]
    assert rows[1].previous == chain.application_digest(rows[0])


def test_a_process_refuses_a_policy_older_than_the_one_it_held(site: ControlSite) -> None:
    """Though whoever deleted the application has deleted its record too."""
    apply(site, add(site, NARROWER))
    held: PolicyFacts = site.system(whole(service.facts))
    from hilum.records.audit import store as records

    run(site, delete(A).where(A.c.number == 2), delete(records.audit_event))

    with pytest.raises(Unavailable, match="policy_went_back"):
        site.system(lambda ctx: service.facts(ctx, EVERYTHING).applied(held))


def test_a_process_refuses_another_application_of_the_number_that_it_held(site: ControlSite) -> None:
    facts: PolicyFacts = site.system(whole(service.facts))
    held = replace(facts, head="another")

    with pytest.raises(Unavailable, match="policy_went_back"):
        site.system(lambda ctx: service.facts(ctx, EVERYTHING).applied(held))


def test_a_process_follows_later_applications(site: ControlSite) -> None:
    held: PolicyFacts = site.system(whole(service.facts))

    apply(site, add(site, NARROWER))

    assert site.system(lambda ctx: service.facts(ctx, EVERYTHING).applied(held)).last == 2


# --- what a release cannot read --------------------------------------------------------------------------------------------------


def _version_resigned(ctx: Context, version: Version, **changes: Any) -> Version:
    """Return a version as another release would have stored and signed it."""
    made = replace(version, **changes)
    made = replace(made, digest=chain.document_digest(made.document))
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, chain.version_bytes(made))
    return replace(made, kid=kid, signature=signature)


def _resigned(ctx: Context, application: Any, **changes: Any) -> Any:
    made = replace(application, **changes)
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, chain.application_bytes(made))
    return replace(made, kid=kid, signature=signature)


def _row(application: Any) -> dict[str, Any]:
    row = {c.name: getattr(application, c.name) for c in A.c}
    return row | {"tenants": " ".join(application.tenants)}


def store_as_other_release(site: ControlSite, change: Callable[[dict[str, Any]], None]) -> int:
    """Add and apply a version that another release wrote: its document is changed before it is signed."""
    number = add(site, NARROWER)

    def verb(ctx: Context) -> None:
        version = store.get_version(ctx.tx, number)
        document = json.loads(version.document)
        change(document)
        made = _version_resigned(ctx, version, document=canonical(document).decode())
        ctx.tx.execute(
            update(V).where(V.c.number == number).values({c.name: getattr(made, c.name) for c in V.c})
        )

    site.system(verb)
    return number


def applied_by_other_release(site: ControlSite, number: int) -> None:
    """Put a version in force as a release does that can read it."""

    def verb(ctx: Context) -> None:
        order = ApplyOrder(number, (), 1, "Because.")
        service._applied(ctx, order, agreed_by="")

    site.system(verb)


def _newer_format(document: dict[str, Any]) -> None:
    document["format"] = FORMAT + 1


def _new_field(document: dict[str, Any]) -> None:
    document["categories"]["scheduling"]["entries"]["low"]["purposes"] = ["care"]


def _lost_field(document: dict[str, Any]) -> None:
    del document["categories"]["scheduling"]["entries"]["low"]["alerts"]


def _unsound(document: dict[str, Any]) -> None:
    document["tier_rules"] = []


@pytest.mark.parametrize(
    ("change", "code"),
    [(_newer_format, "policy_newer"), (_new_field, "policy_newer"), (_lost_field, "policy_unreadable")],
)
def test_a_version_that_this_release_cannot_read_has_a_code_of_its_own(
    site: ControlSite, change: Callable[[dict[str, Any]], None], code: str
) -> None:
    number = store_as_other_release(site, change)
    applied_by_other_release(site, number)

    assert f"Version {number} of the policy" in refused(site, code)
    assert site.api("root").get(f"/policies/versions/{number}").json()["number"] == number, (
        "it can be looked at"
    )
    assert f"Version {number}" in faults(site)


def test_a_book_that_is_no_longer_sound_stays_in_force_with_a_warning(site: ControlSite) -> None:
    applied_by_other_release(site, store_as_other_release(site, _unsound))

    verified = site.system(service.verify)

    assert burst(site) == 99
    assert verified.faults == ()
    assert "Writing orders, medications and notes" in verified.warnings[0]
    assert (
        json_of(site.api("root").post("/policies/versions", json=_body(tier_rules=[])))["code"]
        == "book_invalid"
    )


def _body(**changes: Any) -> dict[str, Any]:
    return {"document": plain(changes), "base": 1, "note": "x"}


# --- the way back ----------------------------------------------------------------------------------------------------------------


def _cut(site: ControlSite) -> None:
    apply(site, add(site, NARROWER))
    run(site, delete(A).where(A.c.number == 2))


def _edited(site: ControlSite) -> None:
    apply(site, add(site, NARROWER))
    run(site, update(V).where(V.c.number == 2).values(note="x"))


def _emptied(site: ControlSite) -> None:
    run(site, delete(A))


def _unreadable(site: ControlSite) -> None:
    applied_by_other_release(site, store_as_other_release(site, _newer_format))


@pytest.mark.parametrize("damage", [_cut, _edited, _emptied, _unreadable])
def test_two_people_put_an_intact_version_over_what_cannot_be_read(
    site: ControlSite, damage: Callable[[ControlSite], None]
) -> None:
    damage(site)
    shown = site.api("root").get("/policies").json()
    assert shown["fault"]

    version = add(site, {f"{ENTRY}.quota": {"burst": 98}})
    asked = apply_after(site, version, shown["last"])

    assert asked.status_code == 202, asked.text
    assert "cannot be read" in asked.json()["approval"]["order"]["allows"][0]
    refused(site, "policy_newer" if damage is _unreadable else "policy_not_as_signed")
    agreed = agree(site, asked)
    assert agreed.status_code == 200, agreed.text
    assert (burst(site), in_force(site)["everywhere"]) == (98, version)
    assert "application" not in faults(site), "what is replaced is evidence, and no fault"


def apply_after(site: ControlSite, version: int, after: int, *tenants: str) -> Any:
    body = {"version": version, "tenants": tenants, "after": after, "reason": "Because."}
    return site.api("root").post("/policies/applications", json=body)


def test_one_person_alone_does_not_put_a_version_over_what_cannot_be_read(site: ControlSite) -> None:
    _cut(site)
    asked = apply_after(site, 1, 1)

    answer = agree(site, asked, by="root")

    assert (answer.status_code, json_of(answer)["code"]) == (403, "asked_by_you")
    assert refused(site)


def test_a_damaged_chain_is_not_fixed_at_some_hospitals(site: ControlSite) -> None:
    _cut(site)

    answer = apply_after(site, 1, 1, "general")

    assert (answer.status_code, json_of(answer)["code"]) == (409, "policy_not_as_signed")


def test_a_version_that_cannot_be_read_is_not_put_in_force(site: ControlSite) -> None:
    number = store_as_other_release(site, _newer_format)

    answer = apply(site, number)

    assert (answer.status_code, json_of(answer)["code"]) == (503, "policy_newer")
    assert burst(site) == 100


def test_the_books_in_force_are_parsed_once(site: ControlSite) -> None:
    first: Book = site.system(service.current).everywhere

    again: Book = site.system(whole(service.facts)).everywhere

    assert first is again
    assert book().digest == first.digest
