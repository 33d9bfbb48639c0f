"""A dry run foretells what the gateway decides once the version is in force (C208)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.clients.policy import admission
from hilum.apps.installations.policy import allowed_scopes
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.ids import AppId, ClientId
from hilum.foundation.standards.fhir.requests import FhirRequest, parse
from hilum.foundation.standards.smart.scopes import narrow
from hilum.gateway.enforcement import policy as gateway
from hilum.gateway.enforcement.models import GatewayRequest, Permit
from hilum.operations.dry_runs.models import DecisionChange, Loss, Verdict
from hilum.operations.dry_runs.policy import (
    agreement_loss,
    as_judged,
    changed_decision,
    effect_of,
    is_judged,
    is_live,
    launch_fault,
    loss_of,
    may_turn,
    newly_missing,
    turn_of,
)
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import Book, Tier
from hilum.policy.matrix.shipped import shipped_book
from hilum.records.audit.models import DecisionCount, DecisionShape
from tests.effort import effort
from tests.unit.gateway.enforcement import facts
from tests.unit.policy.matrix.books import GONE, book

ENTRIES = "categories.unclassified.entries"
SHIPPED = shipped_book()
LAB = "patient/Observation.rs?category=laboratory"
READ_ONLY = book({f"{ENTRIES}.low.scopes": ["patient/*.rs", "user/*.rs", "system/*.rs"]})
LAB_ONLY = book(
    {f"{ENTRIES}.{tier}.scopes": [LAB] if tier == "low" else [] for tier in ("low", "moderate", "high")}
)
BOOKS = [
    SHIPPED,
    READ_ONLY,
    LAB_ONLY,
    book({f"{ENTRIES}.high": GONE}),
    book({"categories.unclassified": GONE}),
]


def decided(
    rule: str, type_: str = "Observation", interaction: str = "read", reason: str = ""
) -> DecisionCount:
    at = facts.NOW - timedelta(days=3)
    return DecisionCount(
        "general", "app_1", "cli_1", interaction, type_, reason, rule, 7, at, facts.NOW, "req_9"
    )


def shape_of(decision: DecisionCount) -> DecisionShape:
    return DecisionShape(*(getattr(decision, name) for name in DecisionShape._fields))


def change(decision: DecisionCount, before: str, after: str) -> DecisionChange | None:
    return flip_between(decision, tuple(before.split()), tuple(after.split()))


def flip_between(
    decision: DecisionCount, before: tuple[str, ...], after: tuple[str, ...]
) -> DecisionChange | None:
    turn = turn_of(decision, before, after)
    return None if turn is None else changed_decision(decision, turn)


@pytest.mark.parametrize(
    ("decision", "after", "verdict"),
    [
        (decided("patient/Observation.rs"), "patient/Observation.rs", None),
        (decided("patient/Observation.rs"), "patient/*.cruds", None),
        (decided("patient/Observation.rs"), "patient/Observation.s", Verdict.REFUSED),
        (decided("patient/*.rs"), "patient/Patient.rs", Verdict.REFUSED),
        (decided("patient/*.rs"), "user/*.rs", Verdict.REFUSED),
        (decided("patient/Observation.rs"), LAB, Verdict.LESS),
        (decided("patient/Observation.rs, user/Observation.rs"), "user/Observation.rs", Verdict.LESS),
        (decided(LAB), LAB, None),
        (decided(LAB), "patient/Observation.rs?category=vital-signs", Verdict.LESS),
        (decided("patient/*.cruds", interaction="create"), "patient/*.rs", Verdict.REFUSED),
        (decided("patient/*.cruds", interaction="search-type"), "patient/*.rs", None),
        (decided("fhirUser", "Practitioner"), "openid fhirUser", None),
        (decided("fhirUser", "Practitioner"), "openid", Verdict.REFUSED),
    ],
)
def test_a_permit_changes_when_the_scopes_that_gave_it_are_withheld(
    decision: DecisionCount, after: str, verdict: Verdict | None
) -> None:
    found = change(decision, "openid fhirUser patient/*.cruds user/*.cruds", after)

    assert (found and found.verdict) == verdict
    if found is not None:
        assert (found.number, found.example, found.first, found.last) == (
            7,
            "req_9",
            decision.first,
            decision.last,
        )


@pytest.mark.parametrize(
    ("reason", "before", "after", "new"),
    [
        (
            "scope_insufficient",
            "patient/Patient.rs",
            "patient/Patient.rs patient/Observation.rs",
            "patient/Observation.rs",
        ),
        ("outside_launch_context", "patient/Observation.rs", "patient/Observation.rs user/*.rs", "user/*.rs"),
        ("scope_insufficient", LAB, "patient/Observation.rs", "patient/Observation.rs"),
        ("scope_insufficient", "patient/Patient.rs", "patient/Observation.s", None),
        ("scope_insufficient", "patient/Observation.rs", "patient/Observation.rs", None),
        ("role_not_allowed", "", "patient/Observation.rs", None),
        ("token_revoked", "", "patient/Observation.rs", None),
        ("quota_exceeded", "", "patient/Observation.rs", None),
    ],
)
def test_a_refusal_changes_when_it_was_for_scopes_and_new_ones_reach_the_type(
    reason: str, before: str, after: str, new: str | None
) -> None:
    found = change(decided("", reason=reason), before, after)

    assert (found and found.scope) == new
    assert found is None or found.verdict is Verdict.ALLOWED


def test_what_was_lost_otherwise_since_then_is_no_flip_of_the_version() -> None:
    """The hospital narrowed the app meanwhile: the version takes nothing that is still there."""
    assert change(decided("patient/Observation.rs"), "patient/Patient.rs", "openid") is None
    assert change(decided("patient/Observation.rs"), LAB, LAB) is None
    found = change(decided("patient/Observation.rs"), LAB, "openid")
    assert found is not None
    assert found.verdict is Verdict.REFUSED


@pytest.mark.parametrize("rule", ["", "no scope", "launch", "patient/Patient.rs", "settled"])
def test_a_permit_without_its_scopes_on_record_cannot_be_judged(
    rule: str,
) -> None:
    decision = decided(rule)

    assert not is_judged(decision)
    assert change(decision, "patient/*.cruds", "") is None


TYPES = ("Patient", "Observation", "MedicationRequest", "Condition")
OFFERED = (
    "patient/*.rs", "patient/*.cruds", "user/*.rs", "patient/Patient.rs", "patient/Observation.rs", LAB,
    "user/MedicationRequest.rs", "user/Observation.cruds", "patient/Condition.rs",
)  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> FhirRequest:
    type_ = draw(st.sampled_from(TYPES))
    target = draw(st.sampled_from([f"/{type_}/{'p1' if type_ == 'Patient' else 'x'}", f"/{type_}"]))
    found = parse(
        "GET",
        target.encode(),
        b"patient=p1" if target == f"/{type_}" and type_ != "Patient" else b"",
        {},
        b"",
    )
    assert isinstance(found, FhirRequest)
    return found


def under(applied: Book, client: ClientFacts) -> Any:
    registry = replace(facts.SNAPSHOT.registry, clients={client.id: client})
    return replace(facts.SNAPSHOT, registry=registry, policies=PolicyFacts(applied))


@settings(max_examples=effort(50, 20_000))
@given(
    requests(),
    st.lists(st.sampled_from(OFFERED), min_size=1, max_size=4, unique=True),
    st.sampled_from(BOOKS),
    st.sampled_from(BOOKS),
)
def test_what_is_foretold_is_what_the_gateway_decides_under_the_other_book(
    request: FhirRequest, registered: list[str], before: Book, after: Book
) -> None:
    """No second decision: a decision that does not change stays, a change to refusal is refused, and nothing is allowed that was not foretold."""
    client = replace(facts.CLIENT, scopes=tuple(registered))
    # What a token has that was issued under the earlier book.
    token = replace(
        facts.TOKEN, scopes=narrow(registered, allowed_scopes(client, facts.INSTALLATION, before, facts.NOW))
    )
    asked = GatewayRequest(facts.TENANT, request, facts.BASES, token=token)
    then = gateway.decide(asked, under(before, client), facts.NOW)
    permitted = isinstance(then, Permit)
    on_record = decided(
        then.rule if isinstance(then, Permit) else "",
        request.type,
        request.interaction.value,
        then.reason.value if isinstance(then, Deny) else "",
    )

    found = flip_between(
        on_record,
        allowed_scopes(client, facts.INSTALLATION, before, facts.NOW),
        allowed_scopes(client, facts.INSTALLATION, after, facts.NOW),
    )

    # P19: of what cannot turn out differently anywhere nothing is read.
    effect = effect_of(client, before, after, facts.NOW)
    if found is not None:
        assert effect is not None
        assert may_turn(shape_of(on_record), effect, lapses=False)
    # A token of the later policy: what is newly allowed is used by those who ask for it.
    later = replace(
        token, scopes=narrow(registered, allowed_scopes(client, facts.INSTALLATION, after, facts.NOW))
    )
    asked_again = asked if permitted else replace(asked, token=later)
    now = gateway.decide(asked_again, under(after, client), facts.NOW)
    if permitted:
        assert isinstance(now, Deny) == (found is not None and found.verdict is Verdict.REFUSED)
        if isinstance(now, Deny):
            assert now.reason in {Reason.SCOPE_INSUFFICIENT, Reason.OUTSIDE_LAUNCH_CONTEXT}
    elif isinstance(now, Permit):
        assert found is not None
        assert found.verdict is Verdict.ALLOWED


@pytest.mark.parametrize(
    ("decision", "lapses", "read"),
    [
        (decided("patient/Observation.rs"), False, True),
        (decided("patient/*.cruds"), False, True),
        (decided("patient/Patient.rs", "Patient"), False, False),
        (decided("patient/Patient.rs", "Patient"), True, True),
        (decided("no scope"), False, True),
        (decided("", reason="scope_insufficient"), False, False),
        (decided("", reason="token_revoked"), True, False),
        (decided("", "Condition", reason="outside_launch_context"), False, True),
        (decided("", "Condition", reason="role_not_allowed"), False, False),
    ],
)
def test_only_what_may_turn_out_differently_somewhere_is_read(
    decision: DecisionCount, lapses: bool, read: bool
) -> None:
    """P19: and what cannot be judged, since that is counted. Observations go here, and conditions come."""
    scopes = ("patient/Patient.rs", "patient/Observation.rs", "patient/Condition.rs")
    client = replace(facts.CLIENT, scopes=scopes)
    was, then = (
        book(
            {f"{ENTRIES}.{tier}.scopes": ["patient/Patient.rs", more] for tier in ("low", "moderate", "high")}
        )
        for more in scopes[1:]
    )
    effect = effect_of(client, was, then, facts.NOW)

    assert effect is not None
    assert may_turn(shape_of(decision), effect, lapses=lapses) is read


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"category": "scheduling"},
        {"certified_category": "scheduling"},
        {"certified_tier": Tier.LOW},
        {"type": ClientType.BACKEND},
        {"workflows": ()},
        {"placements": ()},
        {"certified_scopes": ("patient/Patient.rs",)},
    ],
)
def test_a_client_without_its_names_and_dates_is_admitted_as_itself(more: dict[str, Any]) -> None:
    client = replace(facts.CLIENT, **more)

    for each in BOOKS:
        assert admission(each, as_judged(client), facts.NOW) == admission(each, client, facts.NOW)


def test_distinct_clients_are_looked_up_apart_and_alike_ones_together() -> None:
    """P19: facts are hashed by their id, so that one id for all would compare each client with every other one."""
    other = replace(facts.CLIENT, id=ClientId("another"), app=AppId("another"))
    wider = replace(facts.CLIENT, scopes=(*facts.CLIENT.scopes, "patient/Flag.rs"))

    assert as_judged(other) == as_judged(facts.CLIENT)
    assert len({hash(as_judged(each)) for each in (facts.CLIENT, other, wider)}) == 2


def test_a_client_that_is_judged_alike_by_both_books_is_not_altered() -> None:
    assert effect_of(facts.CLIENT, SHIPPED, SHIPPED, facts.NOW) is None
    assert (
        effect_of(
            facts.CLIENT, SHIPPED, book({"categories.scheduling.entries.low.quota": {"burst": 99}}), facts.NOW
        )
        is None
    )


def test_a_limit_that_differs_alters_a_client_with_the_same_scopes() -> None:
    quota = {"rate_per_s": SHIPPED.categories["unclassified"].entries[Tier.LOW].quota.rate_per_s, "burst": 77}
    other = book({f"{ENTRIES}.{tier}.quota": quota for tier in ("low", "moderate", "high")})

    found = effect_of(facts.CLIENT, SHIPPED, other, facts.NOW)

    assert found is not None
    assert (found.lost, found.gained, found.changes_scopes) == ((), (), False)
    assert [(each.path, each.after) for each in found.limits] == [("quota.burst", "77")]


def test_a_category_that_goes_takes_everything_and_every_limit() -> None:
    found = effect_of(facts.CLIENT, SHIPPED, book({"categories.unclassified": GONE}), facts.NOW)

    assert found is not None
    assert (found.after.scopes, found.after.tier) == ((), None)
    assert found.lost == found.before.scopes
    assert {each.after for each in found.limits} == {""}
    assert "lifetimes.access_token" in {each.path for each in found.limits}


@pytest.mark.parametrize(
    ("after", "lost", "loss"),
    [
        (("launch", "patient/Patient.rs"), (), Loss.NONE),
        (("launch", "patient/Patient.rs"), ("patient/Observation.rs",), Loss.NARROWED),
        (("launch", "openid"), ("patient/Observation.rs",), Loss.LAPSES),
        ((), ("launch",), Loss.LAPSES),
    ],
)
def test_what_keeps_no_scope_on_records_has_lapsed(
    after: tuple[str, ...], lost: tuple[str, ...], loss: Loss
) -> None:
    assert loss_of(after, lost) is loss


def test_an_agreement_loses_only_what_it_had() -> None:
    before, after = ("patient/*.rs",), ("patient/Patient.rs",)

    assert agreement_loss(("patient/Patient.rs",), before, after) is Loss.NONE
    assert agreement_loss(("patient/Patient.rs", "patient/Observation.rs"), before, after) is Loss.NARROWED
    assert agreement_loss(("patient/Observation.rs",), before, after) is Loss.LAPSES
    assert agreement_loss(("user/Observation.rs",), before, after) is Loss.NONE, "it had nothing to lose"


@pytest.mark.parametrize(
    "more",
    [
        {"active": False},
        {"certified_until": None},
        {"certified_until": facts.NOW},
        {"expires_at": facts.NOW},
        {"type": ClientType.EHR},
    ],
)
def test_a_client_that_nobody_can_use_is_not_judged(more: dict[str, Any]) -> None:
    assert is_live(facts.CLIENT, [SHIPPED], facts.NOW)
    assert not is_live(replace(facts.CLIENT, **more), [SHIPPED], facts.NOW)


LIMITED = book(
    {f"{ENTRIES}.{tier}.workflows": ["intake"] for tier in ("low", "moderate", "high")}
    | {f"{ENTRIES}.{tier}.placements": ["note"] for tier in ("low", "moderate", "high")}
)


@pytest.mark.parametrize(
    ("intent", "placement", "default", "fault"),
    [
        ("", "", "", ""),
        ("something of the EHR's own", "", "", ""),
        ("intake", "note", "", ""),
        ("book-appointment", "", "", "workflow_not_approved"),
        ("book-appointment", "sidebar", "", "workflow_not_approved"),
        ("intake", "sidebar", "", "placement_not_allowed"),
        ("", "a place that no policy has", "", "placement_not_allowed"),
        ("", "", "appointments", "workflow_not_approved"),
        ("intake", "", "appointments", ""),
    ],
)
def test_a_launch_is_judged_by_its_entry_its_workflow_and_its_place(
    intent: str, placement: str, default: str, fault: str
) -> None:
    """C209: what would have been refused of the launches that were opened."""
    task = intent, placement

    assert launch_fault(LIMITED, facts.CLIENT, task, default, facts.NOW) == fault
    assert launch_fault(book({"categories.unclassified": GONE}), facts.CLIENT, task, default, facts.NOW) == (
        "app_not_certified"
    )
    if placement in SHIPPED.placements:
        assert launch_fault(SHIPPED, facts.CLIENT, task, default, facts.NOW) == ""


@pytest.mark.parametrize(
    ("environment", "roles", "in_force", "lacking"),
    [
        (Environment.PRODUCTION, {"physician"}, set(), {"business_associate", "data_use"}),
        (Environment.PRODUCTION, {"physician", "patient"}, set(), {"business_associate", "data_use"}),
        (Environment.PRODUCTION, {"physician"}, {"data_use"}, {"business_associate"}),
        (Environment.PRODUCTION, {"physician"}, {"business_associate", "data_use"}, set()),
        (Environment.PRODUCTION, {"patient"}, set(), set()),
        (Environment.SANDBOX, {"physician"}, set(), set()),
    ],
)
def test_an_agreement_is_newly_missing_where_it_is_needed_and_was_not(
    environment: Environment, roles: set[str], in_force: set[str], lacking: set[str]
) -> None:
    """C209, C189."""
    kinds = ["business_associate", "data_use"]
    other = book({f"{ENTRIES}.{tier}.agreements": kinds for tier in ("low", "moderate", "high")})
    there = replace(facts.INSTALLATION, environment=environment, roles=frozenset(roles))
    at = facts.CLIENT, there

    effect = effect_of(facts.CLIENT, SHIPPED, other, facts.NOW)
    assert effect is not None
    assert effect.asks_agreements
    assert newly_missing(*at, SHIPPED, other, frozenset(in_force), now=facts.NOW) == lacking
    assert not newly_missing(*at, other, other, frozenset(in_force), now=facts.NOW), "it is missing already"
    assert not newly_missing(*at, other, SHIPPED, frozenset(in_force), now=facts.NOW)
    back = effect_of(facts.CLIENT, other, SHIPPED, facts.NOW)
    assert back is not None
    assert not back.asks_agreements
