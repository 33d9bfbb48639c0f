"""Response bodies of acts that wait for a second person or for a reviewer, the same in every module.

The records of the approvals room are read by attribute, since this room must not know it.
"""

from datetime import datetime
from typing import Any, Self

from pydantic import BaseModel
from starlette.responses import Response

NO_STORE = {"cache-control": "no-store"}


class ApprovalShown(BaseModel):
    """An act that waits for a second person, or was decided. ``target`` is empty until the object exists that the act creates.

    ``order`` is what is to be done, ``before`` what it replaces. ``about`` is a name for lists.
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
    def of(cls, approval: Any, **more: Any) -> Self:
        """Build the body from an approval. ``more``: the fields of a subclass."""
        act = approval.act
        names = (act.order.get(field) for field in ("username", "client_name", "name", "origin"))
        return cls(
            id=approval.id,
            kind=act.kind,
            state=approval.state,
            tenant=act.tenant,
            target=act.target,
            about=next(filter(None, names), act.target),
            order=act.order,
            before=act.before,
            asked_by=approval.asked_by,
            asked_at=approval.asked_at,
            expires_at=approval.expires_at,
            decided_by=approval.decided_by,
            decided_at=approval.decided_at,
            **more,
        )


class ApprovalAsked(BaseModel):
    """Nothing changes until a second person approves. The two secrets are shown once, to the person who asked.

    ``setup_code`` goes to the account's owner by another way than the link; if the link will be mailed, the second person gets the code.
    ``secret_start`` is the first half of a client's secret.
    """

    approval: ApprovalShown
    setup_code: str | None = None
    secret_start: str | None = None


WAITS: dict[int | str, dict[str, Any]] = {
    202: {"model": ApprovalAsked, "description": "Waits for a second person."}
}


def waits(asked: Any) -> Response:
    """Build the 202 response of an act that waits for a second person."""
    body = ApprovalAsked(
        approval=ApprovalShown.of(asked.approval),
        setup_code=asked.setup_code or None,
        secret_start=asked.secret_start or None,
    )
    return with_secret(body, 202)


def with_secret(body: BaseModel, status: int) -> Response:
    """Build a response that holds a secret, so no cache may store it."""
    return Response(body.model_dump_json(), status, media_type="application/json", headers=NO_STORE)


def may_wait_for_reviewer(body: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """Return the 202 entry of a route's OpenAPI description, for a change that may wait for a reviewer."""
    return {202: {"model": body, "description": "Waits for a reviewer."}}


def waits_for_reviewer(body: BaseModel) -> Response:
    """Build the 202 response of a change that waits for a reviewer."""
    return Response(body.model_dump_json(), 202, media_type="application/json")
