"""A switch on a person, their hospital or the platform reaches every door that makes an actor of a credential (C199)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotPermitted
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Method
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, problem

LIFTED = timedelta(minutes=1)


def engage(site: ControlSite, kind: str, key: str = "", *, by: str = "sam", **more: Any) -> str:
    order = {"kind": kind, "key": key, "reason": "Account taken over"} | more
    answer = site.api(by).post("/switches", json=order)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def release(site: ControlSite, switch: str, *names: str) -> None:
    for name in names:
        answer = site.api(name).post(f"/switches/{switch}/release")
        assert answer.status_code == 200, answer.text
    assert answer.json()["in_force"] is False


def cookie_of(site: ControlSite, username: str) -> str:
    begin = partial(signin.begin_session, person=site.people[username], method=Method.PASSWORD)
    return str(site.uow.write_now(begin, actor=SYSTEM, trace=TRACE)[1])


def session_counts(site: ControlSite, cookie: str) -> bool:
    return site.uow.read_now(partial(signin.session, cookie=cookie), trace=TRACE) is not None


def sign_in(site: ControlSite, username: str) -> int:
    tenant = site.people[username].tenant
    browser = site.browser()
    page = browser.get(f"/t/{tenant}/signin" if tenant else "/signin")
    csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    form = {"csrf": csrf, "then": "", "username": username, "password": PASSWORD, "action": "login"}
    return browser.post(page.url.path, data=form).status_code


def ask_token(site: ControlSite, username: str) -> int:
    body = {"username": username, "password": PASSWORD, "tenant": site.people[username].tenant}
    return site.api().post("/tokens", json=body).status_code


STOPS = [
    ("person", "gina", ""),
    ("person", "root", ""),
    ("person", "rita", ""),
    ("tenant", "gina", "general"),
    ("platform", "gina", ""),
    ("platform", "rita", ""),
]


@pytest.mark.parametrize(("kind", "name", "key"), STOPS)
def test_a_stop_on_a_person_closes_every_door_at_once(
    site: ControlSite, kind: str, name: str, key: str
) -> None:
    """Security decision 24."""
    person = site.people[name]
    api, cookie = site.api(name), cookie_of(site, name)
    assert api.get("/tokens").status_code == 200
    assert session_counts(site, cookie)

    engage(site, kind, person.id if kind == "person" else key)

    problem(api.get("/tokens"), 403, "switch_engaged")
    problem(api.get(f"/people/{person.id}"), 403, "switch_engaged")
    assert not session_counts(site, cookie)
    assert sign_in(site, name) == 403
    assert ask_token(site, name) == 403
    with pytest.raises(NotPermitted, match="switch_engaged"):
        cookie_of(site, name)
    with pytest.raises(NotPermitted, match="switch_engaged"):
        site.system(signin.create_api_token, person_id=person.id)


@pytest.mark.parametrize(("kind", "name", "key"), STOPS)
def test_what_was_issued_before_the_stop_ended_stays_dead(
    site: ControlSite, kind: str, name: str, key: str
) -> None:
    """Security decision 8: releasing a full stop revives nothing."""
    person = site.people[name]
    api, cookie = site.api(name), cookie_of(site, name)
    switch = engage(site, kind, person.id if kind == "person" else key)
    release(site, switch, *(["sue"] if kind == "person" else ["sam", "sue"]))
    site.clock.advance(LIFTED)

    if (kind, person.tenant) == ("platform", None):
        assert api.get("/tokens").status_code == 200, "the staff ended it, and their credentials go on"
        assert session_counts(site, cookie)
    else:
        problem(api.get("/tokens"), 401, "token_invalid")
        assert not session_counts(site, cookie)
    assert sign_in(site, name) == 303
    assert site.api(name).get("/tokens").status_code == 200
    assert session_counts(site, cookie_of(site, name))


def test_an_expired_stop_leaves_dead_what_was_issued_before_it_ended(site: ControlSite) -> None:
    """C143."""
    api, cookie = site.api("ann"), cookie_of(site, "ann")
    ends = site.clock.now() + timedelta(minutes=5)
    engage(site, "person", site.people["ann"].id, expires_at=ends.isoformat())

    site.clock.advance(timedelta(minutes=6))

    problem(api.get("/tokens"), 401, "token_invalid")
    assert not session_counts(site, cookie)
    assert sign_in(site, "ann") == 303


def test_the_stopped_learn_of_the_stop_only_with_the_right_password(site: ControlSite) -> None:
    """Without it, nobody learns whose account is stopped."""
    engage(site, "person", site.people["ann"].id)
    browser = site.browser()
    for password, said in (("wrong word", "The username or the password is wrong"), (PASSWORD, "stopped")):
        page = browser.get("/t/general/signin")
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        form = {"csrf": csrf, "then": "", "username": "ann", "password": password, "action": "login"}

        answer = browser.post("/t/general/signin", data=form)

        assert (answer.status_code, said in answer.text) == (403, True)


@pytest.mark.parametrize(("mode", "reads", "writes"), [("observe", 200, 200), ("read_only", 200, 403)])
def test_a_softer_switch_on_a_person_does_what_its_mode_says(
    site: ControlSite, mode: str, reads: int, writes: int
) -> None:
    gina = site.api("gina")
    engage(site, "person", site.people["gina"].id, mode=mode)

    assert gina.get("/people?tenant=general").status_code == reads
    assert gina.patch("/tenants/general", json={"name": "General"}).status_code == writes


def test_a_stop_elsewhere_closes_no_door_here(site: ControlSite) -> None:
    gina, cookie = site.api("gina"), cookie_of(site, "gina")
    engage(site, "person", site.people["carl"].id)
    engage(site, "tenant", "children")
    engage(site, "scope", "openid")
    engage(site, "resource_type", "Patient")

    assert gina.get("/tokens").status_code == 200
    assert session_counts(site, cookie)
    assert sign_in(site, "gina") == 303


def test_under_a_stop_of_the_platform_those_who_can_end_it_still_act(site: ControlSite) -> None:
    """Security and platform administrators release it, auditors look; everybody else waits."""
    before: dict[str, TestClient] = {name: site.api(name) for name in ("root", "sam", "sue", "otto", "rita")}
    switch = engage(site, "platform")

    found = {name: api.get("/tokens").status_code for name, api in before.items()}
    assert found == {"root": 200, "sam": 200, "sue": 200, "otto": 200, "rita": 403}
    assert sign_in(site, "root") == 303
    release(site, switch, "root", "sue")
    site.clock.advance(LIFTED)
    assert before["root"].get("/tokens").status_code == 200


def test_nobody_takes_part_in_releasing_a_switch_on_themselves(site: ControlSite) -> None:
    """Not by an API token that outlived it, not in a softer mode, not as the app's user."""
    for mode in ("observe", "no_new_launches"):
        switch = engage(site, "person", site.people["root"].id, mode=mode)

        refused = site.api("root").post(f"/switches/{switch}/release")

        problem(refused, 403, "not_permitted")
        release(site, switch, "sam")
    own = engage(site, "person", site.people["gina"].id, by="gina", mode="observe")
    problem(site.api("gina").post(f"/switches/{own}/release"), 403, "not_permitted")


def test_a_stopped_persons_word_does_not_count_in_a_release(site: ControlSite) -> None:
    """Who asked first and was stopped or deactivated meanwhile is not one of the two."""
    switch = engage(site, "tenant", "general")
    assert site.api("sam").post(f"/switches/{switch}/release").json()["release_asked_by"]
    engage(site, "person", site.people["sam"].id, by="root")

    again = site.api("sue").post(f"/switches/{switch}/release").json()

    assert (again["in_force"], again["release_asked_by"]) == (True, f"staff:{site.people['sue'].id}")
    release(site, switch, "root")


def test_the_last_platform_administrator_stays(site: ControlSite) -> None:
    problem(site.api("root").delete(f"/people/{site.people['root'].id}"), 409, "last_administrator")
    assert site.api("root").get("/people").status_code == 200


def test_a_session_of_a_stopped_person_carries_no_online_access(site: ControlSite) -> None:
    """C36: what hangs on a session ends with what the session may do."""
    session = site.uow.read_now(partial(signin.session, cookie=cookie_of(site, "ann")), trace=TRACE)
    assert session is not None
    alive = partial(signin.session_alive, session_id=session.id)
    assert site.uow.read_now(alive, trace=TRACE)

    engage(site, "person", site.people["ann"].id)

    assert not site.uow.read_now(alive, trace=TRACE)
