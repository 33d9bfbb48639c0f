"""What waits for a second person, as it is stored (C200; security decision 25)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from hilum.controls.approvals import service, store
from hilum.controls.approvals.models import APPROVAL_LIFE, Act, Approval, ApprovalKind, ApprovalState
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import PersonId, TenantId
from tests.sim.world import START

GENERAL, CHILDREN = TenantId("general"), TenantId("children")
ACT = Act(ApprovalKind.SECRET, GENERAL, "cli_1", {"client": "cli_1"}, sealed="half of a secret")
WAITS = Approval("apr_1", ACT, PersonId("per_asker"), START, START + APPROVAL_LIFE)
DECIDED = replace(WAITS, state=ApprovalState.APPROVED, decided_by=PersonId("per_second"), decided_at=START)


@pytest.fixture
def waiting(uow: UnitOfWork) -> UnitOfWork:
    uow.db.write(lambda tx: store.APPROVALS.add(tx, WAITS))
    return uow


def count(uow: UnitOfWork, tenant: TenantId | None, after: timedelta = timedelta(0)) -> int:
    return uow.db.read(lambda tx: store.count_pending(tx, tenant, START + after))


def test_what_waits_counts_against_the_bound_of_its_own_hospital_until_it_is_decided_or_over(
    waiting: UnitOfWork,
) -> None:
    """No hospital keeps another, or the staff, from asking for anything."""
    assert [count(waiting, each) for each in (GENERAL, CHILDREN, None)] == [1, 0, 0]
    assert count(waiting, GENERAL, APPROVAL_LIFE) == 0

    waiting.db.write(lambda tx: store.save_decided(tx, DECIDED))

    assert count(waiting, GENERAL) == 0


def test_an_act_is_decided_once_and_half_of_a_secret_is_deleted_then(waiting: UnitOfWork) -> None:
    refused = replace(DECIDED, state=ApprovalState.REFUSED)

    assert waiting.db.write(lambda tx: store.save_decided(tx, DECIDED))
    assert not waiting.db.write(lambda tx: store.save_decided(tx, refused))

    kept = waiting.db.read(lambda tx: store.APPROVALS.get(tx, WAITS.id))
    assert (kept.state, kept.act.sealed) == (ApprovalState.APPROVED, "")


def test_after_a_restore_nothing_waits_and_what_was_over_before_keeps_its_end(waiting: UnitOfWork) -> None:
    """What was pending in the backup may have been decided since."""
    over = replace(WAITS, id="apr_0", expires_at=START - timedelta(days=1))
    waiting.db.write(lambda tx: store.APPROVALS.add(tx, over))

    waiting.write_now(service.end_all, actor=SYSTEM, trace=Trace("req_test"))

    ends = select(store.approvals.c.expires_at).order_by(store.approvals.c.id)
    assert waiting.db.read(lambda tx: list(tx.execute(ends).scalars())) == [over.expires_at, START]
    assert waiting.db.read(lambda tx: store.list_pending(tx, START)) == []
