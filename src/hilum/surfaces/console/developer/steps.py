"""What an app still lacks, as a checklist, and what changed between two of its versions. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry.models import AppVersion, Certification, Environment
from hilum.apps.registry.policy import is_in_force
from hilum.policy.matrix.models import NOT_DECLARED, Book


@dataclass(frozen=True, slots=True)
class Known:
    """How far an app has come. ``missing``: what its vendor has not stated yet; ``unproved``: what it must have proved and has not."""

    versions: Sequence[AppVersion] = ()
    clients: Sequence[ClientFacts] = ()
    certifications: Sequence[Certification] = ()
    missing: Sequence[str] = ()
    unproved: Sequence[str] = ()
    agreements: bool = False
    """The vendor has an agreement in force with some hospital."""
    hospitals: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the checklist. ``page`` is where the step is taken, ``command`` what takes it where there is no page."""

    title: str
    done: bool
    how: str = ""
    page: str = ""
    command: str = ""
    waits_for: str = ""
    """Who has to act, if it is not the vendor."""


def checklist(known: Known, now: datetime) -> tuple[Step, ...]:
    """Return the steps from an app without anything to one that is open at a hospital, in their order."""
    has = {each.environment for each in known.clients}
    certified = {
        wanted: any(is_in_force(each, wanted, now) for each in known.certifications) for wanted in Environment
    }
    return (
        Step(
            "Add a version",
            bool(known.versions),
            "A version says where the app is opened and what for. Review certifies versions.",
            "developer.versions",
        ),
        Step(
            "Register a client for the sandbox",
            Environment.SANDBOX in has,
            "This gives your app the client id that it uses to ask for access.",
            "developer.client_new",
        ),
        Step(
            "Have a version certified for the sandbox",
            certified[Environment.SANDBOX],
            "Submit it to review. Until then the app is granted nothing.",
            "developer.review",
        ),
        Step(
            "State what hospitals must know",
            not known.missing,
            f"Not stated yet: {_words(known.missing)}. A client for production needs all of it."
            if known.missing
            else "",
            "developer.statements",
        ),
        Step(
            "Prove your contacts and your domain",
            not known.unproved,
            f"Not proved now: {_words(known.unproved)}. Without it no version is submitted for production."
            if known.unproved
            else "",
            "developer.contacts",
        ),
        Step(
            "Register a client for production",
            Environment.PRODUCTION in has,
            "One app has a client id for the sandbox and another for production.",
            "developer.client_new",
        ),
        Step(
            "Have a version certified for production",
            certified[Environment.PRODUCTION],
            "Submit it to review, which looks at the version together with its client.",
            "developer.review",
        ),
        Step(
            "Sign the agreements with a hospital",
            known.agreements,
            "Which ones are needed depends on the category and the risk tier.",
            "developer.agreements",
        ),
        Step(
            "Get installed at a hospital",
            known.hospitals > 0,
            "",
            waits_for="a hospital's administrator",
        ),
    )


def asked_at_least(book: Book, category: str) -> frozenset[str]:
    """Return what a vendor must have proved for any version of an app in a category: a higher tier asks for no less."""
    entries = book.categories[category].entries if category in book.categories else {}
    lowest = min(entries, key=lambda each: each.rank, default=None)
    return frozenset() if lowest is None else entries[lowest].proofs


def next_step(steps: Sequence[Step]) -> Step | None:
    """Return the first step that is not done; None after the last."""
    return next((each for each in steps if not each.done), None)


def changes(newer: AppVersion, older: AppVersion | None) -> tuple[str, ...]:
    """Return what a version declares that the one before it did not, and the other way round, in sentences."""
    if older is None:
        return ()
    found = [
        *_declared("workflow", older.workflows, newer.workflows),
        *_declared("placement", older.placements, newer.placements),
    ]
    if newer.ai_use != older.ai_use:
        if newer.ai_use is None:
            found.append("It no longer declares an AI.")
        elif older.ai_use is None:
            found.append(f"It declares the AI “{newer.ai_use.model}”.")
        else:
            found.append(f"The use of the AI “{newer.ai_use.model}” is declared again.")
    return tuple(found) or ("It declares the same.",)


def _declared(what: str, older: tuple[str, ...], newer: tuple[str, ...]) -> list[str]:
    if older == newer:
        return []
    if newer == NOT_DECLARED:
        return [f"It is treated as made for every {what}."]
    if older == NOT_DECLARED:
        return [
            f"It declares the {what}s {_words(newer) or 'none'} instead of being treated as made for every one."
        ]
    added, gone = [each for each in newer if each not in older], [each for each in older if each not in newer]
    found = [f"New {what}s: {_words(added)}."] if added else []
    return found + ([f"No longer: {_words(gone)}."] if gone else [])


def _words(names: Iterable[str]) -> str:
    return ", ".join(each.replace("_", " ") for each in names)
