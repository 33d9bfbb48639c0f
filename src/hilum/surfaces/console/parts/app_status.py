"""The state of an app in one word, with since when and why: stopped, certified and until when, or not yet."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppState, Certification
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Mode, SwitchIndex, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.policy.matrix.models import SYSTEM_CLIENT
from hilum.surfaces.console import policy, words
from hilum.surfaces.console.models import KINDS, Cell, State
from hilum.surfaces.console.parts import stops


@dataclass(frozen=True, slots=True)
class AppStatus:
    """The state of an app in one word, with since when, and why."""

    state: State
    why: str
    since: datetime | None = None
    hospitals: tuple[int, int] | None = None
    """At how many of its hospitals it is stopped, if it is not stopped everywhere; None: at none."""

    @property
    def word(self) -> str:
        """The state as a word, or at how many hospitals the app is stopped."""
        return "stopped at {} of {}".format(*self.hospitals) if self.hospitals else self.state.value

    @property
    def tone(self) -> str:
        """The colour of the word."""
        return KINDS[State.STOPPED if self.hospitals else self.state]


def badge(status: AppStatus) -> Cell:
    """Return the state of an app as a cell."""
    return Cell(status.word, kind="badge", tone=status.tone, note=status.why)


def statuses_of(ctx: Context, apps: Sequence[App]) -> dict[str, AppStatus]:
    """Return the state of each app: stopped, certified and until when, or not yet."""
    ids = [each.id for each in apps]
    certified = registry.read_certified(ctx, ids).certifications if ids else {}
    targets = [Target(TargetKind.PLATFORM)]
    targets += [Target(TargetKind.APP, each) for each in ids]
    targets += [Target(TargetKind.VENDOR, each) for each in sorted({app.vendor for app in apps})]
    index = controls.stops_on(ctx, tuple(targets))
    statuses: dict[str, AppStatus] = {
        each.id: _status_of(each, certified.get(each.id, ()), index, ctx.now) for each in apps
    }
    for app, at in stops.stopped_at(ctx, ids).items():
        if statuses[app].state is not State.STOPPED:
            installed = sum(1 for _ in installations.installations_of(ctx, [app]))
            statuses[app] = replace(statuses[app], hospitals=(len(at), installed))
    return statuses


def _status_of(app: App, certified: Sequence[Certification], index: SwitchIndex, now: datetime) -> AppStatus:
    """Return the state of one app. A stop comes before what it is certified for."""
    targets = (
        Target(TargetKind.PLATFORM),
        Target(TargetKind.VENDOR, app.vendor),
        Target(TargetKind.APP, app.id),
    )
    for target in targets:
        for switch in index.engaged.get(target, ()):
            if switch.in_force(now) and switch.mode is not Mode.OBSERVE:
                return AppStatus(
                    State.STOPPED,
                    f"{words.KIND_WORDS[target.kind].lower()}: {switch.reason}"[:200],
                    switch.engaged_at,
                )
    if app.state is AppState.SUSPENDED:
        return AppStatus(State.STOPPED, "suspended", None)
    if app.category == SYSTEM_CLIENT:
        return AppStatus(State.APPROVED, "a hospital's own system, which is not certified")
    valid = [each for each in certified if each.withdrawn_at is None and each.expires_at > now]
    if not valid:
        return AppStatus(State.IN_REVIEW if certified else State.DRAFT, "not certified")
    ends = max(each.expires_at for each in valid)
    return AppStatus(
        policy.ending(ends, now),
        f"certified until {ends:%-d %b %Y}",
        min(each.certified_at for each in valid),
    )
