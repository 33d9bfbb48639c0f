"""Documents that point at files of another patient, and what the app learns of those."""

import base64
import json
from typing import Any

from hilum.records.audit import live as journals
from hilum.records.audit.models import Access, AccessQuery
from tests.flows.gateway_ground import GENERAL, Answer, Ground
from tests.sim.journals import journal_of

CANARY = "SECRET-OF-P2"
INLINE = [{"attachment": {"contentType": "text/plain", "data": "bWluZQ=="}}]


def document(id_: str, patient_id: str, *urls: str) -> dict[str, Any]:
    return {
        "resourceType": "DocumentReference",
        "id": id_,
        "status": "current",
        "subject": {"reference": f"Patient/{patient_id}"},
        "content": [{"attachment": {"contentType": "text/plain", "url": url}} for url in urls] or INLINE,
    }


def binary(id_: str, text: str) -> dict[str, Any]:
    return {
        "resourceType": "Binary",
        "id": id_,
        "contentType": "text/plain",
        "data": base64.b64encode(text.encode()).decode(),
    }


def recorded(made: Ground) -> Access:
    """The latest access of the app."""
    folder = journal_of(made.uow)
    reader = journals.open_reader(folder, made.uow.db.url)
    return reader.newest(AccessQuery(tenant=GENERAL, limit=1))[0]


def comparable(answer: Answer) -> str:
    """An answer without what is different in every one: the id of its decision and the address it repeats."""
    body = answer.json
    body.pop("link", None)
    return json.dumps([answer.status, body, [link["relation"] for link in answer.json.get("link", [])]])
