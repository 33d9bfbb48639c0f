"""When a person may change what signs them in. Pure."""

from datetime import datetime

from hilum.account.models import Own
from hilum.factors.models import Held
from hilum.factors.policy import is_fresh
from hilum.signin.models import Method, Session


def is_confirmed(session: Session, held: Held, now: datetime) -> bool:
    """Check whether the factors of a session's person may be changed in it now.

    INVARIANT: a session that somebody found open changes nothing: it takes a fresh factor, or where there is none a sign-in just now.
    """
    if held.any:
        return is_fresh(session.factor_at, now)
    # An EHR vouches for anybody who opens its link: that opens charts, but must not set up anything permanent.
    return session.method is not Method.EHR and is_fresh(session.signed_in_at, now)


def may_remove_one(own: Own) -> bool:
    """Check whether one of a person's factors may go: not the last one of a role that must have one."""
    return not own.required or own.held.totp + len(own.held.passkeys) > 1
