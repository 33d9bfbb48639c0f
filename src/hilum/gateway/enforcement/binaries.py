"""Binaries: attachments, each of which opens only through a record that refers to it.

A Binary says of itself neither whose it is nor how sensitive. So it takes a referrer: a record that holds it as an attachment and that
this grant may read, by a scope on its own type, unrestricted, under no switch. The Binary's securityContext, where it has one, is one
more condition and never replaces the referrer.
INVARIANT: which requests go to the FHIR server does not depend on whether the Binary is absent, out of reach or withheld.
Source: security decisions 12 and 22; FHIR R4 binary.html (securityContext)
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.attachments import binaries_of, referrer_types
from hilum.foundation.standards.fhir.bundles import resources_of
from hilum.foundation.standards.fhir.requests import accepts_json, render_query
from hilum.foundation.standards.fhir.traits import RecordTraits, traits_of
from hilum.foundation.standards.fhir.visibility import Belonging, Reference, local_reference, rule_of
from hilum.foundation.standards.smart.scopes import READ
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import (
    REFERRER_PAGE,
    REFERRERS_A_PAGE,
    REFERRERS_BOUND,
    REFERRERS_IN_ALL,
    GrantRule,
)
from hilum.gateway.enforcement.query_rewrite import patients_within
from hilum.gateway.enforcement.rendering import RequestOutcome, absent
from hilum.gateway.enforcement.resource_access import may_pass
from hilum.gateway.enforcement.response_filter import UNJUDGEABLE
from hilum.gateway.enforcement.search import Searcher, following
from hilum.gateway.enforcement.transport import FetchedResource, Transport
from hilum.gateway.enforcement.upstream_task import Refusal, UpstreamTask

_MEDIA = re.compile(r"[A-Za-z0-9.+-]{1,60}/[A-Za-z0-9.+-]{1,60}")
_NOT_THIS_WAY = frozenset({Reason.REQUEST_UNSUPPORTED, Reason.RESPONSE_UNJUDGEABLE})
"""Reasons for which a search for referrers is skipped: the server knows no such type or parameter, or its answer cannot be read."""
_UNREFERRED = Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "Nothing within reach refers to this.")
_OUTSIDE_CONTEXT = Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "Its security context is out of reach.")
_WITHHELD = Deny(Reason.LABEL_WITHHELD, "A label withholds what is attached.")
_WITHOUT_CONTENT = Deny(
    Reason.RESPONSE_UNJUDGEABLE, "The FHIR server returned the attachment without its content."
)


@dataclass(slots=True)
class _Search:
    """The search for a referrer of one Binary: how many records it may still look at, and a patient whose records were seen."""

    binary: str
    left: int = REFERRERS_IN_ALL
    seen: str = ""
    found: RecordTraits | None = None


class Binaries:
    """Reads attachments."""

    def __init__(self, transport: Transport, searcher: Searcher) -> None:
        self._transport, self._searcher = transport, searcher

    async def read(self, task: UpstreamTask) -> RequestOutcome:
        """Return a Binary: its content, or its JSON if that is requested. Raises Refusal.

        Source: FHIR R4 binary.html#rest
        """
        request = task.permit.request
        referrer = await self._referrer(task, request.id)
        if referrer is None:
            raise Refusal(_UNREFERRED)
        stored = await self._judged(task, request.id, referrer)
        if stored is None:
            return absent()
        patient = task.patient_of((referrer.resource,))
        if request.accept and accepts_json(request.accept) and request.accept != "*/*":
            return RequestOutcome(200, stored.body, patient=patient)
        return native(stored.record.resource, patient)

    async def _judged(self, task: UpstreamTask, id_: str, referrer: RecordTraits) -> FetchedResource | None:
        """Fetch a Binary and judge it. Only after its referrer was found, so that its size and its absence take no time."""
        stored = await self._transport.fetch(task, f"Binary/{id_}")
        binary = {} if stored is None else stored.record.resource
        if stored and (binary.get("resourceType") != "Binary" or binary.get("id") != id_):
            raise Refusal(UNJUDGEABLE)
        named = local_reference(binary.get("securityContext"), task.permit.bases)
        # Also for a Binary that is absent or has no context, so that all of them take the same
        # requests (no oracle).
        context = await self._context(task, named or Reference("Patient", id_))
        if stored is None:
            return None
        # One more condition. It never replaces the referrer: with it alone, any scope on Patient
        # would open every attachment (ADR 27).
        if "securityContext" in binary and (named is None or not self._is_within(task, context, referrer)):
            raise Refusal(_OUTSIDE_CONTEXT)
        if stored.record.is_restricted and not may_pass(task.permit.access, stored.record, referrer):
            raise Refusal(_WITHHELD)
        return stored

    async def _context(self, task: UpstreamTask, named: Reference) -> RecordTraits | None:
        """Fetch the record that a security context names. A Binary that is absent or names none costs the same."""
        name = str(named) if rule_of(named.type) is not None else f"Patient/{named.id}"
        try:
            stored = await self._transport.fetch(task, name)
        except Refusal as refused:
            if refused.deny.reason not in _NOT_THIS_WAY:
                raise
            return None
        # Where the type that it names is not listed, a patient was fetched in its place.
        if stored is None or not name.startswith(f"{named.type}/"):
            return None
        return stored.record if stored.record.resource.get("resourceType") == named.type else None

    def _is_within(self, task: UpstreamTask, context: RecordTraits | None, referrer: RecordTraits) -> bool:
        """Check the security context: a patient of the grant that opens the referrer, or any other record that it may see.

        It says who may know of the Binary: a person who may read a patient's documents needs no scope on Patient for it.
        """
        if context is None or context.belonging is Belonging.TARGETS:
            return False
        access, patients = task.permit.access, context.patients
        if context.belonging is not Belonging.SELF:
            return self._transport.reaches(task, context)
        if context.is_restricted and not may_pass(access, context, context):
            return False
        grants = grant_rules(access, str(referrer.resource.get("resourceType")), READ)
        return any(
            (grant.patients is None or bool(patients and patients <= grant.patients))
            and not (access.stopped is not None and access.stopped(grant.text, "Patient"))
            for grant in grants
        )

    async def _referrer(self, task: UpstreamTask, id_: str) -> RecordTraits | None:
        """Find a record within reach whose attachment is this Binary: by address if the server supports that, else record by record.

        For a grant over everybody's records, those of the patient in context come first, and those of the patient named by the Binary's
        securityContext last. If it names none, a patient whose records were seen takes that place, so that the cost is the same.
        """
        search = _Search(id_)
        within = {type_: _within(task, type_) for type_ in referrer_types() if _offers(task, type_)}
        # By address first: one request instead of a walk through the records.
        if _offers(task, "DocumentReference", "location"):
            bases = dict.fromkeys((task.addresses.base, *task.addresses.upstream_bases))
            addresses = (f"Binary/{id_}", *(f"{base}/Binary/{id_}" for base in bases))
            by_address = ("location", ",".join(addresses))
            await self._look(task, search, "DocumentReference", within["DocumentReference"], by_address)
        open_ = [type_ for type_, patients in within.items() if patients is None]
        limited = [(type_, patients) for type_, patients in within.items() if patients]
        patient = task.permit.access.patient
        if patient:
            limited += [(type_, frozenset((patient,))) for type_ in open_ if _narrows(type_)]
        # Narrow searches first: the record that refers to an attachment is usually in the chart
        # that the app has open.
        for type_, patients in (*limited, *((type_, None) for type_ in open_)):
            await self._look(task, search, type_, patients)
        if search.found is None and open_ and not patient:
            about = await self._about(task, id_) or search.seen
            for type_ in open_:
                if about and _narrows(type_):
                    await self._look(task, search, type_, frozenset((about,)))
        return search.found

    async def _about(self, task: UpstreamTask, id_: str) -> str:
        """Return the patient named by a Binary's security context, which is fetched without the content."""
        try:
            stored = await self._transport.fetch(task, f"Binary/{id_}?_elements=securityContext")
        except Refusal as refused:
            if refused.deny.reason not in _NOT_THIS_WAY:
                raise
            return ""
        context = None if stored is None else stored.record.resource.get("securityContext")
        named = local_reference(context, task.permit.bases)
        return named.id if named is not None and named.type == "Patient" else ""

    async def _look(
        self,
        task: UpstreamTask,
        search: _Search,
        type_: str,
        patients: frozenset[str] | None,
        *filters: tuple[str, str],
    ) -> None:
        """Judge every record that a search finds, page by page, whatever was asked for."""
        if search.found is not None or patients == frozenset():
            return
        query = (*filters, *_narrowed(type_, patients), ("_count", str(REFERRER_PAGE)))
        target: str | None = f"{type_}?{render_query(query)}"
        bases = task.permit.bases
        end = search.left - REFERRERS_BOUND
        while target is not None and search.left > max(0, end):
            resources, target = await self._page(task, target)
            # Short pages count too: a server that sends one record a page would otherwise be asked
            # thousands of times.
            search.left -= max(len(resources), REFERRERS_A_PAGE)
            for resource in resources:
                search.seen = search.seen or task.patient_of((resource,))
                if resource.get("resourceType") != type_ or search.binary not in binaries_of(resource, bases):
                    continue
                record = traits_of(resource, bases)
                if search.found is None and self._transport.reaches(task, record):
                    search.found = record
            if search.found is not None:
                return

    async def _page(self, task: UpstreamTask, target: str) -> tuple[list[dict[str, Any]], str | None]:
        """Fetch a page. Return its records and the target of the next page; no records if the server does not support the search."""
        resources: list[dict[str, Any]] = []
        try:
            bundle = (await self._searcher.page(task, target)).bundle
            if not isinstance(bundle, dict):
                return resources, None
            resources = list(resources_of(bundle))
            return resources, following(task, bundle)
        except Refusal as refused:
            if refused.deny.reason not in _NOT_THIS_WAY:
                raise
            return resources, None


def _within(task: UpstreamTask, type_: str) -> frozenset[str] | None:
    """Return the patients whose records of a type the grant reads; None for all patients, empty for none."""
    grants: tuple[GrantRule, ...] = grant_rules(task.permit.access, type_, READ)
    return patients_within(grants)


def _narrows(type_: str) -> bool:
    rule = rule_of(type_)
    return rule is not None and bool(rule.narrow)


def _narrowed(type_: str, patients: frozenset[str] | None) -> tuple[tuple[str, str], ...]:
    rule = rule_of(type_)
    if patients is None or rule is None or not rule.narrow:
        return ()
    form = "{}" if rule.belonging is Belonging.SELF else "Patient/{}"
    return ((rule.narrow, ",".join(form.format(patient) for patient in sorted(patients))),)


def _offers(task: UpstreamTask, type_: str, parameter: str = "_id") -> bool:
    """Check whether the FHIR server says that it knows a type and acts on a search parameter of it."""
    return task.capabilities is None or parameter in task.capabilities.filters.get(type_, frozenset())


def native(resource: dict[str, Any], patient: str) -> RequestOutcome:
    """Return a Binary's content in its own media type, always as an attachment."""
    media, data = resource.get("contentType"), resource.get("data")
    if not isinstance(data, str):
        raise Refusal(_WITHOUT_CONTENT)
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:
        raise Refusal(UNJUDGEABLE) from None
    shown = (
        media.encode() if isinstance(media, str) and _MEDIA.fullmatch(media) else b"application/octet-stream"
    )
    # Saved, never shown: an attachment may be a page with script, and would run on this origin.
    return RequestOutcome(
        200, content, ((b"content-disposition", b"attachment"),), media=shown, patient=patient
    )
