"""A vendor submits by pages what it submits by the API, and sees what it lacks, where to add it, and what became of it (C6, C98, C183)."""

import re
from html import unescape

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows.console_review_ground import check, enter_vendor
from tests.flows.control_site import build, send
from tests.flows.review_ground import Ground, furnish
from tests.flows.vendor_ground import PROFILE, furnish_vendor, made
from tests.sim.browser import form_with
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return furnish(build(sqlite_uow, clock))


def begin(ground: Ground, browser: TestClient, environment: str = "production") -> str:
    page = f"/developer/apps/{ground.app}/review"
    answer = send(browser, page, "environment", version=ground.version, environment=environment)
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


WHY = {"why_0": "Opens from the chart.", "why_1": "Shows free slots to the front desk."}


def test_a_version_is_submitted_by_pages_alone_and_its_checks_come_with_what_to_do(ground: Ground) -> None:
    """C98: begin, see what is missing, add it, submit; then a check that failed links to where it is fixed."""
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    draft = unescape(browser.get(page).text)
    assert "Scopes: launch, user/Slot.rs" in draft, "the client's scopes, each without a sentence yet"
    assert "says what the app does with it" in draft
    assert "declared workflows: " in draft
    assert begin(ground, browser) == page, "the open draft goes on"

    early = send(browser, page, "ask_0", act="submit")
    assert (early.status_code, "Not submitted yet" in early.text) == (422, True)
    sent = send(browser, page, "ask_0", act="submit", **WHY)
    assert sent.status_code == 303, sent.text
    id_ = page.rpartition("/")[2]
    assert ground.see(id_)["state"] == "submitted"
    assert {each["justification"] for each in ground.see(id_)["scopes"]} == set(WHY.values())

    check(ground, id_, status=500)
    text = unescape(browser.get(page).text)
    assert "waiting for you" in text
    assert "Make the address answer from the internet" in text
    assert f'href="/developer/apps/{ground.app}/clients"' in text
    again = send(browser, page, "act", act="rerun")
    assert (again.status_code, ground.see(id_)["state"]) == (303, "checking")
    check(ground, id_)
    assert "Nothing in the checks keeps it from being certified" in browser.get(page).text
    assert "in review" in browser.get(f"/developer/apps/{ground.app}/review").text


def test_what_is_missing_links_to_the_page_where_it_is_added(ground: Ground) -> None:
    """C6: statements, contacts, clients, documents: each line leads to its form, and no further than its reader may go."""
    api = ground.site.api("acme.owner")
    lacks = {"revision": 1, "terms": "", "privacy_policy": ""}
    made(api.put(f"/apps/{ground.app}/profile", json=PROFILE | lacks), 200)
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    text = unescape(browser.get(page).text)

    missing = re.search(r'id="missing".*?</section>', text, re.DOTALL)
    assert missing is not None
    (label,) = set(re.findall(r'<label for="f-why_\d+">(.*?)</label>', text))
    assert label == "What the app does with it", "which is needed to submit it, so it is not called optional"
    assert f'href="/developer/apps/{ground.app}/statements"' in missing[0]
    assert "privacy policy, terms</strong></a><p>Each of these is required.</p>" in missing[0]
    assert 'href="#scopes"' in missing[0]
    for href in re.findall(r'href="(/[^"]*)"', missing[0]):
        assert browser.get(href).status_code == 200, href


def test_two_who_write_one_draft_see_both_sides(ground: Ground) -> None:
    """A stale edit keeps what was typed, shows what is there now, and overwrites it only when it is sent once more."""
    mine, theirs = enter_vendor(ground, "acme.developer"), enter_vendor(ground, "acme.owner")
    page = begin(ground, mine)
    old = form_with(mine.get(page).text, "ask_0")
    assert (
        send(theirs, page, "ask_0", act="save", **WHY | {"why_0": "A colleague's words."}).status_code == 303
    )

    late = mine.post(page, data=dict(old.fields) | WHY | {"act": "save"})

    assert late.status_code == 409
    text = unescape(late.text)
    assert "A colleague was faster" in text
    assert "It is now: <strong>A colleague's words.</strong>" in text
    assert WHY["why_0"] in text
    again = form_with(late.text, "ask_0")
    assert mine.post(page, data=dict(again.fields) | WHY | {"act": "save"}).status_code == 303
    assert ground.see(page.rpartition("/")[2])["scopes"][0]["justification"] == WHY["why_0"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"more": "patient/Nonsense.zz"}, "This field"),
        ({"why_0": "<b>bold</b>"}, "contains markup"),
        ({"url_data_flow": "https://x.example/d", "sha256_data_flow": "abc"}, "not a date"),
        (
            {"url_data_flow": "ftp://x", "sha256_data_flow": "abc", "dated_data_flow": "2020-01-01"},
            "older than a year",
        ),
    ],
    ids=["scope", "markup", "no-day", "document"],
)
def test_a_draft_with_faults_comes_back_with_what_was_typed(
    ground: Ground, values: dict[str, str], said: str
) -> None:
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    before = ground.see(page.rpartition("/")[2])["revision"]

    answer = send(browser, page, "ask_0", act="save", **WHY | values)

    assert answer.status_code == 422
    text = unescape(answer.text)
    assert WHY["why_1"] in text
    assert said in text or said == "This field"
    assert ground.see(page.rpartition("/")[2])["revision"] == before, "nothing was saved"


def test_a_submission_is_withdrawn_with_a_reason_and_then_has_no_forms(ground: Ground) -> None:
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    send(browser, page, "ask_0", act="submit", **WHY)

    bare = send(browser, page, "reason", act="withdraw", reason=" ")
    assert (bare.status_code, "A reason is required" in bare.text) == (422, True)
    assert send(browser, page, "reason", act="withdraw", reason="wrong scopes").status_code == 303

    text = browser.get(page).text
    assert "withdrawn" in text
    assert "wrong scopes" in text
    assert 'name="act"' not in text
    assert begin(ground, browser) != page


def test_who_may_not_submit_reads_and_another_vendor_learns_nothing(ground: Ground) -> None:
    """C98: the verb judges again what the page does not show."""
    rival = furnish_vendor(ground.site, "Rival", "rival")
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    reader, other = enter_vendor(ground, "acme.billing"), enter_vendor(ground, "rival.owner", rival)

    assert reader.get(page).status_code == 200
    assert 'name="ask_0"' not in reader.get(page).text
    assert other.get(page).status_code == 404
    assert other.get(f"/developer/apps/{ground.app}/review").status_code == 404
    form = dict(form_with(browser.get(page).text, "ask_0").fields) | WHY | {"act": "submit"}
    assert reader.post(page, data=form).status_code == 403
    assert browser.post(page, data=form | {"act": "certify"}).status_code == 422
    assert browser.post(page, data=form | {"revision": "x"}).status_code == 422
    assert ground.see(page.rpartition("/")[2])["state"] == "draft"


def test_the_next_submission_begins_with_what_was_written_before(ground: Ground) -> None:
    browser = enter_vendor(ground, "acme.developer")
    page = begin(ground, browser)
    send(browser, page, "ask_0", act="submit", **WHY)
    send(browser, page, "reason", act="withdraw", reason="x")

    assert WHY["why_1"] in unescape(browser.get(begin(ground, browser)).text)


def test_access_that_regulation_protects_is_asked_for_by_a_page(ground: Ground) -> None:
    """C183: once for a version, for protected scopes only, by whoever may submit it."""
    rival = furnish_vendor(ground.site, "Rival", "rival")
    browser, page = enter_vendor(ground, "acme.developer"), f"/developer/apps/{ground.app}/review"
    scopes = "launch/patient patient/Observation.rs"
    asked = {"of": ground.version, "scopes": scopes, "act": "ask_access"}

    for scope, status in (("user/Slot.rs", 422), ("", 422), ("<b>", 422)):
        refused = send(browser, page, "scopes", **asked | {"scopes": scope})
        assert refused.status_code == status, scope
        assert 'role="alert"' in refused.text
    assert send(browser, page, "scopes", **asked | {"of": "ver_of_nobody"}).status_code == 422
    assert "waits for a reviewer" not in browser.get(page).text

    assert send(browser, page, "scopes", **asked).status_code == 303

    shown = browser.get(page).text
    assert "waits for a reviewer" in shown
    assert scopes in shown
    again = send(browser, page, "scopes", **asked)
    assert again.status_code == 409
    assert "This version already has a request" in again.text
    form = dict(form_with(shown, "scopes").fields) | asked
    reader, other = enter_vendor(ground, "acme.billing"), enter_vendor(ground, "rival.owner", rival)
    assert 'name="scopes"' not in reader.get(page).text
    assert reader.post(page, data=form).status_code == 403
    assert other.post(page, data=form).status_code in {403, 404}
