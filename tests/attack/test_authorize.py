"""Attacks on the authorization endpoint: RFC 9700's list as far as it concerns authorize and its pages."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.apps.clients.models import ClientType, Deployment
from hilum.authorization.authorize.models import REQUEST_LIFE
from hilum.authorization.authorize.store import authorization_code, authorization_request
from hilum.authorization.launches.store import launch
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantChange
from hilum.identity.signin import service as signin
from tests.effort import effort
from tests.flows.authorize_flow import Browser, Front, answer, eligibility, error, front, shown
from tests.flows.token_flow import BASE, MERCY, OTHER, REDIRECT, VERIFIER
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

__all__ = ["front"]

AUTHORIZE = f"/t/{MERCY}/oauth/authorize"
EVIL = "https://evil.example"


@pytest.fixture
def anywhere(uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Iterator[Front]:
    """The authorization endpoint over each backend, where what a column takes differs."""
    with eligibility(uow, clock, tmp_path) as made:
        yield made


# --- redirects ------------------------------------------------------------------------------------------------------------------


@in_one_world("method", ["GET", "POST"])
@in_one_world(
    "redirect_uri",
    [
        EVIL,
        f"{EVIL}/back",
        REDIRECT + "/",
        REDIRECT + "/../evil",
        REDIRECT + "?next=" + EVIL,
        REDIRECT + "#" + EVIL,
        REDIRECT + "%2f..",
        REDIRECT + "%00",
        REDIRECT + " ",
        " " + REDIRECT,
        REDIRECT + "\r\nLocation: " + EVIL,
        REDIRECT.replace("https", "http"),
        REDIRECT.replace("https", "HTTPS"),
        REDIRECT.replace("app.example", "APP.example"),
        REDIRECT.replace("app.example", "app.example.evil.example"),
        REDIRECT.replace("app.example", "app.example:443"),
        REDIRECT.replace("app.example", "app.example@evil.example"),
        REDIRECT.replace("app.example", "app.example\\@evil.example"),
        "//app.example/back",
        "/back",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
    ],
)
def test_a_redirect_uri_that_is_not_the_registered_one_is_never_followed(
    front: Front, method: str, redirect_uri: str
) -> None:
    """RFC 9700 sections 2.1 and 4.1.1; C3, C28."""
    page = front.browser("pat").authorize(method=method, redirect_uri=redirect_uri)

    assert page.status_code == 400
    assert "location" not in page.headers
    assert "evil" not in page.text
    assert "evil" not in page.headers["content-security-policy"]
    assert front.requests() == 0


@in_one_world("client_id", [None, "", "nobody", "cli_' OR 1=1", "x" * 5000, "\x00"])
def test_an_unknown_client_is_never_redirected(front: Front, client_id: str | None) -> None:
    """C28; also when the redirect URI belongs to somebody."""
    page = front.browser("pat").authorize(client_id=client_id)

    shown(page, "not registered")


def test_one_clients_redirect_uri_does_not_serve_another(front: Front) -> None:
    front.add_app("neighbour", ClientType.PUBLIC, redirect_uris=("https://neighbour.example/cb",))

    page = front.browser("pat").authorize(redirect_uri="https://neighbour.example/cb")

    shown(page, "not registered")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_redirect_uri_is_displayed_and_another_repeated_parameter_redirected(
    front: Front, name: str
) -> None:
    """RFC 6749 section 3.1: parameter pollution."""
    browser = front.browser("pat")
    query = urlencode([*front.parameters().items(), (name, EVIL)])
    page = browser.follow(browser.http.get(f"{AUTHORIZE}?{query}"))
    assert page.status_code == 400

    told = urlencode([*front.parameters().items(), ("scope", "patient/*.cruds")])
    error(browser.follow(browser.http.get(f"{AUTHORIZE}?{told}")), "invalid_request")


def test_query_and_body_of_a_post_cannot_be_played_against_each_other(front: Front) -> None:
    """RFC 6749 section 3.1: once, wherever it stands."""
    browser = front.browser("pat")
    body = front.parameters()

    page = browser.follow(
        browser.http.post(f"{AUTHORIZE}?{urlencode({'redirect_uri': REDIRECT})}", data=body)
    )

    assert page.status_code == 400
    told = browser.follow(browser.http.post(f"{AUTHORIZE}?scope=openid", data=body))
    error(told, "invalid_request")


def test_sign_in_comes_back_to_this_origin_only(front: Front) -> None:
    """RFC 9700 section 4.11: no open redirector."""
    for then in (EVIL, "//evil.example", "/\\evil.example", "/t/../..//evil.example", "javascript:x"):
        browser = front.browser()
        browser.follow(browser.http.get(f"/t/{MERCY}/signin?then={quote(then, safe='')}"))
        assert "evil" not in browser.last.headers["content-security-policy"]

        landed = browser.sign_in("pat")

        assert not landed.headers.get("location", "/").startswith(("//", "http", "javascript", "/\\"))


def test_the_form_action_of_sign_in_opens_only_to_a_request_that_waits(front: Front) -> None:
    """Security decision 13."""
    browser = front.browser()
    page = browser.authorize()
    assert "form-action 'self' https://app.example;" in page.headers["content-security-policy"]
    then = parse_qs(urlsplit(browser.trail[-1]).query)["then"][0]

    for forged in (
        then[:-3] + "AAA",
        then.replace(f"/t/{MERCY}/", f"/t/{OTHER}/"),
        f"{AUTHORIZE}?redirect_uri={EVIL}",
        f"{AUTHORIZE}?request={EVIL}",
        f"{AUTHORIZE}?request=",
    ):
        again = browser.http.get(f"/t/{MERCY}/signin?then={quote(forged, safe='')}")
        assert "form-action 'self';" in again.headers["content-security-policy"], forged

    front.clock.advance(REQUEST_LIFE)
    expired = browser.http.get(f"/t/{MERCY}/signin?then={quote(then, safe='')}")
    assert "form-action 'self';" in expired.headers["content-security-policy"]


# --- the request --------------------------------------------------------------------------------------------------------------


@in_one_world(
    "changes",
    [
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge_method": "S256 "},
        {"code_challenge_method": "none"},
        {"code_challenge": VERIFIER},
        {"code_challenge": ""},
        {"code_challenge": "A" * 42},
        {"code_challenge": "A" * 44},
    ],
)
def test_proof_of_possession_cannot_be_talked_down(front: Front, changes: dict[str, Any]) -> None:
    """RFC 9700 section 4.8.2: PKCE downgrade; C42."""
    error(front.browser("pat").authorize(**changes), "invalid_request")


def test_every_answer_names_the_issuer_so_that_servers_cannot_be_mixed_up(front: Front) -> None:
    """RFC 9207; RFC 9700 section 4.4."""
    issuer = f"{BASE}/t/{MERCY}"
    browser = front.browser("pat")
    browser.authorize()
    assert answer(browser.allow())["iss"] == issuer
    for outcome in (
        front.browser("pat").authorize(response_type="token"),
        front.browser().authorize(prompt="none"),
        front.browser("adam").authorize(),
    ):
        assert answer(outcome)["iss"] == issuer
    elsewhere = front.browser("pat").authorize(tenant=OTHER)
    told = parse_qs(urlsplit(elsewhere.headers["location"]).query)
    assert told["iss"] == [f"{BASE}/t/{OTHER}"]
    assert "code" not in told


@in_one_world(
    "state",
    ["&code=evil", '"><script>alert(1)</script>', "%26iss%3Devil", "a+b c%20d", "#x", "~!@$^*()_{}|"],
)
def test_state_comes_back_as_it_was_and_adds_nothing(front: Front, state: str) -> None:
    """C29."""
    browser = front.browser("pat")
    page = browser.authorize(state=state)
    assert "<script>alert" not in page.text

    told = answer(browser.allow())

    assert told["state"] == state
    assert set(told) == {"code", "state", "iss"}


def test_no_page_of_the_flow_discloses_the_code_or_the_handle(front: Front) -> None:
    """RFC 9700 section 4.2: credential leakage by referrer and history."""
    opened = front.open_launch()
    browser = front.browser()
    browser.authorize(launch=opened.handle)
    pages = [browser.last.text]
    browser.sign_in("dora")
    pages.append(browser.last.text)
    told = answer(browser.allow())

    assert not any(opened.handle in text or told["code"] in text for text in pages)
    assert not any(opened.handle in where for where in browser.trail)
    assert browser.last.headers["referrer-policy"] == "no-referrer"
    assert browser.last.headers["cache-control"] == "no-store"


def test_a_code_is_not_kept_as_it_was_sent(front: Front) -> None:
    """C9: a dump of the database holds no usable credential."""
    opened = front.open_launch()
    browser = front.browser("dora")
    browser.authorize(launch=opened.handle)
    told = answer(browser.allow())

    tables = (authorization_code, authorization_request, launch)
    dump = front.uow.db.read(lambda tx: str([tx.execute(table.select()).all() for table in tables]))

    assert told["code"] not in dump
    assert opened.handle not in dump
    assert repr(hashlib.sha256(told["code"].encode()).digest()) in dump


@settings(
    max_examples=effort(40, 400),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    name=st.sampled_from(
        [
            "client_id",
            "redirect_uri",
            "scope",
            "state",
            "aud",
            "launch",
            "prompt",
            "max_age",
            "request",
            "nonce",
            "x",
        ]
    ),
    value=st.text(max_size=80),
    method=st.sampled_from(["GET", "POST"]),
)
def test_no_parameter_breaks_the_endpoint(front: Front, name: str, value: str, method: str) -> None:
    """Never a 500 for input."""
    page = front.browser().authorize(method=method, **{name: value})

    assert page.status_code in {200, 303, 400, 404}


@in_one_world(
    ("name", "value"),
    [
        ("max_age", "0" * 20 + "9" * 30),
        ("max_age", "0" * 20 + "9" * 5_000),
        ("nonce", "a\0b"),
        ("login_hint", "a\0b"),
        ("launch", "a" * 3_000),
        ("launch", "é" * 3_000),
        ("launch", "\0"),
    ],
)
def test_a_value_that_no_store_takes_is_the_apps_mistake(anywhere: Front, name: str, value: str) -> None:
    """Never a 500 for bad input (contract, Errors; RFC 6749 section 4.1.2.1)."""
    error(anywhere.browser().authorize(**{name: value}), "invalid_request")


@in_one_world(
    ("content_type", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("text/plain", b"a=b"),
        ("application/x-www-form-urlencoded", b"\xff\xfe"),
        ("application/x-www-form-urlencoded", b"a=%ff"),
        ("application/x-www-form-urlencoded", b"&".join(b"a%d=b" % n for n in range(200))),
        ("application/x-www-form-urlencoded", b"a=" + b"b" * 70_000),
    ],
)
def test_a_body_that_is_no_form_is_refused(front: Front, content_type: str, body: bytes) -> None:
    page = front.browser().http.post(AUTHORIZE, content=body, headers={"content-type": content_type})

    assert 400 <= page.status_code < 500


@in_one_world("host", ["[::1", "[x]", "x;sandbox", "x,y", "bank.example"])
def test_what_follows_a_private_scheme_is_no_host_on_any_page(front: Front, host: str) -> None:
    """RFC 8252 section 7.1; security decision 13: such a redirect URI may be registered, and names no place and no policy."""
    redirect_uri = f"com.evil.app://{host}/back"
    front.add_app(
        "native",
        ClientType.PUBLIC,
        deployment=Deployment.NATIVE,
        redirect_uris=(redirect_uri,),
        launch_uri="",
        origins=(),
    )

    page = front.browser("pat").authorize(client="native", redirect_uri=redirect_uri)

    assert page.status_code == 200
    assert "form-action 'self' com.evil.app:;" in page.headers["content-security-policy"]
    assert host not in page.text


# --- launches -----------------------------------------------------------------------------------------------------------------


def test_a_launch_with_another_persons_session_is_refused_and_ended(front: Front) -> None:
    """Security decision 2: session swap at launch."""
    opened = front.open_launch("dora")

    error(front.browser("nora").authorize(launch=opened.handle), "access_denied")

    error(front.browser("dora").authorize(launch=opened.handle), "invalid_request")
    reasons = [event.reason for event in front.events("launches.launch.take")]
    assert "foreign_person" in reasons


def test_another_client_cannot_use_a_launch(front: Front) -> None:
    """C27."""
    opened = front.open_launch(client="web")

    error(front.browser("dora").authorize(client="second", launch=opened.handle), "access_denied")

    assert "foreign_client" in [event.reason for event in front.events("launches.launch.take")]


def test_a_launch_is_taken_once(front: Front) -> None:
    """C27: reuse."""
    opened = front.open_launch()
    browser = front.browser("dora")
    browser.authorize(launch=opened.handle)
    answer(browser.allow())

    error(browser.authorize(launch=opened.handle), "invalid_request")


@in_one_world("spoil", ["", "x", "prefix", "case", "quote"])
def test_a_tampered_launch_is_unknown(front: Front, spoil: str) -> None:
    """C27: tampering."""
    handle = front.open_launch().handle
    tampered = {
        "": handle[:-1],
        "x": handle[:-1] + ("A" if handle[-1] != "A" else "B"),
        "prefix": "A" + handle,
        "case": handle.swapcase(),
        "quote": "' OR ''='",
    }[spoil]

    error(front.browser("dora").authorize(launch=tampered), "invalid_request")


def test_a_launch_of_one_hospital_opens_nothing_at_another(front: Front) -> None:
    """C37."""
    handle = front.open_launch().handle
    browser = front.browser("dora")
    aud = front.urls.fhir_base(OTHER)

    page = browser.authorize(tenant=OTHER, launch=handle, aud=aud)

    assert "code=" not in page.headers.get("location", "")


def test_a_launch_that_waited_too_long_is_over(front: Front) -> None:
    """C27."""
    opened = front.open_launch()
    front.clock.advance(timedelta(minutes=5))

    error(front.browser("dora").authorize(launch=opened.handle), "invalid_request")


# --- sessions and steps -------------------------------------------------------------------------------------------------------


def test_a_request_that_somebody_began_cannot_be_finished_by_another(front: Front) -> None:
    """Security decision 13: steps are bound to the session."""
    pats = front.browser("pat")
    pats.authorize()
    gus = front.browser("gus")
    gus.last, where = pats.last, pats.trail[-1]

    opened = gus.follow(gus.http.get(where))
    shown(opened, "started by somebody else")
    gus.last = pats.last
    assert gus.press(pats.form("decision"), ("decision", "allow")).status_code == 403
    assert "code" in answer(pats.allow())


def test_a_forged_step_is_unknown(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize()
    sealed = parse_qs(urlsplit(browser.trail[-1]).query)["request"][0]

    for forged in (sealed[:-2] + "AA", "azr_1", "", "../x", "x" * 9000):
        page = browser.http.get(f"{AUTHORIZE}?request={forged}")
        assert page.status_code in {400, 404}
    elsewhere = browser.http.get(f"/t/{OTHER}/oauth/authorize?request={sealed}")
    assert elsewhere.status_code in {400, 404}


@in_one_world("step", ["decision", "patient"])
@in_one_world(
    ("changes", "headers"),
    [
        ([("csrf", "forged")], {}),
        ([("csrf", "")], {}),
        ([], {"sec-fetch-site": "cross-site"}),
        ([], {"sec-fetch-site": "same-site"}),
        ([], {"sec-fetch-site": "none"}),
        ([], {"origin": EVIL}),
        ([], {"origin": "http://localhost:8001"}),
    ],
)
def test_another_site_cannot_press_the_buttons_of_the_flow(
    front: Front, step: str, changes: list[tuple[str, str]], headers: dict[str, Any]
) -> None:
    """C30: cross-site posts."""
    browser = front.browser("pat" if step == "decision" else "dora")
    browser.authorize()
    value = "allow" if step == "decision" else "p1"
    chosen = len(front.events("authserver.context.choose"))

    refused = browser.press(browser.form(step), (step, value), *changes, **headers)

    assert refused.status_code == 403
    assert front.events("authserver.code.issue") == []
    assert len(front.events("authserver.context.choose")) == chosen


def test_the_token_of_one_request_does_not_press_the_button_of_another(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize()
    first = browser.form("decision")
    browser.authorize(scope="launch/patient openid patient/Goal.rs")
    second = browser.form("decision")
    csrf = dict(first.fields)["csrf"]

    assert browser.press(second, ("decision", "allow"), ("csrf", csrf)).status_code == 403


def test_a_page_cannot_be_skipped_by_posting_to_the_next(front: Front) -> None:
    """Steps never route to each other: the dispatcher decides."""
    browser = front.browser("gus")
    browser.authorize()
    form = browser.form("patient")
    form.action = f"{AUTHORIZE}/consent"

    page = browser.press(form, ("decision", "allow"))

    assert browser.form("patient")
    assert page.status_code == 200
    assert front.events("authserver.code.issue") == []


def test_a_context_cannot_be_chosen_twice(front: Front) -> None:
    browser = front.browser("gus")
    browser.authorize()
    form = browser.form("patient")
    browser.pick("p1")

    browser.press(form, ("patient", "p2"))
    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["patient"] == "p1"


def test_an_ehr_launchs_context_cannot_be_chosen_by_a_form(front: Front) -> None:
    """C31."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    form = browser.form("decision")
    form.action = f"{AUTHORIZE}/context"

    browser.press(form, ("patient", "p2"))
    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["patient"] == "p1"


def test_a_cross_site_post_without_cookies_is_kept_and_meets_the_session_on_the_way(front: Front) -> None:
    """Security decision 13: a cross-site POST brings no Lax cookies."""
    stranger = front.browser()
    kept = stranger.http.post(AUTHORIZE, data=front.parameters(), headers={"sec-fetch-site": "cross-site"})
    assert kept.status_code == 303
    assert "client_id" not in kept.headers["location"]
    browser = front.browser("pat")

    browser.follow(browser.http.get(kept.headers["location"]))

    assert "code" in answer(browser.allow())


def test_a_session_of_another_hospital_is_nobody_here(front: Front) -> None:
    """C37."""
    front.add_person("olga", "physician", "Practitioner/o1", at=OTHER)
    browser = front.browser("olga")

    browser.authorize()

    assert browser.form("password")


# --- frames -------------------------------------------------------------------------------------------------------------------


def _with_ehr_origin(front: Front) -> None:
    change = TenantChange(ehr_origins=("https://ehr.example",))
    front.run(lambda ctx: identity.update_tenant(ctx, MERCY, change))


def test_pages_are_framed_by_nobody_unless_the_hospital_registered_its_ehr(front: Front) -> None:
    """C30: unknown framing."""
    page = front.browser("pat").authorize()
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["x-frame-options"] == "DENY"

    _with_ehr_origin(front)
    page = front.browser("pat").authorize()
    assert "frame-ancestors https://ehr.example" in page.headers["content-security-policy"]
    login = front.browser().authorize()
    assert "frame-ancestors 'none'" in login.headers["content-security-policy"]


def test_nobody_signs_in_inside_a_frame(front: Front) -> None:
    """Security decision 13: login is never framed; the page offers a window of its own."""
    _with_ehr_origin(front)
    browser: Browser = front.browser("dora", **{"sec-fetch-dest": "iframe"})

    page = browser.authorize(launch=front.open_launch().handle)

    assert page.status_code == 200
    assert "Continue in a window" in page.text
    assert 'target="_blank"' in page.text
    assert "password" not in page.text.replace("your password safe", "")


def test_a_frame_counts_the_ehrs_own_session_and_never_the_browsers(front: Front) -> None:
    """Security decision 13: only the partitioned cookie reaches a frame."""
    _with_ehr_origin(front)
    dora = front.people["dora"]
    _, cookie = front.run(lambda ctx: signin.begin_session(ctx, dora, "ehr"))
    browser = front.browser(**{"sec-fetch-dest": "iframe"})
    browser.http.cookies.set("hilum_frame", cookie)

    browser.authorize(launch=front.open_launch().handle)

    assert "code" in answer(browser.allow())
