"""Carrying a permitted request out, interaction by interaction."""

import base64
import re
from typing import Any

from hilum.gateway.filtering import UNJUDGEABLE
from hilum.gateway.judge import is_own
from hilum.gateway.models import DEFAULT_PAGE
from hilum.gateway.narrowing import patients_within
from hilum.gateway.reach import clauses
from hilum.gateway.rendering import Answer, version_headers
from hilum.gateway.searching import Searcher
from hilum.gateway.transport import Absent, Errand, Refusal, Stored, Transport, loads
from hilum.gateway.writing import Writer
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.ports import Ids
from hilum.keys.live import Vault
from hilum.standards.fhir.bundles import resources_of
from hilum.standards.fhir.etags import is_known
from hilum.standards.fhir.labels import is_restricted
from hilum.standards.fhir.requests import PLAIN, Interaction, accepts_json, render_query
from hilum.standards.fhir.shaping import dump
from hilum.standards.fhir.visibility import (
    attachment_urls,
    hangs_on_targets,
    local_reference,
    rule_of,
)
from hilum.standards.smart.scopes import READ
from hilum.upstream.live import Upstreams

_MEDIA = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}")


class Carrier:
    """Knows how each interaction is done at a FHIR server."""

    def __init__(self, upstreams: Upstreams, vault: Vault, ids: Ids) -> None:
        self._transport = Transport(upstreams)
        self._searcher = Searcher(self._transport, vault, ids)
        self._writer = Writer(self._transport)

    async def carry(self, errand: Errand) -> Answer:
        """Do what was permitted. Raises Refusal, Absent."""
        request = errand.obligations.request
        match request.interaction:
            case Interaction.READ if request.type != "Binary":
                return _shown(errand, await self._transport.judged(errand, f"{request.type}/{request.id}"))
            case Interaction.READ:
                return await self._binary(errand)
            case Interaction.VREAD:
                return await self._vread(errand)
            case Interaction.SEARCH_TYPE:
                return await self._searcher.search(errand)
            case Interaction.CREATE:
                return await self._writer.create(errand)
            case Interaction.UPDATE:
                return await self._writer.update(errand)
            case Interaction.DELETE:
                return await self._writer.delete(errand)
        raise Refusal(Deny(Reason.REQUEST_UNSUPPORTED, "This interaction is not done here."))

    async def _vread(self, errand: Errand) -> Answer:
        """Give a version, if both it and the record as it stands now are within reach."""
        request = errand.obligations.request
        stored = await self._transport.judged(
            errand, f"{request.type}/{request.id}/_history/{request.version}"
        )
        await self._transport.judged(errand, f"{request.type}/{request.id}")
        return _shown(errand, stored)

    async def _binary(self, errand: Errand) -> Answer:
        """Give a Binary, if a record within reach refers to it.

        Source: FHIR R4 binary.html (securityContext; native content unless FHIR is asked for)
        """
        request = errand.obligations.request
        stored = await self._transport.fetch(errand, f"Binary/{request.id}")
        binary = {} if stored is None else stored.resource
        if stored and (binary.get("resourceType") != "Binary" or binary.get("id") != request.id):
            raise Refusal(UNJUDGEABLE)
        context = binary.get("securityContext")
        referrer = (
            await self._visible_referrer(errand, request.id)
            if context is None
            else await self._visible_context(errand, context)
        )
        if stored is None:
            raise Absent
        if referrer is None:
            raise Refusal(Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "Nothing within reach refers to this."))
        obligations = errand.obligations
        if is_restricted(binary) and not is_own(obligations.reach, referrer, obligations.bases):
            raise Refusal(Deny(Reason.LABEL_WITHHELD, "A label withholds what is attached."))
        patient = errand.patient_of((referrer,))
        if request.accept and accepts_json(request.accept) and request.accept != "*/*":
            return Answer(200, stored.body, patient=patient)
        return native(stored.resource, patient)

    async def _visible_context(self, errand: Errand, context: object) -> dict[str, Any] | None:
        reference = local_reference(context, errand.obligations.bases)
        if reference is None or rule_of(reference.type) is None or hangs_on_targets(reference.type):
            return None
        found = await self._transport.fetch(errand, str(reference))
        if found is None or found.resource.get("resourceType") != reference.type:
            return None
        return found.resource if self._transport.reaches(errand, found.resource) else None

    async def _visible_referrer(self, errand: Errand, id_: str) -> dict[str, Any] | None:
        """Find a document within reach whose attachment is this Binary."""
        addresses = (f"Binary/{id_}", f"{errand.upstream_base}/Binary/{id_}")
        query = [("location", ",".join(addresses)), ("_count", str(DEFAULT_PAGE))]
        within = patients_within(clauses(errand.obligations.reach, "DocumentReference", READ))
        if within == frozenset():
            return None
        if within is not None:
            query.append(("patient", ",".join(f"Patient/{patient}" for patient in sorted(within))))
        bundle = await self._searcher.bundle(errand, f"DocumentReference?{render_query(tuple(query))}")
        local = {f"Binary/{id_}", f"{errand.base}/Binary/{id_}"}
        for resource in resources_of(bundle if isinstance(bundle, dict) else {}):
            if local.isdisjoint(attachment_urls(resource)):
                continue
            if self._transport.reaches(errand, resource):
                return resource
        return None


def native(resource: dict[str, Any], patient: str) -> Answer:
    """Give a Binary's content in its own media type, always as an attachment."""
    media = resource.get("contentType")
    try:
        content = base64.b64decode(str(resource.get("data", "")), validate=True)
    except ValueError:
        raise Refusal(UNJUDGEABLE) from None
    told = (
        media.encode() if isinstance(media, str) and _MEDIA.fullmatch(media) else b"application/octet-stream"
    )
    return Answer(200, content, ((b"content-disposition", b"attachment"),), media=told, patient=patient)


def _shown(errand: Errand, stored: Stored) -> Answer:
    """Show one record; after it was judged, and only then, look at If-None-Match."""
    request = errand.obligations.request
    headers = version_headers(stored.etag, stored.modified)
    patient = errand.patient_of((stored.resource,))
    if request.if_none_match and is_known(request.if_none_match, stored.etag):
        return Answer(304, b"", headers, patient=patient)
    body = stored.body if request.shape is PLAIN else dump(loads(stored.body), request.shape)
    return Answer(200, body, headers, patient=patient)
