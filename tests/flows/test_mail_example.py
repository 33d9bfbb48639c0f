"""The example mail server of a laptop prints what Hilum mails, so that the link of a contact can be opened (C7)."""

import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.notices.models import State
from tests.sim.notice_ground import LINK, NoticeGround

EXAMPLE = Path(__file__).parents[2] / "examples" / "mail_printer.py"


class Printer:
    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(EXAMPLE), "0"], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", self.process.stdout.readline())
        assert found is not None
        self.port = int(found[1])

    def stop(self) -> str:
        """Stop it; return what it printed."""
        self.process.terminate()
        return self.process.communicate()[0]


@pytest.fixture
def printer() -> Iterator[Printer]:
    made = Printer()
    yield made
    if made.process.poll() is None:
        made.stop()


def test_the_link_of_a_mail_can_be_read(uow: UnitOfWork, printer: Printer) -> None:
    ground = NoticeGround(uow)
    ground.put()
    ground.sender(printer.port).run()

    assert ground.only().state is State.SENT
    printed = printer.stop()
    assert "\r" not in printed
    assert "To: sec@acme.example\n" in printed
    assert f"\n{LINK}\n" in printed


def test_lines_of_dots_and_several_mails_arrive_whole(printer: Printer) -> None:
    with smtplib.SMTP("127.0.0.1", printer.port, timeout=10) as session:
        session.sendmail(
            "a@one.example", ["b@two.example"], "Subject: First\r\n\r\nbefore\r\n.\r\n..after\r\n"
        )
        session.sendmail("a@one.example", ["c@two.example"], "Subject: Second\r\n\r\nsomething\r\n")

    printed = printer.stop()
    assert "before\n.\n..after\n" in printed
    assert "To: c@two.example\nSubject: Second\n" in printed


@pytest.mark.parametrize("line", ["VRFY nobody", "", "\x00"])
def test_what_it_does_not_know_is_refused_and_the_session_continues(printer: Printer, line: str) -> None:
    """C7."""
    with smtplib.SMTP("127.0.0.1", printer.port, timeout=10) as session:
        assert session.docmd(line)[0] == 502
        assert session.noop()[0] == 250


@pytest.mark.parametrize("port", ["x", "-1", "70000"])
def test_a_port_that_is_none_is_named_in_one_line(port: str) -> None:
    """C7."""
    run = subprocess.run([sys.executable, str(EXAMPLE), port], capture_output=True, text=True, check=False)

    assert run.returncode == 1
    assert run.stderr.startswith(f"mail_printer.py: cannot listen on port {port}: ")
    assert run.stderr.count("\n") == 1
