"""By pages: who signs for which discipline, conflicts of interest with vendors, the regulated lane, and one certification run as the staff see it (C100, C101, C112, C126, C183, C223)."""

from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import discipline_store
from hilum.review.submissions import service as review
from hilum.review.submissions.discipline_store import rights
from hilum.review.submissions.jobs import keep_time
from hilum.review.submissions.models import FINDINGS_BOUND
from tests.flows.console_review_ground import enter_vendor, open_run, page_of, submitted
from tests.flows.control_site import TRACE, build, send
from tests.flows.discipline_ground import Keeper
from tests.flows.review_ground import (
    Ground,
    act_on,
    ask_for_regulated_access,
    discipline_of,
    furnish,
    signs,
)
from tests.flows.review_world import sandbox_client
from tests.flows.vendor_ground import made
from tests.sim.browser import form_with, forms_of
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.exception_facts import EXCEPTION, RAISE, WAIVER

REVIEWERS, CONFLICTS, LANE = (
    "/review/reviewers",
    "/review/conflicts-of-interest",
    "/review/regulated-access",
)
DECLARE = f"{CONFLICTS}/new"
PROTECTED = "launch/patient patient/Appointment.rs"


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    return furnish(site, scope=f"launch user/Slot.rs {PROTECTED}")


def read(browser: TestClient, page: str, status: int = 200) -> str:
    answer = browser.get(page)
    assert answer.status_code == status, answer.text
    return unescape(answer.text)


def acts(page: str) -> set[str]:
    """Return what the forms of a page do, but for signing out and searching."""
    return {
        f"{name}={value}"
        for form in forms_of(page)
        if form.method == "post" and "signout" not in form.action
        for name, value in (form.submits or [("", "")])
    }


def disciplines_of(ground: Ground, username: str = "rita") -> tuple[Discipline, ...]:
    person = ground.site.people[username].id
    found: tuple[Discipline, ...] = ground.site.system(review.disciplines_of, person=person)
    return found


def test_a_right_is_asked_for_by_one_and_given_by_another_and_taken_away_at_once(ground: Ground) -> None:
    """C100, C182: each by pages, and by nobody but who may."""
    root, sam, otto = (ground.site.signed_in(name) for name in ("root", "sam", "otto"))
    assert "Nobody signs yet" in read(root, REVIEWERS)
    form = form_with(root.get(REVIEWERS).text, "username")
    fields = dict(form.fields)

    unknown = root.post(REVIEWERS, data=fields | {"username": "nobody", "disciplines": "legal"})
    assert (unknown.status_code, "Check its spelling" in unknown.text) == (422, True)
    assert root.post(REVIEWERS, data=fields | {"username": "sam", "disciplines": "legal"}).status_code == 422
    asked = root.post(REVIEWERS, data=fields | {"username": "rita", "disciplines": ["technical", "legal"]})
    waiting = asked.headers["location"]
    assert waiting.startswith("/operations/staff/")
    assert disciplines_of(ground) == ()
    assert "in review" in read(sam, waiting)
    assert send(sam, waiting, "decision", decision="approve").status_code == 303
    assert disciplines_of(ground) == (Discipline.TECHNICAL, Discipline.LEGAL)

    shown = read(sam, f"{REVIEWERS}?who=rita")
    chosen = dict(form_with(shown, "username").fields)
    assert (chosen["username"], "technical, legal" in shown) == ("rita", True)
    assert sam.post(REVIEWERS, data=chosen | {"disciplines": "legal"}).headers["location"] == REVIEWERS
    assert disciplines_of(ground) == (Discipline.LEGAL,)
    assert acts(otto.get(REVIEWERS).text) == set()
    assert "technical" not in read(otto, REVIEWERS + "?who=rita")
    token = dict(form_with(ground.site.signed_in("rita").get(DECLARE).text, "vendor").fields)
    assert otto.post(REVIEWERS, data=token | {"username": "rita"}).status_code == 403
    # What somebody wrote into the database gives no right, and is seen.
    change = rights.update().values(disciplines=["technical", "legal", "clinical"])
    ground.site.uow.write_now(lambda ctx: ctx.tx.execute(change), trace=TRACE)
    assert "differs from the audit record" in read(otto, REVIEWERS)


def test_a_conflict_of_interest_is_declared_by_its_reviewer_and_ended_by_somebody_else(
    ground: Ground,
) -> None:
    """C101: by the vendor's name; it bars at once, and who is barred has no form that lifts it."""
    id_ = submitted(ground)
    signs(ground.site, "rita", "technical")
    rita, sam, otto = (ground.site.signed_in(name) for name in ("rita", "sam", "otto"))
    assert "No conflict of interest is declared" in read(otto, CONFLICTS)
    assert acts(otto.get(CONFLICTS).text) == set()
    assert (
        send(rita, DECLARE, "vendor", vendor="Nobody Inc", reason="A cousin works there.").status_code == 422
    )
    silent = send(rita, DECLARE, "vendor", vendor="Acme Health", reason=" ")
    assert (silent.status_code, "Acme Health" in silent.text) == (422, True)

    assert send(rita, DECLARE, "vendor", vendor="Acme Health", reason="A cousin " * 40).status_code == 303

    assert "bars" in read(otto, CONFLICTS)
    (declared,) = made(ground.site.api("otto").get("/conflicts-of-interest"), 200)["items"]
    conflict = f"{CONFLICTS}/{declared['id']}"
    assert "a conflict of interest with this vendor" in read(rita, f"{page_of(id_)}/technical")
    assert send(rita, DECLARE, "vendor", vendor="Acme Health", reason="Again.").status_code == 409
    assert acts(rita.get(conflict).text) == acts(otto.get(conflict).text) == set()
    token = dict(form_with(rita.get(DECLARE).text, "vendor").fields)
    assert rita.post(conflict, data=token | {"reason": "It is over."}).status_code == 403
    assert send(sam, conflict, "reason", act="end", reason="").status_code == 422
    assert send(sam, conflict, "reason", act="end", reason="The cousin left.").status_code == 303
    shown = read(otto, conflict)
    assert ("ended" in shown, "The cousin left." in shown, "Sam" in shown) == (True, True, True)
    assert "a conflict of interest with this vendor" not in read(rita, f"{page_of(id_)}/technical")
    read(otto, f"{CONFLICTS}/coi_nowhere", 404)


def test_who_asks_for_regulated_access_is_verified_on_its_page_and_nothing_else_is_asked(
    ground: Ground,
) -> None:
    """C112: also while a conflict of interest bars one reviewer; its page shows a step that is late."""
    rita, otto = ground.site.signed_in("rita"), ground.site.signed_in("otto")
    assert "Nobody asks" in read(otto, LANE)
    asked = made(ask_for_regulated_access(ground))["id"]
    one = f"{LANE}/{asked}"
    assert "Acme Rota" in read(otto, LANE)
    assert acts(otto.get(one).text) == set()
    assert "A reviewer has confirmed that they are who they say they are." in read(otto, one)
    ground.site.clock.advance(timedelta(days=21))
    keep_time(Keeper(ground))
    rita, otto = ground.site.signed_in("rita"), ground.site.signed_in("otto")
    assert "missed" in read(otto, one)

    assert acts(rita.get(one).text) == {"act=authentic", "act=not_authentic"}
    assert send(rita, one, "act", act="authentic", reason=" ").status_code == 422
    assert send(rita, one, "act", act="certify", reason="x").status_code == 422
    assert send(rita, one, "act", act="authentic", reason="The register has them.").status_code == 303
    shown = read(rita, one)
    assert ("enabled" in shown, "The register has them." in shown) == (True, True)
    assert acts(rita.get(one).text) == set()
    again = dict(form_with(rita.get(DECLARE).text, "vendor").fields)
    assert rita.post(one, data=again | {"act": "authentic", "reason": "x"}).status_code == 403, (
        "another page's"
    )
    read(otto, f"{LANE}/lan_nowhere", 404)


def test_a_reviewer_who_is_tied_verifies_nobody(ground: Ground) -> None:
    one = f"{LANE}/{made(ask_for_regulated_access(ground))['id']}"
    rita = ground.site.signed_in("rita")
    fields = dict(form_with(rita.get(one).text, "reason").fields)
    assert send(rita, DECLARE, "vendor", vendor="Acme Health", reason="I worked there.").status_code == 303

    assert "a colleague must verify the requester" in read(rita, one)
    assert acts(rita.get(one).text) == set()
    assert rita.post(one, data=fields | {"act": "authentic", "reason": "x"}).status_code == 403


def test_more_than_five_findings_are_given_at_once(ground: Ground) -> None:
    """S5: without script, room is made for five more at a time, and what was typed stays."""
    id_ = submitted(ground)
    signs(ground.site, "rita", "technical")
    made(act_on(ground, id_, "technical", "take"), 200)
    rita, page = ground.site.signed_in("rita"), f"{page_of(id_)}/technical"
    found = {"rule": "technical.tokens", "severity": "low", "evidence": "Seen.", "reproduction": "Look.", "fix": "Fix."}  # fmt: skip
    first = form_with(rita.get(page).text, "evidence_0")
    typed = dict(first.fields) | {f"{name}_4": text for name, text in found.items()}
    assert "evidence_5" not in dict(first.fields)

    wider = rita.post(page, data=typed | {"act": "more", "verdict": "needs_changes"})

    assert wider.status_code == 200
    assert discipline_of(ground, id_).judged_at is None
    fields = dict(form_with(wider.text, "evidence_9").fields)
    assert fields["room"] == "10"
    more = {f"{name}_{number}": text for name, text in found.items() for number in range(7)}
    verdict = {"act": "judge", "verdict": "needs_changes", "text": "See them.", "reasons": "technical.tokens"}
    assert rita.post(page, data=fields | more | verdict).status_code == 303
    shown = made(ground.site.api("rita").get(f"/submissions/{id_}/disciplines"), 200)
    assert len(shown["findings"]) == 7
    hostile = rita.post(page, data=fields | {"act": "more", "room": "999"})
    assert hostile.text.count('name="evidence_') <= FINDINGS_BOUND


def test_the_staff_read_a_certification_run_call_by_call_and_change_nothing(ground: Ground) -> None:
    """C126: linked from the submission; the vendor's members do not open the staff's page."""
    sandbox_client(ground)
    vendor = enter_vendor(ground, "acme.developer")
    theirs = open_run(ground, vendor)
    id_ = submitted(ground)
    otto, page = ground.site.signed_in("otto"), f"/review/runs/{theirs.rpartition('/')[2]}"
    assert page in otto.get(page_of(id_)).text
    assert "Not judged yet" in read(otto, page)
    assert send(vendor, theirs, "act", act="finish").status_code == 303

    shown = read(otto, page)

    assert ("incomplete" in shown, "evidence.run.open" in shown) == (True, True)
    assert acts(otto.get(page).text) == set()
    assert "There are no more records." in read(otto, f"{page}?from=100")
    read(otto, f"{page}?from=-1", 422)
    read(otto, "/review/runs/run_nowhere", 404)
    assert vendor.get(page).status_code == 403


def test_long_lists_of_reviewers_conflicts_of_interest_and_requests_go_on_by_page(ground: Ground) -> None:
    now, people = ground.site.clock.now(), [f"per_{n:04}" for n in range(60)]
    right = {"disciplines": ["legal"], "changed_at": now, "changed_by": "system:"}
    conflict = {"vendor": ground.vendor, "reason": "x" * 2_000, "declared_at": now}
    conflict |= {"ended_at": now, "ended_by": "system:", "ended_because": "y"}

    def fill(ctx: Any) -> None:
        ctx.tx.execute(discipline_store.rights.insert(), [right | {"person": each} for each in people])
        ctx.tx.execute(
            discipline_store.conflicts.insert(),
            [conflict | {"id": f"coi_{each}", "person": each} for each in people],
        )

    ground.site.system(fill)
    otto = ground.site.signed_in("otto")
    for page in (REVIEWERS, CONFLICTS):
        first = read(otto, page)
        assert (first.count("<tr data-row"), "x" * 500 in first) == (50, False)
        rest = otto.get(form_next(first))
        assert rest.text.count("<tr data-row") == 10


def form_next(page: str) -> str:
    """Return where a list goes on."""
    return page.partition('rel="next" href="')[2].partition('"')[0]


def test_exceptions_are_listed_with_who_answers_for_them_and_how_many_are_open(ground: Ground) -> None:
    """C109, K14: with the reason, what is done instead, and the end, after which they are over by themselves."""
    now, otto = ground.site.clock.now(), ground.site.signed_in("otto")
    page = "/operations/policy/exceptions"
    assert "None is in force among 0 certified apps." in read(otto, page)
    both: dict[str, Any] = {
        "app": AppId(ground.app),
        "tenant": None,
        "owner": "staff:a",
        "agreed_by": "staff:b",
        "starts_at": now,
    }
    ends = now + timedelta(days=9)
    waived = replace(WAIVER, **both, ends_at=ends, reason="No nurse yet.", control="A clerk looks.")
    version = VersionId(ground.version)
    lowered = replace(EXCEPTION, **both, version=version, ends_at=ends, reason="Certified again by then.")
    raised = replace(RAISE, **both | {"agreed_by": ""}, version=version)
    for made_of in (waived, lowered, raised):
        ground.site.system(policies.add_exception, made=made_of)
    ground.site.clock.advance(timedelta(days=4))
    otto = ground.site.signed_in("otto")

    shown = read(otto, page)
    assert "2 in force, among 0 certified apps; their median age is 4 days." in shown
    for text in (
        f"{WAIVER.title} is not asked for at the low tier",
        "A clerk looks.",
        "No nurse yet.",
        "every hospital",
    ):
        assert text in shown
    versions = read(otto, f"{page}?kind=lowered_tier")
    assert f"version 1 is treated as {lowered.tier}, not as {lowered.computed}" in versions
    assert (EXCEPTION.control in versions, WAIVER.title in versions) == (True, False)
    assert "is treated as high" in read(otto, f"{page}?kind=raised_tier")
    ground.site.clock.advance(timedelta(days=5))
    assert "None is in force" in read(ground.site.signed_in("otto"), page)


def test_one_administrator_ends_an_exception_on_its_page_and_once(ground: Ground) -> None:
    """C109: with a reason; whoever only reads sees no form for it."""
    now = ground.site.clock.now()
    both: dict[str, Any] = {
        "app": AppId(ground.app),
        "tenant": None,
        "starts_at": now,
        "ends_at": now + timedelta(days=9),
    }
    lowered = replace(EXCEPTION, version=VersionId(ground.version), control="A nurse looks.", **both)
    ground.site.system(policies.add_exception, made=lowered)
    page = "/operations/policy/exceptions/exc_1"
    assert acts(read(ground.site.signed_in("otto"), page)) == set()
    root = ground.site.signed_in("root")
    assert "A nurse looks." in read(root, page)

    assert send(root, page, "reason", reason=" ").status_code == 422
    assert ground.site.system(policies.live_exceptions)
    assert send(root, page, "reason", reason="Certified again.").status_code in {200, 303}

    assert not ground.site.system(policies.live_exceptions)
    shown = read(root, page)
    assert "Ended early" in shown
    assert acts(shown) == set()
    read(root, "/operations/policy/exceptions/exc_0", 404)
