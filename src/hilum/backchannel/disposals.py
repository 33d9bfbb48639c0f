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

    Raises NotPermitted (``invalid_client``; ``unauthorized_client`` for a public client, which cannot authenticate), Invalid, NotFound (tenant).
    """
    client = service.authenticate(ctx, site, caller)
    if client.type is ClientType.PUBLIC:
        refusal = NotPermitted(
            TokenError.UNAUTHORIZED_CLIENT,
            "A public client cannot authenticate. An owner of the vendor must answer instead.",
        )
        service.record_refusal(ctx, site, caller, refusal)
        raise refusal
    disposal, answer = form.get("disposal"), form.get("answer")
    if not disposal and not answer:
        requests = disposals.open_of_client(ctx, client, site.tenant, issuer=issuer)
        requests += evidence.list_polled(ctx, client.id, site.tenant, issuer)
        return {
            "disposals": [
                {
                    "disposal": each.disposal.id,
                    "due_at": each.disposal.due_at.isoformat(),
                    "request": each.text,
                }
                for each in requests
            ]
        }
    if answer not in set(Answer) or not disposal:
        raise Invalid(
            TokenError.INVALID_REQUEST, "Set `disposal`, and set `answer` to disposed, retained or partly."
        )
    order = AnswerOrder(Answer(answer), form.get("legal_reason"))
    # PostgreSQL refuses a null character in text.
    if "\x00" in disposal + order.legal_reason:
        raise Invalid(TokenError.INVALID_REQUEST, "disposal or legal_reason contains a null character.")
    if evidence.note_polled(ctx, client.id, site.tenant, disposal):
        return {"disposal": disposal, "answer": order.answer.value}
    try:
        after = disposals.answer_as_client(ctx, client, site.tenant, disposal, order)
    except Invalid as error:
        fault = "retained and partly need a legal_reason of at most 500 characters; disposed must have none."
        raise Invalid(TokenError.INVALID_REQUEST, fault) from error
    except (NotFound, Conflict) as error:
        raise Invalid(TokenError.INVALID_REQUEST, error.detail) from error
    return {"disposal": after.id, "answer": order.answer.value}
