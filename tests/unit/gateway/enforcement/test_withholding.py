"""What an answer may show of addresses."""

import copy
import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from hilum.foundation.standards.fhir.addresses import is_signed
from hilum.gateway.enforcement.attachments import Grounds, grounds_of, is_internal, strings_of
from hilum.gateway.enforcement.withholding import WITHHELD, is_suspect, withhold
from tests.effort import effort
from tests.unit.gateway.enforcement.planted import PLANTED, RECORDS, places

BASE = "https://hilum.example/t/general/fhir/"
GROUNDS = grounds_of((BASE,), ("https://upstream.internal/fhir",), ("images.example",))
SHARED = grounds_of(("https://one.example/t/g/fhir/",), ("https://one.example/fhir",))
OWN = grounds_of((BASE,), (BASE[:-1],))
MASKED = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}
    ]
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://upstream.internal/fhir/Patient/1", BASE + "Patient/1"),
        ("HTTP://u:p@Upstream.Internal:80/fhir/Patient/1?a=b#c", BASE + "Patient/1?a=b#c"),
        ("//upstream.internal/fhir/Patient/1", BASE + "Patient/1"),
        ("https://upstream.internal/fhir", BASE[:-1]),
        ("https://upstream.internal:8443/fhir/Patient/1", WITHHELD),
        ("https://upstream.internal/fhirs/Patient/1", WITHHELD),
        ("https://upstream.internal/storage/x?sig=1", WITHHELD),
        ("ftp://upstream.internal/fhir/x", WITHHELD),
        ("https://upstream%2Einternal/x", WITHHELD),
        (
            "see https://upstream.internal/fhir/Patient/1, or <https://upstream.internal/x>",
            f"see {BASE}Patient/1, or <{WITHHELD}>",
        ),
        (
            "https://elsewhere.example/a and https://elsewhere.example/b?sig=1",
            f"https://elsewhere.example/a and {WITHHELD}",
        ),
        (
            "https://elsewhere.example/a and https://upstream.internal/x",
            f"https://elsewhere.example/a and {WITHHELD}",
        ),
        ("https://elsewhere.example/a?X-Amz-Signature=1", WITHHELD),
        ("https://elsewhere.example/a?x=1&amp;Signature=1", WITHHELD),
        ("https://elsewhere.example/a?access_token=1", WITHHELD),
        ("/storage/a?x=1&Signature=2", WITHHELD),
        ("\\\\upstream.internal\\x", WITHHELD),
        ("%2F%2Fupstream.internal/x", WITHHELD),
        ("https://elsewhere.example/a?design=1", "https://elsewhere.example/a?design=1"),
        ("mail a@upstream.internal", "mail a@upstream.internal"),
        ("https://hilum.example/t/general/fhir/Patient/1", "https://hilum.example/t/general/fhir/Patient/1"),
        ("a: b", "a: b"),
    ],
)
def test_each_address_is_rewritten_withheld_or_left(text: str, expected: str) -> None:
    record = {"note": [{"text": text}], "list": [text]}

    withheld = withhold(record, GROUNDS)

    assert record == {"note": [{"text": expected}], "list": [expected]}
    assert withheld == (WITHHELD in expected)


def test_a_narrative_that_cannot_be_cleaned_stays_one() -> None:
    """FHIR R4 narrative.html: apps parse it as XHTML."""
    narrative = {"div": '<div xmlns="http://www.w3.org/1999/xhtml">\\\\upstream.internal\\x</div>'}
    record = {"text": narrative}

    assert withhold(record, GROUNDS)
    assert record["text"]["div"] == f'<div xmlns="http://www.w3.org/1999/xhtml">{WITHHELD}</div>'


def test_no_organisation_allows_attachments_on_the_fhir_servers_own_host_or_on_none() -> None:
    """Security decision 22: its storage is beside it, and what is relative leads there."""
    named = ("Upstream.Internal:8443", "", "images.example")

    found = grounds_of((BASE,), ("https://upstream.internal/fhir",), named)

    assert found.attachment_hosts == {"images.example"}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "[::1]"])
def test_a_server_on_this_machine_is_found_in_each_spelling(host: str) -> None:
    here = grounds_of((BASE,), ("http://localhost:8080/fhir",))

    assert is_suspect(b'{"a":"http://%s:8080/storage"}' % host.encode(), here, "Observation")


@pytest.mark.parametrize("fill", ["a", "a1", "a-", "a.", "/", ":", "a:", "=", "&", "%25"])
@pytest.mark.parametrize("address", ["https://elsewhere.example/a?sig=1", "https://upstream.internal/x"])
def test_a_long_text_beside_an_address_takes_linear_time(fill: str, address: str) -> None:
    """A FHIR server that anybody runs must not hold up the requests of all others. C132."""
    record = {"note": [{"text": f"{address} {fill * (150_000 // len(fill))}"}]}
    began = time.process_time()

    assert withhold(record, GROUNDS)

    assert time.process_time() - began < 2
    assert address not in record["note"][0]["text"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("Binary/1", "Binary/1"),
        ("Binary/1/_history/2", "Binary/1/_history/2"),
        ("https://upstream.internal/fhir/Binary/1", BASE + "Binary/1"),
        ("https://images.example/1", "https://images.example/1"),
        ("https://images.example/1?sig=2", ""),
        ("https://elsewhere.example/1", ""),
        ("https://upstream.internal/storage/1", ""),
        ("/storage/1", ""),
        ("storage/1", ""),
        ("urn:oid:1.2", "urn:oid:1.2"),
    ],
)
def test_an_attachment_leads_here_or_where_the_organisation_allows(url: str, shown: str) -> None:
    record: dict[str, Any] = {
        "content": [{"attachment": {"url": url}}],
        "extension": [{"valueAttachment": {"url": url}}],
    }

    assert withhold(record, GROUNDS) == (shown == "")

    expected = {"url": shown} if shown else {"_url": MASKED}
    assert record == {"content": [{"attachment": expected}], "extension": [{"valueAttachment": expected}]}


@settings(max_examples=effort(70, 3_000), deadline=None)
@given(record=RECORDS, planted=PLANTED)
@pytest.mark.parametrize("grounds", [GROUNDS, SHARED])
def test_nothing_internal_is_left_and_cleaning_twice_changes_nothing(
    grounds: Grounds, record: dict[str, Any], planted: str
) -> None:
    """Security decision 22; what the cheap look passes over, the thorough one would have left as it is."""
    node, key = places(record)[0]
    node[key] = planted
    cleaned, whole = copy.deepcopy(record), orjson.dumps(record)
    withhold(cleaned, grounds)
    again = copy.deepcopy(cleaned)

    assert not withhold(again, grounds)
    assert again == cleaned
    assert not [
        text for path, text in strings_of(cleaned) if is_internal(path, text, grounds) or is_signed(text)
    ]
    if not is_suspect(whole, grounds):
        assert cleaned == record


def test_an_answer_full_of_the_gateways_own_addresses_is_not_suspect_on_a_shared_host() -> None:
    own = b'{"a":"https://one.example/t/g/fhir/Patient/1","b":"https://one.example/t/g/fhir/Patient/2"}'

    assert not is_suspect(own, SHARED)
    assert is_suspect(own.replace(b"/t/g", b"", 1), SHARED)
    assert not is_suspect(own, OWN)


@pytest.mark.parametrize(
    ("type_", "record", "expected"),
    [
        ("Observation", {"extension": [{"url": "x", "valueAttachment": {"url": "y"}}]}, True),
        ("Observation", {"contained": [{"resourceType": "Media", "content": {"url": "y"}}]}, True),
        ("Patient", {"photo": [{"url": "y"}]}, True),
        (
            "QuestionnaireResponse",
            {"item": [{"item": [{"answer": [{"valueAttachment": {"url": "y"}}]}]}]},
            True,
        ),
        ("Observation", {"extension": [{"url": "x", "valueCode": "form"}]}, False),
        ("Observation", {"note": [{"text": "https://elsewhere.example/a?Signature=1"}]}, True),
        ("Observation", {"note": [{"text": "https://elsewhere.example/a?b=1"}]}, False),
    ],
)
def test_only_what_may_hold_an_attachment_is_looked_at_twice(
    type_: str, record: dict[str, Any], expected: bool
) -> None:
    """P1, P3: the usual answer costs a few searches for bytes."""
    assert is_suspect(orjson.dumps(record), OWN, type_) is expected
