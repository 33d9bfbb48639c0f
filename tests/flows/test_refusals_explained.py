"""What was refused before any record was asked for: listed with what apps were refused, and explained by its number (ADR 11)."""

import csv
import io
import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVendor
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import ANONYMOUS, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.operations.switch_administration import service as switch_administration
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from tests.flows.console_ground import Desk
from tests.flows.control_site import build
from tests.sim.world import FakeClock

EHR = Actor(ActorKind.CLIENT, "ehr-general", TenantId("general"))
NUMBER = "req_00000000000000000refused"


@pytest.fixture
def desk(sqlite_uow: UnitOfWork, clock: FakeClock) -> Desk:
    site = build(sqlite_uow, clock)
    vendor = site.system(registry.add_vendor, order=NewVendor("Acme", "help@v.example", "sec@v.example"))
    order = NewApp(vendor.id, "Growth Watch", "Shows growth", "Review", "unclassified")
    made = Desk(site, site.system(registry.add_app, order=order))
    target = Target(TargetKind.APP_TENANT, f"{made.app.id}/general")
    made.switch = site.system(
        switch_administration.engage, order=EngageOrder(target, Mode.FULL_STOP, "wrong dose")
    ).id
    return made


def put(desk: Desk, event: Event, number: str = NUMBER, by: Actor = EHR) -> None:
    def verb(ctx: Context) -> None:
        audit.record(ctx, event)

    desk.site.uow.write_now(verb, actor=by, trace=Trace(number, source="192.0.2.7"))


def refused_launch(desk: Desk, **more: Any) -> Event:
    facts = {"rule": "This app is stopped.", "owner": "The administrator of General", "role": "physician"}
    return Event(
        "launches.launch.open",
        Outcome.REFUSED,
        tenant="general",
        app=desk.app.id,
        client="growth-web",
        person=desk.site.people["ann"].id,
        patient="p1",
        reason="switch_engaged",
        facts=facts | {"switches": [desk.switch]} | more,
    )


def test_a_refused_launch_is_explained_with_app_person_patient_switch_and_who_can_change_it(
    desk: Desk,
) -> None:
    """C69, C216: to the hospital's administrator by page and by API; said once, and the badge is the outcome."""
    put(desk, refused_launch(desk))

    page = unescape(desk.browser("gina").get(f"/tenant/activity/{NUMBER}").text)
    found = desk.site.api("gina").get(f"/explain/{NUMBER}").json()

    facts = {each["name"]: each["text"] for each in found["why"] + found["about"]}
    expected = {
        "Refused because": "This app is stopped.",
        "Kill switch": "Growth Watch at General: wrong dose",
        "Who can change it": "The administrator of General",
        "App": "Growth Watch",
        "Client": "growth-web",
        "Person": "Ann",
        "Role": "physician",
        "Hospital": "General",
        "Patient": "p1",
    }
    assert {name: facts[name] for name in expected} == expected
    assert all(f">{text}<" in page for text in expected.values()), page
    assert f'href="/tenant/switches/{desk.switch}"' in page
    assert "refused: switch engaged" in page
    assert "recorded" not in page
    assert page.count("This app is stopped.") == page.count("wrong dose") == 1
    newest = desk.events("audit.request.explain")[0].event
    assert (newest.tenant, newest.patient) == ("general", "p1")


def test_a_switch_of_the_platform_is_said_to_a_hospital_without_its_target_and_for_whom_it_is(
    desk: Desk,
) -> None:
    """C145: the staff see it by name."""
    wide = EngageOrder(Target(TargetKind.APP, desk.app.id), Mode.FULL_STOP, "leaked keys")
    switch = desk.site.system(switch_administration.engage, order=wide).id
    put(desk, refused_launch(desk, switches=[switch], owner=""))

    here = desk.site.api("gina").get(f"/explain/{NUMBER}").json()["why"]
    staff = desk.site.api("sam").get(f"/explain/{NUMBER}").json()["why"]

    assert {"name": "Kill switch", "text": "One of the platform's", "id": ""} in here
    assert "leaked" not in str(here)
    assert {"name": "Kill switch", "text": "Growth Watch: leaked keys", "id": switch} in staff
    owners = [each["text"] for each in here + staff if each["name"] == "Who can change it"]
    assert owners == ["The platform's security team"] * 2


def test_anothers_refusal_and_nothing_are_explained_alike(desk: Desk) -> None:
    """No oracle."""
    put(desk, refused_launch(desk))

    answers = [desk.site.api("carl").get(f"/explain/{number}") for number in (NUMBER, "req_nothing")]

    assert answers[0].status_code == answers[1].status_code == 404
    assert answers[0].json()["detail"] == answers[1].json()["detail"]


def test_what_an_app_was_refused_is_listed_with_what_apps_did_and_not_with_changes(desk: Desk) -> None:
    """C150: by the app's name, with its reason and its number; of one app, one person, one reason too."""
    put(desk, refused_launch(desk))
    gina = desk.browser("gina")
    app, ann = desk.app.id, desk.site.people["ann"].id
    with_it = (
        "",
        "?outcome=refused",
        f"?app={app}",
        f"?person={ann}",
        "?reason=switch_engaged&outcome=refused",
    )
    without = ("?outcome=done", "?app=app_other", "?reason=token_invalid", "?patient=p1")

    for query in with_it:
        page = gina.get(f"/tenant/activity{query}").text
        assert page.count("data-row") == 1, query
        assert "Growth Watch" in page
        assert f"/tenant/activity/{NUMBER}" in page
    for query in without:
        assert gina.get(f"/tenant/activity{query}").text.count("data-row") == 0, query
    assert NUMBER not in gina.get("/tenant/activity/changes").text
    assert NUMBER in gina.get("/tenant/activity/changes?kind=apps").text


def test_changes_say_who_what_about_and_why_and_leave_routine_to_its_own_kind(desk: Desk) -> None:
    """C149: whoever signs in is the person; reading the audit and tokens flood nothing; the object is one click away."""
    root = desk.site.people["root"]
    put(
        desk, Event("policies.book.apply", facts={"version": 3, "reason": "shorter tokens", "application": 4})
    )
    approved = {"approval": "apr_1", "kind": "policy", "reason": "after the review"}
    put(desk, Event("approvals.approval.approve", facts=approved))
    put(desk, Event("signin.session.begin", person=root.id), by=ANONYMOUS)
    put(desk, Event("signin.session.begin", Outcome.REFUSED, person=root.id), by=ANONYMOUS)
    put(desk, Event("tokens.access.mint", app=desk.app.id))
    sam = desk.browser("sam")

    changes = unescape(sam.get("/operations/audit/changes").text)
    assert re.search(r'href="/operations/policy/versions/3">policy 3<', changes)
    assert re.search(r'href="/operations/staff/apr_1">request: policy<', changes)
    assert "shorter tokens" in changes
    assert "after the review" in changes
    assert "access token" not in changes
    assert "read what" not in changes
    signed_in = unescape(sam.get("/operations/audit/changes?kind=sign_in").text)
    assert "<td>Root</td><td>signed in</td>" in signed_in
    assert "somebody, for the account of Root" in signed_in
    assert "somebody who had not signed in" not in signed_in
    assert "got an access token" in sam.get("/operations/audit/changes?kind=apps").text
    assert "read what people changed" in sam.get("/operations/audit/changes?kind=reading").text


def test_a_download_has_every_field_of_the_record(desk: Desk) -> None:
    """C150: number, patient, role and reason of each row, as CSV and as JSON; what somebody chose is no formula."""
    put(desk, refused_launch(desk, role="=cmd()"))
    sam = desk.browser("sam")

    (row,) = csv.DictReader(io.StringIO(sam.get("/operations/audit?outcome=refused&format=csv").text))
    (item,) = sam.get("/operations/audit?outcome=refused&format=json").json()["items"]
    changes = sam.get("/operations/audit/changes?kind=apps&format=json").json()["items"]

    for found in (row, item):
        assert (found["request_id"], found["patient"], found["reason"]) == (NUMBER, "p1", "switch_engaged")
        assert (found["app_name"], found["person_name"], found["client"]) == (
            "Growth Watch",
            "Ann",
            "growth-web",
        )
        assert {"scope_or_rule", "path", "query", "launch", "source", "status", "latency_us"} <= found.keys()
        assert "why" not in found.values()
    assert (row["role"], item["role"]) == ("'=cmd()", "=cmd()")
    assert (changes[0]["request_id"], changes[0]["patient"]) == (NUMBER, "p1")
    assert changes[0]["facts"]["switches"] == [desk.switch]


def test_pages_of_what_apps_did_lose_and_repeat_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of one transaction have one time, so the place in the list is more than a time."""
    monkeypatch.setattr("hilum.surfaces.console.shared.activity.ROWS", 3)
    numbers = [f"req_{n:026d}" for n in range(11)]
    for n, number in enumerate(numbers):
        if n % 4 == 0:
            desk.site.clock.advance(timedelta(seconds=1))
        put(desk, refused_launch(desk), number)
    browser, where, seen = desk.browser("gina"), "/tenant/activity", list[str]()
    for _ in range(len(numbers)):
        page = unescape(browser.get(where).text)
        seen += re.findall(r"/tenant/activity/(req_\d{26})", page)
        following = re.search(r'href="(/tenant/activity\?after=[^"]*)"', page)
        if following is None:
            break
        where = following[1]

    assert sorted(seen) == numbers
    assert browser.get("/tenant/activity?after=before99999999999999999999~x").status_code == 422
