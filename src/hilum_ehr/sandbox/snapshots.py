"""Snapshots of vendors, as the site knows them: one file for each, with what opens it and which charts it has.

The platform writes the files; the site never lists them. Whoever comes without a snapshot's key is answered as if it were not there.
"""

import hmac
import os
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
from cachetools import LRUCache

from hilum_ehr.sandbox.credentials import FILE_BOUND
from hilum_ehr.synthesis.models import HospitalPlan

FOLDER = "snapshots"
BROWSERS_BOUND = 2_000
ENTERED_BOUND = 20
_TENANT = re.compile(r"own-[0-9a-f]{20,28}")


@dataclass(frozen=True, slots=True)
class OwnHospital:
    """A snapshot. ``template``: the synthetic hospital that it began as. ``door``: what lets a browser in; new with each reset."""

    tenant: str
    vendor: str
    name: str
    template: str
    password: str
    door: str
    client_id: str
    client_secret: str
    apps: list[dict[str, str]] = field(default_factory=list)
    """``client``, ``name`` and ``description`` of each that a chart opens."""
    charts: list[dict[str, Any]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    def plan(self, templates: tuple[HospitalPlan, ...]) -> HospitalPlan | None:
        """Return the plan of the hospital; None if this release has no such template."""
        found = next((each for each in templates if each.tenant == self.template), None)
        return (
            None if found is None else replace(found, tenant=self.tenant, name=f"{found.name} ({self.name})")
        )


class SnapshotBook:
    """The files of a data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._read: LRUCache[str, tuple[tuple[int, int], OwnHospital]] = LRUCache(200)

    def find(self, tenant: str) -> OwnHospital | None:
        """Find a snapshot by the text of an address."""
        # The text becomes a part of a path.
        if _TENANT.fullmatch(tenant) is None:
            return None
        path = self._folder / f"{tenant}.json"
        try:
            found = path.stat()
            stamp = found.st_mtime_ns, found.st_ino
            kept = self._read.get(tenant)
            if kept is not None and kept[0] == stamp:
                return kept[1]
            if found.st_size > FILE_BOUND:
                return None
            read = OwnHospital(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        self._read[tenant] = stamp, read
        return read

    def save(self, card: OwnHospital) -> None:
        """Write a file, whole or not at all, readable by its owner only."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{card.tenant}.json"
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(card)))
        fresh.replace(path)

    def tenants(self) -> list[str]:
        """List the snapshots that have a file, for the platform; the site never lists them."""
        found = (path.stem for path in self._folder.glob("own-*.json"))
        return sorted(each for each in found if _TENANT.fullmatch(each))

    def forget(self, tenant: str) -> None:
        """Delete a file; nothing if there is none."""
        if _TENANT.fullmatch(tenant) is not None:
            (self._folder / f"{tenant}.json").unlink(missing_ok=True)


class Visitors:
    """Which snapshots each browser has entered, by the secret of its forms and the key with which it came. In memory, bounded."""

    def __init__(self) -> None:
        self._entered: LRUCache[str, dict[str, str]] = LRUCache(BROWSERS_BOUND)

    def enter(self, browser: str, card: OwnHospital, door: str) -> bool:
        """Let a browser in if its key is the snapshot's; return whether it is."""
        if not hmac.compare_digest(card.door.encode(), door.encode()):
            return False
        entered = {**self._entered.get(browser, {}), card.tenant: door}
        self._entered[browser] = dict(list(entered.items())[-ENTERED_BOUND:])
        return True

    def may_see(self, browser: str, card: OwnHospital) -> bool:
        """Check whether a browser came with the key that opens the snapshot now: a reset shuts out who came before."""
        held = self._entered.get(browser, {}).get(card.tenant, "")
        return bool(held) and hmac.compare_digest(card.door.encode(), held.encode())

    def entered(self, browser: str) -> tuple[str, ...]:
        """List the snapshots that a browser entered, the last one first."""
        return tuple(reversed(self._entered.get(browser, {})))
