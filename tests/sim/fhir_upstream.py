"""A simulated FHIR server, as different from ours as R4 allows.

It writes absolute URLs and references below its own base, and escapes slashes in JSON; its pages have opaque ids at its root;
``total`` is always present; unknown parameters are silently ignored; every search includes its subjects, requested or
not; there are no ETags and only some versions. With ``careless`` it ignores the patient parameters too, as a broken one would.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from hilum.identity.people.models import Quirks
from tests.sim.serving import serving

BASE = "http://upstream.internal/fhir"
PAGE = 10


@dataclass
class OtherServer:
    """Keeps resources in memory. ``seen`` lists every request as (method, target, headers)."""

    base: str = BASE
    careless: bool = False
    ignores: frozenset[str] = frozenset()
    """Search parameters that it does not act on."""
    quirks: Quirks = field(default_factory=Quirks)
    """Refuse what a server with these quirks refuses."""
    wants: str = ""
    """The Authorization without which it answers 401, when set."""
    status: int = 0
    """Answer everything with this status, when set."""
    read_status: int = 0
    """Answer everything but its CapabilityStatement with this status, when set."""
    statement: dict[str, Any] = field(default_factory=dict)
    """Members of its CapabilityStatement that are other than usual."""
    signs: bool = False
    """Turn each ``url`` that names a Binary into a link on its own host that opens without credentials, as some servers do."""
    ascii_escapes: bool = False
    """Write every letter, dot and sign of addresses as a JSON escape, as R4 permits."""
    refuses: tuple[int, dict[str, Any]] | None = None
    """Answer searches and writes with this status and body, when set."""
    links: str = ""
    """The base of its next links, where that is not ``base``; ``link``: every next link, whole."""
    link: str = ""
    location: str | None = None
    """The Location of what was created, for its id, with ``@`` for the base; empty for none."""
    silent: bool = False
    """Answer writes without a body."""
    raw: bytes | None = None
    """Answer every read and search with these bytes, when set."""
    etag: str = ""
    """The version of every record that is read."""
    held: dict[str, threading.Event] = field(default_factory=dict)
    """Paths that are not answered before their event is set."""
    write_s: float = 0.0
    """How long a write takes, half of it before it is stored and half of it after."""
    writing: list[bytes] = field(default_factory=list)
    """What was sent to it and is not answered yet."""
    searches_tags: bool = False
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    pages: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def load(self, *resources: dict[str, Any]) -> None:
        for resource in resources:
            # A copy, so that a test's own value does not change.
            stored = json.loads(json.dumps(resource), object_hook=self._absolute)
            self.resources[f"{resource['resourceType']}/{resource['id']}"] = stored

    def _absolute(self, node: dict[str, Any]) -> dict[str, Any]:
        reference = node.get("reference")
        if isinstance(reference, str) and "/" in reference and "://" not in reference:
            node["reference"] = f"{self.base}/{reference}"
        return node

    def _signed(self, node: dict[str, Any]) -> dict[str, Any]:
        url = node.get("url")
        name = url.removeprefix(self.base + "/") if isinstance(url, str) else ""
        if name in self.resources and name.startswith("Binary/"):
            node["url"] = f"{self.storage}/{name[7:]}?Expires=9999999999&Signature=abc"
        return node

    @property
    def storage(self) -> str:
        return self.base.removesuffix("/fhir") + "/storage"

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        path = scope["path"].removeprefix("/fhir").strip("/")
        query = scope["query_string"].decode()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.seen.append((scope["method"], f"{path}?{query}" if query else path, headers))
        # Polled, because tests release it from another thread.
        while path in self.held and not self.held[path].is_set():
            await asyncio.sleep(0.01)
        status: int
        answer: Any
        more: list[tuple[bytes, bytes]]
        if self.wants and headers.get("authorization") != self.wants:
            status, answer, more = 401, {"resourceType": "OperationOutcome", "issue": []}, []
        elif scope["method"] == "GET":
            status, answer, more = self._answer("GET", path, query, body)
        else:
            self.writing.append(body)
            # Before storing and after: a test can stop the gateway at either side of the effect.
            await asyncio.sleep(self.write_s / 2)
            status, answer, more = self._answer(scope["method"], path, query, body)
            await asyncio.sleep(self.write_s / 2)
            self.writing.remove(body)
        if self.signs and not isinstance(answer, bytes):
            answer = json.loads(json.dumps(answer), object_hook=self._signed)
        # Escaped slashes are legal JSON, and a search for addresses in raw bytes misses them.
        text = answer if isinstance(answer, bytes) else json.dumps(answer).replace("/", "\\/").encode()
        if self.ascii_escapes:
            text = text.replace(b"internal", b"\\u0069nternal").replace(b"s3.example", b"s3\\u002eexample")
        sent = [(b"content-type", b"application/json"), (b"x-powered-by", b"otherserver"), *more]
        await send({"type": "http.response.start", "status": status, "headers": sent})
        # In two parts, as networks deliver.
        half = len(text) // 2
        await send({"type": "http.response.body", "body": text[:half], "more_body": True})
        await send({"type": "http.response.body", "body": text[half:]})

    def _answer(
        self, method: str, path: str, query: str, body: bytes
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        if self.status:
            return self.status, {"resourceType": "OperationOutcome", "issue": []}, []
        if path == "metadata":
            return 200, self._metadata() | self.statement, []
        if self.read_status:
            return self.read_status, {"resourceType": "OperationOutcome", "issue": []}, []
        if self.raw is not None:
            return 200, self.raw, []
        if self.refuses is not None and (method != "GET" or "/" not in path):
            return self.refuses[0], self.refuses[1], []
        params = parse_qsl(query if method == "GET" else body.decode(), keep_blank_values=True)
        parts = path.split("/") if path else []
        if method == "GET" and not parts:
            return self._page(dict(params))
        if (method == "GET" and len(parts) == 1) or parts[1:] == ["_search"]:
            if self._refuses(parts, params):
                return 400, {"resourceType": "OperationOutcome", "issue": []}, []
            return 200, self._search(parts[0], params), []
        if method == "GET":
            found = self.resources.get("/".join(parts[:2]))
            version = [(b"etag", self.etag.encode())] if self.etag else []
            return (
                (200, found, version)
                if found
                else (404, {"resourceType": "OperationOutcome", "issue": []}, [])
            )
        return self._write(method, parts, body)

    def _write(
        self, method: str, parts: list[str], body: bytes
    ) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        if method == "DELETE":
            gone = self.resources.pop("/".join(parts), None)
            return (200 if gone else 404), {"resourceType": "OperationOutcome", "issue": []}, []
        resource = json.loads(body)
        name = "/".join(parts) if method == "PUT" else f"{parts[0]}/made{len(self.resources)}"
        resource["id"] = name.partition("/")[2]
        self.resources[name] = resource
        location = f"{self.base}/{name}"
        if self.location is not None:
            location = self.location.format(resource["id"]).replace("@", self.base)
        headers = [(b"location", location.encode())] if location else []
        return (200 if method == "PUT" else 201), b"" if self.silent else resource, headers

    def _refuses(self, parts: list[str], params: list[tuple[str, str]]) -> bool:
        asked, quirks = dict(params), self.quirks
        return any(
            (
                quirks.page and int(asked.get("_count", 0)) > quirks.page,
                not quirks.forms and parts[1:],
                quirks.id_alone and "_id" in asked and len(asked) > 1,
                quirks.one_patient and "," in asked.get("patient", ""),
                quirks.patient_criteria
                and parts == ["Patient"]
                and not asked.keys() - {"_count", "_sort", "_summary"},
            )
        )

    def _search(self, type_: str, params: list[tuple[str, str]]) -> dict[str, Any]:
        found = [r for name, r in sorted(self.resources.items()) if name.startswith(type_ + "/")]
        size = PAGE
        for name, value in params:
            if name in self.ignores:
                continue
            if name in {"patient", "subject"} and not self.careless:
                wanted = {f"{self.base}/Patient/{v.rpartition('/')[2]}" for v in value.split(",")}
                found = [r for r in found if self._subject(r) in wanted]
            elif name == "_id":
                found = [r for r in found if r["id"] in value.split(",")]
            elif name == "_tag" and self.searches_tags:
                found = [r for r in found if value in self._tags(r)]
            elif name == "_count":
                size = int(value)
        return self._bundle(found, size)

    @staticmethod
    def _tags(r: dict[str, Any]) -> list[str]:
        return [f"{each.get('system')}|{each.get('code')}" for each in r.get("meta", {}).get("tag", [])]

    @staticmethod
    def _subject(resource: dict[str, Any]) -> str:
        return str((resource.get("subject") or resource.get("patient") or {}).get("reference", ""))

    def _bundle(self, found: list[dict[str, Any]], size: int) -> dict[str, Any]:
        entries: list[dict[str, Any]] = [
            {"fullUrl": f"{self.base}/{r['resourceType']}/{r['id']}", "resource": r} for r in found[:size]
        ]
        # Included without being asked for: the gateway must judge and remove them.
        subjects = {self._subject(r).removeprefix(self.base + "/") for r in found[:size]}
        entries += [
            {"resource": self.resources[name], "search": {"mode": "include"}}
            for name in sorted(subjects)
            if name in self.resources
        ]
        bundle: dict[str, Any] = {
            "resourceType": "Bundle",
            "id": "searched",
            "type": "searchset",
            "total": len(found),
            # A self link that says nothing of what was searched.
            "link": [{"relation": "self", "url": f"{self.base}?whatever"}],
            "entry": entries,
        }
        if found[size:]:
            key = f"pg{len(self.pages)}"
            self.pages[key] = found[size:]
            following = (
                self.link or f"{self.links or self.base}?_getpages={key}&_count={size}&_bundletype=searchset"
            )
            bundle["link"].append({"relation": "next", "url": following})
        return bundle

    def _page(self, params: dict[str, str]) -> tuple[int, Any, list[tuple[bytes, bytes]]]:
        found = self.pages.get(params.get("_getpages", ""))
        if found is None:
            return 410, {"resourceType": "OperationOutcome", "issue": []}, []
        return 200, self._bundle(found, int(params["_count"])), []

    def _metadata(self) -> dict[str, Any]:
        supported = [{"name": name, "type": "token"} for name in ("patient", "subject", "_id")]
        types = (
            "Patient",
            "Observation",
            "Condition",
            "Organization",
            "Medication",
            "Provenance",
            "DocumentReference",
            "DiagnosticReport",
            "Binary",
            "Subscription",
        )
        described = [
            {
                "type": t,
                "interaction": [{"code": c} for c in ("read", "search-type", "patch")],
                "searchParam": supported,
            }
            for t in types
        ]
        return {
            "resourceType": "CapabilityStatement",
            "fhirVersion": "4.0.1",
            "implementation": {"url": self.base},
            "rest": [{"mode": "server", "resource": described}],
        }


@contextmanager
def over_http(server: OtherServer) -> Iterator[str]:
    """Serve it on a loopback port; yield its base."""
    with serving(lambda _: server) as port:
        server.base = f"http://127.0.0.1:{port}/fhir"
        yield server.base
