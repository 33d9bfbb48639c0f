"""The table of contracts: the shapes of calls that were certified."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import JSON, Column, Connection, Row, String, Table, select

from hilum.evidence.models import RunContract, Shape
from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.kernel.ids import AppId, VersionId

contracts = Table(
    "evidence_contract",
    metadata,
    Column("certification", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("submission", String(64), nullable=False),
    Column("submitted", String(64), nullable=False),
    Column("run", String(64), nullable=False),
    Column("result", String(64), nullable=False),
    Column("shapes", JSON, nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("kid", String(64), nullable=False),
    Column("signature", String(120), nullable=False),
)


def add(tx: Connection, contract: RunContract) -> None:
    """Add a contract. That of a certification never changes."""
    values = asdict(contract)
    values.pop("genuine")
    tx.execute(insert_or_ignore(tx, contracts).values(values | {"shapes": list(values["shapes"])}))


def find(tx: Connection, certification: str) -> RunContract | None:
    """Find the contract of a certification."""
    row = tx.execute(select(contracts).where(contracts.c.certification == certification)).first()
    return None if row is None else _contract(row)


def _contract(row: Row[Any]) -> RunContract:
    values = dict(row._mapping)  # noqa: SLF001 - the public way to a row's names
    shapes = tuple(
        Shape(**each | {name: tuple(each[name]) for name in ("scopes", "parameters")}) for each in row.shapes
    )
    return RunContract(
        **values | {"app": AppId(row.app), "version": VersionId(row.version), "shapes": shapes}
    )
