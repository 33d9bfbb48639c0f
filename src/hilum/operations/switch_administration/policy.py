"""The verdict of a containment report. Pure.

Each worker dates its confirmation and the end of each request by its own clock, which never goes back. So a worker that answers after
its own confirmation is found, whatever the difference between the clocks of two nodes. Two readings can be equal while that clock waits
for the database's time: an answer of the moment of the last confirmation counts as one that passed.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypedDict

import orjson

from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.operations.switch_administration.models import (
    OFFENDERS_BOUND,
    Confirmations,
    Containment,
    ContainmentVerdict,
    Gap,
    Report,
)
from hilum.records.audit.models import PermittedRequest, Window
from hilum.records.audit.policy import WRITES

_STOPS_REQUESTS = frozenset({Mode.FULL_STOP, Mode.READ_ONLY})


class Filters(TypedDict, total=False):
    """The fields of a record that equal a target's."""

    tenant: str
    app: str
    person: str
    vendor: str


def filters_of(target: Target) -> Filters | None:
    """Return the fields of a record that equal a target's; None for targets whose records cannot be found."""
    first, _, second = target.key.partition("/")
    match target.kind:
        case TargetKind.PLATFORM:
            return {}
        case TargetKind.TENANT:
            return {"tenant": target.key}
        case TargetKind.APP:
            return {"app": target.key}
        case TargetKind.PERSON:
            return {"person": target.key}
        case TargetKind.APP_TENANT:
            return {"app": first, "tenant": second}
        case TargetKind.APP_PERSON:
            return {"app": first, "person": second}
        case TargetKind.VENDOR:
            return {"vendor": target.key}
        # A record does not say which scopes a request used, nor which types it included; its version is not indexed.
        case _:
            return None


def end_of(switch: Switch, now: datetime) -> datetime:
    """Return until when a switch acted, now at the latest."""
    return min(each for each in (now, switch.released_at, switch.expires_at) if each is not None)


def judge(
    switch: Switch, confirmations: Confirmations, window: Window | None, until: datetime
) -> ContainmentVerdict:
    """Return whether a switch stopped its target, with the requests that show that it did not, and what is missing for a proof."""
    gaps = _gaps(switch, confirmations, window, until)
    last = confirmations.last
    if window is None or last is None:
        return ContainmentVerdict(Containment.NOT_PROVEN, gaps)
    stopped = [each for each in window.permitted if _is_stopped(switch, each)]
    kept_back = tuple(each for each in stopped if each.kept_back)
    answered = [each for each in stopped if not each.kept_back and each.ended >= last]
    passed = tuple(each for each in answered if each.ended < until)
    # It was decided before its answer was prepared, but maybe before or after the switch ended.
    if len(passed) < len(answered):
        gaps = (*gaps, Gap.UNDER_WAY_AT_END)
    # A request that passed is proof by itself, whatever else is missing.
    if passed:
        return ContainmentVerdict(Containment.NOT_CONTAINED, gaps, passed, kept_back)
    return ContainmentVerdict(Containment.NOT_PROVEN if gaps else Containment.CONTAINED, gaps, (), kept_back)


def _is_stopped(switch: Switch, request: PermittedRequest) -> bool:
    return switch.mode is Mode.FULL_STOP or (switch.mode is Mode.READ_ONLY and request.interaction in WRITES)


def _gaps(
    switch: Switch, confirmations: Confirmations, window: Window | None, until: datetime
) -> tuple[Gap, ...]:
    found: list[Gap] = []
    if switch.mode not in _STOPS_REQUESTS:
        found.append(Gap.MODE_STOPS_NO_REQUESTS)
    if filters_of(switch.target) is None:
        found.append(Gap.TARGET_NOT_RECORDED)
    if not confirmations.all_read:
        found.append(Gap.CONFIRMATIONS_UNREAD)
    # Without any node there is no proof either: some node served.
    if not confirmations.expected:
        found.append(Gap.NODES_NOT_RECORDED)
    elif silent_nodes(confirmations):
        found.append(Gap.NODE_NOT_CONFIRMED)
    if confirmations.last is not None and confirmations.last >= until:
        found.append(Gap.ENDED_BEFORE_CONFIRMED)
    found += [Gap(fault.value) for fault in (() if window is None else window.faults)]
    return tuple(dict.fromkeys(found))


def silent_nodes(confirmations: Confirmations) -> dict[str, int]:
    """Return, by node, how many of its workers did not confirm."""
    workers: defaultdict[str, set[str]] = defaultdict(set)
    for each in confirmations.found:
        workers[each.node].add(each.worker)
    expected = confirmations.expected or {}
    return {node: n - len(workers[node]) for node, n in expected.items() if len(workers[node]) < n}


def document(report: Report) -> dict[str, Any]:
    """Return a report as JSON-serializable values, which are signed as they stand."""
    switch, confirmations, window = report.switch, report.confirmations, report.window
    judged = report.judgement
    return {
        "switch": switch.id,
        "target": str(switch.target),
        "mode": switch.mode.value,
        "reason": switch.reason,
        "engaged_by": switch.engaged_by,
        "engaged_at": switch.engaged_at.isoformat(),
        "verdict": judged.verdict.value,
        "gaps": [gap.value for gap in judged.gaps],
        "stopped_from": _written(confirmations.last),
        "until": report.until.isoformat(),
        "longest_ms": max((each.ms for each in confirmations.found), default=None),
        "nodes_expected": None if confirmations.expected is None else dict(confirmations.expected),
        "workers_silent": silent_nodes(confirmations),
        "confirmations": [
            {"node": each.node, "worker": each.worker, "at": each.at.isoformat(), "ms": each.ms}
            for each in sorted(confirmations.found, key=lambda each: each.at)
        ],
        "passed": _listed(judged.passed),
        "passed_count": len(judged.passed),
        "kept_back": _listed(judged.kept_back),
        "kept_back_count": len(judged.kept_back),
        "tenants": [
            {
                "tenant": each.tenant,
                "refused": each.refused,
                "last_permitted": None if each.last is None else _listed([each.last])[0],
            }
            for each in (() if window is None else window.tenants)
        ],
        "refused_launches": 0 if window is None else window.launches,
        "refused_authorizations": 0 if window is None else window.authorizations,
        "refused_people": 0 if window is None else window.people,
        "journals": {} if window is None else dict(window.journals),
    }


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _listed(requests: Sequence[PermittedRequest]) -> list[dict[str, Any]]:
    return [
        {
            "request_id": each.request_id,
            "tenant": each.tenant,
            "app": each.app,
            "interaction": each.interaction,
            "at": each.at.isoformat(),
            "ended": each.ended.isoformat(),
            "kept_back": each.kept_back,
        }
        for each in requests[:OFFENDERS_BOUND]
    ]


def signed_bytes(found: dict[str, Any]) -> bytes:
    """Return what is signed of a report's document."""
    # The key signs checkpoints too: the first line keeps one from being presented as the other.
    return b"hilum containment report v1\n" + orjson.dumps(found, option=orjson.OPT_SORT_KEYS)
