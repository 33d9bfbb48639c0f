"""The API routes of declared actions."""

import inspect
import re
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import create_model
from starlette.requests import Request

from hilum.foundation.actions.models import KEY_BOUND, Action
from hilum.foundation.actions.policy import path_of, shown
from hilum.foundation.actions.service import (
    actions_of,
    is_paged,
    model_of,
    perform,
    response_model,
    result_of,
    target_of,
    values_of,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web.api import (
    Id,
    Page,
    Paging,
    Sorted,
    Strict,
    api_router,
    audience,
    one_of,
    page_of,
    run_read,
    run_write,
)
from hilum.foundation.web.kit import Kit

_KEY = re.compile(rf"[\x21-\x7e]{{1,{KEY_BOUND}}}")
_PAGING = frozenset(Sorted.model_fields)


def api(kit: Kit, *modules: ModuleType) -> APIRouter:
    """Build the API routes of what modules declare about one noun."""
    actions = [action for module in modules for action in actions_of(module)]
    router = api_router(kit, actions[0].noun.many)
    # A word and an id are told apart by order: `/nouns/verb` stands before `/nouns/{id}`.
    for action in sorted(actions, key=lambda action: bool(target_of(action))):
        _add(router, kit, action)
    return router


def _add(router: APIRouter, kit: Kit, action: Action) -> None:
    kind, (_, many), targeted = response_model(action), result_of(action), bool(target_of(action))
    router.add_api_route(
        path_of(action, targeted=targeted),
        _listing(kit, action) if many else _doing(kit, action),
        methods=["GET" if action.reads else "POST"],
        status_code=201 if action.creates else 200,
        response_model=Page[kind] if many else kind,  # type: ignore[valid-type]
        name=f"{action.noun.name}_{action.verb}",
        description="\n\n".join(filter(None, (action.summary, action.more))),
        openapi_extra=audience(*action.who),
    )


def _doing(kit: Kit, action: Action) -> Callable[..., Any]:
    async def handle(request: Request, id: str = "", body: Any = None) -> object:  # noqa: A002 - the name in the path
        # RFC 9110 section 13.1.1: done only if it is still the version that the caller saw; * is any.
        version = request.headers.get("if-match", "").strip('"').replace("*", "")
        # draft-ietf-httpapi-idempotency-key-header: what was sent twice under one key is done once.
        key = request.headers.get("idempotency-key", "")
        if key and not _KEY.fullmatch(key):
            raise Invalid(
                "key_malformed", f"An Idempotency-Key has 1 to {KEY_BOUND} printable ASCII characters."
            )

        def verb(ctx: Context) -> object:
            record = perform(ctx, action, values_of(body), target=id, version=version, key=key)
            return shown(action.noun, record, ctx.now)

        return await (run_read if action.reads else run_write)(kit, request, verb)

    model = model_of(action.run)
    parameters: dict[str, Any] = {"request": Request}
    parameters |= {"id": Id} if target_of(action) else {}
    if model is not None:
        parameters["body"] = Annotated[model, Query()] if action.reads else model
    return _signed(handle, parameters)


def _listing(kit: Kit, action: Action) -> Callable[..., Any]:
    paged = is_paged(action)

    async def handle(request: Request, query: Any, id: str = "") -> object:  # noqa: A002 - the name in the path
        values = {name: value for name, value in values_of(query).items() if name not in _PAGING}
        key = {"key": action.sorts.cursor(query.sort)} if action.sorts else {}

        def verb(ctx: Context) -> object:
            records = perform(ctx, action, values, target=id, page=query.page if paged else None)
            show = partial(shown, action.noun, now=ctx.now)
            if not paged:
                return {"items": [show(record) for record in records], "next": ""}
            return page_of(records, show, query, **key)

        return await run_read(kit, request, verb)

    model = model_of(action.run)
    members: dict[str, Any] = {}
    if action.sorts:
        members["sort"] = (Annotated[str, one_of(action.sorts)], "")
    for name, field in model.model_fields.items() if model else ():
        members[name] = (field.annotation, field)
    title = f"{action.noun.name}_{action.verb}_query".title().replace("_", "")
    query = create_model(title, __base__=Sorted if action.sorts else Paging if paged else Strict, **members)
    parameters: dict[str, Any] = {"request": Request, "query": Annotated[query, Query()]}
    return _signed(handle, parameters | ({"id": Id} if target_of(action) else {}))


def _signed(handle: Callable[..., Any], parameters: dict[str, Any]) -> Callable[..., Any]:
    """Give a handler the signature from which the framework reads what to validate."""
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = [inspect.Parameter(name, kind, annotation=hint) for name, hint in parameters.items()]
    handle.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    return handle
