"""What the registry's verbs decide by themselves, whoever calls them: rights, what happens once, what is on record, and who sees which apps."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import update

from hilum.apps.registry import app_edits, service, store
from hilum.apps.registry.app_edit_models import AppEditOrder
from hilum.apps.registry.held_models import EditState
from hilum.apps.registry.models import AppOrder, AppsQuery, Environment, NewVendor, Profile
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix.models import SYSTEM_CLIENT, ExceptionKind, ExceptionOrder
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.sim.world import FakeClock
from tests.store import registry_ground
from tests.store.registry_ground import GENERAL, GINA, MARY, RITA, ROOT, SAM, Ground

ground = registry_ground.ground
PHYSICIAN = replace(GINA, roles=frozenset({"physician"}))
EDITS = app_edits.held_edits(barred=lambda _, __: False)


def member(vendor: VendorId, *roles: str) -> Actor:
    return Actor(ActorKind.MEMBER, "per_m", roles=frozenset(roles), vendor=vendor)


def on_record(ground: Ground, action: str) -> list[Any]:
    """Return the facts of what was done, newest first; refusals apart."""
    found = ground.do(SYSTEM, audit.list_events, EventQuery(action=action)).events
    return [each.event.facts for each in found if each.event.outcome == "done"]


def own_app(ground: Ground, name: str = "Ward system") -> Any:
    """Add an app that exists at one hospital only, and return it with its version."""
    return ground.do(SYSTEM, service.add_single_tenant_app, GENERAL, name, "Its EHR", category=SYSTEM_CLIENT)


# --- who may ---------------------------------------------------------------------------------------------------------------------


def test_the_room_itself_refuses_who_may_not(ground: Ground) -> None:
    """C111: no route and no page has to have asked before."""
    certification = ground.certify()
    app, version, ends = ground.app.id, ground.version.id, ground.uow.clock.now() + timedelta(days=1)
    waived = ExceptionOrder(
        ExceptionKind.WAIVED_REQUIREMENT,
        app,
        "It is booked.",
        tier="low",
        requirement="evidence.data_flow",
        control="A nurse looks.",
        ends_at=ends,
    )
    raised = ExceptionOrder(ExceptionKind.RAISED_TIER, app, "It is riskier.", version, tier="high")
    for verb, args, may_not in (
        (service.withdraw_certification, (certification.id,), (ROOT, SAM, GINA)),
        (service.change_category, (app, "order_entry", "It writes."), (SAM, GINA)),
        (service.ask_exception, (waived,), (RITA, SAM, GINA)),
        (service.ask_exception, (raised,), (ROOT, SAM, GINA)),
        # Whoever may change a vendor's apps does not speak for it by that (C6).
        (service.save_profile, (app, Profile()), (RITA, GINA, member(ground.vendor.id, "vendor_developer"))),
        (service.suspend_app, (app, "Why"), (RITA, GINA)),
        (service.resume_app, (app, "Why"), (RITA, GINA)),
        (service.ask_again, (app, "Why"), (RITA, GINA)),
        (service.list_delta_reviews, (), (GINA, member(ground.vendor.id, "vendor_owner"))),
        (service.find_vendors, ("V", 9), (GINA, member(ground.vendor.id, "vendor_owner"))),
        (service.vendor_names, ({ground.vendor.id},), (PHYSICIAN, member(ground.vendor.id))),
        (service.app_names, ({app},), (PHYSICIAN, member(ground.vendor.id))),
        (service.browse_apps, (AppsQuery(),), (PHYSICIAN, member(ground.vendor.id, "vendor_owner"))),
        (EDITS.approve, ("aed_1", ""), (ROOT, SAM, GINA)),
        (EDITS.list_page, (FIRST_PAGE,), (GINA, PHYSICIAN, member(ground.vendor.id))),
    ):
        for actor in may_not:
            with pytest.raises(NotPermitted):
                ground.do(actor, verb, *args)
    assert ground.do(SYSTEM, service.get_app, app) == ground.app


def test_edits_that_wait_are_listed_to_the_staff_and_to_a_vendors_own_members(ground: Ground) -> None:
    """C12."""
    for actor in (RITA, SYSTEM, member(ground.vendor.id, "vendor_owner")):
        assert ground.do(actor, EDITS.list_page, FIRST_PAGE) == []


def test_a_held_edit_is_refused_by_a_reviewer_and_not_by_others(ground: Ground) -> None:
    """C12."""
    ground.certify(Environment.PRODUCTION)
    asked = AppEditOrder(ground.app.revision, purpose="Something else")
    _, waiting = ground.do(ROOT, app_edits.edit, ground.app.id, asked)

    for actor in (SAM, member(ground.vendor.id, "vendor_security")):
        with pytest.raises(NotPermitted):
            ground.do(actor, EDITS.refuse, waiting.id, "Why")

    assert ground.do(RITA, EDITS.refuse, waiting.id, "Why").state is EditState.REFUSED


# --- once, and on record -----------------------------------------------------------------------------------------------------------


def test_a_certification_is_withdrawn_once_and_the_last_one_ends_what_the_app_has(ground: Ground) -> None:
    """C95: while another one is in force nobody is asked to delete anything."""
    first, last = ground.certify(), ground.certify()
    ended: list[tuple[AppId, str]] = []
    withdraw = partial(service.withdraw_certification, ended=lambda _, *of: ended.append(of))

    ground.do(RITA, withdraw, first.id)
    with pytest.raises(Conflict):
        ground.do(RITA, withdraw, first.id)
    assert ended == []
    ground.do(RITA, withdraw, last.id)

    assert ended == [(ground.app.id, last.id)]
    assert on_record(ground, "registry.certification.withdraw") == [
        {"certification": each.id, "version": ground.version.id} for each in (last, first)
    ]


def test_a_move_to_another_category_names_what_is_in_force_and_is_on_record(
    ground: Ground, clock: FakeClock
) -> None:
    """C21: neither what was withdrawn nor what has expired is certified again."""
    ended = ground.certify()
    ground.do(RITA, service.withdraw_certification, ended.id)
    ground.certify(expires_at=ground.uow.clock.now() + timedelta(seconds=1))
    clock.advance(timedelta(seconds=1))
    stands, epoch = ground.certify(), ground.epoch()

    _, moved = ground.do(RITA, service.change_category, ground.app.id, "order_entry", "It writes orders.")

    assert [each.certification for each in moved] == [stands.id]
    assert ground.epoch() > epoch, "the next snapshot judges it by its new category"
    (facts,) = on_record(ground, "registry.app.category")
    assert (facts["from"], facts["to"]) == ("care_recommendations", "order_entry")
    assert (facts["reason"], list(facts["certify_again"])) == ("It writes orders.", [stands.id])
    assert on_record(ground, "registry.delta_review.open"), "what is riskier there is reviewed again"
    app, _ = own_app(ground)
    with pytest.raises(Invalid) as refused:
        ground.do(RITA, service.change_category, app.id, "order_entry", "It writes orders.")
    assert refused.value.fields == {"category": "category_of_a_system_client"}


def test_of_two_who_move_an_app_at_one_moment_the_second_is_refused(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = service.certifications_of

    def overtaken(ctx: Context, app: AppId) -> Any:
        ctx.tx.execute(update(store.apps).values(category="scheduling"))
        return read(ctx, app)

    monkeypatch.setattr(service, "certifications_of", overtaken)
    with pytest.raises(Conflict):
        ground.do(RITA, service.change_category, ground.app.id, "order_entry", "It writes orders.")

    assert on_record(ground, "registry.app.category") == []


def test_an_app_passes_to_another_vendor_once_with_its_name_and_a_record(
    ground: Ground, clock: FakeClock
) -> None:
    """C14, C212: the former vendor may not use the name any more, and what was issued before it stays dead."""
    to = ground.do(ROOT, service.add_vendor, NewVendor("Zen", "help@z.example", "sec@z.example", ""))
    clock.advance(timedelta(hours=1))

    ground.do(SYSTEM, service.change_owner, ground.app, to.id)
    with pytest.raises(Conflict):
        ground.do(SYSTEM, service.change_owner, ground.app, to.id)

    now = ground.uow.clock.now()
    moved = ground.do(SYSTEM, service.get_app, ground.app.id)
    assert (moved.vendor, moved.owner_since, moved.active_since) == (to.id, now, now)
    assert on_record(ground, "registry.app.change_owner") == [
        {"from": ground.vendor.id, "to": to.id, "certifications_withdrawn": 0}
    ]
    for vendor, fault in ((ground.vendor.id, "name_imitates_another"), (to.id, "")):
        assert ground.do(ROOT, service.imitation_fault, vendor, ground.app.name) == fault


def test_that_people_are_asked_again_is_on_record_with_its_reason(ground: Ground) -> None:
    """C90."""
    ground.do(SAM, service.ask_again, ground.app.id, "After an incident.")

    assert on_record(ground, "registry.app.ask_again") == [{"reason": "After an incident."}]


def test_every_process_learns_that_an_app_was_deleted(ground: Ground) -> None:
    app, _ = own_app(ground)
    epoch = ground.epoch()

    ground.do(SYSTEM, service.delete_apps, [app.id])

    assert ground.epoch() > epoch


# --- who sees which apps -----------------------------------------------------------------------------------------------------------


def test_an_app_of_one_hospital_is_seen_there_and_by_the_staff_alone(ground: Ground) -> None:
    """C145: in no list, by no name, and by no refusal that another id would not get."""
    app, version = own_app(ground)
    ends = ground.uow.clock.now() + timedelta(days=1)
    everyone = [ground.app.id]

    for actor, there in ((GINA, True), (RITA, True), (MARY, False)):
        seen = sorted([*everyone, app.id] if there else everyone)
        for page in (FIRST_PAGE, PageQuery(sort="name")):
            assert sorted(each.id for each in ground.do(actor, service.list_apps, page)) == seen
        found = ground.do(actor, service.browse_apps, AppsQuery())
        assert (sorted(each.id for each in found.apps), found.total) == (seen, len(seen))
        assert sorted(ground.do(actor, service.app_names, {app.id, ground.app.id})) == seen
        if there:
            assert ground.do(actor, service.view_app, app.id) == app
    for verb, args in (
        (service.view_app, (app.id,)),
        (service.assess_version, (version.id,)),
        (
            service.ask_exception,
            (
                ExceptionOrder(
                    ExceptionKind.AUTONOMOUS_WRITES,
                    app.id,
                    "Nights are long.",
                    version.id,
                    MARY.tenant,
                    control="A nurse looks.",
                    ends_at=ends,
                ),
            ),
        ),
    ):
        with pytest.raises(NotFound):
            ground.do(MARY, verb, *args)


def test_a_member_pages_through_their_own_vendor_once(ground: Ground) -> None:
    own = member(ground.vendor.id, "vendor_owner")

    assert ground.do(own, service.list_vendors) == [ground.vendor]
    assert ground.do(own, service.list_vendors, PageQuery(ground.vendor.id)) == []


def test_every_order_of_the_catalogue_passes_each_app_once_whatever_the_page(ground: Ground) -> None:
    for name in ("alpha", "Beta", "gamma", "gamma"):
        own_app(ground, name)
    by_id = sorted(ground.do(ROOT, service.list_apps), key=lambda each: str(each.id))
    by_name = sorted(by_id, key=lambda each: str(each.name).lower())
    for order, apps in (
        (AppOrder.NAME, by_name),
        (AppOrder.NAME_DOWN, by_name[::-1]),
        (AppOrder.OLDEST, by_id),
        (AppOrder.NEWEST, by_id[::-1]),
    ):
        for limit in (1, 2, len(apps)):
            found: list[Any] = []
            page: Any = None
            while len(found) <= len(apps) and (page is None or page.next):
                query = AppsQuery(order=order, limit=limit, after=page.next if page else "")
                page = ground.do(ROOT, service.browse_apps, query)
                found += page.apps
            assert found == apps


def test_a_cursor_that_is_none_is_refused_by_its_field_and_a_filter_leaves_the_others_out(
    ground: Ground,
) -> None:
    for after in ("x", "bnVsbA", "e30"):
        with pytest.raises(Invalid) as refused:
            ground.do(ROOT, service.browse_apps, AppsQuery(after=after))
        assert refused.value.fields == {"after": "cursor_unknown"}

    for suspended, expected in ((None, 1), (False, 1), (True, 0)):
        assert ground.do(ROOT, service.browse_apps, AppsQuery(suspended=suspended)).total == expected
