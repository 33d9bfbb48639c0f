"""What a FHIR server over HTTP accepts Hilum by, sealed as the platform seals it."""

from typing import Any

from hilum.gateway.upstream.access import seal_secrets
from hilum.identity.people.models import UpstreamKind, UpstreamRef, UpstreamSecrets
from hilum.records.keys.live import vault


def sealed_header(authorization: str, *, url: str, ids: Any) -> str:
    """Seal an Authorization header for the server at an address."""
    return seal_secrets(vault(), UpstreamSecrets(authorization), UpstreamRef(UpstreamKind.HTTP, url), ids)
