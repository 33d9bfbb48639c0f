"""The containment report over real journals, the index and both databases (C148), and over the API."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVendor
from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.infra import nodes
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import VendorId
from hilum.operations.switch_administration import service
from hilum.operations.switch_administration.models import Containment, Gap
from hilum.records.audit import access_index, windows
from hilum.records.audit.models import SETTLEMENT, UNDELIVERED, Access, Outcome, WindowQuery
from hilum.surfaces.cli import containment as page
from tests.flows.control_site import ControlSite, problem
from tests.flows.drill_ground import LAST_MS, Drill
from tests.flows.journal_ground import TRACE, access
from tests.sim.world import FakeClock

REFUSED: dict[str, Any] = {"outcome": Outcome.REFUSED, "reason": "switch_engaged", "status": 403}


@pytest.fixture
def drill(uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Drill:
    uow.db.write(lambda tx: nodes.report(tx, Node("a", 2, "0001", "boot")))
    return Drill(uow, clock, tmp_path / "journal")


def test_a_stop_that_everybody_confirmed_is_contained_with_its_evidence(drill: Drill) -> None:
    """C148: per tenant the last permitted decision and the number refused; what was under way, and what became of it."""
    start = drill.clock.now()
    slow = drill.made(start, -5, 60)
    drill.write(
        drill.made(start, -50),
        drill.made(start, -40, tenant="mercy"),
        drill.made(start, -30, app="app_2"),
        slow,
        slow_correction(slow, start),
    )
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(
        *(drill.made(start, 100 + n, **REFUSED, launch=f"lch_{n}") for n in range(3)),
        drill.made(start, 200, **REFUSED, tenant="mercy"),
        drill.made(start, 300, app="app_2"),
    )

    found = drill.report(switch)

    assert (found.judgement.verdict, found.judgement.gaps) == (Containment.CONTAINED, ())
    assert [each.request_id for each in found.judgement.kept_back] == [slow.request_id]
    assert found.confirmations.last == start + timedelta(milliseconds=LAST_MS)
    window = found.window
    assert window is not None
    assert [(each.tenant, each.refused) for each in window.tenants] == [("general", 4), ("mercy", 1)]
    assert [each.last and each.last.at for each in window.tenants] == [
        slow.at,
        start - timedelta(milliseconds=40),
    ]
    assert window.launches == 3
    assert sum(window.journals.values()) == 10


def slow_correction(slow: Access, start: datetime) -> Access:
    """The record that its answer was kept back."""
    at = start + timedelta(milliseconds=56)
    return access(
        1, at=at, latency_us=slow.latency_us, request_id=slow.request_id, decision=slow.decision,
        rule=UNDELIVERED, **REFUSED,
    )  # fmt: skip


def test_one_answer_that_left_later_is_named(drill: Drill) -> None:
    start = drill.clock.now()
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    late, began_before = drill.made(start, 1_000, tenant="mercy"), drill.made(start, -20_000, 20_100)
    drill.write(began_before, late, drill.made(start, 1_001, **REFUSED), drill.made(start, 999, app="app_2"))

    judged = drill.report(switch).judgement

    assert judged.verdict is Containment.NOT_CONTAINED
    assert [each.request_id for each in judged.passed] == [began_before.request_id, late.request_id]


class Owners:
    """Two vendors, and an app of the first."""

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        self.first, self.second = (self.vendor(name) for name in ("Acme Health", "Umber Medical"))
        order = NewApp(self.first, "Ward Notes", "Writes notes.", "Documentation", "scheduling")
        self.app = self.done(registry.add_app, order=order)

    def done(self, verb: Callable[..., Any], **given: Any) -> Any:
        return self.uow.write_now(partial(verb, **given), actor=SYSTEM, trace=TRACE)

    def vendor(self, name: str) -> VendorId:
        return VendorId(self.done(registry.add_vendor, order=NewVendor(name, "help", "alarm")).id)


def test_a_stop_of_a_vendor_is_proven_by_the_records_of_its_apps(drill: Drill) -> None:
    """C148: an app that the vendor gave away meanwhile counts until then, and what its new owner does with it counts no more."""
    owners = Owners(drill.uow)
    of_first = {"app": owners.app.id, "vendor": owners.first}
    start = drill.clock.now()
    switch = drill.engage(TargetKind.VENDOR, owners.first)
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(drill.made(start, 100, **of_first, **REFUSED), drill.made(start, 200, vendor=owners.second))
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED

    owners.done(registry.change_owner, app=owners.app, to=owners.second)
    drill.clock.advance(timedelta(seconds=5))
    drill.write(drill.made(start, 6_000, app=owners.app.id, vendor=owners.second))
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED

    passed = drill.made(start, 4_000, **of_first)
    drill.write(passed)
    judged = drill.report(switch).judgement
    assert (judged.verdict, [each.request_id for each in judged.passed]) == (
        Containment.NOT_CONTAINED,
        [passed.request_id],
    )


def test_a_vendor_without_apps_has_no_records_of_others(drill: Drill) -> None:
    owners = Owners(drill.uow)
    start = drill.clock.now()
    switch = drill.engage(TargetKind.VENDOR, owners.second)
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(drill.made(start, 1_000, app=owners.app.id, vendor=owners.first))

    found = drill.report(switch)

    assert found.judgement.verdict is Containment.CONTAINED
    assert found.window is not None
    assert found.window.tenants == ()


def test_a_settlement_of_an_earlier_write_is_no_request_that_passed(drill: Drill) -> None:
    start = drill.clock.now()
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(minutes=1))
    drill.write(drill.made(start, 30_000, interaction="create", rule=SETTLEMENT))

    assert drill.report(switch).judgement.verdict is Containment.CONTAINED


def test_reads_under_a_switch_that_stops_writes_are_not_followed(
    drill: Drill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "WINDOW_FOLLOWED_BOUND", 2)
    start = drill.clock.now()
    switch = drill.engage(mode=Mode.READ_ONLY)
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(*(drill.made(start, 100 + n) for n in range(5)))
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED

    drill.write(drill.made(start, 200, interaction="update"))

    assert drill.report(switch).judgement.verdict is Containment.NOT_CONTAINED


@pytest.mark.parametrize(
    ("kind", "key", "stops"),
    [
        (TargetKind.PLATFORM, "", True),
        (TargetKind.TENANT, "general", True),
        (TargetKind.TENANT, "mercy", False),
        (TargetKind.APP_TENANT, "app_1/general", True),
        (TargetKind.APP_TENANT, "app_1/mercy", False),
        (TargetKind.PERSON, "per_1", True),
        (TargetKind.APP_PERSON, "app_2/per_1", False),
    ],
)
def test_what_passed_is_looked_for_at_the_target_and_nowhere_else(
    drill: Drill, kind: TargetKind, key: str, *, stops: bool
) -> None:
    start = drill.clock.now()
    switch = drill.engage(kind, key)
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(drill.made(start, 1_000))

    verdict = drill.report(switch).judgement.verdict

    assert verdict is (Containment.NOT_CONTAINED if stops else Containment.CONTAINED)


def unindexed(drill: Drill) -> None:
    drill.place.write(drill.made(drill.clock.now(), -10, **REFUSED))


def emptied(drill: Drill) -> None:
    """The journals of before are gone, and the index still has what was in them."""
    if not drill.place.url.startswith("postgresql"):
        for file in drill.place.directory.glob("access-*"):
            file.unlink()
        return
    import psycopg

    with psycopg.connect(drill.place.url.replace("+psycopg", ""), autocommit=True) as db:
        db.execute("DELETE FROM access_record")
        db.execute("DELETE FROM access_chain")


@pytest.mark.parametrize(
    ("damage", "gap"),
    [
        (unindexed, Gap.INDEX_BEHIND),
        (emptied, Gap.JOURNAL_MISSING),
    ],
)
def test_a_journal_that_was_not_read_to_its_end_proves_nothing(
    drill: Drill, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Drill], None], gap: Gap
) -> None:
    monkeypatch.setattr(windows, "INDEX_WAITS", 1)
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(drill.made(drill.clock.now(), -100, **REFUSED))
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED

    damage(drill)

    judged = drill.report(switch).judgement
    assert (judged.verdict, judged.gaps) == (Containment.NOT_PROVEN, (gap,))


def test_journals_and_index_gone_together_prove_nothing(
    sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path
) -> None:
    sqlite_uow.db.write(lambda tx: nodes.report(tx, Node("a", 1, "0001", "boot")))
    drill = Drill(sqlite_uow, clock, tmp_path / "never")
    switch = drill.engage()
    drill.confirm(switch, "a-1")
    drill.clock.advance(timedelta(seconds=5))

    judged = drill.report(switch).judgement

    assert (judged.verdict, judged.gaps) == (Containment.NOT_PROVEN, (Gap.INDEX_BEHIND,))


def test_a_node_that_never_confirmed_proves_nothing(drill: Drill) -> None:
    drill.uow.db.write(lambda tx: nodes.report(tx, Node("b", 1, "0001", "boot2")))
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))

    drill.write()
    assert drill.report(switch).judgement.gaps == (Gap.NODE_NOT_CONFIRMED,)
    drill.confirm(switch, "b-1", node="b")
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED


def test_more_records_than_are_counted_prove_nothing(drill: Drill, monkeypatch: pytest.MonkeyPatch) -> None:
    start = drill.clock.now()
    switch = drill.engage()
    drill.confirm(switch, "a-1", "a-2")
    drill.clock.advance(timedelta(seconds=5))
    drill.write(*(drill.made(start, 100 + n, **REFUSED) for n in range(5)))
    drill.write(*(drill.made(start, 10 + n) for n in range(5)))
    drill.write(drill.made(start, 200, **REFUSED, tenant="mercy"))
    assert drill.report(switch).judgement.verdict is Containment.CONTAINED
    for bound, most in (("COUNT", 5), ("READ", 4), ("FOLLOWED", 4), ("TENANTS", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(windows, f"WINDOW_{bound}_BOUND", most)
            judged = drill.report(switch).judgement
            assert (judged.verdict, judged.gaps) == (Containment.NOT_PROVEN, (Gap.TOO_MANY_RECORDS,)), bound


def test_no_query_of_a_window_reads_the_whole_index(drill: Drill) -> None:
    """C148: works for ten million records, since each look-up is of a range of an index."""
    if drill.place.url.startswith("postgresql"):
        pytest.skip("the plan of an almost empty table says nothing on PostgreSQL")
    drill.write(drill.made(drill.clock.now(), 0))
    index = access_index.open_index(drill.place.url, drill.place.directory)
    assert index is not None
    now = drill.clock.now()
    seen: list[str] = []

    def look(tx: Any) -> None:
        original = tx.execute

        class Watched:
            def execute(self, statement: Any) -> Any:
                text = statement.compile(tx.engine, compile_kwargs={"literal_binds": True})
                seen.extend(row[-1] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
                return original(statement)

        targets: list[dict[str, Any]] = [{}, {"app": "app_1"}, {"tenant": "general"}, {"person": "per_1"}]
        for more in targets:
            query = WindowQuery(now, now, now + timedelta(hours=1), **more)
            watched: Any = Watched()
            access_index.window_counts(watched, query, 10)
            access_index.permitted_places(watched, query, 10)
            access_index.last_permitted(watched, query)
            access_index.example_of(watched, query, access_index.digest("tenant", "general"))

    index.read(look)
    scans = [each for each in seen if "access_index" in each]
    assert len(scans) >= 16
    assert all(each.startswith("SEARCH access_index USING") and "at" in each for each in scans), scans


def signed(site: ControlSite, switch_id: str, by: str = "otto") -> dict[str, Any]:
    answer = site.api(by).get(f"/switches/{switch_id}/containment")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_report_is_signed_recorded_and_readable(site: ControlSite) -> None:
    """C148, C155: it can be shown to others, and who read it is on record."""
    order = {"kind": "tenant", "key": "general", "reason": "Suspicious reads"}
    switch = site.api("sam").post("/switches", json=order).json()["id"]

    found = signed(site, switch)

    def genuine(document: Any) -> bool:
        return bool(site.system(service.is_signed, signed=document))

    assert found["report"]["verdict"] == "not_proven"
    assert "nodes_not_recorded" in found["report"]["gaps"]
    kept = json.loads(json.dumps(found))
    assert genuine(kept)
    for name, value in (("verdict", "contained"), ("gaps", []), ("until", "2030-01-01T00:00:00+00:00")):
        assert not genuine({**kept, "report": {**kept["report"], name: value}}), name
    assert not genuine({**kept, "kid": "another"})
    assert not genuine({})
    text = "\n".join(page.lines(found["report"]))
    assert text.startswith("NOT PROVEN")
    assert "Suspicious reads" in text
    events = site.api("otto").get("/audit/events?action=controls.switch.report").json()["items"]
    assert [each["facts"]["verdict"] for each in events] == ["not_proven"]


def test_who_may_not_read_the_audit_gets_no_report(site: ControlSite) -> None:
    """C155: also of a switch that they may see."""
    order = {"kind": "tenant", "key": "general", "reason": "Suspicious reads"}
    switch = site.api("sam").post("/switches", json=order).json()["id"]

    problem(site.api("rita").get(f"/switches/{switch}/containment"), 403, "not_permitted")
    problem(site.api("carl").get(f"/switches/{switch}/containment"), 404, "switch_not_found")
    problem(site.api("otto").get("/switches/sw_none/containment"), 404, "switch_not_found")
    assert site.api().get(f"/switches/{switch}/containment").status_code == 401
    events = site.api("otto").get("/audit/events?action=controls.switch.report").json()["items"]
    assert [each["outcome"] for each in events] == ["refused"] * 2
    # The role is judged again in the transaction that reads.
    reviewer = Actor(ActorKind.STAFF, "per_rita", roles=frozenset({"reviewer"}))
    verb = partial(service.report, switch_id=switch, read_window=lambda _: pytest.fail("it was read"))
    with pytest.raises(NotPermitted):
        site.uow.read_now(verb, actor=reviewer, trace=TRACE)
