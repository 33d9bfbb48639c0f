"""Codes of a refused registration in words. Pure.

Source: RFC 7591 section 3.2.2; the codes are the platform's.
"""

_WORDS = {
    "too_many": "holds too many",
    "too_long": "is too long",
    "redirect_missing": "is missing",
    "redirect_repeated": "is given twice",
    "redirect_not_https": "must begin with https://, or be on this machine: http://127.0.0.1 or http://localhost",
    "redirect_unexpected": "is of no use to an app of this kind",
    "origin_not_https": "must begin with https://, or be on this machine",
    "scope_reserved": "holds a scope that apps may not have",
    "scope_mixed": "mixes scopes of people with system scopes",
    "scope_system_in_delegated": "holds system scopes, which need a backend service",
}


def in_words(code: str) -> str:
    """Return what is wrong with a field; a code without words, as it is."""
    return _WORDS.get(code, code.replace("_", " "))
