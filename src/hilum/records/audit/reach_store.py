"""Counts whom apps reached in a window: patients, people, authorizations and calls, at each hospital, from the access index alone.

The index has digests, so a count may be too low by the few that collide. One query reads what these apps did in the window, by the index on
app and time, and nothing else; the database counts.
"""

from functools import partial
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, case, distinct, func, select, union

from hilum.foundation.infra.db import Instant
from hilum.records.audit.access_index import access_found, access_index, digest, open_index
from hilum.records.audit.models import Outcome, Reach, ReachQuery, TenantReach


def read(directory: Path, database_url: str, query: ReachQuery) -> Reach | None:
    """Count whom some apps reached, as far as it is indexed; None if nothing is."""
    index = open_index(database_url, directory)
    return None if index is None else index.read(partial(count, query=query))


def count(tx: Connection, query: ReachQuery) -> Reach:
    """Count whom some apps reached at some hospitals in a window, by what was permitted to them."""
    table, found = access_index, access_found
    names = {digest("tenant", each): each for each in query.tenants}
    here: list[ColumnElement[bool]] = [
        table.c.app.in_([digest("app", each) for each in query.apps]),
        table.c.at >= query.since,
        table.c.at < query.until,
    ]
    if query.narrowed:
        here.append(table.c.tenant.in_(names))
    permitted = (*here, table.c.outcome == Outcome.DONE.value)
    same = (
        (found.c.at == table.c.at) & (found.c.journal == table.c.journal) & (found.c.number == table.c.number)
    )
    # A union has each patient once, whether an answer was about them alone or showed several.
    reached = union(
        select(table.c.tenant, table.c.patient).where(*permitted, table.c.patient.is_not(None)),
        select(table.c.tenant, found.c.patient).join(found, same).where(*permitted),
    ).subquery()
    by_tenant = select(reached.c.tenant, func.count()).group_by(reached.c.tenant)
    patients = {int(tenant): int(number) for tenant, number in tx.execute(by_tenant)}
    everyone = select(func.count(distinct(reached.c.patient)))
    moments = (func.min(table.c.at, type_=Instant), func.max(table.c.at, type_=Instant))
    # 0 stands for empty, which is nobody.
    people, authorizations = (
        func.count(distinct(case((table.c[word] != 0, table.c[word]))))
        for word in ("person", "authorization")
    )
    rows = tx.execute(
        select(table.c.tenant, func.count(), people, authorizations, *moments)
        .where(*permitted)
        .group_by(table.c.tenant)
    ).all()
    total = tx.execute(select(func.count(), people, authorizations, *moments).where(*permitted)).one()
    refused = select(func.count()).where(*here, table.c.outcome == Outcome.REFUSED.value)
    return Reach(
        TenantReach(
            int(total[0]), int(tx.execute(everyone).scalar_one()), int(total[1]), int(total[2]), *total[3:]
        ),
        {
            names[int(tenant)]: TenantReach(
                int(calls), patients.get(int(tenant), 0), int(seen), int(held), first, last
            )
            for tenant, calls, seen, held, first, last in rows
            if int(tenant) in names
        },
        int(tx.execute(refused).scalar_one()),
    )
