"""What a consent page describes and offers, and which scopes its ticks grant. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.consent.models import UNUSED_AFTER, Authorization, Choice, End, PlainPermission, Topic
from hilum.consent.permissions import (
    FILES,
    Part,
    Permission,
    Rights,
    kept_of,
    may_overlap,
    parts_of,
    permissions_of,
)
from hilum.consent.words import CATEGORIES, OTHER_TOPIC, SPECIAL, TOPICS, TYPES
from hilum.controls.policy import administers
from hilum.identity.models import Person
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.decision import Reason
from hilum.kernel.ids import PersonId, TenantId, VersionId
from hilum.kernel.sentences import Sentence, enumerated, joined
from hilum.policies.models import Cell, Expiry
from hilum.standards.fhir.attachments import referrer_types
from hilum.standards.smart.scopes import (
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
from hilum.tokens.models import TokenFamily

OWN_ENTRY = "fhirUser"
# openid and launch cannot be declined: without them the app has neither a user nor a chart, and the person
# would press Deny.
DECLINABLE = frozenset({"offline_access", "online_access"})
"""Special scopes that can be unticked. The others only identify the person and the context, and are granted with the rest."""
UNGROUPED_TYPES = 8
"""Up to how many types a consent page lists without headings."""
_REACH = {
    Prefix.PATIENT: Sentence("of this patient"),
    Prefix.USER: Sentence("of every patient you may open"),
    Prefix.SYSTEM: Sentence("of every patient"),
}
VERBS = ("see", "find", "add", "change", "delete")


def is_in_force(authorization: Authorization, now: datetime) -> bool:
    """Check whether an authorization is in force."""
    return authorization.revoked_at is None and now < authorization.expires_at


def may_export(actor: Actor, tenant: TenantId, person: PersonId | None) -> bool:
    """Check whether an actor may export what people agreed to: the hospital's administrator all of it, everybody their own."""
    if actor.kind is not ActorKind.PERSON or not tenant or actor.tenant != tenant:
        return False
    return administers(actor, tenant) or (person is not None and actor.id == person)


def chart_end(person: Person | None, patient: str) -> datetime | None:
    """Return when a person may no longer act for a patient, such as the age of majority; None if nothing says so."""
    return None if person is None else dict(person.chart_ends).get(patient)


def may_go_on(
    agreement: Authorization, *, version: VersionId, workflow: str, cell: Cell | None, now: datetime
) -> bool:
    """Check whether a person need not be asked again, of an agreement in force with the app's present owner (C90).

    They are asked for another version, for another purpose, and after a long time without use. An agreement without a workflow is for
    every one. ``last_used_at`` of the agreement must be filled. Wider scopes are for the caller to compare.
    """
    if cell is None or agreement.version != version or agreement.workflow not in {"", workflow}:
        return False
    if cell.lifetimes.expiry is Expiry.ONE_TIME:
        return False
    return now < used_at(agreement) + timedelta(days=cell.dormant_days)


def used_at(agreement: Authorization) -> datetime:
    """Return when an agreement was last used: a token was issued under it, if ``last_used_at`` is filled, or its person opened the app."""
    used = (agreement.last_used_at, agreement.last_validated_at, agreement.created_at)
    return max(filter(None, used))


def is_unused(used_at: datetime, ends_at: datetime, now: datetime) -> bool:
    """Check whether an agreement or a family of tokens goes on and nobody used it for UNUSED_AFTER: it is proposed for removal (C219)."""
    return now < ends_at and used_at <= now - UNUSED_AFTER


CLASS_ENDS = frozenset({Reason.ONE_TIME_OVER, Reason.STUDY_ENDED, Reason.FIXED_END_REACHED})
"""Ends of agreements that opening the app does not move."""


def end_of(authorization: Authorization, cell: Cell | None) -> End:
    """Return when an authorization ends: as it says, or sooner by what the app's cell in the rule book says now, and by which limit.

    What was not used ends by ``last_used_at``, which must be filled where the cell has such a limit (``rests``). Without a cell the app gets
    nothing, whenever the agreement ends.
    Source: C89, C194
    """
    stored = End(authorization.expires_at, Reason.AUTHORIZATION_EXPIRED)
    if cell is None:
        return stored
    lives, agreed_at = cell.lifetimes, authorization.created_at
    # The life that an agreement was given when it was made has the class that the app has now; sooner by the class is sooner.
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
    if rests(cell):
        ends += idle_ends(used_at(authorization), cell)
    return min(ends, key=lambda end: end.at)


def rests(cell: Cell | None) -> bool:
    """Check whether a cell ends what is not used, so that its last use must be known."""
    return cell is not None and (cell.lifetimes.idle is not None or cell.dormant_ends)


def idle_ends(used_at: datetime, cell: Cell) -> list[End]:
    """Return when what was last used at a moment ends if it is not used again; empty if it does not end by that."""
    idle = cell.lifetimes.idle
    ends = [] if idle is None else [End(used_at + idle, Reason.AUTHORIZATION_IDLE)]
    if cell.dormant_ends:
        ends.append(End(used_at + timedelta(days=cell.dormant_days), Reason.AUTHORIZATION_DORMANT))
    return ends


def family_ends(family: TokenFamily, cell: Cell | None) -> list[End]:
    """Return when tokens that are refreshed from one authorization end by a cell; empty without one, which admits nothing anyway.

    They rest and age by themselves, also while their person uses the app with another authorization.
    """
    if cell is None:
        return []
    lives = cell.lifetimes
    life = lives.refresh_token if family.offline else lives.session_refresh_token
    ends = [End(family.minted_at + life, Reason.REFRESH_TOKEN_OLD), *idle_ends(family.minted_at, cell)]
    if lives.absolute is not None:
        ends.append(End(family.started_at + lives.absolute, Reason.ABSOLUTE_LIMIT_REACHED))
    return ends


def first_end(cell: Cell | None, *, now: datetime, study_ends: datetime | None) -> datetime:
    """Return when an agreement of now ends by what the rule book says; a study's by its end date too, and at once if it has none."""
    if cell is None:
        return now
    lives = cell.lifetimes
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
    # Stored scopes of an older release may no longer parse. They grant nothing, and the page says so.
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
    # A type that this platform has no words for is refused by the gateway, so it must not be shown as
    # readable.
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
    """The person at the page. ``rights`` of their role limit wildcards; ``own`` is the type of their own entry, which ``fhirUser`` opens."""

    rights: Rights | None = None
    own: str = ""


NOBODY = Consenter()


def choices(asked: Iterable[str], *, by: Consenter = NOBODY) -> tuple[Choice, ...]:
    """Return the checkboxes of a consent page, in order: one per permission, and one per special scope that can be declined."""
    texts = tuple(dict.fromkeys(asked))
    ticks: list[tuple[int, Choice]] = []
    for each in permissions_of(parts_of(texts, by.rights)):
        scopes = tuple(dict.fromkeys(part.text for part in each.parts))
        # fhirUser opens one record of this type, whatever else is unticked, so it follows the tick (ADR 30).
        if by.own == each.type and each.letters & READ and OWN_ENTRY in texts:
            scopes = (*scopes, OWN_ENTRY)
        words = _words_of(each)
        # Checkboxes of one type are grouped, so that the page can offer "all of it" without hiding the
        # categories.
        group = each.whole if each.cell and each.value != each.whole else ""
        ticks.append((each.parts[0].n, Choice(each.value, scopes, words, group, each.type)))
    ticks += [
        (n, Choice(text, (text,), plain_words(text))) for n, text in enumerate(texts) if text in DECLINABLE
    ]
    return tuple(choice for _, choice in sorted(ticks, key=lambda tick: tick[0]))


def with_needs(offered: Iterable[Choice], optional: tuple[str, ...] | None) -> tuple[Choice, ...]:
    """Return checkboxes with what the app says of each: that it works without it, or that it does not; unchanged if it says nothing.

    Each can be unticked all the same: it is for the person to decide (C68, C211).
    """
    if optional is None:
        return tuple(offered)
    return tuple(replace(each, optional=all_covered((each.value,), optional)) for each in offered)


def topics(offered: Iterable[Choice]) -> tuple[Topic, ...]:
    """Return the checkboxes by topic, in the order of the topics; () if there are so few types that headings would not help.

    Special scopes have no topic: their checkboxes stand above the headings.
    """
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
    """Return the ticks without those under a heading that is not ticked; all of them for a page without headings.

    A tick that covers several checkboxes, such as that of a whole type, is dropped with any one of them.
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
    """Describe what all scopes together permit, each permission once, for a page on which nothing can be unticked."""
    texts = tuple(dict.fromkeys(asked))
    parts = parts_of(texts)
    # Wildcards are described as such: expanding "everything" into sixty lines would hide what it means.
    wild = [
        text
        for text in texts
        if isinstance(scope := parse_scope(text), ClinicalScope) and scope.type == ANY_TYPE
    ]
    described: dict[PlainPermission, None] = {
        plain_words(text): None for text in texts if text in SPECIAL or text in wild
    }
    remaining = {type_: _beyond_wildcards(found) for type_, found in parts.items()}
    for each in permissions_of({type_: found for type_, found in remaining.items() if found}):
        words = _words_of(each)
        whole = plain_words(each.whole) if each.cell and not _is_granular(each) else words
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

    If nothing is unticked, the requested strings are returned unchanged. What is unticked is removed from every scope that expresses it:
    a wildcard with an unticked type becomes the remaining types; a type with all categories ticked stays whole, otherwise the ticked
    categories replace it. The string of a requested scope, or of a whole type, counts as all of its ticks if none of them is set. Ticks
    that were not offered are ignored.

    INVARIANT: the granted scopes cover nothing that was offered and not ticked.
    """
    texts, ticks = tuple(dict.fromkeys(asked)), frozenset(ticked)
    parts = parts_of(texts, by.rights)
    permissions = permissions_of(parts)
    return _granted(texts, (parts, permissions), _chosen(permissions, ticks) | ticks & DECLINABLE, by)


def declined(asked: Iterable[str], ticked: Iterable[str], *, by: Consenter = NOBODY) -> tuple[str, ...]:
    """Return what was offered and not ticked, as scope strings."""
    texts, ticks = tuple(dict.fromkeys(asked)), frozenset(ticked)
    permissions = permissions_of(parts_of(texts, by.rights))
    chosen = _chosen(permissions, ticks)
    # Recorded as strings, because earlier agreements are narrowed by them, and those have scopes of their
    # own.
    left = [each.value for each in permissions if each.value not in chosen]
    return (*left, *(text for text in texts if text in DECLINABLE - ticks))


def without(agreed: Iterable[str], refused: Iterable[str], *, by: Consenter = NOBODY) -> tuple[str, ...]:
    """Return what is left of agreed scopes without everything that overlaps ``refused``."""
    texts, gone = tuple(dict.fromkeys(agreed)), tuple(refused)
    # Both together, so that the partition has a border wherever either of them has one. Parts beyond the
    # agreed texts are the refused ones.
    parts = parts_of((*texts, *gone), by.rights)
    permissions = permissions_of(parts)
    refusals = [each for each in permissions if any(part.n >= len(texts) for part in each.parts)]
    kept = {
        each.value for each in permissions if not any(each is no or may_overlap(each, no) for no in refusals)
    }
    return _granted(texts, (parts, permissions), frozenset(kept) | DECLINABLE - frozenset(gone), by)


def left_of(
    agreement: Authorization, refused: Iterable[str], *, patient: str, by: Consenter = NOBODY
) -> tuple[str, ...]:
    """Return what is left of an earlier agreement after ``refused`` was declined on a page about ``patient``.

    A ``patient/`` scope covers the chart of its agreement only, so it is kept in an agreement about another chart. All other scopes cover
    every chart, including that of the page, and are removed from every agreement.
    """
    # user/ scopes of another chart's agreement reach this chart too and are narrowed; patient/ scopes do not
    # (ADR 41).
    if agreement.patient == patient:
        return without(agreement.scopes, refused, by=by)
    of_one_chart = [text for text in agreement.scopes if _is_of_one_chart(text)]
    others = (text for text in agreement.scopes if text not in of_one_chart)
    kept = without(others, refused, by=by)
    return (*of_one_chart, *kept)


def _is_of_one_chart(text: str) -> bool:
    scope = parse_scope(text)
    return isinstance(scope, ClinicalScope) and scope.prefix is Prefix.PATIENT


def _granted(
    texts: tuple[str, ...],
    split: tuple[dict[str, list[Part]], tuple[Permission, ...]],
    chosen: frozenset[str],
    by: Consenter,
) -> tuple[str, ...]:
    parts, permissions = split
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
        # A page without script, and an API client, may tick the whole type; it stands for all its parts only
        # if none is ticked singly.
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
    # Everything else among the special scopes identifies person or context and is granted with the rest.
    if text != OWN_ENTRY:
        return True
    # All permissions to read the type, or a declined category would be opened by fhirUser.
    return all(each.value in ticked for each in permissions if each.type == own and each.letters & READ)


def _kept(
    text: str, parts: list[Part], permissions: tuple[Permission, ...], chosen: frozenset[str]
) -> list[str]:
    kept: list[str] = []
    whole = True
    for part in parts:
        if part.scope.type == FILES and not any(part in each.parts for each in permissions):
            is_whole, texts = _files(part, permissions, chosen)
        else:
            is_whole, texts = kept_of(part, permissions, chosen)
        whole, kept = whole and is_whole, kept + texts
    # A scope without parts covers nothing that was on the page, so it is not granted.
    return [text] if whole and parts else kept


def _files(part: Part, permissions: tuple[Permission, ...], chosen: frozenset[str]) -> tuple[bool, list[str]]:
    """Return whether a scope for files is granted whole, and what is left of it: all of it while a type that refers to files is readable.

    A wildcard that was split into types needs no scope for files, because reading what refers to a file opens it.
    """
    named = frozenset(referrer_types())
    stays = any(each.value in chosen for each in permissions if each.type in named and each.letters & READ)
    return stays or part.wild, [part.text] if stays and not part.wild else []
