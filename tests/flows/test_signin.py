"""Signing in and out at a browser, and by the API (S3; security decision 13; contract, Forms that a script can send)."""

import json
import re
from datetime import timedelta
from time import monotonic
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.bounds import GUESSES_BURST
from hilum.identity.people import service as identity
from hilum.identity.people.models import TenantChange
from hilum.identity.signin.models import ATTEMPTS_FREE
from tests.flows.control_site import ORIGIN, PASSWORD, ControlSite, problem
from tests.sim.browser import Form, form_with
from tests.sim.one_world import in_one_world

PAGE = "/t/general/signin"


@pytest.fixture
def browser(site: ControlSite) -> TestClient:
    return site.browser()


def fill(form: Form, **values: str) -> dict[str, str]:
    return dict(form.fields) | values


def press(browser: TestClient, page: str = PAGE, headers: dict[str, str] | None = None, **values: str) -> Any:
    form = form_with(browser.get(page).text, "password")
    assert ("action", "login") in form.submits
    data = {"action": "login", "username": "ann", "password": PASSWORD} | values
    return browser.post(form.action, data=fill(form, **data), headers=headers or {})


def session_of(browser: TestClient) -> str:
    return browser.cookies.get("hilum_session") or ""


def test_a_person_signs_in_and_continues_to_where_they_came_from(browser: TestClient) -> None:
    """Contract: fields ``username``, ``password``, submit ``action=login``."""
    then = "/t/general/oauth/authorize?request=req_1"

    answer = press(browser, PAGE + "?then=/t/general/oauth/authorize%3Frequest%3Dreq_1")

    assert (answer.status_code, answer.headers["location"]) == (303, then)
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith("hilum_session="))
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert len(session_of(browser)) == 50


@pytest.mark.parametrize(
    "then",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/x%0d%0aset-cookie:a",
    ],
)
def test_sign_in_leads_nowhere_else(browser: TestClient, then: str) -> None:
    """RFC 9700 section 4.11: no open redirector."""
    answer = press(browser, f"{PAGE}?then={then}")

    assert answer.headers["location"] in {"/t/general/oauth/manage", "/x%0d%0aset-cookie:a"}


def test_a_then_put_into_the_form_leads_nowhere_else_either(browser: TestClient) -> None:
    assert press(browser, then="https://evil.example").headers["location"] == "/t/general/oauth/manage"


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"password": "wrong"}, 403),
        ({"username": "nobody"}, 403),
        ({"username": "root"}, 403),
        ({"username": "", "password": ""}, 403),
        ({"username": "<script>alert(1)</script>"}, 403),
        ({"password": "x" * 10_000}, 403),
    ],
)
def test_a_wrong_password_shows_the_form_again_with_one_and_the_same_sentence(
    browser: TestClient, values: dict[str, Any], status: int
) -> None:
    answer = press(browser, **values)

    assert answer.status_code == status
    assert "The username or the password is wrong." in answer.text
    assert "<script" not in answer.text
    assert session_of(browser) == ""
    assert values.get("password", "wrong") not in form_with(answer.text, "password").fields


def test_too_many_failures_say_when_to_come_again_and_hold_nobody_else_up(
    site: ControlSite, browser: TestClient
) -> None:
    """C57."""
    for _ in range(ATTEMPTS_FREE):
        press(browser, password="wrong")

    slow = press(browser)
    fine = press(site.browser(source="203.0.113.9"))

    assert (slow.status_code, slow.headers["retry-after"]) == (429, "1")
    assert "Too many attempts" in slow.text
    assert fine.status_code == 303
    site.clock.advance(timedelta(seconds=1))
    assert press(browser).status_code == 303


def test_refused_guesses_of_a_network_count_over_all_names_and_at_page_and_api_together(
    site: ControlSite,
) -> None:
    """C57, ADR 28: then they are slowed down, and nobody behind the address is refused."""
    source, guesses = "198.51.100.8", site.kit.guesses
    for n in range(3):
        press(site.browser(source), username=f"nobody{n}")
        site.api().post("/tokens", json={"tenant": "general", "username": f"none{n}", "password": "x"})
    assert press(site.browser(source)).status_code == 303

    free = next(n for n in range(100) if guesses.delay_s(source, monotonic()))

    # Some are given back meanwhile, by the clock of the event loop.
    assert GUESSES_BURST - 6 <= free < GUESSES_BURST - 3
    assert not guesses.delay_s("203.0.113.9", monotonic())


def test_a_form_that_another_site_sends_signs_nobody_in(site: ControlSite, browser: TestClient) -> None:
    """C30: login CSRF too, although nobody is signed in yet."""
    page = browser.get(PAGE).text
    data = fill(form_with(page, "password"), username="ann", password=PASSWORD, action="login")
    foreign = site.browser().post(PAGE, data=data)

    cross = browser.post(PAGE, data=data, headers={"sec-fetch-site": "cross-site"})
    origin = browser.post(PAGE, data=data, headers={"origin": "http://localhost:8001"})
    without = browser.post(PAGE, data={name: value for name, value in data.items() if name != "csrf"})
    at_another = browser.post("/t/children/signin", data=data)

    assert [each.status_code for each in (foreign, cross, origin, without, at_another)] == [403] * 5
    assert session_of(browser) == ""
    assert browser.post(PAGE, data=data, headers={"origin": ORIGIN}).status_code == 303


@in_one_world(
    ("body", "kind", "status"),
    [
        (b"username=a&username=b", "application/x-www-form-urlencoded", 422),
        (b"%zz", "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 415),
        (b"x=" + b"a" * 300_000, "application/x-www-form-urlencoded", 413),
        (b"username=%00&password=%00", "application/x-www-form-urlencoded", 403),
        (b"\xff\xfe", "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_a_malformed_form_is_refused_with_a_page(
    browser: TestClient, body: bytes, kind: str, status: int
) -> None:
    answer = browser.post(PAGE, content=body, headers={"content-type": kind})

    assert answer.status_code == status
    assert "<h1>" in answer.text


@in_one_world(
    "path",
    ["/t/nowhere/signin", "/t/GENERAL/signin", "/t/%00/signin", "/t/a%27/signin", "/t/nowhere/signout"],
)
def test_an_unknown_hospital_has_no_door(browser: TestClient, path: str) -> None:
    assert browser.get(path).status_code == 404
    assert browser.post(path, data={"username": "x"}).status_code == 404


def test_a_closed_hospital_has_no_door_either(site: ControlSite) -> None:
    """C57: it is answered as one that does not exist."""
    site.system(lambda ctx: identity.update_tenant(ctx, TenantId("general"), TenantChange(active=False)))

    assert site.browser().get(PAGE).status_code == 404


def test_the_page_is_never_framed_stored_or_scripted(browser: TestClient) -> None:
    """Security decision 13: login is never framed."""
    answer = browser.get(PAGE)

    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self';" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "<script" not in answer.text


def test_the_connected_apps_are_a_link_away_from_a_hospitals_sign_in_page(browser: TestClient) -> None:
    """C32: a patient who looks for what they allowed finds it without knowing the address; the staff have none."""
    page = browser.get(PAGE).text

    assert re.search(r'<a href="[^"]*/t/general/oauth/manage">Your connected apps</a>', page)
    assert "connected apps" not in browser.get("/signin").text


def test_every_login_begins_another_session_and_ends_the_one_before(browser: TestClient) -> None:
    """Security decision 13."""
    press(browser)
    first = session_of(browser)
    press(browser, username="gina")
    second = session_of(browser)

    browser.cookies.set("hilum_session", first, domain="127.0.0.1", path="/")
    replayed = browser.get("/t/general/signout")

    assert first != second
    assert "Nobody is signed in" in replayed.text


def test_a_planted_session_cookie_is_not_the_one_after_login(browser: TestClient) -> None:
    """Session fixation."""
    planted = "hil_ss_" + "a" * 43
    browser.cookies.set("hilum_session", planted)

    press(browser)

    assert planted not in [cookie.value for cookie in browser.cookies.jar if cookie.value != planted]
    assert any(cookie.value not in {planted, None} for cookie in browser.cookies.jar)


def test_sign_out_needs_a_press_of_our_own_button_and_ends_the_session(
    site: ControlSite, browser: TestClient
) -> None:
    press(browser)
    cookie = session_of(browser)
    form = form_with(browser.get("/t/general/signout").text, "action")

    forged = browser.post("/t/general/signout", data={"action": "logout"})
    assert forged.status_code == 403
    done = browser.post(form.action, data=fill(form, action="logout"))

    assert done.status_code == 303
    assert session_of(browser) == ""
    browser.cookies.set("hilum_session", cookie)
    assert "Nobody is signed in" in browser.get("/t/general/signout").text


def test_the_staff_have_a_door_of_their_own(browser: TestClient) -> None:
    assert press(browser, "/signin", username="ann").status_code == 403
    assert press(browser, "/signin", username="root").headers["location"] == "/operations"
    form = form_with(browser.get("/signout").text, "action")

    assert browser.post(form.action, data=fill(form)).status_code == 303


def test_a_password_makes_an_expiring_token_that_opens_the_api(site: ControlSite) -> None:
    """Contract, API authentication: ``POST /api/v1/tokens``."""
    api = site.api()
    body = {
        "tenant": "general",
        "username": "gina",
        "password": PASSWORD,
        "name": "script",
        "expires_in_s": 3600,
    }

    made = api.post("/tokens", json=body)

    assert made.status_code == 201
    assert made.json()["roles"] == ["administrator"]
    api.headers["authorization"] = f"Bearer {made.json()['token']}"
    listed = api.get("/tokens").json()["items"]
    assert [each["name"] for each in listed] == ["script"]
    assert "token" not in listed[0]
    assert api.get("/tenants/general").status_code == 200
    site.clock.advance(timedelta(hours=1))
    problem(api.get("/tenants/general"), 401, "token_invalid")


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"password": "wrong"}, 401, "wrong_credentials"),
        ({"username": "nobody"}, 401, "wrong_credentials"),
        ({"tenant": "children"}, 401, "wrong_credentials"),
        ({"tenant": None}, 401, "wrong_credentials"),
        ({"tenant": "\x00"}, 401, "wrong_credentials"),
        ({"username": "\x00"}, 401, "wrong_credentials"),
        ({"expires_in_s": 90 * 86_400 + 1}, 422, "fields_invalid"),
        ({"expires_in_s": 0}, 422, "fields_invalid"),
        ({"expires_in_s": "soon"}, 422, "fields_invalid"),
        ({"name": "a\nb"}, 422, "token_order_invalid"),
        ({"surprise": 1}, 422, "fields_invalid"),
        ({"username": ""}, 422, "fields_invalid"),
        ({"username": "\ud800"}, 400, "json_malformed"),
        ({"password": "x" * 300}, 422, "fields_invalid"),
    ],
)
def test_a_token_is_made_for_nobody_else_and_never_beyond_the_bounds(
    site: ControlSite, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"tenant": "general", "username": "gina", "password": PASSWORD} | change
    answer = site.api().post(
        "/tokens", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    problem(answer, status, code)
    assert PASSWORD not in answer.text


def test_the_api_slows_a_guesser_too(site: ControlSite) -> None:
    """C57."""
    api, body = site.api(), {"tenant": "general", "username": "gina", "password": "wrong"}
    for _ in range(ATTEMPTS_FREE):
        problem(api.post("/tokens", json=body), 401, "wrong_credentials")

    slow = api.post("/tokens", json=body | {"password": PASSWORD})

    problem(slow, 429, "too_many_attempts")
    assert slow.headers["retry-after"] == "1"


@in_one_world(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer x",
        "Basic Z2luYTpw",
        "Bearer hil_pat_" + "a" * 43,
        "Bearer hil_at_" + "a" * 43,
    ],
)
def test_without_a_valid_token_the_api_discloses_nothing(site: ControlSite, header: str | None) -> None:
    api = site.api()
    headers = {} if header is None else {"authorization": header}

    for method, path in (
        ("GET", "/tenants"),
        ("GET", "/people"),
        ("POST", "/switches/x/release"),
        ("DELETE", "/tokens/x"),
    ):
        answer = api.request(method, path, headers=headers)
        problem(answer, 401, "token_invalid")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_an_administrator_ends_sessions_and_sets_no_password(site: ControlSite, browser: TestClient) -> None:
    """C200: a forgotten password is reset through a link; see test_two_people."""
    press(browser)
    ann, gina = site.people["ann"], site.api("gina")

    for name in ("gina", "carl", "root"):
        refused = site.api(name).put(f"/people/{ann.id}/password", json={"password": "another word"})
        problem(refused, 403, "not_permitted")

    assert gina.delete(f"/people/{ann.id}/sessions").json() == {"ended": 1}
    assert "Nobody is signed in" in browser.get("/t/general/signout").text
    assert press(browser, password="another word").status_code == 403
    assert press(browser).status_code == 303


@pytest.mark.parametrize("username", ["ann", "gina", "root"])
@pytest.mark.parametrize(
    "current", [{}, {"current": ""}, {"current": "a guess"}, {"current": "another word"}]
)
def test_a_stolen_api_token_does_not_become_the_account(
    site: ControlSite, username: str, current: dict[str, str]
) -> None:
    """Contract, API authentication: tokens expire and are bound; OWASP ASVS 4.0.3 2.1.6: a change takes the present password."""
    thief, person = site.api(username), site.people[username]

    answer = thief.put(f"/people/{person.id}/password", json={"password": "another word"} | current)

    problem(answer, 401, "wrong_credentials")
    tenant = {} if person.tenant is None else {"tenant": person.tenant}
    for password, status in (("another word", 401), (PASSWORD, 201)):
        body = {"username": username, "password": password} | tenant
        assert site.api().post("/tokens", json=body).status_code == status


def test_guesses_at_the_present_password_slow_down(site: ControlSite) -> None:
    """C57."""
    thief, path = site.api("ann"), f"/people/{site.people['ann'].id}/password"
    for _ in range(ATTEMPTS_FREE):
        problem(
            thief.put(path, json={"password": "another word", "current": "a guess"}), 401, "wrong_credentials"
        )

    problem(thief.put(path, json={"password": "another word", "current": PASSWORD}), 429, "too_many_attempts")


def test_a_person_changes_the_password_by_the_present_one(site: ControlSite) -> None:
    ann, path = site.api("ann"), f"/people/{site.people['ann'].id}/password"

    assert ann.put(path, json={"password": "another word", "current": PASSWORD}).status_code == 204

    problem(ann.get("/tokens"), 401, "token_invalid")
    body = {"username": "ann", "password": "another word", "tenant": "general"}
    assert site.api().post("/tokens", json=body).status_code == 201
