"""A version says which scopes it can do without: people and hospitals see it before they take something away, and no launch breaks (C211)."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewVersion
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.standards.smart.scopes import Prefix, types_of
from tests.flows.authorize_flow import Front, answer, front
from tests.flows.token_flow import MERCY
from tests.sim.one_world import in_one_world

__all__ = ["front"]

SCOPE = "launch/patient openid offline_access patient/Patient.rs patient/Goal.rs patient/Immunization.rs"
OPTIONAL = ("patient/Goal.rs", "patient/Immunization.rs", "offline_access")


def declare(front: Front, *optional: str) -> None:
    """Let the client ``web`` adopt a version that can do without some scopes."""
    client = front.clients["web"]
    version = front.run(
        lambda ctx: registry.add_version(ctx, client.app, NewVersion("2.0", optional_scopes=optional))
    )
    end = front.clock.now() + timedelta(days=90)
    front.run(
        lambda ctx: registry.certify(ctx, CertifyOrder(version.id, Environment.SANDBOX, client.scopes, end))
    )
    front.run(lambda ctx: clients.adopt_version(ctx, client.id, version.id))


def marks(page: str) -> dict[str, str]:
    """Return what a consent page says of each permission that is asked for by a checkbox."""
    rows = re.findall(r'value="([^"]+)" checked>(.*?)</label>', page, re.DOTALL)
    words = ("the app works without it", "the app needs it")
    return {name: next((each for each in words if each in text), "") for name, text in rows}


def test_the_consent_page_says_what_the_app_can_do_without(front: Front) -> None:
    """C211: each can be unticked all the same."""
    before = marks(front.browser("pat").authorize(client="web", scope=SCOPE).text)
    declare(front, *OPTIONAL)

    after = marks(front.browser("pat").authorize(client="web", scope=SCOPE).text)

    assert set(before.values()) == {""}
    assert after == dict.fromkeys(OPTIONAL, "the app works without it") | {
        "patient/Patient.rs": "the app needs it"
    }


@pytest.mark.parametrize("declined", OPTIONAL)
def test_declining_an_optional_scope_and_withdrawing_it_later_break_no_launch(
    front: Front, declined: str
) -> None:
    """C211."""
    declare(front, *OPTIONAL)
    browser = front.browser("pat")
    browser.authorize(client="web", scope=SCOPE)

    code = answer(browser.allow(without=(declined,)))["code"]
    earned = front.redeem(code, "web").json()

    assert declined not in earned["scope"].split()
    assert "patient/Patient.rs" in earned["scope"]
    again = front.browser("pat")
    again.authorize(client="web", scope=SCOPE)
    assert "code" in answer(again.allow(without=(declined,)))


def narrow(front: Front, *scopes: str, anyway: bool = False) -> Any:
    held = front.run(partial(installations.list_installations, tenant=MERCY))
    (own,) = [each for each in held if each.app == front.clients["web"].app]
    order = NarrowOrder(scopes=scopes, anyway=anyway)
    return front.run(lambda ctx: installations.narrow_installation(ctx, own.id, order))


def test_a_hospital_is_warned_before_a_narrowing_stops_an_app(front: Front) -> None:
    """C211: nothing is done before it says so once more."""
    types = [type_ for type_ in types_of(Prefix.PATIENT) if type_ != "Patient"]
    stays = ("offline_access", "online_access")
    declare(
        front, *stays, "patient/Patient.cud", "user/*.cruds", *(f"patient/{type_}.cruds" for type_ in types)
    )

    narrow(front, "patient/Patient.rs", "patient/Goal.rs")
    with pytest.raises(Invalid) as caught:
        narrow(front, "patient/Goal.rs")
    done = narrow(front, "patient/Goal.rs", anyway=True)

    assert caught.value.fields == {"scopes": "needed_by_app"}
    assert "does not work without patient/Patient.rs." in caught.value.detail
    assert "patient/Patient.rs" not in done.scopes
    assert "launch/patient" in done.scopes


@in_one_world(
    ("optional", "fault"),
    [
        (("openid",), "scope_never_optional"),
        (("launch/patient", "patient/Goal.rs"), "scope_never_optional"),
        (("patient/Goal.xyz",), "scope_letters"),
    ],
)
def test_what_no_app_can_do_without_is_not_declared_optional(
    front: Front, optional: tuple[str, ...], fault: str
) -> None:
    with pytest.raises(Invalid) as caught:
        declare(front, *optional)

    assert caught.value.fields == {"optional_scopes": fault}
