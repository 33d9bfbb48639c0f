"""When sessions end, and where they count (C57; docs/adr/0065-a-second-factor.md)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.foundation.kernel.ids import PersonId, SessionId
from hilum.foundation.standards.browsers import browser_family
from hilum.foundation.standards.networks import neighbourhood_of
from hilum.identity.people.models import Role, StaffRole, VendorRole
from hilum.identity.signin import policy
from hilum.identity.signin.models import API_TOKEN_LIFE_MAX, ApiToken, Method, Moved, Session
from tests.sim.world import START

POWER = ["platform_admin", "security", "reviewer", "auditor", "administrator", "vendor_owner", "vendor_developer", "vendor_billing", "vendor_security"]  # fmt: skip
CARE = ["physician", "nurse", "analyst", "front_desk"]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def session(role: str = "security", **more: object) -> Session:
    made = Session(
        SessionId("ses_1"), PersonId("per_1"), None, role, Method.PASSWORD, START, START, START + 99 * DAY,
        network="198.51.100.0/24", browser="Firefox on Linux",
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def test_every_role_stands_in_the_table() -> None:
    assert set(policy.LIMITS) == {*StaffRole, *Role, *VendorRole}


@pytest.mark.parametrize(
    ("roles", "idle", "life", "dormant"),
    [(POWER, 15 * MINUTE, 8 * HOUR, 90 * DAY), (CARE, 30 * MINUTE, 12 * HOUR, 180 * DAY), (["patient"], 30 * MINUTE, 12 * HOUR, None)],
)  # fmt: skip
def test_the_limits_of_each_role(
    roles: list[str], idle: timedelta, life: timedelta, dormant: timedelta | None
) -> None:
    for role in roles:
        limits = policy.limits_of(role)
        assert (limits.idle, limits.life, limits.dormant) == (idle, life, dormant), role


@pytest.mark.parametrize("role", ["", "root", "Patient", "PATIENT"])
def test_an_unknown_role_has_the_strictest_limits(role: str) -> None:
    assert policy.limits_of(role) == policy.POWER


@pytest.mark.parametrize("role", [*POWER, *CARE, "patient"])
def test_a_session_ends_idle_and_in_any_case(role: str) -> None:
    limits = policy.limits_of(role)
    used = session(role, last_seen_at=START + limits.life - MINUTE)

    assert policy.is_usable(session(role), START + limits.idle - MINUTE)
    assert not policy.is_usable(session(role), START + limits.idle)
    assert policy.is_usable(used, START + limits.life - timedelta(seconds=1))
    assert not policy.is_usable(used, START + limits.life)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"network": "203.0.113.0/24"}, Moved.NETWORK),
        ({"network": ""}, Moved.NETWORK),
        ({"browser": "Chrome on Linux"}, Moved.BROWSER),
        ({"browser": "Firefox on Windows"}, Moved.BROWSER),
        ({"browser": ""}, Moved.BROWSER),
        ({"network": "203.0.113.0/24", "browser": "curl"}, Moved.BROWSER),
    ],
)
def test_a_session_with_power_counts_where_it_began(more: dict[str, str], expected: Moved | None) -> None:
    here = {"network": "198.51.100.0/24", "browser": "Firefox on Linux"} | more

    assert policy.moved(session(), **here) is expected


def test_where_a_session_began_counts_only_if_it_is_known() -> None:
    """One of an earlier release has neither network nor browser."""
    old = session(network="", browser="")

    assert policy.moved(old, network="203.0.113.0/24", browser="Firefox on Linux") is None


@pytest.mark.parametrize("role", [*CARE, "patient"])
def test_clinicians_and_patients_change_networks_and_not_browsers(role: str) -> None:
    assert policy.moved(session(role), network="203.0.113.0/24", browser="Firefox on Linux") is None
    assert policy.moved(session(role), network="198.51.100.0/24", browser="Safari on iOS") is Moved.BROWSER


def test_a_password_sleeps_after_its_period_and_not_before() -> None:
    assert not policy.is_dormant("security", START, START + 90 * DAY - MINUTE)
    assert policy.is_dormant("security", START, START + 90 * DAY)
    assert not policy.is_dormant("physician", START, START + 179 * DAY)
    assert policy.is_dormant("physician", START, START + 180 * DAY)
    assert not policy.is_dormant("patient", START, START + 9_999 * DAY)


def test_no_api_token_outlives_the_period_after_which_its_account_sleeps() -> None:
    """Otherwise a dormant account would still be used by its token."""
    periods = [each.dormant for each in policy.LIMITS.values() if each.dormant]

    assert min(periods) >= API_TOKEN_LIFE_MAX


@pytest.mark.parametrize(("minutes", "confirmed"), [(0, True), (14, True), (15, False), (600, False)])
def test_a_session_widens_for_a_quarter_of_an_hour_after_its_factor(minutes: int, *, confirmed: bool) -> None:
    used = session(factor_at=START)

    now = START + minutes * MINUTE
    for has, must in ((True, True), (True, False), (False, True), (False, False)):
        found = policy.session_confirmed(used, has_factor=has, must_have=must, now=now)
        assert found is confirmed


def test_a_session_that_an_ehr_vouched_for_widens_nothing() -> None:
    for role, confirmed in (("administrator", False), ("physician", True), ("unheard_of", False)):
        used = session(role, method=Method.EHR)
        found = policy.session_confirmed(used, has_factor=False, must_have=False, now=START)
        assert found is confirmed


@pytest.mark.parametrize("method", [Method.PASSWORD, Method.FEDERATED])
@pytest.mark.parametrize(
    ("has", "must", "confirmed"),
    [(False, False, True), (True, False, False), (False, True, False), (True, True, False)],
)
def test_a_session_without_a_factor_widens_only_if_its_person_has_and_needs_none(
    method: Method, *, has: bool, must: bool, confirmed: bool
) -> None:
    """Security decision 25: as for a token."""
    found = policy.session_confirmed(session(method=method), has_factor=has, must_have=must, now=START)

    assert found is confirmed
    assert (
        policy.lacks_factor(ApiToken("pat_1", PersonId("per_1"), "", (), START, START + DAY), must_have=must)
        is must
    )


@pytest.mark.parametrize(
    ("entered", "has", "must", "expected"),
    [
        (None, False, False, True),
        (None, True, False, False),
        (None, False, True, False),
        (START, False, False, True),
        (START - 15 * MINUTE, True, True, False),
        (START - 14 * MINUTE, True, True, True),
    ],
)
def test_a_token_widens_after_a_fresh_factor_if_its_person_has_or_must_have_one(
    entered: object, *, has: bool, must: bool, expected: bool
) -> None:
    token = ApiToken("pat_1", PersonId("per_1"), "", (), START, START + DAY, factor_at=entered)  # type: ignore[arg-type]

    assert policy.token_confirmed(token, has_factor=has, must_have=must, now=START) is expected


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "Chrome on Windows"),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "Safari on iOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/140.0 Mobile/15E148 Safari/604.1", "Chrome on iOS"),
        ("Mozilla/5.0 (Linux; Android 15; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0 Mobile Safari/537.36", "Samsung Internet on Android"),
        ("curl/8.14.1", "curl"),
        ("", ""),
        ("\x00\x01<script>", ""),
        ("A" * 9_000, "A" * 20),
    ],
)  # fmt: skip
def test_the_family_of_a_browser(text: str, family: str) -> None:
    """RFC 9110 section 10.1.5; versions change while a session lasts, families do not."""
    assert browser_family(text) == family
    assert browser_family(text.replace("140", "141")) == family


@pytest.mark.parametrize(
    ("source", "network"),
    [
        ("198.51.100.7", "198.51.100.0/24"),
        ("::ffff:198.51.100.7", "198.51.100.0/24"),
        ("2001:db8:1:2::7", "2001:db8:1::/48"),
        ("", ""),
        ("unix:/run/x", "unix:/run/x"),
    ],
)
def test_the_neighbourhood_of_an_address(source: str, network: str) -> None:
    """RFC 6177 section 2."""
    assert neighbourhood_of(source) == network
