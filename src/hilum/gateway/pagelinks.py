"""Page links: opaque, short-lived, and worth nothing to any other grant.

A link holds the search as it was asked (so that it is judged again, as if it were sent again) and where the FHIR server goes on.
"""

from base64 import urlsafe_b64decode
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

import orjson

from hilum.gateway.models import PAGE_LINK_BOUND, PAGE_LINK_LIFE
from hilum.kernel.decision import Deny
from hilum.kernel.errors import Invalid
from hilum.kernel.ports import Ids
from hilum.keys.live import Vault
from hilum.standards.fhir.requests import RESULT_PARAMETERS, FhirRequest, Interaction, Unsupported
from hilum.tokens.models import AccessToken

PARAMETER = "_page"
PURPOSE = "page"
_STRANGE = Unsupported("page_link", "This page link was not made for this access token, or is too old.")


@dataclass(frozen=True, slots=True)
class Page:
    """Where a search continues: the requested parameters, the FHIR server's target, and how many of its matches were returned already."""

    type: str
    params: tuple[tuple[str, str], ...]
    target: str
    skip: int = 0


class Nonces:
    """Fresh nonces without asking the system for randomness each time: a random half of this process, and a count."""

    def __init__(self, ids: Ids) -> None:
        # AES-GCM needs a nonce that never repeats under the key: the count within this process, 48
        # random bits between processes.
        self._own, self._count = urlsafe_b64decode(ids.secret(6)), count()

    def next(self) -> bytes:
        return self._own + next(self._count).to_bytes(6, "big")


def grant_of(token: AccessToken) -> str:
    """Return the grant that a link is bound to, as text: it outlives one access token, and no other app, person, patient or tenant has it."""
    holder = (token.tenant, token.client, token.person, token.patient)
    return "|".join((*holder, token.authorization, token.family, token.launch))


def seal(vault: Vault, nonces: Nonces, page: Page, token: AccessToken, now: datetime) -> str | None:
    """Build the value of a page link; None if the search is too long for one."""
    until = int((now + PAGE_LINK_LIFE).timestamp())
    plain = orjson.dumps([until, page.type, page.params, page.target, page.skip])
    # base64 makes four characters of three bytes; 28 bytes are nonce and tag.
    if len(plain) > PAGE_LINK_BOUND * 3 // 4 - 28:
        return None
    return vault.seal(PURPOSE, plain, nonce=nonces.next(), bound_to=grant_of(token))


def unseal(vault: Vault, text: str, token: AccessToken, now: datetime) -> Page | None:
    """Read a page link; None if it was not made for this grant, was changed, or is too old."""
    if len(text) > PAGE_LINK_BOUND:
        return None
    grant = grant_of(token)
    try:
        until, type_, params, target, skip = orjson.loads(vault.open(PURPOSE, text, grant))
    except Invalid:
        return None
    if now.timestamp() >= until:
        return None
    return Page(type_, tuple((name, value) for name, value in params), target, skip)


def followed(
    vault: Vault, request: FhirRequest | Unsupported, token: AccessToken | Deny | None, now: datetime
) -> tuple[FhirRequest | Unsupported, Page | None]:
    """Return the search behind a page link, to be judged as if it were sent again, and where it continues; without a link, the request.

    Without a valid token the page is empty: such a request is refused for its token, whatever its link holds.
    """
    if isinstance(request, Unsupported) or request.interaction is not Interaction.SEARCH_TYPE:
        return request, None
    sealed = [value for name, value in request.params if name == PARAMETER]
    if not sealed or {name for name, _ in request.params} - {PARAMETER, *RESULT_PARAMETERS}:
        return request, None
    page: Page | None = Page(request.type, (), "")
    if isinstance(token, AccessToken):
        page = unseal(vault, sealed[0], token, now) if len(sealed) == 1 else None
    if page is None or page.type != request.type:
        return _STRANGE, None
    return replace(request, params=page.params), page
