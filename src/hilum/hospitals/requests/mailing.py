"""Mail about requests: that some wait, to those who decide, and how they were decided, to those who asked (C214)."""

from collections.abc import Collection
from datetime import datetime

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.lists import listed
from hilum.hospitals.requests import policy, store
from hilum.hospitals.requests.models import APPS_MAILED, MAILED_BACK, AppRequest
from hilum.identity.people import service as identity
from hilum.identity.people.models import Role
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind


def announce(ctx: Context, after: str) -> str:
    """Mail the administrators of some hospitals what was asked for and waits; return the hospital to continue ``after``, empty after the last.

    One mail a person and MAIL_WINDOW, whatever is asked for in it: nobody causes more by asking for more.
    """
    until = policy.window_of(ctx.now)
    hospitals = store.list_asked_at(ctx.tx, until - MAILED_BACK, until, TenantId(after))
    for tenant in hospitals:
        windows: dict[datetime, dict[AppId, None]] = {}
        for asked_at, app in store.list_asked(ctx.tx, tenant, until - MAILED_BACK, until):
            windows.setdefault(policy.window_of(asked_at), {})[app] = None
        for window, apps in windows.items():
            _announce(ctx, tenant, window, apps)
    return hospitals[-1] if hospitals else ""


def _announce(ctx: Context, tenant: TenantId, window: datetime, apps: Collection[AppId]) -> None:
    place, zone = identity.get_tenant(ctx, tenant), identity.zone_of(ctx, tenant)
    names = {id_: app.name for id_, app in registry.read_apps(ctx, set(apps)).items()}
    facts = {"place": place.name, "apps": listed([names.get(app, app)[:60] for app in apps], APPS_MAILED)}
    for person, address in identity.list_recipients(ctx, tenant, {Role.ADMINISTRATOR}):
        cause = f"requests/{tenant}/{window:%Y-%m-%dT%H}/{person}"
        notices.put_mail(ctx, Mail(MailKind.REQUESTS_WAIT, address, cause, facts, zone=zone))


def mail_decided(ctx: Context, decided: AppRequest, requests: Collection[AppRequest]) -> None:
    """Mail those who asked that their requests were decided as ``decided`` was, those who are active and have an address.

    The reason is not in the mail: it is free text, and mail is read outside the hospital.
    """
    people = identity.find_people(ctx, {request.person for request in requests})
    app = registry.get_app(ctx, decided.app).name
    place, zone = identity.get_tenant(ctx, decided.tenant).name, identity.zone_of(ctx, decided.tenant)
    for request in requests:
        person = people.get(request.person)
        if person is not None and person.active and person.mail:
            facts = {"app": app, "place": place, "outcome": decided.state.value, "request": request.id}
            cause = f"request/{request.id}/decided"
            notices.put_mail(ctx, Mail(MailKind.REQUEST_DECIDED, person.mail, cause, facts, zone=zone))
