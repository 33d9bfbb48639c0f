"""What a token looks like and whether it counts: the MAC first, times and the negative list on every use."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.tokens import policy
from hilum.authorization.tokens.live import genuine, make
from hilum.authorization.tokens.models import (
    ACCESS_PREFIX,
    REFRESH_PREFIX,
    REPEAT_WITHIN,
    AccessToken,
    Exchange,
    Grant,
    RefreshToken,
    TokenFacts,
)
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, FamilyId, TenantId, VendorId, VersionId
from hilum.records.keys import live as keys
from tests.conftest import SECRET_KEY
from tests.sim.world import SeededIds

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOKEN = AccessToken(
    hash=b"h" * 32,
    tenant=TenantId("general"),
    client=ClientId("cli_1"),
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    vendor=VendorId("ven_1"),
    scopes=("patient/*.rs",),
    issued_at=NOW,
    expires_at=NOW + timedelta(hours=1),
    family=FamilyId("fam_1"),
)


@pytest.mark.parametrize("prefix", [ACCESS_PREFIX, REFRESH_PREFIX])
def test_a_token_has_the_promised_shape_and_is_recognised(prefix: str) -> None:
    """Security decision 6: ``hil_at_<43 chars>_<8 chars keyed MAC>``, ``[A-Za-z0-9_-]`` only."""
    made = make(SeededIds(), prefix)

    assert len(made) == 59
    assert made.startswith(prefix)
    assert made[-9] == "_"
    assert genuine(made, prefix)


@given(st.integers(min_value=0, max_value=58), st.characters(min_codepoint=33, max_codepoint=300))
def test_no_changed_character_passes_the_mac(at: int, other: str) -> None:
    keys.install(keys.Vault(SECRET_KEY))
    made = make(SeededIds(), ACCESS_PREFIX)
    changed = made[:at] + other + made[at + 1 :]

    assert genuine(changed, ACCESS_PREFIX) == (changed == made)


@given(st.text(max_size=80))
def test_no_text_is_more_than_refused(text: str) -> None:
    keys.install(keys.Vault(SECRET_KEY))

    assert not genuine(text, ACCESS_PREFIX)
    assert not genuine(text, REFRESH_PREFIX)
    assert policy.signed_part(text, ACCESS_PREFIX) is None or len(text) == 59


def test_a_token_of_one_kind_is_none_of_the_other() -> None:
    made = make(SeededIds(), ACCESS_PREFIX)

    assert not genuine(made, REFRESH_PREFIX)
    assert not genuine(REFRESH_PREFIX + made[len(ACCESS_PREFIX) :], REFRESH_PREFIX)


def test_a_token_of_another_platform_is_garbage_here() -> None:
    made = make(SeededIds(), ACCESS_PREFIX)

    keys.install(keys.Vault(SECRET_KEY[::-1]))

    assert not genuine(made, ACCESS_PREFIX)


@pytest.mark.parametrize(
    ("token", "facts", "after", "reason"),
    [
        (TOKEN, TokenFacts(), timedelta(0), None),
        (TOKEN, TokenFacts(), timedelta(minutes=59, seconds=59), None),
        (TOKEN, TokenFacts(), timedelta(hours=1), Reason.TOKEN_INVALID),
        (TOKEN, TokenFacts(revoked_tokens=frozenset({b"h" * 32})), timedelta(0), Reason.TOKEN_REVOKED),
        (TOKEN, TokenFacts(revoked_tokens=frozenset({b"x" * 32})), timedelta(0), None),
        (
            TOKEN,
            TokenFacts(revoked_families=frozenset({FamilyId("fam_1")})),
            timedelta(0),
            Reason.TOKEN_REVOKED,
        ),
        (TOKEN, TokenFacts(revoked_families=frozenset({FamilyId("fam_2")})), timedelta(0), None),
    ],
)
def test_a_token_is_judged_on_every_use(
    token: AccessToken, facts: TokenFacts, after: timedelta, reason: Reason | None
) -> None:
    assert policy.judge(token, facts, NOW + after) is reason


@given(st.sets(st.sampled_from([b"h" * 32, b"i" * 32])), st.sets(st.sampled_from(["fam_1", "fam_2"])))
def test_a_longer_negative_list_never_lets_more_through(tokens: set[bytes], families: set[str]) -> None:
    shorter = TokenFacts(frozenset(tokens), frozenset(map(FamilyId, families)))
    longer = TokenFacts(shorter.revoked_tokens | {b"h" * 32}, shorter.revoked_families)

    if policy.judge(TOKEN, shorter, NOW) is not None:
        assert policy.judge(TOKEN, longer, NOW) is not None


@pytest.mark.parametrize("proof", ["", "eyJhbGciOiJFUzI1NiJ9.e30.x"])
def test_a_bound_token_is_refused_until_proofs_can_be_judged(proof: str) -> None:
    """C56: a bound token without proof is refused; where DPoP is not built, so is one with."""
    assert policy.require_proof(replace(TOKEN, proof_key="thumb"), proof) is Reason.PROOF_INVALID
    assert policy.require_proof(TOKEN, proof) is None


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"used_at": NOW}, "used"),
        ({"family_revoked_at": NOW}, "revoked"),
        ({"family_revoked_at": NOW, "used_at": NOW}, "revoked"),
        ({"expires_at": NOW}, "expired"),
    ],
)
def test_a_refresh_token_says_why_it_cannot_be_redeemed(change: dict[str, Any], fault: str) -> None:
    grant = Grant(TOKEN.tenant, TOKEN.client, TOKEN.app, TOKEN.version, TOKEN.vendor, TOKEN.scopes)
    token = RefreshToken(b"r" * 32, FamilyId("fam_1"), grant, NOW, NOW + timedelta(days=1), offline=True)

    assert policy.refresh_fault(replace(token, **change), NOW) == fault


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({"session": "ses_1"}, True),
        ({"session": "ses_1", "scopes": ("online_access", "patient/*.rs")}, True),
        ({"session": "ses_1", "scopes": ("offline_access", "patient/*.rs")}, False),
        ({"session": "ses_1", "launch": "lau_1"}, False),
        ({"session": "ses_2"}, False),
        ({}, False),
    ],
)
def test_what_is_held_online_ends_with_its_session_at_once(changes: dict[str, Any], ended: bool) -> None:
    """C36; a launch's tokens end with the launch, which the gateway judges by ``launch_ended``."""
    facts = TokenFacts(ended_sessions=frozenset({"ses_1"}))

    judged = policy.judge(replace(TOKEN, **changes), facts, NOW)

    assert judged == (Reason.TOKEN_REVOKED if ended else None)


# --- repeated answers (ADR 163) ------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_a_token_follows_from_its_whole_request_and_from_nothing_else(
    one: list[str], other: list[str]
) -> None:
    """Security decision 9: no two requests earn one token, and one request earns no two."""
    keys.install(keys.Vault(SECRET_KEY))
    causes = [policy.cause_of("hil_rt_x", *parameters) for parameters in (one, other)]
    made = [make(SeededIds(str(n)), ACCESS_PREFIX, cause) for n, cause in enumerate(causes)]

    assert (made[0] == made[1]) == (one == other)
    assert all(genuine(token, ACCESS_PREFIX) for token in made)
    assert make(SeededIds(), REFRESH_PREFIX, causes[0])[7:] != made[0][7:]


def test_a_token_cannot_be_derived_without_the_platforms_key() -> None:
    """Security decision 9: whoever saw an old refresh token does not know what it was exchanged for."""
    cause = policy.cause_of("hil_rt_x", "")
    made = make(SeededIds(), ACCESS_PREFIX, cause)

    keys.install(keys.Vault(SECRET_KEY[::-1]))

    assert make(SeededIds(), ACCESS_PREFIX, cause)[:50] != made[:50]


UNUSED = RefreshToken(
    b"r" * 32,
    FamilyId("fam_1"),
    Grant(TOKEN.tenant, TOKEN.client, TOKEN.app, TOKEN.version, TOKEN.vendor, TOKEN.scopes),
    NOW,
    NOW + timedelta(days=30),
    offline=True,
)


@pytest.mark.parametrize(
    ("following", "change", "after", "may"),
    [
        (UNUSED, {}, timedelta(0), True),
        (UNUSED, {}, REPEAT_WITHIN - timedelta(microseconds=1), True),
        (UNUSED, {}, REPEAT_WITHIN, False),
        (None, {}, timedelta(seconds=1), True),
        (UNUSED, {"client": ClientId("cli_2")}, timedelta(seconds=1), False),
        (UNUSED, {"tenant": TenantId("mercy")}, timedelta(seconds=1), False),
        (replace(UNUSED, used_at=NOW + timedelta(seconds=1)), {}, timedelta(seconds=2), False),
        (replace(UNUSED, family_revoked_at=NOW), {}, timedelta(seconds=2), False),
    ],
)
def test_a_request_is_repeated_by_its_own_client_in_time_before_its_tokens_are_used(
    following: RefreshToken | None, change: dict[str, Any], after: timedelta, may: bool
) -> None:
    exchange = replace(Exchange(TOKEN.client, TOKEN.tenant, b"", authenticated=True), **change)

    assert policy.may_repeat(TOKEN, following, exchange, NOW + after) is may
