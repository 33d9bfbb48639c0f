"""Deliver a webhook by the safe fetcher."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from hilum.foundation.infra.fetch import FetchRefused, SafeFetcher
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ports import Clock
from hilum.records.notices import policy
from hilum.records.notices.delivery import HandOver
from hilum.records.notices.models import ENDPOINT_ENDED, Attempt, Outcome, Result

LANES = 8


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Sends webhooks. ``fetcher`` builds one for each attempt, since an attempt has a thread and an event loop of its own."""

    clock: Clock
    fetcher: Callable[[], SafeFetcher]

    def __call__(self, attempt: Attempt, hand_over: HandOver) -> Outcome:  # noqa: ARG002 - a webhook may be repeated
        """Send one webhook, signed with the time of this attempt."""
        if not attempt.url:
            return Outcome(Result.REFUSED, ENDPOINT_ENDED)
        body = orjson.dumps(policy.event_of(attempt.notice))
        timestamp = int(self.clock.now().timestamp())
        headers = policy.headers_of(attempt.notice.id, timestamp, body, attempt.secrets)
        try:
            answer = asyncio.run(self.fetcher().post(attempt.url, body, headers))
        # Judged at each attempt: a name may lead to another address than when it was registered.
        except FetchRefused as error:
            return Outcome(Result.DEFERRED, error.code)
        except Unavailable as error:
            return Outcome(Result.DEFERRED, error.code)
        return policy.outcome_of_answer(answer.status, answer.headers.get("retry-after", ""))
