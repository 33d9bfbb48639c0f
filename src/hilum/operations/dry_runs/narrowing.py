"""Try a narrowing of an installation on past permits, before anything is removed (C208)."""

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, InstallationFacts
from hilum.apps.installations.policy import allowed_scopes, facility_faults, narrow_faults, narrowed
from hilum.apps.installations.service import Permits
from hilum.authorization.launches import service as launches
from hilum.controls.switches.models import Quota
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import ClientId
from hilum.identity.people import service as identity
from hilum.operations.dry_runs.models import (
    CALLS_OF_A_CLIENT,
    REPLAYED,
    TRIED_ROWS_BOUND,
    LaunchTrial,
    NarrowedUse,
    NarrowingTrial,
    RefusedLaunches,
    Tried,
    Verdict,
)
from hilum.operations.dry_runs.policy import launch_loss, names_its_scopes, narrowed_use
from hilum.operations.dry_runs.quotas import ReadCalls, try_quota
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book


def try_narrowing(
    ctx: Context, installation_id: str, tried: Tried, permits: Permits, calls: ReadCalls
) -> NarrowingTrial:
    """Judge what an app was permitted at a hospital by what a narrowing would leave, and by a quota. Nothing changes.

    Reads go back ``tried.days`` (90 at most), and not beyond the approval of the installation. Of launches those that are kept are judged (60 days),
    by role and facility, and of requests the newest CALLS_OF_A_CLIENT of each client, by the quota. Raises NotFound, Conflict (removed), Invalid.
    """
    before = installations.get_installation(ctx, installation_id)
    if before.removed_at is not None:
        raise installations.already_removed()
    order = tried.order
    unknown = identity.unknown_facilities(ctx, before.tenant, {*(order.facilities or ()), *order.denied})
    alone = clients.serves_backends_only(ctx, before.app)
    faults = narrow_faults(order, before, now=ctx.now) | facility_faults(order, unknown, only_backend=alone)
    if faults:
        raise Invalid("installation_invalid", "An installation can only be narrowed.", fields=faults)
    after = narrowed(order, before)
    # What was permitted before the approval was permitted under another installation.
    since = max(ctx.now - min(timedelta(days=tried.days), REPLAYED), before.approved_at)
    book = policies.current(ctx).book_at(before.tenant, ctx.now, before.app)
    permitted, unjudged, found = 0, 0, list[NarrowedUse]()
    of_app = clients.facts_of_apps(ctx, (before.app,)).get(before.app, ())
    for facts in of_app:
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
        launches=_launches(ctx, before, after, [each.id for each in of_app], since),
        beyond_quota=None
        if tried.quota is None
        else _beyond(before, tried.quota, [each.id for each in of_app], since, calls),
    )


def _allowed(facts: ClientFacts, installation: Installation, book: Book, now: datetime) -> tuple[str, ...]:
    return allowed_scopes(facts, _place(installation), book, now)


def _place(installation: Installation) -> InstallationFacts:
    """Return an installation in the form that judges launches."""
    return InstallationFacts(
        installation.scopes,
        installation.roles,
        installation.expires_at,
        facilities=installation.facilities,
        denied=installation.denied,
    )


def _launches(
    ctx: Context, before: Installation, after: Installation, of: Collection[ClientId], since: datetime
) -> LaunchTrial | None:
    was, would = _place(before), _place(after)
    if (was.roles, was.facilities, was.denied) == (would.roles, would.facilities, would.denied):
        return None
    counted_since, found = launches.count_people(ctx, before.tenant, of, since)
    people = identity.find_people(ctx, {person for person, _, _ in found})
    number = 0
    refused: Counter[tuple[str, str, str]] = Counter()
    for person, facility, count in found:
        if (who := people.get(person)) is None:
            continue
        number += count
        if reason := launch_loss(was, would, who.role, facility):
            refused[reason, who.role, facility] += count
    rows = sorted(refused.items(), key=lambda each: (-each[1], each[0]))[:TRIED_ROWS_BOUND]
    made = tuple(RefusedLaunches(*what, count) for what, count in rows)
    return LaunchTrial(counted_since, number, refused.total(), made)


def _beyond(
    installation: Installation, quota: Quota, of: Collection[ClientId], since: datetime, calls: ReadCalls
) -> int:
    at = installation.tenant
    found = (calls(client, [at], since=since, most=CALLS_OF_A_CLIENT) for client in of)
    return sum(try_quota(quota, each.at.get(at, ()), each.since).refused for each in found)


def _merged(found: list[NarrowedUse]) -> list[NarrowedUse]:
    """Merge the same use by several clients into one row, the most frequent first."""
    alike: defaultdict[tuple[str, str, str, Verdict], list[NarrowedUse]] = defaultdict(list)
    for each in found:
        alike[each.scope, each.resource_type, each.interaction, each.verdict].append(each)
    merged = [
        replace(group[0], number=sum(each.number for each in group), last=max(each.last for each in group))
        for group in alike.values()
    ]
    return sorted(merged, key=lambda each: (-each.number, each.scope, each.resource_type, each.interaction))
