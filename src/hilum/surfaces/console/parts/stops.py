"""The kill switches that stop an app: which they are, at how many hospitals, and their lines in its timeline."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from hilum.apps.installations import service as installations
from hilum.apps.registry.models import App
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.surfaces.console.models import TimelineEntry
from hilum.surfaces.console.service import Names

NEWEST = 30
"""The lines of a timeline, and the switches among them."""
AT_A_HOSPITAL = frozenset({TargetKind.TENANT, TargetKind.APP_TENANT})
_WORDS = {
    Mode.FULL_STOP: "stopped it",
    Mode.READ_ONLY: "stopped it from writing",
    Mode.NO_NEW_LAUNCHES: "stopped new launches of it",
    Mode.OBSERVE: "began to watch it",
}


def targets_of(app: App, tenants: Iterable[TenantId] = ()) -> tuple[Target, ...]:
    """Return the targets whose switches stop an app everywhere, or at one of some hospitals."""
    wide = (
        Target(TargetKind.PLATFORM),
        Target(TargetKind.VENDOR, app.vendor),
        Target(TargetKind.APP, app.id),
    )
    narrow = (
        target
        for tenant in tenants
        for target in (
            Target(TargetKind.TENANT, tenant),
            Target(TargetKind.APP_TENANT, f"{app.id}/{tenant}"),
        )
    )
    return (*wide, *narrow)


def stopped_at(ctx: Context, apps: Sequence[AppId]) -> dict[AppId, dict[TenantId, Switch]]:
    """Return the hospitals at which each app is installed and stopped there alone, with the oldest switch that does so."""
    stopped: dict[AppId, dict[TenantId, Switch]] = {}
    for switch in controls.stops_within_hospitals(ctx, apps) if apps else ():
        app, _, tenant = switch.target.key.rpartition("/")
        # A switch may outlive the installation that it stopped.
        for installed in installations.installed_at(ctx, TenantId(tenant), [AppId(app)] if app else apps):
            stopped.setdefault(installed, {}).setdefault(TenantId(tenant), switch)
    return stopped


def newest_first(*lines: Iterable[TimelineEntry]) -> list[TimelineEntry]:
    """Join timelines into one, newest first, and cut it to ``NEWEST`` lines."""
    return sorted(chain(*lines), key=lambda line: line.at, reverse=True)[:NEWEST]


def entries(ctx: Context, switches: Sequence[Switch], names: Names) -> Iterator[TimelineEntry]:
    """Return the lines of switches in a timeline: when each was engaged, and when it was released or ended by itself."""
    for switch in switches:
        where = names.target(switch.target)
        yield TimelineEntry(
            switch.engaged_at,
            f"{_WORDS[switch.mode]} ({where})",
            names.actor(switch.engaged_by),
            switch.reason,
            "bad",
        )
        if switch.released_at is not None:
            yield TimelineEntry(
                switch.released_at, f"released the switch on it ({where})", names.actor(switch.released_by)
            )
        elif switch.expires_at is not None and switch.expires_at <= ctx.now:
            yield TimelineEntry(switch.expires_at, f"ended the switch on it ({where})", "its end date")
