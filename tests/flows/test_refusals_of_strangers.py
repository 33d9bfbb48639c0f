"""Refusals of strangers at authorize and at sign-in: singly at first, then as one record that tells how many."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from threading import Event
from typing import Any
from urllib.parse import urlencode

import pytest

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.strangers import RECORDED_BOUND, WINDOW_S, AggregatedCount
from hilum.foundation.web.refusals import COUNTS_PER_BATCH, Refusals
from tests.flows.authorize_flow import Front, front
from tests.flows.token_flow import MERCY
from tests.sim.processes import until

__all__ = ["front"]

MORE = 3


def refused_at_authorize(front: Front) -> None:
    """An app that nobody knows, an address that nobody registered, and a scope that is none, in turn."""
    browser = front.browser()
    for n in range(RECORDED_BOUND + MORE):
        wrong: dict[str, Any] = [
            {"client_id": f"nobody-{n}"},
            {"redirect_uri": f"https://elsewhere.example/{n}"},
            {"scope": "openid patient/Observation.sr"},
        ][n % 3]
        path = f"/t/{MERCY}/oauth/authorize?{urlencode(front.parameters('web', **wrong))}"
        assert browser.http.get(path).status_code in {303, 400}


def refused_at_sign_in(front: Front) -> None:
    """Another name each time, so that no pair of name and address is slowed."""
    for n in range(RECORDED_BOUND + MORE):
        browser = front.browser()
        browser.authorize()
        assert browser.sign_in(f"nobody{n}", "not anybody's password").status_code == 403


@pytest.mark.parametrize(
    ("flood", "action"),
    [(refused_at_authorize, "authserver.request.refuse"), (refused_at_sign_in, "signin.session.begin")],
)
def test_a_flood_of_refusals_is_recorded_singly_at_first_and_then_as_one_counted(
    front: Front,
    flood: Any,
    action: str,
) -> None:
    """Security decision 5: the first 20 of an address and minute singly, the rest as one record; none is lost."""
    flood(front)
    assert len([each for each in front.events(action) if each.outcome == "refused"]) == RECORDED_BOUND

    front.clock.advance(timedelta(seconds=WINDOW_S))
    flood(front)
    until(lambda: any(each.reason == "folded" for each in front.events(action)))

    told = [each for each in front.events(action) if each.outcome == "refused"]
    (counted,) = [each for each in told if each.reason == "folded"]
    assert counted.tenant == MERCY
    assert counted.facts == {"count": MORE}
    assert len(told) == 2 * RECORDED_BOUND + 1


def test_somebody_who_is_let_through_is_recorded_after_any_number_of_refusals(front: Front) -> None:
    """Only refusals are aggregated."""
    refused_at_authorize(front)
    before = front.requests()

    assert front.browser("pat").authorize().status_code == 200

    assert front.requests() == before + 1


def test_no_request_waits_for_the_counted_record(front: Front) -> None:
    """Security decision 5: whoever is refused when the record is due is answered before it is written."""
    written: list[Any] = []
    go_on = Event()

    def record(ctx: Context, counts: Iterable[AggregatedCount]) -> None:
        assert go_on.wait(10)
        written.extend(counts)

    async def work() -> None:
        refusals = Refusals(front.uow, record)
        refusals.count(MERCY, "192.0.2.1", recorded=False)
        front.clock.advance(timedelta(seconds=WINDOW_S))
        refusals.count(MERCY, "192.0.2.2", recorded=False)
        assert not written
        go_on.set()
        await asyncio.wait(refusals._tasks)
        assert written == [(MERCY, "192.0.2.1", 1)]
        refusals.record_soon()
        await asyncio.wait(refusals._tasks)

    asyncio.run(work())
    assert written == [(MERCY, "192.0.2.1", 1), (MERCY, "192.0.2.2", 1)]


@pytest.mark.parametrize("failure", [Unavailable("database_unavailable"), ValueError("a defect")])
def test_what_could_not_be_recorded_is_counted_on_and_tried_again(front: Front, failure: Exception) -> None:
    """Security decision 5: none is lost, whatever the failure; and what was recorded is not recorded twice."""
    written: list[tuple[str, str, int]] = []
    calls = 0
    sources = COUNTS_PER_BATCH + 50

    def record(ctx: Context, counts: Iterable[AggregatedCount]) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise failure
        written.extend(counts)

    async def work() -> None:
        refusals = Refusals(front.uow, record)
        for n in range(sources):
            refusals.count(MERCY, f"192.0.2.{n}", recorded=False)
        refusals.record_soon()
        done, _ = await asyncio.wait(refusals._tasks)
        assert [each.exception() for each in done] == [failure if isinstance(failure, ValueError) else None]
        assert len(written) == COUNTS_PER_BATCH
        assert refusals._timer is not None
        refusals.record_soon()
        await asyncio.wait(refusals._tasks)

    asyncio.run(work())
    assert sorted(written) == sorted((MERCY, f"192.0.2.{n}", 1) for n in range(sources))
