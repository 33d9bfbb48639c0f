"""Who of a hospital answers for a backend service: asked by one person, agreed to by another, and no token without (C17)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import pytest

from hilum.apps.clients.models import BackendUse, Client, ClientType
from hilum.apps.clients.store import clients as client_table
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder, WidenOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment
from hilum.apps.service_owners import service
from hilum.apps.service_owners.models import (
    GRACE,
    WAITING_LIFE,
    NewServiceOwner,
    ServiceOwner,
    ServiceOwnerQuery,
    ServiceOwnerState,
)
from hilum.apps.service_owners.policy import state_of
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import HilumError, Invalid
from hilum.foundation.kernel.ids import ClientId, PersonId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.people.store import people as people_table
from hilum.identity.signin.policy import actor_of
from hilum.records.audit import service as audit
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel, NoticeQuery
from tests.flows import token_flow
from tests.flows.control_site import build, codes, problem
from tests.flows.token_flow import REMEMBERED, TRACE, Platform, refused
from tests.flows.vendor_ground import made
from tests.sim.furnished import furnish
from tests.sim.proofs import certify
from tests.sim.world import START, FakeClock

T = TypeVar("T")
platform = token_flow.platform
NORTH = TenantId("north")
USE = BackendUse("Quality reports", "All patients", "Nightly")
DAY = timedelta(days=1)


class North:
    """A production hospital with two administrators, an analyst, a nurse and others, where a backend service is installed."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.client = furnish("north", platform.uow, platform, REMEMBERED, self._furnish)

    def _furnish(self) -> Client:
        platform = self.platform
        upstream = UpstreamRef(UpstreamKind.EMBEDDED)
        platform.run(lambda ctx: identity.add_tenant(ctx, Tenant(NORTH, "North", upstream)))
        platform.run(lambda ctx: keys.ensure(ctx, Purpose.ID_TOKEN, NORTH))
        platform.add_system_client("north-resource", ClientType.RESOURCE_SERVER, NORTH)
        client = platform.add_app(
            "nightly", ClientType.BACKEND, tenants=(), environment=Environment.PRODUCTION, backend_use=USE
        )
        ends = platform.clock.now() + timedelta(days=360)
        order = CertifyOrder(client.version, Environment.PRODUCTION, client.scopes, ends)
        platform.run(lambda ctx: certify(ctx, order))
        install = InstallOrder(NORTH, client.app, frozenset())
        platform.run(lambda ctx: installations.install(ctx, install))
        for name, role, user in (
            ("ada", "administrator", ""),
            ("amy", "administrator", ""),
            ("ana", "analyst", ""),
            ("nora", "nurse", "Practitioner/n1"),
            ("fred", "front_desk", ""),
            ("pia", "patient", "Patient/p9"),
        ):
            platform.add_person(name, role, user, *(("p9",) if role == "patient" else ()), at=NORTH)
        return client

    def who(self, name: str) -> Person:
        return self.platform.people[name]

    def do(self, name: str, verb: Callable[[Context], T]) -> T:
        """Run a verb as a person."""
        return self.platform.uow.write_now(verb, actor=actor_of(self.who(name)), trace=TRACE)

    def ask(self, who: str = "ana", by: str = "ada", **change: Any) -> ServiceOwner:
        order = replace(NewServiceOwner(NORTH, self.client.id, self.who(who).id), **change)
        return self.do(by, lambda ctx: service.ask(ctx, order))

    def agree(self, service_owner: ServiceOwner, by: str = "ana") -> ServiceOwner:
        return self.do(by, lambda ctx: service.agree(ctx, service_owner.id))

    def service_owner(self, **change: Any) -> ServiceOwner:
        return self.agree(self.ask(**change))

    def token(self) -> Any:
        form = {"grant_type": "client_credentials", "scope": "system/*.rs"}
        form["client_assertion"] = self.platform.assertion("nightly", tenant=NORTH)
        return self.platform.post("token", "nightly", form, NORTH)

    def has_token(self) -> bool:
        answer = self.token()
        if answer.status_code != 200:
            assert "approver_missing" in refused(answer, "unauthorized_client")
        return bool(answer.status_code == 200)

    def is_alive(self, token: str) -> bool:
        return bool(self.platform.introspect(token, "north-resource", NORTH)["active"])

    def follow(self) -> None:
        after = self.platform.run(partial(service.follow_approvers, after=""))
        while after:
            after = self.platform.run(partial(service.follow_approvers, after=after))

    def findings(self) -> list[str]:
        query = ServiceOwnerQuery(findings=True)
        return [each.id for each in self.do("ada", lambda ctx: service.list_service_owners(ctx, query))]

    def leave(self, name: str) -> None:
        self.platform.run(lambda ctx: identity.deactivate_person(ctx, self.who(name).id))


@pytest.fixture
def north(platform: Platform) -> North:
    return North(platform)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(HilumError) as caught:
        act()
    return caught.value.code


def faults_of(act: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        act()
    return caught.value.fields


def test_a_backend_service_gets_tokens_once_the_named_person_has_agreed(north: North) -> None:
    """C17: neither the installation nor the request alone is enough; what was agreed to is on record."""
    assert not north.has_token()
    asked = north.ask()
    assert (asked.purpose, asked.population, asked.schedule) == ("Quality reports", "All patients", "Nightly")
    assert not north.has_token()

    north.agree(asked)

    assert north.has_token()
    (event,) = north.platform.events("service_owners.service_owner.agree")
    assert (event.tenant, event.client, event.person) == (NORTH, north.client.id, north.who("ana").id)


@pytest.mark.parametrize("who", ["ada", "amy", "nora", "dora", "pia"])
def test_nobody_agrees_in_the_approvers_place(north: North, who: str) -> None:
    """C17: not who asked, not another administrator, no colleague, nobody of another hospital."""
    asked = north.ask()

    assert code_of(lambda: north.agree(asked, by=who)) in {"not_the_approver", "service_owner_not_found"}
    assert code_of(lambda: north.platform.run(lambda ctx: service.agree(ctx, asked.id))) == "not_the_approver"
    assert not north.has_token()


def test_only_an_administrator_of_the_hospital_asks(north: North) -> None:
    order = NewServiceOwner(NORTH, north.client.id, north.who("ana").id)

    for who in ("ana", "nora", "dora", "pia"):
        assert code_of(partial(north.do, who, partial(service.ask, order=order))) == "not_permitted"
    assert code_of(lambda: north.platform.run(lambda ctx: service.ask(ctx, order))) == "not_permitted"


def test_the_approver_is_a_suitable_colleague_of_the_same_hospital(north: North) -> None:
    """C17: neither who asks, nor patients and front desk, nor people of elsewhere or who have left."""
    north.leave("nora")

    for who in ("fred", "pia", "dora", "nora"):
        assert faults_of(partial(north.ask, who)) == {"approver": "approver_unsuitable"}
    assert faults_of(lambda: north.ask("ada")) == {"approver": "approver_is_you"}
    assert faults_of(lambda: north.ask("ana", approver=PersonId("per_none"))) == {
        "approver": "approver_unsuitable"
    }


def test_a_service_owner_is_for_a_backend_service_and_ends_no_later_than_it(north: North) -> None:
    now = north.platform.clock.now()

    assert faults_of(lambda: north.ask(ends_at=now)) == {"ends_at": "not_in_the_future"}
    assert faults_of(lambda: north.ask(ends_at=now + 301 * DAY)) == {"ends_at": "after_the_client_ends"}
    public = north.platform.clients["public"].id
    assert faults_of(lambda: north.ask(client=public)) == {"client": "not_a_backend_service"}
    assert code_of(lambda: north.ask(client=ClientId("cli_none"))) == "client_not_found"


def test_on_the_end_date_tokens_stop_those_that_are_out_too(north: North) -> None:
    """C17: no new one, and no token outlives the service owner, at introspection as at the gateway."""
    soon = north.platform.clock.now() + timedelta(minutes=2)
    north.service_owner(ends_at=soon)
    answer = north.token().json()
    assert answer["expires_in"] == 120
    assert north.is_alive(answer["access_token"])

    north.platform.clock.advance(timedelta(minutes=2))

    assert not north.has_token()
    assert not north.is_alive(answer["access_token"])


def test_without_an_end_of_its_own_it_ends_with_the_client(north: North) -> None:
    assert north.service_owner().ends_at == north.client.expires_at


def test_an_approver_who_leaves_is_a_finding_and_another_takes_over_within_the_grace(north: North) -> None:
    """C17."""
    first = north.service_owner()
    north.platform.clock.advance(DAY)
    left_at = north.platform.clock.now()
    north.leave("ana")
    assert north.has_token()
    north.platform.clock.advance(DAY)

    north.follow()
    north.follow()

    assert north.findings() == [first.id]
    (event,) = north.platform.events("service_owners.service_owner.lose_approver")
    assert event.facts["since"] == left_at.isoformat()
    north.agree(north.ask("nora"), by="nora")
    assert north.findings() == []
    north.platform.clock.advance(GRACE)
    assert north.has_token()


@pytest.mark.parametrize("followed", [True, False])
def test_after_the_grace_there_are_no_tokens_whether_or_not_the_job_ran(north: North, followed: bool) -> None:
    """C17: the end of the grace counts at its moment, also for tokens that are out."""
    north.service_owner()
    north.leave("ana")
    if followed:
        north.follow()
    north.platform.clock.advance(GRACE - timedelta(minutes=1))
    answer = north.token().json()
    assert answer["expires_in"] == 60

    north.platform.clock.advance(timedelta(minutes=1))

    assert not north.has_token()
    assert not north.is_alive(answer["access_token"])


@pytest.mark.parametrize("who", ["ana", "amy"])
def test_approver_and_administrators_end_it_alone_and_nobody_else(north: North, who: str) -> None:
    given = north.service_owner()
    end = partial(service.end, service_owner_id=given.id, reason="the programme is over")
    assert north.has_token()
    assert code_of(lambda: north.do("nora", end)) == "service_owner_not_found"
    assert code_of(lambda: north.do("dora", end)) == "service_owner_not_found"
    assert faults_of(lambda: north.do(who, partial(end, reason=" "))) == {"reason": "reason_missing"}

    north.do(who, end)

    assert not north.has_token()
    assert code_of(lambda: north.do("ana", end)) == "service_owner_over"


def test_what_another_process_ended_ends_the_next_token(north: North) -> None:
    """C17: the service owner and its approver are kept in the process between two tokens, and no longer than they stand."""
    other = UnitOfWork.create(
        Database(north.platform.uow.db.url),
        north.platform.clock,
        north.platform.uow.ids,
        "other",
        append=audit.record,
    )
    asked = north.service_owner()
    assert [north.has_token(), north.has_token()] == [True, True]

    other.write_now(
        lambda ctx: service.end(ctx, asked.id, "Not needed"), actor=actor_of(north.who("ada")), trace=TRACE
    )
    assert not north.has_token()

    north.service_owner()
    assert north.has_token()
    other.write_now(
        lambda ctx: identity.deactivate_person(ctx, north.who("ana").id), actor=SYSTEM, trace=TRACE
    )
    north.platform.clock.advance(GRACE + DAY)
    assert not north.has_token()
    other.close()


def test_a_new_agreement_replaces_the_one_before(north: North) -> None:
    first = north.service_owner()
    soon = north.platform.clock.now() + timedelta(minutes=1)

    north.agree(north.ask("nora", ends_at=soon), by="nora")

    found = north.do("ada", lambda ctx: service.get_service_owner(ctx, first.id))
    assert state_of(found, north.platform.clock.now()) is ServiceOwnerState.OVER
    assert north.token().json()["expires_in"] == 60


def test_a_request_that_expired_changed_or_lost_its_requester_is_not_approved(north: North) -> None:
    changed, left = north.ask(), north.ask(by="amy")
    late = north.ask()
    north.leave("amy")
    assert code_of(lambda: north.agree(left)) == "asker_no_longer_counts"
    written_down(north, purpose="Sell the data", approver="")
    assert code_of(lambda: north.agree(changed)) == "service_owner_stale"
    written_down(north, approver="")
    north.platform.clock.advance(WAITING_LIFE)
    assert code_of(lambda: north.agree(late)) == "service_owner_decided"
    assert not north.has_token()


def test_a_production_client_is_registered_without_an_approver_as_a_text_and_old_ones_go_on(
    north: North,
) -> None:
    """C17: no hospital named whom a vendor writes down; what was registered before keeps working until its end date."""
    platform = north.platform
    text = replace(USE, approver="Ada Admin")
    more: dict[str, Any] = {"tenants": (), "environment": Environment.PRODUCTION, "backend_use": text}
    assert faults_of(lambda: platform.add_app("other", ClientType.BACKEND, **more)) == {
        "backend_use": "approver_is_a_text"
    }
    assert not north.has_token()

    written_down(north)

    assert north.has_token()
    (unanswered,) = north.do("ada", lambda ctx: installations.list_unanswered(ctx, NORTH))
    assert (unanswered.client, unanswered.text) == (north.client.id, "Ada Admin")
    platform.clock.advance(timedelta(days=300))
    assert north.token().status_code == 401


def written_down(north: North, *, purpose: str = "Quality reports", approver: str = "Ada Admin") -> None:
    """Make the service one of before there were service owners, whose vendor wrote a name down."""
    old = [purpose, "All patients", "Nightly", approver]
    table = client_table.update().where(client_table.c.id == north.client.id).values(backend_use=old)
    north.platform.run(lambda ctx: ctx.tx.execute(table))
    north.platform.run(lambda ctx: registry.announce_change(ctx, north.client.app))


def test_an_app_whose_service_rests_on_a_text_is_not_approved_again_before_somebody_agrees(
    north: North,
) -> None:
    """C17: neither validated nor widened nor installed again; what runs goes on."""
    written_down(north)
    (before,) = north.do("ada", lambda ctx: installations.list_installations(ctx, NORTH))
    again = InstallOrder(NORTH, north.client.app, frozenset())

    assert (
        code_of(lambda: north.do("ada", lambda ctx: installations.revalidate(ctx, before.id)))
        == "approver_missing"
    )
    assert (
        code_of(lambda: north.do("ada", lambda ctx: installations.install(ctx, again))) == "approver_missing"
    )
    more = WidenOrder(roles=frozenset({"administrator"}))
    assert (
        code_of(lambda: north.do("ada", lambda ctx: installations.widen(ctx, before.id, more)))
        == "approver_missing"
    )
    assert north.has_token()
    north.service_owner()
    north.do("ada", lambda ctx: installations.revalidate(ctx, before.id))
    assert north.do("ada", lambda ctx: installations.list_unanswered(ctx, NORTH)) == []


def test_once_somebody_agreed_what_was_written_down_counts_no_more(north: North) -> None:
    """C17: an administrator who ends the service owner stops the service."""
    written_down(north)
    agreed = north.service_owner()
    assert north.has_token()

    north.do("ada", lambda ctx: service.end(ctx, agreed.id, "Done."))

    assert not north.has_token()


def test_a_service_without_anybody_is_listed_to_its_hospital_alone(north: North) -> None:
    (unanswered,) = north.do("ada", lambda ctx: installations.list_unanswered(ctx, NORTH))

    assert (unanswered.client, unanswered.text) == (north.client.id, "")
    assert (
        code_of(lambda: north.do("ana", lambda ctx: installations.list_unanswered(ctx, NORTH)))
        == "tenant_not_found"
    )
    assert (
        code_of(lambda: north.do("ada", lambda ctx: installations.list_unanswered(ctx, TenantId("mercy"))))
        == "tenant_not_found"
    )


def mails(north: North) -> list[tuple[str, str, str]]:
    query = NoticeQuery(channel=Channel.MAIL)
    found = north.platform.run(lambda ctx: notices.list_notices(ctx, query))
    return sorted(
        (each.kind, each.recipient, each.facts["ends"][:10])
        for each in found
        if each.kind.startswith("service_owner")
    )


def reach(north: North, name: str) -> None:
    table = people_table.update().where(people_table.c.id == north.who(name).id)
    north.platform.run(lambda ctx: ctx.tx.execute(table.values(mail=f"{name}@north.example")))


def test_administrators_get_mail_before_a_service_owner_ends_and_no_more_than_once_for_each_reminder(
    north: North,
) -> None:
    """C17: thirty and seven days before, however often the job runs; the approver too, who gets one when named as well, and nobody else."""
    for name in ("ada", "ana", "nora"):
        reach(north, name)
    ends = north.platform.clock.now() + timedelta(days=100)
    north.service_owner(ends_at=ends)
    for day in (69, 70, 80, 93, 94):
        north.platform.clock.advance(START + timedelta(days=day) - north.platform.clock.now())
        north.follow()
        north.follow()

    until = f"{ends:%Y-%m-%d}"
    assert mails(north) == [
        ("service_owner_asked", "ana@north.example", until),
        *[("service_owner_ends", "ada@north.example", until)] * 2,
        *[("service_owner_ends", "ana@north.example", until)] * 2,
    ]


def test_administrators_get_mail_when_whoever_answers_for_a_service_has_left(north: North) -> None:
    """C17: with the day until which it goes on."""
    reach(north, "ada")
    north.service_owner()
    north.leave("ana")
    until = north.platform.clock.now() + GRACE
    north.follow()
    north.follow()

    assert mails(north) == [("service_owner_lost", "ada@north.example", f"{until:%Y-%m-%d}")]


def test_people_list_what_concerns_them(north: North) -> None:
    asked = north.ask()

    def seen(name: str) -> list[str]:
        return [
            each.id
            for each in north.do(name, lambda ctx: service.list_service_owners(ctx, ServiceOwnerQuery()))
        ]

    assert [seen(name) for name in ("ada", "ana", "nora", "dora")] == [[asked.id], [asked.id], [], []]
    everywhere = north.platform.uow.write_now(
        lambda ctx: service.list_service_owners(ctx, ServiceOwnerQuery()), actor=SYSTEM, trace=TRACE
    )
    assert [each.id for each in everywhere] == [asked.id]
    of_vendor = Actor(
        ActorKind.MEMBER,
        "per_v",
        roles=frozenset({"vendor_billing"}),
        vendor=asked.vendor,
    )
    listed = north.platform.uow.write_now(
        lambda ctx: service.list_service_owners(ctx, ServiceOwnerQuery()), actor=of_vendor, trace=TRACE
    )
    assert [each.id for each in listed] == [asked.id]


def test_the_api_asks_shows_agrees_and_ends(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    site = build(sqlite_uow, clock)
    mary = site.api("mary")
    body = {"tenant": "mercy", "client": "cli_none", "approver": site.people["mary"].id}

    problem(mary.post("/service-owners", json=body), 404, "client_not_found")
    problem(site.api("gina").post("/service-owners", json=body), 403, "not_permitted")
    problem(site.api("root").post("/service-owners", json=body), 403, "not_permitted")
    for verb in ("agree", "end"):
        answer = mary.post(
            f"/service-owners/svo_none/{verb}", json={"reason": "x"} if verb == "end" else None
        )
        problem(answer, 404, "service_owner_not_found")
    problem(mary.get("/service-owners/svo_none"), 404, "service_owner_not_found")
    assert made(mary.get("/service-owners?findings=true"), 200)["items"] == []
    problem(mary.get("/service-owners?tenant=general"), 403, "not_permitted")
    found = problem(mary.post("/service-owners", json={"tenant": "mercy"}), 422, "fields_invalid")
    assert set(codes(found)) == {"client", "approver"}
