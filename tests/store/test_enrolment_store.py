"""Links, and acts that take two people, under races, on each backend (C200)."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, NewSystemClient
from hilum.apps.registry import service as registry
from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import Agreed, ApprovalKind, Asked, CarriedOut
from hilum.controls.approvals.service import Acts
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor
from hilum.foundation.kernel.errors import Conflict, HilumError, NotFound, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.enrolment import service
from hilum.identity.enrolment.models import CODE_TRIES, LinkMail, Opened, WrongCode
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, Tenant, TenantChange, UpstreamKind, UpstreamRef
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.server.acts import acts
from tests.sim.backends import every_case_on_both
from tests.sim.world import FakeClock

TRACE = Trace("req_test")
GENERAL = TenantId("general")
NURSE = NewPerson(GENERAL, "nia", "Nia", "nurse", "Practitioner/n1")
REVIEWER = NewPerson(None, "rob", "Rob", "reviewer")
AT_ONCE = 4
BY_MAIL = LinkMail(lambda tenant, secret: f"http://127.0.0.1:8000/{tenant}/enrol/{secret}", works=False)
ACTS = acts(BY_MAIL)


class Ground:
    """One tenant and three administrators of the platform."""

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow
        tenant = Tenant(GENERAL, "General", UpstreamRef(UpstreamKind.EMBEDDED))
        self.do(SYSTEM, identity.add_tenant, tenant)
        self.people: list[Person] = [
            self.do(SYSTEM, identity.add_person, NewPerson(None, name, name.title(), "platform_admin"))
            for name in ("ada", "bea", "cal")
        ]
        self.ada, self.bea, self.cal = (signin_policy.actor_of(each) for each in self.people)

    def do(self, actor: Actor, verb: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=actor, trace=TRACE)

    def at_once(self, *verbs: Callable[[], Any]) -> list[Any]:
        """Run verbs at the same moment; return what each returned, or the error it raised."""

        def attempt(verb: Callable[[], Any]) -> Any:
            try:
                return verb()
            except HilumError as error:
                return error

        with ThreadPoolExecutor(len(verbs)) as pool:
            return list(pool.map(attempt, verbs))


@pytest.fixture
def ground(uow: UnitOfWork) -> Ground:
    return Ground(uow)


def test_a_link_that_is_pressed_several_times_at_once_sets_one_password(ground: Ground) -> None:
    opened: Opened = ground.do(ground.ada, service.add_person, NURSE, BY_MAIL)
    press = partial(ground.do, SYSTEM, service.use_link, opened.link.secret, GENERAL, code="")

    ended = ground.at_once(*(partial(press, digest=f"digest-{number}") for number in range(AT_ONCE)))

    done = [number for number, each in enumerate(ended) if isinstance(each, Person)]
    assert len(done) == 1
    assert all(
        isinstance(each, NotFound | Conflict) for number, each in enumerate(ended) if number not in done
    )
    stored = ground.do(SYSTEM, signin.password_digest, opened.person.id)
    assert stored == f"digest-{done[0]}"


def test_guesses_at_once_do_not_slip_through_together(ground: Ground) -> None:
    asked: Asked = ground.do(ground.ada, service.add_person, REVIEWER, BY_MAIL)
    agreed: Agreed = ground.do(ground.bea, approvals.approve, asked.approval.id, acts=ACTS)
    guess = partial(
        ground.do, SYSTEM, service.use_link, agreed.done.link, None, code="0000-0000-0000", digest="x"
    )

    ended = ground.at_once(*[guess] * (2 * CODE_TRIES))

    assert sum(isinstance(each, WrongCode) for each in ended) == CODE_TRIES
    with pytest.raises(NotFound):
        ground.do(SYSTEM, service.use_link, agreed.done.link, None, code=asked.setup_code, digest="x")


def test_of_two_who_agree_at_once_one_opens_the_account(ground: Ground) -> None:
    asked: Asked = ground.do(ground.ada, service.add_person, REVIEWER, BY_MAIL)

    ended = ground.at_once(
        *(
            partial(ground.do, actor, approvals.approve, asked.approval.id, acts=ACTS)
            for actor in (ground.bea, ground.cal)
        )
    )

    assert sorted(type(each).__name__ for each in ended) == ["Agreed", "Conflict"]
    assert (
        len([each for each in ground.do(SYSTEM, identity.list_people, None) if each.username == "rob"]) == 1
    )


def test_of_two_who_are_made_one_fhir_user_at_once_one_is(ground: Ground) -> None:
    orders = [NewPerson(GENERAL, f"n{number}", "N", "nurse", "Practitioner/n1") for number in range(AT_ONCE)]

    ended = ground.at_once(
        *(partial(ground.do, ground.ada, service.add_person, order, BY_MAIL) for order in orders)
    )

    late = [each for each in ended if not isinstance(each, Opened)]
    assert len(late) == AT_ONCE - 1
    assert all(isinstance(each, Conflict | NotPermitted | Asked) for each in late)  # by when each looks
    assert len(ground.do(SYSTEM, identity.list_people, GENERAL)) == 1


def test_administrators_who_deactivate_each_other_at_once_leave_two(ground: Ground) -> None:
    """Two who can agree stay, whoever comes first."""
    ring = zip((ground.ada, ground.bea, ground.cal), ground.people[1:] + ground.people[:1], strict=True)

    ended = ground.at_once(
        *(partial(ground.do, by, identity.deactivate_person, whom.id) for by, whom in ring)
    )

    left = [each for each in ground.do(SYSTEM, identity.list_people, None) if each.active]
    assert len(left) == 2
    assert sorted(each.code for each in ended if isinstance(each, HilumError)) == ["too_few_left"] * 2


def test_of_links_issued_one_after_the_other_only_the_last_opens(ground: Ground, clock: FakeClock) -> None:
    first: Opened = ground.do(ground.ada, service.add_person, NURSE, BY_MAIL)
    second: Opened = ground.do(ground.bea, service.reset, first.person.id, BY_MAIL)

    with pytest.raises(NotFound):
        ground.do(SYSTEM, service.use_link, first.link.secret, GENERAL, code="", digest="x")
    assert ground.do(SYSTEM, service.use_link, second.link.secret, GENERAL, code="", digest="x")


def test_a_link_that_the_host_issues_makes_the_account_no_younger(ground: Ground, clock: FakeClock) -> None:
    """The host is who set the two up; what it does is on record."""
    host = Actor(SYSTEM.kind.HOST, "root")
    opened: Opened = ground.do(host, service.reset, ground.people[0].id, BY_MAIL)
    ground.do(SYSTEM, service.use_link, opened.link.secret, None, code="", digest="x")

    assert ground.do(SYSTEM, identity.counts_as_one_of_two, ground.people[0].id)


TWIN = NewPerson(GENERAL, "twin", "Twin", "nurse", "Practitioner/n1")
SYSTEM_CLIENT = NewSystemClient(GENERAL, ClientType.EHR, "EHR")
AWAY = TenantChange(upstream=UpstreamRef(UpstreamKind.HTTP, "https://fhir.example/r4"))
BACK = TenantChange(upstream=UpstreamRef(UpstreamKind.HTTP, "https://other.example/r4"))


def leave_behind(ground: Ground) -> None:
    opened: Opened = ground.do(ground.ada, service.add_person, NURSE, BY_MAIL)
    ground.do(ground.ada, identity.deactivate_person, opened.person.id)


def test_a_fhir_user_is_never_free_between_one_who_leaves_and_one_who_comes(ground: Ground) -> None:
    """Beside each other the one who comes is refused or waits, whoever is first."""
    opened: Opened = ground.do(ground.ada, service.add_person, NURSE, BY_MAIL)

    gone, *came = ground.at_once(
        partial(ground.do, ground.ada, identity.deactivate_person, opened.person.id),
        *(partial(ground.do, ground.bea, service.add_person, TWIN, BY_MAIL) for _ in range(AT_ONCE)),
    )

    assert not gone.active
    assert all(isinstance(each, Conflict | Asked) for each in came)
    people = ground.do(SYSTEM, identity.list_people, GENERAL)
    assert [each.username for each in people] == ["nia"]


def test_of_two_who_are_to_become_one_who_left_one_does(ground: Ground) -> None:
    leave_behind(ground)
    asked: list[Asked] = [
        ground.do(ground.ada, service.add_person, replace(TWIN, username=f"n{number}"), BY_MAIL)
        for number in range(2)
    ]

    ended = ground.at_once(
        *(
            partial(ground.do, by, approvals.approve, each.approval.id, acts=ACTS)
            for by, each in zip((ground.bea, ground.cal), asked, strict=True)
        )
    )

    assert sorted(type(each).__name__ for each in ended) == ["Agreed", "Conflict"]
    people = ground.do(SYSTEM, identity.list_people, GENERAL)
    assert sum(each.active for each in people) == 1


@every_case_on_both
@pytest.mark.parametrize("kind", ["system_client", "secret", "move"])
def test_what_two_agree_to_at_once_is_done_once(ground: Ground, kind: str) -> None:
    if kind == "secret":
        client, _ = ground.do(SYSTEM, clients.add_system_client, SYSTEM_CLIENT)
    order = {
        "system_client": lambda: ground.do(ground.ada, clients.ask_system_client, SYSTEM_CLIENT),
        "secret": lambda: ground.do(ground.ada, clients.ask_secret, client.id),
        "move": lambda: ground.do(ground.ada, identity.update_tenant, GENERAL, AWAY),
    }
    asked: Asked = order[kind]()
    agree = [
        partial(ground.do, by, approvals.approve, asked.approval.id, acts=ACTS)
        for by in (ground.bea, ground.cal)
    ]
    turn_down = partial(ground.do, ground.ada, approvals.refuse, asked.approval.id)

    ended = ground.at_once(*agree, turn_down)

    assert sum(isinstance(each, Conflict) for each in ended) == 2
    done = any(isinstance(each, Agreed) for each in ended)
    upstream = ground.do(SYSTEM, identity.get_tenant, GENERAL).upstream
    assert (upstream == AWAY.upstream) is (done and kind == "move")
    if kind == "secret":
        assert len(ground.do(SYSTEM, clients.get_client, client.id).secrets) == 1 + done
    if kind == "system_client":
        assert len(ground.do(SYSTEM, registry.list_vendors)) == done


def test_of_two_moves_that_are_agreed_to_at_once_one_is_made(ground: Ground) -> None:
    asked: list[Asked] = [
        ground.do(ground.ada, identity.update_tenant, GENERAL, change) for change in (AWAY, BACK)
    ]

    ended = ground.at_once(
        *(partial(ground.do, ground.bea, approvals.approve, each.approval.id, acts=ACTS) for each in asked)
    )

    assert sorted(type(each).__name__ for each in ended) == ["Agreed", "Conflict"]


def test_an_act_that_fails_midway_leaves_nothing_and_still_waits(ground: Ground) -> None:
    """The decision and what came of it are one transaction, as after a crash between the two."""

    def fails(error: Exception) -> Acts:
        def after(*args: Any) -> CarriedOut:
            ACTS.carry_out[ApprovalKind.SYSTEM_CLIENT](*args)
            raise error

        return replace(ACTS, carry_out={ApprovalKind.SYSTEM_CLIENT: after})

    asked: Asked = ground.do(ground.ada, clients.ask_system_client, SYSTEM_CLIENT)
    for error in (NotPermitted("x", "x"), Unavailable("x", "x"), RuntimeError("killed")):
        with pytest.raises((HilumError, RuntimeError)):
            ground.do(ground.bea, approvals.approve, asked.approval.id, acts=fails(error))

    assert ground.do(SYSTEM, registry.list_vendors) == []
    assert isinstance(ground.do(ground.bea, approvals.approve, asked.approval.id, acts=ACTS), Agreed)


def test_a_restore_ends_what_waits(ground: Ground) -> None:
    asked: Asked = ground.do(ground.ada, clients.ask_system_client, SYSTEM_CLIENT)

    ground.do(SYSTEM, approvals.end_all)

    with pytest.raises(Conflict, match="approval_over"):
        ground.do(ground.bea, approvals.approve, asked.approval.id, acts=ACTS)
