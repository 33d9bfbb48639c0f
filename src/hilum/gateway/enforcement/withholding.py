"""What an answer may show of addresses: none of the FHIR server's own, none of its storage, no link that opens by itself. Pure.

An address below the server's base is rewritten to the gateway's, in whatever spelling. Any other on its hosts, and any signed link, is
withheld: a signed link opens without a token, leaves no record and outlives every stop. An attachment elsewhere is withheld unless the
organisation allows its host. ``system`` keeps its names.
INVARIANT: cleaning twice changes nothing more.
Source: security decision 22; FHIR R4 extension-data-absent-reason.html (masked)
"""

import re
from functools import cache
from typing import Any

from hilum.foundation.standards.fhir.addresses import below, is_signed
from hilum.foundation.standards.fhir.attachments import attachment_keys
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.visibility import parse_reference
from hilum.gateway.enforcement.attachments import Grounds, is_foreign_attachment, is_internal

WITHHELD = "urn:hilum:withheld"
_MASKED = {
    "extension": [
        {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "masked"}
    ]
}
_ADDRESS = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]{0,15}:|//)[^\s\"'<>]+")
"""Of a longer scheme the end: without a bound, a text of letters alone would take quadratic time."""
_SIGNS = (b"ignature", b"sig", b"token")
_TO_LOOK_AT = (":", "//", "%", "&", "\\")
_EMPTY_DIV = f'<div xmlns="http://www.w3.org/1999/xhtml">{WITHHELD}</div>'
_Path = tuple[str, ...]


def is_suspect(body: bytes, grounds: Grounds, *types: str) -> bool:
    """Check cheaply whether anything in an answer may have to be withheld; only then it is looked at string by string.

    ``types``: those whose resources of the answer are shown; none for any.
    """
    if b'"url"' in body:
        for needle in _needles(types):
            if needle in body:
                return True
    # What stands before each equals sign: few pieces, where a search for each sign would read the whole body.
    if b"=" in body and any(before.endswith(_SIGNS) for before in body.split(b"=")[:-1]):
        return True
    return has_foreign_host(body, grounds)


def may_name_server(body: bytes, grounds: Grounds) -> bool:
    """Check whether an answer as it was sent may hold an address of the FHIR server: one of its hosts, or an escape that could hide it."""
    if not grounds.upstream_bases:
        return False
    lowered = body.lower()
    return b"\\" in body or not grounds.signs or any(name in lowered for name, _ in grounds.signs)


def has_foreign_host(body: bytes, grounds: Grounds) -> bool:
    """Check whether a host of the FHIR server is named in an answer whose addresses are the gateway's by now."""
    if not grounds.upstream_hosts:
        return False
    # Host names in any case. An answer that has the server's host more often than the gateway's
    # base, which may share it, is looked at string by string.
    lowered = body.lower()
    for name, own in grounds.signs:
        found = lowered.count(name)
        if found and found > body.count(own):
            return True
    return False


@cache
def _needles(types: tuple[str, ...]) -> tuple[bytes, ...]:
    keys = (f'"{key}"'.encode() for key in sorted(attachment_keys(*types)))
    return (*keys, b'"contained"') if types else tuple(keys)


def withhold(resource: Any, grounds: Grounds) -> bool:
    """Remove from a resource, in place, what an app may not be shown. Return whether anything was withheld."""
    withheld = False
    # A list instead of recursion: the FHIR server chooses the depth of its answer.
    left: list[tuple[_Path, Any]] = [((), resource)]
    while left:
        path, node = left.pop()
        if isinstance(node, dict):
            if _is_masked(path, node, grounds):
                withheld = True
            for key, value in node.items():
                if isinstance(value, str):
                    node[key] = _shown((*path, key), value, grounds)
                    withheld |= WITHHELD in node[key] and WITHHELD not in value
                elif isinstance(value, dict | list):
                    left.append(((*path, key), value))
        elif isinstance(node, list):
            for n, value in enumerate(node):
                if isinstance(value, str):
                    node[n] = _shown(path, value, grounds)
                    withheld |= WITHHELD in node[n] and WITHHELD not in value
                else:
                    left.append((path, value))
    return withheld


def _is_masked(path: _Path, node: dict[str, Any], grounds: Grounds) -> bool:
    """Remove the address from an attachment that leads elsewhere, and mark it as masked. Return whether that was done."""
    url = node.get("url")
    if not isinstance(url, str) or path[-1:] == () or path[-1] not in attachment_keys():
        return False
    text = _shown((*path, "url"), url, grounds)
    reference = parse_reference(text, grounds.bases)
    if reference is not None and reference.type in resource_types():
        return False
    if WITHHELD not in text and not is_foreign_attachment((*path, "url"), text, grounds):
        return False
    del node["url"]
    node["_url"] = _MASKED
    return True


def _shown(path: _Path, text: str, grounds: Grounds) -> str:
    """Return a string as an app may see it."""
    if not any(sign in text for sign in _TO_LOOK_AT):
        return text
    internal = is_internal(path, text, grounds)
    # Nearly every string ends here: nothing is rewritten that is not suspicious.
    if not internal and not is_signed(text):
        return text
    shown = _ADDRESS.sub(lambda found: _shown_address(found[0], grounds), text)
    # Still there after every address was rewritten, so it is in a form that was not recognized as one.
    if is_internal(path, shown, grounds) or is_signed(shown):
        return _EMPTY_DIV if path[-1:] == ("div",) else WITHHELD
    return shown


def _shown_address(address: str, grounds: Grounds) -> str:
    if is_signed(address):
        return WITHHELD
    if not is_internal((), address, grounds):
        return address
    for base in grounds.upstream_bases:
        rest = below(base, address)
        if rest is not None:
            return grounds.bases[0][:-1] + rest
    return WITHHELD
