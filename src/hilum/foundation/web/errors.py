"""Error pages: what happened and what to do next. They never show a traceback or repeat a request's content."""

from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.infra import logs
from hilum.foundation.kernel.errors import HilumError, Refused
from hilum.foundation.kernel.sentences import ENGLISH, Catalogue, Sentence, joined
from hilum.foundation.web.pages import Pages, Policy
from hilum.foundation.web.problems import request_id_of, retry_after_of, status_of

_log = logs.get("web")


@dataclass(frozen=True, slots=True)
class Trouble:
    """The text of an error page: a title, what happened, what to do next.

    ``owner``: who decides, if a rule refused. ``back``: the address that returns the person to the app.
    """

    title: str
    happened: str
    next: str
    owner: str = ""
    back: str = ""


BY_CODE = {
    "cross_site_form": Trouble(
        "That form did not come from here",
        "Your browser says that the form was sent from another site, so nothing was done.",
        "Go back to the page you started from and try again there.",
    ),
    "form_expired": Trouble(
        "This page has been open too long",
        "The form belongs to a session that has ended, or to another browser window. Nothing was done.",
        "Go back, reload the page, and send the form again.",
    ),
    "form_repeated": Trouble(
        "The form could not be read", "A field was sent twice.", "Go back and send the form again."
    ),
}
TITLE_AND_NEXT = {
    "ehr_session_over": ("This session has ended", "Open the chart again from the list of patients."),
    "factor_stale": (
        "Confirm that it is you",
        "Open your account's page, enter your second factor there, and do this again within 15 minutes.",
    ),
    "factor_exists": (
        "A second factor was set up meanwhile",
        "Sign in with it. If it was not you, tell your administrators.",
    ),
    "launch_ended": ("The chart was closed", "Open the chart and the app again."),
    "launch_not_yours": (
        "This launch is not yours",
        "Open the app again from the chart, signed in as yourself.",
    ),
    "launch_over": ("This launch was already used", "Go back to the chart and open the app again."),
    "launch_unknown": (
        "This launch was already used",
        "Go back to the chart and open the app again. Each launch works once, for a short time.",
    ),
    "contact_link_unusable": (
        "This link can no longer be used",
        "If you used it yourself, nothing is left to do. Otherwise ask the vendor for a new one.",
    ),
    "link_unusable": (
        "This link can no longer be used",
        "If your password is set, sign in. Otherwise ask whoever gave you the link for a new one.",
    ),
    "request_unknown": (
        "This page cannot be continued",
        "Nothing was shared. Go back to the app and start again.",
    ),
    "tenant_not_found": (
        "There is no such hospital here",
        "Check the address, or choose your hospital on the front page.",
    ),
    "switch_engaged": (
        "This app is stopped at the moment",
        "It was stopped on purpose; nothing is wrong with your account. Once it is released, open it again.",
    ),
    "app_suspended": (
        "This app is suspended",
        "The platform suspended it; nothing is wrong with your account. Once it is resumed, open it again.",
    ),
    "app_not_certified": (
        "This app is not certified for use here",
        "Until it is certified nobody can open it.",
    ),
    "app_not_installed": (
        "This app is not installed here",
        "Once it is installed, open it again from the chart.",
    ),
    "agreement_missing": ("An agreement is missing", "Once it is made, open the app again from the chart."),
    "network_not_allowed": ("Not from this network", "Ask your hospital's administrator."),
    "approver_missing": ("Nobody answers for this service", "Ask your hospital's administrator."),
    "facility_not_allowed": (
        "This app is not for this facility",
        "Open it where it may be used.",
    ),
    "person_inactive": ("Your account is not active", "Once you have an account, open the app again."),
    "tenant_mismatch": ("This hospital is not active here", "Once it is, open the app again."),
    "workflow_not_approved": ("This app is not for this task", "Open it for another task."),
    "placement_not_allowed": ("This app is not opened from here", "Open it from another place of the chart."),
    "role_not_allowed": (
        "This app is not for your role",
        "Once your role may use it, open it again from the chart.",
    ),
    "scope_nothing_left": ("This app may be given nothing here", "Ask your hospital's administrator."),
    "scope_retired": ("This app asks for access that is no longer granted", "Ask the vendor of the app."),
    "patient_missing": ("This app needs an open chart", "Open a chart, and open the app from there."),
    "outside_launch_context": ("This chart is closed to you", "Ask your hospital's administrator."),
    "authorization_not_found": (
        "This app is not connected",
        "It may have been removed already. Go back and reload the page.",
    ),
    "patient_not_found": ("There is no such patient", "Go back and choose from the list of patients."),
    "encounter_not_found": ("There is no such visit", "Go back and choose from the list of visits."),
    "person_not_found": ("There is no such person", "Go back and choose from the list of people."),
}
"""Title and next step for errors whose ``detail`` says what happened."""
# For codes that are not above, and for Starlette's own errors.
BY_STATUS = {
    400: Trouble(
        "That request could not be read",
        "Something in it is missing or malformed.",
        "Go back and try again from where you started.",
    ),
    401: Trouble("Sign in first", "This page is for people who have signed in.", "Sign in and come back."),
    403: Trouble(
        "Not allowed",
        "A rule does not permit this.",
        "If you think you should be able to, ask your hospital's administrator, and quote the number below.",
    ),
    404: Trouble(
        "There is nothing here",
        "The address is mistyped, or the page is gone.",
        "Check the address, or start at the front page.",
    ),
    405: Trouble(
        "That does not work here",
        "This address does not accept that kind of request.",
        "Nothing was done. Go back, or start at the front page.",
    ),
    408: Trouble(
        "That took too long", "The form did not arrive in time.", "Check your connection and send it again."
    ),
    409: Trouble(
        "This has changed",
        "Another person or browser window changed this at the same moment. Nothing was done.",
        "Reload the page and try again.",
    ),
    413: Trouble(
        "That is too large",
        "The form is larger than allowed. Nothing was done.",
        "Shorten it and send it again.",
    ),
    415: Trouble(
        "This form cannot be read",
        "It was sent in a format that this page does not accept.",
        "Go back and try again.",
    ),
    421: Trouble(
        "This is not the right address", "This server does not answer to that name.", "Check the address."
    ),
    422: Trouble(
        "Something in the form is not right",
        "A value in the form was not accepted.",
        "Go back, correct the value and send the form again.",
    ),
    429: Trouble(
        "Too many attempts", "You have tried several times in a row.", "Wait a little, then try again."
    ),
    503: Trouble(
        "Not available right now", "Part of the platform does not answer.", "Try again in a moment."
    ),
}
FAILED = Trouble(
    "Something failed on our side",
    "Your request was not completed. It is not your fault.",
    "Try again. If it happens again, send the number below to the operator of this platform.",
)


def trouble_page(
    pages: Pages,
    request: Request,
    trouble: Trouble,
    *,
    status: int,
    retry_after_s: int = 0,
    policy: Policy | None = None,
    number: str = "",
) -> Response:
    """Render an error page. Without ``policy``, only the hospital's EHR may frame it, and only on the pages by which it opens apps.

    ``number``: the request id that people are asked to quote, if it is not this request's own.
    """
    policy = policy or pages.error_policy(request)
    trouble = in_language(trouble, pages.catalogue(request), status)
    request_id = number or request_id_of(request)
    response = pages.render(
        request, "web/trouble.html", status=status, policy=policy, trouble=trouble, request_id=request_id
    )
    if retry_after_s:
        response.headers["retry-after"] = str(retry_after_s)
    return response


def in_language(trouble: Trouble, catalogue: Catalogue, status: int) -> Trouble:
    """Translate the texts of an error page. A text that the catalogue lacks is replaced by the general one of the status."""
    if catalogue is ENGLISH:
        return trouble
    general = BY_STATUS.get(status, FAILED)

    def translated(text: str, fallback: str) -> str:
        if isinstance(text, Sentence):
            return text  # translated when the page prints it, with its times in the page's zone
        return catalogue.say(text if not text or catalogue.knows(text) else fallback)

    return Trouble(
        translated(trouble.title, general.title),
        translated(trouble.happened, general.happened),
        translated(trouble.next, general.next),
        translated(trouble.owner, ""),
        trouble.back,
    )


def trouble_of(error: Refused, *, back: str = "") -> Trouble:
    """Build the text of the page about a refused launch. ``back``: the app's redirect URI with the error, if the app waits for an answer."""
    title, _ = TITLE_AND_NEXT.get(error.code, (BY_STATUS[403].title, ""))
    happened = joined((error.rule, error.expected))
    return Trouble(title, happened, error.next_step, error.owner, back)


def error_page(
    pages: Pages, request: Request, error: HilumError, *, policy: Policy | None = None
) -> Response:
    """Render an expected error: text by its code, else by its status, with the error's ``detail`` as what happened."""
    status = status_of(error)
    return trouble_page(
        pages,
        request,
        _text_of(error, status),
        status=status,
        retry_after_s=retry_after_of(error),
        policy=policy,
        number=error.request_id,
    )


def _text_of(error: HilumError, status: int) -> Trouble:
    if isinstance(error, Refused):
        return trouble_of(error)
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    # The module's own sentence says what happened; title and next step are written for people here.
    general = BY_STATUS.get(status, FAILED)
    title, then = TITLE_AND_NEXT.get(error.code, (general.title, general.next))
    return Trouble(title, error.detail or general.happened, then)


def install(app: Starlette, pages: Pages) -> None:
    """Install handlers that render every error of a site's pages as a page."""

    async def on_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HilumError)
        return error_page(pages, request, error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        trouble = BY_STATUS.get(error.status_code, FAILED)
        response = trouble_page(pages, request, trouble, status=error.status_code)
        response.headers.update(error.headers or {})
        return response

    async def on_bug(request: Request, error: Exception) -> Response:
        # Only its type: a message may hold the request's content.
        _log.error("web.page.failed", request=request_id_of(request), error=type(error).__name__)
        return trouble_page(pages, request, FAILED, status=500)

    app.add_exception_handler(HilumError, on_error)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_bug)
