"""The guides as the platform serves them (C87, C90; house rule 13)."""

import asyncio
import re
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from hilum.foundation.web import errors
from hilum.foundation.web.pages import Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.surfaces.console import words
from hilum.surfaces.console.policy import PAGES
from hilum.surfaces.guides import pages as guide_pages
from hilum.surfaces.guides.policy import LEAD_BOUND, render, shortened, slug
from hilum.surfaces.guides.service import guides, library
from tests.unit.foundation.web.site import ask

ROOT = Path(__file__).parents[4]
TEMPLATES = sorted(
    path for source in ("src", "ehr") for path in (ROOT / source).glob("**/templates/**/*.html")
)
GUIDE = re.compile(r"block guide %\}(.*?)\{% endblock")
PATH = re.compile(r"/[a-z-]+(?:#[a-z-]+)?")


def site() -> Starlette:
    shell = Pages(Assets(), Shell(sandbox=True), folders=[guide_pages.TEMPLATES])
    made = Starlette(routes=guide_pages.routes(shell))
    errors.install(made, shell)
    return made


def get(path: str, **headers: str) -> httpx2.Response:
    return asyncio.run(ask(site(), "GET", path, headers=headers))


def leads_somewhere(path: str) -> bool:
    """Check whether a path below the index is a guide, and its anchor a heading of it."""
    name, _, anchor = path.removeprefix("/").partition("#")
    guide = guides().guides.get(name)
    return guide is not None and (not anchor or anchor in guide.anchors)


def test_every_how_to_is_served_and_stands_in_the_index() -> None:
    written = {each.stem for each in (ROOT / "docs" / "how-to").glob("*.md")}

    index = get("/guides").text

    assert set(guides().guides) == written
    assert all(f'href="/guides/{name}"' in index for name in written)


@pytest.mark.parametrize("name", list(guides().guides))
def test_a_guide_is_shown_and_each_of_its_links_leads_somewhere(name: str) -> None:
    page = get(f"/guides/{name}")

    assert page.status_code == 200
    assert page.text.count("<h1") == 1
    body = guides().guides[name].body
    for href in re.findall(r'href="([^"]*)"', body):
        inside = href.removeprefix("/guides") if href.startswith("/guides/") else f"/{name}{href}"
        assert href.startswith("https://") or leads_somewhere(inside), href


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_page_names_a_guide_that_there_is(path: Path) -> None:
    text = path.read_text()
    if '"web/page.html"' not in text:
        return  # a part of a page, or a page in a frame that names it
    if path.parent.name in {"guides", "app"} or path.name == "trouble.html":
        return  # the index serves the front page, errors and the guides themselves
    (named,) = GUIDE.findall(text)

    assert "how_to" in named or all(map(leads_somewhere, PATH.findall(named)))


def test_every_page_of_the_consoles_has_its_guide() -> None:
    assert all(leads_somewhere(path) for path in words.HOW_TO.values())
    assert set(words.HOW_TO) <= {*words.CONSOLES, *PAGES}
    assert set(words.CONSOLES) <= set(words.HOW_TO)


def test_caches_may_keep_a_guide_and_ask_whether_it_changed() -> None:
    page = get("/guides/patient")

    assert page.headers["cache-control"].startswith("public")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert get("/guides/patient", **{"if-none-match": page.headers["etag"]}).status_code == 304
    assert get("/guides/patient", **{"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    "name", ["nobody", "..%2Freference%2Fcontract", "patient.md", "%2E%2E", "patient%00", "PATIENT"]
)
def test_only_guides_are_served(name: str) -> None:
    assert get(f"/guides/{name}").status_code == 404


def test_without_guides_the_index_says_where_they_are() -> None:
    assert library(None).guides == {}


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;"),
        ("a <b onclick=x>b</b>", "&lt;b onclick=x&gt;"),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("[x](data:text/html;base64,AAAA)", "[x](data:"),
        ("[x](//other.example/a)", "<span>x</span>"),
        ("[x](../reference/reasons.md#a)", "<span>x</span> (docs/reference/reasons.md)"),
        ("[x](../../../etc/passwd)", "<span>x</span>"),
        ("[x](vendor.md#get-in)", '<a href="/guides/vendor#get-in">x</a>'),
        ("[x](nobody.md)", "<span>x</span> (docs/how-to/nobody.md)"),
        ("```\n<a>\n```", '<pre tabindex="0"><code>&lt;a&gt;'),
        ("![x](https://other.example/pixel.png)", "x"),
    ],
)
def test_a_guide_is_text_and_its_links_stay_here(markdown: str, shown: str) -> None:
    body = render("me", f"# Me\n\n{markdown}\n", {"me", "vendor"}).body

    assert shown in body
    assert "<script" not in body
    assert "<img" not in body


def test_headings_have_the_anchors_that_they_have_on_github() -> None:
    guide = render("me", "# Me\n\nLead.\n\n## Get in\n\n## What's `new`?\n\n## Get in\n", ())

    assert guide.title == "Me"
    assert guide.lead == "Lead."
    assert [anchor for anchor, _ in guide.sections] == ["get-in", "whats-new", "get-in-1"]
    assert slug("Backend services: who answers") == "backend-services-who-answers"


def test_a_long_beginning_is_cut_at_a_sentence() -> None:
    text = "One sentence. " * 40

    assert len(shortened(text)) <= LEAD_BOUND
    assert shortened(text).endswith("sentence.")
    assert shortened("x" * 10) == "x" * 10
    assert len(shortened("x" * 1000)) <= LEAD_BOUND + 2
