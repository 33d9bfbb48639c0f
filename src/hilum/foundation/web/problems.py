"""Maps our errors to problem+json, the error format of the API.

Source: RFC 9457 section 3.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import (
    Conflict,
    HilumError,
    Invalid,
    NotFound,
    NotPermitted,
    Refused,
    Unavailable,
)
from hilum.foundation.web.faults import explained, field_of, of_validation

FIELDS_BOUND = 50
RETRY_AFTER_S = 1
_MEDIA_TYPE = "application/problem+json"
_BY_CODE = {
    "not_authenticated": 401,
    "session_over": 401,
    "token_invalid": 401,
    "wrong_credentials": 401,
    "step_over": 401,
    "too_many_attempts": 429,
    "too_many_reads": 429,
    "quota_exceeded": 429,
    "body_too_large": 413,
    "body_too_slow": 408,
    "source_busy": 429,
    # RFC 6585 section 3.
    "version_missing": 428,
    "misdirected": 421,
    "form_media_type": 415,
    "audit_unavailable": 503,
    "upstream_unavailable": 503,
}
_BY_FAMILY: tuple[tuple[type[HilumError], int], ...] = (
    (NotFound, 404),
    (NotPermitted, 403),
    (Conflict, 409),
    (Unavailable, 503),
)
_METHOD_REFUSED = "This address does not support this method; `Allow` lists those that it does."
_log = logs.get("web")
_TEXT = {"type": "string"}
_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "code", "request_id"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "code": _TEXT,
        "request_id": _TEXT,
        "detail": _TEXT,
        "fields": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["code", "detail"],
                "properties": {"code": _TEXT, "detail": _TEXT},
            },
        },
    },
}
_CONTENT = {_MEDIA_TYPE: {"schema": _SCHEMA}}
DESCRIBED: dict[int | str, dict[str, Any]] = {
    "4XX": {
        "description": "Refused. `code` says why; `fields` has a code and a sentence for each field (docs/reference/field-codes.md).",
        "content": _CONTENT,
    },
    503: {"description": "Not available now. Try again after `Retry-After` seconds.", "content": _CONTENT},
}
"""The error responses of every route, for the OpenAPI document."""


def status_of(error: HilumError) -> int:
    """Return the HTTP status of an error: by its code, else by its family."""
    by_code = _BY_CODE.get(error.code)
    if by_code is not None:
        return by_code
    if isinstance(error, Invalid):
        # 400: the request could not be parsed. 422: it was parsed, and one of its fields is refused.
        return 422 if error.fields else 400
    return next((status for family, status in _BY_FAMILY if isinstance(error, family)), 500)


def retry_after_of(error: HilumError) -> int:
    """Return after how many seconds to retry a refused request; 0 if waiting does not help."""
    own = getattr(error, "retry_after_s", None)
    if own is not None:
        return int(own)
    return RETRY_AFTER_S if status_of(error) == 503 else 0


def problem_response(error: HilumError, request_id: str) -> Response:
    """Render an error as problem+json."""
    status = status_of(error)
    fields = explained(error.fields) if isinstance(error, Invalid) else {}
    headers = {}
    if retry_after_s := retry_after_of(error):
        headers["retry-after"] = str(retry_after_s)
    if status == 401:
        # RFC 9110 section 15.5.2: a 401 names the scheme; RFC 6750 section 3.
        headers["www-authenticate"] = "Bearer"
    explanation = _explanation(error) if isinstance(error, Refused) else {}
    return _problem(
        status,
        error.code,
        error.detail,
        request_id=request_id,
        fields=fields,
        headers=headers,
        explanation=explanation,
    )


def _explanation(error: Refused) -> dict[str, str]:
    """Return the members that explain a refusal to the person: the rule, its owner, the next step, and the expected end, if any (C216)."""
    expected = {"expected_at": error.expected_at.isoformat()} if error.expected_at else {}
    return {"rule": error.rule, "owner": error.owner, "next_step": error.next_step} | expected


def install(app: FastAPI) -> None:
    """Install handlers that render every error of an API application as problem+json."""
    app.add_exception_handler(HilumError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_bug)


def method_refused(request: Request) -> Response:
    """Return the response to a method that an address does not support. The caller adds ``Allow``."""
    return _problem(405, "method_not_allowed", _METHOD_REFUSED, request_id=request_id_of(request))


async def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HilumError)
    return problem_response(error, request_id_of(request))


async def _on_validation(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # The caller chooses how many fields are wrong, and must not thereby choose the size of the answer.
    faults = error.errors()[:FIELDS_BOUND]
    fields = {field_of(fault.get("loc", ())): of_validation(fault) for fault in faults}
    detail = "Some fields cannot be accepted; `fields` lists them with the reason of each."
    return _problem(422, "fields_invalid", detail, request_id=request_id_of(request), fields=fields)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
    detail = {404: "There is nothing at this address.", 405: _METHOD_REFUSED}
    return _problem(
        error.status_code,
        code,
        detail.get(error.status_code, ""),
        request_id=request_id_of(request),
        headers=dict(error.headers or {}),
    )


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("web.api.failed", request=request_id_of(request), error=type(error).__name__)
    detail = "Internal error. Quote the request id when you report it."
    return _problem(500, "internal", detail, request_id=request_id_of(request))


def request_id_of(request: Request) -> str:
    """Return a request's id, as the dispatcher stored it."""
    return str(request.scope.get("state", {}).get("request_id", ""))


def _problem(
    status: int,
    code: str,
    detail: str,
    *,
    request_id: str,
    fields: Mapping[str, Mapping[str, str]] | None = None,
    headers: Mapping[str, str] | None = None,
    explanation: Mapping[str, str] | None = None,
) -> Response:
    problem: dict[str, Any] = {
        # RFC 9457 section 4.2.1: with this type the title is the status's phrase; ``code`` is the specific reason.
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "request_id": request_id,
    }
    if detail:
        problem["detail"] = detail
    problem |= explanation or {}
    if fields:
        problem["fields"] = dict(fields)
    sent = {"cache-control": "no-store", "x-content-type-options": "nosniff"} | dict(headers or {})
    return Response(orjson.dumps(problem), status, sent, media_type=_MEDIA_TYPE)
