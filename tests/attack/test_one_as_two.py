"""One administrator acts as two: what they try, alone, and what comes of it (C200; security decision 25)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.clients import creation, store
from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, NewSystemClient
from hilum.controls.approvals.models import APPROVAL_LIFE
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import ClientId, PersonId, TenantId
from hilum.gateway.upstream.access import open_secrets
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, UpstreamSecrets
from hilum.identity.signin import policy as signin_policy
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.records.keys.live import vault
from tests.flows.accounts_ground import NURSE, OWN, approve, events, path_of, press, signs_in
from tests.flows.control_site import TRACE, ControlSite, build, problem
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

HOST = Actor(ActorKind.HOST, "root")


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(sqlite_uow, clock)


def deactivate(site: ControlSite, by: str, name: str) -> Any:
    return site.api(by).delete(f"/people/{site.people[name].id}")


def is_active(site: ControlSite, name: str) -> bool:
    found: Person = site.system(identity.get_person, person=site.people[name].id)
    return found.active


def add_staff(site: ControlSite, username: str, role: str) -> None:
    """Add staff behind the API's back, of age at once."""
    order = NewPerson(None, username, username.title(), role)
    site.people[username] = site.system(identity.add_person, order=order)


def make_new(site: ControlSite, name: str) -> None:
    site.system(identity.restart_age, person_id=site.people[name].id, since=site.clock.now())


# --- who is left to be the second person -----------------------------------------------------------------------------------------


def test_nobody_deactivates_all_who_could_be_the_second_person(site: ControlSite) -> None:
    made(deactivate(site, "root", "sam"), 200)

    problem(deactivate(site, "root", "sue"), 403, "too_few_left")

    assert is_active(site, "sue")
    assert events(site, "identity.person.deactivate")[-1][::2] == (Outcome.REFUSED, "too_few_left")


@pytest.mark.parametrize("left", ["too new", "stopped", "of no power", "deactivated"])
def test_who_does_not_count_is_not_one_of_the_two_who_are_left(site: ControlSite, left: str) -> None:
    match left:
        case "too new":
            make_new(site, "sue")
        case "stopped":
            order = {"kind": "person", "key": site.people["sue"].id, "reason": "a trick"}
            made(site.api("root").post("/switches", json=order))
        case "deactivated":
            made(deactivate(site, "root", "sue"), 200)
        case _:
            made(deactivate(site, "root", "sue"), 200)
            add_staff(site, "rex", "reviewer")
            add_staff(site, "olga", "auditor")

    problem(deactivate(site, "root", "sam"), 403, "too_few_left")

    assert is_active(site, "sam")


def test_who_is_too_new_to_count_is_not_deactivated_before_they_do(site: ControlSite) -> None:
    """Else one administrator keeps the number at one for ever."""
    made(deactivate(site, "root", "sam"), 200)
    add_staff(site, "pat", "security")
    make_new(site, "pat")
    make_new(site, "sue")

    problem(deactivate(site, "root", "pat"), 403, "too_few_left")


def test_colleagues_who_decide_nothing_leave_as_ever(site: ControlSite) -> None:
    made(deactivate(site, "root", "sam"), 200)

    for name in ("rita", "otto", "ann", "gina"):
        made(deactivate(site, "root", name), 200)


def test_where_enough_are_left_a_colleague_is_deactivated(site: ControlSite) -> None:
    made(deactivate(site, "root", "sam"), 200)
    add_staff(site, "pat", "platform_admin")

    made(deactivate(site, "root", "sue"), 200)


def test_the_last_administrator_of_a_hospital_leaves_the_staff_as_its_second_person(
    site: ControlSite,
) -> None:
    """What takes two at a hospital may be agreed to by the platform's staff, of whom two are always left."""
    made(deactivate(site, "gina", "gina"), 200)
    body = {"tenant": "general", "username": "gil", "name": "Gil", "role": "administrator"}
    asked = made(site.api("root").post("/people", json=body), 202)

    made(site.api("sam").post(f"/approvals/{asked['approval']['id']}/approve"), 200)


def test_the_host_is_the_way_out(site: ControlSite) -> None:
    """Who has the shell has the platform, and the record says so."""
    for name in ("sam", "sue", "root"):
        person = PersonId(site.people[name].id)
        site.uow.write_now(partial(identity.deactivate_person, person_id=person), actor=HOST, trace=TRACE)

    assert not is_active(site, "root")
    assert events(site, "identity.person.deactivate") == [(Outcome.DONE, "host:root", "")] * 3


# --- becoming who a colleague was ------------------------------------------------------------------------------------------------


def left_behind(site: ControlSite, by: str = "gina", **change: Any) -> dict[str, Any]:
    """Add a nurse and deactivate the account again: what one administrator may do alone."""
    opened = made(site.api(by).post("/people", json=NURSE | change))
    made(site.api(by).delete(f"/people/{opened['id']}"), 200)
    return opened


PATIENT = {"username": "pia", "name": "Pia", "role": "patient", "fhir_user": "Patient/p1", "patients": ["p1"]}


@pytest.mark.parametrize("by", ["gina", "root"])
def test_the_fhir_user_of_a_colleague_who_left_takes_a_second_person(site: ControlSite, by: str) -> None:
    """One administrator deactivates an account, creates another with its fhirUser, and enrols in it."""
    left_behind(site)
    twin = NURSE | {"username": "twin", "role": "physician"}

    asked = made(site.api(by).post("/people", json=twin), 202)

    assert asked["approval"]["before"] == {"own_of": ["nia"]}
    problem(approve(site, asked, by=by), 403, "asked_by_you")
    problem(approve(site, asked, by="carl"), 404, "approval_not_found")
    people = site.api("root").get("/people?tenant=general").json()["items"]
    assert [each["username"] for each in people if each["fhir_user"] == "Practitioner/n1"] == ["nia"]


@pytest.mark.parametrize(
    "who",
    [
        {"username": "two", "fhir_user": "Patient/p1", "patients": ["p1"]},
        {"username": "two", "fhir_user": "Patient/p1", "patients": []},
        {"username": "two", "fhir_user": "", "patients": ["p1"]},
        {"username": "two", "fhir_user": "RelatedPerson/r", "patients": ["p2", "p1"]},
        {"username": "two", "fhir_user": "Patient/p2", "patients": ["p2", "p1"]},
        {"username": "two", "role": "analyst", "fhir_user": "", "patients": ["p1"]},
    ],
)
@pytest.mark.parametrize("still", [True, False])
def test_a_patients_own_chart_takes_a_second_person(
    site: ControlSite, who: dict[str, Any], *, still: bool
) -> None:
    """One administrator opened a patient's chart through a new account."""
    opened = made(site.api("gina").post("/people", json=NURSE | PATIENT))
    if not still:
        made(site.api("gina").delete(f"/people/{opened['id']}"), 200)

    answer = site.api("gina").post("/people", json=NURSE | PATIENT | who)

    if still and who["fhir_user"] == "Patient/p1":
        problem(answer, 409, "fhir_user_taken")
    else:
        assert made(answer, 202)["approval"]["before"] == {"own_of": ["pia"]}


def test_widening_an_account_to_a_patients_own_chart_takes_a_second_person(site: ControlSite) -> None:
    gina = site.api("gina")
    made(gina.post("/people", json=NURSE | PATIENT))
    proxy = made(
        gina.post("/people", json=NURSE | PATIENT | {"username": "pax", "fhir_user": "", "patients": []})
    )
    path = f"/people/{proxy['id']}/charts"
    day = (site.clock.now() + timedelta(days=30)).isoformat()

    made(gina.put(path, json={"charts": [{"patient": "baby"}]}), 200)
    for charts in ([{"patient": "p1"}], [{"patient": "baby"}, {"patient": "p1", "until": day}]):
        asked = made(gina.put(path, json={"charts": charts}), 202)
        problem(approve(site, asked, by="gina"), 403, "asked_by_you")
    assert made(gina.get(f"/people/{proxy['id']}"), 200)["patients"] == ["baby"]

    agreed = made(approve(site, asked), 200)

    assert (agreed["kind"], agreed["target"]) == ("charts", proxy["id"])
    assert made(gina.get(f"/people/{proxy['id']}"), 200)["patients"] == ["baby", "p1"]
    made(gina.put(path, json={"charts": [{"patient": "p1"}]}), 202)  # for longer than agreed
    made(gina.put(path, json={"charts": []}), 200)  # to take away is single-handed


def test_charts_that_changed_meanwhile_are_not_what_was_agreed_to(site: ControlSite) -> None:
    gina = site.api("gina")
    made(gina.post("/people", json=NURSE | PATIENT))
    proxy = made(
        gina.post("/people", json=NURSE | PATIENT | {"username": "pax", "fhir_user": "", "patients": ["a"]})
    )
    path = f"/people/{proxy['id']}/charts"
    asked = made(gina.put(path, json={"charts": [{"patient": "a"}, {"patient": "p1"}]}), 202)
    made(gina.put(path, json={"charts": []}), 200)

    problem(approve(site, asked), 409, "target_changed")

    assert made(gina.get(f"/people/{proxy['id']}"), 200)["patients"] == []
    assert asked["approval"]["id"] in {each["id"] for each in waiting(site)}


def test_charts_that_can_no_longer_be_given_are_not_given_by_an_approval(site: ControlSite) -> None:
    """What two people agree to is judged at that moment, by what may be asked then."""
    gina = site.api("gina")
    made(gina.post("/people", json=NURSE | PATIENT))
    proxy = made(
        gina.post("/people", json=NURSE | PATIENT | {"username": "pax", "fhir_user": "", "patients": []})
    )
    path = f"/people/{proxy['id']}/charts"
    until = (site.clock.now() + timedelta(minutes=1)).isoformat()
    asked = made(gina.put(path, json={"charts": [{"patient": "p1", "until": until}]}), 202)
    site.clock.advance(timedelta(minutes=1))

    problem(approve(site, asked), 409, "charts_invalid")

    assert made(gina.get(f"/people/{proxy['id']}"), 200)["patients"] == []
    assert asked["approval"]["id"] in {each["id"] for each in waiting(site)}


def test_the_way_into_an_account_that_took_two_takes_two_before_anybody_enrolled(site: ControlSite) -> None:
    """Else who asked lets a colleague agree, and resets the account alone before its owner enrols."""
    left_behind(site)
    asked = made(site.api("gina").post("/people", json=NURSE | {"username": "twin"}), 202)
    twin = made(approve(site, asked), 200)["target"]

    assert made(site.api("gina").post(f"/people/{twin}/reset"), 202)["approval"]["kind"] == "reset"


def test_what_became_anothers_own_meanwhile_is_not_what_was_agreed_to(site: ControlSite) -> None:
    """The second person agreed to an administrator, not to one who is a nurse that left since."""
    body = NURSE | {"username": "gil", "role": "administrator"}
    asked = made(site.api("gina").post("/people", json=body), 202)
    left_behind(site)

    problem(approve(site, asked), 409, "target_changed")


def test_two_people_let_a_colleague_come_back(site: ControlSite) -> None:
    left_behind(site)
    asked = made(site.api("gina").post("/people", json=NURSE | {"username": "nia.okafor"}), 202)

    agreed = made(approve(site, asked), 200)

    assert press(site, path_of(agreed), code=asked["setup_code"]).status_code == 303
    assert signs_in(site, "nia.okafor", OWN, "general")
    problem(site.api("gina").post("/people", json=NURSE | {"username": "third"}), 409, "fhir_user_taken")


def test_who_is_nobody_elses_comes_in_by_one_administrator(site: ControlSite) -> None:
    left_behind(site)

    for number, change in enumerate(
        ({"fhir_user": "Practitioner/n2"}, {"fhir_user": "PractitionerRole/n1"}, {"fhir_user": ""})
    ):
        made(site.api("gina").post("/people", json=NURSE | {"username": f"n{number}"} | change))
    made(site.api("carl").post("/people", json=NURSE | {"tenant": "children"}))


# --- a hospital's FHIR server ----------------------------------------------------------------------------------------------------

THERE = {"kind": "http", "url": "https://fhir.general.example/r4"}
ELSEWHERE = {"kind": "http", "url": "https://fhir.evil.example/r4"}


def shown(site: ControlSite) -> dict[str, Any]:
    return dict(made(site.api("root").get("/tenants/general"), 200))


def waiting(site: ControlSite, by: str = "sam") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = made(site.api(by).get("/approvals"), 200)["items"]
    return found


def move(site: ControlSite, **body: Any) -> dict[str, Any]:
    return dict(made(site.api("root").patch("/tenants/general", json=body or {"upstream": ELSEWHERE}), 202))


@pytest.mark.parametrize(
    "body",
    [
        {"upstream": ELSEWHERE},
        {"upstream": {"kind": "embedded", "attachment_hosts": ["evil.example"]}},
        {"base_url": "https://evil.example"},
        {"ehr_origins": ["https://evil.example"]},
        {"name": "General", "upstream": ELSEWHERE},
        {"active": True, "moved_reads": "allow", "base_url": "https://evil.example"},
    ],
)
def test_one_administrator_moves_no_hospital(site: ControlSite, body: dict[str, Any]) -> None:
    """One platform administrator sent a hospital's charts, or its people, elsewhere."""
    before = shown(site)

    asked = move(site, **body)

    assert shown(site) == before
    problem(approve(site, asked, by="root"), 403, "asked_by_you")
    problem(approve(site, asked, by="carl"), 404, "approval_not_found")
    for name in ("rita", "otto", "ann"):
        problem(approve(site, asked, by=name), 403, "not_permitted")
    assert shown(site) == before


def test_two_people_let_hilum_in_with_access_tokens_and_nobody_reads_the_secret(site: ControlSite) -> None:
    """Security decision 15."""
    login = {"token_auth": "client_secret_post", "token_url": "https://login.lakeside.example/token"}
    wanted = THERE | login | {"client_id": "hilum", "scope": "system/*.rs"}
    refused = site.api("root").patch("/tenants/general", json={"upstream": wanted})
    assert refused.json()["fields"]["upstream"]["code"] == "client_secret_missing"
    asked = move(site, upstream=wanted | {"client_secret": "s3cret", "headers": {"Key": "k3y"}})
    seen = made(site.api("sam").get(f"/approvals/{asked['approval']['id']}"), 200)
    assert seen["order"]["upstream"]["token_url"] == login["token_url"]
    made(approve(site, asked), 200)

    stored = site.system(identity.get_tenant, tenant=TenantId("general"))
    assert open_secrets(vault(), stored.upstream) == UpstreamSecrets(
        client_secret="s3cret", headers={"Key": "k3y"}
    )
    found = shown(site)
    assert (found["upstream_client_id"], found["upstream_jwks"]) == ("hilum", "")
    assert not any(secret in str((seen, found)) for secret in ("s3cret", "k3y"))


def test_closing_a_hospital_first_makes_it_no_easier(site: ControlSite) -> None:
    made(site.api("root").patch("/tenants/general", json={"active": False}), 200)

    move(site)
    made(site.api("root").patch("/tenants/general", json={"active": True}), 200)

    assert shown(site)["upstream_url"] == ""


def test_what_moves_nothing_stays_single_handed(site: ControlSite) -> None:
    root = site.api("root")
    move(site, ehr_origins=["https://ehr.example", "https://ward.example"])
    made(approve(site, {"approval": waiting(site)[0]}), 200)

    bodies: tuple[dict[str, Any], ...] = (
        {"name": "General East"},
        {"moved_reads": "allow"},
        {"upstream": {"kind": "embedded"}},
        {"ehr_origins": ["https://ehr.example"]},
        {"ehr_origins": []},
        {"active": False},
    )
    for body in bodies:
        made(root.patch("/tenants/general", json=body), 200)
    assert waiting(site) == []


@pytest.mark.parametrize("by", ["sam", "gina"])
def test_two_people_move_a_hospital_exactly_as_it_was_asked(site: ControlSite, by: str) -> None:
    """Its own administrator, or a colleague on the staff."""
    asked = move(site, upstream=THERE | {"authorization": "Bearer s3cret"}, name="General East")
    seen = made(site.api(by).get(f"/approvals/{asked['approval']['id']}"), 200)
    assert {name: value for name, value in seen["order"]["upstream"].items() if value} == THERE | {
        "credentials": seen["order"]["upstream"]["credentials"]
    }
    assert seen["order"]["upstream"]["credentials"] not in {"", "Bearer s3cret"}
    assert "s3cret" not in str(seen)
    assert seen["before"]["upstream"]["kind"] == "embedded"

    agreed = made(approve(site, asked, by=by), 200)

    assert (agreed["state"], agreed["target"], agreed["enrolment"], agreed["secret_end"]) == (
        "approved",
        "general",
        None,
        None,
    )
    assert (shown(site)["upstream_url"], shown(site)["name"]) == (THERE["url"], "General East")
    stored = site.system(identity.get_tenant, tenant=TenantId("general"))
    assert open_secrets(vault(), stored.upstream) == UpstreamSecrets("Bearer s3cret")
    assert stored.upstream.credentials_sealed not in str(seen)
    assert events(site, "identity.tenant.update")[-1][1] == f"staff:{site.people['root'].id}"
    digests = site.system(audit.list_events, query=EventQuery(action="approvals.approval.ask")).events
    agreed_to = site.system(audit.list_events, query=EventQuery(action="approvals.approval.approve")).events
    assert digests[0].event.facts["order"] == agreed_to[0].event.facts["order"]


def test_a_move_that_another_overtook_is_not_carried_out(site: ControlSite) -> None:
    first, second = move(site), move(site, upstream=THERE)
    made(approve(site, second), 200)

    problem(approve(site, first, by="sue"), 409, "target_changed")

    assert shown(site)["upstream_url"] == THERE["url"]
    made(site.api("sue").post(f"/approvals/{first['approval']['id']}/refuse"), 200)


@pytest.mark.parametrize(
    "how",
    [
        "refused",
        "expired",
        "asker stopped",
        "asker was stopped",
        "asker read only",
        "second stopped",
        "second read only",
        "asker gone",
        "asker new",
    ],
)
def test_a_move_that_nobody_may_still_agree_to_moves_nothing(site: ControlSite, how: str) -> None:
    add_staff(site, "ada", "platform_admin")
    asked = made(site.api("ada").patch("/tenants/general", json={"upstream": ELSEWHERE}), 202)
    expected = (403, "asker_no_longer_counts")
    second = site.api("sam")
    match how:
        case "refused":
            made(site.api("sue").post(f"/approvals/{asked['approval']['id']}/refuse"), 200)
            expected = (409, "approval_over")
        case "expired":
            site.clock.advance(APPROVAL_LIFE)
            second, expected = site.api("sam"), (409, "approval_over")
        case "asker gone":
            made(deactivate(site, "root", "ada"), 200)
        case "asker new":
            make_new(site, "ada")
        case _:
            who, _, kind = how.partition(" ")
            order = {
                "kind": "person",
                "key": site.people["ada" if who == "asker" else "sam"].id,
                "reason": "x",
            }
            order |= {"mode": "read_only"} if kind == "read only" else {}
            site.clock.advance(timedelta(seconds=1))
            engaged = made(site.api("sue").post("/switches", json=order))
            if kind == "was stopped":
                made(site.api("sue").post(f"/switches/{engaged['id']}/release", json={"reason": "x"}), 200)
                # Later than the stop: what ended is what was asked for before it, not what is done after it.
                site.clock.advance(timedelta(seconds=1))
            expected = expected if who == "asker" else (403, "switch_engaged")

    problem(second.post(f"/approvals/{asked['approval']['id']}/approve"), *expected)

    assert shown(site)["upstream_url"] == ""


def test_what_can_no_longer_be_done_is_not_half_done(
    site: ControlSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal commits what was written before it: an approval must not be spent on an act that was refused."""
    asked = move(site, upstream=THERE)
    monkeypatch.setattr("hilum.identity.people.policy.upstream_fault", lambda _: "upstream_not_https")

    problem(approve(site, asked), 409, "tenant_invalid")

    assert [each["state"] for each in waiting(site)] == ["pending"]
    monkeypatch.undo()
    made(approve(site, asked), 200)


# --- who speaks for a whole hospital ---------------------------------------------------------------------------------------------

EHR = {"client_type": "ehr", "client_name": "Ward system"}


def system_clients(site: ControlSite) -> list[str]:
    found = site.system(lambda ctx: store.find_named(ctx.tx, EHR["client_name"], 10))
    return [each.id for each in found]


def authenticates(site: ControlSite, client: str, secret: str) -> bool:
    found = site.system(clients.get_client, client_id=ClientId(client))
    return clients_policy.secret_matches(found, creation.digest(secret), site.clock.now())


@pytest.mark.parametrize("by", ["gina", "root"])
@pytest.mark.parametrize("kind", ["ehr", "resource-server"])
def test_one_administrator_registers_no_ehr(site: ControlSite, by: str, kind: str) -> None:
    """It vouches for anybody at that hospital, so one who has one is everybody."""
    asked = made(site.api(by).post("/tenants/general/system-clients", json=EHR | {"client_type": kind}), 202)

    assert "client_secret" not in asked
    problem(approve(site, asked, by=by), 403, "asked_by_you")
    problem(approve(site, asked, by="carl"), 404, "approval_not_found")
    assert system_clients(site) == []


def test_neither_of_the_two_alone_holds_the_secret_of_an_ehr(site: ControlSite) -> None:
    asked = made(site.api("gina").post("/tenants/general/system-clients", json=EHR), 202)
    agreed = made(approve(site, asked), 200)
    start, end, client = asked["secret_start"], agreed["secret_end"], agreed["target"]

    assert start not in str(agreed)
    assert end not in str(asked)
    for secret in (start, end, end + start, start + start, start + end[:-1], "hil_cs_" + end):
        assert not authenticates(site, client, secret)
    assert authenticates(site, client, start + end)
    assert system_clients(site) == [client]
    dump = "\n".join(site.uow.db.read(lambda tx: list(tx.connection.driver_connection.iterdump())))  # type: ignore[union-attr]
    assert start not in dump
    assert end not in dump


@pytest.mark.parametrize("by", ["gina", "root"])
def test_one_administrator_renews_no_secret_of_an_ehr(site: ControlSite, by: str) -> None:
    client, secret = ehr(site)

    asked = made(site.api(by).post(f"/clients/{client}/secret", json={"overlap_s": 0}), 202)

    problem(approve(site, asked, by=by), 403, "asked_by_you")
    assert authenticates(site, client, secret)
    assert not authenticates(site, client, asked["secret_start"])
    agreed = made(approve(site, asked), 200)
    assert authenticates(site, client, asked["secret_start"] + agreed["secret_end"])
    site.clock.advance(timedelta(seconds=1))
    assert not authenticates(site, client, secret)


def test_of_two_new_secrets_that_were_asked_for_the_second_is_not_made(site: ControlSite) -> None:
    """Else one who waits with an old request ends the secret that two colleagues have just agreed to."""
    client, _ = ehr(site)
    first, second = (
        made(site.api(by).post(f"/clients/{client}/secret", json={}), 202) for by in ("gina", "root")
    )
    made(approve(site, second), 200)

    problem(approve(site, first), 409, "target_changed")


def test_whoever_reaches_the_verb_itself_is_refused_too(site: ControlSite) -> None:
    """Not only the route knows that it takes two."""
    client, _ = ehr(site)
    left_behind(site)
    for name in ("root", "gina"):
        actor = signin_policy.actor_of(site.people[name])
        order = NewSystemClient(TenantId("general"), ClientType.EHR, "E")
        twin = NewPerson(TenantId("general"), "twin", "Twin", "nurse", "Practitioner/n1")
        for verb, more in (
            (clients.add_system_client, {"order": order}),
            (clients.rotate_secret, {"client_id": client}),
            (identity.add_person, {"order": twin}),
        ):
            with pytest.raises(NotPermitted):
                site.uow.write_now(partial(verb, **more), actor=actor, trace=TRACE)


def test_the_platform_itself_and_the_host_set_up_alone(site: ControlSite) -> None:
    for actor in (HOST, SYSTEM):
        order = NewSystemClient(TenantId("general"), ClientType.EHR, "E")
        client, secret = site.uow.write_now(
            partial(clients.add_system_client, order=order), actor=actor, trace=TRACE
        )
        assert authenticates(site, client.id, secret)
        client, secret = site.uow.write_now(
            partial(clients.rotate_secret, client_id=client.id), actor=actor, trace=TRACE
        )
        assert authenticates(site, client.id, secret)


def ehr(site: ControlSite) -> tuple[str, str]:
    order = NewSystemClient(TenantId("general"), ClientType.EHR, "Ward system")
    client, secret = site.system(clients.add_system_client, order=order)
    return client.id, secret


def test_what_waits_is_seen_by_those_who_may_decide_and_by_nobody_else(site: ControlSite) -> None:
    asked = [
        move(site),
        made(site.api("root").post("/tenants/general/system-clients", json=EHR), 202),
        made(site.api("root").post("/tenants/children/system-clients", json=EHR), 202),
    ]
    here = [each["approval"]["id"] for each in asked[:2]]

    assert [each["id"] for each in waiting(site)] == [each["approval"]["id"] for each in asked]
    assert [each["id"] for each in waiting(site, "gina")] == here
    assert [each["about"] for each in waiting(site, "gina")] == ["general", "Ward system"]
    for each in here:
        problem(site.api("carl").get(f"/approvals/{each}"), 404, "approval_not_found")
        problem(site.api("carl").post(f"/approvals/{each}/refuse"), 404, "approval_not_found")
        for name in ("ann", "rita", "otto"):
            problem(site.api(name).get(f"/approvals/{each}"), 403, "not_permitted")
            problem(site.api(name).post(f"/approvals/{each}/refuse"), 403, "not_permitted")
