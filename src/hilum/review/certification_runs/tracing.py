"""Propose scopes from what an app did in the sandbox: in one run, or in the last days (C220)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import AccessPage, AccessQuery, Event, EventQuery
from hilum.review.certification_runs import policy, store
from hilum.review.certification_runs.judging import MINT
from hilum.review.certification_runs.models import TRACE_BOUND, TRACE_DAYS, Proposal, Row

Accesses = Callable[[AccessQuery], AccessPage]
"""Reads a page of the record of accesses."""
_ABSENT = "There is no such run of this app."


def propose_of_run(ctx: Context, app_id: AppId, run_id: str) -> Proposal:
    """Return the least scopes that permit what an app did in a run that was judged. Raises NotFound, Conflict (it is still open)."""
    app, run = _visible(ctx, app_id), store.get(ctx.tx, run_id)
    if run.app != app.id or not policy.may_see(ctx.actor, run.vendor):
        raise NotFound("evidence_run_not_found", _ABSENT)
    if not run.rows:
        detail = "The run was not judged yet, so its records are not kept. Finish it first: `hilum evidence finish`."
        raise Conflict("run_not_judged", detail)
    client = clients.find_client(ctx, run.client)
    held = () if client is None else client.scopes
    return policy.proposal_of(run.client, run.version, held, policy.read_rows(run.rows))


def reading_of_trace(client: str, given: int = 0) -> Event:
    """Return the event that records a read of what a client did."""
    return audit.reading_of(AccessQuery(client=client, limit=TRACE_BOUND), given)


def propose_of_client(
    ctx: Context, app_id: AppId, client_id: str, days: int, accesses: Accesses
) -> tuple[Proposal, Event]:
    """Return the least scopes that permit what a sandbox client did in the last days, with the event to record before they are shown.

    Raises NotFound, Invalid (no client of the app's in the sandbox, other days).
    """
    app = _visible(ctx, app_id)
    client = clients.find_client(ctx, ClientId(client_id))
    faults = {}
    if client is None or client.app != app.id or client.environment is not Environment.SANDBOX:
        # Whether another vendor has such a client is disclosed to nobody.
        faults["client"] = "client_not_of_sandbox"
    if days not in TRACE_DAYS:
        faults["days"] = "not_an_option"
    if client is None or faults:
        raise Invalid("trace_invalid", "There is nothing to propose scopes from; see fields.", fields=faults)
    since = ctx.now - timedelta(days=days)
    if app.owner_since is not None:
        # What the app did before is the former vendor's.
        since = max(since, app.owner_since)
    rows, whole = _requests(ctx, AccessQuery(client=client.id, since=since, limit=PAGE_BOUND), accesses)
    events = EventQuery(client=client.id, action=MINT, outcome="done", since=since, limit=PAGE_BOUND)
    minted = [policy.row_of_event(each, link="") for each in audit.list_events(ctx, events).events]
    found = policy.proposal_of(
        client.id, client.version, client.scopes, (*rows, *minted), whole=whole and len(minted) < PAGE_BOUND
    )
    return found, reading_of_trace(client.id, len(rows))


def _requests(ctx: Context, query: AccessQuery, accesses: Accesses) -> tuple[tuple[Row, ...], bool]:
    """Return the newest requests of a client at sandbox hospitals, and whether they are all."""
    rows: list[Row] = []
    sandboxes: dict[str, bool] = {}
    for _ in range(TRACE_BOUND // PAGE_BOUND):
        page = accesses(query)
        for each in page.accesses:
            if each.tenant not in sandboxes:
                tenant = identity.find_tenant(ctx, TenantId(each.tenant))
                sandboxes[each.tenant] = tenant is not None and tenant.sandbox
            if sandboxes[each.tenant]:
                rows.append(policy.row_of_access(each, place=each.request_id, link=""))
        if not page.next:
            return tuple(rows), True
        query = replace(query, after=page.next)
    return tuple(rows), False


def _visible(ctx: Context, app_id: AppId) -> App:
    app = registry.get_app(ctx, app_id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    return app
