"""``hilum policy``: files are checked and compared without a network; versions are published, agreed to and taken back over the API."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from hilum.policy.matrix.document import render
from hilum.policy.matrix.shipped import shipped_book
from tests.flows.outside.shells import DONE, MISUSED, REFUSED, Shell, by
from tests.sim.running import Running
from tests.unit.policy.matrix.books import document

ENTRY = "categories.scheduling.entries.low"


def written(folder: Path, changes: dict[str, Any], name: str = "book.json") -> str:
    file = folder / name
    file.write_bytes(orjson.dumps(document(changes)))
    return str(file)


def test_a_file_is_validated_without_a_network_and_every_fault_is_printed(tmp_path: Path) -> None:
    shell = Shell()
    good, bad = (
        written(tmp_path, {}),
        written(tmp_path, {"title": "", f"{ENTRY}.disciplines": ["money"]}, "bad.json"),
    )

    valid, refused = shell.hilum("policy", "validate", good), shell.hilum("policy", "validate", bad)

    assert (valid.returncode, valid.stdout) == (DONE, f"valid, digest {shipped_book().digest}\n")
    assert refused.returncode == REFUSED
    assert "title: It must be one line of text. (not_text)" in refused.stdout
    assert f"{ENTRY}.disciplines: 'money' is not one of " in refused.stdout
    found = orjson.loads(shell.hilum("policy", "validate", bad, "--json").stdout)
    assert [each["code"] for each in found["faults"]] == ["not_text", "word_unknown"]


@pytest.mark.parametrize(("name", "text"), [("a.toml", "x = ["), ("a.json", "{"), ("a.json", "\udcff")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))

    done = Shell().hilum("policy", "validate", str(tmp_path / name))

    assert done.returncode == REFUSED
    assert "cannot be read" in done.stderr


def test_the_new_access_check_fails_a_build_that_allows_anything_new(tmp_path: Path) -> None:
    """C210: also in CI, from the command line."""
    wider = written(tmp_path, {f"{ENTRY}.quota": {"burst": 101}}, "wider.json")
    narrower = written(tmp_path, {f"{ENTRY}.quota": {"burst": 99}}, "narrower.json")
    shell = Shell()

    assert shell.hilum("policy", "diff", "shipped", narrower, "--check").returncode == DONE
    failed = shell.hilum("policy", "diff", "shipped", wider, "--check")

    assert failed.returncode == REFUSED
    assert f"{ENTRY}.quota.burst: 100 -> 101" in failed.stdout
    assert f"  {ENTRY}.quota.burst: Is looser: 101 instead of 100." in failed.stdout
    assert shell.hilum("policy", "diff", "shipped", wider).returncode == DONE
    assert shell.hilum("policy", "diff", "newest", wider).returncode == MISUSED
    assert shell.json("policy", "diff", "shipped", "shipped") == {"changes": [], "privilege_increases": []}


def test_a_book_is_published_at_one_hospital_and_taken_back(running: Running, tmp_path: Path) -> None:
    """C179, C218."""
    root = by(running, "admin.ferro", tmp_path)
    first = root.json("policy", "show")
    before = versions(root)
    number, last = before[0] + 1, first["in_force"]["last"]
    assert first["in_force"] == {
        "everywhere": first["number"],
        "at": {},
        "last": last,
        "fault": "",
        "observed": [],
    }
    assert first["document"] == render(shipped_book())
    assert "order_entry" in root.hilum("policy", "show").stdout
    assert "messages" in root.hilum("policy", "scopes").stdout
    assert root.json("policy", "scopes", "messages", "--tenant", "general")["status"] == "active"
    root.refuses("policy", "scopes", "pigeons", saying="no scope product 'pigeons'")
    narrower = written(tmp_path, {f"{ENTRY}.quota": {"burst": 99}, **made_from(root)})
    colleagues = written(tmp_path, {"title": "A colleague's", **made_from(root)}, "c.json")
    untitled = written(tmp_path, {"title": "", **made_from(root)}, "u.json")

    refused = root.refuses("policy", "publish", untitled, "--reason", "x", saying="book_invalid")
    assert refused.stderr.count("title: ") == 1, "each fault once"

    done = root.json("policy", "publish", narrower, "--tenant", "general", "--reason", "a trial")
    root.refuses("policy", "publish", colleagues, "--reason", "x", saying=f"application {last + 1}")
    misspelt = ("--after", str(last + 1), "--tenant", "nowhere", "--reason", "x")
    root.refuses("policy", "publish", colleagues, *misspelt, saying="tenant_not_found")
    assert versions(root) == [number, *before], "nothing was added"
    wider = written(tmp_path, {f"{ENTRY}.quota": {"burst": 101}, **made_from(root)}, "w.json")
    asked = root.json("policy", "publish", wider, "--tenant", "general", "--reason", "a trial")

    assert (done["tenants"], done["version"]) == (["general"], number)
    assert asked["approval"]["order"]["allows"] == [f"{ENTRY}.quota.burst: Is looser: 101 instead of 99."]
    seen = root.hilum("approval", "show", asked["approval"]["id"]).stdout.splitlines()
    assert seen[-1] == f"newly allows 1     {ENTRY}.quota.burst: Is looser: 101 instead of 99."
    assert root.json("policy", "show")["in_force"]["at"] == {"general": number}
    root.refuses("policy", "apply", str(number + 1), "--reason", "x", saying="too_soon_everywhere")
    root.refuses("policy", "rollback", "--reason", "x", saying="no other version")
    root.refuses("policy", "show", "77", saying="hilum policy list")
    back = root.json("policy", "rollback", "--tenant", "general", "--reason", "enough")
    assert (back["version"], back["agreed_by"]) == (first["number"], ""), (
        "its author takes it back alone (ADR 43)"
    )
    root.json("approval", "refuse", asked["approval"]["id"])
    applied = [each["version"] for each in root.json("policy", "list", "--applied")]
    assert applied[:3] == [first["number"], number, first["number"]]
    assessed = root.hilum(
        "policy", "assess", "--category", "order_entry", "--scope", "launch user/MedicationRequest.cu"
    ).stdout
    assert "high, because its category is order entry; it writes MedicationRequest" in assessed
    slots = ("policy", "assess", "--category", "scheduling", "--scope", "user/Appointment.rs")
    assert "(its placements are not declared)" in root.hilum(*slots).stdout
    assert "low, because nothing raises it" in root.hilum(*slots, "--workflow", "intake").stdout


def versions(shell: Shell) -> list[int]:
    """Return the numbers of the versions that there are, newest first. Other stories at this sandbox add some."""
    return [each["number"] for each in shell.json("policy", "list")]


def made_from(shell: Shell) -> dict[str, Any]:
    """Return what a document that is shown now says about what it was made from."""
    return {"made_from": shell.json("policy", "show", "--document")["made_from"]}


def test_a_document_says_what_it_was_made_from_and_who_publishes_it_learns_what_changed_since(
    running: Running, tmp_path: Path
) -> None:
    """The optimistic lock counts from when the document was made, not from when it is published."""
    root = by(running, "admin.ferro", tmp_path)
    shown = root.json("policy", "show", "--document")
    current = root.json("policy", "show")["in_force"]
    assert shown["made_from"] == {"version": current["everywhere"], "after": current["last"]}
    file = tmp_path / "shown.json"
    file.write_bytes(orjson.dumps(shown))

    assert root.hilum("policy", "validate", str(file)).returncode == DONE
    assert root.json("policy", "diff", "shipped", str(file))["privilege_increases"] == []
    bare = written(tmp_path, {"title": "Bare"}, "bare.json")
    done = root.hilum("policy", "publish", bare, "--reason", "x")
    assert (done.returncode, "--base" in done.stderr, "--after" in done.stderr) == (MISUSED, True, True)
    for wrong in ({"version": 1}, {"version": "1", "after": 1}, {"version": -1, "after": 1}, [1, 1]):
        bad = written(tmp_path, {"title": "Bad", "made_from": wrong}, "bad.json")
        assert root.hilum("policy", "publish", bad, "--reason", "x").returncode == MISUSED


def test_going_back_twice_goes_further_back(running: Running, tmp_path: Path) -> None:
    """To before the version in force was first put in force, so it never goes forward again to what it left."""
    root = by(running, "admin.ferro", tmp_path)
    first = root.json("policy", "show")["in_force"]["everywhere"]

    def publish(title: str) -> int:
        changes = {"title": title, f"{ENTRY}.quota": {"burst": 99}, **made_from(root)}
        done = root.json("policy", "publish", written(tmp_path, changes), "--reason", "words")
        return int(done["version"])

    second, _third = publish("B"), publish("C")

    assert root.json("policy", "rollback", "--reason", "enough")["version"] == second
    asked = root.json("policy", "rollback", "--reason", "enough")
    assert asked["approval"]["order"]["version"] == first, "which restores more than is allowed now"
    root.json("approval", "refuse", asked["approval"]["id"])
