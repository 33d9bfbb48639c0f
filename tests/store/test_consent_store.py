"""Authorizations as the service keeps them, on each backend: recorded, renewed, narrowed, withdrawn with their tokens."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.authorization.consent import policy, service, store
from hilum.authorization.consent.models import (
    CONSENT,
    NEGATIVE_WINDOW,
    Authorization,
    Basis,
)
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import TOKENS, Exchange, Grant, IssuedTokens
from hilum.foundation.infra import epoch
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import ANONYMOUS, Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AuthorizationId, ClientId
from hilum.foundation.kernel.pages import PAGE_BOUND
from tests.flows.token_flow import MERCY, OTHER, REMEMBERED, TRACE, Platform, running_platform
from tests.sim.facts import whole
from tests.sim.furnished import furnish
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import LIFETIMES

SCOPES = ("launch/patient", "offline_access", "patient/Observation.rs", "patient/Patient.rs")
FEWER = ("patient/Patient.rs",)


@pytest.fixture
def ground(uow: UnitOfWork, clock: FakeClock) -> Iterator[Platform]:
    with running_platform(uow, clock) as made:

        def build() -> None:
            made.add_app("second", made.clients["public"].type)
            made.add_app("other door", made.clients["symmetric"].type, beside="public")

        furnish("for consent", uow, made, REMEMBERED, build)
        yield made


def client_facts(ctx: Context, ground: Platform, client: str) -> ClientFacts:
    facts = clients.client_facts(ctx, ground.clients[client].id)
    assert facts is not None
    return facts


def scopes_of(ground: Platform, made: Authorization) -> tuple[str, ...]:
    """Return what still stands of an agreement."""
    found = ground.run(lambda ctx: service.find_authorization(ctx, made.id))
    return found.scopes if found is not None and found.revoked_at is None else ()


def agree(ground: Platform, client: str = "public", person: str = "pat", **more: Any) -> Authorization:
    def verb(ctx: Context) -> Authorization:
        facts = client_facts(ctx, ground, client)
        options: dict[str, Any] = {
            "basis": Basis.PERSON,
            "scopes": SCOPES,
            "patient": "p1",
            "offline": True,
        } | more
        return service.record_authorization(
            ctx, tenant=MERCY, person=ground.people[person].id, facts=facts, **options
        )

    return ground.run(verb)


def earn(ground: Platform, found: Authorization) -> IssuedTokens:
    grant = Grant(
        found.tenant,
        found.client,
        found.app,
        found.version,
        ground.vendor,
        found.scopes,
        person=found.person,
        patient=found.patient,
        authorization=found.id,
    )
    return ground.run(
        lambda ctx: tokens.mint(
            ctx, grant, offline=True, code_family=None, lifetimes=LIFETIMES, life=timedelta(hours=1)
        )
    )


def once(client: str) -> Exchange:
    """The exchange of a request that nothing repeats."""
    return Exchange(ClientId(client), MERCY, b"", authenticated=True)


def lives(ground: Platform, minted: IssuedTokens) -> bool:
    return ground.run(lambda ctx: tokens.find_access(ctx, minted.access_token)) is not None


def own(ground: Platform, person: str = "pat") -> Actor:
    return Actor(ActorKind.PERSON, ground.people[person].id, MERCY, frozenset({"patient"}))


def as_person(ground: Platform, verb: Callable[[Context], Any], person: str = "pat") -> Any:
    return ground.uow.write_now(verb, actor=own(ground, person), trace=TRACE)


def standing_of(
    ground: Platform, client: str = "public", person: str = "pat", **more: Any
) -> Authorization | None:
    return ground.run(
        lambda ctx: service.find_in_force(
            ctx, MERCY, ground.people[person].id, client_facts(ctx, ground, client), **more
        )
    )


def connected(ground: Platform, person: str = "pat", tenant: Any = MERCY) -> tuple[Authorization, ...]:
    return ground.run(lambda ctx: service.list_for_person(ctx, tenant, ground.people[person].id))


def test_what_was_agreed_is_found_as_it_was_given(ground: Platform, clock: FakeClock) -> None:
    """C97."""
    made = agree(ground)

    assert standing_of(ground) == made
    assert (made.scopes, made.basis, made.patient, made.offline) == (SCOPES, Basis.PERSON, "p1", True)
    assert made.expires_at == clock.now() + LIFETIMES.authorization
    assert ground.events("consent.authorization.record")[0].authorization == made.id


def test_a_first_use_notice_stands_longer_than_the_shift_it_was_given_in(
    ground: Platform, clock: FakeClock
) -> None:
    """Security decision 14: once per version."""
    made = agree(ground, person="dora", basis=Basis.TENANT, offline=False)

    assert made.expires_at == clock.now() + LIFETIMES.authorization


def test_agreeing_to_the_same_again_renews_and_does_not_pile_up(ground: Platform, clock: FakeClock) -> None:
    made = agree(ground)
    clock.advance(timedelta(days=30))

    again = agree(ground, scopes=tuple(reversed(SCOPES)))

    assert again.id == made.id
    assert again.expires_at == clock.now() + LIFETIMES.authorization
    assert again.last_validated_at == clock.now()
    assert len(connected(ground)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": FEWER},
        {"scopes": (*SCOPES, "patient/Condition.rs")},
        {"patient": "p2"},
        {"basis": Basis.TENANT},
    ],
)
def test_agreeing_to_something_else_is_an_agreement_of_its_own(
    ground: Platform, change: dict[str, Any]
) -> None:
    """An authorization never grows; what was agreed before stays as it was."""
    made = agree(ground)
    minted = earn(ground, made)

    other = agree(ground, **change)

    assert other.id != made.id
    assert lives(ground, minted)
    assert scopes_of(ground, made) == SCOPES


def test_a_standing_agreement_that_covers_the_request_is_renewed(ground: Platform, clock: FakeClock) -> None:
    made = agree(ground)
    clock.advance(timedelta(days=1))

    used = agree(ground, scopes=FEWER, covering_id=made.id)

    assert (used.id, used.scopes) == (made.id, SCOPES)
    assert used.last_validated_at == clock.now()


@pytest.mark.parametrize(
    "fault", ["wider", "another workflow", "foreign person", "foreign client", "withdrawn", "expired"]
)
def test_a_standing_agreement_that_does_not_cover_is_not_stretched(
    ground: Platform, clock: FakeClock, fault: str
) -> None:
    made = agree(ground)
    scopes = (*FEWER, "patient/Condition.rs") if fault == "wider" else FEWER
    client = "second" if fault == "foreign client" else "public"
    person = "dora" if fault == "foreign person" else "pat"
    workflow = "visit_preparation" if fault == "another workflow" else ""
    if fault == "withdrawn":
        as_person(ground, lambda ctx: service.withdraw(ctx, made.id))
    if fault == "expired":
        clock.advance(LIFETIMES.authorization)

    other = agree(ground, client, person, scopes=scopes, covering_id=made.id, workflow=workflow)

    assert other.id != made.id
    assert (other.scopes, other.workflow) == (scopes, workflow)


def test_an_agreement_stands_until_it_expires(ground: Platform, clock: FakeClock) -> None:
    made = agree(ground)

    clock.advance(LIFETIMES.authorization - timedelta(microseconds=1))
    assert standing_of(ground) == made
    clock.advance(timedelta(microseconds=1))
    assert standing_of(ground) is None
    assert connected(ground) == ()
    found = ground.run(lambda ctx: service.find_authorization(ctx, made.id))
    assert found is not None
    assert not policy.is_in_force(found, clock.now())


def test_people_are_asked_again_when_the_app_changes_hands(ground: Platform, clock: FakeClock) -> None:
    """C14, C90: what was agreed to before was about another vendor."""
    made = agree(ground)
    clock.advance(timedelta(minutes=1))
    moved = clock.now()

    def facts(ctx: Context) -> ClientFacts:
        return replace(client_facts(ctx, ground, "public"), owner_since=moved)

    def found(ctx: Context) -> Authorization | None:
        return service.find_in_force(ctx, MERCY, made.person, facts(ctx))

    def again(ctx: Context) -> Authorization:
        covering: dict[str, Any] = {"basis": Basis.PERSON, "scopes": FEWER, "covering_id": made.id}
        return service.record_authorization(
            ctx, tenant=MERCY, person=made.person, facts=facts(ctx), patient="p1", offline=True, **covering
        )

    assert standing_of(ground) == made
    assert ground.run(found) is None
    second = ground.run(again)
    assert second.id != made.id
    assert ground.run(found) == second


def test_nobody_finds_anothers_agreement(ground: Platform) -> None:
    agree(ground)

    assert standing_of(ground, person="dora") is None
    assert standing_of(ground, client="second") is None
    assert standing_of(ground, patient="p2") is None
    assert standing_of(ground, patient="p1") is not None
    assert connected(ground, "dora") == ()
    assert connected(ground, tenant=OTHER) == ()


def test_withdrawing_leaves_none_of_many_agreements_with_the_client(ground: Platform) -> None:
    """Security decision 27: a page's bound must not leave running_platform what was withdrawn."""
    made = agree(ground)
    more = [
        replace(made, id=AuthorizationId(f"aut_more{n}"), patient=f"p{n}", created_at=made.created_at)
        for n in range(PAGE_BOUND + 5)
    ]

    def add_more(ctx: Context) -> None:
        for each in more:
            store.AUTHORIZATIONS.add(ctx.tx, each)

    ground.run(add_more)

    as_person(ground, lambda ctx: service.withdraw(ctx, made.id))

    assert ground.run(whole(service.facts)).revoked == {made.id, *(each.id for each in more)}


def test_no_connected_app_is_hidden_behind_many_agreements_with_another(ground: Platform) -> None:
    """C93: a clinician agrees once for each chart; what is not shown could not be taken back."""
    first = agree(ground, client="second", person="dora")
    made = agree(ground, person="dora")
    more = [
        replace(made, id=AuthorizationId(f"{made.id}{n:03}"), patient=f"p{n}", scopes=(f"patient/{n}",))
        for n in range(PAGE_BOUND + 5)
    ]

    def add_more(ctx: Context) -> None:
        for each in more:
            store.AUTHORIZATIONS.add(ctx.tx, each)

    ground.run(add_more)

    shown = connected(ground, "dora")

    assert [each.app for each in shown] == [made.app, first.app], "newest agreement first"
    assert set(shown[0].scopes) == {*SCOPES, *(f"patient/{n}" for n in range(PAGE_BOUND + 5))}
    assert shown[0].id == more[-1].id


def test_withdrawing_ends_access_and_refresh_tokens_in_the_same_transaction(ground: Platform) -> None:
    """C91: both kinds die at once, at every worker."""
    made = agree(ground)
    minted = earn(ground, made)
    before = ground.uow.read_now(lambda ctx: epoch.read(ctx.tx), trace=TRACE)

    as_person(ground, lambda ctx: service.withdraw(ctx, made.id))

    after = ground.uow.read_now(lambda ctx: epoch.read(ctx.tx), trace=TRACE)
    assert not lives(ground, minted)
    with pytest.raises(NotPermitted, match="invalid_grant"):
        ground.run(lambda ctx: tokens.redeem_refresh(ctx, minted.refresh_token, once(made.client)))
    assert after[CONSENT].n > before[CONSENT].n
    assert after[TOKENS].n > before[TOKENS].n
    assert made.id in ground.run(whole(service.facts)).revoked
    assert connected(ground) == ()
    assert ground.events("consent.authorization.withdraw")


def test_withdrawing_one_entry_ends_all_that_was_agreed_with_the_app_and_nothing_else(
    ground: Platform,
) -> None:
    """The page shows one entry per app; removing it removes the app."""
    first, second = agree(ground), agree(ground, scopes=FEWER)
    elsewhere, others = agree(ground, "second"), agree(ground, person="dora", basis=Basis.TENANT)
    minted = [earn(ground, each) for each in (first, second, elsewhere, others)]

    as_person(ground, lambda ctx: service.withdraw(ctx, second.id))

    assert [lives(ground, each) for each in minted] == [False, False, True, True]
    assert [each.client for each in connected(ground)] == [elsewhere.client]


def test_removing_an_app_ends_what_was_agreed_through_each_of_its_clients(ground: Platform) -> None:
    """C91: a person consents to an app as they see it; its other client goes on no more, and shows as no entry of its own."""
    first, other = agree(ground), agree(ground, "other door", scopes=FEWER, patient="p2")
    minted = [earn(ground, each) for each in (first, other)]
    (entry,) = connected(ground)
    assert set(entry.scopes) == {*SCOPES, *FEWER}

    as_person(ground, lambda ctx: service.withdraw(ctx, entry.id))

    assert [lives(ground, each) for each in minted] == [False, False]
    for each, token in zip((first, other), minted, strict=True):
        with pytest.raises(NotPermitted, match="invalid_grant"):
            ground.run(
                partial(tokens.redeem_refresh, presented=token.refresh_token, exchange=once(each.client))
            )
    assert connected(ground) == ()


def test_agreeing_through_one_client_agrees_to_nothing_for_another(ground: Platform) -> None:
    """C97: no silent grant."""
    made = agree(ground)

    assert standing_of(ground, "other door") is None
    assert covering(ground, "public") == made.id
    assert covering(ground, "other door") is None
    assert agree(ground, "other door").id != made.id


def covering(ground: Platform, client: str) -> AuthorizationId | None:
    """Return the agreement that spares pat another page of a client."""

    def verb(ctx: Context) -> Authorization | None:
        facts = client_facts(ctx, ground, client)
        return service.find_covering(ctx, MERCY, ground.people["pat"].id, facts, workflow="")

    found = ground.run(verb)
    return None if found is None else found.id


WIDE = ("offline_access", "patient/Observation.rs", "user/Observation.rs", "user/Encounter.rs")


@pytest.mark.parametrize("client", ["public", "other door"])
@pytest.mark.parametrize("chart", ["p1", "p2", ""])
@pytest.mark.parametrize("refused", ["patient/Observation.rs", "user/Observation.rs"])
def test_what_is_declined_is_withheld_wherever_it_reaches_the_chart(
    ground: Platform, client: str, chart: str, refused: str
) -> None:
    """S1.12, C88: user/ reaches every chart, so it goes from agreements about any, made through any client; patient/ about another stays."""
    scopes = WIDE if chart else tuple(text for text in WIDE if not text.startswith("patient/"))
    before = agree(ground, client, scopes=scopes, patient=chart)
    apart = agree(ground, "second", scopes=WIDE, patient="p1")
    minted = earn(ground, before)

    pat = ground.people["pat"].id
    as_person(
        ground,
        lambda ctx: service.withhold(
            ctx, MERCY, pat, before.app, [refused], patient="p1", by=policy.NOBODY, but=None
        ),
    )

    left = {text for text in scopes if text not in {"patient/Observation.rs", "user/Observation.rs"}}
    assert set(scopes_of(ground, before)) == left | ({"patient/Observation.rs"} if chart == "p2" else set())
    assert not lives(ground, minted)
    assert scopes_of(ground, apart) == WIDE


def test_what_was_just_agreed_to_keeps_what_overlaps_with_what_was_declined(ground: Platform) -> None:
    """C68, C88: of two ticks that may reach the same record, the one that is set counts, and earlier agreements lose it."""
    ticked, unticked = "patient/Observation.rs?code=a|1", "patient/Observation.rs?status=final"
    before, made = agree(ground, scopes=(ticked, *FEWER)), agree(ground, scopes=(ticked,))

    pat = ground.people["pat"].id
    as_person(
        ground,
        lambda ctx: service.withhold(
            ctx, MERCY, pat, made.app, [unticked], patient="p1", by=policy.NOBODY, but=made.id
        ),
    )

    assert scopes_of(ground, made) == (ticked,)
    assert scopes_of(ground, before) == FEWER


def test_taking_back_reaches_every_agreement_with_the_app(ground: Platform) -> None:
    """C91: two agreements to the same, about two charts and through two clients, show as one entry and are narrowed as one."""
    first, other = agree(ground), agree(ground, "other door", patient="p2")
    apart = agree(ground, "second")
    entry = next(each for each in connected(ground) if each.app == first.app)

    as_person(ground, lambda ctx: service.take_back(ctx, entry, ["patient/Observation.rs"], by=policy.NOBODY))

    for each in (first, other):
        assert set(scopes_of(ground, each)) == {*SCOPES} - {"patient/Observation.rs"}
    assert scopes_of(ground, apart) == SCOPES


def test_withdrawing_twice_is_no_error(ground: Platform, clock: FakeClock) -> None:
    """C91: the first withdrawal keeps its moment and its author."""
    made = agree(ground)
    first = as_person(ground, lambda ctx: service.withdraw(ctx, made.id))
    clock.advance(timedelta(minutes=1))
    again = ground.run(lambda ctx: service.withdraw(ctx, made.id))

    assert again.revoked_at == first.revoked_at
    stored = ground.run(lambda ctx: service.find_authorization(ctx, made.id))
    assert stored is not None
    assert (stored.revoked_at, stored.revoked_by) == (first.revoked_at, first.revoked_by)


STRANGERS = [
    ANONYMOUS,
    Actor(ActorKind.PERSON, "per_other", MERCY, frozenset({"patient"})),
    Actor(ActorKind.PERSON, "per_admin", OTHER, frozenset({"administrator"})),
    Actor(ActorKind.CLIENT, "cli_1", MERCY),
    Actor(ActorKind.STAFF, "per_aud", roles=frozenset({"auditor"})),
]


def test_nobody_else_withdraws_or_narrows(ground: Platform) -> None:
    made = agree(ground)
    minted = earn(ground, made)
    verbs = (lambda ctx: service.withdraw(ctx, made.id), lambda ctx: service.narrow(ctx, made.id, FEWER))

    for actor, verb in product(STRANGERS, verbs):
        with pytest.raises(NotPermitted, match="not_yours"):
            ground.uow.write_now(verb, actor=actor, trace=TRACE)

    assert lives(ground, minted)
    refused = [event.reason for event in ground.events("consent.authorization.withdraw")]
    assert refused == ["not_yours"] * len(STRANGERS)


def test_a_person_of_the_same_id_at_another_tenant_is_somebody_else(ground: Platform) -> None:
    made = agree(ground)
    twin = replace(own(ground), tenant=OTHER)

    with pytest.raises(NotPermitted):
        ground.uow.write_now(lambda ctx: service.withdraw(ctx, made.id), actor=twin, trace=TRACE)


ADMINISTRATORS = [
    Actor(ActorKind.PERSON, "per_admin", MERCY, frozenset({"administrator"})),
    Actor(ActorKind.STAFF, "per_root", roles=frozenset({"platform_admin"})),
    Actor(ActorKind.HOST, "root", roles=frozenset({"platform_admin"})),
]


def test_administrators_withdraw_too(ground: Platform) -> None:
    """C91: patient, user, tenant administrator and platform administrator each can revoke."""
    for actor in ADMINISTRATORS:
        made = agree(ground)
        minted = earn(ground, made)

        ground.uow.write_now(partial(service.withdraw, authorization=made.id), actor=actor, trace=TRACE)

        assert not lives(ground, minted)


def test_narrowing_ends_access_tokens_and_cuts_what_a_refresh_may_bring(ground: Platform) -> None:
    made = agree(ground)
    minted = earn(ground, made)

    narrowed = as_person(ground, lambda ctx: service.narrow(ctx, made.id, FEWER))

    assert narrowed.scopes == FEWER
    assert standing_of(ground).scopes == FEWER  # type: ignore[union-attr]
    assert not lives(ground, minted)
    used = ground.run(lambda ctx: tokens.redeem_refresh(ctx, minted.refresh_token, once(made.client)))
    assert used.grant.scopes == FEWER


def test_withdrawn_offline_access_is_not_shown_as_granted(ground: Platform) -> None:
    """C93: the page says what the app may do now."""
    made = agree(ground)
    assert made.offline

    without = tuple(scope for scope in made.scopes if scope != "offline_access")
    narrowed = as_person(ground, lambda ctx: service.narrow(ctx, made.id, without))

    assert not narrowed.offline
    assert not standing_of(ground).offline  # type: ignore[union-attr]


def test_narrowing_never_adds(ground: Platform) -> None:
    made = agree(ground)
    minted = earn(ground, made)

    for scopes in (
        (),
        ("patient/Condition.rs",),
        ("patient/Patient.cruds",),
        ("patient/*.rs",),
        ("x",),
    ):
        with pytest.raises(Invalid, match="scopes_invalid"):
            as_person(ground, partial(service.narrow, authorization=made.id, scopes=scopes))

    assert lives(ground, minted)


def test_what_has_ended_is_not_narrowed(ground: Platform) -> None:
    made = agree(ground)
    as_person(ground, lambda ctx: service.withdraw(ctx, made.id))

    with pytest.raises(Invalid, match="authorization_ended"):
        as_person(ground, lambda ctx: service.narrow(ctx, made.id, FEWER))


def test_the_list_shows_one_entry_an_app_with_everything_agreed_and_its_last_use(
    ground: Platform, clock: FakeClock
) -> None:
    """C93: what was granted and last use."""
    start = clock.now()
    first = agree(ground)
    clock.advance(timedelta(days=1))
    earn(ground, first)
    used = clock.now()
    clock.advance(timedelta(days=1))
    agree(ground, scopes=("patient/Condition.rs",), offline=False)
    agree(ground, "second")

    shown = {each.client: each for each in connected(ground)}

    entry = shown[first.client]
    assert set(entry.scopes) == {*SCOPES, "patient/Condition.rs"}
    assert (entry.created_at, entry.last_used_at, entry.offline) == (start, used, True)
    assert shown[ground.clients["second"].id].last_used_at is None


def test_the_negative_list_forgets_what_no_token_can_outlive(ground: Platform, clock: FakeClock) -> None:
    made = agree(ground)
    as_person(ground, lambda ctx: service.withdraw(ctx, made.id))

    clock.advance(NEGATIVE_WINDOW - timedelta(seconds=1))
    assert ground.run(whole(service.facts)).revoked == {made.id}
    clock.advance(timedelta(seconds=1))
    assert ground.run(whole(service.facts)).revoked == frozenset()


def test_an_unknown_authorization_is_not_found(ground: Platform) -> None:
    unknown = AuthorizationId("aut_none")

    assert ground.run(lambda ctx: service.find_authorization(ctx, unknown)) is None
    with pytest.raises(NotFound):
        as_person(ground, lambda ctx: service.withdraw(ctx, unknown))
