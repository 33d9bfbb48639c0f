"""The jobs of the jobs process send what waits, with the settings of the platform (C163)."""

import threading
from datetime import timedelta

from hilum.foundation.infra import metrics, settings
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.notices import service
from hilum.records.notices.models import State
from hilum.server import sending
from hilum.server.schedule import JobLease
from tests.conftest import SECRET_KEY
from tests.sim.mail_server import mail_server
from tests.sim.notice_ground import NoticeGround
from tests.sim.webhook_receiver import webhook_receiver
from tests.sim.world import FakeClock


def run_all(uow: UnitOfWork, **values: str) -> list[str]:
    """Run every job once; return their names."""
    found = settings.read({"HILUM_SECRET_KEY": SECRET_KEY, "HILUM_MODE": "sandbox"} | values)
    jobs = sending.jobs(uow, found)
    for job in jobs:
        held = JobLease(uow, job.name, "node/boot", threading.Event())
        assert held.take()
        job.run(held)
    return [job.name for job in jobs]


def test_mail_and_webhooks_leave_by_the_jobs(uow: UnitOfWork) -> None:
    ground = NoticeGround(uow)
    ground.put()
    with mail_server() as server, webhook_receiver() as receiver:
        endpoint = ground.endpoint(receiver.url).endpoint
        ground.do(service.ping, endpoint.id)
        port = str(server.port)
        sender = {"HILUM_SMTP_HOST": "127.0.0.1", "HILUM_SMTP_FROM": "hilum@hospital.example"}
        names = run_all(uow, **sender, HILUM_SMTP_PORT=port, HILUM_SMTP_TLS="none")

    assert names == [
        "send_webhooks",
        "send_mail",
        "count_notices",
        "agreements",
        "service_owners",
        "unused_credentials",
        "requests",
        "contacts",
        "sunsets",
        "changed_books",
        "domains",
        "deletion_requests",
    ]
    assert (len(server.mails), len(receiver.received)) == (1, 1)
    assert {each.state for each in ground.all()} == {State.SENT}


def test_without_a_mail_server_mail_waits_and_is_counted(uow: UnitOfWork, clock: FakeClock) -> None:
    ground = NoticeGround(uow)
    ground.put()
    clock.advance(timedelta(minutes=2))

    names = run_all(uow)

    assert "send_mail" not in names
    assert ground.only().state is State.WAITING
    assert [["mail", "open"], 1.0] in metrics.NOTICES.read()
    assert [["mail"], 120.0] in metrics.NOTICE_AGE.read()
