"""A person with a plain browser and a client with a plain HTTP library, which use Hilum by its public contract only.

Works over a real address or over an ASGI callable in process.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from hilum.foundation.infra.context import Context
from hilum.foundation.standards.browsers import browser_family

REDIRECTS_BOUND = 12
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Form:
    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Hidden and text inputs, ticked checkboxes and selected radios, as a browser would send them."""
    submits: list[tuple[str, str]] = field(default_factory=list)
    choices: dict[str, list[str]] = field(default_factory=dict)
    """Every value a checkbox, radio or select offers, by name."""
    files: list[str] = field(default_factory=list)
    """Where a file can be chosen."""


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(given.get("action", ""), given.get("method", "get").lower()))
        # A button without a type submits (HTML living standard).
        elif self.forms:
            self._control(tag, given)

    def _control(self, tag: str, given: dict[str, str]) -> None:
        form, name, value = self.forms[-1], given.get("name", ""), given.get("value", "")
        kind = given.get("type", "submit" if tag == "button" else "text")
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            form.choices.setdefault(self._select, []).append(value)
            if "selected" in given:
                form.fields.append((self._select, value))
        elif tag in {"input", "button"} and kind in {"submit", "image"}:
            form.submits.append((name, value))
        elif tag == "input" and kind in {"checkbox", "radio"}:
            form.choices.setdefault(name, []).append(value)
            if "checked" in given:
                form.fields.append((name, value))
        elif tag == "input" and kind == "file":
            form.files.append(name)
        elif tag in {"input", "textarea"} and name:
            # Of a text area only that it is there: what it holds stands between its tags.
            form.fields.append((name, value))


def forms_of(page: str) -> list[Form]:
    parser = _Forms()
    parser.feed(page)
    return parser.forms


def one_of_each(links: Iterable[str]) -> list[str]:
    """Return one of the links with the same path and parameters: the orders of a list, say, differ only in a value."""
    found: dict[object, str] = {}
    for href in map(unescape, links):
        parts = urlsplit(href)
        found.setdefault((parts.path, frozenset(parse_qs(parts.query))), href)
    return list(found.values())


def form_with(page: str, name: str) -> Form:
    """Find the form that has a control called ``name``."""
    for form in forms_of(page):
        names = {key for key, _ in form.fields + form.submits} | set(form.choices) | set(form.files)
        if name in names:
            return form
    raise AssertionError(f"no form with {name}: {page[:600]}")


@dataclass
class Person:
    """A person at a browser. ``stop_at`` are URL prefixes that are not followed: an app's redirect and launch addresses."""

    http: httpx2.AsyncClient
    username: str = ""
    password: str = ""
    untick: tuple[str, ...] = ()
    decision: str = "allow"
    patient: str = ""
    pages: list[str] = field(default_factory=list)

    async def go(
        self, url: str, stop_at: tuple[str, ...], *, post: dict[str, str] | None = None
    ) -> httpx2.URL | httpx2.Response:
        """Open ``url`` and answer each page, until the browser is redirected to ``stop_at`` or a page has nothing to answer."""
        if post is None:
            response = await self.http.get(url)
        else:
            response = await self.http.post(url, data=post)
        for _ in range(REDIRECTS_BOUND):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                # The app's own address: nobody listens there, and its query is the answer.
                if target.startswith(stop_at):
                    return httpx2.URL(target)
                response = await self.http.get(target)
                continue
            filled = self._fill(response)
            if filled is None:
                return response
            form, data = filled
            where = urljoin(str(response.url), form.action or str(response.url))
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(where))
            body = urlencode(data)
            # What a browser sends with a form of the same site; without it the platform refuses the post.
            headers = {
                "content-type": "application/x-www-form-urlencoded",
                "origin": origin,
                "sec-fetch-site": "same-origin",
            }
            if form.method == "post":
                response = await self.http.post(where, content=body, headers=headers)
            else:
                response = await self.http.get(f"{where.partition('?')[0]}?{body}")
        raise AssertionError("too many redirects")

    def _fill(self, response: httpx2.Response) -> tuple[Form, list[tuple[str, str]]] | None:
        if response.status_code >= 400 or "text/html" not in response.headers.get("content-type", ""):
            return None
        page = response.text
        self.pages.append(page)
        for form in forms_of(page):
            submits = dict.fromkeys(f"{name}={value}" for name, value in form.submits)
            names = {key for key, _ in form.fields} | set(form.choices)
            # The order of the questions: sign-in, decision, picker. A page that is none of these is the end.
            if "password" in names:
                kept = [(k, v) for k, v in form.fields if k not in {"username", "password"}]
                return form, [
                    *kept,
                    ("username", self.username),
                    ("password", self.password),
                    ("action", "login"),
                ]
            if f"decision={self.decision}" in submits:
                kept = [(k, v) for k, v in form.fields if not (k == "scope" and v in self.untick)]
                return form, [*kept, ("decision", self.decision)]
            if "patient" in form.choices or ("patient", "") in form.fields:
                choice = self.patient or form.choices["patient"][0]
                kept = [(k, v) for k, v in form.fields if k != "patient"]
                return form, [*kept, ("patient", choice)]
            picks = [pair for pair in form.submits if pair[0] == "patient"]
            if picks:
                choice = self.patient or picks[0][1]
                return form, [*form.fields, ("patient", choice)]
        return None


@dataclass
class Client:
    """A registered client, as ``card.json`` describes it."""

    http: httpx2.AsyncClient
    card: dict[str, Any]
    fhir: str
    discovery: dict[str, Any] = field(default_factory=dict)
    verifier: str = ""
    state: str = ""

    @property
    def id(self) -> str:
        return str(self.card["client_id"])

    @property
    def redirect_uri(self) -> str:
        return str(self.card["redirect_uris"][0])

    async def discover(self) -> dict[str, Any]:
        found = await self.http.get(f"{self.fhir}/.well-known/smart-configuration")
        assert found.status_code == 200, found.text
        self.discovery = found.json()
        return self.discovery

    def authorize_parameters(self, scope: str, *, launch: str = "", **changes: str) -> dict[str, str]:
        self.verifier, self.state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        )
        # Removed again with "-", so that a test can leave out any parameter.
        given = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": self.state,
            "aud": self.fhir,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if launch:
            given["launch"] = launch
        return {name: value for name, value in (given | changes).items() if value != "-"}

    def authorize_url(self, scope: str, *, launch: str = "", **changes: str) -> str:
        return f"{self.discovery['authorization_endpoint']}?{urlencode(self.authorize_parameters(scope, launch=launch, **changes))}"

    def assertion(self, **changes: Any) -> str:
        """Build a client assertion, signed with the first key of the card's private set."""
        key = KeySet.import_key_set(self.card["private_jwks"]).keys[0]
        alg = "ES384" if key.key_type == "EC" else "RS384"
        now = int(changes.pop("now"))
        claims = {"iss": self.id, "sub": self.id, "aud": self.discovery["token_endpoint"], "exp": now + 300}
        claims |= {"jti": secrets.token_hex(16)} | changes
        return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=[alg])

    async def token(self, *, now: int = 0, **form: str) -> httpx2.Response:
        """Send a token request, authenticated as the card describes."""
        headers = {"accept": "application/json"}
        # Each client authenticates as registered, and in no other way (C50).
        kind = self.card["type"]
        if kind == "public":
            form = {"client_id": self.id} | form
        elif self.card.get("private_jwks") and kind != "confidential-symmetric":
            form = {
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self.assertion(now=now),
            } | form
        else:
            basic = base64.b64encode(f"{self.id}:{self.card['secret']}".encode()).decode()
            headers["authorization"] = f"Basic {basic}"
        return await self.http.post(self.discovery["token_endpoint"], data=form, headers=headers)

    async def redeem(self, redirected: httpx2.URL, *, now: int = 0, **changes: str) -> httpx2.Response:
        """Check the redirect as a careful client does, then exchange its code."""
        answer = {name: values[0] for name, values in parse_qs(urlsplit(str(redirected)).query).items()}
        # What RFC 6749 section 10.12 and RFC 9207 ask of a client.
        assert answer.get("state") == self.state, answer
        assert answer.get("iss") == self.discovery["issuer"], answer
        assert "error" not in answer, answer
        form = {
            "grant_type": "authorization_code",
            "code": answer["code"],
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        sent = {name: value for name, value in (form | changes).items() if value != "-"}
        return await self.token(now=now, **sent)


def seen_from(ctx: Context, browser: Any, source: str = "") -> Context:
    """Return a context as a request of this browser has it: sessions count only in the browser, and some on the network, they began in."""
    family = browser_family(browser.headers.get("user-agent", ""))
    return replace(ctx, trace=replace(ctx.trace, browser=family, source=source or ctx.trace.source))
