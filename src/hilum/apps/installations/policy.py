"""Permissions on installations, and validation of orders. Pure."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.installations.models import (
    NETWORKS_BOUND,
    ApprovalRecord,
    Installation,
    InstallationFacts,
    InstallOrder,
    LeftOut,
    NarrowOrder,
    WidenOrder,
)
from hilum.apps.registry.policy import may_suspend, scope_faults
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import FacilityId, TenantId
from hilum.foundation.kernel.limits import too_many
from hilum.foundation.kernel.lists import listed
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    LAUNCH_AND_IDENTITY,
    ClinicalScope,
    Scope,
    all_covered,
    narrow,
    parse_stored,
    render,
    types_of,
    wildcard_reaches,
)
from hilum.identity.people.policy import ROLES
from hilum.policy.matrix.models import ANY, Book, Expiry

Network = IPv4Network | IPv6Network
NEEDED_SHOWN = 5
"""Scopes, and workflows, that a refusal names."""


def may_install(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may install apps at a tenant: its administrators, since the platform's staff certify and hospitals decide (ADR 17)."""
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM} or administers(actor, tenant)


def may_uninstall(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may remove or narrow an installation; those who may suspend apps may too, as in an incident."""
    return may_install(actor, tenant) or may_suspend(actor)


def may_see_installations(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may list the installations of a tenant (None: of all)."""
    return actor.is_platform or administers(actor, tenant or "")


def is_study(book: Book, clients: Iterable[ClientFacts], now: datetime) -> bool:
    """Check whether people's agreements with an app by any of its clients end with a study (C89)."""
    entries = (admission(book, client, now).entry for client in clients)
    return any(entry is not None and entry.lifetimes.expiry is Expiry.STUDY for entry in entries)


def install_faults(
    order: InstallOrder, certified: Iterable[str], *, only_backend: bool, now: datetime
) -> dict[str, str]:
    """Return the error code of each invalid field: scopes must be certified, and roles must exist (C147)."""
    faults: dict[str, str] = {}
    if order.scopes is not None:
        faults |= scope_faults(order.scopes)
        # Only well-formed scopes are compared: one that does not parse is covered by nothing and would be
        # reported as not certified.
        if not faults and not all_covered(order.scopes, certified):
            faults["scopes"] = "scopes_not_certified"
    # A backend service acts for no person, so no role is needed; any other app without roles could be used by nobody.
    if not order.roles and not only_backend:
        faults["roles"] = "roles_missing"
    elif not order.roles <= ROLES:
        faults["roles"] = "role_unknown"
    if order.expires_at is not None and order.expires_at <= now:
        faults["expires_at"] = "not_in_the_future"
    return faults


def facility_faults(
    order: InstallOrder | NarrowOrder, unknown: Collection[FacilityId], *, only_backend: bool
) -> dict[str, str]:
    """Return what is wrong with the facilities of an order, of which ``unknown`` are not in use at the tenant (C146)."""
    faults: dict[str, str] = {}
    if order.facilities is not None and not order.facilities:
        faults["facilities"] = "facilities_missing"
    for name, asked in (("facilities", order.facilities or ()), ("denied", order.denied)):
        if asked and only_backend:
            # It names no facility when it asks for a token, and would get none from then on.
            faults[name] = "facilities_not_for_backends"
        elif any(each in unknown for each in asked):
            faults[name] = "facility_unknown"
    return faults


def networks_of(texts: Iterable[str]) -> tuple[str, ...] | str:
    """Return networks in CIDR notation, each once and in order, or the error code of the list (C213). A single address is a network of one.

    What covers every address is refused: it would look like a pin and be none. Source: RFC 4632 section 3.1, RFC 4291 section 2.3.
    """
    found: set[Network] = set()
    for text in texts:
        try:
            network = ip_network(text.strip())
        except ValueError:
            return "network_malformed"
        if network.prefixlen == 0:
            return "network_of_everything"
        found.add(network)
    if len(found) > NETWORKS_BOUND:
        return too_many(NETWORKS_BOUND)
    return tuple(
        map(str, sorted(found, key=lambda each: (each.version, int(each.network_address), each.prefixlen)))
    )


def is_from(networks: tuple[str, ...], source: str) -> bool:
    """Check whether an address is in one of the networks that an installation is pinned to; an unreadable one is in none (C213)."""
    if not networks:
        return True
    try:
        address = ip_address(source)
    except ValueError:
        return False
    # A socket that serves both families shows an IPv4 client so (RFC 4291 section 2.5.5.2).
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    seen = mapped or address
    return any(each.version == seen.version and seen in each for each in _parsed(networks))


def pins_further(after: tuple[str, ...], before: tuple[str, ...]) -> bool:
    """Check whether every address that networks admit was admitted by others before; no networks admit all."""
    if not before:
        return True
    wider = _parsed(before)
    return bool(after) and all(
        any(each.version == other.version and each.subnet_of(other) for other in wider)  # type: ignore[arg-type]
        for each in _parsed(after)
    )


@lru_cache(maxsize=1_000)
def _parsed(networks: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(map(ip_network, networks))


def workflow_fault(workflow: str, book: Book, allowed: Collection[str], *, only_backend: bool) -> str:
    """Return the error code of a default workflow; empty if there is none, or the app may do it at the hospital (C190)."""
    if not workflow:
        return ""
    if workflow not in book.workflows:
        return "workflow_unknown"
    # A backend service is not launched.
    return "" if workflow in allowed and not only_backend else "workflow_not_allowed"


def is_limited(installation: InstallationFacts) -> bool:
    """Check whether an app may not be opened at every facility of a hospital."""
    return installation.facilities is not None or bool(installation.denied)


def is_for_role(installation: InstallationFacts, role: str) -> bool:
    """Check whether people of a role may open an app."""
    return role in installation.roles


def is_allowed_at(installation: InstallationFacts, facility: str) -> bool:
    """Check whether an app may be opened at a facility; empty for a launch without one, or with an unknown one (C38, C146)."""
    if not is_limited(installation):
        return True
    # A denial prevails over the list of allowed facilities, and over an unknown one.
    if not facility or facility in installation.denied:
        return False
    return installation.facilities is None or facility in installation.facilities


def narrow_faults(order: NarrowOrder, before: Installation, *, now: datetime) -> dict[str, str]:
    """Return the error code of each field that would widen the installation or is invalid."""
    faults: dict[str, str] = {}
    if order.scopes is not None and not all_covered(order.scopes, before.scopes):
        faults["scopes"] = "widens"
    if order.roles is not None and not order.roles <= before.roles:
        faults["roles"] = "widens"
    if order.facilities and before.facilities is not None and not order.facilities <= before.facilities:
        faults["facilities"] = "widens"
    # One where there was none narrows; another one, or none, may allow what the present one does not.
    if order.default_workflow is not None and before.default_workflow not in {"", order.default_workflow}:
        faults["default_workflow"] = "widens"
    if order.expires_at is not None:
        if order.expires_at <= now:
            faults["expires_at"] = "not_in_the_future"
        # An end where there was none narrows.
        elif before.expires_at is not None and order.expires_at > before.expires_at:
            faults["expires_at"] = "widens"
    return faults


def needed_lost(
    before: Iterable[str], after: Iterable[str], clients: Iterable[ClientFacts]
) -> tuple[str, ...]:
    """Return what a narrowing takes away although a client of the app had it and declares it as required (C211).

    Compared by type and letter, so that an optional part of a wildcard may go. Nothing for a client whose version does not say what is optional.
    """
    before, after = tuple(before), tuple(after)
    had, kept = parse_stored(before), parse_stored(after)
    asked = dict.fromkeys(
        (each.scopes, each.optional_scopes) for each in clients if each.optional_scopes is not None
    )
    lost: dict[ClinicalScope, int] = {}
    # Such as offline_access. What is of launch and identity stays in any case.
    plain: dict[str, None] = {}
    for scopes, optional in asked:
        gone = ({*scopes} & {*before}) - {*after, *optional} - LAUNCH_AND_IDENTITY
        plain |= dict.fromkeys(each for each in scopes if each in gone and "/" not in each)
        may_go = parse_stored(optional)
        for scope in parse_stored(scopes):
            if isinstance(scope, ClinicalScope):
                for type_, letters in _lost_of(scope, had, kept, may_go):
                    whole = replace(scope, type=type_, letters=0)
                    lost[whole] = lost.get(whole, 0) | letters
    return (*(render(replace(scope, letters=letters)) for scope, letters in lost.items()), *plain)


def optional_for_all(clients: Iterable[ClientFacts]) -> tuple[str, ...] | None:
    """Return what all of some clients declare as optional; None if one of them declares nothing."""
    declared = [each.optional_scopes for each in clients]
    if not declared or None in declared:
        return None
    first, *others = (each or () for each in declared)
    return tuple(each for each in first if all(all_covered((each,), other) for other in others))


def left_out(
    before: Iterable[str],
    after: Iterable[str],
    clients: Iterable[ClientFacts],
    book: Book,
    reasons: Mapping[str, str],
) -> tuple[LeftOut, ...]:
    """Return the scopes that an app could have (``before``) and does not get (``after``): first those that it declares as required.

    Then those of which it does not say whether they are optional. ``reasons``: what the vendor wrote about the scopes that were submitted.
    """
    before, after, clients = tuple(before), tuple(after), tuple(clients)
    needed = dict.fromkeys(needed_lost(before, after, clients))
    silent = [replace(each, optional_scopes=()) for each in clients if each.optional_scopes is None]
    unsaid = [each for each in needed_lost(before, after, silent) if each not in needed]
    declared = {name for each in clients if ANY not in each.workflows for name in each.workflows}
    return tuple(
        LeftOut(scope, scope in needed, reason_for(scope, reasons), _work_of(scope, declared, book))
        for scope in (*needed, *unsaid)
    )


def reason_for(scope: str, reasons: Mapping[str, str]) -> str:
    """Return why a vendor asks for what a scope permits; empty if it wrote nothing about it."""
    return next(
        (text for of, text in reasons.items() if text and (of == scope or narrow((scope,), (of,)))), ""
    )


def _work_of(scope: str, declared: Collection[str], book: Book) -> tuple[str, ...]:
    """Return the titles of those declared workflows that need a scope."""
    found = ((each.title, each.scopes) for name, each in book.workflows.items() if name in declared)
    return tuple(title for title, scopes in found if scopes and narrow((scope,), scopes))


def needed_words(found: Iterable[LeftOut], *, how: str) -> str:
    """Return in sentences what an app requires, for what, what would stop working, and how to continue anyway; empty if it requires nothing."""
    needed = [each for each in found if each.needed]
    if not needed:
        return ""
    shown = needed[:NEEDED_SHOWN]
    scopes = ", ".join(each.scope for each in shown) + (" and more" if len(needed) > len(shown) else "")
    said = [f"The app says that it does not work without {scopes}."]
    said += [f"It asks for {each.scope} because: {each.reason.rstrip('.')}." for each in shown if each.reason]
    if work := dict.fromkeys(title for each in needed for title in each.work):
        said.append(f"This work stops: {listed(tuple(work), NEEDED_SHOWN)}.")
    return " ".join((*said, how))


def still_without(record: ApprovalRecord | None, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a hospital knowingly left out and scopes do not have."""
    without = () if record is None else record.without
    return tuple(each for each in without if not all_covered((each,), scopes))


def _lost_of(
    scope: ClinicalScope, had: tuple[Scope, ...], kept: tuple[Scope, ...], may_go: tuple[Scope, ...]
) -> Iterator[tuple[str, int]]:
    """Yield the types of which something of a scope is lost that it needs, with the letters.

    The lists are gone over once, and not for each type and letter: a vendor chooses hundreds of scopes as easily as one.
    """
    before, after, optional = (_letters_by_type(scope, each) for each in (had, kept, may_go))
    for type_ in types_of(scope.prefix) if scope.type == ANY_TYPE else (scope.type,):
        if letters := scope.letters & before(type_) & ~after(type_) & ~optional(type_):
            yield type_, letters


def _letters_by_type(scope: ClinicalScope, allowed: tuple[Scope, ...]) -> Callable[[str], int]:
    """Return a function from a type to the letters that ``allowed`` permit together on it, for every record that ``scope`` asks for."""
    constraints, by_type = set(scope.constraints), dict[str, int]()
    for each in allowed:
        # All constraints of a scope must hold, so one with fewer of them permits what has more.
        if (
            isinstance(each, ClinicalScope)
            and each.prefix is scope.prefix
            and constraints.issuperset(each.constraints)
        ):
            by_type[each.type] = by_type.get(each.type, 0) | each.letters
    everywhere = by_type.get(ANY_TYPE, 0)

    def letters(type_: str) -> int:
        of_wildcard = everywhere if wildcard_reaches(scope.prefix, type_) else 0
        return by_type.get(type_, 0) | of_wildcard

    return letters


def narrowed(order: NarrowOrder, before: Installation) -> Installation:
    """Return the installation after a narrowing; launch and identity scopes stay, also where the order does not name them."""
    return replace(
        before,
        scopes=before.scopes if order.scopes is None else _with_launch(order.scopes, before.scopes),
        roles=before.roles if order.roles is None else order.roles,
        expires_at=before.expires_at if order.expires_at is None else order.expires_at,
        facilities=before.facilities if order.facilities is None else order.facilities,
        denied=before.denied | order.denied,
        default_workflow=before.default_workflow
        if order.default_workflow is None
        else order.default_workflow,
    )


def widen_faults(order: WidenOrder, certified: Iterable[str]) -> dict[str, str]:
    """Return the error code of each invalid field of an order to widen: scopes must be certified, and roles must exist."""
    faults: dict[str, str] = {}
    if order.scopes:
        faults |= scope_faults(order.scopes)
        if not faults and not all_covered(order.scopes, certified):
            faults["scopes"] = "scopes_not_certified"
    if not order.roles <= ROLES:
        faults["roles"] = "role_unknown"
    return faults


def revives(order: WidenOrder, before: Installation) -> bool:
    """Check whether a widening gives back something that the installation had before it was narrowed.

    Grants of that time may still hold it, and would have it again without anybody being asked.
    """
    # Older installations did not record it.
    if before.record is None:
        return True
    returning = narrow(order.scopes, before.record.scopes)
    return not all_covered(returning, before.scopes) or bool(
        order.roles & set(before.record.roles) - before.roles
    )


def widened(
    order: WidenOrder, before: Installation, certified: tuple[str, ...], *, by: str, now: datetime
) -> Installation:
    """Return the installation after a widening. If that would revive anything, it becomes a new approval, which ends what was issued before.

    Its record has all that was ever given since it was approved. INVARIANT: no grant from before has more than it had.
    """
    scopes, roles = _union(before.scopes, order.scopes), before.roles | order.roles
    record, renewed = before.record, revives(order, before)
    if record is None or renewed:
        record = ApprovalRecord(
            certified,
            scopes,
            tuple(sorted(roles)),
            facilities=None if before.facilities is None else tuple(sorted(before.facilities)),
            denied=tuple(sorted(before.denied)),
            expires_at=before.expires_at,
            without=still_without(record, scopes),
        )
    else:
        record = replace(
            record,
            asked=certified,
            scopes=_union(record.scopes, order.scopes),
            roles=tuple(sorted({*record.roles, *order.roles})),
            without=still_without(record, scopes),
        )
    return replace(
        before,
        scopes=scopes,
        roles=roles,
        record=record,
        approved_at=now if renewed else before.approved_at,
        approved_by=by if renewed else before.approved_by,
        validated_at=now,
        validated_by=by,
    )


def _union(*sets: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for scopes in sets for each in scopes))


def install_scopes(order: InstallOrder, certified: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes of a new installation: those ordered with the certified launch and identity scopes, or all certified ones."""
    # Written out: a later certification never widens an installation.
    return certified if order.scopes is None else _with_launch(order.scopes, certified)


def _with_launch(scopes: tuple[str, ...], before: tuple[str, ...]) -> tuple[str, ...]:
    """Return scopes with the previous launch and identity scopes."""
    # They reach no records. Without them the app would no longer be launched, and nobody would see why.
    return tuple(dict.fromkeys((*(each for each in before if each in LAUNCH_AND_IDENTITY), *scopes)))


def allowed_scopes(
    facts: ClientFacts, installation: InstallationFacts, book: Book, now: datetime
) -> tuple[str, ...]:
    """Return the most that this client may be granted at this tenant: registered AND certified AND admitted by the policy AND installed.

    Each can only take away. Source: C68, C179
    """
    return narrow(admission(book, facts, now).scopes, installation.scopes)
