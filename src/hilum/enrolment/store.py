"""Links and approvals as rows."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Integer, Row, String, Table, func, select

from hilum.enrolment.models import (
    CODE_TRIES,
    Approval,
    ApprovalKind,
    ApprovalState,
    Link,
    Purpose,
)
from hilum.identity.models import NewPerson
from hilum.infra.db import Instant, metadata
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery

links = Table(
    "enrolment_link",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("purpose", String(20), nullable=False),
    Column("issued_by", String(100), nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("approval", String(64), nullable=False),
    Column("code_digest", String(64), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("used_at", Instant),
    Column("replaced_at", Instant),
    Index(None, "person"),
    Index(None, "expires_at"),
)

approvals = Table(
    "enrolment_approval",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("person", String(64), nullable=False),
    Column("new_person", JSON, nullable=False),
    Column("asked_by", String(64), nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("code_digest", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("decided_by", String(64), nullable=False),
    Column("decided_at", Instant),
    Index(None, "tenant", "state", "id"),
    Index(None, "state", "id"),
)


def add_link(tx: Connection, link: Link) -> None:
    row = asdict(link) | {"tenant": link.tenant or "", "purpose": link.purpose.value}
    tx.execute(links.insert().values(row))


def _link(row: Row[Any]) -> Link:
    found = dict(row._mapping)  # noqa: SLF001 - how SQLAlchemy documents a row as a mapping
    return Link(
        **found | {"tenant": TenantId(row.tenant) if row.tenant else None, "purpose": Purpose(row.purpose)}
    )


def find_link(tx: Connection, digest: str) -> Link | None:
    row = tx.execute(select(links).where(links.c.digest == digest)).first()
    return None if row is None else _link(row)


def save_links_replaced(tx: Connection, person: PersonId, at: datetime) -> None:
    """End every unused link of a person."""
    unused = (links.c.person == person, links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    tx.execute(links.update().where(*unused).values(replaced_at=at))


def count_try(tx: Connection, digest: str, now: datetime) -> Link | None:
    """Count an attempt at a link that can be used, before its code is looked at; None when it cannot be used.

    One statement counts, so attempts at the same moment do not slip through together.
    """
    usable = (
        links.c.digest == digest,
        links.c.used_at.is_(None),
        links.c.replaced_at.is_(None),
        links.c.expires_at > now,
        links.c.tries < CODE_TRIES,
    )
    counted = links.update().where(*usable).values(tries=links.c.tries + 1).returning(links)
    row = tx.execute(counted).first()
    return None if row is None else _link(row)


def save_link_used(tx: Connection, digest: str, at: datetime) -> bool:
    """Use a link up in one statement; False if it was used or replaced meanwhile."""
    unused = (links.c.digest == digest, links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    return tx.execute(links.update().where(*unused).values(used_at=at)).rowcount == 1


def delete_links_before(tx: Connection, at: datetime) -> None:
    tx.execute(links.delete().where(links.c.expires_at < at))


def add_approval(tx: Connection, approval: Approval) -> None:
    order = approval.order
    person = {
        "username": order.username,
        "name": order.name,
        "role": order.role,
        "fhir_user": order.fhir_user,
    }
    row = {
        "id": approval.id,
        "kind": approval.kind.value,
        "tenant": order.tenant or "",
        "person": approval.person,
        "new_person": person | {"patients": list(order.patients)},
        "asked_by": approval.asked_by,
        "asked_at": approval.asked_at,
        "expires_at": approval.expires_at,
        "code_digest": approval.code_digest,
        "state": approval.state.value,
        "decided_by": "",
        "decided_at": None,
    }
    tx.execute(approvals.insert().values(row))


def _approval(row: Row[Any]) -> Approval:
    person = row.new_person
    order = NewPerson(
        tenant=TenantId(row.tenant) if row.tenant else None,
        username=person["username"],
        name=person["name"],
        role=person["role"],
        fhir_user=person["fhir_user"],
        patients=tuple(person["patients"]),
    )
    return Approval(
        id=row.id,
        kind=ApprovalKind(row.kind),
        order=order,
        person=PersonId(row.person),
        asked_by=PersonId(row.asked_by),
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        code_digest=row.code_digest,
        state=ApprovalState(row.state),
        decided_by=PersonId(row.decided_by) if row.decided_by else None,
        decided_at=row.decided_at,
    )


def get_approval(tx: Connection, approval: str) -> Approval:
    row = tx.execute(select(approvals).where(approvals.c.id == approval)).first()
    if row is None:
        raise NotFound("approval_not_found", "There is no such approval.")
    return _approval(row)


def list_pending(
    tx: Connection, now: datetime, *, tenant: TenantId | None = None, page: PageQuery = FIRST_PAGE
) -> list[Approval]:
    """List what waits for a second person, oldest first; of one tenant if one is given."""
    query = select(approvals).where(
        approvals.c.state == ApprovalState.PENDING.value,
        approvals.c.expires_at > now,
        approvals.c.id > page.after,
    )
    if tenant is not None:
        query = query.where(approvals.c.tenant == tenant)
    return [_approval(row) for row in tx.execute(query.order_by(approvals.c.id).limit(page.limit))]


def count_pending(tx: Connection, tenant: TenantId | None, now: datetime) -> int:
    waiting = (
        approvals.c.tenant == (tenant or ""),
        approvals.c.state == ApprovalState.PENDING.value,
        approvals.c.expires_at > now,
    )
    return int(tx.execute(select(func.count()).select_from(approvals).where(*waiting)).scalar_one())


def save_decided(tx: Connection, approval: Approval, state: ApprovalState, *, by: str, at: datetime) -> bool:
    """Decide an approval in one statement; False if it was decided meanwhile."""
    pending = (approvals.c.id == approval.id, approvals.c.state == ApprovalState.PENDING.value)
    values = {"state": state.value, "decided_by": by, "decided_at": at}
    return tx.execute(approvals.update().where(*pending).values(values)).rowcount == 1


def end_all(tx: Connection, at: datetime) -> int:
    """Let no link and no pending approval be used any more; return how many links those were."""
    tx.execute(approvals.update().where(approvals.c.expires_at > at).values(expires_at=at))
    open_ = links.update().where(links.c.used_at.is_(None), links.c.replaced_at.is_(None))
    return tx.execute(open_.values(replaced_at=at)).rowcount
