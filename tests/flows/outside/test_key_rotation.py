"""``hilum keys rotate``: a new key signs at once in every process, and nothing that the old one signed stops to verify."""

from pathlib import Path
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.flows.outside.ground import Outside, tell
from tests.flows.outside.shells import DONE, MISUSED, Shell, by, host
from tests.sim.running import Running


def published(running: Running, tenant: str) -> list[dict[str, Any]]:
    keys = httpx2.get(f"{running.tenant(tenant)['issuer']}/oauth/jwks.json").json()["keys"]
    return [dict(each) for each in keys]


def id_tokens(running: Running, number: int) -> list[str]:
    """Get so many, each by a launch of its own, from whichever worker answers."""

    async def launched(outside: Outside) -> list[str]:
        return [(await outside.grant(tenant="children")).token["id_token"] for _ in range(number)]

    found: list[str] = tell(running, launched)
    return found


def test_a_tenants_key_is_rotated_while_it_serves_and_the_old_one_still_verifies(
    hospital: Running, tmp_path: Path
) -> None:
    """C55: keys roll with overlap; another tenant's stay what they were, and it is on record."""
    (old,) = id_tokens(hospital, 1)
    before, elsewhere = published(hospital, "children"), published(hospital, "general")

    made = host(hospital).json("keys", "rotate", "id_token", "--tenant", "children")

    after = published(hospital, "children")
    assert after[0]["kid"] == made["key"] not in {each["kid"] for each in before}
    assert all(each in after for each in before)
    assert published(hospital, "general") == elsewhere
    keys = KeySet.import_key_set({"keys": [dict(each) for each in after]})
    assert jwt.decode(old, keys, algorithms=["RS256"]).header["kid"] == before[0]["kid"]
    for each in id_tokens(hospital, 4):
        assert jwt.decode(each, keys, algorithms=["RS256"]).header["kid"] == made["key"]
    auditor = by(hospital, "auditor.quispe", tmp_path)
    (recorded, *_) = auditor.json("audit", "events", "--action", "keys.ring.rotate")
    assert (recorded["tenant"], recorded["facts"]) == (
        "children",
        {"purpose": "id_token", "key": made["key"]},
    )
    assert recorded["actor"].startswith("host:")


def test_the_key_of_the_record_is_rotated_and_every_checkpoint_still_verifies(hospital: Running) -> None:
    """C152: the public half stays for as long as the checkpoints do."""
    shell = host(hospital)
    first = shell.json("keys", "rotate", "checkpoint")
    second = shell.json("keys", "rotate", "checkpoint")

    assert first["key"] != second["key"]
    verified = shell.hilum("audit", "verify")
    assert verified.returncode == DONE, verified.stdout


def test_what_no_node_could_open_is_not_made(hospital: Running, tmp_path: Path) -> None:
    """Another HILUM_SECRET_KEY than the nodes have, or a database without tables: refused in a sentence, nothing is changed."""
    shell = host(hospital)
    before = published(hospital, "general")

    for words in (("id_token", "--tenant", "general"), ("checkpoint",)):
        other = Shell(shell.variables | {"HILUM_SECRET_KEY": "another-key" * 4})
        other.refuses("keys", "rotate", *words, saying="HILUM_SECRET_KEY does not open")
        empty = Shell(shell.variables | {"HILUM_DATABASE_URL": f"sqlite:///{tmp_path}/empty.db"})
        empty.refuses("keys", "rotate", *words, saying="hilum migrate")

    assert published(hospital, "general") == before


def test_a_rotation_that_names_no_ring_is_refused_and_changes_nothing(hospital: Running) -> None:
    shell = host(hospital)
    before = published(hospital, "general")

    shell.refuses("keys", "rotate", "id_token", saying="set --tenant")
    shell.refuses("keys", "rotate", "checkpoint", "--tenant", "general", saying="leave --tenant out")
    shell.refuses("keys", "rotate", "id_token", "--tenant", "nowhere", saying="tenant_not_found")
    assert shell.hilum("keys", "rotate", "everything").returncode == MISUSED

    assert published(hospital, "general") == before
