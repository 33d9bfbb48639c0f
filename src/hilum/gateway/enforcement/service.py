"""One FHIR request through the enforcement point.

The path of a request, in order:

1. ``routes.Gateway``: bytes to a ``GatewayRequest``. No token, or what is no FHIR request, ends here.
2. ``Enforcer.answer``: one snapshot, one time, the token (``tokens.live``), the search behind a page link.
3. ``policy.decide``: a ``Permit`` or a Deny. A Deny is recorded and answered.
4. ``Enforcer._carry_out``: the quota (``controls.live``), then ``executor.Executor`` does what was permitted: ``transport`` fetches
   from the FHIR server (``upstream.live``), ``resource_access`` judges every resource by what it says of itself
   (``standards.fhir.traits``), ``search`` and ``write`` do the rest.
5. ``Enforcer._end``: the audit record is durable (``audit.live``), and the request is decided again if anything has changed.
6. ``routes.Gateway``: ``rendering.render`` makes bytes of the ``RequestOutcome``.

Inside the module a refusal is a ``Deny``; ``Refusal`` raises it where a request cannot continue.
"""

import asyncio

import orjson

from hilum.authorization.tokens.models import AccessToken
from hilum.controls.switches.models import Quota, QuotaResult
from hilum.foundation.infra import metrics
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.statements import ServerCapabilities
from hilum.gateway.enforcement import policy
from hilum.gateway.enforcement.capability_statement import public_statement
from hilum.gateway.enforcement.deps import GatewayDeps
from hilum.gateway.enforcement.executor import Executor
from hilum.gateway.enforcement.grants import compiled_grant, quota_of
from hilum.gateway.enforcement.models import PERSON_QUOTA, GatewayRequest, Snapshot
from hilum.gateway.enforcement.pagelinks import PageLinks
from hilum.gateway.enforcement.records import corrected, record_of
from hilum.gateway.enforcement.rendering import RequestOutcome, absent, as_headers, rate_headers, refused
from hilum.gateway.enforcement.transport import refused_by
from hilum.gateway.enforcement.upstream_task import UNRECORDED, Refusal, ServerAddresses, UpstreamTask
from hilum.gateway.upstream.live import CapabilityCache
from hilum.identity.people.models import TenantFacts
from hilum.records.audit.models import UNDELIVERED, Access

_NO_STORE = Deny(Reason.SNAPSHOT_STALE, "The access token could not be looked up. Try again in a moment.")
_OVER_QUOTA = Deny(
    Reason.QUOTA_EXCEEDED,
    "The app's quota at this organisation is used up. Wait for as long as Retry-After says.",
)
_PERSON_OVER_QUOTA = Deny(
    Reason.QUOTA_EXCEEDED, "Too many records were looked up in a short time. Wait a moment, then try again."
)


class Enforcer:
    """The enforcement point of one process; used from its event loop."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._capability_cache = CapabilityCache(deps.upstreams, deps.clock)
        self._links = PageLinks(deps.vault, deps.ids)
        self._executor = Executor(deps.upstreams, self._links)
        self._statements: dict[TenantId, tuple[ServerCapabilities, bytes]] = {}
        self._addresses: dict[TenantId, ServerAddresses] = {}
        self._writing: set[asyncio.Future[RequestOutcome]] = set()

    async def answer(self, incoming: GatewayRequest) -> RequestOutcome:
        """Judge, carry out and record one request. What it returns is durable in the journal."""
        answer, _ = await self.conclude(incoming)
        return answer

    async def conclude(self, incoming: GatewayRequest) -> tuple[RequestOutcome, UpstreamTask | None]:
        """Do what ``answer`` does; return what was done too, None for what was never permitted."""
        deps = self._deps
        # One time and one snapshot for the whole decision: no two of its checks can disagree.
        incoming.at = deps.clock.now()
        snapshot = deps.snapshots.current()
        # As nearly always without awaiting anything. A read of the platform's own comes with its token.
        if incoming.token is None and incoming.bearer is not None:
            incoming.token = deps.tokens.get_cached(incoming.bearer) or await self._looked_up(incoming.bearer)
        addresses = self._addresses.get(incoming.tenant)
        incoming.bases = self.bases_of(incoming.tenant) if addresses is None else addresses.bases
        if deny := self._links.follow(incoming):
            return await self._refuse(incoming, snapshot, deny), None
        decision = policy.decide(incoming, snapshot, incoming.at)
        # The token's row is newer than the snapshot for some milliseconds after an app was
        # registered or installed.
        if isinstance(decision, Deny) and policy.may_be_outdated(decision, incoming):
            snapshot = await deps.snapshots.newer(deps.clock.monotonic())
            decision = policy.decide(incoming, snapshot, incoming.at)
        if isinstance(decision, Deny):
            return await self._refuse(incoming, snapshot, decision), None
        assert snapshot is not None, "nothing is permitted without a snapshot"
        addresses = self._addresses_of(decision.tenant)
        task = UpstreamTask(deps, incoming, snapshot, decision, addresses)
        if not decision.request.is_write:
            return await self._carry_out(task), task
        # A client that hangs up must not cancel a write between its intent and the record of its outcome.
        writing = asyncio.ensure_future(self._carry_out(task))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        return await asyncio.shield(writing), task

    async def _carry_out(self, task: UpstreamTask) -> RequestOutcome:
        """Execute a permitted request, record how it ended, and check that it is still permitted."""
        # Before the FHIR server is asked for anything, its CapabilityStatement included.
        spent = self._spend(task.incoming, task.token, task.permit.quota, task.permit.price)
        try:
            if not spent.allowed:
                raise Refusal(
                    _PERSON_OVER_QUOTA if task.incoming.purpose else _OVER_QUOTA, spent.retry_after_s
                )
            if task.permit.asks_capabilities:
                task.capabilities = await self._capabilities(task.addresses.tenant)
            ended = await self._executor.execute(task)
        except Refusal as refusal:
            if refusal.deny.reason is Reason.TRAFFIC_SHED:
                metrics.TRAFFIC_SHED.add(task.permit.grant.traffic)
            ended = RequestOutcome(0)
            task.refuse(ended, refusal)
        ended.rates, ended.origins = rate_headers(spent), task.permit.grant.origins
        if notice := policy.sunset_notice(task.permit):
            ended.rates += as_headers(notice)
        return await self._end(task.incoming, task.snapshot, ended, task)

    async def _end(
        self,
        incoming: GatewayRequest,
        snapshot: Snapshot | None,
        ended: RequestOutcome,
        task: UpstreamTask | None = None,
    ) -> RequestOutcome:
        """Record how a request ended, then decide again whether the answer of a permitted one (``task``) may leave. Return how it ended."""
        # First the record, then the second decision: if the answer leaves, its record is durable;
        # if it does not, a second record corrects the first. In the opposite order a stop could
        # come while the journal commits, and be missed.
        clock = self._deps.clock
        is_known = isinstance(incoming.token, AccessToken) and snapshot is not None
        record = task.record(ended) if task else record_of(incoming, snapshot, ended, now=clock.now())
        # An intent that could not be recorded is not tried a second time.
        if ended.deny is UNRECORDED or not await self._is_recorded(record, is_known=is_known):
            # No data is returned, and a write is never called not done. The record is kept in memory until the journal works
            # again; a process that ends before loses it, and settling still finds the write.
            has_left = task is not None and task.has_left
            ended.refuse(_unknown(incoming.request_id) if has_left else UNRECORDED)
            if is_known:
                outcome = record.outcome
                record = corrected(record, ended, clock.now())
                record.outcome = outcome if has_left else record.outcome
                self._deps.journal.note(record)
        elif task and ended.deny is None and self._deps.snapshots.current() is not task.snapshot:
            await self._withhold_if_lost(task, record, ended)
        if task and task.intended and ended.is_definite:
            ended.settles = (incoming.request_id,)
        return ended

    async def _withhold_if_lost(self, task: UpstreamTask, record: Access, ended: RequestOutcome) -> bool:
        """Withhold an answer that is no longer permitted, and record that it was prepared and not delivered. Return whether it was.

        Source: security decision 23
        """
        fault = task.fault_now()
        if fault is None:
            return False
        task.refuse(ended, Refusal(fault))
        correction = corrected(record, ended, self._deps.clock.now())
        correction.rule, correction.snapshot = UNDELIVERED, task.snapshot.epoch
        if not await self._is_recorded(correction):
            self._deps.journal.note(correction)
        return True

    async def _is_recorded(self, record: Access, *, is_known: bool = True) -> bool:
        """Record an access durably; return whether that was possible."""
        journal = self._deps.journal
        try:
            # Refusals without a valid token are counted beyond the first few, so that strangers
            # cannot grow the record without a bound.
            await (journal.record if is_known else journal.record_unauthenticated_refusal)(record)
        except Unavailable:
            return False
        return True

    async def withhold_if_lost_since(self, task: UpstreamTask, ended: RequestOutcome) -> bool:
        """Decide once more before an answer leaves that had to wait, since time has passed; withhold it if it is no longer permitted."""
        if not await self._withhold_if_lost(task, task.record(ended), ended):
            return False
        ended.settles = (task.incoming.request_id,) if task.intended and ended.is_definite else ()
        return True

    def answered(self, request_id: str) -> None:
        """Release the claim of a write whose outcome was sent to its app: from now on an identical write is a new one."""
        self._deps.journal.release(request_id)

    async def fault_before_body(self, incoming: GatewayRequest) -> Deny | None:
        """Return why the token of a request is refused, before its body is read; None if it is accepted."""
        deps = self._deps
        if incoming.bearer is not None:
            incoming.token = await self._looked_up(incoming.bearer)
        return policy.unread_fault(incoming, deps.snapshots.current(), deps.clock.now())

    async def refuse(self, incoming: GatewayRequest, deny: Deny, status: int = 0) -> RequestOutcome:
        """Refuse and record a request that is not judged: its body was not read, or not whole, or its batch has no room left for it.

        ``status`` replaces that of the reason.
        """
        deps = self._deps
        incoming.at = deps.clock.now()
        return await self._refuse(incoming, deps.snapshots.current(), deny, status=status)

    async def _refuse(
        self, incoming: GatewayRequest, snapshot: Snapshot | None, deny: Deny, *, status: int = 0
    ) -> RequestOutcome:
        """Refuse and record what was never permitted. With a valid token it costs as much quota as a permitted request: probing is not free."""
        token, ended = incoming.token, refused(deny, incoming.request)
        ended.status = status or ended.status
        if isinstance(token, AccessToken) and snapshot is not None:
            quota = quota_of(compiled_grant(token, incoming.purpose, snapshot, incoming.at), snapshot)
            ended.rates = rate_headers(self._spend(incoming, token, quota))
        ended.origins = self._origins(incoming.tenant, token, snapshot)
        return await self._end(incoming, snapshot, ended)

    async def metadata(self, tenant_id: TenantId) -> RequestOutcome:
        """Return a tenant's CapabilityStatement. Public."""
        snapshot = self._deps.snapshots.current()
        if snapshot is None:
            return refused(
                Deny(
                    Reason.SNAPSHOT_STALE, "The current state could not be confirmed. Try again in a moment."
                )
            )
        tenant = snapshot.identity.tenants.get(tenant_id)
        if tenant is None or not tenant.active:
            return absent()
        if fault := policy.statement_fault(tenant_id, snapshot, self._deps.clock.now()):
            return refused(fault)
        try:
            capabilities = await self._capabilities(tenant)
        except Refusal as refusal:
            return refused(refusal.deny)
        cached = self._statements.get(tenant_id)
        # By identity: a statement that was read again is another object.
        if cached is None or cached[0] is not capabilities:
            body = orjson.dumps(
                public_statement(capabilities, tenant_id, self._deps.urls, registers=self._deps.registers)
            )
            cached = self._statements[tenant_id] = (capabilities, body)
        return RequestOutcome(200, cached[1])

    def preflight_origins(self, tenant: TenantId) -> frozenset[str]:
        """Return the origins of all clients installed at a tenant."""
        return self._origins(tenant, None, self._deps.snapshots.current())

    async def _looked_up(self, bearer: str) -> AccessToken | Deny:
        try:
            return await self._deps.tokens.get(bearer)
        except Unavailable:
            return _NO_STORE

    def _spend(
        self, incoming: GatewayRequest, token: AccessToken, quota: Quota, price: int = 1
    ) -> QuotaResult:
        """Spend on the app's quota; for a read of the platform's own on that of the person, too."""
        buckets = self._deps.buckets
        if incoming.purpose:
            # Also by person: with many apps a person could otherwise page through all patients,
            # each time on another quota.
            spent = buckets.spend((f"person/{token.person}", token.tenant), PERSON_QUOTA)
            if not spent.allowed or not token.app:
                return spent
            # The price is the app's; a person pays for each step of a picker alike.
            price = 1
        return buckets.spend((token.app, token.tenant), quota, price)

    def bases_of(self, tenant: TenantId) -> tuple[str, ...]:
        """Return the addresses, each ending in a slash, that mean a tenant's base."""
        return (self._deps.urls.fhir_base(tenant) + "/",)

    def _addresses_of(self, tenant: TenantFacts) -> ServerAddresses:
        """Return where the records of a tenant are; made once for each state of the tenant and of its server."""
        addresses = self._addresses.get(tenant.id)
        # A server without an address does not run, which may change. Whether one with an address still runs shows when it is asked.
        if addresses is None or addresses.tenant is not tenant or not addresses.upstream_base:
            upstream_base = self._deps.upstreams.base_of(tenant)
            addresses = ServerAddresses(tenant, self.bases_of(tenant.id), upstream_base)
            self._addresses[tenant.id] = addresses
        return addresses

    async def _capabilities(self, tenant: TenantFacts) -> ServerCapabilities:
        try:
            return await self._capability_cache.of(tenant, self._deps.urls.fhir_base(tenant.id))
        except Unavailable as error:
            raise refused_by(error) from error

    def _origins(
        self, tenant: TenantId, token: AccessToken | Deny | None, snapshot: Snapshot | None
    ) -> frozenset[str]:
        if snapshot is None:
            return frozenset()
        if isinstance(token, AccessToken):
            client = snapshot.registry.clients.get(token.client)
            return frozenset() if client is None else frozenset(client.origins)
        return snapshot.registry.origins.get(tenant, frozenset())


def _unknown(request_id: str) -> Deny:
    sentence = (
        "The write was sent, and its outcome could not be recorded: it counts as unknown and is settled under request "
        f"{request_id}."
    )
    return Deny(Reason.OUTCOME_UNKNOWN, sentence)
