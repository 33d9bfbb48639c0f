"""What passes without a person, clocks that stand still while a vendor owes an answer, appeals."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.registry.store import apps
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.kernel.errors import NotPermitted
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin.policy import actor_of
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices import service as notices
from hilum.records.notices.models import NoticeQuery
from hilum.review.submissions import service, timekeeping
from hilum.review.submissions.jobs import keep_time
from hilum.review.submissions.models import APPEAL_WITHIN, CLOCKS_EVERY, Look
from tests.flows.control_site import TRACE, problem
from tests.flows.discipline_ground import (
    FOUND,
    Keeper,
    check,
    decide,
    ground,
    low,
    sent_low,
    states,
    submitted,
)
from tests.flows.review_ground import (
    Ground,
    act_on,
    add_reviewer,
    examine_every_one,
    judge,
    pass_discipline,
)
from tests.flows.vendor_ground import made

__all__ = ["ground", "low"]

FAILS: dict[str, Any] = {
    "verdict": "fail",
    "text": "No period.",
    "reasons": ["legal.retention"],
    "answers": {},
}


def clocks_of(ground: Ground, sent: str) -> dict[str, Any]:
    shown = made(ground.site.api("rita").get(f"/submissions/{sent}/clocks"), 200)["clocks"]
    return {each["stage"]: each for each in shown}


def figures(ground: Ground) -> dict[tuple[str, str, str], Any]:
    shown = made(ground.site.api().get("/review/figures"), 200)["figures"]
    return {(each["kind"], each["tier"], each["discipline"]): each for each in shown}


# --- without a person --------------------------------------------------------------------------------------------------------------


def test_the_low_tier_with_clean_checks_passes_without_a_person(low: Ground) -> None:
    """C103: certified as it was submitted; who passed it is the platform."""
    sent = sent_low(low)

    shown = low.see(sent)
    assert (shown["state"], shown["history"][-1]["actor"]) == ("certified", "system:system")
    assert states(low, sent) == {"technical": "passed"}
    (certified,) = made(low.site.api("rita").get(f"/apps/{low.app}/certifications"), 200)["items"]
    assert (certified["submission"], certified["scopes"]) == (sent, ["launch", "user/Slot.rs"])


def test_a_policy_that_asks_for_a_person_gets_one(low: Ground) -> None:
    """C103."""
    examine_every_one(low.site)

    assert low.see(sent_low(low))["state"] == "in_review"


def test_what_a_person_rejected_is_examined_when_it_is_submitted_again(low: Ground) -> None:
    """C103."""
    sent = str(made(low.submit())["id"])
    check(low, lambda targets: [Look(each.kind, each.url, fault="fetch_too_slow") for each in targets])
    assert low.see(sent)["state"] == "in_review"
    made(decide(low, sent, "reject", reasons=["not_as_described"], expires_at=None), 200)

    again = sent_low(low)

    assert low.see(again)["state"] == "in_review"


def test_what_a_person_has_begun_with_is_passed_by_people_alone(low: Ground) -> None:
    """C103: also if they gave it back, and the checks are clean since."""
    sent = str(made(low.submit())["id"])
    check(low, lambda _: [])
    made(act_on(low, sent, "technical", "take", "rita"), 200)
    made(act_on(low, sent, "technical", "release", "rita", reason="A colleague takes it."), 200)
    again = {"revision": low.see(sent)["revision"]}
    made(low.site.api("acme.owner").post(f"/submissions/{sent}/rerun", json=again), 200)

    check(low)

    assert low.see(sent)["state"] == "in_review"


def suspended(low: Ground) -> str:
    made(low.site.api("root").post(f"/apps/{low.app}/suspend", json={"reason": "A red flag."}), 200)
    return "app_suspended"


def stopped(low: Ground, kind: TargetKind = TargetKind.APP, mode: Mode = Mode.FULL_STOP) -> str:
    key = {TargetKind.APP: low.app, TargetKind.VENDOR: low.vendor, TargetKind.VERSION: low.version}.get(
        kind, ""
    )
    low.site.system(controls.engage, order=EngageOrder(Target(kind, key), mode, "A red flag."))
    return "app_stopped"


STOPS = {
    "suspended": suspended,
    "stopped": stopped,
    "no new launches": partial(stopped, kind=TargetKind.VERSION, mode=Mode.NO_NEW_LAUNCHES),
    "vendor stopped": partial(stopped, kind=TargetKind.VENDOR),
}


@pytest.mark.parametrize("stop", STOPS.values(), ids=list(STOPS))
def test_what_is_suspended_or_stopped_is_certified_by_people_alone_who_know_it(
    low: Ground, stop: Callable[[Ground], str]
) -> None:
    """C103, C138: also if it was stopped after it was submitted; a reviewer who does not say that they know is refused."""
    sent = str(made(low.submit())["id"])
    code = stop(low)

    check(low)

    assert (low.see(sent)["state"], states(low, sent)) == ("in_review", {"technical": "open"})
    pass_discipline(low, sent)
    problem(decide(low, sent), 403, code)
    other = {"app_suspended": "app_stopped", "app_stopped": "app_suspended"}[code]
    problem(decide(low, sent, despite=other), 403, code)
    assert made(decide(low, sent, despite=code), 200)["state"] == "certified"
    events = low.site.system(
        audit.list_events, query=EventQuery(action="review.submission.certify", app=low.app, limit=1)
    ).events
    assert [each.event.facts["despite"] for each in events] == [code]


def test_knowing_of_a_stop_lifts_no_other_obstacle(low: Ground) -> None:
    """C99: and nobody needs to say it of what is not stopped."""
    sent = str(made(low.submit())["id"])
    suspended(low)
    check(low)

    problem(decide(low, sent, despite="app_suspended"), 403, "disciplines_not_passed")
    problem(decide(low, sent, despite="disciplines_not_passed"), 422, "fields_invalid")
    pass_discipline(low, sent)
    made(low.site.api("root").post(f"/apps/{low.app}/resume", json={"reason": "Solved."}), 200)
    assert made(decide(low, sent), 200)["state"] == "certified"


def test_no_other_tier_passes_without_a_person(ground: Ground) -> None:
    """C103."""
    assert set(states(ground, submitted(ground)).values()) == {"open"}


# --- clocks ------------------------------------------------------------------------------------------------------------------------


def test_a_clock_stands_still_while_the_vendor_owes_an_answer(ground: Ground) -> None:
    """C106: both sides' time is shown, in business days."""
    clock = ground.site.clock
    assert clock.now() == datetime(2026, 3, 2, 9, tzinfo=UTC), "a Monday, 04:00 in New York"
    sent = submitted(ground)
    assert clocks_of(ground, sent)["decision"]["allowed_days"] == 20
    clock.advance(timedelta(days=2))
    made(act_on(ground, sent, "legal", "take", "lena"), 200)
    asks = {"verdict": "needs_changes", "text": "State it.", "reasons": ["legal.retention"]}
    made(judge(ground, sent, "legal", "lena", **asks, findings=[FOUND]), 200)

    clock.advance(timedelta(days=9))

    found = clocks_of(ground, sent)
    decision = found["decision"]
    assert (decision["used_milli"], decision["vendor_milli"]) == (2_000, 7_041)
    assert (decision["waits_for"], decision["due_at"]) == ("vendor", None)
    assert (found["first_answer"]["waits_for"], found["first_answer"]["used_milli"]) == ("", 2_000)
    made(act_on(ground, sent, "legal", "answer", "acme.developer", text="Section 4."), 200)
    decision = clocks_of(ground, sent)["decision"]
    assert decision["waits_for"] == "platform"
    # Eighteen business days are left. Clocks were put forward meanwhile, which gave the vendor an hour.
    assert decision["due_at"].startswith("2026-04-08T09:00:00")


def test_a_missed_clock_notifies_those_who_can_act_once(ground: Ground) -> None:
    """C106: on whichever node."""
    boss = NewPerson(None, "boss", "Boss", "platform_admin", mail="boss@platform.example")
    ground.site.system(identity.add_person, order=boss)
    add_reviewer(ground.site, "mel", mail="mel@platform.example")
    sent = submitted(ground)
    keep_time(Keeper(ground))
    assert not clocks_of(ground, sent)["first_answer"]["missed"]

    ground.site.clock.advance(timedelta(days=7, minutes=1))
    keep_time(Keeper(ground))
    keep_time(Keeper(ground))

    assert clocks_of(ground, sent)["first_answer"]["missed"]
    assert not clocks_of(ground, sent)["decision"]["missed"]
    mails = ground.site.system(notices.list_notices, query=NoticeQuery())
    assert sorted(each.recipient for each in mails if each.kind == "review_late") == [
        "boss@platform.example",
        "mel@platform.example",
    ]


def test_published_figures_are_exact(ground: Ground) -> None:
    """K1, K12: of two submissions with known times; anybody may read them."""
    for days in (1, 2):
        sent = submitted(ground)
        ground.site.clock.advance(timedelta(hours=12))
        made(act_on(ground, sent, "legal", "take", "lena"), 200)
        ground.site.clock.advance(timedelta(days=days))
        made(judge(ground, sent, "legal", "lena", **FAILS), 200)
        made(decide(ground, sent, "reject", expires_at=None), 200)

    keep_time(Keeper(ground))

    found = figures(ground)
    turnaround, lead = found["turnaround", "high", "legal"], found["lead", "high", ""]
    assert (turnaround["count"], turnaround["good"]) == (2, 2)
    assert (turnaround["median_milli"], turnaround["p90_milli"]) == (1_000, 2_000)
    assert (lead["median_milli"], lead["p90_milli"]) == (1_500, 2_500)
    assert (lead["median_whole_milli"], lead["count"]) == (1_500, 2)
    assert timedelta(minutes=1) > CLOCKS_EVERY
    keep_time(Keeper(ground))
    assert figures(ground) == found, "made again once an hour"
    assert timekeeping.figures_of([]) == []


# --- appeals -----------------------------------------------------------------------------------------------------


def rejected(ground: Ground) -> str:
    sent = submitted(ground)
    made(act_on(ground, sent, "legal", "take", "lena"), 200)
    made(judge(ground, sent, "legal", "lena", **FAILS, findings=[FOUND]), 200)
    made(decide(ground, sent, "reject", expires_at=None), 200)
    return sent


def acting(ground: Ground, who: str, verb: Callable[..., Any], **more: Any) -> Any:
    """Call a verb as somebody, without the audience of its address."""
    actor = actor_of(ground.site.people[who])
    return ground.site.uow.write_now(partial(verb, **more), actor=actor, trace=TRACE)


def test_one_appeal_goes_to_reviewers_who_had_no_part_in_the_rejection(ground: Ground) -> None:
    """C107, C222: others judge what failed; how often a rejection stood is public."""
    sent = rejected(ground)
    add_reviewer(ground.site, "lars", "legal")
    path = f"/submissions/{sent}/appeal"
    owner = ground.site.api("acme.owner")
    for who in ("acme.billing", "rita", "otto"):
        assert ground.site.api(who).post(path, json={"text": "It does."}).status_code == 403
    with pytest.raises(NotPermitted):
        acting(ground, "acme.billing", service.appeal, submission_id=sent, text="It does.")
    problem(owner.post(path, json={"text": " "}), 422, "appeal_invalid")

    appealed = made(owner.post(path, json={"text": "Section 4 states it."}), 200)

    assert (appealed["state"], appealed["history"][-1]["reason"]) == ("in_review", "Section 4 states it.")
    problem(owner.post(path, json={"text": "Again."}), 409, "not_rejected")
    assert states(ground, sent)["legal"] == "open"
    problem(act_on(ground, sent, "legal", "take", "lena"), 403, "acted_before")
    problem(decide(ground, sent, "reject", expires_at=None), 403, "acted_before")
    made(act_on(ground, sent, "legal", "take", "lars"), 200)
    made(judge(ground, sent, "legal", "lars", **FAILS, findings=[FOUND]), 200)
    made(decide(ground, sent, "reject", "lars", expires_at=None), 200)
    problem(owner.post(path, json={"text": "Again."}), 409, "appeal_made")
    keep_time(Keeper(ground))
    assert (figures(ground)["appeal", "", ""]["count"], figures(ground)["appeal", "", ""]["good"]) == (1, 1)


def own(ground: Ground, vendor: str) -> None:
    """Transfer the app to a vendor."""
    given = apps.update().where(apps.c.id == ground.app).values(vendor=vendor)
    ground.site.system(lambda ctx: ctx.tx.execute(given) and None)


def test_an_appeal_comes_in_time_and_not_beside_a_new_submission(ground: Ground) -> None:
    """C107."""
    sent = rejected(ground)

    def appeal(submission: str, who: str = "acme.owner") -> Any:
        return ground.site.api(who).post(f"/submissions/{submission}/appeal", json={"text": "It does."})

    own(ground, "ven_other")
    problem(appeal(sent, "root"), 409, "app_changed_hands")
    own(ground, ground.vendor)
    newer = submitted(ground)
    problem(appeal(newer), 409, "not_rejected")
    problem(appeal(sent), 409, "submission_open")
    made(decide(ground, newer, "reject", reasons=["not_as_described"], expires_at=None), 200)
    ground.site.clock.advance(APPEAL_WITHIN)
    problem(appeal(newer), 409, "appeal_late")
