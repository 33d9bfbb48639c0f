"""Requests and codes on every backend: one-shot steps are one statement."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection

from hilum.authorization.authorize import store
from hilum.authorization.authorize.models import AuthorizationRequest, Code
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    LaunchId,
    PersonId,
    SessionId,
    TenantId,
    VendorId,
    VersionId,
)
from tests.effort import effort
from tests.sim.world import START

TRACE = Trace("req_test")
GENERAL, CHILDRENS = TenantId("general"), TenantId("childrens")
APP = ClientId("c1")

REQUEST = AuthorizationRequest(
    id="azr_1",
    tenant=GENERAL,
    client=APP,
    redirect_uri="https://app.example/cb",
    state="s",
    scopes=("openid", "patient/Observation.rs?category=a|b"),
    code_challenge="c" * 43,
    created_at=START,
    expires_at=START + timedelta(minutes=30),
    prompt=frozenset({"login", "consent"}),
    max_age_s=0,
)
CODE = Code(
    hash=b"h" * 32,
    redirect_uri=REQUEST.redirect_uri,
    code_challenge=REQUEST.code_challenge,
    family=FamilyId("fam_1"),
    grant=Grant(
        tenant=GENERAL,
        client=APP,
        app=AppId("a"),
        version=VersionId("v"),
        vendor=VendorId("d"),
        scopes=("openid",),
        person=PersonId("per_1"),
        role="patient",
        fhir_user="Patient/1",
        person_patients=("1", "2"),
        patient="1",
        encounter="e",
        authorization=AuthorizationId("aut_1"),
        authorization_expires_at=START + timedelta(days=365, microseconds=1),
        launch=LaunchId("lau_1"),
        session="ses_1",
        nonce="n",
        extras={"need_patient_banner": False, "fhirContext": [{"reference": "Task/1"}]},
        run="run_1",
    ),
    auth_time=START,
    issued_at=START,
    expires_at=START + timedelta(seconds=60),
    offline=False,
)


def added(uow: UnitOfWork) -> None:
    def verb(tx: Connection) -> None:
        store.REQUESTS.add(tx, REQUEST)
        store.add_code(tx, CODE)

    uow.db.write(verb)


def test_a_request_and_a_code_come_back_whole(uow: UnitOfWork) -> None:
    added(uow)

    assert uow.db.read(lambda tx: store.find_request(tx, GENERAL, "azr_1")) == REQUEST
    assert uow.db.read(lambda tx: store.CODES.find(tx, hash=CODE.hash)) == CODE


def test_another_tenant_does_not_find_the_request(uow: UnitOfWork) -> None:
    """C37."""
    added(uow)

    assert uow.db.read(lambda tx: store.find_request(tx, CHILDRENS, "azr_1")) is None


def test_a_code_without_optional_parts_comes_back_too(uow: UnitOfWork) -> None:
    bare = replace(
        CODE,
        offline=None,
        grant=replace(CODE.grant, person_patients=None, authorization_expires_at=None, extras={}),
    )
    uow.db.write(lambda tx: store.add_code(tx, bare))

    assert uow.db.read(lambda tx: store.CODES.find(tx, hash=CODE.hash)) == bare


def test_only_its_client_at_its_tenant_uses_a_code_up_and_only_once(uow: UnitOfWork) -> None:
    """C43, C44; security decision 9: a wrong client does not consume it."""
    added(uow)

    def redeem(tenant: TenantId, client: ClientId) -> Code | None:
        return uow.db.write(
            lambda tx: store.redeem_code(tx, CODE.hash, tenant=tenant, client=client, now=START)
        )

    assert redeem(CHILDRENS, APP) is None
    assert redeem(GENERAL, ClientId("other")) is None
    assert redeem(GENERAL, APP) == replace(CODE, used_at=START)
    assert redeem(GENERAL, APP) is None
    assert uow.db.read(lambda tx: store.CODES.find(tx, hash=CODE.hash)) == replace(CODE, used_at=START)


def test_of_many_redemptions_at_one_instant_exactly_one_gets_the_code(uow: UnitOfWork) -> None:
    """C45."""
    for round_ in range(effort(5, 200)):
        code = replace(CODE, hash=round_.to_bytes(32, "big"))
        uow.db.write(partial(store.add_code, code=code))

        def redeem(_: int, code: Code = code) -> Code | None:
            return uow.db.write(
                lambda tx: store.redeem_code(tx, code.hash, tenant=GENERAL, client=APP, now=START)
            )

        with ThreadPoolExecutor(4) as pool:
            won = [found for found in pool.map(redeem, range(4)) if found is not None]

        assert len(won) == 1


def test_a_request_belongs_to_the_first_person_and_ends_once(uow: UnitOfWork) -> None:
    """Security decision 13: steps are bound to the session."""
    added(uow)

    def bind(session: str, person: str) -> bool:
        return uow.db.write(lambda tx: store.bind_request(tx, "azr_1", SessionId(session), PersonId(person)))

    assert bind("ses_1", "per_1")
    assert not bind("ses_2", "per_2")
    assert bind("ses_3", "per_1")
    assert uow.db.write(lambda tx: store.finish_request(tx, "azr_1", START))
    assert not uow.db.write(lambda tx: store.finish_request(tx, "azr_1", START))
    assert not bind("ses_3", "per_1")


def test_launch_and_context_are_kept_and_the_handle_forgotten(uow: UnitOfWork) -> None:
    uow.db.write(lambda tx: store.REQUESTS.add(tx, replace(REQUEST, launch_sealed="sealed")))
    taken = replace(REQUEST, launch=LaunchId("lau_1"), patient="1", encounter="e", context_chosen_at=START)

    uow.db.write(lambda tx: store.save_launch(tx, taken))

    assert uow.db.read(lambda tx: store.find_request(tx, GENERAL, "azr_1")) == taken


def test_what_expired_long_ago_is_forgotten_and_the_rest_is_not(uow: UnitOfWork) -> None:
    added(uow)

    def purge(days: int) -> int:
        moment = START + timedelta(days=days)
        return uow.db.write(lambda tx: store.purge(tx, requests_before=moment, codes_before=moment))

    assert purge(-1) == 0
    assert purge(1) == 2
    assert uow.db.read(lambda tx: store.CODES.find(tx, hash=CODE.hash)) is None
