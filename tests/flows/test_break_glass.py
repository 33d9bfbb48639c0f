"""The glass is broken, seen by everybody concerned, ended and reviewed by somebody else (C82, ADR 77)."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.apps.registry.store import apps
from hilum.authorization.breakglass import service, store
from hilum.authorization.breakglass.models import NewUse, Settings, SettingsChange, UseQuery, Verdict
from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import Asked
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import LaunchId
from hilum.hospitals.disclosures import service as disclosures
from hilum.hospitals.disclosures.models import HistoryQuery
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.people import service as identity
from hilum.identity.people import store as identity_store
from hilum.identity.people.models import NewFacility, NewPerson, TenantChange
from hilum.records.audit import live as journals
from hilum.records.audit.models import AccessPage, AccessQuery
from hilum.records.audit.policy import emergency_of
from hilum.records.notices import service as notices
from hilum.records.notices.models import NoticeQuery
from hilum.records.notices.policy import render
from hilum.records.notices.templates import BREAK_GLASS
from hilum.server.acts import acts
from tests.flows.break_glass_ground import LAUNCH, ON, REASON, SCOPES, Ward
from tests.flows.gateway_ground import CLINIC, GENERAL, Ground, Play
from tests.sim.journals import journal_of
from tests.sim.world import FakeClock


def test_it_opens_at_once_for_its_launch_and_ends_by_the_clock(play: Play, clock: FakeClock) -> None:
    """C82: nothing of another launch, and nothing after the minutes."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        assert await ward.reads() == 404

        ward.open()

        assert await ward.reads() == 200
        assert await ward.reads(made.token(*SCOPES)) == 404
        assert await ward.reads(made.token(*SCOPES, launch=LAUNCH, person="nurse")) == 404
        found = await made.get("Observation", ward.token)
        *records, note = found.ids
        assert sorted(records) == ["Observation/o1", "Observation/o2", "Observation/o3"]
        assert note == "OperationOutcome/None"
        assert found.json["total"] == 3
        clock.advance(timedelta(minutes=15))
        made.keeper.step(0)
        assert await ward.reads() == 404

    play(story)


def test_it_is_mailed_recorded_and_shown_to_the_patient(play: Play) -> None:
    """C82, C155: without patient and reason in the mail; in the audit with both; in the patient's history in words."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        abroad = TenantChange(time_zone="Europe/Madrid")
        ward.do("gus", lambda ctx: identity.update_tenant(ctx, GENERAL, abroad))
        use = ward.open()
        await ward.reads()

        mail = made.run(lambda ctx: notices.list_notices(ctx, NoticeQuery()))[0]
        assert f"{use.ends_at + timedelta(hours=1):%H:%M} CET" in render(BREAK_GLASS, mail.facts)[0]
        assert sorted(ward.notices()) == [
            ("break_glass", "gina@general.example"),
            ("break_glass", "gus@general.example"),
        ]
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        access = reader.page(AccessQuery(tenant=GENERAL)).accesses[0]
        assert emergency_of(access) == (use.id, 1)
        page = ward.do("patient", lambda ctx: disclosures.read_page(ctx, HistoryQuery("p1"), reader.page))
        assert "stated an emergency" in page.entries[0].why

    play(story)


def test_its_searches_say_what_stays_closed_alike_whatever_is_there(play: Play) -> None:
    """ADR 77, security decision 12: FHIR R4 search.html, an outcome entry; it is in no count and says nothing of what is withheld."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        plain = await made.get("Observation", ward.token)
        ward.open()

        some = await made.get("Observation?_count=1", ward.token)
        none = await made.get("Observation?code=nothing", ward.token)
        counted = await made.get("Observation?_summary=count", ward.token)
        short = await made.get("Observation?_elements=status", ward.token)

        assert "OperationOutcome/None" not in plain.ids
        (entry,) = none.json["entry"]
        assert entry == some.json["entry"][-1] == short.json["entry"][-1]
        assert entry["search"] == {"mode": "outcome"}
        (issue,) = entry["resource"]["issue"]
        assert (issue["severity"], issue["code"]) == ("information", "informational")
        assert "HIV" in issue["details"]["text"]
        assert "confidential" not in issue["details"]["text"]
        assert (none.json["total"], len(some.ids)) == (0, 2)
        assert counted.json["total"] == 3
        assert "entry" not in counted.json

    play(story)


def test_what_an_app_is_refused_in_a_loop_is_not_read_for_the_page(play: Play) -> None:
    """The page is read by whoever is in the emergency, and an app may be refused as often as it likes."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        use = ward.open()
        await ward.reads()
        for _ in range(5):
            assert (await made.get("Patient/p1", ward.token)).status == 403
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        pages = []

        def page(query: AccessQuery) -> AccessPage:
            pages.append(query.after)
            return reader.page(replace(query, limit=2))

        seen = ward.do("doctor", partial(service.read_opened, use=use, page=page))

        assert (seen.records, seen.is_all) == (1, True)
        assert len(pages) == 1

    play(story)


def test_what_it_opened_is_counted_by_the_judgement(play: Play) -> None:
    """ADR 77: records that would be withheld without it, in searches and reads, and no others."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        use = ward.open()
        for target in ("Observation", "Observation/o1", "Observation/o3", "Observation?code=nothing"):
            await made.get(target, ward.token)

        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        accesses = reader.page(AccessQuery(tenant=GENERAL)).accesses
        page = partial(service.read_opened, use=use, page=reader.page)

        assert [emergency_of(access) for access in accesses] == [(use.id, n) for n in (0, 1, 0, 1)]
        for who in ("doctor", "gina"):
            seen = ward.do(who, page)
            assert (len(seen.accesses), seen.records, seen.is_all) == (4, 2, True)
        assert ward.refused("nurse", page) == "break_glass_not_found"

    play(story)


def test_no_name_of_an_app_keeps_it_shut(play: Play) -> None:
    """C82: a vendor names its app as it likes, and the mail shows nothing of a name of signs alone."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        app = made.clients["app"].app
        made.run(
            lambda ctx: ctx.tx.execute(apps.update().where(apps.c.id == app).values(name="@@@")) and None
        )

        ward.open()

        assert await ward.reads() == 200
        assert len(ward.notices()) == 2

    play(story)


def test_a_stop_a_narrowed_setting_and_an_administrator_each_end_it_for_good(
    play: Play, clock: FakeClock
) -> None:
    """C82, security decisions 8 and 24: and what comes back later opens nothing again."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        use = ward.open()
        target = Target(TargetKind.APP, made.clients["app"].app)
        until = clock.now() + timedelta(minutes=1)
        order = EngageOrder(target, Mode.FULL_STOP, "a drill", until)
        made.run(lambda ctx: controls.engage(ctx, order))
        assert await ward.reads() == 403
        assert ward.refused("nurse", lambda ctx: service.open_use(ctx, NewUse(LAUNCH, REASON)))
        clock.advance(timedelta(minutes=2))
        made.keeper.step(0)
        assert await ward.reads() != 200

        fresh = made.token(*SCOPES, launch=LAUNCH)
        ward.do("gina", lambda ctx: service.end_use(ctx, use.id))
        assert await ward.reads(fresh) == 404
        assert ward.refused("gina", lambda ctx: service.end_use(ctx, use.id)) == "break_glass_over"

        again = partial(service.open_use, order=NewUse(LAUNCH, REASON))
        assert ward.refused("doctor", again) == "switch_engaged"
        assert ward.do("doctor", service.list_openable) == [], (
            "nobody chooses in an emergency what is refused"
        )
        ward.reopen()
        elsewhere = replace(
            ward.open(),
            id="btg_clinic",
            tenant=CLINIC,
            person=made.people["nurse"].id,
            launch=LaunchId("lch_clinic"),
        )
        made.run(lambda ctx: store.USES.add(ctx.tx, elsewhere))
        fresh = made.token(*SCOPES, launch=LAUNCH)
        assert await ward.reads(fresh) == 200
        off = ward.do(
            "gina", lambda ctx: service.change_settings(ctx, GENERAL, SettingsChange(enabled=False))
        )
        assert isinstance(off, Settings)
        assert await ward.reads(fresh) == 404
        assert made.run(lambda ctx: store.USES.get(ctx.tx, elsewhere.id)).ended_at is None
        made.run(lambda ctx: service.change_settings(ctx, GENERAL, ON))
        assert await ward.reads(fresh) == 404
        place = NewFacility(GENERAL, "East", "General Ltd", "Location/east")
        east = made.run(partial(identity.add_facility, order=place))
        held = made.run(partial(installations.list_installations, tenant=GENERAL))
        opened = next(each.id for each in held if each.app == made.clients["app"].app)
        narrowed = NarrowOrder(facilities=frozenset({east.id}))
        made.run(lambda ctx: installations.narrow_installation(ctx, opened, narrowed))
        assert ward.refused("doctor", again) == "facility_not_allowed"

    play(story)


def test_switching_it_on_takes_two_administrators(play: Play, clock: FakeClock) -> None:
    """Security decision 25: what gives more waits; what is asked for twice meanwhile is stale."""

    async def story(made: Ground) -> None:
        ward = Ward(made, on=False)
        change = partial(service.change_settings, tenant_id=GENERAL, change=ON)
        assert ward.refused("doctor", change) == "not_permitted"
        asked, again = ward.do("gina", change), ward.do("gina", change)
        assert isinstance(asked, Asked)
        assert isinstance(again, Asked)
        assert (
            ward.refused("doctor", lambda ctx: service.open_use(ctx, NewUse(LAUNCH, REASON)))
            == "break_glass_off"
        )
        table = acts(LinkMail(lambda *_: "", works=False))
        approve = partial(approvals.approve, approval_id=asked.approval.id, acts=table)
        assert ward.refused("gina", approve) == "asked_by_you"

        ward.do("gus", approve)

        stale = partial(approvals.approve, approval_id=again.approval.id, acts=table)
        assert ward.refused("gus", stale) == "target_changed"
        ward.open()
        assert await ward.reads() == 200

    play(story)


def test_somebody_else_reviews_and_misuse_bars(play: Play, clock: FakeClock) -> None:
    """C82: open ones are not reviewed; overdue ones are findings; one verdict each; a bar of 30 days after misuse."""

    async def story(made: Ground) -> None:
        ward = Ward(made)
        use = ward.open()
        review = partial(
            service.review, use_id=use.id, verdict=Verdict.UNJUSTIFIED, note="was not on this ward that day"
        )
        assert ward.refused("gina", review) == "break_glass_running"
        clock.advance(timedelta(hours=72))
        assert ward.refused("doctor", review) == "not_permitted"
        findings = partial(service.list_uses, query=UseQuery(findings=True))
        assert [each.id for each in ward.do("gina", findings)] == [use.id]
        assert ward.refused("nurse", partial(service.view_use, use_id=use.id)) == "break_glass_not_found"
        assert ward.do("nurse", partial(service.list_uses, query=UseQuery())) == []

        order = NewPerson(GENERAL, "glen", "Glen", "administrator")
        glen = made.people["glen"] = made.run(partial(identity.add_person, order=order))
        made.run(lambda ctx: identity_store.PEOPLE.change(ctx.tx, {"age_counts_from": ctx.now}, id=glen.id))
        assert ward.refused("glen", review) == "account_too_new"
        ward.do("gina", review)

        assert ward.do("gina", findings) == []
        assert ward.refused("gus", review) == "break_glass_reviewed"
        ward.reopen()
        again = partial(service.open_use, order=NewUse(LAUNCH, REASON))
        assert ward.refused("doctor", again) == "break_glass_barred"

    play(story)


def test_each_person_may_so_often_a_day_and_once_at_a_time(play: Play, clock: FakeClock) -> None:
    async def story(made: Ground) -> None:
        ward = Ward(made)
        again = partial(service.open_use, order=NewUse(LAUNCH, REASON))
        for _ in range(3):
            ward.open()
            assert ward.refused("doctor", again) == "break_glass_open"
            clock.advance(timedelta(minutes=16))

        assert ward.refused("doctor", again) == "break_glass_limit"
        for bad in ("", "now", "x" * 1_001):
            order = NewUse(LAUNCH, bad)
            assert ward.refused("doctor", partial(service.open_use, order=order)) == "reason_invalid"
        other = replace(NewUse(LAUNCH, REASON), launch=LaunchId("lch_other"))
        assert ward.refused("doctor", partial(service.open_use, order=other)) in {
            "launch_not_open",
            "break_glass_limit",
        }

    play(story)


def test_a_crash_before_the_commit_leaves_neither_access_nor_mail(play: Play) -> None:
    """Security decision 3: use, facts, mails and event are one transaction."""

    async def story(made: Ground) -> None:
        ward = Ward(made)

        def crash(ctx: Context) -> None:
            service.open_use(ctx, NewUse(LAUNCH, REASON))
            raise RuntimeError

        with pytest.raises(RuntimeError):
            ward.do("doctor", crash)

        assert await ward.reads() == 404
        assert ward.notices() == []
        assert ward.do("gina", partial(service.list_uses, query=UseQuery())) == []

    play(story)


def test_after_a_restore_nothing_is_open(play: Play) -> None:
    async def story(made: Ground) -> None:
        ward = Ward(made)
        ward.open()

        made.run(service.end_all)

        assert await ward.reads() == 404

    play(story)


def test_an_account_that_lost_its_role_sees_no_launches(play: Play) -> None:
    async def story(made: Ground) -> None:
        ward = Ward(made)

        assert [each.id for each in ward.do("doctor", service.list_openable)] == [LAUNCH]
        assert ward.do("nurse", service.list_openable) == []
        assert ward.refused("gina", service.list_openable) == "break_glass_role"
        assert ward.refused("patient", service.list_openable) == "break_glass_role"

    play(story)
