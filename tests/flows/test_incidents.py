"""Incidents from the first word to what was learned: stopped, counted, told, and closed (C158 to C163)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVendor
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.people.store import people
from hilum.operations.incidents import jobs
from hilum.operations.incidents.policy import playbook, signed_bytes
from hilum.records.audit import live as journals
from hilum.records.audit import reach_store
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.records.audit.policy import found_text
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.records.notices.store import notices
from tests.flows.control_site import ControlSite, problem
from tests.flows.use_ground import MAILBOX, DeclaringApp, Lease
from tests.flows.vendor_ground import join, made
from tests.sim.backends import both_backends
from tests.sim.world import FakeClock

STATEMENT = "Its keys leaked; it is stopped. Look at nothing it wrote since Monday."
SUMMARY = "A signing key was published."


class Response:
    """An app with calls at two hospitals, and those who respond to its harm."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock) -> None:
        self.ground = DeclaringApp(uow, clock)
        self.site: ControlSite = self.ground.site
        self.app = self.ground.app
        self.id = ""
        self.records = self._records()

    def _records(self) -> jobs.Records:
        place = self.ground.folder, self.ground.place.url
        return jobs.Records(
            partial(reach_store.read, *place),
            partial(journals.read_permits, *place),
            partial(journals.is_indexed, *place),
        )

    def open(self, by: str = "sam", **more: Any) -> Any:
        order = {"kind": "compromised_app", "severity": "sev1", "summary": SUMMARY}
        about = {} if {"switch", "alert", "vendor"} & more.keys() else {"app": self.app}
        answer = self.site.api(by).post("/incidents", json=order | about | more)
        if answer.status_code == 201:
            self.id = answer.json()["id"]
        return answer

    def show(self, by: str = "sam") -> dict[str, Any]:
        found: dict[str, Any] = made(self.site.api(by).get(f"/incidents/{self.id}"), 200)
        return found

    def act(self, name: str, by: str = "sam", *, etag: str | None = "", **body: Any) -> Any:
        """Act on the incident as it is, or as it was, or with None without saying which was seen."""
        match = {} if etag is None else {"If-Match": f'"{etag or self.show()["etag"]}"'}
        return self.site.api(by).post(f"/incidents/{self.id}/{name}", json=body, headers=match)

    def settle_all(self) -> None:
        """Record of each step of the phase that the platform cannot check that it is done."""
        found = self.show()
        for step in found["steps"]:
            if step["phase"] == found["state"] and not step["checked"]:
                made(self.act("settle", step=step["id"], outcome="done", reason="Done."), 200)

    def run_job(self, lease: Any = None) -> None:
        jobs.run(lease or Lease(self.site), self.records, lambda: True)

    def count(self) -> dict[str, Any]:
        made(self.act("measure"), 200)
        self.run_job()
        report: dict[str, Any] = self.show()["reach"]["report"]
        return report

    def notices(self, by: str, **query: str) -> list[dict[str, Any]]:
        answer = self.site.api(by).get("/incident-notices", params=query)
        items: list[dict[str, Any]] = made(answer, 200)["items"]
        return items

    def mailed(self) -> list[tuple[str, str]]:
        rows = self.ground.uow.db.read(lambda tx: tx.execute(select(notices)).all())
        return sorted((row.kind, row.recipient) for row in rows if row.kind.startswith("incident"))

    def give_addresses(self) -> None:
        """Give everybody a mail address."""
        addressed = update(people).values(mail=people.c.username + "@people.example")
        self.ground.uow.db.write(lambda tx: tx.execute(addressed))

    def release_all(self) -> None:
        """Release the switches of the incident, as two people."""
        for switch in self.show()["switches"]:
            for by in ("sam", "sue"):
                made(self.site.api(by).post(f"/switches/{switch}/release"), 200)


@pytest.fixture
def response(one_uow: UnitOfWork, clock: FakeClock) -> Response:
    return Response(one_uow, clock)


@both_backends
def test_an_incident_is_worked_through_from_its_first_word_to_what_was_learned(response: Response) -> None:
    """C158, C159."""
    response.ground.use("general", "general", "children", days_ago=0)
    response.ground.clock.advance(timedelta(minutes=5))

    opened = made(response.open())
    assert (opened["state"], opened["owner"], opened["vendor"]) == (
        "detected",
        response.site.people["sam"].id,
        response.site.system(registry.get_app, app_id=response.app).vendor,
    )
    contained = made(response.act("contain", where="everywhere", reason="Its key was published."), 200)
    assert (contained["state"], len(contained["switches"])) == ("contained", 1)
    (switch,) = contained["switches"]
    stopped = made(response.site.api("sam").get(f"/switches/{switch}"), 200)
    assert [stopped[each] for each in ("kind", "key", "mode")] == ["app", response.app, "full_stop"]

    report = response.count()
    assert {each: found["calls"] for each, found in report["hospitals"].items()} == {
        "children": 1,
        "general": 2,
    }
    made(response.act("hold"), 200)
    made(response.act("notify", statement=STATEMENT), 200)
    response.run_job()
    response.settle_all()
    assert made(response.act("advance"), 200)["state"] == "eradicated"

    response.release_all()
    assert made(response.act("advance"), 200)["state"] == "recovered"
    response.settle_all()
    end = {
        "cause": "A key in a public place.",
        "corrective": "Keys come from a vault.",
        "certificate": "kept",
    }
    closed = made(response.act("close", **end, no_scenario="The sandbox has no such key."), 200)
    assert (closed["state"], closed["cause"]) == ("closed", end["cause"])

    found = response.site.system(audit.list_events, query=EventQuery(action="incidents.")).events
    done = [each.event.action.removeprefix("incidents.") for each in found]
    assert set(done) == {
        *("incident.open", "incident.contain", "incident.measure", "incident.count", "incident.hold"),
        *("incident.notify", "notice.send", "incident.settle", "incident.advance", "incident.close"),
    }
    problem(response.act("note", text="One more thing."), 409, "incident_closed")


def test_a_phase_is_not_left_before_its_steps_are_done_or_left_out_with_a_reason(response: Response) -> None:
    """C159: what the platform can check is not a matter of saying so."""
    made(response.open())
    refused = problem(response.act("advance"), 409, "steps_open")
    assert "Stop what does harm." in refused["detail"]

    for step in ("stop", "unheard-of"):
        assert response.act("settle", step=step, outcome="done").status_code == 422
    assert response.act("settle", step="stop", outcome="skipped").status_code == 422
    assert response.show()["state"] == "detected"

    made(response.act("settle", step="stop", outcome="skipped", reason="The vendor stopped it."), 200)
    assert made(response.act("advance"), 200)["state"] == "contained"
    end = {"cause": "a", "corrective": "b", "certificate": "kept", "no_scenario": "c"}
    problem(response.act("close", **end), 409, "incident_not_recovered")


def test_each_kind_of_incident_has_a_playbook_of_its_own(response: Response) -> None:
    """C159."""
    for kind in ("compromised_app", "scope_escalation", "unauthorized_access", "leaking_vendor", "outage"):
        opened = made(response.open(kind=kind))
        assert [each["id"] for each in opened["steps"]] == [each.id for each in playbook(opened["kind"])]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"severity": "sev9"}, "severity"),
        ({"kind": "bad_luck"}, "kind"),
        ({"summary": ""}, "summary"),
        ({"summary": "x" * 300}, "summary"),
        ({"began_at": "2031-01-01T00:00:00Z"}, "began_at"),
        ({"tenants": ["general"] * 51}, "tenants"),
        ({"app": None}, "app"),
    ],
)
def test_an_order_that_makes_no_sense_opens_nothing(
    response: Response, change: dict[str, Any], field: str
) -> None:
    """C158."""
    refused = response.open(**change)
    assert (refused.status_code, field in refused.text) == (422, True)
    assert made(response.site.api("sam").get("/incidents"), 200)["items"] == []


@pytest.mark.parametrize("named", [{"app": "app_none"}, {"vendor": "ven_none"}, {"tenants": ["nowhere"]}])
def test_what_does_not_exist_is_not_found(response: Response, named: dict[str, Any]) -> None:
    assert response.open(**named).status_code == 404


@pytest.mark.parametrize("by", ["rita", "otto", "gina", "ann"])
def test_only_those_who_may_stop_apps_open_and_work_on_incidents(response: Response, by: str) -> None:
    """C158: nobody else opens one, or stops, counts, notifies and closes."""
    assert response.open(by).status_code == 403
    made(response.open())
    acts: dict[str, dict[str, Any]] = {
        "contain": {"where": "everywhere", "reason": "no"},
        "measure": {},
        "hold": {},
        "notify": {"statement": "no"},
        "settle": {"step": "stop", "outcome": "skipped", "reason": "no"},
        "advance": {},
        "note": {"text": "no"},
        "rate": {"severity": "sev4", "reason": "no"},
        "assign": {"owner": "root"},
        "close": {"cause": "a", "corrective": "b", "certificate": "kept", "no_scenario": "c"},
    }
    before = response.show()
    answers = {name: response.act(name, by, **body).status_code for name, body in acts.items()}
    assert answers == dict.fromkeys(acts, 403)
    assert response.show() == before


def test_hospitals_and_vendors_do_not_see_incidents_only_what_they_are_told(response: Response) -> None:
    """C163: not the incident, nor that there is one."""
    made(response.open())
    owner = join(response.site, response.show()["vendor"], "lou", "owner")
    assert owner
    for by in ("gina", "lou"):
        for incident in (response.id, "inc_none"):
            assert response.site.api(by).get(f"/incidents/{incident}").status_code == 403
        assert response.site.api(by).get("/incidents").status_code == 403
        assert response.notices(by) == []


@both_backends
def test_each_hospital_is_told_its_own_counts_and_the_vendor_those_of_all(response: Response) -> None:
    """C163: who was not reached gets nothing, and nobody sees another's."""
    response.ground.use("general", "general", "general", "children", days_ago=0)
    response.ground.clock.advance(timedelta(minutes=5))
    made(response.open())
    vendor = response.show()["vendor"]
    other = response.site.system(registry.add_vendor, order=NewVendor("Other", "h@o.example", "s@o.example"))
    join(response.site, vendor, "lou", "owner")
    join(response.site, other.id, "olga", "owner")
    response.count()
    made(response.act("notify", statement=STATEMENT), 200)
    response.run_job()

    told = {by: response.notices(by) for by in ("gina", "carl", "mary", "lou", "olga")}
    assert {by: [(each["tenant"], each["calls"]) for each in found] for by, found in told.items()} == {
        "gina": [("general", 3)],
        "carl": [("children", 1)],
        "mary": [],
        "lou": [("", 4)],
        "olga": [],
    }
    notice = told["gina"][0]["id"]
    answers = {
        by: response.site.api(by).get(f"/incident-notices/{notice}").status_code
        for by in ("carl", "mary", "lou", "olga", "ann")
    }
    assert answers == {"carl": 404, "mary": 404, "lou": 404, "olga": 404, "ann": 403}
    assert [kind for kind, _ in response.mailed()].count("incident_vendor") == 1
    assert ("incident_vendor", MAILBOX) in response.mailed()

    match = {"If-Match": f'"{told["gina"][0]["etag"]}"'}
    path = f"/incident-notices/{notice}/acknowledge"
    assert response.site.api("sam").post(path, headers=match).status_code == 403
    assert response.site.api("carl").post(path, headers=match).status_code == 404
    read = made(response.site.api("gina").post(path, headers=match), 200)
    assert read["acknowledged_by"] == f"person:{response.site.people['gina'].id}"
    again = {"If-Match": f'"{read["etag"]}"'}
    problem(response.site.api("gina").post(path, headers=again), 409, "notice_acknowledged")


def test_nobody_is_notified_before_it_is_counted_whom_it_reached(response: Response) -> None:
    """C163: also not with the figures of an earlier count."""
    response.ground.use("general", days_ago=0)
    response.ground.clock.advance(timedelta(minutes=5))
    made(response.open())
    problem(response.act("notify", statement=STATEMENT), 409, "reach_unknown")
    response.count()
    response.ground.clock.advance(timedelta(minutes=1))
    made(response.act("measure"), 200)
    problem(response.act("notify", statement=STATEMENT), 409, "reach_unknown")
    assert response.notices("gina") == []


def test_the_count_is_signed_and_of_what_was_permitted_since_it_began(response: Response) -> None:
    """C160: refusals are counted apart, calls before it began not at all."""
    ground = response.ground
    ground.use("general", days_ago=3)
    ground.use("general", "general", days_ago=0)
    ground.use("general", days_ago=0, outcome=Outcome.REFUSED, reason="scope_insufficient", status=403)
    ground.clock.advance(timedelta(minutes=5))
    made(response.open())
    report = response.count()
    signed = response.show()["reach"]
    assert (report["calls"], report["refused"]) == (2, 1)
    assert (report["resource_types"], report["scopes"]) == ({"Observation": 2}, ["patient/*.rs"])
    check = partial(
        response.site.system,
        keys.verify_bytes,
        purpose=Purpose.CHECKPOINT,
        kid=signed["kid"],
        signature=signed["signature"],
    )
    assert check(data=signed_bytes("reach", report))
    assert not check(data=signed_bytes("reach", report | {"patients": 0}))
    # Nor is it a document of another kind that the same key signs.
    assert not check(data=signed_bytes("evidence", report))


@both_backends
def test_the_evidence_stays_as_it_was_whatever_the_vendor_changes_later(response: Response) -> None:
    """C162: apps, versions, certifications and clients, signed, with a hold on the audit since it began."""
    made(response.open())
    held = made(response.act("hold"), 200)
    made(response.site.api("root").post(f"/apps/{response.app}/versions", json={"label": "after"}))

    evidence = response.show()["evidence"]
    document = evidence["document"]
    assert [each["id"] for each in document["apps"]] == [response.app]
    assert [each["label"] for each in document["versions"]] == ["2"]
    assert [each["environment"] for each in document["certifications"]] == ["sandbox"]
    assert [each["id"] for each in document["clients"]] == [response.ground.client.id]
    signed = response.site.system(
        keys.verify_bytes,
        purpose=Purpose.CHECKPOINT,
        kid=evidence["kid"],
        signature=evidence["signature"],
        data=signed_bytes("evidence", document),
    )
    (hold,) = made(response.site.api("otto").get("/holds"), 200)["items"]
    assert (signed, hold["id"]) == (True, held["hold"])
    problem(response.act("hold"), 409, "incident_on_hold")
    listed = made(response.site.api("otto").get("/incidents"), 200)["items"]
    assert (listed[0]["evidence"], listed[0]["reach"]) == ({}, {})


@both_backends
def test_a_patient_or_a_person_who_was_reached_twice_counts_once(response: Response) -> None:
    """C160: patients of one answer and of several, also at two hospitals; other apps and hospitals that it is not about do not count."""
    ground = response.ground
    ground.use("general", "general", "general", "general", "children", days_ago=0)
    ground.use(
        "general",
        days_ago=0,
        person="per_2",
        patient="",
        returned=3,
        found=found_text({"pat-9": 1, "pat-1": 2}),
    )
    ground.use("general", days_ago=0, app="app_other", person="per_3", patient="pat-7")
    ground.clock.advance(timedelta(minutes=5))

    made(response.open())
    report = response.count()
    assert [report[each] for each in ("calls", "patients", "people")] == [6, 4, 2]
    assert {each: found["patients"] for each, found in report["hospitals"].items()} == {
        "children": 1,
        "general": 4,
    }

    made(response.open(tenants=["children"]))
    report = response.count()
    assert ([report[each] for each in ("calls", "patients", "people")], set(report["hospitals"])) == (
        [1, 1, 1],
        {"children"},
    )


def test_a_count_waits_until_the_newest_records_are_indexed(response: Response) -> None:
    """C160: a count that is too small would be signed."""
    response.ground.use("general", days_ago=0, indexed=False)
    made(response.open())
    made(response.act("measure"), 200)
    found = response.records
    response.records = jobs.Records(found.reach, found.permits, lambda: False)
    response.run_job()
    assert response.show()["reach"] == {}


class Dying(Lease):
    """The lease of a job that dies after some writes."""

    def __init__(self, site: ControlSite, writes: int) -> None:
        super().__init__(site)
        self.left = writes

    def write(self, verb: Any) -> Any:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return self.read(verb)


def test_a_job_that_dies_between_two_batches_notifies_everybody_once(
    response: Response, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C163."""
    monkeypatch.setattr(jobs, "BATCH", 1)
    response.give_addresses()
    response.ground.use("general", "children", days_ago=0)
    response.ground.clock.advance(timedelta(minutes=5))
    made(response.open(tenants=["general", "children", "mercy"]))
    response.count()
    made(response.act("notify", statement=STATEMENT), 200)
    for writes in (1, 1, 0):
        with pytest.raises(KeyboardInterrupt):
            response.run_job(Dying(response.site, writes))
    response.run_job()
    response.run_job()

    told = made(response.site.api("sam").get("/incident-notices", params={"limit": 50}), 200)["items"]
    assert sorted(each["tenant"] for each in told) == ["", "children", "general", "mercy"]
    assert [each["calls"] for each in told if each["tenant"] == "mercy"] == [0]
    told_by_mail = [to.partition("@")[0] for kind, to in response.mailed() if kind == "incident"]
    assert told_by_mail == ["carl", "gina", "mary"]


def test_of_two_who_change_an_incident_the_second_is_told(response: Response) -> None:
    """C158: on what they did not see, nobody acts."""
    made(response.open())
    before = response.show()["etag"]
    made(response.act("contain", "sam", etag=before, where="everywhere", reason="Now."), 200)
    problem(response.act("advance", "sue", etag=before), 409, "changed_meanwhile")
    # To stop takes no look at the newest state, and what is stopped is not stopped twice.
    again = made(response.act("contain", "sue", etag=None, where="everywhere", reason="Now."), 200)
    assert len(again["switches"]) == 1


def test_a_switch_or_an_alert_says_what_an_incident_is_about(response: Response) -> None:
    """C158: the app and the hospital follow from it, and what is stopped is contained."""
    order = {"kind": "app_tenant", "key": f"{response.app}/general", "mode": "full_stop", "reason": "odd"}
    switch = made(response.site.api("sam").post("/switches", json=order))
    opened = made(response.open(switch=switch["id"]))
    assert (opened["apps"], opened["tenants"], opened["state"], opened["switches"]) == (
        [response.app],
        ["general"],
        "contained",
        [switch["id"]],
    )
    watching = made(response.site.api("sam").post("/switches", json=order | {"mode": "observe"}))
    refused = problem(response.open(switch=watching["id"]), 422, "incident_invalid")
    assert refused["fields"]["switch"]["code"] == "switch_not_in_force"
    assert response.open(alert="alt_none").status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"where": "everywhere", "mode": "observe"}, "mode"),
        ({"where": "hospitals"}, "where"),
        ({"where": "the_moon"}, "where"),
    ],
)
def test_a_containment_that_stops_nothing_is_refused(
    response: Response, body: dict[str, Any], field: str
) -> None:
    made(response.open())
    refused = response.act("contain", reason="Now.", **body)
    assert (refused.status_code, field in refused.text) == (422, True)
    assert made(response.site.api("sam").get("/switches"), 200)["items"] == []


def test_one_that_is_contained_again_begins_again(response: Response) -> None:
    """C159: what was thought removed is stopped again, and its steps are asked for."""
    made(response.open())
    for _ in range(2):
        for step in response.show()["steps"]:
            made(response.act("settle", step=step["id"], outcome="skipped", reason="No need."), 200)
        made(response.act("advance"), 200)
    assert response.show()["state"] == "eradicated"
    again = made(response.act("contain", where="vendor", reason="It is back."), 200)
    assert (again["state"], len(again["switches"])) == ("contained", 1)


@pytest.mark.parametrize(
    ("change", "status", "word"),
    [
        ({"certificate": "withdrawn"}, 409, "certification_differs"),
        ({"no_scenario": ""}, 422, "no_scenario"),
        ({"scenario": "unheard.of"}, 422, "scenario"),
        ({"cause": ""}, 422, "cause"),
        ({"corrective": "  "}, 422, "corrective"),
    ],
)
def test_the_end_says_what_is_true(
    response: Response, change: dict[str, Any], status: int, word: str
) -> None:
    """C159: a cause, what was changed, a scenario or why not, and a certification as it is."""
    made(response.open())
    for step in response.show()["steps"]:
        made(response.act("settle", step=step["id"], outcome="skipped", reason="No need."), 200)
    for _ in range(3):
        made(response.act("advance"), 200)
    problem(response.act("advance"), 409, "incident_recovered")
    end = {"cause": "a", "corrective": "b", "certificate": "kept", "no_scenario": "c"}
    refused = response.act("close", **end | change)
    assert (refused.status_code, word in refused.text) == (status, True)
    assert response.show()["state"] == "recovered"


def test_its_clocks_follow_from_its_severity(response: Response, clock: FakeClock) -> None:
    """C158: from when it was opened, also if it is rated anew."""
    made(response.open(severity="sev3"))
    clock.advance(timedelta(minutes=20))
    assert response.show()["late_for"] == []
    rated = made(response.act("rate", severity="sev1", reason="Records were reached."), 200)
    assert rated["late_for"] == ["containment"]
    clock.advance(timedelta(hours=4))
    assert response.show()["late_for"] == ["containment", "notice"]


def test_the_staff_gets_mail_once_and_who_opened_it_none(response: Response) -> None:
    """C163."""
    response.give_addresses()
    made(response.open())
    assert response.mailed() == [
        ("incident_opened", "root@people.example"),
        ("incident_opened", "sue@people.example"),
    ]
    made(response.open(severity="sev4"))
    assert len(response.mailed()) == 2


def test_it_is_handed_over_to_one_of_the_staff_only(response: Response) -> None:
    made(response.open())
    known = response.site.people
    assert made(response.act("assign", owner=known["sue"].id), 200)["owner"] == known["sue"].id
    assert response.act("assign", owner=known["gina"].id).status_code == 422
    assert response.act("assign", owner="per_none").status_code == 404


def test_related_apps_are_those_of_the_vendor_and_at_the_same_host(response: Response) -> None:
    """C161: an app at another host, and the app itself, are none."""
    made(response.open())
    vendor = response.show()["vendor"]
    body = {"vendor": vendor, "name": "Second", "description": "Shows", "purpose": "Care"}
    second = made(
        response.site.api("root").post("/apps", json=body | {"category": "documentation_assistance"})
    )
    found = made(response.site.api("otto").get(f"/incidents/{response.id}/related"), 200)
    items = found["items"] if isinstance(found, dict) else found
    assert [(each["app"], each["why"]) for each in items] == [(second["id"], ["same vendor"])]
