"""How another policy affects a client, an installation and a decision. Pure.

The functions that enforce a policy decide what it allows; this module only compares their results.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from hilum.apps.agreements.policy import missing
from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import (
    AUTHENTICATION,
    admission,
    ends_in,
    serves_until,
    unbroken_since,
    workflows_allowed,
)
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.installations.policy import is_allowed_at, is_for_role
from hilum.apps.registry.models import Environment
from hilum.authorization.consent.models import Authorization
from hilum.authorization.consent.policy import end_of, family_ends
from hilum.authorization.launches.models import PLACEMENT_REFUSED
from hilum.authorization.launches.policy import placement_refusal
from hilum.authorization.tokens.models import TokenFamily
from hilum.controls.switches.models import Quota, QuotaLevels
from hilum.controls.switches.policy import effective_quota
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, VendorId, VersionId
from hilum.foundation.standards.smart.scopes import (
    ClinicalScope,
    Scope,
    SpecialScope,
    all_covered,
    intersect,
    narrow,
    parse_stored,
    render,
)
from hilum.operations.dry_runs.models import (
    BY_SCOPES,
    DecisionChange,
    Effect,
    LimitChange,
    Loss,
    NarrowedUse,
    Turn,
    Verdict,
)
from hilum.policy.matrix.models import Book, PolicyEntry
from hilum.policy.matrix.policy import flat, launch_workflow, rules_of
from hilum.records.audit.models import DecisionCount, DecisionShape, PermitCount
from hilum.records.audit.policy import OWN_RECORD, letter_of, permitting_scopes, reaches

CACHE_SIZE = 50_000
Scopes = tuple[str, ...]


# --- clients and installations -------------------------------------------------------------------------------------------------


def is_live(facts: ClientFacts, books: Iterable[Book], now: datetime) -> bool:
    """Check whether a client belongs to an app, is not suspended and is certified now by one of the policies in force for its app.

    Only such a client can lose anything.
    """
    ended = facts.expires_at is not None and facts.expires_at <= now
    if not facts.active or ended or facts.type not in AUTHENTICATION:
        return False
    ends = (serves_until(book, admission(book, judged_by(facts, book), now), facts) for book in books)
    return any(each is not None and now < each for each in ends)


def as_judged(facts: ClientFacts) -> ClientFacts:
    """Return a client without the facts that no policy uses, so that equal clients are judged once."""
    # List the facts to drop, not those to keep: a fact that policies use later must not be forgotten here.
    return replace(
        facts,
        # Facts are hashed by their id: if all had one id, each look-up would compare them with every distinct client.
        id=ClientId(" ".join((facts.category, *facts.scopes))),
        app=AppId(""),
        version=VersionId(""),
        vendor=VendorId(""),
        expires_at=None,
        # The dates decide which of several certifications count.
        certified_until=facts.certified_until if facts.also else None,
        certified_at=facts.certified_at if facts.also else None,
        origins=(),
        tenant=None,
        since=None,
        gaps=(),
        graceless=bool(facts.also) and facts.graceless,
    )


def judged_by(facts: ClientFacts, *books: Book) -> ClientFacts:
    """Return a client as the policies judge it: unchanged if one of them has an exception for its version."""
    by_version = any(facts.version in {*book.raised, *book.lowered, *book.autonomous} for book in books)
    return facts if by_version else as_judged(facts)


def works_at(facts: ClientFacts, installation: InstallationFacts) -> bool:
    """Check whether a client may act under an installation at all: a sandbox client works only at a sandbox hospital (C4)."""
    return facts.environment is Environment.PRODUCTION or installation.environment is Environment.SANDBOX


def effect_of(facts: ClientFacts, before: Book, after: Book, now: datetime) -> Effect | None:
    """Return the effect of another policy on a client; None if there is none."""
    alike = judged_by(facts, before, after)
    old, new = admission(before, alike, now), admission(after, alike, now)
    # A certificate's life is of the entry, so equal entries end alike.
    if old.scopes == new.scopes and old.tier == new.tier and old.entry == new.entry:
        return None
    ends_before, ends = ends_in(before, old, facts), ends_in(after, new, facts)
    assert ends_before is not None, "only certified clients are judged"
    assert ends is not None, "a policy takes no certification away"
    served_before = serves_until(before, old, facts) or ends_before
    served = serves_until(after, new, facts) or ends
    lost, gained = difference(old.scopes, new.scopes)
    limits = _limit_changes(old.entry, new.entry)
    # Only where there were gaps at all.
    since = [unbroken_since(book, facts, now) for book in (before, after)] if facts.gaps else [None, None]
    return Effect(old, new, lost, gained, limits, ends_before, ends, served_before, served, *since)


@lru_cache(maxsize=CACHE_SIZE)
def difference(before: Scopes, after: Scopes) -> tuple[Scopes, Scopes]:
    """Return the scopes that lose anything, and those that gain anything."""
    lost = tuple(each for each in before if not all_covered((each,), after))
    return lost, tuple(each for each in after if not all_covered((each,), before))


@lru_cache(maxsize=CACHE_SIZE)
def loss_of(after: Scopes, lost: Scopes) -> Loss:
    """Return the loss of a certification or installation. If only scopes without a type remain, everything is lost."""
    if not lost:
        return Loss.NONE
    clinical = any(isinstance(scope, ClinicalScope) for scope in parse_stored(after))
    return Loss.NARROWED if clinical else Loss.LAPSES


@lru_cache(maxsize=CACHE_SIZE)
def agreement_loss(scopes: Scopes, before: Scopes, after: Scopes) -> Loss:
    """Return the loss of an agreement to ``scopes`` when ``after`` is allowed instead of ``before``."""
    held, kept = narrow(scopes, before), narrow(scopes, after)
    return loss_of(kept, difference(held, kept)[0])


def newly_ended(agreement: Authorization, effect: Effect, now: datetime) -> str:
    """Return why an agreement in force would have ended by now; empty if it would not.

    A client without admitted scopes loses its scopes, but its agreements do not end.
    """
    before, after = effect.before.entry, effect.after.entry
    if before is None or after is None or end_of(agreement, before).at <= now:
        return ""
    end = end_of(agreement, after)
    return end.why.value if end.at <= now else ""


def newly_old(family: TokenFamily, effect: Effect, now: datetime) -> str:
    """Return why tokens that can be refreshed now could not be under the version; empty if they could."""
    before, after = (
        min(family_ends(family, each.entry), key=lambda end: end.at, default=None)
        for each in (effect.before, effect.after)
    )
    if after is None or after.at > now or (before is not None and before.at <= now):
        return ""
    return after.why.value


def quota_at(effect: Effect, levels: QuotaLevels | None) -> Quota | None:
    """Return the quota of a client at a hospital under the version, with what is set there; None if it is the same."""
    before, after = effect.before.entry, effect.after.entry
    if before is None or after is None or not effect.changes_quota:
        return None
    quota = effective_quota(levels, after.quota)
    return None if quota == effective_quota(levels, before.quota) else quota


def limits_at(effect: Effect, levels: QuotaLevels | None) -> tuple[LimitChange, ...]:
    """Return the limits that change for a client at a hospital, with the quota that is set there."""
    before, after = effect.before.entry, effect.after.entry
    if levels is None or before is None or after is None or not effect.changes_quota:
        return effect.limits
    both = (replace(entry, quota=effective_quota(levels, entry.quota)) for entry in (before, after))
    return _limit_changes(*both)


def launch_loss(before: InstallationFacts, after: InstallationFacts, role: str, facility: str) -> str:
    """Return why a narrowing would newly refuse a launch by a role at a facility; empty if it would not.

    In the order in which a launch is judged: its facility, its person.
    """
    was, would = (_launch_refusal(each, role, facility) for each in (before, after))
    return "" if was else would


def _launch_refusal(installation: InstallationFacts, role: str, facility: str) -> str:
    if not is_allowed_at(installation, facility):
        return Reason.FACILITY_NOT_ALLOWED.value
    return "" if is_for_role(installation, role) else Reason.ROLE_NOT_ALLOWED.value


def is_limited(effect: Effect) -> bool:
    """Check whether launches or requests may be refused for other reasons than scopes, or agreements would be missing."""
    return effect.changes_launches or effect.asks_agreements or effect.changes_quota


def launch_fault(
    book: Book, facts: ClientFacts, task: tuple[str, str], default_workflow: str, now: datetime
) -> str:
    """Return why a policy would refuse a launch for an intent and placement; empty if it would not.

    In the order in which a launch is judged: its entry, its workflow, its placement.
    """
    intent, placement = task
    if admission(book, facts, now).entry is None:
        return Reason.APP_NOT_CERTIFIED.value
    may = workflows_allowed(book, facts, now)
    workflow = launch_workflow(book, may, intent=intent, placement=placement) or default_workflow
    if workflow and workflow not in may:
        return Reason.WORKFLOW_NOT_APPROVED.value
    return PLACEMENT_REFUSED if placement_refusal(placement, book, facts, now) else ""


def newly_missing(
    facts: ClientFacts,
    installation: InstallationFacts,
    before: Book,
    after: Book,
    in_force: frozenset[str],
    *,
    now: datetime,
) -> frozenset[str]:
    """Return the kinds of agreements that an app would newly lack at a hospital."""

    def lacking(book: Book) -> frozenset[str]:
        return missing(book, (facts,), installation.environment, installation.roles, in_force, now=now)

    return lacking(after) - lacking(before)


_NOT_LIMITS = frozenset({"scopes", "session_scopes"})


@lru_cache(maxsize=CACHE_SIZE)
def _limit_changes(before: PolicyEntry | None, after: PolicyEntry | None) -> tuple[LimitChange, ...]:
    """Return the limits that differ between two entries, computed once for each two."""
    old, new = _limits(before), _limits(after)
    differ = (path for path in {**old, **new} if old.get(path, "") != new.get(path, ""))
    return tuple(LimitChange(path, old.get(path, ""), new.get(path, "")) for path in differ)


def _limits(entry: PolicyEntry | None) -> Mapping[str, str]:
    if entry is None:
        return {}
    return {path: text for path, text in flat(rules_of(entry)) if path not in _NOT_LIMITS}


# --- decisions -----------------------------------------------------------------------------------------------------------------


def turn_of(decision: DecisionCount, before: Scopes, after: Scopes) -> Turn | None:
    """Return how equal decisions would change when ``after`` is allowed instead of ``before``; None if they would not.

    Both are what the client may be granted at that hospital by the present facts; what was lost for other reasons is no change.
    """
    if not decision.reason:
        kept, was = _kept(decision, after), _kept(decision, before)
        if kept >= was:
            return None
        return Verdict.LESS if kept else Verdict.REFUSED, decision.rule
    if decision.reason not in BY_SCOPES:
        return None
    new = _new_grants(decision.resource_type, decision.interaction, before, after)
    return (Verdict.ALLOWED, ", ".join(new)) if new else None


def may_turn(shape: DecisionShape, effect: Effect, *, lapses: bool) -> bool:
    """Check whether decisions of a shape may change, or cannot be judged, at any hospital.

    INVARIANT: if this is false for a shape, none of its decisions changes, wherever the client is installed.
    """
    if not shape.reason:
        pieces = permitting_scopes(shape.rule, shape.resource_type, shape.interaction)
        return lapses or not pieces or _touched(pieces, effect.lost)
    grants = _new_grants(shape.resource_type, shape.interaction, effect.before.scopes, effect.after.scopes)
    return shape.reason in BY_SCOPES and bool(grants)


@lru_cache(maxsize=CACHE_SIZE)
def _touched(pieces: tuple[Scope, ...], lost: Scopes) -> bool:
    return bool(intersect(pieces, parse_stored(lost)))


def narrowed_use(use: PermitCount, after: Scopes) -> NarrowedUse | None:
    """Return how equal permits change when only ``after`` is allowed; None if they do not."""
    if (kept := _kept(use, after)) == _WHOLE:
        return None
    verdict = Verdict.LESS if kept == _PART else Verdict.REFUSED
    return NarrowedUse(use.rule, use.resource_type, use.interaction, verdict, use.number, use.last)


def is_judged(decision: DecisionCount) -> bool:
    """Check whether a decision can be judged again: for a permit its scopes must be on record."""
    return bool(decision.reason) or names_its_scopes(decision)


def names_its_scopes(permit: DecisionCount | PermitCount) -> bool:
    """Check whether the scopes that permitted something are on record."""
    return bool(_pieces_of(permit))


def changed_decision(decision: DecisionCount, turn: Turn) -> DecisionChange:
    """Return the row of decisions that change."""
    verdict, scope = turn
    return DecisionChange(
        decision.tenant,
        decision.app,
        decision.client,
        verdict,
        scope,
        decision.resource_type,
        decision.interaction,
        decision.number,
        decision.first,
        decision.last,
        decision.example,
    )


def refused_of(decision_changes: Iterable[DecisionChange]) -> Mapping[str, int]:
    """Return how many requests some decision changes refuse, by hospital."""
    found: Counter[str] = Counter()
    for change in decision_changes:
        if change.verdict is Verdict.REFUSED:
            found[change.tenant] += change.number
    return found


_NOTHING, _PART, _WHOLE = range(3)


def _kept(decision: DecisionCount | PermitCount, allowed: Scopes) -> int:
    """Return how much remains of the scope that permitted a decision: nothing, part of it, or all."""
    return _left(_pieces_of(decision), allowed, together=decision.rule == OWN_RECORD)


def _pieces_of(decision: DecisionCount | PermitCount) -> tuple[Scope, ...]:
    return permitting_scopes(decision.rule, decision.resource_type, decision.interaction)


@lru_cache(maxsize=CACHE_SIZE)
def _left(pieces: tuple[Scope, ...], allowed: Scopes, *, together: bool) -> int:
    within = parse_stored(allowed)
    left = [intersect((piece,), within) for piece in pieces]
    whole = sum(found == (piece,) for found, piece in zip(left, pieces, strict=True))
    if whole == len(pieces):
        return _WHOLE
    # Both scopes of one's own record are needed; of several clinical scopes each permits by itself.
    return _PART if any(left) and not together else _NOTHING


@lru_cache(maxsize=CACHE_SIZE)
def _new_grants(type_: str, interaction: str, before: Scopes, after: Scopes) -> Scopes:
    """Return the new scopes that allow an interaction with a type, or more records of it."""
    letter, held = letter_of(interaction), parse_stored(before)
    new: list[str] = []
    for scope in parse_stored(after):
        if isinstance(scope, SpecialScope) or not reaches(scope, type_, letter):
            continue
        piece = replace(scope, type=type_, letters=letter)
        if intersect((piece,), held) != (piece,):
            new.append(render(scope))
    return tuple(new)
