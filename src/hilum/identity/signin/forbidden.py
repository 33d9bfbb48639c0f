"""Records what people with an account try without the right to, at consoles and at the API (ADR 11)."""

from collections.abc import Callable
from functools import partial

from starlette.requests import Request

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.standards.strangers import Sources
from hilum.foundation.web.kit import trace_of
from hilum.foundation.web.refusals import Refusals
from hilum.identity.signin import service
from hilum.records.audit.policy import as_sent


class Forbidden:
    """Records refusals; beyond the first ones of a person in a minute they are counted, or anybody with an account could fill the audit.

    By person and not by network: nobody's tries hide those of a colleague behind the same address.
    """

    def __init__(
        self, uow: UnitOfWork, at_stop: Callable[[Callable[[], None]], None] = lambda _: None
    ) -> None:
        self._uow, self._people = uow, Sources()
        self._refusals = {
            action: Refusals(uow, partial(service.record_counts, action=action))
            for action in (service.TOKEN_USE, service.SESSION_ACT)
        }
        for each in self._refusals.values():
            at_stop(each.record_soon)

    async def record(
        self, request: Request, actor: Actor, error: NotPermitted, call: str, reason: str = ""
    ) -> None:
        """Record a refusal. ``call``: the method and the route; ``reason``: what to record, if not the code that is answered."""
        trace = trace_of(request)
        action = service.TOKEN_USE if request.url.path.startswith("/api/") else service.SESSION_ACT
        person, now = str(actor), self._uow.clock.monotonic()
        recorded = self._people.is_recorded(person, now)
        # Before the record is written: those that arrive meanwhile count too.
        self._people.refused(person, now)
        self._refusals[action].count(actor.tenant or "", trace.source, recorded=recorded)
        if recorded:
            object_ = " ".join(map(str, request.path_params.values()))
            facts = {"call": call, "object": as_sent(object_), "detail": error.detail}
            facts["role"] = " ".join(sorted(actor.roles))
            record = partial(
                service.record_forbidden, action=action, reason=reason or error.code, facts=facts
            )
            await self._uow.write(record, actor=actor, trace=trace)
        error.recorded = True
