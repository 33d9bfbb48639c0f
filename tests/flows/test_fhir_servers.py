"""Hospitals' FHIR servers are checked as apps will use them: what works, what is refused, and which setting helps (C1, C77, C84)."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from hilum.foundation.infra.system import SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.checks import check
from hilum.gateway.upstream.models import CheckLine, CheckOutcome, UpstreamResponse
from hilum.gateway.upstream.verdicts import base_in, clock, pages
from hilum.identity.people import service as identity
from hilum.identity.people.models import (
    MovedReads,
    Quirks,
    TenantChange,
    TenantFacts,
    UpstreamKind,
    UpstreamRef,
)
from hilum.identity.people.policy import quirks_of
from hilum.identity.people.store import people
from hilum.operations.fhir_servers import jobs, store
from hilum.operations.fhir_servers.models import BATCH, DUE_AFTER
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices.store import notices
from tests.flows.control_site import ControlSite, build, problem
from tests.flows.use_ground import Lease
from tests.flows.vendor_ground import made
from tests.sim.backends import both_backends
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.postgres import free_port
from tests.sim.upstream_secrets import sealed_header
from tests.sim.world import START, FakeClock

GENERAL, IDS = TenantId("general"), SystemIds()
WORKS, LIMITED = CheckOutcome.WORKS, CheckOutcome.LIMITED
FAILS, UNTRIED = CheckOutcome.FAILS, CheckOutcome.UNTRIED
Lines = dict[str, CheckLine]


async def no_key(_tenant: object, _upstream: object) -> str:
    raise AssertionError("no server here wants a signed assertion")


def checked(tenants: Sequence[TenantFacts]) -> list[tuple[CheckLine, ...]]:
    return asyncio.run(check(tenants, no_key, lambda: START))


@pytest.fixture
def other() -> Iterator[OtherServer]:
    server = OtherServer(searches_tags=True, etag='W/"1"')
    with over_http(server):
        server.load(
            {"resourceType": "Patient", "id": "p1", "name": [{"family": "Doe"}]},
            {"resourceType": "Observation", "id": "o1", "subject": {"reference": "Patient/p1"}},
            *({"resourceType": "Organization", "id": f"org{n}", "name": "Ward"} for n in range(3)),
        )
        yield server


def facts(tenant: str, upstream: UpstreamRef) -> TenantFacts:
    return TenantFacts(TenantId(tenant), upstream, MovedReads.REFUSE, active=True)


def lines_of(server: OtherServer, **settings: Any) -> Lines:
    upstream = UpstreamRef(UpstreamKind.HTTP, server.base, **settings)
    (lines,) = checked([facts("lakeside", upstream)])
    return {each.name: each for each in lines}


# --- what is found -------------------------------------------------------------------------------------------------------------


def test_a_server_that_does_what_fhir_says_works_in_every_part(other: OtherServer) -> None:
    found = lines_of(other)

    limited = {name for name, line in found.items() if line.outcome is not WORKS}
    # It answers anybody, ignores what it does not know, and sends no Date.
    assert limited == {"Without credentials", "Unknown parameters", "Clock"}
    assert found["Pages"].found == "The link to the next page of Organization works."


def test_a_check_writes_nothing_and_asks_for_no_record_of_a_patient(other: OtherServer) -> None:
    lines_of(other)

    assert {method for method, _, _ in other.seen} == {"GET", "POST"}
    assert {target for method, target, _ in other.seen if method == "POST"} == {"Observation/_search"}
    for _, target, _ in other.seen:
        is_directory = target.startswith(("metadata", "Organization", "?_getpages"))
        assert (
            is_directory
            or "hilum-check" in target
            or target == "Patient?_summary=count"
            or "_search" in target
        )


@pytest.mark.parametrize(
    ("quirk", "name"),
    [
        ("page=100", "Page size"),
        ("page=50", "Page size"),
        ("no-form", "Posted search"),
        ("id-alone", "Search by id"),
        ("one-patient", "Several patients"),
        ("patient-criteria", "List of patients"),
    ],
)
def test_each_quirk_is_found_and_once_it_is_set_it_is_well(other: OtherServer, quirk: str, name: str) -> None:
    other.quirks = quirks_of((quirk,)) or Quirks()

    found = lines_of(other)
    assert (found[name].outcome, found[name].quirk) == (LIMITED, quirk)
    assert f"the quirk `{quirk}`" in found[name].advice
    assert {each.quirk for each in found.values()} == {quirk, ""}
    told = lines_of(other, quirks=(quirk,))[name]
    assert (told.outcome, told.quirk, told.advice) == (WORKS, "", "")


def test_a_server_that_ignores_the_patient_fails(other: OtherServer) -> None:
    """C76: every search would be read to its end to withhold nearly all of it."""
    other.careless = True

    assert lines_of(other)["Search by patient"].outcome is FAILS


def test_links_to_a_base_that_hilum_does_not_know_are_found_with_the_option(other: OtherServer) -> None:
    """C84: until it is set, every second page is 502."""
    other.links = "https://fhir.lakeside.example/r4"

    found = lines_of(other)["Pages"]
    assert found.outcome is FAILS
    assert "--public-url https://fhir.lakeside.example/r4" in found.advice
    assert lines_of(other, public_url=other.links)["Pages"].outcome is WORKS


@pytest.mark.parametrize(
    "link",
    [
        "https://x.example/$(rm -rf ~)?a=b",
        "https://x.example/a`id`?a=b",
        "https://x.example/\x1b[31m?a",
        "javascript:alert(1)",
        "https://u:p@x.example/fhir?a=b",
    ],
)
def test_no_link_of_a_server_becomes_part_of_a_command(link: str) -> None:
    """Security: what a page or a terminal shows may be copied into a shell."""
    assert base_in(link, "Organization") == ""
    body = b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Organization"}}],"link":[{"relation":"next","url":"%s"}]}'
    answer = UpstreamResponse(200, {}, body % link.replace("\x1b", "\\u001b").encode())
    shown = pages(answer, "Organization", None, None)
    assert link not in shown.found + shown.advice


def test_credentials_are_tried_and_so_is_coming_without_them(other: OtherServer) -> None:
    sealed = sealed_header("Bearer s3cret", url=other.base, ids=IDS)
    open_to_all = lines_of(other, credentials_sealed=sealed)["Without credentials"]
    assert open_to_all.outcome is LIMITED

    other.wants = "Bearer s3cret"
    kept = lines_of(other, credentials_sealed=sealed)
    assert kept["Without credentials"].outcome is WORKS
    assert "s3cret" not in str(kept)
    assert lines_of(other)["Credentials"].outcome is FAILS


@pytest.mark.parametrize(
    ("change", "name", "outcome"),
    [
        ({"statement": {"fhirVersion": "5.0.0"}}, "CapabilityStatement", FAILS),
        ({"status": 302}, "CapabilityStatement", FAILS),
        ({"read_status": 500}, "Credentials", FAILS),
        ({"searches_tags": False}, "Search by tag", LIMITED),
        ({"etag": ""}, "Versions", LIMITED),
        ({"ignores": frozenset({"_count"})}, "Pages", LIMITED),
        ({"refuses": (403, {"resourceType": "OperationOutcome"})}, "Search by patient", FAILS),
        ({"raw": b"<html>"}, "Credentials", FAILS),
    ],
)
def test_what_apps_would_stumble_over_is_found(
    other: OtherServer, change: dict[str, Any], name: str, outcome: CheckOutcome
) -> None:
    for field, value in change.items():
        setattr(other, field, value)

    assert lines_of(other)[name].outcome is outcome


def test_a_server_that_is_not_there_is_found_and_the_others_are_checked_nevertheless(
    other: OtherServer,
) -> None:
    dead = UpstreamRef(UpstreamKind.HTTP, f"http://127.0.0.1:{free_port()}/fhir")
    well = UpstreamRef(UpstreamKind.HTTP, other.base)
    first, second = checked([facts("a", dead), facts("b", well)])

    assert [(each.name, each.outcome) for each in first] == [("Connection", FAILS)]
    assert len(second) > 10


@pytest.mark.parametrize(
    ("date", "outcome"),
    [
        ("Mon, 01 Jun 2026 12:00:00 GMT", None),
        ("", UNTRIED),
        ("yesterday", UNTRIED),
        ("Mon, 01 Jun 2026 12:00:00", UNTRIED),
    ],
)
def test_the_clock_is_compared_only_with_a_date(date: str, outcome: CheckOutcome | None) -> None:
    line = clock(UpstreamResponse(404, {"date": date}, b""), START)
    assert line.outcome is (outcome or LIMITED)
    now = START.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert clock(UpstreamResponse(404, {"date": now}, b""), START).outcome is WORKS


# --- who asks, and what becomes of it ------------------------------------------------------------------------------------------


class Servers:
    """Two hospitals, one of them with a FHIR server over HTTP."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, base: str) -> None:
        self.site: ControlSite = build(uow, clock)
        self.uow, self.clock = uow, clock
        self.connect(base)

    def connect(self, base: str, **more: Any) -> None:
        change = TenantChange(upstream=UpstreamRef(UpstreamKind.HTTP, base, **more))
        self.site.system(lambda ctx: identity.update_tenant(ctx, GENERAL, change))

    def ask(self, by: str = "gina", tenant: str = "general") -> Any:
        return self.site.api(by).post(f"/fhir-servers/{tenant}/check")

    def show(self, by: str = "gina") -> dict[str, Any]:
        found: dict[str, Any] = made(self.site.api(by).get("/fhir-servers/general"), 200)
        return found

    def run_job(self, check: Any = checked) -> None:
        jobs.run(Lease(self.site), check, lambda: True)

    def ask_due(self) -> int:
        count: int = self.site.system(jobs.ask_due)
        return count

    def mailed(self) -> list[str]:
        rows = self.uow.db.read(lambda tx: tx.execute(select(notices)).all())
        return sorted(row.recipient for row in rows if row.kind == "fhir_server_fails")


@pytest.fixture
def servers(one_uow: UnitOfWork, clock: FakeClock, other: OtherServer) -> Servers:
    return Servers(one_uow, clock, other.base)


@both_backends
def test_an_administrator_asks_and_reads_what_was_found(servers: Servers) -> None:
    asked = made(servers.ask(), 200)
    assert (asked["state"], asked["checked_at"]) == ("waiting", None)
    servers.run_job()

    found = servers.show()
    assert found["state"] == "limited"
    assert {each["name"] for each in found["lines"]} >= {"CapabilityStatement", "Pages", "Latency"}
    assert servers.site.api("sam").get("/fhir-servers", params={"state": "limited"}).json()["items"] == [
        found
    ]
    assert servers.site.api("sam").get("/fhir-servers", params={"state": "fails"}).json()["items"] == []


@pytest.mark.parametrize(("by", "status"), [("carl", 404), ("ann", 403), ("rita", 403), ("otto", 403)])
def test_nobody_else_has_it_checked(servers: Servers, by: str, status: int) -> None:
    """C182: another hospital and clinicians learn nothing; staff who only read change nothing."""
    assert servers.ask(by).status_code == status
    assert servers.site.system(lambda ctx: store.SERVERS.count(ctx.tx)) == 0


def test_another_hospital_sees_its_own_server_only(servers: Servers) -> None:
    made(servers.ask(), 200)
    servers.run_job()

    assert servers.site.api("carl").get("/fhir-servers/general").status_code == 404
    assert servers.site.api("carl").get("/fhir-servers").json()["items"] == []
    assert servers.site.api("ann").get("/fhir-servers").status_code == 403


def test_the_embedded_server_has_nothing_to_check(servers: Servers) -> None:
    problem(servers.ask("root", "children"), 409, "fhir_server_embedded")


def test_whoever_asks_twice_has_one_check_and_whoever_asks_meanwhile_another(servers: Servers) -> None:
    """Two people, or one who is impatient; and a change of settings while a check runs."""
    checks = 0

    def slow(tenants: Sequence[TenantFacts]) -> list[tuple[CheckLine, ...]]:
        nonlocal checks
        checks += 1
        if checks == 1:
            servers.clock.advance(timedelta(seconds=3))
            # Asked for already, but begun before: the person gets one of their own.
            servers.site.system(
                lambda ctx: store.SERVERS.put(
                    ctx.tx, replace(store.SERVERS.get(ctx.tx, GENERAL), asked_at=ctx.now)
                )
            )
        return checked(tenants)

    first, second = made(servers.ask(), 200), made(servers.ask("root"), 200)
    assert first["asked_at"] == second["asked_at"]
    servers.run_job(slow)
    assert checks == 2


def test_a_check_that_dies_is_made_again(servers: Servers, other: OtherServer) -> None:
    made(servers.ask(), 200)

    def dies(_tenants: Sequence[TenantFacts]) -> list[tuple[CheckLine, ...]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        servers.run_job(dies)
    assert servers.show()["state"] == "waiting"
    servers.run_job()
    assert servers.show()["state"] == "limited"


def test_every_server_is_checked_once_a_night_and_only_where_there_is_one(servers: Servers) -> None:
    assert servers.ask_due() == 1
    assert servers.ask_due() == 0, "asked for already"
    servers.run_job()
    assert servers.ask_due() == 0, "checked"
    servers.clock.advance(DUE_AFTER + timedelta(minutes=1))
    assert servers.ask_due() == 1


def test_those_who_answer_for_it_are_told_once_that_it_fails(servers: Servers, other: OtherServer) -> None:
    addressed = update(people).values(mail=people.c.username + "@people.example")
    servers.uow.db.write(lambda tx: tx.execute(addressed))
    for status in (0, 503, 503):
        other.status = status
        servers.clock.advance(timedelta(minutes=1))
        made(servers.ask(), 200)
        servers.run_job()
    told = servers.mailed()
    assert "gina@people.example" in told
    assert "root@people.example" in told
    assert "carl@people.example" not in told
    assert len(told) == len(set(told))
    since = servers.show()["failing_since"]
    assert since is not None

    other.status = 0
    servers.clock.advance(timedelta(minutes=1))
    made(servers.ask(), 200)
    servers.run_job()
    assert servers.show()["failing_since"] is None
    assert servers.mailed() == told
    found = servers.site.system(
        lambda ctx: audit.list_events(ctx, EventQuery(action="fhir_servers.fhir_server.judge"))
    )
    assert [each.event.facts["state"] for each in found.events] == ["limited", "fails", "limited"]


def test_a_hospital_that_has_no_such_server_any_longer_is_forgotten(servers: Servers) -> None:
    made(servers.ask(), 200)
    change = TenantChange(upstream=UpstreamRef(UpstreamKind.EMBEDDED))
    servers.site.system(lambda ctx: identity.update_tenant(ctx, GENERAL, change))
    servers.run_job()

    assert servers.site.system(lambda ctx: store.SERVERS.count(ctx.tx)) == 0


def test_after_a_change_of_settings_it_is_checked_again_by_itself(
    servers: Servers, other: OtherServer
) -> None:
    made(servers.ask(), 200)
    servers.run_job()
    assert servers.ask_due() == 0
    servers.clock.advance(timedelta(minutes=1))
    servers.connect(other.base, quirks=("no-form",))

    page = (
        servers.site.signed_in("gina", "/t/general/signin").get("/tenant/settings/fhir-server/general").text
    )
    assert "Its settings changed since" in page
    assert servers.ask_due() == 1
    servers.run_job()
    assert servers.ask_due() == 0


def test_the_pages_name_the_hospital_what_was_found_and_what_to_change(
    servers: Servers, other: OtherServer
) -> None:
    staff = servers.site.signed_in("sam")
    assert "No FHIR server was checked" in staff.get("/operations/fhir-servers").text
    other.quirks = Quirks(page=50)
    made(servers.ask(), 200)
    waiting = staff.get("/operations/fhir-servers").text
    assert "Not checked yet" in waiting
    servers.run_job()

    listed = staff.get("/operations/fhir-servers").text
    assert '<a href="/operations/fhir-servers/general">General</a>' in listed
    assert "parts limited" in listed
    shown = staff.get("/operations/fhir-servers/general").text
    assert "Add the quirk <code>page=50</code> to its settings" in shown
    other.ignores = frozenset({"patient"})
    servers.clock.advance(timedelta(minutes=1))
    made(servers.ask(), 200)
    servers.run_job()
    assert "Fails: Search by patient" in staff.get("/operations/fhir-servers").text


def test_ten_thousand_hospitals_are_asked_for_in_batches(servers: Servers) -> None:
    def stand(ctx: Any) -> None:
        general = identity.get_tenant(ctx, GENERAL)
        for n in range(BATCH + 5):
            identity.add_tenant(ctx, replace(general, id=TenantId(f"h{n}"), name=f"Hospital {n}"))

    servers.site.system(stand)
    assert [servers.ask_due() for _ in range(3)] == [BATCH, 6, 0]
