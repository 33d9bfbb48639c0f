"""What guides, pages and refusals tell people to type exists: each command, in the guides with its options, and each kind of event."""

import re
import shlex
from pathlib import Path

import click
import pytest

from hilum.records.notices.models import EventKind
from hilum.server.commands.main import main
from hilum.surfaces.cli.output import LISTED_BY

ROOT = Path(__file__).parents[2]
GUIDES = (ROOT / "README.md", *sorted((ROOT / "docs" / "how-to").glob("*.md")))
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")
_COMMAND = re.compile(r"(?:\S*/)?hilum (.*)", re.DOTALL)
_ENDS = frozenset({"|", ">", "&&", ";"})


def fault_of(typed: str, *, whole: bool) -> str:
    """Return what is wrong with a command as typed, without ``hilum``; empty if it could be run. ``whole``: nothing is left out of it."""
    words = shlex.split(typed, comments=True)
    at = next((n for n, each in enumerate(words) if each in _ENDS), len(words))
    words = words[:at]
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return f"there is no {words[0]!r}"
        command, words = found, words[1:]
    options = {
        name: each
        for each in command.params
        if isinstance(each, click.Option)
        for name in (*each.opts, *each.secondary_opts)
    }
    arguments, given, at = 0, set(), 0
    while at < len(words):
        name, at = words[at], at + 1
        if not name.startswith("--"):
            arguments += 1
        elif name in options:
            given.add(options[name])
            at += 0 if options[name].is_flag else options[name].nargs
        elif name != "--help":
            return f"there is no {name}"
    takes = [each for each in command.params if isinstance(each, click.Argument)]
    least = sum(each.required for each in takes)
    most = len(words) if any(each.nargs == -1 for each in takes) else len(takes)
    if arguments > most or (whole and arguments < least):
        return f"it has {arguments} arguments, and takes {least} to {most}"
    missing = [each.opts[-1] for each in set(options.values()) - given if whole and each.required]
    return f"it needs {missing}" if missing else ""


def typed_in(text: str) -> list[tuple[str, bool]]:
    """Return every command of a page, without ``hilum``, and whether it is written whole: in a block, and not within a sentence."""
    blocks = [block.replace("\\\n", " ") for block in _BLOCK.findall(text)]
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in _INLINE.findall(_BLOCK.sub("", text))]
    found = [(_COMMAND.fullmatch(line), True) for line in lines]
    found += [(_COMMAND.fullmatch(span), False) for span in spans]
    return [(match[1], whole) for match, whole in found if match and "..." not in match[1].split()]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_command_of_a_guide_can_be_typed(guide: Path) -> None:
    typed = typed_in(guide.read_text())

    assert {each: fault for each, whole in typed if (fault := fault_of(each, whole=whole))} == {}


@pytest.mark.parametrize(
    ("typed", "whole", "fault"),
    [
        ("policy add", False, "there is no 'add'"),
        ("app list --everything", True, "there is no --everything"),
        ("review take sub_01h...", True, "it has 1 arguments, and takes 2 to 2"),
        ("review take", False, ""),
        ("review resolve fnd_01h...", True, "it needs ['--note']"),
        ("review resolve fnd_01h... --note 'it is there' > noted", True, ""),
    ],
)
def test_a_command_that_cannot_be_typed_is_found(typed: str, whole: bool, fault: str) -> None:
    assert fault_of(typed, whole=whole) == fault


def test_every_command_that_a_refusal_names_next_can_be_typed() -> None:
    typed = {code: listed.removeprefix("hilum ") for code, listed in LISTED_BY.items()}

    assert {code: fault for code, each in typed.items() if (fault := fault_of(each, whole=True))} == {}


def test_every_command_that_a_page_or_a_sentence_names_exists() -> None:
    """Its words only: sentences leave arguments out, and pages write them as variables."""
    files = [
        each
        for each in (*(ROOT / "src").rglob("*"), *(ROOT / "ehr").rglob("*"))
        if each.suffix in {".py", ".html"}
    ]
    named = {
        words
        for each in files
        for words in re.findall(r"(?<![\w/.-])hilum ([a-z][a-z -]*[a-z])", each.read_text())
    }

    # What is signed begins with its purpose, such as "hilum containment report v1".
    named = {each for each in named if not each.endswith(" v")}

    assert len(named) > 100
    assert [each for each in named if fault_of(each, whole=False).startswith("there is no '")] == []


def test_the_guide_of_app_developers_lists_every_kind_of_event() -> None:
    guide = (ROOT / "docs" / "how-to" / "app-developer.md").read_text()

    assert [each.value for each in EventKind if f"`{each.value}`" not in guide] == []
