"""Notify a vendor of changes to its submissions, by mail and webhook."""

from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.review.submissions.models import Submission


def notify_vendor(ctx: Context, found: Submission, outcome: str, cause: str, *, discipline: str = "") -> None:
    """Notify a vendor once of one cause; by mail if it has proved an address. ``outcome`` is a word: ``certified``, ``needs_changes``."""
    app = registry.get_app(ctx, found.app)
    cause = f"review/{found.id}/{cause}"
    if address := contacts.proved_address(ctx, found.vendor):
        what = f"{discipline} discipline: " * bool(discipline) + outcome.replace("_", " ")
        facts = {"app": app.name, "version": found.label, "what": what, "submission": found.id}
        notices.put_mail(ctx, Mail(MailKind.REVIEW_NEWS, address, cause, facts, found.vendor, found.app))
    facts = {"submission_id": found.id, "app_id": found.app, "vendor_id": found.vendor, "what": outcome}
    notices.put_event(ctx, VendorEvent(EventKind.REVIEW_NEWS, found.vendor, cause, facts, found.app))
