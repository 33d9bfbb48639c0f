"""Check a FHIR server as apps will use it: what works, what will be refused, and which settings it needs.

INVARIANT: it writes nothing, and asks for no record of a patient: only for records that do not exist, counts, and pages of directories.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlencode

from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.fhir.statements import ServerCapabilities, read_statement
from hilum.foundation.standards.fhir.values import is_id
from hilum.gateway.upstream import policy, verdicts
from hilum.gateway.upstream.access import Assert, TokenRefused
from hilum.gateway.upstream.live import Upstreams
from hilum.gateway.upstream.models import CheckLine, UpstreamRequest, UpstreamResponse
from hilum.gateway.upstream.verdicts import ABSENT_IDS, FAILS, UNTRIED
from hilum.identity.people.models import TenantFacts, TokenAuth, UpstreamRef
from hilum.records.keys.live import vault

DEADLINE = timedelta(seconds=5)
WHOLE_S = 60.0
"""How long the check of one server may take."""
AT_ONCE = 16
PAGE_SIZES = (201, 100, 50, 20)
_ACCEPT = (("accept", "application/fhir+json"), ("prefer", "handling=strict"))
_FORM = (*_ACCEPT, ("content-type", "application/x-www-form-urlencoded"))
_DIRECTORIES = ("Organization", "Location", "Practitioner", "HealthcareService", "PractitionerRole")
"""Types whose records are about no patient, of which a page is read."""
_SEARCHED = ("Observation", "Condition", "Encounter", "MedicationRequest", "AllergyIntolerance")
Now = Callable[[], datetime]


async def check(
    tenants: Sequence[TenantFacts], client_assertion: Assert, now: Now
) -> list[tuple[CheckLine, ...]]:
    """Check the FHIR server of each tenant, which has one over HTTP; at most AT_ONCE at a time."""
    # Two, since a server is to be asked without its credentials, too, and a connection may carry a client certificate.
    known, stranger = (Upstreams(vault(), lambda _: None, DEADLINE, client_assertion) for _ in range(2))
    places = asyncio.Semaphore(AT_ONCE)

    async def one(tenant: TenantFacts) -> tuple[CheckLine, ...]:
        async with places:
            return await _Check(known, stranger, tenant, now).run()

    try:
        return await asyncio.gather(*(one(tenant) for tenant in tenants))
    finally:
        await known.close()
        await stranger.close()


def fault_of(lines: Sequence[CheckLine]) -> str:
    """Return the first thing that fails, and what to do; empty if nothing does."""
    return next((f"{each.found} {each.advice}".strip() for each in lines if each.outcome is FAILS), "")


class _Check:
    """The check of one server."""

    def __init__(self, known: Upstreams, stranger: Upstreams, tenant: TenantFacts, now: Now) -> None:
        self._known, self._stranger, self._tenant, self._now = known, stranger, tenant, now
        self._lines: list[CheckLine] = []
        self._took: list[float] = []

    async def run(self) -> tuple[CheckLine, ...]:
        try:
            async with asyncio.timeout(WHOLE_S):
                await self._all()
        except TokenRefused as error:
            advice = f"Check {self._tenant.upstream.token_url}, the client id, its secret or keys there, and the scope."
            if self._tenant.upstream.token_auth is TokenAuth.KEY:
                advice += " Its public keys are at the address `upstream_jwks` of the hospital."
            self._lines.append(CheckLine("Access token", FAILS, f"No access token: {error.reason}.", advice))
        except Unavailable as error:
            advice = f"Check {self._tenant.upstream.url} and whether this platform reaches it."
            self._lines.append(CheckLine("Connection", FAILS, error.detail, advice))
        except TimeoutError:
            sentence = f"The check took more than {WHOLE_S:.0f} seconds, so the rest was not tried."
            self._lines.append(CheckLine("Rest", UNTRIED, sentence, "The server is slow; see its latency."))
        return verdicts.with_settings(tuple(self._lines), self._tenant.upstream.quirks)

    async def _all(self) -> None:
        described = await self._get("metadata")
        line = verdicts.statement(described, self._tenant)
        self._lines.append(line)
        if line.outcome is FAILS:
            return
        if self._tenant.upstream.token_auth is not None:
            self._lines.append(CheckLine("Access token", verdicts.WORKS, "Its token endpoint gives a token."))
        read = await self._get(f"Patient/{ABSENT_IDS[0]}")
        line = verdicts.credentials(read, self._tenant)
        self._lines.append(line)
        if line.outcome is FAILS:
            return
        self._lines.append(verdicts.anonymous(await self._as_stranger()))
        capabilities = read_statement(verdicts.parsed(described), 0.0)
        assert capabilities is not None, "judged above"
        await self._search(capabilities)
        await self._page(capabilities)
        self._lines += (
            verdicts.binaries(await self._get(f"Binary/{ABSENT_IDS[0]}")),
            verdicts.narrowing(capabilities),
            verdicts.clock(read, self._now()),
            verdicts.latency(self._took),
        )

    async def _as_stranger(self) -> UpstreamResponse | None:
        upstream = self._tenant.upstream
        bare = UpstreamRef(upstream.kind, upstream.url, authorities=upstream.authorities)
        request = UpstreamRequest("GET", f"Patient/{ABSENT_IDS[0]}", _ACCEPT)
        try:
            return await self._stranger.describe(replace(self._tenant, upstream=bare), request)
        except Unavailable:
            return None  # a server that wants a certificate ends the connection

    async def _search(self, capabilities: ServerCapabilities) -> None:
        found = capabilities.filters
        type_ = next((each for each in _SEARCHED if "patient" in found.get(each, ())), "")
        if not type_:
            sentence = f"It declares no search by patient for any of {', '.join(_SEARCHED)}."
            self._lines.append(CheckLine("Search by patient", FAILS, sentence, "Apps can search nothing."))
            return
        one, two = (f"Patient/{each}" for each in ABSENT_IDS)
        small = ("_count", "1")
        line = verdicts.search(await self._find(type_, ("patient", one), small), type_)
        self._lines.append(line)
        if line.outcome is FAILS:
            return
        form = UpstreamRequest(
            "POST", f"{type_}/_search", _FORM, urlencode([("patient", one), small]).encode()
        )
        # Patients are counted, not read; a search by a name that nobody has tells whether it is the criterion that is missing.
        by_name = await self._find("Patient", ("name", ABSENT_IDS[0]), small)
        sizes = {
            size: await self._find(type_, ("patient", one), ("_count", str(size))) for size in PAGE_SIZES
        }
        self._lines += (
            verdicts.page_sizes(sizes),
            verdicts.refused_form(
                "Several patients",
                await self._find(type_, ("patient", f"{one},{two}"), small),
                "one-patient",
                "It searches for several patients at once.",
                "It searches for one patient at a time only.",
            ),
            verdicts.refused_form(
                "Search by id",
                await self._find(type_, ("_id", ABSENT_IDS[0]), ("patient", one), small),
                "id-alone",
                "It takes `_id` beside other parameters.",
                "It refuses `_id` beside other parameters.",
            ),
            verdicts.refused_form(
                "Posted search",
                await self._send(form),
                "no-form",
                "It searches by a form that is posted.",
                "It does not search by a form that is posted.",
            ),
            verdicts.listing(await self._find("Patient", ("_summary", "count")), by_name),
            verdicts.unknown_parameter(
                await self._find(type_, ("patient", one), ("hilum-unknown", "1"), small)
            ),
        )

    async def _page(self, capabilities: ServerCapabilities) -> None:
        type_ = next((each for each in _DIRECTORIES if each in capabilities.filters), "")
        if not type_:
            sentence = (
                f"It has none of {', '.join(_DIRECTORIES)}, and pages of patients' records are not read."
            )
            self._lines.append(CheckLine("Pages", UNTRIED, sentence))
            return
        first = await self._find(type_, ("_count", "1"))
        link, second, target = verdicts.next_link(first), None, None
        if link:
            upstream = self._tenant.upstream
            bases = tuple(each.rstrip("/") for each in (upstream.public_url, upstream.url) if each)
            target = policy.page_target(bases, link)
            second = None if target is None else await self._get(target)
        id_ = verdicts.first_id(first, type_)
        record = await self._get(f"{type_}/{id_}") if is_id(id_) else None
        tagged = await self._find(type_, ("_tag", "urn:hilum|check"), ("_count", "1"))
        self._lines += (
            verdicts.pages(first, type_, target, second),
            verdicts.versions(record),
            verdicts.tags(tagged, type_),
        )

    async def _find(self, type_: str, *params: tuple[str, str]) -> UpstreamResponse:
        return await self._get(f"{type_}?{urlencode(params, safe=',/|')}")

    async def _get(self, target: str) -> UpstreamResponse:
        return await self._send(UpstreamRequest("GET", target, _ACCEPT))

    async def _send(self, request: UpstreamRequest) -> UpstreamResponse:
        begun = time.monotonic()
        answer = await self._known.describe(self._tenant, request)
        self._took.append(time.monotonic() - begun)
        return answer
