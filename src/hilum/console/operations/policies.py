"""The rule book: its versions, where each is in force, what one changes, and rollouts in rings."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.console import service
from hilum.console.desk import Visit, address, to
from hilum.console.words import pack_shown
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid, NotFound
from hilum.kernel.pages import PageQuery
from hilum.policies import service as policies
from hilum.rollouts import service as rollouts
from hilum.rollouts.models import UNFINISHED, Rollout, RolloutState
from hilum.web.forms import Form

SHOWN = 20
CHANGES_SHOWN = 200
WRITTEN_BOUND = 300
"""Characters of a value that a difference shows; it says how many more there are."""
_TONES: Mapping[RolloutState, str] = {
    RolloutState.RUNNING: "accent",
    RolloutState.PAUSED: "bad",
    RolloutState.DONE: "good",
    RolloutState.WENT_BACK: "bad",
}


async def show(visit: Visit) -> Response:
    """Show which version is in force where, every version, and rollouts."""
    return visit.render("console/operations/policy.html", **await visit.read(_shown))


def _shown(ctx: Context) -> dict[str, Any]:
    current, page = policies.in_force(ctx), PageQuery(limit=SHOWN)
    versions, applied = policies.list_versions(ctx, page), policies.list_applications(ctx, page)
    plans = rollouts.list_rollouts(ctx, page)
    ids = [each.added_by for each in versions]
    ids += [who for each in applied for who in (each.applied_by, each.agreed_by) if who]
    ids += [each.asked_by for each in plans]
    at = [tenant for each in applied for tenant in each.tenants]
    names = service.names(ctx, ids, tenants=[*at, *current.at])
    return {
        "everywhere": current.everywhere,
        "elsewhere": [
            (names.tenant(tenant), number)
            for tenant, number in current.at.items()
            if number != current.everywhere
        ],
        "fault": current.fault,
        "versions": [
            (
                each.number,
                each.note,
                names.actor(each.added_by),
                each.added_at,
                address("operations.version", str(each.number)),
            )
            for each in versions
        ],
        "applied": [
            (
                each.version,
                ", ".join(map(names.tenant, each.tenants)) or "everywhere",
                names.actor(each.applied_by),
                names.actor(each.agreed_by) if each.agreed_by else "",
                each.applied_at,
                each.reason,
            )
            for each in applied
        ],
        "rollouts": [
            (
                each.version,
                each.state.value.replace("_", " "),
                _TONES.get(each.state, "plain"),
                len(each.rings),
                names.actor(each.asked_by),
                each.began_at,
                each.why or each.reason,
                address("operations.rollout", each.id),
            )
            for each in plans
        ],
    }


async def show_version(visit: Visit) -> Response:
    """Show what a version changes, compared with the one in force everywhere or another."""
    number, before = number_of(visit.param()), visit.query().one("before")

    def verb(ctx: Context) -> dict[str, Any]:
        current = policies.in_force(ctx).everywhere
        version, _ = policies.get_version(ctx, number)
        other = number_of(before) if before else current
        changes, wider = policies.compare(ctx, other, number)
        return {
            "version": version,
            "added_by": service.names(ctx, [version.added_by]).actor(version.added_by),
            "other": other,
            "current": current,
            "apply": address("operations.apply", str(number)) if visit.may_open("operations.apply") else "",
            "changes": [
                (each.path, _written(each.before), _written(each.after)) for each in changes[:CHANGES_SHOWN]
            ],
            "changed": len(changes),
            "wider": [each.sentence for each in wider[:CHANGES_SHOWN]],
            "wider_count": len(wider),
        }

    return visit.render("console/operations/version.html", **await visit.read(verb))


async def show_jurisdictions(visit: Visit) -> Response:
    """Show the dated rules of jurisdictions that a version must keep, and whether it keeps each; without a number the one in force."""
    asked = visit.query().one("version")

    def verb(ctx: Context) -> dict[str, Any]:
        current = policies.in_force(ctx)
        number = number_of(asked) if asked else current.everywhere
        return {
            "number": number,
            "everywhere": current.everywhere,
            "packs": [pack_shown(each) for each in policies.view_packs(ctx, number)],
        }

    return visit.render("console/operations/jurisdictions.html", **await visit.read(verb))


def number_of(text: str) -> int:
    """Return the number of a version. Raises NotFound for a text that is none."""
    if not text.isdecimal() or len(text) > 9:
        raise NotFound("version_not_found", "There is no such version of the rule book.")
    return int(text)


def _written(value: object) -> str:
    text = "" if value is None else orjson.dumps(value, default=str).decode()
    more = len(text) - WRITTEN_BOUND
    return text if more <= 0 else f"{text[:WRITTEN_BOUND]}… ({more:,} more characters)"


async def show_rollout(visit: Visit) -> Response:
    """Show one rollout: its rings, what was measured, and whether it goes on."""
    return visit.render(
        "console/operations/rollout.html", **await visit.read(partial(_rollout, id_=visit.param()))
    )


def _rollout(ctx: Context, id_: str) -> dict[str, Any]:
    found: Rollout = rollouts.view(ctx, id_)
    at = [tenant for ring in found.rings for tenant in ring.tenants]
    names = service.names(ctx, [found.asked_by, found.agreed_by], tenants=at)
    return {
        "rollout": found,
        "state": found.state.value.replace("_", " "),
        "tone": _TONES.get(found.state, "plain"),
        "open": found.state in UNFINISHED,
        "asked_by": names.actor(found.asked_by),
        "agreed_by": names.actor(found.agreed_by) if found.agreed_by else "",
        "rings": [
            (", ".join(map(names.tenant, ring.tenants)) or "everywhere", _days(ring.dwell.total_seconds()))
            for ring in found.rings
        ],
        "measured": sorted(
            (str(name).replace("_", " "), str(value)) for name, value in found.measured.items()
        ),
        "at": ctx.now,
    }


def _days(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} hours"


async def stop_rollout(visit: Visit, form: Form) -> Response:
    """Stop a rollout where it is; one person does it."""
    if not form.one("reason").strip():
        raise Invalid("reason_missing", "Say why.", fields={"reason": "reason_missing"})
    await visit.write(partial(rollouts.stop, plan_id=visit.param(), reason=form.one("reason")))
    return to(address("operations.rollout", visit.param()))
