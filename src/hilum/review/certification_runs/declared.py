"""Judge whether an app works without the scopes that its version declares optional. Pure."""

from collections.abc import Collection, Iterable

from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.lists import counted
from hilum.foundation.standards.smart.scopes import UPDATE, ClinicalScope, intersect, parse_stored
from hilum.review.certification_runs.windows import (
    MINT,
    NOTHING,
    RETRIES,
    Verdict,
    Window,
    incomplete,
    met,
    not_met,
    works_after,
)


def unasked(optional: Collection[str] | None, scopes: Iterable[str]) -> tuple[str, ...]:
    """Return the scenarios that do not apply to a version, whatever the policy requires.

    ``optional``: the version's optional scopes. ``scopes``: those that its clients registered.
    """
    changes = any(
        isinstance(scope, ClinicalScope) and scope.letters & UPDATE for scope in parse_stored(scopes)
    )
    found = {
        "optional_declined": not optional,
        # An app that only adds records never meets somebody else's change.
        "write_conflict": not changes,
    }
    return tuple(name for name, holds in found.items() if holds)


def optional_declined(window: Window) -> Verdict:
    """Judge whether an app works without its version's optional scopes (C211)."""
    optional = window.rows[0].facts.get("optional", ())
    if optional == NOTHING:
        return met("The version declares nothing that it can do without and that can be declined by itself.")
    minted = [each for each in window.events(MINT) if not _shared(each.facts.get("scopes", ()), optional)]
    if not minted:
        return incomplete("The app was not launched without what it can do without.")
    later = window.after(minted[0])
    if len(refused := later.refused(Reason.SCOPE_INSUFFICIENT)) > RETRIES:
        return not_met(f"The app sent {counted(len(refused), 'request')} for what was declined.")
    if not works_after(window, minted[0]):
        return not_met("The app read nothing once what it can do without had been declined.")
    return met("The app went on without what it can do without.")


def _shared(scopes: Iterable[str], optional: Iterable[str]) -> bool:
    return bool(intersect(parse_stored(scopes), parse_stored(optional)))
