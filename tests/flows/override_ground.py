"""Overridable rules, and overrides as two people who agreed put them in force."""

from datetime import datetime

from hilum.controls.approvals.models import Act, Approval, ApprovalKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId
from hilum.policy.matrix import service
from hilum.policy.matrix.document import render_rule
from tests.flows.control_site import ControlSite, with_rule_book
from tests.flows.rule_book_ground import add, agree, apply, put_document_in_force
from tests.unit.policy.matrix.books import GONE, Changes, document, with_rule

REASON, CONTROL = "Certified again by then.", "A nurse checks each booking."


def with_overridable_rule(made: ControlSite) -> None:
    with_rule_book(made)
    rules = with_rule("overridable") | {"overrides": {"longest": "30 d"}}
    # An overridable rule takes two people, and a day at a hospital before it is everywhere.
    version = add(made, rules)
    assert agree(made, apply(made, version, "general", "mercy")).status_code == 200


PATIENTS = {
    "name": "reads-patients",
    "tier": "high",
    "because": "it reads {type}",
    "types": ["Patient"],
    "level": "overridable",
}
STRICT = {
    "tier_rules": [*document()["tier_rules"], PATIENTS],
    "overrides": {"longest": "30 d"},
    "categories.unclassified.cells.high": GONE,
}


def withhold(ctx: Context, changes: Changes = STRICT) -> None:
    """Put a book in force everywhere; without ``changes`` its overridable rule withholds Patient from apps without a category."""
    service.adopt_shipped(ctx)
    put_document_in_force(ctx, changes)


def override(
    ctx: Context, app: AppId, tenant: TenantId, ends_at: datetime, name: str = "reads-patients"
) -> None:
    """Override the rule as two people who agreed."""
    found = service.current(ctx).everywhere
    rule = next(each for each in found.tier_rules if each.name == name)
    order = {"rule": rule.name, "app": app, "tenant": tenant, "reason": REASON, "control": CONTROL}
    act = Act(
        ApprovalKind.OVERRIDE,
        None,
        app,
        order | {"ends_at": ends_at.isoformat()},
        {"rule": render_rule(rule)},
    )
    approval = Approval("apr_1", act, PersonId("root"), ctx.now, ends_at)
    service.CARRY_OUT[ApprovalKind.OVERRIDE](ctx, approval, SYSTEM)
