"""What looks as if people had judged it, and they did not: passed over, copied, forged, or judged by somebody with a conflict of interest."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from hilum.foundation.infra.context import Context
from hilum.identity.people import service as identity
from hilum.review.submissions.discipline_store import disciplines
from hilum.review.submissions.models import Look
from tests.flows.control_site import problem
from tests.flows.discipline_ground import FOUND, check, decide, ground, low, sent_low, states, submitted
from tests.flows.review_ground import (
    Ground,
    act_on,
    add_reviewer,
    discipline_of,
    examine_every_one,
    judge,
    pass_discipline,
    signs,
)
from tests.flows.vendor_ground import made

__all__ = ["ground", "low"]
REJECT: dict[str, Any] = {"reasons": ["not_as_described"], "expires_at": None}
SAFETY = {
    "kind": "clinical_safety",
    "url": "https://acme.example/safety",
    "sha256": "0" * 64,
    "dated": "2026-01-02",
}


def write(ground: Ground, statement: str) -> None:
    ground.site.system(lambda ctx: ctx.tx.execute(text(statement)))


def again(ground: Ground, sent: str, who: str = "acme.owner") -> None:
    """Have a submission checked again, as if every address answered."""
    made(
        ground.site.api(who).post(
            f"/submissions/{sent}/rerun", json={"revision": ground.see(sent)["revision"]}
        ),
        200,
    )
    check(ground)


def test_what_a_person_began_with_passes_without_none(low: Ground) -> None:
    """C103: neither checking it again while a finding is open, nor sending the same once more after a rejection."""
    sent = str(made(low.submit())["id"])
    check(low, lambda targets: [Look(each.kind, each.url, fault="fetch_too_slow") for each in targets])
    made(act_on(low, sent, "technical", "take"), 200)
    found = FOUND | {"rule": "technical.tokens"}
    asks: dict[str, Any] = {"verdict": "needs_changes", "text": "Fix it.", "reasons": ["technical.tokens"]}
    made(judge(low, sent, findings=[found], **asks), 200)
    made(act_on(low, sent, "technical", "release", reason="I am on leave."), 200)

    again(low, sent)

    assert low.see(sent)["state"] == "in_review"
    made(decide(low, sent, "reject", **REJECT), 200)
    once_more = sent_low(low)
    assert low.see(once_more)["state"] == "in_review"
    pass_discipline(low, once_more)
    made(decide(low, once_more), 200)


def test_what_passed_by_checks_alone_is_no_verdict_of_a_person(low: Ground) -> None:
    """C103: what the policy has people examine later has a discipline to judge."""
    assert low.see(sent_low(low))["state"] == "certified"
    examine_every_one(low.site)
    sent = sent_low(low)

    assert states(low, sent) == {"technical": "open"}
    problem(decide(low, sent), 403, "disciplines_not_passed")
    again(low, sent)
    assert low.see(sent)["state"] == "in_review"


def test_verdicts_that_are_kept_are_never_two_of_one_person_at_the_high_tier(ground: Ground) -> None:
    """C100: each of another submission, so that nobody signed two of one."""
    first = submitted(ground)
    pass_discipline(ground, first, "clinical", "rita")
    made(decide(ground, first, "reject", **REJECT), 200)
    second = submitted(ground, documents=[SAFETY])
    pass_discipline(ground, second, "technical", "rita")
    made(decide(ground, second, "reject", "cleo", **REJECT), 200)

    third = submitted(ground)

    assert states(ground, third) == {"technical": "passed", "legal": "open", "clinical": "open"}


def test_a_conflict_of_interest_that_is_declared_after_a_verdict_undoes_it(ground: Ground) -> None:
    """C101: also if the row of the conflict of interest is deleted, and by hand nothing is certified either."""
    sent = submitted(ground)
    for discipline, who in (("technical", "rita"), ("legal", "lena"), ("clinical", "cleo")):
        pass_discipline(ground, sent, discipline, who)
    made(
        ground.site.api("lena").post(
            "/conflicts-of-interest", json={"vendor": ground.vendor, "reason": "They asked me."}
        ),
        201,
    )
    problem(decide(ground, sent), 403, "signer_not_apart")
    write(ground, "DELETE FROM review_conflict_of_interest")
    problem(decide(ground, sent), 403, "signer_not_apart")
    by_hand = {
        "version": ground.version,
        "environment": "sandbox",
        "scopes": ["launch"],
        "expires_at": (ground.site.clock.now() + timedelta(days=9)).isoformat(),
    }
    problem(ground.site.api("lena").post("/certifications", json=by_hand), 403, "conflict_of_interest")

    again(ground, sent)

    assert states(ground, sent) == {"technical": "passed", "legal": "open", "clinical": "passed"}
    problem(act_on(ground, sent, "legal", "take", "lena"), 403, "conflict_of_interest")


@pytest.mark.parametrize("gone", ["right", "account"])
def test_a_verdict_of_who_may_no_longer_sign_does_not_count(ground: Ground, gone: str) -> None:
    """C100: its discipline is open again with the reason, also where what passed before would be kept."""
    sent = submitted(ground)
    for discipline, who in (("technical", "rita"), ("legal", "lena"), ("clinical", "cleo")):
        pass_discipline(ground, sent, discipline, who)
    if gone == "right":
        signs(ground.site, "lena")
    else:
        ground.site.system(identity.deactivate_person, person_id=ground.site.people["lena"].id)

    problem(decide(ground, sent), 403, "signer_not_entitled")

    again(ground, sent)
    assert states(ground, sent) == {"technical": "passed", "legal": "open", "clinical": "passed"}
    steps = made(ground.site.api("rita").get(f"/submissions/{sent}/disciplines"), 200)["history"]
    assert (
        "no longer signs for this discipline"
        in [each for each in steps if each["discipline"] == "legal"][-1]["reason"]
    )
    add_reviewer(ground.site, "lars", "legal")
    made(decide(ground, sent, "reject", **REJECT), 200)
    assert states(ground, submitted(ground))["legal"] == "open"


def test_a_verdict_that_was_copied_from_other_inputs_does_not_count(ground: Ground) -> None:
    """C100, C108: it is as the audit recorded it, of another submission."""
    first = submitted(ground)
    for discipline, who in (("technical", "rita"), ("legal", "lena"), ("clinical", "cleo")):
        pass_discipline(ground, first, discipline, who)
    made(decide(ground, first, "reject", **REJECT), 200)
    second = submitted(ground, documents=[SAFETY])
    assert states(ground, second) == {"technical": "passed", "legal": "passed", "clinical": "open"}

    def copy(ctx: Context) -> None:
        of = select(disciplines).where(
            disciplines.c.submission == first, disciplines.c.discipline == "clinical"
        )
        row = dict(ctx.tx.execute(of).mappings().one())
        kept = {"id", "submission", "opened_at", "revision", "kept_from"}
        values = {name: value for name, value in row.items() if name not in kept}
        into = (disciplines.c.submission == second, disciplines.c.discipline == "clinical")
        ctx.tx.execute(disciplines.update().where(*into).values(values | {"kept_from": first}))

    ground.site.system(copy)

    assert discipline_of(ground, second, "clinical").state == "passed"
    problem(decide(ground, second), 403, "verdicts_not_as_recorded")
    again(ground, second)
    assert states(ground, second)["clinical"] == "open"
