"""One FHIR request through the enforcement point.

The path of a request, in order:

1. ``routes.Gateway``: bytes to a ``GatewayRequest``. No token, or what is no FHIR request, ends here.
2. ``Enforcer.answer``: one snapshot, one time, the token (``tokens.live``), the search behind a page link.
3. ``policy.decide``: a ``Permit`` or a Deny. A Deny is recorded and answered.
4. ``Enforcer._carry_out``: the quota (``controls.live``), then ``executor.Executor`` does what was permitted: ``transport`` fetches
   from the FHIR server (``upstream.live``), ``resource_access`` judges every resource by what it says of itself
   (``standards.fhir.traits``), ``search`` and ``write`` do the rest.
5. ``Enforcer._recorded``: the audit record is durable (``audit.live``), and the request is decided again if anything has changed.
6. ``routes.Gateway``: the ``Answer`` to bytes.

Inside the room a refusal is a ``Deny``; ``Refusal`` raises it where a request cannot continue.
"""

import asyncio
from dataclasses import replace

import orjson

from hilum.audit.models import UNDELIVERED, Access, Outcome
from hilum.controls.models import Quota, QuotaResult
from hilum.gateway import policy
from hilum.gateway.capability_statement import public_statement
from hilum.gateway.deps import GatewayDeps
from hilum.gateway.executor import Executor
from hilum.gateway.grants import compiled_grant, quota_of
from hilum.gateway.models import PERSON_QUOTA, GatewayRequest, Snapshot
from hilum.gateway.pagelinks import PageLinks
from hilum.gateway.records import record_of
from hilum.gateway.rendering import (
    Answer,
    Headers,
    as_headers,
    not_found,
    rate_headers,
    refusal,
    refusal_of,
)
from hilum.gateway.transport import refused_by
from hilum.gateway.upstream_task import UNRECORDED, Effect, Refusal, ServerAddresses, UpstreamTask
from hilum.identity.models import TenantFacts
from hilum.infra import metrics
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.statements import ServerCapabilities
from hilum.tokens.models import AccessToken
from hilum.upstream.live import CapabilityCache

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
        self._writing: set[asyncio.Future[Answer]] = set()

    async def answer(self, incoming: GatewayRequest) -> Answer:
        """Judge, carry out and record one request. What it returns is durable in the journal."""
        answer, _ = await self.conclude(incoming)
        return answer

    async def conclude(self, incoming: GatewayRequest) -> tuple[Answer, UpstreamTask | None]:
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

    async def _carry_out(self, task: UpstreamTask) -> Answer:
        """Execute a permitted request, record how it ended, and check that it is still permitted."""
        # Before the FHIR server is asked for anything, its CapabilityStatement included.
        spent = self._spend(task.incoming, task.token, task.permit.quota)
        try:
            if not spent.allowed:
                raise Refusal(
                    _PERSON_OVER_QUOTA if task.incoming.purpose else _OVER_QUOTA, spent.retry_after_s
                )
            if task.permit.asks_capabilities:
                task.capabilities = await self._capabilities(task.addresses.tenant)
            answer = await self._executor.execute(task)
        except Refusal as refused:
            answer = self._refusal_answer(task, refused)
        answer.rates = rate_headers(spent)
        if notice := policy.sunset_notice(task.permit):
            answer.rates += as_headers(notice)
        return _complete(task, await self._recorded(task, answer))

    def _refusal_answer(self, task: UpstreamTask, refused: Refusal) -> Answer:
        request_id = task.incoming.request_id
        if refused.deny.reason is Reason.TRAFFIC_SHED:
            metrics.TRAFFIC_SHED.add(task.permit.grant.traffic)
        deny = _done_but_refused(refused.deny, request_id) if task.effect is Effect.DONE else refused.deny
        answer = refusal(deny, request_id, retry_after_s=refused.retry_after_s)
        if refused.resource:
            answer.headers += ((b"location", f"{task.addresses.base}/{refused.resource}".encode()),)
        return answer

    def answered(self, request_id: str) -> None:
        """Release the claim of a write whose outcome was sent to its app: from now on an identical write is a new one."""
        self._deps.journal.release(request_id)

    async def _recorded(self, task: UpstreamTask, answer: Answer) -> Answer:
        """Record how a permitted request ended, then decide again whether its answer may leave."""
        # First the record, then the second decision: if the answer leaves, its record is durable;
        # if it does not, a second record corrects the first. In the opposite order a stop could
        # come while the journal commits, and be missed.
        record = task.record(answer)
        if answer.deny is UNRECORDED:
            return self._unrecorded(task, record, answer)
        try:
            await self._deps.journal.record(record)
        except Unavailable:
            return self._unrecorded(task, record, answer)
        if answer.deny is not None:
            return answer
        try:
            task.confirm()
        except Refusal as refused:
            return await self._withheld(task, record, answer, refused)
        return answer

    async def withheld_since(self, task: UpstreamTask, answer: Answer) -> Answer | None:
        """Decide once more, before an answer that had to wait leaves; None if it is still permitted, else what is answered in its place."""
        try:
            task.confirm(has_waited=True)
        except Refusal as refused:
            return _complete(task, await self._withheld(task, task.record(answer), answer, refused))
        return None

    async def _withheld(self, task: UpstreamTask, record: Access, answer: Answer, refused: Refusal) -> Answer:
        """Withhold an answer that is no longer permitted, and record that it was prepared and not delivered.

        Source: security decision 23
        """
        kept_back = self._refusal_answer(task, refused)
        kept_back.rates = answer.rates
        correction = self._record_of_refusal(record, kept_back)
        correction.rule, correction.snapshot = UNDELIVERED, task.snapshot.epoch
        try:
            await self._deps.journal.record(correction)
        except Unavailable:
            self._deps.journal.note(correction)
        return kept_back

    def _unrecorded(self, task: UpstreamTask, record: Access, answer: Answer) -> Answer:
        """Answer a request that could not be recorded, and keep its record for later. No data is returned; a write is never called not done."""
        has_left = task.effect in {Effect.DONE, Effect.UNKNOWN}
        refused = refusal(_unknown(record.request_id) if has_left else UNRECORDED, record.request_id)
        refused.rates = answer.rates
        note = self._record_of_refusal(record, refused)
        if has_left:
            note.outcome = record.outcome
        # Kept in memory and recorded once the journal works again; a process that ends before loses
        # it, and settling still finds the write.
        self._deps.journal.note(note)
        return refused

    def _record_of_refusal(self, record: Access, answer: Answer) -> Access:
        """Return the record of a request that was refused after all."""
        assert answer.deny is not None, "a refusal has its reason"
        deny = answer.deny
        return replace(
            record,
            at=self._deps.clock.now(),
            status=answer.status,
            outcome=Outcome.REFUSED,
            reason=deny.reason.value,
            detail=deny.detail,
        )

    async def fault_before_body(self, incoming: GatewayRequest) -> Deny | None:
        """Return why the token of a request is refused, before its body is read; None if it is accepted."""
        deps = self._deps
        if incoming.bearer is not None:
            incoming.token = await self._looked_up(incoming.bearer)
        return policy.unread_fault(incoming, deps.snapshots.current(), deps.clock.now())

    async def refuse(self, incoming: GatewayRequest, deny: Deny, status: int = 0) -> Answer:
        """Refuse and record a request that is not judged: its body was not read, or not whole, or its batch has no room left for it.

        ``status`` replaces that of the reason.
        """
        deps = self._deps
        incoming.at = deps.clock.now()
        return await self._refuse(incoming, deps.snapshots.current(), deny, status=status)

    async def _refuse(
        self, incoming: GatewayRequest, snapshot: Snapshot | None, deny: Deny, *, status: int = 0
    ) -> Answer:
        """Refuse and record what was never permitted. With a valid token it costs as much quota as a permitted request: probing is not free."""
        token, journal = incoming.token, self._deps.journal
        is_authenticated = False
        rates: Headers = ()
        if isinstance(token, AccessToken) and snapshot is not None:
            spent = self._spend(
                incoming,
                token,
                quota_of(compiled_grant(token, incoming.purpose, snapshot, incoming.at), snapshot),
            )
            is_authenticated, rates = True, rate_headers(spent)
        answer = refusal_of(incoming.request, deny, incoming.request_id)
        answer.status, answer.rates = status or answer.status, rates
        record = record_of(incoming, snapshot, answer, now=self._deps.clock.now())
        try:
            # Refusals without a valid token are counted beyond the first few, so that strangers
            # cannot grow the record without a bound.
            await (journal.record if is_authenticated else journal.record_unauthenticated_refusal)(record)
        except Unavailable:
            answer = refusal(UNRECORDED, incoming.request_id)
            answer.rates = rates
            if is_authenticated:
                journal.note(self._record_of_refusal(record, answer))
        answer.origins = self._origins(incoming.tenant, token, snapshot)
        return answer

    async def metadata(self, tenant_id: TenantId, request_id: str) -> Answer:
        """Return a tenant's CapabilityStatement. Public."""
        snapshot = self._deps.snapshots.current()
        if snapshot is None:
            return refusal(
                Deny(
                    Reason.SNAPSHOT_STALE, "The current state could not be confirmed. Try again in a moment."
                ),
                request_id,
            )
        tenant = snapshot.identity.tenants.get(tenant_id)
        if tenant is None or not tenant.active:
            return not_found(request_id)
        if fault := policy.statement_fault(tenant_id, snapshot, self._deps.clock.now()):
            return refusal(fault, request_id)
        try:
            capabilities = await self._capabilities(tenant)
        except Refusal as refused:
            return refusal(refused.deny, request_id)
        cached = self._statements.get(tenant_id)
        # By identity: a statement that was read again is another object.
        if cached is None or cached[0] is not capabilities:
            body = orjson.dumps(
                public_statement(capabilities, tenant_id, self._deps.urls, registers=self._deps.registers)
            )
            cached = self._statements[tenant_id] = (capabilities, body)
        return Answer(200, cached[1])

    def preflight_origins(self, tenant: TenantId) -> frozenset[str]:
        """Return the origins of all clients installed at a tenant."""
        return self._origins(tenant, None, self._deps.snapshots.current())

    async def _looked_up(self, bearer: str) -> AccessToken | Deny:
        try:
            return await self._deps.tokens.get(bearer)
        except Unavailable:
            return _NO_STORE

    def _spend(self, incoming: GatewayRequest, token: AccessToken, quota: Quota) -> QuotaResult:
        """Spend on the app's quota; for a read of the platform's own on that of the person, too."""
        buckets = self._deps.buckets
        if incoming.purpose:
            # Also by person: with many apps a person could otherwise page through all patients,
            # each time on another quota.
            spent = buckets.spend((f"person/{token.person}", token.tenant), PERSON_QUOTA)
            if not spent.allowed or not token.app:
                return spent
        return buckets.spend((token.app, token.tenant), quota)

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


def _complete(task: UpstreamTask, answer: Answer) -> Answer:
    """Add who may read an answer, and which write it settles."""
    answer.origins = task.permit.grant.origins
    if task.intended and answer.is_definite:
        answer.settles = (task.incoming.request_id,)
    return answer


def _done_but_refused(deny: Deny, request_id: str) -> Deny:
    """Return the refusal of an answer whose write was carried out. Nothing that the FHIR server said about it leaves, not even its place."""
    sentence = f"The write was carried out, under request {request_id}. Do not send it again. Its answer is kept back: {deny.detail}"
    return Deny(Reason.WRITE_DONE_ANSWER_WITHHELD, sentence)


def _unknown(request_id: str) -> Deny:
    sentence = (
        "The write was sent, and its outcome could not be recorded: it counts as unknown and is settled under request "
        f"{request_id}."
    )
    return Deny(Reason.OUTCOME_UNKNOWN, sentence)
