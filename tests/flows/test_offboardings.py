"""A hospital leaves: two people, everything ends at once, an export, and an erasure (C148)."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, NewSystemClient
from hilum.apps.deletion_requests.models import DeletionRequestQuery
from hilum.apps.deletion_requests.service import list_requests
from hilum.apps.service_owners import store as service_owners
from hilum.apps.service_owners.models import ServiceOwner
from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import metadata
from hilum.foundation.infra.facts import EVERYTHING
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId
from hilum.hospitals.offboarding import jobs, service, store
from hilum.hospitals.offboarding.models import ErasureAction
from hilum.hospitals.offboarding.retentions import RETENTIONS
from hilum.identity.people import service as identity
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.server import offboarding_exports
from tests.flows.control_site import ControlSite, problem, site_on
from tests.flows.drill_ground import canary
from tests.sim.backends import both_backends
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

GENERAL = TenantId("general")
HOST = Actor(ActorKind.HOST, "operator", roles=frozenset({"platform_admin"}))
MONTH = timedelta(days=30)
T = TypeVar("T")
WANTED = {"reason": "moves to another platform"}


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return site_on(sqlite_uow, clock)


@dataclass
class Running:
    """The job's transactions, as the node that holds its lease has them."""

    site: ControlSite

    def read(self, verb: Callable[[Context], T]) -> T:
        found: T = self.site.system(verb)
        return found

    write = read


def asked(site: ControlSite, by: str = "gina", tenant: str = "general", **change: Any) -> str:
    answer = site.api(by).post(f"/tenants/{tenant}/offboarding", json=WANTED | change)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["approval"]["id"])


def left(site: ControlSite, tenant: str = "general", by: str = "gina") -> str:

    def build() -> str:
        answer = site.api("root").post(f"/approvals/{asked(site, by, tenant)}/approve")
        assert answer.status_code == 200, answer.text
        return str(site.api("otto").get("/offboardings").json()["items"][0]["id"])

    return site.furnished(f"{tenant} leaves by {by}", build)


def steps(site: ControlSite, most: int = 10_000) -> int:
    done = 0
    while done < most and any(
        site.system(service.next_step, offboarding_id=each) for each in site.system(service.due)
    ):
        done += 1
    return done


def shown(site: ControlSite, offboarding: str) -> dict[str, Any]:
    found: dict[str, Any] = site.api("otto").get(f"/offboardings/{offboarding}").json()
    return found


def exported(site: ControlSite, offboarding: str, folder: Path) -> offboarding_exports.Exported:
    journal = journal_of(site.uow)
    reader = journals.open_reader(journal, site.uow.db.url)
    return offboarding_exports.export(site.uow, HOST, reader, offboarding, folder)


def rows(site: ControlSite, offboarding_of: TenantId = GENERAL) -> dict[str, int]:
    def count(ctx: Context) -> dict[str, int]:
        return {
            each.table: store.count(ctx.tx, each, offboarding_of)
            for each in RETENTIONS
            if each.table != "access_index"
        }

    found: dict[str, int] = site.system(count)
    return found


def erased_rows(site: ControlSite) -> dict[str, int]:
    """Return how many rows of each table were erased, from the one event that says so."""
    (event,) = site.system(
        audit.list_events, query=EventQuery(action="offboardings.offboarding.finish")
    ).events
    return dict(event.event.facts["rows"])


def texts(site: ControlSite) -> str:
    """Return every row of every table outside the audit, as one text."""
    kept = [each for name, each in metadata.tables.items() if not name.startswith(("audit_", "access_"))]
    read = lambda ctx: [str(row) for table in kept for row in ctx.tx.execute(table.select())]
    return "\n".join(site.system(read))


@contextmanager
def unchanged(site: ControlSite) -> Iterator[None]:
    before = site.api("root").get("/tenants").json()
    yield
    assert site.api("root").get("/tenants").json() == before
    assert site.api("otto").get("/offboardings").json()["items"] == []


def test_one_person_alone_ends_no_hospital(site: ControlSite) -> None:
    with unchanged(site):
        approval = asked(site)

        problem(site.api("gina").post(f"/approvals/{approval}/approve"), 403, "asked_by_you")
        problem(site.api("carl").post(f"/approvals/{approval}/approve"), 404, "approval_not_found")
        problem(site.api("rita").post(f"/approvals/{approval}/approve"), 403, "not_permitted")
        site.api("root").post(f"/approvals/{approval}/refuse")
        problem(site.api("root").post(f"/approvals/{approval}/approve"), 409, "approval_over")


@in_one_world("by", ["ann", "carl", "rita", "otto"])
def test_who_does_not_administer_a_hospital_neither_asks_nor_sees_what_it_has(
    site: ControlSite, by: str
) -> None:
    with unchanged(site):
        assert site.api(by).post("/tenants/general/offboarding", json=WANTED).status_code == 403
        assert site.api(by).get("/tenants/general/offboarding").status_code == 403


def test_what_is_wrong_is_named_and_nothing_waits(site: ControlSite) -> None:
    def ask(body: dict[str, Any]) -> Any:
        return site.api("root").post("/tenants/general/offboarding", json=body)

    with unchanged(site):
        found = problem(ask({"reason": " ", "erase_after_days": 3}), 422, "offboarding_invalid")
        assert set(found["fields"]) == {"reason", "erase_after_days"}
        problem(ask({}), 422, "fields_invalid")
        problem(site.api("root").post("/tenants/nowhere/offboarding", json=WANTED), 404, "tenant_not_found")
        assert site.api("root").get("/approvals").json()["items"] == []


def test_the_second_person_sees_what_would_end(site: ControlSite) -> None:
    canary(site)
    found = site.api("gina").get("/tenants/general/offboarding").json()

    approval = asked(site)

    assert (found["has"]["people"], found["has"]["apps"]) == (2, 1)
    shown = site.api("root").get(f"/approvals/{approval}").json()
    assert shown["order"]["has"] == found["has"]
    assert shown["order"]["reason"] == WANTED["reason"]


def test_once_two_agreed_no_door_knows_the_hospital_for_good(site: ControlSite) -> None:
    canary(site)
    gina, carl = site.api("gina"), site.api("carl")

    offboarding = left(site)

    problem(gina.get("/installations"), 401, "token_invalid")
    assert carl.get("/installations").status_code == 200
    root = site.api("root")
    for path, body in (
        ("/people", {"tenant": "general", "username": "new", "name": "New", "role": "nurse"}),
        ("/facilities", {"tenant": "general", "name": "W", "legal_entity": "G", "reference": "Location/1"}),
        ("/tenants/general/offboarding", WANTED),
    ):
        problem(root.post(path, json=body), 404, "tenant_not_found")
    problem(root.patch("/tenants/general", json={"active": True}), 404, "tenant_not_found")
    problem(
        root.post("/tenants", json={"id": "general", "name": "Again", "sandbox": True}),
        409,
        "tenant_exists",
    )
    facts = site.system(lambda ctx: identity.facts(ctx, EVERYTHING)).whole
    assert GENERAL not in facts.tenants
    switch = root.get(f"/switches/{shown(site, offboarding)['switch']}").json()
    assert (switch["in_force"], switch["kind"], switch["key"]) == (True, TargetKind.TENANT, GENERAL)
    assert switch["mode"] == Mode.FULL_STOP
    listed = {each["id"]: each["left_at"] for each in root.get("/tenants").json()["items"]}
    assert listed["general"]
    assert not listed["children"]


def test_its_apps_are_removed_and_their_vendors_asked_to_dispose_of_what_they_have(site: ControlSite) -> None:
    canary(site)
    offboarding = left(site)

    steps(site)

    assert site.api("root").get("/installations?tenant=general").json()["items"] == []
    asked_of = site.system(list_requests, query=DeletionRequestQuery(tenant=GENERAL))
    assert len(asked_of) == 1
    found = shown(site, offboarding)
    assert found["apps_ended_at"]
    assert found["waits_for"] == "export"


def test_an_export_has_what_is_the_hospitals_and_a_manifest_of_its_files(
    site: ControlSite, tmp_path: Path
) -> None:
    canary(site)
    offboarding = left(site)
    folder = tmp_path / "general"

    done = exported(site, offboarding, folder)

    manifest = (folder / "manifest.json").read_bytes()
    listed = {each["name"]: each["sha256"] for each in orjson.loads(manifest)["files"]}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert found == listed | {"manifest.json": done.manifest}
    assert shown(site, offboarding)["manifest"] == done.manifest
    (event,) = site.system(
        audit.list_events, query=EventQuery(action="offboardings.offboarding.export")
    ).events
    assert event.event.facts["manifest"] == done.manifest
    people = [orjson.loads(each) for each in (folder / "identity_person.ndjson").read_bytes().splitlines()]
    assert {each["username"] for each in people} == {"ann", "gina"}
    lines = [orjson.loads(each) for each in (folder / "audit.ndjson").read_bytes().splitlines()]
    assert len(lines) > 3
    assert {orjson.loads(each["header"])[4] for each in lines} == {"general"}
    whole = b"".join(each.read_bytes() for each in folder.iterdir())
    assert b"carl" not in whole
    assert b"private_sealed" not in whole
    assert oct((folder / "manifest.json").stat().st_mode)[-3:] == "600"
    with pytest.raises(Exception, match="already exists"):
        exported(site, offboarding, folder)


def test_an_erasure_waits_for_the_export_the_day_and_every_hold(site: ControlSite, tmp_path: Path) -> None:
    offboarding = left(site)
    before = rows(site)

    def waits(*, for_: str) -> None:
        steps(site)
        assert (shown(site, offboarding)["waits_for"], shown(site, offboarding)["state"]) == (for_, "left")
        assert rows(site)["identity_facility"] == before["identity_facility"]
        assert "Gina" in texts(site)

    waits(for_="export")
    exported(site, offboarding, tmp_path / "x")
    waits(for_="date")
    hold = site.api("sam").post("/holds", json={"reason": "a case"}).json()["id"]
    site.clock.advance(MONTH)
    waits(for_="hold")

    released = site.api("root").post(f"/holds/{hold}/release")
    assert released.status_code in {200, 204}, released.text
    steps(site)

    assert shown(site, offboarding)["state"] == "erased"


def test_the_staff_see_on_a_page_what_became_of_a_hospital(site: ControlSite, tmp_path: Path) -> None:
    """C148."""
    asked(site, by="root")
    assert "1 more waits for a second person" in site.signed_in("sam").get("/operations/offboardings").text
    offboarding = left(site)
    auditor, page = site.signed_in("otto"), f"/operations/offboardings/{offboarding}"
    assert f'href="{page}"' in auditor.get("/operations/offboardings").text
    assert "It waits for the export" in auditor.get(page).text

    exported(site, offboarding, tmp_path / "x")
    site.clock.advance(MONTH)
    steps(site)

    auditor = site.signed_in("otto")
    done = auditor.get(page).text
    assert "What stays, and why" in done
    assert "<dt>Facilities</dt>" in done.replace("facilities", "Facilities"), "by what the rows were"
    assert auditor.get("/operations/offboardings/dep_none").status_code == 404


@both_backends
def test_what_was_its_own_is_erased_and_the_audit_still_verifies(
    one_uow: UnitOfWork, clock: FakeClock, tmp_path: Path
) -> None:
    site = site_on(one_uow, clock)
    canary(site)
    system_client = NewSystemClient(GENERAL, ClientType.EHR, "Ward EHR", "general-ehr")
    site.system(clients.add_system_client, order=system_client)
    service_owner = ServiceOwner(
        "svo_1",
        GENERAL,
        ClientId("c"),
        AppId("a"),
        VendorId("ven_v"),
        "p",
        "q",
        "s",
        PersonId("x"),
        PersonId("y"),
        clock.now(),
        clock.now() + MONTH,
    )
    site.system(lambda ctx: service_owners.add_service_owner(ctx.tx, service_owner))
    others = rows(site, TenantId("children"))
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "general")
    clock.advance(MONTH)

    steps(site)

    after = rows(site)
    stays = {each.table for each in RETENTIONS if each.deed is not ErasureAction.ERASE}
    assert {name for name, number in after.items() if number} <= stays
    assert rows(site, TenantId("children")) == others
    assert "Gina" not in texts(site)
    assert "'gina'" not in texts(site)
    assert "Carl" in texts(site)
    erased = erased_rows(site)
    assert (erased["identity_person"], erased["registry_installation"]) == (2, 1)
    assert [
        erased[each] for each in ("registry_client", "registry_client_secret", "service_owners_service_owner")
    ] == [
        1,
        1,
        1,
    ]
    reader = journals.open_reader(tmp_path / "journal", one_uow.db.url)
    assert site.system(audit.verify, reader=reader).faults == ()
    with pytest.raises(Exception, match="can no longer be exported"):
        exported(site, offboarding, tmp_path / "again")


def test_an_erasure_that_was_interrupted_continues_where_it_stopped(
    site: ControlSite, tmp_path: Path
) -> None:
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")
    site.clock.advance(MONTH)
    steps(site, most=5)
    assert shown(site, offboarding)["state"] == "erasing"

    def dies(ctx: Context) -> None:
        service.next_step(ctx, offboarding)
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            site.system(dies)
    steps(site)

    assert shown(site, offboarding)["state"] == "erased"
    assert erased_rows(site)["identity_person"] == 2


def test_an_erasure_that_fails_keeps_no_other_waiting(site: ControlSite, tmp_path: Path) -> None:
    """C148: it is tried again at each run, and the job says that it failed."""
    broken, later = left(site), left(site, "mercy", "mary")
    for each in (broken, later):
        exported(site, each, tmp_path / each)
    site.clock.advance(MONTH)
    damaged = (
        store.offboardings.update().where(store.offboardings.c.id == broken).values(progress={"step": "x"})
    )
    site.uow.db.write(lambda tx: tx.execute(damaged))

    with pytest.raises(ValueError, match="invalid literal"):
        jobs.run(Running(site), lambda: True)

    assert shown(site, later)["state"] == "erased"
    assert shown(site, broken)["state"] == "left"
    assert site.system(service.due) == [broken]


def test_no_export_is_recorded_once_the_erasure_has_begun(site: ControlSite, tmp_path: Path) -> None:
    """C148: what was written then has not everything."""
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")
    site.clock.advance(MONTH)
    steps(site, most=2)

    with pytest.raises(Conflict, match="can no longer be exported"):
        site.system(service.record_export, offboarding_id=offboarding, manifest="0" * 64)

    assert shown(site, offboarding)["state"] == "erasing"


def test_after_a_restore_an_erasure_waits_until_holds_can_be_placed_again(
    site: ControlSite, tmp_path: Path
) -> None:
    """A backup has no hold that was placed after it, and the jobs process begins at once."""
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")
    site.clock.advance(MONTH)
    steps(site, most=5)

    assert site.system(service.defer) == 1

    assert steps(site) == 0
    assert (shown(site, offboarding)["waits_for"], shown(site, offboarding)["state"]) == ("date", "erasing")
    site.clock.advance(timedelta(days=7))
    steps(site)
    assert shown(site, offboarding)["state"] == "erased"
    assert site.system(service.defer) == 0


@both_backends
def test_two_processes_that_erase_at_once_erase_each_row_once(
    one_uow: UnitOfWork, clock: FakeClock, tmp_path: Path
) -> None:
    """The job, and the command on another host: each step goes on where the last one of either stopped."""
    site = site_on(one_uow, clock)
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")
    clock.advance(MONTH)
    steps(site, most=1)

    with ThreadPoolExecutor(2) as pool:
        done: list[Future[Any]] = [
            pool.submit(offboarding_exports.erase, one_uow, HOST, offboarding),
            pool.submit(steps, site),
        ]
        for each in done:
            each.result()

    assert shown(site, offboarding)["state"] == "erased"
    assert erased_rows(site)["identity_person"] == 2


@both_backends
def test_a_step_looks_at_few_rows_of_all_hospitals(
    one_uow: UnitOfWork, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step holds locks, and SQLite's one writer: a stop must not wait until a table of any size is read (C148)."""
    monkeypatch.setattr(store, "WALKED_AT_ONCE", 2)
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 1)
    site = site_on(one_uow, clock)
    people = metadata.tables["identity_person"]
    all_people = site.system(lambda ctx: len(ctx.tx.execute(people.select()).all()))
    others = rows(site, TenantId("children"))
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")
    clock.advance(MONTH)

    done = steps(site)

    erased_tables = sum(each.deed is not ErasureAction.KEEP for each in RETENTIONS)
    assert done > erased_tables + all_people // 2
    assert rows(site, TenantId("children")) == others
    assert "Gina" not in texts(site)
    erased = erased_rows(site)
    assert erased["identity_person"] == 2


def test_what_is_open_is_counted_among_the_newest(site: ControlSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody waits for a preview, and the act must not time out for it."""
    retention = next(each for each in RETENTIONS if each.table == "signin_session")
    session = {
        "person": "p",
        "tenant": "general",
        "role": "nurse",
        "method": "password",
        "created_at": site.clock.now(),
        "last_seen_at": site.clock.now(),
        "expires_at": site.clock.now() + MONTH,
    }

    def add(ctx: Context) -> None:
        sessions = metadata.tables["signin_session"]
        for number in range(5):
            ctx.tx.execute(sessions.insert().values(id=f"ses_{number}", digest=f"d{number}", **session))

    site.system(add)
    assert site.system(lambda ctx: store.count(ctx.tx, retention, GENERAL)) == 5
    monkeypatch.setattr(store, "NEWEST", 3)

    assert site.system(lambda ctx: store.count(ctx.tx, retention, GENERAL)) == 3


def test_a_hospital_that_has_left_can_be_held_and_shows_itself_no_more(
    site: ControlSite, tmp_path: Path
) -> None:
    """A case may begin after it has left: what is still there waits for it (C148)."""
    offboarding = left(site)
    exported(site, offboarding, tmp_path / "x")

    held = site.api("sam").post("/holds", json={"reason": "a case", "tenant": "general"})

    assert held.status_code == 201, held.text
    problem(
        site.api("sam").post("/holds", json={"reason": "a case", "tenant": "nowhere"}),
        404,
        "tenant_not_found",
    )
    ann = site.system(identity.find_person_by_username, tenant=GENERAL, username="ann").id
    problem(site.api("root").put(f"/people/{ann}/charts", json={"charts": []}), 404, "tenant_not_found")
    site.clock.advance(MONTH)
    steps(site)
    assert (shown(site, offboarding)["waits_for"], shown(site, offboarding)["state"]) == ("hold", "left")
    problem(
        site.api("root").put("/tenants/general/branding", json={"colour": "#0b6b74"}), 404, "tenant_not_found"
    )


@in_one_world("by", ["gina", "carl", "ann"])
def test_hospitals_do_not_see_who_left(site: ControlSite, by: str) -> None:
    assert site.api(by).get("/offboardings").status_code == 403
    problem(site.api("otto").get("/offboardings/dep_none"), 404, "offboarding_not_found")
