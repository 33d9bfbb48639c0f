"""A certified app, its certificate and the keys that sign it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hilum.apps.registry.models import App, AppVersion, Certification, Environment, Vendor
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.policy.matrix.models import ClientAuthentication, Tier
from hilum.review.certificates import policy
from hilum.review.certificates.models import CERTIFICATE_TYPE, Addresses, Cause, Certificate, Evidence, Status

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
AT = Addresses("https://hilum.example/certificates", "https://hilum.example/certificates/status")
VENDOR = Vendor(VendorId("ven_1"), "Acme", "a@acme.example", "s@acme.example")
APP = App(AppId("app_1"), VENDOR.id, "Rota", "Shows.", "Planning.", category="scheduling")
VERSION = AppVersion(VersionId("ver_1"), APP.id, "2.0", NOW)
CERTIFIED = Certification(
    "cert_1",
    APP.id,
    VERSION.id,
    ("launch", "user/Slot.rs"),
    "staff:per_1",
    NOW - DAY,
    NOW + 30 * DAY,
    Environment.PRODUCTION,
    {ClientAuthentication.NONE: Tier.LOW},
    "scheduling",
)
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))


def jwks(**keys: Ed25519PrivateKey) -> dict[str, Any]:
    """Public keys by their ids."""
    return {
        "keys": [
            {
                "kid": kid,
                "kty": "OKP",
                "crv": "Ed25519",
                "x": base64url.encode(key.public_key().public_bytes_raw()),
            }
            for kid, key in keys.items()
        ]
    }


def signed(claims: Mapping[str, Any], key: Ed25519PrivateKey = KEY, **header: Any) -> str:
    whole = {"alg": "EdDSA", "kid": "k1", "typ": CERTIFICATE_TYPE} | header
    text = f"{base64url.encode(orjson.dumps(whole))}.{base64url.encode(orjson.dumps(claims))}"
    return f"{text}.{base64url.encode(key.sign(text.encode()))}"


def claims(number: int = 7, **change: Any) -> dict[str, Any]:
    documents = (("pentest", "f" * 64, ""), ("data_flow", "a" * 64, "https://acme.example/flow.pdf"))
    evidence = Evidence("sub_1", "d" * 64, 2, "e" * 64, documents, 3)
    made = policy.claims_of(CERTIFIED, APP, VENDOR, VERSION, evidence, number=number, now=NOW, at=AT)
    return made | change


KEYS = jwks(k1=KEY)
SHOWN = Certificate(
    "cert_1", 7, APP.id, VENDOR.id, VERSION.id, Environment.PRODUCTION, "Rota", "Acme", "2.0", Tier.LOW,
    NOW, NOW + 30 * DAY, Status.VALID, Cause.NONE, NOW, 1,
)  # fmt: skip
