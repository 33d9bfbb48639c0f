"""A patient, and who acts for them, sees what every app did with their record (C94)."""

import csv
import io
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.hospitals.disclosures.models import EXPORT_BOUND
from hilum.identity.people import service as identity
from hilum.identity.people.models import Chart, NewPerson
from hilum.records.audit import access_index
from hilum.records.audit.access_index import _search, _search_found, open_index
from hilum.records.audit.models import AccessQuery, Outcome
from tests.flows.authorize_flow import Front, answer, front
from tests.flows.connected_ground import connect
from tests.flows.control_site import build, problem
from tests.flows.journal_ground import AT, JournalGround, access, index_now
from tests.flows.token_flow import MERCY
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

__all__ = ["front"]

HISTORY = f"/t/{MERCY}/oauth/manage/history"
SCOPE = "launch/patient patient/Patient.rs patient/Encounter.rs"


def seen(front: Front, person: str = "pat", query: str = "") -> Any:
    browser = front.browser(person)
    return browser.follow(browser.http.get(f"{HISTORY}{query}"))


def cards(page: Any) -> list[str]:
    """Return each access of a page as one line of text."""
    assert page.status_code == 200, page.text
    found = re.findall(
        r'<section class="card">(?:(?!</section>).)*<dt>When</dt>.*?</section>', page.text, re.DOTALL
    )
    return [" ".join(re.sub(r"<[^>]+>", " ", each).split()) for each in found]


def test_a_patient_sees_which_app_did_what_and_why_it_was_permitted(front: Front) -> None:
    """C94: reads, searches and refusals, by page, linked from the connected apps."""
    token = connect(front, scope=SCOPE)["access_token"]
    for target in ("Patient/p1", "Encounter?date=ge2026-01-01", "Goal?_count=1", "Patient/p2"):
        front.clock.advance(timedelta(seconds=1))
        front.read(target, token)

    found = cards(seen(front))

    assert len(found) == 3, found
    refused, search, read = found
    assert "web by Acme Health" in read
    assert "Read Personal details" in read
    assert "You agreed to it on 2 March 2026." in read
    assert "Used by you" in read
    assert "Search Visits" in search
    assert "Refused Goals" in refused
    assert "nobody agreed to this" in refused
    browser = front.browser("pat")
    assert HISTORY in browser.follow(browser.http.get(f"/t/{MERCY}/oauth/manage")).text


def test_a_try_on_anothers_record_is_in_the_history_of_that_record(front: Front) -> None:
    """C94: whoever it was tried on learns of it, and not of what the app was given elsewhere."""
    token = connect(front, scope=SCOPE)["access_token"]
    front.read("Encounter?patient=p2", token)
    front.read("Patient/p2", token)

    assert [each.partition(" ")[0] for each in cards(seen(front))] == []
    found = cards(seen(front, "gus", "?patient=p2"))
    assert len(found) == 2
    assert all("Refused" in each for each in found)


def test_what_the_hospitals_staff_did_with_an_app_names_a_role_and_nobody(front: Front) -> None:
    launch = front.open_launch("dora")
    browser = front.browser("dora")
    browser.authorize(launch=launch.handle, scope="launch patient/*.rs")
    told = answer(browser.press(browser.form("decision"), ("decision", "allow")))
    front.read("Patient/p1", front.redeem(told["code"], "web").json()["access_token"])

    page = seen(front)

    (only,) = cards(page)
    assert "a physician of the hospital" in only
    assert "The hospital approved the app for its staff." in only
    assert "Dora" not in page.text


def test_a_search_over_many_patients_is_in_the_history_of_each_whom_it_showed(front: Front) -> None:
    """C94: with how many of their own entries it showed, and nothing of the others; also in the hospital's audit."""
    launch = front.open_launch("dora")
    browser = front.browser("dora")
    browser.authorize(launch=launch.handle, scope="launch user/Encounter.rs")
    told = answer(browser.press(browser.form("decision"), ("decision", "allow")))
    token = front.redeem(told["code"], "web").json()["access_token"]
    front.read("Encounter?date=ge2026-01-01", token)

    page = seen(front, "pat")
    (own,) = cards(page)
    rows = list(csv.DictReader(io.StringIO(seen(front, "pat", "?format=csv").text)))

    assert "Search Visits" in own
    assert "2 entries of this record, beside those of other patients" in own
    assert "p2" not in page.text
    assert [(row["records"], row["among_others"]) for row in rows] == [("2", "True")]
    (other,) = cards(seen(front, "gus", "?patient=p2"))
    assert "1 entry of this record" in other
    (recorded,) = front.accesses(patient="p2", app=front.clients["web"].app)
    assert (recorded.patient, recorded.returned, recorded.found) == ("", 3, "p1:2 p2:1")
    assert front.accesses(patient="p3") == []


def test_a_search_in_one_record_says_how_much_it_found(front: Front) -> None:
    """C94."""
    front.read("Encounter", connect(front, scope=SCOPE)["access_token"])

    (only,) = cards(seen(front))

    assert "Found 2 entries" in only
    assert "beside" not in only


def test_a_proxy_sees_the_history_while_the_access_is_in_force_and_not_after(front: Front) -> None:
    """C94: on the day that the child comes of age the page shows nothing any more."""
    connect(front, scope=SCOPE)
    ends = front.clock.now() + timedelta(hours=1)
    charts = (Chart("p1", ends), Chart("p2"))
    front.run(lambda ctx: identity.set_charts(ctx, front.people["gus"].id, charts))

    assert seen(front, "gus", "?patient=p1").status_code == 200
    front.clock.advance(timedelta(hours=1))
    refused = seen(front, "gus", "?patient=p1")

    assert refused.status_code == 403
    (recorded,) = [
        each for each in front.events("disclosures.access.list") if each.outcome is Outcome.REFUSED
    ]
    assert recorded.reason == "record_not_yours"


@in_one_world("person", ["pat", "dora", "adam", "nora"])
def test_nobody_else_reads_a_history(front: Front, person: str) -> None:
    """C94: not the physician who may open the chart, and not the administrator, who has the audit."""
    connect(front, scope=SCOPE)

    assert seen(front, person, "?patient=p2").status_code == 403


def test_whoever_is_not_signed_in_signs_in_first(front: Front) -> None:
    page = front.browser().http.get(HISTORY)

    assert page.status_code == 303
    assert "/signin" in page.headers["location"]


@in_one_world(
    ("query", "status"),
    [
        ("?since=yesterday", 422),
        ("?since=2026-02-30", 422),
        ("?until=9999-12-31", 422),
        ("?format=pdf", 422),
        ("?after=x", 422),
        ("?after=1.2", 422),
        ("?app=%00", 422),
        ("?patient=%3Cscript%3E", 422),
        ("?since=2026-01-01&since=2026-01-02", 422),
        ("?patient=p9", 403),
    ],
)
def test_a_malformed_address_shows_nothing(front: Front, query: str, status: int) -> None:
    refused = seen(front, query=query)

    assert refused.status_code in {status, 400}, refused.text
    assert "<script>" not in refused.text


def test_the_history_is_filtered_by_app_and_day(front: Front) -> None:
    for client in ("web", "second"):
        front.read("Patient/p1", connect(front, scope=SCOPE, client=client)["access_token"])
        front.clock.advance(timedelta(days=1))
    app = front.clients["second"].app

    assert [each.split()[0] for each in cards(seen(front))] == ["second", "web"]
    assert [each.split()[0] for each in cards(seen(front, query=f"?app={app}"))] == ["second"]
    assert [each.split()[0] for each in cards(seen(front, query="?since=2026-03-03"))] == ["second"]
    assert [each.split()[0] for each in cards(seen(front, query="?until=2026-03-02"))] == ["web"]


def test_a_download_holds_the_same_and_runs_nothing_in_a_spreadsheet(front: Front) -> None:
    token = connect(front, scope=SCOPE)["access_token"]
    front.read("Patient/p1", token)
    front.read("Goal", token)

    as_csv, as_json = seen(front, query="?format=csv"), seen(front, query="?format=json")

    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["kind"] for row in rows] == ["search", "read"]
    assert rows[1]["scope"].startswith("patient/Patient.rs")
    assert as_json.json() == {"items": rows, "complete": True}
    assert "attachment" in as_csv.headers["content-disposition"]


def test_what_is_read_is_itself_recorded_with_whose_record_and_how_many(front: Front) -> None:
    front.read("Patient/p1", connect(front, scope=SCOPE)["access_token"])
    seen(front)

    (recorded,) = front.events("disclosures.access.list")

    assert recorded.person == front.people["pat"].id
    assert recorded.patient == "p1"
    assert recorded.facts["given"] == 1
    assert "p1" not in recorded.reason


def filled(uow: UnitOfWork, place: JournalGround, count: int) -> None:
    place.write(
        *(
            access(n, patient=f"pat-{n % 3}", app="" if n % 5 == 0 else "app_1", authorization="")
            for n in range(count)
        ),
        *(replace(access(n + count), tenant="children", patient="pat-1") for n in range(30)),
    )
    index_now(place)


def test_the_api_pages_through_all_of_one_record_and_nothing_of_others(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C94, on both databases: the same by API, whole, in order, and without what the platform read for its own pages."""
    site = build(uow, clock)
    folder = journal_of(uow)
    filled(uow, JournalGround(uow, uow.db.url, folder), 300)
    order = NewPerson(TenantId("general"), "pia", "Pia", "patient", "Patient/pat-1", ("pat-1",))
    site.people["pia"] = site.system(identity.add_person, order=order)
    api = site.api("pia")

    found, after = [], ""
    while True:
        page = api.get("/history", params={"patient": "pat-1", "limit": 7, "after": after}).json()
        found += page["items"]
        after = page["next"]
        if not after:
            break

    expected = [n for n in reversed(range(300)) if n % 3 == 1 and n % 5]
    assert [each["request_id"] for each in found] == [f"req_{n:026d}" for n in expected]
    problem(api.get("/history", params={"patient": "pat-2"}), 403, "record_not_yours")
    problem(api.get("/history", params={"patient": "pat-1", "limit": 0}), 422, "fields_invalid")
    problem(site.api("gina").get("/history", params={"patient": "pat-1"}), 403, "not_permitted")
    problem(site.api().get("/history", params={"patient": "pat-1"}), 401, "token_invalid")


def test_a_history_is_found_by_the_index_however_many_accesses_there_are(
    uow: UnitOfWork, tmp_path: Any
) -> None:
    """C94, P15: neither the filters nor the order read more than the patient's own records."""
    place = JournalGround(uow, uow.db.url, tmp_path / "journal")
    filled(uow, place, 3_000)
    place.write(*(access(n, patient=f"other-{n}") for n in range(5_000, 8_000)))
    place.write(
        *(access(n, patient="", returned=2, found=f"other-{n}:1 all:1") for n in range(8_000, 10_000))
    )
    index_now(place)
    opened = open_index(place.url, place.directory)
    assert opened is not None
    database = opened._database
    dialect: Any = sqlite if database.is_sqlite else postgresql
    query = AccessQuery(tenant="general", patient="other-5003", app="app_1", since=AT, limit=50)
    asked = str(_search(query, 50).compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True}))
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    if not database.is_sqlite:
        database.write(lambda tx: tx.exec_driver_sql(f"ANALYZE {access_index.access_index.name}"))

    plan = " ".join(str(row) for row in database.read(lambda tx: tx.exec_driver_sql(explain + asked).all()))

    assert "ix_access_index_patient" in plan, plan
    among = str(
        _search_found(query, 50).compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})
    )
    if not database.is_sqlite:
        database.write(lambda tx: tx.exec_driver_sql(f"ANALYZE {access_index.access_found.name}"))
    plan = " ".join(str(row) for row in database.read(lambda tx: tx.exec_driver_sql(explain + among).all()))
    assert "pk_access_found" in plan or "access_found USING" in plan, plan
    assert "SCAN access" not in plan
    assert "Seq Scan on access_index" not in plan
    assert EXPORT_BOUND <= 10_000
