"""A vendor's apps: the cards, registering one, what one lacks and of which tier it is, its versions."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice, zip_longest
from typing import Any

from starlette.responses import Response

from hilum.apps.agreements import policy as agreements_policy
from hilum.apps.agreements import service as agreements
from hilum.apps.agreements.models import AgreementQuery
from hilum.apps.clients import service as clients
from hilum.apps.contacts import service as contacts
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AiUse, App, AppsQuery, AppVersion, NewApp, NewVersion
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NOT_DECLARED, Autonomy, Book, Population
from hilum.policy.matrix.policy import POPULATIONS
from hilum.surfaces.console import policy, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.developer.steps import Known, Step, asked_at_least, changes, checklist, next_step
from hilum.surfaces.console.fields import NO_FORM, answered
from hilum.surfaces.console.models import TimelineEntry
from hilum.surfaces.console.parts import alerts, stops

CARDS = 24
VERSIONS = 50
HAPPENED = 20
AUTONOMY = (
    ("", "It uses no AI"),
    (Autonomy.INFORMS.value, "It shows something to a person"),
    (Autonomy.DRAFTS.value, "A person edits and saves what it wrote"),
    (Autonomy.ACTS_AFTER_HUMAN_STEP.value, "It writes once a person has confirmed that"),
    (Autonomy.ACTS_ALONE.value, "It writes with no person in between"),
)
POPULATION = (
    ("", "Not stated: treated as every patient"),
    *((each.value, words[:1].upper() + words[1:]) for each, words in POPULATIONS.items()),
)
AI_FIELDS = ("model", "purpose", "human_step", "model_card", "model_card_digest")


async def show_mine(visit: Visit) -> Response:
    """Show the vendor's apps as cards, each with its state and next step."""
    flat = {name: values[0] for name, values in visit.query().values.items()}
    asked = policy.asked(flat, (), ())
    facts = await visit.read(partial(_mine, text=asked.text, after=asked.after))
    register = address("developer.register") if visit.may_open("developer.register") else ""
    return visit.render(
        "console/developer/mine.html", text=asked.text, first=asked.after, register=register, **facts
    )


def _mine(ctx: Context, text: str, after: str) -> dict[str, Any]:
    vendor = frame.own_vendor(ctx)
    page = registry.browse_apps(ctx, AppsQuery(text=text, vendor=vendor, after=after, limit=CARDS))
    apps = [each for each in page.apps if each.tenant is None]
    found, states = known(ctx, apps), frame.app_statuses_of(ctx, apps)
    cards = []
    for app in apps:
        steps = checklist(found[app.id], ctx.now)
        state = states[app.id]
        cards.append(
            {
                "app": app,
                "href": address("developer.app", app.id),
                "state": state,
                "tone": state.tone,
                "done": sum(each.done for each in steps),
                "steps": len(steps),
                "next": next_step(steps),
            }
        )
    offers = [each.app for each in clients.list_offers(ctx)]
    names = registry.read_apps(ctx, offers) if offers else {}
    offered = [(names[each].name, address("developer.offer", each)) for each in offers if each in names]
    return {"cards": cards, "next": page.next, "total": page.total, "offered": offered}


def known(ctx: Context, apps: list[App]) -> dict[str, Known]:
    """Return how far each of a vendor's own apps has come."""
    if not apps:
        return {}
    ids = [each.id for each in apps]
    certified, registered = registry.read_certified(ctx, ids), clients.facts_of_apps(ctx, ids)
    versions: dict[str, list[AppVersion]] = {}
    for version in registry.read_versions(ctx, ids).values():
        versions.setdefault(version.app, []).append(version)
    hospitals: dict[str, int] = {}
    for _, app_id, _ in installations.installations_of(ctx, ids):
        hospitals[app_id] = hospitals.get(app_id, 0) + 1
    # Both are the vendor's own, so the same for each of its apps.
    unproved, book = contacts.unproved(ctx, apps[0].vendor), policies.current(ctx).everywhere
    signed = agreements.list_agreements(ctx, AgreementQuery(), PageQuery("", PAGE_BOUND))
    in_force = any(agreements_policy.is_in_force(each, ctx.now) for each in signed)
    return {
        app.id: Known(
            versions.get(app.id, ()),
            registered.get(app.id, ()),
            certified.certifications.get(app.id, ()),
            registry.missing_of(ctx, app),
            [each for each in unproved if each in asked_at_least(book, app.category)],
            in_force,
            hospitals.get(app.id, 0),
        )
        for app in apps
    }


async def show_register(visit: Visit) -> Response:
    """Show the form that registers an app."""
    return await _register_form(visit)


async def _register_form(visit: Visit, given: Form = NO_FORM, error: Invalid | None = None) -> Response:
    book = await visit.read(lambda ctx: policies.current(ctx).everywhere)
    options = sorted((each.title, name) for name, each in book.categories.items() if each.open)
    return visit.render(
        "console/developer/register.html",
        categories=[("", "Choose one"), *((name, title) for title, name in options)],
        **answered(given, error),
        path=visit.path,
    )


async def register(visit: Visit, form: Form) -> Response:
    """Register an app; a form with faults comes back with what was typed."""

    def verb(ctx: Context) -> App:
        order = NewApp(
            frame.own_vendor(ctx),
            _line(form, "name"),
            form.one("description").strip(),
            form.one("purpose").strip(),
            form.one("category"),
        )
        return registry.add_app(ctx, order)

    try:
        added = await visit.write(verb)
    except Invalid as error:
        return await _register_form(visit, form, error)
    return to(address("developer.app", added.id))


def _line(form: Form, name: str) -> str:
    return " ".join(form.one(name).split())


async def show_app(visit: Visit) -> Response:
    """Show one app: what it lacks, and of which tier it is and why."""
    app, app_status, facts = await visit.read(lambda ctx: _overview(ctx, visit))
    # Counted calls of four weeks, from the journals' counts.
    facts["criteria"] = await visit.read_records(lambda ctx: visit.ports.criteria(ctx, app.id))
    return frame.show(visit, "console/developer/app.html", app, app_status, **facts)


def _overview(ctx: Context, visit: Visit) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    found = known(ctx, [app])[app.id]
    newest = max(found.versions, key=lambda each: each.id, default=None)
    assessed = registry.assess_version(ctx, newest.id)[1] if newest else None
    book = policies.current(ctx).everywhere
    category = book.categories.get(app.category)
    steps = checklist(found, ctx.now)
    return (
        app,
        frame.app_status_of(ctx, app),
        {
            "steps": [(_addressed(each, app), _href(visit, each, app)) for each in steps],
            "done": sum(each.done for each in steps),
            "next": next_step(steps),
            "newest": newest,
            "assessed": assessed,
            "category": category.title if category else app.category.replace("_", " "),
            "hospitals": found.hospitals,
            "logo": app_logo(visit.kit.urls, app.id, app.logo),
            "happened": _happened(ctx, app, found),
            "criterion_words": words.CRITERIA,
            "alerts": alerts.of_app(ctx, app.id),
        },
    )


def _happened(ctx: Context, app: App, found: Known) -> list[TimelineEntry]:
    """Return what happened to an app, newest first, by its own records: the audit is the platform's and the hospitals'."""
    labels = {each.id: each.label for each in found.versions}
    # In the order of cause, which decides between what happened at one moment.
    lines = [(app.created_at, "was registered"), (app.owner_since, "was taken over by you")]
    lines += [(app.purpose_since, "has had this purpose since")]
    lines += [(each.created_at, f"got the version {each.label}") for each in found.versions]
    for client in clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND)):
        lines += [(client.created_at, f"got the client {client.name} for {client.environment.value}")]
    for each in found.certifications:
        what = f"for {each.environment.value}: version {labels.get(each.version, 'unknown')}"
        lines += [(each.certified_at, f"was certified {what}")]
        lines += [(each.withdrawn_at, f"lost its certification {what}")]
        lines += [
            (
                each.expires_at if each.expires_at <= ctx.now else None,
                f"reached the end of its certification {what}",
            )
        ]
    lines += _stops(ctx, app)
    entries = [TimelineEntry(at, text, app.name) for at, text in lines if at is not None]
    return sorted(entries, key=lambda entry: entry.at)[: -HAPPENED - 1 : -1]


def _stops(ctx: Context, app: App) -> list[tuple[datetime | None, str]]:
    """Return when an app was stopped and let go, without the hospitals, people and reasons, which are not its vendor's to see."""
    places = [tenant for tenant, _, _ in islice(installations.installations_of(ctx, [app.id]), PAGE_BOUND)]
    lines: list[tuple[datetime | None, str]] = []
    for switch in controls.newest_on(ctx, stops.targets_of(app, places), stops.NEWEST):
        if switch.mode is Mode.OBSERVE:
            continue
        where = "at one hospital" if switch.target.kind in stops.AT_A_HOSPITAL else "everywhere"
        over = switch.expires_at if switch.expires_at and switch.expires_at <= ctx.now else None
        lines.append((switch.engaged_at, f"was stopped {where}"))
        lines.append((switch.released_at or over, f"was no longer stopped {where}"))
    return lines


def _addressed(step: Step, app: App) -> Step:
    """Return a step with the app and its vendor in the command that takes it."""
    return replace(step, command=step.command.replace("APP", app.id).replace("VENDOR", app.vendor))


def _href(visit: Visit, step: Step, app: App) -> str:
    return address(step.page, app.id) if step.page and visit.may_open(step.page) else ""


async def show_versions(visit: Visit) -> Response:
    """Show the versions of an app with what each declares, its tier and what is certified, and the form that adds one."""
    return await _versions(visit)


async def _versions(visit: Visit, given: Form = NO_FORM, error: Invalid | None = None) -> Response:
    app, app_status, facts = await visit.read(lambda ctx: _versions_of(ctx, visit))
    facts |= answered(given, error) | {
        "path": visit.path,
        "adds": frame.may(visit, VendorRight.APPS),
        "autonomy": AUTONOMY,
        "populations": POPULATION,
        "reaches": POPULATIONS,
    }
    return frame.show(visit, "console/developer/versions.html", app, app_status, **facts)


def _versions_of(ctx: Context, visit: Visit) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    book = policies.current(ctx).everywhere
    found = registry.list_versions(ctx, app.id, PageQuery(limit=VERSIONS))
    certified = registry.certifications_of(ctx, app.id)
    rows = []
    for version, older in zip_longest(found, found[1:]):
        own = [each for each in certified if each.version == version.id and each.withdrawn_at is None]
        rows.append(
            {
                "version": version,
                "assessed": registry.assess_version(ctx, version.id)[1],
                "workflows": _named(
                    version.workflows, {name: each.title for name, each in book.workflows.items()}
                ),
                "placements": _named(version.placements, book.placements),
                "changes": changes(version, older),
                "certified": [
                    (each.environment.value, each.expires_at, each.expires_at <= ctx.now) for each in own
                ],
            }
        )
    return app, frame.app_status_of(ctx, app), {"rows": rows, **_choices(book)}


def _choices(book: Book) -> dict[str, Any]:
    return {
        "workflows": [(name, each.title, each.purpose) for name, each in sorted(book.workflows.items())],
        "placements": sorted(book.placements.items()),
    }


def _named(declared: tuple[str, ...], titles: Mapping[str, str]) -> str:
    if declared == NOT_DECLARED:
        return "not declared, so treated as made for every one"
    return ", ".join(titles.get(each, each) for each in declared) or "none"


async def add_version(visit: Visit, form: Form) -> Response:
    """Add a version; a form with faults comes back with what was typed."""

    def verb(ctx: Context) -> AppVersion:
        return registry.add_version(ctx, frame.own_app(ctx, visit.param()).id, _version(form))

    try:
        await visit.write(verb)
    except Invalid as error:
        return await _versions(visit, form, error)
    return to(visit.path)


def _version(form: Form) -> NewVersion:
    all_of_them = form.one("declares") != "ticked"
    use = None
    if autonomy := form.one("autonomy"):
        if autonomy not in {each.value for each in Autonomy}:
            raise Invalid("version_invalid", "Choose how the AI acts.", fields={"autonomy": "not_an_option"})
        texts = {name: form.one(f"ai_{name}").strip() for name in AI_FIELDS}
        use = AiUse(autonomy=Autonomy(autonomy), **texts)
    return NewVersion(
        _line(form, "label"),
        NOT_DECLARED if all_of_them else form.many("workflows"),
        NOT_DECLARED if all_of_them else form.many("placements"),
        use,
        population=_population(form),
    )


def _population(form: Form) -> Population | None:
    text = form.one("population")
    if text and text not in {each.value for each in Population}:
        raise Invalid(
            "version_invalid", "Choose how many patients it reaches.", fields={"population": "not_an_option"}
        )
    return Population(text) if text else None
