"""Versions of an app, and exceptions for them."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import VersionId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ExceptionKind, ExceptionOrder, PolicyException, Tier
from hilum.policy.matrix.policy import raising_rules
from tests.flows.control_site import ControlSite, build, with_policy
from tests.flows.policy_ground import put_document_in_force
from tests.flows.vendor_ground import certified, made, register
from tests.sim.world import START, FakeClock
from tests.unit.policy.matrix.books import GONE, Changes, document
from tests.unit.policy.matrix.exception_facts import EXCEPTION

REASON = "It suggests doses in its pages."
CONTROL = "A nurse looks at each list."
UNTIL = START + timedelta(days=10)
ALONE = {"model": "Notes 4", "purpose": "Files notes", "autonomy": "acts_alone"}
# Apps of this category are moderate by its floor, which a lowered tier sets aside.
SCOPES = ["patient/Observation.rs"]


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


def versions_of(site: ControlSite) -> tuple[str, str]:
    """Return an app and its version, certified for Observations in a category whose floor is moderate."""

    def build() -> tuple[str, str]:
        app, _ = register(site.api("root"))
        path = f"/apps/{app['id']}/versions"
        version = made(site.api("root").post(path, json={"label": "2", "workflows": [], "placements": []}))
        certified(site, version["id"], SCOPES)
        return app["id"], version["id"]

    return site.furnished_once("a certified version of care recommendations", build)


def ask(site: ControlSite, kind: str, by: str, **body: Any) -> Any:
    return site.api(by).post("/policies/exceptions", json={"kind": kind, "reason": REASON} | body)


def raise_tier(site: ControlSite, version: str, by: str = "rita", **change: Any) -> Any:
    return ask(site, "raised_tier", by, **{"version": version, "tier": "high"} | change)


def lower_tier(site: ControlSite, version: str, by: str = "root", **change: Any) -> Any:
    order = {"version": version, "tier": "low", "control": CONTROL, "ends_at": UNTIL.isoformat()}
    return ask(site, "lowered_tier", by, **order | change)


def waive(site: ControlSite, app: str, by: str = "root", **change: Any) -> Any:
    ends = (site.clock.now() + timedelta(days=10)).isoformat()
    order = {
        "app": app,
        "tier": "low",
        "requirement": "evidence.data_flow",
        "control": CONTROL,
        "ends_at": ends,
    }
    return ask(site, "waived_requirement", by, **order | change)


def end(site: ControlSite, exception: str, by: str = "root", reason: str = "It is over.") -> Any:
    return site.api(by).post(f"/policies/exceptions/{exception}/end", json={"reason": reason})


def exceptions(site: ControlSite, by: str = "root") -> list[dict[str, Any]]:
    return list(made(site.api(by).get("/policies/exceptions"), 200)["items"])


def declare(site: ControlSite, app: str, label: str = "3", **use: Any) -> Any:
    body = {"label": label, "workflows": [], "placements": [], "ai_use": use}
    return site.api("root").post(f"/apps/{app}/versions", json=body)


def autonomy(site: ControlSite, version: str, by: str = "gina", **change: Any) -> Any:
    order = {"version": version, "tenant": "general", "control": CONTROL, "ends_at": UNTIL.isoformat()}
    return ask(site, "autonomous_writes", by, **order | change)


# --- as people who agreed, without the API --------------------------------------------------------------------------------------

PATIENTS = {"name": "reads-patients", "tier": "high", "because": "it reads {type}", "types": ["Patient"]}
STRICT = {"tier_rules": [*document()["tier_rules"], PATIENTS], "categories.unclassified.entries.high": GONE}


def withhold(ctx: Context, changes: Changes = STRICT) -> None:
    """Put a policy in force everywhere; without ``changes`` its rule withholds Patient from apps without a category."""
    policies.adopt_shipped(ctx)
    put_document_in_force(ctx, changes)


def lower(ctx: Context, version: VersionId, ends_at: datetime) -> PolicyException:
    """Let a version without a category read Patient under that policy until a moment, as two people who agreed."""
    declared, assessed = registry.assess_version(ctx, version)
    app = registry.get_app(ctx, declared.app)
    lowered = replace(
        EXCEPTION,
        id=ctx.ids.new("exc"),
        app=app.id,
        version=version,
        starts_at=ctx.now,
        ends_at=ends_at,
        tier="moderate",
        computed="high",
        category=app.category,
        rules=tuple(raising_rules(assessed, Tier.MODERATE)),
        book_digest=policies.current(ctx).everywhere.digest,
    )
    return policies.add_exception(ctx, lowered)


def raise_to_high(ctx: Context, version: VersionId) -> PolicyException:
    """Raise the tier of a version as a reviewer."""
    app = registry.get_version(ctx, version).app
    order = ExceptionOrder(ExceptionKind.RAISED_TIER, app, REASON, version, tier="high")
    made_of = registry.ask_exception(ctx, order)
    assert isinstance(made_of, PolicyException)
    return made_of
