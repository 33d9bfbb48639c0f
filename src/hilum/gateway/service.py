"""One request through the enforcement point: look up, decide, spend, carry, record, answer."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime

import orjson

from hilum.audit.live import Intents, Journal
from hilum.audit.models import UNDELIVERED, Access, Outcome
from hilum.controls.live import Buckets
from hilum.controls.models import QuotaFacts, QuotaResult
from hilum.gateway import pagelinks, policy
from hilum.gateway.capability_statement import public_statement
from hilum.gateway.executor import Executor
from hilum.gateway.models import PERSON_QUOTA, DecisionInput, Obligations, Snapshot
from hilum.gateway.pagelinks import Page
from hilum.gateway.rendering import Answer, Headers, not_found, rate_headers, refusal
from hilum.gateway.snapshot import SnapshotKeeper
from hilum.gateway.transport import Absent, Effect, Refusal, UpstreamTask, refused_by
from hilum.gateway.underway import Repeated, UnderWay, Unrecorded
from hilum.identity.models import TenantFacts
from hilum.kernel.decision import Deny, Permit, ReadPurpose, Reason
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import TenantId
from hilum.kernel.ports import Clock, Ids
from hilum.keys.live import Vault
from hilum.standards.fhir.requests import RESULT_PARAMETERS, FhirRequest, Interaction, Unsupported
from hilum.standards.fhir.statements import Surface
from hilum.tokens.live import TokenTable
from hilum.tokens.models import AccessToken
from hilum.upstream.live import Surfaces, Upstreams
from hilum.web.urls import Urls


@dataclass(slots=True)
class GatewayRequest:
    """One request as it arrived. ``bearer`` is None without a token; ``path`` and ``query`` are for the audit record only."""

    request_id: str
    tenant: TenantId
    request: FhirRequest | Unsupported
    bearer: str | None
    method: str = "GET"
    path: str = ""
    query: str = ""
    source: str = ""
    correlation_id: str = ""
    proof: str = ""
    own: "OwnRead | None" = None
    """Set for a read that the platform makes itself."""


@dataclass(frozen=True, slots=True)
class OwnRead:
    """A read that the platform makes itself: why, and as whom. ``token`` was minted for nobody and is worth nothing elsewhere."""

    purpose: ReadPurpose
    token: AccessToken
    decision: str


@dataclass(slots=True)
class Reply:
    """The answer, what is left of the app's quota, and the web origins whose scripts may read both. ``deny``: why it is a refusal."""

    answer: Answer
    origins: frozenset[str] = frozenset()
    rates: Headers = ()
    deny: Deny | None = None
    settles: str = ""
    """The request id of a write whose outcome this answer tells; ``Enforcer.answered`` is told once it was sent."""


@dataclass(frozen=True, slots=True)
class GatewayDeps:
    """What the enforcement point stands on; made by app."""

    snapshots: SnapshotKeeper
    tokens: TokenTable
    buckets: Buckets
    upstreams: Upstreams
    journal: Journal
    urls: Urls
    vault: Vault
    clock: Clock
    ids: Ids
    intents: Intents
    registers: bool = False
    """Dynamic registration is open here, so the public statement names its address."""


@dataclass(slots=True)
class _Done:
    """How a request ended. ``deny`` is None when it was carried out, even if there was no such record."""

    answer: Answer
    deny: Deny | None = None
    obligations: Obligations | None = None
    rates: Headers = ()

    @property
    def is_definite(self) -> bool:
        """Whether the answer says all there is to say about a write: what became of it, and where it is stored."""
        return self.deny is None or self.deny.reason not in _LEAVES_OPEN


@dataclass(slots=True)
class _Begun:
    """One request with its decision. ``at``: when it came, by both clocks, and the page that it asks for where it follows a link."""

    incoming: GatewayRequest
    asked: DecisionInput
    token: AccessToken | Deny | None
    snapshot: Snapshot | None
    decision: Permit[Obligations] | Deny
    at: tuple[float, datetime, Page | None]

    @property
    def ask_is_write(self) -> bool:
        return isinstance(self.asked.request, FhirRequest) and self.asked.request.is_write


_NOTHING = Answer(0)
_LEAVES_OPEN = frozenset({Reason.OUTCOME_UNKNOWN, Reason.WRITE_DONE_ANSWER_WITHHELD})
"""After these an identical create is a repetition: the app is sent to the first one, as soon as it is permitted to know its place."""
_UNRECORDED = Deny(
    Reason.AUDIT_UNAVAILABLE, "The access could not be recorded, so the request was refused. Retry later."
)
_NO_STORE = Deny(Reason.SNAPSHOT_STALE, "The access token could not be looked up just now.")
_OVER_QUOTA = Deny(Reason.QUOTA_EXCEEDED, "The app's quota at this organisation is used up just now.")
_PERSON_OVER_QUOTA = Deny(Reason.QUOTA_EXCEEDED, "Too many records were looked up in a short time.")
_STRANGE_PAGE = Unsupported("page_link", "This page link was not made for this access token, or is too old.")


class Enforcer:
    """The enforcement point of one process; used from its event loop."""

    def __init__(self, deps: GatewayDeps) -> None:
        self._on = deps
        self._surfaces = Surfaces(deps.upstreams, deps.clock)
        self._executor = Executor(deps.upstreams, deps.vault, deps.ids)
        self._statements: dict[TenantId, tuple[Surface, bytes]] = {}
        self._named: tuple[object, dict[TenantId, tuple[str, ...]]] = (None, {})
        self._writing: set[asyncio.Future[Reply]] = set()

    async def answer(self, incoming: GatewayRequest) -> Reply:
        """Judge, carry out and record one request. What it returns is durable in the journal."""
        on = self._on
        started, now, snapshot = on.clock.monotonic(), on.clock.now(), on.snapshots.current()
        token = await self._token_of(incoming)
        request, page = self._opened(incoming.request, token, now)
        purpose = incoming.own.purpose if incoming.own is not None else ""
        asked = DecisionInput(
            incoming.tenant, request, self._bases(incoming.tenant, snapshot), incoming.proof, purpose
        )
        decision = policy.decide(asked, token, snapshot, now)
        if isinstance(decision, Deny) and policy.may_be_news(decision, token, now):
            snapshot = await on.snapshots.newer(started)
            decision = policy.decide(asked, token, snapshot, now)
        begun = _Begun(incoming, asked, token, snapshot, decision, (started, now, page))
        if isinstance(decision, Permit) and decision.obligations.request.is_write:
            # Nobody's hanging up may part a write from the record of its outcome.
            writing = asyncio.ensure_future(self._finish(begun))
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
            return await asyncio.shield(writing)
        return await self._finish(begun)

    async def _finish(self, begun: "_Begun") -> Reply:
        """Carry out what was decided, record how it ended, and see that it may still be told."""
        incoming, token, snapshot, decision = begun.incoming, begun.token, begun.snapshot, begun.decision
        if not isinstance(token, AccessToken) or snapshot is None:
            deny = decision if isinstance(decision, Deny) else _NO_STORE
            done, still, record = _Done(refusal(deny, incoming.request_id), deny), None, True
        else:
            still = self._under_way(begun, token, snapshot)
            try:
                done, record = await self._known(begun, token, snapshot, still), True
            except Unrecorded:
                done, record = _Done(refusal(_UNRECORDED, incoming.request_id), _UNRECORDED), False
        access = self._access(begun, done, still)
        known = still is not None
        done = (
            await self._recorded(access, done, still, known=known)
            if record
            else self._unrecorded(access, done, still)
        )
        settled = still is not None and still.intended and done.is_definite
        return Reply(
            done.answer,
            self._origins(incoming.tenant, token, snapshot),
            done.rates,
            done.deny,
            incoming.request_id if settled else "",
        )

    def answered(self, request_id: str) -> None:
        """Take note that a write's outcome was sent to its app, so that an identical one is a new one."""
        self._on.journal.release(request_id)

    async def _recorded(
        self, access: Access, done: "_Done", still: UnderWay | None = None, *, known: bool
    ) -> "_Done":
        """Record how a request ended, then decide again whether it may be told."""
        journal = self._on.journal
        try:
            await (journal.record if known else journal.record_refusal_by_stranger)(access)
        except Unavailable:
            return self._unrecorded(access, done, still)
        if still is None or done.deny is not None:
            return done
        try:
            still.confirm()
        except Refusal as refused:
            return await self._withheld(access, done, still, refused)
        return done

    async def _withheld(self, access: Access, done: "_Done", still: UnderWay, refused: Refusal) -> "_Done":
        """Keep back what is no longer permitted, and put on record that it was prepared and not delivered.

        Source: security decision 23
        """
        deny = refused.deny
        if still.effect is Effect.DONE:
            deny = _though_done(deny, access.request_id)
        answer = refusal(deny, access.request_id, retry_after_s=refused.retry_after_s)
        correction = replace(
            access,
            at=self._on.clock.now(),
            status=answer.status,
            outcome=Outcome.REFUSED,
            reason=deny.reason.value,
            detail=deny.detail,
            rule=UNDELIVERED,
            snapshot=still.snapshot.epoch,
        )
        kept = replace(done, answer=answer, deny=deny)
        try:
            await self._on.journal.record(correction)
        except Unavailable:
            self._on.journal.note(correction)
        return kept

    def _unrecorded(self, access: Access, done: "_Done", still: UnderWay | None) -> "_Done":
        """Answer for what could not be recorded, and note it for when it can be. Nothing is given; a write is never said to be undone."""
        request_id, effect = access.request_id, Effect.NONE if still is None else still.effect
        deny, outcome = _UNRECORDED, Outcome.REFUSED
        if effect in {Effect.DONE, Effect.UNKNOWN}:
            deny, outcome = _unknown(request_id), access.outcome
        answer = refusal(deny, request_id)
        if still is not None:
            self._on.journal.note(
                replace(
                    access,
                    at=self._on.clock.now(),
                    status=answer.status,
                    outcome=outcome,
                    reason=deny.reason.value,
                    detail=deny.detail,
                )
            )
        return replace(done, answer=answer, deny=deny)

    def _under_way(self, begun: "_Begun", token: AccessToken, snapshot: Snapshot) -> UnderWay:
        on, decision = self._on, begun.decision
        return UnderWay(
            on.snapshots,
            on.journal,
            on.intents.look_up,
            on.clock,
            begun.asked,
            token,
            snapshot,
            decision.obligations if isinstance(decision, Permit) else None,
            lambda: self._access(begun, _Done(_NOTHING), None),
        )

    def _access(self, begun: "_Begun", done: "_Done", still: UnderWay | None) -> Access:
        started, now, _ = begun.at
        latency_us = int((self._on.clock.monotonic() - started) * 1_000_000)
        access = _access(begun.incoming, begun.token, begun.snapshot, done, (now, latency_us))
        if still is None or not isinstance(begun.decision, Permit) or not begun.ask_is_write:
            return access
        access.outcome = _outcome_of(done, still.effect)
        if still.effect is not Effect.NONE:
            access.resource = done.answer.resource or still.resource
        return access

    async def fault_before_body(self, incoming: GatewayRequest) -> Deny | None:
        """Return why the token of a request does not count, before its body is read; None where it counts."""
        on = self._on
        token = await self._looked_up(incoming.bearer) if incoming.bearer is not None else None
        asked = DecisionInput(incoming.tenant, incoming.request, (), incoming.proof)
        return policy.unread_fault(asked, token, on.snapshots.current(), on.clock.now())

    async def refuse(self, incoming: GatewayRequest, deny: Deny, status: int = 0) -> Reply:
        """Refuse and record a request whose body was not read, or not whole. ``status`` where the reason's own says too little."""
        on = self._on
        started, now, snapshot = on.clock.monotonic(), on.clock.now(), on.snapshots.current()
        token = await self._looked_up(incoming.bearer) if incoming.bearer is not None else None
        if isinstance(token, AccessToken) and snapshot is not None:
            self._spend(incoming, token, snapshot.controls.quotas)
        answer = refusal(deny, incoming.request_id)
        answer.status = status or answer.status
        latency_us = int((on.clock.monotonic() - started) * 1_000_000)
        done = _Done(answer, deny)
        access = _access(incoming, token, snapshot, done, (now, latency_us))
        done = await self._recorded(access, done, known=isinstance(token, AccessToken))
        return Reply(done.answer, self._origins(incoming.tenant, token, snapshot), deny=done.deny)

    async def metadata(self, tenant_id: TenantId, request_id: str) -> Answer:
        """Tell what apps can do at a tenant. Public."""
        snapshot = self._on.snapshots.current()
        if snapshot is None:
            return refusal(Deny(Reason.SNAPSHOT_STALE, "What is here could not be confirmed."), request_id)
        tenant = snapshot.identity.tenants.get(tenant_id)
        if tenant is None or not tenant.active:
            return not_found(request_id)
        if fault := policy.statement_fault(tenant_id, snapshot, self._on.clock.now()):
            return refusal(fault, request_id)
        try:
            surface = await self._surface(tenant)
        except Refusal as refused:
            return refusal(refused.deny, request_id)
        made = self._statements.get(tenant_id)
        if made is None or made[0] is not surface:
            body = orjson.dumps(
                public_statement(surface, tenant_id, self._on.urls, registers=self._on.registers)
            )
            made = self._statements[tenant_id] = (surface, body)
        return Answer(200, made[1])

    def preflight_origins(self, tenant: TenantId) -> frozenset[str]:
        """Name the origins of all clients installed at a tenant."""
        snapshot = self._on.snapshots.current()
        return frozenset() if snapshot is None else snapshot.registry.origins.get(tenant, frozenset())

    async def _token_of(self, incoming: GatewayRequest) -> AccessToken | Deny | None:
        if incoming.own is not None:
            return incoming.own.token
        if incoming.bearer is None:
            return None
        return self._on.tokens.peek(incoming.bearer) or await self._looked_up(incoming.bearer)

    async def _looked_up(self, bearer: str) -> AccessToken | Deny:
        try:
            return await self._on.tokens.look_up(bearer)
        except Unavailable:
            return _NO_STORE

    def _opened(
        self, request: FhirRequest | Unsupported, token: AccessToken | Deny | None, now: datetime
    ) -> tuple[FhirRequest | Unsupported, Page | None]:
        """Put the asked search in the place of a page link."""
        if isinstance(request, Unsupported) or request.interaction is not Interaction.SEARCH_TYPE:
            return request, None
        sealed = [value for name, value in request.params if name == pagelinks.PARAMETER]
        if not sealed or {name for name, _ in request.params} - {pagelinks.PARAMETER, *RESULT_PARAMETERS}:
            return request, None
        if not isinstance(token, AccessToken):
            return replace(request, params=()), None
        page = pagelinks.unseal(self._on.vault, sealed[0], token, now) if len(sealed) == 1 else None
        if page is None or page.type != request.type:
            return _STRANGE_PAGE, None
        return replace(request, params=page.params), page

    async def _known(
        self,
        begun: "_Begun",
        token: AccessToken,
        snapshot: Snapshot,
        still: UnderWay,
    ) -> _Done:
        """End the request of a known token. Refused ones cost as much as others: probing is not free. Raises Unrecorded."""
        incoming, decision, (_, now, page) = begun.incoming, begun.decision, begun.at
        spent, over = self._spend(incoming, token, snapshot.controls.quotas)
        rates = rate_headers(spent)
        obligations = decision.obligations if isinstance(decision, Permit) else None
        try:
            if obligations is None:
                assert isinstance(decision, Deny), "a decision is one or the other"
                raise Refusal(decision)
            if not spent.allowed:
                raise Refusal(over, spent.retry_after_s)
            tenant = snapshot.identity.tenants[token.tenant]
            surface = await self._surface(tenant) if obligations.asks_surface else None
            bases = obligations.bases[0][:-1], self._on.upstreams.base_of(tenant)
            task = UpstreamTask(token, tenant, obligations, now, *bases, still, page, surface)
            return _Done(await self._executor.execute(task), None, obligations, rates)
        except Absent:
            return _Done(not_found(incoming.request_id), None, obligations, rates)
        except Refusal as refused:
            if still.effect is Effect.DONE:
                refused.deny = _though_done(refused.deny, incoming.request_id)
            answer = refusal(refused.deny, incoming.request_id, retry_after_s=refused.retry_after_s)
            if isinstance(refused, Repeated) and refused.resource:
                location = f"{self._on.urls.fhir_base(incoming.tenant)}/{refused.resource}"
                answer.headers += ((b"location", location.encode()),)
            return _Done(answer, refused.deny, obligations, rates)

    def _spend(
        self, incoming: GatewayRequest, token: AccessToken, quotas: QuotaFacts
    ) -> tuple[QuotaResult, Deny]:
        """Spend on the app's quota; for a read of the platform's own on that of the person, too."""
        if incoming.own is not None:
            holder = f"person/{token.person}", token.tenant
            spent = self._on.buckets.spend(holder, PERSON_QUOTA)
            if not spent.allowed or not token.app:
                return spent, _PERSON_OVER_QUOTA
        key = token.app, token.tenant
        return self._on.buckets.spend(key, quotas.overrides.get(key, quotas.default)), _OVER_QUOTA

    def _bases(self, tenant: TenantId, snapshot: Snapshot | None) -> tuple[str, ...]:
        """Name the address, ending in a slash, that means a tenant's base; kept while its tenants stay the same."""
        if snapshot is None or tenant not in snapshot.identity.tenants:
            return (self._on.urls.fhir_base(tenant) + "/",)
        if self._named[0] is not snapshot.identity:
            self._named = (snapshot.identity, {})
        named = self._named[1]
        if tenant not in named:
            named[tenant] = (self._on.urls.fhir_base(tenant) + "/",)
        return named[tenant]

    async def _surface(self, tenant: TenantFacts) -> Surface:
        try:
            return await self._surfaces.of(tenant, self._on.urls.fhir_base(tenant.id))
        except Unavailable as error:
            raise refused_by(error) from error

    def _origins(
        self, tenant: TenantId, token: AccessToken | Deny | None, snapshot: Snapshot | None
    ) -> frozenset[str]:
        if snapshot is None:
            return frozenset()
        if not isinstance(token, AccessToken):
            return snapshot.registry.origins.get(tenant, frozenset())
        client = snapshot.registry.clients.get(token.client)
        return frozenset(client.origins) if client is not None else frozenset()


def _outcome_of(done: _Done, effect: Effect) -> Outcome:
    """Return how a permitted write ended, which is not always how it was answered."""
    if effect is Effect.DONE:
        return Outcome.DONE
    if effect is Effect.UNKNOWN:
        return Outcome.UNKNOWN
    return Outcome.NOT_DONE if done.deny is None else Outcome.REFUSED


def _though_done(deny: Deny, request_id: str) -> Deny:
    """Return the refusal of an answer whose write was carried out. Nothing that the FHIR server said of it leaves, its place neither."""
    sentence = f"The write was carried out, under request {request_id}. Do not send it again. Its answer is kept back: {deny.detail}"
    return Deny(Reason.WRITE_DONE_ANSWER_WITHHELD, sentence)


def _unknown(request_id: str) -> Deny:
    sentence = (
        "The write was sent, and its outcome could not be recorded: it counts as unknown and is settled under request "
        f"{request_id}."
    )
    return Deny(Reason.OUTCOME_UNKNOWN, sentence)


def _access(
    incoming: GatewayRequest,
    token: AccessToken | Deny | None,
    snapshot: Snapshot | None,
    done: _Done,
    took: tuple[datetime, int],
) -> Access:
    request = incoming.request if isinstance(incoming.request, FhirRequest) else None
    obligations, deny, answer = done.obligations, done.deny, done.answer
    held = token if isinstance(token, AccessToken) else None
    return Access(
        request_id=incoming.request_id,
        decision=incoming.own.decision if incoming.own is not None else incoming.request_id,
        at=took[0],
        tenant=incoming.tenant,
        interaction=_interaction(incoming, request),
        resource_type=request.type if request else "",
        status=answer.status,
        outcome=Outcome.DONE if deny is None else Outcome.REFUSED,
        reason="" if deny is None else deny.reason.value,
        rule="" if obligations is None else obligations.rule,
        detail="" if deny is None else deny.detail,
        app=held.app if held else "",
        version=held.version if held else "",
        vendor=held.vendor if held else "",
        client=held.client if held else "",
        person=held.person if held else "",
        role=held.role if held else "",
        launch=held.launch if held else "",
        authorization=held.authorization if held else "",
        run=held.run if held else "",
        snapshot=snapshot.epoch if snapshot is not None else 0,
        correlation_id=incoming.correlation_id,
        source=incoming.source,
        removed=answer.removed,
        cost=1 if request else 0,
        latency_us=took[1],
        method=incoming.method,
        path=incoming.path,
        query=incoming.query,
        patient=answer.patient
        or ("" if obligations is None else obligations.patient)
        or _named(held, request),
    )


def _interaction(incoming: GatewayRequest, request: FhirRequest | None) -> str:
    """Return the word for the record. Reads of the platform's own stand apart, so that they count as no use by the app."""
    if incoming.own is not None:
        return incoming.own.purpose.value
    return request.interaction.value if request else "unsupported"


def _named(held: AccessToken | None, request: FhirRequest | None) -> str:
    """Name the patient whose record was asked for by id, so that a refused try is found among what was tried on them."""
    return request.id if held and request and request.type == "Patient" else ""
