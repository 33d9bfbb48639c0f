"""Mail and webhooks about certificates that end (C114, C225)."""

from enum import StrEnum

from hilum.apps.contacts import service as contacts
from hilum.apps.installations import service as installations
from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Context
from hilum.identity.people import service as identity
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.review.certificates import policy, store
from hilum.review.certificates.models import HOSPITALS_BEFORE, REMIND_BATCH, Certificate


class Step(StrEnum):
    """A step in the end of a certificate, of which people are notified."""

    SOON = "soon"
    ENDED = "ended"
    """It ended, and there is no grace."""
    GRACE = "grace"
    """It ended, and hospitals that have the app may keep using it."""
    GRACE_OVER = "grace_over"


MAILS = {
    Step.SOON: (MailKind.CERTIFICATE_ENDS, MailKind.APP_CERTIFICATE_ENDS),
    Step.GRACE: (MailKind.CERTIFICATE_GRACE, MailKind.APP_CERTIFICATE_GRACE),
    Step.ENDED: (MailKind.CERTIFICATE_ENDED, MailKind.APP_CERTIFICATE_ENDED),
    Step.GRACE_OVER: (MailKind.CERTIFICATE_ENDED, MailKind.APP_CERTIFICATE_ENDED),
}
"""What the vendor gets, and what the administrators of hospitals get."""


def remind_due(ctx: Context) -> int:
    """Put the mails about ends of certificates that are due, for at most a batch; return for how many certificates. Call again until it returns 0.

    What is due next is recorded in the same transaction, and one cause yields one mail, so nobody gets one twice.
    """
    due = store.to_remind(ctx.tx, ctx.now, REMIND_BATCH)
    for each in due:
        after = policy.next_reminder(each.expires_at, ctx.now, each.grace_until)
        store.save_reminder(ctx.tx, each.id, after)
        if each.remind_at is None or not _is_wanted(ctx, each):
            continue
        if each.remind_at > each.expires_at:
            _announce(ctx, each, Step.GRACE_OVER, "over")
            continue
        before = policy.reminder_due(each.remind_at, each.expires_at, ctx.now)
        if before is None:
            continue
        at_end = Step.ENDED if each.grace_until is None else Step.GRACE
        _announce(ctx, each, Step.SOON if before else at_end, str(before.days))
    return len(due)


def _is_wanted(ctx: Context, found: Certificate) -> bool:
    """Check whether anybody misses a certificate once it ends: not one that was withdrawn, or that another one follows."""
    if found.environment is not Environment.PRODUCTION or policy.is_over_otherwise(found):
        return False
    return not policy.is_replaced(found, store.of_apps(ctx.tx, [found.app]))


def _announce(ctx: Context, found: Certificate, step: Step, once: str) -> None:
    """Mail the vendor and, except long before the end, the hospitals; ``once`` tells this step from the certificate's others."""
    cause = f"certificate/{found.id}/{once}"
    ends = found.expires_at.isoformat()
    kind, for_hospitals = MAILS[step]
    facts = {"app": found.app_name, "version": found.label, "ends": ends}
    if step is Step.GRACE and found.grace_until is not None:
        facts["grace"] = found.grace_until.isoformat()
    for address in dict.fromkeys(each.address for each in contacts.proved_contacts(ctx, found.vendor)):
        notices.put_mail(ctx, Mail(kind, address, cause, facts, vendor=found.vendor, app=found.app))
    event_facts = {"certificate_id": found.id, "app_id": found.app, "ends": ends}
    notices.put_event(
        ctx, VendorEvent(EventKind.CERTIFICATE_ENDING, found.vendor, cause, event_facts, app=found.app)
    )
    if step is Step.SOON and found.expires_at - ctx.now > HOSPITALS_BEFORE:
        return
    for tenant in installations.hospitals_of(ctx, found.app):
        identity.mail_administrators(ctx, tenant, for_hospitals, f"{cause}/{tenant}", facts, app=found.app)
