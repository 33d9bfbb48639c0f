"""What the token endpoint decides, as pure functions (C16, C31, C33, C42, C47, C49, C68)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.backchannel import policy
from hilum.backchannel.policy import GRANTS_OF, GrantType, Standing
from hilum.consent.models import Authorization, Basis
from hilum.controls.models import Mode, Target, TargetKind
from hilum.identity.models import Person, Tenant, UpstreamKind, UpstreamRef
from hilum.kernel.decision import Reason
from hilum.kernel.errors import Invalid, NotPermitted
from hilum.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.registry.models import Client, ClientFacts, ClientType, Deployment, Environment, InstallationFacts
from hilum.standards.oauth import read_parameters
from hilum.standards.smart import scopes as smart
from hilum.tokens.models import Grant
from tests.sim.world import START

NOW = START
MERCY = TenantId("mercy")
SCOPES = ("launch", "openid", "patient/*.rs")
CLIENT = Client(
    ClientId("c"),
    AppId("a"),
    VersionId("v"),
    Environment.SANDBOX,
    ClientType.PUBLIC,
    Deployment.BROWSER,
    "App",
    grant_types=("authorization_code",),
)
GRANT = Grant(
    MERCY,
    CLIENT.id,
    CLIENT.app,
    CLIENT.version,
    VendorId("ven"),
    SCOPES,
    PersonId("p"),
    "physician",
    authorization=AuthorizationId("au"),
)
GOOD = Standing(
    tenant=Tenant(MERCY, "Mercy", UpstreamRef(UpstreamKind.EMBEDDED)),
    facts=ClientFacts(
        CLIENT.id,
        CLIENT.app,
        CLIENT.version,
        VendorId("ven"),
        ClientType.PUBLIC,
        Environment.SANDBOX,
        active=True,
        expires_at=None,
        certified_scopes=SCOPES,
        certified_until=NOW + timedelta(days=1),
        origins=(),
        scopes=SCOPES,
    ),
    installation=InstallationFacts(
        SCOPES, frozenset({"physician"}), None, NOW - timedelta(days=1), Environment.SANDBOX
    ),
    person=Person(PersonId("p"), MERCY, "dora", "Dora", "physician"),
    authorization=Authorization(
        AuthorizationId("au"),
        MERCY,
        PersonId("p"),
        CLIENT.app,
        CLIENT.version,
        CLIENT.id,
        Basis.TENANT,
        SCOPES,
        NOW,
        NOW + timedelta(days=9),
    ),
    session_over=False,
    stop=None,
)


def fault(standing: Standing, grant: Grant = GRANT) -> Reason | None:
    return policy.standing_fault(standing, grant, issued_at=NOW, now=NOW)


def test_a_grant_whose_ground_stands_has_no_fault() -> None:
    assert fault(GOOD) is None


def spoiled() -> list[tuple[Standing, Reason]]:
    facts, installation, person = GOOD.facts, GOOD.installation, GOOD.person
    authorization = GOOD.authorization
    assert facts
    assert installation
    assert person
    assert authorization
    from hilum.controls.models import Switch

    switch = Switch("sw", Target(TargetKind.APP, "a"), Mode.FULL_STOP, "x", "host:x", NOW)
    earlier, later = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
    return [
        (replace(GOOD, stop=switch), Reason.SWITCH_ENGAGED),
        (replace(GOOD, tenant=replace(GOOD.tenant, active=False)), Reason.TENANT_MISMATCH),
        (replace(GOOD, tenant=replace(GOOD.tenant, id=TenantId("other"))), Reason.TENANT_MISMATCH),
        (replace(GOOD, facts=None), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, id=ClientId("other"))), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, active=False)), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, expires_at=NOW)), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, certified_until=NOW)), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, certified_until=None)), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, facts=replace(facts, tenant=TenantId("other"))), Reason.TENANT_MISMATCH),
        (replace(GOOD, installation=None), Reason.APP_NOT_INSTALLED),
        (replace(GOOD, installation=replace(installation, expires_at=NOW)), Reason.APP_NOT_INSTALLED),
        (replace(GOOD, installation=replace(installation, since=later)), Reason.APP_NOT_INSTALLED),
        (
            replace(GOOD, installation=replace(installation, environment=Environment.PRODUCTION)),
            Reason.APP_NOT_INSTALLED,
        ),
        (replace(GOOD, installation=replace(installation, roles=frozenset())), Reason.ROLE_NOT_ALLOWED),
        (replace(GOOD, person=None), Reason.TOKEN_REVOKED),
        (replace(GOOD, person=replace(person, active=False)), Reason.TOKEN_REVOKED),
        (replace(GOOD, person=replace(person, tenant=TenantId("other"))), Reason.TOKEN_REVOKED),
        (replace(GOOD, person=replace(person, role="nurse")), Reason.ROLE_NOT_ALLOWED),
        (replace(GOOD, authorization=None), Reason.TOKEN_REVOKED),
        (replace(GOOD, authorization=replace(authorization, revoked_at=earlier)), Reason.TOKEN_REVOKED),
        (replace(GOOD, authorization=replace(authorization, expires_at=NOW)), Reason.AUTHORIZATION_EXPIRED),
        (replace(GOOD, session_over=True), Reason.LAUNCH_ENDED),
    ]


@pytest.mark.parametrize(("standing", "reason"), spoiled())
def test_each_ground_that_is_gone_ends_the_grant_by_its_own_name(standing: Standing, reason: Reason) -> None:
    assert fault(standing) is reason


def test_a_token_of_an_ehr_that_was_suspended_does_not_revive_with_it() -> None:
    """Security decision 8: nothing certifies or installs a tenant's own EHR, yet giving it back revives nothing."""
    assert GOOD.facts
    ehr = replace(GOOD.facts, type=ClientType.EHR, tenant=MERCY, certified_until=None, since=NOW)
    standing, just_before = replace(GOOD, facts=ehr, installation=None), NOW - timedelta(microseconds=1)

    assert policy.client_fault(standing, issued_at=just_before, now=NOW) is Reason.APP_NOT_CERTIFIED
    assert policy.client_fault(standing, issued_at=NOW, now=NOW) is None


@given(st.lists(st.sampled_from(range(len(spoiled()))), min_size=1, max_size=4))
def test_no_further_fault_revives_a_grant(which: list[int]) -> None:
    """Engaging a switch or taking something away never turns no into yes."""
    standing = GOOD
    for n in which:
        other = spoiled()[n][0]
        changed = {
            name: getattr(other, name)
            for name in ("tenant", "facts", "installation", "person", "authorization", "session_over", "stop")
            if getattr(other, name) != getattr(GOOD, name)
        }
        standing = replace(standing, **changed)

    assert fault(standing) is not None


def test_context_among_the_parameters_is_noted_and_not_read() -> None:
    """C31."""
    form = read_parameters(
        [("grant_type", "authorization_code"), ("code", "x"), ("patient", "p2"), ("intent", "i")]
    )

    assert policy.parse(form).ignored == ("intent", "patient")


@pytest.mark.parametrize("kind", list(ClientType))
@pytest.mark.parametrize("grant_type", list(GrantType))
def test_each_kind_of_client_has_its_grants(kind: ClientType, grant_type: GrantType) -> None:
    """C16, C50: the table, and nothing beside it."""
    everything = ("authorization_code", "refresh_token", "client_credentials")
    client = replace(CLIENT, type=kind, grant_types=everything)
    allowed = grant_type in GRANTS_OF[kind]

    if allowed:
        policy.judge_grant_type(client, grant_type)
        return
    with pytest.raises(NotPermitted):
        policy.judge_grant_type(client, grant_type)


SCOPE = st.builds(
    lambda prefix, kind, letters: f"{prefix}/{kind}.{letters}",
    st.sampled_from(["patient", "user", "system"]),
    st.sampled_from(["*", "Patient", "Observation", "Condition"]),
    st.sampled_from(["r", "s", "rs", "cruds", "c", "ud", "read", "*"]),
) | st.sampled_from(
    ["openid", "launch", "hilum/launch", "offline_access", "patient/Observation.rs?category=x"]
)


@given(st.lists(SCOPE, max_size=6), st.lists(SCOPE, max_size=6))
def test_a_refresh_never_gives_more_than_was_held(asked: list[str], held: list[str]) -> None:
    """C49, C68."""
    within = smart.narrow(held, held)
    try:
        given_ = policy.fewer_scopes(" ".join(asked), within)
    except Invalid:
        return

    assert smart.all_covered(given_, within)


@given(st.lists(SCOPE, max_size=6), st.lists(SCOPE, max_size=6))
def test_a_backend_service_is_given_system_scopes_that_were_allowed_and_nothing_else(
    asked: list[str], allowed: list[str]
) -> None:
    """C16, C68."""
    client = replace(CLIENT, type=ClientType.BACKEND)
    try:
        given_ = policy.backend_scopes(" ".join(asked), client, tuple(allowed))
    except Invalid:
        return

    assert all(text.startswith("system/") for text in given_)
    assert smart.all_covered(given_, allowed)
    assert not any(text.startswith(("patient/", "user/")) for text in asked)


@given(
    st.lists(SCOPE, max_size=5),
    st.lists(SCOPE, max_size=5),
    st.lists(SCOPE, max_size=5),
    st.lists(SCOPE, max_size=5),
    st.sampled_from(["physician", "nurse", "patient", "nobody"]),
)
def test_what_is_granted_again_is_within_everything_that_limits_it(
    held: list[str], registered: list[str], installed: list[str], agreed: list[str], role: str
) -> None:
    """C68: no path yields more."""
    assert GOOD.facts
    assert GOOD.installation
    assert GOOD.authorization
    standing = replace(
        GOOD,
        facts=replace(GOOD.facts, scopes=tuple(registered), certified_scopes=tuple(registered)),
        installation=replace(GOOD.installation, scopes=tuple(installed)),
        authorization=replace(GOOD.authorization, scopes=tuple(agreed)),
    )
    try:
        left = policy.scopes_now(smart.narrow(held, held), standing, role)
    except Invalid:
        return

    for limit in (held, registered, installed, agreed):
        assert smart.all_covered(left, limit)


def test_a_token_never_outlives_what_it_rests_on() -> None:
    """C47."""
    backend = replace(CLIENT, type=ClientType.BACKEND)
    soon, late = NOW + timedelta(seconds=30), NOW + timedelta(days=30)

    assert policy.token_life(CLIENT, None, now=NOW) == timedelta(hours=1)
    assert policy.token_life(CLIENT, late, now=NOW) == timedelta(hours=1)
    assert policy.token_life(CLIENT, soon, now=NOW) == timedelta(seconds=30)
    assert policy.token_life(backend, None, now=NOW) == timedelta(seconds=300)
    assert policy.token_life(replace(backend, expires_at=soon), late, now=NOW) == timedelta(seconds=30)
