"""After a withdrawal or an end the vendor is asked to delete what the app has, and answers (C95)."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import update

from hilum.apps.contacts import service as contacts
from hilum.apps.contacts import store as contacts_store
from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.apps.deletion_requests import service, store
from hilum.apps.deletion_requests.models import (
    KEPT,
    LOOKED_BACK,
    Cause,
    DeletionRequest,
    DeletionRequestQuery,
)
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry import store as registry_store
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp
from hilum.authorization.consent import service as consent
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, AuthorizationId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE
from hilum.policy.matrix.models import GRACE_DAYS_BOUND
from hilum.records.notices import service as notices
from hilum.records.notices.models import NewEndpoint, Notice, NoticeQuery
from tests.flows.agreement_ground import SCOPES, Ground
from tests.flows.authorize_flow import Front, front
from tests.flows.connected_ground import connect, manage
from tests.flows.control_site import build, problem
from tests.flows.token_flow import MERCY, Platform
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.notice_ground import NoticeGround
from tests.sim.proofs import certify
from tests.sim.webhook_receiver import webhook_receiver
from tests.sim.world import FakeClock

__all__ = ["front"]
DAY = timedelta(days=1)
GRACE = 30
"""Days of the low and moderate tier in the shipped policy."""


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return Ground(build(sqlite_uow, clock))


def requests(front: Platform) -> list[DeletionRequest]:
    return front.run(lambda ctx: store.list_requests(ctx.tx, DeletionRequestQuery(), FIRST_PAGE))


def notices_of(front: Platform) -> list[Notice]:
    return front.run(lambda ctx: notices.list_notices(ctx, NoticeQuery()))


def remove(front: Front, client: str = "web") -> None:
    browser = front.browser("pat")
    manage(browser)
    browser.press(browser.form("authorization"), ("action", "remove"))


def prove_contact(front: Front) -> None:
    def verb(ctx: Context) -> None:
        order = NewContact(front.vendor, ContactKind.OWNER, "owner@acme.example")
        added = contacts.add_contact(ctx, order, link_url=lambda _: "https://hilum.example/contacts/x")
        ends = ctx.now + timedelta(days=90)
        contacts_store.CONTACTS.save(ctx.tx, replace(added, proved_at=ctx.now, proof_ends_at=ends))

    front.run(verb)


# --- what people and hospitals end ---------------------------------------------------------------------------------------------


def test_the_vendor_gets_a_webhook_and_a_mail_and_neither_has_the_patient(front: Front) -> None:
    """C95."""
    connect(front)
    prove_contact(front)
    with webhook_receiver() as receiver:
        order = NewEndpoint(front.vendor, receiver.url)
        front.run(partial(notices.add_endpoint, order=order, private=True))
        remove(front)
        NoticeGround(front.uow).hooks().run()

    (asked,) = requests(front)
    assert (asked.cause, asked.tenant, asked.patient) == (Cause.AGREEMENT, MERCY, "p1")
    assert asked.due_at == front.clock.now() + timedelta(days=30)
    (added,) = front.events("deletion_requests.request.add")
    assert (added.facts["deletion_request"], added.facts["webhooks"], added.facts["mails"]) == (
        asked.id,
        1,
        1,
    )
    (hook,) = receiver.received
    assert json.loads(hook.body)["data"]["deletion_request_id"] == asked.id
    mail = next(each for each in notices_of(front) if each.kind == "deletion_request_requested")
    assert mail.recipient == "owner@acme.example"
    for sent in (hook.body.decode(), str(mail.facts), str(added.facts)):
        assert "p1" not in sent
        assert asked.authorization not in sent


def test_of_many_requests_about_an_app_the_vendor_gets_one_mail_a_day(front: Front) -> None:
    prove_contact(front)
    app = front.clients["web"].app
    for n in range(3):
        front.run(partial(service.ask_of_hospital, tenant=MERCY, app_id=app, installation=f"ins_{n}"))

    assert [each.kind for each in notices_of(front)].count("deletion_request_requested") == 1


def test_a_withdrawal_that_fails_asks_for_nothing(front: Front) -> None:
    connect(front)
    prove_contact(front)
    before = len(notices_of(front))

    def fail(ctx: Context) -> None:
        (entry,) = consent.list_for_person(ctx, MERCY, front.people["pat"].id)
        consent.withdraw(ctx, entry.id)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        front.run(fail)

    assert requests(front) == []
    assert len(notices_of(front)) == before


def test_each_agreement_is_asked_about_once_and_a_narrowed_one_not(front: Front) -> None:
    """C95: what goes on is not to be deleted."""
    connect(front)
    (entry,) = front.run(partial(consent.list_for_person, tenant=MERCY, person=front.people["pat"].id))
    front.run(lambda ctx: consent.narrow(ctx, entry.id, ("launch/patient", "patient/Goal.rs")))
    assert requests(front) == []

    for _ in range(2):
        front.run(lambda ctx: consent.withdraw(ctx, entry.id))

    assert [each.authorization for each in requests(front)] == [entry.id]


def test_a_hospital_that_removes_an_app_asks_once_for_everything(front: Front) -> None:
    connect(front)
    app = front.clients["web"].app

    def remove_it(ctx: Context) -> None:
        found = installations.list_installations(ctx, MERCY)
        installations.uninstall(ctx, next(each.id for each in found if each.app == app))

    front.run(remove_it)

    (asked,) = requests(front)
    assert (asked.cause, asked.tenant, asked.app, asked.patient) == (Cause.INSTALLATION, MERCY, app, "")


def test_the_last_certification_that_is_withdrawn_asks_everywhere(front: Front) -> None:
    app = front.clients["web"].app

    def withdraw(ctx: Context) -> None:
        (only,) = registry.certifications_of(ctx, app)
        registry.withdraw_certification(ctx, only.id, ended=service.ask_of_app)

    front.run(withdraw)

    (asked,) = requests(front)
    assert (asked.cause, asked.tenant) == (Cause.CERTIFICATION, "")


def test_a_hospitals_own_system_has_no_vendor_to_ask(front: Front) -> None:
    """C95."""
    own = front.clients["ehr"].app
    assert front.run(partial(registry.get_app, app_id=own)).tenant == MERCY

    front.run(partial(service.ask_of_hospital, tenant=MERCY, app_id=own, installation="ins_1"))

    assert requests(front) == []


# --- what expires, and what passes to others -----------------------------------------------------------------------------------


def follow(ground: Ground) -> list[DeletionRequest]:
    """Run the job, and return all requests."""
    after = ground.site.system(service.ask_of_expired, after="")
    while after:
        after = ground.site.system(service.ask_of_expired, after=after)
    return asked_of(ground)


def asked_of(ground: Ground) -> list[DeletionRequest]:
    found: list[DeletionRequest] = ground.site.system(
        lambda ctx: store.list_requests(ctx.tx, DeletionRequestQuery(), FIRST_PAGE)
    )
    return found


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
    now = ground.site.clock.now()
    ended = update(registry_store.certifications).values(expires_at=now)
    ground.site.system(lambda ctx: ctx.tx.execute(ended) and None)
    ground.site.clock.advance(DAY)

    assert follow(ground) == []


def test_certifications_that_expired_long_ago_ask_for_nothing(ground: Ground) -> None:
    """After an upgrade the vendors of years are not all asked at once."""
    ground.site.clock.advance(360 * DAY + LOOKED_BACK + (GRACE_DAYS_BOUND + 1) * DAY)

    assert follow(ground) == []


def test_one_whose_grace_was_shortened_after_its_end_is_asked(ground: Ground) -> None:
    """C95: it had up to three months when it ended, so that nobody was asked then; of the policy of now its grace is long over."""
    ground.site.clock.advance((360 + GRACE_DAYS_BOUND - 1) * DAY)

    (asked,) = follow(ground)

    assert (asked.cause, asked.app) == (Cause.CERTIFICATION, ground.app)


def test_the_former_vendor_of_an_app_is_asked_and_not_the_new_one(ground: Ground) -> None:
    """C14, C95."""
    made(ground.owner.post(f"/apps/{ground.app}/transfer", json={"to": ground.other}))
    other = ground.site.api("bolt.owner")
    assert other.post(f"/apps/{ground.app}/transfer/accept").status_code == 204

    (asked,) = asked_of(ground)

    assert (asked.cause, asked.vendor, asked.app) == (Cause.TRANSFER, ground.vendor, ground.app)
    assert [each["id"] for each in ground.owner.get("/deletion-requests").json()["items"]] == [asked.id]
    assert other.get("/deletion-requests").json()["items"] == []
    path, body = f"/deletion-requests/{asked.id}/answer", {"answer": "deleted"}
    assert other.post(path, json=body).status_code == 404
    assert made(ground.owner.post(path, json=body), 200)["state"] == "deleted"


def test_the_former_vendor_of_an_app_that_no_hospital_could_have_is_not_asked(ground: Ground) -> None:
    """C14, C95: without a certification for production it has no data of people."""
    about = NewApp(VendorId(ground.vendor), "Draft", "Shows", "Review", "unclassified")
    draft = ground.site.system(registry.add_app, order=about)

    ground.site.system(service.ask_of_former, app_id=draft.id, former=VendorId(ground.vendor))

    assert asked_of(ground) == []


# --- what is answered ----------------------------------------------------------------------------------------------------------


def add_request(ctx: Context, vendor: str, n: int, tenant: str = "general") -> None:
    about = VendorId(vendor), AppId("app_1"), ctx.now, TenantId(tenant), AuthorizationId("azr_1"), "p1"
    request = DeletionRequest(ctx.ids.new("dlr"), Cause.AGREEMENT, *about)
    assert store.add(ctx.tx, request, f"{vendor}/{n}")
    assert not store.add(ctx.tx, replace(request, id="dlr_again"), f"{vendor}/{n}"), "once for each cause"


def test_by_api_a_vendor_sees_its_own_a_hospital_those_about_it_and_the_staff_all(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C95, on both databases: list by page, show, answer, and nothing of others."""
    site = build(uow, clock)
    own, other = furnish_vendor(site, "Acme", "acme"), furnish_vendor(site, "Bravo", "bravo")
    for n in range(5):
        site.system(add_request, vendor=own, n=n)
    site.system(add_request, vendor=other, n=1, tenant="children")
    owner, bravo = site.api("acme.owner"), site.api("bravo.owner")

    first = owner.get("/deletion-requests", params={"limit": 3}).json()
    rest = owner.get("/deletion-requests", params={"limit": 3, "after": first["next"]}).json()
    mine = [*first["items"], *rest["items"]]

    assert len({each["id"] for each in mine}) == 5
    assert {each["vendor"] for each in mine} == {own}
    assert len(site.api("gina").get("/deletion-requests").json()["items"]) == 5
    assert len(site.api("carl").get("/deletion-requests").json()["items"]) == 1
    assert len(site.api("sam").get("/deletion-requests").json()["items"]) == 6
    problem(site.api("gina").get("/deletion-requests?tenant=children"), 403, "not_permitted")
    problem(bravo.get(f"/deletion-requests?vendor={own}"), 403, "not_permitted")
    path = f"/deletion-requests/{mine[0]['id']}"
    problem(bravo.get(path), 404, "deletion_request_not_found")
    problem(bravo.post(f"{path}/answer", json={"answer": "deleted"}), 404, "deletion_request_not_found")
    problem(site.api("ann").get(path), 403, "not_permitted")
    problem(site.api("root").post(f"{path}/answer", json={"answer": "deleted"}), 403, "not_permitted")
    developer = site.api("acme.developer")
    problem(developer.post(f"{path}/answer", json={"answer": "deleted"}), 403, "not_permitted")

    for refused in ({"answer": "kept"}, {"answer": "deleted", "reason": "x"}, {"answer": "open"}):
        assert owner.post(f"{path}/answer", json=refused).status_code == 422, refused
    kept = {"answer": "kept", "reason": "Invoices"}
    done = made(owner.post(f"{path}/answer", json=kept), 200)
    assert (done["state"], done["reason"]) == ("kept", "Invoices")
    assert done["answered_by"] == f"member:{site.people['acme.owner'].id}"
    assert made(owner.post(f"{path}/answer", json={"answer": "deleted"}), 200)["state"] == "deleted"
    for answer in (kept, {"answer": "deleted"}):
        problem(owner.post(f"{path}/answer", json=answer), 409, "deletion_request_answered")
    assert len(owner.get("/deletion-requests?state=open").json()["items"]) == 4
    recorded = site.api("root").get("/audit/events?action=deletion_requests.request.answer").json()
    answers = [each["facts"].get("answer") for each in recorded["items"] if each["outcome"] == "done"]
    assert answers == ["deleted", "kept"]


def test_only_who_answers_for_the_vendor_sees_the_patient(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    """C95."""
    site = build(sqlite_uow, clock)
    site.system(add_request, vendor=furnish_vendor(site, "Acme", "acme"), n=1)
    owner = site.api("acme.owner")
    (listed,) = owner.get("/deletion-requests").json()["items"]
    assert "patient" not in listed

    path = f"/deletion-requests/{listed['id']}"

    assert made(owner.get(path), 200)["patient"] == "p1"
    for username in ("acme.developer", "gina", "root", "sam"):
        assert made(site.api(username).get(path), 200)["patient"] == "", username
    assert "p1" not in owner.post(f"{path}/answer", json={"answer": "deleted"}).text


def test_a_request_is_kept_for_a_while_and_then_on_record_only(ground: Ground) -> None:
    ground.site.system(add_request, vendor=ground.vendor, n=1)
    ground.site.clock.advance(KEPT)
    assert ground.site.system(service.purge) == 0

    ground.site.clock.advance(DAY)

    assert ground.site.system(service.purge) == 1
    assert asked_of(ground) == []
