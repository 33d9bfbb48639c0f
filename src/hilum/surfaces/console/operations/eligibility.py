"""What the staff do about one app: its versions' tiers, exceptions for it, its suspension, and asking people again (C19, C90, C207)."""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import policy as registry_policy
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppState
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, ExceptionKind, ExceptionOrder, Tier
from hilum.policy.matrix.policy import WAIVABLE_KINDS, may_waive
from hilum.surfaces.console import fields, policy
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.parts import exceptions as parts
from hilum.surfaces.console.parts.app_status import statuses_of

VERSIONS_SHOWN = 10
CERTIFICATIONS_SHOWN = 20
REASON_BOUND = 2_000
_LATER = "Set an end: the first day on which it no longer applies."


async def show(visit: Visit) -> Response:
    """Show the tiers of an app's versions and its state, with what the visitor may do about them."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    return visit.render(
        "console/operations/eligibility.html",
        **fields.answered(given, error),
        **await visit.read(partial(_shown, visit=visit)),
    )


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    app = registry.view_app(ctx, AppId(visit.param()))
    actor, current = visit.visitor.actor, policies.current(ctx)
    versions = registry.list_versions(ctx, app.id, PageQuery(limit=VERSIONS_SHOWN))
    rows = []
    for each in versions:
        _, assessed = registry.assess_version(ctx, each.id)
        rows.append((each, assessed.tier.value, str(assessed)))
    exceptions = [
        (
            parts.titled(ctx, each),
            parts.instead(each),
            each.ends_at,
            address("operations.exception", each.id),
        )
        for each in current.exceptions.get(app.id, ())
    ]
    return {
        "app": app,
        "now_at": statuses_of(ctx, [app])[app.id],
        "versions": rows,
        "choices": [(each.id, f"version {each.label}") for each in versions],
        "tiers": [(each.value, each.value.capitalize()) for each in Tier],
        "requirements": _waivable((current.everywhere, *current.at.values()), app),
        "categories": [(name, each.title) for name, each in current.everywhere.categories.items()],
        "moves": registry_policy.may_register(actor) or registry_policy.may_certify(actor),
        "certifications": _certifications(ctx, app),
        "suspended": app.state is AppState.SUSPENDED,
        "raises": registry_policy.may_certify(actor),
        "lowers": registry_policy.may_register(actor),
        "stops": registry_policy.may_suspend(actor),
        "exceptions": exceptions,
    }


def _certifications(ctx: Context, app: App) -> list[dict[str, Any]]:
    """Return the certifications of an app that may still count, those that end last first."""
    labels = {each.id: each.label for each in registry.read_versions(ctx, [app.id]).values()}
    found = [each for each in registry.certifications_of(ctx, app.id) if each.withdrawn_at is None]
    newest = sorted(found, key=lambda each: each.expires_at, reverse=True)[:CERTIFICATIONS_SHOWN]
    return [
        {
            "certification": each,
            "label": labels.get(each.version, ""),
            "over": each.expires_at <= ctx.now,
        }
        for each in newest
    ]


def _waivable(books: Iterable[Book], app: App) -> list[str]:
    """Return the requirements of the entries of an app's category that may be waived for it, each once, as ``tier.kind.name``."""
    found: dict[str, None] = {}
    for book in books:
        category = book.categories.get(app.category)
        for tier, entry in (category.entries if category else {}).items():
            names = (f"{kind}.{name}" for kind in WAIVABLE_KINDS for name in sorted(getattr(entry, kind)))
            found |= dict.fromkeys(f"{tier}.{name}" for name in names if may_waive(book, entry, name))
    return list(found)


async def act(visit: Visit, form: Form) -> Response:
    """Do what a form asks for; what takes two people waits for the second."""
    if form.one("act") not in {*_ACTS, "withdraw"}:
        raise fields.no_such_act()
    try:
        if form.one("act") != "withdraw":
            fields.required(form, "reason", REASON_BOUND)
        acts = {**_ACTS, "withdraw": partial(_withdraw, ended=visit.ports.ended)}
        done = await visit.write(lambda ctx: acts[form.one("act")](ctx, AppId(visit.param()), form))
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to_approval(visit, done) if isinstance(done, AskedTwo) else to(visit.path)


def _version(ctx: Context, app: AppId, form: Form) -> VersionId:
    """Return the version of a form. Raises NotFound for one of another app."""
    found = registry.get_version(ctx, VersionId(policy.word(form.one("version"), "version")))
    if found.app != app:
        raise NotFound("version_not_found", "There is no such version of this app.")
    return found.id


def _except(ctx: Context, app: AppId, form: Form) -> object:
    kind, tier, requirement = ExceptionKind(form.one("act")), form.one("tier"), ""
    version = None if kind is ExceptionKind.WAIVED_REQUIREMENT else _version(ctx, app, form)
    if version is None:
        tier, _, requirement = form.one("requirement").partition(".")
    until = None
    if kind.loosens and (until := fields.day(form, "ends_at")) is None:
        raise Invalid("form_invalid", _LATER, fields={"ends_at": "missing"})
    reason, control = form.one("reason"), form.one("control")
    order = ExceptionOrder(kind, app, reason, version, None, tier, requirement, control, until)
    return registry.ask_exception(ctx, order)


def _move(ctx: Context, app: AppId, form: Form) -> object:
    return registry.change_category(ctx, app, form.one("category"), form.one("reason").strip())


def _withdraw(ctx: Context, app: AppId, form: Form, ended: Any) -> object:
    if form.one("certification") not in {each.id for each in registry.certifications_of(ctx, app)}:
        raise NotFound("certification_not_found", "There is no such certification of this app.")
    fields.require_tick(form, "Tick the box to confirm that the certification should be withdrawn.")
    return registry.withdraw_certification(ctx, form.one("certification"), ended=ended)


def _suspend(ctx: Context, app: AppId, form: Form) -> object:
    return registry.suspend_app(ctx, app, form.one("reason").strip())


def _resume(ctx: Context, app: AppId, form: Form) -> object:
    return registry.resume_app(ctx, app, form.one("reason").strip())


def _ask_again(ctx: Context, app: AppId, form: Form) -> object:
    return registry.ask_again(ctx, app, form.one("reason").strip())


_ACTS: Mapping[str, Any] = {
    "raised_tier": _except,
    "lowered_tier": _except,
    "waived_requirement": _except,
    "category": _move,
    "suspend": _suspend,
    "resume": _resume,
    "ask_again": _ask_again,
}
