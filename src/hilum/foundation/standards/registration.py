"""Parses dynamic registration requests by type and length only; ``clients.policy`` judges the values. Pure.

Source: RFC 7591 section 2; OpenID Connect Registration 1.0 section 2 (application_type).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Registration is open to strangers in a sandbox, so each value is bounded before it is judged. A software
# statement or logo URI is not among the supported members and is ignored.
TEXT_BOUND = 20_000
LIST_BOUND = 100
_LISTS = ("redirect_uris", "origins", "grant_types", "response_types")
_TEXTS = (
    "client_name",
    "token_endpoint_auth_method",
    "application_type",
    "launch_url",
    "initiate_login_uri",
    "scope",
    "jwks_uri",
)
# client_secret_jwt is absent: it would require the secret to be stored in a form from which the server can compute with it.
_METHODS = frozenset({"none", "client_secret_basic", "client_secret_post", "private_key_jwt"})


@dataclass(frozen=True, slots=True)
class RegistrationRequest:
    """The supported members of a request; absent ones are empty."""

    texts: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    jwks: dict[str, Any] | None

    @property
    def method(self) -> str:
        """The requested authentication method. Source: RFC 7591 section 2, for the default."""
        # An omitted method means client_secret_basic, not a public client: a client that forgets the member
        # must not lose its authentication.
        return self.texts["token_endpoint_auth_method"] or "client_secret_basic"


def read_registration(body: Mapping[str, Any]) -> RegistrationRequest | dict[str, str]:
    """Parse a request; return it, or its errors as field -> code. Unknown members are ignored (RFC 7591 section 2)."""
    faults: dict[str, str] = {}
    texts = {name: _text(body, name, faults) for name in _TEXTS}
    lists = {name: _list(body, name, faults) for name in _LISTS}
    jwks = body.get("jwks")
    if jwks is not None and not isinstance(jwks, dict):
        faults["jwks"] = "jwks_malformed"
    request = RegistrationRequest(texts, lists, jwks)
    if request.method not in _METHODS:
        faults["token_endpoint_auth_method"] = "method_unsupported"
    # The implicit grant is not offered (RFC 9700 section 2.1.2).
    if set(lists["response_types"]) - {"code"}:
        faults["response_types"] = "response_type_unsupported"
    if texts["application_type"] not in {"", "web", "native"}:
        faults["application_type"] = "application_type_unsupported"
    # All faults at once, so that a developer corrects them in one round.
    return faults or request


def _text(body: Mapping[str, Any], name: str, faults: dict[str, str]) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > TEXT_BOUND:
        faults[name] = "not_a_text"
        return ""
    return value


def _list(body: Mapping[str, Any], name: str, faults: dict[str, str]) -> tuple[str, ...]:
    value = body.get(name)
    if value is None:
        return ()
    if (
        not isinstance(value, list)
        or len(value) > LIST_BOUND
        or not all(isinstance(each, str) for each in value)
    ):
        faults[name] = "not_a_list_of_texts"
        return ()
    return tuple(value)
