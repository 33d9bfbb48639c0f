"""What every declared action does on every surface, whatever its noun: who may, what is wrong with a field, versions, the audit, the words."""

import io
import urllib.error
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from email.message import Message
from typing import Any

import pytest
from click.testing import CliRunner
from tools import actions as declared

from hilum.apps.agreements import store as agreements
from hilum.apps.agreements.models import Agreement, Side
from hilum.apps.service_owners import store as service_owners
from hilum.apps.service_owners.models import ServiceOwner
from hilum.authorization.breakglass import store as breakglass
from hilum.authorization.breakglass.models import Use
from hilum.foundation.actions import live
from hilum.foundation.actions.policy import version_of
from hilum.foundation.actions.service import inputs_of, perform
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId, PersonId, TenantId, VendorId, VersionId
from hilum.identity.signin.policy import actor_of
from hilum.operations.incidents import store as incidents
from hilum.operations.incidents.models import Incident, IncidentKind, IncidentSeverity
from hilum.operations.incidents.policy import notice_to
from hilum.operations.monitoring import store as monitoring
from hilum.operations.monitoring.models import Alert, AlertKind
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.review.defects import store as defects
from hilum.review.defects.models import Defect, Seen, Severity
from hilum.review.submissions import discipline_store as disciplines
from hilum.review.submissions.models import ConflictOfInterest
from hilum.surfaces.cli import actions as commands
from hilum.surfaces.cli import api
from hilum.surfaces.console.action_words import ACTION_WORDS
from tests.flows.control_site import TRACE, ControlSite, build, codes, problem, send
from tests.sim.world import FakeClock

ACTIONS = live.actions()
WRITES = [action for action in ACTIONS if action["effect"] != "reads"]
TARGETED = [action for action in WRITES if action["target"]]
WIDENING = [action for action in TARGETED if action["needs_version"]]
IDS: Mapping[str, str] = {
    "service_owner": "svo_1",
    "agreement": "agr_1",
    "break_glass": "btg_1",
    "alert": "alt_1",
    "conflict_of_interest": "coi_1",
    "defect": "def_1",
    "fhir_server": "general",
    "incident": "inc_1",
    "incident_notice": "inn_1",
}
"""A record of each noun, at General."""
MEMBERS: Mapping[str, str] = {
    "service_owner": "gina",
    "agreement": "gina",
    "break_glass": "gina",
    "alert": "gina",
    "conflict_of_interest": "root",
    "defect": "root",
    "fhir_server": "gina",
    "incident": "root",
    "incident_notice": "gina",
}
"""Somebody who may see the record of a noun. ``STRANGER`` has the same role elsewhere."""
STRANGER = "carl"
ROLE_OF = {"ann": "physician", "gina": "administrator", "carl": "administrator", "root": "platform_admin"}


def named(each: Mapping[str, Any]) -> str:
    return f"{each['noun'].replace('_', '-')} {each['verb']}"


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    made = build(sqlite_uow, clock)

    def stand(ctx: Context) -> None:
        ends = ctx.now + timedelta(days=30)
        what = ClientId("cli_1"), AppId("app_1"), VendorId("ven_1"), "Quality", "Adults", "Nightly"
        who = made.people["ann"].id, PersonId("per_2")
        service_owner = ServiceOwner(IDS["service_owner"], TenantId("general"), *what, *who, ctx.now, ends)
        service_owners.add_service_owner(ctx.tx, service_owner)
        signed = ("business_associate", ("A", "B"), "a" * 64, ctx.now, None, "person:per_v", Side.VENDOR)
        agreement = Agreement(IDS["agreement"], VendorId("ven_1"), TenantId("general"), "", *signed, ctx.now)
        agreements.add_agreement(ctx.tx, agreement)
        opened = (
            "physician",
            *what[:2],
            LaunchId("lch_1"),
            "p1",
            "unconscious after a fall",
            ("confidential",),
        )
        use = Use(IDS["break_glass"], TenantId("general"), who[0], *opened, ctx.now, ends, ends)
        breakglass.USES.add(ctx.tx, use)
        limit = AlertKind.REFUSED, 5, {"calls": 100, "refused": 20}
        about = AppId("app_1"), TenantId("general"), VendorId("ven_1"), *limit, ctx.now, ctx.now
        defect = Defect(
            IDS["defect"],
            AppId("app_1"),
            VendorId("ven_1"),
            VersionId("ver_1"),
            "1.0",
            Seen.SANDBOX,
            Severity.LOW,
            "Shows the wrong day.",
            ctx.now,
            None,
            "staff:per_2",
            ctx.now,
        )
        defects.DEFECTS.add(ctx.tx, defect)
        conflict = ConflictOfInterest(
            IDS["conflict_of_interest"], PersonId("per_2"), VendorId("ven_1"), "I worked there.", ctx.now
        )
        disciplines.CONFLICTS.add(ctx.tx, conflict)
        incident = Incident(
            IDS["incident"],
            IncidentKind.OUTAGE,
            IncidentSeverity.SEV3,
            "Answers nothing",
            (AppId("app_1"),),
            VendorId("ven_1"),
            (TenantId("general"),),
            ctx.now,
            ctx.now,
            "staff:per_2",
            PersonId("per_2"),
            reach={"report": {"hospitals": {}, "calls": 0, "patients": 0, "people": 0}},
            reach_at=ctx.now,
            statement="The app is stopped.",
            notice_number=1,
        )
        incidents.INCIDENTS.add(ctx.tx, incident)
        notice = notice_to(incident, IDS["incident_notice"], TenantId("general"), ctx.now)
        incidents.NOTICES.add(ctx.tx, notice)
        monitoring.ALERTS.add(ctx.tx, Alert(IDS["alert"], *about))

    made.system(stand)
    return made


def call(site: ControlSite, who: str, action: Mapping[str, Any], body: Any = None, **more: Any) -> Any:
    path = action["path"].replace("{id}", more.pop("id_", IDS[action["noun"]]))
    if action["effect"] == "reads":
        return site.api(who).get(path, **more)
    return site.api(who).post(path, json=body or {}, **more)


def filled(action: Mapping[str, Any]) -> dict[str, str]:
    """Return a body whose text fields are filled."""
    needed = [each for each in action["inputs"] if each.get("required")]
    return {each["name"]: each.get("choices", ["x"])[0] for each in needed}


@pytest.mark.parametrize("action", declared.declared(), ids=lambda each: f"{each.noun.name} {each.verb}")
def test_an_action_has_words_for_every_surface(action: Any) -> None:
    assert action.summary.endswith(".")
    assert action.reads or action.button
    assert action.reads or action.code in ACTION_WORDS
    assert all(each.arg.help.endswith(".") for each in inputs_of(action))
    assert all(each.arg.example for each in inputs_of(action) if each.required), "an example can be typed"


@pytest.mark.parametrize("action", ACTIONS, ids=named)
def test_whoever_an_action_is_not_for_is_refused_and_others_are_not(
    site: ControlSite, action: Mapping[str, Any]
) -> None:
    audience = next(
        each.who
        for each in declared.declared()
        if (each.noun.name, each.verb) == (action["noun"], action["verb"])
    )
    for who, role in ROLE_OF.items():
        refused = call(site, who, action, {"typo": 1}).json().get("detail", "").startswith("This call is for")
        admitted = role in audience or ("staff" in audience and who == "root")
        assert refused is not admitted, (who, audience)


@pytest.mark.parametrize("action", WRITES, ids=named)
def test_an_unknown_field_is_named(site: ControlSite, action: Mapping[str, Any]) -> None:
    if not action["inputs"]:
        return
    who = "rita" if action["who"] == ["reviewer"] else MEMBERS[action["noun"]]
    answer = call(site, who, action, filled(action) | {"typo": 1})

    assert codes(problem(answer, 422, "fields_invalid"))["typo"] == "field_unknown"


@pytest.mark.parametrize("action", TARGETED, ids=named)
def test_a_record_of_elsewhere_and_one_that_is_not_there_are_answered_alike(
    site: ControlSite, action: Mapping[str, Any]
) -> None:
    if "administrator" not in action["who"]:
        return  # Nobody elsewhere gets as far.
    code = f"{action['noun']}_not_found"

    foreign = problem(call(site, STRANGER, action, filled(action)), 404, code)
    missing = problem(call(site, STRANGER, action, filled(action), id_="none"), 404, code)

    assert foreign["detail"] == missing["detail"]


@pytest.mark.parametrize("action", TARGETED, ids=named)
def test_what_has_changed_since_it_was_seen_is_not_acted_on(
    site: ControlSite, action: Mapping[str, Any]
) -> None:
    who = MEMBERS[action["noun"]]

    answer = call(site, who, action, filled(action), headers={"if-match": '"stale"'})

    problem(answer, 409, "changed_meanwhile")


@pytest.mark.parametrize("action", WIDENING, ids=named)
def test_what_widens_says_which_version_was_seen_and_needs_a_fresh_second_factor(
    site: ControlSite, action: Mapping[str, Any]
) -> None:
    who = MEMBERS[action["noun"]]
    problem(call(site, who, action, filled(action)), 428, "version_missing")
    assert action["step_up"]
    declaration = next(
        each
        for each in declared.declared()
        if (each.noun.name, each.verb) == (action["noun"], action["verb"])
    )
    actor = replace(actor_of(site.people[who]), unconfirmed=True)

    with pytest.raises(NotPermitted) as refused:
        site.uow.write_now(
            lambda ctx: perform(
                ctx,
                declaration,
                filled(action),
                target=IDS[action["noun"]],
                version=version_of(declaration.noun.load(ctx, IDS[action["noun"]])),
            ),
            actor=actor,
            trace=TRACE,
        )

    assert refused.value.code == "factor_stale"
    assert events(site, declaration.code) == [("refused", "factor_stale")]


def test_a_success_and_a_refusal_leave_one_record_each_in_the_words_of_the_declaration(
    site: ControlSite,
) -> None:
    end = next(each for each in TARGETED if named(each) == "service-owner end")
    agree = next(each for each in TARGETED if named(each) == "service-owner agree")

    seen = site.api("gina").get("/service-owners/svo_1").json()["etag"]
    headers = {"if-match": f'"{seen}"'}
    problem(call(site, "gina", agree, headers=headers), 403, "not_the_approver")
    done = call(site, "gina", end, {"reason": "over"}, headers=headers)

    assert done.status_code == 200
    assert done.json()["etag"] != seen
    assert events(site, agree["audit"]) == [("refused", "not_the_approver")]
    assert events(site, end["audit"]) == [("done", "")]


def events(site: ControlSite, action: str) -> list[tuple[str, str]]:
    found = site.uow.read_now(lambda ctx: audit.list_events(ctx, EventQuery(action=action)), trace=TRACE)
    return [(str(each.event.outcome), each.event.reason) for each in found.events]


def command(site: ControlSite, who: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return what runs a command in this process against the site."""
    client = site.api(who)

    def ask(method: str, target: str, body: Any, *, bearer: str, version: str = "", key: str = "") -> Any:
        assert bearer
        assert not key or method == "POST"
        headers = {"if-match": f'"{version}"'} if version else {}
        answer = client.request(method, target, json=body, headers=headers)
        if answer.status_code >= 400:
            raise urllib.error.HTTPError(
                target, answer.status_code, "", Message(), io.BytesIO(answer.content)
            )
        return answer.json()

    monkeypatch.setattr(api, "_ask", ask)
    monkeypatch.setenv("HILUM_API_TOKEN", "x")
    return lambda noun, *words, **more: CliRunner().invoke(commands.group_of(noun), words, **more)


def test_the_same_fault_is_said_in_the_same_words_on_three_surfaces(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = "/tenant/backend-services/svo_1"

    answer = problem(
        site.api("gina").post("/service-owners/svo_1/end", json={"reason": " "}), 422, "service_owner_invalid"
    )
    browser = site.signed_in("gina", "/t/general/signin")
    shown = send(browser, page, "reason", act="end", reason=" ")
    typed = command(site, "gina", monkeypatch)("service-owner", "end", "svo_1", "--reason", " ")

    said = answer["fields"]["reason"]["detail"]
    assert shown.status_code == 422
    assert said in shown.text
    assert typed.exit_code == 1
    assert said in typed.output


@pytest.mark.parametrize("action", [each for each in ACTIONS if each["effect"] == "reads"], ids=named)
def test_what_can_be_read_can_be_read_by_a_command(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch, action: Mapping[str, Any]
) -> None:
    words = [IDS[action["noun"]]] if action["target"] else []

    who = "gina" if "administrator" in action["who"] else "root"
    done = command(site, who, monkeypatch)(*named(action).split(), *words, "--json")

    assert done.exit_code == 0, done.output


def test_a_command_confirms_what_was_shown_and_acts_on_no_other_version(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = command(site, "ann", monkeypatch)

    declined = run("service-owner", "agree", "svo_1", input="n\n")
    listed = run("service-owner", "list", "--json")

    assert "Quality" in declined.output
    assert "Do you agree to answer for this at your hospital?" in declined.output
    assert declined.exit_code == 1
    assert '"state": "waiting"' in listed.output
    assert events(site, "service_owners.service_owner.agree") == []


def test_a_page_that_shows_an_older_version_changes_nothing(site: ControlSite) -> None:
    page = "/tenant/backend-services/svo_1"
    browser = site.signed_in("gina", "/t/general/signin")

    answer = send(browser, page, "reason", act="end", reason="over", version="older")

    assert answer.status_code == 409
    assert "It was changed since you saw it" in answer.text
    assert "over" in answer.text, "what was typed stays"
