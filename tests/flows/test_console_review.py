"""The reviewers' console: what waits is found, seen whole on one page, and decided there as by the API (C98, C99, C110, C111, C183)."""

import re
from html import unescape

import pytest

from hilum.apps.registry import service as registry
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId
from hilum.identity.signin import service as signin
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import store
from hilum.review.submissions.scorecards import shipped_scorecards
from hilum.surfaces.console import policy
from hilum.surfaces.console.models import Console
from tests.flows.console_ground import enter_hospital
from tests.flows.console_review_ground import check, enter_vendor, page_of, submitted
from tests.flows.control_site import ORIGIN, TRACE, build, everybodys_digest, send
from tests.flows.review_ground import (
    SCOPES,
    Ground,
    add_reviewer,
    discipline_of,
    furnish,
    pass_discipline,
    signs,
)
from tests.flows.vendor_ground import client_body, made
from tests.sim.browser import form_with
from tests.sim.world import FakeClock

PAGES = [page for page in policy.PAGES.values() if page.console is Console.REVIEW]


def button(page: str, act: str) -> dict[str, str]:
    """Return the attributes of the button of an act."""
    (found,) = re.findall(rf'<button [^>]*name="act" value="{act}"[^>]*>', page)
    return {name: value or name for name, value in re.findall(r'([a-z-]+)(?:="([^"]*)")?', found)}


HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return furnish(build(sqlite_uow, clock))


def test_every_page_opens_for_the_staff_and_for_nobody_else(ground: Ground) -> None:
    """C183: another console's people learn nothing of what is there; the staff find it from their own."""
    id_ = submitted(ground)
    # Those of a run, a conflict of interest and a request are opened in test_console_reviewers.py, those of a change in test_console_changes.py.
    others = {
        "review.run",
        "review.conflict",
        "review.conflict_new",
        "review.access",
        "review.change",
        "review.change_logo",
    }
    opened = [page for page in PAGES if page.key not in others]
    paths = [page.path.replace("{id}", id_).replace("{discipline}", "technical") for page in opened]
    assert len(paths) >= 7
    for username in ("root", "sam", "rita", "otto"):
        browser = ground.site.signed_in(username)
        assert 'href="/review"' in browser.get("/operations").text
        for path in paths:
            assert browser.get(path).status_code == 200, (username, path)
    for browser in (enter_hospital(ground.site, "gina"), enter_vendor(ground, "acme.owner")):
        for path in paths:
            answer = browser.get(path)
            assert (answer.status_code, "Acme Rota" in answer.text) == (403, False), path
    stranger = ground.site.browser().get(page_of(id_))
    assert stranger.headers["location"].startswith(f"{ORIGIN}/signin?then=%2Freview%2Fsubmissions")


def test_the_queue_has_what_waits_and_its_filters_stand_in_the_address(ground: Ground) -> None:
    """S5: the oldest first; what is closed is found by its chip; a word that the list does not have is refused."""
    browser = ground.site.signed_in("rita")
    assert "Nothing waits" in browser.get("/review").text
    first = submitted(ground)
    body = client_body(ground.app, ground.version, environment="sandbox", scope="launch user/Slot.rs")
    made(ground.site.api("acme.owner").post("/clients", json=body))
    second = made(ground.submit(environment="sandbox"))["id"]
    text = browser.get("/review").text
    assert text.index(first) < text.index(second)
    assert "Acme Health" in text
    waiting = browser.get("/review?state=people").text
    assert (first in waiting, second in waiting) == (True, False)
    assert second in browser.get("/review?environment=sandbox").text
    made(
        ground.site.api("acme.owner").post(
            f"/submissions/{second}/withdraw", json={"revision": 2, "reason": "x"}
        ),
        200,
    )
    assert second not in browser.get("/review").text
    assert second in browser.get("/review?state=withdrawn").text
    assert browser.get("/review?state=everything").status_code == 422
    rows = browser.get("/review?state=people&format=json").json()["items"]
    assert [each["App"] for each in rows] == ["Acme Rota, version 1"]


def test_a_reviewer_decides_on_the_page_and_what_stands_in_the_way_is_said_beside_the_form(
    ground: Ground,
) -> None:
    """C111: as by the API: not before the checks passed, with a reason, and by nobody but a reviewer."""
    id_ = submitted(ground, status=500)
    page, browser, reader = page_of(id_), ground.site.signed_in("rita"), ground.site.signed_in("otto")

    assert button(browser.get(page).text, "certify")["disabled"], "what would be refused is not offered"
    assert "disabled" not in button(browser.get(page).text, "reject")
    early = send(browser, page, "expires_at", act="certify", reason="In order.")
    assert early.status_code == 403
    assert "did not pass" in unescape(early.text)
    assert "In order." in early.text, "what was typed is kept"
    assert send(browser, page, "expires_at", act="certify", reason=" ").status_code == 422
    assert send(browser, page, "expires_at", act="publish", reason="x").status_code == 422
    assert send(browser, page, "act", act="rerun").status_code == 303
    check(ground, id_)
    stale = dict(form_with(browser.get(page).text, "expires_at").fields)
    assert 'name="expires_at"' not in reader.get(page).text
    stolen = stale | {"act": "certify", "reason": "x"}
    assert reader.post(page, data=stolen).status_code == 403

    waits = send(browser, page, "expires_at", act="certify", reason="In order.")
    assert (waits.status_code, "A discipline has not passed" in waits.text) == (403, True)
    assert "hilum review" not in browser.get(page).text.split('id="decide"')[1], "the page lists them itself"
    signs(ground.site, "rita", "technical")
    pass_discipline(ground, id_)
    ground.site.system(registry.suspend_app, app_id=AppId(ground.app), reason="A red flag.")
    assert "disabled" not in button(browser.get(page).text, "certify")
    assert "Certify it although the app is suspended" in browser.get(page).text
    assert "UTC: A red flag." in browser.get(page).text
    assert send(browser, page, "expires_at", act="certify", reason="In order.").status_code == 403
    known = {"act": "certify", "reason": "In order.", "despite": "app_suspended"}
    assert send(browser, page, "expires_at", **known).status_code == 303
    done = ground.see(id_)
    assert (done["state"], done["history"][-1]["reason"]) == ("certified", "In order.")
    text = browser.get(page).text
    assert 'name="expires_at"' not in text
    assert "certified it" in text
    assert browser.post(page, data=stale | {"act": "reject", "reason": "x"}).status_code == 409


FOUND = {
    "rule_0": "technical.tokens",
    "severity_0": "high",
    "evidence_0": "The token is in the address.",
    "reproduction_0": "Open the app and read the address bar.",
    "fix_0": "Keep it in memory.",
}


def test_a_discipline_is_taken_found_wanting_answered_fixed_and_passed_by_pages(ground: Ground) -> None:
    """C100, C103, C107: by who signs for it; what is found goes to the vendor with its fix, and comes back answered."""
    id_ = submitted(ground)
    page, browser = f"{page_of(id_)}/technical", ground.site.signed_in("rita")
    assert "You do not sign for this discipline" in unescape(browser.get(page).text)
    assert 'value="take"' not in browser.get(page).text
    assert id_ not in browser.get("/review?for=me").text
    signs(ground.site, "rita", "technical")
    assert id_ in browser.get("/review?for=me").text
    assert id_ in browser.get("/review?discipline=technical").text
    assert id_ not in browser.get("/review?discipline=legal").text
    assert id_ in browser.get("/review?tier=low&for=me").text
    assert id_ not in browser.get("/review?tier=high").text
    api = ground.site.api("rita")
    for query, there in ({"tier": "low", "mine": "true"}, True), ({"discipline": "legal"}, False):
        found = made(api.get("/submissions", params=query), 200)["items"]
        assert [each["id"] for each in found] == [id_] * there

    assert send(browser, page, "act", act="take").status_code == 303
    words = {"act": "judge", "verdict": "needs_changes", "text": "See below."}
    bare = send(browser, page, "verdict", **words)
    assert bare.status_code == 422
    assert "See below." in bare.text
    assert "The verdict is invalid; see below." in bare.text
    asked = send(browser, page, "verdict", **words | FOUND, reasons="technical.tokens")
    assert asked.status_code == 303, asked.text

    vendor = enter_vendor(ground, "acme.developer")
    theirs = f"/developer/submissions/{id_}"
    text = unescape(vendor.get(theirs).text)
    assert "waiting for you" in text
    assert FOUND["fix_0"] in text
    assert "Rita" not in text, "who of the staff it was is the platform's"
    assert send(vendor, theirs, "discipline", act="answer", text="It is in memory now.").status_code == 303
    beside = unescape(browser.get(page).text).partition("History</h2>")[0]
    assert "It is in memory now." in beside, "what the vendor answered is where the finding is resolved"
    everything_met = {f"answer_{each}": "met" for each in _points("technical")}
    early = send(browser, page, "verdict", act="judge", verdict="pass", text="Fine.", **everything_met)
    assert early.status_code == 422, "a high finding is open"
    assert send(browser, page, "finding", act="resolve", note="seen").status_code == 303
    done = send(browser, page, "verdict", act="judge", verdict="pass", text="Fine.", **everything_met)
    assert done.status_code == 303, done.text
    assert discipline_of(ground, id_).state == "passed"
    text = unescape(browser.get(page_of(id_)).text)
    assert "passed the technical discipline" in text
    assert "answered what the technical discipline found" in text


def _points(discipline: str) -> list[str]:
    return [each.name for each in shipped_scorecards().of[Discipline(discipline)].points]


def test_nobody_acts_on_a_discipline_by_a_page_who_may_not_by_the_api(ground: Ground) -> None:
    id_ = submitted(ground)
    page = f"{page_of(id_)}/technical"
    signs(ground.site, "rita", "technical")
    rita, otto = ground.site.signed_in("rita"), ground.site.signed_in("otto")
    form = dict(form_with(rita.get(page).text, "act").fields) | {"act": "take"}
    stolen = otto.post(page, data=form)
    assert stolen.status_code == 403
    assert rita.post(page, data=form | {"revision": "9"}).status_code == 409
    assert rita.post(page, data=form | {"act": "publish"}).status_code == 422
    assert rita.get(f"{page_of(id_)}/moral").status_code == 404
    assert rita.get(f"{page_of(id_)}/legal").status_code == 404
    assert discipline_of(ground, id_).state == "open"


def test_an_appeal_by_a_page_goes_to_reviewers_without_a_part_in_the_rejection(ground: Ground) -> None:
    """C222: once, in the vendor's words; the clocks of both sides stand beside it."""
    id_ = submitted(ground)
    add_reviewer(ground.site, "lars", "technical")
    lars_id = ground.site.people["lars"].id
    ground.site.system(signin.set_password, person_id=lars_id, digest=everybodys_digest())
    rita, lars, vendor = (
        ground.site.signed_in("rita"),
        ground.site.signed_in("lars"),
        enter_vendor(ground, "acme.owner"),
    )
    theirs = f"/developer/submissions/{id_}"
    assert "Decision" in vendor.get(theirs).text
    assert "Decision due" in rita.get("/review").text
    reject = {"act": "reject", "reason": "Not in order.", "reasons": "not_as_described"}
    assert send(rita, page_of(id_), "expires_at", **reject).status_code == 303
    text = unescape(vendor.get(theirs).text)
    assert "The app is another than its description says." in text

    assert send(vendor, theirs, "text", act="appeal", text=" ").status_code == 422
    assert send(vendor, theirs, "text", act="appeal", text="It is as described.").status_code == 303
    assert 'value="appeal"' not in vendor.get(theirs).text
    assert ground.see(id_)["state"] == "in_review"
    assert "It is as described." in unescape(lars.get(page_of(id_)).text)
    own = send(rita, page_of(id_), "expires_at", **reject)
    assert own.status_code in {403, 409}
    assert send(lars, page_of(id_), "expires_at", **reject).status_code == 303
    assert 'value="appeal"' not in vendor.get(theirs).text, "once"


def test_scopes_beyond_the_workflows_and_differences_to_what_was_certified_are_seen(ground: Ground) -> None:
    """S5: in the words of a workflow, beside the vendor's sentence; the next version side by side with the last."""
    first = submitted(ground)
    browser = ground.site.signed_in("rita")
    assert "Nothing of the app was certified for production before" in browser.get(page_of(first)).text
    signs(ground.site, "rita", "technical")
    pass_discipline(ground, first)
    assert send(browser, page_of(first), "expires_at", act="certify", reason="x").status_code == 303
    wider = [*SCOPES, {"scope": "user/Appointment.rs", "justification": "Shows what is booked."}]
    second = submitted(ground, scopes=wider)

    text = unescape(browser.get(page_of(second)).text)
    assert "Scopes: user/Appointment.rs: justification" in text
    assert "Shows what is booked." in text
    assert '<span class="badge badge-accent">new</span>' in text
    assert "Judged again from what was stored" in browser.get(f"{page_of(second)}?replay=1").text
    assert browser.get(f"{page_of(second)}?run=7").status_code == 404
    assert browser.get(f"{page_of(second)}?run=-1").status_code == 422


def test_what_a_vendor_wrote_is_text(ground: Ground) -> None:
    """House rule 13; markup is refused today, and what an older release stored is still only text."""
    id_ = submitted(ground)
    change = store.submissions.update().values(
        scopes=[["launch", HOSTILE], ["user/Slot.rs", HOSTILE * 60]], label=HOSTILE
    )
    ground.site.uow.write_now(lambda ctx: ctx.tx.execute(change), trace=TRACE)
    browser = ground.site.signed_in("rita")
    for path in ("/review", page_of(id_)):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert HOSTILE not in answer.text
        assert "&lt;script&gt;" in answer.text
