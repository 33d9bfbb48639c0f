"""Requests to delete that a certification run sends to an app's webhook: one as it is, one with a wrong signature (C227)."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.disposals import service as disposals
from hilum.disposals.models import Cause, Disposal
from hilum.evidence import policy, store
from hilum.evidence.judging import DELETION, NOTHING
from hilum.evidence.models import PROBES_A_DAY, PROBES_BATCH, Fault, Probe, Run, State
from hilum.infra.context import Context
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.notices import service as notices
from hilum.notices.models import Endpoint
from hilum.registry import service as registry

_DUE = timedelta(days=30)


def ask(ctx: Context, run: Run) -> dict[str, Any]:
    """Have the jobs process send the requests of a run; return what it needs. Raises Conflict (no webhook for them, too many today).

    An app whose vendor states that it stores nothing is sent none.
    """
    if registry.view_profile(ctx.as_actor(SYSTEM), run.app)[1].stores_data is False:
        return {"stored": NOTHING}
    found = notices.receivers_of_disposals(ctx, run.vendor, run.app)
    if not found:
        detail = "No webhook receives requests to delete about this app: hilum webhook receive-disposals. State in the app's profile if it stores nothing."
        raise Conflict("receiver_missing", detail)
    # The address may be a stranger's, though two people agreed to it.
    if not notices.spend(ctx, f"probe/{run.vendor}", PROBES_A_DAY):
        detail = (
            f"Runs send at most {PROBES_A_DAY} requests to delete a day for a vendor. Try again tomorrow."
        )
        raise Conflict("probes_bound", detail)
    return {"probe": ctx.ids.new("prb"), "endpoint": found[0].id}


def next_probes(ctx: Context, issuer: str) -> list[Probe]:
    """Return what is to be sent now, at most a batch; what cannot be sent any more is noted as such."""
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
    """Return what signs for an endpoint; nothing if it cannot be opened, so that other vendors' requests are sent all the same."""
    try:
        return notices.secrets_of(ctx, endpoint)
    except Invalid:
        return ()


def _facts(ctx: Context, run: Run, probe: str, issuer: str) -> dict[str, str]:
    """Return what a request says. It is about a synthetic hospital; nobody waits for its answer."""
    request = Disposal(
        id=probe,
        cause=Cause.INSTALLATION,
        vendor=run.vendor,
        app=run.app,
        requested_at=ctx.now,
        due_at=ctx.now + _DUE,
        tenant=run.tenant,
        client=run.client,
    )
    return {
        "app_id": run.app,
        "disposal_id": probe,
        "due_at": request.due_at.isoformat(),
        "request": disposals.signed_text(ctx, request, issuer=issuer),
    }


def note_probe(ctx: Context, run_id: str, probe: str, answers: Mapping[str, int]) -> bool:
    """Record how a webhook answered to the right and to the wrong signature, 0 for no answer; return False if that is not asked any more."""
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
        facts = {"run": run.id, "probe": probe, "signed": signed, "status": status}
        audit.record(ctx, Event(DELETION, tenant=run.tenant, app=run.app, client=run.client, facts=facts))
    return True
