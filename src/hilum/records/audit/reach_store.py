"""Counts whom apps reached in a window: patients, people, authorizations and calls, at each hospital, from the access index alone.

The index has digests, so a count may be too low by the few that collide. One query reads what these apps did in the window, by the index on
app and time, and nothing else; the database counts.
"""

from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, case, distinct, func, null, select, union

from hilum.foundation.infra.db import Instant
from hilum.records.audit.access_index import access_found, access_index, digest, open_index
from hilum.records.audit.models import Outcome, Reach, ReachQuery, TenantReach


def read(directory: Path, database_url: str, query: ReachQuery) -> Reach | None:
    """Count whom some apps reached, as far as it is indexed; None if nothing is."""
    index = open_index(database_url, directory)
    return None if index is None else index.read(partial(count, query=query))


def count(tx: Connection, query: ReachQuery) -> Reach:
    """Count whom some apps reached at some hospitals in a window, by what was permitted to them."""
    table, answers = access_index, access_found
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
        (answers.c.at == table.c.at)
        & (answers.c.journal == table.c.journal)
        & (answers.c.number == table.c.number)
    )
    # A union has each patient once, whether an answer was about them alone or showed several.
    reached = union(
        select(table.c.tenant, table.c.patient).where(*permitted, table.c.patient.is_not(None)),
        select(table.c.tenant, answers.c.patient).join(answers, same).where(*permitted),
    ).cte()
    by_tenant = select(reached.c.tenant, func.count()).group_by(reached.c.tenant)
    # In one statement, so that the patients are gathered once. NULL stands for all hospitals.
    counted = by_tenant.union_all(select(null(), func.count(distinct(reached.c.patient))))
    patients = {tenant: int(number) for tenant, number in tx.execute(counted)}
    is_permitted = table.c.outcome == Outcome.DONE.value

    def several(*of: ColumnElement[Any]) -> Select[Any]:
        # 0 stands for empty, which is nobody.
        people, authorizations = (
            func.count(distinct(case((is_permitted & (table.c[word] != 0), table.c[word]))))
            for word in ("person", "authorization")
        )
        return select(people, authorizations, *of).where(*here)

    moment = case((is_permitted, table.c.at))
    rows = tx.execute(
        several(
            table.c.tenant,
            func.sum(case((is_permitted, 1), else_=0)),
            func.sum(case((table.c.outcome == Outcome.REFUSED.value, 1), else_=0)),
            func.min(moment, type_=Instant),
            func.max(moment, type_=Instant),
        ).group_by(table.c.tenant)
    ).all()
    everybody = tx.execute(several()).one()
    found = {
        tenant: TenantReach(int(calls), patients.get(tenant, 0), int(people), int(held), first, last)
        for people, held, tenant, calls, _, first, last in rows
        if calls
    }
    total = TenantReach(
        sum(each.calls for each in found.values()),
        patients[None],
        int(everybody[0]),
        int(everybody[1]),
        min((each.first for each in found.values() if each.first), default=None),
        max((each.last for each in found.values() if each.last), default=None),
    )
    by_name = {names[tenant]: each for tenant, each in found.items() if tenant in names}
    return Reach(total, by_name, sum(int(row[4]) for row in rows))
