"""Certification, publication and a hospital's approval are three decisions of three roles; ends are announced (C111, C114, K17)."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people.store import people
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel, NoticeQuery
from hilum.review.certificates.models import REMIND_BEFORE
from hilum.review.certificates.service import remind_due
from tests.flows.certified_app import Certified, certified_in
from tests.flows.console_ground import Desk
from tests.flows.control_site import problem
from tests.flows.listing_ground import WHY, act, figure, follow, seen
from tests.flows.policy_ground import put_in_force
from tests.flows.review_world import World
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.jwks_host import Page

DAY = timedelta(days=1)
GRACE = 30 * DAY
"""Of the low tier in the shipped policy."""


@pytest.fixture
def days() -> int:
    """For how long the app is certified."""
    return 120


@pytest.fixture
def certified(world: World, days: int) -> Certified:
    found = certified_in(world, days)
    found.ground.site.furnished("with its certificate", lambda: follow(found))
    return found


def test_a_vendor_publishes_and_hospitals_see_what_is_published(certified: Certified) -> None:
    """C111: certification, the vendor's wish and a hospital's own approval are three decisions; none touches another."""
    app = certified.ground.app
    for who in ("rita", "root", "gina", "acme.billing"):
        problem(act(certified, who, "publish"), 403, "not_permitted")
    assert seen(certified) == []
    problem(certified.ground.site.api("gina").get(f"/listings/{app}"), 404, "listing_not_found")

    done = made(act(certified, "acme.owner", "publish"), 200)

    assert (done["visible"], done["certificate_status"], done["reason"]) == (True, "valid", WHY["reason"])
    assert seen(certified) == [app]
    assert made(certified.ground.site.api("gina").get(f"/listings/{app}"), 200)["label"] == "1"
    problem(act(certified, "acme.owner", "publish"), 409, "already_published")
    furnish_vendor(certified.ground.site, "Rival", "rival")
    assert seen(certified, "rival.owner") == []
    problem(act(certified, "rival.owner", "publish"), 404, "app_not_found")
    problem(act(certified, "rival.owner", "unpublish"), 404, "app_not_found")
    problem(certified.ground.site.api("ann").get("/listings"), 403, "not_permitted")

    made(act(certified, "root", "unpublish"), 200)
    assert seen(certified) == []
    problem(act(certified, "sam", "unpublish"), 409, "not_published")


def test_what_is_not_validly_certified_or_of_a_closed_category_is_not_seen(certified: Certified) -> None:
    """C111, C113: a kill switch takes it from the list, and its release puts it back."""
    made(act(certified, "acme.owner", "publish"), 200)
    target = Target(TargetKind.VERSION, certified.ground.version)
    ends = certified.world.clock.now() + timedelta(hours=1)
    certified.ground.site.system(controls.engage, order=EngageOrder(target, Mode.FULL_STOP, "drift", ends))
    follow(certified)
    assert seen(certified) == []

    certified.world.clock.advance(timedelta(hours=1))
    follow(certified)
    assert seen(certified) == [certified.ground.app]

    put_in_force(certified.ground.site, {"categories.scheduling.open": False})
    assert seen(certified) == []


def test_the_public_figure_counts_what_is_valid_and_has_nothing_overdue(certified: Certified) -> None:
    """K17, C226: a finding beyond its deadline hides the listing and lowers the figure; fixed, both are as before."""
    assert figure(certified) == (0, 0, None)
    made(act(certified, "acme.owner", "publish"), 200)
    assert figure(certified) == (1, 1, 100.0)
    certified.serve("/cb", Page(302, headers={"location": "https://elsewhere.example/cb"}))
    certified.night()
    assert figure(certified) == (1, 1, 100.0)
    certified.world.clock.advance(7 * DAY)
    certified.night()
    follow(certified)

    assert figure(certified) == (1, 0, 0.0)
    assert seen(certified) == []
    (shown,) = made(certified.ground.site.api("root").get("/listings"), 200)["items"]
    assert (shown["published"], shown["hidden"], shown["visible"]) == (True, True, False)

    certified.serve("/cb", Page(body=b"ok"))
    certified.night()
    follow(certified)
    assert figure(certified) == (1, 1, 100.0)
    assert seen(certified) == [certified.ground.app]


def reminders(certified: Certified) -> list[str]:
    while certified.ground.site.system(remind_due):
        pass
    found = certified.ground.site.system(notices.list_notices, query=NoticeQuery(channel=Channel.MAIL))
    return sorted(
        each.kind
        for each in found
        # Of the vendor's three contacts one is enough.
        if "certificate" in each.kind and each.recipient.startswith(("owner@", "gina@"))
    )


def test_the_end_of_a_certificate_is_announced_once_each_time_to_vendor_and_hospitals(
    certified: Certified,
) -> None:
    """C114, C225: at 90, 60, 30 and 7 days, at the end and at the end of its grace; hospitals that use it from 30 days on."""
    certified.keep_proofs()
    site = certified.ground.site
    order = InstallOrder(TenantId("general"), AppId(certified.ground.app), frozenset({"physician"}))
    site.system(installations.install, order=order)
    reached = people.update().where(people.c.id == site.people["gina"].id).values(mail="gina@general.example")
    site.system(lambda ctx: ctx.tx.execute(reached))
    ends = certified.world.clock.now() + 120 * DAY
    assert reminders(certified) == []

    for n, before in enumerate(REMIND_BEFORE, 1):
        certified.world.clock.advance(ends - before - certified.world.clock.now())
        found = reminders(certified)
        assert found.count("certificate_ends") == n
        assert found.count("app_certificate_ends") == max(0, n - 2)
        assert reminders(certified) == found, "however often the job runs"
    certified.world.clock.advance(ends - certified.world.clock.now())
    follow(certified)

    before_the_end = ["certificate_ends"] * 4 + ["app_certificate_ends"] * 2
    in_grace = sorted([*before_the_end, "certificate_grace", "app_certificate_grace"])
    assert reminders(certified) == in_grace
    certified.world.clock.advance(GRACE - timedelta(seconds=1))
    follow(certified)
    assert reminders(certified) == in_grace
    certified.world.clock.advance(timedelta(seconds=1))
    follow(certified)
    assert reminders(certified) == sorted([*in_grace, "certificate_ended", "app_certificate_ended"])


@pytest.mark.parametrize("why", ["withdrawn", "for sandboxes alone"])
def test_an_end_that_nobody_misses_is_not_announced(certified: Certified, why: str) -> None:
    """C114, C225."""
    certified.keep_proofs()
    site = certified.ground.site
    if why == "withdrawn":
        for each in site.system(registry.certifications_of, app=AppId(certified.ground.app)):
            site.system(registry.withdraw_certification, certification_id=each.id)
        follow(certified)
    else:
        site.system(lambda ctx: ctx.tx.execute(text("UPDATE certificate SET environment = 'sandbox'")))

    certified.world.clock.advance((120 - 7) * DAY)

    assert reminders(certified) == []


@pytest.mark.parametrize("days", [20])
def test_in_its_grace_an_app_continues_where_it_is_installed_and_is_installed_nowhere_else(
    certified: Certified,
) -> None:
    """C114, C111: no new hospital, no listing; the console, the badge, the list of certificates and the findings say so; edits still wait."""
    site, app, clock = certified.ground.site, certified.ground.app, certified.world.clock
    site.system(
        installations.install, order=InstallOrder(TenantId("general"), AppId(app), frozenset({"physician"}))
    )
    act(certified, "acme.owner", "publish")
    clock.advance(20 * DAY)
    follow(certified)

    assert seen(certified) == []
    (shown,) = made(site.api("gina").get("/certificates", params={"status": "grace"}), 200)["items"]
    until = clock.now() + GRACE
    assert (shown["cause"], shown["grace_until"]) == ("expired", until.isoformat().replace("+00:00", "Z"))
    assert f"in grace until {until:%Y-%m-%d}" in site.browser().get(f"/certificates/of/{app}/badge.svg").text
    page = (
        Desk(site, site.system(registry.get_app, app_id=AppId(app)))
        .browser("gina")
        .get(f"/tenant/apps/{app}")
        .text
    )
    assert "Your people can go on with it until" in page
    order = InstallOrder(TenantId("mercy"), AppId(app), frozenset({"physician"}))
    with pytest.raises(Invalid, match="certified"):
        site.system(installations.install, order=order)
    certified.look()
    (found,) = [each for each in certified.findings() if each["rule"] == "certificate.in_force"]
    assert found["due_at"] == shown["grace_until"]
    revision = made(site.api("acme.developer").get(f"/apps/{app}"), 200)["revision"]
    edit = {"revision": revision, "purpose": "Another purpose."}
    assert made(site.api("acme.developer").patch(f"/apps/{app}", json=edit), 202)["order"]

    clock.advance(GRACE)
    follow(certified)
    certified.look()
    assert certified.findings() == []
    (shown,) = made(site.api("gina").get("/certificates", params={"status": "invalid"}), 200)["items"]
    assert (shown["cause"], shown["grace_until"]) == ("expired", None)


def test_a_listing_distinguishes_what_is_verified_from_what_its_vendor_says(certified: Certified) -> None:
    """C229: as who sees the listing, and by its submission; nobody sees it before it is published."""
    site, app = certified.ground.site, certified.ground.app
    problem(site.api("gina").get(f"/listings/{app}/statements"), 404, "listing_not_found")
    act(certified, "acme.owner", "publish")
    figures = made(site.api("rita").get("/revalidation/figures", params={"days": 30}), 200)
    assert figures["currency"] == [{"tier": "low", "of": 1, "count": 1, "rows": []}]
    assert (figures["exceptions"]["open"], figures["exceptions"]["active_apps"]) == (0, 1)
    problem(site.api("gina").get("/revalidation/figures"), 403, "not_permitted")

    found = made(site.api("gina").get(f"/listings/{app}/statements"), 200)["statements"]

    by = {each["what"]: each for each in found}
    assert by["Its addresses have valid certificates"]["basis"] == "verified"
    assert by["A reviewer passed the technical discipline"]["basis"] == "verified"
    assert by["What it is for"]["basis"] == "attested"
    assert {each["version"] for each in found} == {"1"}
