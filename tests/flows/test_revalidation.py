"""What is certified is looked at again against real servers; what drifted is found, warned of, and stopped by the escalation (C115, C226)."""

from collections.abc import Sequence
from datetime import datetime

import pytest
from sqlalchemy import text

from hilum.apps.contacts.models import ContactKind
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.review.certificates.service import step
from hilum.review.recertification import service
from hilum.review.submissions.models import LOOK_BYTES, Look, Target
from tests.flows.certificate_ground import AT
from tests.flows.certified_app import DAY, NO_USE, Certified, certified_in
from tests.flows.control_site import codes, problem
from tests.flows.policy_ground import put_in_force
from tests.flows.review_world import OK, World
from tests.flows.vendor_ground import certified as record_certification
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.jwks_host import Page
from tests.sim.proofs import prove


@pytest.fixture
def certified(world: World) -> Certified:
    return certified_in(world)


def test_what_is_still_in_order_has_no_finding(certified: Certified) -> None:
    """C115: and the round says how far it came."""
    certified.night()

    assert certified.findings() == []
    progress = made(certified.ground.site.api("otto").get("/revalidation"), 200)
    assert (progress["done"], progress["total"]) == (1, 1)
    assert progress["ended_at"]
    asked = len(certified.world.hosts["acme.example"].asked)
    certified.look()
    assert len(certified.world.hosts["acme.example"].asked) == asked, "once a night"


@pytest.mark.parametrize(
    ("path", "page", "rule"),
    [
        ("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}), "address.stays"),
        ("/launch", Page(404), "address.answers"),
        ("/terms", Page(body=b"<p>We sell your data now.</p>"), "policy_page.unchanged"),
        ("/privacy", Page(body=b"x" * (LOOK_BYTES + 1)), "address.answers"),
        ("/launch", Page(302, headers={"location": "https://inside.example/"}), "address.stays"),
    ],
    ids=range(5),
)
def test_what_drifted_is_found_with_evidence_and_a_deadline(
    certified: Certified, path: str, page: Page, rule: str
) -> None:
    """C115: a redirect host that moved, an address that is gone, a policy page that changed, a gigabyte, an inside address."""
    certified.serve(path, page)

    certified.night()

    found = next(each for each in certified.findings() if each["rule"] == rule)
    assert path in found["about"]
    assert all(found[name] for name in ("evidence", "reproduction", "fix", "due_at"))
    shown = made(certified.ground.site.api("acme.developer").get(f"/findings/{found['id']}"), 200)
    assert shown["evidence"] == found["evidence"]
    furnish_vendor(certified.ground.site, "Rival", "rival")
    rival = certified.ground.site.api("rival.owner")
    problem(rival.get(f"/findings/{found['id']}"), 404, "finding_not_found")
    assert made(rival.get("/findings"), 200)["items"] == []
    problem(rival.post(f"/revalidation/apps/{certified.ground.app}"), 404, "app_not_found")
    problem(certified.ground.site.api("gina").get("/findings"), 403, "not_permitted")


def test_a_host_that_is_away_is_suspected_the_first_night_and_found_the_second(certified: Certified) -> None:
    """C115: what could not be seen, as a host that hangs, is no finding at once."""

    def away(targets: Sequence[Target]) -> list[Look]:
        return [
            Look(each.kind, each.url, fault="fetch_failed", detail="It did not answer.") for each in targets
        ]

    certified.night(away)
    assert certified.findings() == []
    assert certified.findings(state="suspected")
    certified.night()
    assert certified.findings(state="suspected") == []

    certified.night(away)
    certified.night(away)
    assert "address.answers" in certified.rules()


def test_an_edited_record_is_found(certified: Certified) -> None:
    """C115."""
    owner = certified.ground.site.api("acme.owner")
    profile = made(owner.get(f"/apps/{certified.ground.app}/profile"), 200)
    body = {name: value for name, value in profile.items() if name not in {"app", "missing"}}
    made(owner.put(f"/apps/{certified.ground.app}/profile", json=body | {"retention": "For ever."}), 200)

    certified.night()

    (found,) = certified.findings()
    assert (found["rule"], found["about"], found["severity"]) == ("records.as_reviewed", "profile", "low")
    assert "retention" in found["evidence"]


def test_a_proof_that_lapses_is_a_finding_with_a_deadline_until_it_is_proved_again(
    certified: Certified,
) -> None:
    """C7, C115: a link that is opened, and nothing else, ends it."""
    certified.end_proofs(ContactKind.SECURITY)
    assert certified.findings() == [], "before anybody looked"

    certified.night()

    (found,) = certified.findings()
    assert (found["rule"], found["about"], found["severity"]) == ("contacts.proved", "security", "high")
    due = datetime.fromisoformat(found["due_at"])
    assert due == certified.world.clock.now() + 14 * DAY
    assert "`hilum contact link`" in found["fix"]
    assert certified.level() == ("notify", "notify")
    certified.world.clock.advance(14 * DAY)
    certified.look()
    assert certified.level() == ("stop", "stop")
    certified.ground.site.system(prove, vendor=certified.ground.vendor)
    certified.night()
    assert certified.findings() == []
    assert certified.level() == ("none", "none")


def test_a_policy_that_begins_to_ask_for_proofs_stops_nothing_that_is_certified(
    certified: Certified,
) -> None:
    """C7: from one day to the next what is new is refused; what is certified has the deadline of a finding."""
    ground = certified.ground
    put_in_force(ground.site, {"categories.scheduling.entries.low.proofs": []})
    certified.end_proofs(*ContactKind)
    certified.night()
    assert certified.findings() == []

    chief = NewPerson(TenantId(ground.vendor), "chief", "Chief", "vendor_owner", mail="chief@acme.example")
    ground.site.system(identity.add_person, order=chief)

    put_in_force(ground.site, {})

    assert codes(problem(ground.submit(), 422, "submission_incomplete")) == {
        f"contacts.{kind}": "contact_unproved" for kind in ContactKind
    }
    for _ in range(2):
        certified.night()
        assert {(each["rule"], each["about"]) for each in certified.findings()} == {
            ("contacts.proved", kind) for kind in ContactKind
        }
        assert certified.level() == ("notify", "notify"), "nothing is stopped"
        assert certified.mails() == ["findings_opened"], (
            "to the account of an owner, since no contact is proved"
        )
    switches = made(ground.site.api("sam").get("/switches"), 200)["items"]
    assert not [each for each in switches if each["in_force"]]
    ground.site.system(prove, vendor=ground.vendor)
    made(ground.submit())
    certified.night()
    assert certified.findings() == []


def test_an_overdue_finding_stops_launches_and_a_fixed_one_climbs_down_by_itself(
    certified: Certified,
) -> None:
    """C226: notice, warning, stop at the deadline; above that a person decides; once fixed everything is let go."""
    certified.keep_proofs()
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    assert certified.level() == ("notify", "notify")
    certified.world.clock.advance(3 * DAY)
    certified.night()
    assert certified.level() == ("warn", "warn")
    certified.world.clock.advance(3 * DAY)
    certified.night()
    assert certified.level() == ("stop", "stop")
    switches = certified.ground.site.api("sam")
    (switch,) = [each for each in made(switches.get("/switches"), 200)["items"] if each["in_force"]]
    assert (switch["kind"], switch["key"], switch["mode"]) == (
        "version",
        certified.ground.version,
        "no_new_launches",
    )
    certified.world.clock.advance(30 * DAY)
    certified.night()
    assert certified.level() == ("stop", "suspend"), "a person decides"
    app = made(certified.ground.site.api("rita").get(f"/apps/{certified.ground.app}"), 200)
    assert app["state"] == "active"

    assert certified.mails() == ["findings_opened", "findings_warned", "findings_stopped"]

    # A nightly round just before is nobody's request.
    certified.serve("/cb", OK)
    recheck = f"/revalidation/apps/{certified.ground.app}"
    made(certified.ground.site.api("acme.developer").post(recheck), 202)
    problem(certified.ground.site.api("acme.developer").post(recheck), 403, "asked_recently")
    certified.look()
    problem(certified.ground.site.api("acme.developer").post(recheck), 403, "asked_recently")

    assert certified.level() == ("none", "none")
    assert certified.findings() == []
    assert not [
        each
        for each in made(certified.ground.site.api("sam").get("/switches"), 200)["items"]
        if each["in_force"]
    ]
    (closed,) = certified.findings(state="closed")
    assert closed["closed_at"]


def test_a_entry_says_when_findings_are_due_and_that_the_platform_suspends(certified: Certified) -> None:
    """C115, C226: of findings from then on; what was suspended so stays it each night, and resumes by itself once it is fixed."""
    certified.serve("/launch", Page(404))
    certified.night()
    (before,) = certified.findings()
    entries = "categories.scheduling.entries"
    says = {"fix_days_critical": 3, "fix_days_medium": 5, "automation": "suspend"}
    tiers = ("low", "moderate")
    book = {f"{entries}.{tier}.{name}": value for tier in tiers for name, value in says.items()}
    put_in_force(certified.ground.site, book)
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    found = {each["rule"]: each for each in certified.findings()}
    assert found[before["rule"]]["due_at"] == before["due_at"], "it keeps the deadline that was announced"
    due = datetime.fromisoformat(found["address.stays"]["due_at"])
    assert due == certified.world.clock.now() + 3 * DAY

    certified.world.clock.advance(2 * DAY)
    certified.night()
    assert (certified.level(), app_state(certified)) == (("stop", "stop"), "active")
    certified.world.clock.advance(29 * DAY)
    for _ in range(2):
        certified.night()
        assert (certified.level(), app_state(certified)) == (("suspend", "suspend"), "suspended")
    certified.world.clock.advance(40 * DAY)
    certified.night()
    assert (certified.level(), app_state(certified)) == (("suspend", "withdraw"), "suspended"), (
        "a person withdraws"
    )

    certified.serve("/cb", OK)
    certified.serve("/launch", OK)
    certified.night()
    assert (certified.level(), app_state(certified)) == (("none", "none"), "active")


def test_what_people_suspended_after_the_escalation_is_not_resumed_by_it(certified: Certified) -> None:
    """C226: fixing a finding says nothing about an incident."""
    entries = "categories.scheduling.entries"
    put_in_force(
        certified.ground.site,
        {f"{entries}.{tier}.automation": "suspend" for tier in ("low", "moderate")},
    )
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    certified.world.clock.advance(40 * DAY)
    certified.night()
    assert app_state(certified) == "suspended"
    app = f"/apps/{certified.ground.app}"
    made(certified.ground.site.api("root").post(f"{app}/resume", json={"reason": "For a look."}), 200)
    made(certified.ground.site.api("sam").post(f"{app}/suspend", json={"reason": "An incident."}), 200)

    certified.serve("/cb", OK)
    certified.night()

    assert (certified.level(), app_state(certified)) == (("none", "none"), "suspended")


def app_state(certified: Certified) -> str:
    return str(made(certified.ground.site.api("rita").get(f"/apps/{certified.ground.app}"), 200)["state"])


def test_a_process_that_dies_repeats_nothing_and_leaves_nothing_out(certified: Certified) -> None:
    """C115: killed between two apps, and the one that took over has stored the first already."""
    certified.serve("/launch", Page(404))
    certified.world.clock.advance(DAY)
    while certified.ground.site.system(step, at=AT):
        pass
    first = certified.lease("one")
    first.write(service.begin_round)
    (subject,) = first.read(lambda ctx: service.next_batch(ctx, NO_USE))
    looks = certified.world.look_at(subject.targets)
    certified.world.expire_leases()

    certified.look(holder="two")

    found = certified.findings()
    with pytest.raises(Conflict):
        first.write(lambda ctx: service.finish(ctx, subject, looks))
    assert not certified.ground.site.system(service.finish, subject=subject, looks=looks)
    assert certified.findings() == found
    assert len([each for each in found if each["rule"] == "address.answers"]) == 1


def test_a_newer_certification_that_nobody_reviewed_hides_no_finding(certified: Certified) -> None:
    """C115: of the regulated lane: what was reviewed is still what is looked at."""
    ground = certified.ground
    certified.serve("/terms", Page(body=b"<p>We sell your data now.</p>"))
    certified.night()
    assert certified.rules() == ["policy_page.unchanged"]
    record_certification(ground.site, ground.version, ["launch", "user/Slot.rs"], days=9)

    certified.night()

    assert certified.rules() == ["policy_page.unchanged"]


def test_an_app_whose_submission_is_gone_keeps_no_other_waiting(certified: Certified) -> None:
    certified.world.clock.advance(DAY)
    certified.ground.site.system(lambda ctx: ctx.tx.execute(text("DELETE FROM review_submission")))

    certified.look()

    assert made(certified.ground.site.api("otto").get("/revalidation"), 200)["ended_at"]


def test_what_is_certified_no_more_is_let_go(certified: Certified) -> None:
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    certified.world.clock.advance(7 * DAY)
    certified.night()
    assert certified.level()[0] == "stop"
    (certificate,) = made(
        certified.ground.site.api("rita").get(f"/apps/{certified.ground.app}/certifications"), 200
    )["items"]

    made(certified.ground.site.api("rita").delete(f"/certifications/{certificate['id']}"), 200)
    certified.night()

    assert certified.findings() == []
    assert certified.level() == ("none", "none")
    asked = certified.ground.site.api("acme.developer").post(f"/revalidation/apps/{certified.ground.app}")
    problem(asked, 409, "not_certified")


def test_reviewers_look_again_while_a_grave_finding_is_late(certified: Certified) -> None:
    """C225: and once it is fixed nobody need look."""
    certified.keep_proofs()
    site, app = certified.ground.site, certified.ground.app

    def asked() -> list[tuple[str, str]]:
        found = made(site.api("rita").get("/delta-reviews"), 200)["items"]
        return [(each["app"], each["source"]) for each in found]

    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    assert asked() == []
    certified.world.clock.advance(6 * DAY)
    certified.night()

    assert asked() == [(app, "findings")]
    certified.serve("/cb", OK)
    certified.night()
    assert asked() == []
