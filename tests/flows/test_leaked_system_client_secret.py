"""The secret of a hospital's EHR or resource server leaked: what one administrator's kill switch stops at once, and what its end revives."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.authorization.launches import service as launches
from hilum.controls.switches.models import TargetKind
from hilum.foundation.kernel.errors import NotPermitted
from tests.flows.ehr_ground import LAUNCHES, SCOPE, Ehr, ehr, problem
from tests.flows.token_flow import MERCY, Platform, refused

__all__ = ["ehr"]


def stop(platform: Platform, system_client: str) -> str:
    """Do what docs/how-to/tenant-administrator.md says to do at once."""
    return platform.engage(TargetKind.APP_TENANT, f"{platform.clients[system_client].app}/{MERCY}")


def renew(platform: Platform, system_client: str) -> None:
    client = platform.clients[system_client].id
    _, platform.secrets[system_client] = platform.run(
        lambda ctx: clients.rotate_secret(ctx, client, overlap=timedelta(0))
    )


def token_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_a_stop_on_the_ehrs_app_refuses_its_secret_and_every_token_of_it(ehr: Ehr) -> None:
    """C200, C140: nothing new, nothing with what its holder obtained before, and nothing of that once the stop ends."""
    platform = ehr.platform
    opened = ehr.open()
    switch = stop(platform, "ehr")

    refused(platform.backend(SCOPE, "ehr"), "unauthorized_client")
    problem(ehr.send("POST", LAUNCHES, ehr.order()), 403, "switch_engaged")
    problem(ehr.send("PATCH", f"{LAUNCHES}/{opened['id']}", {"patient": "p2"}), 403, "switch_engaged")

    leaked = platform.secrets["ehr"]
    renew(platform, "ehr")
    platform.release(switch)
    platform.clock.advance(timedelta(seconds=1))
    problem(ehr.send("POST", LAUNCHES, ehr.order()), 403, "switch_engaged")
    fresh = token_of(platform.backend(SCOPE, "ehr"))
    assert ehr.send("POST", LAUNCHES, ehr.order(), fresh).status_code == 201
    platform.secrets["ehr"] = leaked
    refused(platform.backend(SCOPE, "ehr"), "invalid_client", 401)


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("begun", [False, True], ids=["before anybody used it", "between browser and app"])
def test_a_launch_that_its_holder_opened_before_the_stop_opens_nothing(
    ehr: Ehr, *, begun: bool, released: bool
) -> None:
    """C200: the EHR vouches for the person, so whoever has its secret could be anybody for as long as its launches live."""
    platform = ehr.platform
    opened = ehr.open()
    open_url = opened["open_url"].rsplit("/", 1)[-1]

    def begin() -> str:
        return platform.run(lambda ctx: launches.use_open_token(ctx, MERCY, open_url)).handle

    handle = begin() if begun else ""
    switch = stop(platform, "ehr")
    if released:
        platform.release(switch)

    with pytest.raises(NotPermitted, match="switch_engaged") as told:
        platform.take(handle) if begun else begin()

    assert "The record system that opened this app has since been stopped" in told.value.detail
    last = platform.events("launches.launch.take" if begun else "launches.launch.begin")[0]
    assert (last.reason, last.facts["by_ehr"]) == ("switch_engaged", platform.clients["ehr"].id)


def test_a_stop_on_another_system_client_leaves_the_ehrs_launches_alone(ehr: Ehr) -> None:
    opened = ehr.open()
    stop(ehr.platform, "resource")
    open_url = opened["open_url"].rsplit("/", 1)[-1]

    begun = ehr.platform.run(lambda ctx: launches.use_open_token(ctx, MERCY, open_url))

    assert ehr.platform.take(begun.handle).id == opened["id"]


def test_a_stop_on_the_resource_servers_app_shows_it_no_token(ehr: Ehr) -> None:
    """C200, C53: to whoever may not see a token it is inactive (RFC 7662 section 2.2); its own client still sees it."""
    platform = ehr.platform
    held = platform.earn("symmetric")
    tokens = (held["access_token"], held["refresh_token"])
    assert [platform.is_alive(each) for each in tokens] == [True, True]

    switch = stop(platform, "resource")

    assert [platform.is_alive(each) for each in tokens] == [False, False]
    assert platform.introspect(held["access_token"], "symmetric")["active"]
    leaked = platform.secrets["resource"]
    renew(platform, "resource")
    platform.release(switch)
    assert [platform.is_alive(each) for each in tokens] == [True, True]
    platform.secrets["resource"] = leaked
    refused(platform.post("introspect", "resource", {"token": tokens[0]}), "invalid_client", 401)
