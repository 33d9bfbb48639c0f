"""``hilum tenant leave``: a hospital leaves a running platform of four workers, by commands alone (C148)."""

import json
import urllib.error
import urllib.request
from pathlib import Path

from tests.flows.outside.shells import DONE, REFUSED, by, host
from tests.sim.processes import until as eventually
from tests.sim.running import Running


def status_of(running: Running, path: str) -> int:
    try:
        with urllib.request.urlopen(running.base + path, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_hospital_leaves_and_takes_along_what_is_its_own(hospital: Running, tmp_path: Path) -> None:
    root, second = by(hospital, "admin.ferro", tmp_path), by(hospital, "security.ito", tmp_path)
    root.json("tenant", "add", "riverside", "--name", "Riverside", "--sandbox")
    discovery = "/t/riverside/fhir/.well-known/smart-configuration"
    assert eventually(lambda: status_of(hospital, discovery) == 200)
    assert root.json("tenant", "leave", "preview", "riverside")["has"]["people"] == 0

    asked = root.json("tenant", "leave", "ask", "riverside", "--reason", "moves elsewhere", "--days", "7")
    approval = asked["approval"]["id"]
    root.refuses("approval", "approve", approval, saying="asked_by_you")
    assert status_of(hospital, discovery) == 200
    second.json("approval", "approve", approval)

    assert eventually(lambda: status_of(hospital, discovery) == 404)
    (left,) = [each for each in root.json("tenant", "leave", "list") if each["tenant"] == "riverside"]
    root.refuses("tenant", "change", "riverside", "--name", "Back", saying="tenant_not_found")
    machine, folder = host(hospital), tmp_path / "handover"
    made = machine.json("tenant", "leave", "export", left["id"], str(folder))
    assert root.json("tenant", "leave", "show", left["id"])["manifest"] == made["manifest"]
    assert machine.hilum("tenant", "leave", "export", left["id"], str(folder)).returncode == REFUSED
    early = machine.hilum("tenant", "leave", "erase", left["id"])
    assert early.returncode == REFUSED
    assert f"it waits for: its day, {left['erase_at'][:10]} " in early.stdout
    with (folder / "manifest.json").open() as file:
        assert json.load(file)["tenant"] == "riverside"
    assert machine.hilum("audit", "verify").returncode == DONE
