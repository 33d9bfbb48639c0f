"""Where a request to a FHIR server may go, and where a server's own links may lead."""

import pytest

from hilum.gateway.upstream.models import TARGET_BOUND
from hilum.gateway.upstream.policy import address, host_of, relative_target, relocated

BASE = "https://fhir.example/r4/base"


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("Patient/1", f"{BASE}/Patient/1"),
        ("Patient?name=x%20y", f"{BASE}/Patient?name=x%20y"),
        ("?_getpages=a&_count=5", f"{BASE}?_getpages=a&_count=5"),
        ("metadata", f"{BASE}/metadata"),
        ("Patient/1.2", f"{BASE}/Patient/1.2"),
        ("Patient/.1", f"{BASE}/Patient/.1"),
        ("Patient?url=http://x/y", f"{BASE}/Patient?url=http://x/y"),
    ],
)
def test_a_target_stays_below_the_base(target: str, expected: str) -> None:
    assert address(BASE, target) == expected


@pytest.mark.parametrize(
    "target",
    [
        "/Patient/1",
        "../secret",
        "Patient/../../secret",
        "Patient/.",
        "Patient/..",
        "Patient/...",
        "Patient/1\n",
        "Patient/a:b",
        "Patient//1",
        "http://evil.example/Patient",
        "//evil.example/Patient",
        "Patient\\1",
        "Patient?a=b#c",
        "Patient?a b",
        "Patient?\r\nX: y",
        "Patient/ä",
        "Patient?" + "x" * TARGET_BOUND,
    ],
)
def test_a_target_that_would_leave_it_is_none(target: str) -> None:
    """Security decision 15: the host is the one that was allowed."""
    assert address(BASE, target) is None


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"{BASE}/Patient?_page=2", "Patient?_page=2"),
        (f"{BASE}?_getpages=x", "?_getpages=x"),
        ("/r4/base/Patient?_page=2", "Patient?_page=2"),
        ("Patient?_page=2", "Patient?_page=2"),
        ("https://fhir.example/r4/base2/Patient", None),
        ("https://fhir.example/r4/Patient", None),
        ("https://evil.example/r4/base/Patient", None),
        ("https://fhir.example.evil.example/r4/base/Patient", None),
        ("//evil.example/r4/base/Patient", None),
        ("/other/Patient", None),
        (f"{BASE}/../admin", None),
        (f"{BASE}@evil.example/", None),
        ("javascript:alert(1)", None),
    ],
)
def test_a_servers_link_is_followed_below_its_base_only(url: str, expected: str | None) -> None:
    """C78: a link elsewhere is no page of this search."""
    assert relative_target(BASE, url) == expected


def test_credentials_are_bound_to_scheme_host_and_port() -> None:
    assert host_of("https://fhir.example:8443/r4") == "https://fhir.example:8443"
    assert host_of("http://fhir.example/r4") != host_of("https://fhir.example/r4")


@pytest.mark.parametrize(
    "body",
    [
        b'{"url":"http://fhir.example/r4/Patient/p","value":5.40}',
        b'{"url":"http:\\/\\/fhir.example\\/r4\\/Patient\\/p","value":5.40}',
    ],
)
def test_an_address_is_moved_however_it_is_written_and_every_digit_stays(body: bytes) -> None:
    """FHIR R4 datatypes.html#decimal: precision is kept; RFC 8259 section 7: a slash may be escaped."""
    moved = relocated(body, "http://fhir.example/r4", "https://hilum.example/t/a/fhir")

    assert moved == b'{"url":"https://hilum.example/t/a/fhir/Patient/p","value":5.40}'


def test_another_base_that_only_begins_alike_stays() -> None:
    body = b'{"url":"http://fhir.example/r4b/Patient/p"}'

    assert relocated(body, "http://fhir.example/r4", "https://hilum.example/t/a/fhir") == body
