"""Writes at the FHIR server: the stored record is judged first, and replaced only if it is still the one that was judged."""

import re
from functools import partial
from typing import Any

import orjson

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.etags import etag_of, tag_of
from hilum.foundation.standards.fhir.outcomes import IssueCode, disclosable_issue, outcome
from hilum.foundation.standards.fhir.requests import Interaction
from hilum.foundation.standards.fhir.shaping import dump
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.foundation.standards.fhir.values import is_id
from hilum.foundation.standards.fhir.visibility import is_judged_by_targets
from hilum.gateway.enforcement.attachments import mentions
from hilum.gateway.enforcement.own_binaries import new_id, points_at_own
from hilum.gateway.enforcement.rendering import RequestOutcome, absent, version_headers
from hilum.gateway.enforcement.resource_access import NO_EVIDENCE, judge_resource
from hilum.gateway.enforcement.response_filter import UNJUDGEABLE, judge_change
from hilum.gateway.enforcement.transport import (
    ABSENT,
    ACCEPT,
    FetchedResource,
    Transport,
    equalize_timing,
    loads,
    opened,
    outward,
)
from hilum.gateway.enforcement.upstream_task import Refusal, UpstreamTask
from hilum.gateway.upstream.models import UpstreamRequest, UpstreamResponse

OWN_BINARIES = "own-binaries"
"""The purpose of the key by which ids prove whose a Binary is."""
_WRITE_HEADERS = (*ACCEPT, ("content-type", "application/fhir+json"), ("prefer", "return=representation"))
_PLACE = re.compile(r"(?:^|/)([A-Z][A-Za-z]+/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?)$")
"""How the Location of a stored resource ends, whatever base the server writes before it."""
_STORED = orjson.dumps(outcome(IssueCode.INFORMATIONAL, "Stored.", severity="information"))


_WITHHELD_WITHIN = Deny(
    Reason.REQUEST_UNSUPPORTED,
    "The record holds an address that is withheld from apps, so an update by an app would lose it.",
)
_POINTS_ELSEWHERE = Deny(
    Reason.REQUEST_UNSUPPORTED,
    "A write may not add the address of a Binary (other than one that this app stored for the same patient), of anything else on the FHIR "
    "server, or of an attachment elsewhere. Send the content inline, as attachment.data, or store it first (POST Binary); what the stored record names already may stay unchanged in its place.",
)


class Writer:
    """Does creates, updates and deletes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, task: UpstreamTask) -> RequestOutcome:
        request = task.permit.request
        await self._judge_targets(task)
        _judge_mentions(task, {})
        return await self._write(task, UpstreamRequest("POST", request.type, _WRITE_HEADERS, outward(task)))

    async def store(self, task: UpstreamTask) -> RequestOutcome:
        """Store a Binary under an id that proves whose it is (ADR 27). Nothing opens it until a record of its patient refers to it."""
        request = task.permit.request
        owner = (task.token.tenant, task.token.app, task.permit.patient)
        id_ = new_id(task.deps.ids.secret(), owner, partial(task.deps.vault.mac, OWN_BINARIES, size=32))
        task.resource = f"Binary/{id_}"
        stored = {**(request.body or {}), "id": id_, "securityContext": {"reference": f"Patient/{owner[2]}"}}
        body = await self._transport.work(len(request.raw), partial(orjson.dumps, stored))
        # The content need not come back: who sent it has it.
        headers = (*ACCEPT, ("content-type", "application/fhir+json"), ("prefer", "return=minimal"))
        response = await self._transport.write(task, UpstreamRequest("PUT", task.resource, headers, body))
        if response.status not in {200, 201}:
            return _not_written(task, response)
        tag = response.headers.get("etag", "")
        headers_out = version_headers(tag, "", f"{task.addresses.base}/{task.resource}")
        shown = _STORED if "return=OperationOutcome" in request.prefer else b""
        return RequestOutcome(201, shown, headers_out, patient=task.permit.patient, resource=task.resource)

    async def update(self, task: UpstreamTask) -> RequestOutcome:
        request = task.permit.request
        name = f"{request.type}/{request.id}"
        await self._judge_targets(task)
        current = await self._transport.fetch(task, name)
        headers: tuple[tuple[str, str], ...] = _WRITE_HEADERS
        if current is None:
            # Clients choose ids under system scopes only: otherwise creating would disclose which
            # ids exist (ADR 13).
            if not task.permit.may_create:
                equalize_timing(task)
                return absent()
            # FHIR R4 http.html#concurrency: there is nothing to match.
            if request.if_match:
                return _conflict(412, "There is no version to match.")
            _judge_mentions(task, {})
        else:
            if fault := await self._condition(task, current):
                return fault
            # The update would erase the address that the app was not shown.
            if current.withheld:
                raise Refusal(_WITHHELD_WITHIN)
            _judge_mentions(task, current.record.resource)
            headers += _unchanged(current)
        return await self._write(task, UpstreamRequest("PUT", name, headers, outward(task)))

    async def delete(self, task: UpstreamTask) -> RequestOutcome:
        request = task.permit.request
        name = f"{request.type}/{request.id}"
        current = await self._transport.fetch(task, name)
        if current is None:
            equalize_timing(task)
            return absent()
        if fault := await self._condition(task, current):
            return fault
        response = await self._transport.write(
            task, UpstreamRequest("DELETE", name, (*ACCEPT, *_unchanged(current)))
        )
        if response.status in {200, 202, 204}:
            patient, found = task.written(current.record.resource)
            return RequestOutcome(204, patient=patient, found=found)
        return _not_written(task, response)

    async def _condition(self, task: UpstreamTask, current: FetchedResource) -> RequestOutcome | None:
        """Judge the stored record before any precondition is compared. Raises Refusal.

        Source: security decision 12
        """
        evidence = NO_EVIDENCE
        if is_judged_by_targets(task.permit.request.type):
            evidence = await self._transport.evidence(task, (current.record,))
        # Before If-Match: a 412 for a record out of reach would confirm its version.
        if fault := judge_change(task.permit, current.record, evidence):
            raise Refusal(fault)
        if_match = task.permit.request.if_match
        if if_match and tag_of(if_match) != tag_of(current.etag):
            return _conflict(412, "The record's version is not the one to match.")
        return None

    async def _judge_targets(self, task: UpstreamTask) -> None:
        permit = task.permit
        request = permit.request
        if request.body is None or not is_judged_by_targets(request.type):
            return
        record = traits_of(request.body, permit.bases)
        evidence = await self._transport.evidence(task, (record,))
        reason = judge_resource(permit.access, record, permit.grants, evidence)
        if reason is not None:
            raise Refusal(Deny(reason, "The record refers to something out of reach of this grant."))

    async def _read_back(self, task: UpstreamTask, where: str) -> dict[str, Any]:
        """Read what a server stored without returning it; empty if that fails. The write is done in any case."""
        try:
            stored = await self._transport.fetch(task, where.partition("/_history/")[0])
            resource = None if stored is None else loads(stored.body)
        except Refusal:
            return {}
        type_ = task.permit.request.type
        return resource if isinstance(resource, dict) and resource.get("resourceType") == type_ else {}

    async def _write(self, task: UpstreamTask, outgoing: UpstreamRequest) -> RequestOutcome:
        response = await self._transport.write(task, outgoing)
        if response.status not in {200, 201}:
            return _not_written(task, response)
        request = task.permit.request
        resource = opened(task, response) if response.body else None
        # An OperationOutcome, or nothing usable: the answer is made from the Location instead.
        if not isinstance(resource, dict) or resource.get("resourceType") != request.type:
            resource = {}
        where = _located(task, response, resource)
        if (
            not resource
            and where
            and not {"return=minimal", "return=OperationOutcome"} & {*request.prefer.split()}
        ):
            resource = await self._read_back(task, where)
        etag = etag_of(response.headers.get("etag", ""), resource) or _versioned(where)
        modified = response.headers.get("last-modified", "")
        headers = version_headers(etag, modified, f"{task.addresses.base}/{where}" if where else "")
        patient, found = task.written(request.body or {})
        record, body = traits_of(resource, task.permit.bases), b""
        if "return=OperationOutcome" in request.prefer:
            body = _STORED
        # Judged like every other answer: a server may label or change what it stores.
        elif resource and "return=minimal" not in request.prefer and self._transport.reaches(task, record):
            body = dump(resource, request.shape)
        return RequestOutcome(response.status, body, headers, patient=patient, resource=where, found=found)


def _judge_mentions(task: UpstreamTask, before: dict[str, Any]) -> None:
    """Refuse a write that newly points at a Binary, whether or not the app may read it now, or at an address that is not for apps.

    A record that an app pointed at a Binary would go on opening it when a label, a stop or a narrower grant withholds the hospital's own
    referrer; and a server that signs links would make one. What the stored version says in the same place may stay.
    """
    grounds, written = task.addresses.grounds, task.permit.request.body or {}
    added = mentions(written, grounds) - mentions(before, grounds)
    if not added:
        return
    if task.permit.request.interaction is Interaction.CREATE:
        written = written | {"id": None}  # the server's, as in policy._body_fault
    token, mac = task.token, partial(task.deps.vault.mac, OWN_BINARIES, size=32)
    # Except at what this app stored for this patient here: the content is its own (ADR 27).
    if not all(
        points_at_own(each, written, grounds.bases, tenant=token.tenant, app=token.app, mac=mac)
        for each in added
    ):
        raise Refusal(_POINTS_ELSEWHERE)


def _versioned(where: str) -> str:
    """Return the ETag of a version by its address; empty for an address without version. Source: FHIR R4 http.html#create."""
    _, history, version = where.partition("/_history/")
    return f'W/"{version}"' if history else ""


def _unchanged(current: FetchedResource) -> tuple[tuple[str, str], ...]:
    """Return the header by which the server refuses if the record is no longer the one that was judged."""
    return (("if-match", current.etag),) if current.etag else ()


def _conflict(status: int, sentence: str) -> RequestOutcome:
    return RequestOutcome(status, orjson.dumps(outcome(IssueCode.CONFLICT, sentence)))


def _not_written(task: UpstreamTask, response: UpstreamResponse) -> RequestOutcome:
    """Return why the FHIR server did not accept a write that was permitted."""
    if response.status in ABSENT:
        return absent()
    if response.status in {409, 412}:
        return _conflict(response.status, "The record was changed meanwhile; read it again.")
    if response.status not in {400, 422}:
        raise Refusal(UNJUDGEABLE)
    code, places = disclosable_issue(response.body, task.permit.request.body)
    refused = outcome(IssueCode.INVALID, "The FHIR server refuses this resource.")
    refused["issue"][0] |= {"code": code} | ({"expression": places} if places else {})
    return RequestOutcome(response.status, orjson.dumps(refused))


def _located(task: UpstreamTask, response: UpstreamResponse, resource: dict[str, Any]) -> str:
    """Return where the record is, relative to the base, from the server's Location or from the record itself."""
    location = response.headers.get("location", "")
    type_ = task.permit.request.type
    # By its end only: servers write absolute, relative and unversioned addresses, and bases of their own.
    where = _PLACE.search(location)
    if where and where[1].startswith(f"{type_}/"):
        return where[1]
    id_ = resource.get("id", task.permit.request.id)
    return f"{type_}/{id_}" if isinstance(id_, str) and is_id(id_) else ""
