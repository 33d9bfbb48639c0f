"""What is signed of every app with a client: whose it is, and whether it is suspended, also where nothing is certified (ADR 141)."""

from hashlib import sha256

import orjson

from hilum.attestations import service as rows
from hilum.attestations.policy import signed_moment
from hilum.attestations.service import State
from hilum.infra.context import Context
from hilum.kernel.ids import AppId
from hilum.registry.models import App, AppState


def owner_subject(app: AppId) -> str:
    """Return the subject under which it is signed whose an app is."""
    return f"owner/{app}"


def owner_state(app: App) -> State:
    """Return subject and digest of whose an app is: its vendor, and the one hospital where it exists, if there is one; and of its suspension. Pure."""
    # Nothing of an app that never was suspended.
    stop = [] if _never_stopped(app) else [app.state.value, signed_moment(app.active_since)]
    state = [app.vendor, app.tenant, signed_moment(app.owner_since), *stop]
    return owner_subject(app.id), sha256(orjson.dumps(state)).hexdigest()


def _never_stopped(app: App) -> bool:
    return app.state is AppState.ACTIVE and app.active_since == app.created_at


def sign_stop(ctx: Context, before: App, after: App) -> bool:
    """Sign that an app was suspended or resumed, if it has a client, and return whether it did; the last of a verb.

    A suspension waits for nothing that does not match what was signed. Raises Conflict: it cannot be resumed, since it does not match what was signed.
    """
    if not rows.is_signed(ctx, owner_subject(after.id)):
        return False
    if after.state is AppState.ACTIVE:
        rows.require(ctx, owner_state(before))
    elif not rows.matches(ctx, owner_state(before)):
        return False
    rows.attest(ctx, owner_state(after))
    return True
