"""What a consent page describes and offers, and which scopes its ticks grant. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.authorization.consent.models import (
    UNUSED_AFTER,
    Authorization,
    Choice,
    End,
    PlainPermission,
    Topic,
)
from hilum.authorization.consent.permissions import (
    FILES,
    Part,
    Permission,
    Rights,
    granted_of,
    may_overlap,
    parts_of,
    permissions_of,
)
from hilum.authorization.consent.words import CATEGORIES, OTHER_TOPIC, SPECIAL, TOPICS, TYPES
from hilum.authorization.tokens.models import TokenFamily
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import PersonId, TenantId, VersionId
from hilum.foundation.kernel.sentences import Sentence, enumerated, joined
from hilum.foundation.standards.fhir.attachments import referrer_types
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    CREATE,
    DELETE,
    READ,
    SEARCH,
    UPDATE,
    WRITES,
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
    all_covered,
    parse_scope,
    render,
)
from hilum.identity.people.models import Person
from hilum.policy.matrix.models import Expiry, PolicyEntry

OWN_ENTRY = "fhirUser"
DECLINABLE = frozenset({"offline_access", "online_access"})
"""Special scopes that can be unticked. The others only identify the person and the context, without which no app works."""
UNGROUPED_TYPES = 8
"""The most types that a consent page lists without headings."""
_REACH = {
    Prefix.PATIENT: Sentence("of this patient"),
    Prefix.USER: Sentence("of every patient you may open"),
    Prefix.SYSTEM: Sentence("of every patient"),
}
VERBS = ("see", "find", "add", "change", "delete")
"""Every verb of a permission, for the catalogue of texts to translate."""


def is_in_force(authorization: Authorization, now: datetime) -> bool:
    """Check whether an authorization is in force."""
    return authorization.revoked_at is None and now < authorization.expires_at


def may_export(actor: Actor, tenant: TenantId, person: PersonId | None) -> bool:
    """Check whether an actor may export agreements: the hospital's administrator all of them, everybody their own."""
    if actor.kind is not ActorKind.PERSON or not tenant or actor.tenant != tenant:
        return False
    return administers(actor, tenant) or (person is not None and actor.id == person)


def chart_end(person: Person | None, patient: str) -> datetime | None:
    """Return when a person may no longer act for a patient, such as at the patient's majority; None if there is no end."""
    return None if person is None else dict(person.chart_ends).get(patient)


def may_go_on(
    agreement: Authorization,
    *,
    version: VersionId,
    workflow: str,
    policy_entry: PolicyEntry | None,
    now: datetime,
) -> bool:
    """Check whether an agreement in force spares its person another page (C90). The caller compares the scopes.

    They are asked again for another version or workflow, and after ``dormant_days`` without use. An agreement without a workflow covers
    every workflow. ``last_used_at`` must be set.
    """
    if policy_entry is None or agreement.version != version or agreement.workflow not in {"", workflow}:
        return False
    if policy_entry.lifetimes.expiry is Expiry.ONE_TIME:
        return False
    return now < used_at(agreement) + timedelta(days=policy_entry.dormant_days)


def used_at(agreement: Authorization) -> datetime:
    """Return when an agreement was last used: its person opened the app or, if ``last_used_at`` is set, a token was issued."""
    uses = (agreement.last_used_at, agreement.last_validated_at, agreement.created_at)
    return max(filter(None, uses))


def is_unused(used_at: datetime, ends_at: datetime, now: datetime) -> bool:
    """Check whether an agreement or token family is in force but was not used for UNUSED_AFTER, so that its removal is proposed (C219)."""
    return now < ends_at and used_at <= now - UNUSED_AFTER


CLASS_ENDS = frozenset({Reason.ONE_TIME_OVER, Reason.STUDY_ENDED, Reason.FIXED_END_REACHED})
"""Ends that opening the app does not extend."""


def end_of(authorization: Authorization, policy_entry: PolicyEntry | None) -> End:
    """Return when an authorization ends, and by which limit: its own expiry, or an earlier end by the app's entry in the policy.

    ``last_used_at`` must be set if the entry limits idle time (``limits_idle_time``). Without an entry only the expiry counts, since the app
    gets no tokens anyway.
    Source: C89, C194
    """
    stored = End(authorization.expires_at, Reason.AUTHORIZATION_EXPIRED)
    if policy_entry is None:
        return stored
    lives, agreed_at = policy_entry.lifetimes, authorization.created_at
    # The stored expiry counts under the expiry class that the app has now.
    match lives.expiry:
        case Expiry.ONE_TIME:
            ends = [End(min(stored.at, agreed_at + lives.access_token), Reason.ONE_TIME_OVER)]
        case Expiry.STUDY:
            ends = [End(min(stored.at, agreed_at + lives.authorization), Reason.STUDY_ENDED)]
        case Expiry.FIXED:
            ends = [End(min(stored.at, agreed_at + lives.authorization), Reason.FIXED_END_REACHED)]
        case Expiry.ROLLING:
            renewed_at = authorization.last_validated_at or agreed_at
            ends = [stored, End(renewed_at + lives.authorization, Reason.AUTHORIZATION_EXPIRED)]
    if limits_idle_time(policy_entry):
        ends += idle_ends(used_at(authorization), policy_entry)
    return min(ends, key=lambda end: end.at)


def limits_idle_time(policy_entry: PolicyEntry | None) -> bool:
    """Check whether an entry ends agreements that are not used, so that their last use must be read."""
    return policy_entry is not None and (policy_entry.lifetimes.idle is not None or policy_entry.dormant_ends)


def idle_ends(used_at: datetime, policy_entry: PolicyEntry) -> list[End]:
    """Return the ends of an agreement or family that is not used again after ``used_at``; empty if the entry does not limit idle time."""
    idle = policy_entry.lifetimes.idle
    ends = [] if idle is None else [End(used_at + idle, Reason.AUTHORIZATION_IDLE)]
    if policy_entry.dormant_ends:
        ends.append(End(used_at + timedelta(days=policy_entry.dormant_days), Reason.AUTHORIZATION_DORMANT))
    return ends


def family_ends(family: TokenFamily, policy_entry: PolicyEntry | None) -> list[End]:
    """Return when a token family ends by an entry; empty without an entry, which admits nothing anyway.

    Idle time and age count for each family, also while the person uses the app with another one.
    """
    if policy_entry is None:
        return []
    lives = policy_entry.lifetimes
    life = lives.refresh_token if family.offline else lives.session_refresh_token
    ends = [
        End(family.minted_at + life, Reason.REFRESH_TOKEN_OLD),
        *idle_ends(family.minted_at, policy_entry),
    ]
    if lives.absolute is not None:
        ends.append(End(family.started_at + lives.absolute, Reason.ABSOLUTE_LIMIT_REACHED))
    return ends


def first_end(policy_entry: PolicyEntry | None, *, now: datetime, study_ends: datetime | None) -> datetime:
    """Return when an agreement that is recorded now expires by its entry; a study's also by its end date, and at once if it has none."""
    if policy_entry is None:
        return now
    lives = policy_entry.lifetimes
    match lives.expiry:
        case Expiry.ONE_TIME:
            return now + lives.access_token
        case Expiry.STUDY:
            return min(now + lives.authorization, study_ends or now)
        case _:
            return now + lives.authorization


def plain_words(scope: str | Scope) -> PlainPermission:
    """Describe in plain words what a scope permits. One that does not parse is described as permitting nothing."""
    parsed = parse_scope(scope) if isinstance(scope, str) else scope
    text = scope if isinstance(scope, str) else ""
    # Scopes that an older release stored may no longer parse; then they grant nothing.
    if isinstance(parsed, ScopeError):
        invalid = Sentence("This scope is not valid and permits nothing.")
        return PlainPermission(text, Sentence("Nothing"), invalid, ())
    if isinstance(parsed, SpecialScope):
        title, meaning = (Sentence(each) for each in SPECIAL[parsed.name])
        away = parsed.name == "offline_access"
        return PlainPermission(text or parsed.name, title, meaning, (), sensitive=away)
    name, meaning, sensitive = _type_words(parsed.type)
    narrowed, verbs = _constraint_words(parsed), _verbs(parsed.letters)
    what = Sentence("%(what)s: %(kinds)s", what=name, kinds=narrowed) if narrowed else name
    acts = enumerated([Sentence(verb) for verb in verbs])
    return PlainPermission(
        scope=text or render(parsed),
        title=Sentence("%(acts)s %(what)s", acts=acts, what=what).initial_capital(),
        meaning=meaning,
        verbs=verbs,
        reach=_REACH[parsed.prefix],
        writes=bool(parsed.letters & WRITES),
        sensitive=sensitive,
        what=name,
        kind=narrowed,
    )


def type_name(resource_type: str) -> Sentence:
    """Return what a resource type holds, in plain words: ``vaccinations``."""
    return _type_words(resource_type)[0]


def _type_words(resource_type: str) -> tuple[Sentence, Sentence, bool]:
    if resource_type == ANY_TYPE:
        everything = Sentence("everything in the record")
        return everything, Sentence("All kinds of entries, present and future."), True
    found = TYPES.get(resource_type)
    if found is not None:
        return Sentence(found[0]), Sentence(found[1]), found[2]
    # The gateway refuses types without words here, so the page must not show them as readable.
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in resource_type).strip()
    entries = Sentence("%(type)s entries", type=spaced)
    return entries, Sentence("This hospital shares no such entries with apps."), True


def _constraint_words(scope: ClinicalScope) -> Sentence | str:
    if not scope.constraints:
        return ""
    descriptions = dict(CATEGORIES.get(scope.type, ()))
    return joined(
        (
            Sentence(descriptions[value])
            if name == "category" and value in descriptions
            else f"{name} {value}"
            for name, value in scope.constraints
        ),
        ", ",
    )


def _verbs(letters: int) -> tuple[str, ...]:
    verbs = ["see"] if letters & READ else ["find"] if letters & SEARCH else []
    verbs += [
        verb for bit, verb in ((CREATE, "add"), (UPDATE, "change"), (DELETE, "delete")) if letters & bit
    ]
    return tuple(verbs)


def categories_of(resource_type: str) -> tuple[tuple[str, str], ...]:
    """Return the categories of a type that can be ticked one by one: ``system|code`` and description. Empty for most types."""
    return CATEGORIES.get(resource_type, ())


@dataclass(frozen=True, slots=True)
class Consenter:
    """The person at a consent page. ``rights`` of their role limit wildcards; ``own`` is the type of their own entry, which ``fhirUser`` opens."""

    rights: Rights | None = None
    own: str = ""


NOBODY = Consenter()


def choices(asked: Iterable[str], *, by: Consenter = NOBODY) -> tuple[Choice, ...]:
    """Return the checkboxes of a consent page, in order: one per permission, and one per special scope that can be declined."""
    texts = tuple(dict.fromkeys(asked))
    ticks: list[tuple[int, Choice]] = []
    for each in permissions_of(parts_of(texts, by.rights)):
        scopes = tuple(dict.fromkeys(part.text for part in each.parts))
        # fhirUser opens one resource of this type, so it follows the type's tick (ADR 17).
        if by.own == each.type and each.letters & READ and OWN_ENTRY in texts:
            scopes = (*scopes, OWN_ENTRY)
        words = _words_of(each)
        # Checkboxes of one type are grouped, so that the page can show the type without hiding its categories.
        group = each.whole if each.entry and each.value != each.whole else ""
        ticks.append((each.parts[0].n, Choice(each.value, scopes, words, group, each.type)))
    ticks += [
        (n, Choice(text, (text,), plain_words(text))) for n, text in enumerate(texts) if text in DECLINABLE
    ]
    return tuple(choice for _, choice in sorted(ticks, key=lambda tick: tick[0]))


def with_needs(offered: Iterable[Choice], optional: tuple[str, ...] | None) -> tuple[Choice, ...]:
    """Set on each checkbox whether the app states that it works without it; unchanged if the app states nothing.

    Each can still be unticked, because the person decides (C68, C211).
    """
    if optional is None:
        return tuple(offered)
    return tuple(replace(each, optional=all_covered((each.value,), optional)) for each in offered)


def topics(offered: Iterable[Choice]) -> tuple[Topic, ...]:
    """Return the checkboxes by topic, in the order of the topics; () for at most UNGROUPED_TYPES types. Special scopes have no topic."""
    by_topic: dict[tuple[str, str], list[Choice]] = {}
    of_types = [each for each in offered if each.type]
    if len({each.type for each in of_types}) <= UNGROUPED_TYPES:
        return ()
    for each in of_types:
        by_topic.setdefault(_topic_of(each.type), []).append(each)
    order = [(key, title) for key, (title, _) in TOPICS.items()] + [OTHER_TOPIC]
    return tuple(
        Topic(key, Sentence(title), tuple(by_topic[key, title]))
        for key, title in order
        if (key, title) in by_topic
    )


def _topic_of(type_: str) -> tuple[str, str]:
    return next(((key, title) for key, (title, types) in TOPICS.items() if type_ in types), OTHER_TOPIC)


def within_topics(
    offered: Iterable[Choice], ticked: Iterable[str], headings: Iterable[str]
) -> tuple[str, ...]:
    """Remove the ticks under headings that are not ticked; return all ticks of a page without headings.

    A tick that covers several checkboxes, such as that of a whole type, is removed with any one of them.
    """
    offered, ticked_headings = tuple(offered), frozenset(headings)
    withheld = {
        value
        for topic in topics(offered)
        if topic.key not in ticked_headings
        for each in topic.choices
        for value in (each.value, each.group, *each.scopes)
    }
    return tuple(value for value in ticked if value not in withheld)


def _words_of(permission: Permission) -> PlainPermission:
    """Describe a permission; its reach is the widest of its scopes."""
    words = plain_words(permission.value)
    everybody = any(part.scope.prefix is Prefix.USER for part in permission.parts)
    return replace(words, reach=_REACH[Prefix.USER]) if everybody else words


def describe_all(asked: Iterable[str]) -> tuple[PlainPermission, ...]:
    """Describe what scopes permit together, each permission once, for a page without checkboxes."""
    texts = tuple(dict.fromkeys(asked))
    parts = parts_of(texts)
    # A wildcard is described as one: sixty lines would hide that it means everything.
    wild = [
        text
        for text in texts
        if isinstance(scope := parse_scope(text), ClinicalScope) and scope.type == ANY_TYPE
    ]
    described: dict[PlainPermission, None] = {
        plain_words(text): None for text in texts if text in SPECIAL or text in wild
    }
    remaining = {type_: _beyond_wildcards(of_type) for type_, of_type in parts.items()}
    for each in permissions_of({type_: of_type for type_, of_type in remaining.items() if of_type}):
        words = _words_of(each)
        whole = plain_words(each.whole) if each.entry and not _is_granular(each) else words
        described.setdefault(replace(whole, reach=words.reach))
    return tuple(described)


def _beyond_wildcards(parts: list[Part]) -> list[Part]:
    """Return the parts that no wildcard of at least the same reach covers."""
    wildcards = [part.scope for part in parts if part.wild]
    return [
        part
        for part in parts
        if not part.wild
        and not any(
            # A patient/ wildcard does not cover a user/ scope, which reaches other charts.
            part.scope.letters & ~wild.letters == 0 and wild.prefix in {part.scope.prefix, Prefix.USER}
            for wild in wildcards
        )
    ]


def _is_granular(permission: Permission) -> bool:
    return all(part.scope.constraints for part in permission.parts)


def apply_ticks(asked: Iterable[str], ticked: Iterable[str], *, by: Consenter = NOBODY) -> tuple[str, ...]:
    """Return the scopes that a person's ticks grant, in the order requested.

    If nothing is unticked, the requested strings are returned unchanged. An unticked permission is removed from every scope that
    expresses it: a wildcard becomes the remaining types, and a type becomes its ticked categories unless all are ticked. The string of a
    requested scope, or of a whole type, counts as all of its ticks if none of them is set. Ticks that were not offered are ignored.

    INVARIANT: the granted scopes cover nothing that was offered and not ticked.
    """
    texts, ticks = tuple(dict.fromkeys(asked)), frozenset(ticked)
    parts = parts_of(texts, by.rights)
    permissions = permissions_of(parts)
    return _granted(texts, parts, permissions, _chosen(permissions, ticks) | ticks & DECLINABLE, by)


def declined(asked: Iterable[str], ticked: Iterable[str], *, by: Consenter = NOBODY) -> tuple[str, ...]:
    """Return what was offered and not ticked, as scope strings."""
    texts, ticks = tuple(dict.fromkeys(asked)), frozenset(ticked)
    permissions = permissions_of(parts_of(texts, by.rights))
    chosen = _chosen(permissions, ticks)
    # As strings, because they narrow earlier agreements too, whose scopes differ.
    left = [each.value for each in permissions if each.value not in chosen]
    return (*left, *(text for text in texts if text in DECLINABLE - ticks))


def without(agreed: Iterable[str], refused: Iterable[str], *, by: Consenter = NOBODY) -> tuple[str, ...]:
    """Remove from agreed scopes everything that overlaps ``refused``, and return the rest."""
    texts, removed = tuple(dict.fromkeys(agreed)), tuple(refused)
    # Partitioned together, so that the permissions split wherever either of them requires it. Parts after the
    # agreed texts are those of the refused ones.
    parts = parts_of((*texts, *removed), by.rights)
    permissions = permissions_of(parts)
    refusals = [each for each in permissions if any(part.n >= len(texts) for part in each.parts)]
    remaining = {
        each.value for each in permissions if not any(each is no or may_overlap(each, no) for no in refusals)
    }
    chosen = frozenset(remaining) | DECLINABLE - frozenset(removed)
    return _granted(texts, parts, permissions, chosen, by)


def left_of(
    agreement: Authorization, refused: Iterable[str], *, patient: str, by: Consenter = NOBODY
) -> tuple[str, ...]:
    """Return what is left of an earlier agreement after ``refused`` was declined on a page about ``patient`` (ADR 17).

    A ``patient/`` scope covers only the chart of its agreement, so an agreement about another chart keeps it. All other scopes cover the
    page's chart too, and are removed from every agreement.
    """
    if agreement.patient == patient:
        return without(agreement.scopes, refused, by=by)
    of_one_chart = [text for text in agreement.scopes if _is_of_one_chart(text)]
    others = (text for text in agreement.scopes if text not in of_one_chart)
    remaining = without(others, refused, by=by)
    return (*of_one_chart, *remaining)


def _is_of_one_chart(text: str) -> bool:
    scope = parse_scope(text)
    return isinstance(scope, ClinicalScope) and scope.prefix is Prefix.PATIENT


def _granted(
    texts: tuple[str, ...],
    parts: dict[str, list[Part]],
    permissions: tuple[Permission, ...],
    chosen: frozenset[str],
    by: Consenter,
) -> tuple[str, ...]:
    """Return what is granted of each scope when the ``chosen`` permissions are."""
    of_text: dict[int, list[Part]] = {}
    for found in parts.values():
        for part in found:
            of_text.setdefault(part.n, []).append(part)
    granted: dict[str, None] = {}
    for n, text in enumerate(texts):
        if isinstance(parse_scope(text), SpecialScope):
            kept = [text] if _is_kept(text, permissions, chosen, by.own) else []
        else:
            kept = _kept(text, of_text.get(n, []), permissions, chosen)
        granted.update(dict.fromkeys(kept))
    return tuple(granted)


def _chosen(permissions: tuple[Permission, ...], ticked: frozenset[str]) -> frozenset[str]:
    """Return the values of the permissions that are ticked, directly or by a string that covers several."""
    chosen = {each.value for each in permissions if each.value in ticked}
    wholes: dict[str, list[str]] = {}
    for each in permissions:
        # A page without script, or an API client, may tick the whole type; it counts as all of its parts only if
        # none of them is ticked.
        for text in {each.whole, *(part.text for part in each.parts)}:
            wholes.setdefault(text, []).append(each.value)
    for text, values in wholes.items():
        if text in ticked and text not in values and chosen.isdisjoint(values):
            chosen.update(values)
    return frozenset(chosen)


def _is_kept(text: str, permissions: tuple[Permission, ...], ticked: frozenset[str], own: str) -> bool:
    """Check whether a special scope is granted. ``fhirUser`` opens the person's own entry, so it follows the tick of that type."""
    if text in DECLINABLE:
        return text in ticked
    # All other special scopes identify the person or the context, and are granted with the rest.
    if text != OWN_ENTRY:
        return True
    # If any permission to read the type is declined: fhirUser would open what it withholds.
    return all(each.value in ticked for each in permissions if each.type == own and each.letters & READ)


def _kept(
    text: str, parts: list[Part], permissions: tuple[Permission, ...], chosen: frozenset[str]
) -> list[str]:
    kept: list[str] = []
    whole = True
    for part in parts:
        if part.scope.type == FILES and not any(part in each.parts for each in permissions):
            is_whole, texts = _kept_files(part, permissions, chosen)
        else:
            is_whole, texts = granted_of(part, permissions, chosen)
        whole, kept = whole and is_whole, kept + texts
    # A scope without parts covers nothing on the page, so it is not granted.
    return [text] if whole and parts else kept


def _kept_files(
    part: Part, permissions: tuple[Permission, ...], chosen: frozenset[str]
) -> tuple[bool, list[str]]:
    """Return whether a scope for files is granted whole, and what is left of it: all of it if a type that refers to files is readable.

    A wildcard that becomes single types needs no scope for files, because a file is readable through what refers to it.
    """
    referrers = frozenset(referrer_types())
    stays = any(
        each.value in chosen for each in permissions if each.type in referrers and each.letters & READ
    )
    return stays or part.wild, [part.text] if stays and not part.wild else []
