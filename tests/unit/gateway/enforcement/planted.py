"""Records of any shape, and addresses that somebody plants in them."""

from typing import Any

from hypothesis import strategies as st

BASE = "https://hilum.example/t/general/fhir/"
NAMES = st.sampled_from(
    (
        "extension",
        "url",
        "valueUri",
        "valueString",
        "note",
        "text",
        "div",
        "reference",
        "contained",
        "_status",
        "content",
        "attachment",
        "valueAttachment",
        "photo",
        "identifier",
        "system",
        "value",
        "meta",
        "profile",
        "item",
        "answer",
        "valueReference",
        "display",
    )
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 9),
    st.sampled_from(
        ("final", "Patient/p1", "a plain sentence.", "urn:oid:1.2", "http://loinc.org", BASE + "Patient/p1")
    ),
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3), st.dictionaries(NAMES, inner, min_size=1, max_size=4)
    ),
    max_leaves=12,
)
RECORDS = st.dictionaries(NAMES, TREES, min_size=1, max_size=4)
PLANTED = st.sampled_from(
    (
        "Binary/b2",
        "./Binary/b2",
        "/fhir/Binary/b2/_history/1",
        "binary%2Fb2",
        "&#66;inary/b2",
        BASE + "Binary/b2",
        BASE.upper() + "BINARY/b2",
        "http://upstream.internal/fhir/Binary/b2?x=1",
        "http://upstream.internal/storage/x?sig=1",
        "HTTP://user:pw@UPSTREAM.internal:80/x#y",
        "//upstream.internal/x?y",
        "look at Binary/b2 (or http://upstream.internal/x)",
        '<div xmlns="http://www.w3.org/1999/xhtml"><img src="Binary/b2"/></div>',
    )
)


def places(value: Any) -> list[tuple[Any, Any]]:
    """List every container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    left = [value]
    while left:
        node = left.pop()
        inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, inner in list(inside):
            found.append((node, key))
            left.append(inner)
    return found
