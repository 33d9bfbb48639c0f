"""Reads of records that the platform makes itself: the picker's searches, the name of a record on a page.

They pass the same decision, labels, switches, quotas and journal as an app's read. The subject is the person at the browser, with
the rights of their role, on behalf of the app that asked; scopes are those of the purpose, never the app's.
Source: security decision 21
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import orjson

from hilum.audit.live import Journal
from hilum.audit.models import Access, Outcome
from hilum.gateway.models import GatewayRequest, OwnRead
from hilum.gateway.service import Enforcer
from hilum.infra.context import Trace
from hilum.kernel.decision import Deny, ReadPurpose, Reason
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import FamilyId
from hilum.kernel.ports import Clock
from hilum.standards.fhir.bundles import resources_of
from hilum.standards.fhir.requests import parse
from hilum.tokens.models import AccessToken, Grant

# Only until this one read is decided, for which a minute is ample.
_AT_ONCE = timedelta(minutes=1)
_ACCEPT = {"accept": "application/fhir+json"}


class PlatformReads:
    """The platform's own way through the enforcement point. One per process, used from its event loop."""

    def __init__(self, enforcer: Enforcer, journal: Journal, clock: Clock) -> None:
        self._enforcer, self._journal, self._clock = enforcer, journal, clock
        self._count = count(1)

    async def search(
        self, reader: Grant, purpose: ReadPurpose, target: str, *, since: datetime, binding: str, trace: Trace
    ) -> dict[str, Any] | Deny:
        """Search on behalf of ``reader`` and return the Bundle, cut to what they may see, or why not.

        ``target`` is ``Type?query``, encoded. ``since``: when the reader's request began, which a full stop that ended later leaves dead.
        ``binding`` names what page links are tied to. Every patient in the Bundle has a durable access record before it is returned.
        """
        path, _, query = target.partition("?")
        # One page may need several reads, each with a decision of its own on record.
        decision = f"{trace.request_id}.{next(self._count)}"
        incoming = GatewayRequest(
            request_id=trace.request_id,
            tenant=reader.tenant,
            request=parse("GET", b"/" + path.encode(), query.encode(), _ACCEPT),
            # No secret exists for such a read: ``own`` carries the token, and only this module
            # builds it.
            bearer=None,
            path="/" + path,
            query=query,
            source=trace.source,
            correlation_id=trace.correlation_id,
            own=OwnRead(purpose, self._token(reader, since, binding), decision),
        )
        answer = await self._enforcer.answer(incoming)
        if answer.deny is not None:
            return answer.deny
        # Already cut to what the person may see; the picker judges nothing itself.
        bundle: dict[str, Any] = orjson.loads(answer.body)
        # A record of a single patient names that patient already.
        if not answer.patient and (denied := await self._record_each(incoming, bundle)):
            return denied
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

    async def _record_each(self, incoming: GatewayRequest, bundle: dict[str, Any]) -> Deny | None:
        """Record each patient of a list by name: who asks later who looked at a record finds the list, too."""
        patients = dict.fromkeys(
            resource["id"] for resource in resources_of(bundle) if resource["resourceType"] == "Patient"
        )
        try:
            # Together, so that the records of a whole list share the journal's commits.
            await asyncio.gather(*(self._journal.record(each) for each in self._listed(incoming, patients)))
        except Unavailable:
            return Deny(Reason.AUDIT_UNAVAILABLE, "The access could not be recorded, so nothing is shown.")
        return None

    def _listed(self, incoming: GatewayRequest, patients: Iterable[str]) -> Iterable[Access]:
        assert incoming.own is not None, "made above"
        now, own = self._clock.now(), incoming.own
        for number, patient in enumerate(patients, 1):
            yield Access(
                request_id=incoming.request_id,
                # Below the decision of the search, so that the list's records are found together.
                decision=f"{own.decision}.{number}",
                at=now,
                tenant=incoming.tenant,
                interaction=own.purpose.value,
                resource_type="Patient",
                status=200,
                outcome=Outcome.DONE,
                rule=own.purpose.value,
                app=own.token.app,
                version=own.token.version,
                vendor=own.token.vendor,
                client=own.token.client,
                person=own.token.person,
                role=own.token.role,
                correlation_id=incoming.correlation_id,
                source=incoming.source,
                method="GET",
                path=f"/Patient/{patient}",
                patient=patient,
            )
