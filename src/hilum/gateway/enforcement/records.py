"""The audit record of one request at the gateway. Pure."""

from dataclasses import replace
from datetime import datetime

from hilum.authorization.tokens.live import Revoked
from hilum.authorization.tokens.models import AccessToken
from hilum.foundation.kernel.decision import Deny
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.redaction import redact
from hilum.foundation.kernel.times import EPOCH
from hilum.foundation.standards.fhir.requests import QUERY_BOUND, FhirRequest
from hilum.foundation.standards.fhir.values import is_id
from hilum.gateway.enforcement.models import GatewayRequest, Permit, Snapshot
from hilum.gateway.enforcement.rendering import RequestOutcome
from hilum.records.audit.models import Access, Outcome
from hilum.records.audit.policy import emergency_detail

RECORDED_BOUND = 2 * QUERY_BOUND
PATH_RECORDED_BOUND = 512
_PATIENT_PARAMETERS = frozenset({"patient", "subject"})
_NOBODYS = AccessToken(
    b"",
    TenantId(""),
    ClientId(""),
    AppId(""),
    VersionId(""),
    VendorId(""),
    (),
    issued_at=EPOCH,
    expires_at=EPOCH,
)
"""Whom a record names that has no token of ours: nobody."""


def record_of(
    incoming: GatewayRequest,
    snapshot: Snapshot | None,
    ended: RequestOutcome,
    permit: Permit | None = None,
    *,
    now: datetime,
) -> Access:
    """Return the record of a request that ended ``now``."""
    request = incoming.request if isinstance(incoming.request, FhirRequest) else None
    deny, token = ended.deny, incoming.token
    holder = _holder_of(token)
    took = now - incoming.at
    record = Access(
        request_id=incoming.request_id,
        decision=incoming.decision_id or incoming.request_id,
        at=incoming.at,
        tenant=incoming.tenant,
        interaction=_interaction(incoming, request),
        resource_type="" if request is None else request.type,
        status=ended.status,
        outcome=Outcome.DONE if deny is None else Outcome.REFUSED,
        rule="" if permit is None else permit.rule,
        app=holder.app,
        version=holder.version,
        vendor=holder.vendor,
        client=holder.client,
        person=holder.person,
        role=holder.role,
        launch=holder.launch,
        authorization=holder.authorization,
        run=holder.run,
        snapshot=0 if snapshot is None else snapshot.epoch,
        correlation_id=incoming.correlation_id,
        source=incoming.source or "",
        removed=ended.removed,
        cost=0 if request is None else 1 if permit is None else permit.price,
        # By the clock that also dates when this worker confirmed a stop: a containment report compares that with the end of each request.
        # A monotonic span added to the arrival would miss what this clock was moved meanwhile, and what passed between reading the two.
        latency_us=(took.days * 86_400 + took.seconds) * 1_000_000 + took.microseconds,
        method=incoming.method,
        path=incoming.path,
        query=incoming.query,
        patient=ended.patient or ("" if permit is None else permit.patient),
        returned=ended.returned,
        found=ended.found,
    )
    if deny is None and permit is not None and permit.access.glass is not None:
        record.detail = emergency_detail(permit.access.glass.use, ended.opened)
    if deny is not None:
        record.reason, record.detail = deny.reason.value, deny.detail
    # A refused try is found among what was tried on the patient whose record was asked for.
    if (
        not record.patient
        and request is not None
        and isinstance(token, AccessToken)
        and (deny is not None or request.type == "Patient")
    ):
        record.patient = _asked_for(request, token)
    return record


def corrected(record: Access, ended: RequestOutcome, now: datetime) -> Access:
    """Return the record of a request that was refused after it had ended otherwise."""
    assert ended.deny is not None, "a refusal has its reason"
    reason, detail = ended.deny.reason.value, ended.deny.detail
    return replace(record, at=now, status=ended.status, outcome=Outcome.REFUSED, reason=reason, detail=detail)


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
    return found if is_id(found) else ""


def _holder_of(token: AccessToken | Deny | None) -> AccessToken:
    """Return the token whose app and person a record names."""
    if isinstance(token, AccessToken):
        return token
    # The token's owner is still known, although it no longer permits anything.
    return (token.token if isinstance(token, Revoked) else None) or _NOBODYS


def _interaction(incoming: GatewayRequest, request: FhirRequest | None) -> str:
    """Return the word for the record. Reads of the platform's own stand apart, so that they count as no use by the app."""
    if incoming.purpose:
        return incoming.purpose
    return "unsupported" if request is None else request.interaction
