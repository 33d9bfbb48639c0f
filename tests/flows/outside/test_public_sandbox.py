"""A sandbox that strangers may reach shares no credential with the published one (security decision 28; contract, Modes)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hilum.server import seed
from hilum_ehr.sandbox.credentials import FILE_NAME
from hilum_ehr.synthesis.policy import hospitals
from tests.sim.command_line import run_hilum
from tests.sim.postgres import free_port
from tests.sim.running import Running, start
from tests.sim.seeded import KEY, SANDBOX_URL

PUBLIC = {"HILUM_SANDBOX_PUBLIC": "1"}


@pytest.fixture(scope="module")
def public(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One sandbox for strangers, seeded as such. It has the planned charts only: what is seeded of accounts is all there."""
    seeded = tmp_path_factory.mktemp("seeded")
    few = tuple(replace(each, size=len(each.notable)) for each in hospitals())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed, "hospitals", lambda: few)
        told = {"HILUM_DATA_DIR": str(seeded), "HILUM_DATABASE_URL": f"sqlite:///{seeded}/hilum.db"}
        done = run_hilum(
            ("sandbox", "seed"),
            KEY | PUBLIC | told | {"HILUM_SANDBOX_URL": SANDBOX_URL, "HILUM_MODE": "sandbox"},
        )
    assert done.returncode == 0, done.stderr
    started = start(tmp_path_factory.mktemp("public"), seeded=seeded, HILUM_SANDBOX_PUBLIC="1")
    yield started
    started.stop()


def credentials_file(sandbox: Running) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((sandbox.home / FILE_NAME).read_text())
    return found


def token(sandbox: Running, username: str, password: str, tenant: str | None) -> int:
    body = {"username": username, "password": password, "tenant": tenant}
    return httpx2.post(f"{sandbox.base}/api/v1/tokens", json=body, timeout=30).status_code


def accounts(sandbox: Running) -> list[tuple[str | None, str]]:
    card = sandbox.card
    people: list[tuple[str | None, str]] = [(each["tenant"], each["username"]) for each in card["people"]]
    return people + [(None, each["username"]) for each in card["staff"]]


def refused(sandbox: Running, *words: str, **settings: str) -> str:
    """Run a command that would serve on this sandbox's data to strangers, and return why it did not."""
    listen = {"HILUM_LISTEN": f"127.0.0.1:{free_port()}", "HILUM_SANDBOX_LISTEN": f"127.0.0.1:{free_port()}"}
    done = sandbox.hilum(*words, **(listen | PUBLIC | settings))
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stderr


def test_no_published_password_opens_a_public_sandbox(public: Running) -> None:
    """``sandbox-admin.ferro`` made a platform administrator's token."""
    tried = [(tenant, username) for tenant, username in accounts(public) if tenant in {None, "clinic"}]
    assert len(tried) >= 12

    answers = {token(public, username, f"sandbox-{username}", tenant) for tenant, username in tried}

    assert answers == {401}


def test_every_credential_is_its_own_and_in_the_owners_file_only(public: Running, hospital: Running) -> None:
    own, published = credentials_file(public), credentials_file(hospital)
    secrets = [*own["passwords"].values(), *own["client_secrets"].values(), *own["api_tokens"].values()]

    assert len(set(secrets)) == len(secrets)
    listed = {f"{tenant or ''}/{username}" for tenant, username in accounts(public)}
    # The file names a member's vendor by its name in the plan, the card by its id.
    listed |= {f"vendor:lumen/{each['username']}" for each in public.card["members"]}
    assert listed == set(own["passwords"])
    assert set(secrets).isdisjoint([*published["client_secrets"].values(), *published["api_tokens"].values()])
    assert (public.home / FILE_NAME).stat().st_mode & 0o077 == 0
    shown = [
        httpx2.get(f"{public.sandbox}{path}").text
        for path in ("/sandbox/card.json", "/sandbox/accounts", "/sandbox", "/sandbox/h/general")
    ]
    assert [secret for secret in secrets for page in shown if secret in page] == []
    everybody = public.card["people"] + public.card["staff"] + public.card["members"]
    assert [each for each in everybody if each["password"]] == []
    assert "sandbox-admin" not in public.log
    assert token(public, "admin.ferro", own["passwords"]["/admin.ferro"], None) == 201


@pytest.mark.parametrize(
    "words", [("sandbox", "run"), ("sandbox", "seed"), ("serve",), ("serve", "--part", "sandbox")]
)
def test_what_was_seeded_for_this_machine_is_not_opened_to_strangers(
    hospital: Running, words: tuple[str, ...]
) -> None:
    said = refused(hospital, *words)

    assert "published_credentials" in said
    assert "make clean" in said


@pytest.mark.parametrize("words", [("serve",), ("serve", "--part", "platform"), ("serve", "--part", "jobs")])
def test_the_passwords_themselves_are_tried_whatever_the_file_says(
    hospital: Running, tmp_path: Path, words: tuple[str, ...]
) -> None:
    """Data of before the mark, or a file from elsewhere."""
    (tmp_path / FILE_NAME).write_text(json.dumps({"public": True}))

    assert "published_credentials" in refused(hospital, *words, HILUM_DATA_DIR=str(tmp_path))
