"""Who may submit and see, the transitions of states, and what a submission lacks. Pure."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import orjson

from hilum.apps.registry.models import Environment
from hilum.apps.registry.policy import may_register, reason_fault, scope_faults, text_fault
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.limits import too_many
from hilum.foundation.standards.redirects import validate_web_uri
from hilum.foundation.standards.smart.scopes import parse_scope
from hilum.identity.people.models import StaffRole, VendorRight
from hilum.identity.people.policy import is_member, may_as_member
from hilum.policy.matrix.models import (
    NOT_DECLARED,
    SANDBOX_TRIAL,
    Applicant,
    Book,
    Discipline,
    PolicyEntry,
    Tier,
)
from hilum.policy.matrix.policy import tiers_to_certify
from hilum.review.submissions.models import (
    AFTER,
    APPEAL_WITHIN,
    CLIENTS_BOUND,
    DOCUMENT_LIFE,
    EVIDENCE_BOUND,
    FINDINGS_BOUND,
    MADE_HERE,
    Act,
    Answer,
    AskedScope,
    ConflictOfInterestKind,
    DecideOrder,
    DisciplineReview,
    DisciplineState,
    Document,
    Finding,
    JudgeOrder,
    Route,
    State,
    Step,
    Submission,
    SubmissionOrder,
    Verdict,
    Visibility,
)
from hilum.review.submissions.scorecards import Scorecards

TRANSITIONS: Mapping[tuple[State, Act], State] = MappingProxyType(
    {
        (State.DRAFT, Act.SUBMIT): State.SUBMITTED,
        (State.DRAFT, Act.WITHDRAW): State.WITHDRAWN,
        (State.SUBMITTED, Act.CHECK): State.CHECKING,
        (State.SUBMITTED, Act.WITHDRAW): State.WITHDRAWN,
        (State.CHECKING, Act.PASS_ON): State.IN_REVIEW,
        (State.CHECKING, Act.WITHDRAW): State.WITHDRAWN,
        (State.IN_REVIEW, Act.RERUN): State.CHECKING,
        (State.IN_REVIEW, Act.CERTIFY): State.CERTIFIED,
        (State.IN_REVIEW, Act.REJECT): State.REJECTED,
        (State.IN_REVIEW, Act.WITHDRAW): State.WITHDRAWN,
        (State.REJECTED, Act.APPEAL): State.IN_REVIEW,
    }
)
"""Every allowed change of state; any other is refused (C98)."""
_SHA256 = re.compile(r"[0-9a-f]{64}")


def next_state(state: State, act: Act) -> State | None:
    """Return the state to which an act leads; None if it is not possible in this state."""
    return TRANSITIONS.get((state, act))


def is_final(state: State) -> bool:
    """Check whether a submission in this state is closed. Only an appeal opens one again."""
    return not any(before is state and act is not Act.APPEAL for before, act in TRANSITIONS)


OPEN = tuple(state for state in State if not is_final(state))
"""The states in which a submission is open."""


def is_reopened(steps: Iterable[Step]) -> bool:
    """Check whether an appeal opened a submission again."""
    return any(each.before is State.REJECTED for each in steps)


def appeal_bar(found: Submission, steps: Iterable[Step], now: datetime) -> str:
    """Return why a rejection cannot be appealed; empty if it can: rejected recently enough, and not appealed before."""
    if found.state is not State.REJECTED or found.closed_at is None:
        return "not_rejected"
    if is_reopened(steps):
        return "appeal_made"
    return "" if now < found.closed_at + APPEAL_WITHIN else "appeal_late"


def may_submit(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may write, submit and withdraw submissions of a vendor: its owners and developers, and the platform for them."""
    return may_register(actor) or may_as_member(actor, vendor, VendorRight.APPS)


def may_decide(actor: Actor) -> bool:
    """Check whether an actor may judge submissions: reviewers, who are people of the platform and so of no vendor."""
    return actor.kind is ActorKind.STAFF and StaffRole.REVIEWER in actor.roles


_STAFF = f"{ActorKind.STAFF}:"
REVIEWER_SHOWN = "reviewer"
"""What a vendor sees instead of a staff member."""


def may_see(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may see the submissions of a vendor: its members and the platform's staff."""
    return actor.is_platform or is_member(actor, vendor)


def seen_by(actor: Actor, who: str) -> str:
    """Return who did something in a review, as an actor may see it: vendors see no names or ids of staff, so that nobody is put under pressure."""
    return who if actor.is_platform or not who.startswith(_STAFF) else REVIEWER_SHOWN


# --- what is written in a submission -------------------------------------------------------------------------------------------


def order_faults(order: SubmissionOrder, book: Book, *, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field, also of a draft. Missing fields are no fault here."""
    faults = scope_faults(each.scope for each in order.scopes) if order.scopes else {}
    if not faults and _repeated(_same(each.scope) for each in order.scopes):
        faults["scopes"] = "named_twice"
    for number, asked in enumerate(order.scopes):
        if fault := text_fault(asked.justification):
            faults[f"scopes.{number}.justification"] = fault
        if fault := text_fault(asked.defence):
            faults[f"scopes.{number}.defence"] = fault
    if len(order.documents) > EVIDENCE_BOUND:
        faults["documents"] = too_many(EVIDENCE_BOUND)
    elif _repeated(each.kind for each in order.documents):
        faults["documents"] = "named_twice"
    for number, each in enumerate(order.documents):
        faults |= {
            f"documents.{number}.{name}": code
            for name, code in document_faults(each, book.evidence, now=now).items()
        }
    return faults


def _same(scope: str) -> str:
    return str(parse_scope(scope))


def _repeated(found: Iterable[str]) -> bool:
    return any(times > 1 for times in Counter(found).values())


def document_faults(document: Document, kinds: Collection[str], *, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field of a document. ``kinds``: of evidence, in the policy."""
    faults: dict[str, str] = {}
    if document.kind in MADE_HERE:
        faults["kind"] = "evidence_made_here"
    elif document.kind not in kinds:
        faults["kind"] = "evidence_unknown"
    if fault := validate_web_uri(document.url, loopback=False):
        faults["url"] = fault
    if not _SHA256.fullmatch(document.sha256):
        faults["sha256"] = "not_a_sha256"
    if document.dated > now.date():
        faults["dated"] = "in_the_future"
    elif document.dated < (now - DOCUMENT_LIFE).date():
        faults["dated"] = "evidence_expired"
    if document.expires is not None:
        if document.expires < now.date():
            faults["expires"] = "evidence_ended"
        elif document.expires < document.dated:
            faults["expires"] = "before_its_day"
        elif document.expires > document.dated + DOCUMENT_LIFE:
            faults["expires"] = "beyond_a_year"
    return faults


def may_read(actor: Actor, vendor: VendorId, document: Document) -> bool:
    """Check whether an actor may read a document of a vendor's submission (C104). Unknown means no."""
    if may_see(actor, vendor) or document.visibility is Visibility.PUBLIC:
        return True
    return document.visibility is Visibility.HOSPITALS and actor.tenant is not None


# --- what must be there before it is submitted ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Entry:
    """What the records of an app say, as far as it decides whether a version can be submitted.

    ``unstated``: what its vendor has not stated about it. ``unproved``: contacts and domain that are not proved now. ``clients``: how
    many clients it has in the environment. ``card_missing``: the policy requires the card of a model, and the version has none.
    ``unused``: the scopes asked for that hospitals have granted the app for long and nobody used.
    """

    environment: Environment
    applicant: Applicant
    unstated: Collection[str]
    unproved: Collection[str]
    clients: int
    card_missing: bool = False
    unused: Collection[str] = ()


def entries_of(book: Book, applicant: Applicant) -> list[PolicyEntry]:
    """Return the policy's entries in which a version would be certified, one for each way to authenticate."""
    policy_entries = (
        book.categories[applicant.category].entries if applicant.category in book.categories else {}
    )
    return [policy_entries[each.tier] for each in tiers_to_certify(book, applicant).values()]


def entry_faults(order: SubmissionOrder, entry: Entry, book: Book, *, now: datetime) -> dict[str, str]:
    """Return the error code of each field that is invalid or missing, without which a version is not submitted (C6).

    The entries in which it would be certified say which documents and proofs it takes in production. A sandbox takes none, since evidence
    comes from there.
    """
    faults = {f"profile.{name}": "missing" for name in entry.unstated}
    faults |= order_faults(order, book, now=now)
    for number, asked in enumerate(order.scopes):
        if not asked.justification.strip():
            faults[f"scopes.{number}.justification"] = "justification_missing"
    production = entry.environment is Environment.PRODUCTION
    if production:
        lacking = set(undefended(order.scopes, entry.unused))
        named = ((number, each.scope) for number, each in enumerate(order.scopes))
        faults |= {
            f"scopes.{number}.defence": "unused_undefended" for number, each in named if each in lacking
        }
    if not order.scopes:
        faults["scopes"] = "scopes_missing"
    if entry.applicant.workflows == NOT_DECLARED:
        # Without workflows it cannot be judged whether the scopes exceed them.
        faults["version.workflows"] = "workflows_not_declared"
    if entry.card_missing:
        faults["version.ai_use.model_card"] = "model_card_missing"
    if not entry.clients:
        faults["clients"] = "clients_missing"
    elif entry.clients > CLIENTS_BOUND:
        faults["clients"] = too_many(CLIENTS_BOUND)
    if production and entry.applicant.category == SANDBOX_TRIAL:
        faults["environment"] = "sandbox_only"
    policy_entries = entries_of(book, entry.applicant) if "scopes" not in faults else []
    if "scopes" not in faults and not policy_entries:
        # No entry, no access: the policy does not allow the category a tier for these scopes.
        faults["scopes"] = "tier_not_allowed"
    if not production:
        return faults
    proofs = {proof for policy_entry in policy_entries for proof in policy_entry.proofs}
    faults |= {
        f"contacts.{each}": "domain_unproved" if each == "domain" else "contact_unproved"
        for each in sorted(proofs & set(entry.unproved))
    }
    attached = {each.kind for each in order.documents}
    needed = {kind for policy_entry in policy_entries for kind in policy_entry.evidence} - MADE_HERE
    return faults | {f"documents.{kind}": "evidence_missing" for kind in sorted(needed - attached)}


def undefended(asked: Iterable[AskedScope], unused: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes that nobody used, and whose use the vendor did not defend in writing, each by itself (C66)."""
    defended = {_same(each.scope) for each in asked if each.defence.strip()}
    return tuple(each for each in unused if _same(each) not in defended)


def stated(asked: AskedScope) -> dict[str, str]:
    """Return a scope as a submission's description has it: without a defence as it was before there were any."""
    defence = {"defence": asked.defence} if asked.defence else {}
    return {"scope": asked.scope, "justification": asked.justification} | defence


def described(document: Document) -> dict[str, Any]:
    """Return a document as a submission's description has it: what it does not say is left out, as it was before it could."""
    found = asdict(document)
    if document.expires is None:
        del found["expires"]
    if document.visibility is Visibility.REVIEWERS:
        del found["visibility"]
    return found


def canonical(described: Mapping[str, Any]) -> str:
    """Return a description as JSON whose bytes depend on nothing but what it says."""
    # Through JSON twice: what is stored must be what a reader parses, with nothing that only this process knows.
    plain = orjson.loads(orjson.dumps(described, default=sorted))
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def digest_of(content: str) -> str:
    """Return the digest of a canonical text."""
    return hashlib.sha256(content.encode()).hexdigest()


# --- disciplines: who signs, and what a verdict must say ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signer:
    """A reviewer before a discipline of one submission. ``conflicts``: how a conflict of interest with its vendor is known; ``wrote``: they wrote or submitted it.

    ``acted``: they let this discipline fail before an appeal, or rejected the submission.
    """

    reviewer: str
    decides: bool
    disciplines: Collection[Discipline]
    conflicts: Collection[ConflictOfInterestKind] = ()
    wrote: bool = False
    acted: bool = False


def judging_bar(signer: Signer) -> str:
    """Return why a reviewer may do nothing about a submission, whatever the discipline; empty if they may."""
    if not signer.decides:
        return "not_permitted"
    if signer.wrote:
        return "own_submission"
    return "conflict_of_interest" if signer.conflicts else ""


def signing_bar(
    signer: Signer, discipline: Discipline, others: Collection[DisciplineReview], tier: Tier | None
) -> str:
    """Return why a reviewer may not take or judge a discipline; empty if they may (C100, C101).

    ``others``: the other disciplines of the submission. ``tier`` None, which nobody computed, counts as high.
    INVARIANT: a further conflict of interest, right taken away, or discipline signed never turns a refusal into a permission.
    """
    if fault := judging_bar(signer):
        return fault
    if discipline not in signer.disciplines:
        return "discipline_not_yours"
    if signer.acted:
        return "acted_before"
    two = any(each.reviewer == signer.reviewer and each.discipline is not discipline for each in others)
    return "signs_another_discipline" if two and tier in {None, Tier.HIGH} else ""


def score_of(answers: Mapping[str, Answer]) -> int | None:
    """Return the percent of the points that apply and are met, a partly met one counting half; None if none applies."""
    weights = {Answer.MET: 2, Answer.PARTLY: 1, Answer.NOT_MET: 0}
    found = [weights[each] for each in answers.values() if each is not Answer.NOT_APPLICABLE]
    return 100 * sum(found) // (2 * len(found)) if found else None


def verdict_faults(order: JudgeOrder, cards: Scorecards) -> dict[str, str]:
    """Return the error code of each field of a verdict that is invalid or missing. A red flag keeps a discipline from passing, whatever its score (C103)."""
    card, known = cards.of[order.discipline], cards.reasons_of(order.discipline)
    points = {each.name for each in card.points}
    faults = {"text": fault} if (fault := reason_fault(order.text)) else {}
    faults |= {f"answers.{name}": "point_unknown" for name in order.answers if name not in points}
    if not set(order.flags) <= {each.name for each in card.flags}:
        faults["flags"] = "flag_unknown"
    if not set(order.reasons) <= set(known):
        faults["reasons"] = "reason_unknown"
    if len(order.findings) > FINDINGS_BOUND:
        faults["findings"] = too_many(FINDINGS_BOUND)
    for number, each in enumerate(order.findings):
        texts = {"evidence": each.evidence, "reproduction": each.reproduction, "fix": each.fix}
        faults |= {f"findings.{number}.{name}": "missing" for name, said in texts.items() if not said.strip()}
        if each.rule not in known:
            faults[f"findings.{number}.rule"] = "reason_unknown"
    if order.verdict is not Verdict.PASS:
        if not order.reasons:
            faults.setdefault("reasons", "reasons_missing")
        if order.verdict is Verdict.NEEDS_CHANGES and not order.findings:
            # The vendor must know what to do.
            faults.setdefault("findings", "findings_missing")
        return faults
    faults |= {f"answers.{name}": "missing" for name in sorted(points - set(order.answers))}
    if order.flags:
        faults["verdict"] = "red_flag"
    elif any(each.severity.blocks for each in order.findings):
        faults["verdict"] = "findings_block"
    elif not faults and (score_of(order.answers) or 0) < cards.pass_at:
        faults["verdict"] = "score_too_low"
    return faults


def decision_faults(order: DecideOrder, reasons: Collection[str], known: Collection[str]) -> dict[str, str]:
    """Return the error code of each invalid field of a decision. ``reasons``: the codes for which it is rejected, of those that are ``known``."""
    faults = {"reason": fault} if (fault := reason_fault(order.reason)) else {}
    if not set(reasons) <= set(known):
        faults["reasons"] = "reason_unknown"
    elif not (order.certify or reasons):
        faults["reasons"] = "reasons_missing"
    if order.certify and order.expires_at is None:
        faults["expires_at"] = "missing"
    return faults


def without_command(sentence: str) -> str:
    """Return a sentence for a page, which has what the command in backticks lists or does."""
    return re.sub(r": `[^`]*`| \(`[^`]*`\)", "", sentence)


def passes_without_a_person(
    route: Route,
    checks_clean: bool,  # noqa: FBT001 - one of three facts
    disciplines: Collection[DisciplineReview],
) -> bool:
    """Check whether a submission passes by its checks alone: of the low tier, clean, and nobody has begun with it."""
    untouched = all(
        each.state in {DisciplineState.OPEN, DisciplineState.PASSED} and not each.flags
        for each in disciplines
    )
    return route.tier is Tier.LOW and route.automatic and checks_clean and untouched


def next_discipline_state(state: DisciplineState, verdict: Verdict) -> DisciplineState | None:
    """Return the state to which a verdict leads; None if it is not possible in this state."""
    return AFTER[verdict] if state is DisciplineState.TAKEN else None


def disciplines_obstacle(
    route: Collection[Discipline], disciplines: Collection[DisciplineReview], findings: Iterable[Finding]
) -> str:
    """Return why disciplines keep a submission from being certified; empty if every discipline of the route passed and no blocking finding is open.

    INVARIANT: a further discipline in the route, or a further finding, never turns an obstacle into none.
    """
    of = {each.discipline: each for each in disciplines}
    # An entry that asks for no discipline is judged by nobody: then a person's decision is all there is.
    if any(
        discipline not in of or of[discipline].state is not DisciplineState.PASSED for discipline in route
    ):
        return "disciplines_not_passed"
    # A discipline that the route no longer asks for, and that did not pass, still blocks.
    if any(each.state is DisciplineState.FAILED or each.flags for each in disciplines):
        return "disciplines_not_passed"
    return "findings_open" if any(each.blocks for each in findings) else ""
