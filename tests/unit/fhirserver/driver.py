"""Speaks to the FHIR server through its ASGI callable, in process."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from tests.sim.world import FakeClock, SeededIds

BASE = "http://ehr.example/fhir"
Query = str | bytes | dict[str, str] | list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        """The ids of what matched, in order."""
        return [e["resource"]["id"] for e in self.json.get("entry", []) if e["search"]["mode"] == "match"]

    @property
    def included(self) -> set[str]:
        return {
            f"{e['resource']['resourceType']}/{e['resource']['id']}"
            for e in self.json.get("entry", [])
            if e["search"]["mode"] == "include"
        }

    @property
    def issue(self) -> dict[str, Any]:
        assert self.json["resourceType"] == "OperationOutcome"
        issue: dict[str, Any] = self.json["issue"][0]
        return issue

    def link(self, relation: str) -> str | None:
        return next((link["url"] for link in self.json["link"] if link["relation"] == relation), None)


class Fhir:
    """One server and a client of it."""

    def __init__(self, path: Path, clock: FakeClock | None = None, **settings: Any) -> None:
        self.clock = clock or FakeClock()
        self.server = FhirServer(FhirServerSettings(path, BASE, **settings), self.clock, SeededIds())
        self._runner = asyncio.Runner()

    def close(self) -> None:
        self._runner.close()
        self.server.close()

    def load(self, *resources: dict[str, Any]) -> None:
        assert self.server.load(resources) == len(resources)

    def request(
        self,
        method: str,
        path: str,
        query: Query = "",
        *,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        raw = (
            query
            if isinstance(query, bytes)
            else (query if isinstance(query, str) else urlencode(query)).encode()
        )
        named = [(k.lower().encode(), v.encode("latin-1")) for k, v in (headers or {}).items()]
        return self._runner.run(self._call(method, path, raw, named, [body]))

    def chunks(self, method: str, path: str, chunks: Iterable[bytes], headers: dict[str, str]) -> Answer:
        named = [(k.lower().encode(), v.encode("latin-1")) for k, v in headers.items()]
        return self._runner.run(self._call(method, path, b"", named, list(chunks)))

    def get(self, path: str, query: Query = "", **headers: str) -> Answer:
        return self.request("GET", path, query, headers=_dashed(headers))

    def search(self, resource_type: str, query: Query) -> list[str]:
        answer = self.get(f"/{resource_type}", query)
        assert answer.status == 200, answer.body
        return answer.ids

    def post_search(self, resource_type: str, form: bytes) -> Answer:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request("POST", f"/{resource_type}/_search", body=form, headers=headers)

    def write(self, method: str, path: str, resource: Any, **headers: str) -> Answer:
        body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
        named = {"Content-Type": "application/fhir+json", **_dashed(headers)}
        return self.request(method, path, body=body, headers=named)

    async def _call(
        self, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], chunks: list[bytes]
    ) -> Answer:
        sent: list[dict[str, Any]] = []
        waiting = list(chunks)

        async def receive() -> dict[str, Any]:
            chunk = waiting.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

        async def send(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http",
            "method": method,
            "path": "/mounted" + path,
            "root_path": "/mounted",
            "query_string": query,
            "headers": headers,
        }
        await self.server(scope, receive, send)
        found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(m.get("body", b"") for m in sent[1:]))


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
