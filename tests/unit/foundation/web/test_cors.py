"""Which scripts of other origins may read a response (contract, CORS)."""

import pytest

from hilum.foundation.web import cors

APP, OTHER = "https://app.example", "https://evil.example"


@pytest.mark.parametrize(
    ("origin", "allowed", "shown"),
    [
        (APP, {APP}, APP),
        (OTHER, {APP, "*"}, "*"),
        ("", {"*"}, "*"),
        (OTHER, {APP}, None),
        (APP + ".evil.example", {APP}, None),
        ("null", {APP}, None),
        ("", {APP}, None),
        (APP, set(), None),
    ],
)
def test_only_an_origin_that_is_registered_reads_an_answer(
    origin: str, allowed: set[str], shown: str | None
) -> None:
    """Without credentials, and no cache shows one origin the answer to another."""
    headers = dict(cors.answer(origin.encode(), frozenset(allowed)))

    assert headers.get(b"access-control-allow-origin") == (None if shown is None else shown.encode())
    assert headers[b"vary"] == b"Origin"
    assert b"access-control-allow-credentials" not in headers
    assert (b"access-control-expose-headers" in headers) == (shown is not None)
