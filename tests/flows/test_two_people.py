"""No one account acts as two: links for owners, a second person for accounts with power and for resets (C200, security decision 25)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.controls.approvals.models import APPROVAL_LIFE
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId
from hilum.identity.enrolment.models import CODE_TRIES, LINK_LIFE
from hilum.identity.people import service as identity
from hilum.identity.people.models import SECOND_PERSON_AGE, NewPerson
from hilum.records.audit.models import Outcome
from tests.flows.accounts_ground import NURSE, OWN, approve, events, path_of, press, signs_in
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, codes, problem
from tests.flows.vendor_ground import made
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world

STAFF = {"username": "rob", "name": "Rob Reviewer", "role": "reviewer"}


def ask(site: ControlSite, by: str = "root", **change: Any) -> dict[str, Any]:
    return dict(made(site.api(by).post("/people", json=STAFF | change), 202))


# --- what one administrator alone cannot do ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ann", "gina", "rita", "sam", "otto", "carl"])
@pytest.mark.parametrize("by", ["root", "gina"])
def test_nobody_sets_another_persons_password(site: ControlSite, by: str, name: str) -> None:
    """An administrator set a reviewer's password and certified, a physician's and signed in as them."""
    if by == name:
        return
    person = site.people[name]

    answer = site.api(by).put(
        f"/people/{person.id}/password", json={"password": "chosen by another", "current": PASSWORD}
    )

    problem(answer, 403, "not_permitted")
    assert signs_in(site, name, PASSWORD, person.tenant)
    assert not signs_in(site, name, "chosen by another", person.tenant)


@pytest.mark.parametrize("role", ["platform_admin", "security", "reviewer", "auditor"])
def test_one_administrator_alone_makes_no_colleague(site: ControlSite, role: str) -> None:
    """M2: an administrator added a second officer and was both for a wide release."""
    before = site.api("root").get("/people").json()["items"]

    asked = ask(site, role=role)

    assert "enrolment" not in asked
    assert site.api("root").get("/people").json()["items"] == before
    problem(approve(site, asked, by="root"), 403, "asked_by_you")
    problem(approve(site, asked, by="rita"), 403, "not_permitted")
    problem(approve(site, asked, by="gina"), 404, "approval_not_found")
    assert site.api("root").get("/people").json()["items"] == before


def test_no_password_is_taken_when_somebody_is_added(site: ControlSite) -> None:
    problem(site.api("gina").post("/people", json=NURSE | {"password": OWN}), 422, "fields_invalid")


def test_an_administrator_of_a_hospital_takes_two_people_as_well(site: ControlSite) -> None:
    body = {"tenant": "general", "username": "gil", "name": "Gil", "role": "administrator"}

    asked = made(site.api("gina").post("/people", json=body), 202)

    problem(approve(site, asked, by="gina"), 403, "asked_by_you")
    problem(approve(site, asked, by="carl"), 404, "approval_not_found")
    problem(approve(site, asked, by="ann"), 403, "not_permitted")
    assert made(approve(site, asked, by="sam"), 200)["order"]["role"] == "administrator"


@pytest.mark.parametrize(
    ("by", "name"), [("gina", "ann"), ("root", "ann"), ("root", "rita"), ("root", "gina")]
)
def test_a_way_into_an_account_in_use_takes_two_people(site: ControlSite, by: str, name: str) -> None:
    """M2: who resets alone signs in as them."""
    person = site.people[name]

    asked = made(site.api(by).post(f"/people/{person.id}/reset"), 202)

    assert asked["approval"]["kind"] == "reset"
    assert "enrolment" not in asked
    problem(approve(site, asked, by=by), 403, "asked_by_you")
    assert signs_in(site, name, PASSWORD, person.tenant)


def test_nobody_agrees_to_a_way_into_their_own_account(site: ControlSite) -> None:
    asked = made(site.api("root").post(f"/people/{site.people['sam'].id}/reset"), 202)

    problem(approve(site, asked, by="sam"), 403, "about_you")
    problem(site.api("root").post(f"/people/{site.people['root'].id}/reset"), 403, "about_you")
    problem(site.api("ann").post(f"/people/{site.people['ann'].id}/reset"), 403, "not_permitted")
    problem(site.api("ann").post(f"/people/{site.people['gina'].id}/reset"), 403, "not_permitted")
    problem(site.api("carl").post(f"/people/{site.people['ann'].id}/reset"), 404, "person_not_found")


def test_neither_of_the_two_alone_holds_what_opens_the_account(site: ControlSite) -> None:
    """Who agrees gets the link, who asked the setup code; the owner needs both."""
    asked = ask(site)
    opened = made(approve(site, asked), 200)
    assert asked["setup_code"] not in str(opened)

    for guess in ("", "0000-0000-0000", asked["approval"]["id"], asked["setup_code"][:-1]):
        refused = press(site, path_of(opened), code=guess)
        assert (refused.status_code, "not the setup code" in refused.text) == (422, True)
    assert not signs_in(site, "rob", OWN)

    answer = press(site, path_of(opened), code=asked["setup_code"].lower().replace("-", " "))
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin?enrolled=1")
    assert signs_in(site, "rob", OWN)


def test_guessing_the_setup_code_kills_the_link(site: ControlSite) -> None:
    asked = ask(site)
    path = path_of(made(approve(site, asked), 200))
    for _ in range(CODE_TRIES):
        assert press(site, path, code="0000-0000-0000").status_code == 422

    assert site.browser().get(path).status_code == 404
    assert not signs_in(site, "rob", OWN)
    assert [reason for _, _, reason in events(site, "enrolment.link.use")] == [
        "setup_code_wrong"
    ] * CODE_TRIES


# --- who counts as one of two --------------------------------------------------------------------------------------------------


def enrol(site: ControlSite, **change: Any) -> str:
    """Make a member of staff by two people, enrolled, and return their username."""
    asked = ask(site, **change)
    opened = made(approve(site, asked), 200)
    assert press(site, path_of(opened), code=asked["setup_code"]).status_code == 303
    username: str = asked["approval"]["about"]
    site.people[username] = site.system(identity.get_person, person=PersonId(opened["target"]))
    return username


def test_a_new_account_is_nobodys_second_person(site: ControlSite) -> None:
    new = enrol(site, username="pat", role="platform_admin")
    asked = ask(site, username="rex")
    switch = made(site.api("sam").post("/switches", json={"kind": "platform", "reason": "drill"}))["id"]
    made(site.api("sam").post(f"/switches/{switch}/release"), 200)

    problem(approve(site, asked, by=new), 403, "account_too_new")
    problem(site.api(new).post("/people", json=STAFF | {"username": "roy"}), 403, "account_too_new")
    problem(site.api(new).post(f"/switches/{switch}/release"), 403, "account_too_new")
    assert made(site.api(new).get(f"/switches/{switch}"), 200)["in_force"]
    site.clock.advance(SECOND_PERSON_AGE)
    assert made(site.api("sam").post(f"/switches/{switch}/release"), 200)["in_force"]
    assert not made(site.api(new).post(f"/switches/{switch}/release"), 200)["in_force"]


def test_a_new_account_still_stops_things_at_once(site: ControlSite) -> None:
    """Engaging is quick and single-handed, whoever does it."""
    new = enrol(site, username="pat", role="security")

    assert site.api(new).post("/switches", json={"kind": "platform", "reason": "seen it"}).status_code == 201


def test_a_reset_makes_an_account_new_again(site: ControlSite) -> None:
    """Whoever opened the way in might be who sits there."""
    asked = made(site.api("root").post(f"/people/{site.people['sue'].id}/reset"), 202)
    path = path_of(made(approve(site, asked), 200))
    assert press(site, path, code=asked["setup_code"]).status_code == 303
    waiting = ask(site)

    problem(approve(site, waiting, by="sue"), 403, "account_too_new")
    site.clock.advance(SECOND_PERSON_AGE - timedelta(seconds=1))
    problem(approve(site, ask(site), by="sue"), 403, "account_too_new")
    site.clock.advance(timedelta(seconds=1))
    assert approve(site, ask(site), by="sue").status_code == 200


@pytest.mark.parametrize("how", ["stopped", "deactivated"])
def test_what_somebody_asked_before_they_were_stopped_or_left_comes_to_nothing(
    site: ControlSite, how: str
) -> None:
    pat = enrol(site, username="pat", role="platform_admin")
    site.clock.advance(SECOND_PERSON_AGE)
    asked = ask(site, by=pat)
    if how == "stopped":
        order = {"kind": "person", "key": site.people[pat].id, "reason": "taken over"}
        assert site.api("sue").post("/switches", json=order).status_code == 201
    else:
        assert site.api("root").delete(f"/people/{site.people[pat].id}").status_code == 200

    problem(approve(site, asked), 403, "asker_no_longer_counts")
    assert (
        made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/refuse"), 200)["state"] == "refused"
    )


def test_a_full_stop_on_who_asked_for_a_wide_release_ends_their_word(site: ControlSite) -> None:
    """Asked with a stolen token, stopped, and back with new credentials: the thief's word is no half of a release."""
    order = {"kind": "tenant", "key": "general", "reason": "an incident"}
    wide = made(site.api("sue").post("/switches", json=order))
    made(site.api("root").post(f"/switches/{wide['id']}/release"), 200)
    site.clock.advance(timedelta(seconds=1))
    order = {"kind": "person", "key": site.people["root"].id, "reason": "taken over"}
    own = made(site.api("sue").post("/switches", json=order))
    made(site.api("sue").post(f"/switches/{own['id']}/release"), 200)

    assert made(site.api("sam").post(f"/switches/{wide['id']}/release"), 200)["in_force"]
    assert not made(site.api("sue").post(f"/switches/{wide['id']}/release"), 200)["in_force"]


def test_an_approval_keeps_what_it_created_for_whoever_asked(site: ControlSite) -> None:
    """C200: the asker finds the account's id in their own request, whoever agreed."""
    asked = ask(site)
    path = f"/approvals/{asked['approval']['id']}"
    assert made(site.api("root").get(path), 200)["target"] == ""

    opened = made(approve(site, asked), 200)

    assert opened["target"].startswith("per_")
    assert made(site.api("root").get(path), 200)["target"] == opened["target"]


def test_a_refused_request_created_nothing(site: ControlSite) -> None:
    asked = ask(site)

    path = f"/approvals/{asked['approval']['id']}"
    made(site.api("sam").post(f"{path}/refuse"), 200)

    assert made(site.api("root").get(path), 200)["target"] == ""


def test_who_asked_is_known_by_name_to_whoever_may_agree(site: ControlSite) -> None:
    """C145: a hospital's administrator learns the names of the staff, and of nobody in another hospital."""
    ids = {name: site.people[name].id for name in ("root", "ann", "carl")}
    asked = {"id": [*ids.values(), "per_nobody"]}

    assert made(site.api("root").get("/names", params=asked), 200) == {
        ids["root"]: "Root",
        ids["ann"]: "Ann",
        ids["carl"]: "Carl",
    }
    assert made(site.api("gina").get("/names", params=asked), 200) == {ids["root"]: "Root", ids["ann"]: "Ann"}
    own = made(site.api("ann").get("/names", params=asked), 200)
    assert own == {ids["ann"]: "Ann"}, "clinicians resolve apps and themselves, not people"
    problem(site.api("root").get("/names"), 422, "fields_invalid")
    problem(
        site.api("root").get("/names", params={"id": [f"per_{n}" for n in range(101)]}),
        422,
        "fields_invalid",
    )


def test_an_approval_is_given_once_and_in_time(site: ControlSite) -> None:
    asked, late = ask(site), ask(site, username="lou")

    assert approve(site, asked).status_code == 200
    problem(approve(site, asked, by="sue"), 409, "approval_over")
    problem(site.api("sam").post(f"/approvals/{asked['approval']['id']}/refuse"), 409, "approval_over")
    site.clock.advance(APPROVAL_LIFE)
    problem(approve(site, late), 409, "approval_over")
    assert site.api("sam").get("/approvals").json()["items"] == []


def test_who_asked_takes_it_back_and_then_nobody_agrees(site: ControlSite) -> None:
    asked = ask(site)

    assert (
        made(site.api("root").post(f"/approvals/{asked['approval']['id']}/refuse"), 200)["state"] == "refused"
    )
    problem(approve(site, asked), 409, "approval_over")


def test_what_waits_is_listed_to_those_who_may_decide(site: ControlSite) -> None:
    staff = ask(site)["approval"]
    ann = made(site.api("gina").post(f"/people/{site.people['ann'].id}/reset"), 202)["approval"]

    def listed(by: str, query: str = "") -> list[str]:
        return [each["id"] for each in made(site.api(by).get(f"/approvals{query}"), 200)["items"]]

    assert listed("sam") == listed("root") == [staff["id"], ann["id"]]
    assert listed("gina") == listed("sam", "?tenant=general") == [ann["id"]]
    assert listed("carl") == []
    assert listed("sam", f"?after={staff['id']}") == [ann["id"]]
    for name in ("ann", "rita", "otto"):
        problem(site.api(name).get("/approvals"), 403, "not_permitted")
    problem(site.api("carl").get("/approvals?tenant=general"), 403, "not_permitted")


def test_every_step_is_on_record_with_who_took_it(site: ControlSite) -> None:
    """C149."""
    asked = ask(site)
    approve(site, asked, by="root")
    opened = made(approve(site, asked), 200)
    press(site, path_of(opened), code=asked["setup_code"])
    root, sam = f"staff:{site.people['root'].id}", f"staff:{site.people['sam'].id}"

    assert events(site, "approvals.approval.ask") == [(Outcome.DONE, root, "")]
    assert events(site, "approvals.approval.approve") == [
        (Outcome.REFUSED, root, "asked_by_you"),
        (Outcome.DONE, sam, ""),
    ]
    assert events(site, "enrolment.link.issue") == [(Outcome.DONE, sam, "")]
    assert events(site, "enrolment.link.use") == [(Outcome.DONE, f"staff:{opened['target']}", "")]


# --- the link ------------------------------------------------------------------------------------------------------------------


def test_a_new_colleague_of_a_ward_sets_the_password_through_the_link(site: ControlSite) -> None:
    """Contract, API authentication: created without a password; the answer holds a one-time enrolment link."""
    opened = made(site.api("gina").post("/people", json=NURSE))
    browser = site.browser()
    page = browser.get(path_of(opened))
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert "<script" not in page.text
    assert all(text in page.text for text in ("Nia Nurse", "nia", "General", "8 to 256 characters"))

    answer = press(site, path_of(opened), browser)

    assert (answer.status_code, answer.headers["location"]) == (303, "/t/general/signin?enrolled=1")
    assert "Your password is set" in browser.get(answer.headers["location"]).text
    assert signs_in(site, "nia", OWN, "general")
    assert browser.get(path_of(opened)).status_code == 404


def test_looking_at_a_link_does_not_use_it(site: ControlSite) -> None:
    """A mail scanner opens links before their owner does."""
    path = path_of(made(site.api("gina").post("/people", json=NURSE)))
    for _ in range(10):
        assert site.browser().get(path).status_code == 200
        assert site.browser().head(path).status_code == 200

    assert press(site, path).status_code == 303


@pytest.mark.parametrize(
    "how", ["used", "expired", "replaced", "deactivated", "stopped", "stop ended", "elsewhere"]
)
def test_a_dead_link_sets_nothing_and_says_no_more_than_that(site: ControlSite, how: str) -> None:
    gina = site.api("gina")
    opened = made(gina.post("/people", json=NURSE))
    path, browser = path_of(opened), site.browser()
    form = form_with(browser.get(path).text, "password")
    order = {"kind": "person", "key": opened["id"], "reason": "a mistake"}
    match how:
        case "used":
            press(site, path, password="another word", again="another word")
        case "expired":
            site.clock.advance(LINK_LIFE)
        case "replaced":
            newer = made(site.api("gina").post(f"/people/{opened['id']}/reset"))
        case "deactivated":
            gina.delete(f"/people/{opened['id']}")
        case "stopped":
            site.api("sam").post("/switches", json=order)
        case "stop ended":
            switch = made(site.api("sam").post("/switches", json=order))["id"]
            made(site.api("sue").post(f"/switches/{switch}/release"), 200)
            site.clock.advance(timedelta(minutes=1))
        case _:
            path = path.replace("general", "children")
    fields = dict(form.fields) | {"password": OWN, "again": OWN, "action": "enrol"}

    looked, pressed = browser.get(path), browser.post(path, data=fields)

    assert (looked.status_code, pressed.status_code) == (404, 404)
    assert "This link can no longer be used" in pressed.text
    assert "Nia" not in pressed.text
    if how != "stopped":
        assert not signs_in(site, "nia", OWN, "general")
    if how == "replaced":
        assert press(site, path_of(newer)).status_code == 303


@in_one_world(
    "link",
    [
        "x",
        "hil_ln_",
        "hil_ln_" + "a" * 43,
        "hil_ss_" + "a" * 43,
        "hil_ln_" + "a" * 500,
        "%00",
        "%F0%9F%98%80",
    ],
)
def test_what_is_no_link_of_ours_opens_nothing(site: ControlSite, link: str) -> None:
    for path in (f"/t/general/enrol/{link}", f"/enrol/{link}", f"/t/nowhere/enrol/{link}"):
        assert site.browser().get(path).status_code == 404


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"password": "short", "again": "short"}, "Use at least 8 characters"),
        ({"password": "x" * 257, "again": "x" * 257}, "Use at most 256 characters"),
        ({"again": "something else"}, "The two passwords do not match"),
        ({"password": "", "again": ""}, "Use at least 8 characters"),
    ],
)
def test_a_password_that_does_not_do_leaves_the_link_as_it_was(
    site: ControlSite, values: dict[str, Any], said: str
) -> None:
    path = path_of(made(site.api("gina").post("/people", json=NURSE)))

    answer = press(site, path, **values)

    assert (answer.status_code, said in answer.text) == (422, True)
    assert "x" * 257 not in answer.text
    assert press(site, path).status_code == 303


def test_a_form_of_another_site_sets_no_password(site: ControlSite) -> None:
    """Security decision 13."""
    path, browser = path_of(made(site.api("gina").post("/people", json=NURSE))), site.browser()
    form = form_with(browser.get(path).text, "password")
    fields = dict(form.fields) | {"password": OWN, "again": OWN, "action": "enrol"}

    for headers, change in (
        ({"origin": "https://evil.example"}, {}),
        ({"sec-fetch-site": "cross-site"}, {}),
        ({}, {"csrf": "x"}),
        ({}, {"csrf": ""}),
    ):
        assert browser.post(path, data=fields | change, headers=headers).status_code == 403
    assert site.browser().post(path, data=fields).status_code == 403
    assert press(site, path).status_code == 303


def test_a_reset_ends_what_was_open_under_the_old_password(site: ControlSite) -> None:
    ann = site.api("ann")
    asked = made(site.api("gina").post(f"/people/{site.people['ann'].id}/reset"), 202)
    path = path_of(made(approve(site, asked, by="root"), 200))
    assert signs_in(site, "ann", PASSWORD, "general")

    assert press(site, path, code=asked["setup_code"]).status_code == 303

    problem(ann.get("/tokens"), 401, "token_invalid")
    assert signs_in(site, "ann", OWN, "general")
    assert not signs_in(site, "ann", PASSWORD, "general")


def test_no_secret_of_a_link_is_stored_or_recorded(site: ControlSite) -> None:
    asked = ask(site)
    opened = made(approve(site, asked), 200)
    secret = path_of(opened).rpartition("/")[2]
    press(site, path_of(opened), code=asked["setup_code"])

    dump = "\n".join(site.uow.db.read(lambda tx: list(tx.connection.driver_connection.iterdump())))  # type: ignore[union-attr]

    assert secret not in dump
    assert asked["setup_code"] not in dump
    assert asked["setup_code"].replace("-", "") not in dump
    assert OWN not in dump


# --- who somebody is -----------------------------------------------------------------------------------------------------------


def test_no_two_active_people_of_a_hospital_are_one_fhir_user(site: ControlSite) -> None:
    """M2: an administrator made a physician with another's ``fhirUser``."""
    gina = site.api("gina")
    first = made(gina.post("/people", json=NURSE))
    twin = NURSE | {"username": "twin", "role": "physician"}

    problem(gina.post("/people", json=twin), 409, "fhir_user_taken")
    made(site.api("carl").post("/people", json=twin | {"tenant": "children"}))
    assert gina.delete(f"/people/{first['id']}").status_code == 200
    assert made(gina.post("/people", json=twin), 202)["approval"]["before"] == {"own_of": ["nia"]}


def test_the_fhir_user_is_looked_at_again_when_the_second_person_agrees(site: ControlSite) -> None:
    body = {
        "tenant": "general",
        "username": "gil",
        "name": "Gil",
        "role": "administrator",
        "fhir_user": "Practitioner/n1",
    }
    asked = made(site.api("gina").post("/people", json=body), 202)
    made(site.api("gina").post("/people", json=NURSE))

    problem(approve(site, asked), 409, "fhir_user_taken")
    assert site.api("sam").get("/approvals").json()["items"], "it still waits: nothing was half done"


FITS = {
    "physician": {"Practitioner", "PractitionerRole"},
    "nurse": {"Practitioner", "PractitionerRole"},
    "analyst": {"Practitioner", "PractitionerRole", "Person"},
    "administrator": {"Practitioner", "PractitionerRole", "Person"},
    "front_desk": {"Practitioner", "PractitionerRole", "Person"},
    "patient": {"Patient", "RelatedPerson", "Person"},
}


@pytest.mark.parametrize("role", FITS)
def test_a_fhir_user_fits_the_role(site: ControlSite, role: str) -> None:
    api = site.api("gina")
    for number, kind in enumerate(("Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person")):
        body = NURSE | {"username": f"x{number}", "role": role, "fhir_user": f"{kind}/x{number}"}

        answer = api.post("/people", json=body)

        if kind in FITS[role]:
            assert answer.status_code in {201, 202}, (kind, answer.text)
        else:
            assert codes(problem(answer, 422, "person_invalid")) == {"fhir_user": "fhir_user_unfit_for_role"}


# --- the host ------------------------------------------------------------------------------------------------------------------


def test_whom_the_host_sets_up_counts_at_once_and_the_record_says_the_host_did_it(site: ControlSite) -> None:
    """``hilum init`` stays the way in; two whom it made are each other's second person from the first day."""
    host = Actor(ActorKind.HOST, "root")
    order = NewPerson(None, "ada", "Ada", "platform_admin")
    add = partial(identity.add_person, order=order)

    ada = site.uow.write_now(add, actor=host, trace=TRACE)

    site.people["ada"] = ada
    assert approve(site, ask(site, by="ada"), by="root").status_code == 200
    assert (Outcome.DONE, "host:root", "") in events(site, "identity.person.add")


def test_at_most_so_much_waits_for_a_second_person(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.controls.approvals.service.APPROVALS_PENDING_BOUND", 2)
    ask(site)
    ask(site, username="r2")

    problem(site.api("root").post("/people", json=STAFF | {"username": "r3"}), 503, "too_many_approvals")
