"""The audit record of one request at the gateway. Pure."""

import re
from datetime import datetime, timedelta

from hilum.audit.models import BREAK_GLASS, Access, Outcome
from hilum.gateway.models import GatewayRequest, Permit, Snapshot
from hilum.gateway.rendering import Answer
from hilum.kernel.redaction import redact
from hilum.standards.fhir.requests import QUERY_BOUND, FhirRequest
from hilum.tokens.live import Revoked
from hilum.tokens.models import AccessToken

RECORDED_BOUND = 2 * QUERY_BOUND
PATH_RECORDED_BOUND = 512
_MICROSECOND = timedelta(microseconds=1)
_PATIENT_PARAMETERS = frozenset({"patient", "subject"})
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
"""FHIR R4 datatypes.html#id."""


def record_of(
    incoming: GatewayRequest,
    snapshot: Snapshot | None,
    answer: Answer,
    permit: Permit | None = None,
    *,
    now: datetime,
) -> Access:
    """Return the record of a request and its answer, which was prepared ``now``."""
    request = incoming.request if isinstance(incoming.request, FhirRequest) else None
    deny, token = answer.deny, incoming.token
    record = Access(
        request_id=incoming.request_id,
        decision=incoming.decision_id or incoming.request_id,
        at=incoming.at,
        tenant=incoming.tenant,
        interaction=_interaction(incoming, request),
        resource_type="" if request is None else request.type,
        status=answer.status,
        outcome=Outcome.DONE if deny is None else Outcome.REFUSED,
        rule="" if permit is None else permit.rule,
        snapshot=0 if snapshot is None else snapshot.epoch,
        correlation_id=incoming.correlation_id,
        source=incoming.source or "",
        removed=answer.removed,
        cost=0 if request is None else 1,
        # By the clock that also dates when this worker confirmed a stop: a containment report compares that with the end of each request.
        # A monotonic span added to the arrival would miss what this clock was moved meanwhile, and what passed between reading the two.
        latency_us=(now - incoming.at) // _MICROSECOND,
        method=incoming.method,
        path=incoming.path,
        query=incoming.query,
        patient=answer.patient or ("" if permit is None else permit.patient),
        returned=answer.returned,
        found=answer.found,
    )
    if deny is None and permit is not None and permit.access.glass is not None:
        record.detail = f"{BREAK_GLASS}{permit.access.glass.use}"
    if deny is not None:
        record.reason, record.detail = deny.reason.value, deny.detail
    if isinstance(token, AccessToken):
        _name_holder(record, token)
        if not record.patient and request is not None and (deny is not None or request.type == "Patient"):
            # A refused try is found among what was tried on the patient whose record was asked for.
            record.patient = _asked_for(request, token)
    elif isinstance(token, Revoked) and token.token is not None:
        # The token's owner is still known, although it no longer permits anything.
        _name_holder(record, token.token)
    return record


def as_recorded(*parts: bytes) -> str:
    """Return a path or query as the audit record keeps it: without secrets, which would still be valid there."""
    if not any(parts):  # as most queries are
        return ""
    return redact(b"&".join([part for part in parts if part])[:RECORDED_BOUND]).decode("latin-1")


def _asked_for(request: FhirRequest, token: AccessToken) -> str:
    """Return the patient whose record a request without an answer was about: by id, by its search, else the one of the token."""
    if request.type == "Patient" and (request.id or not request.params):
        return request.id
    named = {
        value.removeprefix("Patient/")
        for name, value in request.params
        if name.partition(":")[0] in _PATIENT_PARAMETERS
    }
    if len(named) > 1:
        return ""
    found = named.pop() if named else token.patient
    return found if _ID.fullmatch(found) else ""


def _name_holder(record: Access, token: AccessToken) -> None:
    record.app = token.app
    record.version = token.version
    record.vendor = token.vendor
    record.client = token.client
    record.person = token.person
    record.role = token.role
    record.launch = token.launch
    record.authorization = token.authorization
    record.run = token.run


def _interaction(incoming: GatewayRequest, request: FhirRequest | None) -> str:
    """Return the word for the record. Reads of the platform's own stand apart, so that they count as no use by the app."""
    if incoming.purpose:
        return incoming.purpose
    return "unsupported" if request is None else request.interaction
