"""``hilum certificate verify`` with files alone: no platform, no token (C113)."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner

from hilum.review.certificates import policy
from hilum.review.certificates.models import LIST_TYPE, Status
from hilum.surfaces.cli.certificates import certificate
from tests.unit.review.certificates.facts import AT, KEYS, claims, signed

NOW = datetime.now(UTC)
ENDS = policy.seconds(NOW + timedelta(days=30))


@pytest.mark.parametrize(
    ("change", "statuses", "code", "says"),
    [
        ({}, None, 0, "unless it was withdrawn"),
        ({}, {}, 0, "was valid when the list was made"),
        ({}, {7: Status.INVALID}, 1, "revoked"),
        ({}, {7: Status.SUSPENDED}, 1, "suspended"),
        ({"exp": policy.seconds(NOW) - 1}, None, 1, "expired"),
        ({"environment": "sandbox"}, {}, 1, "sandbox_only"),
    ],
    ids=range(6),
)
def test_a_certificate_in_a_file_is_verified_without_a_network(
    tmp_path: Path, change: dict[str, Any], statuses: dict[int, Status] | None, code: int, says: str
) -> None:
    """C113: and says what was certified, of whom and until when."""
    file, keys, listed = (tmp_path / name for name in ("rota.jws", "keys.json", "status.jwt"))
    file.write_text(signed(claims(nbf=0, exp=ENDS) | change) + "\n")
    keys.write_bytes(orjson.dumps(KEYS))
    given = ["verify", str(file), "--keys", str(keys)]
    if statuses is not None:
        listed.write_text(signed(policy.list_claims(0, statuses, now=NOW, at=AT), typ=LIST_TYPE))
        given += ["--status", str(listed)]

    done = CliRunner().invoke(certificate, given)

    assert (done.exit_code, says in done.output) == (code, True), done.output
    assert "Rota" in done.output


def test_an_empty_status_list_is_none_that_says_valid(tmp_path: Path) -> None:
    """C113: such as the file of a download that failed."""
    file, keys, listed = (tmp_path / name for name in ("rota.jws", "keys.json", "status.jwt"))
    file.write_text(signed(claims(nbf=0, exp=ENDS)))
    keys.write_bytes(orjson.dumps(KEYS))
    listed.write_text("")

    done = CliRunner().invoke(
        certificate, ["verify", str(file), "--keys", str(keys), "--status", str(listed)]
    )

    assert (done.exit_code, "status_list_malformed" in done.output) == (1, True), done.output


def test_what_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "rota.jws"
    file.write_bytes(b"\xff\x00")

    missing = CliRunner().invoke(certificate, ["verify", str(file), "--keys", str(tmp_path / "none.json")])
    broken = CliRunner().invoke(certificate, ["verify", str(file), "--keys", str(file)])

    assert (missing.exit_code, broken.exit_code) == (1, 1)
    assert "cannot be read" in missing.output
    assert "This is not a certificate." in broken.output
