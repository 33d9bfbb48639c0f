"""What comes between a matching password and a session: entering a second factor, or setting one up."""

from hilum.factors import service as factors
from hilum.factors.models import Answer, Offer, Site, Step
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin
from hilum.signin.models import Pending, Session, StepOver


def finish(ctx: Context, cookie: str, code: str, *, replaces: str = "") -> tuple[Session, str]:
    """Create the session of a person who entered their second factor; return it with its cookie.

    Raises StepOver, SlowDown, CodeWrong, AppLocked, Conflict (finished at this moment).
    """
    found, person = _waiting(ctx, cookie, Step.FACTOR)
    signin.enter_code(ctx, person, code)
    return signin.finish_pending(ctx, found, person, replaces=replaces)


def ask_to_get(ctx: Context, cookie: str, site: Site) -> str:
    """Return the options for using a passkey as JSON; empty if the person has none. Raises StepOver."""
    found, person = _waiting(ctx, cookie, Step.FACTOR)
    return factors.ask_to_get(ctx, person, site, found.digest)


def ask_to_create(ctx: Context, cookie: str, site: Site) -> str:
    """Return the options for making a passkey as JSON; empty where none can be. Raises StepOver."""
    found, person = _waiting(ctx, cookie, Step.ENROL)
    return factors.ask_to_create(ctx, person, site, found.digest)


def finish_with_passkey(
    ctx: Context, cookie: str, site: Site, answer: str, *, replaces: str = ""
) -> tuple[Session, str]:
    """Create the session of a person who used a passkey; return it with its cookie. Raises StepOver, PasskeyRefused, Conflict."""
    found, person = _waiting(ctx, cookie, Step.FACTOR)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    factors.use_passkey(as_person, person, site, Answer(found.digest, answer))
    return signin.finish_pending(ctx, found, person, replaces=replaces)


def finish_with_new_passkey(
    ctx: Context, cookie: str, site: Site, answer: str, *, name: str, replaces: str = ""
) -> tuple[Session, str, tuple[str, ...]]:
    """Store a person's first factor, a passkey, and create their session; return it with its cookie and the recovery codes.

    Raises StepOver, PasskeyRefused, Conflict (finished at this moment, or a factor was set up meanwhile).
    """
    found, person = _waiting(ctx, cookie, Step.ENROL)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    codes = factors.add_passkey(as_person, person, site, Answer(found.digest, answer, name), first=True)
    return *signin.finish_pending(ctx, found, person, replaces=replaces), codes


def offer(ctx: Context, cookie: str, *, site: str, sealed: str = "") -> Offer:
    """Return the seed to set up, a new one or that of a page that is shown again. Raises StepOver, Invalid."""
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
    found, person = _waiting(ctx, cookie, Step.ENROL)
    as_person = ctx.as_actor(signin_policy.actor_of(person))
    # INVARIANT: a password alone sets up the first factor only, never one in place of another.
    codes = factors.confirm_totp(as_person, person, sealed, code, first=True)
    return *signin.finish_pending(ctx, found, person, replaces=replaces), codes


def _waiting(ctx: Context, cookie: str, step: Step) -> tuple[Pending, Person]:
    found = signin.pending(ctx, cookie)
    if found is None or found[0].step is not step:
        raise StepOver
    return found
