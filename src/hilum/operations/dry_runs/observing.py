"""Observed entries of the policy in force: counted once a day by a dry run, listed by app, hospital and reason, and mailed to owners (C209)."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NO_RIGHT, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people.policy import is_member
from hilum.operations.dry_runs import service, store
from hilum.operations.dry_runs.models import Kind, ObservedCount, StoredRow
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import CurrentVersions, DryRun
from hilum.policy.matrix.policy import coming_days
from hilum.records.notices import service as notices
from hilum.records.notices.models import NAME_BOUND, EventKind, Mail, MailKind, VendorEvent

COUNTED_EVERY = timedelta(days=1)
APPS_AT_ONCE = 50
"""How many rows of apps at hospitals one transaction mails."""


def due(ctx: Context) -> list[int]:
    """Return the versions in force that observe something and have no dry run within the last day and since the last application."""
    # The facts at hand first: this is asked every few seconds, and a version is verified each time that it is read.
    if not any(coming_days(book, ctx.now) for book in policies.current(ctx).books()):
        return []
    found = policies.in_force(ctx)
    observed = [each for each in {found.everywhere, *found.at.values()} if _until(ctx, each) is not None]
    return [] if found.fault else sorted(each for each in observed if _is_old(ctx, each, found.last))


def _is_old(ctx: Context, version: int, last: int) -> bool:
    run = service.newest_run(ctx, version, failed=True)
    if run is None:
        return True
    # A failed run is repeated a day later, not each time that this is called.
    return (run.after != last and not run.fault) or _age(ctx, run) >= COUNTED_EVERY


def _age(ctx: Context, run: DryRun) -> timedelta:
    return timedelta.max if run.finished_at is None else ctx.now - run.finished_at


def _until(ctx: Context, version: int) -> date | None:
    """Return the next day on which an observed entry of a version is enforced; None if none is left."""
    return min(coming_days(policies.get_version(ctx, version)[1], ctx.now), default=None)


def list_observed(
    ctx: Context, page: PageQuery = FIRST_PAGE, *, tenant: str = "", app: str = ""
) -> list[ObservedCount]:
    """List what is observed where it is in force, app by app and hospital by hospital; to a hospital's administrator their own.

    With ``tenant`` of the version in force there, else of the one everywhere. Empty if nothing is observed, or nothing was counted yet.
    Raises NotPermitted.
    """
    found = policies.in_force(ctx)
    if not ctx.actor.is_platform:
        own = str(ctx.actor.tenant)
        if tenant not in {"", own}:
            raise NotPermitted("not_permitted", NO_RIGHT)
        tenant = own
    version = found.version_at(TenantId(tenant)) if tenant else found.everywhere
    run = None if found.fault else service.newest_run(ctx, version)
    until = None if run is None else _until(ctx, version)
    if run is None or until is None:
        return []
    rows = _rows(ctx, run, found, page, tenant=tenant, app=app)
    return [ObservedCount(version, until, run.id, run.finished_at, row) for row in rows]


def list_of_app(ctx: Context, app_id: AppId, page: PageQuery = FIRST_PAGE) -> list[ObservedCount]:
    """List what is observed of an app at each hospital, by the version in force there; for its vendor's members, and the staff.

    A page continues after ``ObservedCount.key``. Raises NotFound, also for another vendor's app.
    """
    app = registry.get_app(ctx, app_id)
    if not ctx.actor.is_platform and not (is_member(ctx.actor, app.vendor) and app.tenant is None):
        raise NotFound("app_not_found", "There is no such app.")
    # Members may not read policies, but they see what is observed of their app.
    system = ctx.as_actor(SYSTEM)
    found = policies.in_force(system)
    last, _, number = page.after.partition("-")
    listed: list[ObservedCount] = []
    for version in [] if found.fault else sorted({found.everywhere, *found.at.values()}):
        run = service.newest_run(system, version) if version >= int(last or 0) else None
        until = None if run is None else _until(system, version)
        left = page.limit - len(listed)
        if run is None or until is None or not left:
            continue
        # Counted before the app changed hands, it is the former vendor's.
        if run.finished_at is None or (app.owner_since is not None and run.finished_at < app.owner_since):
            continue
        after = PageQuery(number if str(version) == last else "", left)
        rows = _rows(system, run, found, after, app=app.id)
        listed += [ObservedCount(version, until, run.id, run.finished_at, row) for row in rows]
    return listed


def _rows(
    ctx: Context, run: DryRun, found: CurrentVersions, page: PageQuery, *, tenant: str = "", app: str = ""
) -> list[StoredRow]:
    """Return rows of apps at the hospitals where the version of a run is in force."""
    # A version on trial is compared everywhere, but observed only where it is in force.
    at = [each for each, number in found.at.items() if number == run.version]
    elsewhere = [each for each, number in found.at.items() if number != run.version]
    only = [tenant] if tenant else None if run.version == found.everywhere else at
    return store.list_rows(ctx.tx, run.id, Kind.INSTALLATION, page, app=app, only=only, beside=elsewhere)


def notify(ctx: Context, run: DryRun, after: str) -> str:
    """Notify the owners of the next apps that a finished run lists about what will limit them, and from when; return where to continue, or nothing.

    Only of a version that is in force and observes something. An owner is notified once about an app and a day.
    """
    found = policies.in_force(ctx)
    if found.fault or run.version not in {found.everywhere, *found.at.values()}:
        return ""
    until = _until(ctx, run.version)
    if until is None:
        return ""
    rows = _rows(ctx, run, found, PageQuery(after, APPS_AT_ONCE))
    altered = {AppId(row.app): row.fields for row in rows}
    for app in registry.read_apps(ctx, list(altered)).values() if altered else ():
        what = ", ".join(_what(altered[app.id]))[:NAME_BOUND] or "its limits"
        ends = datetime.combine(until, time(), UTC).isoformat()
        cause = f"tightening/{until}/{app.id}"
        facts = {"app": app.name, "what": what, "ends": ends}
        for contact in contacts.proved_contacts(ctx, app.vendor):
            notices.put_mail(
                ctx, Mail(MailKind.LIMITS_TIGHTEN, contact.address, cause, facts, vendor=app.vendor)
            )
        event = {"app_id": app.id, "vendor_id": app.vendor, "ends": ends}
        notices.put_event(ctx, VendorEvent(EventKind.LIMITS_TIGHTEN, app.vendor, cause, event))
    return str(rows[-1].number) if len(rows) == APPS_AT_ONCE else ""


def _what(row: Mapping[str, Any]) -> Iterator[str]:
    for each in row["limits"]:
        yield f"{each['path']} {each['after']} instead of {each['before']}"
    if lost := row["lost"]:
        yield f"no {' '.join(map(str, lost))}"
