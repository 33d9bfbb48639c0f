"""Which roles need a second factor, and which codes count (C8; RFC 4226, RFC 6238)."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel import typed_codes
from hilum.identity.factors import policy
from hilum.identity.factors.models import FRESH_FOR, LOCKED_AFTER, STEP_S, Held, Step, Totp
from hilum.identity.people.models import Role, StaffRole, VendorRole

SEED = b"12345678901234567890"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
EVERY_ROLE = [*StaffRole, *Role, *VendorRole]
MUST = {
    "platform_admin", "security", "reviewer", "auditor", "administrator", "vendor_owner", "vendor_developer", "vendor_security",
}  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "sent", "credible"),
    [(0, 0, True), (0, 1, True), (5, 6, True), (5, 5, False), (5, 4, False), (5, 0, False)],
)
def test_a_passkey_that_counts_counts_upwards(stored: int, sent: int, *, credible: bool) -> None:
    """WebAuthn Level 2 section 7.2 step 21: otherwise it is a copy, or its answer one that was sent before."""
    assert policy.count_is_credible(stored, sent) is credible


def test_every_role_stands_in_the_table() -> None:
    assert set(policy.MUST) == set(EVERY_ROLE)


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_in_production_a_role_with_power_is_not_signed_in_by_a_password_alone(role: str) -> None:
    """C8."""
    expected = Step.ENROL if role in MUST else Step.NONE

    assert policy.step_after_password(role, Held(), production=True) is expected


@pytest.mark.parametrize("role", EVERY_ROLE)
@pytest.mark.parametrize("production", [True, False])
def test_a_second_factor_that_a_person_has_is_asked_for_everywhere(role: str, *, production: bool) -> None:
    assert policy.step_after_password(role, Held(totp=True), production=production) is Step.FACTOR


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_a_sandbox_asks_nobody_to_set_one_up(role: str) -> None:
    assert policy.step_after_password(role, Held(), production=False) is Step.NONE


@pytest.mark.parametrize("role", ["", "root", "Physician", "vendor_owner "])
def test_an_unknown_role_must_have_one(role: str) -> None:
    assert policy.must_have(role, production=True)


def test_recovery_codes_alone_are_no_second_factor() -> None:
    """Otherwise whoever removes the app keeps the codes as a way around setting up another."""
    assert policy.step_after_password("security", Held(recovery_left=5), production=True) is Step.ENROL


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"), (20000000000, "353130")],
)  # fmt: skip
def test_codes_are_those_of_the_specification(seconds: int, code: str) -> None:
    """RFC 6238 appendix B, the last six of the eight digits."""
    step = policy.step_of(datetime.fromtimestamp(seconds, UTC))

    assert policy.code_at(SEED, step) == code


@pytest.mark.parametrize(("off", "counts"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_off_by_one_step(off: int, *, counts: bool) -> None:
    """RFC 6238 section 5.2."""
    step = policy.step_of(NOW) + off

    found = policy.matching_step(SEED, policy.code_at(SEED, step), NOW, after=0)

    assert found == (step if counts else None)


@given(last=st.integers(-1, 1), tried=st.integers(-1, 1))
def test_no_code_of_a_step_that_counted_or_of_one_before_it_counts_again(last: int, tried: int) -> None:
    """RFC 6238 section 5.2."""
    present = policy.step_of(NOW)

    found = policy.matching_step(SEED, policy.code_at(SEED, present + tried), NOW, after=present + last)

    assert (found is not None) == (tried > last)


@pytest.mark.parametrize(
    "text", ["", "12345", "1234567", "12345a", "１２３４５６", "-12345", "123456\n", "0x1234", "1 2 3 4 5", "9" * 5_000]
)  # fmt: skip
def test_what_is_no_code_matches_nothing(text: str) -> None:
    assert policy.read_digits(text) == ""
    assert policy.matching_step(SEED, policy.read_digits(text), NOW, after=0) is None


def test_a_code_may_be_typed_as_apps_show_it() -> None:
    assert policy.read_digits("123 456") == "123456"


@given(st.text(alphabet=typed_codes.LETTERS, min_size=12, max_size=12))
def test_a_recovery_code_is_read_as_people_write_it(plain: str) -> None:
    shown = f"{plain[:4]}-{plain[4:8]}-{plain[8:]}"
    misread = shown.replace("0", "o").replace("1", "l").lower()

    assert policy.read_recovery(shown) == policy.read_recovery(f" {misread} ") == plain


@pytest.mark.parametrize(
    "text", ["", "ABCD-EFGH", "ABCD-EFGH-JKMN-PQRS", "UUUU-UUUU-UUUU", "123456", "ÄBCD-EFGH-JKMN"]
)
def test_what_is_no_recovery_code_is_read_as_none(text: str) -> None:
    assert policy.read_recovery(text) == ""


def test_recovery_codes_made_of_different_secrets_differ() -> None:
    made = {typed_codes.code_from(f"secret {n}") for n in range(200)}

    assert len(made) == 200
    assert all(policy.read_recovery(each) == each.replace("-", "") for each in made)


@pytest.mark.parametrize(
    ("ago", "fresh"), [(timedelta(0), True), (FRESH_FOR - timedelta(seconds=1), True), (FRESH_FOR, False)]
)
def test_a_second_factor_is_fresh_for_a_quarter_of_an_hour(ago: timedelta, *, fresh: bool) -> None:
    assert policy.is_fresh(NOW - ago, NOW) is fresh


def test_a_second_factor_that_was_never_entered_is_not_fresh() -> None:
    assert not policy.is_fresh(None, NOW)


@pytest.mark.parametrize(
    ("failures", "locked"), [(0, False), (LOCKED_AFTER - 1, False), (LOCKED_AFTER, True)]
)
def test_many_wrong_codes_lock_the_app(failures: int, *, locked: bool) -> None:
    assert policy.is_locked(Totp("per_1", "", NOW, 0, failures)) is locked


def test_the_address_for_the_app_names_site_and_account_and_holds_no_second_parameter_from_a_name() -> None:
    uri = policy.provisioning_uri(SEED, site="St. Mary's & Sons?x=1", account="a.b&secret=evil")

    assert uri.startswith("otpauth://totp/St.%20Mary%27s%20%26%20Sons%3Fx%3D1%3Aa.b%26secret%3Devil?secret=")
    assert uri.count("secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ") == uri.count("&issuer=") == 1
    assert uri.endswith(f"digits=6&period={STEP_S}")


def test_a_seed_comes_back_from_the_text_that_is_typed() -> None:
    assert policy.from_base32(policy.base32(SEED)) == SEED
