"""The page behind a contact's one-time link: GET shows, POST confirms or declines. Works without script."""

from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.apps.contacts import policy, service
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.sentences import day
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import path_of

TEMPLATES = Path(__file__).parent / "templates"


def pages(kit: Kit) -> list[Route]:
    """Build the routes of the page."""
    page = _LinkPage(kit)
    path = "/contacts/{link}"
    return [Route(path, page.show, methods=["GET"]), Route(path, page.answer, methods=["POST"])]


class _LinkPage:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def show(self, request: Request) -> Response:
        """Show whom the link is for. This does not use it up: mail scanners open links too."""
        link = str(request.path_params["link"])
        visitor = await self._kit.uow.read(partial(service.find_link, secret=link), trace=trace_of(request))
        secure = self._kit.urls.is_secure()
        secret = cookies.read(request, cookies.FORM, secure=secure) or self._kit.ids.secret()
        response = self._kit.pages.render(
            request,
            "contacts/link.html",
            vendor=visitor.vendor_name,
            kind=policy.WORDS[visitor.contact.kind],
            address=visitor.contact.address,
            expires_at=visitor.expires_at,
            action=path_of(self._kit.urls.contact(link)),
            csrf=forms.csrf_token(secret, self._purpose(link)),
        )
        cookies.put(response, cookies.FORM, secret, secure=secure)
        return response

    async def answer(self, request: Request) -> Response:
        link = str(request.path_params["link"])
        form = await forms.read_form(request)
        secure = self._kit.urls.is_secure()
        cookie = cookies.read(request, cookies.FORM, secure=secure)
        forms.check_post(request, form, cookie, origin=self._kit.urls.origin(), purpose=self._purpose(link))
        decision = form.one("decision")
        # Neither of the two is a default: a form without its button must not prove an address.
        if decision not in {"confirm", "decline"}:
            raise Invalid("decision_missing", "Choose whether to confirm or to decline.")
        verb = service.confirm if decision == "confirm" else service.decline
        contact = await self._kit.uow.write(partial(verb, secret=link), trace=trace_of(request))
        lead = "You will get no more mail about this vendor."
        if contact.proof_ends_at is not None:
            lead = f"Your address is confirmed until {day(contact.proof_ends_at)}. You will be asked again before that."
        title = "Thank you" if decision == "confirm" else "Declined"
        response = self._kit.pages.render(request, "contacts/done.html", title=title, lead=lead)
        cookies.clear(response, cookies.FORM, secure=secure)
        return response

    def _purpose(self, link: str) -> str:
        # The form's token belongs to this link: a page of one link cannot submit another's.
        return f"contact:{policy.digest(link)[:32]}"
