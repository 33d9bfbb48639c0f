"""The sandbox's credentials file: the secrets of its clients, in one file, for its EHR, its apps and scripts.

The card publishes everything in it, unless the sandbox is public; the file is readable by its owner only.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from joserfc.jwk import ECKey, RSAKey

from hilum.foundation.kernel.errors import Invalid, Unavailable
from hilum_ehr.sandbox.clients import public_jwks

FILE_NAME = "sandbox-credentials.json"
FILE_BOUND = 4 * 1024 * 1024
# The least that RFC 7518 section 3.3 allows; seeding creates several keys.
RSA_BITS = 2_048


@dataclass(slots=True)
class CredentialsFile:
    """What seeding creates. ``groups``: the ids of Group resources, by tenant."""

    client_secrets: dict[str, str] = field(default_factory=dict)
    private_jwks: dict[str, dict[str, Any]] = field(default_factory=dict)
    api_tokens: dict[str, str] = field(default_factory=dict)
    """By the username of staff."""
    charts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By tenant: the card's entries of patients (id, name, notable, encounters)."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    public: bool = False
    """Seeded to be open to strangers: every password is random, and is in ``passwords``."""
    passwords: dict[str, str] = field(default_factory=dict)
    """By ``tenant/username``, ``/username`` for staff, ``vendor:slug/username`` for members of a vendor."""
    vendors: dict[str, str] = field(default_factory=dict)
    """The ids of vendors, by slug; empty in a sandbox that an older release seeded."""

    def password(self, tenant: str, username: str, published: str) -> str:
        """Return an account's password: the published one, unless this sandbox was seeded to be open to strangers."""
        return self.passwords.get(f"{tenant}/{username}", "") if self.public else published

    def make_keys(self, client_id: str) -> dict[str, Any]:
        """Return a client's public key set, created on first use: one key for RS384, one for ES384.

        The private keys have ``key_ops`` ``sign``: the public conformance suites sign with no other key (RFC 7517 section 4.3).
        """
        # Seeding can be repeated: a client that exists keeps its keys.
        if client_id not in self.private_jwks:
            keys: list[RSAKey | ECKey] = [
                RSAKey.generate_key(RSA_BITS, {"use": "sig", "alg": "RS384", "kid": f"{client_id}-rs384"}),
                ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": f"{client_id}-es384"}),
            ]
            private = [key.as_dict(private=True) | {"key_ops": ["sign"]} for key in keys]
            self.private_jwks[client_id] = {"keys": private}
        return public_jwks(self.private_jwks[client_id])

    def content(self) -> bytes:
        """Return the content of the file. Raises Invalid if it is larger than FILE_BOUND, which ``load`` refuses."""
        content = orjson.dumps(
            {name: getattr(self, name) for name in self.__slots__}, option=orjson.OPT_INDENT_2
        )
        if len(content) > FILE_BOUND:
            detail = f"The sandbox's list of patients would be larger than {FILE_BOUND} bytes. Load fewer patients."
            raise Invalid("too_many_patients", detail)
        return content

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises Invalid as ``content`` does; the old file stays then."""
        content = self.content()
        new_file = path.with_suffix(".new")
        # Created with its mode: until a later chmod, others could read it.
        descriptor = os.open(new_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        new_file.replace(path)

    @staticmethod
    def load(path: Path) -> "CredentialsFile":
        """Read the file. Raises Unavailable if it is missing or not a credentials file."""
        try:
            if path.stat().st_size > FILE_BOUND:
                raise ValueError("the file is too large")
            content = orjson.loads(path.read_bytes())
            return CredentialsFile(**content)
        except (OSError, ValueError, TypeError) as error:
            detail = "The sandbox has not been seeded; run `hilum sandbox seed`."
            raise Unavailable("sandbox_not_seeded", detail) from error


class ChartLists:
    """Keeps the credentials file's charts up to date with its file, to which ``hilum sandbox load`` adds while the site is served."""

    def __init__(self, path: Path, credentials_file: CredentialsFile) -> None:
        self._path, self._credentials_file, self._read_version = path, credentials_file, _mtime_ns(path)

    def refresh(self) -> None:
        """Read the charts again if the file has changed. While it cannot be read they stay as they are."""
        if (version := _mtime_ns(self._path)) != self._read_version:
            with suppress(Unavailable):
                self._credentials_file.charts, self._read_version = (
                    CredentialsFile.load(self._path).charts,
                    version,
                )


def _mtime_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
