"""Access that regulation protects is given in fixed business days, whatever happens in the other lane (C112)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.certificates.policy import is_of_review
from hilum.review.certificates.service import step
from hilum.review.submissions.jobs import keep_time
from hilum.review.submissions.models import Look
from tests.flows.certificate_ground import AT
from tests.flows.control_site import build, codes, problem
from tests.flows.discipline_ground import Keeper, check
from tests.flows.review_ground import (
    REGULATED_SCOPES,
    Ground,
    act_on,
    add_reviewer,
    ask_for_regulated_access,
    furnish,
    judge,
    signs,
)
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    signs(site, "rita", "technical")
    return furnish(site, scope="launch/patient patient/Appointment.rs")


def verify(ground: Ground, request: str, who: str = "rita", **change: Any) -> Any:
    body = {"authentic": True, "reason": "The company register has them."} | change
    return ground.site.api(who).post(f"/regulated-access/{request}/verify", json=body)


def see(ground: Ground, request: str, who: str = "acme.billing") -> Any:
    return made(ground.site.api(who).get(f"/regulated-access/{request}"), 200)


def test_who_is_who_they_say_is_enabled_at_once_without_a_discipline_a_check_or_a_document(
    ground: Ground,
) -> None:
    asked = made(ask_for_regulated_access(ground))
    # Ten business days after a Monday, 04:00 in New York; clocks are put forward meanwhile.
    assert asked["due_at"].startswith("2026-03-16T08:00:00")

    done = made(verify(ground, asked["id"]), 200)

    assert (done["state"], done["due_at"]) == ("enabled", None)
    (certified,) = made(ground.site.api("rita").get(f"/apps/{ground.app}/certifications"), 200)["items"]
    assert (certified["id"], certified["scopes"]) == (done["certification"], REGULATED_SCOPES)
    assert (certified["environment"], certified["submission"]) == ("production", "")
    problem(verify(ground, asked["id"]), 409, "lane_decided")
    problem(ask_for_regulated_access(ground), 409, "lane_open")
    # Its certificate and badge do not say that anybody reviewed it.
    while ground.site.system(step, at=AT):
        pass
    badge = ground.site.browser().get(f"/certificates/of/{ground.app}/badge.svg").text
    assert "regulated access until" in badge
    assert "certified" not in badge
    document = ground.site.browser().get(f"/certificates/of/{ground.app}").text
    assert not is_of_review(document)


def test_what_happens_in_the_other_lane_changes_nothing_in_this_one(ground: Ground) -> None:
    """C112: a submission of the same version that failed a discipline, with a red flag and a critical finding, and was rejected."""
    asked_for = [{"scope": each, "justification": "Shows."} for each in REGULATED_SCOPES]
    client = ground.site.api("acme.owner").get(f"/apps/{ground.app}/clients").json()["items"][0]
    assert client["environment"] == "production"
    sent = made(ground.submit(scopes=asked_for))["id"]
    check_fails(ground)
    made(act_on(ground, sent, "technical", "take"), 200)
    found = {
        "rule": "technical.tokens",
        "severity": "critical",
        "evidence": "In the log.",
        "reproduction": "Read it.",
        "fix": "Leave it out.",
    }
    flags: dict[str, Any] = {
        "flags": ["secret_in_the_open"],
        "reasons": ["technical.tokens"],
        "findings": [found],
    }
    made(judge(ground, sent, verdict="fail", text="No.", answers={}, **flags), 200)
    revision = ground.see(sent)["revision"]
    body = {"decision": "reject", "reason": "No.", "revision": revision}
    made(ground.site.api("rita").post(f"/submissions/{sent}/decide", json=body), 200)

    asked = made(ask_for_regulated_access(ground))
    assert made(verify(ground, asked["id"]), 200)["state"] == "enabled"


def check_fails(ground: Ground) -> None:
    """Check what waits; nobody certifies it without a person, since its address does not answer."""
    check(ground, lambda targets: [Look(each.kind, each.url, fault="fetch_too_slow") for each in targets])


def test_what_is_lacking_is_said_and_it_is_enabled_once_it_is_there(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    ground = furnish(site, environment="sandbox", scope="launch/patient patient/Appointment.rs")
    asked = made(ask_for_regulated_access(ground))

    waits = made(verify(ground, asked["id"]), 200)

    assert waits["state"] == "verified"
    assert see(ground, asked["id"])["lacking"] == ["keys_registered"]
    clock.advance(timedelta(days=7, minutes=1))
    keep_time(Keeper(ground))
    assert late(ground) == ["enable"]
    client = {
        "app": ground.app,
        "version": ground.version,
        "client_name": "Acme Rota",
        "client_type": "confidential-symmetric",
        "deployment": "server",
        "redirect_uris": ["https://rota.example/cb"],
        "scope": "launch/patient patient/Appointment.rs",
        "environment": "production",
    }
    made(ground.site.api("acme.owner").post("/clients", json=client))
    keep_time(Keeper(ground))
    assert see(ground, asked["id"])["state"] == "enabled"


def test_a_request_that_the_policy_lets_nobody_certify_keeps_no_other_waiting(ground: Ground) -> None:
    """C106, C112: it waits, while the clocks of everybody else go on."""
    asked = made(ask_for_regulated_access(ground))
    moved = text("UPDATE registry_app SET category = 'sandbox_trial'")
    ground.site.system(lambda ctx: ctx.tx.execute(moved))

    assert made(verify(ground, asked["id"]), 200)["state"] == "verified"

    ground.site.clock.advance(timedelta(days=7, minutes=1))
    keep_time(Keeper(ground))
    assert late(ground) == ["enable"]


def test_a_late_verdict_notifies_those_who_can_act_once(ground: Ground) -> None:
    """C112."""
    made(ask_for_regulated_access(ground))
    ground.site.clock.advance(timedelta(days=14))
    keep_time(Keeper(ground))
    keep_time(Keeper(ground))

    assert late(ground) == ["verify"]


def late(ground: Ground) -> list[str]:
    """Return the steps that the audit says were missed."""
    query = EventQuery(action="review.lane.miss")
    return [
        str(each.event.facts["stage"]) for each in ground.site.system(audit.list_events, query=query).events
    ]


def test_who_asks_and_who_says_who_they_are(ground: Ground) -> None:
    furnish_vendor(ground.site, "Rival", "rival")
    for who, status in (("acme.billing", 403), ("rival.owner", 404), ("gina", 403), ("otto", 403)):
        assert ask_for_regulated_access(ground, who).status_code in {status, 403}, who
    wrong = problem(ask_for_regulated_access(ground, scopes=["user/Slot.rs"]), 422, "lane_invalid")
    assert codes(wrong) == {"scopes": "not_protected"}
    asked = made(ask_for_regulated_access(ground))["id"]
    for who in ("acme.owner", "root", "sam", "otto", "gina"):
        assert verify(ground, asked, who).status_code == 403, who
    assert ground.site.api("rival.owner").get(f"/regulated-access/{asked}").status_code == 404
    add_reviewer(ground.site, "tess", "technical")
    conflict = {"vendor": ground.vendor, "reason": "I worked there."}
    made(ground.site.api("tess").post("/conflicts-of-interest", json=conflict))
    problem(verify(ground, asked, "tess"), 403, "conflict_of_interest")
    assert codes(problem(verify(ground, asked, reason=" "), 422, "reason_invalid")) == {
        "reason": "reason_missing"
    }
    refused = made(verify(ground, asked, authentic=False), 200)
    assert (refused["state"], refused["certification"]) == ("refused", "")
    assert made(ask_for_regulated_access(ground))["state"] == "asked"
