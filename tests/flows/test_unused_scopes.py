"""What hospitals granted for 90 days and nobody used is certified again only if the vendor defended it (C66)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.records.audit import live as journals
from tests.flows.agreement_ground import confirm
from tests.flows.control_site import build, codes, problem
from tests.flows.journal_ground import JournalGround, access
from tests.flows.review_ground import SCOPES, WORKFLOWS, Ground, furnish
from tests.flows.vendor_ground import certified, made
from tests.sim.journals import journal_of
from tests.sim.world import FakeClock

SLOTS = "user/Slot.rs"
DEFENCE = "The front desk of two hospitals moves to it in January."


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    """An app that was certified and installed 91 days ago, with a new version to submit."""
    found = furnish(build(sqlite_uow, clock))
    certified(found.site, found.version, ["launch", SLOTS], days=180)
    install(found)
    clock.advance(timedelta(days=91))
    order = NewVersion("2", tuple(WORKFLOWS), ("sidebar",))
    found.version = found.site.system(registry.add_version, app_id=AppId(found.app), order=order).id
    return found


def install(ground: Ground) -> None:
    """Install the app at a hospital that has the agreement with its vendor which the policy asks for."""
    site, now = ground.site, ground.site.clock.now()
    body = {"vendor": ground.vendor, "tenant": "mercy", "kind": "business_associate", "parties": ["A", "M"]}
    body |= {"document": "d" * 64, "effective_at": now.isoformat()}
    ends = (now + timedelta(days=300)).isoformat()
    agreed = made(site.api("acme.owner").post("/agreements", json=body | {"ends_at": ends}))
    made(confirm(site.api("mary"), agreed["id"], "d" * 64), 200)
    order = InstallOrder(TenantId("mercy"), AppId(ground.app), frozenset({"physician"}))
    site.system(installations.install, order=order)


def missing(ground: Ground) -> dict[str, Any]:
    """Return what a draft lacks before it can be submitted."""
    return dict(made(ground.submit(draft=True))["missing"])


def use(ground: Ground, days_ago: int = 1) -> None:
    site = ground.site
    folder = journal_of(site.uow)
    place = JournalGround(site.uow, site.uow.db.url, folder)
    at = site.clock.now() - timedelta(days=days_ago)
    facts = {"app": ground.app, "client": ground.client, "rule": SLOTS, "resource_type": "Slot"}
    place.write(access(1, **facts, at=at, tenant="mercy"))
    journals.count_decisions(folder, place.url, site.clock.now())


def test_an_unused_scope_is_named_at_submission_and_left_out_or_defended(ground: Ground) -> None:
    draft = made(ground.submit(draft=True))
    assert draft["missing"]["scopes.1.defence"]["code"] == "unused_undefended"

    refused = problem(
        ground.site.api("acme.developer").post(
            f"/submissions/{draft['id']}/submit", json={"revision": draft["revision"]}
        ),
        422,
        "submission_incomplete",
    )

    assert codes(refused)["scopes.1.defence"] == "unused_undefended"
    assert "scopes.0.defence" not in codes(refused), "the use of launch scopes is on no record"
    defended = [SCOPES[0], SCOPES[1] | {"defence": DEFENCE}]
    body = {"revision": draft["revision"], "scopes": defended}
    changed = made(ground.site.api("acme.developer").put(f"/submissions/{draft['id']}", json=body), 200)
    assert "scopes.1.defence" not in changed["missing"]
    assert changed["scopes"][1]["defence"] == DEFENCE


@pytest.mark.parametrize(("days_ago", "refused"), [(1, False), (89, False), (95, True)])
def test_one_use_within_90_days_keeps_a_scope(ground: Ground, days_ago: int, *, refused: bool) -> None:
    use(ground, days_ago)

    assert ("scopes.1.defence" in missing(ground)) is refused


def test_what_was_not_granted_for_so_long_is_new(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    found = furnish(build(sqlite_uow, clock))
    certified(found.site, found.version, ["launch", SLOTS], days=180)
    clock.advance(timedelta(days=60))
    install(found)
    clock.advance(timedelta(days=60))

    assert "scopes.1.defence" not in missing(found)
