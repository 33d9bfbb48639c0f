"""The end of a scope: announced, refused at authorize, dropped at refresh, refused at the gateway (C61, C62)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.errors import Invalid
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder
from hilum.policy.matrix.product_models import NOTICE
from tests.flows import authorize_flow, token_flow
from tests.flows.authorize_flow import Front, error
from tests.flows.gateway_ground import Ground, Play, patient
from tests.flows.policy_ground import TODAY, ending, narrow_policy
from tests.flows.token_flow import Platform, refused
from tests.sim.world import START, FakeClock
from tests.unit.gateway.enforcement.facts import observation
from tests.unit.policy.matrix.books import document

platform = token_flow.platform
front = authorize_flow.front
SUNSET = TODAY + NOTICE
NOTICED = ("@1772409600", "Sun, 31 May 2026 00:00:00 GMT")
"""Since 2026-03-02, until 90 days later. Source: RFC 9745 section 2, RFC 8594 section 3."""
UNTIL_SUNSET = NOTICE - timedelta(hours=START.hour, minutes=START.minute)


def test_a_scope_that_is_deprecated_is_granted_until_its_sunset_and_a_refresh_drops_it_then(
    platform: Platform, clock: FakeClock
) -> None:
    """C62."""
    narrow_policy(platform.run, ending())
    scopes = ("launch", "offline_access", "patient/Observation.rs", "patient/Patient.rs")
    answer = platform.redeem(platform.code(scopes=scopes))
    first = answer.json()
    assert first["scope"].split() == list(scopes)
    assert (answer.headers["deprecation"], answer.headers["sunset"]) == NOTICED
    assert "sunset" not in platform.redeem(platform.code(scopes=("launch", "patient/Patient.rs"))).headers

    clock.advance(UNTIL_SUNSET)
    again = platform.refresh(first["refresh_token"]).json()

    assert again["scope"].split() == ["launch", "offline_access", "patient/Patient.rs"]


def test_a_backend_service_gets_the_ended_scope_and_its_successor(
    platform: Platform, clock: FakeClock
) -> None:
    narrow_policy(platform.run, ending())
    assert platform.backend("system/Observation.rs").json()["scope"] == "system/Observation.rs"

    clock.advance(UNTIL_SUNSET)
    answer = refused(platform.backend("system/Observation.rs system/Patient.rs"), "invalid_scope")

    assert answer.startswith(f"system/Observation.rs ended on {SUNSET}. Its successor is assessments")
    assert platform.backend("system/Patient.rs").json()["scope"] == "system/Patient.rs"


def test_a_code_from_before_the_sunset_yields_the_remaining_scopes(
    platform: Platform, clock: FakeClock
) -> None:
    narrow_policy(platform.run, ending())
    clock.advance(UNTIL_SUNSET - timedelta(seconds=1))
    code = platform.code(scopes=("launch", "patient/Observation.rs", "patient/Patient.rs"))

    clock.advance(timedelta(seconds=2))

    assert platform.redeem(code).json()["scope"].split() == ["launch", "patient/Patient.rs"]


def test_authorize_refuses_what_has_ended_before_anybody_signs_in(front: Front, clock: FakeClock) -> None:
    narrow_policy(front.run, ending())
    asked = "launch/patient patient/Patient.rs patient/Observation.rs"
    assert front.browser().authorize(scope=asked).status_code == 200

    clock.advance(UNTIL_SUNSET)
    told = error(front.browser().authorize(scope=asked), "invalid_scope")

    assert told.startswith(f"patient/Observation.rs ended on {SUNSET}. Its successor is assessments")


def test_the_gateway_names_the_end_for_tokens_that_are_out(play: Play, clock: FakeClock) -> None:
    async def story(made: Ground) -> None:
        made.load(patient("p1"), observation("o1", code={"text": "a"}))
        narrow_policy(made.run, ending())
        clock.advance(UNTIL_SUNSET - timedelta(seconds=1))
        token = made.token("patient/Observation.rs", "patient/Patient.rs")
        before = await made.get("Observation/o1", token)
        assert before.status == 200
        assert (before.headers["deprecation"], before.headers["sunset"]) == NOTICED
        assert "sunset" not in (await made.get("Patient/p1", token)).headers
        assert "sunset" in (await made.get("Observation/o1", made.token("patient/*.rs"))).headers
        assert "sunset" not in (await made.get("Patient/p1", made.token("patient/*.rs"))).headers

        clock.advance(timedelta(seconds=1))
        answer = await made.get("Observation/o1", token)

        assert answer.status == 403
        assert f"ended on {SUNSET}".encode() in answer.body
        assert (await made.get("Patient/p1", token)).status == 200

    play(story)


@pytest.mark.parametrize("fields", [{"since": TODAY - timedelta(days=1)}, {"status": "retired"}])
def test_a_version_that_ends_a_scope_without_notice_is_not_put_in_force(
    platform: Platform, fields: dict[str, Any]
) -> None:
    changes = ending(**fields)
    if "status" in fields:
        for category, found in document()["categories"].items():
            changes |= {f"categories.{category}.entries.{tier}.scopes": [] for tier in found["entries"]}
        changes |= {f"workflows.{name}.scopes": ["user/Patient.rs"] for name in document()["workflows"]}

    with pytest.raises(Invalid) as error:
        narrow_policy(platform.run, changes)

    assert set(error.value.fields.values()) == {"notice_too_short"}
    assert platform.run(policies.in_force).everywhere == 1


def test_going_back_needs_no_notice(platform: Platform) -> None:
    """A mistake is undone in minutes: the added scope goes as it came."""
    narrow_policy(platform.run, ending())

    last = platform.run(policies.in_force).last
    asked = platform.run(lambda ctx: policies._judged(ctx, ApplyOrder(1, (), last, "a mistake")))

    assert [each.path for each in asked] == ["scopes.results"]
