"""An authenticator in software: it makes and uses passkeys as a browser answers with them (WebAuthn Level 2)."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class Authenticator:
    """``origin`` is what the browser reports, ``host`` what the device signs. ``flags``: present and verified."""

    origin: str = "http://localhost:8000"
    host: str = "localhost"
    flags: int = PRESENT | VERIFIED
    counts: bool = True
    count: int = 0
    credential: bytes = b"a credential's id"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: str) -> dict[str, Any]:
        """Answer the options for making a passkey."""
        numbers = self.key.public_key().public_numbers()
        # COSE: an EC2 key (2) for ES256 (-7) on P-256 (1). RFC 9053 section 7.1.1.
        point = {-2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        public = cbor2.dumps({1: 2, 3: -7, -1: 1} | point)
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + public
        data = self._data(self.flags | ATTESTED) + attested
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        client = self._client("webauthn.create", options)
        return self._answer(client, {"attestationObject": encode(statement)})

    def get(self, options: str) -> dict[str, Any]:
        """Answer the options for using a passkey."""
        self.count += self.counts
        data, client = self._data(self.flags), self._client("webauthn.get", options)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(client, {"authenticatorData": encode(data), "signature": encode(signature)})

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.host.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _client(self, kind: str, options: str) -> bytes:
        said = {"type": kind, "challenge": json.loads(options)["challenge"], "origin": self.origin}
        return json.dumps(said).encode()

    def _answer(self, client: bytes, response: dict[str, str]) -> dict[str, Any]:
        named = encode(self.credential)
        found = {"clientDataJSON": encode(client)} | response
        return {"id": named, "rawId": named, "type": "public-key", "response": found}
