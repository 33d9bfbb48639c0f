"""Contacts of vendors prove their addresses by a mail round trip (C7), by API, page and mail server."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.contacts import service
from hilum.apps.contacts.models import (
    CONTACTS_BOUND,
    LINK_LIFE,
    MAILS_OF_ONE,
    MAILS_TO_ONE,
    PROOF_LIFE,
    REMIND_BEFORE,
    WINDOW,
    ContactKind,
    NewContact,
)
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVendor
from hilum.apps.registry.store import vendors
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import HilumError, NotFound, NotPermitted
from hilum.foundation.kernel.ids import VendorId
from hilum.records.notices.models import State
from tests.flows.accounts_ground import events
from tests.flows.control_site import ControlSite, codes, problem
from tests.sim.mail_server import MailServer, mail_server
from tests.sim.notice_ground import TRACE, NoticeGround
from tests.sim.one_world import in_one_world
from tests.sim.webhook_receiver import webhook_receiver
from tests.sim.world import FakeClock

ADDRESS = "security@acme.example"
ADDED = {"kind": "security", "address": ADDRESS}


@pytest.fixture
def vendor(site: ControlSite) -> str:
    return add_vendor(site)


def add_vendor(site: ControlSite, name: str = "Acme Health") -> str:
    made = site.system(registry.add_vendor, order=NewVendor(name, "help@acme.example", ADDRESS))
    return str(made.id)


def add(site: ControlSite, vendor: str, **change: Any) -> Any:
    answer = site.api("root").post("/contacts", json=ADDED | {"vendor": vendor} | change)
    assert answer.status_code == 201, answer.text
    return answer.json()


def send(site: ControlSite, server: MailServer) -> None:
    NoticeGround(site.uow).sender(server.port).run()


def link_in(server: MailServer) -> str:
    """Return the path of the link in the newest mail."""
    body = server.mails[-1][1].get_body(("plain",))
    assert body is not None
    found = re.search(r"http://127\.0\.0\.1:8000(/contacts/\S+)", body.get_content())
    assert found is not None
    return found[1]


def mailed_link(site: ControlSite) -> str:
    with mail_server() as server:
        send(site, server)
        return link_in(server)


def press(site: ControlSite, link: str, decision: str = "confirm") -> Any:
    browser = site.browser()
    page = browser.get(link)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    return browser.post(link, data={"csrf": csrf[1] if csrf else "", "decision": decision})


def listed(site: ControlSite, vendor: str) -> list[Any]:
    found: list[Any] = site.api("otto").get(f"/contacts?vendor={vendor}").json()["items"]
    return found


def missing(site: ControlSite, vendor: str) -> list[ContactKind]:
    return site.uow.read_now(
        lambda ctx: service.missing_proofs(ctx, VendorId(vendor)), actor=SYSTEM, trace=TRACE
    )


def test_an_address_is_proved_by_its_recipient(site: ControlSite, vendor: str, clock: FakeClock) -> None:
    """C7: link by mail, a page that shows, a button that confirms, and a date on which the proof ends."""
    waiting = add(site, vendor)
    link = mailed_link(site)

    page = site.browser().get(link)
    after_showing = listed(site, vendor)[0]["state"]
    done = press(site, link)

    assert waiting["state"] == after_showing == "waiting"
    assert "Acme Health" in page.text
    assert ADDRESS in page.text
    assert "<script" not in page.text
    assert done.status_code == 200
    assert "29 August 2026" in done.text
    (proved,) = listed(site, vendor)
    assert proved["state"] == "proved"
    assert proved["proof_ends_at"] == (clock.now() + PROOF_LIFE).isoformat().replace("+00:00", "Z")
    assert missing(site, vendor) == [ContactKind.OWNER, ContactKind.SUPPORT]


def test_a_link_is_used_once(site: ControlSite, vendor: str) -> None:
    add(site, vendor)
    link = mailed_link(site)
    press(site, link)

    again = press(site, link)

    over = site.browser().get(link)
    assert over.status_code == 404
    assert "If you used it yourself, nothing is left to do." in over.text, "it set no password"
    assert again.status_code in {403, 404}


def test_of_many_uses_at_once_one_proves(uow: UnitOfWork) -> None:
    vendor = _vendor_on(uow)
    secrets: list[str] = []
    order = NewContact(vendor, ContactKind.OWNER, ADDRESS)
    _do(uow, service.add_contact, order, link_url=_remember(secrets))

    def use(_: int) -> bool:
        try:
            _do(uow, service.confirm, secrets[0])
        except HilumError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        used = list(pool.map(use, range(8)))

    assert used.count(True) == 1


def test_however_many_ask_at_once_a_mailbox_gets_no_more_than_its_bound(uow: UnitOfWork) -> None:
    """A stranger cannot make Hilum flood an address, by other vendors, kinds, case or tags either."""
    vendors = [_vendor_on(uow, f"Vendor {number}") for number in range(3)]
    wanted = [
        NewContact(vendor, kind, address)
        for vendor in vendors
        for kind in ContactKind
        for address in ("victim@acme.example", "victim+1@acme.example")
    ]

    def ask(order: NewContact) -> bool:
        try:
            _do(uow, service.add_contact, order, link_url=_remember([]))
        except NotPermitted:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        asked = list(pool.map(ask, wanted))

    mails = [each for each in NoticeGround(uow).all() if each.kind == "contact_proof"]
    assert asked.count(True) == len(mails) == MAILS_TO_ONE
    listed = [_do(uow, service.list_contacts, each) for each in vendors]
    assert sum(len(each) for each in listed) == MAILS_TO_ONE, "a contact that is refused is not added"


def _vendor_on(uow: UnitOfWork, name: str = "Acme Health") -> VendorId:
    found: VendorId = _do(uow, registry.add_vendor, NewVendor(name, "h@a.example", "s@a.example")).id
    return found


def _do(uow: UnitOfWork, verb: Any, *args: Any, **more: Any) -> Any:
    return uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=SYSTEM, trace=TRACE)


def _remember(secrets: list[str]) -> Any:
    def link_url(secret: str) -> str:
        secrets.append(secret)
        return f"http://127.0.0.1:8000/contacts/{secret}"

    return link_url


def test_the_bounds_open_again_the_next_day(site: ControlSite, vendor: str, clock: FakeClock) -> None:
    made = add(site, vendor)
    again = partial(site.api("root").post, f"/contacts/{made['id']}/link")
    for _ in range(MAILS_TO_ONE - 1):
        assert again().status_code == 200

    refused = again()
    clock.advance(WINDOW - timedelta(seconds=1))
    early = site.api("root").post(f"/contacts/{made['id']}/link")
    clock.advance(timedelta(seconds=1))
    next_day = site.api("root").post(f"/contacts/{made['id']}/link")

    assert "the limit of mails for a day" in problem(refused, 403, "contact_mail_bound")["detail"]
    problem(early, 403, "contact_mail_bound")
    assert next_day.status_code == 200


def test_a_vendor_has_a_bound_of_its_own(site: ControlSite, vendor: str) -> None:
    root = site.api("root")
    answers = [
        root.post("/contacts", json=ADDED | {"vendor": vendor, "address": f"a{number}@acme.example"})
        for number in range(MAILS_OF_ONE + 1)
    ]

    assert [each.status_code for each in answers] == [201] * MAILS_OF_ONE + [403]
    assert MAILS_OF_ONE < CONTACTS_BOUND


def test_a_newer_link_ends_the_one_before(site: ControlSite, vendor: str) -> None:
    made = add(site, vendor)
    first = mailed_link(site)
    site.api("root").post(f"/contacts/{made['id']}/link")
    second = mailed_link(site)

    assert site.browser().get(first).status_code == 404
    assert site.browser().get(second).status_code == 200
    assert len(events(site, "contacts.link.send")) == 2


def test_a_link_expires(site: ControlSite, vendor: str, clock: FakeClock) -> None:
    add(site, vendor)
    link = mailed_link(site)
    clock.advance(LINK_LIFE)

    assert site.browser().get(link).status_code == 404
    assert press(site, link).status_code in {403, 404}
    assert listed(site, vendor)[0]["state"] == "waiting"


@in_one_world(
    "link",
    [
        "x",
        "hil_cl_" + "A" * 43,
        "hil_cl_" + "A" * 42,
        "hil_ln_" + "A" * 43,
        "%00",
        "..%2fsignin",
        "A" * 5_000,
    ],
)
def test_a_link_that_was_never_issued_shows_nothing(site: ControlSite, vendor: str, link: str) -> None:
    site.furnished_once("a contact that waits", lambda: add(site, vendor))

    shown = site.browser().get(f"/contacts/{link}")

    assert shown.status_code == 404
    assert ADDRESS not in shown.text


@pytest.mark.parametrize("decision", ["", "yes", "allow"])
def test_a_form_without_its_button_proves_nothing(site: ControlSite, vendor: str, decision: str) -> None:
    add(site, vendor)
    link = mailed_link(site)

    assert press(site, link, decision).status_code == 400
    assert listed(site, vendor)[0]["state"] == "waiting"
    assert press(site, link).status_code == 200


def test_another_site_cannot_press_the_button(site: ControlSite, vendor: str) -> None:
    """C7: the person at the address confirms, not a page that made their browser send a form."""
    add(site, vendor)
    link = mailed_link(site)
    browser = site.browser()
    page = browser.get(link)
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf is not None
    form = {"csrf": csrf[1], "decision": "confirm"}

    without_cookie = site.browser().post(link, data=form)
    cross_site = browser.post(link, data=form, headers={"sec-fetch-site": "cross-site"})
    wrong = browser.post(link, data=form | {"csrf": "x" * 43})

    assert [each.status_code for each in (without_cookie, cross_site, wrong)] == [403] * 3
    assert listed(site, vendor)[0]["state"] == "waiting"


def test_who_declines_gets_no_more_mail_about_the_vendor(site: ControlSite, vendor: str) -> None:
    made = add(site, vendor)
    declined = press(site, mailed_link(site), "decline")
    root = site.api("root")

    again = root.post(f"/contacts/{made['id']}/link")
    other_kind = root.post("/contacts", json=ADDED | {"vendor": vendor, "kind": "owner"})
    tagged = root.post("/contacts", json=ADDED | {"vendor": vendor, "address": "security+x@acme.example"})
    root.delete(f"/contacts/{made['id']}")
    removed_first = root.post("/contacts", json=ADDED | {"vendor": vendor})

    assert "no more mail" in declined.text
    for refused in (again, other_kind, tagged, removed_first):
        assert "declined" in problem(refused, 403, "contact_declined")["detail"]
    assert add(site, add_vendor(site, "Another"))["state"] == "waiting"


def test_a_proof_ends_and_its_lapse_is_recorded_once_and_sent_to_the_vendors_webhooks(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    add(site, vendor)
    press(site, mailed_link(site))
    with webhook_receiver() as receiver:
        NoticeGround(site.uow).do(_endpoint, vendor, receiver.url)
        clock.advance(PROOF_LIFE - timedelta(seconds=1))
        early = site.system(service.lapse_due)
        clock.advance(timedelta(seconds=1))
        states = [listed(site, vendor)[0]["state"]]
        counts = [site.system(service.lapse_due) for _ in range(2)]
        NoticeGround(site.uow).hooks().run()

    assert (early, counts, states) == (0, [1, 0], ["lapsed"])
    assert ContactKind.SECURITY in missing(site, vendor)
    assert [b'"type":"contact.lapsed"' in each.body for each in receiver.received] == [True]
    assert b"acme.example" not in receiver.received[0].body


def _endpoint(ctx: Any, vendor: str, url: str) -> None:
    from hilum.records.notices import service as notices
    from hilum.records.notices.models import NewEndpoint

    notices.add_endpoint(ctx, NewEndpoint(vendor, url), private=True)


def test_a_contact_is_asked_again_before_its_proof_ends_and_only_once(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    add(site, vendor)
    press(site, mailed_link(site))
    remind = partial(site.system, service.remind_due, link_url=site.kit.urls.contact)
    early = remind()
    clock.advance(PROOF_LIFE - REMIND_BEFORE)

    reminded = [remind(), remind()]
    with mail_server() as server:
        send(site, server)
        renewed = press(site, link_in(server))

    assert (early, reminded) == (0, [1, 0])
    assert server.mails[0][1]["Subject"] == "Confirm your contact address again"
    assert renewed.status_code == 200
    clock.advance(REMIND_BEFORE + timedelta(days=1))
    assert listed(site, vendor)[0]["state"] == "proved"


def test_every_proof_is_asked_for_again_before_it_ends_however_many_end_in_one_day(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    """One mailbox serves several vendors, which the bound on links that people ask for must not leave to lapse unasked."""
    vendors = [vendor, *(add_vendor(site, f"Vendor {name}") for name in ("Bell", "Cedar", "Dune"))]
    assert len(vendors) > MAILS_TO_ONE
    for each in vendors[:MAILS_TO_ONE]:
        add(site, each)
        press(site, mailed_link(site))
    clock.advance(WINDOW)
    for each in vendors[MAILS_TO_ONE:]:
        add(site, each)
        press(site, mailed_link(site))
    clock.advance(PROOF_LIFE - REMIND_BEFORE)

    site.system(service.remind_due, link_url=site.kit.urls.contact)
    with mail_server() as server:
        send(site, server)

    again = [mail for _, mail in server.mails if mail["Subject"] == "Confirm your contact address again"]
    assert len(again) == len(vendors)


def test_who_declines_as_one_kind_of_contact_is_not_reminded_as_another(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    """The page promises no more mail about the vendor, whatever kind of contact the link was for."""
    add(site, vendor, kind="owner")
    press(site, mailed_link(site))
    add(site, vendor)
    declined = press(site, mailed_link(site), "decline")
    clock.advance(PROOF_LIFE - REMIND_BEFORE)

    reminded = site.system(service.remind_due, link_url=site.kit.urls.contact)

    assert "no more mail" in declined.text
    assert reminded == 0
    assert [each["state"] for each in listed(site, vendor)] == ["declined", "declined"]


def test_who_declines_ends_the_links_to_the_same_mailbox(site: ControlSite, vendor: str) -> None:
    add(site, vendor, kind="owner")
    owner = mailed_link(site)
    add(site, vendor, address="security+x@acme.example")
    press(site, mailed_link(site), "decline")

    assert site.browser().get(owner).status_code == 404


def test_contacts_that_were_removed_leave_their_places(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    answers = []
    for number in range(CONTACTS_BOUND + 2):
        if number % MAILS_OF_ONE == 0:
            clock.advance(WINDOW)
            root = site.api("root")
        made = root.post("/contacts", json=ADDED | {"vendor": vendor, "address": f"a{number}@acme.example"})
        answers.append(made.status_code)
        root.delete(f"/contacts/{made.json().get('id', 'con_none')}")

    assert set(answers) == {201}


def test_a_removed_contact_is_proved_no_more_and_its_link_is_dead(site: ControlSite, vendor: str) -> None:
    made = add(site, vendor)
    link = mailed_link(site)
    root = site.api("root")
    removed = root.delete(f"/contacts/{made['id']}")

    assert (removed.status_code, removed.json()["state"]) == (200, "removed")
    assert site.browser().get(link).status_code == 404
    assert listed(site, vendor) == []
    problem(root.delete(f"/contacts/{made['id']}"), 409, "contact_removed")
    problem(root.post(f"/contacts/{made['id']}/link"), 409, "contact_removed")
    assert add(site, vendor)["state"] == "waiting"


def test_a_restore_ends_every_link(site: ControlSite, vendor: str) -> None:
    add(site, vendor)
    link = mailed_link(site)

    assert site.system(service.end_links) == 1
    assert site.browser().get(link).status_code == 404


@in_one_world(
    ("change", "status", "code", "fields"),
    [
        ({"address": "nobody"}, 422, "contact_invalid", {"address": "address_malformed"}),
        ({"address": "a@b.example, c@d.example"}, 422, "contact_invalid", {"address": "address_malformed"}),
        ({"kind": "boss"}, 400, "request_invalid", None),
        ({"address": "a@b.example\r\nBcc: c@d.example"}, 400, "request_invalid", None),
        ({"vendor": "ven_none"}, 404, "vendor_not_found", None),
        ({"extra": 1}, 400, "request_invalid", None),
    ],
)
def test_a_contact_that_cannot_be_is_refused_and_gets_no_mail(
    site: ControlSite,
    vendor: str,
    change: dict[str, Any],
    status: int,
    code: str,
    fields: dict[str, str] | None,
) -> None:
    answer = site.api("root").post("/contacts", json=ADDED | {"vendor": vendor} | change)

    if code == "request_invalid":
        assert answer.status_code in {400, 422}
    else:
        found = problem(answer, status, code)
        assert fields is None or codes(found) == fields
    assert NoticeGround(site.uow).all() == []


@in_one_world("who", ["ann", "gina", "rita", "sam", "otto"])
def test_only_an_administrator_of_the_platform_adds_contacts(
    site: ControlSite, vendor: str, who: str
) -> None:
    problem(site.api(who).post("/contacts", json=ADDED | {"vendor": vendor}), 403, "not_permitted")
    assert NoticeGround(site.uow).all() == []


@in_one_world("who", ["ann", "gina", "carl"])
def test_addresses_are_not_shown_to_hospitals(site: ControlSite, vendor: str, who: str) -> None:
    site.furnished_once("a contact that waits", lambda: add(site, vendor))

    problem(site.api(who).get("/contacts"), 403, "not_permitted")
    problem(site.api(who).get("/notices"), 403, "not_permitted")
    problem(site.api(who).get("/webhooks"), 403, "not_permitted")


def test_without_a_token_nothing_is_shown_or_done(site: ControlSite, vendor: str) -> None:
    stranger = site.api()
    paths = ("/contacts", "/notices", "/webhooks")

    assert [stranger.get(path).status_code for path in paths] == [401] * 3
    assert [stranger.post(path, json={}).status_code for path in ("/contacts", "/webhooks")] == [401] * 2


def test_hostile_names_of_vendors_are_shown_as_text_on_the_page(site: ControlSite) -> None:
    """A vendor registered by a release that accepted such a name."""
    vendor, name = add_vendor(site), '<img src=x onerror="alert(1)"> & {{ 7*7 }}'
    rename = vendors.update().where(vendors.c.id == vendor).values(name=name)
    site.uow.write_now(lambda ctx: ctx.tx.execute(rename), actor=SYSTEM, trace=TRACE)
    add(site, vendor)

    page = site.browser().get(mailed_link(site))

    assert "<img" not in page.text
    assert "{{ 7*7 }}" in page.text
    assert "&lt;img" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"


# --- notices and webhooks by API ------------------------------------------------------------------------------------------------


def test_notices_are_listed_without_their_links(site: ControlSite, vendor: str) -> None:
    add(site, vendor)
    link = mailed_link(site)
    otto = site.api("otto")

    found = otto.get(f"/notices?vendor={vendor}&state=sent&channel=mail")
    one = otto.get(f"/notices/{found.json()['items'][0]['id']}")

    assert [each["recipient"] for each in found.json()["items"]] == [ADDRESS]
    assert link.rpartition("/")[2] not in found.text + one.text
    assert (one.json()["state"], one.json()["kind"]) == ("sent", "contact_proof")
    assert otto.get("/notices?state=dead").json()["items"] == []
    problem(otto.get("/notices/ntc_none"), 404, "notice_not_found")
    problem(otto.post(f"/notices/{one.json()['id']}/resend"), 403, "not_permitted")
    problem(site.api("root").post(f"/notices/{one.json()['id']}/resend"), 409, "notice_not_settled")


def test_a_webhook_is_registered_pinged_rotated_and_removed(site: ControlSite, vendor: str) -> None:
    root = site.api("root")
    with webhook_receiver() as receiver:
        made = root.post("/webhooks", json={"vendor": vendor, "url": receiver.url}).json()
        notice = root.post(f"/webhooks/{made['id']}/ping").json()
        NoticeGround(site.uow).hooks().run()
        pinged = root.get(f"/notices/{notice['id']}").json()
        rotated = root.post(f"/webhooks/{made['id']}/rotate", json={"overlap_hours": 1}).json()
        shown = root.get(f"/webhooks?vendor={vendor}")
        removed = root.delete(f"/webhooks/{made['id']}")

    assert made["secret"].startswith("whsec_")
    assert rotated["secret"] != made["secret"]
    assert "whsec_" not in shown.text
    assert (pinged["state"], pinged["status"], receiver.ids) == ("sent", 204, [notice["id"]])
    assert shown.json()["items"][0]["last_status"] == 204
    assert removed.status_code == 204
    assert root.get("/webhooks").json()["items"] == []
    problem(root.post(f"/webhooks/{made['id']}/ping"), 404, "webhook_not_found")


@in_one_world(
    ("change", "status", "code"),
    [
        ({"url": "http://10.0.0.1/"}, 422, "webhook_invalid"),
        ({"url": "https://user@hooks.example/"}, 422, "webhook_invalid"),
        ({"events": ["contact.unknown"]}, 422, "webhook_invalid"),
        ({"vendor": "ven_none"}, 404, "vendor_not_found"),
        ({"app": "app_none"}, 404, "app_not_found"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(
    site: ControlSite, vendor: str, change: dict[str, Any], status: int, code: str
) -> None:
    body = {"vendor": vendor, "url": "http://127.0.0.1:1/"} | change

    problem(site.api("root").post("/webhooks", json=body), status, code)
    assert site.api("root").get("/webhooks").json()["items"] == []


def test_who_may_not_register_webhooks_does_not_learn_which_vendors_there_are(
    site: ControlSite, vendor: str
) -> None:
    answers = [
        site.api("sam").post("/webhooks", json={"vendor": each, "url": "http://127.0.0.1:1/"})
        for each in (vendor, "ven_none")
    ]

    assert [(each.status_code, each.json()["code"]) for each in answers] == [(403, "not_permitted")] * 2


def test_a_notice_that_is_dead_is_sent_again_when_a_person_asks(
    site: ControlSite, vendor: str, clock: FakeClock
) -> None:
    root = site.api("root")
    with webhook_receiver() as receiver:
        made = root.post("/webhooks", json={"vendor": vendor, "url": receiver.url}).json()
        receiver.answer = lambda _: (410, {})
        notice = root.post(f"/webhooks/{made['id']}/ping").json()
        NoticeGround(site.uow).hooks().run()
        dead = root.get(f"/notices/{notice['id']}").json()
        receiver.answer = lambda _: (200, {})
        root.post(f"/webhooks/{made['id']}/resume")
        root.post(f"/notices/{notice['id']}/resend")
        NoticeGround(site.uow).hooks().run()

    assert (dead["state"], dead["reason"]) == (State.DEAD, "gone")
    assert receiver.ids == [notice["id"]] * 2
    assert root.get(f"/notices/{notice['id']}").json()["state"] == State.SENT


def test_an_unknown_link_is_not_found_by_the_verb_either(sqlite_uow: UnitOfWork) -> None:
    for secret in ("", "x", "hil_cl_" + "A" * 43):
        with pytest.raises(NotFound):
            _do(sqlite_uow, service.confirm, secret)
        with pytest.raises(NotFound):
            _do(sqlite_uow, service.decline, secret)
