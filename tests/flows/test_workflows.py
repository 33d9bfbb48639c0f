"""Workflows: asked for by name, stated by a launch, kept with the agreement, and a limit wherever it acts (C63, C68, C190)."""

from functools import partial
from typing import Any

import pytest

from hilum.apps.clients import service as client_registry
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Authorization
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix.shipped import shipped_book
from tests.flows import authorize_flow, token_flow
from tests.flows.authorize_flow import Front, answer, error
from tests.flows.gateway_ground import Ground, Play, patient
from tests.flows.policy_ground import narrow_policy
from tests.flows.token_flow import MERCY, Platform, refused

platform = token_flow.platform
front = authorize_flow.front
INTAKE = shipped_book().workflows["intake"].scopes or ()


def launched(front: Front, *, scope: str, **order: Any) -> Any:
    """Open a launch and authorize with it, up to the app's redirect."""
    opened = front.open_launch(**order)
    browser = front.browser("dora")
    response = browser.authorize(scope=scope, launch=opened.handle)
    return browser.allow() if response.status_code == 200 else response


def authorization(front: Front, client: str = "web") -> Authorization:
    facts = front.run(lambda ctx: client_registry.client_facts(ctx, front.clients[client].id))
    assert facts is not None
    found = front.run(lambda ctx: consent.find_in_force(ctx, MERCY, front.people["dora"].id, facts))
    assert found is not None
    return found


def test_a_workflow_is_asked_for_by_name_and_plain_scopes_are_answered(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize(scope="launch/patient hilum/workflow/intake")
    browser.pick("p1")

    assert "code" in answer(browser.allow())
    granted = authorization(front).scopes
    assert "patient/QuestionnaireResponse.crus" in granted
    assert all_covered(granted, (*INTAKE, "launch/patient"))
    assert not [each for each in granted if each.startswith(("hilum/", "system/"))]


def test_a_workflow_that_the_book_does_not_have_is_refused_and_not_ignored(front: Front) -> None:
    told = error(
        front.browser("dora").authorize(scope="launch/patient patient/Patient.rs hilum/workflow/surgery"),
        "invalid_scope",
    )

    assert told == "the policy has no workflow 'surgery'"


def test_a_backend_service_gets_the_system_scopes_of_a_workflow(platform: Platform) -> None:
    granted = platform.backend("hilum/workflow/outreach").json()["scope"].split()

    assert "system/Patient.rs" in granted
    assert all(each.startswith("system/") for each in granted)
    refused(platform.backend("hilum/workflow/surgery"), "invalid_scope")
    refused(platform.backend("hilum/workflow/intake"), "invalid_scope")


def test_what_is_granted_in_a_launch_lies_within_the_workflow_of_its_intent(front: Front) -> None:
    """C190."""
    scope = "launch openid fhirUser patient/Patient.rs patient/Observation.rs patient/Coverage.cruds"

    response = launched(front, scope=scope, intent="pre-visit-intake")

    assert "code" in answer(response)
    found = authorization(front)
    assert found.workflow == "intake"
    assert found.scopes == ("launch", "openid", "fhirUser", "patient/Patient.rs", "patient/Coverage.rs")


def test_a_launch_with_another_intent_or_none_states_no_workflow(front: Front) -> None:
    response = launched(front, scope="launch patient/Observation.rs", intent="reconcile")

    assert "code" in answer(response)
    assert authorization(front).workflow == ""


def test_a_launch_for_a_workflow_that_the_entry_no_longer_has_is_refused_at_authorize_too(
    front: Front,
) -> None:
    """It was opened before; opening another one is refused already (test_launch_api)."""
    changes = {
        f"categories.unclassified.entries.{tier}.workflows": ["outreach"]
        for tier in ("low", "moderate", "high")
    }
    opened = front.open_launch(intent="pre-visit-intake")
    narrow_policy(front.run, changes)

    response = front.browser("dora").authorize(scope="launch patient/Patient.rs", launch=opened.handle)

    assert "may not be used for this task" in error(response, "access_denied")


def default_workflow(front: Front, name: str) -> None:
    app = front.clients["web"].app
    found = front.run(lambda ctx: installations.list_installations(ctx, MERCY))
    (id_,) = (each.id for each in found if each.app == app)
    order = NarrowOrder(default_workflow=name)
    front.run(partial(installations.narrow_installation, installation_id=id_, order=order))


def test_a_launch_that_names_no_workflow_gets_the_one_of_the_installation(front: Front) -> None:
    """C190, C146: what the hospital uses the app for, whatever it is installed with; a launch that names one gets that."""
    default_workflow(front, "intake")

    assert "code" in answer(launched(front, scope="launch patient/Patient.rs patient/Observation.rs"))
    assert authorization(front).workflow == "intake"
    assert "patient/Observation.rs" not in authorization(front).scopes

    assert "code" in answer(launched(front, scope="launch patient/Observation.rs", intent="chart_review"))
    assert authorization(front).workflow == "chart_review"


def test_a_default_workflow_that_is_no_longer_approved_closes_launches_that_name_none(front: Front) -> None:
    default_workflow(front, "intake")
    changes = {
        f"categories.unclassified.entries.{tier}.workflows": ["outreach"]
        for tier in ("low", "moderate", "high")
    }
    narrow_policy(front.run, changes)

    with pytest.raises(NotPermitted) as caught:
        front.open_launch()

    assert caught.value.code == "workflow_not_approved"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("intake", "chart_review", "widens"),
        ("intake", "", "widens"),
        ("", "no-such-workflow", "workflow_unknown"),
        ("intake", "intake", None),
        ("", "intake", None),
    ],
)
def test_a_default_workflow_narrows_once_and_is_one_of_the_apps(
    front: Front, first: str, second: str, code: str | None
) -> None:
    if first:
        default_workflow(front, first)
    if code is None:
        default_workflow(front, second)
        return
    with pytest.raises(Invalid) as caught:
        default_workflow(front, second)
    assert caught.value.fields == {"default_workflow": code}


def test_a_refresh_ends_when_the_workflow_is_no_longer_approved(platform: Platform) -> None:
    scopes = ("launch", "offline_access", "patient/Patient.rs", "patient/Observation.rs")
    first = platform.earn(scopes=scopes, workflow="intake")
    assert first["scope"].split() == ["launch", "offline_access", "patient/Patient.rs"]
    other = platform.earn(scopes=scopes)
    changes = {
        f"categories.unclassified.entries.{tier}.workflows": ["outreach"]
        for tier in ("low", "moderate", "high")
    }
    narrow_policy(platform.run, changes)

    told = refused(platform.refresh(first["refresh_token"]), "invalid_grant")

    assert "workflow_not_approved" in told
    assert platform.refresh(other["refresh_token"]).status_code == 200, "of before there were workflows"


def test_a_wider_workflow_does_not_widen_what_was_granted_and_a_narrower_one_narrows_it(
    platform: Platform,
) -> None:
    """C63."""
    first = platform.earn(
        scopes=("offline_access", "patient/Patient.rs", "patient/Coverage.rs"), workflow="intake"
    )
    narrow_policy(platform.run, {"workflows.intake.scopes": ["patient/Patient.rs", "user/Patient.rs"]})

    again = platform.refresh(first["refresh_token"]).json()

    assert again["scope"].split() == ["offline_access", "patient/Patient.rs"]


def test_the_gateway_holds_a_token_within_its_workflow(play: Play) -> None:
    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        inside = made.token("patient/*.rs", workflow="intake")
        assert (await made.get("Patient/p1", inside)).status == 200
        assert (await made.get("Observation?patient=p1", inside)).status == 403
        assert (await made.get("Observation?patient=p1", made.token("patient/*.rs"))).status == 200
        unknown = await made.get("Patient/p1", made.token("patient/*.rs", workflow="surgery"))
        assert unknown.status == 403
        assert b"workflow" in unknown.body

    play(story)
