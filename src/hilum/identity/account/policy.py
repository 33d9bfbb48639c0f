"""Decides when a person may change their second factors. Pure."""

from datetime import datetime

from hilum.identity.account.models import Own
from hilum.identity.factors.models import Held
from hilum.identity.factors.policy import is_fresh
from hilum.identity.signin.models import Method, Session


def is_confirmed(session: Session, held: Held, now: datetime) -> bool:
    """Check whether a person's factors may be changed in this session now.

    INVARIANT: an unattended session is not enough: it takes a fresh factor, or a fresh sign-in if the person has no factor.
    """
    if held.any:
        return is_fresh(session.factor_at, now)
    # An EHR vouches for anybody who opens its link: that opens charts, but must not set up anything permanent.
    return session.method is not Method.EHR and is_fresh(session.signed_in_at, now)


def may_remove_one(own: Own) -> bool:
    """Check whether one of a person's factors may be removed: not the last one if the role must have one."""
    return not own.required or own.held.totp + len(own.held.passkeys) > 1
