"""Versions of the policy, written and put in force by the routes of the API."""

from collections.abc import Callable
from datetime import date
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder, Tier
from hilum.policy.matrix.product_models import NOTICE
from tests.flows.control_site import ControlSite
from tests.sim.dry_runs import rehearse
from tests.sim.world import START
from tests.unit.policy.matrix.books import document

ENTRIES = "categories.unclassified.entries"
READ_ONLY = {f"{ENTRIES}.low.scopes": ["patient/*.rs", "user/*.rs", "system/*.rs"]}
ENTRY = "categories.scheduling.entries.low"
WIDER = {f"{ENTRY}.quota": {"burst": 101}}
NARROWER = {f"{ENTRY}.quota": {"burst": 99}}
TODAY = START.date()


def put_document_in_force(ctx: Context, changes: Any = None, *tenants: Any) -> None:
    """Add the shipped document with changes as a version, and put it in force as two people who agreed."""
    version = policies.add_version(ctx, document(changes), base=1, note="")
    order = ApplyOrder(version.number, tenants, policies.in_force(ctx).last, "a drill")
    policies._applied(ctx, order, agreed_by="staff:sam")


def put_in_force(site: ControlSite, changes: dict[str, Any]) -> None:
    order = ApplyOrder(add(site, changes), (), site.system(policies.in_force).last, "A drill.")
    site.system(policies._applied, order=order, agreed_by="staff:sam")


def json_of(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    return found


def plain(changes: dict[str, Any]) -> dict[str, Any]:
    """Return the shipped document with changes, as JSON can hold it."""
    made = document(changes)
    made["packs"][0]["valid_from"] = made["packs"][0]["valid_from"].isoformat()
    return made


def add(site: ControlSite, changes: dict[str, Any], by: str = "root", **more: Any) -> int:
    body = {"document": plain(changes), "base": 1, "note": "A trial."} | more

    def build() -> int:
        answer = site.api(by).post("/policies/versions", json=body)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["number"])

    return site.furnished(f"a version of the policy {changes} {by} {more}", build)


def apply(site: ControlSite, version: int, *tenants: str, by: str = "root", after: int | None = None) -> Any:
    last = in_force(site)["last"] if after is None else after
    body = {"version": version, "tenants": tenants, "after": last, "reason": "Because."}
    if after is None:
        rehearse(site.uow, version)
    return site.api(by).post("/policies/applications", json=body)


def agree(site: ControlSite, answer: Any, by: str = "sam") -> Any:
    assert answer.status_code == 202, answer.text
    return site.api(by).post(f"/approvals/{answer.json()['approval']['id']}/approve")


def in_force(site: ControlSite, by: str = "root") -> dict[str, Any]:
    found: dict[str, Any] = site.api(by).get("/policies").json()
    assert (found.pop("fault"), found.pop("observed")) == ("", [])
    return found


def everywhere(field: str, value: Any) -> dict[str, Any]:
    return {f"{ENTRIES}.{tier}.{field}": value for tier in ("low", "moderate", "high")}


def narrow_policy(run: Callable[[Any], Any], changes: dict[str, Any], *tenants: TenantId) -> None:
    """Apply a version that only narrows, at some tenants or everywhere."""
    run(policies.adopt_shipped)
    version = run(lambda ctx: policies.add_version(ctx, document(changes), base=1, note=""))
    last = run(policies.in_force).last
    run(lambda ctx: policies.apply(ctx, ApplyOrder(version.number, tenants, last, "a drill", emergency=True)))


def burst(site: ControlSite, tenant: str = "general") -> int:
    facts = site.system(policies.current)
    return int(facts.book_at(TenantId(tenant), START).categories["scheduling"].entries[Tier.LOW].quota.burst)


def ending(name: str = "results", since: date = TODAY, **fields: Any) -> dict[str, Any]:
    found = {
        "status": "deprecated",
        "deprecated_from": since,
        "sunset": since + NOTICE,
        "successor": "assessments",
    }
    return {f"scopes.{name}.{field}": value for field, value in (found | fields).items()}
