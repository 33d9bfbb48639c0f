"""Links into accounts, and what waits for a second person, leave by mail (C8): nobody but the account's owner gets the link."""

import re
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import TenantId
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import MAILS_TO_ONE, LinkMail
from hilum.identity.people import service as identity
from hilum.identity.people.models import APPROVAL_MAILS, NewPerson
from hilum.identity.signin import service as signin
from hilum.identity.signin.policy import actor_of
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices.models import MailKind, State
from tests.flows.accounts_ground import open_link, sign_in
from tests.flows.control_site import TRACE, ControlSite, codes, everybodys_digest, problem
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.mail_server import mail_server
from tests.sim.notice_ground import NoticeGround
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

ADDRESS = "dana@acme.example"
DANA = {"username": "dana", "name": "Dana Marin", "role": "vendor_developer", "mail": ADDRESS}
OLGA = {"username": "olga", "name": "Olga Owens", "role": "vendor_owner", "mail": "olga@acme.example"}


@pytest.fixture
def members(site: ControlSite) -> str:
    return f"/vendors/{furnish_vendor(site, 'Acme Health', 'acme')}/members"


def mailed(site: ControlSite) -> list[tuple[str, str]]:
    """Send what waits; return recipient and text of each mail."""
    with mail_server() as server:
        NoticeGround(site.uow).sender(server.port).run()
    found = []
    for _, mail in server.mails:
        body = mail.get_body(("plain",))
        assert body is not None
        found.append((str(mail["To"]), body.get_content()))
    return found


def link_in(text: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:8000/\S+/enrol/\S+", text)
    assert found is not None, text
    return found[0]


def add_reached(site: ControlSite, place: str | None, username: str, role: str) -> None:
    """Add somebody of age with an address."""
    where = TenantId(place) if place else None
    order = NewPerson(where, username, username.title(), role, mail=f"{username}@people.example")
    person = site.system(identity.add_person, order=order)
    site.people[username] = person
    site.system(signin.set_password, person_id=person.id, digest=everybodys_digest())


def test_an_invitation_is_mailed_to_its_owner_and_shown_to_nobody(site: ControlSite, members: str) -> None:
    """C8: neither the answer, nor the outbox, nor the audit has the link that the mail has."""
    vendor = members.split("/")[2]

    invited = made(site.api("acme.owner").post(members, json=DANA))
    waiting = NoticeGround(site.uow).only()
    ((to, text),) = mailed(site)
    entered = open_link(site, link_in(text))

    assert invited["enrolment"]["url"] is None
    assert invited["enrolment"]["mailed"] is True
    assert (to, waiting.kind) == (ADDRESS, MailKind.ENROLMENT)
    secret = link_in(text).rpartition("/")[2]
    assert secret.startswith("hil_ln_")
    stored = site.system(audit.list_events, query=EventQuery(action="enrolment.link.issue"))
    for shown in (invited, waiting, stored, made(site.api("sam").get("/notices"), 200)):
        assert secret not in str(shown)
    assert entered.status_code == 200
    assert made(sign_in(site, vendor, "dana"))["roles"] == ["vendor_developer"]
    assert open_link(site, link_in(text)).status_code == 404


def test_without_an_address_the_link_is_shown(site: ControlSite, members: str) -> None:
    invited = made(site.api("acme.owner").post(members, json=DANA | {"mail": ""}))

    assert invited["enrolment"]["mailed"] is False
    assert open_link(site, invited["enrolment"]["url"]).status_code == 200
    assert mailed(site) == []


def test_without_a_mail_server_the_link_is_shown(site: ControlSite, members: str) -> None:
    by_mail = LinkMail(site.kit.urls.enrol, works=False)
    order = NewPerson(TenantId("general"), "nora", "Nora", "nurse", mail=ADDRESS)

    opened: Any = site.system(enrolment.add_person, order=order, by_mail=by_mail)

    assert opened.link.secret.startswith("hil_ln_")
    assert NoticeGround(site.uow).all() == []


@in_one_world(
    "address",
    ["dana", "dana@", "dana@localhost", '"x"@acme.example', "a@b.example,c@d.example", "<a@b.example>"],
)
def test_an_address_that_is_none_is_refused_and_nobody_is_added(
    site: ControlSite, members: str, address: str
) -> None:
    answer = site.api("acme.owner").post(members, json=DANA | {"mail": address})

    assert codes(problem(answer, 422, "person_invalid")) == {"mail": "address_malformed"}
    assert "dana" not in site.api("acme.owner").get(members).text


def test_of_an_account_that_takes_two_the_owner_gets_the_link_and_the_second_person_the_code(
    site: ControlSite, members: str
) -> None:
    """Security decision 25: who stated the address must not hold the code too, or one person would make an account with power."""
    asked = made(site.api("acme.owner").post(members, json=OLGA), 202)
    before = mailed(site)
    agreed = made(site.api("root").post(f"/approvals/{asked['approval']['id']}/approve"), 200)
    ((to, text),) = mailed(site)

    without_code = open_link(site, link_in(text), "0000-0000-0000")
    entered = open_link(site, link_in(text), agreed["setup_code"])

    assert asked["setup_code"] is None
    assert asked["approval"]["order"]["mail"] == OLGA["mail"]
    assert before == []
    assert agreed["enrolment"]["url"] is None
    assert agreed["enrolment"]["mailed"] is True
    assert to == OLGA["mail"]
    assert (without_code.status_code, entered.status_code) == (422, 200)


def test_what_was_asked_without_mail_is_never_mailed_later(site: ControlSite, members: str) -> None:
    """The asker has the code already, and stated the address."""
    vendor, by_mail = members.split("/")[2], LinkMail(site.kit.urls.enrol, works=False)
    order = NewPerson(TenantId(vendor), "olga", "Olga", "vendor_owner", mail="olga@acme.example")
    root = site.people["root"]

    asked: Any = site.uow.write_now(
        lambda ctx: enrolment.add_person(ctx.as_actor(actor_of(root)), order, by_mail),
        actor=actor_of(root),
        trace=TRACE,
    )
    agreed = made(site.api("sam").post(f"/approvals/{asked.approval.id}/approve"), 200)

    assert asked.setup_code
    assert agreed["setup_code"] is None
    assert agreed["enrolment"]["url"].startswith("http://127.0.0.1:8000")
    assert mailed(site) == []


def test_a_new_link_into_an_account_in_use_goes_to_the_address_on_record(
    site: ControlSite, members: str
) -> None:
    add_reached(site, members.split("/")[2], "dora", "vendor_developer")
    path = f"{members}/{site.people['dora'].id}/invitation"

    asked = made(site.api("acme.owner").post(path), 202)
    agreed = made(site.api("root").post(f"/approvals/{asked['approval']['id']}/approve"), 200)

    ((to, text),) = mailed(site)
    assert to == "dora@people.example"
    assert open_link(site, link_in(text), agreed["setup_code"]).status_code == 200


def test_a_mailbox_gets_no_more_links_than_its_bound(
    site: ControlSite, members: str, clock: FakeClock
) -> None:
    """A stranger is not flooded, by case, tags, other accounts or new links either; and nobody is added whose link cannot leave."""
    owner = site.api("acme.owner")
    answers = [
        owner.post(members, json=DANA | {"username": f"d{number}", "mail": f"Dana+{number}@acme.example"})
        for number in range(MAILS_TO_ONE)
    ]
    first = answers[0].json()["id"]

    refused = owner.post(members, json=DANA)
    again = owner.post(f"{members}/{first}/invitation")

    assert {each.status_code for each in answers} == {201}
    problem(refused, 403, "enrolment_mail_bound")
    problem(again, 403, "enrolment_mail_bound")
    assert '"dana"' not in owner.get(members).text
    clock.advance(timedelta(days=1))
    assert site.api("acme.owner").post(members, json=DANA).status_code == 201


def test_a_newer_link_is_another_mail_and_ends_the_one_before(site: ControlSite, members: str) -> None:
    owner = site.api("acme.owner")
    invited = made(owner.post(members, json=DANA))
    made(owner.post(f"{members}/{invited['id']}/invitation"))

    sent = sorted(mailed(site), key=lambda each: open_link(site, link_in(each[1])).status_code)

    assert len(sent) == 2
    assert {each.state for each in NoticeGround(site.uow).all()} == {State.SENT}


def test_who_could_approve_is_mailed_once_and_neither_the_asker_nor_who_it_is_about(
    site: ControlSite, members: str
) -> None:
    """C8: what waits for a second person is mailed where an address is known."""
    vendor = members.split("/")[2]
    for username, role in (("owen", "vendor_owner"), ("ona", "vendor_owner"), ("dora", "vendor_developer")):
        add_reached(site, vendor, username, role)
    add_reached(site, "general", "gus", "administrator")
    add_reached(site, None, "pia", "platform_admin")

    asked = made(site.api("owen").post(members, json=OLGA), 202)

    ((to, text),) = mailed(site)
    assert to == "ona@people.example"
    assert asked["approval"]["id"] in text
    assert "Owen" in text
    assert mailed(site) == []
    of_staff = {"username": "new", "name": "New", "role": "security"}
    made(site.api("root").post("/people", json=of_staff), 202)
    assert [to for to, _ in mailed(site)] == ["pia@people.example"]


def test_asking_and_withdrawing_again_and_again_does_not_fill_a_colleagues_mailbox(
    site: ControlSite, members: str
) -> None:
    add_reached(site, members.split("/")[2], "ona", "vendor_owner")
    owner = site.api("acme.owner")
    for _ in range(APPROVAL_MAILS + 2):
        asked = made(owner.post(members, json=OLGA), 202)
        made(owner.post(f"/approvals/{asked['approval']['id']}/refuse"), 200)

    assert len(mailed(site)) == APPROVAL_MAILS
    assert made(owner.get("/approvals"), 200)["items"] == []
