"""The facts of a request, read for the rules that judge it."""

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.agreements import service as agreements
from hilum.clients import policy as clients_policy
from hilum.clients import service as clients
from hilum.clients.models import ClientFacts
from hilum.controls import service as controls
from hilum.controls.models import Subject
from hilum.identity.models import Tenant
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations.models import Installation
from hilum.installations.policy import needed_lost
from hilum.kernel.ids import PersonId
from hilum.policies import service as policies
from hilum.policies.models import Book, Tier
from hilum.policies.policy import highest
from hilum.registry.models import App, AppState, Environment, environment_of
from hilum.requests import store
from hilum.requests.models import AskOrder, Obstacle, RequestFacts, RuleSet
from hilum.requests.policy import without_launch
from hilum.standards.smart.scopes import narrow


@dataclass(frozen=True, slots=True)
class AppAtHospital:
    """An app at a hospital: its admission by the rule book in force there, and its installation."""

    tenant: Tenant
    app: App
    book: Book
    clients: tuple[ClientFacts, ...]
    admitted: tuple[str, ...]
    tier: Tier | None
    workflows: frozenset[str]
    installed: Installation | None
    only_backend: bool


@dataclass(frozen=True, slots=True)
class Admitted:
    """What the rule book admits of an app's clients at a hospital, and what of its work."""

    clients: tuple[ClientFacts, ...]
    scopes: tuple[str, ...]
    tier: Tier | None
    workflows: frozenset[str]


def admitted_at(ctx: Context, tenant: Tenant, book: Book, found: Sequence[ClientFacts]) -> Admitted:
    """Return what a rule book admits at a hospital of an app with these clients now."""
    environment = environment_of(tenant)
    # A sandbox client works only in the sandbox, a production client everywhere (C4).
    here = tuple(each for each in found if each.environment in {environment, Environment.PRODUCTION})
    live = [
        each
        for each in here
        if (until := clients_policy.certified_until(book, each)) is not None and ctx.now < until
    ]
    admissions = [clients_policy.admission(book, each, ctx.now) for each in live]
    # The highest, whatever is asked for: what a rule allows a harmless app is not for a part of another one.
    tiers = [each.assessment.tier for each in admissions if each.cell is not None]
    return Admitted(
        here,
        tuple(dict.fromkeys(scope for each in admissions for scope in each.scopes)),
        highest(tiers) if tiers else None,
        frozenset(name for each in live for name in clients_policy.workflows_allowed(book, each, ctx.now)),
    )


def read_app_at(ctx: Context, tenant: Tenant, app: App) -> AppAtHospital:
    """Read the inputs for judging a request for an app at a hospital."""
    book = policies.current(ctx).book_at(tenant.id, ctx.now, app.id)
    admitted = admitted_at(ctx, tenant, book, clients.facts_of_apps(ctx, (app.id,)).get(app.id, ()))
    return AppAtHospital(
        tenant,
        app,
        book,
        admitted.clients,
        admitted.scopes,
        admitted.tier,
        admitted.workflows,
        installations.current(ctx, tenant.id, app),
        clients.serves_backends_only(ctx, app.id),
    )


def facts_of(ctx: Context, place: AppAtHospital, order: AskOrder, role: str, rules: RuleSet) -> RequestFacts:
    """Return the facts of an actor's request. Whether the rules' approver may still approve is added by the caller."""
    return RequestFacts(
        app=place.app.id,
        vendor=place.app.vendor,
        category=place.app.category if place.app.category in place.book.categories else "",
        tier=place.tier,
        requester=PersonId(ctx.actor.id),
        requester_role=role,
        roles=order.roles,
        scopes=_asked(place, order),
        admitted=place.admitted,
        only_backend=place.only_backend,
        obstacles=tuple(_obstacles(ctx, place, order.roles, rules)),
        needed=without_launch(needed_lost(place.admitted, (), place.clients)),
    )


def _asked(place: AppAtHospital, order: AskOrder) -> tuple[str, ...]:
    """Return all the scopes that are asked for: those named, those that the workflows need, or all that the app may have."""
    if not order.scopes and not order.workflows:
        return without_launch(place.admitted)
    found = list(order.scopes)
    for name in order.workflows:
        needed = place.book.workflows[name].scopes
        # A workflow of a book of the first format limits nothing.
        found += place.admitted if needed is None else narrow(place.admitted, needed)
    return without_launch(found)


def _obstacles(ctx: Context, place: AppAtHospital, roles: frozenset[str], rules: RuleSet) -> list[Obstacle]:
    """List why no rule may approve a request for an app here, the most severe first."""
    tenant, app = place.tenant.id, place.app
    # Read from the database: the snapshot of this worker may not have the switch yet.
    subject = Subject(tenant=tenant, vendor=app.vendor, app=app.id)
    since = rules.in_force_at
    found = {
        Obstacle.STOPPED: controls.judge(ctx, subject, launching=True) is not None,
        Obstacle.SUSPENDED: app.state is not AppState.ACTIVE,
        Obstacle.NOT_CERTIFIED: not place.admitted,
        Obstacle.INSTALLED: place.installed is not None,
        Obstacle.REMOVED: installations.was_removed(ctx, tenant, app.id),
        Obstacle.DISMISSED: since is not None and store.was_dismissed(ctx.tx, tenant, app.id, since),
        Obstacle.NO_AGREEMENT: bool(agreements.missing_for_app(ctx, place.tenant, app, roles)),
    }
    return [obstacle for obstacle, is_there in found.items() if is_there]
