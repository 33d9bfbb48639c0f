"""The plan of clients, and the card that tells it (docs/reference/contract.md, GET /sandbox/card.json)."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from hilum.apps.clients.models import ClientType, Deployment
from hilum.apps.clients.policy import validate_redirect_uri
from hilum.foundation.standards.smart.scopes import ScopeError, covers, parse_scope
from hilum.foundation.web.urls import Urls
from hilum.policy.matrix.models import Discipline
from hilum_ehr.sandbox.card import card
from hilum_ehr.sandbox.clients import TENANTS, Kind, plan, public_jwks
from hilum_ehr.sandbox.credentials import CredentialsFile
from hilum_ehr.synthesis.models import Role
from hilum_ehr.synthesis.policy import hospitals

SANDBOX = "http://localhost:8001"
URLS = Urls("http://127.0.0.1:8000", SANDBOX)
SECRETS = (
    "client-secret",
    "ehr-secret",
    "private-d",
    "pat-secret",
    "sandbox-dr.adeyemi",
    "sandbox-admin.ferro",
)


def credentials_file() -> CredentialsFile:
    planned = plan(SANDBOX)
    made = CredentialsFile()
    for _, client in planned.clients():
        made.client_secrets[client.client_id] = "client-secret"
        made.private_jwks[client.client_id] = {
            "keys": [{"kty": "EC", "kid": "1", "x": "x", "d": "private-d"}]
        }
    for system_client in (*planned.ehr_clients, *planned.resource_servers):
        made.client_secrets[system_client.client_id] = "ehr-secret"
    made.api_tokens = {staff.username: "pat-secret" for staff in planned.staff}
    made.charts = {"general": [{"id": "p1", "name": "N", "notable": "why", "encounters": ["e1"]}]}
    made.groups = {"general": ["g1"]}
    made.vendors = {"lumen": "ven_1"}
    return made


def written(*, withhold: bool = False) -> dict[str, Any]:
    return card(hospitals(), plan(SANDBOX), credentials_file(), URLS, withhold=withhold)


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def test_there_is_a_client_of_every_kind() -> None:
    assert {client.kind for _, client in plan(SANDBOX).clients()} == set(Kind)


def test_every_client_id_is_chosen_once() -> None:
    planned = plan(SANDBOX)
    ids = [client.client_id for _, client in planned.clients()]
    ids += [system_client.client_id for system_client in (*planned.ehr_clients, *planned.resource_servers)]

    assert len(ids) == len(set(ids))


def test_every_hospital_has_an_ehr_and_a_resource_server() -> None:
    planned = plan(SANDBOX)

    assert [system_client.tenant for system_client in planned.ehr_clients] == list(TENANTS)
    assert [system_client.tenant for system_client in planned.resource_servers] == list(TENANTS)
    assert {hospital.tenant for hospital in hospitals()} == set(TENANTS)


def test_every_scope_is_in_the_grammar_and_of_the_clients_kind() -> None:
    """C16: delegated and backend access are never mixed."""
    clients = [client for _, client in plan(SANDBOX).clients()]

    assert {client.kind for client in clients} == set(Kind)
    for client in clients:
        for scope in client.scopes:
            assert not isinstance(parse_scope(scope), ScopeError), scope
            assert scope.startswith("system/") == (client.kind is Kind.BACKEND)


def test_every_redirect_would_be_taken_from_anyone_else_too() -> None:
    """C2: the plan has no door of its own."""
    clients = [client for _, client in plan(SANDBOX).clients()]

    assert any(client.redirect_uris for client in clients)
    for client in clients:
        for uri in client.redirect_uris:
            fault = validate_redirect_uri(
                uri,
                client_type=ClientType(client.kind.value),
                deployment=Deployment(client.deployment.value),
                sandbox=True,
            )
            assert fault is None, uri
            assert urlsplit(uri).hostname in {"localhost", "127.0.0.1"}


@pytest.mark.parametrize("kind", [Kind.PUBLIC, Kind.SYMMETRIC, Kind.ASYMMETRIC])
def test_a_test_suite_finds_a_client_that_may_ask_for_all_it_needs(kind: Kind) -> None:
    """conformance 3.1, 3.3, 3.6: patient and user scopes of every type, both launches, offline access, for every role."""
    app, client = next(
        (app, client)
        for app, client in plan(SANDBOX).clients()
        if client.kind is kind and app.slug == "bench"
    )
    wanted = [
        "launch",
        "launch/patient",
        "launch/encounter",
        "openid",
        "fhirUser",
        "offline_access",
        "online_access",
    ]
    wanted += [
        f"{prefix}/{each}.rs"
        for prefix in ("patient", "user")
        for each in ("Patient", "Observation", "Provenance", "Specimen")
    ]
    wanted += [
        "patient/Observation.read",
        "patient/Condition.rs?category=http://example.org|x",
        "patient/*.cruds",
        *(f"patient/{each}.rs" for each in ("Medication", "Practitioner", "Organization", "Location")),
    ]

    held = [parse_scope(scope) for scope in client.scopes]
    for scope in wanted:
        asked = parse_scope(scope)
        assert not isinstance(asked, ScopeError)
        assert any(not isinstance(each, ScopeError) and covers(each, asked) for each in held), scope
    assert set(app.roles) == set(Role)
    assert set(app.tenants) == set(TENANTS)


def test_the_card_has_the_shape_of_the_contract() -> None:
    shape = {
        "tenants": {"id", "name", "fhir", "issuer", "launch_api"},
        "people": {"tenant", "username", "password", "role", "fhirUser", "name"},
        "staff": {"username", "password", "role", "totp_secret", "api_token"},
        "members": {"vendor", "username", "password", "role", "name"},
        "patients": {"tenant", "id", "name", "notable", "encounters"},
        "clients": {"client_id", "tenants", "type", "secret", "private_jwks", "redirect_uris", "launch_url", "origins", "scope"},
        "ehr_clients": {"tenant", "client_id", "secret"},
        "resource_servers": {"tenant", "client_id", "secret"},
        "groups": {"tenant", "id"},
    }  # fmt: skip
    found = written()

    assert set(found) == {"base_url", "sandbox_url", "apps_url", *shape}
    for name, members in shape.items():
        assert found[name], name
        assert all(set(each) == members for each in found[name]), name


def test_the_card_shows_what_a_script_needs_to_drive_everything() -> None:
    shown = set(texts(written()))

    assert set(SECRETS) <= shown
    assert {each["role"] for each in written()["people"]} == {role.value for role in Role}


def test_only_who_has_a_secret_shows_one() -> None:
    for each in written()["clients"]:
        assert bool(each["secret"]) == (each["type"] == "confidential-symmetric")
        assert bool(each["private_jwks"]) == (each["type"] in {"confidential-asymmetric", "backend"})


def test_a_public_sandbox_withholds_every_secret() -> None:
    """contract, Modes: HILUM_SANDBOX_PUBLIC=1."""
    shown = set(texts(written(withhold=True)))

    assert shown.isdisjoint(SECRETS)
    assert {each["username"] for each in written(withhold=True)["people"]} == {
        each["username"] for each in written()["people"]
    }


def test_private_keys_say_that_they_sign_and_public_ones_do_not() -> None:
    """RFC 7517 section 4.3: who holds the private half signs, who holds the public half verifies."""
    made = CredentialsFile()

    public = made.make_keys("client")["keys"]

    private = made.private_jwks["client"]["keys"]
    assert [(key["alg"], key["key_ops"]) for key in private] == [("RS384", ["sign"]), ("ES384", ["sign"])]
    assert [key["alg"] for key in public] == ["RS384", "ES384"]
    assert all("key_ops" not in key and "d" not in key for key in public)


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "k", "oth", "key_ops"])
def test_the_public_half_of_a_key_has_no_private_member(member: str) -> None:
    """RFC 7518 sections 6.2.2, 6.3.2 and 6.4."""
    assert public_jwks({"keys": [{"kty": "RSA", "n": "n", "e": "e", member: "x"}]}) == {
        "keys": [{"kty": "RSA", "n": "n", "e": "e"}]
    }


def test_somebody_who_had_no_part_in_a_review_of_all_disciplines_judges_again_after_an_appeal() -> None:
    """C107, C222: three reviewers take part at the high tier, and at it nobody signs two disciplines."""
    signs = {
        each.username: set(each.disciplines.split())
        for each in plan(SANDBOX).staff
        if each.role == "reviewer"
    }
    every = {each.value for each in Discipline}

    one_discipline = [found for found in signs.values() if len(found) == 1]

    assert set().union(*one_discipline) == every
    assert [found for found in signs.values() if len(found) != 1] == [every]
