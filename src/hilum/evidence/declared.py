"""Judge whether an app does what its version and vendor declare: without optional scopes, and on requests to delete. Pure."""

from collections.abc import Collection, Iterable

from hilum.evidence.windows import (
    DELETION,
    MINT,
    NOTHING,
    POLLED,
    RETRIES,
    Verdict,
    Window,
    incomplete,
    met,
    not_met,
    works_after,
)
from hilum.kernel.decision import Reason
from hilum.kernel.lists import counted
from hilum.standards.smart.scopes import UPDATE, ClinicalScope, intersect, parse_stored

STORES_NOTHING = "The app stores nothing, so nobody asks it to delete anything."


def unasked(
    optional: Collection[str] | None, scopes: Iterable[str], *, stores: bool | None, reachable: bool
) -> tuple[str, ...]:
    """Return the scenarios that do not apply to a version, whatever the rule book requires.

    ``optional``: the version's optional scopes. ``scopes``: those that its clients registered. ``stores``: whether the vendor states that
    the app stores data, None if it does not say. ``reachable``: the app has a webhook for requests to delete, or a client that can read
    them.
    """
    changes = any(
        isinstance(scope, ClinicalScope) and scope.letters & UPDATE for scope in parse_stored(scopes)
    )
    found = {
        "optional_declined": not optional,
        "deletion_asked": stores is False or not reachable,
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


def deletion_asked(window: Window) -> Verdict:
    """Judge how an app's webhook answered requests to delete with a wrong and a right signature (C227)."""
    if window.rows[0].facts.get("stored") == NOTHING:
        return met(STORES_NOTHING)
    answers = {
        str(each.facts.get("signed")): int(each.facts.get("status", 0)) for each in window.events(DELETION)
    }
    if window.rows[0].facts.get("stored") == POLLED:
        return _read_by_itself(answers)
    if answers.keys() != {"right", "wrong"}:
        return incomplete("The requests to delete were not sent while the scenario was in progress.")
    if not all(answers.values()):
        return incomplete("The webhook gave no answer.")
    if answers["wrong"] != 401:
        return not_met(
            f"The webhook answered {answers['wrong']} to a request with a wrong signature, not 401."
        )
    if not 200 <= answers["right"] < 300:
        return not_met(f"The webhook answered {answers['right']} to a request to delete that was signed.")
    return met("The webhook took the request that was signed, and refused the one with a wrong signature.")


def _read_by_itself(answers: Collection[str]) -> Verdict:
    if "wrong" in answers:
        return not_met("The app answered a request to delete whose signature is wrong.")
    if "right" not in answers:
        return incomplete("The app did not read and answer the request to delete that was signed.")
    return met(
        "The app answered the request to delete that was signed, and not the one with a wrong signature."
    )
