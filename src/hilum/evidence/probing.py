"""Requests to delete that a certification run sends to an app's webhook: one signed, one with a wrong signature (C227)."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import service as clients
from hilum.clients.models import PLATFORM_PEERS, ClientType
from hilum.disposals import service as disposals
from hilum.disposals.models import Cause, Disposal, SignedRequest
from hilum.evidence import declared, policy, store
from hilum.evidence.judging import DELETION, NOTHING
from hilum.evidence.models import PROBES_A_DAY, PROBES_BATCH, Fault, Probe, Run, State
from hilum.evidence.windows import POLLED
from hilum.infra.context import Context
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import ClientId, TenantId
from hilum.notices import service as notices
from hilum.notices.models import Endpoint
from hilum.registry import service as registry
from hilum.registry.models import App, AppVersion

_DUE = timedelta(days=30)


def ask(ctx: Context, run: Run) -> dict[str, Any]:
    """Have the jobs process send the requests of a run; return what it needs. Raises Conflict (no webhook for them, too many today).

    An app that stores nothing, as its vendor states, gets none.
    """
    if registry.view_profile(ctx.as_actor(SYSTEM), run.app)[1].stores_data is False:
        return {"stored": NOTHING}
    found = notices.receivers_of_disposals(ctx, run.vendor, run.app)
    client = clients.find_client(ctx, run.client)
    if not found and client is not None and _proves_itself(client.type):
        # An app may also poll its requests: one with the right signature, and one with a wrong one.
        return {"stored": POLLED, "polled": {"right": ctx.ids.new("prb"), "wrong": ctx.ids.new("prb")}}
    if not found:
        detail = (
            "No webhook receives requests to delete about this app (hilum webhook receive-disposals), and this client is public, so it cannot read them."
            " Open the run with another client, or state in the app's profile if it stores nothing."
        )
        raise Conflict("receiver_missing", detail)
    # The address may be a stranger's, though two people agreed to it.
    if not notices.spend(ctx, f"probe/{run.vendor}", PROBES_A_DAY):
        detail = (
            f"Runs send at most {PROBES_A_DAY} requests to delete a day for a vendor. Try again tomorrow."
        )
        raise Conflict("probes_bound", detail)
    return {"probe": ctx.ids.new("prb"), "endpoint": found[0].id}


def _proves_itself(of: ClientType) -> bool:
    return of is not ClientType.PUBLIC and of not in PLATFORM_PEERS


def unasked_of(ctx: Context, app: App, version: AppVersion) -> tuple[str, ...]:
    """Return the scenarios that a version need not show since it lacks what they are about: optional scopes, stored data, scopes to change records (C211, C227)."""
    _, profile = registry.view_profile(ctx.as_actor(SYSTEM), app.id)
    held = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    reads = any(_proves_itself(each.type) for each in held)
    reachable = reads or bool(notices.receivers_of_disposals(ctx, app.vendor, app.id))
    scopes = {scope for client in held for scope in client.scopes}
    return declared.unasked(version.optional_scopes, scopes, stores=profile.stores_data, reachable=reachable)


def list_polled(ctx: Context, client: ClientId, tenant: TenantId, issuer: str) -> list[SignedRequest]:
    """Return what a client reads among its requests to delete because a run of it asks for that, the one with a wrong signature first."""
    run = _polling(ctx, client, tenant)
    if run is None:
        return []
    asked = run.doing["undo"]["polled"]
    right, wrong = (_request(ctx, run, asked[name]) for name in ("right", "wrong"))
    text = disposals.signed_text(ctx, wrong, issuer=issuer)
    signed = SignedRequest(right, disposals.signed_text(ctx, right, issuer=issuer))
    return [SignedRequest(wrong, policy.forged(text)), signed]


def note_polled(ctx: Context, client: ClientId, tenant: TenantId, probe: str) -> bool:
    """Record that an app answered a request of its run, once; return False for other requests."""
    found = _polling(ctx, client, tenant)
    if found is None:
        return False
    run = store.get(ctx.tx, found.id, lock=True)
    kept = run.doing.get("undo", {})
    named = {id_: name for name, id_ in kept.get("polled", {}).items()}
    if probe not in named:
        return False
    answered = kept.get("answered", [])
    if probe not in answered:
        undo = dict(kept) | {"answered": [*answered, probe]}
        store.save(ctx.tx, replace(run, doing=dict(run.doing) | {"undo": undo}))
        _note(ctx, run, probe, named[probe], 200)
    return True


def _polling(ctx: Context, client: ClientId, tenant: TenantId) -> Run | None:
    """Return the run of a client in which it is to read its requests to delete now; None if there is none."""
    run = store.find_open(ctx.tx, client, tenant)
    if run is None or ctx.now >= run.expires_at or run.doing.get("fault") != Fault.DELETION.value:
        return None
    return run if run.doing["undo"].get("polled") else None


def next_probes(ctx: Context, issuer: str) -> list[Probe]:
    """Return what is to be sent now, at most a batch; what can no longer be sent is noted as such."""
    probes = []
    for run in store.list_faulty(ctx.tx, Fault.DELETION.value, ctx.now, PROBES_BATCH):
        kept: Mapping[str, Any] = run.doing["undo"]
        receivers = notices.receivers_of_disposals(ctx, run.vendor, run.app)
        endpoint = next((each for each in receivers if each.id == kept["endpoint"]), None)
        secrets = () if endpoint is None else _secrets(ctx, endpoint)
        if endpoint is None or not secrets:
            note_probe(ctx, run.id, kept["probe"], {"right": 0, "wrong": 0})
            continue
        body = policy.probe_body(kept["probe"], ctx.now, _facts(ctx, run, kept["probe"], issuer))
        wrong = f"whsec_{b64encode(ctx.ids.secret(32).encode()[:32]).decode()}"
        probes.append(Probe(kept["probe"], run.id, endpoint.url, body, secrets, wrong))
    return probes


def _secrets(ctx: Context, endpoint: Endpoint) -> tuple[str, ...]:
    """Return what signs for an endpoint; nothing if it cannot be opened, so that other vendors' requests are still sent."""
    try:
        return notices.secrets_of(ctx, endpoint)
    except Invalid:
        return ()


def _facts(ctx: Context, run: Run, probe: str, issuer: str) -> dict[str, str]:
    """Return what a request says."""
    request = _request(ctx, run, probe)
    return {
        "app_id": run.app,
        "disposal_id": probe,
        "due_at": request.due_at.isoformat(),
        "request": disposals.signed_text(ctx, request, issuer=issuer),
    }


def _request(ctx: Context, run: Run, probe: str) -> Disposal:
    """Return a request to delete. It is about a synthetic hospital, and nobody waits for its answer."""
    return Disposal(
        id=probe,
        cause=Cause.INSTALLATION,
        vendor=run.vendor,
        app=run.app,
        requested_at=ctx.now,
        due_at=ctx.now + _DUE,
        tenant=run.tenant,
        client=run.client,
    )


def note_probe(ctx: Context, run_id: str, probe: str, answers: Mapping[str, int]) -> bool:
    """Record how a webhook answered to the right and to the wrong signature, 0 for no answer; return False if that is no longer asked."""
    try:
        run = store.get(ctx.tx, run_id, lock=True)
    except NotFound:
        return False
    # Of two nodes that sent the same, the second finds it noted.
    if run.state is not State.OPEN or not run.sending or run.doing["undo"]["probe"] != probe:
        return False
    doing = dict(run.doing) | {"undo": dict(run.doing["undo"]) | {"sent": ctx.now.isoformat()}}
    store.save(ctx.tx, replace(run, doing=doing))
    for signed, status in sorted(answers.items()):
        _note(ctx, run, probe, signed, status)
    return True


def _note(ctx: Context, run: Run, probe: str, signed: str, status: int) -> None:
    facts = {"run": run.id, "probe": probe, "signed": signed, "status": status}
    audit.record(ctx, Event(DELETION, tenant=run.tenant, app=run.app, client=run.client, facts=facts))
