"""The table of contracts: the certified shapes of calls."""

from collections.abc import Collection, Mapping
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
    """Add a contract. A certification's contract never changes."""
    values = asdict(contract)
    values.pop("genuine")
    tx.execute(insert_or_ignore(tx, contracts).values(values | {"shapes": list(values["shapes"])}))


def find_some(tx: Connection, certifications: Collection[str]) -> list[RunContract]:
    """Find the contracts of some certifications."""
    query = select(contracts).where(contracts.c.certification.in_(certifications))
    return [_contract(row) for row in tx.execute(query)] if certifications else []


def list_after(tx: Connection, after: str, limit: int) -> list[RunContract]:
    """List contracts by certification."""
    query = select(contracts).where(contracts.c.certification > after)
    return [_contract(row) for row in tx.execute(query.order_by(contracts.c.certification).limit(limit))]


def _contract(row: Row[Any]) -> RunContract:
    values = dict(row._mapping)
    shapes: tuple[Shape, ...] = ()
    try:
        shapes = tuple(_shape(each) for each in row.shapes)
    except (KeyError, TypeError):
        # This release cannot read it, so it cannot be what was signed: without a signature it counts as edited.
        values["signature"] = ""
    return RunContract(
        **values | {"app": AppId(row.app), "version": VersionId(row.version), "shapes": shapes}
    )


def _shape(written: Mapping[str, Any]) -> Shape:
    of_tuples: dict[str, Any] = {name: tuple(written[name]) for name in ("scopes", "parameters")}
    return Shape(**dict(written) | of_tuples)
