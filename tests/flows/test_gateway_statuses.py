"""The statuses of requests that the gateway does not understand (FHIR R4 http.html#Status-Codes; RFC 9110 section 15.5)."""

import base64
import json
from typing import Any

import pytest

from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.requests import Unsupported, parse
from hilum.gateway.enforcement.rendering import UNSUPPORTED_STATUS, refused
from tests.flows.gateway_ground import Ground, Play

FHIR = {"content-type": "application/fhir+json"}
ASKED: tuple[tuple[str, str, dict[str, str], Any, int, str], ...] = (
    # method, target, headers, body, status, allow
    ("GET", "Nonsense/p1", {}, None, 404, ""),
    ("GET", "patient/p1", {}, None, 404, ""),
    ("GET", "Patient/p1/nowhere", {}, None, 404, ""),
    ("POST", "Patient/p1", FHIR, {"resourceType": "Patient"}, 405, "GET, HEAD, PUT, PATCH, DELETE"),
    ("DELETE", "metadata", {}, None, 405, "GET, HEAD"),
    ("GET", "Observation/_search", {}, None, 405, "POST"),
    ("PUT", "", FHIR, {"resourceType": "Bundle"}, 405, "GET, HEAD, POST"),
    ("BREW", "Patient/p1", {}, None, 405, "GET, HEAD, POST, PUT, PATCH, DELETE"),
    ("GET", "Patient/p1", {"accept": "application/fhir+xml"}, None, 406, ""),
    ("GET", "Patient/p1?_format=xml", {}, None, 406, ""),
    ("POST", "Observation", {"content-type": "application/fhir+xml"}, b"<Observation/>", 415, ""),
    ("GET", "Patient?" + "a" * 40_000, {}, None, 414, ""),
    ("POST", "Observation", FHIR, b"{", 400, ""),
    ("GET", "Patient/" + "x" * 65, {}, None, 400, ""),
    ("GET", "Patient?_summary=nonsense", {}, None, 400, ""),
)


def test_what_is_not_understood_is_answered_with_the_status_that_says_why(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/*.cruds")
        for method, target, headers, body, status, allow in ASKED:
            answer = await made.send(method, target, token, headers=headers, body=body)
            assert (answer.status, answer.headers.get("allow", "")) == (status, allow), (method, target[:40])
            told = json.loads(answer.body)
            assert told["issue"][0]["details"]["coding"][0]["code"] == "request_unsupported"

    play(story)


def test_a_stranger_learns_of_no_path(play: Play) -> None:
    async def story(made: Ground) -> None:
        for method, target in (
            ("GET", "Nonsense/p1"),
            ("DELETE", "metadata"),
            ("GET", "Patient?_format=xml"),
        ):
            assert (await made.send(method, target)).status == 401

    play(story)


def test_a_file_sent_as_base64_is_called_what_it_is() -> None:
    sent = base64.b64encode(b"%PDF-1.7 and so on and on")

    found = parse("POST", b"DocumentReference", b"", FHIR, sent)

    assert isinstance(found, Unsupported)
    assert "base64" in found.detail
    for other in (b"{oops}", b"", b"abc", b"null", b"not json at all"):
        found = parse("POST", b"DocumentReference", b"", FHIR, other)
        assert isinstance(found, Unsupported)
        assert "base64" not in found.detail


@pytest.mark.parametrize("code", ["parameter_unknown", "id_malformed", "body_malformed", "anything"])
def test_what_has_no_status_of_its_own_stays_a_bad_request(code: str) -> None:
    answer = refused(Deny(Reason.REQUEST_UNSUPPORTED), Unsupported(code, ""))

    assert (answer.status, answer.headers) == (400, ())
    assert set(UNSUPPORTED_STATUS.values()) == {404, 405, 406, 413, 414, 415}
