"""Page links: opaque, short-lived, and worth nothing to any other grant.

A link holds the search as it was asked (so that it is judged again, as if it were sent again) and where the FHIR server continues.
"""

from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import datetime
from itertools import count

import orjson

from hilum.authorization.tokens.models import AccessToken
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ports import Ids
from hilum.foundation.standards.fhir.parameters import PAGE_PARAMETER, RESULT_PARAMETERS
from hilum.foundation.standards.fhir.requests import FhirRequest, Interaction
from hilum.gateway.enforcement.models import PAGE_LINK_BOUND, PAGE_LINK_LIFE, GatewayRequest, Page
from hilum.records.keys.live import Vault

PURPOSE = "page"
_STRANGE = Deny(
    Reason.REQUEST_UNSUPPORTED, "This page link was not made for this access token, or is too old."
)


def grant_of(token: AccessToken) -> str:
    """Return the grant that a link is bound to, as text: it outlives one access token, and no other app, person, patient or tenant has it."""
    holder = (token.tenant, token.client, token.person, token.patient)
    return "|".join((*holder, token.authorization, token.family, token.launch))


class PageLinks:
    """Seals and follows page links. One per process."""

    def __init__(self, vault: Vault, ids: Ids) -> None:
        # AES-GCM needs a nonce that never repeats under the key: the count within this process, 48
        # random bits between processes.
        self._vault, self._process, self._count = vault, urlsafe_b64decode(ids.secret(6)), count()

    def seal(self, page: Page, token: AccessToken, now: datetime) -> str | None:
        """Build the value of a page link; None if the search is too long for one."""
        until = int((now + PAGE_LINK_LIFE).timestamp())
        plain = orjson.dumps([until, page.type, page.params, page.target, page.skip])
        # base64 makes four characters of three bytes; 28 bytes are nonce and tag.
        if len(plain) > PAGE_LINK_BOUND * 3 // 4 - 28:
            return None
        return self._vault.seal(PURPOSE, plain, nonce=self.nonce(), bound_to=grant_of(token))

    def nonce(self) -> bytes:
        """Return a fresh nonce without asking the system for randomness each time."""
        return self._process + next(self._count).to_bytes(6, "big")

    def unseal(self, sealed: str, token: AccessToken, now: datetime) -> Page | None:
        """Read a page link; None if it was not made for this grant, was changed, or is too old."""
        if len(sealed) > PAGE_LINK_BOUND:
            return None
        try:
            until, type_, params, target, skip = orjson.loads(
                self._vault.open(PURPOSE, sealed, grant_of(token))
            )
        except Invalid:
            return None
        if now.timestamp() >= until:
            return None
        return Page(type_, tuple((name, value) for name, value in params), target, skip)

    def follow(self, incoming: GatewayRequest) -> Deny | None:
        """Replace a page link by the search behind it, to be judged as if it were sent again, and where it continues.

        Return why that cannot be done; None if it was done, or the request is no page link. Without a valid token the page is empty: such a
        request is refused for its token, whatever its link holds.
        """
        request, token = incoming.request, incoming.token
        if not isinstance(request, FhirRequest) or request.interaction is not Interaction.SEARCH_TYPE:
            return None
        sealed = [value for name, value in request.params if name == PAGE_PARAMETER]
        if not sealed or {name for name, _ in request.params} - {PAGE_PARAMETER, *RESULT_PARAMETERS}:
            return None
        page: Page | None = Page(request.type, (), "")
        if isinstance(token, AccessToken):
            page = self.unseal(sealed[0], token, incoming.at) if len(sealed) == 1 else None
        if page is None or page.type != request.type:
            return _STRANGE
        incoming.request, incoming.page = replace(request, params=page.params), page
        return None
