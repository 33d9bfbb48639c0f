"""How a route answers that what was asked for waits for a reviewer."""

from typing import Any

from pydantic import BaseModel
from starlette.responses import Response


def may_wait(shown: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return what the API's description says of a route whose change may wait. ``shown``: how such a change is shown."""
    return {202: {"model": shown, "description": "Waits for a reviewer."}}


def waits(shown: BaseModel) -> Response:
    """Answer that a change waits for a reviewer."""
    return Response(shown.model_dump_json(), 202, media_type="application/json")
