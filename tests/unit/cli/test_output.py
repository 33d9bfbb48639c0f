"""What the command line prints of texts by others."""

import pytest

from hilum.cli.output import table
from hilum.cli.resources import show_one


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("for the\nreq_2  approved", "for the req_2  approved"),
        ("\x1b[2Jgone", "\ufffd[2Jgone"),
        ("a\u202eb", "a\ufffdb"),
        ("Krankenhäuser, 東京", "Krankenhäuser, 東京"),
    ],
)
def test_a_text_by_somebody_else_adds_no_row_and_commands_no_terminal(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table([{"id": "arq_1", "reason": text}], ("id", "reason"))

    assert capsys.readouterr().out.splitlines()[1:] == [f"arq_1  {shown}"]


def test_a_text_by_somebody_else_looks_like_no_other_field(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"reason": "please\nstate  approved\x1b[A"}, json_=False)

    reason, rest = capsys.readouterr().out.splitlines()
    assert reason.startswith("reason ")
    assert rest == " " * 19 + "state  approved\ufffd[A"
