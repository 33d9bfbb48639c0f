"""Mail about requests: that some wait, to those who decide, and how they were decided, to those who asked (C214)."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from hilum.identity import service as identity
from hilum.identity.models import Person, Role
from hilum.infra.context import Context
from hilum.kernel.ids import AppId, PersonId, TenantId
from hilum.kernel.lists import listed
from hilum.notices import service as notices
from hilum.notices.models import Mail, MailKind
from hilum.registry import service as registry
from hilum.requests import policy, store
from hilum.requests.models import APPS_MAILED, MAILED_BACK, AppRequest, Group, State
from hilum.requests.rule_sets import may_decide_at


def announce(ctx: Context, after: str) -> str:
    """Mail who decides at some hospitals what was asked for and waits; return the hospital to continue ``after``, empty after the last.

    One mail a person and MAIL_WINDOW, whatever is asked for in it: nobody causes more by asking for more.
    """
    until = policy.window_of(ctx.now)
    hospitals = store.list_waiting_at(ctx.tx, until - MAILED_BACK, until, TenantId(after))
    for tenant in hospitals:
        by_window: dict[datetime, list[Group]] = {}
        for group in store.list_waiting(ctx.tx, tenant, until - MAILED_BACK, until):
            by_window.setdefault(policy.window_of(group.opened_at), []).append(group)
        for window, groups in by_window.items():
            _announce(ctx, tenant, window, groups)
    return hospitals[-1] if hospitals else ""


def _announce(ctx: Context, tenant: TenantId, window: datetime, groups: Sequence[Group]) -> None:
    assignees = identity.find_people(ctx, {PersonId(each.assigned_to) for each in groups if each.assigned_to})
    deciding = {each.id for each in assignees.values() if may_decide_at(each, tenant)}
    place, zone = identity.get_tenant(ctx, tenant), identity.zone_of(ctx, tenant)
    names = {id_: each.name for id_, each in registry.read_apps(ctx, {each.app for each in groups}).items()}
    for person, address in identity.list_recipients(ctx, tenant, {Role.ADMINISTRATOR}):
        own = policy.groups_for(groups, person, deciding)
        if own:
            facts = {"place": place.name, "apps": _named([each.app for each in own], names)}
            cause = f"requests/{tenant}/{window:%Y-%m-%dT%H}/{person}"
            notices.put_mail(ctx, Mail(MailKind.REQUESTS_WAIT, address, cause, facts, zone=zone))


def _named(apps: Iterable[AppId], names: dict[AppId, str]) -> str:
    return listed([names.get(each, each)[:60] for each in dict.fromkeys(apps)], APPS_MAILED)


def mail_decided(ctx: Context, group: Group, decided: Collection[AppRequest], state: State) -> None:
    """Mail those who asked and waited that it was decided, those who are active and have an address; each request once.

    The reason is not in the mail: it is free text, and mail is read outside the hospital.
    """
    people = identity.find_people(ctx, {each.person for each in decided})
    reached = [(each, people[each.person]) for each in decided if _is_reached(people.get(each.person))]
    if not reached:
        return
    app = registry.read_apps(ctx, {group.app})[group.app].name
    place, zone = identity.get_tenant(ctx, group.tenant).name, identity.zone_of(ctx, group.tenant)
    for request, person in reached:
        facts = {"app": app, "place": place, "outcome": state.value, "request": request.id}
        cause = f"request/{request.id}/decided"
        notices.put_mail(ctx, Mail(MailKind.REQUEST_DECIDED, person.mail, cause, facts, zone=zone))


def _is_reached(person: Person | None) -> bool:
    return person is not None and person.active and bool(person.mail)
