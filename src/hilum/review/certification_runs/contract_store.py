"""The table of contracts: the certified shapes of calls."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import JSON, Column, Connection, Row, String, Table, select

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata
from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.review.certification_runs.models import RunContract, Shape

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
)


def add(tx: Connection, contract: RunContract) -> None:
    """Add a contract. A certification's contract never changes."""
    values = asdict(contract)
    tx.execute(insert_or_ignore(tx, contracts).values(values | {"shapes": list(values["shapes"])}))


def find_some(tx: Connection, certifications: Collection[str]) -> list[RunContract]:
    """Find the contracts of some certifications."""
    query = select(contracts).where(contracts.c.certification.in_(certifications))
    found = map(_contract, tx.execute(query)) if certifications else ()
    return [each for each in found if each is not None]


def _contract(row: Row[Any]) -> RunContract | None:
    """Return the contract of a row; None if its shapes cannot be read: then nothing is measured by it."""
    try:
        shapes = tuple(_shape(each) for each in row.shapes)
    except (KeyError, TypeError):
        return None
    values = dict(row._mapping) | {"app": AppId(row.app), "version": VersionId(row.version)}
    return RunContract(**values | {"shapes": shapes})


def _shape(written: Mapping[str, Any]) -> Shape:
    of_tuples: dict[str, Any] = {name: tuple(written[name]) for name in ("scopes", "parameters")}
    return Shape(**dict(written) | of_tuples)
