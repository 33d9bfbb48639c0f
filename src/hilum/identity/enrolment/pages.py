"""The page behind a one-time link, where an account's owner sets the password. Works without script."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.enrolment import policy, service
from hilum.identity.enrolment.models import Purpose, Visitor, WrongCode
from hilum.identity.people.policy import is_vendor, login_command
from hilum.identity.signin import live
from hilum.identity.signin.models import PASSWORD_MAX, PASSWORD_MIN
from hilum.identity.signin.policy import password_fault

TEMPLATES = Path(__file__).parent / "templates"
RULES = Sentence(
    "%(least)s to %(most)s characters. Several words are easier to remember than one, and harder to guess.",
    least=PASSWORD_MIN,
    most=PASSWORD_MAX,
)
_FAULTS = {
    "password_too_short": Sentence("Use at least %(number)s characters.", number=PASSWORD_MIN),
    "password_too_long": Sentence("Use at most %(number)s characters.", number=PASSWORD_MAX),
}
_NO_FAULTS = {"code": "", "password": "", "again": ""}


def pages(kit: Kit) -> list[Route]:
    """Build the routes of the page: at a tenant, and for the staff."""
    page = _LinkPage(kit)
    return [
        Route(path, endpoint, methods=[method])
        for path in ("/t/{tenant}/enrol/{link}", "/enrol/{link}")
        for endpoint, method in ((page.show, "GET"), (page.set_password, "POST"))
    ]


class _LinkPage:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def show(self, request: Request) -> Response:
        """Show the account of the link. Opening the page does not use up the link, because mail scanners open links too."""
        return await self._page(request, await self._find(request))

    async def set_password(self, request: Request) -> Response:
        tenant, secret = self._place(request)
        form = await forms.read_form(request)
        secure = self._kit.urls.is_secure(tenant or "")
        cookie = cookies.read(request, cookies.FORM, secure=secure)
        origin = self._kit.urls.origin(tenant or "")
        forms.check_post(request, form, cookie, origin=origin, purpose=self._purpose(secret))
        visitor = await self._find(request)
        password = form.one("password")
        faults = {"password": _FAULTS.get(password_fault(password), "")}
        if not faults["password"] and form.one("again", password) != password:
            faults["again"] = Sentence("The two passwords do not match.")
        if any(faults.values()):
            return await self._page(request, visitor, faults=faults)
        # Hashed before the transaction, and only for a usable link, because argon2 is expensive.
        digest = await live.hash_password(password, self._kit.ids, trace_of(request).source)
        use = partial(service.use_link, secret=secret, tenant=tenant, code=form.one("code"), digest=digest)
        try:
            await self._kit.uow.write(use, trace=trace_of(request))
        # The link stays valid until its attempts are used up, so the person can correct the code.
        except WrongCode as wrong:
            return await self._page(request, visitor, faults={"code": wrong.detail})
        if tenant is not None and is_vendor(tenant):
            return self._done(request, visitor, tenant)
        signin = with_query(path_of(self._kit.urls.signin(tenant or "")), enrolled="1")
        # 303: a reload of the next page does not send the password again.
        response = RedirectResponse(signin, 303, headers={"cache-control": "no-store"})
        cookies.clear(response, cookies.FORM, secure=secure)
        return response

    def _done(self, request: Request, visitor: Visitor, vendor: TenantId) -> Response:
        """Show how a vendor's member signs in: on the page, or on the command line, which needs the vendor's id."""
        person = visitor.person
        response = self._kit.pages.render(
            request,
            "enrolment/done.html",
            title=Sentence("Your password is set"),
            lead=Sentence("You can sign in now."),
            signin=path_of(self._kit.urls.signin(vendor)),
            place=visitor.place,
            command=login_command(person),
        )
        cookies.clear(response, cookies.FORM, secure=self._kit.urls.is_secure(vendor))
        return response

    def _place(self, request: Request) -> tuple[TenantId | None, str]:
        tenant = request.path_params.get("tenant")
        return (None if tenant is None else TenantId(tenant)), str(request.path_params["link"])

    def _purpose(self, secret: str) -> str:
        # By link, so that the page of one link cannot submit the form of another.
        return f"enrol:{policy.digest(secret)[:32]}"

    async def _find(self, request: Request) -> Visitor:
        tenant, secret = self._place(request)
        find = partial(service.find_link, secret=secret, tenant=tenant)
        return await self._kit.uow.read(find, trace=trace_of(request))

    async def _page(
        self, request: Request, visitor: Visitor, *, faults: Mapping[str, str] | None = None
    ) -> Response:
        tenant, link = self._place(request)
        secure = self._kit.urls.is_secure(tenant or "")
        secret = cookies.read(request, cookies.FORM, secure=secure) or self._kit.ids.secret()
        new = visitor.purpose is Purpose.ENROL
        response = self._kit.pages.render(
            request,
            "enrolment/link.html",
            status=422 if faults else 200,
            title=Sentence("Set your password") if new else Sentence("Choose a new password"),
            lead=Sentence("This completes your account. Only you will know this password.")
            if new
            else Sentence(
                "When you set a new password, the old one stops working and you are signed out everywhere. Your API tokens end too."
            ),
            place=visitor.place,
            name=visitor.person.name,
            username=visitor.person.username,
            expires_at=visitor.expires_at,
            needs_code=visitor.needs_code,
            rules=RULES,
            action=path_of(self._kit.urls.enrol(tenant or "", link)),
            csrf=forms.csrf_token(secret, self._purpose(link)),
            faults=_NO_FAULTS | dict(faults or {}),
            fault=Sentence("Correct the marked fields. Your password was not changed.") if faults else "",
        )
        cookies.put(response, cookies.FORM, secret, secure=secure)
        return response
