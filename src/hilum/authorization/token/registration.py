"""Dynamic client registration, which is open only in a plain sandbox. Source: RFC 7591 section 3."""

from typing import Any

import orjson

from hilum.apps.clients import policy as clients_policy
from hilum.apps.installations import service as installations
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web.faults import text_of
from hilum.foundation.web.urls import Site

INVALID_REDIRECT = "invalid_redirect_uri"
INVALID_METADATA = "invalid_client_metadata"


def read_metadata(raw: bytes) -> dict[str, Any]:
    """Parse a registration request. Raises Invalid."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise Invalid(INVALID_METADATA, "The body must be one JSON object.")
    return body


def register(ctx: Context, site: Site, body: dict[str, Any]) -> dict[str, Any]:
    """Register a client at the tenant and return the response, which alone contains its secret.

    Raises Invalid with a code of RFC 7591 section 3.2.2 and the field errors of any other registration (C1); NotFound, NotPermitted.
    """
    try:
        client, secret = installations.register_dynamically(ctx, site.tenant, body)
    except Invalid as fault:
        raise Invalid(_code(fault), _sentence(fault), fields=fault.fields) from fault
    return clients_policy.registration_answer(client, secret)


def _code(fault: Invalid) -> str:
    # Origins default to those of the redirect URIs, so one invalid redirect URI causes an error in both fields.
    by_redirects = "redirect_uris" in fault.fields and set(fault.fields) <= {"redirect_uris", "origins"}
    return INVALID_REDIRECT if by_redirects else INVALID_METADATA


def _sentence(fault: Invalid) -> str:
    sentences = (f"{name}: {text_of(code)}" for name, code in sorted(fault.fields.items()))
    return " ".join(sentences) or fault.detail
