"""The EHR's client of the platform: HTTP to published addresses, with an EHR client's token."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from hilum.kernel.errors import HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.kernel.ports import Clock
from hilum.web.urls import Urls, with_query
from hilum_ehr.sandbox.ehr.sse import Message, Parser

TIMEOUT_S = 15.0
CONNECT_S = 5.0
READY_WITHIN_S = 2.0
ANSWER_BOUND = 2 * 1024 * 1024
# A token is renewed before it ends, so that no launch is refused because of it.
TOKEN_MARGIN_S = 30.0


class NotAuthenticated(NotPermitted):
    """The platform rejected our token."""


# 401 apart from 403: only the first is answered by a new token.
_FAMILIES: dict[int, type[HilumError]] = {401: NotAuthenticated, 403: NotPermitted, 404: NotFound}


@dataclass(frozen=True, slots=True)
class Launched:
    """What the platform answers to an opened launch."""

    id: str
    launch: str
    launch_url: str
    open_url: str


@dataclass(frozen=True, slots=True)
class Order:
    """A launch to open. ``launch_uri``: where the app stands now, if elsewhere than it is registered.

    ``banner``: the app must show whose record it is; beside a chart's own banner it need not.
    """

    client: str
    person: str
    patient: str = ""
    encounter: str = ""
    launch_uri: str = ""
    banner: bool = True
    placement: str = ""
    """From where in the chart, as the platform's rule book names it; empty: from no place of it."""
    facility: str = ""
    """Where in the hospital: a Location or Organization of its FHIR server; empty: not said."""


@dataclass(slots=True)
class Platform:
    """One site's connections. ``secrets`` maps a tenant to its EHR client's id and secret."""

    urls: Urls
    clock: Clock
    secrets: dict[str, tuple[str, str]]
    api_token: str
    own: Callable[[str], tuple[str, str] | None] = lambda _: None
    """The same of a vendor's snapshot; None if there is none of this name."""
    _http: aiohttp.ClientSession | None = None
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def is_ready(self) -> bool:
        """Check whether the platform reports that it is ready."""
        try:
            async with self._connections().get(
                self.urls.ready(), timeout=aiohttp.ClientTimeout(total=READY_WITHIN_S)
            ) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def open_launch(self, tenant: str, order: Order) -> Launched:
        """Open a launch. Raises the platform's refusal with its own code and sentence."""
        asked = {
            "client_id": order.client,
            "person": order.person,
            "patient": order.patient,
            "encounter": order.encounter,
            "launch_uri": order.launch_uri,
            "placement": order.placement,
            "facility": order.facility,
        }
        body: dict[str, Any] = {name: value for name, value in asked.items() if value}
        body["need_patient_banner"] = order.banner
        answer = await self._ehr("POST", tenant, self.urls.launches(tenant), body)
        return Launched(answer["id"], answer["launch"], answer["launch_url"], answer["open_url"])

    async def availability(
        self, tenant: str, person: str, clients: Iterable[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Return which of these clients cannot be opened for a person now, with the sentence why, and the logos of the others. At most 50."""
        query = urlencode([("person", person), *(("client_id", each) for each in clients)])
        answer = await self._ehr("GET", tenant, f"{self.urls.launchable(tenant)}?{query}", None)
        items = answer["items"]
        stops = {each["client_id"]: each["detail"] for each in items if not each["open"]}
        # Only what lies on the platform's own site is shown.
        own = f"{self.urls.base_url}/logos/"
        return stops, {each["client_id"]: each["logo"] for each in items if each["logo"].startswith(own)}

    async def move_launch(self, tenant: str, launch: str, patient: str, encounter: str) -> None:
        """Report that the chart moved. A launch that no longer exists is ignored."""
        body = {name: value for name, value in (("patient", patient), ("encounter", encounter)) if value}
        try:
            await self._ehr("PATCH", tenant, self.urls.launch(tenant, launch), body)
        # A launch that has ended cannot be stale: the aim is reached.
        except NotFound:
            return

    async def end_launch(self, tenant: str, launch: str) -> None:
        """Report that the session ended. A launch that no longer exists is ignored."""
        try:
            await self._ehr("DELETE", tenant, self.urls.launch(tenant, launch), None)
        except NotFound:
            return

    async def accesses(self, tenant: str, launch: str, limit: int) -> list[dict[str, Any]]:
        """List an app's calls under a launch, newest first."""
        query = {"tenant": tenant, "launch": launch, "limit": str(limit)}
        answer = await self._send(
            "GET",
            with_query(self.urls.api("/accesses"), **query),
            {"authorization": f"Bearer {self.api_token}"},
        )
        items = answer.get("items", [])
        return items if isinstance(items, list) else []

    async def decisions(self, after: str, quiet_s: float) -> AsyncGenerator[Message, None]:
        """Follow the platform's decisions, from now or from the place ``after``, until it ends or is silent for ``quiet_s``.

        Raises what the platform refuses with, and Unavailable when it breaks off.
        """
        headers = {"authorization": f"Bearer {self.api_token}", "accept": "text/event-stream"}
        if after:
            headers["last-event-id"] = after
        # No limit in all, since the stream is endless; silence longer than three heartbeats ends it.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=quiet_s)
        try:
            async with self._connections().get(
                self.urls.api("/events"), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    _judged(response.status, await _bounded(response))
                    raise Unavailable("platform_unavailable", "The platform offers no stream of decisions.")
                parser = Parser()
                async for chunk in response.content.iter_any():
                    for message in parser.take(chunk):
                        yield message
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("platform_unavailable", "The platform does not answer.") from error

    async def register(self, tenant: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Register a client by dynamic registration (RFC 7591), which a private sandbox leaves open."""
        return await self._send("POST", self.urls.register(tenant), {}, json=metadata)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _ehr(self, method: str, tenant: str, url: str, body: dict[str, Any] | None) -> dict[str, Any]:
        # Once more with a new token: the platform may have revoked ours, for example at the end of a full
        # stop.
        for last in (False, True):
            bearer = await self._token(tenant)
            try:
                return await self._send(method, url, {"authorization": f"Bearer {bearer}"}, json=body)
            except NotAuthenticated:
                del self._tokens[tenant]
                if last:
                    raise
        raise AssertionError

    async def _token(self, tenant: str) -> str:
        kept = self._tokens.get(tenant)
        if kept is not None and self.clock.monotonic() < kept[1]:
            return kept[0]
        found = self.secrets.get(tenant) or self.own(tenant)
        if found is None:
            raise NotFound("tenant_not_found", "There is no such hospital in this sandbox.")
        client_id, secret = found
        form = {"grant_type": "client_credentials", "scope": "hilum/launch"}
        # RFC 6749 section 2.3.1: client_secret_basic.
        headers = {"authorization": aiohttp.encode_basic_auth(client_id, secret)}
        answer = await self._send("POST", self.urls.token(tenant), headers, form=form)
        life_s = float(answer.get("expires_in", 0)) - TOKEN_MARGIN_S
        self._tokens[tenant] = (answer["access_token"], self.clock.monotonic() + life_s)
        return str(answer["access_token"])

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        *,
        json: dict[str, Any] | None = None,
        form: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with self._connections().request(
                # A redirect could carry the token to another host.
                method,
                url,
                headers=headers,
                json=json,
                data=form,
                allow_redirects=False,
            ) as response:
                return _judged(response.status, await _bounded(response))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("platform_unavailable", "The platform does not answer.") from error

    def _connections(self) -> aiohttp.ClientSession:
        if self._http is None:
            # No cookies: the EHR is a program towards the platform, and none of its browser's sessions may
            # matter.
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._http


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        # Counted while reading: a length in a header is not a bound.
        if size > ANSWER_BOUND:
            raise Unavailable("platform_unavailable", "The platform's answer is too large.")
        chunks.append(chunk)
    return b"".join(chunks)


def _judged(status: int, raw: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(raw) if raw else {}
    except ValueError:
        found = {}
    answer: dict[str, Any] = found if isinstance(found, dict) else {"items": found}
    if status < 400:
        return answer
    code = str(answer.get("code") or answer.get("error") or "platform_refused")
    detail = str(answer.get("detail") or answer.get("error_description") or "The platform refused.")
    fields = answer.get("fields")
    if isinstance(fields, dict) and fields:
        faults = {str(name): str(fault["detail"]) for name, fault in sorted(fields.items())}
        said = " ".join(f"{name}: {fault}" for name, fault in faults.items())
        refusal: HilumError = Invalid(code, f"{detail} ({said})", fields=faults)
    elif status >= 500 or status == 429:
        refusal = Unavailable(code, detail)
    else:
        refusal = _FAMILIES.get(status, Invalid)(code, detail)
    # The page about it quotes this number, by which the platform explains it.
    refusal.request_id = str(answer.get("request_id") or "")
    raise refusal
