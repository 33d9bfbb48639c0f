"""Signing in through a hospital's identity provider, and every way in which one can lie (OpenID Connect Core 1.0, RFC 9207)."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc.jwk import ECKey
from sqlalchemy import func, select
from starlette.testclient import TestClient

from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import metadata
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.foundation.web.bounds import GUESSES_BURST
from hilum.identity.federation import live, service, sign_in, store
from hilum.identity.federation.models import (
    ClientAuth,
    LinkBy,
    Passwords,
    Provider,
    Refusal,
    RoleRow,
    Settings,
)
from hilum.identity.federation.service import Change
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.keys.live import vault
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, build
from tests.sim.browser import form_with, seen_from
from tests.sim.identity_provider import CLIENT, SECRET, IdentityProvider, public, running, sign
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import LIFETIMES

T = TypeVar("T")
GENERAL = TenantId("general")
TABLE = (RoleRow("doctors", "physician"), RoleRow("nurses", "nurse"), RoleRow("it", "administrator"))


@dataclass
class Ground:
    site: ControlSite
    idp: IdentityProvider
    provider: Provider

    def browser(self) -> TestClient:
        return self.site.browser()

    def leave(self, browser: TestClient, **query: str) -> str:
        answer = browser.get(f"/t/general/signin/through/{self.provider.id}", params=query)
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def sign_in(self, browser: TestClient, **query: str) -> httpx2.Response:
        return browser.get(self.idp.authorize(self.leave(browser, **query)))

    def read(self, verb: Callable[[Context], T]) -> T:
        return self.site.uow.read_now(verb, trace=TRACE)

    def set_up(self, **changes: Any) -> None:
        found = self.read(lambda ctx: store.PROVIDERS.get(ctx.tx, self.provider.id))
        changed = Change(replace(found.settings, **changes))
        self.provider = self.site.system(
            service.change_provider, provider_id=found.id, change=changed, number=found.number
        )

    def link(self, username: str, subject: str) -> None:
        person = self.site.people[username]
        self.site.system(service.link, provider_id=self.provider.id, subject=subject, person_id=person.id)

    def reasons(self) -> list[str]:
        query = EventQuery(tenant="general", action=service.SIGN_IN)
        return [each.event.reason for each in self.read(lambda ctx: audit.list_events(ctx, query)).events]


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    yield from _ground(build(sqlite_uow, clock), clock)


@pytest.fixture
def production(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    yield from _ground(build(sqlite_uow, clock, mode=Mode.PRODUCTION), clock)


def _ground(site: ControlSite, clock: FakeClock) -> Iterator[Ground]:
    with running(clock) as idp:
        site.system(service.add_host, origin=idp.issuer, loopback=True)
        settings = Settings(
            "General Hospital",
            idp.issuer,
            CLIENT,
            role_table=TABLE,
            roles=("physician", "nurse", "administrator"),
        )
        sealed = live.seal_secret(vault(), SECRET, idp.issuer, site.kit.ids)
        provider = site.system(service.add_provider, tenant=GENERAL, change=Change(settings, sealed))
        made = Ground(site, idp, provider)
        made.link("ann", "s-ann")
        yield made


def session_of(browser: TestClient) -> str:
    return browser.cookies.get("hilum_session") or ""


def signed_in(browser: TestClient) -> bool:
    return "Nobody is signed in" not in browser.get("/t/general/signout").text


def test_a_linked_person_signs_in_at_the_hospital_and_continues_to_where_they_came_from(
    ground: Ground,
) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.1; RFC 7636 section 4.3: code, S256, state and nonce; the session is the person's."""
    browser = ground.browser()
    page = browser.get("/t/general/signin?then=/t/general/oauth/manage")
    button = f"/t/general/signin/through/{ground.provider.id}?then=%2Ft%2Fgeneral%2Foauth%2Fmanage"
    assert f'href="{button}"' in page.text
    assert "Sign in with General Hospital" in page.text

    away = browser.get(button).headers["location"]
    asked = {name: values[0] for name, values in parse_qs(urlsplit(away).query).items()}
    back = browser.get(ground.idp.authorize(away))

    assert away.startswith(f"{ground.idp.issuer}/authorize?")
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
    assert len(asked["code_challenge"]) == 43
    assert asked["nonce"]
    assert (back.status_code, back.headers["location"]) == (303, "/t/general/oauth/manage")
    assert signed_in(browser)
    assert ground.reasons()[0] == ""


def lied(ground: Ground, **changes: Any) -> httpx2.Response:
    ground.idp.changes = changes
    browser = ground.browser()
    answer = ground.sign_in(browser)
    assert session_of(browser) == ""
    return answer


AN_HOUR = 3_600


def test_what_is_refused_of_a_token_is_refused_at_the_door(ground: Ground) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7: a few of the lies of tests/unit/identity/federation, through the whole site."""
    lies: list[tuple[dict[str, Any], str]] = [
        ({"iss": "https://evil.example"}, "issuer_wrong"),
        ({"aud": [CLIENT, "another"]}, "audience_wrong"),
        ({"exp": 1_000_000_000}, "expired"),
        ({"nonce": "another"}, "nonce_wrong"),
        ({"sub": None}, "subject_missing"),
    ]
    for changes, reason in lies:
        answer = lied(ground, **changes)
        assert answer.status_code == 403
        assert "What to do next" in answer.text
        assert "Back to the sign-in page" in answer.text
        assert ground.reasons()[0] == f"federation_{reason}"
    ground.idp.token = lambda claims: sign(claims, signer="mallory")
    assert lied(ground).status_code == 403
    assert ground.reasons()[0] == "federation_signature_wrong"


FRONT: list[tuple[dict[str, str], str]] = [
    ({"iss": "https://evil.example"}, "issuer_mixed_up"),
    ({"iss": ""}, "issuer_not_stated"),
    ({"code": ""}, "code_missing"),
    ({"code": "guessed"}, "code_refused"),
    ({"code": "", "error": "access_denied"}, "declined"),
    ({"code": "", "error": "server_error"}, "provider_refused"),
    ({"code": "", "error": "access_denied", "iss": "https://evil.example"}, "issuer_mixed_up"),
    ({"state": "made-up"}, "state_of_another_browser"),
]


def test_an_answer_to_the_browser_that_is_not_the_providers_is_refused(ground: Ground) -> None:
    """RFC 9207 section 2.4; RFC 6749 section 4.1.2.1."""
    for front, reason in FRONT:
        ground.idp.front = front
        assert lied(ground).status_code == 403
        assert ground.reasons()[0] == f"federation_{reason}"


def test_an_answer_belongs_to_one_browser_once_and_soon(ground: Ground) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.1 (state); security decision 13: what another began signs nobody in."""
    first, other, late = ground.browser(), ground.browser(), ground.browser()
    back = ground.idp.authorize(ground.leave(first))
    ground.leave(other)

    stolen = other.get(back)
    without = ground.browser().get(back)
    taken = first.get(back)
    again = first.get(back)
    slow = ground.idp.authorize(ground.leave(late))
    ground.site.clock.advance(timedelta(minutes=10))
    too_late = late.get(slow)

    assert [each.status_code for each in (stolen, without, taken, again, too_late)] == [
        403,
        403,
        303,
        403,
        403,
    ]
    assert session_of(other) == ""
    assert {
        "federation_state_of_another_browser",
        "federation_state_used",
        "federation_state_expired",
    } <= set(ground.reasons())


def test_a_provider_that_was_changed_on_the_way_signs_nobody_in(ground: Ground) -> None:
    browser = ground.browser()
    back = ground.idp.authorize(ground.leave(browser))
    ground.set_up(name="Another name")

    assert browser.get(back).status_code == 403
    assert ground.reasons()[0] == "federation_provider_changed"


def forget(ground: Ground) -> None:
    """Let what was fetched of the provider grow old."""
    ground.site.clock.advance(live.CACHE_LIFE)


DESCRIPTIONS: list[tuple[int, bytes, str]] = [
    (500, b"", "metadata_wrong"),
    (200, b"[]", "metadata_wrong"),
    (200, b'{"issuer":"https://evil.example"}', "metadata_wrong"),
    (200, b"x" * 300_000, "provider_unreachable"),
]


def test_a_provider_that_does_not_describe_itself_is_not_left_for(ground: Ground) -> None:
    """OpenID Connect Discovery 1.0 section 4.3."""
    for status, body, reason in DESCRIPTIONS:
        ground.idp.answers["/.well-known/openid-configuration"] = (status, body)
        found = ground.browser().get(f"/t/general/signin/through/{ground.provider.id}")
        assert found.status_code == 503
        assert "What to do next" in found.text
        assert ground.reasons()[0] == f"federation_{reason}"
        forget(ground)


def test_a_provider_that_is_down_is_left_in_peace_for_some_seconds(ground: Ground) -> None:
    """Whoever comes meanwhile is told at once, and then it works again by itself."""
    away = f"/t/general/signin/through/{ground.provider.id}"
    ground.idp.answers["/.well-known/openid-configuration"] = (500, b"")
    found = [ground.browser().get(away).status_code for _ in range(3)]
    ground.idp.answers = {}

    assert found == [503, 503, 503]
    assert ground.idp.asked.count("/.well-known/openid-configuration") == 1
    assert ground.browser().get(away).status_code == 503
    ground.site.clock.advance(live.BACKOFF)
    assert ground.browser().get(away).status_code == 303


def test_metadata_leads_to_no_host_that_is_not_allowed(ground: Ground) -> None:
    """Security decision 15; nor is a host used any more that was taken off the list."""
    away = f"/t/general/signin/through/{ground.provider.id}"
    for name in ("token_endpoint", "jwks_uri", "authorization_endpoint", "end_session_endpoint"):
        ground.idp.described = {name: "https://evil.example/x"}
        assert ground.browser().get(away).status_code == 503, name
        assert ground.reasons()[0] == "federation_host_not_allowed"
        forget(ground)
    ground.idp.described = {}
    back = ground.idp.authorize(ground.leave(browser := ground.browser()))

    (host,) = ground.read(lambda ctx: service.list_hosts(ctx.as_actor(SYSTEM)))
    ground.site.system(service.remove_host, host_id=host.id)

    assert browser.get(back).status_code == 503
    assert ground.browser().get(away).status_code == 503
    assert ground.reasons()[0] == "federation_host_not_allowed"


FAILURES: list[tuple[str, int, bytes, int, str]] = [
    ("/token", 500, b"", 503, "provider_unreachable"),
    ("/token", 401, b'{"error":"invalid_client"}', 503, "client_refused"),
    ("/token", 200, b"[]", 503, "answer_malformed"),
    ("/token", 200, b"{}", 403, "token_missing"),
    ("/token", 400, b'{"error":"invalid_grant"}', 403, "code_refused"),
    ("/jwks", 500, b"", 503, "keys_unreadable"),
    ("/jwks", 200, b'{"keys":{}}', 503, "keys_unreadable"),
    ("/jwks", 200, b'{"keys":[]}', 403, "key_unknown"),
]


def test_a_provider_that_fails_on_the_way_back_signs_nobody_in(ground: Ground) -> None:
    """RFC 6749 section 5.2: the page says whose fault it is and what to do; nothing here is lost."""
    for path, status, body, shown, reason in FAILURES:
        ground.idp.answers = {path: (status, body)}
        found = lied(ground)
        assert found.status_code == shown, reason
        assert "What to do next" in found.text
        assert ground.reasons()[0] == f"federation_{reason}"
        forget(ground)
    ground.idp.answers = {}
    assert ground.sign_in(ground.browser()).status_code == 303


def test_a_new_key_of_the_provider_works_at_once(ground: Ground) -> None:
    """OpenID Connect Core 1.0 section 10.1.1: keys roll."""
    assert ground.sign_in(ground.browser()).status_code == 303
    ground.site.clock.advance(timedelta(seconds=40))
    ground.idp.keys = [public("next")]
    ground.idp.token = lambda claims: sign(claims, {"kid": "next"}, "next")

    assert ground.sign_in(ground.browser()).status_code == 303


def test_who_is_unknown_gets_in_nowhere_and_learns_what_to_tell_the_administrator(ground: Ground) -> None:
    """Identity is issuer and subject: a name or an address of somebody else opens nothing."""
    ground.idp.person |= {"sub": "s-stranger", "email": "gina@general.example", "preferred_username": "gina"}

    answer = lied(ground)

    assert answer.status_code == 403
    assert "s-stranger" in answer.text
    assert ground.reasons()[0] == "federation_person_unknown"


def test_a_person_added_by_signing_in_has_what_the_provider_states_and_no_power(ground: Ground) -> None:
    ground.set_up(adds_people=True)
    ground.idp.person = {
        "sub": "s-nia",
        "preferred_username": "Nia",
        "name": "Nia Nurse",
        "roles": ["nurses"],
    }

    assert ground.sign_in(ground.browser()).status_code == 303

    person = ground.read(lambda ctx: identity.find_person_by_username(ctx, GENERAL, "nia"))
    assert person is not None
    assert (person.role, person.name) == ("nurse", "Nia Nurse")
    assert person.age_counts_from == ground.site.clock.now()


STRANGERS: list[tuple[dict[str, Any], str]] = [
    ({"roles": ["it"]}, "needs_administrator"),
    ({"roles": ["cleaners"]}, "role_missing"),
    ({"roles": None}, "role_missing"),
    ({"roles": {"it": 1}}, "role_missing"),
    ({"preferred_username": "gina"}, "username_taken"),
    ({"preferred_username": None}, "username_unusable"),
    ({"preferred_username": "<b>x</b>"}, "username_unusable"),
    ({"name": "x" * 300}, "username_unusable"),
]


def test_who_is_not_as_a_new_person_must_be_is_not_added(ground: Ground) -> None:
    """An account with power takes two people; a name that is taken links nobody."""
    ground.set_up(adds_people=True)
    own = ground.idp.person | {"sub": "s-new", "preferred_username": "newbie"}
    for person, reason in STRANGERS:
        ground.idp.person = own | person
        assert ground.sign_in(ground.browser()).status_code == 403, reason
        assert ground.reasons()[0] == f"federation_{reason}"
    people = ground.read(lambda ctx: identity.list_people(ctx.as_actor(SYSTEM), GENERAL))
    assert [each.username for each in people] == ["ann", "gina"]


def test_a_trusted_claim_recognises_an_account_once(ground: Ground) -> None:
    """Only where the hospital configured it; then another subject with that name is somebody else."""
    ground.set_up(link_by=LinkBy.USERNAME)
    ground.idp.person = {"sub": "s-gina", "preferred_username": "gina", "roles": ["it"]}
    assert ground.sign_in(ground.browser()).status_code == 303

    ground.idp.person["sub"] = "s-mallory"

    assert ground.sign_in(ground.browser()).status_code == 403
    assert ground.reasons()[0] == "federation_linked_already"


def test_a_role_that_is_lost_at_the_hospital_is_lost_here_with_what_it_gave(ground: Ground) -> None:
    browser = ground.browser()
    ground.sign_in(browser)
    caller = ground.site.api("ann")
    assert caller.get("/tokens").status_code == 200
    ground.idp.person["roles"] = ["it"]

    answer = ground.sign_in(ground.browser())

    assert answer.status_code == 403
    assert ground.reasons()[0] == "federation_role_lost"
    assert not signed_in(browser)
    assert caller.get("/tokens").status_code == 401


def offline_grant(ground: Ground, username: str) -> Callable[[], bool]:
    """Grant an app offline access for a person; return whether it still refreshes."""
    person = ground.site.people[username]
    ids = ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), VendorId("ven_1")
    grant = Grant(GENERAL, *ids, ("offline_access",), person=person.id, role=person.role)
    order = {"offline": True, "code_family": None, "lifetimes": LIFETIMES, "life": timedelta(hours=1)}
    minted = ground.site.system(tokens.mint, grant=grant, **order)

    def refreshes() -> bool:
        held = ground.read(lambda ctx: tokens.find_refresh(ctx, minted.refresh_token))
        return held is not None and held.family_revoked_at is None

    return refreshes


def test_a_lost_role_and_an_unlinking_end_offline_access_too(ground: Ground) -> None:
    """C36, ADR 64: an app that may refresh for months must not outlive the role that let it in."""
    ground.link("gina", "s-gina")
    of_ann, of_gina = offline_grant(ground, "ann"), offline_grant(ground, "gina")
    assert ground.sign_in(ground.browser()).status_code == 303
    assert of_ann()

    ground.idp.person["roles"] = ["it"]
    assert ground.sign_in(ground.browser()).status_code == 403
    assert (of_ann(), of_gina()) == (False, True)

    link = ground.read(lambda ctx: store.find_link(ctx.tx, GENERAL, ground.idp.issuer, "s-gina"))
    assert link is not None
    assert ground.site.api("root", confirmed=True).delete(f"/identity-links/{link.id}").status_code == 204
    assert not of_gina()


def test_a_role_is_never_more_than_the_account_has(ground: Ground) -> None:
    ground.idp.person["roles"] = ["doctors", "it"]
    browser = ground.browser()

    assert ground.sign_in(browser).status_code == 303
    session = ground.read(
        lambda ctx: signin.session(seen_from(ctx, browser, "198.51.100.7"), session_of(browser))
    )
    assert session is not None
    assert session.role == "physician"


def test_a_role_outside_the_providers_list_does_not_come_in(ground: Ground) -> None:
    ground.set_up(roles=("nurse",), role_table=(RoleRow("nurses", "nurse"),))

    assert ground.sign_in(ground.browser()).status_code == 403
    assert ground.reasons()[0] == "federation_role_lost"


def test_who_is_deactivated_or_stopped_stays_out(ground: Ground) -> None:
    """Security decision 24."""
    root = ground.site.api("sam")
    ann = ground.site.people["ann"]
    stopped = root.post(
        "/switches",
        json={"kind": "person", "key": ann.id, "mode": "full_stop", "reason": "lost laptop"},
    )
    assert stopped.status_code == 201, stopped.text
    halted = ground.sign_in(ground.browser())
    assert halted.status_code == 403
    assert "stopped by a kill switch" in halted.text

    ground.site.system(identity.deactivate_person, person_id=ann.id)
    assert ground.sign_in(ground.browser()).status_code == 403
    assert ground.reasons()[0] == "federation_person_inactive"


def test_a_provider_of_one_hospital_signs_nobody_in_at_another_nor_as_staff(ground: Ground) -> None:
    browser = ground.browser()
    path = f"/signin/through/{ground.provider.id}"

    assert browser.get(f"/t/children{path}").status_code == 404
    assert browser.get(path).status_code == 404
    back = ground.idp.authorize(ground.leave(browser)).replace("/t/general/", "/t/children/")
    assert browser.get(back).status_code == 404
    assert "through" not in browser.get("/signin").text


def test_an_old_sign_in_at_the_provider_is_none_for_an_app_that_wants_a_fresh_one(ground: Ground) -> None:
    """OpenID Connect Core 1.0 sections 3.1.2.1 and 3.1.3.7, step 13."""
    ground.idp.changes = {"auth_time": int(ground.site.clock.now().timestamp()) - AN_HOUR}
    browser = ground.browser()
    asked = parse_qs(urlsplit(ground.leave(browser, fresh="1")).query)

    assert (asked["prompt"], asked["max_age"]) == (["login"], ["0"])
    assert ground.sign_in(browser, fresh="1").status_code == 403
    assert ground.reasons()[0] == "federation_sign_in_too_old"
    ground.idp.changes = {"auth_time": None}
    assert ground.sign_in(browser, fresh="1").status_code == 403
    assert ground.reasons()[0] == "federation_sign_in_time_missing"
    assert ground.sign_in(browser).status_code == 303


def test_a_hospital_can_ask_for_a_recent_and_a_strong_sign_in(ground: Ground) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7, steps 12 and 13."""
    ground.set_up(max_age_s=600, acr_values=("mfa",))
    ground.idp.changes = {"acr": "mfa"}
    browser = ground.browser()
    asked = parse_qs(urlsplit(ground.leave(browser)).query)
    assert (asked["max_age"], asked["acr_values"]) == (["600"], ["mfa"])
    assert ground.sign_in(browser).status_code == 303

    ground.idp.changes = {"acr": "password"}
    assert ground.sign_in(browser).status_code == 403
    assert ground.reasons()[0] == "federation_assurance_too_low"
    ground.idp.changes = {"acr": "mfa", "auth_time": int(ground.site.clock.now().timestamp()) - AN_HOUR}
    assert ground.sign_in(browser).status_code == 403
    assert ground.reasons()[0] == "federation_sign_in_too_old"


def test_a_session_ends_when_the_provider_says_that_its_own_does(ground: Ground) -> None:
    now = ground.site.clock.now()
    ground.idp.changes = {"session_expiry": int(now.timestamp()) + 600}
    browser = ground.browser()
    ground.sign_in(browser)
    assert signed_in(browser)

    ground.site.clock.advance(timedelta(minutes=10))

    assert not signed_in(browser)


def test_in_production_a_role_that_needs_a_second_factor_shows_one_that_the_hospital_counts(
    production: Ground,
) -> None:
    """C8; RFC 8176: an administrator's provider must state it, a clinician's need not."""
    ground = production
    ground.link("gina", "s-gina")
    assert ground.sign_in(ground.browser()).status_code == 303
    ground.idp.person = {"sub": "s-gina", "roles": ["it"]}
    ground.idp.changes = {"amr": ["pwd", "mfa"]}

    refused = ground.sign_in(ground.browser())
    assert refused.status_code == 403
    assert "second factor" in refused.text
    assert ground.reasons()[0] == "federation_factor_missing"

    ground.set_up(factor_amr=("mfa",))
    browser = ground.browser()
    assert ground.sign_in(browser).status_code == 303
    session = ground.read(
        lambda ctx: signin.session(seen_from(ctx, browser, "198.51.100.7"), session_of(browser))
    )
    assert session is not None
    assert session.factor_at == ground.site.clock.now() - timedelta(seconds=5)


def press(ground: Ground, username: str) -> httpx2.Response:
    browser = ground.browser()
    form = form_with(browser.get("/t/general/signin").text, "password")
    data = dict(form.fields) | {"username": username, "password": PASSWORD, "action": "login"}
    return browser.post(form.action, data=data)


def test_a_hospital_can_have_its_people_sign_in_only_so(ground: Ground) -> None:
    """A password stays the way in for whom the hospital leaves it, and always for the platform's staff."""
    assert press(ground, "ann").status_code == 303

    ground.set_up(passwords=Passwords.ADMINISTRATORS)
    refused = press(ground, "ann")
    token = ground.site.api().post(
        "/tokens", json={"username": "ann", "password": PASSWORD, "tenant": "general"}
    )
    assert refused.status_code == 403
    assert "through its own identity provider" in refused.text
    assert token.status_code == 403
    query = EventQuery(tenant="general", action="signin.session.begin", outcome="refused")
    recorded = ground.read(lambda ctx: audit.list_events(ctx, query)).events
    assert [each.event.reason for each in recorded] == ["passwords_off"] * 2
    assert press(ground, "gina").status_code == 303

    ground.set_up(passwords=Passwords.NOBODY)
    page = ground.browser().get("/t/general/signin").text
    assert 'name="password"' not in page
    assert "Sign in with General Hospital" in page

    ground.idp.answers["/.well-known/openid-configuration"] = (500, b"")
    staff = ground.browser()
    form = form_with(staff.get("/signin").text, "password")
    data = dict(form.fields) | {"username": "root", "password": PASSWORD, "action": "login"}
    assert staff.post(form.action, data=data).status_code == 303
    ground.set_up(passwords=Passwords.EVERYONE)
    assert press(ground, "ann").status_code == 303


def test_signing_out_leads_on_to_the_provider(ground: Ground) -> None:
    """OpenID Connect RP-Initiated Logout 1.0 section 2."""
    browser = ground.browser()
    ground.sign_in(browser)
    page = browser.get("/t/general/signout")
    form = form_with(page.text, "action")
    assert f"form-action 'self' {ground.idp.issuer}" in page.headers["content-security-policy"]

    done = browser.post(form.action, data=dict(form.fields) | {"action": "logout"})

    away = urlsplit(done.headers["location"])
    asked = parse_qs(away.query)
    assert done.headers["location"].startswith(f"{ground.idp.issuer}/end?")
    assert asked["client_id"] == [CLIENT]
    assert asked["post_logout_redirect_uri"] == ["http://127.0.0.1:8000/t/general/signout"]
    assert asked["id_token_hint"][0].count(".") == 2
    assert not signed_in(browser)


def log_out(ground: Ground, token: str, provider: str = "") -> httpx2.Response:
    path = f"/t/general/signin/through/{provider or ground.provider.id}/logout"
    return ground.browser().post(path, data={"logout_token": token})


def test_a_provider_ends_the_sessions_that_it_began(ground: Ground) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.7."""
    for whose in ({"sid": None}, {"sub": None}, {}):
        browser = ground.browser()
        ground.sign_in(browser)
        answer = log_out(ground, ground.idp.logout_token(**whose))
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert not signed_in(browser)


def test_a_logout_token_that_is_not_as_it_must_be_ends_nothing(ground: Ground) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.6; the rest of it in tests/unit/identity/federation."""
    browser = ground.browser()
    ground.sign_in(browser)

    for changes in ({"nonce": "n"}, {"events": None}, {"aud": "another"}, {"exp": 1_000_000_000}):
        assert log_out(ground, ground.idp.logout_token(**changes)).status_code == 400

    assert signed_in(browser)


def test_a_logout_token_works_once_and_an_id_token_is_none(ground: Ground) -> None:
    first = ground.idp.logout_token(jti="one")
    browser = ground.browser()
    asked = parse_qs(urlsplit(ground.leave(browser)).query)
    id_token = sign(ground.idp.claims({name: values[0] for name, values in asked.items()}))

    assert log_out(ground, first).status_code == 200
    ground.site.clock.advance(timedelta(seconds=1))
    ground.sign_in(browser)
    assert log_out(ground, first).status_code == 400
    assert log_out(ground, id_token).status_code == 400
    assert log_out(ground, "").status_code == 400
    assert signed_in(browser)


@pytest.mark.parametrize("whose", [{}, {"sid": None}, {"sub": None}])
def test_a_logout_token_that_overtakes_its_sign_in_ends_it(ground: Ground, whose: dict[str, Any]) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.8: whether the token or the browser comes first."""
    browser, later = ground.browser(), ground.browser()

    def meanwhile(claims: dict[str, Any]) -> str:
        assert log_out(ground, ground.idp.logout_token(**whose)).status_code == 200
        return sign(claims)

    honest, ground.idp.token = ground.idp.token, meanwhile
    assert ground.sign_in(browser).status_code == 403
    assert ground.reasons()[0] == "federation_session_over"
    assert not signed_in(browser)

    ground.idp.token = honest
    ground.site.clock.advance(timedelta(seconds=1))
    assert ground.sign_in(later).status_code == 303


def test_a_logout_token_of_another_session_ends_no_sign_in(ground: Ground) -> None:
    for others in ({"sub": "s-other"}, {"sub": None, "sid": "session-2"}, {"sid": "session-2"}):
        assert log_out(ground, ground.idp.logout_token(**others)).status_code == 200

    assert ground.sign_in(ground.browser()).status_code == 303


def kept(ground: Ground) -> int:
    """Return how many rows the sign-ins of strangers could have written."""
    count = select(func.count())
    return ground.read(lambda ctx: int(ctx.tx.execute(count.select_from(store.used)).scalar_one()))


def test_a_return_with_a_made_up_code_writes_no_row_and_is_slowed_down(ground: Ground) -> None:
    """ADR 28: a stranger's loop neither fills a table nor uses up the sign-in, and an honest one still works once."""
    browser = ground.browser()
    back = ground.idp.authorize(ground.leave(browser))
    made_up = back.replace(parse_qs(urlsplit(back).query)["code"][0], "x" * 20)

    for _ in range(30):
        assert browser.get(made_up).status_code == 403

    assert ground.reasons()[0] == "federation_code_refused"
    assert kept(ground) == 0
    guesses = ground.site.kit.guesses
    assert any(guesses.delay_s("198.51.100.7", monotonic()) for _ in range(int(GUESSES_BURST) - 25))
    assert browser.get(back).status_code == 303
    assert kept(ground) == 1
    again = browser.get(back)
    assert again.status_code == 403
    assert "This sign-in was completed already." in again.text


@pytest.mark.parametrize(("verified", "status"), [(True, 303), (None, 303), (False, 403), ("false", 403)])
def test_a_mail_address_that_the_provider_calls_unverified_links_nobody(
    ground: Ground, verified: object, status: int
) -> None:
    """OpenID Connect Core 1.0 section 5.1: ``email_verified``."""
    ground.set_up(link_by=LinkBy.USERNAME, username_claim="email")
    ground.idp.person = {"sub": "s-gina", "email": "gina", "roles": ["it"]}
    ground.idp.person |= {} if verified is None else {"email_verified": verified}

    assert ground.sign_in(ground.browser()).status_code == status
    assert linked(ground, "s-gina") == (status == 303)


def test_a_session_of_another_person_or_another_provider_continues(ground: Ground) -> None:
    browser = ground.browser()
    ground.sign_in(browser)

    assert log_out(ground, ground.idp.logout_token(sub="s-other")).status_code == 200
    assert log_out(ground, ground.idp.logout_token(sub=None, sid="session-2")).status_code == 200

    assert signed_in(browser)


def test_what_is_stored_of_a_sign_in_signs_nobody_in(ground: Ground) -> None:
    """A copy of the database holds neither the client's secret, nor state, nonce, verifier, cookie or id_token in clear."""
    browser = ground.browser()
    away = ground.leave(browser)
    browser.get(ground.idp.authorize(away))
    asked = parse_qs(urlsplit(away).query)

    dump = json.dumps(
        ground.read(
            lambda ctx: [
                [str(row) for row in ctx.tx.execute(table.select())]
                for table in metadata.sorted_tables
                if table.name.startswith(("federation", "signin"))
            ]
        )
    )

    for secret in (
        SECRET,
        asked["state"][0],
        asked["nonce"][0],
        session_of(browser),
        browser.cookies["hilum_offboarding"],
    ):
        assert secret not in dump
    assert "eyJ" not in dump


GINA = {"sub": "s-gina", "preferred_username": "gina", "roles": ["it"]}


def account(ground: Ground, username: str) -> Person | None:
    return ground.read(lambda ctx: identity.find_person_by_username(ctx, GENERAL, username))


def linked(ground: Ground, subject: str) -> bool:
    found = ground.read(lambda ctx: store.find_link(ctx.tx, GENERAL, ground.idp.issuer, subject))
    return found is not None


def test_who_is_refused_by_factor_or_stop_is_not_linked_by_the_attempt(production: Ground) -> None:
    """C8; security decision 24: else whoever once held the claim keeps the account, and its owner is locked out."""
    ground = production
    ground.set_up(link_by=LinkBy.USERNAME, factor_amr=("mfa",), adds_people=True)
    ground.idp.person, ground.idp.changes = GINA | {"sub": "s-mallory"}, {"amr": ["pwd"]}
    assert ground.sign_in(ground.browser()).status_code == 403
    assert (ground.reasons()[0], linked(ground, "s-mallory")) == ("federation_factor_missing", False)

    root, ids = ground.site.api("sam"), {"gina": ground.site.people["gina"].id, "general": GENERAL}
    ground.idp.changes = {"amr": ["mfa"]}
    stop = {"kind": "person", "key": ids["gina"], "mode": "full_stop", "reason": "lost laptop"}
    assert root.post("/switches", json=stop).status_code == 201
    assert ground.sign_in(ground.browser()).status_code == 403
    assert (ground.reasons()[0], linked(ground, "s-mallory")) == ("switch_engaged", False)

    assert root.post("/switches", json=stop | {"kind": "tenant", "key": GENERAL}).status_code == 201
    ground.idp.person = {"sub": "s-nia", "preferred_username": "nia", "roles": ["nurses"]}
    assert ground.sign_in(ground.browser()).status_code == 403
    assert (ground.reasons()[0], account(ground, "nia")) == ("switch_engaged", None)


def test_an_account_that_is_recognised_starts_its_age_again_and_once_unlinked_waits_for_two(
    ground: Ground,
) -> None:
    """Security decision 25: whoever got in by a claim is no second person at once, and who was put out does not come back so."""
    ground.site.clock.advance(timedelta(days=3))
    ground.set_up(link_by=LinkBy.USERNAME)
    ground.idp.person = dict(GINA)
    assert ground.sign_in(ground.browser()).status_code == 303
    gina = account(ground, "gina")
    assert gina is not None
    assert gina.age_counts_from == ground.site.clock.now()

    link = ground.read(lambda ctx: store.find_link(ctx.tx, GENERAL, ground.idp.issuer, "s-gina"))
    assert link is not None
    ground.site.system(service.unlink, link_id=link.id, end_grants=tokens.revoke_person)
    for subject in ("s-gina", "s-other"):
        ground.idp.person = GINA | {"sub": subject}
        answer = ground.sign_in(ground.browser())
        assert (answer.status_code, linked(ground, subject)) == (403, False)
        assert subject in answer.text
        assert ground.reasons()[0] == "federation_person_unknown"
    ground.link("gina", "s-gina")
    ground.idp.person = dict(GINA)
    assert ground.sign_in(ground.browser()).status_code == 303


def test_a_logout_token_names_the_sub_whichever_claim_the_hospital_identifies_people_by(
    ground: Ground,
) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.4."""
    ground.set_up(subject_claim="oid")
    ground.link("gina", "o-gina")
    ground.idp.person = {"sub": "s-pairwise", "oid": "o-gina", "roles": ["it"]}
    for whose in ({"sid": None}, {"sub": None}, {}):
        browser = ground.browser()
        assert ground.sign_in(browser).status_code == 303
        assert log_out(ground, ground.idp.logout_token(sub="o-gina", sid=None)).status_code == 200
        assert signed_in(browser)
        assert log_out(ground, ground.idp.logout_token(**whose)).status_code == 200
        assert not signed_in(browser), whose
        ground.site.clock.advance(timedelta(seconds=1))


def test_one_administrator_switches_a_provider_off_and_opens_no_passwords_by_that(ground: Ground) -> None:
    """Security decision 25: off is quick, and ends what the provider let in; a way in takes two people."""
    ground.set_up(passwords=Passwords.NOBODY)
    browser = ground.browser()
    ground.sign_in(browser)
    alone = signin_policy.actor_of(ground.site.people["gina"])

    def change(**changes: Any) -> Any:
        found = ground.read(lambda ctx: store.PROVIDERS.get(ctx.tx, ground.provider.id))
        order = Change(replace(found.settings, **changes))
        return ground.site.uow.write_now(
            lambda ctx: service.change_provider(ctx, found.id, order, number=found.number),
            actor=alone,
            trace=TRACE,
        )

    assert isinstance(change(active=False), Provider)
    assert not signed_in(browser)
    assert press(ground, "ann").status_code == 403
    assert isinstance(change(name="Another name"), Provider)
    assert press(ground, "ann").status_code == 403
    assert not isinstance(change(passwords=Passwords.EVERYONE), Provider)
    assert press(ground, "ann").status_code == 403

    ground.set_up(passwords=Passwords.EVERYONE)
    assert press(ground, "ann").status_code == 303


def test_a_clinical_identity_of_another_server_is_nobodys_here(ground: Ground) -> None:
    """SMART App Launch 2.2 (fhirUser): Patient/1 of another hospital is another patient."""
    ground.set_up(
        adds_people=True,
        fhir_user_claim="fhirUser",
        roles=("physician", "patient"),
        role_table=(*TABLE[:1], RoleRow("patients", "patient")),
    )
    pat = {"sub": "s-pat", "preferred_username": "pat", "name": "Pat", "roles": ["patients"]}
    ground.idp.person = pat | {"fhirUser": "https://another.example/fhir/Patient/p1"}

    assert ground.sign_in(ground.browser()).status_code == 403
    assert (ground.reasons()[0], account(ground, "pat")) == ("federation_fhir_user_unusable", None)
    ground.idp.person = pat | {"fhirUser": "Patient/p1"}
    assert ground.sign_in(ground.browser()).status_code == 303


def test_groups_that_are_left_out_or_too_many_end_nothing(ground: Ground) -> None:
    """A provider that states groups in part has not said that the role is gone; whoever has it is not signed in on that word either."""
    caller = ground.site.api("ann")
    for groups in ([f"g{n}" for n in range(600)] + ["doctors"], None, {"doctors": True}):
        ground.idp.person["roles"] = groups
        assert ground.sign_in(ground.browser()).status_code == 403
        assert ground.reasons()[0] == "federation_roles_not_stated"
        assert caller.get("/tokens").status_code == 200
    ground.idp.person["roles"] = []
    assert ground.sign_in(ground.browser()).status_code == 403
    assert ground.reasons()[0] == "federation_role_lost"
    assert caller.get("/tokens").status_code == 401


def test_the_answer_of_one_provider_of_a_hospital_is_not_taken_to_another(ground: Ground) -> None:
    """RFC 9207 section 1 (mix-up): also between two clients of one issuer."""
    found = ground.read(lambda ctx: store.PROVIDERS.get(ctx.tx, ground.provider.id))
    sealed = live.seal_secret(vault(), SECRET, ground.idp.issuer, ground.site.kit.ids)
    change = Change(replace(found.settings, client_id="another"), sealed)
    other = ground.site.system(service.add_provider, tenant=GENERAL, change=change)
    browser = ground.browser()
    back = ground.idp.authorize(ground.leave(browser))

    assert browser.get(back.replace(ground.provider.id, other.id)).status_code == 403
    assert ground.reasons()[0] == "federation_issuer_mixed_up"
    assert browser.get(back).status_code == 303


def test_a_provider_that_changes_while_it_is_asked_for_the_token_signs_nobody_in(ground: Ground) -> None:
    """Between the two transactions of a sign-in it may be changed or switched off."""
    for changes in ({"name": "Another name"}, {"active": False}):

        def meanwhile(claims: dict[str, Any], changes: dict[str, Any] = changes) -> str:
            ground.set_up(**changes)
            return sign(claims)

        ground.idp.token = meanwhile
        browser = ground.browser()
        assert ground.sign_in(browser).status_code == 403
        assert ground.reasons()[0] == "federation_provider_changed"
        assert session_of(browser) == ""


def test_a_state_from_the_future_is_not_accepted(ground: Ground) -> None:
    """A node whose clock was set back must not stretch the ten minutes of a sign-in."""
    browser = ground.browser()
    back = ground.idp.authorize(ground.leave(browser))
    now = ground.site.clock.now()
    state = parse_qs(urlsplit(back).query)["state"][0]
    begun = live.open_state(vault(), state, browser.cookies["hilum_offboarding"])

    def begin(ctx: Context) -> object:
        return sign_in.judge_return(ctx, GENERAL, ground.provider.id, state, begun)

    begun = replace(begun, left_at=now + timedelta(seconds=61))
    with pytest.raises(Refusal) as refused:
        ground.site.uow.write_now(begin, trace=TRACE)
    assert refused.value.fault == "state_expired"


def test_the_former_session_of_the_browser_ends(ground: Ground) -> None:
    """Session fixation: a cookie of before is worth nothing after a sign-in."""
    browser, other = ground.browser(), ground.browser()
    ground.sign_in(browser)
    other.cookies.set("hilum_session", session_of(browser))
    assert signed_in(other)

    assert ground.sign_in(browser).status_code == 303

    assert signed_in(browser)
    assert not signed_in(other)


def test_whose_chart_another_person_has_had_is_not_added_by_signing_in(ground: Ground) -> None:
    """Security decision 25: an account that opens another account's own chart takes two people."""
    order = NewPerson(GENERAL, "old", "Old Pat", "patient", fhir_user="Patient/p1", patients=("p1",))
    old = ground.site.system(identity.add_person, order=order)
    ground.site.system(identity.deactivate_person, person_id=old.id)
    ground.set_up(
        adds_people=True,
        fhir_user_claim="fhirUser",
        roles=("patient",),
        role_table=(RoleRow("patients", "patient"),),
    )
    ground.idp.person = {"sub": "s-p", "preferred_username": "pat", "name": "Pat", "roles": ["patients"]}
    ground.idp.person["fhirUser"] = "Patient/p1"

    assert ground.sign_in(ground.browser()).status_code == 403
    assert (ground.reasons()[0], account(ground, "pat")) == ("federation_needs_administrator", None)


def test_confirming_without_a_factor_here_asks_the_provider_for_a_fresh_sign_in(ground: Ground) -> None:
    """Else the provider answers from its own session, and the page goes round in circles."""
    browser = ground.browser()
    ground.sign_in(browser)
    ground.site.clock.advance(timedelta(minutes=16))

    away = browser.get("/t/general/account/authenticator").headers["location"]

    assert parse_qs(urlsplit(away).query)["fresh"] == ["1"]
    again = browser.get("/t/general/account/confirm").headers["location"]
    assert parse_qs(urlsplit(again).query)["fresh"] == ["1"]
    button = f"/t/general/signin/through/{ground.provider.id}"
    assert "fresh=1" in browser.get(away).text.partition(button)[2][:200]


def by_key(ground: Ground, key: ECKey, *, registered: ECKey | None = None) -> None:
    """Let the provider be asked with an assertion by a key, of which it knows the public part."""
    ground.idp.registered = registered or key
    private = json.dumps(dict(key.as_dict(private=True)) | {"kid": "hilum"})
    found = ground.read(lambda ctx: store.PROVIDERS.get(ctx.tx, ground.provider.id))
    sealed = live.seal_secret(vault(), private, ground.idp.issuer, ground.site.kit.ids)
    change = Change(replace(found.settings, client_auth=ClientAuth.KEY), sealed)
    ground.provider = ground.site.system(
        service.change_provider, provider_id=found.id, change=change, number=found.number
    )


def test_the_platform_authenticates_by_a_key_of_its_own_with_an_assertion_for_each_sign_in(
    ground: Ground,
) -> None:
    """OpenID Connect Core 1.0 section 9, private_key_jwt; RFC 7523 section 3: named twice, for the token endpoint, short, once."""
    by_key(ground, ECKey.generate_key("P-256"))

    for _ in range(2):
        assert ground.sign_in(ground.browser()).status_code == 303

    assert len(set(ground.idp.assertions)) == 2


def test_a_key_that_the_provider_does_not_know_signs_nobody_in(ground: Ground) -> None:
    by_key(ground, ECKey.generate_key("P-256"), registered=ECKey.generate_key("P-256"))

    assert ground.sign_in(ground.browser()).status_code >= 400
    assert ground.reasons()[0] == "federation_client_refused"


def test_roles_that_the_id_token_lacks_come_from_userinfo_if_the_hospital_says_so(ground: Ground) -> None:
    """OpenID Connect Core 1.0 section 5.3: asked only then; what the id_token states wins."""
    ground.idp.changes = {"roles": None}
    ground.idp.userinfo = {"sub": "s-ann", "roles": ["doctors"], "name": "Ann"}
    ground.sign_in(ground.browser())
    assert ground.reasons()[0] == "federation_roles_not_stated"
    assert "/userinfo" not in ground.idp.asked

    ground.set_up(userinfo=True)

    assert ground.sign_in(ground.browser()).status_code == 303
    ground.idp.changes = {"roles": ["nobody"]}
    ground.sign_in(ground.browser())
    assert ground.reasons()[0] != ""


def test_a_userinfo_endpoint_on_a_host_of_its_own_counts_only_where_it_is_asked(ground: Ground) -> None:
    """Large providers have it elsewhere: a hospital that does not ask it signs in as before, and one that does allows that host."""
    ground.idp.described = {"userinfo_endpoint": "https://graph.provider.example/oidc/userinfo"}
    assert ground.sign_in(ground.browser()).status_code == 303

    ground.set_up(userinfo=True)

    away = f"/t/general/signin/through/{ground.provider.id}"
    assert ground.browser().get(away).status_code == 503
    assert ground.reasons()[0] == "federation_host_not_allowed"


@pytest.mark.parametrize(
    ("stated", "answers", "reason"),
    [
        ({"sub": "s-else", "roles": ["doctors"]}, {}, "federation_userinfo_of_another"),
        ({"roles": ["doctors"]}, {}, "federation_userinfo_of_another"),
        ({"sub": ["s-ann"]}, {}, "federation_userinfo_of_another"),
        ({"sub": "s-ann"}, {}, "federation_roles_not_stated"),
        ({"sub": "s-ann"}, {"/userinfo": (200, b"[]")}, "federation_userinfo_missing"),
        ({"sub": "s-ann"}, {"/userinfo": (200, b"ey.ey.ey")}, "federation_userinfo_missing"),
        ({"sub": "s-ann"}, {"/userinfo": (401, b"{}")}, "federation_userinfo_missing"),
    ],
    ids=str,
)
def test_a_userinfo_answer_about_somebody_else_or_none_signs_nobody_in(
    ground: Ground, stated: dict[str, Any], answers: dict[str, Any], reason: str
) -> None:
    """OpenID Connect Core 1.0 sections 5.3.2 and 5.3.4: its sub must be exactly that of the id_token."""
    ground.set_up(userinfo=True)
    ground.idp.changes, ground.idp.userinfo = {"roles": None}, stated
    ground.idp.answers |= answers

    assert ground.sign_in(ground.browser()).status_code >= 400
    assert ground.reasons()[0] == reason


def test_userinfo_never_states_how_or_when_somebody_signed_in(ground: Ground) -> None:
    """Unsigned claims prove no second factor and no fresh sign-in."""
    ground.set_up(userinfo=True, factor_amr=("mfa",), acr_values=("strong",))
    ground.idp.userinfo = {"sub": "s-ann", "roles": ["doctors"], "acr": "strong", "amr": ["mfa"]}

    assert ground.sign_in(ground.browser()).status_code >= 400
    assert ground.reasons()[0] == "federation_assurance_too_low"
