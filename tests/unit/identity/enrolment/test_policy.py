"""When a link may be used, and how its codes are read (C200; security decision 25)."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel import typed_codes
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.enrolment import policy
from hilum.identity.enrolment.models import (
    CODE_TRIES,
    Link,
    Purpose,
)
from tests.effort import effort
from tests.sim.world import START

NOW = START
GENERAL = TenantId("general")
LINK = Link("d", PersonId("per_new"), GENERAL, Purpose.ENROL, "staff:x", NOW, NOW + timedelta(hours=1))


def test_a_link_is_used_once_in_time_and_unless_replaced_or_guessed_at() -> None:
    assert policy.link_fault(LINK, NOW) == ""
    assert policy.link_fault(LINK, LINK.expires_at) == "expired"
    assert policy.link_fault(replace(LINK, used_at=NOW), NOW) == "used"
    assert policy.link_fault(replace(LINK, replaced_at=NOW), NOW) == "replaced"
    assert policy.link_fault(replace(LINK, tries=CODE_TRIES), NOW) == "spent"


@given(secret=st.text(max_size=50))
def test_a_setup_code_is_read_back_however_it_is_typed(secret: str) -> None:
    code = typed_codes.code_from(secret)
    stored = policy.code_digest("apr_1", code)

    assert len(code) == 14
    assert set(code) <= set(typed_codes.LETTERS) | {"-"}
    for typed in (
        code,
        code.lower(),
        code.replace("-", ""),
        f" {code} ",
        code.replace("0", "o").replace("1", "l"),
    ):
        assert policy.code_matches(stored, "apr_1", typed)
    assert not policy.code_matches(stored, "apr_2", code)
    assert not policy.code_matches(stored, "apr_1", code[:-1])
    assert not policy.code_matches(stored, "apr_1", "")


def test_codes_differ_as_their_randomness_does() -> None:
    assert len({typed_codes.code_from(str(number)) for number in range(effort(2_000, 100_000))}) == effort(
        2_000, 100_000
    )
