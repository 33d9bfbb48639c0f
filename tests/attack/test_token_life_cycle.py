"""The life of codes and tokens as a machine: whatever the order of honest and dishonest steps, a model says what is alive (C43-C49)."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from hilum.authorization.authorize.models import CODE_LIFE
from hilum.authorization.token.failure_limiter import FAILURES_BOUND
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import REPEAT_PAUSE, REPEAT_WITHIN
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.standards.strangers import WINDOW_S
from tests.effort import effort
from tests.flows import token_flow
from tests.flows.token_flow import LAUNCH_SCOPES, TRACE, Platform
from tests.unit.policy.matrix.books import LIFETIMES

platform = token_flow.platform


@dataclass
class Family:
    """What came of one code. ``refreshes`` in the order of issue: all but the last are used up."""

    issued_at: datetime
    used: bool = False
    dead: bool = False
    accesses: dict[str, datetime] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    refreshes: list[str] = field(default_factory=list)
    answers: dict[tuple[str, bool], tuple[datetime, str]] = field(default_factory=dict)
    """When each request was answered, by what it presented and whether it asked for fewer scopes, and with which refresh token."""
    repeated_at: datetime | None = None

    def take(self, body: dict[str, Any], now: datetime, presented: str, *, fewer: bool = False) -> None:
        self.accesses[body["access_token"]] = now
        self.refreshes.append(body["refresh_token"])
        self.answers[presented, fewer] = now, body["refresh_token"]

    def repeats(self, now: datetime, presented: str, *, fewer: bool = False) -> str:
        """The refresh token with which the same request is answered again (ADR 163); empty for a replay."""
        at, token = self.answers.get((presented, fewer), (now - REPEAT_WITHIN, ""))
        if self.dead or now >= at + REPEAT_WITHIN or token != self.refreshes[-1]:
            return ""
        if self.repeated_at is not None and now - REPEAT_PAUSE <= self.repeated_at < at:
            return ""
        self.repeated_at = now
        return token


class LifeCycle(RuleBasedStateMachine):
    platform: Platform
    codes, earned = Bundle("codes"), Bundle("earned")

    def __init__(self) -> None:
        super().__init__()
        self.families: dict[str, Family] = {}
        self.refusals = FAILURES_BOUND

    @property
    def now(self) -> datetime:
        return self.platform.clock.now()

    def breathe(self) -> None:
        """Stay under the limit on failures (C57), which other tests are about."""
        if self.refusals >= FAILURES_BOUND - 2:
            self.platform.clock.advance(timedelta(seconds=WINDOW_S))
            self.refusals = 0

    def judge(self, answer: Any, *, earned: bool, code: str = "invalid_grant") -> bool:
        assert answer.status_code == (200 if earned else 400), answer.text
        if not earned:
            self.refusals += 1
            assert answer.json()["error"] == code
        return earned

    @rule(target=codes, count=st.integers(1, 2))
    def agree(self, count: int) -> Any:
        made = [self.platform.code() for _ in range(count)]
        self.families |= {code: Family(self.now) for code in made}
        return multiple(*made)

    @rule(target=earned, code=codes)
    def redeem(self, code: str) -> Any:
        self.breathe()
        family = self.families[code]
        fits = not family.used and self.now < family.issued_at + CODE_LIFE
        again = family.repeats(self.now, code)
        answer = self.platform.redeem(code)
        if self.judge(answer, earned=fits or bool(again)):
            if again:
                assert answer.json()["refresh_token"] == again
                return multiple()
            family.take(answer.json(), self.now, code)
        family.dead |= family.used
        family.used = True
        return multiple(code) if fits else multiple()

    @rule(
        code=codes,
        fields=st.sampled_from([{"code_verifier": "w" * 43}, {"redirect_uri": "https://evil.example/"}]),
    )
    def redeem_wrongly(self, code: str, fields: dict[str, Any]) -> None:
        self.breathe()
        family = self.families[code]
        self.judge(self.platform.redeem(code, **fields), earned=False)
        family.dead |= family.used
        family.used = True

    @rule(code=codes, client=st.sampled_from(["symmetric", "asymmetric"]))
    def redeem_as_somebody_else(self, code: str, client: str) -> None:
        self.breathe()
        self.judge(self.platform.redeem(code, client), earned=False)

    @rule(code=earned, back=st.integers(0, 2), fewer=st.booleans())
    def refresh(self, code: str, back: int, fewer: bool) -> None:
        self.breathe()
        family = self.families[code]
        if len(family.refreshes) <= back:
            return
        scope: dict[str, Any] = {"scope": " ".join(LAUNCH_SCOPES[:-1])} if fewer else {}
        presented = family.refreshes[-1 - back]
        again = family.repeats(self.now, presented, fewer=fewer)
        answer = self.platform.refresh(presented, **scope)
        if self.judge(answer, earned=(back == 0 and not family.dead) or bool(again)):
            if again:
                assert answer.json()["refresh_token"] == again
                return
            family.take(answer.json(), self.now, presented, fewer=fewer)
        family.dead |= back > 0

    @rule(code=earned)
    def refresh_for_more(self, code: str) -> None:
        self.breathe()
        family = self.families[code]
        answer = self.platform.refresh(family.refreshes[-1], scope="patient/*.cruds")
        self.judge(answer, earned=False, code="invalid_grant" if family.dead else "invalid_scope")

    @rule(code=earned)
    def refresh_as_somebody_else(self, code: str) -> None:
        self.breathe()
        token = self.families[code].refreshes[-1]
        self.judge(self.platform.refresh(token, "symmetric"), earned=False)

    @rule(code=earned, kind=st.sampled_from(["access", "refresh"]))
    def hand_back(self, code: str, kind: str) -> None:
        self.breathe()
        family = self.families[code]
        token = [*(family.accesses if kind == "access" else family.refreshes)][-1]
        assert self.platform.post("revoke", "public", {"token": token}).status_code == 200
        family.revoked.add(token)
        family.dead |= kind == "refresh"

    @rule(seconds=st.sampled_from([1, 30, 61, 1_800, 3_600]))
    def wait(self, seconds: int) -> None:
        self.platform.clock.advance(timedelta(seconds=seconds))

    @invariant()
    def what_is_alive_is_what_the_model_says(self) -> None:
        expected = {
            token: not family.dead
            and token not in family.revoked
            and self.now < since + LIFETIMES.access_token
            for family in self.families.values()
            for token, since in family.accesses.items()
        }
        found = self.platform.uow.read_now(
            lambda ctx: {token: tokens.find_access(ctx, token) is not None for token in expected},
            actor=SYSTEM,
            trace=TRACE,
        )
        assert found == expected


@pytest.fixture
def machine(platform: Platform) -> Iterator[type[LifeCycle]]:
    LifeCycle.platform = platform
    return LifeCycle  # type: ignore[return-value]


def test_codes_and_tokens_live_and_die_as_the_model_says(machine: type[LifeCycle]) -> None:
    """C43, C44, C48, C49, C54 in any order."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=effort(15, 400),
            stateful_step_count=effort(20, 60),
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
