"""A submission is judged in its disciplines: each by a reviewer who signs for it, none for another, and what passed is kept (C100 to C107)."""

from typing import Any

from sqlalchemy import text

from hilum.foundation.kernel.actor import SYSTEM
from hilum.review.submissions.models import VERDICT_KEPT
from tests.flows.control_site import TRACE, codes, problem
from tests.flows.discipline_ground import FOUND, decide, ground, states, submitted
from tests.flows.review_ground import (
    Ground,
    act_on,
    add_reviewer,
    discipline_of,
    in_order_answers,
    judge,
    pass_discipline,
)
from tests.flows.vendor_ground import made

__all__ = ["ground"]


def test_a_submission_of_the_high_tier_takes_three_people(ground: Ground) -> None:
    """C100: separate verdicts of separate reviewers, and nothing is certified before the last of them."""
    sent = submitted(ground)
    assert states(ground, sent) == dict.fromkeys(("technical", "legal", "clinical"), "open")

    pass_discipline(ground, sent, "technical", "rita")
    problem(act_on(ground, sent, "clinical", "take", "rita"), 403, "signs_another_discipline")
    problem(act_on(ground, sent, "legal", "take", "rita"), 403, "discipline_not_yours")
    pass_discipline(ground, sent, "legal", "lena")
    problem(decide(ground, sent), 403, "disciplines_not_passed")
    pass_discipline(ground, sent, "clinical", "cleo")

    assert made(decide(ground, sent), 200)["state"] == "certified"
    problem(judge(ground, sent, "clinical", "cleo"), 409, "transition_refused")


def test_a_discipline_is_taken_once_and_judged_by_its_reviewer_at_the_revision_they_saw(
    ground: Ground,
) -> None:
    """C100: a stale revision, a colleague's discipline, a discipline nobody took, and everybody who is no reviewer."""
    sent = submitted(ground)
    add_reviewer(ground.site, "lars", "legal")
    problem(judge(ground, sent, "legal", "lena"), 403, "not_taken_by_you")

    taken = made(act_on(ground, sent, "legal", "take", "lena"), 200)

    assert taken["reviewer"] == f"staff:{ground.site.people['lena'].id}"
    problem(act_on(ground, sent, "legal", "take", "lars"), 409, "discipline_not_open")
    problem(act_on(ground, sent, "legal", "take", "lars", revision=1), 409, "changed_since_read")
    problem(judge(ground, sent, "legal", "lars"), 403, "not_taken_by_you")
    problem(judge(ground, sent, "legal", "lena", revision=1), 409, "changed_since_read")
    problem(act_on(ground, sent, "legal", "release", "lars", reason="x"), 403, "not_permitted")
    for who in ("root", "sam", "otto", "gina", "acme.owner", "acme.developer"):
        assert judge(ground, sent, "legal", who).status_code == 403, who
        assert act_on(ground, sent, "technical", "take", who).status_code == 403, who
    made(act_on(ground, sent, "legal", "release", "root", reason="She is on leave."), 200)
    pass_discipline(ground, sent, "legal", "lars")
    problem(judge(ground, sent, "legal", "lars"), 409, "discipline_not_taken")


def test_what_a_discipline_found_goes_to_the_vendor_and_back_until_it_is_resolved(ground: Ground) -> None:
    """C107, C222: each finding has a rule, evidence, a reproduction and a fix; no blocking one is open when it passes."""
    sent = submitted(ground)
    made(act_on(ground, sent, "legal", "take", "lena"), 200)
    asks = {"verdict": "needs_changes", "text": "State a period.", "reasons": ["legal.retention"]}
    assert codes(problem(judge(ground, sent, "legal", "lena", **asks), 422, "verdict_invalid")) == {
        "findings": "findings_missing"
    }
    made(judge(ground, sent, "legal", "lena", **asks, findings=[FOUND]), 200)

    shown = made(ground.site.api("acme.billing").get(f"/submissions/{sent}/disciplines"), 200)
    (found,) = shown["findings"]
    assert {name: found[name] for name in FOUND} == FOUND
    assert (found["state"], found["blocks"]) == ("open", True)
    refused = problem(judge(ground, sent, "legal", "lena"), 409, "discipline_not_taken")
    assert "waits for the vendor's answer" in refused["detail"]
    problem(
        act_on(ground, sent, "legal", "answer", "acme.billing", text="Section 4 states it."),
        403,
        "not_permitted",
    )
    said = act_on(ground, sent, "legal", "answer", "acme.developer", text="Section 4 states it now.")
    assert made(said, 200)["reviewer"] == "reviewer", "vendors see no ids of staff"
    problem(
        act_on(ground, sent, "legal", "answer", "acme.developer", text="x"),
        409,
        "discipline_waits_for_nobody",
    )
    assert codes(problem(judge(ground, sent, "legal", "lena"), 422, "verdict_invalid")) == {
        "verdict": "findings_block"
    }
    resolve = f"/findings/{found['id']}/resolve"
    problem(ground.site.api("cleo").post(resolve, json={"note": "Yes."}), 403, "discipline_not_yours")
    assert ground.site.api("acme.owner").post(resolve, json={"note": "Yes."}).status_code == 403
    assert made(ground.site.api("lena").post(resolve, json={"note": "Yes."}), 200)["state"] == "resolved"
    problem(ground.site.api("lena").post(resolve, json={"note": "Yes."}), 409, "finding_resolved")
    made(judge(ground, sent, "legal", "lena"), 200)


def test_a_conflict_of_interest_to_the_vendor_bars_however_it_is_known(ground: Ground) -> None:
    """C101: declared, found from the mail address, and lifted by neither the reviewer nor a colleague who reviews."""
    sent = submitted(ground)
    lena = ground.site.api("lena")
    conflict = made(
        lena.post("/conflicts-of-interest", json={"vendor": ground.vendor, "reason": "I worked there."})
    )
    problem(
        lena.post("/conflicts-of-interest", json={"vendor": ground.vendor, "reason": "x"}),
        409,
        "conflict_of_interest_declared",
    )

    problem(act_on(ground, sent, "legal", "take", "lena"), 403, "conflict_of_interest")
    problem(decide(ground, sent, "reject", "lena", reasons=["not_as_described"]), 403, "conflict_of_interest")
    listed = made(ground.site.api("otto").get("/conflicts-of-interest"), 200)["items"]
    assert [(each["person"], each["vendor"]) for each in listed] == [
        (ground.site.people["lena"].id, ground.vendor)
    ]
    for who in ("lena", "rita", "otto", "acme.owner"):
        end = ground.site.api(who).post(f"/conflicts-of-interest/{conflict['id']}/end", json={"reason": "x"})
        assert end.status_code == 403, who
    made(
        ground.site.api("root").post(
            f"/conflicts-of-interest/{conflict['id']}/end",
            json={"reason": "Two years ago."},
            headers={"If-Match": f'"{conflict["etag"]}"'},
        ),
        200,
    )
    made(act_on(ground, sent, "legal", "take", "lena"), 200)

    held = made(ground.site.api("acme.owner").get(f"/contacts?vendor={ground.vendor}"), 200)["items"]
    assert "help@acme.example" in {each["address"] for each in held}
    add_reviewer(ground.site, "tess", "technical", mail="tess@mail.acme.example")
    problem(act_on(ground, sent, "technical", "take", "tess"), 403, "conflict_of_interest")


def test_a_right_takes_two_people_to_give_and_one_to_take_away(ground: Ground) -> None:
    """C182: neither the reviewer themselves, nor what somebody wrote into the database."""
    lena = ground.site.people["lena"].id
    wanted = {"disciplines": ["legal", "clinical"]}
    root = ground.site.api("root")
    assert ground.site.api("rita").put(f"/reviewers/{lena}", json=wanted).status_code == 403
    otto = ground.site.people["otto"].id
    assert codes(problem(root.put(f"/reviewers/{otto}", json=wanted), 422, "rights_invalid")) == {
        "person": "not_a_reviewer"
    }
    ground.site.clock.advance(VERDICT_KEPT)
    root = ground.site.api("root")

    asked = root.put(f"/reviewers/{lena}", json=wanted)

    assert asked.status_code == 202, asked.text
    approval = asked.json()["approval"]["id"]
    rights = {each["person"]: each["disciplines"] for each in made(root.get("/reviewers"), 200)["items"]}
    assert rights[lena] == ["legal"]
    problem(root.post(f"/approvals/{approval}/approve"), 403, "asked_by_you")
    made(ground.site.api("sam").post(f"/approvals/{approval}/approve"), 200)
    rights = {each["person"]: each["disciplines"] for each in made(root.get("/reviewers"), 200)["items"]}
    assert rights[lena] == ["legal", "clinical"]
    sent = submitted(ground)
    assert made(root.put(f"/reviewers/{lena}", json={"disciplines": []}), 200)["disciplines"] == []
    problem(act_on(ground, sent, "legal", "take", "lena"), 403, "discipline_not_yours")
    forged = text("UPDATE review_right SET disciplines = '[\"legal\"]'")
    ground.site.uow.write_now(lambda ctx: ctx.tx.execute(forged), actor=SYSTEM, trace=TRACE)
    problem(act_on(ground, sent, "legal", "take", "lena"), 403, "discipline_not_yours")


def test_a_rejection_says_why_and_what_passed_is_kept_when_it_is_submitted_again(ground: Ground) -> None:
    """C107, C108: only the discipline whose inputs changed opens again, and a forged or old verdict is kept by none."""
    sent = submitted(ground)
    pass_discipline(ground, sent, "technical", "rita")
    made(act_on(ground, sent, "legal", "take", "lena"), 200)
    fails = {"verdict": "fail", "text": "No period.", "reasons": ["legal.retention"], "answers": {}}
    made(judge(ground, sent, "legal", "lena", **fails, findings=[FOUND]), 200)
    pass_discipline(ground, sent, "clinical", "cleo")
    problem(decide(ground, sent), 403, "disciplines_not_passed")

    rejected = made(decide(ground, sent, "reject", expires_at=None), 200)

    assert list(rejected["reasons"]) == ["legal.retention"]
    again = submitted(ground)
    assert states(ground, again) == {"technical": "passed", "legal": "open", "clinical": "passed"}
    kept = discipline_of(ground, again, "technical")
    assert (kept.kept_from, kept.reviewer) == (sent, f"staff:{ground.site.people['rita'].id}")
    pass_discipline(ground, again, "legal", "lena")
    forged = text("UPDATE review_discipline SET text = 'Fine.' WHERE discipline = 'clinical'")
    ground.site.uow.write_now(lambda ctx: ctx.tx.execute(forged), actor=SYSTEM, trace=TRACE)
    problem(decide(ground, again), 403, "verdicts_not_as_recorded")
    made(decide(ground, again, "reject", reasons=["not_as_described"], expires_at=None), 200)
    third = submitted(ground)
    assert states(ground, third) == {"technical": "passed", "legal": "passed", "clinical": "open"}
    made(decide(ground, third, "reject", reasons=["not_as_described"], expires_at=None), 200)
    ground.site.clock.advance(VERDICT_KEPT)
    assert states(ground, submitted(ground)) == dict.fromkeys(("technical", "legal", "clinical"), "open")


def test_a_red_flag_keeps_a_discipline_from_passing(ground: Ground) -> None:
    """C103."""
    sent = submitted(ground)
    made(act_on(ground, sent, "technical", "take", "rita"), 200)

    flagged = judge(ground, sent, "technical", "rita", flags=["secret_in_the_open"])

    assert codes(problem(flagged, 422, "verdict_invalid")) == {"verdict": "red_flag"}
    answers = in_order_answers("technical")
    low = judge(
        ground, sent, "technical", "rita", answers=answers | dict.fromkeys(list(answers)[:3], "not_met")
    )
    assert codes(problem(low, 422, "verdict_invalid")) == {"verdict": "score_too_low"}


def test_what_waits_is_listed_for_the_staff_alone(ground: Ground) -> None:
    sent = submitted(ground)
    made(act_on(ground, sent, "legal", "take", "lena"), 200)

    rita = ground.site.api("rita")
    opened = made(rita.get("/disciplines", params={"state": "open"}), 200)["items"]
    mine = made(rita.get("/disciplines", params={"reviewer": f"staff:{ground.site.people['lena'].id}"}), 200)

    assert [(each["submission"], each["discipline"]) for each in opened] == [
        (sent, "technical"),
        (sent, "clinical"),
    ]
    assert [each["discipline"] for each in mine["items"]] == ["legal"]
    for who in ("acme.owner", "gina"):
        assert ground.site.api(who).get("/disciplines").status_code == 403
        assert ground.site.api(who).get("/conflicts-of-interest").status_code == 403
    assert ground.site.api("gina").get(f"/submissions/{sent}/disciplines").status_code == 403


MONEY = ("billing", "price", "invoice", "plan", "revenue", "payout", "fee", "subscription", "ledger-account")


def reviewers_reach(paths: dict[str, Any]) -> list[str]:
    """Return the routes about money that reviewers may call."""
    return [
        path
        for path, operations in paths.items()
        if set(path.strip("/").split("/")) & {*MONEY, *(f"{each}s" for each in MONEY)}
        if any({"reviewer", "staff"} & set(operation["x-audience"]) for operation in operations.values())
    ]


def test_reviewers_reach_no_route_about_money(ground: Ground) -> None:
    """C101: of every route of the API, also those that will come; who reviews must not know who pays."""
    paths = ground.site.browser().get("/api/openapi.json").json()["paths"]
    would_be = {
        "/api/v1/apps/{app}/invoices": {
            "get": {"x-audience": ["vendor_owner"]},
            "post": {"x-audience": ["staff"]},
        },
        "/api/v1/plan": {"get": {"x-audience": ["reviewer"]}},
        "/api/v1/payouts": {"get": {"x-audience": ["vendor_billing"]}},
    }

    assert reviewers_reach(paths) == []
    assert reviewers_reach(paths | would_be) == ["/api/v1/apps/{app}/invoices", "/api/v1/plan"]
    assert len(paths) > 150
