"""Validation of a narrative's XHTML: well-formed, and without active content.

Source: FHIR R4 narrative.html, invariants txt-1 and txt-2
"""

import re
from html.entities import name2codepoint
from xml.parsers import expat

# Both lists are FHIR's (narrative.html#Narrative.div): what is not listed is refused, so that a new active
# element of HTML is not allowed by omission.
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
_SCRIPT_SCHEMES = ("javascript:", "vbscript:")
_ENTITY = re.compile(r"&([A-Za-z][A-Za-z0-9]*);")
_XML_ENTITIES = frozenset({"amp", "lt", "gt", "quot", "apos"})


class _Fault(Exception):
    """A broken rule, raised from the parser's callbacks."""


class _Callbacks:
    """The parser's callbacks: raise _Fault for a broken rule, and record whether there is content."""

    def __init__(self) -> None:
        self.is_first = True
        self.has_content = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        if self.is_first and (space, local) != (_SPACE, "div"):
            raise _Fault(f"A narrative must be a div in the namespace {_SPACE}.")
        self.is_first = False
        self.has_content |= local == "img"
        if space != _SPACE or local not in _ELEMENTS:
            raise _Fault(
                "A narrative may have formatting elements only: no scripts, forms, frames or objects."
            )
        for key, value in attributes.items():
            # Browsers ignore white space within a scheme: "java\tscript:" runs.
            is_script = "".join(value.split()).lower().startswith(_SCRIPT_SCHEMES)
            if is_script or not (key in _ATTRIBUTES or key.startswith(_XML_SPACE + " ")):
                raise _Fault(
                    "A narrative may have formatting attributes only: no event handlers and no scripts."
                )

    def text(self, text: str) -> None:
        self.has_content |= bool(text.strip())

    # An internal subset could define entities that expand without bound, or load external ones.
    def doctype(self, *_: object) -> None:
        raise _Fault("A narrative must not have a document type.")


def narrative_fault(div: object) -> str:
    """Return what is wrong with a narrative's div; empty if it is valid."""
    if not isinstance(div, str):
        return ""
    callbacks = _Callbacks()
    # With namespaces, so that a prefix cannot disguise an element: names arrive as "namespace local".
    parser = expat.ParserCreate("utf-8", " ")
    parser.StartElementHandler = callbacks.start
    parser.CharacterDataHandler = callbacks.text
    parser.StartDoctypeDeclHandler = callbacks.doctype
    try:
        parser.Parse(_ENTITY.sub(_character, div).encode(), True)
    except _Fault as fault:
        return str(fault)
    except expat.ExpatError:
        return "A narrative must be well-formed XHTML."
    return "" if callbacks.has_content else "A narrative must have text or an image."


def _character(entity: re.Match[str]) -> str:
    # XML knows five entities, and clinical systems write &nbsp; and others of HTML. The five stay, or text
    # could become markup.
    is_html = entity[1] not in _XML_ENTITIES and entity[1] in name2codepoint
    return chr(name2codepoint[entity[1]]) if is_html else entity[0]
