"""The EHR's client of the platform: HTTP to published addresses, with an EHR client's token."""

from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ports import Clock
from hilum.foundation.web.urls import Urls, with_query
from hilum_ehr.sandbox.ehr.sse import Message, Parser

TIMEOUT_S = 15.0
CONNECT_S = 5.0
READY_WITHIN_S = 2.0
ANSWER_BOUND = 2 * 1024 * 1024
# A token is renewed before it ends, so that no launch is refused because of it.
TOKEN_MARGIN_S = 30.0


class NotAuthenticated(NotPermitted):
    """The platform rejected our token."""


# Only a 401 is answered with a new token.
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
    """A launch to open. ``launch_uri``: where the app is served now, if not at its registered address.

    ``banner``: the app must show whose record it is. Beside a chart's own banner it need not.
    """

    client: str
    person: str
    patient: str = ""
    encounter: str = ""
    launch_uri: str = ""
    banner: bool = True
    placement: str = ""
    """The place in the chart, as the platform's policy names it; empty if it is not opened from a chart."""
    facility: str = ""
    """A Location or Organization of the hospital's FHIR server; empty if unknown."""


@dataclass(frozen=True, slots=True)
class OpenableApp:
    """An app as the platform lists it for a person. ``stop``: the sentence why it cannot be opened now; ``logo``: an address."""

    client: str
    name: str
    description: str
    stop: str
    logo: str


@dataclass(slots=True)
class Platform:
    """The site's client of the platform. ``secrets`` maps a tenant to its EHR client's id and secret."""

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
        texts = {
            "client_id": order.client,
            "person": order.person,
            "patient": order.patient,
            "encounter": order.encounter,
            "launch_uri": order.launch_uri,
            "placement": order.placement,
            "facility": order.facility,
        }
        body: dict[str, Any] = {name: value for name, value in texts.items() if value}
        body["need_patient_banner"] = order.banner
        answer = await self._ehr("POST", tenant, self.urls.launches(tenant), body)
        return Launched(answer["id"], answer["launch"], answer["launch_url"], answer["open_url"])

    async def apps(self, tenant: str, person: str, clients: Iterable[str] = ()) -> list[OpenableApp]:
        """List which of these clients can be opened for a person now; by default of those installed for the person's role. The platform lists at most 50."""
        query = urlencode([("person", person), *(("client_id", each) for each in clients)])
        answer = await self._ehr("GET", tenant, f"{self.urls.launchable(tenant)}?{query}", None)
        # Only logos on the platform's own site are shown.
        own = f"{self.urls.base_url}/logos/"
        return [
            OpenableApp(
                item["client_id"],
                item["name"],
                item["description"],
                "" if item["open"] else item["detail"],
                item["logo"] if item["logo"].startswith(own) else "",
            )
            for item in answer["items"]
        ]

    async def move_launch(self, tenant: str, launch: str, patient: str, encounter: str) -> None:
        """Report that the chart moved. A launch that no longer exists is ignored."""
        body = {name: value for name, value in (("patient", patient), ("encounter", encounter)) if value}
        try:
            await self._ehr("PATCH", tenant, self.urls.launch(tenant, launch), body)
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
        """Yield the messages of the platform's stream of decisions, from now or after the id ``after``.

        Returns when the platform ends the stream. Raises the platform's refusal, and Unavailable if the connection breaks off or is silent
        for ``quiet_s``.
        """
        headers = {"authorization": f"Bearer {self.api_token}", "accept": "text/event-stream"}
        if after:
            headers["last-event-id"] = after
        # No total limit, since the stream is endless; only silence ends it.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=quiet_s)
        try:
            async with self._connections().get(
                self.urls.api("/events"), headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    _answer_of(response.status, await _read_bounded(response))
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
        bearer = await self._token(tenant)
        try:
            return await self._send(method, url, {"authorization": f"Bearer {bearer}"}, json=body)
        except NotAuthenticated:
            # The platform may have revoked our token, for example at the end of a full stop. Another request may
            # have dropped it already.
            self._tokens.pop(tenant, None)
        bearer = await self._token(tenant)
        return await self._send(method, url, {"authorization": f"Bearer {bearer}"}, json=body)

    async def _token(self, tenant: str) -> str:
        cached = self._tokens.get(tenant)
        if cached is not None and self.clock.monotonic() < cached[1]:
            return cached[0]
        credentials = self.secrets.get(tenant) or self.own(tenant)
        if credentials is None:
            raise NotFound("tenant_not_found", "There is no such hospital in this sandbox.")
        client_id, secret = credentials
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
            # A redirect could send the token to another host.
            async with self._connections().request(
                method,
                url,
                headers=headers,
                json=json,
                data=form,
                allow_redirects=False,
            ) as response:
                return _answer_of(response.status, await _read_bounded(response))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("platform_unavailable", "The platform does not answer.") from error

    def _connections(self) -> aiohttp.ClientSession:
        if self._http is None:
            # No cookies: the EHR authenticates with its token only.
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            self._http = aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())
        return self._http


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        # The length in the header is not trusted.
        if size > ANSWER_BOUND:
            raise Unavailable("platform_unavailable", "The platform's answer is too large.")
        chunks.append(chunk)
    return b"".join(chunks)


def _answer_of(status: int, raw: bytes) -> dict[str, Any]:
    """Return the content of an answer; a list as ``items``. Raises the platform's refusal with its code, sentence and fields."""
    try:
        content = orjson.loads(raw) if raw else {}
    except ValueError:
        content = {}
    answer: dict[str, Any] = content if isinstance(content, dict) else {"items": content}
    if status < 400:
        return answer
    code = str(answer.get("code") or answer.get("error") or "platform_refused")
    detail = str(answer.get("detail") or answer.get("error_description") or "The platform refused.")
    fields = answer.get("fields")
    if isinstance(fields, dict) and fields:
        faults = {str(name): str(fault["detail"]) for name, fault in sorted(fields.items())}
        sentences = " ".join(f"{name}: {fault}" for name, fault in faults.items())
        refusal: HilumError = Invalid(code, f"{detail} ({sentences})", fields=faults)
    elif status >= 500 or status == 429:
        refusal = Unavailable(code, detail)
    else:
        refusal = _FAMILIES.get(status, Invalid)(code, detail)
    # The error page shows the id, by which the platform's console finds the request.
    refusal.request_id = str(answer.get("request_id") or "")
    raise refusal
