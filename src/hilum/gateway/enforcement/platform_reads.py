"""Reads of records that the platform makes itself: the picker's searches, the name of a record on a page.

They pass the same decision, labels, switches, quotas and journal as an app's read. The subject is the person at the browser, with
the rights of their role, on behalf of the app that asked; scopes are those of the purpose, never the app's.
Source: security decision 21
"""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import orjson

from hilum.authorization.tokens.models import AccessToken, Grant
from hilum.foundation.infra.context import Trace
from hilum.foundation.kernel.decision import Deny, ReadPurpose
from hilum.foundation.kernel.ids import FamilyId
from hilum.foundation.kernel.ports import Clock
from hilum.foundation.standards.fhir.requests import parse
from hilum.gateway.enforcement.models import GatewayRequest
from hilum.gateway.enforcement.service import Enforcer

# Only until this one read is decided, for which a minute is ample.
_AT_ONCE = timedelta(minutes=1)
_ACCEPT = {"accept": "application/fhir+json"}


class PlatformReads:
    """The platform's own way through the enforcement point. One per process, used from its event loop."""

    def __init__(self, enforcer: Enforcer, clock: Clock) -> None:
        self._enforcer, self._clock = enforcer, clock
        self._count = count(1)

    async def search(
        self, reader: Grant, purpose: ReadPurpose, target: str, *, since: datetime, binding: str, trace: Trace
    ) -> dict[str, Any] | Deny:
        """Search on behalf of ``reader`` and return the Bundle, cut to what they may see, or why not.

        ``target`` is ``Type?query``, encoded. ``since``: when the reader's request began, which a full stop that ended later leaves dead.
        ``binding`` names what page links are tied to. The durable access record of the search names every patient in the Bundle.
        """
        path, _, query = target.partition("?")
        # One page may need several reads, each with a decision of its own on record.
        decision_id = f"{trace.request_id}.{next(self._count)}"
        incoming = GatewayRequest(
            request_id=trace.request_id,
            tenant=reader.tenant,
            request=parse("GET", b"/" + path.encode(), query.encode(), _ACCEPT),
            # No secret exists for such a read, so nothing is looked up: only this module builds such a token.
            token=self._token(reader, since, binding),
            purpose=purpose.value,
            decision_id=decision_id,
            path="/" + path,
            query=query,
            source=trace.source,
            correlation_id=trace.correlation_id,
        )
        answer = await self._enforcer.answer(incoming)
        if answer.deny is not None:
            return answer.deny
        # Already cut to what the person may see; the picker judges nothing itself.
        bundle: dict[str, Any] = orjson.loads(answer.body)
        return bundle

    def _token(self, reader: Grant, since: datetime, binding: str) -> AccessToken:
        """Build the token by which the reader is judged. Its hash is empty, which no secret has, so nobody can present it."""
        return AccessToken(
            hash=b"",
            tenant=reader.tenant,
            client=reader.client,
            app=reader.app,
            version=reader.version,
            vendor=reader.vendor,
            scopes=reader.scopes,
            issued_at=since,
            expires_at=self._clock.now() + _AT_ONCE,
            person=reader.person,
            role=reader.role,
            fhir_user=reader.fhir_user,
            person_patients=reader.person_patients,
            facility=reader.facility,
            family=FamilyId(binding),
            session=reader.session,
        )
