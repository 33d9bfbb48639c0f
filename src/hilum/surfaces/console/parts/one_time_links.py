"""The page that is shown once after an account was opened: its owner's link, or a setup code while a second person must agree."""

from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked
from hilum.identity.enrolment.models import Opened
from hilum.surfaces.console import policy
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.models import Console


def opened(visit: Visit, found: Opened | Asked) -> Response:
    """Show what is shown once: a link for its owner, or a setup code while a second person must agree."""
    facts: dict[str, Any] = {"link": "", "code": "", "mailed": False, "waits": not isinstance(found, Opened)}
    if isinstance(found, Opened):
        link = found.link
        facts |= {
            "name": found.person.name,
            "link": visit.kit.urls.enrol(link.tenant or "", link.secret) if link.secret else "",
            "mailed": not link.secret,
            "expires_at": link.expires_at,
        }
    else:
        facts |= {
            "name": str(found.approval.act.order.get("name", "")),
            "code": found.setup_code,
            "expires_at": found.approval.expires_at,
        }
    console = visit.page.console
    back = {Console.TENANT: "tenant.people", Console.DEVELOPER: "developer.team"}.get(
        console, "operations.staff"
    )
    waits = back if console is Console.OPERATIONS else f"{console}.waiting"
    return visit.render(
        "console/opened.html",
        back=(policy.PAGES[back].title, address(back)),
        seconds=(policy.PAGES[waits].title, address(waits)),
        **facts,
    )
