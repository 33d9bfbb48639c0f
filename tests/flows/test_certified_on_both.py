"""Certificates, listings and revalidation on both databases, and against servers whose certificate or keys went bad (C113, C115)."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId
from hilum.review.certificates.service import remind_due, step
from hilum.review.recertification import service, store
from hilum.review.recertification.models import CLOSED_KEPT, State
from hilum.review.submissions.models import Look, Target
from tests.flows.certificate_ground import AT
from tests.flows.certified_app import DAY, Certified
from tests.flows.listing_ground import act, figure, follow, seen
from tests.flows.review_ground import signs
from tests.flows.review_world import OK, World, decide, in_order, submitted
from tests.flows.vendor_ground import made
from tests.sim.backends import both_backends
from tests.sim.jwks_host import Page
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock


def certify(
    uow: UnitOfWork, clock: FakeClock, stack: ExitStack, authority: Authority, **client: object
) -> Certified:
    world = World(stack, authority, uow, clock)
    ground = in_order(world, **client)
    signs(ground.site, "rita", "technical")
    ends = (clock.now() + 120 * DAY).isoformat()
    made(decide(ground, submitted(ground, world), expires_at=ends), 200)
    found = Certified(world, ground, f"https://acme.example:{world.hosts['acme.example'].port}")
    follow(found)
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as held:
        yield held


@both_backends
def test_a_certified_app_is_published_stopped_and_fixed(
    one_uow: UnitOfWork, clock: FakeClock, stack: ExitStack, authority: Authority
) -> None:
    """C111, C115, C226: the whole way, on each database."""
    certified = certify(one_uow, clock, stack, authority)
    made(act(certified, "acme.owner", "publish"), 200)
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    clock.advance(7 * DAY)
    certified.night()
    follow(certified)
    assert (certified.level()[0], figure(certified)[:2], seen(certified)) == ("stop", (1, 0), [])

    certified.serve("/cb", OK)
    certified.night()
    follow(certified)
    assert (certified.level()[0], figure(certified)[:2]) == ("none", (1, 1))
    while certified.ground.site.system(remind_due):
        pass
    clock.advance(CLOSED_KEPT + DAY)
    assert certified.ground.site.system(service.purge) == 1
    assert certified.ground.site.system(service.purge) == 0
    while certified.ground.site.system(step, at=AT):
        pass
    left = certified.ground.site.system(lambda ctx: store.open_findings(ctx.tx, AppId(certified.ground.app)))
    assert [each for each in left if each.state is State.OPEN] == []


@pytest.mark.parametrize("bad", [{"expired": True}, {"trusted": False}], ids=("expired", "own"))
def test_a_certificate_of_tls_that_went_bad_is_found(
    sqlite_uow: UnitOfWork, clock: FakeClock, stack: ExitStack, authority: Authority, bad: dict[str, bool]
) -> None:
    """C115: expired, or signed by its own host."""
    certified = certify(sqlite_uow, clock, stack, authority)
    moved = certified.world.host("acme.example", **bad)

    def look_at(targets: Sequence[Target]) -> list[Look]:
        # The same host, whose server presents another certificate now.
        elsewhere = [replace(each, url=each.url.replace(certified.origin, moved)) for each in targets]
        looks = certified.world.look_at(elsewhere)
        return [replace(each, url=each.url.replace(moved, certified.origin)) for each in looks]

    certified.night(look_at)

    found = certified.findings()
    assert {each["rule"] for each in found} == {"address.tls"}
    assert {each["severity"] for each in found} == {"critical"}
