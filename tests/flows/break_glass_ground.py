"""A hospital with emergency access, and a doctor who has an app open on a patient."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TypeVar

import pytest

from hilum.authorization.breakglass import service
from hilum.authorization.breakglass.models import NewUse, SettingsChange, Use
from hilum.authorization.launches import store as launches_store
from hilum.authorization.launches.models import Launch
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import LaunchId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin.policy import actor_of
from hilum.records.notices import service as notices
from hilum.records.notices.models import NoticeQuery
from tests.flows.gateway_ground import GENERAL, TRACE, Ground

T = TypeVar("T")
LAUNCH = LaunchId("lch_emergency")
REASON = "unconscious after a fall, medication unknown"
SCOPES = ("launch", "patient/Observation.rs")
ON = SettingsChange(enabled=True)


class Ward:
    """A hospital with two administrators, of whom one has a mail address, and a doctor who has an app open on p1."""

    def __init__(self, made: Ground, *, on: bool = True) -> None:
        self.made = made
        for name in ("gina", "gus"):
            order = NewPerson(GENERAL, name, name.title(), "administrator", mail=f"{name}@general.example")
            made.people[name] = made.run(partial(identity.add_person, order=order))
        made.run(self._add_launch)
        if on:
            made.run(lambda ctx: service.change_settings(ctx, GENERAL, ON))
        self.token = made.token(*SCOPES, launch=LAUNCH)

    def _add_launch(self, ctx: Context) -> None:
        launch = Launch(
            LAUNCH,
            GENERAL,
            self.made.clients["app"].id,
            self.made.people["doctor"].id,
            ctx.now,
            ctx.now + timedelta(minutes=5),
            patient="p1",
            used_at=ctx.now,
        )
        launches_store.LAUNCHES.add(ctx.tx, launch, handle_hash=b"h", open_hash=b"o", open_expires_at=ctx.now)

    def reopen(self) -> None:
        """Open the app on the same chart again."""
        self.made.run(lambda ctx: ctx.tx.execute(launches_store.launch.update().values(created_at=ctx.now)))

    def do(self, who: str, verb: Callable[[Context], T]) -> T:
        actor = actor_of(self.made.people[who])
        try:
            return self.made.uow.write_now(verb, actor=actor, trace=TRACE)
        finally:
            self.made.keeper.step(0)

    def open(self, who: str = "doctor", reason: str = REASON) -> Use:
        return self.do(who, lambda ctx: service.open_use(ctx, NewUse(LAUNCH, reason)))

    def refused(self, who: str, verb: Callable[[Context], object]) -> str:
        with pytest.raises(HilumError) as caught:
            self.do(who, verb)
        return caught.value.code

    async def reads(self, token: str = "") -> int:
        return (await self.made.get("Observation/o3", token or self.token)).status

    def notices(self) -> list[tuple[str, str]]:
        found = self.made.run(lambda ctx: notices.list_notices(ctx, NoticeQuery()))
        return [(each.kind, each.recipient) for each in found]
