"""Disposal requests read and answered by the app itself, with its client's own authentication (C95)."""

from typing import Any

from hilum.backchannel import service
from hilum.backchannel.service import Caller
from hilum.clients.models import ClientType
from hilum.disposals import service as disposals
from hilum.disposals.models import Answer, AnswerOrder
from hilum.evidence import service as evidence
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.standards.oauth import Parameters, TokenError
from hilum.web.urls import Site


def exchange(ctx: Context, site: Site, caller: Caller, form: Parameters, *, issuer: str) -> dict[str, Any]:
    """List a client's open requests, each with its signed text; with ``disposal`` and ``answer``, record the answer to one.

    Raises NotPermitted (``invalid_client``; ``unauthorized_client`` for a public client, which proves nothing), Invalid, NotFound (tenant).
    """
    client = service.authenticate(ctx, site, caller)
    if client.type is ClientType.PUBLIC:
        raise NotPermitted(
            TokenError.UNAUTHORIZED_CLIENT,
            "A public client cannot prove who it is. An owner of the vendor answers instead.",
        )
    disposal, given = form.get("disposal"), form.get("answer")
    if not disposal and not given:
        found = disposals.open_of_client(ctx, client, site.tenant, issuer=issuer)
        found += evidence.list_polled(ctx, client.id, site.tenant, issuer)
        return {
            "disposals": [
                {
                    "disposal": each.disposal.id,
                    "due_at": each.disposal.due_at.isoformat(),
                    "request": each.text,
                }
                for each in found
            ]
        }
    if given not in set(Answer) or not disposal:
        raise Invalid(TokenError.INVALID_REQUEST, "Set disposal, and answer to disposed, retained or partly.")
    order = AnswerOrder(Answer(given), form.get("legal_reason"))
    # PostgreSQL refuses a NUL in text; it must not reach a query.
    if "\x00" in disposal + order.legal_reason:
        raise Invalid(
            TokenError.INVALID_REQUEST, "disposal or legal_reason has a character that no text has."
        )
    if evidence.note_polled(ctx, client.id, site.tenant, disposal):
        return {"disposal": disposal, "answer": order.answer.value}
    try:
        after = disposals.answer_as_client(ctx, client, site.tenant, disposal, order)
    except Invalid as error:
        fault = "retained and partly need a legal_reason of at most 500 letters, disposed has none."
        raise Invalid(TokenError.INVALID_REQUEST, fault) from error
    except (NotFound, Conflict) as error:
        raise Invalid(TokenError.INVALID_REQUEST, error.detail) from error
    return {"disposal": after.id, "answer": order.answer.value}
