"""Requests and what explains them."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from hilum.foundation.kernel.actor import SYSTEM
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.server import explaining
from tests.flows.gateway_ground import TRACE, Ground

READ = "patient/Patient.rs"


async def asked_later(made: Ground, token: str, status: int) -> str:
    """Send a read a minute later; return the request's id."""
    made.clock.advance(timedelta(minutes=1))
    made.keeper.step(0)
    answer = await made.get("Patient/p1", token)
    assert answer.status == status, answer
    # What happens next is later than the answer.
    made.clock.advance(timedelta(minutes=1))
    return f"req_{made.count:06}"


def explained(made: Ground, request_id: str, folder: Path) -> str:
    reader = journals.open_reader(folder / "journal", made.uow.db.url)
    verb = partial(audit.explain, request_id=request_id, reader=reader, background=explaining.explain)
    return " ".join(made.uow.read_now(verb, actor=SYSTEM, trace=TRACE).sentences)
