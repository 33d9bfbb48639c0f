"""Reads a hospital's records as its EHR does: from its store, not through the platform."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum_ehr.fhirserver.routes import FhirServer, Request
from hilum_ehr.synthesis.models import Resource

PAGE = 500
"""Entries of a page: the most that the server returns. A synthetic chart has fewer resources of each type."""


class Records:
    """Reads from the stores of all hospitals. ``server_of`` returns that of a tenant."""

    def __init__(self, server_of: Callable[[str], FhirServer]) -> None:
        self._server_of = server_of

    async def read(self, tenant: str, resource_type: str, resource_id: str) -> Resource:
        """Read one resource. Raises NotFound."""
        answer = await self._get(tenant, f"/{resource_type}/{quote(resource_id, safe='')}", b"")
        if answer is None:
            raise NotFound("record_not_found", "There is no such record at this hospital.")
        return answer

    async def search(self, tenant: str, resource_type: str, **parameters: str) -> list[Resource]:
        """Search one type and return the resources of the first page, with those that the search includes."""
        query = urlencode(
            {"_count": str(PAGE)} | {name: value for name, value in parameters.items() if value}
        )
        bundle = await self._get(tenant, f"/{resource_type}", query.encode())
        return [entry["resource"] for entry in (bundle.get("entry", ()) if bundle else ())]

    async def chart(self, tenant: str, patient: str) -> dict[str, list[Resource]]:
        """Read the resources of a chart's summary, by its sections. Raises NotFound if there is no such patient."""
        subject = await self.read(tenant, "Patient", patient)
        sections: dict[str, tuple[str, dict[str, str]]] = {
            "problems": ("Condition", {"patient": patient}),
            "medications": (
                "MedicationRequest",
                {"patient": patient, "_include": "MedicationRequest:medication"},
            ),
            "allergies": ("AllergyIntolerance", {"patient": patient}),
            "vitals": ("Observation", {"patient": patient, "category": "vital-signs", "_sort": "-date"}),
            "labs": ("Observation", {"patient": patient, "category": "laboratory", "_sort": "-date"}),
            "encounters": ("Encounter", {"patient": patient, "_sort": "-date"}),
        }
        # Concurrently: each search runs in a thread of the server.
        lists = await asyncio.gather(
            *(self.search(tenant, resource_type, **query) for resource_type, query in sections.values())
        )
        return {"patient": [subject]} | dict(zip(sections, lists, strict=True))

    async def _get(self, tenant: str, path: str, query: bytes) -> dict[str, Any] | None:
        answer = await self._server_of(tenant).answer(Request("GET", path, query))
        if answer.status in {404, 410}:
            return None
        if answer.status != 200:
            raise Unavailable("records_unavailable", "The hospital's records cannot be read right now.")
        resource: dict[str, Any] = orjson.loads(answer.body)
        return resource
