"""A console's list of 10,000 rows opens as one of fifty: as many statements, as many rows read (S3 of the consoles)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event
from starlette.testclient import TestClient

from hilum.apps.installations import store as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry import store
from hilum.apps.registry.models import NewVendor
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people import store as people
from tests.flows.control_site import ControlSite, build
from tests.sim.world import FakeClock

FEW, MANY = 60, 10_000
"""Both are more than a page, so that the same page is shown of both."""


@dataclass
class Work:
    """What requests made the database hand over."""

    statements: int = 0
    rows: int = 0


@contextmanager
def counted() -> Iterator[Work]:
    """Count statements and the rows that are read of their results."""
    work = Work()

    def row(_cursor: Any, values: Any) -> Any:
        work.rows += 1
        return values

    def begun(tx: Connection) -> None:
        tx.connection.dbapi_connection.row_factory = row  # type: ignore[union-attr]

    def ran(*_: Any) -> None:
        work.statements += 1

    event.listen(Engine, "engine_connect", begun)
    event.listen(Engine, "after_cursor_execute", ran)
    try:
        yield work
    finally:
        event.remove(Engine, "engine_connect", begun)
        event.remove(Engine, "after_cursor_execute", ran)


def fill(site: ControlSite, first: int, last: int) -> None:
    """Add apps, and people of a hospital, without asking whether they may be: only their number counts."""
    at, vendor = site.clock.now(), "ven_1"
    apps = [
        {
            "id": f"app_{n:026}",
            "vendor": vendor,
            "name": f"App {n:05}",
            "description": "Shows results.",
            "purpose": "Review",
            "state": "active",
            "category": "unclassified",
            "created_at": at,
            "active_since": at,
        }
        for n in range(first, last)
    ]
    colleagues = [
        {
            "id": f"per_{n:026}",
            "tenant": "general",
            "username": f"person{n}",
            "name": f"Person {n}",
            "role": "physician",
            "fhir_user": f"Practitioner/{n}",
            "patients": [],
            "active": True,
            "created_at": at,
            "age_counts_from": at,
            "chart_ends": [],
        }
        for n in range(first, last)
    ]
    with site.uow.db.engine.begin() as tx:
        tx.execute(store.apps.insert(), apps)
        tx.execute(people.people.insert(), colleagues)


def install(site: ControlSite, first: int, last: int) -> None:
    """Install some of the apps at the hospital."""
    at = site.clock.now()
    installed = [
        {
            "id": f"ins_{n:026}",
            "tenant": "general",
            "app": f"app_{n:026}",
            "scopes": "openid",
            "roles": "physician",
            "approved_by": "system",
            "approved_at": at,
            "removed_by": "",
            "environment": "sandbox",
        }
        for n in range(first, last)
    ]
    with site.uow.db.engine.begin() as tx:
        tx.execute(installations.installations.insert(), installed)


def enter(site: ControlSite, username: str, place: str = "") -> TestClient:
    page = f"/t/{place}/signin" if place else "/signin"
    return site.signed_in(username, page)


def shown(browser: TestClient, path: str) -> tuple[Work, int]:
    """Open a list; return what it made the database do, and how many rows it shows."""
    with counted() as work:
        page = browser.get(path)
    assert page.status_code == 200, path
    return work, page.text.count("data-row")


STAFF = (
    "/operations/apps",
    "/operations/apps?sort=-name",
    "/operations/apps?sort=-added",
    "/operations/search?q=app",
)
HOSPITAL = (
    "/tenant?show=available",
    "/tenant/people",
    "/tenant/people?sort=-name",
    "/tenant/people?sort=role",
    "/tenant/people?sort=-added&q=person",
    "/tenant/search?q=person",
)
INSTALLED = ("/tenant", "/tenant?show=installed&sort=until", "/tenant?show=installed&sort=-approved")


def test_a_list_of_ten_thousand_reads_no_more_than_one_of_sixty(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    site = build(sqlite_uow, clock)
    site.system(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example"))
    fill(site, 0, 2 * FEW)
    install(site, 0, FEW)
    hospital = enter(site, "gina", "general")
    lists = [(enter(site, "otto"), path) for path in STAFF] + [(hospital, path) for path in HOSPITAL]
    installed = [(hospital, path) for path in INSTALLED]
    before = {path: shown(browser, path) for browser, path in lists + installed}

    def opens_as_before(browser: TestClient, path: str) -> None:
        (few, rows), (many, rows_now) = before[path], shown(browser, path)
        assert rows == rows_now > 0, path
        assert many.statements <= few.statements, path
        assert many.rows <= few.rows + 1, f"{path}: {few.rows} rows read before, {many.rows} now"

    fill(site, 2 * FEW, MANY)
    for browser, path in lists:
        opens_as_before(browser, path)
    install(site, FEW, MANY)
    for browser, path in installed:
        opens_as_before(browser, path)
