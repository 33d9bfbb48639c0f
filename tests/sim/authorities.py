"""Reads the list of certificate authorities once for all HTTP clients of a test run: for each that was 8 ms, and most speak to this machine."""

from functools import cache

import httpcore2


def share_authorities() -> None:
    """Share one context among the clients that have none of their own."""
    vars(httpcore2)["default_ssl_context"] = cache(httpcore2.default_ssl_context)
