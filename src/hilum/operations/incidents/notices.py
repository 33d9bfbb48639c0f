"""Show and acknowledge what hospitals and vendors were told of incidents."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from hilum.foundation.actions.models import ID, Arg, Denied, Effect, Noun, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, require_platform
from hilum.foundation.kernel.errors import Conflict, Readers, not_shown
from hilum.foundation.kernel.events import Event
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.web.api import MEMBER, STAFF
from hilum.operations.incidents import policy, store
from hilum.operations.incidents.models import (
    Incident,
    IncidentNotice,
    IncidentState,
    NoticeProgress,
    OneIncident,
)

READERS = (STAFF, "administrator", MEMBER)
NoticeId = Annotated[str, ID, Arg("The notice.", "inn_01h...", target=True)]


def _visible(ctx: Context, notice_id: str, *, lock: bool = False) -> IncidentNotice:
    notice = store.NOTICES.get(ctx.tx, notice_id, lock=lock)
    if not policy.may_see_notice(ctx.actor, notice):
        raise store.NOTICES.missing()
    return _with_states(ctx, [notice])[0]


def _with_states(ctx: Context, found: Collection[IncidentNotice]) -> list[IncidentNotice]:
    states = store.states_of(ctx.tx, {each.incident for each in found})
    return [replace(each, state=states[each.incident]) for each in found]


def _event(code: str, notice: IncidentNotice) -> Event:
    facts = {"incident": notice.incident, "notice": notice.id, "number": notice.number}
    return Event(code, tenant=notice.tenant, app=notice.app, facts=facts)


def _may_acknowledge(actor: Actor, notice: IncidentNotice, _now: datetime) -> bool:
    return policy.may_acknowledge(actor, notice) and notice.acknowledged_at is None


def _notices(notice: IncidentNotice, _now: datetime) -> Sequence[tuple[str, str]]:
    return (
        [] if notice.acknowledged_at else [("Not acknowledged", "Nobody confirmed yet that this was read.")]
    )


def _badge(_actor: Actor, notice: IncidentNotice, _now: datetime) -> tuple[str, str]:
    return notice.state.value, "plain" if notice.state is IncidentState.CLOSED else "bad"


INCIDENT_NOTICE = Noun(
    "incident_notice",
    "incidents",
    IncidentNotice,
    load=_visible,
    about=_event,
    title=lambda notice, _now: "Incident with {app}" if notice.app else "Incident with apps of {vendor}",
    help="See what hospitals and vendors were told about incidents, and acknowledge it.",
    columns=(
        Shows("statement", "What happened"),
        Shows("app", "App", note="vendor"),
        Shows("tenant", "Hospital"),
        Shows("severity", "Severity"),
        Shows("state", "State now"),
        Shows("sent_at", "Sent"),
        Shows("acknowledged_at", "Acknowledged"),
    ),
    facts=(
        Shows("statement", "What happened", wide=True),
        Shows("app", "App"),
        Shows("vendor", "Vendor"),
        Shows("tenant", "Hospital"),
        Shows("kind", "Kind"),
        Shows("severity", "Severity"),
        Shows("began_at", "Since"),
        Shows("calls", "Calls that were answered since then"),
        Shows("patients", "Patients whom they were about"),
        Shows("people", "People who used it"),
        Shows("sent_at", "Sent"),
        Shows("due_at", "Due"),
        Shows("acknowledged_at", "Acknowledged"),
        Shows("acknowledged_by", "By", kind="actor"),
    ),
    badge=_badge,
    notices=_notices,
)


@action(
    INCIDENT_NOTICE,
    "acknowledge",
    who=("administrator", MEMBER),
    past="acknowledged a notice of an incident",
    button="We have read it",
    consequence="The platform's staff see that it arrived, and when.",
    when=_may_acknowledge,
)
def acknowledge(ctx: Context, notice_id: NoticeId) -> IncidentNotice:
    """Confirm that your hospital, or your company, has read a notice.

    Raises NotFound, NotPermitted, Conflict (it is acknowledged).
    """
    notice = _visible(ctx, notice_id, lock=True)
    if not policy.may_acknowledge(ctx.actor, notice):
        raise Denied(notice)
    if notice.acknowledged_at is not None:
        raise Conflict("notice_acknowledged", "A colleague has acknowledged it already.")
    read = replace(notice, acknowledged_at=ctx.now, acknowledged_by=str(ctx.actor))
    store.NOTICES.save(ctx.tx, read)
    return read


@action(INCIDENT_NOTICE, "show", who=READERS, effect=Effect.READS)
def view_notice(ctx: Context, notice_id: NoticeId) -> IncidentNotice:
    """Show what a hospital or a vendor was told of an incident, with how many patients and calls were concerned there.

    Raises NotFound, also for another hospital's.
    """
    return _visible(ctx, notice_id)


@action(INCIDENT_NOTICE, "list", who=READERS, effect=Effect.READS)
def list_notices(
    ctx: Context, page: PageQuery = FIRST_PAGE, *, incident: OneIncident = ""
) -> list[IncidentNotice]:
    """List notices, newest first: an administrator gets those to their hospital, a member those to their vendor, staff all.

    Raises NotPermitted.
    """
    recipient = policy.recipient_of(ctx.actor)
    if recipient is None:
        raise not_shown("notices of incidents", Readers.BOTH)
    found = store.list_notices(ctx.tx, page, incident=incident or None, **recipient)
    return _with_states(ctx, found)


def progress(ctx: Context, incident: Incident, limit: int) -> NoticeProgress:
    """Return how far the newest notice of an incident has come, with the first ``limit`` who have not acknowledged it. For the platform's staff."""
    require_platform(ctx.actor)
    sent, read = store.count_notices(ctx.tx, incident.id, incident.notice_number)
    return NoticeProgress(sent, read, store.list_unread(ctx.tx, incident.id, incident.notice_number, limit))
