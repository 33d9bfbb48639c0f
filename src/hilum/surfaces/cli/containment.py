"""A containment report as a page of text."""

from collections.abc import Iterator
from typing import Any

from hilum.foundation.kernel.lists import counted
from hilum.surfaces.cli.output import in_utc

_VERDICTS = {
    "contained": "CONTAINED: no answer left after the last worker had confirmed the switch.",
    "not_contained": "NOT CONTAINED: answers left after the last worker had confirmed the switch.",
    "not_proven": "NOT PROVEN: no such answer is known, but something is missing that would show one.",
}
_GAPS = {
    "mode_stops_no_requests": "the mode of this switch stops no requests",
    "target_not_recorded": "records are not indexed by this kind of target (version, scope, resource type)",
    "nodes_not_recorded": "which nodes were live when it was engaged is not recorded, or was purged",
    "node_not_confirmed": "a node that was live when it was engaged has not confirmed it with all its workers",
    "confirmations_unread": "too many switches were engaged at that time to read all confirmations",
    "ended_before_confirmed": "it ended before the last worker confirmed it",
    "under_way_at_end": "a request was answered after the switch ended that may have been decided before",
    "journal_missing": "a journal is missing or ends before records that were in it",
    "index_behind": "the index of accesses has not reached the ends of the journals; try again in a few seconds",
    "too_many_records": "there are more records than one report reads",
}


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a report."""
    yield _VERDICTS.get(report["verdict"], report["verdict"])
    yield from (f"  missing: {_GAPS.get(gap, gap)}" for gap in report["gaps"])
    yield f"switch {report['switch']} on {report['target']} ({report['mode']}): {report['reason']}"
    yield f"engaged at {in_utc(report['engaged_at'])} by {report['engaged_by']}"
    if report["stopped_from"]:
        yield f"confirmed by the last worker at {in_utc(report['stopped_from'])}, after {report['longest_ms']:.0f} ms"
    yield f"covers answers until {in_utc(report['until'])}"
    for each in report["confirmations"]:
        yield f"  {each['node'] or 'unnamed node'}, worker {each['worker']}: {each['ms']:.0f} ms"
    for node, silent in report["workers_silent"].items():
        yield f"  {node}: {silent} of {report['nodes_expected'][node]} workers have NOT confirmed"
    yield f"passed after that: {report['passed_count']}"
    yield from (f"  {_request(each)}" for each in report["passed"])
    yield f"in progress and not answered: {report['kept_back_count']}"
    yield from (f"  {_request(each)}: {each['kept_back']}" for each in report["kept_back"])
    yield (
        f"refused since: requests of {counted(report['refused_launches'], 'launch', 'launches')}, "
        f"{counted(report['refused_authorizations'], 'authorization')} and {counted(report['refused_people'], 'person', 'people')}"
    )
    for each in report["tenants"]:
        last = each["last_permitted"]
        yield f"  {each['tenant']}: {each['refused']} refused; last permitted before: {_request(last) if last else 'none within an hour'}"
    for journal, number in sorted(report["journals"].items()):
        yield f"journal {journal}: read up to record {number}"
    yield "To verify that the journals are complete: hilum audit verify"


def _request(request: dict[str, Any]) -> str:
    return f"{request['request_id']} at {request['tenant']}, {request['interaction']}, answered at {in_utc(request['ended'])}"
