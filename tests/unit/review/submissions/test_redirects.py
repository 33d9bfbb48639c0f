"""Where an address that was looked at sends browsers (C99)."""

import pytest

from hilum.review.submissions.checks import goes_to

OWN = "https://app.example:443"


@pytest.mark.parametrize(
    ("location", "origin"),
    [
        ("https://app.example/signin", OWN),
        ("/signin", OWN),
        ("signin?next=1", OWN),
        ("?next=1", OWN),
        ("", ""),
        ("//evil.example/", "https://evil.example:443"),
        ("https://evil.example/", "https://evil.example:443"),
        ("https://evil.example\\@app.example/", ""),
        ("/\\evil.example/", ""),
        ("\\\\evil.example/", ""),
        (" //evil.example/", ""),
        ("/\t/evil.example/", ""),
        ("https://app.example@evil.example/", "https://evil.example:443"),
        ("https://app.example:8443/", "https://app.example:8443"),
        ("http://app.example/", "http://app.example:80"),
        ("javascript:alert(1)", ""),
        ("//[", ""),
        ("https://app.example:port/", ""),
    ],
)
def test_a_relative_redirect_stays_and_one_that_browsers_read_otherwise_never_counts_as_staying(
    location: str, origin: str
) -> None:
    assert goes_to("https://app.example/callback", location) == origin
