"""The language of each page for patients and clinicians: read from the request, offered as a link, and remembered in cookies.

Consoles are in English only. A page does the same in every language.
Source: docs/adr/0014-pages.md
"""

from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.standards.languages import NAMES, Language, asked, choose, language_of
from hilum.foundation.web import cookies

CHOICE = "language"
"""The parameter of a link by which a person chooses a language."""
ASKED_LIFE = timedelta(minutes=30)
"""The life of an authorization request."""
REMEMBERED = timedelta(days=365)
_DOORS = frozenset({"t", "signin", "signout", "account", "enrol"})
_FRAMES = frozenset({"iframe", "frame", "embed", "object"})
_QUERY_BOUND = 8_192


@dataclass(frozen=True, slots=True)
class Offered:
    """Another language of a page: its tag, its own name, and the query of the page in that language."""

    tag: str
    name: str
    address: str


def is_door(path: str) -> bool:
    """Check whether patients and clinicians come to a page: sign-in, consent, connected apps and what belongs to them."""
    return path.lstrip("/").partition("/")[0] in _DOORS


def spoken(request: Request, *, secure: bool, usual: str = "") -> Language:
    """Return the language of the page that answers a request. ``usual``: the hospital's own, used when the request states none."""
    if not is_door(request.url.path):
        return Language.ENGLISH
    framed = _is_framed(request)
    query = dict(_query(request))
    remembered = cookies.read(request, _remembered(framed=framed), secure=secure)
    asked_for = query.get("ui_locales") or cookies.read(request, _asked(framed=framed), secure=secure)
    return choose(
        chosen=query.get(CHOICE, ""),
        # The app's choice applies to the pages of its authorization request only.
        asked_for=asked_for if _is_of_a_request(request.url.path) else "",
        remembered=remembered,
        header=request.headers.get("accept-language", ""),
        usual=usual,
    )


def offered(request: Request, language: Language) -> tuple[Offered, ...]:
    """Return the other languages of a page; none for the answer to a form, which has no address of its own."""
    if request.method != "GET" or not is_door(request.url.path):
        return ()
    others = [(name, value) for name, value in _query(request) if name != CHOICE]
    return tuple(
        Offered(each.value, NAMES[each], "?" + urlencode([*others, (CHOICE, each.value)]))
        for each in Language
        if each is not language
    )


def remember_chosen(request: Request, response: Response, *, secure: bool) -> None:
    """Remember the language that a person chose by the link to this page, which also overrides the app's choice."""
    language = language_of(dict(_query(request)).get(CHOICE, ""))
    if language is None or not is_door(request.url.path):
        return
    framed = _is_framed(request)
    cookies.put(response, _remembered(framed=framed), language.value, secure=secure, life=REMEMBERED)
    if cookies.read(request, _asked(framed=framed), secure=secure):
        cookies.clear(response, _asked(framed=framed), secure=secure)


def remember_asked(request: Request, response: Response, ui_locales: str, *, secure: bool) -> None:
    """Remember the language that an app asked for in its authorization request; forget that of an earlier request."""
    cookie, language = _asked(framed=_is_framed(request)), asked(ui_locales)
    if language is not None:
        cookies.put(response, cookie, language.value, secure=secure, life=ASKED_LIFE)
    elif cookies.read(request, cookie, secure=secure):
        cookies.clear(response, cookie, secure=secure)


def _is_of_a_request(path: str) -> bool:
    """Check whether a page is part of an authorization request: /t/<hospital>/oauth/authorize..., /t/<hospital>/signin..."""
    below = path.split("/")[3:]
    return below[:1] == ["signin"] or below[:2] == ["oauth", "authorize"]


def _is_framed(request: Request) -> bool:
    return request.headers.get("sec-fetch-dest", "") in _FRAMES


def _remembered(*, framed: bool) -> cookies.Cookie:
    return cookies.FRAME_LANGUAGE if framed else cookies.LANGUAGE


def _asked(*, framed: bool) -> cookies.Cookie:
    return cookies.FRAME_LANGUAGE_ASKED if framed else cookies.LANGUAGE_ASKED


def _query(request: Request) -> list[tuple[str, str]]:
    raw: bytes = request.scope.get("query_string", b"")
    # Code that needs the query refuses an unreadable one; here it only has no language.
    if len(raw) > _QUERY_BOUND:
        return []
    return parse_qsl(raw.decode("latin-1"), keep_blank_values=True)
