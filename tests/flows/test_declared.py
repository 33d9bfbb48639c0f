"""What a version declares, its workflows and placements, counts wherever an app acts (C18, C20, C191)."""

from typing import Any

import pytest

from hilum.apps.clients.models import ClientType
from hilum.apps.registry.models import NewVersion
from hilum.foundation.kernel.errors import NotPermitted
from hilum.policy.matrix.models import UNCLASSIFIED
from tests.flows import authorize_flow
from tests.flows.authorize_flow import Front, answer
from tests.flows.gateway_ground import GENERAL, Ground, Play, add_app, patient
from tests.flows.policy_ground import ENTRIES, narrow_policy
from tests.flows.token_flow import refused
from tests.unit.policy.matrix.books import GONE, document

front = authorize_flow.front
SCOPES = ("launch", "offline_access", "patient/Patient.rs")
CONDITIONS = pytest.mark.parametrize(
    ("condition", "named", "other"),
    [
        (
            {"placements": ["orders"]},
            NewVersion("1", placements=("banner", "orders")),
            NewVersion("1", placements=("banner",)),
        ),
        (
            {"workflows": ["outreach"]},
            NewVersion("1", workflows=("outreach",)),
            NewVersion("1", workflows=("intake",)),
        ),
        ({"placements": ["orders"]}, NewVersion("1"), NewVersion("1", placements=())),
        ({"workflows": ["outreach"]}, NewVersion("1"), NewVersion("1", workflows=())),
    ],
)


def without_high(condition: dict[str, list[str]]) -> dict[str, Any]:
    """Return changes that make whatever meets a condition high, which is not allowed in the tests' category any more."""
    rule = {
        "name": "drill",
        "tier": "high",
        "because": "it is a drill",
        "categories": [UNCLASSIFIED],
    } | condition
    return {"tier_rules": [*document()["tier_rules"], rule], f"{ENTRIES}.high": GONE}


@CONDITIONS
def test_a_rule_about_what_is_declared_holds_when_a_person_authorizes_and_for_every_token(
    front: Front, condition: dict[str, list[str]], named: NewVersion, other: NewVersion
) -> None:
    """C18: also for a version that does not declare it, since what is not known counts against an app."""
    for name, version in (("named", named), ("other", other)):
        front.add_app(name, ClientType.PUBLIC, scopes=SCOPES, version=version)
    held = {name: front.earn(name, scopes=SCOPES)["refresh_token"] for name in ("named", "other")}
    codes = {name: front.code(name, scopes=SCOPES) for name in ("named", "other")}
    narrow_policy(front.run, without_high(condition))

    browser, scope = front.browser("dora"), " ".join(SCOPES)
    with pytest.raises(NotPermitted, match="app_not_certified"):
        front.open_launch(client="named")
    refused(front.redeem(codes["named"], "named"), "invalid_scope")
    refused(front.refresh(held["named"], "named"), "invalid_scope")
    through = browser.authorize(client="other", launch=front.open_launch(client="other").handle, scope=scope)
    assert "code" in answer(through)
    assert front.redeem(codes["other"], "other").json()["scope"] == scope
    assert front.refresh(held["other"], "other").json()["scope"] == scope


@CONDITIONS
def test_a_rule_about_what_is_declared_holds_for_tokens_that_are_out(
    play: Play, condition: dict[str, list[str]], named: NewVersion, other: NewVersion
) -> None:
    """C18, C179: the gateway judges by the same facts."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        tokens = {}
        for name, version in (("named", named), ("unnamed", other)):
            add_app(made, name, ClientType.PUBLIC, SCOPES, (f"https://{name}.example",), declared=version)
            tokens[name] = made.token("patient/Patient.rs", client=name)
            assert (await made.get("Patient/p1", tokens[name])).status == 200

        narrow_policy(made.run, without_high(condition), GENERAL)

        assert (await made.get("Patient/p1", tokens["named"])).status == 403
        assert (await made.get("Patient/p1", tokens["unnamed"])).status == 200

    play(story)
