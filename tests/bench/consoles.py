"""P20: the first byte of a console's list over ten thousand apps, people or open submissions, with the work of a whole request."""

import statistics
import tempfile
import time
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from hilum.apps.registry import service as registry
from hilum.apps.registry import store
from hilum.apps.registry.models import NewVendor
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people import store as identity_store
from hilum.records.keys import live as keys
from hilum.review.submissions import clock_store
from hilum.review.submissions import store as reviews
from tests.bench.figures import Figure
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, build
from tests.sim.browser import form_with
from tests.sim.world import FakeClock, SeededIds

APPS = 10_000
TARGET_MS = 100.0
TIMES = 40
PAGES = (
    "/operations/apps",
    "/operations/apps?sort=-name",
    "/operations/apps?q=app+99",
    "/operations/search?q=app",
)
HOSPITAL = ("/tenant", "/tenant?show=available", "/tenant/people?sort=-name", "/tenant/people?sort=role")
REVIEW = (
    "/review",
    "/review?state=people",
    "/review?state=people&environment=sandbox",
    "/review?sort=due",
    "/review?sort=-due",
)


def figures() -> list[Figure]:
    """Measure each list, on SQLite."""
    keys.install(keys.Vault("bench-key-encryption-key-0123456789abcdef"))
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'hilum.db'}"
        migrate(url)
        uow = UnitOfWork.create(Database(url), FakeClock(), SeededIds(), "bench")
        site = build(uow, FakeClock())
        _fill(site)
        _submit(site)
        parts = {
            path: _median_ms(browser, path)
            for browser, pages in (
                (_enter(site, "otto"), PAGES),
                (_enter(site, "gina", "general"), HOSPITAL),
                (_enter(site, "rita"), REVIEW),
            )
            for path in pages
        }
        uow.close()
    worst = max(parts.values())
    return [
        Figure(
            "P20",
            f"a console's list over {APPS:,} apps, people or open submissions, whole request, the slowest of {len(parts)}",
            worst,
            f"{worst:.0f} ms",
            f"<= {TARGET_MS:.0f} ms",
            worst <= TARGET_MS,
            [f"{path}: {ms:.0f} ms" for path, ms in parts.items()],
        )
    ]


def _fill(site: ControlSite) -> None:
    vendor = site.system(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example"))
    at = site.clock.now()
    rows = [
        {
            "id": f"app_{n:026}",
            "vendor": vendor.id,
            "name": f"App {n:05} {'with a long name ' * (n % 10)}"[:200],
            "description": "Shows results beside the chart.",
            "purpose": "Review",
            "state": "active",
            "tenant": None,
            "category": "unclassified",
            "created_at": at,
            "active_since": at,
        }
        for n in range(APPS)
    ]
    people: list[dict[str, Any]] = [
        {
            "id": f"per_{n:026}",
            "tenant": "general",
            "username": f"person{n}",
            "name": f"Person {n * 7919 % APPS:05}",
            "role": ("nurse", "physician")[n % 2],
            "fhir_user": f"Practitioner/{n}",
            "patients": [],
            "active": True,
            "created_at": at,
            "age_counts_from": at,
            "chart_ends": [],
        }
        for n in range(APPS)
    ]
    site.uow.write_now(lambda ctx: ctx.tx.execute(store.apps.insert(), rows), trace=TRACE)
    site.uow.write_now(lambda ctx: ctx.tx.execute(identity_store.people.insert(), people), trace=TRACE)


def _submit(site: ControlSite) -> None:
    """Add an open submission of each app, checked twice, with a description of some size."""
    at, content = site.clock.now(), '{"clients":[' + ",".join(['{"redirect_uris":[]}'] * 200) + "]}"
    check = [
        "address.answers",
        "redirect: https://a.example",
        "passed",
        "It answered 200.",
        "curl",
        "Fix it.",
    ]
    rows, runs = [], []
    for n in range(APPS):
        rows.append(
            {
                "id": f"sub_{n:026}",
                "app": f"app_{n:026}",
                "vendor": "ven_none",
                "version": f"ver_{n:026}",
                "label": "1.0",
                "environment": "production",
                "scopes": [["user/Slot.rs", "Shows free slots."]],
                "documents": [],
                "created_by": "system:",
                "created_at": at,
                "changed_at": at,
                "state": "in_review",
                "revision": 4,
                "content": content,
                "digest": "0" * 64,
                "policy_version": 1,
                "certification": "",
                "submitted_at": at,
                "reasons": [],
            }
        )
        runs += [
            {
                "submission": f"sub_{n:026}",
                "number": number,
                "at": at,
                "inputs": content,
                "digest": "0" * 64,
                "policy_version": 1,
                "checks": [check] * 20,
                "route": ["low", "fast", ["technical"], 2, 5],
            }
            for number in (1, 2)
        ]
    site.uow.write_now(lambda ctx: ctx.tx.execute(reviews.submissions.insert(), rows), trace=TRACE)
    # Of every second one a decision is due.
    running = [
        {
            "submission": f"sub_{n:026}",
            "stage": "decision",
            "app": f"app_{n:026}",
            "tier": "low",
            "calendar": "calendar",
            "allowed_days": 5,
            "started_at": at,
            "due_at": at + timedelta(minutes=n * 7919 % APPS),
            "pauses": [],
            "missed": False,
        }
        for n in range(0, APPS, 2)
    ]
    site.uow.write_now(lambda ctx: ctx.tx.execute(reviews.runs.insert(), runs), trace=TRACE)
    site.uow.write_now(lambda ctx: ctx.tx.execute(clock_store.clocks.insert(), running), trace=TRACE)


def _enter(site: ControlSite, username: str, tenant: str = "") -> TestClient:
    browser = site.browser()
    page = f"/t/{tenant}/signin" if tenant else "/signin"
    form = form_with(browser.get(page).text, "password")
    values = dict(form.fields) | {"username": username, "password": PASSWORD, "action": "login"}
    browser.post(form.action, data=values)
    return browser


def _median_ms(browser: TestClient, path: str) -> float:
    get = partial(browser.get, path)
    assert get().status_code == 200, path
    took = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        get()
        took.append((time.perf_counter() - begun) * 1000)
    return statistics.median(took)
