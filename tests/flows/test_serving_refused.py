"""What ``hilum serve`` refuses before it listens: another key, an embedded FHIR server on a second node (faults 4 and 11)."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, TenantChange, UpstreamKind, UpstreamRef
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.server import jobs
from hilum.server.commands.main import main
from tests.conftest import SECRET_KEY

OTHER_KEY = "another-key-encryption-key-0123456789abcdef"
TRACE = Trace("req_test")
EMBEDDED = Tenant(TenantId("clinic"), "Clinic", UpstreamRef(UpstreamKind.EMBEDDED))
Serve = Callable[..., Result]


@pytest.fixture
def serve(uow: UnitOfWork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Start the jobs part of a node; what starts, ends at once."""
    monkeypatch.setattr(jobs, "run", lambda _settings: None)

    def start(*words: str, key: str = SECRET_KEY, **more: str) -> Result:
        clear: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HILUM_")}
        given = {"HILUM_SECRET_KEY": key, "HILUM_DATABASE_URL": uow.db.url, "HILUM_DATA_DIR": str(tmp_path)}
        done = CliRunner().invoke(main, words or ("serve", "--part", "jobs"), env=clear | given | more)
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        assert OTHER_KEY not in done.output
        assert SECRET_KEY not in done.output
        return done

    return start


def do(uow: UnitOfWork, verb: Callable[[Context], object]) -> None:
    uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def report(uow: UnitOfWork, name: str) -> None:
    do(uow, lambda ctx: nodes.report(ctx.tx, Node(name, 1, release(), f"boot-{name}")))


def test_a_fresh_platform_keeps_the_key_that_it_was_first_started_with(serve: Serve) -> None:
    """Its first start signs the policy that it adopts."""
    assert serve().exit_code == 0

    refused = serve(key=OTHER_KEY)

    assert refused.exit_code == 1
    assert "HILUM_SECRET_KEY does not open the signing key of the policy" in refused.stderr
    assert "secret_key_wrong" in refused.stderr
    assert serve().exit_code == 0


def test_migrating_notes_the_key_too_and_so_does_a_second_time_not(serve: Serve) -> None:
    assert serve("migrate").exit_code == 0

    for words in ((), ("migrate",), ("serve",)):
        assert serve(*words, key=OTHER_KEY).exit_code == 1, words
    assert serve().exit_code == 0


def test_an_older_platform_starts_only_with_the_key_that_opens_its_sealed_values(
    serve: Serve, uow: UnitOfWork
) -> None:
    """Valid tokens answered 401, refresh tokens invalid_grant, and it was ready. Nothing was noted then."""
    do(uow, lambda ctx: keys.ensure(ctx, Purpose.CHECKPOINT, ""))

    refused = serve(key=OTHER_KEY)

    assert refused.exit_code == 1
    assert "does not open the signing key of the audit" in refused.stderr
    assert uow.read_now(keys.is_same_key, actor=SYSTEM, trace=TRACE) is None, "a wrong key is not noted"
    assert serve().exit_code == 0
    assert uow.read_now(keys.is_same_key, actor=SYSTEM, trace=TRACE) is True


def test_the_doctor_says_so_too(serve: Serve) -> None:
    assert serve().exit_code == 0

    found = serve("doctor", "--json", key=OTHER_KEY)

    assert found.exit_code == 1
    told = {each["check"]: each for each in orjson.loads(found.stdout)}["secret key"]
    assert not told["ok"]
    assert "restored backup" in told["next"]


def test_a_noted_key_that_somebody_changed_is_not_believed(serve: Serve, uow: UnitOfWork) -> None:
    from hilum.records.keys.store import key_check

    assert serve().exit_code == 0
    do(uow, lambda ctx: ctx.tx.execute(update(key_check).values(sealed="A" * 80)))

    assert serve().exit_code == 1


def test_a_second_node_does_not_start_where_a_tenant_lives_in_the_first_ones_directory(
    serve: Serve, uow: UnitOfWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second node answered 404 for a real patient, and ``total: 0``."""
    do(uow, lambda ctx: identity.add_tenant(ctx, EMBEDDED))
    report(uow, "first")
    real = time.sleep

    def meanwhile(_seconds: float) -> None:
        real(0.01)
        report(uow, "first")

    monkeypatch.setattr("hilum.server.commands.preflight.time.sleep", meanwhile)

    refused = serve()

    assert refused.exit_code == 1
    assert "embedded_needs_one_node" in refused.stderr
    assert "The FHIR data of clinic is in the data directory of one node, and first serves" in refused.stderr
    assert [each.name for each in uow.db.read(nodes.list_nodes)] == ["first"], "the refused one is not listed"


def test_a_node_that_is_gone_is_not_waited_for_longer_than_its_time(serve: Serve, uow: UnitOfWork) -> None:
    do(uow, lambda ctx: identity.add_tenant(ctx, EMBEDDED))
    report(uow, "gone")
    seen = uow.db.read(nodes.database_now) - nodes.LIVE_FOR + timedelta(seconds=0.3)
    do(uow, lambda ctx: ctx.tx.execute(update(nodes.node).values(seen_at=seen)))

    assert serve().exit_code == 0


def test_a_node_started_again_does_not_stand_in_its_own_way(serve: Serve, uow: UnitOfWork) -> None:
    do(uow, lambda ctx: identity.add_tenant(ctx, EMBEDDED))

    assert serve().exit_code == 0
    assert serve().exit_code == 0


def test_nodes_without_embedded_tenants_are_as_many_as_one_likes(serve: Serve, uow: UnitOfWork) -> None:
    upstream = UpstreamRef(UpstreamKind.HTTP, "https://fhir.lakeside.example/r4")
    do(uow, lambda ctx: identity.add_tenant(ctx, Tenant(TenantId("lakeside"), "Lakeside", upstream)))
    report(uow, "first")

    assert serve().exit_code == 0
    assert serve(HILUM_NODE="third").exit_code == 0
    assert uow.db.read(nodes.count_live) == 3


def test_no_embedded_tenant_is_made_or_woken_where_several_nodes_serve(uow: UnitOfWork) -> None:
    """From the other side."""
    asleep = Tenant(TenantId("asleep"), "Asleep", UpstreamRef(UpstreamKind.EMBEDDED), active=False)
    far = Tenant(TenantId("far"), "Far", UpstreamRef(UpstreamKind.HTTP, "https://fhir.far.example/r4"))
    for tenant in (asleep, far):
        do(uow, partial(identity.add_tenant, tenant=tenant))
    report(uow, "a")
    report(uow, "b")

    for verb in (
        lambda ctx: identity.add_tenant(ctx, EMBEDDED),
        lambda ctx: identity.update_tenant(ctx, asleep.id, TenantChange(active=True)),
        lambda ctx: identity.update_tenant(ctx, far.id, TenantChange(upstream=EMBEDDED.upstream)),
    ):
        with pytest.raises(Invalid, match="embedded_needs_one_node") as refused:
            do(uow, verb)
        assert "upstream" in refused.value.fields
    do(uow, lambda ctx: identity.update_tenant(ctx, far.id, TenantChange(name="Farther")))
    tenants = uow.read_now(identity.list_tenants, actor=SYSTEM, trace=TRACE)
    assert {(each.id, each.active, each.upstream.kind.value) for each in tenants} == {
        ("asleep", False, "embedded"),
        ("far", True, "http"),
    }
