"""One administrator acts as two: what they try, alone, and what comes of it (C200; security decision 25)."""

from typing import Any

import pytest

from hilum.audit.models import Outcome
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Person
from hilum.infra.edge import Edge
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import PersonId
from hilum.signin import policy as signin_policy
from tests.flows.control_site import TRACE, ControlSite, build, problem
from tests.flows.test_two_people import events, made
from tests.sim.world import FakeClock

HOST = Actor(ActorKind.HOST, "root")


@pytest.fixture
def site(sqlite_edge: Edge, clock: FakeClock) -> ControlSite:
    return build(sqlite_edge, clock)


def deactivate(site: ControlSite, by: str, name: str) -> Any:
    return site.api(by).delete(f"/people/{site.people[name].id}")


def is_active(site: ControlSite, name: str) -> bool:
    found: Person = site.system(identity.get_person, person=site.people[name].id)
    return found.active


def add_staff(site: ControlSite, username: str, role: str, *, by: Actor = HOST) -> None:
    """Add staff behind the API's back: of age at once by the host, too new by anybody else."""
    order = NewPerson(None, username, username.title(), role)
    site.people[username] = site.edge.write_now(
        lambda ctx: identity.add_person(ctx, order), actor=by, trace=TRACE
    )


# --- who is left to be the second person -----------------------------------------------------------------------------------------


def test_nobody_deactivates_all_who_could_be_the_second_person(site: ControlSite) -> None:
    made(deactivate(site, "root", "sam"), 200)

    problem(deactivate(site, "root", "sue"), 403, "too_few_left")

    assert is_active(site, "sue")
    assert events(site, "identity.person.deactivate")[-1][::2] == (Outcome.REFUSED, "too_few_left")


@pytest.mark.parametrize("left", ["too new", "stopped", "of no power", "deactivated"])
def test_who_does_not_count_is_not_one_of_the_two_who_are_left(site: ControlSite, left: str) -> None:
    root = signin_policy.actor_of(site.people["root"])
    match left:
        case "too new":
            site.system(identity.restart_age, person_id=site.people["sue"].id, since=site.clock.now())
        case "stopped":
            order = {"kind": "person", "key": site.people["sue"].id, "reason": "a trick"}
            made(site.api("root").post("/switches", json=order))
        case "deactivated":
            made(deactivate(site, "root", "sue"), 200)
        case _:
            made(deactivate(site, "root", "sue"), 200)
            add_staff(site, "rex", "reviewer", by=root)
            add_staff(site, "olga", "auditor", by=root)

    problem(deactivate(site, "root", "sam"), 403, "too_few_left")

    assert is_active(site, "sam")


def test_who_is_too_new_to_count_is_not_deactivated_before_they_do(site: ControlSite) -> None:
    """Else one administrator keeps the number at one for ever."""
    made(deactivate(site, "root", "sam"), 200)
    add_staff(site, "pat", "security", by=signin_policy.actor_of(site.people["root"]))
    site.system(identity.restart_age, person_id=site.people["sue"].id, since=site.clock.now())

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
        site.edge.write_now(
            lambda ctx, person=person: identity.deactivate_person(ctx, person), actor=HOST, trace=TRACE
        )

    assert not is_active(site, "root")
    assert events(site, "identity.person.deactivate") == [(Outcome.DONE, "host:root", "")] * 3
