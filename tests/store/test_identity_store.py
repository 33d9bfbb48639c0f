"""Tenants and people as the service keeps them, on each backend (C145)."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.identity.people import service
from hilum.identity.people.models import (
    MovedReads,
    NewPerson,
    Role,
    Tenant,
    TenantChange,
    UpstreamKind,
    UpstreamRef,
)
from tests.sim.facts import whole
from tests.sim.world import FakeClock

TRACE = Trace("req_test")
GENERAL = Tenant(
    TenantId("general"),
    "General Hospital",
    UpstreamRef(UpstreamKind.HTTP, "https://fhir.example/r4", "sealed"),
    base_url="https://general.example",
    ehr_origins=("https://ehr.example",),
    moved_reads=MovedReads.ALLOW,
    sandbox=True,
)
CHILDREN = Tenant(TenantId("children"), "Children's", UpstreamRef(UpstreamKind.EMBEDDED))
ANN = NewPerson(TenantId("general"), "Ann", "Ann Example", Role.PHYSICIAN, "Practitioner/1", ("p1", "p2"))


def admin(tenant: str) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{tenant}", TenantId(tenant), frozenset({"administrator"}))


def do(uow: UnitOfWork, actor: Actor, verb: Any, *args: Any, **more: Any) -> Any:
    return uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=actor, trace=TRACE)


@pytest.fixture
def two(uow: UnitOfWork) -> UnitOfWork:
    for tenant in (GENERAL, CHILDREN):
        do(uow, SYSTEM, service.add_tenant, tenant)
    return uow


def test_a_tenant_comes_back_as_it_was_added(two: UnitOfWork) -> None:
    assert do(two, SYSTEM, service.get_tenant, GENERAL.id) == GENERAL
    assert do(two, SYSTEM, service.list_tenants) == [CHILDREN, GENERAL]
    assert do(two, SYSTEM, service.find_tenant, TenantId("nowhere")) is None


@pytest.mark.parametrize(
    "text", ["", "nowhere", "GENERAL", "general\x00", "gen%", "general' OR 1=1", "x" * 500, "\ud800"]
)
def test_whatever_stands_in_an_address_only_a_tenant_is_found(two: UnitOfWork, text: str) -> None:
    """Never a 500 for input; a NUL or a lone surrogate would break PostgreSQL."""
    assert do(two, SYSTEM, service.find_tenant, TenantId(text)) is None
    with pytest.raises(NotFound):
        do(two, SYSTEM, service.get_tenant, TenantId(text))


def test_an_id_is_taken_once(two: UnitOfWork) -> None:
    with pytest.raises(Conflict):
        do(two, SYSTEM, service.add_tenant, replace(CHILDREN, id=GENERAL.id))


def test_only_the_platform_adds_tenants(uow: UnitOfWork) -> None:
    for actor in (admin("general"), Actor(ActorKind.STAFF, "s", roles=frozenset({"security"}))):
        with pytest.raises(NotPermitted):
            do(uow, actor, service.add_tenant, GENERAL)
    with pytest.raises(Invalid):
        do(uow, SYSTEM, service.add_tenant, replace(GENERAL, id=TenantId("A")))

    assert do(uow, SYSTEM, service.list_tenants) == []


def test_an_administrator_changes_the_locale_and_the_platform_where_data_lies(two: UnitOfWork) -> None:
    changed = do(
        two,
        admin("general"),
        service.update_tenant,
        GENERAL.id,
        TenantChange(name="G", moved_reads=MovedReads.REFUSE),
    )
    assert (changed.name, changed.moved_reads, changed.upstream) == ("G", MovedReads.REFUSE, GENERAL.upstream)
    for change in (
        TenantChange(upstream=UpstreamRef(UpstreamKind.EMBEDDED)),
        TenantChange(active=False),
        TenantChange(base_url="https://evil.example"),
        TenantChange(ehr_origins=("https://evil.example",)),
    ):
        # By the right alone: an account that may not ask for it would be refused as well.
        with pytest.raises(NotPermitted, match="not_permitted"):
            do(two, admin("general"), service.update_tenant, GENERAL.id, change)
    with pytest.raises(NotPermitted):
        do(two, admin("children"), service.update_tenant, GENERAL.id, TenantChange(name="mine"))
    with pytest.raises(Invalid):
        do(two, SYSTEM, service.update_tenant, GENERAL.id, TenantChange(name=" "))

    do(two, SYSTEM, service.update_tenant, GENERAL.id, TenantChange(active=False))

    facts = do(two, SYSTEM, whole(service.facts))
    assert {tenant: fact.active for tenant, fact in facts.tenants.items()} == {
        "general": False,
        "children": True,
    }
    assert facts.tenants[GENERAL.id].upstream == GENERAL.upstream


def test_a_person_is_found_by_username_at_the_own_tenant_only(two: UnitOfWork) -> None:
    """C37, C145."""
    ann = do(two, SYSTEM, service.add_person, ANN)
    staff = do(two, SYSTEM, service.add_person, NewPerson(None, "ann", "Ann Staff", "security"))
    other = do(two, SYSTEM, service.add_person, replace(ANN, tenant=CHILDREN.id))

    def find(tenant: str | None, username: str) -> Any:
        return do(two, SYSTEM, service.find_person_by_username, tenant and TenantId(tenant), username)

    assert find("general", " ANN ") == ann == do(two, SYSTEM, service.get_person, ann.id)
    assert (find("children", "ann"), find(None, "ann")) == (other, staff)
    assert (find("mercy", "ann"), find("general", "bob"), find("general", "a\x00")) == (None, None, None)
    assert ann.patients == ("p1", "p2")


def test_a_search_by_name_finds_nobody_whose_name_the_searcher_may_not_see(two: UnitOfWork) -> None:
    """The staff find no patient by name, and clinicians nobody."""
    patient = NewPerson(GENERAL.id, "pat", "Ann Patient", Role.PATIENT, "Patient/p9")
    for order in (ANN, replace(ANN, tenant=CHILDREN.id, name="Ann Other"), patient):
        do(two, SYSTEM, service.add_person, order)
    physician = Actor(ActorKind.PERSON, "per_1", GENERAL.id, frozenset({"physician"}))
    security = Actor(ActorKind.STAFF, "per_2", roles=frozenset({"security"}))

    def found(actor: Actor) -> set[str]:
        return {each.name for each in do(two, actor, service.search_people, "ann", 10)}

    root = Actor(ActorKind.STAFF, "per_3", roles=frozenset({"platform_admin"}))
    assert found(security) == found(root) == {"Ann Example", "Ann Other"}
    assert found(admin("general")) == {"Ann Example", "Ann Patient"}
    assert found(physician) == set()


def test_a_username_is_taken_once_at_a_tenant_whatever_its_case(two: UnitOfWork) -> None:
    do(two, SYSTEM, service.add_person, ANN)
    for order in (ANN, replace(ANN, username="ANN"), replace(ANN, username=" ann ")):
        with pytest.raises(Conflict):
            do(two, SYSTEM, service.add_person, order)
    do(two, SYSTEM, service.add_person, NewPerson(None, "root", "Root", "platform_admin"))

    with pytest.raises(Conflict):
        do(two, SYSTEM, service.add_person, NewPerson(None, "root", "Root", "platform_admin"))


def test_people_are_added_seen_and_removed_by_their_own_administrator_only(two: UnitOfWork) -> None:
    """C145."""
    with pytest.raises(NotPermitted):
        do(two, admin("children"), service.add_person, ANN)
    with pytest.raises(NotPermitted):
        do(two, admin("general"), service.add_person, NewPerson(None, "x", "X", "platform_admin"))
    with pytest.raises(NotFound):
        do(two, SYSTEM, service.add_person, replace(ANN, tenant=TenantId("nowhere")))
    with pytest.raises(Invalid):
        do(two, admin("general"), service.add_person, replace(ANN, role="platform_admin"))
    ann = do(two, admin("general"), service.add_person, ANN)

    with pytest.raises(NotFound):
        do(two, admin("children"), service.view_person, ann.id)
    with pytest.raises(NotFound):
        do(two, admin("children"), service.deactivate_person, ann.id)
    with pytest.raises(NotPermitted):
        do(two, admin("children"), service.list_people, TenantId("general"))
    assert do(two, admin("general"), service.list_people, TenantId("general")) == [ann]
    assert do(two, Actor(ActorKind.PERSON, ann.id, ann.tenant), service.view_person, ann.id) == ann


def test_the_gateway_learns_of_a_deactivated_person_for_as_long_as_a_token_lives(
    two: UnitOfWork, clock: FakeClock
) -> None:
    """Security decision 7: the negative list is bounded in time."""
    ann = do(two, SYSTEM, service.add_person, ANN)

    gone = do(two, admin("general"), service.deactivate_person, ann.id)

    assert (gone.active, do(two, SYSTEM, service.get_person, ann.id).active) == (False, False)
    assert do(two, SYSTEM, whole(service.facts)).inactive_people == {ann.id}
    with pytest.raises(Conflict):
        do(two, admin("general"), service.deactivate_person, ann.id)
    clock.advance(timedelta(minutes=64))
    assert do(two, SYSTEM, whole(service.facts)).inactive_people == {ann.id}
    clock.advance(timedelta(minutes=2))
    assert do(two, SYSTEM, whole(service.facts)).inactive_people == frozenset()
    assert not do(two, SYSTEM, service.find_person_by_username, TenantId("general"), "ann").active
    assert do(two, SYSTEM, service.find_person, PersonId("per_none")) is None


def test_people_come_in_pages_by_username(two: UnitOfWork) -> None:
    for name in ("c", "a", "b"):
        do(two, SYSTEM, service.add_person, replace(ANN, username=name, fhir_user=f"Practitioner/{name}"))

    assert [
        each.username for each in do(two, SYSTEM, service.list_people, TenantId("general"), PageQuery("a"))
    ] == ["b", "c"]


def test_tenants_are_seen_by_the_staff_and_by_their_own_administrator(two: UnitOfWork) -> None:
    auditor = Actor(ActorKind.STAFF, "o", roles=frozenset({"auditor"}))

    assert do(two, auditor, service.view_tenants, PageQuery("children")) == [GENERAL]
    assert do(two, admin("children"), service.view_tenants) == [CHILDREN]
    with pytest.raises(NotFound):
        do(two, admin("children"), service.view_tenant, GENERAL.id)
    with pytest.raises(NotPermitted):
        do(two, Actor(ActorKind.PERSON, "p", GENERAL.id, frozenset({"physician"})), service.view_tenants)


def test_a_hospital_that_was_shut_stays_shut_when_it_is_renamed_at_that_moment(two: UnitOfWork) -> None:
    """C145: of changes made at once each takes effect."""
    for n in range(8):
        do(two, SYSTEM, service.update_tenant, GENERAL.id, TenantChange(active=True))
        changes = [TenantChange(active=False), TenantChange(name=f"Name {n}")]
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda change: do(two, SYSTEM, service.update_tenant, GENERAL.id, change), changes))

        found = do(two, SYSTEM, service.get_tenant, GENERAL.id)
        assert (found.active, found.name) == (False, f"Name {n}")
