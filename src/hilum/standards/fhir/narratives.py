"""Whether the XHTML of a narrative is what FHIR lets stand there: well-formed, and nothing in it that acts.

Source: FHIR R4 narrative.html, invariants txt-1 and txt-2
"""

import re
from html.entities import name2codepoint
from xml.parsers import expat

_SPACE = "http://www.w3.org/1999/xhtml"
_XML_SPACE = "http://www.w3.org/XML/1998/namespace"
_ELEMENTS = frozenset(
    {
        "a", "abbr", "acronym", "b", "big", "blockquote", "br", "caption", "cite", "code", "col", "colgroup", "dd", "dfn", "div", "dl", "dt", "em",
        "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "q", "samp", "small", "span", "strong", "sub", "sup", "table",
        "tbody", "td", "tfoot", "th", "thead", "tr", "tt", "ul", "var",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset(
    {
        "abbr", "accesskey", "align", "alt", "axis", "bgcolor", "border", "cellhalign", "cellpadding", "cellspacing", "cellvalign", "char", "charoff",
        "charset", "cite", "class", "colspan", "compact", "coords", "dir", "frame", "headers", "height", "href", "hreflang", "hspace", "id", "lang",
        "longdesc", "name", "nowrap", "rel", "rev", "rowspan", "rules", "scope", "shape", "span", "src", "start", "style", "summary", "tabindex",
        "title", "type", "valign", "value", "vspace", "width",
    }
)  # fmt: skip
_ACTING = ("javascript:", "vbscript:")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})


class _Fault(Exception):
    """Carries out of the parser what is wrong."""


class _Reader:
    """What the parser tells its findings to."""

    def __init__(self) -> None:
        self.is_first = True
        self.says_something = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self.is_first and (space, local) != (_SPACE, "div"):
            raise _Fault(f"A narrative is a div of the namespace {_SPACE}.")
        self.is_first = False
        self.says_something |= local == "img"
        if space != _SPACE or local not in _ELEMENTS:
            raise _Fault("A narrative holds formatting elements only; no scripts, forms, frames or objects.")
        for key, value in attributes.items():
            acts = "".join(value.split()).lower().startswith(_ACTING)
            if acts or not (key in _ATTRIBUTES or key.startswith(_XML_SPACE + " ")):
                raise _Fault("A narrative holds formatting attributes only; no events and no scripts.")

    def text(self, text: str) -> None:
        self.says_something |= bool(text.strip())

    def doctype(self, *_: object) -> None:
        raise _Fault("A narrative has no document type.")


def narrative_fault(div: object) -> str:
    """Return what is wrong with the div of a narrative; empty where nothing is."""
    if not isinstance(div, str):
        return ""
    reader = _Reader()
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = reader.start
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.doctype
    try:
        parser.Parse(_ENTITY.sub(_character, div).encode(), True)
    except _Fault as fault:
        return str(fault)
    except expat.ExpatError:
        return "A narrative is well-formed XHTML."
    return "" if reader.says_something else "A narrative says something."


def _character(entity: re.Match[str]) -> str:
    known = entity[1] not in _XML_ENTITIES and entity[1] in name2codepoint
    return chr(name2codepoint[entity[1]]) if known else entity[0]
