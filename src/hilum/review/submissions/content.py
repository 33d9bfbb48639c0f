"""Describe a version at its submission from the platform's records."""

from collections.abc import Collection
from dataclasses import asdict
from itertools import islice
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import BackendUse, Client
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion, Environment, Profile
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import walk
from hilum.policy.matrix.models import Book
from hilum.review.submissions.models import CLIENTS_BOUND, SubmissionOrder
from hilum.review.submissions.policy import Entry, described, stated

FORMAT = 1
"""The format of the description. A new format gets a new number, and this one stays readable."""
CLIENT_FIELDS = (
    "id",
    "type",
    "deployment",
    "name",
    "redirect_uris",
    "launch_uri",
    "origins",
    "scopes",
    "jwks",
    "jwks_uri",
    "grant_types",
)


def clients_of(ctx: Context, app: App, environment: Environment) -> list[Client]:
    """List an app's clients of an environment; one more than CLIENTS_BOUND if there are more."""
    pages = walk(
        lambda page: clients.list_clients(ctx.as_actor(SYSTEM), app.id, page), key=lambda each: each.id
    )
    return list(islice((each for each in pages if each.environment is environment), CLIENTS_BOUND + 1))


def unproved_of(ctx: Context, app: App) -> list[str]:
    """Return the unproved or lapsed contacts and domains of an app's vendor; for support and security the addresses that the app states (C6, C7)."""
    return unproved_of_apps(ctx, [app])[app.id]


def unproved_of_apps(ctx: Context, apps: Collection[App]) -> dict[AppId, list[str]]:
    """Return what ``unproved_of`` returns for each of some apps."""
    profiles = registry.read_profiles(ctx, [each.id for each in apps])
    return contacts.unproved_of(
        ctx, {each.id: (each.vendor, _stated(profiles.get(each.id, Profile()))) for each in apps}
    )


def _stated(profile: Profile) -> dict[ContactKind, str]:
    stated = {ContactKind.SUPPORT: profile.support_contact, ContactKind.SECURITY: profile.security_contact}
    # An address that is not stated is missing in the profile.
    return {kind: text for kind, text in stated.items() if text.strip()}


def read_entry(
    ctx: Context,
    app: App,
    version: AppVersion,
    environment: Environment,
    order: SubmissionOrder,
    *,
    book: Book,
    unused: Collection[str] = (),
) -> Entry:
    """Read the inputs that decide whether a version can be submitted."""
    category = book.categories.get(app.category)
    return Entry(
        environment,
        applicant_of(app, version, tuple(each.scope for each in order.scopes)),
        registry.missing_of(ctx, app),
        unproved_of(ctx, app),
        len(clients_of(ctx, app, environment)),
        category is not None
        and category.model_card
        and version.ai_use is not None
        and not version.ai_use.model_card,
        unused,
    )


def describe(
    ctx: Context, app: App, version: AppVersion, environment: Environment, order: SubmissionOrder
) -> dict[str, Any]:
    """Describe everything in a submission, by part: no secret, and nothing about patients or hospitals."""
    _, profile = registry.view_profile(ctx.as_actor(SYSTEM), app.id)
    vendor = registry.get_vendor(ctx, app.vendor)
    profile_of = asdict(profile)
    profile_of.pop("revision")
    return {
        "format": FORMAT,
        "environment": environment,
        "app": {
            name: getattr(app, name)
            for name in ("id", "vendor", "name", "description", "purpose", "category")
        }
        # Only if it has one, as with the population. Before certification a vendor may change it freely.
        | ({"logo": app.logo} if app.logo else {}),
        "vendor": asdict(vendor),
        "version": {
            "id": version.id,
            "label": version.label,
            "workflows": version.workflows,
            "placements": version.placements,
            "ai_use": None if version.ai_use is None else asdict(version.ai_use),
            # Only where it is declared: what was submitted before is described as it was then.
            **({} if version.population is None else {"population": version.population}),
        },
        "profile": profile_of,
        "clients": [
            {name: getattr(each, name) for name in CLIENT_FIELDS}
            | {"backend_use": None if each.backend_use is None else _use(each.backend_use)}
            for each in clients_of(ctx, app, environment)
        ],
        "scopes": [stated(each) for each in order.scopes],
        "documents": [described(each) for each in order.documents],
    }


def _use(use: BackendUse) -> dict[str, Any]:
    """Return the use of a backend service. Volumes only where they are declared: what was submitted before is described as it was then."""
    return {name: value for name, value in asdict(use).items() if value is not None}
