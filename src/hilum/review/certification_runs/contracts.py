"""Contracts: the shapes of calls in a certified version's run, kept with the certification (C220)."""

from collections.abc import Collection

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Certification, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.certification_runs import contract_store, policy, store, traces
from hilum.review.certification_runs.models import RunContract, RunSummary, State

KEEP = "evidence.contract.keep"


def keep_contract(
    ctx: Context, certification: Certification, submitted: str, seen: RunSummary | None
) -> RunContract | None:
    """Store the contract of a certified version, bound to the digest of its submission; return None if no run counts for it.

    ``seen``: the run at the time of the submission's checks. A later run, which nobody has reviewed, must neither widen nor remove the contract. Call this in the
    transaction that certifies, so that neither exists without the other.
    """
    run = None if seen is None else store.find(ctx.tx, seen.run, records=True)
    if seen is None or run is None or run.state is not State.PASSED or run.version != certification.version:
        return None
    client = clients.find_client(ctx, run.client)
    # For a deleted client it is unknown what included records needed; each record has what permitted the call.
    held = () if client is None else client.scopes
    made = RunContract(
        certification.id,
        certification.app,
        certification.version,
        certification.submission,
        submitted,
        run.id,
        seen.digest,
        traces.shapes_of(traces.calls_of(policy.read_rows(run.rows), held)),
        ctx.now,
    )
    contract_store.add(ctx.tx, made)
    facts = {
        "certification": made.certification,
        "run": made.run,
        "shapes": len(made.shapes),
        "digest": policy.contract_digest(made),
    }
    audit.record(ctx, Event(KEEP, app=made.app, facts=facts))
    return made


def find_contracts(ctx: Context, certifications: Collection[str]) -> dict[str, RunContract]:
    """Find the contracts of some certifications; certifications without a run have none."""
    return {each.certification: each for each in contract_store.find_some(ctx.tx, certifications)}


def view_contract(ctx: Context, app_id: AppId, certification: str = "") -> RunContract:
    """Return a contract of an app: that of a certification, by default of the newest one in force for production.

    Raises NotFound, also for actors who may not see it.
    """
    app = registry.get_app(ctx, app_id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    of = registry.certifications_of(ctx, app.id)
    if certification:
        wanted = [each.id for each in of if each.id == certification]
    else:
        in_force = (
            each.id
            for each in registry.in_force(ctx, of)
            if each.environment is Environment.PRODUCTION and each.submission
        )
        wanted = sorted(in_force, reverse=True)[:1]
    found = next(iter(find_contracts(ctx, wanted).values()), None)
    if found is None:
        detail = (
            "No sandbox run was certified for this app, so it has no contract. "
            "Submit a version with a run that was passed."
        )
        raise NotFound("contract_not_found", detail)
    return found
