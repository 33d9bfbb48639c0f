"""When an agreement and what is refreshed under it end, and by which limit (C89, C194)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.consent.models import Authorization, Basis
from hilum.authorization.consent.policy import end_of, family_ends, first_end, may_go_on
from hilum.authorization.tokens.models import TokenFamily
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    PersonId,
    TenantId,
    VersionId,
)
from hilum.policy.matrix.models import UNCLASSIFIED, Expiry, Lifetimes, Tier
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.strictness import stricter

MADE = datetime(2026, 3, 2, 9, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
LIVES = Lifetimes(HOUR, timedelta(minutes=5), 90 * DAY, 12 * HOUR, 365 * DAY)
ENTRY = replace(shipped_book().categories[UNCLASSIFIED].entries[Tier.LOW], lifetimes=LIVES, dormant_days=180)
AGREED = Authorization(
    AuthorizationId("aut_1"),
    TenantId("mercy"),
    PersonId("per_1"),
    AppId("app_1"),
    VersionId("ver_1"),
    ClientId("cli_1"),
    Basis.PERSON,
    ("patient/Goal.rs",),
    created_at=MADE,
    expires_at=MADE + 400 * DAY,
    last_validated_at=MADE + 100 * DAY,
)
FAMILY = TokenFamily(FamilyId("fam"), AGREED.id, True, MADE, MADE + 80 * DAY, MADE + 170 * DAY)


def entry(**changes: Any) -> Any:
    rests = changes.pop("dormant_ends", False)
    return replace(ENTRY, lifetimes=replace(LIVES, **changes), dormant_ends=rests)


TABLE: list[tuple[dict[str, Any], dict[str, Any], timedelta, Reason]] = [
    ({}, {}, 400 * DAY, Reason.AUTHORIZATION_EXPIRED),
    ({}, {"expires_at": MADE + 500 * DAY}, 465 * DAY, Reason.AUTHORIZATION_EXPIRED),
    ({"expiry": Expiry.FIXED}, {}, 365 * DAY, Reason.FIXED_END_REACHED),
    ({"expiry": Expiry.FIXED}, {"last_validated_at": MADE + 364 * DAY}, 365 * DAY, Reason.FIXED_END_REACHED),
    ({"expiry": Expiry.FIXED}, {"expires_at": MADE + 9 * DAY}, 9 * DAY, Reason.FIXED_END_REACHED),
    ({"expiry": Expiry.STUDY}, {"expires_at": MADE + 30 * DAY}, 30 * DAY, Reason.STUDY_ENDED),
    ({"expiry": Expiry.STUDY}, {}, 365 * DAY, Reason.STUDY_ENDED),
    ({"expiry": Expiry.ONE_TIME}, {}, HOUR, Reason.ONE_TIME_OVER),
    ({"idle": 14 * DAY}, {}, 114 * DAY, Reason.AUTHORIZATION_IDLE),
    ({"idle": 14 * DAY}, {"last_used_at": MADE + 200 * DAY}, 214 * DAY, Reason.AUTHORIZATION_IDLE),
    ({"idle": 14 * DAY}, {"last_used_at": MADE + 399 * DAY}, 400 * DAY, Reason.AUTHORIZATION_EXPIRED),
    ({"dormant_ends": True}, {}, 280 * DAY, Reason.AUTHORIZATION_DORMANT),
    ({"dormant_ends": True, "idle": 14 * DAY}, {}, 114 * DAY, Reason.AUTHORIZATION_IDLE),
    ({"idle": 14 * DAY, "expiry": Expiry.FIXED}, {"last_validated_at": None}, 14 * DAY, Reason.AUTHORIZATION_IDLE),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "agreed", "ends", "why"), TABLE)
def test_an_agreement_ends_by_the_first_of_its_limits_and_says_which(
    limits: dict[str, Any], agreed: dict[str, Any], ends: timedelta, why: Reason
) -> None:
    """C89, C194."""
    found = end_of(replace(AGREED, **agreed), entry(**limits))

    assert (found.at - MADE, found.why) == (ends, why)


@pytest.mark.parametrize(
    ("limits", "family", "ends", "why"),
    [
        ({}, {}, 170 * DAY, Reason.REFRESH_TOKEN_OLD),
        ({}, {"offline": False}, 80 * DAY + 12 * HOUR, Reason.REFRESH_TOKEN_OLD),
        ({"idle": 14 * DAY}, {}, 94 * DAY, Reason.AUTHORIZATION_IDLE),
        ({"absolute": 85 * DAY}, {}, 85 * DAY, Reason.ABSOLUTE_LIMIT_REACHED),
        ({"absolute": 85 * DAY}, {"minted_at": MADE + 84 * DAY}, 85 * DAY, Reason.ABSOLUTE_LIMIT_REACHED),
        ({"dormant_ends": True, "refresh_token": 365 * DAY}, {}, 260 * DAY, Reason.AUTHORIZATION_DORMANT),
    ],
)
def test_what_is_refreshed_rests_and_ages_by_itself(
    limits: dict[str, Any], family: dict[str, Any], ends: timedelta, why: Reason
) -> None:
    """C194: also while its person uses the app with another authorization."""
    found = min(family_ends(replace(FAMILY, **family), entry(**limits)), key=lambda end: end.at)

    assert (found.at - MADE, found.why) == (ends, why)


def test_without_a_entry_nothing_ends_sooner_than_it_says() -> None:
    """Then nothing is admitted, which is a reason of its own."""
    assert end_of(AGREED, None).at == AGREED.expires_at
    assert family_ends(FAMILY, None) == []
    assert first_end(None, now=MADE, study_ends=None) == MADE


@pytest.mark.parametrize(
    ("expiry", "study_ends", "life"),
    [
        (Expiry.ROLLING, MADE + DAY, 365 * DAY),
        (Expiry.FIXED, MADE + DAY, 365 * DAY),
        (Expiry.ONE_TIME, MADE + DAY, HOUR),
        (Expiry.STUDY, MADE + DAY, DAY),
        (Expiry.STUDY, MADE + 900 * DAY, 365 * DAY),
        (Expiry.STUDY, None, timedelta(0)),
    ],
)
def test_an_agreement_is_given_the_end_of_its_class(
    expiry: Expiry, study_ends: datetime | None, life: timedelta
) -> None:
    """C89: a study without an end gives nothing."""
    assert first_end(entry(expiry=expiry), now=MADE, study_ends=study_ends) == MADE + life


def test_what_is_for_one_opening_is_asked_each_time() -> None:
    """C89, C90."""
    order: dict[str, Any] = {"version": AGREED.version, "workflow": "", "now": MADE}

    assert may_go_on(AGREED, policy_entry=entry(), **order)
    assert not may_go_on(AGREED, policy_entry=entry(expiry=Expiry.ONE_TIME), **order)


limits = st.one_of(st.none(), st.integers(1, 500).map(lambda days: days * DAY))
lifetimes = st.builds(
    lambda idle, absolute, expiry, life: replace(
        LIVES, idle=idle, absolute=absolute, expiry=expiry, authorization=life * DAY
    ),
    limits,
    limits,
    st.sampled_from(Expiry),
    st.integers(1, 500),
)


@given(lifetimes, lifetimes, st.booleans(), st.integers(0, 400))
def test_the_stricter_of_two_lifetimes_ends_nothing_later(
    one: Lifetimes, other: Lifetimes, dormant: bool, used: int
) -> None:
    """C19, C194: for any agreement and any use of it."""
    agreed = replace(AGREED, last_used_at=MADE + used * DAY)
    entries = [replace(ENTRY, lifetimes=each, dormant_ends=dormant) for each in (one, other)]
    both = stricter(*entries)

    for single in entries:
        assert end_of(agreed, both).at <= end_of(agreed, single).at
        assert min(end.at for end in family_ends(FAMILY, both)) <= min(
            end.at for end in family_ends(FAMILY, single)
        )
