"""Providers, links and what works once, on each backend (OpenID Connect Back-Channel Logout 1.0, security decision 9)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TypeVar

import pytest

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.identity.federation import store
from hilum.identity.federation.models import FederatedSession, LinkedPerson, Provider, RoleRow, Settings
from tests.sim.world import START

T = TypeVar("T")
GENERAL = TenantId("general")
ISSUER = "https://login.general.example"
SETTINGS = Settings("General", ISSUER, "hilum", role_table=(RoleRow("rn", "nurse"),), roles=("nurse",))
PROVIDER = Provider("idp_1", GENERAL, SETTINGS, "sealed", 1, START, "staff:root")
LINK = LinkedPerson("lnk_1", GENERAL, ISSUER, "s-1", PersonId("per_1"), START, "staff:root")


def do(uow: UnitOfWork, verb: Callable[[Context], T]) -> T:
    return uow.write_now(verb, trace=Trace("req_test"))


def session(n: int, subject: str, sid: str) -> FederatedSession:
    return FederatedSession(
        SessionId(f"ses_{n}"),
        "idp_1",
        ISSUER,
        f"o-{subject}",
        sid,
        "sealed",
        START + timedelta(hours=1),
        subject,
    )


def test_of_two_changes_of_a_provider_at_once_one_is_saved(uow: UnitOfWork) -> None:
    do(uow, lambda ctx: store.PROVIDERS.add(ctx.tx, PROVIDER))
    mine, other = (replace(PROVIDER, number=2, changed_by=who) for who in ("a", "b"))

    assert do(uow, lambda ctx: store.PROVIDERS.save(ctx.tx, mine, number=1))
    assert not do(uow, lambda ctx: store.PROVIDERS.save(ctx.tx, other, number=1))

    found = do(uow, lambda ctx: store.PROVIDERS.get(ctx.tx, "idp_1"))
    assert found == mine
    with pytest.raises(NotFound):
        do(uow, lambda ctx: store.PROVIDERS.get(ctx.tx, "idp_2"))


def test_a_subject_is_one_account_and_an_account_one_subject_of_an_issuer(uow: UnitOfWork) -> None:
    assert do(uow, lambda ctx: store.LINKS.add_new(ctx.tx, LINK))
    of_another = replace(LINK, id="lnk_2", person=PersonId("per_2"))
    another_subject = replace(LINK, id="lnk_3", subject="s-2")
    assert not do(uow, lambda ctx: store.LINKS.add_new(ctx.tx, of_another))
    assert not do(uow, lambda ctx: store.LINKS.add_new(ctx.tx, another_subject))
    elsewhere = replace(LINK, id="lnk_9", issuer="https://patients.general.example")
    assert do(uow, lambda ctx: store.LINKS.add_new(ctx.tx, elsewhere))

    assert do(uow, lambda ctx: store.find_link(ctx.tx, GENERAL, ISSUER, "s-1")) == LINK
    assert do(uow, lambda ctx: store.find_link(ctx.tx, TenantId("other"), ISSUER, "s-1")) is None


def test_a_provider_ends_what_it_names_and_nothing_else(uow: UnitOfWork) -> None:
    """OpenID Connect Back-Channel Logout 1.0 section 2.7."""
    for each in (session(1, "a", "x"), session(2, "a", "y"), session(3, "b", "x")):
        do(uow, lambda ctx, each=each: store.SESSIONS.add_new(ctx.tx, each))  # type: ignore[misc]

    both = do(uow, lambda ctx: store.take_sessions(ctx.tx, "idp_1", sub="a", sid="x"))
    other = do(uow, lambda ctx: store.take_sessions(ctx.tx, "idp_2", sub="a", sid=""))
    rest = do(uow, lambda ctx: store.take_sessions(ctx.tx, "idp_1", sub="a", sid=""))

    assert (both, other, rest) == (["ses_1"], [], ["ses_2"])
    assert do(uow, lambda ctx: store.SESSIONS.take(ctx.tx, session="ses_3")) == session(3, "b", "x")
    assert do(uow, lambda ctx: store.SESSIONS.take(ctx.tx, session="ses_3")) is None


def test_what_works_once_is_forgotten_when_it_can_no_longer_come(uow: UnitOfWork) -> None:
    until = START + timedelta(minutes=10)
    assert do(uow, lambda ctx: store.use(ctx.tx, "k", until))
    assert not do(uow, lambda ctx: store.use(ctx.tx, "k", until))

    assert do(uow, lambda ctx: store.purge(ctx.tx, now=START)) == 0
    assert do(uow, lambda ctx: store.purge(ctx.tx, now=until + timedelta(seconds=1))) == 1
