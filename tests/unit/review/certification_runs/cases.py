"""What the audit holds of each scenario of a certification run, and how it is judged."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.review.certification_runs.judging import BEGIN, END, MINT, MOVE, REDEEM, REFUSE, TAKE, WITHDRAW
from hilum.review.certification_runs.models import Outcome, Row
from tests.sim.world import START

MET, NOT_MET, INCOMPLETE = Outcome.MET, Outcome.NOT_MET, Outcome.INCOMPLETE
Rows = tuple[Row, ...]


def asked(at: float, status: int = 200, reason: str = "", **more: Any) -> Row:
    """A request of the app, ``at`` seconds after the scenario began."""
    outcome = "refused" if reason else "done"
    row = Row(
        START + timedelta(seconds=at),
        "search-type",
        request=True,
        outcome=outcome,
        reason=reason,
        status=status,
    )
    return replace(row, **{"type": "Observation", "asked": "/Observation?patient=p1"} | more)


def happened(at: float, name: str, outcome: str = "done", reason: str = "", **facts: Any) -> Row:
    return Row(
        START + timedelta(seconds=at), name, request=False, outcome=outcome, reason=reason, facts=facts
    )


def refused(times: int, status: int, reason: str, at: float = 1, every: float = 1, **more: Any) -> Rows:
    return tuple(asked(at + n * every, status, reason, **more) for n in range(times))


def during(scenario: str, rows: Iterable[Row], until: float = 60, **facts: Any) -> Rows:
    return (
        happened(0, BEGIN, scenario=scenario, **facts),
        *rows,
        happened(until, END, scenario=scenario),
    )


def minted(at: float) -> Row:
    return happened(at, MINT)


def taken(at: float, *context: str) -> Row:
    return happened(at, TAKE, context=context)


def turned_away(at: float, reason: str) -> Row:
    return happened(at, REFUSE, "refused", reason)


ENDED = (401, "token_invalid")
REVOKED = (401, "token_revoked")
NO_SCOPE = (403, "scope_insufficient")
STOPPED = (403, "switch_engaged")
LIMITED = (429, "quota_exceeded")
AWAY = (503, "upstream_unavailable")
MOVED = (403, "context_moved")
CASES: list[tuple[str, str, Outcome, Rows]] = [
    ("launch", "takes it and reads", MET, (taken(1, "patient", "encounter"), minted(2), asked(3))),
    ("launch", "nothing happened", INCOMPLETE, ()),
    ("launch", "a launch without an encounter", INCOMPLETE, (taken(1, "patient"), minted(2), asked(3))),
    ("launch", "no token", INCOMPLETE, (taken(1, "patient", "encounter"), asked(3))),
    ("launch", "reads nothing", INCOMPLETE, (taken(1, "patient", "encounter"), minted(2))),
    ("token_expired", "refreshes after a 401", MET, (minted(1), asked(2), *refused(1, *ENDED, at=7), minted(8), asked(9))),
    ("token_expired", "refreshes before the end", MET, (minted(1), asked(2), minted(5), asked(8))),
    ("token_expired", "insists", NOT_MET, (minted(1), *refused(4, *ENDED, at=7), minted(12), asked(13))),
    ("token_expired", "stays away", INCOMPLETE, (minted(1), asked(2), *refused(1, *ENDED, at=7))),
    ("token_expired", "never lets it end", INCOMPLETE, (minted(1), asked(2))),
    ("token_expired", "reads only while the first lives", INCOMPLETE, (minted(1), minted(2), asked(3))),
    ("clock_skew", "believes the 401", MET, (*refused(1, *REVOKED), minted(2), asked(3))),
    ("clock_skew", "believes its clock", NOT_MET, (*refused(9, *REVOKED), minted(20), asked(21))),
    ("clock_skew", "a new token that works for nothing", INCOMPLETE, (*refused(1, *REVOKED), minted(2))),
    ("clock_skew", "is not refused", INCOMPLETE, (asked(1), minted(2), asked(3))),
    ("refresh_replay", "is launched again", MET, (*refused(1, *REVOKED), happened(2, REDEEM, "refused", "refresh_revoked"), minted(3), asked(4))),
    ("refresh_replay", "uses a token twice", NOT_MET, (*refused(1, *REVOKED), happened(2, REDEEM, "refused", "refresh_reused"), minted(3))),
    ("refresh_replay", "refreshes again and again", NOT_MET, tuple(happened(n, REDEEM, "refused", "refresh_revoked") for n in range(1, 6))),
    ("refresh_replay", "is not launched again", INCOMPLETE, refused(1, *REVOKED)),
    ("patient_missing", "asks for nothing", MET, (taken(1, "encounter"), minted(2))),
    ("patient_missing", "acts as if there were one", NOT_MET, (taken(1), minted(2), *refused(4, 403, "outside_launch_context", at=3))),
    ("patient_missing", "reads Patient/undefined", NOT_MET, (taken(1), minted(2), *(asked(n, 404) for n in range(3, 7)))),
    ("patient_missing", "had one", INCOMPLETE, (taken(1, "patient"), minted(2))),
    ("patient_missing", "got no token", INCOMPLETE, (taken(1),)),
    ("patient_missing", "was refused, and stopped", MET, (taken(1), turned_away(1, "patient_missing"))),
    ("patient_missing", "was refused for something else", INCOMPLETE, (taken(1), turned_away(1, "scope_nothing_left"))),
    ("patient_missing", "was refused in another launch", INCOMPLETE, (taken(1), replace(turned_away(1, "patient_missing"), launch="lch_2"))),
    ("patient_missing", "comes again and again", NOT_MET, (taken(1), *(turned_away(n, "patient_missing") for n in range(1, 5)))),
    ("encounter_missing", "works without it", MET, (taken(1, "patient"), minted(2), asked(3))),
    ("encounter_missing", "had one", INCOMPLETE, (taken(1, "patient", "encounter"), minted(2))),
    ("encounter_missing", "insists", NOT_MET, (taken(1, "patient"), minted(2), *refused(4, 403, "scope_insufficient", at=3))),
    ("resource_unavailable", "tries three times more", MET, refused(4, *AWAY)),
    ("resource_unavailable", "insists", NOT_MET, refused(5, *AWAY)),
    ("resource_unavailable", "different things", MET, tuple(asked(n, *AWAY, asked=f"/Observation/{n}") for n in range(1, 9))),
    ("resource_unavailable", "met none", INCOMPLETE, (asked(1),)),
    ("slow_answer", "waits", MET, (asked(1, latency_ms=3000), asked(5))),
    ("slow_answer", "sends it again meanwhile", NOT_MET, (asked(1, latency_ms=3000), asked(2))),
    ("slow_answer", "asks for something else meanwhile", MET, (asked(1, latency_ms=3000), asked(2, asked="/Condition"))),
    ("slow_answer", "all was fast", INCOMPLETE, (asked(1, latency_ms=300),)),
    ("quota_exceeded", "waits", MET, (asked(1), *refused(1, *LIMITED, at=2), asked(4.1))),
    ("quota_exceeded", "several at once", MET, (*refused(8, *LIMITED, at=2, every=0.05), asked(4.5))),
    ("quota_exceeded", "does not wait", NOT_MET, (*refused(8, *LIMITED, at=2, every=0.2), asked(9))),
    ("quota_exceeded", "never comes back", INCOMPLETE, refused(1, *LIMITED)),
    ("quota_exceeded", "stays below it", INCOMPLETE, (asked(1), asked(5))),
    ("partial_page", "follows", MET, (asked(1), asked(2, asked="/Observation?_page=abc"))),
    ("partial_page", "takes the first for all", NOT_MET, (asked(1), asked(2))),
    ("partial_page", "searches for nothing", INCOMPLETE, (asked(1, name="read"),)),
    ("access_withdrawn", "stops", MET, (happened(1, WITHDRAW), *refused(1, *REVOKED, at=2))),
    ("access_withdrawn", "insists", NOT_MET, (happened(1, WITHDRAW), *refused(4, *REVOKED, at=2))),
    ("access_withdrawn", "nobody withdrew", INCOMPLETE, refused(1, *REVOKED)),
    ("access_withdrawn", "was silent", INCOMPLETE, (asked(0.5), happened(1, WITHDRAW))),
    ("kill_switch", "stops", MET, refused(1, *STOPPED)),
    ("kill_switch", "hammers", NOT_MET, refused(4, *STOPPED)),
    ("kill_switch", "was not met", INCOMPLETE, (asked(1),)),
    ("key_rotation", "goes on", MET, (taken(1, "patient"), minted(2), asked(3))),
    ("key_rotation", "is not launched", INCOMPLETE, (asked(1),)),
    ("key_rotation", "gives up", INCOMPLETE, (minted(2),)),
    ("search_too_costly", "searches for less", MET, (*refused(1, 403, "too_costly"), asked(3))),
    ("search_too_costly", "insists", NOT_MET, (*refused(4, 403, "too_costly"), asked(9))),
    ("search_too_costly", "gives up", INCOMPLETE, refused(1, 403, "too_costly")),
    ("search_too_costly", "all was cheap", INCOMPLETE, (asked(1),)),
    ("data_withheld", "works without it", MET, (asked(1, removed=2),)),
    ("data_withheld", "looks for it", NOT_MET, (asked(1, removed=2), *refused(4, 403, "label_withheld", at=2))),
    ("data_withheld", "nothing was", INCOMPLETE, (asked(1),)),
    ("role_without_right", "says so", MET, refused(1, 403, "role_not_allowed")),
    ("role_without_right", "insists", NOT_MET, refused(4, 403, "scope_insufficient")),
    ("role_without_right", "had the right", INCOMPLETE, (asked(1),)),
    ("chart_moved", "stops", MET, (happened(1, MOVE, stale=True), *refused(1, *MOVED, at=2))),
    ("chart_moved", "is launched again", MET, (happened(1, MOVE, stale=True), minted(2), asked(3))),
    ("chart_moved", "insists", NOT_MET, (happened(1, MOVE, stale=True), *refused(4, *MOVED, at=2))),
    ("chart_moved", "to the same patient", INCOMPLETE, (happened(1, MOVE), asked(2))),
    ("chart_moved", "was silent", INCOMPLETE, (happened(1, MOVE, stale=True),)),
    ("write_conflict", "reads before it writes", MET, (asked(1, 412, name="update", asked="/Observation/1"), asked(2, name="read", asked="/Observation/1"), asked(3, name="update", asked="/Observation/1"))),
    ("write_conflict", "what it intended is no request", MET, (asked(1, 412, name="update", asked="/Observation/1"), replace(asked(1.1, 0, name="update", asked="/Observation/1"), outcome="intended"), asked(2, name="read", asked="/Observation/1"), asked(3, name="update", asked="/Observation/1"))),
    ("write_conflict", "writes over it", NOT_MET, (asked(1, 412, name="update", asked="/Observation/1"), asked(3, name="update", asked="/Observation/1"))),
    ("write_conflict", "reads another type", NOT_MET, (asked(1, 412, name="update", asked="/Observation/1"), asked(2, name="read", type="Patient"), asked(3, name="update", asked="/Observation/1"))),
    ("write_conflict", "gives up", INCOMPLETE, (asked(1, 412, name="update", asked="/Observation/1"),)),
    ("write_conflict", "met none", INCOMPLETE, (asked(1, name="update"),)),
    ("write_unknown", "looks first", MET, (asked(1, 503, "outcome_unknown", name="create"), asked(2), asked(3, name="create"))),
    ("write_unknown", "what was found out later is no request", MET, (asked(1, 503, "outcome_unknown", name="create"), replace(asked(1.1, 0, name="create"), outcome="intended"), asked(2, 0, name="create", rule="settlement"), asked(3))),
    ("write_unknown", "sends it again", NOT_MET, (asked(1, 503, "outcome_unknown", name="create"), asked(3, name="create"))),
    ("write_unknown", "does not look", INCOMPLETE, (asked(1, 503, "outcome_unknown", name="create"),)),
    ("write_unknown", "met none", INCOMPLETE, (asked(1, name="create"),)),
    ("optional_declined", "goes on", MET, (minted(1), asked(2), *refused(1, *NO_SCOPE, at=3))),
    ("optional_declined", "insists", NOT_MET, (minted(1), asked(2), *refused(4, *NO_SCOPE, at=3))),
    ("optional_declined", "gives up", NOT_MET, (minted(1),)),
    ("optional_declined", "is not launched", INCOMPLETE, (asked(1),)),
    ("many_patients", "page by page", MET, (asked(1, asked="/Patient?_count=50"), asked(2, asked="/Patient?_page=abc"))),
    ("many_patients", "one page", INCOMPLETE, (asked(1, asked="/Patient?_count=50"),)),
    ("many_patients", "one patient", INCOMPLETE, (asked(1), asked(2, asked="/Observation?patient=p1&_page=abc"))),
    ("many_patients", "does not wait", NOT_MET, (asked(1, asked="/Patient"), *refused(8, *LIMITED, at=2, every=0.2), asked(9, asked="/Patient?_page=a"))),
]  # fmt: skip
