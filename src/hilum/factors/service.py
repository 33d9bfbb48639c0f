"""Setting second factors up, and using them."""

import json
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.factors import policy, store
from hilum.factors.models import (
    OFFER_LIFE,
    RECOVERY_CODES,
    SEED_BYTES,
    AppLocked,
    CodeWrong,
    FactorKind,
    Held,
    Offer,
    Totp,
)
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid
from hilum.kernel.ids import PersonId
from hilum.keys.live import vault

SEED, OFFER, RECOVERY = "totp-seed", "totp-offer", "recovery-code"
"""The purposes of the keys that seal seeds, seal what is offered, and authenticate recovery codes."""
RECOVERY_MAC_BYTES = 24


def held(ctx: Context, person: PersonId) -> Held:
    """Return which second factors a person has."""
    app = store.find_totp(ctx.tx, person)
    if app is None:
        return Held()
    left = store.count_recovery_codes(ctx.tx, person)
    return Held(True, app.created_at, policy.is_locked(app), left)


def offer_totp(ctx: Context, person: Person, *, site: str) -> Offer:
    """Make a seed for an authenticator app. Nothing is stored: the seed comes back sealed, with its first code."""
    seed = policy.seed_from(ctx.ids.secret(SEED_BYTES))
    until = ctx.now + OFFER_LIFE
    kept = json.dumps([policy.base32(seed), until.isoformat()]).encode()
    sealed = vault().seal(OFFER, kept, nonce=ctx.ids, bound_to=person.id)
    return Offer(
        policy.base32(seed), policy.provisioning_uri(seed, site=site, account=person.username), sealed
    )


def reopen_offer(ctx: Context, person: Person, sealed: str, *, site: str) -> Offer:
    """Return an offer that comes back from its page. Raises Invalid if it is not this person's, or too old."""
    seed = _open_offer(ctx, person, sealed)
    return Offer(
        policy.base32(seed), policy.provisioning_uri(seed, site=site, account=person.username), sealed
    )


def confirm_totp(ctx: Context, person: Person, sealed: str, code: str, *, first: bool) -> tuple[str, ...]:
    """Store an offered authenticator app once its first code matches; return new recovery codes, shown once.

    It takes the place of an earlier app, and the codes that of earlier ones. ``first``: only if the person has no factor. Raises Invalid
    (the offer), CodeWrong, Conflict (``first``, and there is one).
    """
    seed = _open_offer(ctx, person, sealed)
    step = policy.matching_step(seed, policy.read_digits(code), ctx.now, after=0)
    if step is None:
        raise CodeWrong(
            "This code is not the one that the app should show now. Check the clock of your telephone, then enter the code that is shown."
        )
    app = Totp(person.id, vault().seal(SEED, seed, nonce=ctx.ids, bound_to=person.id), ctx.now, step)
    if not first:
        store.save_totp(ctx.tx, app)
    elif held(ctx, person.id).any or not store.add_totp(ctx.tx, app):
        raise Conflict(
            "factor_exists", "A second factor was set up for this account meanwhile. Sign in with it."
        )
    _record(ctx, "factors.totp.add", person)
    return renew_recovery_codes(ctx, person)


def renew_recovery_codes(ctx: Context, person: Person) -> tuple[str, ...]:
    """Make new recovery codes in place of the earlier ones; they are shown once and stored as MACs."""
    codes = tuple(policy.recovery_code(ctx.ids.secret()) for _ in range(RECOVERY_CODES))
    store.save_recovery_codes(ctx.tx, person.id, [_digest(person.id, each) for each in codes])
    _record(ctx, "factors.recovery.renew", person)
    return codes


def use_code(ctx: Context, person: Person, text: str) -> FactorKind:
    """Accept a code of the person's authenticator app, or a recovery code, once. The caller slows guesses down.

    Raises CodeWrong, AppLocked; either commits the counted failure.
    """
    if recovery := policy.read_recovery(text):
        if not store.use_recovery_code(ctx.tx, person.id, _digest(person.id, recovery), ctx.now):
            raise _refused(ctx, person, CodeWrong(), FactorKind.RECOVERY)
        # It proves the owner, whom somebody else's wrong codes must not keep out.
        store.clear_failures(ctx.tx, person.id)
        left = store.count_recovery_codes(ctx.tx, person.id)
        _record(ctx, "factors.code.use", person, factor=FactorKind.RECOVERY, left=left)
        return FactorKind.RECOVERY
    app = store.find_totp(ctx.tx, person.id)
    if app is None:
        raise _refused(ctx, person, CodeWrong(), FactorKind.TOTP)
    if policy.is_locked(app):
        raise _refused(ctx, person, AppLocked(), FactorKind.TOTP)
    seed = vault().open(SEED, app.sealed, person.id)
    step = policy.matching_step(seed, policy.read_digits(text), ctx.now, after=app.last_step)
    if step is None or not store.use_step(ctx.tx, app, step):
        store.count_failure(ctx.tx, person.id)
        raise _refused(ctx, person, CodeWrong(), FactorKind.TOTP)
    _record(ctx, "factors.code.use", person, factor=FactorKind.TOTP)
    return FactorKind.TOTP


def remove_all(ctx: Context, person: Person, *, why: str) -> int:
    """Delete every second factor of a person; return how many there were. The caller has judged the right to."""
    removed = store.delete_all(ctx.tx, person.id)
    _record(ctx, "factors.factor.remove", person, factors=removed, why=why)
    return removed


def _open_offer(ctx: Context, person: Person, sealed: str) -> bytes:
    secret, until = json.loads(vault().open(OFFER, sealed, person.id))
    if ctx.now >= datetime.fromisoformat(until):
        raise Invalid("offer_over", "This page has been open too long. Load it again for a new QR code.")
    return policy.from_base32(secret)


def _digest(person: PersonId, code: str) -> str:
    return vault().mac(RECOVERY, f"{person}\0{policy.read_recovery(code)}".encode(), RECOVERY_MAC_BYTES)


def _refused(
    ctx: Context, person: Person, error: CodeWrong | AppLocked, kind: FactorKind
) -> CodeWrong | AppLocked:
    event = Event(
        "factors.code.use",
        Outcome.REFUSED,
        tenant=person.tenant or "",
        person=person.id,
        reason=error.code,
        facts={"factor": kind.value},
    )
    audit.record(ctx, event)
    return error


def _record(ctx: Context, action: str, person: Person, **facts: str | int) -> None:
    audit.record(ctx, Event(action, tenant=person.tenant or "", person=person.id, facts=facts))
