"""Rows that everybody is read with: one that cannot be read counts for nothing, and for nothing else (ADR 150)."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import JSON, Table, literal_column, select, type_coerce, update

from hilum.cli import findings
from hilum.clients import service as clients
from hilum.clients import store as client_store
from hilum.controls import service as controls
from hilum.controls import store as control_store
from hilum.controls.models import EngageOrder, Mode, Target, TargetKind
from hilum.installations import service as installations
from hilum.installations import store as installation_store
from hilum.installations.models import NarrowOrder, WidenOrder
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from hilum.registry import service as registry
from hilum.registry import store as registry_store
from tests.sim.facts import whole
from tests.store.registry_ground import GENERAL, RITA, SAM, SERVER, Ground, add_another_app, ground, rows_of

__all__ = ["ground"]
CLIENTS, SECRETS = client_store.clients, client_store.secrets
INSTALLED = installation_store.installations
APPS, VERSIONS, CERTIFIED = registry_store.apps, registry_store.versions, registry_store.certifications
LATE: Any = literal_column(str(2**63 - 1))
EARLY: Any = literal_column(str(-(2**63)))


def shape(text: str) -> Any:
    """Return JSON of a shape that Hilum never writes there."""
    return type_coerce(literal_column(f"'{text}'"), JSON)


DAMAGE: dict[str, tuple[Table, dict[str, Any]]] = {
    "app, since when it is active": (APPS, {"active_since": LATE}),
    "app, when it was made": (APPS, {"created_at": EARLY}),
    "app, since when its purpose is": (APPS, {"purpose_since": LATE}),
    "version": (VERSIONS, {"created_at": LATE}),
    "version, its AI": (VERSIONS, {"ai_use": shape('{"autonomy": "acts_alone", "of": 1}')}),
    "certification, its end": (CERTIFIED, {"expires_at": LATE}),
    "certification, its withdrawal": (CERTIFIED, {"withdrawn_at": LATE}),
    "client, its end": (CLIENTS, {"expires_at": LATE}),
    "client, when it was made": (CLIENTS, {"created_at": EARLY}),
    "client, its redirects": (CLIENTS, {"redirect_uris": shape("5")}),
    "client, its keys": (CLIENTS, {"jwks": shape("[1]")}),
    "client, its use": (CLIENTS, {"backend_use": shape('["one"]')}),
}
OF_ANY_TYPE: dict[str, tuple[Table, dict[str, Any]]] = {
    "app, a word for a time": (APPS, {"active_since": literal_column("'soon'")}),
    "app, bytes for a name": (APPS, {"name": literal_column("x'ff00'")}),
    "certification, bytes for scopes": (CERTIFIED, {"scopes": literal_column("x'ff00'")}),
    "client, no JSON": (CLIENTS, {"origins": literal_column("'{'")}),
    "client, bytes": (CLIENTS, {"scopes": literal_column("x'ff00'")}),
}


def mine(ground: Ground, table: Table) -> Any:
    """Return the condition of the rows of a table that are of the app."""
    return (table.c.id if table is APPS else table.c.app) == ground.app.id


def write(ground: Ground, *statements: Any) -> None:
    """Write beside the platform, and announce it as a process that read everything again would find it."""
    ground.do(SYSTEM, lambda ctx: [ctx.tx.execute(each) for each in statements])
    ground.do(SYSTEM, registry.announce_change, ground.app.id, at=GENERAL)


def doctor(ground: Ground) -> findings.Finding:
    found: findings.Finding = ground.do(SYSTEM, findings._readable)
    return found


def test_a_row_that_cannot_be_read_counts_for_nothing_and_keeps_nobody_from_anything(ground: Ground) -> None:
    """Its client is unknown at every door, and `hilum doctor` names it; others go on. Repaired, it counts again."""
    client, _ = ground.client(**SERVER)
    ground.certify()
    ground.install()
    other = add_another_app(ground)
    on_sqlite = ground.do(SYSTEM, lambda ctx: ctx.tx.dialect.name == "sqlite")

    def counts() -> bool:
        facts = ground.facts()
        held = facts.clients.get(client.id)
        found = ground.do(SYSTEM, clients.client_facts, client.id)
        assert (GENERAL, other.id) in facts.installations
        assert (held is not None and held.certified_until is not None) == (
            found is not None and found.certified_until is not None
        )
        return found is not None and found.certified_until is not None

    assert counts()
    for name, (table, values) in (DAMAGE | (OF_ANY_TYPE if on_sqlite else {})).items():
        where = mine(ground, table)
        columns = [type_coerce(table.c[each], JSON) if isinstance(table.c[each].type, JSON) else table.c[each] for each in values]  # fmt: skip
        before = rows_of(ground, select(*columns).where(where))[0]
        write(ground, update(table).where(where).values(values))

        assert not counts(), name
        found = doctor(ground)
        assert not found.ok, name
        assert table.name in found.next, name
        assert "soon" not in found.next, name

        write(ground, update(table).where(where).values(before))
        assert counts(), name
        assert doctor(ground).ok, name


def test_a_secret_that_cannot_be_read_authenticates_nobody(ground: Ground) -> None:
    client, _ = ground.client(**SERVER)

    write(ground, update(SECRETS).where(SECRETS.c.client == client.id).values(created_at=LATE))

    found = ground.do(SYSTEM, clients.find_client, client.id)
    assert found is not None
    assert found.secrets == ()
    assert SECRETS.name in doctor(ground).next


def test_what_cannot_be_read_is_removed_and_not_changed(ground: Ground) -> None:
    """A change would store what stands for an unreadable value as if somebody had approved it."""
    client, _ = ground.client(**SERVER)
    ground.certify()
    made = ground.install()
    rows = update(INSTALLED).where(INSTALLED.c.id == made.id)
    write(
        ground,
        rows.values(approved_at=EARLY),
        update(CLIENTS).where(CLIENTS.c.id == client.id).values(created_at=EARLY),
    )

    for verb, order in (
        (partial(installations.narrow_installation, installation_id=made.id), NarrowOrder(roles=made.roles)),
        (partial(installations.widen, installation_id=made.id), WidenOrder(roles=made.roles)),
    ):
        with pytest.raises(Conflict, match="installation_unreadable"):
            ground.do(SYSTEM, verb, order=order)
    with pytest.raises(Conflict, match="client_unreadable"):
        ground.do(SYSTEM, clients.rotate_secret, client.id)

    ground.do(SYSTEM, installations.uninstall, made.id)
    assert ground.install().id != made.id


def test_what_was_withdrawn_does_not_come_back_with_a_row_that_cannot_be_read(ground: Ground) -> None:
    """A row that takes away is never overlooked alone: all of the app's certifications count for nothing, also one that is made afterwards."""
    client, _ = ground.client(**SERVER)
    first = ground.certify()
    ground.certify(scopes=("launch", "openid"))
    ground.do(RITA, registry.withdraw_certification, first.id)
    assert ground.facts().clients[client.id].certified_scopes == ("launch", "openid")

    damaged = update(CERTIFIED).where(CERTIFIED.c.id == first.id)
    write(ground, damaged.values(withdrawn_at=LATE))
    assert ground.facts().clients[client.id].certified_scopes == ()
    assert ground.do(SYSTEM, registry.certifications_of, ground.app.id) == []

    ground.certify(scopes=("launch",))
    assert ground.facts().clients[client.id].certified_scopes == ()
    write(ground, damaged.values(withdrawn_at=None))
    assert ground.facts().clients[client.id].certified_scopes == ("launch",)


def test_a_suspended_app_is_unknown_when_its_row_cannot_be_read_and_not_active(ground: Ground) -> None:
    client, _ = ground.client(**SERVER)
    ground.certify()
    ground.do(SAM, registry.suspend_app, ground.app.id, "It misbehaves.")

    write(ground, update(APPS).where(APPS.c.id == ground.app.id).values(state="active", active_since=LATE))

    assert client.id not in ground.facts().clients
    assert ground.do(SYSTEM, clients.find_client, client.id) is None


def test_a_switch_that_cannot_be_read_stops_everything(ground: Ground) -> None:
    """Without it nobody knows what it stops: no worker confirms what is in force, and each refuses (security decision 7)."""
    stop = EngageOrder(Target(TargetKind.TENANT, GENERAL), Mode.FULL_STOP, "A drill")
    ground.do(SAM, controls.engage, stop)
    table = control_store.switches
    ground.do(SYSTEM, lambda ctx: ctx.tx.execute(update(table).values(engaged_at=LATE)))

    with pytest.raises(OverflowError):
        ground.do(SYSTEM, whole(controls.switch_facts))
