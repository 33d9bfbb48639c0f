"""A row with a value that Hilum never writes costs its own app only, and counts again once it is repaired (ADR 150)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Table, literal_column, select, update

from hilum.clients.store import clients
from hilum.infra.context import Context
from hilum.installations.service import announce_again
from hilum.installations.service import facts as facts_of
from hilum.installations.store import installations
from hilum.kernel.ids import AppId
from hilum.registry import service as registry
from hilum.registry.store import apps, certifications
from tests.flows.back_channel import MERCY
from tests.flows.front_channel import Front, front
from tests.sim.facts import whole

__all__ = ["front"]
SCOPES = ("launch", "openid", "fhirUser", "offline_access", "patient/*.rs")
LATE: Any = literal_column(str(2**63 - 1))
"""A moment beyond the calendar."""


def put(front: Front, table: Table, app: str, values: dict[str, Any]) -> None:
    """Write to an app's rows beside the platform, and announce nothing."""
    of = table.c.id if table is apps else table.c.app
    front.run(lambda ctx: ctx.tx.execute(update(table).where(of == app).values(values)))


def announce(front: Front, app: str) -> None:
    """Have workers read an app and its installation again, as after any change of them."""

    def verb(ctx: Context) -> None:
        registry.announce_change(ctx, AppId(app))
        registry.announce_change(ctx, AppId(app), at=MERCY)

    front.run(verb)


def refused(front: Front, token: str) -> tuple[int, str]:
    answer = front.read("Patient/p1", token)
    return answer.status, answer.json["issue"][0]["details"]["coding"][0]["code"]


@pytest.mark.parametrize(
    ("table", "column", "reason"),
    [
        (apps, "purpose_since", "app_not_certified"),
        (clients, "created_at", "app_not_certified"),
        (certifications, "expires_at", "app_not_certified"),
        (installations, "expires_at", "app_not_installed"),
    ],
    ids=["app", "client", "certification", "installation"],
)
def test_one_row_is_refused_with_its_reason_and_nobody_else(
    front: Front, table: Table, column: str, reason: str
) -> None:
    """What cannot be read gives nothing. The worker goes on with everybody else, also one that starts."""
    held = {name: front.earn(name, scopes=SCOPES)["access_token"] for name in ("web", "public")}
    code, app = front.code("web", scopes=SCOPES), front.clients["web"].app
    of = table.c.id if table is apps else table.c.app
    before = front.run(lambda ctx: ctx.tx.execute(select(table.c[column]).where(of == app)).scalar_one())

    put(front, table, app, {column: LATE})
    announce(front, app)

    assert refused(front, held["web"]) == (403, reason)
    assert front.redeem(code, "web").status_code in {400, 401}
    assert front.read("Patient/p1", held["public"]).status == 200
    assert front.earn("public", scopes=SCOPES)["access_token"]

    put(front, table, app, {column: before})

    facts = front.run(whole(facts_of))
    assert facts.clients[front.clients["web"].id].certified_until is not None
    assert (MERCY, app) in facts.installations
    # Nobody has announced the repair, so a worker that runs has not read it.
    assert refused(front, held["web"]) == (403, reason)

    assert front.run(lambda ctx: announce_again(ctx, AppId(app))) == 1

    new = front.earn("web", scopes=SCOPES)["access_token"]
    front.read(
        "Patient/p1", new
    )  # refused where there were no facts: a quota that widens fills up at its rate
    front.clock.advance(timedelta(seconds=5))
    # What was issued before is valid again: nobody took anything away.
    assert [front.read("Patient/p1", each).status for each in (new, held["web"])] == [200, 200]
