"""Renders templates to pages, with the security headers of every page.

Source: docs/adr/0014-pages.md; CSP Level 3.
"""

import re
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hilum.foundation.kernel.lists import and_more, counted
from hilum.foundation.kernel.sentences import Catalogue, day, moment
from hilum.foundation.standards.languages import Language
from hilum.foundation.standards.zones import zone_of
from hilum.foundation.web import languages
from hilum.foundation.web.catalogues import catalogue_of
from hilum.foundation.web.static import Assets

TEMPLATES = Path(__file__).parent / "templates"
SOURCES_BOUND = 50


@dataclass(frozen=True, slots=True)
class PageDefaults:
    """The defaults of a hospital's pages: language and time zone. Empty: English, UTC.

    ``framed_by``: the origins of its EHR, which opens apps in a frame.
    """

    language: str = ""
    zone: str = ""
    framed_by: tuple[str, ...] = ()


NO_DEFAULTS = PageDefaults()
_ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
"""The zone of the page that is being rendered. A context variable, since imported macros do not see the template's variables."""


@dataclass(frozen=True, slots=True)
class Shell:
    """The content of the frame around every page. ``links`` are (text, URL) of the site's navigation."""

    sandbox: bool
    home: str = "/"
    site: str = "Hilum"
    links: tuple[tuple[str, str], ...] = ()
    guides: str = "/guides"
    """The address of the index of the guides; a page states its own guide in the block ``guide``."""
    secure: bool = False
    """Whether pages are served over https, so that their cookies are Secure."""
    defaults: Callable[[str], PageDefaults] = lambda _: NO_DEFAULTS
    """Returns the page defaults of a hospital by its id."""
    opens_an_app: Callable[[str], bool] = lambda _: False
    """Checks whether a path is one that an EHR's frame requests while it opens an app."""


@dataclass(frozen=True, slots=True)
class Brand:
    """How a hospital shows itself above a page: its name, its logo, and the sheet of its colour. Addresses may be empty."""

    name: str
    logo: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a page may load, frame and submit to beyond its own origin; the browser blocks everything else (CSP)."""

    form_action: tuple[str, ...] = ()
    frame_ancestors: tuple[str, ...] = ()
    frame_src: tuple[str, ...] = ()
    connect_src: tuple[str, ...] = ()
    img_src: tuple[str, ...] = ()


class Pages:
    """Renders templates. ``folders`` are the template folders of modules; each keeps its own in a subfolder of its name."""

    def __init__(self, assets: Assets, shell: Shell, *, folders: Iterable[Path] = ()) -> None:
        self.assets = assets
        self.shell = shell
        all_folders = [TEMPLATES, *folders]
        # One for each language, since an environment caches imported templates with their texts.
        self._environments = {each: self._environment(each, all_folders) for each in Language}

    def _environment(self, language: Language, folders: list[Path]) -> Environment:
        catalogue = catalogue_of(language)

        def translate(value: Any) -> Any:
            return catalogue.said(value, _ZONE.get())

        environment = Environment(
            loader=FileSystemLoader(folders),
            # Texts on a page may come from an app, a FHIR server or another person.
            autoescape=True,
            # A missing variable is an error: otherwise a line would silently be missing from a consent page.
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=["jinja2.ext.i18n"],
            # Translates the modules' sentences wherever a template prints one.
            finalize=translate,
        )
        environment.newstyle_gettext = True  # type: ignore[attr-defined]  # of the extension
        environment.globals.update(asset=self.assets.path, shell=self.shell, language=language.value)
        environment.globals.update(_gettext_functions(catalogue, translate))
        environment.filters.update(
            counted=counted,
            day=day,
            and_more=and_more,
            moment=_moment,
            short=_short,
            said=translate,
            code=_code,
        )
        return environment

    def render(
        self,
        request: Request,
        template: str,
        *,
        status: int = 200,
        form_action: Iterable[str] = (),
        frame_ancestors: Iterable[str] = (),
        policy: Policy | None = None,
        defaults_of: str = "",
        **facts: Any,
    ) -> HTMLResponse:
        """Render a page.

        ``form_action``: foreign origins (or ``scheme:``) that a form's response may redirect to, since Chromium checks redirects too.
        ``frame_ancestors``: origins that may frame the page; none by default. ``policy`` replaces both.
        ``defaults_of``: the hospital whose page it is, if its address does not say so.
        """
        chosen = policy or Policy(tuple(form_action), tuple(frame_ancestors))
        defaults = self.shell.defaults(defaults_of or _hospital_of(request.url.path))
        language = languages.spoken(request, secure=self.shell.secure, usual=defaults.language)
        others = languages.offered(request, language)
        previous_zone = _ZONE.set(zone_of(defaults.zone) or UTC)
        try:
            loaded = self._environments[language].get_template(template)
            text = loaded.render(
                request=request, other_languages=others, zone=defaults.zone or "UTC", **facts
            )
        finally:
            _ZONE.reset(previous_zone)
        headers = security_headers(chosen) | {"content-language": language.value}
        if languages.is_door(request.url.path):
            headers["vary"] = "accept-language, cookie"
        response = HTMLResponse(text, status, headers)
        languages.remember_chosen(request, response, secure=self.shell.secure)
        return response

    def error_policy(self, request: Request) -> Policy:
        """Return the policy of an error page: the EHR may frame it where the app itself would be framed."""
        path = request.url.path
        if not self.shell.opens_an_app(path):
            return Policy()
        return Policy(frame_ancestors=self.shell.defaults(_hospital_of(path)).framed_by)

    def catalogue(self, request: Request) -> Catalogue:
        """Return the catalogue of the page that answers a request."""
        usual = self.shell.defaults(_hospital_of(request.url.path)).language
        return catalogue_of(languages.spoken(request, secure=self.shell.secure, usual=usual))

    def fragment(self, template: str, **facts: Any) -> str:
        """Render a part of a page, to be inserted into one that is already shown."""
        return self._environments[Language.ENGLISH].get_template(template).render(**facts)


def _hospital_of(path: str) -> str:
    """Return the hospital of a path, /t/<hospital>/...; empty for any other path."""
    parts = path.split("/", 3)
    return parts[2] if parts[1:2] == ["t"] and len(parts) > 2 else ""


def _code(text: str) -> Markup:
    """Escape a sentence that programs are sent too, and set what stands between backquotes as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704  # escaped above


def _moment(value: datetime) -> str:
    return moment(value, _ZONE.get())


def _short(value: datetime) -> str:
    """Format a date and time for a list on a page that states the zone: 3 Mar 2026, 09:05."""
    return f"{value.astimezone(_ZONE.get()):%-d %b %Y, %H:%M}"


def security_headers(policy: Policy) -> dict[str, str]:
    """Return the security headers of a page."""
    directives = (
        # Nothing is allowed but what is listed. Scripts and styles are files of ours, so injected markup cannot run code.
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src " + _sources("'self'", policy.img_src),
        "connect-src " + _sources("'self'", policy.connect_src),
        "form-action " + _sources("'self'", policy.form_action),
        "frame-src " + (_sources("", policy.frame_src) or "'none'"),
        "frame-ancestors " + (_sources("", policy.frame_ancestors) or "'none'"),
        "base-uri 'none'",
    )
    headers = {
        "content-security-policy": "; ".join(directives),
        # A page's address may contain the id of an authorization request or the secret of a link.
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
    # For browsers without frame-ancestors. It cannot list origins, so it is left out where framing is allowed.
    if not policy.frame_ancestors:
        headers["x-frame-options"] = "DENY"
    return headers


def _sources(first: str, others: Iterable[str]) -> str:
    sources = [first, *others] if first else list(others)
    assert len(sources) <= SOURCES_BOUND
    for source in sources:
        assert not set(source) & set(" ;,\r\n\t"), "a source must not contain a second one or a directive"
    return " ".join(dict.fromkeys(sources))


def _gettext_functions(catalogue: Catalogue, translate: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the functions that translate a template's own texts: ``_`` and ``ngettext``. The texts are markup, their values are escaped."""

    def formatted(pattern: str, values: dict[str, Any]) -> Markup:
        # The texts are the templates' own and a catalogue's; values are escaped by Markup.
        return Markup(pattern) % {name: translate(value) for name, value in values.items()}  # noqa: S704

    def gettext(text: str, /, **values: Any) -> Markup:
        return formatted(catalogue.pattern(text), values)

    def ngettext(one: str, many: str, number: int, /, **values: Any) -> Markup:
        return formatted(catalogue.plural(one, many, number), {"number": number} | values)

    return {"_": gettext, "gettext": gettext, "ngettext": ngettext}
