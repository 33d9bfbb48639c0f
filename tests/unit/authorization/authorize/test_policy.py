"""Every refusal of the authorization endpoint, and what may be granted. Pure."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.apps.clients.models import Client, ClientType, Deployment
from hilum.apps.registry.models import Environment
from hilum.authorization.authorize import policy
from hilum.authorization.authorize.models import Code, Step
from hilum.authorization.authorize.policy import DisplayedError, RedirectedError, StepFacts, ValidRequest
from hilum.authorization.tokens.models import Grant
from hilum.foundation.kernel.ids import AppId, ClientId, FamilyId, TenantId, VendorId, VersionId
from hilum.foundation.standards.oauth import AuthorizeError, read_parameters, s256
from hilum.foundation.standards.smart.scopes import covers, parse_stored, render
from hilum.identity.people.models import Role
from hilum.identity.people.policy import rights_of

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BASE = "https://hilum.example/t/general/fhir"
CALLBACK = "https://app.example/cb"
CLIENT = Client(
    id=ClientId("c1"),
    app=AppId("a1"),
    version=VersionId("v1"),
    environment=Environment.SANDBOX,
    type=ClientType.PUBLIC,
    deployment=Deployment.SERVER,
    name="App",
    redirect_uris=(CALLBACK, "https://app.example/other"),
    scopes=("openid",),
)
GOOD = {
    "response_type": "code",
    "client_id": "c1",
    "redirect_uri": CALLBACK,
    "scope": "openid fhirUser launch/patient patient/*.rs",
    "state": "s-1 ~",
    "aud": BASE,
    "code_challenge": s256("v" * 43),
    "code_challenge_method": "S256",
}
PROOF = {"redirect_uri": CALLBACK, "verifier": "v" * 43}
CODE = Code(
    hash=b"",
    redirect_uri=CALLBACK,
    code_challenge=s256("v" * 43),
    family=FamilyId("f"),
    grant=Grant(TenantId("general"), CLIENT.id, CLIENT.app, CLIENT.version, VendorId("ven"), ("openid",)),
    auth_time=NOW,
    issued_at=NOW,
    expires_at=NOW + timedelta(minutes=1),
)


def judge(
    client: Client | None = CLIENT, extra: list[tuple[str, str]] | None = None, **changes: str | None
) -> Any:
    pairs = [(name, value) for name, value in (GOOD | changes).items() if value is not None]
    return policy.validate_request(read_parameters([*pairs, *(extra or [])]), client, fhir_base=BASE, now=NOW)


def test_a_whole_request_is_valid_with_or_without_a_slash_after_aud() -> None:
    """C28, C29; conformance 0.6."""
    for aud in (BASE, BASE + "/"):
        valid = judge(aud=aud)

        assert isinstance(valid, ValidRequest)
        assert valid.state == "s-1 ~"
        assert [render(scope) for scope in valid.scopes] == GOOD["scope"].split()


@pytest.mark.parametrize(
    ("client", "changes", "extra", "code"),
    [
        (None, {}, [], "client_unknown"),
        (replace(CLIENT, expires_at=NOW), {}, [], "client_unknown"),
        (CLIENT, {"redirect_uri": None}, [], "redirect_uri_missing"),
        (CLIENT, {"redirect_uri": ""}, [], "redirect_uri_missing"),
        (CLIENT, {}, [("redirect_uri", CALLBACK)], "redirect_uri_missing"),
        (CLIENT, {"redirect_uri": "https://evil.example/cb"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": CALLBACK + "/"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": "https://APP.example/cb"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": CALLBACK + "?x=1"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": CALLBACK + "#x"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": "https://app.example/cb/../cb"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": "https://app.example@evil.example/cb"}, [], "redirect_uri_unknown"),
        (CLIENT, {"redirect_uri": CALLBACK + "a" * 3000}, [], "redirect_uri_unknown"),
        (replace(CLIENT, redirect_uris=()), {}, [], "redirect_uri_unknown"),
    ],
)
def test_a_bad_client_or_redirect_uri_is_shown_and_never_redirected(
    client: Client | None, changes: dict[str, str | None], extra: list[tuple[str, str]], code: str
) -> None:
    """C3, C28; RFC 6749 section 4.1.2.1. Everything else is wrong too here, and does not matter."""
    for more in ({}, {"response_type": "token", "aud": "x", "code_challenge": None, "state": None}):
        judged = judge(client, extra, **changes, **more)

        assert isinstance(judged, DisplayedError)
        assert judged.code == code


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "code token"}, "unsupported_response_type"),
        ({"response_type": "CODE"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
        ({"request": "eyJ"}, "request_not_supported"),
        ({"request_uri": "urn:x"}, "request_uri_not_supported"),
        ({"state": None}, "invalid_request"),
        ({"state": "a" * 2049}, "invalid_request"),
        ({"state": "a\nb"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": BASE + "//"}, "invalid_request"),
        ({"aud": BASE.upper()}, "invalid_request"),
        ({"aud": "https://hilum.example/t/childrens/fhir"}, "invalid_request"),
        ({"aud": "https://inferno.healthit.gov/invalid_aud"}, "invalid_request"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "+" * 43}, "invalid_request"),
        ({"nonce": "n" * 513}, "invalid_request"),
        ({"launch": "l" * 513}, "invalid_request"),
        ({"launch": "l\nx"}, "invalid_request"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"prompt": "create"}, "invalid_request"),
        ({"max_age": "-1"}, "invalid_request"),
        ({"max_age": "1e3"}, "invalid_request"),
        ({"max_age": "9" * 30}, "invalid_request"),
        ({"scope": None}, "invalid_scope"),
        ({"scope": "profile email"}, "invalid_scope"),
        ({"scope": "openid patient/Observation.sr"}, "invalid_scope"),
        ({"scope": "system/*.rs"}, "invalid_scope"),
        ({"scope": "openid patient/*.rs system/*.rs"}, "invalid_scope"),
        ({"scope": "hilum/launch openid"}, "invalid_scope"),
        ({"scope": "launch openid patient/*.rs"}, "invalid_scope"),
    ],
)
def test_any_other_fault_is_returned_to_the_client_by_name(changes: dict[str, Any], error: str) -> None:
    """C16, C28, C42, C59; RFC 6749 section 4.1.2.1."""
    judged = judge(**changes)

    assert isinstance(judged, RedirectedError)
    assert judged.error == error
    assert judged.redirect_uri == CALLBACK
    assert judged.detail


@pytest.mark.parametrize(
    "name", ["state", "scope", "aud", "code_challenge", "code_challenge_method", "response_type", "whatever"]
)
def test_a_parameter_sent_twice_is_refused(name: str) -> None:
    """RFC 6749 section 3.1."""
    judged = judge(extra=[(name, "x"), (name, "x")])

    assert isinstance(judged, RedirectedError)
    assert judged.error is AuthorizeError.INVALID_REQUEST


def test_a_repeated_state_is_not_sent_back() -> None:
    judged = judge(extra=[("state", "other")])

    assert isinstance(judged, RedirectedError)
    assert judged.state == ""


@pytest.mark.parametrize("kind", [ClientType.BACKEND, ClientType.EHR, ClientType.RESOURCE_SERVER])
def test_clients_that_act_for_nobody_get_no_code(kind: ClientType) -> None:
    """C16."""
    judged = judge(replace(CLIENT, type=kind))

    assert isinstance(judged, RedirectedError)
    assert judged.error is AuthorizeError.UNAUTHORIZED_CLIENT


def test_a_client_that_did_not_register_for_codes_gets_none() -> None:
    """RFC 7591 section 2: what a client may do is what it registered."""
    judged = judge(replace(CLIENT, grant_types=("refresh_token",)))

    assert isinstance(judged, RedirectedError)
    assert judged.error is AuthorizeError.UNAUTHORIZED_CLIENT


def test_unknown_parameters_are_tolerated_and_context_sent_by_an_app_is_noticed() -> None:
    """C31."""
    valid = judge(patient="p2", fhirContext="[]", ui_locales="de", encounter="e")

    assert isinstance(valid, ValidRequest)
    assert valid.ignored == ("encounter", "fhirContext", "patient")


@pytest.mark.parametrize(
    ("scope", "launch", "kept"),
    [
        ("launch launch/patient openid", None, "launch/patient openid"),
        ("launch openid", "h", "launch openid"),
        ("launch/patient openid", "h", "launch/patient openid"),
    ],
)
def test_scope_launch_needs_a_launch_unless_the_app_can_start_alone(
    scope: str, launch: str | None, kept: str
) -> None:
    valid = judge(scope=scope, launch=launch)

    assert isinstance(valid, ValidRequest)
    assert " ".join(render(each) for each in valid.scopes) == kept


@given(
    st.dictionaries(
        st.sampled_from([*GOOD, "launch", "prompt", "nonce", "max_age", "patient"]), st.text(max_size=60)
    )
)
def test_no_input_breaks_the_judgement(changes: dict[str, Any]) -> None:
    """Never a 500 for input."""
    judge(**changes)


# --- grants -------------------------------------------------------------------------------------------------------------------

TEXTS = [
    "openid",
    "fhirUser",
    "offline_access",
    "launch/patient",
    "patient/*.rs",
    "patient/*.cruds",
    "patient/Observation.rs",
    "patient/Observation.cruds",
    "patient/Observation.rs?category=x|lab",
    "patient/Patient.r",
    "user/*.rs",
    "user/*.cruds",
    "user/Patient.cruds",
    "user/Condition.rs",
]
text_lists = st.lists(st.sampled_from(TEXTS), max_size=6, unique=True)


@given(text_lists, text_lists, st.sampled_from(Role))
def test_a_grant_is_within_what_was_asked_allowed_and_the_persons_rights(
    asked: list[str], allowed: list[str], role: Role
) -> None:
    """C68: no path yields more."""
    rights = rights_of(role)
    for scope in policy.grantable(parse_stored(asked), allowed, rights):
        assert any(covers(each, scope) for each in parse_stored(asked))
        text = render(scope)
        if "/" not in text or text.startswith("launch/"):
            assert text in allowed
            continue
        letters, resource_type = text.split(".")[1].split("?")[0], text.split("/")[1].split(".")[0]
        for letter in letters:
            reached = [resource_type] if resource_type != "*" else list(rights)
            assert any(letter in rights.get(each, "") for each in reached)
            one = parse_stored([text.replace(f".{letters}", f".{letter}")])[0]
            assert any(covers(each, one) for each in parse_stored(allowed))


@pytest.mark.parametrize(
    ("asked", "allowed", "role", "granted"),
    [
        ("patient/*.rs openid", "patient/*.rs openid", Role.PATIENT, "patient/*.rs openid"),
        ("patient/*.cruds", "patient/*.cruds", Role.PATIENT, "patient/*.crus"),
        (
            "patient/AllergyIntolerance.cruds patient/*.cruds",
            "patient/*.cruds",
            Role.PATIENT,
            "patient/AllergyIntolerance.rs patient/*.crus",
        ),
        ("patient/Observation.read", "patient/*.rs", Role.PATIENT, "patient/Observation.rs"),
        ("user/MedicationRequest.cruds", "user/*.cruds", Role.NURSE, "user/MedicationRequest.rs"),
        ("user/Group.rs user/Slot.rs", "user/*.cruds", Role.ANALYST, "user/Group.rs"),
        ("user/*.rs", "user/Patient.rs user/Condition.r", Role.PHYSICIAN, "user/Patient.rs user/Condition.r"),
        ("user/*.rs", "patient/*.rs", Role.PHYSICIAN, ""),
        ("user/Patient.rs", "user/Patient.rs", "janitor", ""),
        ("openid fhirUser", "openid", Role.NURSE, "openid"),
        (
            "patient/Observation.rs?category=laboratory patient/Observation.rs?date=gt2020 patient/Patient.rs?colour=blue",
            "patient/*.rs",
            Role.PATIENT,
            "patient/Observation.rs?category=laboratory",
        ),
    ],
)
def test_each_limit_narrows_what_was_asked(asked: str, allowed: str, role: str, granted: str) -> None:
    """C68; S3: user/ scopes never exceed the person's rights."""
    found = policy.grantable(parse_stored(asked.split()), allowed.split(), rights_of(role))

    assert " ".join(render(scope) for scope in found) == granted


def test_a_user_wildcard_becomes_the_types_of_the_role() -> None:
    found = policy.grantable(parse_stored(["user/*.rs"]), ["user/*.cruds"], rights_of(Role.ADMINISTRATOR))

    assert {render(scope) for scope in found} == {f"user/{name}.rs" for name in rights_of(Role.ADMINISTRATOR)}


@pytest.mark.parametrize(
    ("texts", "answer"),
    [
        (["openid"], True),
        (["user/Patient.r"], True),
        (["fhirUser", "launch", "offline_access"], False),
        ([], False),
    ],
)
def test_a_grant_of_nothing_useful_says_nothing(texts: list[str], answer: bool) -> None:
    assert policy.is_useful(parse_stored(texts)) is answer


@pytest.mark.parametrize(
    ("texts", "answer"),
    [(["offline_access", "online_access"], True), (["online_access"], False), (["openid"], None)],
)
def test_offline_is_read_from_the_scopes(texts: list[str], answer: bool | None) -> None:
    """C36."""
    assert policy.offline_of(parse_stored(texts)) is answer


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["launch"], ("p", "e")),
        (["launch/patient"], ("p", "")),
        (["launch/encounter"], ("p", "e")),
        (["launch/patient", "launch/encounter"], ("p", "e")),
        (["openid", "user/*.rs"], ("", "")),
    ],
)
def test_context_is_disclosed_only_as_far_as_the_scopes_allow(
    texts: list[str], told: tuple[str, str]
) -> None:
    """C32."""
    assert policy.disclosed_context(parse_stored(texts), "p", "e") == told
    assert policy.disclosed_context(parse_stored(texts), "", "") == ("", "")


def test_patient_scopes_without_a_patient_are_refused() -> None:
    """C34."""
    assert policy.context_refusal(parse_stored(["patient/Patient.r"]), patient="")
    assert not policy.context_refusal(parse_stored(["patient/Patient.r"]), patient="p")
    assert not policy.context_refusal(parse_stored(["user/Patient.r"]), patient="")


def test_an_ehr_launch_without_the_launch_scope_is_refused_with_what_to_register() -> None:
    refused = policy.context_refusal(parse_stored(["patient/Patient.r"]), patient="", launched=True)

    assert "register the client for it" in refused
    assert "scope launch" in refused
    assert not policy.context_refusal(parse_stored(["user/Patient.r"]), patient="", launched=True)


# --- steps --------------------------------------------------------------------------------------------------------------------

STAFF = StepFacts(
    prompt=frozenset(),
    ehr_launch=True,
    scopes=parse_stored(["user/Patient.rs", "openid"]),
    chosen_at=NOW,
    role=Role.PHYSICIAN,
    covered=parse_stored(["user/*.rs", "openid"]),
    client_proved=True,
)


@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({}, Step.ISSUE),
        ({"covered": None}, Step.NOTICE),
        ({"covered": parse_stored(["user/Patient.r", "openid"])}, Step.NOTICE),
        ({"client_proved": False}, Step.NOTICE),
        ({"client_proved": False, "synthetic": True}, Step.ISSUE),
        ({"client_proved": False, "synthetic": True, "covered": None}, Step.NOTICE),
        ({"client_proved": False, "synthetic": True, "prompt": frozenset({"consent"})}, Step.NOTICE),
        ({"client_proved": False, "synthetic": True, "role": Role.PATIENT}, Step.CONSENT),
        ({"prompt": frozenset({"consent"})}, Step.NOTICE),
        ({"role": Role.PATIENT}, Step.CONSENT),
        (
            {"scopes": parse_stored(["launch/patient", "openid"]), "chosen_at": None, "ehr_launch": False},
            Step.CHOOSE_CONTEXT,
        ),
        (
            {
                "scopes": parse_stored(["launch/encounter", "openid"]),
                "chosen_at": None,
                "ehr_launch": False,
                "role": Role.PATIENT,
            },
            Step.CHOOSE_CONTEXT,
        ),
        (
            {
                "scopes": parse_stored(["launch/patient", "openid"]),
                "chosen_at": None,
                "covered": parse_stored(["launch/patient", "openid"]),
            },
            Step.ISSUE,
        ),
    ],
)
def test_the_next_step_follows_from_the_facts(changes: dict[str, Any], step: Step) -> None:
    """Security decision 14: patients always, staff once per version, and outside a sandbox never silently for an unproved client."""
    assert policy.next_step(replace(STAFF, **changes)) is step


@given(st.booleans(), st.booleans(), st.booleans())
def test_a_patient_is_always_asked(ehr: bool, proved: bool, agreed: bool) -> None:
    facts = replace(
        STAFF,
        role=Role.PATIENT,
        ehr_launch=ehr,
        client_proved=proved,
        covered=STAFF.covered if agreed else None,
    )

    assert policy.next_step(facts) is Step.CONSENT


@pytest.mark.parametrize(
    ("age_s", "prompt", "max_age", "stale"),
    [
        (60, set(), None, False),
        (60, {"login"}, None, True),
        (0, {"login"}, None, False),
        (-1, {"login"}, None, False),
        (60, set(), 60, False),
        (61, set(), 60, True),
        (-1, set(), 0, False),
    ],
)
def test_a_sign_in_is_stale_when_the_client_wants_a_newer_one(
    age_s: int, prompt: set[str], max_age: int | None, stale: bool
) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.1."""
    auth_time = NOW - timedelta(seconds=age_s)

    assert (
        policy.login_is_stale(
            auth_time, requested_at=NOW, now=NOW, prompt=frozenset(prompt), max_age_s=max_age
        )
        is stale
    )


@pytest.mark.parametrize(
    ("changes", "now"),
    [
        ({"verifier": ""}, NOW),
        ({"verifier": "w" * 43}, NOW),
        ({"verifier": "v" * 42}, NOW),
        ({"verifier": s256("v" * 43)}, NOW),
        ({"redirect_uri": ""}, NOW),
        ({"redirect_uri": "https://app.example/CB"}, NOW),
        ({}, NOW + timedelta(minutes=1)),
    ],
)
def test_a_code_needs_all_its_proofs(changes: dict[str, str], now: datetime) -> None:
    """C42, C43."""
    assert policy.code_fault(CODE, **PROOF, now=NOW) == ""
    assert policy.code_fault(CODE, **(PROOF | changes), now=now) != ""
