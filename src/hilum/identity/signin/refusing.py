"""Refusals of people who may not have a credential now, and their records."""

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotPermitted
from hilum.identity.people import service as identity
from hilum.identity.people.models import Bar, Person
from hilum.identity.signin.models import Stopped
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def require_unbarred(ctx: Context, person: Person, action: str) -> None:
    """Refuse a new credential to a person who is inactive or stopped. Raises NotPermitted."""
    match identity.bar_on(ctx, person):
        case None:
            return
        case Bar.STOPPED:
            raise stopped(ctx, action, person)
        case _:
            raise audit.refusal(ctx, event_of(action, person))


def stopped(ctx: Context, action: str, person: Person) -> NotPermitted:
    audit.refusal(ctx, event_of(action, person, reason="switch_engaged"))
    return Stopped()


def event_of(action: str, person: Person, *, reason: str = "") -> Event:
    return Event(action, tenant=person.tenant or "", person=person.id, reason=reason)
