"""A process that sends due mail until it is killed or nothing is due: ``python -m tests.sim.send_due DATABASE_URL KEY PORT``."""

import sys

from hilum.foundation.infra.settings import read
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.server.bootstrap import open_uow
from tests.sim.notice_ground import NoticeGround


def main() -> None:
    url, key, port = sys.argv[1:]
    settings = read({"HILUM_SECRET_KEY": key, "HILUM_DATABASE_URL": url})
    uow = open_uow(settings, SystemClock(), SystemIds(), "sender")
    NoticeGround(uow).sender(int(port)).run()
    uow.close()


if __name__ == "__main__":
    main()
