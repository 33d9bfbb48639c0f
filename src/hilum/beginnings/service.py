"""How hard it is for a vendor to begin: from its sign-up to the first token in a sandbox, and to the first answer from FHIR (K11).

Followed by a job in steps that cost what happened since the last one: each looks at a few vendors that are still under way, and at the
refusals of a short time.
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
"""Reads when something was first permitted to some clients since a moment (``audit.live.first_permitted``)."""
FOLLOWED = timedelta(days=366)
"""How long after its sign-up a vendor is followed, and how far back the first step looks."""
VENDORS_AT_ONCE = 50
LOOKED_EVERY = timedelta(minutes=50)
"""A vendor that has signed up lately is looked at once in each run of the job."""
LATELY = timedelta(days=14)
OTHERS_EVERY = timedelta(hours=23)
"""How often one is looked at that has signed up before. Nothing is lost by it: when it began is read from the records, whenever it is looked for."""
COUNTED_BACK = timedelta(days=7)
"""How far back the first step counts refusals: what is older was never counted."""
WINDOW = timedelta(hours=6)
"""Refusals of how long one step reads."""
LAG = timedelta(minutes=1)
"""What is younger may not be committed yet."""
SIGNED_UP, MINTED = "registry.vendor.add", "tokens.access.mint"
TOKENS_READ = 50
"""First tokens of an app that are looked at for one of a sandbox client."""
REFUSED = ("authserver.request.refuse", "authserver.token.refuse")


def view_figure(ctx: Context, since: datetime) -> FrictionFigure:
    """Return K11 of the vendors that signed up since a moment, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return policy.friction_figure(store.signed_up(ctx.tx, since))


def follow_signups(ctx: Context) -> bool:
    """Note the vendors that signed up since the last step; return False, since one step reads all of them."""
    since = store.followed(ctx.tx, SIGNED_UP) or ctx.now - FOLLOWED
    until = max(since, ctx.now - LAG)
    for event in _events(ctx, SIGNED_UP, since, until):
        vendor = str(event.event.facts.get("vendor", ""))
        if vendor:
            store.add(ctx.tx, Friction(VendorId(vendor), event.at))
    store.set_followed(ctx.tx, SIGNED_UP, until)
    return False


def follow_vendors(ctx: Context, first_read: FirstRead) -> bool:
    """Look at the vendors that were looked at longest ago and are still under way; return whether there may be more of this round."""
    found = store.under_way(
        ctx.tx,
        ctx.now - FOLLOWED,
        lately=ctx.now - LATELY,
        sooner=ctx.now - LOOKED_EVERY,
        before=ctx.now - OTHERS_EVERY,
        limit=VENDORS_AT_ONCE,
    )
    for each in found:
        store.save(ctx.tx, replace(_looked_at(ctx, each, first_read), looked_at=ctx.now))
    return len(found) == VENDORS_AT_ONCE


def follow_refusals(ctx: Context) -> bool:
    """Count the refused tries of a short time to the vendors that had no token then; return whether there is more to count."""
    since = store.followed(ctx.tx, REFUSED[0]) or ctx.now - COUNTED_BACK
    until = max(since, min(since + WINDOW, ctx.now - LAG))
    trying = store.trying_since(ctx.tx, since)
    of = _vendors_of_clients(ctx, trying) if trying else {}
    refused = [
        (of[event.event.client], event.at)
        for action in (REFUSED if of else ())
        for event in _events(ctx, action, since, until)
        if event.event.client in of
    ]
    for vendor in {vendor for vendor, _ in refused if trying[vendor].launched_at is None}:
        # It may have got its token since it was looked at, and what is refused later is no friction.
        found = trying[vendor]
        trying[vendor] = replace(found, launched_at=_launched_at(ctx, found, *_tried(ctx, found)))
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


def _looked_at(ctx: Context, found: Friction, first_read: FirstRead) -> Friction:
    apps, tried = _tried(ctx, found)
    if not tried:
        return found
    if found.launched_at is None:
        found = replace(found, launched_at=_launched_at(ctx, found, apps, tried))
    if found.launched_at is not None:
        with lanes.using(Lane.OWN):
            found = replace(found, read_at=first_read(sorted(tried), found.launched_at))
    return found


def _tried(ctx: Context, found: Friction) -> tuple[Collection[AppId], set[ClientId]]:
    """Return the apps of a vendor, and their clients for the sandbox."""
    apps = registry.apps_of_vendors(ctx, [found.vendor])
    facts = clients.facts_of_apps(ctx, apps) if apps else {}
    return apps, {each.id for of in facts.values() for each in of if each.environment is Environment.SANDBOX}


def _launched_at(
    ctx: Context, found: Friction, apps: Collection[AppId], tried: Collection[ClientId]
) -> datetime | None:
    times = (
        each.at
        for app in apps
        for each in _first_tokens(ctx, app, found.signed_up_at)
        if each.event.client in tried
    )
    return min(times, default=None)


def _first_tokens(ctx: Context, app: AppId, since: datetime) -> Iterable[RecordedEvent]:
    query = EventQuery(app=app, action=MINTED, since=since, outcome="done", limit=TOKENS_READ)
    return audit.list_events(ctx, replace(query, oldest_first=True)).events


def _vendors_of_clients(ctx: Context, trying: Collection[VendorId]) -> dict[str, VendorId]:
    apps = registry.apps_of_vendors(ctx, trying)
    facts = clients.facts_of_apps(ctx, apps) if apps else {}
    return {each.id: each.vendor for of in facts.values() for each in of}
