"""What a worker publishes: a snapshot that is refreshed every few seconds, however many requests arrive."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from cachetools import LRUCache

from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import AppId
from hilum.review.certificates import policy, service
from hilum.review.certificates.models import (
    KNOWN_FOR,
    REFRESH_EVERY,
    TEXTS_KEPT,
    Certificate,
    PublicationChanges,
)

_TRACE = Trace("certificates")


class Published:
    """The platform's certificates by id and app, without their texts; status lists and keys. Used by one event loop."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._lock = asyncio.Lock()
        self._read_at = float("-inf")
        self._change = -1
        self._published: PublicationChanges | None = None
        self._certificates: dict[str, Certificate] = {}
        self._of_app: dict[AppId, set[str]] = {}
        self._named: dict[str, set[AppId]] = {}
        self._texts: LRUCache[str, str] = LRUCache(TEXTS_KEPT)

    async def refresh(self) -> None:
        """Read changes, if the last refresh was a while ago. If the database is away, the old state stays, and soon the state is unknown."""
        async with self._lock:
            if self._uow.clock.monotonic() - self._read_at < REFRESH_EVERY.total_seconds():
                return
            # Set before a failure, so that not every request asks a database that is away.
            self._read_at = self._uow.clock.monotonic()
            try:
                found = await self._uow.read(
                    partial(service.changes_since, change=self._change), trace=_TRACE
                )
            except HilumError:
                return
            self._apply(found)

    def _apply(self, found: PublicationChanges) -> None:
        if found.whole:
            self._certificates, self._of_app, self._named = {}, {}, {}
            self._texts.clear()
        for each in found.certificates:
            self._certificates[each.id] = each
            # A certification for sandboxes represents no app.
            if each.environment is Environment.PRODUCTION:
                self._of_app.setdefault(each.app, set()).add(each.id)
                self._named.setdefault(each.app_name.casefold(), set()).add(each.app)
        self._change, self._published = found.change, found

    @property
    def is_known(self) -> bool:
        """Return whether the state is at most KNOWN_FOR behind the registry and the switches."""
        at = None if self._published is None else self._published.at
        return at is not None and self._uow.clock.now() - at < KNOWN_FOR

    @property
    def keys(self) -> Mapping[str, Any]:
        return {"keys": []} if self._published is None else self._published.keys

    def status_list(self, number: int) -> str:
        """Return a status list; empty if there is none."""
        return "" if self._published is None else self._published.lists.get(number, "")

    def find(self, certificate_id: str) -> Certificate | None:
        return self._certificates.get(certificate_id)

    def of_app(self, named: str) -> Certificate | None:
        """Return an app's certificate, by its id or name; None also if two apps have this name."""
        found = self._of_app.get(AppId(named))
        if found is None:
            apps = self._named.get(named.casefold(), set())
            found = self._of_app[next(iter(apps))] if len(apps) == 1 else set()
        return policy.current(self._certificates[each] for each in found)

    async def text(self, certificate: Certificate) -> str:
        """Return the signed text of an existing certificate. Raises Unavailable."""
        text = self._texts.get(certificate.id)
        if text is None:
            text = await self._uow.read(partial(service.text_of, certificate_id=certificate.id), trace=_TRACE)
            self._texts[certificate.id] = text
        return text
