"""Read the inputs of a dry run, and store and show its results."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry import service as registry
from hilum.authorization.consent import service as consent
from hilum.authorization.launches import service as launches
from hilum.authorization.tokens import service as tokens
from hilum.controls.switches import service as controls
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import EVERYTHING
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.errors import NO_RIGHT, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.operations.dry_runs import store
from hilum.operations.dry_runs.books import BooksAt
from hilum.operations.dry_runs.models import (
    FOR_HOSPITALS,
    REPLAYED,
    RUNS_KEPT,
    Agreements,
    Kind,
    Launched,
    Pack,
    Places,
    Start,
    StoredRow,
)
from hilum.operations.dry_runs.policy import is_live
from hilum.operations.dry_runs.replay import Replay
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, DryRun
from hilum.review.recertification import service as revalidation
from hilum.review.recertification.models import Climb
from hilum.review.submissions import service as review

__all__ = ["FOR_HOSPITALS"]
READ_AT_ONCE = 500
"""How many agreements or apps are read in one statement."""
PACKS_AT_ONCE = 2_000
"""How many packs of rows are stored in one transaction."""


def read_start(ctx: Context, run: DryRun) -> Start:
    """Read the inputs of a run. Raises NotFound, Unavailable (a policy's signature does not match)."""
    version, candidate = policies.get_version(ctx, run.version)
    # What is in force now is read as of now, and the version as it will be enforced: what a rule that it observes would refuse is
    # counted and listed like any other difference, also while the version is in force (C209).
    found, current = clients.facts_of_apps(ctx, None), policies.current(ctx).as_of(ctx.now)
    # What an exception keeps certified is certified too, wherever that applies.
    books = BooksAt(current, candidate, ctx.now)
    live: list[ClientFacts] = []
    for app in sorted(found):
        here = [each.before for each in books.of(app)]
        live += (each for each in found[app] if is_live(each, here, ctx.now))
    quotas = controls.quota_facts(ctx, EVERYTHING).applied(None)
    return Start(
        candidate,
        version.digest,
        current,
        policies.in_force(ctx),
        tuple(live),
        ctx.now,
        ctx.now - REPLAYED,
        quotas,
    )


def read_agreements(ctx: Context, of: Collection[ClientId]) -> Agreements:
    """Read the agreements in force of some clients, by what they agree to."""
    found: dict[tuple[str, str], dict[tuple[str, ...], int]] = {}
    for tenant, client, scopes, number in consent.count_in_force(ctx, of):
        found.setdefault((tenant, client), {})[scopes] = number
    return found


def read_installations(ctx: Context, apps: Collection[AppId]) -> Places:
    """Read the installations of some apps that have not ended."""
    found: dict[AppId, dict[TenantId, InstallationFacts]] = {}
    for tenant, app, facts in installations.installations_of(ctx, apps):
        if facts.expires_at is None or ctx.now < facts.expires_at:
            found.setdefault(app, {})[tenant] = facts
    return {app: dict(sorted(places.items())) for app, places in found.items()}


def read_launches(ctx: Context, of: Collection[ClientId]) -> Launched:
    """Read how often some clients were launched, by intent and placement, as far back as launches are kept."""
    found: dict[tuple[str, str], dict[tuple[str, str], int]] = {}
    for tenant, client, task, number in launches.count_tasks(ctx, of):
        found.setdefault((tenant, client), {})[task] = number
    return found


def count_ends(ctx: Context, replay: Replay) -> None:
    """Count into a run the agreements that the version would have ended, and the tokens that could no longer be refreshed."""
    agreements = consent.read_in_force(ctx, replay.clients_with_other_lives())
    for some in batched(agreements, READ_AT_ONCE):
        replay.count_ends(some, tokens.list_families(ctx, [each.id for each in some]))


def read_unproved(ctx: Context, apps: Iterable[AppId]) -> dict[AppId, Collection[str]]:
    """Read which proofs the vendors of some apps lack."""
    found: dict[AppId, Collection[str]] = {}
    for some in batched(apps, READ_AT_ONCE):
        found |= review.unproved_of_apps(ctx, registry.read_apps(ctx, some).values())
    return found


def read_climbs(ctx: Context, book: Book) -> list[Climb]:
    """Read which apps the platform would take further up the escalation by itself under a book."""
    return list(revalidation.climbs_under(ctx, book))


def add_packs(ctx: Context, run: DryRun, packs: Iterable[Pack], percent: int) -> None:
    """Store rows of a run, and its progress."""
    store.add_packs(ctx.tx, run.id, packs)
    policies.save_progress(ctx, run, percent)


def delete_rows_of(ctx: Context, run: DryRun) -> int:
    """Delete a batch of rows from an interrupted attempt; return how many. Call again until it returns 0."""
    return store.delete_rows(ctx.tx, of=run.id)


def delete_old_rows(ctx: Context) -> int:
    """Delete a batch of rows of all but the newest runs; return how many. Call again until it returns 0."""
    kept = _with_rows(ctx)
    return store.delete_rows(ctx.tx, beside=[each.id for each in kept]) if kept else 0


def _with_rows(ctx: Context) -> list[DryRun]:
    return policies.list_dry_runs(ctx, PageQuery(limit=RUNS_KEPT))


def newest_run(ctx: Context, version: int, *, failed: bool = False) -> DryRun | None:
    """Return the newest dry run of a version that is done and of which the rows are kept; with ``failed`` also one that failed."""
    ended = (each for each in _with_rows(ctx) if each.version == version and each.finished_at is not None)
    return next((each for each in ended if failed or not each.fault), None)


def view(ctx: Context, run_id: str) -> DryRun:
    """Get a dry run; without its numbers unless the actor is of the platform's staff. Raises NotFound, NotPermitted."""
    return _shown(ctx, policies.get_dry_run(ctx, run_id))


def list_runs(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[DryRun]:
    """List dry runs, newest first. Raises NotPermitted."""
    return [_shown(ctx, run) for run in policies.list_dry_runs(ctx, page)]


def _shown(ctx: Context, run: DryRun) -> DryRun:
    # The numbers are of all hospitals together; a hospital's own are a row of the result.
    return run if ctx.actor.is_platform else replace(run, counts={}, decisions=0)


def list_rows(
    ctx: Context,
    run_id: str,
    kind: Kind,
    page: PageQuery = FIRST_PAGE,
    *,
    tenant: str = "",
    app: str = "",
) -> list[StoredRow]:
    """List rows of one kind; to a hospital's administrator only those about the hospital. Raises NotFound, NotPermitted."""
    run = policies.get_dry_run(ctx, run_id)
    if not ctx.actor.is_platform:
        own = str(ctx.actor.tenant)
        if kind not in FOR_HOSPITALS or tenant not in {"", own}:
            raise NotPermitted("not_permitted", NO_RIGHT)
        tenant = own
    # An empty list would mean "nothing changes" to a person who must approve the version.
    if run.id not in {each.id for each in _with_rows(ctx)}:
        detail = "The results of this dry run were replaced by later ones and deleted. Start another dry run of this version."
        raise NotFound("dry_run_rows_deleted", detail)
    return store.list_rows(ctx.tx, run.id, kind, page, app=app, only=[tenant] if tenant else None)
