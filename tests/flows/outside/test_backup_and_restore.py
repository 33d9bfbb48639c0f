"""A backup is taken while the platform serves, and a restore brings nothing back to life that was issued before it."""

import asyncio
import shutil
import sqlite3
import tarfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.settings import read as read_settings
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.keys.live import Vault
from hilum.server import backup as backups
from tests.flows.journal_ground import TRACE, JournalGround, access
from tests.flows.outside.conftest import Starter, widen
from tests.flows.outside.ground import Grant, Outside, outside_of, refreshed, refused_grant, tell
from tests.sim.nodes import Node, Nodes, Through
from tests.sim.postgres import Cluster, free_port
from tests.sim.running import Running, start
from tests.unit.policy.matrix.books import document

READERS, BREATH_S = 4, 0.02


@pytest.fixture(scope="module")
def serving(from_seed: Starter) -> Running:
    """A sandbox over SQLite, to be copied, destroyed and restored."""
    return from_seed()


def done(running: Running | Node, *words: str, **settings: str) -> dict[str, Any]:
    made = running.hilum(*words, "--json", **settings)
    assert made.returncode == 0, made.stderr
    return dict(orjson.loads(made.stdout))


async def under_load(outside: Outside, grant: Grant, work: Callable[[], Any]) -> Any:
    """Do something in a thread while several apps read on and on."""
    ended, statuses = asyncio.Event(), Counter[int]()

    async def keep_reading() -> None:
        while not ended.is_set():
            statuses[(await outside.read(grant)).status_code] += 1
            # Some are under way at every moment all the same, and the backup gets its share of the machine.
            await asyncio.sleep(BREATH_S)

    readers = [asyncio.create_task(keep_reading()) for _ in range(READERS)]
    try:
        return await asyncio.to_thread(work)
    finally:
        ended.set()
        await asyncio.gather(*readers)
        # A crowded machine may confirm too late what is permitted, and says 503 then.
        assert statuses[200], statuses
        assert set(statuses) <= {200, 503}, statuses


async def narrow_the_policy(outside: Outside) -> None:
    narrower = document({"categories.scheduling.entries.low.quota": {"burst": 99}})
    body = {"document": orjson.loads(orjson.dumps(narrower)), "base": 1, "note": "narrower"}
    added = (await outside.api("POST", "/policies/versions", body)).json()
    order = {"version": added["number"], "after": 1, "reason": "an emergency", "emergency": True}
    assert (await outside.api("POST", "/policies/applications", order)).status_code == 201


def restarted(running: Running) -> Running:
    url = running.environment["HILUM_DATABASE_URL"]
    again = start(running.home, database_url=url)
    running.process, running.card, running.base = again.process, again.card, again.base
    running.sandbox, running.environment = again.sandbox, again.environment
    return running


def test_what_was_issued_before_a_restore_is_dead_after_it_and_what_was_stopped_stays_stopped(
    serving: Running, tmp_path: Path
) -> None:
    """The whole way round over SQLite, under light load."""
    copy = tmp_path / "copy"

    async def before(outside: Outside) -> tuple[Grant, Grant, str, dict[str, Any]]:
        await widen(outside)
        held, revoked = await outside.grant(), await outside.grant()
        app = await outside.app_of("northgate-registry")
        await outside.engage("app", app["app"])
        made = await under_load(outside, held, lambda: done(serving, "backup", str(copy)))
        client = revoked.client
        given = {"token": revoked.token["refresh_token"]}
        secret = (client.id, client.card["secret"])
        answer = await outside.http.post(client.discovery["revocation_endpoint"], data=given, auth=secret)
        assert answer.status_code == 200, answer.text
        opened = (await outside.open_launch("bench-symmetric")).json()["open_url"]
        await narrow_the_policy(outside)
        return held, revoked, opened, made

    held, revoked, opened, made = tell(serving, before)
    assert made["checkpoint"] > 0
    secret = serving.environment["HILUM_SECRET_KEY"].encode()
    assert not any(secret in each.read_bytes() for each in copy.rglob("*") if each.is_file())
    assert not list(copy.rglob("*anchor*"))
    refused = serving.hilum("restore", str(copy), "--replace")
    assert (refused.returncode, "nodes_serve" in refused.stderr) == (1, True), refused.stderr

    tokens = {each["username"]: each["api_token"] for each in serving.card["staff"]}
    serving.stop()
    (serving.home / "audit-anchor.log").rename(tmp_path / "anchor-of-before.log")
    restored = done(serving, "restore", str(copy), "--replace")
    assert restored["sessions"] >= 1
    assert restored["api_tokens"] >= len(tokens)
    for word in (
        "consents",
        "policies",
        "agreements and service owners",
        "exceptions",
        "tiers",
        "facilities",
        "holds",
    ):
        assert any(word in each for each in restored["cannot_be_known"])
    book = restored["policy_version"]
    assert (book["everywhere"], book["last"], book["faults"]) == (1, 1, [])
    assert restored["replaced_application"] == 2
    verified = serving.hilum("audit", "verify", "--json")
    assert orjson.loads(verified.stdout)["intact"], verified.stdout
    assert serving.hilum("doctor").returncode == 0

    restarted(serving)

    async def after(outside: Outside) -> None:
        dead = await outside.api("GET", "/switches")
        assert dead.status_code == 401, "an API token of before the restore"
        for grant in (held, revoked):
            moved = Grant(await outside.client(grant.client.id), grant.browser, grant.token, grant.patient)
            assert (await outside.read(moved)).status_code in {401, 403}
            assert refused_grant(await refreshed(outside, moved))
        url = opened.replace(opened.partition("/t/")[0], serving.base)
        assert (await outside.http.get(url)).status_code in {403, 404, 410}
        assert (await outside.backend(client_id="northgate-registry")).status_code in {400, 401}
        assert (await outside.read(await outside.grant())).status_code == 200

    tell(serving, after)
    events = serving.hilum("audit", "verify", "--json")
    assert orjson.loads(events.stdout)["intact"]


def test_the_same_holds_over_postgresql_by_its_own_tools(
    nodes: Nodes, postgres_cluster: Cluster, tmp_path: Path
) -> None:
    """Two nodes serve while one is copied; the copy is served by a third, from a database of its own."""
    copy = tmp_path / "copy.tar"

    async def before(_a: Outside, b: Outside, either: Outside) -> tuple[Grant, dict[str, Any]]:
        held = await either.grant()
        made = await under_load(b, held, lambda: done(nodes.a, "backup", str(copy)))
        return held, made

    held, made = nodes.tell(before)
    assert made["checkpoint"] > 0
    refused = nodes.a.hilum("restore", str(copy), "--replace")
    assert (refused.returncode, "nodes_serve" in refused.stderr) == (1, True), refused.stderr
    url = postgres_cluster.empty("restored")
    settings = {"HILUM_DATABASE_URL": url, "HILUM_DATA_DIR": str(tmp_path / "home")}
    listen = f"127.0.0.1:{free_port()}"
    third = Node(
        "c",
        tmp_path / "home",
        listen,
        nodes.a.environment | settings | {"HILUM_LISTEN": listen},
        nodes.a.path,
    )
    cut = tmp_path / "cut.tar"
    cut.write_bytes(copy.read_bytes()[:-40_000])
    damaged = third.hilum("restore", str(cut))
    assert (damaged.returncode, "backup_" in damaged.stderr) == (1, True), damaged.stderr
    with psycopg.connect(url) as db:
        assert db.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)

    assert done(third, "restore", str(copy))["manifest"]["files"] == made["files"]
    twice = third.hilum("restore", str(copy))
    assert (twice.returncode, "target_not_empty" in twice.stderr) == (1, True), twice.stderr
    assert orjson.loads(third.hilum("audit", "verify", "--json").stdout)["intact"]
    third.start()
    try:
        asyncio.run(nothing_of_before(nodes, third, held))
    finally:
        third.stop()
    assert orjson.loads(third.hilum("audit", "verify", "--json").stdout)["intact"]


async def nothing_of_before(nodes: Nodes, third: Node, held: Grant) -> None:
    async with outside_of(nodes, Through([third.listen])) as outside:
        moved = Grant(await outside.client(held.client.id), held.browser, held.token, held.patient)
        assert (await outside.read(moved)).status_code in {401, 403}
        assert refused_grant(await refreshed(outside, moved))
        assert (await outside.api("GET", "/switches")).status_code == 401
        assert (await outside.read(await outside.grant())).status_code == 200


@pytest.fixture(scope="module")
def copy(serving: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("backups") / "copy"
    done(serving, "backup", str(made))
    return made


def elsewhere(tmp_path: Path) -> dict[str, str]:
    """Another, empty installation to restore into."""
    home = tmp_path / "elsewhere"
    return {"HILUM_DATA_DIR": str(home), "HILUM_DATABASE_URL": f"sqlite:///{home}/hilum.db"}


def test_a_backup_that_was_cut_short_or_changed_is_refused_and_changes_nothing(
    serving: Running, copy: Path, tmp_path: Path
) -> None:
    where = elsewhere(tmp_path)
    largest = max((each for each in copy.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    whole = largest.read_bytes()
    manifest = (copy / "manifest.json").read_bytes()

    def spoiled(code: str, told: str) -> None:
        refused = serving.hilum("restore", str(copy), **where)
        assert (refused.returncode, code in refused.stderr) == (1, True), refused.stderr
        assert told in refused.stderr, refused.stderr
        assert not list(Path(where["HILUM_DATA_DIR"]).rglob("*.db"))

    largest.write_bytes(whole[:-4096])
    spoiled("backup_damaged", "is cut short")
    largest.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
    spoiled("backup_damaged", "does not match its manifest")
    largest.unlink()
    spoiled("backup_damaged", "is missing")
    largest.write_bytes(whole)
    (copy / "manifest.json").write_bytes(manifest.replace(b'"checkpoint": ', b'"checkpoint": 1'))
    spoiled("backup_changed", "HILUM_SECRET_KEY")
    (copy / "manifest.json").write_bytes(manifest[:-20])
    spoiled("backup_unreadable", "is not a backup")
    (copy / "manifest.json").write_bytes(manifest)
    wrong = serving.hilum("restore", str(copy), **where, HILUM_SECRET_KEY="another-key" * 4)
    assert (wrong.returncode, "backup_changed" in wrong.stderr) == (1, True), wrong.stderr
    assert done(serving, "restore", str(copy), **where)["links"] == 0


def test_a_backup_goes_to_a_new_place_and_a_restore_into_an_empty_one(
    serving: Running, copy: Path, tmp_path: Path
) -> None:
    again = serving.hilum("backup", str(copy))
    assert (again.returncode, "backup_exists" in again.stderr) == (1, True)
    where = elsewhere(tmp_path)
    done(serving, "restore", str(copy), **where)
    twice = serving.hilum("restore", str(copy), **where)
    assert (twice.returncode, "target_not_empty" in twice.stderr) == (1, True), twice.stderr
    done(serving, "restore", str(copy), "--replace", **where)
    kinds = {"sqlite": "postgresql://nobody@127.0.0.1:1/none", "postgresql": f"sqlite:///{tmp_path}/x.db"}
    kind = serving.environment["HILUM_DATABASE_URL"].partition(":")[0]
    other = serving.hilum(
        "restore", str(copy), HILUM_DATABASE_URL=kinds[kind], HILUM_DATA_DIR=str(tmp_path / "y")
    )
    assert (other.returncode, "backup_of_another_kind" in other.stderr) == (1, True), other.stderr


def test_a_backup_in_one_file_is_the_same(serving: Running, tmp_path: Path) -> None:
    packed = tmp_path / "copy.tar"
    made = done(serving, "backup", str(packed))
    with tarfile.open(packed) as opened:
        assert {each.name for each in opened} == {each["name"] for each in made["files"]} | {"manifest.json"}
    assert packed.stat().st_mode & 0o077 == 0
    where = elsewhere(tmp_path)
    cut = tmp_path / "cut.tar"
    cut.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    refused = serving.hilum("restore", str(cut), **where)
    assert refused.returncode == 1
    assert "backup_" in refused.stderr
    assert done(serving, "restore", str(packed), **where)["manifest"]["checkpoint"] == made["checkpoint"]


def test_a_copy_of_a_live_database_is_whole_whatever_is_written_meanwhile(tmp_path: Path) -> None:
    """``cp -a`` of a live directory gave one damaged copy in four."""
    from hilum.server.backup import copy_database

    source = tmp_path / "live.db"
    with closing(sqlite3.connect(source, isolation_level=None)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("CREATE TABLE pair (a INTEGER, b INTEGER)")
        live.execute("BEGIN")
        live.executemany("INSERT INTO pair VALUES (?, ?)", ((n, n) for n in range(50_000)))
        live.execute("COMMIT")
        copied = 0

        def write_on(_share: float) -> None:
            nonlocal copied
            copied += 1
            live.execute("UPDATE pair SET a = a + 1, b = b + 1 WHERE rowid % 7 = 0")

        copy_database(source, tmp_path / "copy.db", write_on)
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert copy.execute("SELECT count(*) FROM pair WHERE a <> b").fetchone() == (0,)
        assert copy.execute("SELECT count(*) FROM pair").fetchone() == (50_000,)
    assert copied


def test_a_backup_holds_every_chain_that_its_checkpoints_name_whoever_begins_meanwhile(
    sqlite_uow: UnitOfWork, tmp_path: Path
) -> None:
    """A worker that starts during a backup opens a journal file of its own, and a checkpoint may cover it at once."""
    home = tmp_path / "home"
    place = JournalGround(sqlite_uow, sqlite_uow.db.url, home / "journal")
    (home / "fhir").mkdir(parents=True)
    with closing(sqlite3.connect(home / "fhir" / "general.db")) as store:
        store.execute("CREATE TABLE resource (id INTEGER)")
    begun: list[journals.Journal] = []

    def another_begins(_share: float = 0.0) -> None:
        journal = place.boot()
        begun.append(journal)
        asyncio.run(journal.record(access(len(begun))))
        place.checkpoint()

    another_begins()
    given = {"HILUM_DATA_DIR": str(home), "HILUM_SECRET_KEY": "x" * 40, "HILUM_DATABASE_URL": place.url}
    copy = tmp_path / "copy"

    def read(verb: Callable[[Any], backups.Manifest]) -> backups.Manifest:
        return sqlite_uow.read_now(verb, trace=TRACE)

    try:
        made = backups.make(read_settings(given), copy, read, another_begins)
    finally:
        for journal in begun:
            journal.close()

    assert len(begun) > 3
    assert "journal/claims.db" in {each.name for each in made.files} or not list(
        home.glob("journal/claims.db")
    )
    copied = UnitOfWork.create(
        Database(f"sqlite:///{copy}/hilum.db"), sqlite_uow.clock, sqlite_uow.ids, "test-copy"
    )
    reader = journals.open_reader(copy / "journal", f"sqlite:///{copy}/hilum.db")
    found = copied.read_now(lambda ctx: audit.verify(ctx, reader), trace=TRACE)
    copied.close()
    assert found.intact, found.faults


def test_a_restore_that_the_disk_refuses_leaves_what_was_there(
    serving: Running, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is moved away before everything is written; the refusal says so."""
    where = elsewhere(tmp_path)
    done(serving, "restore", str(copy), **where)
    home = Path(where["HILUM_DATA_DIR"])
    before = {path: path.stat().st_ino for path in home.rglob("*.db")}
    journal = next(path.name for path in copy.rglob("access-*.db"))
    real = shutil.copyfile

    def full(source: Path, target: Path) -> Any:
        if source.name == journal:
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr(shutil, "copyfile", full)
    refused = serving.hilum("restore", str(copy), "--replace", **where)

    assert refused.returncode == 1
    assert "restore_failed" in refused.stderr, refused.stderr
    assert "No space left" in refused.stderr
    assert "No file was replaced" in refused.stderr
    assert {path: path.stat().st_ino for path in home.rglob("*.db")} == before, (
        "the same files, in their places"
    )


def fit_after(running: Running | Node, **where: str) -> None:
    looked = running.hilum("doctor", **where)
    assert looked.returncode == 0, looked.stdout
    verified = running.hilum("audit", "verify", "--json", **where)
    assert orjson.loads(verified.stdout)["intact"], verified.stdout


async def nothing_stands_but_what_begins_now(outside: Outside) -> None:
    assert (await outside.api("GET", "/switches")).status_code == 401
    assert (await outside.read(await outside.grant())).status_code == 200


def test_a_backup_of_a_newer_release_is_refused_with_what_to_do(
    serving: Running, copy: Path, tmp_path: Path
) -> None:
    new, where = tmp_path / "new", elsewhere(tmp_path)
    shutil.copytree(copy, new)
    content = orjson.loads((new / backups.MANIFEST).read_bytes())
    del content["mac"]
    files = tuple(backups.Copied(**each) for each in content.pop("files"))
    made = backups.Manifest(**content | {"revision": "9998", "compatible_from": "9998"}, files=files)
    mac = Vault(serving.environment["HILUM_SECRET_KEY"]).mac(backups.MAC, made.signed, backups.MAC_SIZE)
    (new / backups.MANIFEST).write_bytes(orjson.dumps(asdict(made) | {"mac": mac}))

    refused = serving.hilum("restore", str(new), **where)

    assert (refused.returncode, "backup_newer" in refused.stderr) == (1, True), refused.stderr
    assert "restore it with the release that it was made with" in refused.stderr
    assert not list(Path(where["HILUM_DATA_DIR"]).rglob("*.db"))


def test_a_dump_is_restored_to_an_empty_database_and_served(
    nodes: Nodes, postgres_cluster: Cluster, tmp_path: Path
) -> None:
    """C184: the record verifies, and what was issued before is dead."""
    done(nodes.a, "backup", str(tmp_path / "copy"))
    listen = f"127.0.0.1:{free_port()}"
    settings = {
        "HILUM_DATABASE_URL": postgres_cluster.empty("brought_up"),
        "HILUM_DATA_DIR": str(tmp_path / "home"),
    }
    third = Node(
        "c",
        tmp_path / "home",
        listen,
        nodes.a.environment | settings | {"HILUM_LISTEN": listen},
        nodes.a.path,
    )

    restored = done(third, "restore", str(tmp_path / "copy"))

    assert not restored["migrated"]
    fit_after(third)
    third.start()
    try:
        asyncio.run(_serves(nodes, third))
    finally:
        third.stop()


async def _serves(nodes: Nodes, third: Node) -> None:
    async with outside_of(nodes, Through([third.listen])) as outside:
        await nothing_stands_but_what_begins_now(outside)
