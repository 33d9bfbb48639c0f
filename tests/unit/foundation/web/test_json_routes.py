"""Addresses that programs call: what they answer to a method they do not take."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from hilum.foundation.web import errors
from hilum.foundation.web.json_routes import JsonRoute
from hilum.foundation.web.problems import method_refused
from tests.unit.foundation.web.site import ask, pages


async def got(_request: Request) -> Response:
    return PlainTextResponse("got")


async def posted(_request: Request) -> Response:
    return PlainTextResponse("posted", 201)


def send(method: str, path: str = "/thing") -> Any:
    routes = [
        JsonRoute("/thing", {"POST": posted, "GET": got}, lambda _: JSONResponse({"error": "no"}, 405)),
        JsonRoute("/problem", {"POST": posted}, method_refused),
    ]
    app = Starlette(routes=routes)
    errors.install(app, pages())
    return asyncio.run(ask(app, method, path))


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 201)])
def test_each_method_goes_to_its_handler(method: str, status: int) -> None:
    assert send(method).status_code == status


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_refused_in_the_addresss_own_words(method: str) -> None:
    """RFC 9110 section 15.5.6: the answer names what is taken."""
    answer = send(method)

    assert (answer.status_code, answer.json()) == (405, {"error": "no"})
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_a_refused_method_is_a_problem_where_problems_are_spoken() -> None:
    """RFC 9457 section 3."""
    answer = send("GET", "/problem")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "POST"
