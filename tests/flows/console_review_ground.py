"""Submissions and certification runs at the consoles of their vendor and of reviewers."""

from typing import Any

from starlette.testclient import TestClient

from hilum.foundation.kernel.actor import SYSTEM
from hilum.review.submissions import checking
from hilum.review.submissions.models import Look
from tests.flows.control_site import TRACE
from tests.flows.review_ground import Ground
from tests.flows.vendor_ground import made
from tests.sim.browser import form_with


def enter_vendor(ground: Ground, username: str, vendor: str = "") -> TestClient:
    """Sign a member of a vendor in at a browser."""
    page = f"/t/{vendor or ground.vendor}/signin?then=/developer"
    return ground.site.signed_in(username, page)


def check(ground: Ground, submission: str, *, status: int = 200) -> None:
    """Check a submission, all of whose addresses answer the same."""

    def verb(ctx: Any) -> None:
        targets = checking.begin(ctx, submission) or []
        looks = [Look(each.kind, each.url, status, sha256="0" * 64, size=9) for each in targets]
        assert checking.finish(ctx, submission, tuple(looks)) is not None

    ground.site.uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def list_of(ground: Ground) -> str:
    return f"/developer/apps/{ground.app}/runs"


def open_run(ground: Ground, browser: TestClient, tenant: str = "general") -> str:
    """Open a run by the form, with the client that it offers first; return its page."""
    form = form_with(browser.get(list_of(ground)).text, "client")
    chosen = {"client": form.choices["client"][0], "tenant": tenant}
    answer = browser.post(list_of(ground), data=dict(form.fields) | chosen)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def submitted(ground: Ground, *, status: int = 200, **change: Any) -> str:
    id_ = str(made(ground.submit(**change))["id"])
    check(ground, id_, status=status)
    return id_


def page_of(submission: str) -> str:
    return f"/review/submissions/{submission}"
