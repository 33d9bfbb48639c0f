"""What ends by itself, or passes to others, asks for disposal as a withdrawal does; what nobody answers is escalated and not kept for ever (C95)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.disposals import service, store
from hilum.disposals.models import (
    ESCALATE_AFTER,
    KEPT,
    LAPSE_GRACE,
    LOOKED_BACK,
    Cause,
    Disposal,
    DisposalQuery,
)
from hilum.identity.store import people
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import lapses
from hilum.kernel.ids import AppId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE
from hilum.notices import service as notices
from hilum.notices.models import MailKind, NoticeQuery
from hilum.policies.models import GRACE_DAYS_BOUND
from hilum.registry import service as registry
from hilum.registry import store as registry_store
from hilum.registry.models import CertifyOrder, Environment, NewApp
from tests.flows.agreement_ground import SCOPES, Ground
from tests.flows.control_site import build
from tests.flows.vendor_ground import made
from tests.sim.proofs import certify
from tests.sim.world import FakeClock

MERCY = TenantId("mercy")
DAY = timedelta(days=1)
GRACE = 30
"""Days of the low and moderate tier in the shipped rule book."""


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return Ground(build(sqlite_uow, clock))


def follow(ground: Ground) -> list[Disposal]:
    """Run the job, and return all requests."""
    for verb in (service.ask_of_expired, lapses.ask_after_lapses):
        after = ground.site.system(verb, after="")
        while after:
            after = ground.site.system(verb, after=after)
    return requests(ground)


def requests(ground: Ground) -> list[Disposal]:
    found: list[Disposal] = ground.site.system(
        lambda ctx: store.list_requests(ctx.tx, DisposalQuery(), FIRST_PAGE, ctx.now)
    )
    return found


def pass_time(ground: Ground, span: timedelta) -> None:
    """Let time pass, and people sign in again."""
    ground.site.clock.advance(span)
    ground.owner, ground.mary = ground.site.api("acme.owner"), ground.site.api("mary")


def written(ground: Ground, statement: Any) -> None:
    ground.site.system(lambda ctx: ctx.tx.execute(statement) and None)


# --- certifications ------------------------------------------------------------------------------------------------------------


def test_an_app_whose_last_certification_expired_is_asked_once(ground: Ground) -> None:
    """C95, C114: once its grace is over, as if it had been withdrawn; two certifications that end at one moment ask once."""
    ground.site.clock.advance((359 + GRACE) * DAY)
    assert follow(ground) == []

    ground.site.clock.advance(DAY)

    (asked,) = follow(ground)
    assert (asked.cause, asked.app, asked.tenant) == (Cause.CERTIFICATION, ground.app, "")
    assert asked.vendor == ground.vendor
    assert asked.due_at > ground.site.clock.now()
    ground.site.clock.advance(DAY)
    assert follow(ground) == [asked]


def test_an_app_that_is_certified_on_is_not_asked(ground: Ground) -> None:
    ends = ground.site.clock.now() + 500 * DAY
    newest = ground.site.system(registry.certifications_of, app=ground.app)[0]
    order = CertifyOrder(newest.version, Environment.PRODUCTION, SCOPES, ends)
    ground.site.clock.advance(350 * DAY)
    ground.site.system(certify, order=order)

    ground.site.clock.advance((11 + GRACE) * DAY)

    assert follow(ground) == []


def test_whoever_shortens_a_certification_in_the_database_makes_no_vendor_delete_anything(
    ground: Ground,
) -> None:
    """C179."""
    written(ground, update(registry_store.certifications).values(expires_at=ground.site.clock.now()))
    ground.site.clock.advance(DAY)

    assert follow(ground) == []


def test_certifications_that_expired_long_ago_ask_for_nothing(ground: Ground) -> None:
    """After an upgrade the vendors of years are not all asked at once."""
    ground.site.clock.advance(360 * DAY + LOOKED_BACK + (GRACE_DAYS_BOUND + 1) * DAY)

    assert follow(ground) == []


def test_one_whose_grace_was_shortened_after_its_end_is_asked(ground: Ground) -> None:
    """C95: it had up to three months when it ended, so that nobody was asked then; of the book of now its grace is long over."""
    ground.site.clock.advance((360 + GRACE_DAYS_BOUND - 1) * DAY)

    (asked,) = follow(ground)

    assert (asked.cause, asked.app) == (Cause.CERTIFICATION, ground.app)


# --- agreements with a hospital ------------------------------------------------------------------------------------------------


def lapsed(ground: Ground) -> str:
    """Let an agreement run out at a hospital where the app is installed."""
    agreed = ground.agree()
    made(ground.install())
    pass_time(ground, 100 * DAY)
    ground.follow()
    return agreed


def test_an_agreement_that_ran_out_and_was_not_renewed_within_a_month_asks(ground: Ground) -> None:
    """C95, C189."""
    lapsed(ground)
    assert follow(ground) == []

    ground.site.clock.advance(LAPSE_GRACE)

    (asked,) = follow(ground)
    assert (asked.cause, asked.app, asked.tenant) == (Cause.LAPSE, ground.app, MERCY)
    ground.site.clock.advance(DAY)
    assert follow(ground) == [asked]


def test_an_agreement_that_was_renewed_asks_for_nothing(ground: Ground) -> None:
    lapsed(ground)
    ground.agree()

    ground.site.clock.advance(LAPSE_GRACE)

    assert follow(ground) == []


def test_a_vendor_that_took_an_app_over_is_not_asked_for_what_the_hospital_gave_the_former_one(
    ground: Ground,
) -> None:
    """C14, C95: the installation ended with the transfer, so the new vendor's agreement was about nothing that it has."""
    ground.agree()
    made(ground.install())
    ground.site.clock.advance(timedelta(minutes=1))
    made(ground.owner.post(f"/apps/{ground.app}/transfer", json={"to": ground.other}))
    ground.owner = ground.site.api("bolt.owner")
    assert ground.owner.post(f"/apps/{ground.app}/transfer/accept").status_code == 204
    ground.agree(vendor=ground.other)
    version = ground.site.system(registry.certifications_of, app=ground.app)[0].version
    ends = ground.site.clock.now() + 360 * DAY
    ground.site.system(certify, order=CertifyOrder(version, Environment.PRODUCTION, SCOPES, ends))
    pass_time(ground, 100 * DAY)
    ground.follow()

    ground.site.clock.advance(LAPSE_GRACE)

    assert [(each.cause, each.vendor) for each in follow(ground)] == [(Cause.TRANSFER, ground.vendor)]


def test_an_app_that_was_removed_meanwhile_is_asked_by_its_removal_alone(ground: Ground) -> None:
    lapsed(ground)
    (installed,) = ground.mary.get("/installations?tenant=mercy").json()["items"]
    ground.mary.delete(f"/installations/{installed['id']}")

    ground.site.clock.advance(LAPSE_GRACE)

    assert [each.cause for each in follow(ground)] == [Cause.INSTALLATION]


# --- transfers -----------------------------------------------------------------------------------------------------------------


def test_the_former_vendor_of_an_app_is_asked_and_not_the_new_one(ground: Ground) -> None:
    """C14, C95."""
    made(ground.owner.post(f"/apps/{ground.app}/transfer", json={"to": ground.other}))
    other = ground.site.api("bolt.owner")
    assert other.post(f"/apps/{ground.app}/transfer/accept").status_code == 204

    (asked,) = requests(ground)

    assert (asked.cause, asked.vendor, asked.app) == (Cause.TRANSFER, ground.vendor, ground.app)
    assert [each["id"] for each in ground.owner.get("/disposals").json()["items"]] == [asked.id]
    assert other.get("/disposals").json()["items"] == []
    path, body = f"/disposals/{asked.id}/answer", {"answer": "disposed"}
    assert other.post(path, json=body).status_code == 404
    assert made(ground.owner.post(path, json=body), 200)["state"] == "disposed"


def test_the_former_vendor_of_an_app_that_no_hospital_could_have_is_not_asked(ground: Ground) -> None:
    """C14, C95: without a certification for production it has no data of people."""
    about = NewApp(VendorId(ground.vendor), "Draft", "Shows", "Review", "unclassified")
    draft = ground.site.system(registry.add_app, order=about)

    ground.site.system(service.ask_of_former, app_id=draft.id, former=VendorId(ground.vendor))

    assert requests(ground) == []


# --- without an answer ---------------------------------------------------------------------------------------------------------


def unanswered(ground: Ground, cause: str = "x") -> Disposal:
    """Add a request whose deadline is now."""

    def verb(ctx: Any) -> Disposal:
        about = VendorId(ground.vendor), AppId(ground.app), ctx.now, ctx.now, MERCY
        added = Disposal(ctx.ids.new("dsp"), Cause.INSTALLATION, *about)
        assert store.add(ctx.tx, added, cause)
        return added

    found: Disposal = ground.site.system(verb)
    return found


def test_a_request_that_nobody_answers_is_taken_to_the_hospital_once_by_mail(ground: Ground) -> None:
    """C95: two weeks after its deadline; one mail a day about an app, however many there are."""
    mary = ground.site.people["mary"].id
    written(ground, update(people).where(people.c.id == mary).values(mail="m@mercy.example"))
    first, second = unanswered(ground, "a"), unanswered(ground, "b")
    pass_time(ground, ESCALATE_AFTER - DAY)
    assert ground.site.system(service.escalate) == 0

    pass_time(ground, DAY)

    assert ground.site.system(service.escalate) == 2
    assert ground.site.system(service.escalate) == 0
    sent = ground.site.system(notices.list_notices, query=NoticeQuery())
    (mail,) = [each for each in sent if each.kind == MailKind.DISPOSAL_LATE.value]
    assert mail.recipient == "m@mercy.example"
    assert mail.facts["disposal"] in {first.id, second.id}
    recorded = ground.site.api("root").get("/audit/events?action=disposals.request.escalate").json()["items"]
    assert {each["facts"]["disposal"] for each in recorded} == {first.id, second.id}
    shown = ground.mary.get(f"/disposals/{second.id}").json()
    assert (shown["state"], shown["escalated_at"] is None) == ("overdue", False)


def test_one_that_was_answered_late_is_not_escalated(ground: Ground) -> None:
    asked = unanswered(ground)
    pass_time(ground, DAY)
    made(ground.owner.post(f"/disposals/{asked.id}/answer", json={"answer": "disposed"}), 200)

    pass_time(ground, ESCALATE_AFTER)

    assert ground.site.system(service.escalate) == 0


def test_one_without_an_answer_is_kept_a_year_after_its_deadline_and_then_on_record_only(
    ground: Ground,
) -> None:
    asked, answered = unanswered(ground), unanswered(ground, "late")
    pass_time(ground, KEPT)
    assert ground.site.system(service.purge) == 0
    made(ground.owner.post(f"/disposals/{answered.id}/answer", json={"answer": "disposed"}), 200)

    pass_time(ground, DAY)

    assert ground.site.system(service.purge) == 1
    assert ground.site.system(service.purge) == 0
    assert [each.id for each in requests(ground)] == [answered.id]
    found = ground.site.api("root").get("/audit/events?action=disposals.request.give_up").json()
    assert asked.id in str(found)
