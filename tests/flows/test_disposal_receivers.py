"""A webhook receives requests for disposal, which name patients, once two people have agreed to where they go (C95)."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import update

from hilum.disposals.receivers import ask
from hilum.infra.context import Context
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.errors import NotFound, NotPermitted
from hilum.notices import service as notices
from hilum.notices import store
from hilum.notices.models import EventKind, VendorEvent
from hilum.signin.policy import actor_of
from tests.flows.control_site import TRACE, ControlSite, build, problem
from tests.flows.vendor_ground import furnish_vendor, join, made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

HOOK = "https://hooks.acme.example/hilum"
DISPOSAL, LAPSED = EventKind.DISPOSAL_REQUESTED, EventKind.CONTACT_LAPSED


class Receivers:
    """A vendor with two owners and a webhook that one of its developers added."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        self.vendor = furnish_vendor(site, "Acme Health", "acme")
        join(site, self.vendor, "acme.second", "owner")
        self.hook = self.add()

    def add(self, **more: Any) -> str:
        body = {"vendor": self.vendor, "url": HOOK} | more
        return str(made(self.site.api("acme.developer").post("/webhooks", json=body))["id"])

    def ask(self, by: str = "acme.owner", hook: str = "") -> Any:
        return self.site.api(by).post(f"/webhooks/{hook or self.hook}/disposals")

    def approve(self, asked: Any, by: str = "acme.second") -> Any:
        return self.site.api(by).post(f"/approvals/{made(asked, 202)['approval']['id']}/approve")

    def sent(self, kind: EventKind = DISPOSAL) -> list[str]:
        """Return the endpoints for which an event is put into the outbox."""
        facts = {
            DISPOSAL: {
                "disposal_id": "dsp_1",
                "app_id": "app_1",
                "due_at": "2026-05-01T00:00:00+00:00",
                "request": "a.b.c",
            },
            LAPSED: {
                "contact_id": "con_1",
                "contact": "owner",
                "vendor_id": self.vendor,
                "since": "2026-03-01T00:00:00+00:00",
            },
        }[kind]
        order = VendorEvent(kind, self.vendor, f"test/{self.site.clock.now()}/{kind}", facts)

        def verb(ctx: Context) -> list[str]:
            return [each.recipient for each in notices.put_event(ctx, order)]

        return self.site.system(verb)

    def shown(self) -> dict[str, Any]:
        found: dict[str, Any] = self.site.api("acme.billing").get("/webhooks").json()["items"][0]
        return found


@pytest.fixture
def receivers(sqlite_uow: UnitOfWork, clock: FakeClock) -> Receivers:
    return Receivers(build(sqlite_uow, clock))


def test_what_one_person_added_receives_everything_but_requests_for_disposal(receivers: Receivers) -> None:
    assert receivers.sent(LAPSED) == [receivers.hook]
    assert receivers.sent() == []
    assert receivers.shown()["agreed_by"] == ""

    asked = receivers.ask()
    assert receivers.sent() == []
    assert made(asked, 202)["approval"]["order"]["url"] == HOOK
    agreed = receivers.approve(asked)

    assert made(agreed, 200)["target"] == receivers.hook
    assert receivers.sent() == [receivers.hook]
    assert receivers.shown()["agreed_by"] == f"member:{receivers.site.people['acme.second'].id}"


@pytest.mark.parametrize(
    ("asks", "agrees"), [("acme.owner", "root"), ("root", "acme.owner"), ("root", "sam")]
)
def test_of_a_vendor_with_one_owner_the_staff_is_the_other(
    receivers: Receivers, asks: str, agrees: str
) -> None:
    assert receivers.approve(receivers.ask(asks), agrees).status_code == 200

    assert receivers.sent() == [receivers.hook]


def test_nobody_agrees_to_what_they_asked_for(receivers: Receivers) -> None:
    problem(receivers.approve(receivers.ask(), "acme.owner"), 403, "asked_by_you")

    assert receivers.sent() == []


@in_one_world("who", ["acme.developer", "acme.billing", "acme.security", "sam", "gina", "ann"])
def test_who_does_not_answer_for_the_vendor_does_not_ask(receivers: Receivers, who: str) -> None:
    answer = receivers.ask(who)

    assert answer.status_code == 403, answer.text
    actor = actor_of(receivers.site.people[who])
    with pytest.raises((NotPermitted, NotFound)):
        receivers.site.uow.write_now(partial(ask, webhook_id=receivers.hook), actor=actor, trace=TRACE)
    assert receivers.site.api("root").get("/approvals").json()["items"] == []


def test_another_vendors_webhook_answers_as_absent(receivers: Receivers) -> None:
    furnish_vendor(receivers.site, "Zenith Care", "zen")

    problem(receivers.ask("zen.owner"), 404, "webhook_not_found")
    problem(receivers.site.api("zen.owner").get("/approvals/apr_none"), 404, "approval_not_found")


def test_it_is_agreed_to_once_and_only_where_it_is_subscribed_to(receivers: Receivers) -> None:
    first, second = receivers.ask(), receivers.ask()
    receivers.approve(first)
    problem(receivers.approve(second), 409, "webhook_agreed")
    problem(receivers.ask(), 409, "webhook_agreed")

    other = receivers.add(events=[LAPSED.value])

    problem(receivers.ask(hook=other), 409, "webhook_not_subscribed")


def test_what_was_removed_while_it_waited_is_not_agreed_to(receivers: Receivers) -> None:
    asked = receivers.ask()
    receivers.site.api("acme.developer").delete(f"/webhooks/{receivers.hook}")

    problem(receivers.approve(asked), 409, "webhook_not_found")


def test_what_was_changed_in_the_database_while_it_waited_is_not_agreed_to(receivers: Receivers) -> None:
    """C179: the second person agrees to the address that was shown."""
    asked = receivers.ask()
    moved = update(store.endpoints).values(url="https://elsewhere.example/")

    receivers.site.system(lambda ctx: ctx.tx.execute(moved) and None)

    problem(receivers.approve(asked), 409, "target_changed")
