"""A reviewer certifies what was submitted once its checks have passed, or rejects it; the certification names the submission (C99, C111)."""

import base64
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import text

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.review.submissions import service
from hilum.review.submissions.models import KEPT, RUN_LIFE, Look
from tests.flows.app_edit_ground import edit
from tests.flows.control_site import TRACE, codes, problem
from tests.flows.exception_ground import end, raise_tier
from tests.flows.policy_ground import put_in_force
from tests.flows.review_ground import SCOPES, Ground, add_reviewer, pass_discipline, signs
from tests.flows.review_world import World, again, decide, in_order, submitted
from tests.flows.vendor_ground import PROFILE, furnish_vendor, made
from tests.sim.pictures import png


@pytest.fixture
def ground(world: World) -> Ground:
    found = in_order(world)
    found.site.furnished("rita signs", lambda: signs(found.site, "rita", "technical"))
    return found


def certifications(ground: Ground) -> Any:
    return made(ground.site.api("rita").get(f"/apps/{ground.app}/certifications"), 200)["items"]


def test_what_passed_is_certified_as_it_was_submitted_and_the_certification_names_it(
    ground: Ground, world: World
) -> None:
    """C98, C111: and nothing else of the version is."""
    sent = submitted(ground, world)

    done = made(decide(ground, sent), 200)

    assert (done["state"], done["history"][-1]["reason"]) == ("certified", "In order.")
    rita = ground.site.people["rita"].id
    assert done["history"][-1]["actor"] == f"staff:{rita}"
    mine = ground.site.api("acme.developer")
    for path in (f"/submissions/{sent}", f"/submissions/{sent}/disciplines"):
        told = made(mine.get(path), 200)
        assert rita not in str(told), "a vendor learns that it was a reviewer, and not who"
        assert "'reviewer'" in str(told)
    (certified,) = certifications(ground)
    assert (certified["id"], certified["submission"]) == (done["certification"], sent)
    assert certified["scopes"] == [each["scope"] for each in SCOPES]
    assert (certified["version"], certified["environment"]) == (ground.version, "production")
    problem(decide(ground, sent), 409, "transition_refused")
    problem(decide(ground, sent, decision="reject"), 409, "transition_refused")
    withdraw = {"revision": done["revision"], "reason": "x"}
    path = f"/submissions/{sent}/withdraw"
    problem(ground.site.api("acme.owner").post(path, json=withdraw), 409, "transition_refused")
    world.clock.advance(KEPT * 2)
    assert ground.site.system(service.purge) == 0, "as long as there is a certification"


def test_by_hand_a_version_is_certified_for_sandboxes_only(ground: Ground) -> None:
    """C100, C109: for production nobody gets around the disciplines, also not a reviewer who signs for all of them."""
    ends = ground.site.clock.now() + timedelta(days=30)
    body = {
        "version": ground.version,
        "environment": "production",
        "scopes": ["launch", "user/Slot.rs"],
        "expires_at": ends.isoformat(),
    }
    rita = ground.site.api("rita")

    refused = problem(rita.post("/certifications", json=body), 403, "disciplines_decide")
    unknown = problem(
        rita.post("/certifications", json=body | {"submission": "sub_1"}), 422, "fields_invalid"
    )

    assert "hilum review submit" in refused["detail"]
    assert list(unknown["fields"]) == ["submission"], "which nobody says of their own certification"
    assert certifications(ground) == []
    made(rita.post("/certifications", json=body | {"environment": "sandbox"}))
    assert [each["submission"] for each in certifications(ground)] == [""]


def test_a_rejected_submission_says_why_and_the_version_may_be_submitted_again(
    ground: Ground, world: World
) -> None:
    sent = submitted(ground, world)
    assert codes(problem(decide(ground, sent, decision="reject", reason=" "), 422, "decision_invalid")) == {
        "reason": "reason_missing",
        "reasons": "reasons_missing",
    }
    unknown = problem(decide(ground, sent, decision="reject", reasons=["because"]), 422, "decision_invalid")
    assert codes(unknown) == {"reasons": "reason_unknown"}

    terms: dict[str, Any] = {"reason": "The terms are of another app.", "reasons": ["not_as_described"]}
    done = made(decide(ground, sent, decision="reject", **terms), 200)

    assert (done["state"], done["certification"]) == ("rejected", "")
    assert ground.see(sent, "acme.billing")["history"][-1]["reason"] == "The terms are of another app."
    assert certifications(ground) == []
    assert made(ground.submit())["id"] != sent
    world.clock.advance(KEPT + timedelta(days=1))
    assert ground.site.system(service.purge) == 1


def test_nobody_but_a_reviewer_decides(ground: Ground, world: World) -> None:
    """C111: neither the vendor nor who registers apps, and no other vendor learns of it."""
    furnish_vendor(ground.site, "Rival", "rival")
    sent = submitted(ground, world)

    for decision in ("certify", "reject"):
        for who in ("root", "otto", "sam", "gina", "acme.owner", "acme.developer", "rival.owner"):
            assert decide(ground, sent, who, decision=decision).status_code == 403, who
    assert ground.see(sent)["state"] == "in_review"
    assert certifications(ground) == []


def test_what_was_not_checked_or_did_not_pass_is_not_certified(ground: Ground, world: World) -> None:
    """C99: unknown is not passed; a rejection needs no checks that passed."""
    sent = str(made(ground.submit())["id"])
    problem(decide(ground, sent), 409, "transition_refused")
    world.check(lambda targets: [Look(each.kind, each.url, fault="fetch_too_slow") for each in targets])

    problem(decide(ground, sent), 403, "checks_not_passed")

    assert certifications(ground) == []
    again(ground, sent)
    problem(decide(ground, sent), 409, "transition_refused")
    world.check()
    problem(decide(ground, sent), 403, "disciplines_not_passed")
    pass_discipline(ground, sent)
    made(decide(ground, sent), 200)


def test_what_changed_since_the_checks_is_not_certified(ground: Ground, world: World) -> None:
    """C98, C110: time, the policy, the records, and what is stored of them."""
    sent = submitted(ground, world)
    problem(decide(ground, sent, revision=1), 409, "changed_since_read")
    assert codes(problem(decide(ground, sent, expires_at=None), 422, "decision_invalid")) == {
        "expires_at": "missing"
    }
    far = (world.clock.now() + timedelta(days=4_000)).isoformat()
    problem(decide(ground, sent, expires_at=far), 422, "certification_invalid")
    assert ground.see(sent)["state"] == "in_review"

    world.clock.advance(RUN_LIFE + timedelta(seconds=1))
    problem(decide(ground, sent), 403, "checks_old")
    again(ground, sent)
    world.check()
    put_in_force(ground.site, {"categories.scheduling.title": "Rotas"})
    problem(decide(ground, sent), 403, "policy_changed")
    again(ground, sent)
    world.check()

    profile = ground.see(sent)["content"]["profile"]
    other = {"revision": 1, "owner": "Somebody Else"}
    urls = {name: profile[name] for name in ("privacy_policy", "terms")}
    path = f"/apps/{ground.app}/profile"
    made(ground.site.api("acme.owner").put(path, json=PROFILE | urls | other), 200)
    problem(decide(ground, sent), 403, "records_changed")
    made(ground.site.api("acme.owner").put(path, json=PROFILE | urls | {"revision": 2}), 200)
    # C12: what people will see beside its name is a part of what was reviewed.
    made(edit(ground.site, ground.app, "acme.owner", logo=base64.b64encode(png()).decode()), 200)
    problem(decide(ground, sent), 403, "records_changed")
    made(edit(ground.site, ground.app, "acme.owner", logo=""), 200)

    forged = "UPDATE review_run SET checks = replace(checks, 'The record', 'A record')"
    world.uow.write_now(lambda ctx: ctx.tx.execute(text(forged)), actor=SYSTEM, trace=TRACE)
    problem(decide(ground, sent), 403, "checks_not_as_stored")
    assert certifications(ground) == []
    again(ground, sent)
    world.check()
    made(decide(ground, sent), 200)


def test_a_tier_that_was_raised_since_the_checks_takes_its_disciplines(ground: Ground, world: World) -> None:
    """C18, C100."""
    sent = submitted(ground, world)
    raised = made(raise_tier(ground.site, ground.version, tier="moderate"))["id"]
    problem(decide(ground, sent), 403, "tier_changed")
    add_reviewer(ground.site, "tess")
    made(end(ground.site, raised, "tess"), 200)
    made(decide(ground, sent), 200)


WRITTEN = {
    "its scopes": """UPDATE review_submission SET scopes = '[["launch", "x"], ["user/Slot.cruds", "Books."]]'""",
    "its documents": "UPDATE review_submission SET documents = '[]', scopes = '[]'",
    "its text": "UPDATE review_submission SET content = replace(content, 'Shows free slots', 'Reads')",
}


@pytest.mark.parametrize("statement", WRITTEN.values(), ids=list(WRITTEN))
def test_what_somebody_wrote_into_a_submission_after_its_checks_is_not_certified(
    ground: Ground, world: World, statement: str
) -> None:
    """C111, C179: the checks judged what was submitted; what would be certified is what is stored now."""
    sent = submitted(ground, world)

    world.uow.write_now(lambda ctx: ctx.tx.execute(text(statement)), actor=SYSTEM, trace=TRACE)

    problem(decide(ground, sent), 403, "not_as_submitted")
    assert certifications(ground) == []


def test_a_run_of_checks_that_somebody_wrote_is_none(ground: Ground, world: World) -> None:
    """C110, C179: one that comes to the same again, with its digest, but that the audit does not have."""
    sent = submitted(ground, world)

    def forge(ctx: Context) -> None:
        inputs = ctx.tx.execute(text("SELECT inputs FROM review_run")).scalar_one().replace("}", " }", 1)
        forged = {"inputs": inputs, "digest": sha256(inputs.encode()).hexdigest()}
        ctx.tx.execute(text("UPDATE review_run SET inputs = :inputs, digest = :digest"), forged)

    world.uow.write_now(forge, actor=SYSTEM, trace=TRACE)

    problem(decide(ground, sent), 403, "checks_not_as_stored")
    assert certifications(ground) == []
