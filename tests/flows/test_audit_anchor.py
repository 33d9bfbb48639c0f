"""The anchor: whoever can write the database can cut the record at its end, checkpoints and all, but not unseen."""

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import delete

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import Settings, read
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum.policy.matrix import store as policies_store
from hilum.policy.matrix.models import Application
from hilum.records.audit import anchor, policy, service, store
from hilum.records.audit.models import Anchored, AnchoredHead, Event, Verdict
from hilum.server import anchoring, jobs
from hilum.server.schedule import JobLease
from tests.flows.journal_ground import AT, TRACE, JournalGround, access
from tests.sim.world import FakeClock

DIGEST = "ab" * 32


class Installation:
    """A record that grows, the job that checkpoints and anchors it, and somebody who can write the database."""

    def __init__(self, uow: UnitOfWork, home: Path, clock: FakeClock, **settings: str) -> None:
        self.uow, self.clock = uow, clock
        environment = {
            "HILUM_DATA_DIR": str(home),
            "HILUM_SECRET_KEY": "x" * 40,
            "HILUM_DATABASE_URL": uow.db.url,
        }
        self.settings: Settings = read(environment | settings)
        self.place = JournalGround(uow, uow.db.url, home / "journal")
        self.n = 0

    def grow(self, count: int = 3) -> None:
        """Accesses and an event, then the job's turn."""
        self.clock.advance(timedelta(seconds=1))
        made = [access(self.n + n) for n in range(1, count + 1)]
        self.n += count
        self.place.write(*made)
        event = partial(service.record, event=Event("registry.app.suspend", app="app_1", facts={"n": self.n}))
        self.uow.write_now(event, trace=TRACE)
        self.checkpoint()

    def checkpoint(self) -> None:
        held = JobLease(self.uow, "checkpoint", "test", threading.Event())
        jobs.checkpoint(held, self.settings)

    def verify(self, anchors: list[Anchored] | None = None) -> Verdict:
        found = anchor.read(self.settings.anchor) if anchors is None else anchors
        verb = partial(service.verify, reader=self.place.reader, anchors=found)
        return self.uow.read_now(verb, trace=TRACE)

    def picture(self) -> Callable[[], None]:
        """Note how the database stands; calling what is given puts everything back to that, leaving no trace in it."""
        chain, head = store.audit_chain, store.audit_head

        def look(ctx: Context) -> tuple[list[dict[str, object]], ...]:
            kept = (chain, head, store.audit_checkpoint, store.access_chain)
            return tuple([dict(row) for row in ctx.tx.execute(table.select()).mappings()] for table in kept)

        chains, heads, checkpoints, accesses = self.uow.read_now(look, trace=TRACE)
        files = {path: _last(path) for path in (self.settings.data_dir / "journal").glob("access-*.db")}

        def cut(ctx: Context) -> None:
            tx, last = ctx.tx, {str(row["writer"]): row["seq"] for row in chains}
            for table in (store.audit_event, store.audit_payload):
                for writer, seq in last.items():
                    tx.execute(delete(table).where(table.c.writer == writer, table.c.seq > seq))
            for table, rows in ((chain, chains), (head, heads), (store.audit_checkpoint, checkpoints)):
                tx.execute(delete(table))
                if rows:
                    tx.execute(table.insert(), rows)
            if not self.uow.db.is_sqlite:
                kept = [row["writer"] for row in accesses]
                for each in (store.access_record, store.access_payload, store.access_chain):
                    tx.execute(delete(each).where(each.c.writer.not_in(kept)))

        def back() -> None:
            self.uow.write_now(cut, trace=TRACE)
            for path, last in files.items():
                with closing(sqlite3.connect(path, isolation_level=None)) as db:
                    db.execute("DELETE FROM record WHERE id > ?", (last,))
                    db.execute("DELETE FROM payload WHERE id > ?", (last,))
                    db.execute("DELETE FROM chain WHERE first > ?", (last,))

        return back


def _last(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT coalesce(max(id), 0) FROM record").fetchone()[0])


@pytest.fixture
def grown(uow: UnitOfWork, tmp_path: Path, clock: FakeClock) -> Installation:
    return Installation(uow, tmp_path, clock)


@pytest.fixture
def files(sqlite_uow: UnitOfWork, tmp_path: Path, clock: FakeClock) -> Installation:
    return Installation(sqlite_uow, tmp_path, clock)


def test_every_checkpoint_is_anchored_and_confirmed(grown: Installation) -> None:
    """C152: the newest that an anchor confirms is reported."""
    for _ in range(3):
        grown.grow()

    verdict = grown.verify()

    assert verdict.intact, verdict.faults
    assert verdict.checkpoints == verdict.anchored == 3
    assert [each.number for each in anchor.read(grown.settings.anchor)] == [1, 2, 3]


def test_old_checkpoints_are_thinned_and_prove_what_they_proved(
    grown: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C152: every fifth stays here. Each turn is a chain of its own that ends with it, so that each head was stated once."""
    monkeypatch.setattr(policy, "CHECKPOINT_STRIDE", 5)
    for _ in range(12):
        grown.grow()
    grown.clock.advance(policy.CHECKPOINTS_KEPT)
    grown.grow()
    thin = JobLease(grown.uow, "retention", "test", threading.Event())
    thin.walk(service.thin_checkpoints)
    kept = grown.uow.read_now(lambda ctx: [one.number for one, _ in store.checkpoints(ctx.tx)], trace=TRACE)
    verdict = grown.verify()

    assert kept == [1, 5, 10, 11, 12, 13], "of the last stretch all, as nothing else states their heads yet"
    assert verdict.intact, verdict.faults
    assert verdict.anchored == 13

    if not grown.uow.db.is_sqlite:
        # Its end was stated by the third checkpoint, which is gone, and by the fifth.
        tables = (store.access_record, store.access_payload, store.access_chain)
        gone = [delete(table).where(table.c.writer == "node-3") for table in tables]
        grown.uow.db.write(lambda tx: [tx.execute(statement) for statement in gone])
        assert any("access/node-3: was checkpointed" in fault for fault in grown.verify().faults)


def test_a_cut_of_the_newest_records_with_their_checkpoints_shows_only_by_the_anchor(
    grown: Installation,
) -> None:
    """C152: what lies in the database alone cannot show it; the anchor names the checkpoint that is gone."""
    grown.grow()
    cut_back = grown.picture()
    grown.grow()
    grown.grow()

    cut_back()

    assert grown.verify([]).intact
    verdict = grown.verify()
    assert not verdict.intact
    assert [fault.partition(" was anchored")[0] for fault in verdict.faults] == [
        "checkpoint 2",
        "checkpoint 3",
    ]
    assert all("is gone: the record was cut at its end" in fault for fault in verdict.faults)
    assert verdict.anchored == 1


def test_a_cut_after_which_the_record_went_on_shows_too(grown: Installation) -> None:
    """The numbers are all there again, but their digests are others."""
    grown.grow()
    cut_back = grown.picture()
    grown.grow()
    grown.grow(2)
    cut_back()
    grown.grow(1)
    grown.grow(1)
    grown.grow(1)

    assert grown.verify([]).intact
    verdict = grown.verify()
    assert not verdict.intact
    assert any(
        fault.startswith("checkpoint 2") and "a different checkpoint has its number" in fault
        for fault in verdict.faults
    )
    assert any(
        fault.startswith("checkpoint 3") and "a different checkpoint has its number" in fault
        for fault in verdict.faults
    )


def test_a_copy_kept_elsewhere_holds_where_the_anchor_was_cut_too(
    grown: Installation, tmp_path: Path
) -> None:
    """Whoever can write the database and the data directory cuts both; the copy is out of their reach."""
    grown.grow()
    cut_back, anchored = grown.picture(), grown.settings.anchor.read_bytes()
    grown.grow()
    copy = tmp_path / "copy.log"
    copy.write_bytes(grown.settings.anchor.read_bytes())

    cut_back()
    grown.settings.anchor.write_bytes(anchored)

    assert grown.verify().intact
    assert not grown.verify(anchor.read(copy)).intact


def test_an_anchor_of_another_installation_confirms_nothing(grown: Installation) -> None:
    grown.grow()

    verdict = grown.verify([Anchored(1, AT, DIGEST)])

    assert not verdict.intact
    assert verdict.anchored == 0


def test_a_job_that_died_before_it_anchored_catches_up(files: Installation) -> None:
    files.grow()
    files.settings.anchor.unlink()

    files.checkpoint()
    files.checkpoint()

    assert [each.number for each in anchor.read(files.settings.anchor)] == [1]


def test_an_anchor_that_cannot_be_written_is_a_named_trouble_and_loses_no_checkpoint(
    sqlite_uow: UnitOfWork, tmp_path: Path, clock: FakeClock
) -> None:
    (tmp_path / "file").write_text("no directory")
    where = str(tmp_path / "file" / "anchor.log")
    installation = Installation(sqlite_uow, tmp_path, clock, HILUM_AUDIT_ANCHOR=where)

    with pytest.raises(Unavailable, match="anchor_unavailable"):
        installation.grow()

    assert installation.verify([]).checkpoints == 1


@pytest.mark.parametrize(
    "torn", [b"7 2026-03-", b"nonsense\n", b"\xff\xfe\n", b"x" * 5_000, b"7 2026-03-02T09:00:00+00:00 abcd\n"]
)
def test_a_line_that_a_power_cut_tore_is_passed_over_and_the_next_is_whole(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "anchor.log"
    path.write_bytes(torn)

    anchor.keep(path, Anchored(8, AT, DIGEST), fresh=True)

    assert anchor.read(path) == [Anchored(8, AT, DIGEST)]
    assert path.read_bytes().startswith(torn)


def test_the_anchor_is_its_owners_only_and_no_line_is_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "anchor.log"
    for _ in range(3):
        anchor.keep(path, Anchored(1, AT, DIGEST), fresh=True)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(anchor.read(path)) == 1


def test_the_anchor_is_bounded_and_keeps_the_newest_a_line_a_day_and_what_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever cuts the record and lets it go on cannot wait until the evidence is trimmed away."""
    monkeypatch.setattr(anchor, "ANCHOR_BYTES_BOUND", 3_000)
    monkeypatch.setattr(anchor, "ANCHOR_LINES_KEPT", 5)
    path = tmp_path / "anchor.log"

    def add(number: int, at: datetime) -> None:
        anchor.keep(path, Anchored(number, at, f"{number:064x}"), fresh=True)

    for day in range(3):
        for n in range(1, 11):
            add(day * 10 + n, AT + timedelta(days=day, minutes=n))
    evidence = Anchored(40, AT + timedelta(days=3), f"{40:064x}")
    add(40, evidence.at)
    for n in range(31, 131):
        add(n, AT + timedelta(days=3, minutes=n))

    kept = anchor.read(path)

    assert path.stat().st_size <= 3_000 + 2 * 256
    assert evidence in kept
    assert [each.number for each in kept[:3]] == [10, 20, 30]
    assert [each.number for each in kept[-5:]] == [126, 127, 128, 129, 130]
    assert not path.with_name("anchor.log.new").exists()


def test_a_pipe_gets_each_new_checkpoint_once_and_never_holds_up_the_job(
    sqlite_uow: UnitOfWork, tmp_path: Path, clock: FakeClock
) -> None:
    pipe = tmp_path / "anchor.pipe"
    os.mkfifo(pipe)
    installation = Installation(sqlite_uow, tmp_path, clock, HILUM_AUDIT_ANCHOR=str(pipe))
    with pytest.raises(Unavailable, match="anchor_unavailable"):
        installation.grow()
    heard: list[bytes] = []
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    listening = threading.Thread(target=lambda: heard.append(os.read(reader, 4_096)))

    installation.grow()
    installation.checkpoint()
    listening.start()
    listening.join()
    os.close(reader)

    assert heard[0].startswith(b"2 ")
    assert heard[0].count(b"\n") == 1
    with pytest.raises(Unavailable, match="cannot be read back"):
        anchor.read(pipe)
    copy = tmp_path / "copy.log"
    copy.write_bytes(heard[0])
    assert installation.verify(anchor.read(copy)).anchored == 2


def test_a_copy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="anchor_not_found"):
        anchor.read(tmp_path / "nowhere.log")


def test_an_empty_anchor_confirms_nothing(files: Installation) -> None:
    files.grow()
    files.settings.anchor.write_bytes(b"")

    verdict = files.verify()

    assert verdict.intact
    assert verdict.anchored == 0


def test_an_edited_digest_in_the_anchor_is_a_fault(files: Installation) -> None:
    files.grow()
    (held,) = anchor.read(files.settings.anchor)

    assert not files.verify([replace(held, digest=DIGEST)]).intact
    assert not files.verify([held, replace(held, number=2)]).intact


# --- the ends of the other chains ----------------------------------------------------------------------------------------------


def chains(grown: Installation) -> list[str]:
    """What is not as it was anchored."""
    heads = anchoring.read(grown.settings)
    return grown.uow.read_now(partial(anchoring.faults, anchored=heads), trace=TRACE)


def do(grown: Installation, verb: Callable[[Context], object]) -> None:
    grown.uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def go_on(grown: Installation, n: int) -> None:
    """Add an application of the policy, then the job's turn."""
    do(grown, lambda ctx: _add(ctx, n))
    grown.grow()


def _add(ctx: Context, n: int) -> None:
    applied = Application(n, 1, DIGEST, (), "why", "per_1", ctx.now, "", "", "key_1", "sig")
    policies_store.add_application(ctx.tx, applied)


def test_the_ends_of_the_policy_are_anchored(grown: Installation) -> None:
    """C179: each once, and verified beside the checkpoints."""
    for n in (1, 2):
        go_on(grown, n)
    grown.checkpoint()

    found = anchor.read_heads(grown.settings.anchor)

    assert [(each.chain, each.number) for each in found] == [("policy", 1), ("policy", 2)]
    assert chains(grown) == []
    assert grown.verify().intact


@pytest.mark.parametrize("went_on", [False, True], ids=["cut", "cut and continued"])
def test_a_tail_cut_off_with_its_records_shows_by_the_anchor(grown: Installation, *, went_on: bool) -> None:
    """C179: a policy that is gone together with all that the database had of it."""
    table = policies_store.applications
    go_on(grown, 1)
    back = grown.picture()
    go_on(grown, 2)

    back()
    do(grown, lambda ctx: ctx.tx.execute(delete(table).where(table.c.number == 2)))
    if went_on:
        grown.clock.advance(timedelta(hours=1))
        do(grown, lambda ctx: _add(ctx, 2))

    (fault,) = chains(grown)
    assert ("is not the one that is stored" if went_on else "is gone") in fault


def test_the_ends_of_chains_outlive_the_trimming_of_the_anchor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor, "ANCHOR_BYTES_BOUND", 2_000)
    monkeypatch.setattr(anchor, "ANCHOR_LINES_KEPT", 3)
    path = tmp_path / "anchor.log"
    head = AnchoredHead("registry", 7, AT, DIGEST)
    anchor.keep_head(path, head, fresh=True)

    for n in range(1, 60):
        anchor.keep(path, Anchored(n, AT + timedelta(seconds=n), DIGEST), fresh=True)

    assert anchor.read_heads(path) == [head]
    assert len(anchor.read(path)) < 40


@pytest.mark.parametrize(
    "line",
    [b"registry 7", b"registry 7 never " + b"ab" * 32, b"a b 7 2026-01-01T00:00:00+00:00 " + b"ab" * 32],
)
def test_a_line_that_is_no_end_of_a_chain_is_passed_over(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "anchor.log"
    path.write_bytes(line + b"\n")

    assert anchor.read_heads(path) == []
    assert anchor.read(path) == []
