"""Exceptions by API and at the gateway: tiers that reviewers raise and that two people lower, and AI that acts alone (C19, C23)."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from hilum.apps.registry import service as registry
from hilum.foundation.infra.facts import EVERYTHING
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.people.store import people
from hilum.policy.matrix import exception_store, service
from hilum.policy.matrix.models import ApplyOrder, ExceptionKind
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.server.restore import exceptions_in_force
from tests.flows import token_flow
from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.exception_ground import (
    ALONE,
    CONTROL,
    REASON,
    SCOPES,
    UNTIL,
    autonomy,
    declare,
    end,
    exceptions,
    lower,
    lower_tier,
    raise_tier,
    raise_to_high,
    site,
    versions_of,
    withhold,
)
from tests.flows.gateway_ground import Ground, patient, player
from tests.flows.policy_ground import add, agree, apply
from tests.flows.token_flow import Platform
from tests.flows.vendor_ground import certified, made
from tests.sim.backends import both_backends
from tests.sim.one_world import in_one_world
from tests.sim.world import START, FakeClock, SeededIds
from tests.unit.policy.matrix.books import GONE, document
from tests.unit.policy.matrix.exception_facts import EXCEPTION

__all__ = ["site"]

CARD = {"model_card": "https://v.example/card", "model_card_digest": "a" * 64}


def nobody(*_: object) -> bool:
    """Return that nobody is tied to the vendor."""
    return False


def tier_of(site: ControlSite, version: str) -> dict[str, Any]:
    return dict(made(site.api("rita").get(f"/app-versions/{version}/tier"), 200))


# --- raising -------------------------------------------------------------------------------------------------------------------


@both_backends
def test_a_reviewer_raises_a_tier_at_once_and_another_one_ends_that(site: ControlSite) -> None:
    """C19."""
    app, version = versions_of(site)
    assert tier_of(site, version)["tier"] == "moderate"

    raised = made(raise_tier(site, version))

    assert (raised["owner"], raised["agreed_by"], raised["ends_at"]) == (
        f"staff:{site.people['rita'].id}",
        "",
        None,
    )
    found = tier_of(site, version)
    assert found["sentence"] == f"high: raised by a reviewer from moderate, because {REASON}"
    assert (found["tier"], found["computed"]) == ("high", "moderate")
    listed = exceptions(site, "otto")
    assert [(each["app"], each["version"], each["tier"], each["state"]) for each in listed] == [
        (app, version, "high", "in_force")
    ]
    problem(end(site, raised["id"], "rita"), 403, "raised_by_you")
    assert tier_of(site, version)["tier"] == "high"
    site.system(
        registry.end_exception, exception_id=raised["id"], reason="The pages are gone.", barred=nobody
    )
    assert tier_of(site, version)["tier"] == "moderate"
    events = site.system(audit.list_events, query=EventQuery(action="policies.exception", app=app)).events
    assert [(each.event.action, each.event.reason or each.event.facts.get("reason")) for each in events] == [
        ("policies.exception.end", "The pages are gone."),
        ("policies.exception.end", "raised_by_you"),
        ("policies.exception.add", REASON),
    ]


def test_who_is_tied_to_the_vendor_ends_no_raise_of_its_version(site: ControlSite) -> None:
    """C101: what it withholds comes back to an app of theirs."""
    app, version = versions_of(site)
    raised = made(raise_tier(site, version))["id"]
    vendor = made(site.api("rita").get(f"/apps/{app}"), 200)["vendor"]
    made(
        site.api("rita").post("/conflicts-of-interest", json={"vendor": vendor, "reason": "I worked there."})
    )

    problem(end(site, raised, "rita"), 403, "conflict_of_interest")

    assert tier_of(site, version)["tier"] == "high"


@in_one_world(
    ("change", "field", "code"),
    [
        ({"tier": "moderate"}, "tier", "tier_not_raised"),
        ({"tier": "low"}, "tier", "tier_not_raised"),
        ({"tier": None}, "tier", "not_an_option"),
        ({"reason": " "}, "reason", "too_short"),
        ({"tenant": "general"}, "tenant", "not_expected"),
        ({"ends_at": UNTIL.isoformat()}, "ends_at", "not_expected"),
    ],
)
def test_a_raise_that_raises_nothing_or_would_end_by_itself_is_refused(
    site: ControlSite, change: dict[str, Any], field: str, code: str
) -> None:
    """C19: its end gives access back, so a person decides on it."""
    _, version = versions_of(site)

    assert codes(problem(raise_tier(site, version, **change), 422, "exception_invalid"))[field] == code
    assert tier_of(site, version)["tier"] == "moderate"


@in_one_world("by", ["root", "sam", "otto", "gina", "ann"])
def test_only_a_reviewer_raises_a_tier_and_ends_a_raise(site: ControlSite, by: str) -> None:
    _, version = versions_of(site)
    raised = site.furnished_once("a raised tier", lambda: made(raise_tier(site, version))["id"])

    assert raise_tier(site, version, by).status_code == 403
    assert end(site, raised, by).status_code in {403, 404}


@both_backends
def test_a_tier_is_raised_once_and_the_raise_ends_once(site: ControlSite) -> None:
    _, version = versions_of(site)
    raised = made(raise_tier(site, version))["id"]

    problem(raise_tier(site, version), 409, "exception_exists")
    problem(raise_tier(site, "ver_nothing"), 404, "version_not_found")
    order = {"exception_id": raised, "reason": "The pages are gone.", "barred": nobody}
    site.system(registry.end_exception, **order)
    with pytest.raises(Conflict):
        site.system(registry.end_exception, **order)


def test_a_reviewer_does_not_end_their_own_raise_by_an_account_made_for_it(site: ControlSite) -> None:
    """Security decision 25: two people are two."""
    _, version = versions_of(site)
    raised = made(raise_tier(site, version))["id"]
    second = site.system(identity.add_person, order=NewPerson(None, "rex", "Rex", "reviewer"))
    site.people["rex"] = second
    young = people.update().where(people.c.id == second.id)
    site.system(lambda ctx: ctx.tx.execute(young.values(age_counts_from=ctx.now)))

    problem(end(site, raised, "rex"), 403, "account_too_new")

    assert tier_of(site, version)["tier"] == "high"


# --- lowering ------------------------------------------------------------------------------------------------------------------


def lowered(site: ControlSite, app: str) -> bool:
    """Return whether an app is judged with a lowered tier now, as every endpoint reads it."""
    book = site.system(service.current).book_at(TenantId("general"), site.clock.now(), AppId(app))
    return bool(book.lowered)


@both_backends
def test_a_tier_is_lowered_by_two_people_who_saw_what_was_computed_and_ends_by_itself(
    site: ControlSite,
) -> None:
    """C19."""
    app, version = versions_of(site)

    waits = lower_tier(site, version)

    shown = waits.json()["approval"]
    assert (shown["before"]["computed"], shown["before"]["rules"]) == ("moderate", ["category"])
    assert shown["order"]["reason"] == REASON
    problem(site.api("root").post(f"/approvals/{shown['id']}/approve"), 403, "asked_by_you")
    assert not lowered(site, app)
    assert agree(site, waits).status_code == 200
    assert lowered(site, app)
    found = exceptions(site)
    assert [(each["state"], each["computed"], each["tier"], each["control"]) for each in found] == [
        ("in_force", "moderate", "low", CONTROL)
    ]

    site.clock.advance(timedelta(days=10))

    assert not lowered(site, app)
    assert [each["state"] for each in exceptions(site)] == ["expired"]


@in_one_world(
    ("change", "field", "code"),
    [
        ({"tier": "moderate"}, "tier", "tier_not_lowered"),
        ({"tier": "high"}, "tier", "tier_not_lowered"),
        ({"reason": "because"}, "reason", "too_short"),
        ({"control": "        "}, "control", "too_short"),
        ({"control": "A nurse."}, "control", "too_short"),
        ({"ends_at": START.isoformat()}, "ends_at", "not_in_the_future"),
        ({"ends_at": (START + timedelta(days=91)).isoformat()}, "ends_at", "too_late"),
    ],
)
def test_what_may_not_be_lowered_is_refused_with_its_field(
    site: ControlSite, change: dict[str, Any], field: str, code: str
) -> None:
    _, version = versions_of(site)

    assert codes(problem(lower_tier(site, version, **change), 422, "exception_invalid"))[field] == code
    assert exceptions(site) == []


def test_an_exception_without_what_is_done_instead_is_not_asked_for(site: ControlSite) -> None:
    """C109."""
    _, version = versions_of(site)
    refused = problem(lower_tier(site, version, control=None), 422, "exception_invalid")
    assert codes(refused)["control"] == "too_short"
    refused = problem(lower_tier(site, version, ends_at=None), 422, "exception_invalid")
    assert codes(refused)["ends_at"] == "missing"
    assert exceptions(site) == []


@in_one_world("by", ["sam", "rita", "otto", "gina", "ann"])
def test_only_a_platform_administrator_asks_to_lower_a_tier(site: ControlSite, by: str) -> None:
    _, version = versions_of(site)

    assert lower_tier(site, version, by).status_code == 403


def test_a_raised_tier_is_not_lowered_and_a_tier_is_lowered_once(site: ControlSite) -> None:
    _, version = versions_of(site)
    assert agree(site, lower_tier(site, version)).status_code == 200
    problem(lower_tier(site, version), 409, "exception_exists")
    made(raise_tier(site, version))

    assert codes(problem(lower_tier(site, version), 422, "exception_invalid"))["version"] == "tier_raised"


@both_backends
def test_what_changed_while_the_request_waited_is_not_agreed_to(site: ControlSite) -> None:
    """C19: what was computed is another thing now."""
    _, version = versions_of(site)
    waits = lower_tier(site, version)
    moved = {"category": "clinical_decision_support", "reason": "It is one."}
    app = tier_of(site, version)["app"]
    made(site.api("root").post(f"/apps/{app}/category", json=moved), 200)

    assert agree(site, waits).status_code == 409

    assert exceptions(site) == []


def test_another_policy_ends_a_lowered_tier(site: ControlSite) -> None:
    """C19."""
    app, version = versions_of(site)
    agree(site, lower_tier(site, version))
    another = add(site, {"title": "Another book"})
    assert apply(site, another).status_code == 201

    assert not lowered(site, app)
    assert [each["state"] for each in exceptions(site)] == ["book_changed"]


@both_backends
def test_one_person_ends_an_exception_early_and_once(site: ControlSite) -> None:
    app, version = versions_of(site)
    agree(site, lower_tier(site, version))
    exception = exceptions(site)[0]["id"]
    for by in ("gina", "rita", "otto"):
        assert end(site, exception, by).status_code == 403

    assert made(end(site, exception), 200)["state"] == "ended"

    assert not lowered(site, app)
    problem(end(site, exception), 409, "exception_over")
    problem(end(site, "exc_0"), 404, "exception_not_found")


@both_backends
def test_an_exception_of_a_kind_that_this_release_does_not_know_allows_nothing(site: ControlSite) -> None:
    _, version = versions_of(site)
    agree(site, lower_tier(site, version))
    site.system(lambda ctx: ctx.tx.execute(update(exception_store.exceptions).values(kind="newer")))

    read = site.system(lambda ctx: service.facts(ctx, EVERYTHING))
    assert read.applied(None).exceptions == {}


def test_a_raised_tier_that_this_release_does_not_know_counts_as_high(site: ControlSite) -> None:
    _, version = versions_of(site)
    made(raise_tier(site, version))
    site.system(lambda ctx: ctx.tx.execute(update(exception_store.exceptions).values(tier="extreme")))

    assert tier_of(site, version)["tier"] == "high"


# --- declared AI ---------------------------------------------------------------------------------------------------------------


@both_backends
def test_a_version_declares_its_ai_and_its_tier_follows(site: ControlSite) -> None:
    """C23."""
    app, _ = versions_of(site)
    drafts = {
        "model": "Notes 4",
        "purpose": "Drafts notes",
        "autonomy": "drafts",
        "human_step": "Signs each.",
    }

    version = made(declare(site, app, **drafts))
    alone = made(declare(site, app, "4", **ALONE))

    assert version["ai_use"] == drafts | {"model_card": "", "model_card_digest": ""}
    assert tier_of(site, alone["id"])["tier"] == "high"
    assert "its AI acts alone" in tier_of(site, alone["id"])["sentence"]
    assert made(site.api("root").get(f"/apps/{app}/versions"), 200)["items"][2]["ai_use"] is None


@in_one_world(
    ("use", "field", "code"),
    [
        ({"model": ""}, "ai_use.model", "model_missing"),
        ({"purpose": " "}, "ai_use.purpose", "ai_purpose_missing"),
        ({"purpose": "<script>"}, "ai_use.purpose", "html_in_text"),
        ({"autonomy": "drafts"}, "ai_use.human_step", "human_step_missing"),
        ({"autonomy": "acts_after_human_step"}, "ai_use.human_step", "human_step_missing"),
        ({"human_step": "Somebody looks."}, "ai_use.human_step", "human_step_contradictory"),
        ({"model_card": "http://v.example/card", "model_card_digest": "a" * 64}, "ai_use.model_card", ""),
        ({"model_card": "https://v.example/card"}, "ai_use.model_card_digest", "not_a_sha256"),
        ({"model_card": "https://v.example/card", "model_card_digest": "A" * 64}, "ai_use.model_card_digest", "not_a_sha256"),
        ({"model_card_digest": "a" * 64}, "ai_use.model_card", "model_card_missing"),
    ],
)  # fmt: skip
def test_an_incomplete_declaration_of_ai_is_refused_with_its_field(
    site: ControlSite, use: dict[str, Any], field: str, code: str
) -> None:
    """C23."""
    app, _ = versions_of(site)

    found = codes(problem(declare(site, app, **ALONE | use), 422, "version_invalid"))

    assert field in found
    assert not code or found[field] == code


def test_decision_support_with_ai_has_a_model_card(site: ControlSite) -> None:
    """C23: when the version is added, and when it is certified after a move."""
    app, _ = versions_of(site)
    informs = {"model": "Doses 1", "purpose": "Shows doses", "autonomy": "informs"}
    without = made(declare(site, app, **informs))
    moved = {"category": "clinical_decision_support", "reason": "It is one."}
    made(site.api("root").post(f"/apps/{app}/category", json=moved), 200)

    refused = problem(declare(site, app, "4", **informs), 422, "version_invalid")
    body = {
        "version": without["id"],
        "environment": "sandbox",
        "scopes": SCOPES,
        "expires_at": (START + timedelta(days=30)).isoformat(),
    }
    uncertified = problem(site.api("rita").post("/certifications", json=body), 422, "certification_invalid")

    assert codes(refused) == {"ai_use.model_card": "model_card_missing"}
    assert codes(uncertified) == {"version": "model_card_missing"}
    with_card = made(declare(site, app, "5", **informs, **CARD))
    made(site.api("rita").post("/certifications", json=body | {"version": with_card["id"]}))


@both_backends
def test_autonomous_writes_take_two_people_of_the_hospital(site: ControlSite) -> None:
    """C23."""
    gary = NewPerson(TenantId("general"), "gary", "Gary", "administrator")
    site.people["gary"] = site.system(identity.add_person, order=gary)
    site.clock.advance(timedelta(days=8))
    app, _ = versions_of(site)
    version = made(declare(site, app, **ALONE))["id"]
    waits = autonomy(site, version)
    approval = waits.json()["approval"]
    assert approval["before"]["ai_use"]["model"] == "Notes 4"
    path = f"/approvals/{approval['id']}/approve"
    problem(site.api("gina").post(path), 403, "asked_by_you")
    assert site.api("mary").post(path).status_code == 404

    def alone(tenant: str) -> bool:
        book = site.system(service.current).book_at(TenantId(tenant), site.clock.now(), AppId(app))
        return version in book.autonomous

    assert not alone("general")
    made(site.api("gary").post(path), 200)
    assert (alone("general"), alone("mercy")) == (True, False)
    assert [each["kind"] for each in exceptions(site, "gina")] == ["autonomous_writes"]
    assert exceptions(site, "mary") == []
    assert end(site, exceptions(site)[0]["id"], "mary").status_code == 404
    assert made(end(site, exceptions(site)[0]["id"], "gina"), 200)["state"] == "ended"
    assert not alone("general")


@in_one_world("by", ["root", "sam", "rita", "mary", "ann"])
def test_only_the_hospitals_administrator_asks_for_autonomous_writes(site: ControlSite, by: str) -> None:
    app, _ = versions_of(site)
    version = site.furnished_once("an AI that acts alone", lambda: made(declare(site, app, **ALONE))["id"])

    assert autonomy(site, version, by).status_code == 403


def test_there_is_no_exception_for_a_version_that_does_not_act_alone(site: ControlSite) -> None:
    app, version = versions_of(site)
    informs = made(declare(site, app, **ALONE | {"autonomy": "informs"}))["id"]

    for each in (version, informs):
        assert codes(problem(autonomy(site, each), 422, "exception_invalid"))["version"] == "not_autonomous"
    problem(autonomy(site, "ver_nothing"), 404, "version_not_found")


# --- enforcement ---------------------------------------------------------------------------------------------------------------

platform = token_flow.platform
NO_HIGH = {"categories.unclassified.entries.high": GONE}


def test_a_token_has_nothing_that_a_raised_tier_withholds(platform: Platform) -> None:
    """C19: at the token endpoint."""
    scopes = ("launch", "patient/Observation.rs")
    platform.run(lambda ctx: withhold(ctx, NO_HIGH))
    assert platform.earn(scopes=scopes)["scope"].split() == list(scopes)
    version = platform.clients["public"].version

    platform.run(lambda ctx: raise_to_high(ctx, version))

    with pytest.raises(AssertionError):
        platform.earn(scopes=scopes)


def test_the_gateway_refuses_a_live_token_from_the_raise_on(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """C19: by the snapshot alone."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token("patient/Patient.rs")
        made.run(lambda ctx: withhold(ctx, NO_HIGH))
        assert (await made.get("Patient/p1", token)).status == 200
        version = made.clients["app"].version

        made.run(lambda ctx: raise_to_high(ctx, version))
        made.keeper.step(0)
        assert (await made.get("Patient/p1", token)).status == 403

    player(sqlite_uow, clock, ids, tmp_path)(story)


def test_a_token_has_what_a_lowered_tier_gives_back(platform: Platform) -> None:
    """C19: at the token endpoint, for this app."""
    scopes = ("launch", "patient/Observation.rs", "patient/Patient.rs")
    platform.run(withhold)
    assert platform.earn(scopes=scopes)["scope"].split() == list(scopes[:2])
    version = platform.clients["public"].version

    platform.run(lambda ctx: lower(ctx, version, START + timedelta(days=1)))

    assert platform.earn(scopes=scopes)["scope"].split() == list(scopes)


def test_the_gateway_refuses_again_from_the_moment_an_exception_ends(
    sqlite_uow: UnitOfWork, clock: FakeClock, ids: SeededIds, tmp_path: Path
) -> None:
    """C19: by the snapshot alone. Nothing has to run at that moment, and the token is still live."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token("patient/Patient.rs")
        made.run(withhold)
        assert (await made.get("Patient/p1", token)).status == 403

        version = made.clients["app"].version
        made.run(lambda ctx: lower(ctx, version, clock.now() + timedelta(minutes=5)))
        assert (await made.get("Patient/p1", token)).status == 200

        clock.advance(timedelta(minutes=5))
        made.keeper.step(0)
        assert (await made.get("Patient/p1", token)).status == 403

    player(sqlite_uow, clock, ids, tmp_path)(story)


# --- on record -----------------------------------------------------------------------------------------------------------------


def test_an_exception_and_its_end_are_in_the_audit_with_reason_and_control(site: ControlSite) -> None:
    app, version = versions_of(site)
    agree(site, lower_tier(site, version))
    end(site, exceptions(site)[0]["id"], reason="Certified by now.")

    events = site.system(audit.list_events, query=EventQuery(action="policies.exception", app=app)).events

    assert [each.event.action for each in events] == [
        "policies.exception.end",
        "policies.exception.add",
        "policies.exception.ask",
    ]
    added = events[1].event.facts
    assert (added["kind"], added["version"], added["reason"]) == ("lowered_tier", version, REASON)
    assert CONTROL in added["detail"]
    assert events[0].event.facts["reason"] == "Certified by now."


def test_a_restore_lists_what_is_lifted_again_with_the_command_that_ends_it(site: ControlSite) -> None:
    """C23: an end of after the backup is lost with it, and a person looks at each; what is over comes back for nobody."""
    app, version = versions_of(site)
    alone = replace(
        EXCEPTION, kind=ExceptionKind.AUTONOMOUS_WRITES, app=AppId(app), tenant=TenantId("general")
    )
    site.system(service.add_exception, made=alone)
    site.system(service.add_exception, made=replace(alone, id="exc_2", ends_at=START - timedelta(days=1)))
    made(raise_tier(site, version))

    assert site.system(exceptions_in_force) == (
        f"exception exc_1 for {app} at general, until 2026-03-12 09:00 UTC: hilum policy end-exception exc_1",
    )


# --- delta reviews -------------------------------------------------------------------------------------------------------------


def reviews(site: ControlSite, by: str = "rita") -> list[tuple[str, str, str]]:
    items = made(site.api(by).get("/delta-reviews"), 200)["items"]
    return [(each["version"], each["certified"], each["computed"]) for each in items]


@both_backends
def test_a_rise_of_a_certified_tier_is_listed_for_review_until_it_is_over(site: ControlSite) -> None:
    """C21."""
    app, version = versions_of(site)
    assert reviews(site) == []

    raised = made(raise_tier(site, version))["id"]

    assert reviews(site) == [(version, "moderate", "high")]
    site.system(registry.end_exception, exception_id=raised, reason="The pages are gone.", barred=nobody)
    assert reviews(site) == []
    events = site.system(audit.list_events, query=EventQuery(action="registry.delta_review", app=app)).events
    assert [each.event.action for each in events] == [
        "registry.delta_review.close",
        "registry.delta_review.open",
    ]


@both_backends
def test_another_policy_that_raises_an_app_opens_a_delta_review_once(site: ControlSite) -> None:
    """C21: found by the job, which runs again and again."""
    _, version = versions_of(site)
    rule = {"name": "reads-results", "tier": "high", "because": "it reads {type}", "types": ["Observation"]}
    another = add(site, {"tier_rules": [*document()["tier_rules"], rule]})
    answer = apply(site, another, "general")
    assert answer.status_code in {201, 202}, answer.text
    assert site.system(registry.note_next_reviews, after="") == ""
    assert reviews(site) == [], "at one hospital only"
    everywhere = ApplyOrder(another, (), site.system(service.in_force).last, "A drill.")
    site.system(service._applied, order=everywhere, agreed_by="staff:sam")

    for _ in range(2):
        site.system(registry.note_next_reviews, after="")

    assert reviews(site) == [(version, "moderate", "high")]


def test_a_new_certification_at_the_higher_tier_closes_the_delta_review(site: ControlSite) -> None:
    """C21."""
    _, version = versions_of(site)
    made(raise_tier(site, version))

    certified(site, version, SCOPES)

    assert reviews(site) == []


@pytest.mark.parametrize("by", ["gina", "ann"])
def test_only_the_staff_lists_delta_reviews(site: ControlSite, by: str) -> None:
    assert site.api(by).get("/delta-reviews").status_code == 403


def test_a_version_declares_how_many_patients_it_reaches_and_the_tier_says_so(site: ControlSite) -> None:
    """C18."""
    app, _ = versions_of(site)
    path = f"/apps/{app}/versions"
    body = {"label": "7", "workflows": [], "placements": [], "population": "up_to_1000"}
    problem(site.api("root").post(path, json=body | {"population": "a few"}), 422, "fields_invalid")

    declared = made(site.api("root").post(path, json=body))
    silent = made(site.api("root").post(path, json={"label": "8", "workflows": [], "placements": []}))

    assert (declared["population"], silent["population"]) == ("up_to_1000", None)
    listed = site.api("root").get(path).json()["items"]
    assert {each["label"]: each["population"] for each in listed}["7"] == "up_to_1000"
    asked = {
        "category": "population_health",
        "scopes": ["system/Patient.rs"],
        "client_authentication": "private_key_jwt",
    }
    found = site.api("root").post("/policies/assess", json=asked | {"population": "one"})
    assert found.status_code == 200, found.text
