"""What a hospital's rules decide on a request (C214)."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilum.kernel.ids import AppId, PersonId, TenantId, VendorId
from hilum.policies.models import Tier
from hilum.requests.documents import UNREADABLE, read_rule, read_rules, write_rule
from hilum.requests.matching import rules_faults
from hilum.requests.models import Action, Holds, Obstacle, RequestFacts, Rule, RuleSet
from hilum.requests.policy import decide_request
from hilum.standards.smart.scopes import all_covered

GENERAL = TenantId("general")
BOSS = PersonId("per_boss")
ADMITTED = ("launch", "openid", "patient/Observation.rs", "patient/Condition.rs")
FACTS = RequestFacts(
    app=AppId("app_1"),
    vendor=VendorId("ven_1"),
    category="scheduling",
    tier=Tier.LOW,
    requester=PersonId("per_ann"),
    requester_role="physician",
    roles=frozenset({"physician", "nurse"}),
    scopes=("patient/Observation.rs",),
    admitted=ADMITTED,
)
APPROVE = Rule("yes", Action.APPROVE)
DISMISS = Rule("no", Action.DISMISS, because="no more apps")


def decide(*rules: Rule, **facts: Any) -> Any:
    return decide_request(replace(FACTS, **facts), RuleSet(GENERAL, 3, rules, approver=BOSS))


def test_a_request_that_no_rule_matches_waits_for_an_administrator() -> None:
    """C214."""
    found = decide(replace(APPROVE, apps=frozenset({"app_2"})))

    assert (found.action, found.rule, found.grant) == (Action.WAIT, "", None)
    assert [(each.rule, each.holds) for each in found.steps] == [("yes", Holds.NO)]
    assert decide().action is Action.WAIT


def test_the_first_rule_that_matches_decides_and_the_verdict_says_why_others_did_not() -> None:
    """C214."""
    other = replace(DISMISS, name="other", vendors=frozenset({"ven_2"}))

    assert decide(APPROVE, DISMISS).action is Action.APPROVE
    found = decide(other, DISMISS, APPROVE)

    assert (found.action, found.rule, found.because) == (Action.DISMISS, "no", "no more apps")
    assert [(each.rule, each.holds) for each in found.steps] == [("other", Holds.NO), ("no", Holds.YES)]
    assert "ven_1" in found.steps[0].sentence


def test_what_is_approved_is_what_was_asked_for_with_the_scopes_of_launch() -> None:
    """C147: without launch scopes the app would not start."""
    grant = decide(APPROVE).grant

    assert grant.roles == FACTS.roles
    assert grant.scopes == ("launch", "openid", "patient/Observation.rs")
    assert grant.days is None


@pytest.mark.parametrize(
    ("needed", "action"),
    [
        ((), Action.APPROVE),
        (("patient/Observation.r",), Action.APPROVE),
        (("patient/Condition.rs",), Action.ESCALATE),
    ],
)
def test_no_rule_leaves_out_what_the_app_needs_without_a_person(
    needed: tuple[str, ...], action: Action
) -> None:
    """C211, C214."""
    found = decide(APPROVE, needed=needed)

    assert found.action is action
    assert found.obstacle is (Obstacle.INCOMPLETE if action is Action.ESCALATE else None)


CONDITIONS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "app": ({"apps": frozenset({"app_1"})}, {"app": "app_2"}),
    "vendor": ({"vendors": frozenset({"ven_1"})}, {"vendor": "ven_2"}),
    "category": ({"categories": frozenset({"scheduling"})}, {"category": "order_entry"}),
    "at most": ({"tier_at_most": Tier.MODERATE}, {"tier": Tier.HIGH}),
    "at least": ({"tier_at_least": Tier.LOW}, None),  # type: ignore[dict-item]
    "scopes": ({"scopes_within": ("patient/*.rs",)}, {"scopes": ("patient/*.rs", "patient/Task.c")}),
    "requester": ({"requesters": frozenset({"physician"})}, {"requester_role": "nurse"}),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_each_condition_must_hold(name: str) -> None:
    condition, otherwise = CONDITIONS[name]
    rule = replace(APPROVE, **condition)

    assert decide(rule).action is Action.APPROVE
    if otherwise is not None:
        assert decide(rule, **otherwise).action is Action.WAIT


@pytest.mark.parametrize(
    ("condition", "unknown"),
    [
        ({"categories": frozenset({"scheduling"})}, {"category": ""}),
        ({"tier_at_most": Tier.HIGH}, {"tier": None}),
        ({"tier_at_least": Tier.HIGH}, {"tier": None}),
        ({"scopes_within": ("patient/*.rs",)}, {"scopes": ()}),
        ({"requesters": frozenset({"physician"})}, {"requester_role": ""}),
    ],
)
@pytest.mark.parametrize("action", [Action.APPROVE, Action.DISMISS])
def test_what_is_not_known_escalates_and_no_later_rule_decides(
    condition: dict[str, Any], unknown: dict[str, Any], action: Action
) -> None:
    """C214: unknown means escalate, never approve."""
    rule = Rule("unsure", action, because="x", **condition)

    found = decide(rule, APPROVE, **unknown)

    assert (found.action, found.rule, found.obstacle) == (Action.ESCALATE, "unsure", Obstacle.UNKNOWN)
    assert found.steps[-1].holds is Holds.UNKNOWN


def test_a_condition_that_does_not_hold_passes_over_a_rule_with_another_that_is_not_known() -> None:
    rule = replace(DISMISS, tier_at_most=Tier.LOW, apps=frozenset({"app_2"}))

    assert decide(rule, APPROVE, tier=None).rule == "yes"


@pytest.mark.parametrize("obstacle", list(Obstacle))
@pytest.mark.parametrize("action", [Action.APPROVE, Action.RESTRICT])
def test_no_rule_approves_with_an_obstacle(obstacle: Obstacle, action: Action) -> None:
    rule = Rule("yes", action, only_roles=frozenset({"nurse"}) if action is Action.RESTRICT else frozenset())

    found = decide(rule, obstacles=(obstacle,))

    assert (found.action, found.obstacle, found.grant) == (Action.ESCALATE, obstacle, None)


@pytest.mark.parametrize(
    "scopes",
    [("patient/Task.rs",), ("patient/Observation.crs",), ("patient/*.rs",), ("user/Observation.rs",)],
)
def test_no_rule_approves_more_than_is_certified_and_allowed_by_the_rule_book(
    scopes: tuple[str, ...],
) -> None:
    """C214."""
    found = decide(APPROVE, scopes=("patient/Observation.rs", *scopes))

    assert (found.action, found.obstacle) == (Action.ESCALATE, Obstacle.WIDER)


def test_who_put_the_rules_in_force_is_not_approved_by_them() -> None:
    assert decide(APPROVE, requester=BOSS).obstacle is Obstacle.OWN


def test_rules_of_who_may_no_longer_approve_dismiss_nothing_either() -> None:
    assert decide(DISMISS, obstacles=(Obstacle.NO_APPROVER,)).action is Action.ESCALATE
    assert decide(DISMISS, obstacles=(Obstacle.STOPPED,)).action is Action.DISMISS


def test_a_vendor_is_approved_only_by_a_rule_that_names_its_role() -> None:
    named = replace(APPROVE, requesters=frozenset({"vendor_developer"}))

    assert decide(APPROVE, requester_role="vendor_developer").action is Action.WAIT
    assert decide(DISMISS, requester_role="vendor_developer").action is Action.DISMISS
    assert decide(named, requester_role="vendor_developer").action is Action.APPROVE


def test_a_rule_restricts_scopes_roles_and_time() -> None:
    """C214."""
    rule = Rule(
        "less",
        Action.RESTRICT,
        only_scopes=("patient/Observation.r", "patient/Task.rs"),
        only_roles=frozenset({"nurse", "analyst"}),
        for_days=30,
    )

    found = decide(rule)

    assert found.action is Action.RESTRICT
    assert found.grant.scopes == ("launch", "openid", "patient/Observation.r")
    assert (found.grant.roles, found.grant.days) == ({"nurse"}, 30)


@pytest.mark.parametrize(
    "limits", [{"only_scopes": ("user/Task.r",)}, {"only_roles": frozenset({"analyst"})}]
)
def test_a_restriction_that_leaves_nothing_escalates(limits: dict[str, Any]) -> None:
    assert decide(Rule("less", Action.RESTRICT, **limits)).obstacle is Obstacle.NOTHING_LEFT


def test_a_backend_service_needs_no_role() -> None:
    assert decide(APPROVE, roles=frozenset()).obstacle is Obstacle.NOTHING_LEFT
    assert decide(APPROVE, roles=frozenset(), only_backend=True).action is Action.APPROVE


def test_a_rule_escalates_to_the_person_whom_it_names() -> None:
    found = decide(Rule("ask", Action.ESCALATE, to="per_gina"), APPROVE)

    assert (found.action, found.to, found.obstacle) == (Action.ESCALATE, "per_gina", None)


SCOPES = ("patient/Observation.rs", "patient/Condition.r", "patient/*.rs", "user/Task.c", "openid")
RULES = st.builds(
    Rule,
    name=st.sampled_from(("a", "b", "c")),
    action=st.sampled_from(tuple(Action)),
    apps=st.sampled_from((frozenset[str](), frozenset({"app_1"}), frozenset({"app_2"}))),
    categories=st.sampled_from((frozenset[str](), frozenset({"scheduling"}))),
    tier_at_most=st.sampled_from((None, *Tier)),
    tier_at_least=st.sampled_from((None, *Tier)),
    scopes_within=st.lists(st.sampled_from(SCOPES), max_size=2).map(tuple),
    requesters=st.sampled_from((frozenset[str](), frozenset({"nurse"}))),
    only_scopes=st.lists(st.sampled_from(SCOPES), max_size=2).map(tuple),
    only_roles=st.sampled_from((frozenset[str](), frozenset({"nurse"}))),
)


# Most of what nobody limits is approved: what is refused says nothing about how far an approval reaches.
GRANTING = st.builds(
    Rule,
    name=st.just("a"),
    action=st.sampled_from((Action.APPROVE, Action.RESTRICT)),
    only_scopes=st.lists(st.sampled_from(SCOPES), min_size=1, max_size=2).map(tuple),
    only_roles=st.sampled_from((frozenset[str](), frozenset({"nurse"}))),
)


@example([APPROVE], ("patient/Observation.rs",), ("patient/*.rs",), Tier.LOW)
@example([Rule("less", Action.RESTRICT, only_scopes=("openid",))], ("openid",), SCOPES, Tier.LOW)
@given(
    st.one_of(st.lists(GRANTING, min_size=1, max_size=1), st.lists(RULES, max_size=4)),
    st.lists(st.sampled_from(SCOPES), max_size=3).map(tuple),
    st.lists(st.sampled_from(SCOPES), max_size=3).map(tuple),
    st.sampled_from((None, *Tier)),
)
def test_whatever_the_rules_an_approval_is_within_what_was_asked_for_and_what_is_admitted(
    rules: list[Rule], asked: tuple[str, ...], admitted: tuple[str, ...], tier: Tier | None
) -> None:
    """C214."""
    facts = replace(FACTS, scopes=asked, admitted=admitted, tier=tier)
    found = decide_request(facts, RuleSet(GENERAL, 1, tuple(rules), approver=BOSS))

    assert (found.grant is not None) == (found.action in {Action.APPROVE, Action.RESTRICT})
    if found.grant is not None:
        assert found.grant.roles <= facts.roles
        assert all_covered(found.grant.scopes, admitted)
        assert all_covered([each for each in found.grant.scopes if each != "openid"], asked)
        stopped = replace(facts, obstacles=(Obstacle.STOPPED,))
        again = decide_request(stopped, RuleSet(GENERAL, 1, tuple(rules), approver=BOSS))
        assert again.grant is None


@given(RULES)
def test_a_rule_is_read_as_it_was_written(rule: Rule) -> None:
    assert read_rule(write_rule(rule)) == rule


@pytest.mark.parametrize(
    "change", [{"action": "delete"}, {"only_on_mondays": True}, {"tier_at_most": "extreme"}, {"apps": 3}]
)
def test_a_stored_rule_that_this_release_does_not_know_makes_everything_escalate(
    change: dict[str, Any],
) -> None:
    rules = read_rules([write_rule(APPROVE), {"name": "new", "action": "approve"} | change])

    assert rules == (UNREADABLE,)
    assert decide(*rules).action is Action.ESCALATE


FAULTS: list[tuple[Rule, dict[str, str]]] = [
    (replace(APPROVE, name=""), {"rules.0.name": "rule_name_malformed"}),
    (replace(APPROVE, name="No Caps"), {"rules.0.name": "rule_name_malformed"}),
    (replace(APPROVE, name="a" * 41), {"rules.0.name": "rule_name_malformed"}),
    (replace(APPROVE, action=Action.WAIT), {"rules.0.action": "not_an_option"}),
    (replace(DISMISS, because=" "), {"rules.0.because": "reason_missing"}),
    (replace(APPROVE, because="x" * 1_001), {"rules.0.because": "too_long"}),
    (replace(APPROVE, categories=frozenset({"magic"})), {"rules.0.categories": "category_unknown"}),
    (replace(APPROVE, requesters=frozenset({"patient"})), {"rules.0.requesters": "role_unknown"}),
    (replace(APPROVE, scopes_within=("patient/*.*x",)), {"rules.0.scopes_within": "scope_malformed"}),
    (
        replace(APPROVE, tier_at_least=Tier.HIGH, tier_at_most=Tier.LOW),
        {"rules.0.tier_at_least": "never_holds"},
    ),
    (Rule("r", Action.RESTRICT), {"rules.0.only_scopes": "limit_missing"}),
    (replace(APPROVE, for_days=3), {"rules.0.for_days": "of_another_action"}),
    (replace(APPROVE, only_roles=frozenset({"nurse"})), {"rules.0.only_roles": "of_another_action"}),
    (replace(APPROVE, to="per_gina"), {"rules.0.to": "of_another_action"}),
    (
        Rule("r", Action.RESTRICT, only_roles=frozenset({"king"})),
        {"rules.0.only_roles": "role_unknown"},
    ),
    (Rule("r", Action.RESTRICT, for_days=0, only_scopes=("openid",)), {"rules.0.for_days": "out_of_range"}),
    (replace(APPROVE, apps=frozenset(map(str, range(201)))), {"rules.0.apps": "too_many"}),
    (replace(APPROVE, scopes_within=("openid",) * 51), {"rules.0.scopes_within": "too_many"}),
]


@pytest.mark.parametrize(("rule", "faults"), FAULTS)
def test_a_rule_that_is_invalid_is_refused_by_field(rule: Rule, faults: dict[str, str]) -> None:
    found = rules_faults([rule], {"scheduling"})

    assert {name: "scope_malformed" if "scope" in code else code for name, code in found.items()} == faults


def test_names_of_rules_are_unique_and_their_number_is_bounded() -> None:
    assert rules_faults([APPROVE, DISMISS], ()) == {}
    assert rules_faults([APPROVE, DISMISS, APPROVE], ()) == {"rules.2.name": "named_twice"}
    assert rules_faults([APPROVE] * 101, ()) == {"rules": "too_many"}
