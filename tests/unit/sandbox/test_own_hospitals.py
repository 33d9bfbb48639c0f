"""Who may see a vendor's snapshot in the simulator: a browser that came with its key, until the key is another (C123)."""

from dataclasses import replace
from pathlib import Path

import pytest

from hilum_ehr.sandbox.snapshots import ENTERED_BOUND, OwnHospital, SnapshotBook, Visitors
from hilum_ehr.synthesis.policy import hospitals

ID = "own-" + "a" * 26
CARD = OwnHospital(ID, "ven_1", "mine", "clinic", "password", "door", "cli_1", "secret")


def test_a_browser_enters_by_the_key_and_is_shut_out_by_a_reset() -> None:
    visitors = Visitors()
    assert not visitors.enter("browser", CARD, "doo")
    assert not visitors.enter("browser", CARD, "")
    assert not visitors.may_see("browser", CARD)
    assert visitors.enter("browser", CARD, "door")
    assert visitors.may_see("browser", CARD)
    assert not visitors.may_see("another", CARD)
    assert not visitors.may_see("", CARD)
    assert not visitors.may_see("browser", replace(CARD, door="new"))
    assert not visitors.may_see("browser", replace(CARD, door=""))


def test_a_browser_enters_many_and_the_first_is_forgotten() -> None:
    visitors = Visitors()
    cards = [replace(CARD, tenant=f"own-{n:026x}") for n in range(ENTERED_BOUND + 1)]
    for each in cards:
        visitors.enter("browser", each, "door")
    assert not visitors.may_see("browser", cards[0])
    assert visitors.entered("browser")[0] == cards[-1].tenant


@pytest.mark.parametrize(
    "tenant", ["", "general", "own-", "../own-" + "a" * 26, "own-" + "A" * 26, ID + "/", ID + "\n"]
)
def test_no_other_text_is_a_file(tmp_path: Path, tenant: str) -> None:
    book = SnapshotBook(tmp_path)
    book.save(CARD)
    assert book.find(tenant) is None
    book.forget(tenant)
    assert book.find(ID) == CARD


def test_what_was_written_is_read_again_and_what_cannot_be_read_is_not_there(tmp_path: Path) -> None:
    book = SnapshotBook(tmp_path)
    book.save(CARD)
    assert book.find(ID) == CARD
    book.save(replace(CARD, door="new"))
    assert book.find(ID) == replace(CARD, door="new")
    path = tmp_path / "snapshots" / f"{ID}.json"
    assert path.stat().st_mode & 0o077 == 0
    path.write_text("{")
    assert book.find(ID) is None
    book.forget(ID)
    book.forget(ID)
    assert book.find(ID) is None


def test_it_has_the_people_of_its_template() -> None:
    plan = CARD.plan(hospitals())
    assert plan is not None
    assert (plan.tenant, plan.prefix) == (ID, "cli")
    assert plan.cast == hospitals()[2].cast
    assert replace(CARD, template="gone").plan(hospitals()) is None
