"""What the server says of itself (C24, C25, C26; conformance 1.1, 3.1, 3.3)."""

import ast
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import delete

from hilum.apps.clients.models import ClientType
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVersion
from hilum.authorization.token import discovery
from hilum.authorization.token.client_auth import METHOD_OF
from hilum.authorization.token.policy import GRANTS_OF
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import (
    ClinicalScope,
    Prefix,
    ScopeError,
    parse_scope,
    parse_stored,
)
from hilum.foundation.web.style import STYLE_DIGEST
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, TenantChange, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import POLICIES, UNCLASSIFIED, WORKFLOW_SCOPE
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.store import versions as policy_versions
from tests.flows import token_flow
from tests.flows.claims import SHOWN_BY
from tests.flows.policy_ground import narrow_policy
from tests.flows.token_flow import BASE, MERCY, Platform
from tests.sim.one_world import in_one_world

platform = token_flow.platform
LAKESIDE = TenantId("lakeside")
TIERS_OF_ENTRIES = ("low", "moderate", "high")
TESTS = Path(__file__).parents[1]
SMART = f"/t/{MERCY}/fhir/.well-known/smart-configuration"
OPENID = f"/t/{MERCY}/.well-known/openid-configuration"
OAUTH = f"/.well-known/oauth-authorization-server/t/{MERCY}"
JWKS = f"/t/{MERCY}/oauth/jwks.json"
STANDALONE = {
    *(
        "launch-standalone",
        "client-public",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
    ),
    *("sso-openid-connect", "context-standalone-patient", "permission-offline", "permission-patient"),
    *("authorize-post", "permission-v2", "permission-v1"),
}
PRACTITIONER = {
    *("launch-ehr", "context-banner", "context-style", "context-ehr-patient", "context-ehr-encounter"),
    "permission-user",
}


@in_one_world("path", [SMART, OPENID, OAUTH, JWKS])
@in_one_world("accept", ["application/json", "text/html", "application/fhir+json", "image/png", ""])
def test_documents_are_json_whatever_is_accepted(platform: Platform, path: str, accept: str) -> None:
    """C24."""
    answer = platform.http.get(path, headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json(), dict)


@pytest.mark.parametrize("path", [SMART, OPENID, OAUTH, JWKS])
def test_documents_may_be_read_from_any_origin(platform: Platform, path: str) -> None:
    """C26; conformance 1.1."""
    origin = {"Origin": "https://anywhere.example"}

    assert platform.http.get(path, headers=origin).headers["access-control-allow-origin"] == "*"
    assert platform.http.options(path, headers=origin).headers["access-control-allow-origin"] == "*"


def test_smart_configuration_has_what_smart_2_2_requires(platform: Platform) -> None:
    """C24; SMART App Launch 2.2, conformance#metadata; conformance 1.1, 3.1 and 3.3."""
    document = platform.http.get(SMART).json()

    assert document["issuer"] == f"{BASE}/t/mercy"
    for name, path in {
        "authorization_endpoint": "authorize",
        "token_endpoint": "token",
        "introspection_endpoint": "introspect",
        "revocation_endpoint": "revoke",
        "management_endpoint": "manage",
        "registration_endpoint": "register",
        "jwks_uri": "jwks.json",
    }.items():
        assert document[name] == f"{BASE}/t/mercy/oauth/{path}"
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token", "client_credentials"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["response_types_supported"] == ["code"]
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert set(document["token_endpoint_auth_methods_supported"]) == {
        "client_secret_basic",
        "private_key_jwt",
        "none",
    }
    assert {"openid", "fhirUser", "launch", "offline_access", "patient/*.rs"} <= set(
        document["scopes_supported"]
    )
    assert set(document["capabilities"]) >= STANDALONE | PRACTITIONER
    assert all(isinstance(each, str) for each in document["capabilities"])


def test_openid_configuration_stands_at_the_issuer_and_names_it(platform: Platform) -> None:
    """Conformance 1.4; OpenID Connect Discovery 1.0 section 3; RFC 8414; RFC 9207 section 3."""
    document = platform.http.get(OPENID).json()

    assert document["issuer"] == f"{BASE}/t/mercy"
    assert document["issuer"] + "/.well-known/openid-configuration" == BASE + OPENID
    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert platform.http.get(OAUTH).json() == document


def test_every_address_in_a_document_is_absolute(platform: Platform) -> None:
    """C24."""
    for path in (SMART, OPENID, OAUTH):
        document = platform.http.get(path).json()
        found = {name: value for name, value in document.items() if name.endswith(("_endpoint", "_uri"))}
        assert {"authorization_endpoint", "token_endpoint", "jwks_uri"} <= set(found)
        for name, value in (found | {"issuer": document["issuer"]}).items():
            assert value.startswith(f"{BASE}/t/mercy"), name


@pytest.mark.parametrize(
    "word", ["plain", "implicit", "password", "token", "id_token", "none", "HS256", "RS512"]
)
def test_nothing_that_is_refused_is_listed(platform: Platform, word: str) -> None:
    """C24: no plain, no implicit, no password."""
    document = platform.http.get(OPENID).json()
    lists = {name: value for name, value in document.items() if isinstance(value, list)}

    where = [name for name, value in lists.items() if word in value]

    assert where == (
        [f"{name}_endpoint_auth_methods_supported" for name in ("token", "revocation")]
        if word == "none"
        else []
    )


def test_registration_is_advertised_only_where_it_is_open(platform: Platform) -> None:
    document = discovery.smart_configuration(platform.urls, MERCY, registers=False)

    assert "registration_endpoint" not in document


@pytest.mark.parametrize("tenant", ["nobody", "MERCY", "%00", "a" * 200])
def test_a_tenant_that_is_not_there_or_not_active_has_no_documents(platform: Platform, tenant: str) -> None:
    for path in (SMART, OPENID, OAUTH, JWKS):
        assert platform.http.get(path.replace(MERCY, tenant)).status_code == 404

    platform.run(lambda ctx: identity.update_tenant(ctx, MERCY, TenantChange(active=False)))
    for path in (SMART, OPENID, OAUTH, JWKS):
        assert platform.http.get(path).status_code == 404


def test_the_key_set_holds_public_keys_and_may_be_kept_for_a_minute(platform: Platform) -> None:
    """C55; conformance 1.4."""
    answer = platform.http.get(JWKS)

    keys = answer.json()["keys"]
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert len(keys) == 1
    assert set(keys[0]) == {"kty", "n", "e", "kid", "use", "alg"}
    assert keys[0]["kty"] == "RSA"


def test_a_fhir_server_finds_the_public_keys_that_hilum_authenticates_with(platform: Platform) -> None:
    """SMART 2.2, client-confidential-asymmetric: made once, by whoever asks first."""
    upstream = platform.http.get(f"/t/{MERCY}/oauth/upstream-jwks.json").json()["keys"]
    assert upstream == platform.http.get(f"/t/{MERCY}/oauth/upstream-jwks.json").json()["keys"]
    assert [(each["kty"], each["alg"], "d" in each) for each in upstream] == [("RSA", "RS384", False)]


def test_the_keys_of_two_tenants_differ(platform: Platform) -> None:
    """C145."""
    other = platform.http.get("/t/other/oauth/jwks.json").json()["keys"]

    assert {key["n"] for key in platform.http.get(JWKS).json()["keys"]}.isdisjoint(key["n"] for key in other)


def test_the_style_document_is_public_and_its_address_changes_with_its_content(platform: Platform) -> None:
    """C32; SMART App Launch 2.2, scopes-and-launch-context#styling; conformance 3.3."""
    url = platform.earn()["smart_style_url"]

    answer = platform.http.get(url)

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.json()["color_text"].startswith("#")
    assert STYLE_DIGEST in url
    assert platform.http.get(url.replace(STYLE_DIGEST, "0" * 16)).status_code == 404


def test_every_advertised_scope_is_granted_to_a_client_registered_for_it(platform: Platform) -> None:
    """C25."""
    advertised = platform.http.get(SMART).json()["scopes_supported"]
    plain = [scope for scope in advertised if not scope.startswith(WORKFLOW_SCOPE)]
    asked = [scope for scope in plain if not scope.startswith("system/")]
    system = [scope for scope in plain if scope.startswith("system/")]
    platform.add_app("all", ClientType.PUBLIC, scopes=tuple(asked))

    assert asked
    for scope in asked:
        body = platform.earn("all", scopes=tuple(dict.fromkeys((scope, "openid", "patient/Patient.rs"))))
        kind = scope.partition("*")[0]
        assert any(granted == scope or granted.startswith(kind) for granted in body["scope"].split()), scope
    assert platform.backend(" ".join(system)).json()["scope"].split() == system


# --- workflows by name (C25, C63) ----------------------------------------------------------------------------------------------


def workflows(platform: Platform, tenant: str = LAKESIDE) -> list[str]:
    """Return the workflows that both documents of a hospital list."""
    paths = (
        f"/t/{tenant}/fhir/.well-known/smart-configuration",
        f"/t/{tenant}/.well-known/openid-configuration",
    )
    smart, server = (platform.http.get(path).json()["scopes_supported"] for path in paths)
    assert smart == server
    return [each.removeprefix(WORKFLOW_SCOPE) for each in smart if each.startswith(WORKFLOW_SCOPE)]


@pytest.fixture
def lakeside(platform: Platform) -> Platform:
    """A hospital with one app, which declares two workflows, beside another one with many apps."""
    tenant = Tenant(LAKESIDE, "Lakeside", UpstreamRef(UpstreamKind.EMBEDDED), sandbox=True)
    platform.run(lambda ctx: identity.add_tenant(ctx, tenant))
    assert workflows(platform) == []
    version = NewVersion("1", workflows=("intake", "appointments"), placements=())
    platform.add_app("desk", ClientType.PUBLIC, tenants=(LAKESIDE,), version=version)
    return platform


def test_the_documents_list_the_workflows_that_an_app_of_the_hospital_may_do(lakeside: Platform) -> None:
    """C25: only of what the hospital installed; the apps of another hospital declare every workflow."""
    assert workflows(lakeside) == ["appointments", "intake"]
    assert len(workflows(lakeside, MERCY)) == len(shipped_book().workflows)


def test_a_workflow_that_is_listed_is_granted_by_its_name(platform: Platform) -> None:
    """C25, C63."""
    tried = []
    for name in workflows(platform, MERCY):
        scopes = parse_stored(shipped_book().workflows[name].scopes or ())
        prefixes = {each.prefix for each in scopes if isinstance(each, ClinicalScope)}
        if Prefix.SYSTEM in prefixes:
            granted = platform.backend(f"{WORKFLOW_SCOPE}{name}").json()["scope"].split()
            assert granted, name
            assert all(each.startswith("system/") for each in granted), name
            tried.append(name)
    assert tried


def _removed(platform: Platform) -> None:
    app = platform.clients["desk"].app
    (found,) = platform.run(lambda ctx: installations.installed_at(ctx, LAKESIDE, [app])).values()
    platform.run(lambda ctx: installations.uninstall(ctx, found.id))


def _suspended(platform: Platform) -> None:
    platform.run(lambda ctx: registry.suspend_app(ctx, platform.clients["desk"].app, "Under review."))


def _withdrawn(platform: Platform) -> None:
    app = platform.clients["desk"].app
    (found,) = platform.run(lambda ctx: registry.list_certifications(ctx, app))
    platform.run(lambda ctx: registry.withdraw_certification(ctx, found.id))


@pytest.mark.parametrize("end", [_removed, _suspended, _withdrawn])
def test_the_workflows_of_an_app_that_is_no_longer_used_are_not_listed(
    lakeside: Platform, end: Callable[[Platform], None]
) -> None:
    end(lakeside)

    assert workflows(lakeside) == []


def test_the_policy_at_the_hospital_decides_which_workflows_there_are(lakeside: Platform) -> None:
    """C218: another policy at another hospital changes nothing here."""
    narrower = {
        f"categories.{UNCLASSIFIED}.entries.{tier}.workflows": ["intake"] for tier in TIERS_OF_ENTRIES
    }

    narrow_policy(lakeside.run, narrower, LAKESIDE)

    assert workflows(lakeside) == ["intake"]
    assert len(workflows(lakeside, MERCY)) == len(shipped_book().workflows)


def test_while_the_policy_cannot_be_trusted_the_documents_list_no_workflow_and_are_published(
    lakeside: Platform,
) -> None:
    narrow_policy(lakeside.run, {f"categories.{UNCLASSIFIED}.entries.low.workflows": ["intake"]}, LAKESIDE)
    lakeside.run(lambda ctx: ctx.tx.execute(delete(policy_versions)))
    lakeside.run(lambda ctx: ctx.advance_epoch(POLICIES, "application/1"))

    assert workflows(lakeside) == []


# --- claims and what stands behind them (C25) ----------------------------------------------------------------------------------


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_advertised_value_has_a_test_that_is_there(platform: Platform) -> None:
    """C25: each advertised capability, grant, algorithm and scope is tied to a test that exercises it."""
    for path in (SMART, OPENID):
        document = platform.http.get(path).json()
        lists = {name: value for name, value in document.items() if isinstance(value, list)}
        # Those of a hospital's apps: test_a_workflow_that_is_listed_is_granted_by_its_name.
        lists["scopes_supported"] = [
            each for each in lists["scopes_supported"] if not each.startswith(WORKFLOW_SCOPE)
        ]

        assert lists == {name: list(SHOWN_BY[name]) for name in lists}
    missing = [
        f"{member} {value}: {test}"
        for member, values in SHOWN_BY.items()
        for value, test in values.items()
        if not (TESTS / test.split("::")[0]).exists()
        or test.split("::")[1] not in names_in(test.split("::")[0])
    ]

    assert missing == []


@pytest.mark.parametrize("kind", list(ClientType))
def test_no_client_has_a_grant_or_a_method_that_is_not_advertised(kind: ClientType) -> None:
    """C25, C50."""
    shown = discovery.advertised()

    assert {each.value for each in GRANTS_OF[kind]} <= set(shown["grant_types_supported"])
    assert METHOD_OF[kind].value in shown["token_endpoint_auth_methods_supported"]


def test_every_advertised_scope_can_be_parsed() -> None:
    """C25."""
    assert [text for text in discovery.SCOPES if isinstance(parse_scope(text), ScopeError)] == []
