"""problem+json (RFC 9457) and the bound on bodies."""

import asyncio
from typing import Any

import pytest

from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotFound, NotPermitted, Unavailable
from hilum.identity.signin.models import NotAuthenticated, SlowDown
from tests.unit.foundation.web.site import api, ask


def send(error: Exception | None = None, **sent: Any) -> Any:
    return asyncio.run(ask(api(error), "POST", "/api/v1/things", **(sent or {"json": {"name": "x"}})))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("gone", "There is none."), 404),
        (NotPermitted("may_not", "You may not."), 403),
        (NotAuthenticated("token_invalid", "The API token is missing."), 401),
        (SlowDown(7), 429),
        (Invalid("odd", "Odd."), 400),
        (Invalid("fields", "Odd.", fields={"name": "too_long"}), 422),
        (Conflict("changed", "Somebody was first."), 409),
        (Unavailable("away", "Later."), 503),
    ],
)
def test_an_error_is_a_problem_with_its_code(error: HilumError, status: int) -> None:
    answer = send(error)
    problem = answer.json()

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert {"type", "title", "status", "code", "request_id"} <= set(problem)
    assert (problem["status"], problem["code"]) == (status, error.code)
    assert problem["detail"] == error.detail


def test_the_fields_at_fault_are_named() -> None:
    assert send(Invalid("fields", "Odd.", fields={"name": "too_long"})).json()["fields"] == {
        "name": {"code": "too_long", "detail": "This text is too long."}
    }


def test_a_refusal_states_how_long_to_wait() -> None:
    assert send(SlowDown(7)).headers["retry-after"] == "7"
    assert send(Unavailable("away")).headers["retry-after"] == "1"


def test_an_unauthenticated_caller_learns_how_to_authenticate() -> None:
    assert send(NotAuthenticated("token_invalid")).headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x", "count": "many"}, "count"),
        ({"name": "x", "other": 1}, "other"),
    ],
)
def test_a_body_that_does_not_fit_names_its_fields(body: dict[str, Any], field: str) -> None:
    answer = send(json=body)

    assert answer.status_code == 422
    assert set(answer.json()["fields"]) == {field}


def test_what_was_sent_is_never_repeated() -> None:
    """It may be a secret."""
    answer = send(json={"name": ["hil_pat_secret"], "count": "hil_pat_secret"})

    assert "hil_pat_secret" not in answer.text


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b"[1,2", b"nope"])
def test_a_body_that_is_not_json_is_refused(body: bytes) -> None:
    answer = send(content=body, headers={"content-type": "application/json"})

    assert answer.status_code in {400, 422}
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_bug_says_nothing_of_itself() -> None:
    answer = send(RuntimeError("secret inside"))

    assert answer.status_code == 500
    assert answer.json()["code"] == "internal"
    assert "secret inside" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/api/v1/things", 405), ("POST", "/api/v1/none", 404)]
)
def test_a_wrong_address_is_a_problem(method: str, path: str, status: int) -> None:
    answer = asyncio.run(ask(api(), method, path))

    assert (answer.status_code, answer.json()["status"]) == (status, status)
