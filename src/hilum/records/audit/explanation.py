"""Explanation of how a request was answered, in sentences. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.sentences import Sentence, in_english, moment
from hilum.foundation.standards.refusals import meaning_of
from hilum.records.audit.models import (
    COUNTED_REFUSALS,
    EXPLAIN_EVENTS_BOUND,
    SETTLEMENT,
    UNDELIVERED,
    Access,
    Background,
    EventQuery,
    Explanation,
    Outcome,
    RecordedEvent,
)
from hilum.records.audit.policy import WRITES, emergency_of, found_in

_BY_REASON = {
    Reason.APP_SUSPENDED: "registry.app",
    Reason.SWITCH_ENGAGED: "controls.switch",
    Reason.APP_NOT_CERTIFIED: "registry",
    Reason.APP_NOT_INSTALLED: "registry.installation",
    Reason.FACILITY_NOT_ALLOWED: "registry.installation",
    Reason.ROLE_NOT_ALLOWED: "registry.installation",
    Reason.TOKEN_REVOKED: "tokens",
    # The events that ended a token or an installation are queried in any case.
    Reason.WRITE_DONE_ANSWER_WITHHELD: "controls.switch",
}


def queries(accesses: Sequence[Access]) -> list[EventQuery]:
    """Return the queries for related events: those of the app, its installation, the agreement and the launch."""
    if not accesses:
        return []
    # All records of a request have the same app, launch and authorization.
    first, most = accesses[0], EXPLAIN_EVENTS_BOUND
    found: list[EventQuery] = []
    if first.app:
        found += [EventQuery(app=first.app, action="registry.certification", limit=most)]
        found += [EventQuery(app=first.app, tenant=first.tenant, action="registry.installation", limit=most)]
        found += [EventQuery(app=first.app, action="policies.exception", limit=most)]
    if first.authorization:
        found += [EventQuery(authorization=first.authorization, action="consent", limit=most)]
        found += [
            EventQuery(authorization=first.authorization, action=kind, limit=most)
            for kind in ("tokens.family", "tokens.authorization", "tokens.refresh")
        ]
    if first.launch:
        found += [EventQuery(launch=first.launch, action="launches", limit=most)]
    reason = _reason_of(accesses)
    prefix = _BY_REASON.get(Reason(reason)) if reason in _REASONS else None
    # Not filtered by app: the switch may be on the platform, the vendor, a scope or a type. `_concerns`
    # removes the unrelated ones.
    if prefix == "controls.switch":
        found += [EventQuery(action=prefix, limit=most)]
    elif reason == Reason.PERSON_INACTIVE and first.person:
        found += [EventQuery(person=first.person, action="identity.person", limit=most)]
    elif prefix is not None and first.app:
        found += [EventQuery(app=first.app, action=prefix, limit=most)]
    return found


_REASONS = frozenset(Reason)


def related(
    request_id: str, accesses: Sequence[Access], events: Iterable[RecordedEvent]
) -> tuple[RecordedEvent, ...]:
    """Return the events that explain a request, in order of time.

    Events of other tenants, and of switches on unrelated targets, are left out: this reader may not see them.
    """
    unique = {(event.writer, event.seq): event for event in events}
    ordered = sorted(unique.values(), key=lambda event: (event.at, event.writer, event.seq))
    # Before cutting to the bound, or events of other tenants
    # would take the places of those that explain this request.
    concerned = [event for event in ordered if event.request_id == request_id or _concerns(event, accesses)]
    # The newest: what decided the request is close to it in time.
    return tuple(concerned[-EXPLAIN_EVENTS_BOUND:])


def in_force_at(events: Iterable[RecordedEvent], at: datetime) -> tuple[str, ...]:
    """Return the ids of the switches that were engaged at a time, as far as these events, in order of time, say."""
    engaged: dict[str, None] = {}
    for each in events:
        switch = str(each.event.facts.get("switch", ""))
        if each.at <= at and each.event.outcome is Outcome.DONE and switch:
            if each.event.action == "controls.switch.engage":
                engaged[switch] = None
            elif each.event.action == _RELEASE:
                engaged.pop(switch, None)
    return tuple(engaged)


def explain(
    request_id: str, accesses: Sequence[Access], events: Sequence[RecordedEvent], background: Background
) -> Explanation:
    """Build an explanation from accesses, from the events that led to them, in order of time, and from what other modules know."""
    accesses = sorted(accesses, key=lambda access: access.at)
    undelivered = {access.decision for access in accesses if access.rule == UNDELIVERED}
    steps: list[str] = []
    for access in accesses:
        steps += _of_access(access, delivered=access.decision not in undelivered)
        # Of a batch the facts have one decision only.
        if not background.about or len({each.decision for each in accesses}) > 1:
            steps += _in_facts(access)
    steps += background.sentences
    sentences = list(steps)
    decided_at = accesses[0].at if accesses else None
    for event in events:
        later = decided_at is not None and event.at > decided_at
        sentences.append(_of_event(event, later=later))
    if _was_released(accesses, events):
        released = (
            "The switch had been released by then, but what was issued before the release remains invalid."
        )
        steps.append(released)
        sentences.append(released)
    return Explanation(
        request_id,
        tuple(accesses),
        tuple(events),
        tuple(sentences),
        tuple(steps),
        tuple(background.about),
        tuple(background.why),
    )


def _reason_of(accesses: Sequence[Access]) -> str:
    """Return the last reason: the intent of a write has none yet, and a correction replaces the one before it."""
    return next((access.reason for access in reversed(accesses) if access.reason), "")


def _was_released(accesses: Sequence[Access], events: Iterable[RecordedEvent]) -> bool:
    """Check whether the last event of a full stop before the request was its release."""
    if _reason_of(accesses) != Reason.SWITCH_ENGAGED:
        return False
    # "Released" explains the refusal only if no switch was engaged again before the request.
    before = [each.event for each in events if each.at <= accesses[0].at]
    done = [each for each in before if each.action in _ENDS and each.outcome is Outcome.DONE]
    return bool(done) and done[-1].action == _RELEASE and done[-1].facts.get("mode") == "full_stop"


_RELEASE = "controls.switch.release"
_ENDS = {_RELEASE, "controls.switch.engage"}


def _concerns(recorded: RecordedEvent, accesses: Sequence[Access]) -> bool:
    event = recorded.event
    # A switch on a vendor or platform reaches many tenants, and its events may name another hospital (C145).
    if event.tenant and event.tenant not in {access.tenant for access in accesses}:
        return False
    target = str(event.facts.get("target", ""))
    if not event.action.startswith("controls.switch") or not target:
        return True
    # Which scopes a request used is not in its record, so switches on scopes are all shown.
    return any(target in _targets(access) or target.startswith("scope:") for access in accesses)


def _targets(access: Access) -> set[str]:
    """Return the switch targets that apply to a request, as events store them."""
    a = access
    pairs = (
        ("tenant", a.tenant),
        ("vendor", a.vendor),
        ("app", a.app),
        ("version", a.version),
        ("person", a.person),
        ("resource_type", a.resource_type),
        ("app_tenant", f"{a.app}/{a.tenant}"),
        ("app_person", f"{a.app}/{a.person}"),
    )
    return {"platform", *(f"{kind}:{key}" for kind, key in pairs)}


_DOING = {
    "read": "a read of {}",
    "vread": "a read of an older version of {}",
    "search-type": "a search of {}",
    "create": "the creation of {}",
    "update": "an update of {}",
    "patch": "a change of {}",
    "delete": "the deletion of {}",
    "picker": "a look-up of {} by the patient picker",
    "record_name": "a look-up of {} to say whose record a page is about",
    "unsupported": "a request of a kind that is not offered",
}


def _of_access(access: Access, *, delivered: bool) -> list[str]:
    if access.outcome is Outcome.INTENDED or access.rule in {SETTLEMENT, UNDELIVERED}:
        return [_of_step(access)]
    what = _DOING.get(access.interaction, "").format(access.resource_type)
    what = what or f"{access.interaction} {access.resource_type}".strip() or "a request"
    if access.reason == Reason.TOKEN_MISSING:
        what = "a request without an access token"
    many = f" ({access.count} times)" if access.count > 1 else ""
    named = f"Decision {access.decision}: " if access.decision != access.request_id else ""
    ended = f"{_ENDED.get(access.outcome, 'refused')} with {access.status}"
    if not delivered:
        done = "carried out" if access.interaction in WRITES else "permitted"
        ended = f"{_PREPARED.get(access.outcome, done)}; an answer with {access.status} was prepared"
    sentences: list[str] = [_on(access.at, f"{what} at {access.tenant} was {ended}{many}.", before=named)]
    # Withheld and out of reach are answered like absent (ADR 13); the detail was never sent.
    if access.reason and access.status == _NOT_FOUND:
        sentences.append("The app got the answer for a record that does not exist.")
    elif emergency := emergency_of(access):
        use, opened = emergency
        sentence = (
            f"The person had broken the glass for this patient ({use}), so restricted records were readable."
        )
        shown = "" if opened is None else f" It showed {opened:,} of them."
        sentences.append(sentence + shown)
    elif access.detail:
        sentences.append(f"Detail sent to the app: {access.detail}")
    # A counted record represents many requests, so none of them has a rule of its own.
    if access.rule == COUNTED_REFUSALS:
        sentences.append(
            "The first refusals of an address in a minute are recorded one by one; the rest are counted together in this record."
        )
    elif access.rule:
        sentences.append(
            f"It was permitted by {access.rule}."
            if access.outcome is not Outcome.REFUSED
            else f"The scopes alone would have permitted it ({access.rule}); another rule refused it."
        )
    if access.returned and access.outcome is not Outcome.REFUSED:
        among = f" of {counted(len(found_in(access)), 'patient')}" if access.found else ""
        sentences.append(f"The answer had {counted(access.returned, 'record')}{among}.")
    if access.removed:
        sentences.append(
            f"{access.removed} resources were removed from the answer because the grant does not cover them."
        )
    return sentences


def _in_facts(access: Access) -> list[str]:
    """Return the sentences whose content the facts of a request have too: why it was refused, and who sent it."""
    if access.outcome is Outcome.INTENDED or access.rule in {SETTLEMENT, UNDELIVERED}:
        return []
    meaning = meaning_of(Reason(access.reason)) if access.reason in _REASONS else ""
    reason = [f"Reason: {access.reason}. {meaning}".strip()] if access.reason else []
    return [*reason, _who(access)]


def _on(at: datetime, rest: str, *, before: str = "") -> Sentence:
    """Return a sentence about a moment, which a page says in its own zone."""
    return in_english("%(before)sOn %(at)s, %(rest)s", before=before, at=moment(at, seconds=True), rest=rest)


def _of_step(access: Access) -> Sentence:
    """Return the sentence for one step of a write, or for a response that was not delivered."""
    what = _DOING.get(access.interaction, f"{access.interaction} of {{}}").format(access.resource_type)
    if access.outcome is Outcome.INTENDED:
        return _on(
            access.at,
            f"{what} at {access.tenant} was about to be sent to the FHIR server; the intent was recorded first.",
        )
    if access.rule == UNDELIVERED:
        done = (
            "The write itself was carried out. " if access.reason == Reason.WRITE_DONE_ANSWER_WITHHELD else ""
        )
        where = f"It is stored as {access.resource}. " if done and access.resource else ""
        return _on(
            access.at,
            f"before the answer was sent, the request was decided again: refused with {access.status}, reason {access.reason}. "
            f"The prepared answer was not delivered. {done}{where}Detail sent to the app: {access.detail}",
        )
    where = (
        f" It is stored as {access.resource}." if access.outcome is Outcome.DONE and access.resource else ""
    )
    return _on(
        access.at, f"it was settled that {what} was {_SETTLED[access.outcome]}: {access.detail}{where}"
    )


_ENDED = {
    Outcome.DONE: "answered",
    Outcome.NOT_DONE: "not carried out, and answered",
    Outcome.UNKNOWN: "sent with an unknown outcome, and answered",
}
_PREPARED = {Outcome.NOT_DONE: "not carried out", Outcome.UNKNOWN: "sent with an unknown outcome"}
_SETTLED = {
    Outcome.DONE: "carried out",
    Outcome.NOT_DONE: "not carried out",
    Outcome.UNKNOWN: "carried out or not, which cannot be determined",
}
_NOT_FOUND = 404


def _who(access: Access) -> str:
    origin = f" from {access.source}" if access.source else ""
    # No client means that no token was accepted.
    if not access.client:
        return f"The request came{origin or ' from an address that was not recorded'}; its sender is unknown."
    parts = [f"It was sent{origin} by app {access.app}, client {access.client}"]
    if access.person:
        role = f" ({access.role})" if access.role else ""
        parts.append(f"for person {access.person}{role}")
    if access.launch:
        parts.append(f"in launch {access.launch}")
    if access.authorization:
        parts.append(f"under authorization {access.authorization}")
    return ", ".join(parts) + "."


_HAPPENED = {
    "authserver.code.issue": "an authorization code was issued",
    "authserver.request.refuse": "an authorization of the app was requested",
    "authserver.token.refuse": "a token was requested",
    "consent.authorization.narrow": "the agreement was narrowed",
    "consent.authorization.record": "the agreement was recorded",
    "consent.authorization.renew": "the agreement was renewed",
    "consent.authorization.withdraw": "the agreement was withdrawn",
    "controls.quota.set": "the app's quota was set",
    "controls.switch.ask_release": "the release of a kill switch was requested",
    "controls.switch.engage": "a kill switch was engaged",
    "controls.switch.release": "a kill switch was released",
    "launches.launch.begin": "the launch was opened in a browser",
    "launches.launch.end": "the EHR's session ended",
    "launches.launch.move": "the chart moved to another patient",
    "launches.launch.open": "a launch of the app was requested",
    "launches.launch.take": "the app used the launch",
    "policies.exception.add": "an exception was made for the app",
    "policies.exception.ask": "an exception for the app was requested",
    "policies.exception.end": "an exception for the app was ended",
    "registry.app.ask_again": "people were asked again about the app",
    "registry.app.category": "the app was moved to another category",
    "registry.app.change_owner": "the app was moved to another vendor",
    "registry.app.resume": "the app was resumed",
    "registry.app.suspend": "the app was suspended",
    "registry.certification.add": "the app was certified",
    "registry.certification.withdraw": "the app's certification was withdrawn",
    "registry.installation.add": "the app was installed",
    "registry.installation.narrow": "the app's installation was narrowed",
    "registry.installation.pin": "the networks of the app's backend services were set",
    "registry.installation.remove": "the app was removed from the hospital",
    "registry.installation.validate": "the app's installation was validated",
    "registry.installation.widen": "the app's installation was widened",
    "tokens.access.mint": "tokens were issued",
    "tokens.access.repeat": "the same tokens were given again",
    "tokens.access.revoke": "a token was revoked",
    "tokens.authorization.narrow": "the app's tokens were narrowed",
    "tokens.family.revoke": "the app's tokens were revoked",
    "tokens.token.revoke": "a token was revoked",
}
_ACTORS = {
    "anonymous": "an unauthenticated caller",
    "system": "the platform itself",
    "staff": "{} of the platform's staff",
    "host": "{} at the host's shell",
    "person": "person {}",
    "client": "client {}",
}


def happened(action: str) -> str:
    """Return what was done or asked for, in words; the action itself if there are none."""
    return _HAPPENED.get(action, action)


def _actor(written: str) -> str:
    kind, _, name = written.partition(":")
    return _ACTORS.get(kind, written).format(name)


def _of_event(event: RecordedEvent, *, later: bool) -> Sentence:
    recorded, actor = event.event, _actor(event.actor)
    facts = recorded.facts
    if recorded.outcome is Outcome.REFUSED:
        what = f"{actor} was refused ({recorded.action})"
    elif happened := _HAPPENED.get(recorded.action):
        what = f"{happened} by {actor} ({recorded.action})"
    else:
        what = f"{recorded.action} was done by {actor}"
    on = "".join(f", {facts[name]}" for name in ("target", "mode") if facts.get(name))
    why = "; ".join(str(each) for each in (recorded.reason, facts.get("reason"), facts.get("detail")) if each)
    because = f": {why.removesuffix('.')}" if why else ""
    after = "after this request, " if later else ""
    return _on(event.at, f"{after}{what}{on}{because}.")
