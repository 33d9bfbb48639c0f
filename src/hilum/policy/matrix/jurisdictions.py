"""What the dated rules of jurisdictions require of a policy, and whether it keeps each of them (C181). Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from hilum.foundation.kernel.lists import counted
from hilum.policy.matrix.limits import refreshed_for
from hilum.policy.matrix.models import Book, Fault, JurisdictionPack


class PackState(StrEnum):
    TO_COME = "to_come"
    """Its rules bind from a later day; a policy published now must meet them already."""
    IN_FORCE = "in_force"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class PackRule:
    """One rule of a pack in words, the policy's value for it, and where the policy breaks it; empty if it meets it."""

    sentence: str
    found: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class PackEligibility:
    """A pack on a day: whether it binds, and its rules."""

    pack: JurisdictionPack
    state: PackState
    rules: tuple[PackRule, ...]

    @property
    def kept(self) -> bool:
        """Return whether the policy meets every rule."""
        return not any(each.faults for each in self.rules)


def eligibilities(book: Book, on: date) -> tuple[PackEligibility, ...]:
    """Return whether a policy meets each of its packs on a day."""
    return tuple(PackEligibility(pack, _state(pack, on), tuple(rules_of(book, pack))) for pack in book.packs)


def _state(pack: JurisdictionPack, on: date) -> PackState:
    if pack.is_over(on):
        return PackState.OVER
    return PackState.TO_COME if pack.valid_from > on else PackState.IN_FORCE


def rules_of(book: Book, pack: JurisdictionPack) -> Iterator[PackRule]:
    """Yield each rule of a pack, with a policy's value for it."""
    days = {step.name: step.within_business_days for step in book.regulated_lane}
    for step, most in pack.step_days.items():
        sentence = f"In the regulated lane “{step}” takes at most {counted(most, 'business day')}."
        yield PackRule(sentence, *_of_step(pack, step, days.get(step), most))
    yield _refreshing(book, pack)


def _of_step(pack: JurisdictionPack, step: str, days: int | None, most: int) -> tuple[str, tuple[Fault, ...]]:
    if days is None:
        return "no such step", (
            Fault("regulated_lane", "step_missing", f"{pack.source} needs a step named {step!r} in it."),
        )
    found = counted(days, "business day")
    if days <= most:
        return found, ()
    sentence = f"{pack.source} allows {counted(most, 'business day')} for {step}, and the lane has {days}."
    return found, (Fault("regulated_lane", "too_slow", sentence),)


def _refreshing(book: Book, pack: JurisdictionPack) -> PackRule:
    least = pack.patient_refresh_at_least
    faults: list[Fault] = []
    lives = []
    for category in book.categories.values():
        for tier, entry in category.entries.items():
            patients = any(scope.startswith("patient/") for scope in entry.scopes)
            if not patients or "offline_access" not in entry.session_scopes:
                continue
            lives.append(refreshed_for(entry))
            if lives[-1] < least:
                path = f"categories.{category.name}.entries.{tier}.lifetimes.refresh_token"
                sentence = f"{pack.source} needs at least {least.days} d for apps of patients."
                faults.append(Fault(path, "too_short", sentence))
    sentence = f"An app of patients that keeps access while they are away can be refreshed for at least {counted(least.days, 'day')}."
    found = f"{counted(min(lives).days, 'day')} at least" if lives else "no app keeps access"
    return PackRule(sentence, found, tuple(faults))
