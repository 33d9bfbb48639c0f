"""A vendor's members: invited, limited by their roles and to their own vendor, removed (C8)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.operations.switch_administration import service as switch_administration
from tests.flows.accounts_ground import open_link, sign_in
from tests.flows.control_site import PASSWORD, ControlSite, codes, problem
from tests.flows.vendor_ground import ROLES, add_vendor, furnish_vendor, join, made
from tests.sim.one_world import in_one_world

NEW = {"username": "dana", "name": "Dana Marin", "role": "vendor_developer"}


def test_two_of_the_staff_invite_the_first_owner_who_invites_a_developer_alone(site: ControlSite) -> None:
    """C8, security decision 25: an owner has power over others, a developer has none."""
    vendor = add_vendor(site, "Acme Health")
    members = f"/vendors/{vendor}/members"
    first = {"username": "olga", "name": "Olga Owens", "role": "vendor_owner"}
    asked = made(site.api("root").post(members, json=first), 202)
    agreed = made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)

    done = open_link(site, agreed["enrolment"]["url"], asked["setup_code"])
    token = made(sign_in(site, vendor, "olga"))["token"]
    olga = site.api(headers={"authorization": f"Bearer {token}"})
    invited = made(olga.post(members, json=NEW))
    entered = open_link(site, invited["enrolment"]["url"])
    again = open_link(site, invited["enrolment"]["url"])

    assert (done.status_code, entered.status_code, again.status_code) == (200, 200, 404)
    assert f"hilum login --vendor {vendor} --username dana" in entered.text
    assert made(sign_in(site, vendor, "dana"))["roles"] == ["vendor_developer"]
    listed = made(olga.get(members), 200)["items"]
    assert [(each["username"], each["role"]) for each in listed] == [
        ("dana", "vendor_developer"),
        ("olga", "vendor_owner"),
    ]


def test_an_invitation_ends_by_itself_and_by_the_next_one(site: ControlSite) -> None:
    """C8: single use, with an end, stored as a digest."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    owner, members = site.api("acme.owner"), f"/vendors/{vendor}/members"
    first = made(owner.post(members, json=NEW))
    second = made(owner.post(f"{members}/{first['id']}/invitation"))

    replaced = open_link(site, first["enrolment"]["url"])
    site.clock.advance(timedelta(hours=73))
    ended = open_link(site, second["enrolment"]["url"])

    assert (replaced.status_code, ended.status_code) == (404, 404)
    assert sign_in(site, vendor, "dana").status_code == 401
    with site.uow.db.engine.connect() as tx:
        rows = tx.exec_driver_sql("SELECT * FROM enrolment_link").all()
    secret = second["enrolment"]["url"].rpartition("/")[2]
    assert len(rows) == 2
    assert secret not in str(rows)


@in_one_world("role", ["vendor_king", "physician", "administrator", "platform_admin", "security", ""])
def test_a_member_has_a_role_of_vendors_and_no_other(site: ControlSite, role: str) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    answer = site.api("acme.owner").post(f"/vendors/{vendor}/members", json=NEW | {"role": role})

    assert codes(problem(answer, 422, "person_invalid")) == {"role": "role_unknown"}


def test_a_role_of_vendors_is_given_at_no_hospital_and_not_on_the_staff(site: ControlSite) -> None:
    root, vendor = site.api("root"), add_vendor(site, "Acme Health")
    body = {"username": "x", "name": "X", "role": "vendor_owner"}

    assert codes(problem(root.post("/people", json=body), 422, "person_invalid")) == {"role": "role_unknown"}
    at_hospital = root.post("/people", json=body | {"tenant": "general"})
    assert codes(problem(at_hospital, 422, "person_invalid")) == {"role": "role_unknown"}
    problem(root.post("/people", json=body | {"tenant": vendor}), 404, "tenant_not_found")
    problem(root.get(f"/people?tenant={vendor}"), 404, "tenant_not_found")
    problem(root.post("/vendors/ven_none/members", json=body), 404, "vendor_not_found")


OTHERS = [
    ("GET", "/vendors/{vendor}/members", None),
    ("POST", "/vendors/{vendor}/members", NEW),
    ("POST", "/vendors/{vendor}/members/{person}/invitation", None),
    ("DELETE", "/vendors/{vendor}/members/{person}", None),
]
"""Routes of members, with a body that would be accepted from an owner."""


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_has_exactly_its_routes_of_members(
    site: ControlSite, role: str, method: str, path: str, body: Any
) -> None:
    vendor = furnish_vendor(site, "Acme Health", "acme")
    new = join(site, vendor, "newcomer", "developer")
    target = path.format(vendor=vendor, person=new)

    answer = site.api(f"acme.{role}").request(method, target, json=body)

    if role == "owner":
        assert answer.status_code in {200, 201, 202}, answer.text
    else:
        problem(answer, 403, "not_permitted")


@pytest.mark.parametrize(("method", "path", "body"), OTHERS)
def test_another_vendors_members_answer_as_absent(
    site: ControlSite, method: str, path: str, body: Any
) -> None:
    ours, theirs = furnish_vendor(site, "Acme Health", "acme"), furnish_vendor(site, "Zenith Care", "zen")
    person = site.people["zen.developer"].id
    owner = site.api("acme.owner")

    there = owner.request(method, path.format(vendor=theirs, person=person), json=body)
    nowhere = owner.request(method, path.format(vendor="ven_none", person=person), json=body)

    assert problem(there, 404, "vendor_not_found") == problem(nowhere, 404, "vendor_not_found")
    if "{person}" in path:
        crossed = owner.request(method, path.format(vendor=ours, person=person), json=body)
        problem(crossed, 404, "person_not_found")
    assert sign_in(site, theirs, "zen.developer").status_code == 201


def test_a_member_reads_nothing_of_the_platform_or_a_hospital(site: ControlSite) -> None:
    """Every route that is not for members is refused to an owner, before its parameters are read."""
    furnish_vendor(site, "Acme Health", "acme")
    owner = site.api("acme.owner")
    for path in (
        "/tenants",
        "/people",
        "/people?tenant=general",
        "/audit/events",
        "/switches",
        "/installations",
    ):
        problem(owner.get(path), 403, "not_permitted")
    assert made(owner.get("/approvals"), 200)["items"] == []
    problem(owner.get("/approvals?tenant=general"), 403, "not_permitted")
    listed = owner.get(f"/names?id={site.people['ann'].id}")
    assert made(listed, 200) == {}


def test_the_last_owner_who_can_sign_in_is_not_removed(site: ControlSite) -> None:
    """C8."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    owner, members = site.api("acme.owner"), f"/vendors/{vendor}/members"
    own = f"{members}/{site.people['acme.owner'].id}"
    problem(owner.delete(own), 409, "last_owner")
    body = {"username": "odin", "name": "Odin", "role": "vendor_owner"}
    asked = made(owner.post(members, json=body), 202)
    agreed = made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)
    problem(owner.delete(own), 409, "last_owner")
    problem(site.api("root").delete(own), 409, "last_owner")

    open_link(site, agreed["enrolment"]["url"], asked["setup_code"])
    gone = made(owner.delete(own), 200)

    assert gone["active"] is False
    problem(owner.get(members), 401, "token_invalid")
    assert sign_in(site, vendor, "acme.owner").status_code == 401
    root = site.api("root")
    problem(root.delete(f"{members}/{asked['approval']['target'] or agreed['target']}"), 409, "last_owner")
    problem(root.delete(f"/people/{agreed['target']}"), 409, "last_owner")


def test_an_owner_approves_what_another_owner_asked_for_and_not_what_they_asked_for(
    site: ControlSite,
) -> None:
    """Security decision 25: two people are two."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    join(site, vendor, "odin", "owner")
    owner, odin = site.api("acme.owner"), site.api("odin")
    body = {"username": "third", "name": "Third", "role": "vendor_owner"}
    asked = made(owner.post(f"/vendors/{vendor}/members", json=body), 202)
    approve = f"/approvals/{asked['approval']['id']}/approve"
    furnish_vendor(site, "Zenith Care", "zen")

    problem(owner.post(approve), 403, "asked_by_you")
    problem(site.api("zen.owner").post(approve), 404, "approval_not_found")
    problem(site.api("acme.developer").post(approve), 403, "not_permitted")
    problem(site.api("gina").post(approve), 404, "approval_not_found")
    assert made(odin.post(approve), 200)["state"] == "approved"


@pytest.mark.parametrize("kind", [TargetKind.PERSON, TargetKind.VENDOR])
def test_a_stop_on_a_member_or_the_vendor_ends_tokens_and_sign_in(
    site: ControlSite, kind: TargetKind
) -> None:
    """C8, security decision 24."""
    vendor = furnish_vendor(site, "Acme Health", "acme")
    person = site.people["acme.developer"].id
    client = site.api("acme.developer")
    assert client.get("/tokens").status_code == 200
    target = Target(kind, person if kind is TargetKind.PERSON else vendor)
    order = EngageOrder(target, Mode.FULL_STOP, "stolen laptop")
    site.system(switch_administration.engage, order=order)

    problem(client.get("/tokens"), 403, "switch_engaged")
    problem(sign_in(site, vendor, "acme.developer"), 403, "switch_engaged")
    other = site.api  # another vendor's member goes on
    furnish_vendor(site, "Zenith Care", "zen")
    assert other("zen.developer").get("/tokens").status_code == 200


def test_a_member_signs_in_at_their_vendor_only(site: ControlSite) -> None:
    """One username at two vendors, a hospital and the staff is four accounts."""
    vendor, other = furnish_vendor(site, "Acme Health", "acme"), add_vendor(site, "Zenith Care")
    join(site, vendor, "root", "developer")
    site.people.pop("root")
    for body in ({"vendor": other}, {"tenant": "general"}, {"vendor": "ven_none"}):
        answer = site.api().post("/tokens", json={"username": "root", "password": PASSWORD} | body)
        problem(answer, 401, "wrong_credentials")
    both = {"username": "root", "password": PASSWORD, "vendor": vendor, "tenant": "general"}
    assert codes(problem(site.api().post("/tokens", json=both), 422, "fields_invalid")) == {
        "vendor": "tenant_and_vendor"
    }
    staff = made(site.api().post("/tokens", json={"username": "root", "password": PASSWORD}))
    member = made(sign_in(site, vendor, "root"))
    assert (staff["roles"], member["roles"]) == (["platform_admin"], ["vendor_developer"])
