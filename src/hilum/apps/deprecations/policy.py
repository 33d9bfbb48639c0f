"""Which notices are due, and their content. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.deprecations.models import APPS_NAMED, BEFORE, ENDED_FOR, Effect, Ending, Stage
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.installations.policy import allowed_scopes
from hilum.foundation.kernel.lists import counted
from hilum.foundation.standards.smart.scopes import ClinicalScope, all_covered, parse_stored
from hilum.policy.matrix.models import Book, ScopeProduct, ScopeStatus
from hilum.policy.matrix.policy import Coverage
from hilum.records.notices.models import NAME_BOUND, VALUE_BOUND


def stage_of(product: ScopeProduct, today: date) -> Stage | None:
    """Return the stage of a product's end that is due today: the latest one, since missed stages are not sent late. None without an end."""
    if product.sunset is None or product.status not in {ScopeStatus.DEPRECATED, ScopeStatus.RETIRED}:
        return None
    left = product.sunset - today
    if left <= timedelta(0):
        return Stage.ENDED if -left < ENDED_FOR else None
    # Retired before its sunset: it ends with the policy, not on a day, and the previous policy gave notice.
    if product.status is ScopeStatus.RETIRED:
        return None
    if product.deprecated_from is not None and today < product.deprecated_from:
        return None
    return next((stage for stage, days in BEFORE if left <= timedelta(days=days)), Stage.ANNOUNCED)


def endings(book: Book, today: date) -> tuple[Ending, ...]:
    """Return the products of a policy whose end has a notice due, by name."""
    found = ((each, stage_of(each, today)) for each in book.products.values())
    due = (Ending(product, stage) for product, stage in found if stage is not None)
    return tuple(sorted(due, key=lambda each: each.product.name))


def walk_key(applied: int, due: Iterable[Ending]) -> str:
    """Return the key of a walk: the number of the last application, and the notices due."""
    words = sorted({f"{each.product.name} {each.product.sunset} {each.stage}" for each in due})
    return hashlib.sha256("\n".join((str(applied), *words)).encode()).hexdigest()


def has(product: ScopeProduct, scopes: Iterable[str]) -> bool:
    """Check whether some scopes have any part of what a product covers."""
    covered = Coverage(product.covers)
    return any(covered.meets(each) for each in parse_stored(scopes))


def cause_of(ending: Ending, place: str) -> str:
    """Return the cause of the notices of an ending at a place, one for each stage of each end; one cause yields one mail."""
    return f"sunset/{ending.product.name}/{ending.product.sunset}/{ending.stage}/{place}"


def apps_in_words(names: Sequence[str]) -> str:
    """Return the number of apps that have a scope and their first names, as one short line."""
    # Vendors choose these names: long ones must not delay everybody's mail.
    return f"{counted(len(names), 'app')} ({', '.join(sorted(names)[:APPS_NAMED])})"[:VALUE_BOUND]


def successor_in_words(product: ScopeProduct) -> str:
    """Return a product's successor, or why it has none."""
    return (product.successor or product.no_successor or "none")[:NAME_BOUND]


def effect_of(
    found: Iterable[ClientFacts], installed: InstallationFacts, before: Book, after: Book, now: datetime
) -> Effect | None:
    """Return how another policy affects an app installed at a hospital: the worst effect over its clients; None if there is none."""
    effects = [_effect(each, installed, before, after, now) for each in found]
    return next((each for each in Effect if each in effects), None)


def _effect(
    facts: ClientFacts, installed: InstallationFacts, before: Book, after: Book, now: datetime
) -> Effect | None:
    had, has = (allowed_scopes(facts, installed, book, now) for book in (before, after))
    if had == has:
        old, new = admission(before, facts, now), admission(after, facts, now)
        # Limits do not affect an app to which nothing may be granted.
        return Effect.LIMITS if has and (old.entry, old.tier) != (new.entry, new.tier) else None
    if not any(isinstance(each, ClinicalScope) for each in parse_stored(has)):
        return Effect.STOPPED
    return Effect.MORE if all_covered(had, has) else Effect.LESS


def names_in_words(names: Sequence[str]) -> str:
    """Return the number of affected apps and their first names, as one short line; "none" without any."""
    return apps_in_words(names) if names else "none"


def change_cause(number: int, place: str) -> str:
    """Return the cause of the notices of an application at a place; one cause yields one mail."""
    return f"policy/{number}/{place}"
