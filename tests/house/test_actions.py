"""What is declared of actions, and the file of which the command line is made, are the same thing."""

from tools import actions

from hilum.foundation.actions.live import FILE


def test_the_descriptions_are_what_the_code_declares() -> None:
    assert FILE.read_bytes() == actions.described(), "run `make docs`"
