"""Setting second factors up, and using them."""

import json
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.factors import ceremonies, policy, store
from hilum.factors.models import (
    ANSWER_BOUND,
    CHALLENGE_LIFE,
    OFFER_LIFE,
    PASSKEYS_PER_PERSON,
    RECOVERY_CODES,
    SEED_BYTES,
    Answer,
    AppLocked,
    Ceremony,
    CodeWrong,
    FactorKind,
    Held,
    Offer,
    Passkey,
    PasskeyRefused,
    Site,
    Totp,
)
from hilum.identity import service as identity
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.kernel import typed_codes
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import PersonId
from hilum.kernel.sentences import Sentence
from hilum.keys.live import vault

Refusal = CodeWrong | AppLocked | PasskeyRefused
SEED, OFFER, RECOVERY = "totp-seed", "totp-offer", "recovery-code"
"""The purposes of the keys that seal seeds, seal what is offered, and authenticate recovery codes."""
RECOVERY_MAC_BYTES = 24


def held(ctx: Context, person: PersonId) -> Held:
    """Return which second factors a person has."""
    app = store.find_totp(ctx.tx, person)
    keys = store.list_passkeys(ctx.tx, person)
    if app is None and not keys:
        return Held()
    left = store.count_recovery_codes(ctx.tx, person)
    if app is None:
        return Held(recovery_left=left, passkeys=keys)
    return Held(True, app.created_at, policy.is_locked(app), left, keys)


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
            Sentence(
                "This code is not the one that the app should show now. Check the clock of your telephone, then enter the code that is shown."
            )
        )
    app = Totp(person.id, vault().seal(SEED, seed, nonce=ctx.ids, bound_to=person.id), ctx.now, step)
    before = lock(ctx, person)
    if not first:
        store.save_totp(ctx.tx, app)
    elif before.any or not store.add_totp(ctx.tx, app):
        raise Conflict(
            "factor_exists", "A second factor was set up for this account meanwhile. Sign in with it."
        )
    _record(ctx, "factors.totp.add", person)
    return renew_recovery_codes(ctx, person)


def lock(ctx: Context, person: Person) -> Held:
    """Return what a person has, locked: whoever changes it at this moment waits until this transaction is over."""
    identity.get_person(ctx, person.id, lock=True)
    return held(ctx, person.id)


def renew_recovery_codes(ctx: Context, person: Person) -> tuple[str, ...]:
    """Make new recovery codes in place of the earlier ones; they are shown once and stored as MACs."""
    # Of two at one moment each would delete only what was there before, and both sets would count.
    lock(ctx, person)
    codes = tuple(typed_codes.code_from(ctx.ids.secret()) for _ in range(RECOVERY_CODES))
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


def ask_to_create(ctx: Context, person: Person, site: Site, holder: str) -> str:
    """Return the options for making a passkey as JSON; empty where none can be. ``holder``: the session or sign-in that shows the page."""
    keys = store.list_passkeys(ctx.tx, person.id)
    if not site.host or len(keys) >= PASSKEYS_PER_PERSON:
        return ""
    return ceremonies.ask_to_create(site, person, keys, _challenge(ctx, holder, Ceremony.CREATE))


def ask_to_get(ctx: Context, person: Person, site: Site, holder: str) -> str:
    """Return the options for using one of a person's passkeys as JSON; empty if there is none."""
    keys = store.list_passkeys(ctx.tx, person.id)
    if not site.host or not keys:
        return ""
    return ceremonies.ask_to_get(site, keys, _challenge(ctx, holder, Ceremony.GET))


def _challenge(ctx: Context, holder: str, ceremony: Ceremony) -> str:
    challenge = ctx.ids.secret()
    store.save_challenge(ctx.tx, holder, ceremony, challenge, ctx.now + CHALLENGE_LIFE)
    return challenge


def add_passkey(ctx: Context, person: Person, site: Site, answer: Answer, *, first: bool) -> tuple[str, ...]:
    """Store a passkey that a browser made; return recovery codes if it is the person's first factor, shown once.

    ``first``: only if the person has no factor. Raises PasskeyRefused, Conflict (``first``, and there is one).
    """
    before = lock(ctx, person)
    if first and before.any:
        raise Conflict(
            "factor_exists", "A second factor was set up for this account meanwhile. Sign in with it."
        )
    try:
        challenge = _take_challenge(ctx, answer.holder, Ceremony.CREATE)
        made = ceremonies.created(site, challenge, answer.text)
    except PasskeyRefused as error:
        raise _refused(ctx, person, error, FactorKind.PASSKEY, action="factors.passkey.add") from error
    name = policy.passkey_name(answer.name, len(before.passkeys))
    found = Passkey(made.credential, person.id, made.public_key, made.sign_count, name, ctx.now)
    if len(before.passkeys) >= PASSKEYS_PER_PERSON or not store.add_passkey(ctx.tx, found):
        detail = Sentence(
            "This passkey belongs to an account already, or this account has as many as it may."
        )
        raise PasskeyRefused("passkey_taken", detail)
    _record(ctx, "factors.passkey.add", person, passkey=_id_of(found))
    return () if before.any else renew_recovery_codes(ctx, person)


def use_passkey(ctx: Context, person: Person, site: Site, answer: Answer) -> FactorKind:
    """Accept a use of one of a person's passkeys for the challenge of this page, once. Raises PasskeyRefused."""
    try:
        challenge = _take_challenge(ctx, answer.holder, Ceremony.GET)
        found = _passkey_of(ctx, person, answer.text)
        count = ceremonies.used(site, found, challenge, answer.text)
        # A counter that stands still or goes back: somebody has a copy of the authenticator.
        if not policy.count_is_credible(found.sign_count, count) or not store.use_passkey(
            ctx.tx, found, count, ctx.now
        ):
            raise PasskeyRefused(
                "passkey_counter",
                Sentence(
                    "This passkey was used elsewhere since, so there may be a copy of it. Use another way, and remove it from your account."
                ),
            )
    except PasskeyRefused as error:
        raise _refused(ctx, person, error, FactorKind.PASSKEY) from error
    store.clear_failures(ctx.tx, person.id)
    _record(ctx, "factors.code.use", person, factor=FactorKind.PASSKEY, passkey=_id_of(found))
    return FactorKind.PASSKEY


def _take_challenge(ctx: Context, holder: str, ceremony: Ceremony) -> str:
    challenge = store.take_challenge(ctx.tx, holder, ceremony, ctx.now)
    if not challenge:
        detail = Sentence(
            "This page was used already, or was open too long. Try again on the page that is shown now."
        )
        raise PasskeyRefused("challenge_over", detail)
    return challenge


def _passkey_of(ctx: Context, person: Person, answer: str) -> Passkey:
    try:
        named = json.loads(answer[:ANSWER_BOUND])["id"]
    except (ValueError, TypeError, KeyError) as error:
        raise PasskeyRefused("passkey_answer_invalid") from error
    # Of this person's own only: the password has said who it is.
    found = next((each for each in store.list_passkeys(ctx.tx, person.id) if each.credential == named), None)
    if found is None:
        raise PasskeyRefused("passkey_unknown")
    return found


def remove_passkey(ctx: Context, person: Person, passkey: str) -> None:
    """Delete a passkey by the id that is shown of it. The caller has judged the right to, after ``lock``. Raises NotFound."""
    found = next((each for each in store.list_passkeys(ctx.tx, person.id) if _id_of(each) == passkey), None)
    if found is None or not store.delete_passkey(ctx.tx, found):
        raise NotFound("passkey_not_found", "This account has no such passkey.")
    _record(ctx, "factors.factor.remove", person, factors=1, why="owner", passkey=passkey)


def remove_totp(ctx: Context, person: Person) -> None:
    """Delete a person's authenticator app. The caller has judged the right to, after ``lock``. Raises NotFound."""
    if not store.delete_totp(ctx.tx, person.id):
        raise NotFound("authenticator_not_found", "This account has no authenticator app.")
    _record(ctx, "factors.factor.remove", person, factors=1, why="owner")


def _id_of(passkey: Passkey) -> str:
    return policy.passkey_id(passkey)


def purge(ctx: Context) -> int:
    """Delete challenges that ended; return how many. Call again until it returns 0."""
    return store.purge_challenges(ctx.tx, ctx.now)


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
    ctx: Context, person: Person, error: Refusal, kind: FactorKind, action: str = "factors.code.use"
) -> Refusal:
    event = Event(
        action,
        Outcome.REFUSED,
        tenant=person.tenant or "",
        person=person.id,
        reason=getattr(error, "reason", error.code),
        facts={"factor": kind.value},
    )
    audit.record(ctx, event)
    return error


def _record(ctx: Context, action: str, person: Person, **facts: str | int) -> None:
    audit.record(ctx, Event(action, tenant=person.tenant or "", person=person.id, facts=facts))
