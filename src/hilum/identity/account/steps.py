"""The steps between a correct password and a session: a second factor is entered, or set up."""

from hilum.foundation.infra.context import Context
from hilum.identity.factors import service as factors
from hilum.identity.factors.models import Answer, Offer, Site, Step
from hilum.identity.people.models import Person
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Pending, Session, StepOver


def finish(ctx: Context, cookie: str, code: str, *, replaces: str = "") -> tuple[Session, str]:
    """Create the session of a person who entered their second factor; return it with its cookie.

    Raises StepOver, SlowDown, CodeWrong, AppLocked, Conflict (finished at this moment).
    """
    pending, person = _waiting(ctx, cookie, Step.FACTOR)
    signin.enter_code(ctx, person, code)
    return signin.finish_pending(ctx, pending, person, replaces=replaces)


def authentication_options(ctx: Context, cookie: str, site: Site) -> str:
    """Return the options for using a passkey as JSON; empty if the person has none. Raises StepOver."""
    pending, person = _waiting(ctx, cookie, Step.FACTOR)
    return factors.authentication_options(ctx, person, site, pending.digest)


def registration_options(ctx: Context, cookie: str, site: Site) -> str:
    """Return the options for creating a passkey as JSON; empty if none can be created at this site. Raises StepOver."""
    pending, person = _waiting(ctx, cookie, Step.ENROL)
    return factors.registration_options(ctx, person, site, pending.digest)


def finish_with_passkey(
    ctx: Context, cookie: str, site: Site, answer: str, *, replaces: str = ""
) -> tuple[Session, str]:
    """Create the session of a person who used a passkey; return it with its cookie. Raises StepOver, PasskeyRefused, Conflict."""
    pending, person = _waiting(ctx, cookie, Step.FACTOR)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    factors.use_passkey(as_person, person, site, Answer(pending.digest, answer))
    return signin.finish_pending(ctx, pending, person, replaces=replaces)


def finish_with_new_passkey(
    ctx: Context, cookie: str, site: Site, answer: str, *, name: str, replaces: str = ""
) -> tuple[Session, str, tuple[str, ...]]:
    """Store a person's first factor, a passkey, and create their session; return it with its cookie and the recovery codes.

    Raises StepOver, PasskeyRefused, Conflict (finished at this moment, or a factor was set up meanwhile).
    """
    pending, person = _waiting(ctx, cookie, Step.ENROL)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    codes = factors.add_passkey(as_person, person, site, Answer(pending.digest, answer, name), first=True)
    return *signin.finish_pending(ctx, pending, person, replaces=replaces), codes


def offer(ctx: Context, cookie: str, *, site: str, sealed: str = "") -> Offer:
    """Return the seed for an authenticator app; ``sealed``: that of a page which is shown again. Raises StepOver, Invalid."""
    _, person = _waiting(ctx, cookie, Step.ENROL)
    if sealed:
        return factors.reopen_offer(ctx, person, sealed, site=site)
    return factors.offer_totp(ctx, person, site=site)


def finish_with_new(
    ctx: Context, cookie: str, *, sealed: str, code: str, replaces: str = ""
) -> tuple[Session, str, tuple[str, ...]]:
    """Store a person's first authenticator app and create their session; return it with its cookie and the recovery codes.

    Raises StepOver, Invalid (the offer), CodeWrong, Conflict (finished at this moment, or a factor was set up meanwhile).
    """
    pending, person = _waiting(ctx, cookie, Step.ENROL)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    # INVARIANT: a password alone can set up a first factor, but never replace one.
    codes = factors.confirm_totp(as_person, person, sealed, code, first=True)
    return *signin.finish_pending(ctx, pending, person, replaces=replaces), codes


def _waiting(ctx: Context, cookie: str, step: Step) -> tuple[Pending, Person]:
    """Return the sign-in that waits for ``step`` and its person. Raises StepOver."""
    found = signin.pending(ctx, cookie)
    if found is None or found[0].step is not step:
        raise StepOver
    return found
