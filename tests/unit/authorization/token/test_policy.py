"""What the token endpoint decides, as pure functions (C16, C31, C33, C42, C47, C49, C68)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.apps.clients.models import Client, ClientFacts, ClientType, Deployment
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.authorization.consent.models import Authorization, Basis
from hilum.authorization.eligibility.models import EligibilityInputs
from hilum.authorization.token import policy
from hilum.authorization.token.policy import GRANTS_OF, GrantState, GrantType
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches.models import Mode, Switch, SwitchIndex, Target, TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.foundation.standards.oauth import read_parameters
from hilum.foundation.standards.smart import scopes as smart
from hilum.identity.people.models import Person, Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import UNCLASSIFIED, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.sim.world import START
from tests.unit.policy.matrix.books import LIFETIMES

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
GOOD = GrantState(
    eligibility=EligibilityInputs(
        GRANT,
        Tenant(MERCY, "Mercy", UpstreamRef(UpstreamKind.EMBEDDED)),
        ClientFacts(
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
            category=UNCLASSIFIED,
            certified_tier=Tier.HIGH,
        ),
        InstallationFacts(
            SCOPES, frozenset({"physician"}), None, NOW - timedelta(days=1), Environment.SANDBOX
        ),
        SwitchIndex(),
        shipped_book(),
        issued_at=NOW,
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
)


def fault(state: GrantState, grant: Grant = GRANT) -> Reason | None:
    return policy.grant_fault(state, grant, now=NOW)


def test_a_grant_whose_ground_stands_has_no_fault() -> None:
    assert fault(GOOD) is None


def spoiled() -> list[tuple[GrantState, Reason]]:
    eligibility, person, authorization = GOOD.eligibility, GOOD.person, GOOD.authorization
    assert person
    assert authorization
    switch = Switch("sw", Target(TargetKind.APP, "a"), Mode.FULL_STOP, "x", "host:x", NOW)
    stopped = SwitchIndex({switch.target: (switch,)})
    earlier = NOW - timedelta(seconds=1)
    return [
        (replace(GOOD, eligibility=replace(eligibility, switches=stopped)), Reason.SWITCH_ENGAGED),
        (replace(GOOD, eligibility=replace(eligibility, tenant=None)), Reason.TENANT_MISMATCH),
        (replace(GOOD, eligibility=replace(eligibility, client=None)), Reason.APP_NOT_CERTIFIED),
        (replace(GOOD, eligibility=replace(eligibility, installation=None)), Reason.APP_NOT_INSTALLED),
        (replace(GOOD, eligibility=replace(eligibility, person_active=False)), Reason.PERSON_INACTIVE),
        (replace(GOOD, person=replace(person, role="nurse")), Reason.ROLE_NOT_ALLOWED),
        (replace(GOOD, authorization=None), Reason.TOKEN_REVOKED),
        (replace(GOOD, authorization=replace(authorization, revoked_at=earlier)), Reason.TOKEN_REVOKED),
        (replace(GOOD, authorization=replace(authorization, expires_at=NOW)), Reason.AUTHORIZATION_EXPIRED),
        (replace(GOOD, session_over=True), Reason.LAUNCH_ENDED),
    ]


@pytest.mark.parametrize(("state", "reason"), spoiled())
def test_each_ground_that_is_gone_ends_the_grant_by_its_own_name(state: GrantState, reason: Reason) -> None:
    assert fault(state) is reason


@given(st.lists(st.sampled_from(range(len(spoiled()))), min_size=1, max_size=4))
def test_no_further_fault_revives_a_grant(which: list[int]) -> None:
    """Engaging a switch or taking something away never turns no into yes."""
    state = GOOD
    for n in which:
        other = spoiled()[n][0]
        changed = {
            name: getattr(other, name)
            for name in ("eligibility", "person", "authorization", "session_over")
            if getattr(other, name) != getattr(GOOD, name)
        }
        state = replace(state, **changed)

    assert fault(state) is not None


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
        given_ = policy.scopes_of_refresh(" ".join(asked), within)
    except Invalid:
        return

    assert smart.all_covered(given_, within)


SYSTEM = SCOPE.filter(lambda text: text.startswith("system/"))


@given(
    st.lists(SYSTEM, min_size=1, max_size=4) | st.lists(SCOPE, max_size=6),
    st.lists(SYSTEM, min_size=1, max_size=4) | st.lists(SCOPE, max_size=6),
)
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
    eligibility = GOOD.eligibility
    assert eligibility.client
    assert eligibility.installation
    assert GOOD.authorization
    state = replace(
        GOOD,
        eligibility=replace(
            eligibility,
            client=replace(eligibility.client, scopes=tuple(registered), certified_scopes=tuple(registered)),
            installation=replace(eligibility.installation, scopes=tuple(installed)),
        ),
        authorization=replace(GOOD.authorization, scopes=tuple(agreed)),
    )
    try:
        left = policy.scopes_now(smart.narrow(held, held), state, role, NOW)
    except Invalid:
        return

    for limit in (held, registered, installed, agreed):
        assert smart.all_covered(left, limit)


def test_a_token_never_outlives_what_it_rests_on() -> None:
    """C47."""
    backend = replace(CLIENT, type=ClientType.BACKEND)
    soon, late = NOW + timedelta(seconds=30), NOW + timedelta(days=30)

    assert policy.token_life(CLIENT, LIFETIMES, None, now=NOW) == timedelta(hours=1)
    assert policy.token_life(CLIENT, LIFETIMES, late, now=NOW) == timedelta(hours=1)
    assert policy.token_life(CLIENT, LIFETIMES, soon, now=NOW) == timedelta(seconds=30)
    assert policy.token_life(backend, LIFETIMES, None, now=NOW) == timedelta(seconds=300)
    assert policy.token_life(replace(backend, expires_at=soon), LIFETIMES, late, now=NOW) == timedelta(
        seconds=30
    )
