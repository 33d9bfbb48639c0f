"""The settling of writes whose outcome is not on record: asking the FHIR server, and recording what it shows.

What cannot be found out is recorded as unknown. Nothing that is read here leaves the process but the place of the write itself.
Source: security decision 20
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any
from urllib.parse import quote

import orjson

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.bundles import resources_of
from hilum.foundation.standards.fhir.tags import REQUEST_TAG, request_of
from hilum.foundation.standards.fhir.values import is_id
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import UpstreamRequest
from hilum.gateway.upstream.policy import destination
from hilum.identity.people.models import TenantFacts, UpstreamKind
from hilum.records.audit import policy as audit
from hilum.records.audit.live import Intents, Journal
from hilum.records.audit.models import SETTLE_AFTER, SETTLEMENT, Access, OpenIntent, Outcome

SETTLE_EVERY = timedelta(seconds=5)
GIVE_UP_AFTER = timedelta(hours=24)
"""Age at which a write whose FHIR server cannot be asked is recorded as unknown for good."""
SETTLED_AT_ONCE = 100
"""Most writes of one tenant that are looked at in one turn."""
SKEW = timedelta(minutes=5)
"""How far the clock of a FHIR server may be off."""
Superseded = Callable[[TenantId, str, str, datetime], Iterable[bytes]]
"""Lists the versions of an embedded server that are no longer current, by tenant, type, text that they contain, and the moment since
when they were stored. Blocks; raises Unavailable."""
# With handling=strict: a server that ignores _tag would return any resource as the one that was found.
_HEADERS = (("accept", "application/fhir+json"), ("prefer", "handling=strict"))
_ABSENT = frozenset({404, 410})
_log = logs.get("gateway")


@dataclass(frozen=True, slots=True)
class SettledAs:
    """What became of a write, the evidence for it, and where it is stored (``Type/id``), if that is known."""

    outcome: Outcome
    sentence: str
    resource: str = ""


class _Later(Exception):
    """The FHIR server could not be asked just now."""


def is_due(write: OpenIntent, now: datetime, upstream: UpstreamKind | None) -> bool:
    """Check whether a write can no longer be in progress.

    A server in the process that died ended with it. Another server may still be working on what it was sent.
    """
    return now - write.intent.at >= SETTLE_AFTER or (write.dead and upstream is UpstreamKind.EMBEDDED)


def in_turn(due: Iterable[OpenIntent], turn: int) -> list[OpenIntent]:
    """Order what is due so that tenants alternate, each with its own budget.

    Each turn begins at another write of a tenant, so that one that cannot be settled does not keep back those after it.
    """
    tenants: dict[str, list[OpenIntent]] = {}
    for each in due:
        tenants.setdefault(each.intent.tenant, []).append(each)
    rows = []
    for waiting in tenants.values():
        start = turn % len(waiting)
        rows.append((waiting[start:] + waiting[:start])[:SETTLED_AT_ONCE])
    return [each for column in zip_longest(*rows) for each in column if each is not None]


class Settler:
    """Settles open intents. ``tenant_of`` returns a tenant's facts, None for one that no longer exists."""

    def __init__(
        self,
        upstreams: Upstreams,
        intents: Intents,
        journal: Journal,
        tenant_of: Callable[[str], TenantFacts | None],
        now: Callable[[], datetime],
        *,
        superseded: Superseded,
    ) -> None:
        self._upstreams, self._intents, self._journal = upstreams, intents, journal
        self._tenant_of, self._now = tenant_of, now
        self._superseded = superseded

    async def settle(self, due: Iterable[OpenIntent], may_continue: Callable[[], bool] = lambda: True) -> int:
        """Settle each, and return how many were. Raises Unavailable.

        One whose server cannot be asked is left for later, with all others of its tenant: they would wait for the same server.
        ``may_continue`` is asked before each question and before each record; it may block.
        """
        settled: list[str] = []
        away: set[str] = set()
        for each in due:
            if each.intent.tenant in away:
                continue
            if not await asyncio.to_thread(may_continue):
                break
            request_id = each.intent.request_id
            if not await self._is_closed(request_id):
                # The worker that sent the write may record its outcome at any moment, so that is
                # looked at before and after asking.
                finding = await self._find_outcome(each.intent)
                if finding is None:
                    away.add(each.intent.tenant)
                    continue
                if not await asyncio.to_thread(may_continue):
                    break
                if await self._is_closed(request_id):
                    continue
                await self._journal.record(_settlement(each.intent, finding, self._now()))
                # Only then may the app send the same again at once.
                if finding.outcome is Outcome.NOT_DONE:
                    self._journal.release(request_id)
                _log.warning("gateway.write.settled", request=request_id, outcome=finding.outcome.value)
            settled.append(request_id)
        if settled:
            await asyncio.to_thread(self._intents.forget, settled)
        return len(settled)

    async def _is_closed(self, request_id: str) -> bool:
        return any(map(audit.closes, await asyncio.to_thread(self._intents.find, request_id)))

    async def _find_outcome(self, intent: Access) -> SettledAs | None:
        tenant = self._tenant_of(intent.tenant)
        if tenant is None:
            return SettledAs(Outcome.UNKNOWN, "The tenant no longer exists.")
        if _has_moved(intent, tenant):
            return SettledAs(
                Outcome.UNKNOWN,
                "The tenant has moved to another FHIR server since. Only the previous one knows whether it carried out the write.",
            )
        try:
            # A Binary is created at an address that the gateway chose, and asked for there.
            if intent.interaction == "create" and not intent.resource:
                return await self._created(tenant, intent)
            if intent.interaction == "delete":
                return await self._deleted(tenant, intent)
            return await self._updated(tenant, intent)
        except (_Later, Unavailable):
            if self._now() - intent.at < GIVE_UP_AFTER:
                return None
            return SettledAs(Outcome.UNKNOWN, "The FHIR server could not be asked for a day.")

    async def _created(self, tenant: TenantFacts, intent: Access) -> SettledAs:
        """Search for a resource with the request's own tag.

        Finding none proves nothing: the next update replaces the tag, and a deletion hides it. Only the embedded server shows
        every version that was ever stored.
        """
        token = quote(f"{REQUEST_TAG}|{intent.request_id}", safe="")
        found = await self._search(tenant, f"{intent.resource_type}?_tag={token}&_count=2")
        for resource in found or ():
            if request_of(resource) == intent.request_id:
                return _done(
                    resource, intent, "The FHIR server has a resource that carries the request's tag."
                )
        # It answered with something that does not carry the tag: it did not search by it.
        if found is None or found:
            return SettledAs(Outcome.UNKNOWN, "The FHIR server does not search by tags.")
        if tenant.upstream.kind is not UpstreamKind.EMBEDDED:
            return SettledAs(
                Outcome.UNKNOWN,
                "Nothing was found by the request's tag. What was updated or deleted since is not found by it, "
                "and the FHIR server may not keep tags.",
            )
        if version := await self._find_superseded(tenant, intent):
            return _done(version, intent, "An earlier version of a resource carries the request's tag.")
        return SettledAs(
            Outcome.NOT_DONE,
            "No version of any resource at the embedded FHIR server carries the request's tag.",
        )

    async def _find_superseded(self, tenant: TenantFacts, intent: Access) -> dict[str, Any] | None:
        """Return the version that the request wrote, if the embedded server has replaced or deleted it. Raises Unavailable."""
        versions = await asyncio.to_thread(
            self._superseded, tenant.id, intent.resource_type, intent.request_id, intent.at - SKEW
        )
        found = (resource for body in versions if (resource := _parsed(body)) is not None)
        return next((each for each in found if request_of(each) == intent.request_id), None)

    async def _updated(self, tenant: TenantFacts, intent: Access) -> SettledAs:
        current = await self._read(tenant, intent.resource)
        if request_of(current) == intent.request_id:
            return _done(current, intent, "The record carries the request's tag.")
        if tenant.upstream.kind is UpstreamKind.EMBEDDED:
            if version := await self._find_superseded(tenant, intent):
                return _done(version, intent, "A version of the record carries the request's tag.")
            return SettledAs(Outcome.NOT_DONE, "No version of the record carries the request's tag.")
        if _is_older(current, intent.at):
            return SettledAs(Outcome.NOT_DONE, "The record was last changed before the request.")
        return SettledAs(Outcome.UNKNOWN, "The record was changed since, and does not say by which request.")

    async def _deleted(self, tenant: TenantFacts, intent: Access) -> SettledAs:
        current = await self._read(tenant, intent.resource)
        if current is None:
            # Whoever deleted it: the state that the app asked for is reached.
            return SettledAs(Outcome.DONE, "The record is gone.", intent.resource)
        if _is_older(current, intent.at):
            return SettledAs(
                Outcome.NOT_DONE, "The record is there, and was last changed before the request."
            )
        return SettledAs(Outcome.UNKNOWN, "The record is there, and was changed or made again since.")

    async def _search(self, tenant: TenantFacts, target: str) -> list[dict[str, Any]] | None:
        """Return the resources of a searchset; None if the server refuses the search. Raises _Later, Unavailable."""
        status, body = await self._get(tenant, target)
        found = _parsed(body) if status == 200 else None
        return list(resources_of(found)) if found and found.get("resourceType") == "Bundle" else None

    async def _read(self, tenant: TenantFacts, name: str) -> dict[str, Any] | None:
        status, body = await self._get(tenant, name)
        if status in _ABSENT:
            return None
        found = _parsed(body) if status == 200 else None
        # Something else than was asked for proves nothing, so it is asked again later.
        if found is None or f"{found.get('resourceType')}/{found.get('id')}" != name:
            raise _Later
        return found

    async def _get(self, tenant: TenantFacts, target: str) -> tuple[int, bytes]:
        response = await self._upstreams.send(tenant, UpstreamRequest("GET", target, _HEADERS))
        # About the gateway's credentials or the server's load; it says nothing of the write.
        if response.status in {401, 403, 407, 408, 425, 429} or response.status >= 500:
            raise _Later
        return response.status, response.body


def _has_moved(intent: Access, tenant: TenantFacts) -> bool:
    """Check whether a write went to another FHIR server than its tenant's present one. Intents of earlier releases do not say to which."""
    return bool(intent.detail) and intent.detail != destination(tenant.upstream)


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        found = orjson.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _done(resource: dict[str, Any] | None, intent: Access, sentence: str) -> SettledAs:
    id_ = (resource or {}).get("id")
    place = f"{intent.resource_type}/{id_}" if isinstance(id_, str) and is_id(id_) else intent.resource
    return SettledAs(Outcome.DONE, sentence, place)


def _is_older(resource: dict[str, Any] | None, moment: datetime) -> bool:
    """Check whether a record says that it was last changed well before a moment."""
    meta = (resource or {}).get("meta")
    updated = meta.get("lastUpdated") if isinstance(meta, dict) else None
    try:
        return isinstance(updated, str) and datetime.fromisoformat(updated) < moment - SKEW
    except (TypeError, ValueError):
        return False


def _settlement(intent: Access, finding: SettledAs, now: datetime) -> Access:
    return replace(
        intent,
        at=now,
        outcome=finding.outcome,
        status=0,
        rule=SETTLEMENT,
        detail=finding.sentence,
        resource=finding.resource or intent.resource,
        latency_us=0,
        cost=0,
    )
