"""Contracts: the shapes of calls in a certified version's run, signed with the certification (C220)."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

from hilum.audit import service as audit
from hilum.audit.models import Event, EventQuery
from hilum.clients import service as clients
from hilum.evidence import contract_store, policy, store, traces
from hilum.evidence.checking import check_result
from hilum.evidence.models import CertifiedEvidence, RunContract, RunSummary, ScenarioShown, State
from hilum.infra.context import Context
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import AppId
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.registry import service as registry
from hilum.registry.models import Certification, Environment

KEEP = "evidence.contract.keep"
KEPT_WITHIN = timedelta(minutes=1)
"""How much later than the certification its contract's record may be; both are made in one transaction."""
CONTRACTS_READ = 500
CONTRACTS_SHOWN = 20
_EDITED = "The signature of the contract does not match: somebody edited it in the database."
_GONE = "The contract is missing: somebody deleted it in the database."


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
    result = sha256(policy.signed_bytes(run.result)).hexdigest()
    if result != seen.digest or not check_result(ctx, run):
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
        result,
        traces.shapes_of(traces.calls_of(policy.read_rows(run.rows), held)),
        ctx.now,
    )
    signed = policy.contract_bytes(made)
    kid, signature = keys.sign_bytes(ctx, Purpose.EVIDENCE, signed)
    contract_store.add(ctx.tx, replace(made, kid=kid, signature=signature))
    facts = {
        "certification": made.certification,
        "run": made.run,
        "shapes": len(made.shapes),
        "digest": sha256(signed).hexdigest(),
    }
    audit.record(ctx, Event(KEEP, app=made.app, facts=facts))
    return made


def find_contracts(ctx: Context, certifications: Collection[str]) -> dict[str, RunContract]:
    """Find the contracts of some certifications, each with whether its signature matches; certifications without a run have none."""
    found = contract_store.find_some(ctx.tx, certifications)
    return {each.certification: _judged(ctx, each) for each in found}


def _judged(ctx: Context, found: RunContract) -> RunContract:
    signed = policy.contract_bytes(found)
    genuine = keys.verify_bytes(ctx, Purpose.EVIDENCE, found.kid, signed, found.signature)
    return replace(found, genuine=genuine)


def contract_faults(ctx: Context, app: AppId, certifications: Iterable[Certification]) -> dict[str, str]:
    """Return the faults of the contracts of some certifications of an app, by certification: edited or deleted.

    The audit records a contract in the transaction that certifies, so a deleted one is noticed.
    """
    of = {each.id: each for each in certifications if each.submission}
    held = find_contracts(ctx, of)
    found = {id_: _EDITED for id_, each in held.items() if not each.genuine}
    for id_ in of.keys() - held.keys():
        at = of[id_].certified_at
        query = EventQuery(action=KEEP, app=app, since=at, before=at + KEPT_WITHIN, outcome="done")
        events = audit.list_events(ctx, query).events
        if any(each.event.facts.get("certification") == id_ for each in events):
            found[id_] = _GONE
    return found


def edited_contracts(ctx: Context) -> list[str]:
    """Return all certifications whose contracts' signatures do not match; at most CONTRACTS_SHOWN."""
    found: list[str] = []
    after = ""
    while len(found) < CONTRACTS_SHOWN:
        page = contract_store.list_after(ctx.tx, after, CONTRACTS_READ)
        found += [each.certification for each in page if not _judged(ctx, each).genuine]
        if len(page) < CONTRACTS_READ:
            break
        after = page[-1].certification
    return found[:CONTRACTS_SHOWN]


def evidence_of(ctx: Context, certification: Certification) -> CertifiedEvidence | None:
    """Return the run behind a certification; None without one. The caller checks who may see it."""
    contract = find_contracts(ctx, [certification.id]).get(certification.id)
    if contract is None:
        return None
    try:
        run = store.get(ctx.tx, contract.run)
    except NotFound:
        # The run was purged: its contract has the scenarios.
        return None
    result = sha256(policy.signed_bytes(run.result)).hexdigest()
    return CertifiedEvidence(
        certification.id,
        run.id,
        run.ended_at or contract.made_at,
        tuple(ScenarioShown(each["title"], each["outcome"]) for each in run.result.get("scenarios", ())),
        result,
        run.kid,
        run.signature,
        genuine=contract.genuine and contract.result == result and check_result(ctx, run),
    )


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
