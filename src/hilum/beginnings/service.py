"""Measure how hard it is for a vendor to begin: from sign-up to the first token in a sandbox and the first FHIR answer (K11).

A job does this in steps whose cost depends on what is new: each step checks a few vendors that have not read data yet, and the refusals of a short period.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.audit import service as audit
from hilum.audit.models import EventQuery, RecordedEvent
from hilum.beginnings import policy, store
from hilum.beginnings.models import Friction, FrictionFigure
from hilum.clients import service as clients
from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.kernel.actor import require_platform
from hilum.kernel.ids import AppId, ClientId, VendorId
from hilum.registry import service as registry
from hilum.registry.models import Environment

FirstRead = Callable[[Collection[str], datetime], datetime | None]
"""Returns when anything was first permitted to some clients since a moment (``audit.live.first_permitted``)."""
FOLLOWED = timedelta(days=366)
"""How long after sign-up a vendor is followed, and how far back the first step looks."""
VENDORS_AT_ONCE = 50
LATELY = timedelta(days=14)
"""How long after sign-up a vendor is checked often."""
LOOKED_EVERY = timedelta(minutes=50)
"""How often such a vendor is checked: shorter than the hour between two runs of the job, so in each of them."""
OTHERS_EVERY = timedelta(hours=23)
"""How often an older vendor is checked. A late check loses nothing: the times come from the records."""
COUNTED_BACK = timedelta(days=7)
"""How far back the first step counts refusals. Older ones are not counted."""
WINDOW = timedelta(hours=6)
"""The period of refusals that one step reads."""
LAG = timedelta(minutes=1)
"""Newer refusals may not be committed yet."""
SIGNED_UP, MINTED = "registry.vendor.add", "tokens.access.mint"
TOKENS_READ = 50
"""How many of an app's first tokens are searched for one of a sandbox client."""
REFUSED = ("authserver.request.refuse", "authserver.token.refuse")


def view_figure(ctx: Context, since: datetime) -> FrictionFigure:
    """Return K11 for the vendors that signed up since a moment, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return policy.friction_figure(store.signed_up(ctx.tx, since))


def follow_signups(ctx: Context) -> bool:
    """Add the vendors that signed up since the last step. Always returns False, since one step reads all of them."""
    since = store.followed(ctx.tx, SIGNED_UP) or ctx.now - FOLLOWED
    until = max(since, ctx.now - LAG)
    for event in _events(ctx, SIGNED_UP, since, until):
        vendor = str(event.event.facts.get("vendor", ""))
        if vendor:
            store.add(ctx.tx, Friction(VendorId(vendor), event.at))
    store.set_followed(ctx.tx, SIGNED_UP, until)
    return False


def follow_vendors(ctx: Context, first_read: FirstRead) -> bool:
    """Check the vendors that were checked longest ago and have not read data yet; return whether this round may have more."""
    found = store.under_way(
        ctx.tx,
        ctx.now - FOLLOWED,
        lately=ctx.now - LATELY,
        sooner=ctx.now - LOOKED_EVERY,
        before=ctx.now - OTHERS_EVERY,
        limit=VENDORS_AT_ONCE,
    )
    for each in found:
        store.save(ctx.tx, replace(_checked(ctx, each, first_read), looked_at=ctx.now))
    return len(found) == VENDORS_AT_ONCE


def follow_refusals(ctx: Context) -> bool:
    """Count refused attempts of a short period for vendors that had no token then; return whether there is more to count."""
    since = store.followed(ctx.tx, REFUSED[0]) or ctx.now - COUNTED_BACK
    until = max(since, min(since + WINDOW, ctx.now - LAG))
    events = [event for action in REFUSED for event in _events(ctx, action, since, until)]
    # From the refusals to their vendors, and not the other way: most vendors were refused nothing lately.
    vendor_of = _vendors_of_clients(ctx, {ClientId(event.event.client) for event in events})
    trying = store.trying_since(ctx.tx, since, set(vendor_of.values()))
    refused = [
        (vendor, event.at) for event in events if (vendor := vendor_of.get(event.event.client)) in trying
    ]
    for vendor in {vendor for vendor, _ in refused if trying[vendor].launched_at is None}:
        # The vendor may have got its token since the last check; later refusals are not friction.
        found = trying[vendor]
        apps, sandbox_clients = _apps_and_sandbox_clients(ctx, found)
        trying[vendor] = replace(found, launched_at=_launched_at(ctx, found, apps, sandbox_clients))
    counted = Counter(
        vendor for vendor, at in refused if (launched := trying[vendor].launched_at) is None or at < launched
    )
    for vendor, number in counted.items():
        store.save(ctx.tx, replace(trying[vendor], tries=trying[vendor].tries + number))
    store.set_followed(ctx.tx, REFUSED[0], until)
    return until < ctx.now - LAG


def _events(ctx: Context, action: str, since: datetime, until: datetime) -> Iterable[RecordedEvent]:
    query = EventQuery(action=action, since=since, before=until)
    while True:
        page = audit.list_events(ctx, query)
        yield from (each for each in page.events if each.event.action == action)
        if not page.next:
            return
        query = replace(query, after=page.next)


def _checked(ctx: Context, found: Friction, first_read: FirstRead) -> Friction:
    """Return how far a vendor has come by now."""
    apps, sandbox_clients = _apps_and_sandbox_clients(ctx, found)
    if not sandbox_clients:
        return found
    if found.launched_at is None:
        found = replace(found, launched_at=_launched_at(ctx, found, apps, sandbox_clients))
    if found.launched_at is not None:
        with lanes.using(Lane.OWN):
            found = replace(found, read_at=first_read(sorted(sandbox_clients), found.launched_at))
    return found


def _apps_and_sandbox_clients(ctx: Context, found: Friction) -> tuple[Collection[AppId], set[ClientId]]:
    """Return a vendor's apps and their sandbox clients."""
    apps = registry.apps_of_vendors(ctx, [found.vendor])
    facts = clients.facts_of_apps(ctx, apps) if apps else {}
    return apps, {each.id for of in facts.values() for each in of if each.environment is Environment.SANDBOX}


def _launched_at(
    ctx: Context, found: Friction, apps: Collection[AppId], sandbox_clients: Collection[ClientId]
) -> datetime | None:
    """Return when one of a vendor's sandbox clients got its first token; None if none has one."""
    times = (
        each.at
        for app in apps
        for each in _first_tokens(ctx, app, found.signed_up_at)
        if each.event.client in sandbox_clients
    )
    return min(times, default=None)


def _first_tokens(ctx: Context, app: AppId, since: datetime) -> Iterable[RecordedEvent]:
    query = EventQuery(app=app, action=MINTED, since=since, outcome="done", limit=TOKENS_READ)
    return audit.list_events(ctx, replace(query, oldest_first=True)).events


def _vendors_of_clients(ctx: Context, of: Collection[ClientId]) -> dict[str, VendorId]:
    """Return the vendors of clients, without those that do not exist."""
    found = clients.read_named(ctx, of)
    apps = registry.read_apps(ctx, {each.app for each in found})
    return {each.id: apps[each.app].vendor for each in found if each.app in apps}
