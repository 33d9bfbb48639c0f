"""Tables of requests, their groups, hospitals' rules and accepted versions."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    Row,
    String,
    Table,
    Text,
    func,
    select,
    text,
)
from sqlalchemy.sql.elements import ColumnElement

from hilum.infra.db import Instant, get_row, in_batches, insert_or_ignore, metadata
from hilum.infra.sorting import by_key, paged
from hilum.kernel.ids import AppId, PersonId, TenantId
from hilum.kernel.pages import PageQuery
from hilum.requests.documents import (
    read_facts,
    read_rules,
    read_verdict,
    write_facts,
    write_rule,
    write_verdict,
)
from hilum.requests.models import (
    GROUP_BOUND,
    GROUP_SORTS,
    HAND_OVER_BATCH,
    PURGE_BATCH,
    WAITING_BATCH,
    Acceptance,
    AppRequest,
    Group,
    RuleSet,
    State,
)

_OPEN = text("state = 'open'")

groups = Table(
    "requests_group",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("assigned_to", String(64), nullable=False),
    Column("attention", String(40), nullable=False),
    Column("decided_by", String(120), nullable=False),
    Column("decided_at", Instant),
    Column("reason", Text, nullable=False),
    Column("installation", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    Column("rules_version", Integer, nullable=False),
    # Any number that were decided, and one that is open, for each tenant and app.
    Index("uq_requests_group_open", "tenant", "app", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN),
    Index("ix_requests_group_listed", "tenant", "state", "id"),
    Index("ix_requests_group_state", "state", "id"),
    Index("ix_requests_group_app", "tenant", "app", "decided_at"),
    Index("ix_requests_group_decided", "decided_at"),
    Index(
        "ix_requests_group_waiting",
        "opened_at",
        "tenant",
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
)

requests = Table(
    "requests_request",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("group", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("person", String(64), nullable=False),
    Column("role", String(40), nullable=False),
    Column("roles", JSON, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("workflows", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("asked_at", Instant, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("verdict", JSON, nullable=False),
    Column("judged_by", Integer, nullable=False),
    Column("state", String(20), nullable=False),
    Index(
        "uq_requests_request_open", "group", "person", unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN
    ),
    Index("ix_requests_request_group", "group", "id"),
    Index("ix_requests_request_person", "person", "id"),
    Index("ix_requests_request_tenant", "tenant", "id"),
)

rule_sets = Table(
    "requests_rules",
    metadata,
    Column("tenant", String(32), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("rules", JSON, nullable=False),
    Column("note", Text, nullable=False),
    Column("approver", String(64), nullable=False),
    Column("in_force_at", Instant, nullable=False),
)
"""Rows are only ever added: the newest version of a tenant is in force."""

acceptances = Table(
    "requests_acceptance",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("installation", String(64), nullable=False),
    Column("tenant", String(32), nullable=False),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("left_out", JSON, nullable=False),
    Column("accepted_by", String(120), nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Index("ix_requests_acceptance_installation", "installation", "accepted_at"),
)


# --- groups --------------------------------------------------------------------------------------------------------------------


def _group_row(group: Group) -> dict[str, Any]:
    return {name: getattr(group, name) for name in Group.__dataclass_fields__} | {"state": group.state.value}


def _group(row: Row[Any]) -> Group:
    found = dict(row._mapping)
    return Group(**found | {"tenant": TenantId(row.tenant), "app": AppId(row.app), "state": State(row.state)})


def add_group(tx: Connection, group: Group) -> bool:
    """Add a group; return False if the app has an open one at the tenant."""
    return tx.execute(insert_or_ignore(tx, groups).values(_group_row(group))).rowcount == 1


def find_open(tx: Connection, tenant: TenantId, app: AppId) -> Group | None:
    """Find and lock the open group of an app at a tenant."""
    query = select(groups).where(
        groups.c.tenant == tenant, groups.c.app == app, groups.c.state == State.OPEN.value
    )
    row = tx.execute(query.with_for_update()).first()
    return None if row is None else _group(row)


def _waiting(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return (groups.c.state == State.OPEN.value, groups.c.opened_at >= since, groups.c.opened_at < until)


def list_waiting_at(tx: Connection, since: datetime, until: datetime, after: TenantId) -> list[TenantId]:
    """List the next tenants by id with groups that are open and were opened within a time."""
    query = select(groups.c.tenant).where(*_waiting(since, until), groups.c.tenant > after).distinct()
    return [TenantId(row.tenant) for row in tx.execute(query.order_by(groups.c.tenant).limit(WAITING_BATCH))]


def list_waiting(tx: Connection, tenant: TenantId, since: datetime, until: datetime) -> list[Group]:
    """List the open groups of a tenant that were opened within a time, the oldest first; at most GROUP_BOUND."""
    query = select(groups).where(groups.c.tenant == tenant, *_waiting(since, until))
    return [_group(row) for row in tx.execute(query.order_by(groups.c.id).limit(GROUP_BOUND))]


def open_apps_of(tx: Connection, person: PersonId) -> frozenset[AppId]:
    """Return the apps for which a person has an open request."""
    query = select(requests.c.app).where(requests.c.person == person, requests.c.state == State.OPEN.value)
    return frozenset(AppId(row.app) for row in tx.execute(query))


def get_group(tx: Connection, group: str, *, lock: bool = False) -> Group:
    """Get a group; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    return _group(get_row(tx, groups, group, "group of requests", code="group", lock=lock))


def save_group(tx: Connection, after: Group, *, revision: int) -> bool:
    """Save an open group as it was at a revision; return False if it was changed or decided meanwhile."""
    same = (groups.c.id == after.id, groups.c.state == State.OPEN.value, groups.c.revision == revision)
    return tx.execute(groups.update().where(*same).values(_group_row(after))).rowcount == 1


def list_groups(tx: Connection, tenant: TenantId | None, state: State, page: PageQuery) -> list[Group]:
    """List groups of a state by id or in the page's order, of one tenant or of all."""
    query = select(groups).where(groups.c.state == state.value)
    if tenant is not None:
        query = query.where(groups.c.tenant == tenant)
    return [_group(row) for row in tx.execute(paged(query, groups, GROUP_SORTS, page))]


def list_assigned(tx: Connection, tenant: TenantId, person: str) -> list[Group]:
    """List and lock open groups that are assigned to a person, the oldest first, at most a batch."""
    mine = (groups.c.tenant == tenant, groups.c.state == State.OPEN.value, groups.c.assigned_to == person)
    query = select(groups).where(*mine).order_by(groups.c.id).limit(HAND_OVER_BATCH)
    return [_group(row) for row in tx.execute(query.with_for_update())]


def was_dismissed(tx: Connection, tenant: TenantId, app: AppId, since: datetime) -> bool:
    """Check whether an administrator, and no rule, dismissed a group of an app at a tenant after a moment."""
    query = select(groups.c.id).where(
        groups.c.tenant == tenant,
        groups.c.app == app,
        groups.c.decided_at >= since,
        groups.c.state == State.DISMISSED.value,
        groups.c.rule == "",
    )
    return tx.execute(query.limit(1)).first() is not None


# --- requests ------------------------------------------------------------------------------------------------------------------


def add_request(tx: Connection, request: AppRequest) -> bool:
    """Add a request; return False if its person has an open one in the group."""
    row = {
        "id": request.id,
        "group": request.group,
        "tenant": request.tenant,
        "app": request.app,
        "person": request.person,
        "role": request.role,
        "roles": sorted(request.roles),
        "scopes": list(request.scopes),
        "workflows": list(request.workflows),
        "reason": request.reason,
        "asked_at": request.asked_at,
        "facts": write_facts(request.facts),
        "verdict": write_verdict(request.verdict),
        "judged_by": request.judged_by,
        "state": request.state.value,
    }
    return tx.execute(insert_or_ignore(tx, requests).values(row)).rowcount == 1


def _request(row: Row[Any]) -> AppRequest:
    return AppRequest(
        id=row.id,
        group=row.group,
        tenant=TenantId(row.tenant),
        app=AppId(row.app),
        person=PersonId(row.person),
        role=row.role,
        roles=frozenset(row.roles),
        scopes=tuple(row.scopes),
        workflows=tuple(row.workflows),
        reason=row.reason,
        asked_at=row.asked_at,
        facts=read_facts(row.facts),
        verdict=read_verdict(row.verdict),
        judged_by=row.judged_by,
        state=State(row.state),
    )


def get_request(tx: Connection, request: str) -> AppRequest:
    return _request(get_row(tx, requests, request, "request"))


def list_requests(
    tx: Connection, page: PageQuery, *, tenant: str = "", person: str = "", group: str = ""
) -> list[AppRequest]:
    """List requests by id: of a group, a person, a tenant, or (all empty) everywhere."""
    query = select(requests)
    for column, value in (
        (requests.c.group, group),
        (requests.c.person, person),
        (requests.c.tenant, tenant),
    ):
        # The narrowest is enough, and is the one with an index in this order.
        if value:
            query = query.where(column == value)
            break
    return [_request(row) for row in tx.execute(by_key(query, requests.c.id, page))]


def all_of(tx: Connection, of: Collection[str]) -> list[AppRequest]:
    """List all requests of some groups; a group has at most GROUP_BOUND that are open."""
    found: list[AppRequest] = []
    for batch in in_batches(of):
        query = select(requests).where(requests.c.group.in_(batch)).order_by(requests.c.group, requests.c.id)
        found += [_request(row) for row in tx.execute(query)]
    return found


def count_since(tx: Connection, person: PersonId, since: datetime, bound: int) -> int:
    """Count the requests of a person since a moment, up to a bound."""
    newest = select(requests.c.asked_at).where(requests.c.person == person)
    found = tx.execute(newest.order_by(requests.c.id.desc()).limit(bound)).scalars()
    return sum(at >= since for at in found)


def count_in_group(tx: Connection, group: str) -> int:
    query = select(func.count()).select_from(requests).where(requests.c.group == group)
    return int(tx.execute(query).scalar_one())


def save_states(tx: Connection, of: Collection[str], state: State) -> None:
    """Save how some open requests ended."""
    for batch in in_batches(of):
        open_ = (requests.c.id.in_(batch), requests.c.state == State.OPEN.value)
        tx.execute(requests.update().where(*open_).values(state=state.value))


def list_past(tx: Connection, tenant: TenantId, *, after: str, limit: int) -> list[AppRequest]:
    """List a tenant's requests after an id, oldest first."""
    query = select(requests).where(requests.c.tenant == tenant, requests.c.id > after)
    return [_request(row) for row in tx.execute(query.order_by(requests.c.id).limit(limit))]


def purge(tx: Connection, before: datetime) -> int:
    """Delete groups that were decided before a moment with their requests, at most a batch; return how many."""
    old = select(groups.c.id).where(groups.c.decided_at < before).limit(PURGE_BATCH)
    ids = list(tx.execute(old).scalars())
    for batch in in_batches(ids):
        tx.execute(requests.delete().where(requests.c.group.in_(batch)))
        tx.execute(groups.delete().where(groups.c.id.in_(batch)))
    return len(ids)


# --- rules and accepted versions -----------------------------------------------------------------------------------------------


def add_rules(tx: Connection, found: RuleSet) -> bool:
    """Add a version of a tenant's rules; return False if there is one of this number."""
    row = {
        "tenant": found.tenant,
        "version": found.version,
        "rules": [write_rule(each) for each in found.rules],
        "note": found.note,
        "approver": found.approver,
        "in_force_at": found.in_force_at,
    }
    return tx.execute(insert_or_ignore(tx, rule_sets).values(row)).rowcount == 1


def _rule_set(row: Row[Any]) -> RuleSet:
    return RuleSet(
        tenant=TenantId(row.tenant),
        version=row.version,
        rules=read_rules(row.rules),
        note=row.note,
        approver=PersonId(row.approver),
        in_force_at=row.in_force_at,
    )


def rules_in_force(tx: Connection, tenant: TenantId) -> RuleSet:
    """Return the newest version of a tenant's rules; version 0 without a rule if it has none."""
    query = select(rule_sets).where(rule_sets.c.tenant == tenant).order_by(rule_sets.c.version.desc())
    row = tx.execute(query.limit(1)).first()
    return RuleSet(tenant) if row is None else _rule_set(row)


def list_rule_sets(tx: Connection, tenant: TenantId, page: PageQuery) -> list[RuleSet]:
    """List the versions of a tenant's rules, newest first; a page starts after a version."""
    query = select(rule_sets).where(rule_sets.c.tenant == tenant)
    if page.after:
        query = query.where(rule_sets.c.version < int(page.after))
    return [
        _rule_set(row) for row in tx.execute(query.order_by(rule_sets.c.version.desc()).limit(page.limit))
    ]


def list_newest_rules(tx: Connection) -> list[RuleSet]:
    """List the rules in force of every tenant that has any."""
    newest = select(rule_sets.c.tenant, func.max(rule_sets.c.version).label("version"))
    last = newest.group_by(rule_sets.c.tenant).subquery()
    query = select(rule_sets).join(
        last, (rule_sets.c.tenant == last.c.tenant) & (rule_sets.c.version == last.c.version)
    )
    return [_rule_set(row) for row in tx.execute(query)]


def add_acceptance(tx: Connection, acceptance: Acceptance) -> None:
    row = {name: getattr(acceptance, name) for name in Acceptance.__dataclass_fields__}
    lists = {"scopes": list(acceptance.scopes), "left_out": list(acceptance.left_out)}
    tx.execute(acceptances.insert().values(row | lists | {"roles": sorted(acceptance.roles)}))


def last_accepted_at(tx: Connection, installation: str) -> datetime | None:
    """Return when a wider version was last accepted for an installation."""
    query = select(acceptances.c.accepted_at).where(acceptances.c.installation == installation)
    found: datetime | None = tx.execute(query.order_by(acceptances.c.accepted_at.desc()).limit(1)).scalar()
    return found
