"""Where records hold attachments, and which Binaries those lead to."""

from typing import Any

import pytest

from hilum.foundation.standards.fhir.attachments import (
    attachment_keys,
    attachments_of,
    binaries_of,
    holders,
    referrer_types,
)
from hilum.foundation.standards.fhir.visibility import VISIBILITY

BASES = ("http://here.example/fhir/",)
HELD = {"url": "Binary/b"}
RECORDS: list[dict[str, Any]] = [
    {"resourceType": "DocumentReference", "content": [{"attachment": HELD}]},
    {"resourceType": "DiagnosticReport", "presentedForm": [HELD]},
    {"resourceType": "Media", "content": HELD},
    {"resourceType": "Patient", "photo": [HELD]},
    {"resourceType": "Practitioner", "photo": [HELD]},
    {"resourceType": "RelatedPerson", "photo": [HELD]},
    {"resourceType": "Consent", "sourceAttachment": HELD},
    {"resourceType": "Communication", "payload": [{"contentAttachment": HELD}]},
    {"resourceType": "CommunicationRequest", "payload": [{"contentAttachment": HELD}]},
    {"resourceType": "ExplanationOfBenefit", "form": HELD},
    {"resourceType": "Claim", "supportingInfo": [{"valueAttachment": HELD}]},
    {"resourceType": "BodyStructure", "image": [HELD]},
    {"resourceType": "Task", "output": [{"valueAttachment": HELD}]},
    {"resourceType": "Task", "input": [{"valueRelatedArtifact": {"document": HELD}}]},
    {"resourceType": "RequestGroup", "action": [{"action": [{"documentation": [{"document": HELD}]}]}]},
    {"resourceType": "QuestionnaireResponse", "item": [{"item": [{"answer": [{"valueAttachment": HELD}]}]}]},
    {
        "resourceType": "QuestionnaireResponse",
        "item": [{"answer": [{"item": [{"answer": {"valueAttachment": HELD}}]}]}],
    },
    {"resourceType": "Questionnaire", "item": [{"item": [{"initial": [{"valueAttachment": HELD}]}]}]},
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: str(record["resourceType"]))
def test_an_attachment_is_found_where_the_definitions_have_one(record: dict[str, Any]) -> None:
    """Security decision 22: at every depth."""
    assert list(attachments_of(record)) == [HELD]
    assert binaries_of(record, ()) == {"b"}
    assert record["resourceType"] in referrer_types()


def test_every_type_with_attachments_is_known_and_no_other() -> None:
    """Security decision 22: the list follows the definitions and the visibility table, and nobody keeps it by hand."""
    assert {record["resourceType"] for record in RECORDS} | {"ClaimResponse", "HealthcareService"} == set(
        referrer_types()
    )
    assert set(referrer_types()) <= set(VISIBILITY)
    assert not holders("Observation")
    assert {"attachment", "presentedForm", "photo", "content", "valueAttachment"} <= attachment_keys()


@pytest.mark.parametrize(
    "record",
    [
        {"resourceType": "Observation", "extension": [{"valueAttachment": HELD}]},
        {"resourceType": "DocumentReference", "extension": [{"valueAttachment": HELD}]},
        {"resourceType": "DocumentReference", "contained": [RECORDS[0]]},
        {
            "resourceType": "DocumentReference",
            "content": [{"attachment": {"extension": [{"url": "Binary/b"}]}}],
        },
        {"resourceType": "DocumentReference", "content": [{"attachment": {"_url": HELD}}]},
        {
            "resourceType": "DocumentReference",
            "content": [5, {"attachment": None}, {"attachment": "Binary/b"}],
        },
        {"resourceType": "DocumentReference", "presentedForm": [HELD]},
        {"resourceType": "Contract", "legal": [{"contentAttachment": HELD}]},
        {"resourceType": ["DocumentReference"], "content": [{"attachment": HELD}]},
        {"resourceType": "DocumentReference", "content": [{"attachment": {"url": ["Binary/b"]}}]},
        {"resourceType": "DocumentReference", "content": [{"attachment": {"url": "Patient/b"}}]},
        {
            "resourceType": "DocumentReference",
            "content": [{"attachment": {"url": "http://there.example/fhir/Binary/b"}}],
        },
    ],
)
def test_what_stands_elsewhere_leads_to_no_binary(record: dict[str, Any]) -> None:
    """C73: only a record's own attachments refer."""
    assert binaries_of(record, BASES) == frozenset()


def test_an_address_below_the_own_base_leads_there() -> None:
    document = {
        "resourceType": "DocumentReference",
        "content": [{"attachment": {"url": BASES[0] + "Binary/b/_history/2"}}],
    }

    assert binaries_of(document, BASES) == {"b"}
