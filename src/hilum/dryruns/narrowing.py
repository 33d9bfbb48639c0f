"""Try a narrowing of an installation on what the app was permitted there, before anything is taken away (C208)."""

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.clients import service as clients
from hilum.clients.models import ClientFacts
from hilum.dryruns.models import REPLAYED, TRIED_ROWS_BOUND, NarrowedUse, NarrowingTrial, Verdict
from hilum.dryruns.policy import names_its_scopes, narrowed_use
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations.models import Installation, InstallationFacts, NarrowOrder
from hilum.installations.policy import allowed_scopes, narrow_faults, narrowed
from hilum.installations.service import Permits
from hilum.kernel.errors import Conflict, Invalid
from hilum.policies import service as policies
from hilum.policies.models import Book


def try_narrowing(
    ctx: Context, installation_id: str, scopes: tuple[str, ...], days: int, permits: Permits
) -> NarrowingTrial:
    """Judge what an app was permitted at a hospital by the scopes that a narrowing would leave. Nothing changes.

    Reads go back ``days`` (90 at most), and not beyond the approval of the installation. Raises NotFound, Conflict (removed), Invalid.
    """
    before = installations.get_installation(ctx, installation_id)
    if before.removed_at is not None:
        raise Conflict("installation_removed", "This installation is already removed.")
    order = NarrowOrder(scopes=scopes)
    if faults := narrow_faults(order, before, now=ctx.now):
        raise Invalid("installation_invalid", "An installation can only be narrowed.", fields=faults)
    after = narrowed(order, before)
    since = max(ctx.now - min(timedelta(days=days), REPLAYED), before.approved_at)
    book = policies.current(ctx).book_at(before.tenant, ctx.now, before.app)
    permitted, unjudged, found = 0, 0, list[NarrowedUse]()
    for facts in clients.facts_of_apps(ctx, (before.app,)).get(before.app, ()):
        allowed = _allowed(facts, after, book, ctx.now)
        for use in permits([facts.id], since, before.tenant):
            permitted += use.number
            if not names_its_scopes(use):
                unjudged += use.number
            elif (changed := narrowed_use(use, allowed)) is not None:
                found.append(changed)
    rows = _merged(found)
    return NarrowingTrial(
        before.id,
        after.scopes,
        since,
        permitted,
        unjudged,
        refused=sum(each.number for each in rows if each.verdict is Verdict.REFUSED),
        less=sum(each.number for each in rows if each.verdict is Verdict.LESS),
        rows=tuple(rows[:TRIED_ROWS_BOUND]),
        whole=len(rows) <= TRIED_ROWS_BOUND,
    )


def _allowed(facts: ClientFacts, installation: Installation, book: Book, now: datetime) -> tuple[str, ...]:
    place = InstallationFacts(installation.scopes, installation.roles, installation.expires_at)
    return allowed_scopes(facts, place, book, now)


def _merged(found: list[NarrowedUse]) -> list[NarrowedUse]:
    """Return the same use by several clients as one row, the most frequent first."""
    alike: defaultdict[tuple[str, str, str, Verdict], list[NarrowedUse]] = defaultdict(list)
    for each in found:
        alike[each.scope, each.resource_type, each.interaction, each.verdict].append(each)
    merged = [
        replace(group[0], number=sum(each.number for each in group), last=max(each.last for each in group))
        for group in alike.values()
    ]
    return sorted(merged, key=lambda each: (-each.number, each.scope, each.resource_type, each.interaction))
