"""What the command line prints of texts by others."""

from collections.abc import Collection

import pytest

from hilum.surfaces.cli.output import size_in_words, table
from hilum.surfaces.cli.policies import said_of
from hilum.surfaces.cli.resources import show_one
from hilum.surfaces.cli.reviews import show_submission


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


def test_a_text_that_somebody_acts_on_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    reason = "State for how long each kind of data is kept, " * 3
    table([{"discipline": reason, "reason": reason.strip()}], ("discipline", "reason"), whole="reason")

    cut, kept = capsys.readouterr().out.splitlines()[1].split("…  ")
    assert reason.startswith(cut)
    assert kept == reason.strip()


def test_a_text_by_somebody_else_looks_like_no_other_field(capsys: pytest.CaptureFixture[str]) -> None:
    show_one({"reason": "please\nstate  approved\x1b[A"}, json_=False)

    reason, rest = capsys.readouterr().out.splitlines()
    assert reason.startswith("reason ")
    assert rest == " " * 19 + "state  approved\ufffd[A"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (["a.rs", "b.rs"], ["b.rs", "c.rs"], "- a.rs  + c.rs"),
        (["a.rs"] * 90 + ["z.rs"], ["a.rs"] * 90, "- z.rs"),
        (["a.rs", "b.rs"], ["b.rs", "a.rs"], '["a.rs","b.rs"] -> ["b.rs","a.rs"]'),
        (20, 10, "20 -> 10"),
    ],
)
def test_a_difference_of_two_lists_is_what_went_and_what_came(
    before: object, after: object, said: str
) -> None:
    assert said_of(before, after) == said


NAMES = {"app_1": "Chart Viewer", "per_2": "Olga Smith", "fac_3": "East Clinic"}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("app_1", "Chart Viewer (app_1)"),
        ("app_1/general", "Chart Viewer/general (app_1/general)"),
        ("member:per_2", "Olga Smith (member:per_2)"),
        (["fac_3", "fac_4"], "East Clinic (fac_3) fac_4"),
        ("per_9", "per_9"),
        ("app_1 and more", "app_1 and more"),
        (None, "-"),
    ],
)
def test_an_id_is_shown_by_name_and_stays_there_to_copy(
    value: object, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """C183: what stands behind an id, in a pair and a list too; only ids are looked up, since one malformed id fails the whole look-up."""
    asked: set[str] = set()

    def names_of(ids: Collection[str]) -> dict[str, str]:
        asked.update(ids)
        return NAMES

    show_one({"about": value}, json_=False, names_of=names_of)

    assert capsys.readouterr().out == f"about              {shown}\n"
    assert all(each.isascii() and "/" not in each and " " not in each for each in asked)


def test_an_address_is_printed_as_it_is_opened_whatever_ids_it_has(
    capsys: pytest.CaptureFixture[str],
) -> None:
    link = "https://apps.example:8443/t/ven_1/enrol/secret"

    show_one(
        {"vendor": "ven_1", "enrolment": {"url": link}},
        json_=False,
        names_of=lambda ids: dict.fromkeys(ids, "Acme Health"),
    )

    assert capsys.readouterr().out.splitlines() == [
        "vendor             Acme Health (ven_1)",
        f"enrolment          url={link}",
    ]


def test_what_an_edit_replaces_is_read_in_a_cell(capsys: pytest.CaptureFixture[str]) -> None:
    order = {"redirect_uris": ["https://a.example/1", "https://a.example/2"], "launch_url": None}
    table([{"id": "chg_1", "order": order}], ("id", "order"), whole="order")

    said = "redirect_uris=https://a.example/1 https://a.example/2  launch_url=-"
    assert capsys.readouterr().out.splitlines()[1:] == [f"chg_1  {said}"]


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (49_949, "49.9 kB"),
        (3_400_000, "3.4 MB"),
    ],
)
def test_a_size_is_in_the_unit_in_which_it_is_not_0(size: int, words: str) -> None:
    assert size_in_words(size) == words


@pytest.mark.parametrize(("state", "said"), [("draft", False), ("submitted", True)])
def test_a_draft_states_no_policy(state: str, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has judged by one yet, and 0 is the number of the shipped one."""
    of_what_was_submitted = {"policy_version": 0, "digest": "", "content": None}
    show_submission({"state": state, "missing": {}, "history": [], **of_what_was_submitted}, json_=False)

    assert ("policy_version" in capsys.readouterr().out) is said
