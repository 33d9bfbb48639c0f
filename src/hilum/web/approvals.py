"""How the API shows what waits for a second person, in every room that asks for one. Reads the approvals room's records by attribute."""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel
from starlette.responses import Response

NO_STORE = {"cache-control": "no-store"}


class ApprovalShown(BaseModel):
    """What waits for a second person, or was decided. ``target`` is empty while what it is about does not exist.

    ``order`` is what shall be done, ``before`` what it replaces. ``about`` is a name for lists.
    """

    id: str
    kind: str
    state: str
    tenant: str | None
    target: str
    about: str
    order: dict[str, Any]
    before: dict[str, Any]
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None

    @classmethod
    def of(cls, found: Any, **more: Any) -> Self:
        """Build it of an approval."""
        act = found.act
        named = (act.order.get(word) for word in ("username", "client_name"))
        return cls(
            id=found.id,
            kind=act.kind,
            state=found.state,
            tenant=act.tenant,
            target=act.target,
            about=next(filter(None, named), act.target),
            order=act.order,
            before=act.before,
            asked_by=found.asked_by,
            asked_at=found.asked_at,
            expires_at=found.expires_at,
            decided_by=found.decided_by,
            decided_at=found.decided_at,
            **more,
        )


class ApprovalAsked(BaseModel):
    """Nothing happens before a second person approves. What only the asker is shown is in this answer and nowhere else.

    ``setup_code`` is for the account's owner, by another way than the link; of a link that will be mailed the second person gets it instead.
    ``secret_start`` is the first half of a client's secret.
    """

    approval: ApprovalShown
    setup_code: str | None = None
    secret_start: str | None = None


WAITS: dict[int | str, dict[str, Any]] = {
    202: {"model": ApprovalAsked, "description": "Waits for a second person."}
}


def waits(asked: Any) -> Response:
    """Answer that an act waits for a second person."""
    shown = ApprovalAsked(
        approval=ApprovalShown.of(asked.approval),
        setup_code=asked.setup_code or None,
        secret_start=asked.secret_start or None,
    )
    return with_secret(shown, 202)


def with_secret(shown: BaseModel, status: int) -> Response:
    """Write an answer that holds a secret, which no cache may keep."""
    return Response(shown.model_dump_json(), status, media_type="application/json", headers=NO_STORE)
