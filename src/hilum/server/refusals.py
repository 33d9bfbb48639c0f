"""Renders the dispatcher's refusals in the format of each address: FHIR, OAuth, problem+json or a page."""

import re
from collections.abc import Callable

import orjson
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.standards.fhir.outcomes import IssueCode, outcome
from hilum.foundation.web.asgi import Scope
from hilum.foundation.web.errors import error_page
from hilum.foundation.web.pages import Pages
from hilum.foundation.web.problems import problem_response, retry_after_of, status_of
from hilum.gateway.enforcement.rendering import FHIR_JSON

Refuse = Callable[[Scope, HilumError], Response]
_PROGRAM = re.compile(r"/t/[^/]+/oauth/(?:token|introspect|revoke|register|par)")
_LAUNCH = re.compile(r"/t/[^/]+/ehr/")
_ISSUES = {400: IssueCode.INVALID, 429: IssueCode.THROTTLED, 503: IssueCode.TRANSIENT}


def is_fhir(path: str) -> bool:
    """Check whether a path belongs to a tenant's FHIR API; its public discovery document does not."""
    # String operations instead of a pattern, because every FHIR read passes here.
    if not path.startswith("/t/"):
        return False
    tenant_end = path.find("/", 3)
    if tenant_end < 0:
        return False
    rest = path[tenant_end + 1 :]
    # SMART 2.2, conformance: the discovery document lies below the FHIR base and needs no token.
    return (rest == "fhir" or rest.startswith("fhir/")) and rest != "fhir/.well-known/smart-configuration"


def kind_of(path: str) -> str:
    """Return the kind of an address, as metrics label it."""
    if path.startswith("/api/"):
        return "api"
    if path.startswith("/t/"):
        return "oauth" if "/oauth/" in path else "launches" if "/ehr/" in path else "page"
    return "health" if path in {"/healthz", "/readyz"} else "page"


def refuser(pages: Pages) -> Refuse:
    """Return the function that renders refusals on the platform's site."""

    def refuse(scope: Scope, error: HilumError) -> Response:
        path: str = scope["path"]
        request_id = str(scope["state"]["request_id"])
        if is_fhir(path):
            return _fhir(error, request_id)
        if path.startswith("/api/") or _LAUNCH.match(path):
            return problem_response(error, request_id)
        if _PROGRAM.fullmatch(path):
            return _oauth(error)
        return error_page(pages, Request(scope), error)

    return refuse


def refuse_plainly(_scope: Scope, error: HilumError) -> Response:
    """Render a refusal as a line of text."""
    return PlainTextResponse(error.detail + "\n", status_of(error), _headers(error))


def _fhir(error: HilumError, request_id: str) -> Response:
    status = status_of(error)
    issue = outcome(_ISSUES.get(status, IssueCode.NOT_SUPPORTED), error.detail, decision=request_id)
    return Response(orjson.dumps(issue), status, _headers(error), media_type=FHIR_JSON.decode())


def _oauth(error: HilumError) -> Response:
    """Render an OAuth error. Source: RFC 6749 section 5.2; ``temporarily_unavailable`` as in section 4.1.2.1."""
    status = status_of(error)
    code = "temporarily_unavailable" if status in {429, 503} else "invalid_request"
    body = {"error": code, "error_description": error.detail}
    return Response(orjson.dumps(body), status, _headers(error), media_type="application/json")


def _headers(error: HilumError) -> dict[str, str]:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    if retry_after_s := retry_after_of(error):
        headers["retry-after"] = str(retry_after_s)
    return headers
