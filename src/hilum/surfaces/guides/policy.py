"""From a how-to's Markdown to the HTML that is shown.

Source: CommonMark 0.31 with tables; docs/adr/0014-pages.md.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

from hilum.surfaces.guides.models import Guide

FOLDER = "docs/how-to"
ROOT = "/guides"
LEAD_BOUND = 300
"""Letters of a guide's beginning that the index shows."""
_SCHEMES = ("https://", "http://")


class _Renderer(RendererHTML):
    """Code and tables scroll in themselves, also by keyboard (WCAG 2.1.1)."""

    # markdown-it calls the rule of a token by its name.
    def fence(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return f'<pre tabindex="0"><code>{escape(tokens[idx].content)}</code></pre>\n'

    def image(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        # The site loads no picture of another host, and has none of its own in a guide.
        return escape(tokens[idx].content)

    def table_open(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        number = sum(1 for each in tokens[: idx + 1] if each.type == "table_open")
        return f'<div class="scroll" tabindex="0" role="region" aria-label="Table {number}"><table>\n'

    def table_close(self, *_: object) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        # An empty heading is an entry: a screen reader would read out a column without a name.
        return '<th scope="col">' if tokens[idx + 1].content.strip() else "<td>"

    def th_close(self, tokens: Sequence[Token], idx: int, *_: object) -> str:
        return "</th>" if tokens[idx - 1].content.strip() else "</td>"


def render(name: str, text: str, names: Iterable[str]) -> Guide:
    """Return the guide of a Markdown file. ``names``: those of all guides, to which it may link."""
    # Markup inside the text is escaped, and links of other schemes than the web's are left out.
    parser = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable("table")
    tokens = parser.parse(text)
    title, lead = name, ""
    sections: list[tuple[str, str]] = []
    seen: Counter[str] = Counter()
    served = frozenset(names)
    for token, inline in pairwise(tokens):
        if token.type == "heading_open":
            words = _plain(inline)
            if token.tag == "h1":
                title = words
            anchor = slug(words)
            seen[anchor] += 1
            token.attrSet("id", anchor if seen[anchor] == 1 else f"{anchor}-{seen[anchor] - 1}")
            if token.tag == "h2":
                sections.append((str(token.attrGet("id")), words))
        elif token.type == "paragraph_open" and not lead:
            lead = shortened(_plain(inline))
    for token in tokens:
        _fix_links(token, served)
    body = tokens[3:] if tokens and tokens[0].tag == "h1" else tokens
    anchors = frozenset(
        str(token.attrGet("id")) for token in tokens if token.type == "heading_open" and token.tag != "h1"
    )
    return Guide(
        name, title, lead, tuple(sections), anchors, parser.renderer.render(body, parser.options, {})
    )


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it, so that one link works there and here."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def address(target: str, served: frozenset[str]) -> str:
    """Return where a link of a guide leads on the platform; empty if what it names is not served."""
    if target.startswith(("#", *_SCHEMES)):
        return target
    path, hash_, anchor = target.partition("#")
    name = path.removesuffix(".md")
    return f"{ROOT}/{name}{hash_}{anchor}" if path != name and name in served else ""


def shortened(text: str) -> str:
    """Return the first sentences of a text that are within the bound, or its beginning."""
    if len(text) <= LEAD_BOUND:
        return text
    cut = text[:LEAD_BOUND]
    end = max(cut.rfind(". "), cut.rfind("? "))
    return cut[: end + 1] if end > 0 else cut.rsplit(" ", 1)[0] + " …"


def _plain(inline: Token) -> str:
    return "".join(
        " " if each.type in {"softbreak", "hardbreak"} else each.content for each in inline.children or []
    ).strip()


def _fix_links(token: Token, served: frozenset[str]) -> None:
    """Have each link lead to a page of the platform; one to a file that is not served becomes text, with the file's place behind it."""
    fixed: list[Token] = []
    opened: list[tuple[Token, str]] = []
    for each in token.children or []:
        fixed.append(each)
        if each.type == "link_open":
            target = str(each.attrGet("href") or "")
            found = address(target, served)
            opened.append((each, "" if found else target))
            each.attrs = {"href": found} if found else {}
            if not found:
                each.tag = "span"
            elif found.startswith(_SCHEMES):
                each.attrs["rel"] = "noopener noreferrer"
        elif each.type == "link_close":
            start, missing = opened.pop()
            each.tag = start.tag
            if missing:
                # It is a file of the project that is not served: its place is named instead.
                path = posixpath.normpath(posixpath.join(FOLDER, missing.partition("#")[0]))
                fixed.append(Token("text", "", 0, content=f" ({path})"))
    if token.children:
        token.children = fixed
