"""The shell of pages, its headers, error pages and static files (docs/adr/0014-pages.md)."""

import asyncio
import re

import pytest

from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.foundation.web.errors import Trouble, error_page, trouble_page
from hilum.foundation.web.pages import NO_DEFAULTS, PageDefaults, Policy, Shell, security_headers
from hilum.foundation.web.static import Assets
from hilum.server import mounts
from tests.unit.foundation.web.site import ask, pages, refusing, request

TROUBLE = Trouble("Title", "What <happened>", "What next")


def directives(headers: dict[str, str]) -> dict[str, list[str]]:
    parts = (part.split() for part in headers["content-security-policy"].split("; "))
    return {name: sources for name, *sources in parts}


def test_a_page_permits_nothing_inline_and_nothing_foreign() -> None:
    found = directives(security_headers(Policy()))

    assert found["default-src"] == ["'none'"]
    assert found["base-uri"] == ["'none'"]
    assert found["frame-ancestors"] == ["'none'"]
    assert found["frame-src"] == ["'none'"]
    for name in ("script-src", "style-src", "connect-src", "form-action", "img-src"):
        assert found[name] == ["'self'"]


def test_pages_are_neither_stored_nor_sniffed_and_send_no_referrer() -> None:
    headers = security_headers(Policy())

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"


def test_the_redirect_origin_may_be_where_a_form_ends() -> None:
    """Chromium judges the redirect after a form's post as well."""
    headers = security_headers(Policy(form_action=("https://app.example", "com.example.app:")))

    assert directives(headers)["form-action"] == ["'self'", "https://app.example", "com.example.app:"]


def test_a_page_in_the_frame_of_an_ehr_names_it_and_no_one_else() -> None:
    headers = security_headers(Policy(frame_ancestors=("https://ehr.example",)))

    assert directives(headers)["frame-ancestors"] == ["https://ehr.example"]
    assert "x-frame-options" not in headers


@pytest.mark.parametrize("source", ["https://a.example; script-src *", "a b", "a,b", "x\r\ny"])
def test_a_source_cannot_add_a_directive(source: str) -> None:
    with pytest.raises(AssertionError):
        security_headers(Policy(form_action=(source,)))


def shown(*, sandbox: bool = True, headers: dict[str, str] | None = None) -> str:
    made = trouble_page(pages(sandbox=sandbox), request(headers, method="GET"), TROUBLE, status=400)
    return bytes(made.body).decode()


def test_what_is_shown_is_escaped() -> None:
    page = shown()

    assert "What &lt;happened&gt;" in page
    assert "req_1" in page


def test_a_refusal_that_is_passed_on_is_quoted_by_the_number_of_the_program_that_refused() -> None:
    """Whoever explains it finds it under that number only."""
    refusal = NotPermitted("facility_not_allowed", "Not here.")
    refusal.request_id = "req_of_the_platform"

    page = bytes(error_page(pages(), request(method="GET"), refusal).body).decode()

    assert "<code>req_of_the_platform</code>" in page
    assert "req_1" not in page


def test_no_page_has_inline_script_or_style() -> None:
    page = shown()

    assert re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|<style", page) is None


@pytest.mark.parametrize(
    ("path", "framed"),
    [
        ("/t/mercy/ehr/open/abc", True),
        ("/t/mercy/oauth/authorize", True),
        ("/t/mercy/oauth/authorize/consent", True),
        ("/t/other/oauth/authorize", False),
        ("/t/mercy/oauth/authorizes", False),
        ("/t/mercy/oauth/manage", False),
        ("/t/mercy/ehr/launches", False),
        ("/t/mercy/signin", False),
        ("/t/mercy/x/t/mercy/oauth/authorize", False),
        ("/t//ehr/open/abc", False),
        ("/signin", False),
        ("/", False),
    ],
)
def test_an_error_is_framed_by_the_hospitals_ehr_only_where_that_opens_an_app(
    path: str, framed: bool
) -> None:
    """C30, C216: a launch that is refused in the EHR's frame can be read there; sign-in is framed by nobody."""
    defaults = {"mercy": PageDefaults(framed_by=("https://ehr.example",))}
    made = pages(defaults=lambda tenant: defaults.get(tenant, NO_DEFAULTS), opens_an_app=mounts.opens_an_app)

    page = trouble_page(made, request(method="GET", path=path), TROUBLE, status=403)

    by = "https://ehr.example" if framed else "'none'"
    assert f"frame-ancestors {by};" in page.headers["content-security-policy"]
    assert ("x-frame-options" in page.headers) != framed


def test_a_sandbox_says_so_on_every_page_and_production_does_not() -> None:
    assert "Every person and record here is synthetic" in shown()
    assert "synthetic" not in shown(sandbox=False)


def test_inside_a_frame_the_site_around_the_page_is_left_out_but_not_the_banner() -> None:
    page = shown(headers={"sec-fetch-dest": "iframe"})

    assert 'class="top"' not in page
    assert "synthetic" in page


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotFound("launch_unknown", "This launch has been used."), 404, "This launch has been used."),
        (NotPermitted("form_expired"), 403, "open too long"),
        (NotPermitted("cross_site_form", "x"), 403, "another site"),
        (NotPermitted("session_over", "Sign in again."), 401, "Sign in"),
        (Invalid("bad", "That is not it.", fields={"a": "b"}), 422, "That is not it."),
        (Invalid("form_malformed", "The form could not be read."), 400, "could not be read"),
        (Conflict("changed", "Somebody changed it."), 409, "Somebody changed it."),
        (Unavailable("upstream_unavailable", "The records are away."), 503, "The records are away."),
    ],
)
def test_an_error_says_what_happened_and_what_to_do_next(error: HilumError, status: int, words: str) -> None:
    answer = asyncio.run(ask(refusing(error), "GET", "/"))

    assert answer.status_code == status
    assert words in answer.text
    assert "What to do next." in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert (answer.headers.get("retry-after") is not None) == (status == 503)


def test_a_bug_shows_nothing_of_itself() -> None:
    answer = asyncio.run(ask(refusing(RuntimeError("secret inside")), "GET", "/"))

    assert answer.status_code == 500
    assert "secret inside" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/fine", 405)])
def test_a_wrong_address_gets_a_page(method: str, path: str, status: int) -> None:
    answer = asyncio.run(ask(refusing(RuntimeError()), method, path))

    assert answer.status_code == status
    assert "<h1>" in answer.text


def test_a_static_file_is_kept_for_good_under_the_address_of_its_build_only() -> None:
    from starlette.applications import Starlette

    assets = Assets()
    app = Starlette(routes=assets.routes())

    current = asyncio.run(ask(app, "GET", assets.path("hilum.css")))
    old = asyncio.run(ask(app, "GET", "/static/000000000000/hilum.css"))

    assert "immutable" in current.headers["cache-control"]
    assert current.headers["content-type"].startswith("text/css")
    assert current.headers["x-content-type-options"] == "nosniff"
    assert old.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("name", ["..%2fpages.py", "nothing.css", "", "%2e%2e/__init__.py"])
def test_only_static_files_are_served(name: str) -> None:
    from starlette.applications import Starlette

    answer = asyncio.run(ask(Starlette(routes=Assets().routes()), "GET", f"/static/x/{name}"))

    assert answer.status_code == 404


def test_a_shell_without_links_has_no_navigation() -> None:
    assert "<nav" not in shown()
    assert Shell(sandbox=False).links == ()
