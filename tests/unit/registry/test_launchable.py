"""Whether an app may work somewhere, and who may change that (C4, C9, C111, C146, C147)."""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.clients import policy as clients_policy
from hilum.clients.models import Client, ClientFacts, ClientSecret, ClientType, Deployment
from hilum.installations import policy as installations_policy
from hilum.installations.models import Installation, InstallationFacts, InstallOrder, NarrowOrder
from hilum.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.registry import policy
from hilum.registry.models import App, AppState, Certification, CertifyOrder, Environment
from hilum.standing.policy import is_certified, is_installed
from tests.effort import effort
from tests.sim.world import START

NOW = START
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=1)
GENERAL, CHILDREN = TenantId("general"), TenantId("children")
SCOPES = ("launch", "openid", "patient/*.rs")
CLIENT = Client(
    ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), Environment.PRODUCTION, ClientType.PUBLIC, Deployment.BROWSER, "X",
    scopes=("launch", "openid", "patient/Observation.rs", "patient/Patient.cruds"),
)  # fmt: skip
APP = App(AppId("app_1"), VendorId("ven_1"), "X", "d", "p")
CERT = Certification(
    "cert_1", APP.id, CLIENT.version, SCOPES, "staff:r", PAST, FUTURE, Environment.PRODUCTION
)
FACTS = clients_policy.join(CLIENT, APP, [CERT])
INSTALLED = InstallationFacts(SCOPES, frozenset({"physician"}), None, PAST, Environment.PRODUCTION)


@pytest.mark.parametrize(
    ("facts", "installed"),
    [
        (replace(FACTS, since=NOW), INSTALLED),
        (FACTS, replace(INSTALLED, since=NOW)),
        (clients_policy.join(CLIENT, replace(APP, active_since=NOW), [CERT]), INSTALLED),
        (clients_policy.join(CLIENT, APP, [replace(CERT, certified_at=NOW)]), INSTALLED),
        (
            clients_policy.join(
                CLIENT, APP, [replace(CERT, withdrawn_at=NOW), replace(CERT, certified_at=NOW)]
            ),
            INSTALLED,
        ),
        (clients_policy.join(replace(CLIENT, adopted_at=NOW, certified_before=NOW), APP, [CERT]), INSTALLED),
        (replace(FACTS, type=ClientType.BACKEND, since=NOW), replace(INSTALLED, roles=frozenset())),
    ],
)
def test_what_was_issued_before_a_standing_was_given_does_not_work_under_it(
    facts: ClientFacts, installed: InstallationFacts
) -> None:
    """Security decision 8: giving back revives nothing, whether app, certification, version or installation was away."""

    def stands(issued_at: datetime | None) -> bool:
        certified = is_certified(facts, NOW, issued_at=issued_at)
        return certified and is_installed(facts, installed, NOW, issued_at=issued_at)

    assert not stands(NOW - timedelta(microseconds=1))
    assert not stands(PAST)
    assert stands(NOW)
    assert stands(None)


def test_an_ehr_is_judged_by_its_own_suspension() -> None:
    peer = clients_policy.join(replace(CLIENT, type=ClientType.EHR), replace(APP, active_since=NOW), [])

    assert not is_certified(peer, NOW, issued_at=PAST)
    assert is_certified(peer, NOW, issued_at=NOW)


def test_an_unbroken_standing_reaches_back_to_its_first_certification() -> None:
    """C5: renewals and updates of a certified app sign nobody out."""
    first = replace(CERT, certified_at=PAST, expires_at=NOW)
    renewed = replace(CERT, certified_at=NOW - timedelta(hours=1), expires_at=FUTURE)
    late = replace(renewed, certified_at=NOW + timedelta(microseconds=1))
    withdrawn = replace(first, withdrawn_at=NOW - timedelta(hours=2))
    elsewhere = replace(first, version=VersionId("ver_2"))
    sandbox = replace(first, environment=Environment.SANDBOX)
    updated = replace(CLIENT, adopted_at=NOW, certified_before=PAST)

    assert clients_policy.join(CLIENT, APP, [first, renewed]).since == PAST
    assert clients_policy.join(updated, APP, [renewed]).since == PAST
    for broken in ([first, late], [withdrawn, renewed], [elsewhere, renewed], [sandbox, renewed]):
        assert clients_policy.join(CLIENT, APP, broken).since == broken[-1].certified_at
    assert clients_policy.join(updated, APP, [late]).since == late.certified_at


STRETCHES = st.lists(
    st.tuples(st.integers(0, 20), st.integers(1, 12), st.none() | st.integers(0, 20)), min_size=1, max_size=6
)


@settings(max_examples=effort(200, 2_000), deadline=None)
@given(STRETCHES, st.integers(0, 20), st.integers(0, 40))
def test_something_lives_only_if_the_app_was_certified_at_every_moment_since(
    stretches: list[tuple[int, int, int | None]], issued: int, now: int
) -> None:
    """Security decision 8, C146: against a plain count of every moment."""

    def at(moment: int) -> datetime:
        return NOW + timedelta(minutes=moment)

    found = [
        replace(
            CERT,
            id=f"cert_{n}",
            certified_at=at(start),
            expires_at=at(start + life),
            withdrawn_at=at(gone) if gone is not None and start < gone <= now else None,
        )
        for n, (start, life, gone) in enumerate(stretches)
        if start <= now
    ]

    def certified(moment: int) -> bool:
        return any(
            each.certified_at <= at(moment) < each.expires_at
            and (each.withdrawn_at is None or at(moment) < each.withdrawn_at)
            for each in found
        )

    facts = clients_policy.join(CLIENT, APP, found)
    whole = issued <= now and all(certified(moment) for moment in range(issued, now + 1))
    lives = is_certified(facts, at(now), issued_at=at(issued))

    assert lives <= whole or issued > now
    handed_over = any(each.withdrawn_at == other.certified_at for each in found for other in found)
    if whole and not handed_over:
        assert lives


@pytest.mark.parametrize(
    "other",
    [
        replace(CERT, version=VersionId("ver_2")),
        replace(CERT, withdrawn_at=PAST),
        replace(CERT, environment=Environment.SANDBOX),
    ],
)
def test_a_certification_counts_for_its_version_and_environment_while_it_stands(other: Certification) -> None:
    """C5."""
    assert clients_policy.join(CLIENT, APP, [other]).certified_until is None


def test_the_longest_standing_certification_counts_and_production_counts_in_a_sandbox() -> None:
    longer = replace(CERT, id="cert_2", expires_at=FUTURE + timedelta(days=9), scopes=("openid",))

    assert clients_policy.join(CLIENT, APP, [CERT, longer]).certified_scopes == ("openid",)
    sandbox = replace(CLIENT, environment=Environment.SANDBOX)
    assert clients_policy.join(sandbox, APP, [CERT]).certified_until == FUTURE
    assert not clients_policy.join(CLIENT, replace(APP, state=AppState.SUSPENDED), [CERT]).active


def test_scopes_are_what_client_review_and_tenant_all_allow() -> None:
    """C68: registered AND certified AND installed."""
    allowed = installations_policy.allowed_scopes(
        FACTS, replace(INSTALLED, scopes=("openid", "patient/Patient.r", "patient/Observation.rs"))
    )

    assert allowed == ("openid", "patient/Observation.rs", "patient/Patient.r")
    assert installations_policy.allowed_scopes(FACTS, replace(INSTALLED, scopes=())) == ()
    assert installations_policy.allowed_scopes(replace(FACTS, certified_scopes=()), INSTALLED) == ()


ORDER = InstallOrder(GENERAL, APP.id, frozenset({"physician"}), ("openid", "patient/Observation.r"))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, {}),
        ({"scopes": None}, {}),
        ({"scopes": ()}, {"scopes": "scopes_missing"}),
        ({"scopes": ("patient/Observation.cruds",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("user/Observation.r",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("offline_access",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("nonsense",)}, {"scopes": "scope_unknown"}),
        ({"scopes": ("patient/Observation.rc",)}, {"scopes": "scope_letters"}),
        ({"roles": frozenset()}, {"roles": "roles_missing"}),
        ({"roles": frozenset({"king"})}, {"roles": "role_unknown"}),
        ({"roles": frozenset({"physician", "security"})}, {"roles": "role_unknown"}),
        ({"expires_at": NOW}, {"expires_at": "not_in_the_future"}),
    ],
)
def test_a_tenant_never_installs_more_than_was_certified(
    change: dict[str, object], faults: dict[str, str]
) -> None:
    """C147."""
    order = replace(ORDER, **change)  # type: ignore[arg-type]

    assert installations_policy.install_faults(order, SCOPES, only_backend=False, now=NOW) == faults


INSTALLATION = Installation(
    "ins_1", GENERAL, APP.id, SCOPES, frozenset({"physician", "nurse"}), "person:t", PAST, FUTURE
)


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (NarrowOrder(), {}),
        (NarrowOrder(("openid",), frozenset({"nurse"}), NOW + timedelta(hours=1)), {}),
        (NarrowOrder(scopes=("patient/*.cruds",)), {"scopes": "widens"}),
        (NarrowOrder(scopes=("nonsense",)), {"scopes": "widens"}),
        (NarrowOrder(roles=frozenset({"nurse", "analyst"})), {"roles": "widens"}),
        (NarrowOrder(expires_at=FUTURE + timedelta(seconds=1)), {"expires_at": "widens"}),
        (NarrowOrder(expires_at=NOW), {"expires_at": "not_in_the_future"}),
    ],
)
def test_narrowing_never_widens(order: NarrowOrder, faults: dict[str, str]) -> None:
    """C147."""
    assert installations_policy.narrow_faults(order, INSTALLATION, now=NOW) == faults


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, FUTURE), {}),
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, (), FUTURE), {"scopes": "scopes_missing"}),
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, ("x",), FUTURE), {"scopes": "scope_unknown"}),
        (
            CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, NOW),
            {"expires_at": "not_in_the_future"},
        ),
        (
            CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, NOW + timedelta(days=9_999)),
            {"expires_at": "too_far_away"},
        ),
    ],
)
def test_a_certification_names_scopes_and_ends(order: CertifyOrder, faults: dict[str, str]) -> None:
    assert policy.certify_faults(order, now=NOW) == faults


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("presented", "matches"),
    [("new", True), ("old", True), ("ended", False), ("other", False), ("", False), ("NEW", False)],
)
def test_two_secrets_overlap_until_the_stated_end(presented: str, matches: bool) -> None:
    """C9."""
    client = replace(
        CLIENT,
        secrets=(ClientSecret(sha("new")), ClientSecret(sha("old"), FUTURE), ClientSecret(sha("ended"), NOW)),
    )

    assert clients_policy.secret_matches(client, sha(presented), NOW) is matches
    assert not clients_policy.secret_matches(CLIENT, sha(presented), NOW)
    assert not clients_policy.secret_matches(client, presented, NOW)


def staff(role: str) -> Actor:
    return Actor(ActorKind.STAFF, f"per_{role}", roles=frozenset({role}))


def member(role: str, tenant: TenantId = GENERAL) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{role}", tenant, frozenset({role}))


ACTORS = {
    "admin": staff("platform_admin"),
    "reviewer": staff("reviewer"),
    "security": staff("security"),
    "auditor": staff("auditor"),
    "system": SYSTEM,
    "host": Actor(ActorKind.HOST, "root"),
    "tenant_admin": member("administrator"),
    "other_admin": member("administrator", CHILDREN),
    "physician": member("physician"),
    "client": Actor(ActorKind.CLIENT, "cli", GENERAL, frozenset({"administrator", "platform_admin"})),
    "pretender": member("platform_admin"),
    "anonymous": ANONYMOUS,
}
ITSELF = {"system", "host"}
PLATFORM = ITSELF | {"admin", "reviewer", "security", "auditor"}
PEER = replace(APP, tenant=GENERAL)


@pytest.mark.parametrize("name", ACTORS)
def test_each_verb_is_for_those_whose_task_it_is_and_for_nobody_else(name: str) -> None:
    """C111: certifying, installing and registering are different people's decisions."""
    actor = ACTORS[name]

    asked = {
        "register": (policy.may_register(actor), ITSELF | {"admin"}),
        "certify": (policy.may_certify(actor), ITSELF | {"reviewer"}),
        "suspend": (policy.may_suspend(actor), ITSELF | {"admin", "security"}),
        "install": (installations_policy.may_install(actor, GENERAL), ITSELF | {"tenant_admin"}),
        "uninstall": (
            installations_policy.may_uninstall(actor, GENERAL),
            ITSELF | {"tenant_admin", "admin", "security"},
        ),
        "peers": (clients_policy.may_keep_peers(actor, GENERAL), ITSELF | {"tenant_admin", "admin"}),
        "catalogue": (policy.may_read_catalogue(actor), PLATFORM | {"tenant_admin", "other_admin"}),
        "see app": (policy.may_see_app(actor, APP), PLATFORM | {"tenant_admin", "other_admin"}),
        "see peer": (policy.may_see_app(actor, PEER), PLATFORM | {"tenant_admin"}),
        "rotate": (clients_policy.may_rotate(actor, APP), ITSELF | {"admin"}),
        "rotate peer": (clients_policy.may_rotate(actor, PEER), ITSELF | {"admin", "tenant_admin"}),
        "clients": (clients_policy.may_see_clients(actor, APP), PLATFORM),
        "installations": (
            installations_policy.may_see_installations(actor, GENERAL),
            PLATFORM | {"tenant_admin"},
        ),
        "all installations": (installations_policy.may_see_installations(actor, None), PLATFORM),
    }

    assert {verb: allowed for verb, (allowed, _) in asked.items()} == {
        verb: name in who for verb, (_, who) in asked.items()
    }
