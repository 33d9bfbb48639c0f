"""Verbs on one's own account: second factors, sessions and API tokens."""

from dataclasses import replace
from datetime import timedelta

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.foundation.kernel.ids import SessionId, TenantId
from hilum.identity.account import policy
from hilum.identity.account.models import Credentials, NotConfirmed, Own
from hilum.identity.factors import policy as factor_policy
from hilum.identity.factors import service as factors
from hilum.identity.factors.models import Answer, Offer, Site
from hilum.identity.people import service as identity
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import ApiToken
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

TOTP = "totp"


def view(ctx: Context, cookie: str, tenant: TenantId | None, *, production: bool) -> Own | None:
    """Return the account of a browser's session; None if nobody is signed in at this place."""
    session = signin.session(ctx, cookie, production=production)
    if session is None or session.tenant != tenant:
        return None
    person = identity.get_person(ctx, session.person)
    held = factors.held(ctx, person.id)
    confirmed = policy.is_confirmed(session, held, ctx.now)
    return Own(session, person, held, confirmed, factor_policy.must_have(person.role, production=production))


def touch(ctx: Context, own: Own) -> None:
    """Record that the session is in use."""
    signin.touch(ctx, own.session)


def credentials(ctx: Context, own: Own) -> Credentials:
    """List the person's present sessions and API tokens."""
    as_owner = _as_owner(ctx, own)
    tokens = signin.list_api_tokens(as_owner, own.person.id)
    return Credentials(tuple(signin.list_own_sessions(as_owner)), tuple(tokens))


def end_session(ctx: Context, own: Own, session: str) -> None:
    """End one of the person's sessions. Raises NotFound."""
    signin.end_own_session(_as_owner(ctx, own), SessionId(session))


def end_others(ctx: Context, own: Own) -> int:
    """End every session of the person but this one; return how many."""
    return signin.end_other_sessions(_as_owner(ctx, own), own.session)


def create_token(ctx: Context, own: Own, name: str, life: timedelta) -> tuple[ApiToken, str]:
    """Create an API token, as strong as the sign-in of this session; return it with its secret.

    Raises NotConfirmed, Invalid, NotPermitted, Conflict (the session ended at this moment).
    """
    _require_confirmed(ctx, own, "signin.token.create")
    # What ends the session later ends the token, too; what ended it before keeps it from being made.
    signin.hold_session(ctx, own.session.id)
    entered = own.session.factor_at
    return signin.create_api_token(
        _as_owner(ctx, own), own.person.id, life=life, name=name, factor_at=entered
    )


def revoke_token(ctx: Context, own: Own, token: str) -> None:
    """Revoke an API token of the person. Raises NotFound, Conflict."""
    signin.revoke_api_token(_as_owner(ctx, own), token)


def confirm_token(ctx: Context, own: Own, token: str) -> None:
    """Confirm an API token for a while, so that it may widen access as this session may; for owners of a passkey. Raises NotConfirmed, NotFound."""
    _require_confirmed(ctx, own, "signin.token.confirm")
    stored = next((each for each in credentials(ctx, own).tokens if each.id == token), None)
    if stored is None:
        raise NotFound("token_not_found", "You have no such token.")
    signin.confirm_token(_as_owner(ctx, own), stored)


def confirm(ctx: Context, own: Own, code: str) -> None:
    """Record in a session that its person just entered a second factor. Raises SlowDown, CodeWrong, AppLocked."""
    signin.enter_code(ctx, own.person, code)
    signin.record_factor(ctx, own.session)


def authentication_options(ctx: Context, own: Own, site: Site) -> str:
    """Return the options for using a passkey as JSON; empty if there is none."""
    return factors.authentication_options(ctx, own.person, site, own.session.id)


def confirm_with_passkey(ctx: Context, own: Own, site: Site, answer: str) -> None:
    """Record in a session that its person just used a passkey. Raises PasskeyRefused."""
    factors.use_passkey(_as_owner(ctx, own), own.person, site, Answer(own.session.id, answer))
    signin.record_factor(ctx, own.session)


def registration_options(ctx: Context, own: Own, site: Site) -> str:
    """Return the options for creating a passkey as JSON; empty if none can be created at this site. Raises NotConfirmed."""
    _require_confirmed(ctx, own, "factors.passkey.add")
    return factors.registration_options(ctx, own.person, site, own.session.id)


def add_passkey(ctx: Context, own: Own, site: Site, answer: str, name: str) -> tuple[str, ...]:
    """Store a new passkey; return recovery codes if it is the first factor. Raises NotConfirmed, PasskeyRefused, Conflict."""
    _require_confirmed(ctx, own, "factors.passkey.add")
    created = Answer(own.session.id, answer, name)
    codes = factors.add_passkey(_as_owner(ctx, own), own.person, site, created, first=not own.held.any)
    signin.record_factor(ctx, own.session)
    return codes


def remove(ctx: Context, own: Own, factor: str) -> None:
    """Remove an authenticator app (``totp``) or a passkey by its id. Raises NotConfirmed, NotPermitted (the last one), NotFound."""
    _require_confirmed(ctx, own, "factors.factor.remove")
    # Read again under a lock, so that two removals at once cannot remove both factors.
    if not policy.may_remove_one(replace(own, held=factors.lock(ctx, own.person))):
        raise NotPermitted(
            "factor_last", "Your role requires a second factor. Add another one, then remove this one."
        )
    if factor == TOTP:
        factors.remove_totp(_as_owner(ctx, own), own.person)
    else:
        factors.remove_passkey(_as_owner(ctx, own), own.person, factor)


def offer_totp(ctx: Context, own: Own, *, site: str, sealed: str = "") -> Offer:
    """Return the seed for a new authenticator app; ``sealed``: that of a page which is shown again. Raises NotConfirmed, Invalid."""
    _require_confirmed(ctx, own, "factors.totp.add")
    if sealed:
        return factors.reopen_offer(ctx, own.person, sealed, site=site)
    return factors.offer_totp(ctx, own.person, site=site)


def change_totp(ctx: Context, own: Own, *, sealed: str, code: str) -> tuple[str, ...]:
    """Store a new authenticator app in place of the earlier one; return new recovery codes. Raises NotConfirmed, Invalid, CodeWrong."""
    _require_confirmed(ctx, own, "factors.totp.add")
    codes = factors.confirm_totp(_as_owner(ctx, own), own.person, sealed, code, first=not own.held.any)
    signin.record_factor(ctx, own.session)
    return codes


def renew_recovery_codes(ctx: Context, own: Own) -> tuple[str, ...]:
    """Create new recovery codes in place of the earlier ones. Raises NotConfirmed."""
    _require_confirmed(ctx, own, "factors.recovery.renew")
    return factors.renew_recovery_codes(_as_owner(ctx, own), own.person)


def _require_confirmed(ctx: Context, own: Own, action: str) -> None:
    if own.confirmed:
        return
    event = Event(action, tenant=own.person.tenant or "", person=own.person.id, reason="factor_stale")
    audit.refusal(_as_owner(ctx, own), event)
    raise NotConfirmed


def _as_owner(ctx: Context, own: Own) -> Context:
    return ctx.as_actor(signin_policy.actor_of_session(own.session))
