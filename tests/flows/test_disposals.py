"""After a withdrawal the vendor is asked to delete what the app has, and its answer is tracked (C95)."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from joserfc.jwk import KeySet

from hilum.consent import service as consent
from hilum.contacts import service as contacts
from hilum.contacts import store as contacts_store
from hilum.contacts.models import ContactKind, NewContact
from hilum.disposals import service, store
from hilum.disposals.models import EVENT_URI, Answer, Cause, Disposal, DisposalQuery
from hilum.infra.context import Context
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import service as installations
from hilum.kernel.ids import AppId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.notices import service as notices
from hilum.notices.models import Channel, NewEndpoint, Notice, NoticeQuery
from hilum.policies.document import read_book, render
from hilum.registry import service as registry
from tests.flows.back_channel import BASE, MERCY, OTHER, Platform
from tests.flows.connected_ground import connect, manage
from tests.flows.control_site import build, problem
from tests.flows.front_channel import Front, front
from tests.flows.rule_book_ground import everywhere, narrow_rule_book
from tests.flows.vendor_ground import furnish_vendor
from tests.sim.notice_ground import NoticeGround
from tests.sim.one_world import in_one_world
from tests.sim.webhook_receiver import webhook_receiver
from tests.sim.world import FakeClock
from tests.unit.policies.books import document

__all__ = ["front"]


def requests(front: Platform) -> list[Disposal]:
    return front.run(lambda ctx: store.list_requests(ctx.tx, DisposalQuery(), FIRST_PAGE, ctx.now))


def announce(front: Platform) -> int:
    return front.run(partial(service.announce, issuer=BASE))


def notices_of(front: Platform) -> list[Notice]:
    return front.run(lambda ctx: notices.list_notices(ctx, NoticeQuery()))


def remove(front: Front, client: str = "web") -> None:
    browser = front.browser("pat")
    manage(browser)
    browser.press(browser.form("authorization"), ("action", "remove"))


def add_endpoint(front: Front, url: str) -> None:
    order = NewEndpoint(front.vendor, url)
    made = front.run(partial(notices.add_endpoint, order=order, private=True))
    # Two people agreed that it receives requests for disposal.
    front.run(partial(notices.agree_endpoint, endpoint=made.endpoint, by="member:per_second"))


def prove_contact(front: Front) -> None:
    def verb(ctx: Context) -> None:
        order = NewContact(front.vendor, ContactKind.OWNER, "owner@acme.example")
        added = contacts.add_contact(ctx, order, link_url=lambda _: "https://hilum.example/contacts/x")
        ends = ctx.now + timedelta(days=90)
        contacts_store.CONTACTS.save(ctx.tx, replace(added, proved_at=ctx.now, proof_ends_at=ends))

    front.run(verb)


def opened(front: Platform, text: str) -> dict[str, Any]:
    """Verify a signed text as anybody can, with the published keys alone; return its event."""
    published = front.run(partial(keys.public_jwks, purpose=Purpose.DISPOSAL, ring=""))
    token = jwt.decode(text, KeySet.import_key_set(published), algorithms=["RS256"])  # type: ignore[arg-type]
    assert token.header["typ"] == "secevent+jwt"
    assert token.claims["iss"] == BASE
    found: dict[str, Any] = token.claims["events"][EVENT_URI]
    # For the client of the agreement alone, since it names the patient as that client knew them.
    assert token.claims["aud"] == [found["client_id"]]
    return found


def test_the_app_receives_a_signed_request_and_a_mail_has_no_patient(front: Front) -> None:
    """C95: webhook with a text that anybody can verify, and mail to the proved contact."""
    connect(front)
    prove_contact(front)
    with webhook_receiver() as receiver:
        add_endpoint(front, receiver.url)
        remove(front)
        (asked,) = requests(front)
        assert announce(front) == 1
        assert announce(front) == 0
        NoticeGround(front.uow).hooks().run()

    assert [each.facts["disposal"] for each in front.events("disposals.request.add")] == [asked.id]
    (sent,) = front.events("disposals.request.send")
    assert (sent.facts["disposal"], sent.facts["webhooks"], sent.facts["mailed"]) == (asked.id, 1, True)
    (hook,) = receiver.received
    data = json.loads(hook.body)["data"]
    event = opened(front, data["request"])
    assert event["patient"] == "p1"
    assert event["hospital"] == MERCY
    assert event["client_id"] == front.clients["web"].id
    assert event["authorization"] == asked.authorization
    assert data["disposal_id"] == asked.id
    assert asked.due_at == front.clock.now() + timedelta(days=30)
    mail = next(each for each in notices_of(front) if each.kind == "disposal_requested")
    assert mail.recipient == "owner@acme.example"
    sealed = next(each for each in notices_of(front) if each.channel is Channel.WEBHOOK)
    for stored in (mail, sealed):
        assert "p1" not in str(stored.facts)
        assert asked.authorization not in str(stored.facts)
    assert sealed.sealed == "", "deleted once it was delivered"


def test_a_text_that_was_changed_or_signed_by_another_does_not_verify(front: Front) -> None:
    connect(front)
    remove(front)
    (asked,) = requests(front)
    front.add_app("beside it", front.clients["symmetric"].type, beside="web")
    text = front.run(lambda ctx: service.signed_text(ctx, asked, issuer=BASE))
    assert opened(front, text)["patient"] == "p1"
    head, body, signature = text.split(".")

    with pytest.raises(BadSignatureError):
        opened(front, f"{head}.{body[:-2]}AA.{signature}")


def test_a_crash_before_the_commit_loses_nothing_and_sends_nothing_twice(front: Front) -> None:
    """C95: the mark and the notices are one transaction; the withdrawal and the request are another."""
    connect(front)
    prove_contact(front)
    remove(front)
    before = len(notices_of(front))

    def crash(ctx: Context) -> None:
        service.announce(ctx, issuer=BASE)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        front.run(crash)
    assert len(notices_of(front)) == before

    announce(front)
    assert len(notices_of(front)) == before + 1
    announce(front)
    assert len(notices_of(front)) == before + 1


def test_a_withdrawal_that_fails_asks_for_nothing(front: Front) -> None:
    connect(front)

    def fail(ctx: Context) -> None:
        (entry,) = consent.list_for_person(ctx, MERCY, front.people["pat"].id)
        consent.withdraw(ctx, entry.id)
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        front.run(fail)

    assert requests(front) == []


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


def connected(front: Front, client: str = "symmetric") -> Disposal:
    """Let a confidential client's agreement end; return the request."""
    front.earn(client)

    def end(ctx: Context) -> None:
        for entry in consent.list_for_person(ctx, MERCY, front.people["dora"].id):
            consent.withdraw(ctx, entry.id)

    front.run(end)
    return next(each for each in requests(front) if each.client == front.clients[client].id)


def listed(front: Front, client: str) -> Any:
    form: dict[str, Any] = {"content-type": "application/x-www-form-urlencoded"}
    return front.post("disposals", client, {}, **form)


def confidential(front: Front) -> str:
    assert front.secrets["symmetric"]
    return "symmetric"


def test_the_app_reads_and_answers_with_its_own_credentials(front: Front) -> None:
    """C95: also after the webhook was lost; what it keeps it keeps by a law."""
    client = confidential(front)
    asked = connected(front, client)

    found = listed(front, client).json()["disposals"]

    assert [each["disposal"] for each in found] == [asked.id]
    assert opened(front, found[0]["request"])["patient"] == "p1"
    refused = front.post("disposals", client, {"disposal": asked.id, "answer": "retained"})
    assert refused.status_code == 400
    assert "legal_reason" in refused.json()["error_description"]
    kept = {"disposal": asked.id, "answer": "retained", "legal_reason": "Medical device file"}
    assert front.post("disposals", client, kept).status_code == 200
    assert front.post("disposals", client, kept).status_code == 200, "a repeated answer is answered alike"
    assert listed(front, client).json() == {"disposals": []}
    assert front.post("disposals", client, {"disposal": asked.id, "answer": "disposed"}).status_code == 200
    assert front.post("disposals", client, kept).status_code == 400
    recorded = front.events("disposals.request.answer")
    assert [each.facts["answer"] for each in recorded] == ["disposed", "retained"]
    front.clock.advance(timedelta(days=31))
    assert front.run(service.mark_overdue) == 0, "what was answered in time is no finding"


@in_one_world(
    "fields",
    [
        {"disposal": "dsp_unknown", "answer": "disposed"},
        {"answer": "disposed"},
        {"disposal": "dsp_unknown"},
        {"disposal": "dsp_unknown", "answer": "burnt"},
        {"disposal": "dsp_\x00", "answer": "disposed"},
        {"disposal": "dsp_unknown", "answer": "retained", "legal_reason": "\x00"},
    ],
)
def test_an_answer_to_nothing_is_refused(front: Front, fields: dict[str, str]) -> None:
    assert front.post("disposals", confidential(front), fields).status_code == 400


def test_nobody_answers_for_another_app_nor_without_proof(front: Front) -> None:
    client = confidential(front)
    asked = connected(front, client)
    answer = {"disposal": asked.id, "answer": "disposed"}

    assert front.post("disposals", "web", answer).json()["error"] == "unauthorized_client"
    assert front.events("authserver.token.refuse")[0].reason == "unauthorized_client"
    wrong = front.http.post(
        f"/t/{MERCY}/oauth/disposals",
        data=answer | {"client_id": front.clients[client].id},
    )
    assert wrong.status_code == 401
    others = [
        name
        for name, found in front.clients.items()
        if found.app != asked.app
        and (front.secrets[name] or found.jwks is not None)
        and "resource" not in name
        and name != "ehr"
    ]
    assert others
    for other in others:
        assert front.post("disposals", other, answer).status_code == 400, other
        assert listed(front, other).json() == {"disposals": []}
    assert requests(front)[0].answer is None


def test_what_a_former_vendor_left_open_hides_no_request_of_the_new_one(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C95: only so many are listed at once, and the new vendor cannot answer the others away."""
    client = confidential(front)
    asked = connected(front, client)
    monkeypatch.setattr(store, "OPEN_BOUND", 2)
    older = replace(asked, vendor=VendorId("vnd_former"))
    elsewhere = replace(asked, id="dsp_0x", tenant=OTHER)

    def add(ctx: Context) -> None:
        for n in range(3):
            store.add(ctx.tx, replace(older, id=f"dsp_0{n}"), f"former/{n}")
        store.add(ctx.tx, elsewhere, "elsewhere")

    front.run(add)

    found = listed(front, client).json()["disposals"]

    assert [each["disposal"] for each in found] == [asked.id]
    for unseen in ("dsp_00", elsewhere.id):
        answer = front.post("disposals", client, {"disposal": unseen, "answer": "disposed"})
        assert answer.status_code == 400, "neither for the former vendor nor at another hospital"


def test_no_answer_in_time_becomes_a_finding_and_stays_one(front: Front) -> None:
    """C95."""
    client = confidential(front)
    asked = connected(front, client)
    assert front.run(service.mark_overdue) == 0

    front.clock.advance(timedelta(days=30))

    assert front.run(service.mark_overdue) == 1
    assert front.run(service.mark_overdue) == 0
    assert len(front.events("disposals.request.overdue")) == 1
    front.post("disposals", client, {"disposal": asked.id, "answer": "disposed"})
    (late,) = requests(front)
    assert late.overdue_at is not None
    assert late.answered_at is not None
    assert front.events("disposals.request.answer")[0].facts["late"] is True


def test_of_two_answers_at_one_moment_one_is_recorded(front: Front) -> None:
    """C95: who reads the request before the other answer is written does not replace it."""
    asked = connected(front, confidential(front))
    kept = replace(asked, answer=Answer.RETAINED, legal_reason="Medical device file")

    assert front.run(lambda ctx: store.save_answer(ctx.tx, replace(asked, answer=Answer.DISPOSED), None))
    assert not front.run(lambda ctx: store.save_answer(ctx.tx, kept, None))

    assert [each.answer for each in requests(front)] == [Answer.DISPOSED]


def test_a_hospitals_own_system_has_no_vendor_to_ask(front: Front) -> None:
    """C95."""
    own = front.clients["ehr"].app
    assert front.run(partial(registry.get_app, app_id=own)).tenant == MERCY

    front.run(partial(service.ask_of_hospital, tenant=MERCY, app_id=own, installation="ins_1"))

    assert requests(front) == []


def add_request(ctx: Context, vendor: str, n: int, tenant: str = "general") -> None:
    due = ctx.now + timedelta(days=30)
    app = AppId("app_1")
    request = Disposal(
        ctx.ids.new("dsp"), Cause.INSTALLATION, VendorId(vendor), app, ctx.now, due, TenantId(tenant)
    )
    assert store.add(ctx.tx, request, f"{vendor}/{n}")
    assert not store.add(ctx.tx, replace(request, id="dsp_again"), f"{vendor}/{n}"), "once for each cause"


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

    first = owner.get("/disposals", params={"limit": 3}).json()
    rest = owner.get("/disposals", params={"limit": 3, "after": first["next"]}).json()
    mine = [*first["items"], *rest["items"]]

    assert len({each["id"] for each in mine}) == 5
    assert {each["vendor"] for each in mine} == {own}
    assert len(site.api("gina").get("/disposals").json()["items"]) == 5
    assert len(site.api("carl").get("/disposals").json()["items"]) == 1
    assert len(site.api("sam").get("/disposals").json()["items"]) == 6
    problem(site.api("gina").get("/disposals?tenant=children"), 403, "not_permitted")
    problem(bravo.get(f"/disposals?vendor={own}"), 403, "not_permitted")
    path = f"/disposals/{mine[0]['id']}"
    problem(bravo.get(path), 404, "disposal_not_found")
    problem(bravo.post(f"{path}/answer", json={"answer": "disposed"}), 404, "disposal_not_found")
    problem(site.api("ann").get(path), 403, "not_permitted")
    problem(site.api("root").post(f"{path}/answer", json={"answer": "disposed"}), 403, "not_permitted")
    problem(
        site.api("acme.developer").post(f"{path}/answer", json={"answer": "disposed"}), 403, "not_permitted"
    )
    problem(owner.post(f"{path}/answer", json={"answer": "partly"}), 422, "answer_invalid")
    done = owner.post(f"{path}/answer", json={"answer": "disposed"}).json()
    assert (done["state"], done["answered_by"]) == ("disposed", f"member:{site.people['acme.owner'].id}")
    problem(
        owner.post(f"{path}/answer", json={"answer": "partly", "legal_reason": "x"}), 409, "disposal_answered"
    )
    assert len(owner.get("/disposals?state=open").json()["items"]) == 4
    clock.advance(timedelta(days=30))
    assert len(site.api("acme.owner").get("/disposals?state=overdue").json()["items"]) == 4
    assert "keys" in site.api().get("/disposals/keys").json()


def test_the_deadline_is_that_of_the_rule_book(front: Front) -> None:
    """C95: a cell states other days; the request of that day keeps them."""
    written = document()
    for category in written["categories"].values():
        for cell in category["cells"].values():
            cell["disposal_days"] = 7
    book, faults = read_book(written)
    assert book is not None, faults
    assert {cell.disposal_days for each in book.categories.values() for cell in each.cells.values()} == {7}
    again, _ = read_book(render(book))
    assert again is not None
    assert again.digest == book.digest

    narrow_rule_book(front.run, everywhere("disposal_days", 7), MERCY)
    connect(front)
    remove(front)
    (asked,) = requests(front)
    assert asked.due_at == front.clock.now() + timedelta(days=7), (
        "also where a version is tried at one hospital"
    )
