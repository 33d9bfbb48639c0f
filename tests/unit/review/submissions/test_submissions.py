"""How states of a submission follow each other, and what it lacks (C6, C98)."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.policy.matrix.models import SANDBOX_TRIAL, Applicant
from hilum.policy.matrix.shipped import shipped_book
from hilum.review.submissions import attached, policy
from hilum.review.submissions.models import (
    EVIDENCE_BOUND,
    Act,
    AskedScope,
    Check,
    Document,
    Judgement,
    Result,
    Route,
    State,
    SubmissionOrder,
    Visibility,
)
from tests.unit.policy.matrix.books import book

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
BOOK = shipped_book()
ACME, OTHER = VendorId("ven_acme"), VendorId("ven_other")
SCOPE = AskedScope("user/Slot.rs", "Shows free slots to the front desk.")
DATA_FLOW = Document("data_flow", "https://acme.example/flow.pdf", "a" * 64, date(2026, 11, 1))
APPLICANT = Applicant(
    "scheduling", (SCOPE.scope,), None, ("appointments",), ("sidebar",), certified_tier=None
)
ENTRY = policy.Entry(Environment.PRODUCTION, APPLICANT, (), (), 1)
ORDER = SubmissionOrder((SCOPE,))


def lacks(order: SubmissionOrder = ORDER, entry: policy.Entry = ENTRY) -> dict[str, str]:
    return policy.entry_faults(order, entry, BOOK, now=NOW)


def test_every_pair_of_state_and_act_leads_where_the_table_says_or_nowhere() -> None:
    """C98: an illegal transition is refused."""
    possible = {
        (before, act): policy.next_state(before, act)
        for before in State
        for act in Act
        if policy.next_state(before, act) is not None
    }

    assert possible == dict(policy.TRANSITIONS)
    assert all(after is not State.DRAFT for after in possible.values()), (
        "what was submitted is no draft again"
    )
    assert not any(policy.is_final(state) for state in policy.OPEN)


@pytest.mark.parametrize("state", [state for state in State if policy.is_final(state)])
def test_nothing_changes_a_closed_submission(state: State) -> None:
    reopened = {Act.APPEAL} if state is State.REJECTED else set()
    assert {act for act in Act if policy.next_state(state, act)} == reopened, "by an appeal"


@pytest.mark.parametrize(
    ("actor", "submits", "sees"),
    [
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_owner"}), vendor=ACME), True, True),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_developer"}), vendor=ACME), True, True),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_billing"}), vendor=ACME), False, True),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_security"}), vendor=ACME), False, True),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_owner"}), vendor=OTHER), False, False),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset(), vendor=ACME), False, False),
        (Actor(ActorKind.STAFF, "p", roles=frozenset({"platform_admin"})), True, True),
        (Actor(ActorKind.STAFF, "p", roles=frozenset({"reviewer"})), False, True),
        (Actor(ActorKind.STAFF, "p", roles=frozenset({"auditor"})), False, True),
        (Actor(ActorKind.PERSON, "p", TenantId("general"), frozenset({"administrator"})), False, False),
        (Actor(ActorKind.CLIENT, "cli_1"), False, False),
        (Actor(ActorKind.ANONYMOUS, "anonymous"), False, False),
    ],
)
def test_who_submits_and_who_sees(actor: Actor, *, submits: bool, sees: bool) -> None:
    assert policy.may_submit(actor, ACME) is submits
    assert policy.may_see(actor, ACME) is sees
    assert not policy.may_see(replace(actor, kind=ActorKind.MEMBER), VendorId("")), "nobody is of no vendor"


@pytest.mark.parametrize(
    ("actor", "decides"),
    [
        (Actor(ActorKind.STAFF, "p", roles=frozenset({"reviewer"})), True),
        (Actor(ActorKind.STAFF, "p", roles=frozenset({"platform_admin", "security", "auditor"})), False),
        (Actor(ActorKind.MEMBER, "p", roles=frozenset({"reviewer"}), vendor=ACME), False),
        (Actor(ActorKind.PERSON, "p", TenantId("general"), frozenset({"reviewer"})), False),
        (Actor(ActorKind.CLIENT, "cli_1", roles=frozenset({"reviewer"})), False),
    ],
)
def test_only_reviewers_of_the_platform_judge(actor: Actor, *, decides: bool) -> None:
    """C100, C101: who belongs to a vendor or a hospital judges nothing, whatever their role is called."""
    assert policy.may_decide(actor) is decides


def test_what_is_complete_lacks_nothing() -> None:
    assert lacks() == {}


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ({"unstated": ("retention", "terms")}, {"profile.retention": "missing", "profile.terms": "missing"}),
        ({"clients": 0}, {"clients": "clients_missing"}),
        ({"clients": 101}, {"clients": "too_many"}),
        ({"card_missing": True}, {"version.ai_use.model_card": "model_card_missing"}),
        (
            {"applicant": replace(APPLICANT, workflows=("*",))},
            {"version.workflows": "workflows_not_declared"},
        ),
        ({"applicant": replace(APPLICANT, category="gone")}, {"scopes": "tier_not_allowed"}),
    ],
)
def test_each_thing_that_is_missing_is_listed_by_field(
    change: dict[str, object], missing: dict[str, str]
) -> None:
    """C6."""
    assert lacks(entry=replace(ENTRY, **change)) == missing  # type: ignore[arg-type]


def test_a_trial_of_the_sandbox_is_not_submitted_for_production() -> None:
    """C4."""
    trial = replace(ENTRY, applicant=replace(APPLICANT, category=SANDBOX_TRIAL))

    assert lacks(entry=trial)["environment"] == "sandbox_only"
    assert "environment" not in lacks(entry=replace(trial, environment=Environment.SANDBOX))


def test_each_scope_needs_a_justification_of_its_own() -> None:
    """C6: how good a sentence is, a person judges."""
    bare = (SCOPE, AskedScope("user/Appointment.rs", " "), AskedScope("user/Location.rs", ""))
    asks = replace(ENTRY, applicant=replace(APPLICANT, scopes=tuple(each.scope for each in bare)))

    assert lacks(SubmissionOrder(bare), asks) == {
        "scopes.1.justification": "justification_missing",
        "scopes.2.justification": "justification_missing",
    }
    assert lacks(SubmissionOrder()) == {"scopes": "scopes_missing"}


def test_the_entry_of_the_tier_says_which_documents_and_proofs_it_takes() -> None:
    """C6, C7, C20: by the highest tier that the version may have, in production only."""
    moderate = replace(APPLICANT, category="care_recommendations", scopes=("patient/Observation.rs",))
    policy_entries = policy.entries_of(BOOK, moderate)
    asked = {kind for policy_entry in policy_entries for kind in policy_entry.evidence}
    order = SubmissionOrder((AskedScope("patient/Observation.rs", "Shows results."),))

    found = lacks(order, replace(ENTRY, applicant=moderate))

    assert "sandbox_run" in asked, "the platform makes it itself"
    assert found == {
        f"documents.{kind}": "evidence_missing"
        for kind in asked - {"automated_checks", "sandbox_run", "shared_sandbox"}
    }
    assert found, "the entry asks for some"
    attached = replace(order, documents=tuple(replace(DATA_FLOW, kind=key.split(".")[1]) for key in found))
    assert lacks(attached, replace(ENTRY, applicant=moderate)) == {}
    assert lacks(order, replace(ENTRY, applicant=moderate, environment=Environment.SANDBOX)) == {}
    nothing = replace(ENTRY, unproved=("owner", "support", "security", "domain"))
    contacts = {f"contacts.{kind}": "contact_unproved" for kind in ("owner", "support", "security")}
    assert lacks(ORDER, nothing) == contacts, "of the low tier"
    assert lacks(attached, replace(nothing, applicant=moderate)) == contacts | {
        "contacts.domain": "domain_unproved"
    }
    assert lacks(ORDER, replace(nothing, environment=Environment.SANDBOX)) == {}
    assert lacks(ORDER, replace(ENTRY, unproved=("domain",))) == {}
    asked_of = {
        f"categories.scheduling.entries.{tier}.proofs": ["security", "domain"] for tier in ("low", "moderate")
    }
    proving = book(asked_of)
    unproved = policy.entry_faults(ORDER, replace(ENTRY, unproved=("domain", "owner")), proving, now=NOW)
    assert unproved == {"contacts.domain": "domain_unproved"}


STAFF = Actor(ActorKind.STAFF, "p", roles=frozenset({"reviewer"}))
MINE = Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_developer"}), vendor=ACME)
HOSPITAL = Actor(ActorKind.PERSON, "p", TenantId("general"), frozenset({"administrator"}))
ELSEWHERE = Actor(ActorKind.MEMBER, "p", roles=frozenset({"vendor_developer"}), vendor=OTHER)


@pytest.mark.parametrize(
    ("visibility", "readers"),
    [
        (Visibility.REVIEWERS, (STAFF, MINE)),
        (Visibility.HOSPITALS, (STAFF, MINE, HOSPITAL)),
        (Visibility.PUBLIC, (STAFF, MINE, HOSPITAL, ELSEWHERE)),
    ],
)
def test_a_document_is_read_by_whom_its_visibility_names_and_nobody_else(
    visibility: Visibility, readers: tuple[Actor, ...]
) -> None:
    """C104."""
    document = replace(DATA_FLOW, visibility=visibility)

    for actor in (STAFF, MINE, HOSPITAL, ELSEWHERE):
        assert policy.may_read(actor, ACME, document) is (actor in readers)


@pytest.mark.parametrize(
    ("expires", "last", "ends"),
    [
        (None, date(2027, 11, 1), datetime(2027, 11, 2, tzinfo=UTC)),
        (date(2026, 11, 30), date(2026, 11, 30), datetime(2026, 12, 1, tzinfo=UTC)),
        (date(2030, 1, 1), date(2027, 11, 1), datetime(2027, 11, 2, tzinfo=UTC)),
    ],
)
def test_a_document_counts_through_its_last_day(expires: date | None, last: date, ends: datetime) -> None:
    """C104: a year from its day at most, whatever it says itself."""
    document = replace(DATA_FLOW, expires=expires)
    check = Check("evidence.attached", "data_flow", Result.PASSED, "", "", "")
    judgement = Judgement((check, check.but(Result.NOT_REQUIRED, "")), Route())

    assert document.last_day == last
    assert attached.dated(check, document, ends - timedelta(microseconds=1)).result is Result.PASSED
    assert attached.dated(check, document, ends).result is Result.FAILED
    described = policy.described(document)
    assert attached.document_of(json.loads(json.dumps(described, default=str))) == document
    content = {"documents": [json.loads(json.dumps(described, default=str))]}
    assert attached.evidence_ends(content, judgement, None) == ends
    assert attached.evidence_ends(content, Judgement((), Route()), None) is None, "it was not needed"


def test_what_says_nothing_of_its_end_and_its_readers_is_described_as_before() -> None:
    """C110: the digests of what was submitted before stay what they were."""
    assert set(policy.described(DATA_FLOW)) == {"kind", "url", "sha256", "dated"}


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ({"scopes": (replace(SCOPE, scope="user/Slot.sr"),)}, "scopes"),
        ({"scopes": (SCOPE, replace(SCOPE, scope="user/Slot.read"))}, "scopes"),
        ({"scopes": (replace(SCOPE, justification="<b>x"),)}, "scopes.0.justification"),
        ({"scopes": (replace(SCOPE, justification="x" * 2_001),)}, "scopes.0.justification"),
        ({"documents": (replace(DATA_FLOW, kind="sandbox_run"),)}, "documents.0.kind"),
        ({"documents": (replace(DATA_FLOW, kind="screenshot"),)}, "documents.0.kind"),
        ({"documents": (replace(DATA_FLOW, url="http://acme.example/x"),)}, "documents.0.url"),
        ({"documents": (replace(DATA_FLOW, url="https://127.0.0.1/x"),)}, "documents.0.url"),
        ({"documents": (replace(DATA_FLOW, sha256="A" * 64),)}, "documents.0.sha256"),
        ({"documents": (replace(DATA_FLOW, dated=date(2026, 11, 28)),)}, "documents.0.dated"),
        ({"documents": (replace(DATA_FLOW, dated=date(2025, 11, 26)),)}, "documents.0.dated"),
        ({"documents": (replace(DATA_FLOW, expires=date(2026, 11, 26)),)}, "documents.0.expires"),
        (
            {"documents": (replace(DATA_FLOW, dated=date(2026, 11, 27), expires=date(2026, 11, 1)),)},
            "documents.0.expires",
        ),
        ({"documents": (replace(DATA_FLOW, expires=date(2027, 11, 2)),)}, "documents.0.expires"),
        ({"documents": (DATA_FLOW, DATA_FLOW)}, "documents"),
        (
            {"documents": tuple(replace(DATA_FLOW, kind=f"k{n}") for n in range(EVIDENCE_BOUND + 1))},
            "documents",
        ),
    ],
)
def test_what_is_invalid_is_refused_in_a_draft_too(order: dict[str, object], fault: str) -> None:
    """C105: also a screenshot, and what only the platform makes."""
    assert fault in policy.order_faults(replace(ORDER, **order), BOOK, now=NOW)  # type: ignore[arg-type]


def test_equal_descriptions_have_equal_texts_and_digests() -> None:
    """C104."""
    one = {"b": (1, 2), "a": {"d": date(2026, 11, 1), "c": frozenset({"y", "x"})}}
    other = {"a": {"c": frozenset({"x", "y"}), "d": date(2026, 11, 1)}, "b": [1, 2]}

    assert policy.canonical(one) == policy.canonical(other)
    assert policy.digest_of(policy.canonical(one)) != policy.digest_of(policy.canonical(one | {"b": [2, 1]}))


DEFENDED = replace(SCOPE, defence="The front desk moves to it in January.")


@pytest.mark.parametrize(
    ("scope", "unused", "environment", "lacking"),
    [
        (SCOPE, (SCOPE.scope,), Environment.PRODUCTION, {"scopes.0.defence": "unused_undefended"}),
        (replace(SCOPE, defence="  "), (SCOPE.scope,), Environment.PRODUCTION, {"scopes.0.defence": "unused_undefended"}),
        (DEFENDED, (SCOPE.scope,), Environment.PRODUCTION, {}),
        (SCOPE, (), Environment.PRODUCTION, {}),
        # Whoever defends what is used does no harm.
        (DEFENDED, (), Environment.PRODUCTION, {}),
        (SCOPE, (SCOPE.scope,), Environment.SANDBOX, {}),
        (replace(SCOPE, defence="<b>needed</b>"), (), Environment.PRODUCTION, {"scopes.0.defence": "html_in_text"}),
        (replace(SCOPE, defence="x" * 5_000), (), Environment.PRODUCTION, {"scopes.0.defence": "too_long"}),
    ],
)  # fmt: skip
def test_what_nobody_used_is_left_out_or_defended(
    scope: AskedScope, unused: tuple[str, ...], environment: Environment, lacking: dict[str, str]
) -> None:
    """C66."""
    found = lacks(SubmissionOrder((scope,)), replace(ENTRY, unused=unused, environment=environment))

    assert {name: code for name, code in found.items() if "defence" in name} == lacking


def test_a_defence_is_of_one_scope_and_of_no_other() -> None:
    """C66."""
    asked = (DEFENDED, AskedScope("user/Schedule.rs", "Plans."))

    assert policy.undefended(asked, ("user/Slot.rs", "user/Schedule.rs")) == ("user/Schedule.rs",)
    assert policy.undefended(asked, ("user/Slot.r",)) == ("user/Slot.r",)


def test_a_scope_without_a_defence_is_described_as_before_there_were_any() -> None:
    assert policy.stated(SCOPE) == {"scope": SCOPE.scope, "justification": SCOPE.justification}
    assert policy.stated(DEFENDED)["defence"] == DEFENDED.defence
