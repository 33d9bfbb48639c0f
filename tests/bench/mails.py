"""How many mails a second leave while a queue waits, over SQLite and PostgreSQL, with and without TLS. It has no target."""

import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.settings import SmtpTls
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.keys import live as keys
from hilum.records.notices import service
from tests.bench.figures import Figure
from tests.sim.mail_server import mail_server
from tests.sim.notice_ground import SERVER, NoticeGround, reminder
from tests.sim.postgres import Cluster

SECRET = "bench-key-encryption-key-0123456789abcdef"
MAILS, BATCH = 600, 100


def figures() -> list[Figure]:
    keys.install(keys.Vault(SECRET))
    cluster = Cluster()
    try:
        with tempfile.TemporaryDirectory() as folder:
            sqlite = _rates(f"sqlite:///{folder}/hilum.db", Path(folder))
            postgres = _rates(cluster.url, Path(folder))
    finally:
        cluster.stop()
    shown = ", ".join(f"{name} {rate:.0f}" for name, rate in [*sqlite, *postgres])
    lowest = min(rate for _, rate in [*sqlite, *postgres])
    what = f"mails a second of a queue of {MAILS}, the mail server in the same process"
    return [Figure("M1", what, lowest, shown, "none", reached=True)]


def _rates(url: str, folder: Path) -> list[tuple[str, float]]:
    migrate(url)
    uow = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), "bench")
    found = [
        (f"{url.partition(':')[0]} {tls}", _rate(NoticeGround(uow), tls, folder))
        for tls in ("none", "starttls")
    ]
    uow.close()
    return found


def _rate(ground: NoticeGround, tls: str, folder: Path) -> float:
    def put(ctx: Any, first: int) -> None:
        for number in range(first, first + BATCH):
            service.put_mail(ctx, reminder(f"a{number}@acme.example", f"{tls}/{number}"))

    for first in range(0, MAILS, BATCH):
        ground.do(partial(put, first=first))
    with mail_server(tls=tls, folder=folder) as server:
        begun = time.monotonic()
        ground.sender(server.port, smtp=replace(SERVER, tls=SmtpTls(tls), ca=server.certificate)).run()
        took = time.monotonic() - begun
    assert (len(server.accepted), set(server.accepted.values())) == (MAILS, {1})
    return MAILS / took
