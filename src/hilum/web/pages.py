"""Pages: rendering of templates, with the security headers of every page.

Source: docs/adr/0014-pages.md; CSP Level 3.
"""

from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from hilum.kernel.lists import and_more, counted
from hilum.kernel.sentences import Catalogue, day, moment
from hilum.standards.languages import Language
from hilum.standards.zones import zone_of
from hilum.web import languages
from hilum.web.catalogues import catalogue_of
from hilum.web.static import Assets

TEMPLATES = Path(__file__).parent / "templates"
SOURCES_BOUND = 50


@dataclass(frozen=True, slots=True)
class Habits:
    """What a hospital's pages do where nobody states otherwise: their language, and the zone of their times. Empty: English, UTC.

    ``framed_by``: the origins of its EHR, which opens apps in a frame.
    """

    language: str = ""
    zone: str = ""
    framed_by: tuple[str, ...] = ()


NO_HABITS = Habits()
_ZONE: ContextVar[tzinfo] = ContextVar("zone", default=UTC)
"""The zone of the page that is being rendered: macros that a template imports see none of its facts."""


@dataclass(frozen=True, slots=True)
class Shell:
    """The content of the frame around every page. ``links`` are (text, URL) of the site's navigation."""

    sandbox: bool
    home: str = "/"
    site: str = "Hilum"
    links: tuple[tuple[str, str], ...] = ()
    guides: str = "/guides"
    """The address of the index of the guides. A page names its own below it (block ``guide``)."""
    secure: bool = False
    """Whether pages are served over https, so that their cookies are Secure."""
    habits: Callable[[str], Habits] = lambda _: NO_HABITS
    """Returns the habits of a hospital by its id."""
    opens_an_app: Callable[[str], bool] = lambda _: False
    """Checks whether an EHR's frame comes by a path when it opens an app."""


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
    """Renders templates. ``folders`` are the template folders of rooms; each keeps its own in a subfolder of its name."""

    def __init__(self, assets: Assets, shell: Shell, *, folders: Iterable[Path] = ()) -> None:
        self.assets = assets
        self.shell = shell
        found = [TEMPLATES, *folders]
        # One for each language: what a template imports is kept by its environment, in that language.
        self._environments = {each: self._environment(each, found) for each in Language}

    def _environment(self, language: Language, folders: list[Path]) -> Environment:
        catalogue = catalogue_of(language)

        def said(value: Any) -> Any:
            return catalogue.said(value, _ZONE.get())

        environment = Environment(
            loader=FileSystemLoader(folders),
            # Names on a page may have been written by an app, a FHIR server or another person.
            autoescape=True,
            # A name that is missing fails, instead of leaving a line out of a consent page.
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            extensions=["jinja2.ext.i18n"],
            # A sentence that a room made is said in the page's language and zone wherever a template prints it.
            finalize=said,
        )
        environment.newstyle_gettext = True  # type: ignore[attr-defined]  # of the extension
        environment.globals.update(asset=self.assets.path, shell=self.shell, language=language.value)
        environment.globals.update(_said(catalogue, said))
        environment.filters.update(
            counted=counted, day=day, and_more=and_more, moment=_moment, short=_short, said=said
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
        habits_of: str = "",
        **facts: Any,
    ) -> HTMLResponse:
        """Render a page.

        ``form_action``: foreign origins (or ``scheme:``) that a form's response may redirect to, since Chromium checks redirects too.
        ``frame_ancestors``: origins that may frame the page; none by default. ``policy`` replaces both.
        ``habits_of``: the hospital whose page it is, if its address does not say so.
        """
        chosen = policy or Policy(tuple(form_action), tuple(frame_ancestors))
        habits = self.shell.habits(habits_of or _hospital_of(request.url.path))
        language = languages.spoken(request, secure=self.shell.secure, usual=habits.language)
        others = languages.offered(request, language)
        in_zone = _ZONE.set(zone_of(habits.zone) or UTC)
        try:
            found = self._environments[language].get_template(template)
            text = found.render(request=request, other_languages=others, zone=habits.zone or "UTC", **facts)
        finally:
            _ZONE.reset(in_zone)
        headers = security_headers(chosen) | {"content-language": language.value}
        if languages.is_door(request.url.path):
            headers["vary"] = "accept-language, cookie"
        response = HTMLResponse(text, status, headers)
        languages.remember_chosen(request, response, secure=self.shell.secure)
        return response

    def error_policy(self, request: Request) -> Policy:
        """Return the policy of an error page: on an app's way into a chart it may stand in the EHR's frame, where the app would be."""
        path = request.url.path
        if not self.shell.opens_an_app(path):
            return Policy()
        return Policy(frame_ancestors=self.shell.habits(_hospital_of(path)).framed_by)

    def catalogue(self, request: Request) -> Catalogue:
        """Return the catalogue of the page that answers a request."""
        usual = self.shell.habits(_hospital_of(request.url.path)).language
        return catalogue_of(languages.spoken(request, secure=self.shell.secure, usual=usual))

    def fragment(self, template: str, **facts: Any) -> str:
        """Render a part of a page, to be inserted into one that is already shown."""
        return self._environments[Language.ENGLISH].get_template(template).render(**facts)


def _hospital_of(path: str) -> str:
    """Return the hospital of an address, /t/<hospital>/...; empty if it is of none."""
    parts = path.split("/", 3)
    return parts[2] if parts[1:2] == ["t"] and len(parts) > 2 else ""


def _moment(value: datetime) -> str:
    return moment(value, _ZONE.get())


def _short(value: datetime) -> str:
    """Format a date and time for a list, whose page says the zone: 3 Mar 2026, 09:05."""
    return f"{value.astimezone(_ZONE.get()):%-d %b %Y, %H:%M}"


def security_headers(policy: Policy) -> dict[str, str]:
    """Return the security headers of a page."""
    directives = (
        # Nothing is allowed but what is listed. Scripts and styles are files of ours, so markup
        # that was injected runs nothing.
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
        # The address of a page may hold the id of an authorization request or the secret of a link.
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "permissions-policy": "camera=(), microphone=(), geolocation=()",
    }
    # For browsers that do not know frame-ancestors; it cannot list origins, so it is left out where
    # framing is allowed.
    if not policy.frame_ancestors:
        headers["x-frame-options"] = "DENY"
    return headers


def _sources(first: str, others: Iterable[str]) -> str:
    found = [first, *others] if first else list(others)
    assert len(found) <= SOURCES_BOUND
    for source in found:
        assert not set(source) & set(" ;,\r\n\t"), "one source must not be several, nor another directive"
    return " ".join(dict.fromkeys(found))


def _said(catalogue: Catalogue, said: Callable[[Any], Any]) -> dict[str, Any]:
    """Return what templates say their own texts with: ``_`` and ``ngettext``. Their texts are markup, what is put into them is escaped."""

    def put_in(pattern: str, values: dict[str, Any]) -> Markup:
        # The texts are the templates' own and a catalogue's; values are escaped by Markup.
        return Markup(pattern) % {name: said(value) for name, value in values.items()}  # noqa: S704

    def gettext(text: str, /, **values: Any) -> Markup:
        return put_in(catalogue.pattern(text), values)

    def ngettext(one: str, many: str, number: int, /, **values: Any) -> Markup:
        return put_in(catalogue.plural(one, many, number), {"number": number} | values)

    return {"_": gettext, "gettext": gettext, "ngettext": ngettext}
