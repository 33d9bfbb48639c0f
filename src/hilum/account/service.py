"""One's own account: second factors in a session."""

from hilum.account import policy
from hilum.account.models import NotConfirmed, Own
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.factors import policy as factor_policy
from hilum.factors import service as factors
from hilum.factors.models import Offer
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.ids import TenantId
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin


def view(ctx: Context, cookie: str, tenant: TenantId | None, *, production: bool) -> Own | None:
    """Return the account of a browser's session; None if nobody is signed in at this place."""
    session = signin.session(ctx, cookie)
    if session is None or session.tenant != tenant:
        return None
    person = identity.get_person(ctx, session.person)
    held = factors.held(ctx, person.id)
    confirmed = policy.is_confirmed(session, held, ctx.now)
    return Own(session, person, held, confirmed, factor_policy.must_have(person.role, production=production))


def confirm(ctx: Context, own: Own, code: str) -> None:
    """Record in a session that its person just entered a second factor. Raises SlowDown, CodeWrong, AppLocked."""
    signin.enter_code(ctx, own.person, code)
    signin.record_factor(ctx, own.session)


def offer_totp(ctx: Context, own: Own, *, site: str, sealed: str = "") -> Offer:
    """Return the seed of a new authenticator app, or that of a page that is shown again. Raises NotConfirmed, Invalid."""
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
    """Make new recovery codes in place of the earlier ones. Raises NotConfirmed."""
    _require_confirmed(ctx, own, "factors.recovery.renew")
    return factors.renew_recovery_codes(_as_owner(ctx, own), own.person)


def _require_confirmed(ctx: Context, own: Own, action: str) -> None:
    if not own.confirmed:
        event = Event(action, tenant=own.person.tenant or "", person=own.person.id, reason="factor_stale")
        audit.refusal(_as_owner(ctx, own), event)
        raise NotConfirmed


def _as_owner(ctx: Context, own: Own) -> Context:
    return ctx.as_actor(signin_policy.actor_of_session(own.session))
