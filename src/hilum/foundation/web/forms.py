"""Parses form bodies and queries, and protects forms against cross-site requests (CSRF)."""

import hmac
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.requests import Request

from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.web import multipart

BODY_BOUND = 256 * 1024
FIELDS_BOUND = 1_000
CSRF_FIELD = "csrf"
_MEDIA_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of one form, and the content of the files that were chosen. A field has several values only if it was declared to."""

    values: dict[str, tuple[str, ...]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def one(self, name: str, default: str = "") -> str:
        """Return a field's value, or the default if it was not sent."""
        values = self.values.get(name)
        return values[0] if values else default

    def many(self, name: str) -> tuple[str, ...]:
        """Return all values of a field that may have several."""
        return self.values.get(name, ())

    def __contains__(self, name: str) -> bool:
        return name in self.values


def parse_form(text: str, *, multi: Iterable[str] = ()) -> Form:
    """Parse a query or a form body. Raises Invalid if it is malformed or repeats a field that is not in ``multi``.

    A repeated field is refused because two parsers may pick different ones (parameter pollution).
    """
    try:
        pairs = (
            parse_qsl(
                text,
                keep_blank_values=True,
                strict_parsing=True,
                errors="strict",
                max_num_fields=FIELDS_BOUND,
            )
            if text
            else []
        )
    except ValueError as error:
        raise Invalid("form_malformed", "The form is not valid urlencoded text.") from error
    return Form(_by_name(pairs, multi))


def _by_name(pairs: Iterable[tuple[str, str]], multi: Iterable[str]) -> dict[str, tuple[str, ...]]:
    allowed = frozenset(multi)
    values: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if name in values and name not in allowed:
            raise Invalid("form_repeated", "A field was sent twice.", fields={name[:64]: "sent_twice"})
        values[name] = (*values.get(name, ()), value)
    return values


def read_query(request: Request, *, multi: Iterable[str] = ()) -> Form:
    """Parse a request's query by the same rules as a form."""
    raw: bytes = request.scope.get("query_string", b"")
    # latin-1 keeps every byte as it is. Percent-encoded bytes are decoded as strict UTF-8 afterwards.
    return parse_form(raw.decode("latin-1"), multi=multi)


def is_form(request: Request) -> bool:
    """Check whether a request's media type is that of a form."""
    return _media_type(request) == _MEDIA_TYPE


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_body(request: Request, bound: int = BODY_BOUND) -> bytes:
    """Read a whole body of bounded size. Raises Invalid if it is larger."""
    too_large = Invalid("body_too_large", f"The body is larger than {bound} bytes, the limit here.")
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared[:20]) > bound:
        raise too_large
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > bound:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


async def read_form(request: Request, *, multi: Iterable[str] = (), bound: int = BODY_BOUND) -> Form:
    """Read a urlencoded body. Raises Invalid if it is of another type, too large, malformed or repeats a field."""
    if not is_form(request):
        raise Invalid("form_media_type", f"Send the form as {_MEDIA_TYPE}.")
    body = await read_body(request, bound)
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError as error:
        raise Invalid("form_malformed", "The form is not valid urlencoded text.") from error
    return parse_form(text, multi=multi)


async def read_form_with_files(
    request: Request, *, files: Collection[str], multi: Iterable[str] = ()
) -> Form:
    """Read a form that may have files, in either encoding. Raises Invalid as ``read_form``, and for a file in another field."""
    if _media_type(request) != multipart.MEDIA_TYPE:
        return await read_form(request, multi=multi)
    body = await read_body(request, BODY_BOUND)
    fields, chosen = multipart.split(request.headers["content-type"], body, files=files)
    return Form(_by_name(fields, multi), chosen)


def csrf_token(secret: str, purpose: str = "") -> str:
    """Derive a form's CSRF token from a secret shared with the browser, by a MAC, so that the page does not reveal the secret."""
    assert secret
    # Bound to a purpose, so that the token of one form cannot be used to send another.
    mac = hmac.digest(secret.encode(), b"hilum/form/" + purpose.encode(), "sha256")
    return base64url.encode(mac)


def check_post(request: Request, form: Form, secret: str, *, origin: str, purpose: str = "") -> None:
    """Check that a form was sent from one of our pages in this browser: its token, and the origin that the browser reports.

    ``secret`` is that of the session, or the form cookie's value. ``origin`` is that of the page. Raises NotPermitted.
    Pages send no referrer, so browsers may send ``Origin: null``; then Sec-Fetch-Site or the token alone must suffice.
    """
    if not came_from(request, origin):
        raise NotPermitted("cross_site_form", "The form was sent from another site.")
    # Without a cookie there is no secret, and the MAC of an empty one could be computed by anybody.
    if not secret or not hmac.compare_digest(
        form.one(CSRF_FIELD).encode(), csrf_token(secret, purpose).encode()
    ):
        raise NotPermitted("form_expired", "The form is no longer valid.")


def came_from(request: Request, origin: str) -> bool:
    """Check that the browser's headers do not contradict ``origin``. Absent headers do not, since older browsers send none.

    Source: W3C Fetch Metadata, section 2.2; Fetch, section 3.1 (the Origin header).
    """
    # Scripts cannot set this header. Not same-site: two ports of one host are one site (ADR 14).
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    sent = request.headers.get("origin")
    return sent in {None, "null", origin}
