"""Set up second factors, and use them."""

import json
from datetime import datetime

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel import typed_codes
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.sentences import Sentence
from hilum.identity.factors import ceremonies, policy, store
from hilum.identity.factors.models import (
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
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.keys.live import vault

Refusal = CodeWrong | AppLocked | PasskeyRefused
SEED, OFFER, RECOVERY = "totp-seed", "totp-offer", "recovery-code"
"""The purposes of the keys that seal seeds, seal what is offered, and authenticate recovery codes."""
RECOVERY_MAC_BYTES = 24


def held(ctx: Context, person: PersonId) -> Held:
    """Return which second factors a person has."""
    app, keys = store.find_factors(ctx.tx, person)
    if app is None and not keys:
        return Held()
    left = store.count_recovery_codes(ctx.tx, person)
    if app is None:
        return Held(recovery_left=left, passkeys=keys)
    return Held(True, app.created_at, policy.is_locked(app), left, keys)


def offer_totp(ctx: Context, person: Person, *, site: str) -> Offer:
    """Create a seed for an authenticator app. Nothing is stored: the page sends the sealed seed back with the first code."""
    seed = policy.seed_from(ctx.ids.secret(SEED_BYTES))
    until = ctx.now + OFFER_LIFE
    content = json.dumps([policy.base32(seed), until.isoformat()]).encode()
    sealed = vault().seal(OFFER, content, nonce=ctx.ids, bound_to=person.id)
    return _offer(person, seed, sealed, site)


def reopen_offer(ctx: Context, person: Person, sealed: str, *, site: str) -> Offer:
    """Open an offer that a page sent back. Raises Invalid if it is another person's or has expired."""
    return _offer(person, _open_offer(ctx, person, sealed), sealed, site)


def _offer(person: Person, seed: bytes, sealed: str, site: str) -> Offer:
    uri = policy.provisioning_uri(seed, site=site, account=person.username)
    return Offer(policy.base32(seed), uri, sealed)


def confirm_totp(ctx: Context, person: Person, sealed: str, code: str, *, first: bool) -> tuple[str, ...]:
    """Store an offered authenticator app once its first code matches; return new recovery codes, shown once.

    The app replaces an earlier one, and the codes replace earlier ones. ``first``: only if the person has no factor. Raises Invalid (the
    offer), CodeWrong, Conflict (``first``, and there is a factor).
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
        store.TOTPS.put(ctx.tx, app)
    elif before.any or not store.TOTPS.add_new(ctx.tx, app):
        raise _has_factor()
    _record(ctx, "factors.totp.add", person)
    return renew_recovery_codes(ctx, person)


def _has_factor() -> Conflict:
    return Conflict(
        "factor_exists", "A second factor was set up for this account meanwhile. Sign in with it."
    )


def lock(ctx: Context, person: Person) -> Held:
    """Return a person's factors, locked against concurrent changes until this transaction ends."""
    identity.get_person(ctx, person.id, lock=True)
    return held(ctx, person.id)


def renew_recovery_codes(ctx: Context, person: Person) -> tuple[str, ...]:
    """Replace a person's recovery codes by new ones, which are shown once and stored as MACs."""
    # Without the lock, two concurrent renewals would each
    # delete only the old codes, and both sets would be valid.
    lock(ctx, person)
    codes = tuple(typed_codes.code_from(ctx.ids.secret()) for _ in range(RECOVERY_CODES))
    store.save_recovery_codes(ctx.tx, person.id, [_digest(person.id, each) for each in codes])
    _record(ctx, "factors.recovery.renew", person)
    return codes


def use_code(ctx: Context, person: Person, text: str) -> FactorKind:
    """Accept a code of the person's authenticator app, or a recovery code, once. The caller limits attempts.

    Raises CodeWrong, AppLocked; either commits the counted failure.
    """
    if recovery := policy.read_recovery(text):
        if not store.use_recovery_code(ctx.tx, person.id, _digest(person.id, recovery), ctx.now):
            raise _refused(ctx, person, CodeWrong(), FactorKind.RECOVERY)
        # It proves the owner, so the wrong codes of somebody else no longer count.
        store.clear_failures(ctx.tx, person.id)
        left = store.count_recovery_codes(ctx.tx, person.id)
        _record(ctx, "factors.code.use", person, factor=FactorKind.RECOVERY, left=left)
        return FactorKind.RECOVERY
    app = store.TOTPS.find(ctx.tx, person=person.id)
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


def registration_options(ctx: Context, person: Person, site: Site, holder: str) -> str:
    """Return the options for creating a passkey as JSON; empty if there can be none. ``holder``: the session or pending sign-in of the page."""
    keys = store.list_passkeys(ctx.tx, person.id)
    if not site.host or len(keys) >= PASSKEYS_PER_PERSON:
        return ""
    return ceremonies.registration_options(site, person, keys, _challenge(ctx, holder, Ceremony.CREATE))


def authentication_options(ctx: Context, person: Person, site: Site, holder: str) -> str:
    """Return the options for using one of a person's passkeys as JSON; empty if there is none."""
    keys = store.list_passkeys(ctx.tx, person.id)
    if not site.host or not keys:
        return ""
    return ceremonies.authentication_options(site, keys, _challenge(ctx, holder, Ceremony.GET))


def _challenge(ctx: Context, holder: str, ceremony: Ceremony) -> str:
    challenge = ctx.ids.secret()
    store.save_challenge(ctx.tx, holder, ceremony, challenge, ctx.now + CHALLENGE_LIFE)
    return challenge


def add_passkey(ctx: Context, person: Person, site: Site, answer: Answer, *, first: bool) -> tuple[str, ...]:
    """Store a passkey that a browser created; return recovery codes, shown once, if it is the person's first factor.

    ``first``: only if the person has no factor. Raises PasskeyRefused, Conflict (``first``, and there is a factor).
    """
    before = lock(ctx, person)
    if first and before.any:
        raise _has_factor()
    try:
        challenge = _take_challenge(ctx, answer.holder, Ceremony.CREATE)
        new = ceremonies.verify_registration(site, challenge, answer.text)
        name = policy.passkey_name(answer.name, len(before.passkeys))
        passkey = Passkey(new.credential, person.id, new.public_key, new.sign_count, name, ctx.now)
        if len(before.passkeys) >= PASSKEYS_PER_PERSON or not store.add_passkey(ctx.tx, passkey):
            detail = Sentence(
                "This passkey belongs to an account already, or this account has as many as it may."
            )
            raise PasskeyRefused("passkey_taken", detail)
    except PasskeyRefused as error:
        raise _refused(ctx, person, error, FactorKind.PASSKEY, action="factors.passkey.add") from error
    _record(ctx, "factors.passkey.add", person, passkey=_id_of(passkey))
    return () if before.any else renew_recovery_codes(ctx, person)


def use_passkey(ctx: Context, person: Person, site: Site, answer: Answer) -> FactorKind:
    """Accept a browser's response with one of a person's passkeys, once for each challenge. Raises PasskeyRefused."""
    try:
        challenge = _take_challenge(ctx, answer.holder, Ceremony.GET)
        passkey = _passkey_of(ctx, person, answer.text)
        count = ceremonies.verify_authentication(site, passkey, challenge, answer.text)
        # A counter that did not grow means that somebody may have a copy of the authenticator.
        if not policy.count_is_credible(passkey.sign_count, count) or not store.use_passkey(
            ctx.tx, passkey, count, ctx.now
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
    _record(ctx, "factors.code.use", person, factor=FactorKind.PASSKEY, passkey=_id_of(passkey))
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
    # Only this person's own: the password has identified them.
    passkey = next(
        (each for each in store.list_passkeys(ctx.tx, person.id) if each.credential == named), None
    )
    if passkey is None:
        raise PasskeyRefused("passkey_unknown")
    return passkey


def remove_passkey(ctx: Context, person: Person, passkey: str) -> None:
    """Delete a passkey by its short id. The caller has judged the right to, after ``lock``. Raises NotFound."""
    removed = next((each for each in store.list_passkeys(ctx.tx, person.id) if _id_of(each) == passkey), None)
    if removed is None or not store.delete_passkey(ctx.tx, removed):
        raise NotFound("passkey_not_found", "This account has no such passkey.")
    _record(ctx, "factors.factor.remove", person, factors=1, why="owner", passkey=passkey)


def remove_totp(ctx: Context, person: Person) -> None:
    """Delete a person's authenticator app. The caller has judged the right to, after ``lock``. Raises NotFound."""
    if not store.TOTPS.delete(ctx.tx, person=person.id):
        raise NotFound("authenticator_not_found", "This account has no authenticator app.")
    _record(ctx, "factors.factor.remove", person, factors=1, why="owner")


def _id_of(passkey: Passkey) -> str:
    return policy.passkey_id(passkey)


def purge(ctx: Context) -> int:
    """Delete expired challenges; return how many. Call again until it returns 0."""
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
