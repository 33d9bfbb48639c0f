"""Secrets of a client (C9)."""

import hashlib
from dataclasses import replace

import pytest

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import ClientSecret
from tests.unit.apps.registry.values import CLIENT, FUTURE, NOW


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("presented", "matches"),
    [("new", True), ("old", True), ("ended", False), ("other", False), ("", False), ("NEW", False)],
)
def test_two_secrets_overlap_until_the_stated_end(presented: str, matches: bool) -> None:
    """C9."""
    client = replace(
        CLIENT,
        secrets=(ClientSecret(sha("new")), ClientSecret(sha("old"), FUTURE), ClientSecret(sha("ended"), NOW)),
    )

    assert clients_policy.secret_matches(client, sha(presented), NOW) is matches
    assert not clients_policy.secret_matches(CLIENT, sha(presented), NOW)
    assert not clients_policy.secret_matches(client, presented, NOW)
