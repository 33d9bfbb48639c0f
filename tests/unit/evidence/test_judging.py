"""Whether an app met a scenario and behaved is judged from what the audit has of it, and from nothing else (C122, C126)."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.evidence.declared import unasked
from hilum.evidence.judging import (
    BEGIN,
    DELETION,
    END,
    MINT,
    MOVE,
    NOTHING,
    REDEEM,
    SCENARIOS,
    TAKE,
    WINDOW_BOUND,
    WITHDRAW,
    judge_run,
)
from hilum.evidence.models import Outcome, Row
from hilum.evidence.policy import declinable, forged, without_optional
from hilum.evidence.windows import POLLED
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


def answered(signed: str, status: int) -> Row:
    return happened(1, DELETION, signed=signed, status=status)


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
    ("deletion_asked", "refuses the wrong signature", MET, (answered("wrong", 401), answered("right", 204))),
    ("deletion_asked", "takes whatever comes", NOT_MET, (answered("wrong", 204), answered("right", 204))),
    ("deletion_asked", "refuses both", NOT_MET, (answered("wrong", 401), answered("right", 401))),
    ("deletion_asked", "refuses the wrong one as something else", NOT_MET, (answered("wrong", 400), answered("right", 200))),
    ("deletion_asked", "is away", INCOMPLETE, (answered("wrong", 0), answered("right", 0))),
    ("deletion_asked", "was sent one only", INCOMPLETE, (answered("wrong", 401),)),
    ("many_patients", "page by page", MET, (asked(1, asked="/Patient?_count=50"), asked(2, asked="/Patient?_page=abc"))),
    ("many_patients", "one page", INCOMPLETE, (asked(1, asked="/Patient?_count=50"),)),
    ("many_patients", "one patient", INCOMPLETE, (asked(1), asked(2, asked="/Observation?patient=p1&_page=abc"))),
    ("many_patients", "does not wait", NOT_MET, (asked(1, asked="/Patient"), *refused(8, *LIMITED, at=2, every=0.2), asked(9, asked="/Patient?_page=a"))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scenario", "rows", "expected"),
    [pytest.param(name, rows, outcome, id=f"{name}: {what}") for name, what, outcome, rows in CASES],
)
def test_an_app_is_judged_by_what_it_did(scenario: str, rows: Rows, expected: Outcome) -> None:
    """C122: and told what a well-made app does, or what is still to be shown."""
    found = judge_run(scenario, during(scenario, rows))

    assert found.outcome is expected, found.sentence
    assert found.sentence.endswith(".")
    assert bool(found.fix) is (expected is not MET)


def test_every_scenario_has_an_app_that_passes_one_that_fails_and_one_without_evidence() -> None:
    met = {name for name, _, outcome, _ in CASES if outcome is MET}
    assert met == set(SCENARIOS)
    assert {name for name, _, outcome, _ in CASES if outcome is INCOMPLETE} == set(SCENARIOS)
    # A launch, new keys: whoever fails at these does nothing more, which cannot be told from not trying.
    assert {name for name, _, outcome, _ in CASES if outcome is NOT_MET} == set(SCENARIOS) - {
        "launch",
        "key_rotation",
    }


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_without_records_nothing_is_met(scenario: str) -> None:
    """C126: missing records never pass."""
    assert judge_run(scenario, ()).outcome is INCOMPLETE
    assert judge_run(scenario, during(scenario, ())).outcome is INCOMPLETE


@pytest.mark.parametrize(
    ("scenario", "rows"),
    [pytest.param(name, rows, id=f"{name}: {what}") for name, what, outcome, rows in CASES if outcome is MET],
)
def test_what_is_met_is_no_longer_met_when_its_records_are_deleted(scenario: str, rows: Rows) -> None:
    """C126: of the records by which a scenario was met, the first ones alone do not show it."""
    assert judge_run(scenario, during(scenario, rows[:0])).outcome is INCOMPLETE
    assert judge_run(scenario, rows).outcome is INCOMPLETE, "and it must have been begun"


def test_a_scenario_that_this_release_does_not_know_is_not_met() -> None:
    found = judge_run("made_up", during("made_up", (taken(1), minted(2), asked(3))))

    assert found.outcome is INCOMPLETE


def test_a_scenario_is_judged_by_the_last_time_that_it_was_begun_and_by_nothing_outside_of_it() -> None:
    bad = during("kill_switch", refused(9, *STOPPED), until=20)
    good = tuple(
        replace(each, at=each.at + timedelta(seconds=100))
        for each in during("kill_switch", refused(1, *STOPPED), until=20)
    )
    beside = refused(9, *STOPPED, at=130)

    assert judge_run("kill_switch", bad).outcome is NOT_MET
    assert judge_run("kill_switch", (*beside, *good, *bad)).outcome is MET, "in whatever order they come"


@pytest.mark.parametrize("before", ["launch", "slow_answer"])
@pytest.mark.parametrize("until", [60, None])
def test_a_scenario_that_ends_the_one_before_it_is_judged_by_its_own_records(
    before: str, until: float | None
) -> None:
    """The end of the one before and the beginning are of one moment, in any order; also where the same scenario begins again."""
    second = (happened(30, BEGIN, scenario="slow_answer"), asked(31, latency_ms=3000))
    ended = () if until is None else (happened(until, END, scenario="slow_answer"),)
    rows = (*during(before, (asked(1),), until=30), *second, *ended, asked(61, latency_ms=1), asked(31.5))

    assert judge_run("slow_answer", rows).outcome is NOT_MET, "it sent the same again meanwhile"
    assert judge_run("slow_answer", rows[:-1]).outcome is MET
    assert judge_run("slow_answer", rows[-2::-1]).outcome is MET
    assert judge_run("slow_answer", (*rows[:3], *second[:1], *ended)).outcome is INCOMPLETE


def test_a_stop_that_was_watched_for_a_moment_only_shows_nothing() -> None:
    """C195."""
    found = judge_run("kill_switch", during("kill_switch", refused(1, *STOPPED), until=2))

    assert found.outcome is INCOMPLETE


def test_a_backend_service_is_in_no_scenario_about_a_person() -> None:
    for name, known in SCENARIOS.items():
        found = judge_run(name, during(name, (), backend=True))
        assert (found.outcome is MET) is known.person, name
    assert judge_run("chart_moved", ()).outcome is INCOMPLETE, "it must have been begun all the same"
    begun = during("launch", (minted(1), asked(2)), backend=True)
    assert judge_run("launch", begun).outcome is MET


def test_a_scenario_of_more_records_than_can_be_compared_is_not_judged() -> None:
    """Each with each: what an app sends must not keep everybody else's writes waiting while it is judged."""
    many = refused(WINDOW_BOUND, 429, "quota_exceeded", every=0.01)

    found = judge_run("quota_exceeded", during("quota_exceeded", many))

    assert found.outcome is INCOMPLETE
    assert "records, so it was not judged" in found.sentence


@pytest.mark.parametrize(
    ("scenario", "facts", "rows", "expected"),
    [
        ("optional_declined", {"optional": NOTHING}, (), MET),
        ("deletion_asked", {"stored": NOTHING}, (), MET),
        # A token that has what was to be declined is of before.
        (
            "optional_declined",
            {"optional": ["user/Condition.rs"]},
            (happened(1, MINT, scopes=["user/*.r"]), asked(2)),
            INCOMPLETE,
        ),
        (
            "optional_declined",
            {"optional": ["user/Condition.rs"]},
            (happened(1, MINT, scopes=["user/Patient.r"]), asked(2)),
            MET,
        ),
        # Of an app that reads its requests by itself the answers are its own.
        ("deletion_asked", {"stored": POLLED}, (answered("right", 200),), MET),
        ("deletion_asked", {"stored": POLLED}, (answered("wrong", 200), answered("right", 200)), NOT_MET),
        ("deletion_asked", {"stored": POLLED}, (answered("wrong", 200),), NOT_MET),
        ("deletion_asked", {"stored": POLLED}, (), INCOMPLETE),
    ],
)
def test_what_a_version_declares_decides_what_is_to_be_shown(
    scenario: str, facts: dict[str, Any], rows: Rows, expected: Outcome
) -> None:
    """C211, C227: of an app without optional scopes or without data of its own there is nothing to show."""
    assert judge_run(scenario, during(scenario, rows, **facts)).outcome is expected


@pytest.mark.parametrize(
    ("scopes", "optional", "left"),
    [
        ("launch user/Patient.rs user/Condition.rs", "user/Condition.rs", "launch user/Patient.rs"),
        ("user/Condition.cruds", "user/Condition.cud", "user/Condition.rs"),
        ("user/Condition.rs?category=a", "user/Condition.rs", ""),
        ("user/Condition.rs", "user/Condition.rs?category=a", "user/Condition.rs"),
        ("user/Condition.rs", "patient/Condition.rs", "user/Condition.rs"),
        ("user/*.rs", "user/Condition.rs", "user/*.rs"),
        ("launch offline_access", "offline_access", "launch"),
    ],
)
def test_what_is_declined_goes_letter_by_letter(scopes: str, optional: str, left: str) -> None:
    """C211."""
    assert " ".join(without_optional(scopes.split(), optional.split())) == left


@pytest.mark.parametrize(
    ("optional", "stores", "reachable", "names"),
    [
        (("user/Slot.rs",), True, True, ()),
        (("user/Slot.rs",), None, True, ()),
        ((), True, True, ("optional_declined",)),
        (None, True, True, ("optional_declined",)),
        (("user/Slot.rs",), False, True, ("deletion_asked",)),
        (("user/Slot.rs",), True, False, ("deletion_asked",)),
        (None, False, False, ("optional_declined", "deletion_asked")),
    ],
    ids=["all", "not stated", "none optional", "says nothing", "stores nothing", "nobody to ask", "neither"],
)
def test_what_an_app_has_not_is_asked_of_nobody(
    optional: tuple[str, ...] | None, stores: bool | None, reachable: bool, names: tuple[str, ...]
) -> None:
    """C211, C227: what is not known is asked for."""
    assert unasked(optional, stores=stores, reachable=reachable) == names


@pytest.mark.parametrize(
    ("held", "optional", "found"),
    [
        ("user/Slot.rs user/Patient.r", "user/Patient.r", "user/Patient.r"),
        ("user/Slot.rs user/Patient.rs", "user/Patient.s", "user/Patient.s"),
        ("user/*.rs", "user/Patient.r", ""),
        ("user/*.rs user/Slot.u", "user/Patient.r user/Slot.u", "user/Slot.u"),
        ("user/*.rs", "user/*.rs", "user/*.rs"),
        ("launch offline_access", "offline_access", "offline_access"),
    ],
)
def test_what_lies_within_a_wildcard_is_not_asked_to_be_declined(
    held: str, optional: str, found: str
) -> None:
    """C211: no token without it could be issued, so no run could ever show it."""
    assert " ".join(declinable(held.split(), optional.split())) == found


@pytest.mark.parametrize("text", ["head.body.Asig", "head.body.sig"])
def test_a_forged_text_differs_in_its_signature_alone(text: str) -> None:
    assert forged(text) != text
    assert forged(text).rpartition(".")[0] == "head.body"
    assert len(forged(text)) == len(text)
