"""The files by which the sandbox site knows vendors' snapshots: one for each, with its keys, credentials and charts.

The platform writes them, and the site never lists them. A browser without a snapshot's key is answered as if there were no such hospital.
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
CACHED_BOUND = 200
BROWSERS_BOUND = 2_000
ENTERED_BOUND = 20
"""Snapshots that one browser has entered."""
_TENANT = re.compile(r"own-[0-9a-f]{20,28}")


@dataclass(frozen=True, slots=True)
class OwnHospital:
    """A snapshot. ``template``: the synthetic hospital that it began as. ``door``: the key that lets a browser in; new with each reset."""

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
        template = next((each for each in templates if each.tenant == self.template), None)
        if template is None:
            return None
        return replace(template, tenant=self.tenant, name=f"{template.name} (snapshot {self.name})")


class SnapshotBook:
    """Reads and writes the files of a data folder. Each is cached until it is replaced."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / FOLDER
        self._cached: LRUCache[str, tuple[tuple[int, int], OwnHospital]] = LRUCache(CACHED_BOUND)

    def find(self, tenant: str) -> OwnHospital | None:
        """Return a snapshot by its tenant, as written in an address; None if there is none, or its file cannot be read."""
        # The text becomes a part of a path.
        if _TENANT.fullmatch(tenant) is None:
            return None
        path = self._folder / f"{tenant}.json"
        try:
            status = path.stat()
            version = status.st_mtime_ns, status.st_ino
            cached = self._cached.get(tenant)
            if cached is not None and cached[0] == version:
                return cached[1]
            if status.st_size > FILE_BOUND:
                return None
            card = OwnHospital(**orjson.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            return None
        self._cached[tenant] = version, card
        return card

    def save(self, card: OwnHospital) -> None:
        """Write a file, whole or not at all, readable by its owner only."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{card.tenant}.json"
        new_file = path.with_suffix(".new")
        descriptor = os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(orjson.dumps(asdict(card)))
        new_file.replace(path)

    def tenants(self) -> list[str]:
        """List the tenants that have a file. Only the platform calls this."""
        names = (path.stem for path in self._folder.glob("own-*.json"))
        return sorted(name for name in names if _TENANT.fullmatch(name))

    def forget(self, tenant: str) -> None:
        """Delete a file, if there is one."""
        if _TENANT.fullmatch(tenant) is not None:
            (self._folder / f"{tenant}.json").unlink(missing_ok=True)


class Visitors:
    """Records which snapshots each browser has entered, and with which key. Browsers are told apart by the secret of their forms."""

    def __init__(self) -> None:
        self._entered: LRUCache[str, dict[str, str]] = LRUCache(BROWSERS_BOUND)

    def enter(self, browser: str, card: OwnHospital, door: str) -> bool:
        """Let a browser in if its key is the snapshot's; return whether it was let in."""
        if not hmac.compare_digest(card.door.encode(), door.encode()):
            return False
        entered = {**self._entered.get(browser, {}), card.tenant: door}
        self._entered[browser] = dict(list(entered.items())[-ENTERED_BOUND:])
        return True

    def may_see(self, browser: str, card: OwnHospital) -> bool:
        """Check whether a browser entered with the snapshot's present key. A reset changes the key and so shuts out every browser."""
        door = self._entered.get(browser, {}).get(card.tenant, "")
        return bool(door) and hmac.compare_digest(card.door.encode(), door.encode())

    def entered(self, browser: str) -> tuple[str, ...]:
        """List the snapshots that a browser entered, the last one first."""
        return tuple(reversed(self._entered.get(browser, {})))
