"""Addresses in text are found in every spelling that a lenient server might still understand."""

import pytest

from hilum.foundation.standards.fhir.addresses import (
    below,
    canonical_host,
    host_in,
    leads_to_a_binary,
    leads_to_host,
)

HOSTS = frozenset({"upstream.internal"})


@pytest.mark.parametrize(
    "text",
    [
        "Binary/b2",
        "./Binary/b2",
        "../../fhir/Binary/b2",
        "/fhir/Binary/b2",
        "Binary/b2/_history/1",
        "Binary/b2?x=1",
        "Binary/b2#x",
        "Binary//b2",
        "Binary/./b2",
        "Binary\\b2",
        "binary/b2",
        "BINARY/b2",
        " Binary/b2 ",
        "Bin\nary/b2",
        "Bin\tary/b2",
        "Binary%2Fb2",
        "%42inary/b2",
        "%2542inary%252Fb2",
        "&#66;inary/b2",
        "Binary&sol;b2",
        "Binary;v=1/b2",
        "Binary?_id=b2",
        "Binary/$binary-access-read?path=x",
        "Ｂinary/b2",
        "Bi\u200bnary/b2",
        "Bi\u00adnary／b2",
        "https://images.example/fhir/Binary/b2",
        "HTTP://UPSTREAM.INTERNAL:80/fhir/Binary/b2",
        "//upstream.internal/fhir/Binary/b2",
        "http://user:pw@upstream.internal/fhir/Binary/b2",
        "https://storage.example/binary/b2/v1",
        "x,Binary/b2",
        "see Binary/b2",
        "see (/Binary/b2)",
        "see https://x.example/binary/b2 there",
        "several\nlines\nBinary/b2",
        '<div xmlns="http://www.w3.org/1999/xhtml"><img src="Binary/b2"/></div>',
        '<div xmlns="http://www.w3.org/1999/xhtml"><a href="http://x.example/binary/b2">y</a> z</div>',
    ],
)
def test_a_binary_is_found_in_every_spelling(text: str) -> None:
    assert leads_to_a_binary(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Binary",
        "binary",
        "non-binary/other",
        "gender is binary/other here",
        "Patient/p1",
        "https://example.org/Observation/7",
        "The binary choice; see http://x.example/a",
        "nonbinary/x",
        "QmluYXJ5L2IyCg==",
        "50% and/or more",
        "http://hl7.org/fhir/StructureDefinition/us-core-race",
    ],
)
def test_what_only_sounds_like_one_passes(text: str) -> None:
    assert not leads_to_a_binary(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://upstream.internal/fhir/Patient/1",
        "https://upstream.internal:8443/storage/x?X-Amz-Signature=1",
        "//upstream.internal/x",
        "HTTP://Upstream.INTERNAL./x",
        "http://a:b@upstream.internal/x",
        "http:/upstream.internal/x",
        "http:upstream.internal/x",
        "http:\\\\upstream.internal\\x",
        "http://upstream%2Einternal/x",
        "http%3A%2F%2Fupstream.internal%2Fx",
        "http://upstream。internal/x",
        "ftp://upstream.internal",
        "look (http://upstream.internal/x), please",
        "http://a(b@upstream.internal/x",
        "ht\ntp://upstream.inter\nnal/x",
        "https://redirect.example/?to=//upstream.internal/x",
    ],
)
def test_a_host_is_found_in_every_spelling(text: str) -> None:
    assert leads_to_host(text, HOSTS)


@pytest.mark.parametrize(
    "text",
    [
        "http://upstream.internal.example/x",
        "http://notupstream.internal/x",
        "upstream.internal",
        "mail me@upstream.internal",
        "http://x.example/upstream.internal",
        "urn:oid:1.2.3",
    ],
)
def test_another_host_is_not_taken_for_it(text: str) -> None:
    assert not leads_to_host(text, HOSTS)


@pytest.mark.parametrize(
    "authority",
    [
        "localhost:80",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]:9",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "a.localhost",
    ],
)
def test_every_name_of_this_machine_is_one(authority: str) -> None:
    assert canonical_host(authority) == "localhost"


def test_an_address_without_host_has_none() -> None:
    assert [host_in(url) for url in ("", "Binary/1", "urn:oid:1", "/x", "http://[", "//")] == [
        "",
        "",
        "",
        "",
        "[",
        "",
    ]
    assert host_in("https://User@Images.Example:8443/x?y") == "images.example"


@pytest.mark.parametrize(
    ("url", "rest"),
    [
        ("http://here.example/fhir/Patient/1", "/Patient/1"),
        ("https://HERE.example:443/fhir/Patient/1?x#y", "/Patient/1?x#y"),
        ("http://a:b@here.example./fhir", ""),
        ("//here.example/fhir/x", "/x"),
        ("http://here.example:8080/fhir/x", None),
        ("http://there.example/fhir/x", None),
        ("http://here.example/fhirs/x", None),
        ("http://here.example/", None),
        ("/fhir/x", None),
        ("http://here.example:99999/fhir/x", None),
        ("http://[/fhir/x", None),
    ],
)
def test_the_same_place_in_another_spelling_is_the_same(url: str, rest: str | None) -> None:
    assert below("http://here.example/fhir", url) == rest
