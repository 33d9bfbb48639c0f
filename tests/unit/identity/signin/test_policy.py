"""Rules of sessions, attempts, returns and API tokens (C57)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import RedirectResponse

from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.identity.people.models import Person
from hilum.identity.signin import policy
from hilum.identity.signin.models import (
    ATTEMPTS_FREE,
    DELAY_MAX,
    SESSION_IDLE,
    SESSION_LIFE,
    ApiToken,
    Method,
    Session,
)
from tests.effort import effort
from tests.sim.world import START

NOW = START
ANN = Person(PersonId("per_ann"), TenantId("general"), "ann", "Ann", "physician")
ROOT = Person(PersonId("per_root"), None, "root", "Root", "platform_admin")
SESSION = Session(
    SessionId("ses_1"), ANN.id, ANN.tenant, ANN.role, Method.PASSWORD, NOW, NOW, NOW + SESSION_LIFE
)
COOKIE = "hil_ss_" + "a" * 43


def test_a_session_is_usable_until_idle_ended_or_outlived() -> None:
    just = timedelta(microseconds=1)
    late = NOW + SESSION_LIFE

    assert policy.is_usable(SESSION, NOW + SESSION_IDLE - just)
    assert not policy.is_usable(SESSION, NOW + SESSION_IDLE)
    assert policy.is_alive(SESSION, NOW + SESSION_IDLE)
    assert policy.is_usable(replace(SESSION, last_seen_at=late - just), late - just)
    assert not policy.is_usable(replace(SESSION, last_seen_at=late), late)
    assert not policy.is_alive(replace(SESSION, ended_at=NOW), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hil_ss_",
        COOKIE[:-1],
        COOKIE + "a",
        "hil_pat_" + "a" * 43,
        COOKIE[:-1] + "!",
        COOKIE + "\n",
        " " + COOKIE,
    ],
)
def test_what_cannot_be_a_cookie_never_reaches_the_database(text: str) -> None:
    assert not policy.looks_like_cookie(text)
    assert not policy.api_token_parts(
        text.replace("hil_ss_", "hil_pat_", 1) if text != "hil_pat_" + "a" * 43 else "x"
    )


def test_the_secret_of_forms_follows_from_the_cookie_and_discloses_nothing_of_it() -> None:
    assert policy.csrf_secret(COOKIE) == policy.csrf_secret(COOKIE)
    assert policy.csrf_secret(COOKIE) != policy.csrf_secret(COOKIE[:-1] + "b")
    assert policy.csrf_secret(COOKIE) not in {COOKIE, policy.digest(COOKIE)}


def test_a_pair_waits_longer_with_every_failure_up_to_a_bound() -> None:
    """C57: exponential delay."""
    delays = [policy.delay_after(n) for n in range(1, 40)]

    assert delays[: ATTEMPTS_FREE - 1] == [timedelta(0)] * (ATTEMPTS_FREE - 1)
    assert delays[ATTEMPTS_FREE - 1 : ATTEMPTS_FREE + 3] == [timedelta(seconds=n) for n in (1, 2, 4, 8)]
    assert delays == sorted(delays)
    assert max(delays) == delays[-1] == DELAY_MAX


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (("r", "ann", "198.51.100.7"), ("r", " ANN ", "198.51.100.7"), True),
        (("r", "ann", "198.51.100.7"), ("r", "ann", "198.51.100.8"), False),
        (("r", "ann", "198.51.100.7"), ("r", "bob", "198.51.100.7"), False),
        (("r", "ann", "198.51.100.7"), ("s", "ann", "198.51.100.7"), False),
        (("r", "ann", "2001:db8::1"), ("r", "ann", "2001:db8::ffff:1"), True),
        (("r", "ann", "2001:db8::1"), ("r", "ann", "2001:db8:0:1::1"), False),
        (("r", "ann", "::ffff:198.51.100.7"), ("r", "ann", "198.51.100.7"), True),
        (("a", "b\0c", "x"), ("a\0b", "c", "x"), True),
    ],
)
def test_a_pair_is_a_name_and_an_address(one: tuple[str, ...], other: tuple[str, ...], same: bool) -> None:
    """C57: without locking others out. (A NUL cannot occur in a realm, which is ours.)"""
    assert (policy.attempt_key(*one) == policy.attempt_key(*other)) is same


@pytest.mark.parametrize(
    "target",
    [
        "",
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/a\r\nset-cookie: x",
        "evil",
        "javascript:alert(1)",
        " /a",
        "/a b",
        "/ä",
        "/" + "a" * 5_000,
    ],
)
def test_sign_in_never_leads_to_another_host(target: str) -> None:
    assert policy.safe_return(target, "/home") == "/home"


@pytest.mark.parametrize(
    "target", ["/", "/t/general/oauth/authorize?request=x&y=%2F%2Fz", "/a//b", "/a?u=https://x"]
)
def test_sign_in_leads_on_within_this_origin(target: str) -> None:
    assert policy.safe_return(target, "/home") == target


@settings(max_examples=effort(50, 10_000), deadline=None)
@given(st.text(st.sampled_from("/\\a:@.%2\t\n?#ä "), max_size=12))
def test_whatever_is_asked_the_redirect_stays_here(target: str) -> None:
    location = RedirectResponse(policy.safe_return(target, "/home")).headers["location"]

    assert location.startswith("/")
    assert not location.replace("\\", "/").startswith("//")


@pytest.mark.parametrize(("password", "fault"), [("", "short"), ("a" * 7, "short"), ("a" * 257, "long")])
def test_a_password_too_short_or_too_long_is_refused(password: str, fault: str) -> None:
    with pytest.raises(Invalid) as refused:
        policy.require_password(password)

    assert refused.value.fields == {"password": f"password_too_{fault}"}
    policy.require_password("a" * 8)


def test_a_token_acts_within_its_persons_present_role_only() -> None:
    assert policy.actor_of(ANN) == Actor(ActorKind.PERSON, ANN.id, ANN.tenant, frozenset({"physician"}))
    assert policy.actor_of(ROOT).kind is ActorKind.STAFF
    assert policy.actor_of(ANN, ("physician", "administrator")).roles == {"physician"}
    assert policy.actor_of(replace(ANN, role="nurse"), ("physician",)).roles == frozenset()
    assert policy.actor_of(ANN, ()).roles == frozenset(), "a token that was made for no role"


@pytest.mark.parametrize(
    ("life", "roles", "name", "field"),
    [
        (timedelta(0), ("physician",), "", "expires_in_s"),
        (timedelta(days=91), ("physician",), "", "expires_in_s"),
        (timedelta(days=1), ("administrator",), "", "roles"),
        (timedelta(days=1), ("physician", "administrator"), "", "roles"),
        (timedelta(days=1), (), "x" * 101, "name"),
        (timedelta(days=1), (), "a\nb", "name"),
    ],
)
def test_a_token_beyond_the_bounds_is_refused(
    life: timedelta, roles: tuple[str, ...], name: str, field: str
) -> None:
    assert list(policy.token_faults(ANN, name=name, life=life, roles=roles)) == [field]


def test_a_token_counts_until_revoked_or_expired() -> None:
    token = ApiToken("pat_1", ANN.id, "", ("physician",), NOW, NOW + timedelta(days=1))

    assert policy.token_counts(token, NOW)
    assert not policy.token_counts(token, NOW + timedelta(days=1))
    assert not policy.token_counts(replace(token, revoked_at=NOW), NOW)


def test_nobody_sets_anothers_password_but_the_host_and_the_platform_at_set_up() -> None:
    """C200: an administrator who could would be everybody."""
    admin = Actor(ActorKind.PERSON, "per_g", TenantId("general"), frozenset({"administrator"}))
    staff = Actor(ActorKind.STAFF, "per_s", roles=frozenset({"platform_admin", "security"}))
    client = Actor(ActorKind.CLIENT, "cli_1", TenantId("general"), frozenset({"administrator"}))

    assert [policy.may_set_password(each) for each in (SYSTEM, Actor(ActorKind.HOST, "root"))] == [True, True]
    assert not any(policy.may_set_password(each) for each in (admin, staff, client, policy.actor_of(ANN)))


def test_nobody_makes_tokens_for_somebody_they_do_not_administer() -> None:
    admin = Actor(ActorKind.PERSON, "per_g", TenantId("general"), frozenset({"administrator"}))
    foreign = replace(admin, tenant=TenantId("children"))
    staff = Actor(ActorKind.STAFF, "per_s", roles=frozenset({"security"}))

    assert policy.may_hold_token(policy.actor_of(ANN), ANN)
    assert policy.may_hold_token(SYSTEM, ANN)
    assert not any(policy.may_hold_token(actor, ANN) for actor in (admin, foreign, staff))
    assert policy.may_revoke_token(admin, ANN)
    assert not any(policy.may_revoke_token(actor, ANN) for actor in (foreign, staff))


@pytest.mark.parametrize(
    ("person", "roles", "expected"),
    [
        (ANN, None, True),
        (ANN, frozenset({"physician", "patient"}), True),
        (ANN, frozenset({"patient"}), False),
        (ANN, frozenset(), False),
        (ROOT, frozenset(), True),
        (replace(ROOT, tenant=TenantId("ven_acme"), role="vendor_owner"), frozenset(), True),
    ],
)
def test_a_hospital_decides_who_of_its_people_uses_a_password(
    person: Person, roles: frozenset[str] | None, expected: bool
) -> None:
    """C57: the platform's staff and vendors have no identity provider of a hospital."""
    assert policy.may_use_password(person, roles) is expected
