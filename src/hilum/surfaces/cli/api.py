"""The client of a running platform: ``/api/v1`` with an API token."""

import os
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode

import click
import orjson

from hilum.foundation.infra.settings import SETTINGS
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.identity.people.models import NAMES_BOUND, StaffRole
from hilum.surfaces.cli.output import REFUSED, say_faults, say_what_lists

TIMEOUT_S = 30
TOKEN_FILE = Path("~/.config/hilum/token")
# A list cut short would be taken for the whole; beyond the bound the command refuses.
ROWS_BOUND = 100_000
"""Records of one list that a command reads at most."""
WHOSE = (
    "Next: this signs in the platform's staff. For an account of a hospital add `--tenant HOSPITAL`, for one of a vendor "
    "`--vendor ID`."
)
TRUST_AUTHORITY = (
    "If a private authority issued it, set SSL_CERT_FILE to a file with that authority's certificate."
)
UNTRUSTED_ISSUER = frozenset({18, 19, 20, 21})
"""Codes of a certificate whose authority is not trusted. Source: OpenSSL, X509_STORE_CTX_get_error(3)."""


def base_url() -> str:
    """Return the platform's origin: HILUM_API_URL, else HILUM_BASE_URL, else the default."""
    defaults = {each.name: each.default for each in SETTINGS}
    return os.environ.get("HILUM_API_URL") or os.environ.get("HILUM_BASE_URL") or defaults["HILUM_BASE_URL"]


def token() -> str:
    """Return the API token: HILUM_API_TOKEN, else the one that ``hilum login`` saved. Exits 1 if there is neither."""
    found = os.environ.get("HILUM_API_TOKEN", "")
    if not found:
        with suppress(OSError, UnicodeError):
            found = TOKEN_FILE.expanduser().read_text(encoding="ascii").strip()
    if not found:
        click.secho("refused: no API token. Run `hilum login`, or set HILUM_API_TOKEN.", fg="red", err=True)
        raise SystemExit(REFUSED)
    return found


def keep_token(secret: str) -> Path:
    """Save a token for the next commands, readable by its owner only."""
    path = TOKEN_FILE.expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Created empty and private first: a file that is written and then protected is readable in between.
        path.touch(mode=0o600)
        path.write_text(secret, encoding="ascii")
    except OSError as error:
        click.secho(f"refused: the token cannot be kept in {path}: {error.strerror}", fg="red", err=True)
        raise SystemExit(REFUSED) from None
    return path


def call(
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    *,
    query: Mapping[str, str | list[str]] | None = None,
    open_: bool = False,
    version: str = "",
    key: str = "",
) -> Any:
    """Call the API and return its JSON; {} for an empty answer. Prints why and exits 1 if it refuses or cannot be reached.

    ``open_``: without a token. Members of ``body`` that are None are not sent. ``version``: of the record, as the caller saw it. ``key``: under
    which a creation is sent.
    """
    # An empty option means "not given", which is not the same as an empty filter.
    parameters = {name: value for name, value in (query or {}).items() if value}
    target = path + (f"?{urlencode(parameters, doseq=True)}" if parameters else "")
    try:
        return _ask(method, target, body, bearer="" if open_ else token(), version=version, key=key)
    except urllib.error.HTTPError as error:
        _refused(error)


def sign_in(body: dict[str, Any], ask_code: Callable[[], str]) -> dict[str, Any]:
    """Create an API token; ``ask_code`` is called if the account has a second factor. Prints why and exits 1 if it is refused."""
    try:
        created: dict[str, Any] = _ask("POST", "/tokens", body, bearer="")
    except urllib.error.HTTPError as error:
        problem = _problem_of(error)
        if not isinstance(problem, dict) or problem.get("code") != "factor_required":
            _refused(error, problem, of_staff=not (body.get("tenant") or body.get("vendor")))
        created = call("POST", "/tokens", body | {"code": ask_code()}, open_=True)
    return created


def readable(path: str) -> Any:
    """Return the API's answer to a read, or None if the caller may not see it (403)."""
    try:
        return _ask("GET", path, None, bearer=token())
    except urllib.error.HTTPError as error:
        # Whether the caller may see a list decides only whether ids are shown with names.
        if error.code == HTTPStatus.FORBIDDEN:
            return None
        _refused(error)


def names_of(ids: Collection[str]) -> dict[str, str]:
    """Return the names behind ids, as far as the caller may see them; none if the API refuses, since what was asked for is done."""
    names: dict[str, str] = {}
    for some in batched(sorted(ids), NAMES_BOUND):
        query = urlencode({"id": some}, doseq=True)
        try:
            names |= _ask("GET", f"/names?{query}", None, bearer=token())
        except urllib.error.HTTPError:
            return {}
    return names


def own_tenant() -> str:
    """Return the caller's hospital; empty for the platform's staff, who must name one."""
    # The roles are read from the caller's own tokens: no route says who the caller is.
    roles = {role for each in every("/tokens") for role in each["roles"]}
    seen = None if roles & set(StaffRole) else readable("/tenants")
    return str(seen["items"][0]["id"]) if seen and seen["items"] else ""


def require_tenant(named: str) -> str:
    """Return the hospital that was named, else the caller's own. Exits 2 (misused) if there is neither."""
    if found := named or own_tenant():
        return found
    raise click.UsageError("Set --tenant: you do not belong to a hospital.")


def _ask(
    method: str,
    target: str,
    body: dict[str, Any] | None,
    *,
    bearer: str,
    version: str = "",
    key: str = "",
) -> Any:
    """Send one request, a creation with a key again if no answer came. Raises HTTPError for a refusal; exits 1 if no API answers."""
    headers = {"accept": "application/json"}
    if version:
        headers["if-match"] = f'"{version}"'
    if key:
        headers["idempotency-key"] = key
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    data = None
    if body is not None:
        headers["content-type"] = "application/json"
        data = orjson.dumps({name: value for name, value in body.items() if value is not None})
    try:
        request = urllib.request.Request(  # noqa: S310 - the operator's own address
            f"{base_url()}/api/v1{target}", data=data, headers=headers, method=method
        )
        raw = _answer_to(request, tries=2 if key else 1)
    # HTTPError is an OSError too, and must not count as unreachable.
    except urllib.error.HTTPError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        _unreachable(why_unreachable(error))
    try:
        return orjson.loads(raw) if raw else {}
    except orjson.JSONDecodeError:
        _unreachable("the answer is not JSON")


def _answer_to(request: urllib.request.Request, tries: int) -> bytes:
    """Return the body of the answer. An answer may be lost after the platform did what was asked for."""
    for more in reversed(range(tries)):
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - the operator's own address
                body: bytes = answer.read()
                return body
        except (ConnectionResetError, HTTPException):
            if not more:
                raise
    raise AssertionError("the last try returns or raises")


def every(path: str, **query: str) -> list[dict[str, Any]]:
    """Read a whole list, page by page. Exits 1 if it is longer than ``ROWS_BOUND``: a list cut short would mislead."""
    found, more = some(path, ROWS_BOUND, **query)
    if more:
        message = (
            f"refused: {path} lists more than {ROWS_BOUND} records. Filter the list, for example by hospital."
        )
        click.secho(message, fg="red", err=True)
        raise SystemExit(REFUSED)
    return found


def some(path: str, limit: int, **query: str) -> tuple[list[dict[str, Any]], bool]:
    """Read the first ``limit`` records of a list, page by page; return them and whether there are more."""
    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < limit:
        size = min(PAGE_BOUND, limit - len(found))
        page = call("GET", path, query=query | {"after": after, "limit": str(size)})
        found += page["items"]
        after = page["next"]
        if not after:
            return found, False
    # A page that is full may be the last one; one more record shows whether it is.
    return found, bool(call("GET", path, query=query | {"after": after, "limit": "1"})["items"])


def segment(text: str) -> str:
    """Escape a text as one path segment."""
    # An id that was typed may hold a slash, which would address another route.
    return quote(text, safe="")


def why_unreachable(error: Exception) -> str:
    """Return why an address could not be called, from the reason that urllib wraps."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    match reason:
        case ssl.SSLCertVerificationError(verify_code=code, verify_message=message):
            advice = f". {TRUST_AUTHORITY}" if code in UNTRUSTED_ISSUER else ""
            return f"its certificate is not trusted: {message}{advice}"
        case socket.gaierror():
            return "the name of its host cannot be resolved"
        case ConnectionRefusedError():
            return "the connection was refused. Is the platform running?"
    return str(reason) or type(reason).__name__


def _unreachable(why: str) -> NoReturn:
    click.secho(f"refused: no Hilum answers at {base_url()}: {why}", fg="red", err=True)
    raise SystemExit(REFUSED)


def _problem_of(error: urllib.error.HTTPError) -> Any:
    try:
        return orjson.loads(error.read())
    except (orjson.JSONDecodeError, OSError):
        return {}


def _refused(error: urllib.error.HTTPError, problem: Any = None, *, of_staff: bool = False) -> NoReturn:
    problem = _problem_of(error) if problem is None else problem
    # A proxy's page, or another service at this address, is not a refusal by the platform.
    if not isinstance(problem, dict) or "status" not in problem:
        _unreachable(f"a proxy or another service answers, with status {error.code}")
    reason = problem.get("detail") or problem.get("title") or f"status {error.code}"
    click.secho(f"refused: {reason} ({problem.get('code', error.code)})", fg="red", err=True)
    fields = problem.get("fields") or {}
    say_faults({name: f"{fault['detail']} ({fault['code']})" for name, fault in fields.items()}, reason)
    say_what_lists(problem.get("code", ""), reason)
    if of_staff and problem.get("code") == "wrong_credentials":
        click.echo(WHOSE, err=True)
    if problem.get("code") == "token_invalid":
        click.echo("Next: `hilum login`, or set HILUM_API_TOKEN to a token that has not expired.", err=True)
    raise SystemExit(REFUSED)
