"""OAuth 2.0 as pure values: parameters, error codes, PKCE, redirect URIs.

Source: RFC 6749 (OAuth 2.0), RFC 7636 (PKCE), RFC 9207 (issuer identification), RFC 9700 (security BCP), OpenID Connect Core 1.0.
"""

import hashlib
import hmac
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from hilum.foundation.kernel import base64url

# The form holds the client's credentials, so it is read before the client is authenticated.
BODY_BOUND = 64 * 1024
PARAMETERS_BOUND = 100
S256 = "S256"
RESPONSE_TYPE_CODE = "code"

# 43 to 128 characters: the lower bound keeps 256 bits of entropy, the upper one bounds the hash
# (RFC 7636 section 4.1).
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


class AuthorizeError(StrEnum):
    """Errors of the authorization endpoint. Source: RFC 6749 section 4.1.2.1; OpenID Connect Core 1.0 section 3.1.2.6."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    ACCESS_DENIED = "access_denied"
    UNSUPPORTED_RESPONSE_TYPE = "unsupported_response_type"
    INVALID_SCOPE = "invalid_scope"
    SERVER_ERROR = "server_error"
    TEMPORARILY_UNAVAILABLE = "temporarily_unavailable"
    LOGIN_REQUIRED = "login_required"
    CONSENT_REQUIRED = "consent_required"
    INTERACTION_REQUIRED = "interaction_required"
    REQUEST_NOT_SUPPORTED = "request_not_supported"
    REQUEST_URI_NOT_SUPPORTED = "request_uri_not_supported"


class TokenError(StrEnum):
    """Errors of the token endpoint. Source: RFC 6749 section 5.2."""

    INVALID_REQUEST = "invalid_request"
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    UNAUTHORIZED_CLIENT = "unauthorized_client"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    INVALID_SCOPE = "invalid_scope"


@dataclass(frozen=True, slots=True)
class Parameters:
    """Request parameters. A repeated one is absent from ``values`` and listed in ``repeated``.

    Source: RFC 6749 section 3.1: parameters must not be included more than once; one without a value is treated as omitted.
    """

    values: dict[str, str]
    repeated: frozenset[str]

    def get(self, name: str) -> str:
        """Return the value; empty when it is absent, empty or repeated."""
        return self.values.get(name, "")


def read_parameters(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Build parameters from the decoded pairs of a query string or a form body."""
    # A repeated parameter has no value at all. With either of its values, the check and the use could see different ones.
    present = [(name, value) for name, value in pairs if value]
    counts = Counter(name for name, _ in present)
    repeated = frozenset(name for name, count in counts.items() if count > 1)
    return Parameters({name: value for name, value in present if name not in repeated}, repeated)


def decode_form(text: str) -> list[tuple[str, str]] | None:
    """Decode ``application/x-www-form-urlencoded`` text; None when it is not UTF-8 or has more than PARAMETERS_BOUND parameters."""
    try:
        # Blank values are kept here and dropped in `read_parameters`, so that a parameter that is once empty
        # and once set does not count as repeated.
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_BOUND)
    except ValueError:
        return None


def printable(text: str) -> bool:
    """Check whether a text has only the characters that RFC 6749 appendix A allows in ``state`` and similar parameters."""
    return _PRINTABLE.fullmatch(text) is not None


def description(text: str) -> str:
    """Replace characters that ``error_description`` does not allow. Source: RFC 6749 section 4.1.2.1."""
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" if c in '"\\' else "?" for c in text)


def challenge_well_formed(challenge: str) -> bool:
    """Check whether a text can be an S256 challenge: 32 bytes in base64url. Source: RFC 7636 section 4.2."""
    if not _CHALLENGE.fullmatch(challenge):
        return False
    # 43 characters hold 258 bits, so the last two bits must be zero. A challenge with others would equal no
    # hash, and the code could never be redeemed.
    raw = base64url.decode(challenge)
    return base64url.encode(raw) == challenge


def verifier_well_formed(verifier: str) -> bool:
    """Check whether a text can be a code verifier. Source: RFC 7636 section 4.1."""
    return _VERIFIER.fullmatch(verifier) is not None


def s256(verifier: str) -> str:
    """Build the challenge of a verifier. Source: RFC 7636 section 4.2."""
    return base64url.encode(hashlib.sha256(verifier.encode()).digest())


def verifier_matches(verifier: str, challenge: str) -> bool:
    """Check whether a verifier matches the challenge, in constant time. Source: RFC 7636 section 4.6."""
    return verifier_well_formed(verifier) and hmac.compare_digest(s256(verifier), challenge)


def with_parameters(uri: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Add parameters to a URI, keeping its query. Source: RFC 6749 sections 3.1.2 and 4.1.2."""
    # Registered redirect URIs have no fragment, so appending to the end is enough.
    added = urlencode(list(parameters), quote_via=quote, safe="")
    return f"{uri}{'&' if '?' in uri else '?'}{added}"


def form_action_source(uri: str) -> str:
    """Return the CSP ``form-action`` source for a redirect URI: its origin, or its private-use scheme.

    What follows a private-use scheme is the app's own syntax and was never validated as a host.
    """
    # CSP limits form submissions through redirects too: the consent form is posted here and then redirected to the app.
    scheme = uri.partition(":")[0]
    return f"{scheme}://{urlsplit(uri).netloc}" if scheme in {"https", "http"} else f"{scheme}:"


def proves_client(uri: str) -> bool:
    """Check whether only the client's owner can receive responses at a redirect URI: https on a host other than loopback.

    Source: RFC 8252 sections 8.6 and 8.1; RFC 9700 section 4.14: other apps can impersonate a client at loopback and private-use scheme URIs.
    """
    return uri.startswith("https://") and urlsplit(uri).hostname not in {"localhost", "127.0.0.1", "::1"}
