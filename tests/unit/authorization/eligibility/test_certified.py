"""Since when, and until when, an app counts as certified and installed (C5, C146; security decision 8)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import AppState, Certification, Environment
from hilum.authorization.eligibility.policy import is_certified, is_installed
from hilum.foundation.kernel.ids import VersionId
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import effort
from tests.unit.apps.registry.values import APP, CERT, CLIENT, FACTS, FUTURE, INSTALLED, NOW, PAST, VERSION
from tests.unit.policy.matrix.books import book

DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("facts", "installed"),
    [
        (replace(FACTS, since=NOW), INSTALLED),
        (FACTS, replace(INSTALLED, since=NOW)),
        (clients_policy.join(CLIENT, replace(APP, active_since=NOW), VERSION, [CERT]), INSTALLED),
        (clients_policy.join(CLIENT, APP, VERSION, [replace(CERT, certified_at=NOW)]), INSTALLED),
        (
            clients_policy.join(
                CLIENT, APP, VERSION, [replace(CERT, withdrawn_at=NOW), replace(CERT, certified_at=NOW)]
            ),
            INSTALLED,
        ),
        (
            clients_policy.join(replace(CLIENT, adopted_at=NOW, certified_before=NOW), APP, VERSION, [CERT]),
            INSTALLED,
        ),
        (replace(FACTS, type=ClientType.BACKEND, since=NOW), replace(INSTALLED, roles=frozenset())),
    ],
)
def test_what_was_issued_before_a_eligibility_was_given_does_not_work_under_it(
    facts: ClientFacts, installed: InstallationFacts
) -> None:
    """Security decision 8: giving back revives nothing, whether app, certification, version or installation was away."""

    def stands(issued_at: datetime | None) -> bool:
        certified = is_certified(facts, shipped_book(), NOW, issued_at=issued_at)
        return certified and is_installed(facts, installed, NOW, issued_at=issued_at)

    assert not stands(NOW - timedelta(microseconds=1))
    assert not stands(PAST)
    assert stands(NOW)
    assert stands(None)


def test_an_ehr_is_judged_by_its_own_suspension() -> None:
    system_client = clients_policy.join(
        replace(CLIENT, type=ClientType.EHR), replace(APP, active_since=NOW), VERSION, []
    )

    assert not is_certified(system_client, shipped_book(), NOW, issued_at=PAST)
    assert is_certified(system_client, shipped_book(), NOW, issued_at=NOW)


def test_an_unbroken_eligibility_reaches_back_to_its_first_certification() -> None:
    """C5: renewals and updates of a certified app sign nobody out."""
    first = replace(CERT, certified_at=PAST, expires_at=NOW)
    renewed = replace(CERT, certified_at=NOW - timedelta(hours=1), expires_at=FUTURE)
    late = replace(renewed, certified_at=NOW + timedelta(microseconds=1))
    withdrawn = replace(first, withdrawn_at=NOW - timedelta(hours=2))
    elsewhere = replace(first, version=VersionId("ver_2"))
    sandbox = replace(first, environment=Environment.SANDBOX)
    updated = replace(CLIENT, adopted_at=NOW, certified_before=PAST)

    assert clients_policy.join(CLIENT, APP, VERSION, [first, renewed]).since == PAST
    assert clients_policy.join(updated, APP, VERSION, [renewed]).since == PAST
    for broken in ([first, late], [withdrawn, renewed], [elsewhere, renewed], [sandbox, renewed]):
        assert clients_policy.join(CLIENT, APP, VERSION, broken).since == broken[-1].certified_at
    assert clients_policy.join(updated, APP, VERSION, [late]).since == late.certified_at


STRETCHES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 12), st.none() | st.integers(0, 20)), min_size=1, max_size=6
)


@settings(max_examples=effort(70, 2_000), deadline=None)
@given(STRETCHES, st.integers(0, 20), st.integers(0, 40))
def test_something_lives_only_if_the_app_was_certified_at_every_moment_since(
    stretches: list[tuple[int, int, int | None]], issued: int, now: int
) -> None:
    """Security decision 8, C146: against a plain count of every moment."""

    def at(moment: int) -> datetime:
        return NOW + timedelta(minutes=moment)

    found = [
        replace(
            CERT,
            id=f"cert_{n}",
            certified_at=at(start),
            expires_at=at(start + life),
            withdrawn_at=at(gone) if gone is not None and start < gone <= now else None,
        )
        for n, (start, life, gone) in enumerate(stretches)
        if start <= now
    ]

    def certified(moment: int) -> bool:
        return any(
            each.certified_at <= at(moment) < each.expires_at
            and (each.withdrawn_at is None or at(moment) < each.withdrawn_at)
            for each in found
        )

    facts = clients_policy.join(CLIENT, APP, VERSION, found)
    whole = issued <= now and all(certified(moment) for moment in range(issued, now + 1))
    lives = is_certified(facts, shipped_book(), at(now), issued_at=at(issued))

    assert lives <= whole or issued > now
    handed_over = any(each.withdrawn_at == other.certified_at for each in found for other in found)
    if whole and not handed_over:
        assert lives


def with_grace(days: int) -> Book:
    return book(
        {f"categories.unclassified.entries.{tier}.grace_days": days for tier in ("low", "moderate", "high")}
    )


GRACED = {days: with_grace(days) for days in (0, 3)}


@pytest.mark.parametrize(
    ("days", "late", "served"),
    [
        (0, timedelta(0), False),
        (3, timedelta(0), True),
        (3, 3 * DAY - timedelta(microseconds=1), True),
        (3, 3 * DAY, False),
    ],
)
def test_after_its_end_an_app_continues_for_its_grace_to_the_moment(
    days: int, late: timedelta, *, served: bool
) -> None:
    """C114: the end itself stays what it was."""
    assert is_certified(FACTS, GRACED[days], FUTURE + late, issued_at=PAST) is served
    assert clients_policy.certified_until(GRACED[days], FACTS) == FUTURE


@pytest.mark.parametrize(
    "found",
    [
        [replace(CERT, withdrawn_at=NOW)],
        [CERT, replace(CERT, id="cert_2", certified_at=NOW, withdrawn_at=NOW)],
        [CERT, replace(CERT, id="cert_2", expires_at=FUTURE + 9 * DAY, withdrawn_at=FUTURE + DAY)],
    ],
)
def test_a_withdrawal_has_no_grace_and_takes_that_of_what_ended_before(found: list[Certification]) -> None:
    """C114: what was withdrawn said that this version must not go on."""
    facts = clients_policy.join(CLIENT, APP, VERSION, found)

    assert not is_certified(facts, GRACED[3], FUTURE + 2 * DAY)


def test_a_suspended_app_has_no_grace() -> None:
    suspended = clients_policy.join(CLIENT, replace(APP, state=AppState.SUSPENDED), VERSION, [CERT])

    assert not is_certified(suspended, GRACED[3], FUTURE + DAY)


@settings(max_examples=effort(70, 2_000), deadline=None)
@given(STRETCHES, st.integers(0, 20), st.integers(0, 40), st.sampled_from(sorted(GRACED)))
def test_with_a_grace_something_lives_only_if_the_app_was_served_at_every_moment_since(
    stretches: list[tuple[int, int, int | None]], issued: int, now: int, days: int
) -> None:
    """C114, security decision 8: renewed within its grace nobody is signed out, and what stopped after it is not revived."""

    def at(day: int) -> datetime:
        return NOW + day * DAY

    def known(day: int) -> list[Certification]:
        return [
            replace(
                CERT,
                id=f"cert_{n}",
                certified_at=at(start),
                expires_at=at(start + life),
                withdrawn_at=at(gone) if gone is not None and start < gone <= day else None,
            )
            for n, (start, life, gone) in enumerate(stretches)
            if start <= day
        ]

    def served(day: int) -> bool:
        facts = clients_policy.join(CLIENT, APP, VERSION, known(day))
        return is_certified(facts, GRACED[days], at(day))

    lives = is_certified(
        clients_policy.join(CLIENT, APP, VERSION, known(now)), GRACED[days], at(now), issued_at=at(issued)
    )
    whole = issued <= now and all(served(day) for day in range(issued, now + 1))

    assert lives <= whole or issued > now
    if whole and not any(gone is not None for _, _, gone in stretches):
        assert lives


@pytest.mark.parametrize(
    "other",
    [
        replace(CERT, version=VersionId("ver_2")),
        replace(CERT, withdrawn_at=PAST),
        replace(CERT, environment=Environment.SANDBOX),
    ],
)
def test_a_certification_counts_for_its_version_and_environment_while_it_stands(other: Certification) -> None:
    """C5."""
    assert clients_policy.join(CLIENT, APP, VERSION, [other]).certified_until is None


def test_a_certification_for_production_counts_in_a_sandbox() -> None:
    sandbox = replace(CLIENT, environment=Environment.SANDBOX)
    assert clients_policy.join(sandbox, APP, VERSION, [CERT]).certified_until == FUTURE
    assert not clients_policy.join(CLIENT, replace(APP, state=AppState.SUSPENDED), VERSION, [CERT]).active


LIVES = ("base.low.certificate_life", "base.moderate.certificate_life", "base.high.certificate_life")


def with_certificates_of(days: int) -> Book:
    entries = [
        f"categories.unclassified.entries.{tier}.certificate_life" for tier in ("low", "moderate", "high")
    ]
    return book(dict.fromkeys((*LIVES, *entries), f"{days} d"))


def test_a_certification_ends_by_the_life_that_the_policy_gives_it_now() -> None:
    """C20: a life that was shortened later counts too; one that was lengthened does not."""
    certified = clients_policy.join(CLIENT, APP, VERSION, [replace(CERT, expires_at=NOW + 100 * DAY)])

    assert clients_policy.certified_until(with_certificates_of(30), certified) == PAST + 30 * DAY
    assert clients_policy.certified_until(with_certificates_of(400), certified) == NOW + 100 * DAY
    assert is_certified(certified, with_certificates_of(30), PAST + 29 * DAY, issued_at=NOW)
    assert not is_certified(certified, with_certificates_of(30), PAST + 30 * DAY, issued_at=NOW)


def test_certifying_again_counts_although_it_ends_before_what_was_certified_first() -> None:
    """Otherwise a shorter life could only be answered by withdrawing, which ends every token."""
    first = replace(CERT, certified_at=PAST - 200 * DAY, expires_at=NOW + 100 * DAY)
    again = replace(CERT, id="cert_2", certified_at=NOW, expires_at=NOW + 30 * DAY)
    narrower = replace(again, scopes=("openid",))
    withdrawn = replace(again, withdrawn_at=NOW)

    def until(*found: Certification) -> datetime | None:
        facts = clients_policy.join(CLIENT, APP, VERSION, found)
        return clients_policy.certified_until(with_certificates_of(30), facts)

    assert until(first) == PAST - 170 * DAY
    assert until(first, again) == NOW + 30 * DAY
    assert until(first, narrower) == NOW + 30 * DAY, "of what the narrower one certifies"
    assert until(first, withdrawn) == PAST - 170 * DAY
