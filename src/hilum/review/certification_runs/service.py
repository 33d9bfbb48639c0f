"""Open certification runs, take their scenarios one after the other, and judge and sign what the audit has of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, ClientId, RunId, TenantId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import (
    AccessPage,
    AccessQuery,
    Event,
    EventQuery,
    RecordedEvent,
    SealedQuery,
    SealedRecords,
)
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.records.notices import service as notices
from hilum.review.certification_runs import acting, declared, policy, store
from hilum.review.certification_runs.contracts import (
    find_contracts,
    keep_contract,
    view_contract,
)
from hilum.review.certification_runs.judging import MINT, NOTHING, REDEEM, REFUSE, TAKE, WITHDRAW
from hilum.review.certification_runs.models import (
    EVENTS_PAGES,
    FAILED_KEPT,
    FINISHES_A_DAY,
    KEPT,
    ROWS_BOUND,
    RUN_LIFE,
    RUNS_A_DAY,
    SHORT_LIFE,
    WATCHED,
    Fault,
    Ground,
    Records,
    Row,
    Run,
    RunOrder,
    RunSummary,
    State,
    Upstream,
)
from hilum.review.certification_runs.tracing import propose_of_client, propose_of_run, reading_of_trace

__all__ = [
    "find_contracts",
    "keep_contract",
    "propose_of_client",
    "propose_of_run",
    "reading_of_trace",
    "view_contract",
]
ReadSealed = Callable[[Context, SealedQuery], SealedRecords]
"""Reads records as evidence from the journals (``audit.service.read_sealed``)."""
ReadGround = Callable[[Context, TenantId], Ground]
"""Returns where a run at a hospital is made (``vendor_hospitals.service.ground_of``)."""
DAY = timedelta(days=1)
BEFORE = timedelta(minutes=1)
"""How long before a run the journals are followed: records are not quite in the order of their times."""
_OF_RUN = frozenset({TAKE, MINT, REDEEM, "launches.launch.open", "launches.launch.move"})
"""Events that are evidence only if they were recorded under the run."""
_ABSENT = "There is no such run."


def unasked_of(ctx: Context, app: App, version: AppVersion) -> tuple[str, ...]:
    """Return the scenarios that a version need not show since it lacks what they are about: optional scopes, scopes to change records (C211)."""
    held = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    return declared.unasked(version.optional_scopes, {scope for client in held for scope in client.scopes})


def ground_at(ctx: Context, tenant_id: TenantId) -> Ground:
    """Return whether a hospital is a vendor's own, without anything about its records."""
    tenant = identity.find_tenant(ctx, tenant_id)
    return Ground(None if tenant is None else tenant.vendor is not None)


def open_run(ctx: Context, order: RunOrder, ground: ReadGround = ground_at) -> Run:
    """Open a run of a client's version at a sandbox hospital. Raises NotFound, NotPermitted (right, too many), Invalid, Conflict (one is open)."""
    event = Event("evidence.run.open", tenant=order.tenant, client=order.client)
    if not ctx.actor.is_platform and ctx.actor.vendor is None:
        raise audit.refusal(ctx, event)
    client = clients.find_client(ctx, order.client)
    if client is None:
        raise NotFound("client_not_found", "There is no such client.")
    app = registry.get_changeable(ctx, client.app, event.action)
    version = registry.get_version(ctx, client.version)
    book = policies.asked_of(ctx, app.id)
    entries = policy.entries_of(book, applicant_of(app, version, client.scopes))
    needed = policy.needed_of(book, entries.values(), unasked_of(ctx, app, version))
    further = policy.further_of(book, order.further)
    if faults := policy.order_faults(
        client, identity.find_tenant(ctx, order.tenant), app.vendor, needed, further
    ):
        raise Invalid("run_invalid", "The run cannot be opened; see fields.", fields=faults)
    if store.count_since(ctx.tx, app.id, ctx.now - DAY) >= RUNS_A_DAY:
        detail = f"{RUNS_A_DAY} runs of an app may be opened within a day."
        raise audit.refusal(ctx, replace(event, app=app.id, reason="runs_bound"), detail)
    run = Run(
        id=RunId(ctx.ids.new("run")),
        app=app.id,
        vendor=app.vendor,
        version=version.id,
        label=version.label,
        client=client.id,
        tenant=order.tenant,
        policy_version=policies.in_force(ctx.as_actor(SYSTEM)).everywhere,
        # Of several tiers, by how clients authenticate, the one that requires most is shown.
        tier=max(entries, key=lambda tier: len(entries[tier].scenarios)),
        scenarios=needed | (further or {}),
        opened_by=str(ctx.actor),
        opened_at=ctx.now,
        expires_at=ctx.now + RUN_LIFE,
        ground=policy.written_ground(ground(ctx, order.tenant)),
    )
    if not store.add(ctx.tx, run):
        detail = "This client has an open run at this hospital. Continue it, or abandon it."
        raise Conflict("run_open", detail)
    audit.record(ctx, _event(run, "evidence.run.open", version=version.id, scenarios=sorted(run.scenarios)))
    return run


def begin(
    ctx: Context, run_id: str, scenario: str, end_access: acting.EndAccess
) -> tuple[Run, Upstream | None]:
    """Begin a scenario, and make its fault; end the one in progress. Also returns the fault that the sandbox's FHIR server must show.

    Raises NotFound, NotPermitted (right, no sandbox), Conflict (over; the fault cannot be made now).
    """
    run = _running(ctx, run_id, "evidence.scenario.begin")
    if scenario not in run.scenarios:
        raise NotFound("scenario_not_found", "The policy requires no such scenario of this version.")
    run = _end(ctx, run)
    fault = policy.fault_of(scenario)
    undo, upstream = acting.make(ctx, run, fault, end_access)
    doing = {"scenario": scenario, "fault": fault.value, "begun_at": ctx.now.isoformat(), "undo": undo}
    begun = replace(run, doing=doing)
    store.save(ctx.tx, begun)
    backend = clients.serves_backends_only(ctx, run.app)
    said = {name: undo[name] for name in ("optional", "stored") if name in undo}
    audit.record(
        ctx,
        _event(run, "evidence.scenario.begin", scenario=scenario, fault=fault.value, backend=backend, **said),
    )
    return begun, upstream


def end(ctx: Context, run_id: str, *, late: bool = False) -> Run:
    """End the scenario that is in progress, and undo its fault; with ``late`` also past the run's end. Raises NotFound, NotPermitted, Conflict."""
    run = _running(ctx, run_id, "evidence.scenario.end", late=late)
    # Each attempt to finish reads up to hundreds of thousands of records.
    if late and not notices.spend(ctx, f"finish/{run.id}", FINISHES_A_DAY):
        detail = f"You tried {FINISHES_A_DAY} times to finish this run. Open another one."
        raise audit.refusal(ctx, replace(_event(run, "evidence.run.finish"), reason="finish_bound"), detail)
    ended = _end(ctx, run)
    store.save(ctx.tx, ended)
    return ended


def _end(ctx: Context, run: Run) -> Run:
    if not run.scenario:
        return run
    acting.undo(ctx, run)
    audit.record(ctx, _event(run, "evidence.scenario.end", scenario=run.scenario))
    return replace(run, doing={})


def collect(ctx: Context, run_id: str, read: ReadSealed) -> Records:
    """Read what the audit has of a run, with the proof that it is as it was written. Raises NotFound, NotPermitted."""
    run = _changeable(ctx, run_id, "evidence.run.finish")
    queries = (
        EventQuery(tenant=run.tenant, client=run.client),
        EventQuery(tenant=run.tenant, app=run.app),
    )
    since = run.opened_at - BEFORE
    found = read(ctx, SealedQuery(run.id, since, queries, EVENTS_PAGES))
    rows = [policy.row_of_access(each, place=place, link=link) for each, place, link in found.accesses]
    launches = {each.event.launch for each, _ in found.events if each.event.launch and _is_of(run, each)}
    rows += [
        policy.row_of_event(each, link=link)
        for each, link in found.events
        # A refused authorization request names its launch, and not the run.
        if _is_of(run, each) or (each.event.action == REFUSE and each.event.launch in launches)
    ]
    return Records(tuple(each for each in rows if each.at >= run.opened_at)[: ROWS_BOUND + 1], found.faults)


def _is_of(run: Run, found: RecordedEvent) -> bool:
    event = found.event
    if event.action in _OF_RUN or event.action.startswith("evidence."):
        return event.facts.get("run") == run.id
    # Whoever withdraws or revokes does not know of the run.
    return event.action in {WITHDRAW, "tokens.family.revoke"}


def finish(ctx: Context, run_id: str, records: Records, ground: ReadGround = ground_at) -> Run:
    """Judge a run by its records, and sign the result. Raises NotFound, NotPermitted, Conflict (over, or a scenario is in progress)."""
    run = _running(ctx, run_id, "evidence.run.finish", late=True)
    if run.scenario:
        raise Conflict("scenario_under_way", "A scenario is in progress again. End it, then finish the run.")
    client = clients.find_client(ctx, run.client)
    held = () if client is None else client.scopes
    result = policy.result_of(run, records, ctx.now, ground(ctx, run.tenant), held)
    signed = policy.signed_bytes(result)
    kid, signature = keys.sign_bytes(ctx, Purpose.EVIDENCE, signed)
    ended = replace(
        run,
        state=State(result["state"]),
        result=result,
        rows=policy.write_rows(records.rows),
        kid=kid,
        signature=signature,
        ended_at=ctx.now,
    )
    store.save(ctx.tx, ended)
    facts = {
        "state": ended.state.value,
        "records": len(records.rows),
        "digest": sha256(signed).hexdigest(),
        "version": run.version,
    }
    audit.record(ctx, _event(run, "evidence.run.finish", **facts))
    return ended


def abandon(ctx: Context, run_id: str) -> Run:
    """Abandon a run, and undo what it made. Raises NotFound, NotPermitted, Conflict."""
    return _abandon(ctx, _running(ctx, run_id, "evidence.run.abandon", late=True))


def _abandon(ctx: Context, run: Run) -> Run:
    given_up = replace(_end(ctx, run), state=State.ABANDONED, ended_at=ctx.now)
    store.save(ctx.tx, given_up)
    audit.record(ctx, _event(run, "evidence.run.abandon"))
    return given_up


def close_expired(ctx: Context) -> int:
    """Abandon runs that nobody finished, at most a batch; return how many."""
    expired = store.list_expired(ctx.tx, ctx.now)
    for run in expired:
        _abandon(ctx, run)
    return len(expired)


def purge(ctx: Context) -> int:
    """Delete old runs, at most a batch; return how many."""
    return store.purge(ctx.tx, passed_before=ctx.now - KEPT, others_before=ctx.now - FAILED_KEPT)


# --- reading -------------------------------------------------------------------------------------------------------------------


def view(ctx: Context, run_id: str) -> Run:
    """Get a run. Raises NotFound, also for actors who may not see it."""
    run = store.get(ctx.tx, run_id)
    if not policy.may_see(ctx.actor, run.vendor):
        raise NotFound("evidence_run_not_found", _ABSENT)
    return run


def list_runs(ctx: Context, page: PageQuery = FIRST_PAGE, *, app: AppId | None = None) -> list[Run]:
    """List runs, newest first: members see those of their vendor, the platform's staff see all. Raises NotPermitted."""
    vendor = "" if ctx.actor.vendor is None else ctx.actor.vendor
    if not policy.may_see(ctx.actor, vendor):
        raise not_shown("certification runs", Readers.VENDOR)
    return store.list_runs(ctx.tx, page, vendor=vendor, app=app or "")


def watch(
    ctx: Context, run_id: str, accesses: Callable[[AccessQuery], AccessPage]
) -> tuple[tuple[Row, ...], Event]:
    """Return the last requests of a run, newest first, with the event to record before they are shown. Raises NotFound."""
    run = view(ctx, run_id)
    query = AccessQuery(run=run.id, tenant=run.tenant, since=run.opened_at - BEFORE, limit=WATCHED)
    found = accesses(query).accesses
    rows = tuple(policy.row_of_access(each, place=each.request_id, link="") for each in found)
    return rows, audit.reading_of(query, len(rows))


def watching(run_id: str) -> Event:
    """Return the event that records a refused look at a run."""
    return audit.reading_of(AccessQuery(run=run_id))


def run_of(ctx: Context, client: ClientId, tenant: TenantId) -> RunId | str:
    """Return the open run under which a client acts at a hospital; empty if there is none."""
    found = store.find_open_id(ctx.tx, client, tenant)
    return found[0] if found is not None and ctx.now < found[1] else ""


def life_within(ctx: Context, run_id: str, life: timedelta) -> timedelta:
    """Return the life of an access token that is issued in a run: the usual one, except in the scenario about its end."""
    return life if _find_in_fault(ctx, run_id, Fault.SHORT_TOKENS) is None else min(life, SHORT_LIFE)


def scopes_within(ctx: Context, run_id: str, scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes of an access token that is issued in a run: all, except that one scenario declines those that the app can do without."""
    run = _find_in_fault(ctx, run_id, Fault.OPTIONAL)
    if run is None:
        return scopes
    optional = run.doing["undo"]["optional"]
    return scopes if optional == NOTHING else policy.without_optional(scopes, optional)


def _find_in_fault(ctx: Context, run_id: str, fault: Fault) -> Run | None:
    """Find an open run in whose present scenario a fault is made; None if there is none, or ``run_id`` is empty."""
    # It may be gone: what was issued in a run may be refreshed long after the run was purged.
    run = store.find(ctx.tx, run_id) if run_id else None
    is_made = run is not None and run.state is State.OPEN and run.doing.get("fault") == fault.value
    return run if is_made else None


def latest_result(ctx: Context, version: VersionId) -> RunSummary | None:
    """Return the last run of a version that passed or failed."""
    found = store.find_judged(ctx.tx, version)
    if found is None or found.ended_at is None:
        return None
    return RunSummary(
        found.id,
        found.ended_at,
        found.state.value,
        found.policy_version,
        policy.shown_by(found.result),
        sha256(policy.signed_bytes(found.result)).hexdigest(),
        bool(found.result.get("backend")),
        policy.ground_of(found).own,
    )


# --- steps ---------------------------------------------------------------------------------------------------------------------


def _changeable(ctx: Context, run_id: str, action: str, *, lock: bool = False) -> Run:
    run = store.get(ctx.tx, run_id, lock=lock)
    if not policy.may_see(ctx.actor, run.vendor):
        raise NotFound("evidence_run_not_found", _ABSENT)
    if not policy.may_run(ctx.actor, run.vendor):
        raise audit.refusal(ctx, _event(run, action))
    return run


def _running(ctx: Context, run_id: str, action: str, *, late: bool = False) -> Run:
    """Get an open run that the actor may change, locked; with ``late`` also one that is past its end. Raises NotFound, NotPermitted, Conflict."""
    run = _changeable(ctx, run_id, action, lock=True)
    if run.state is not State.OPEN or (ctx.now >= run.expires_at and not late):
        raise Conflict("run_over", "This run is over. Open another one.")
    return run


def _event(run: Run, action: str, **facts: object) -> Event:
    named = {"run": run.id} | {name: value for name, value in facts.items() if value}
    return Event(action, tenant=run.tenant, app=run.app, client=run.client, facts=named)
