"""Roles, their rights, and who may administer whom (C82 first form, C145)."""

import re
from dataclasses import replace
from typing import Any

import pytest

from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import mask_of
from hilum.identity.people import policy
from hilum.identity.people.models import (
    NewPerson,
    Person,
    Role,
    StaffRole,
    Tenant,
    UpstreamKind,
    UpstreamRef,
    VendorRole,
)

GENERAL, CHILDREN = TenantId("general"), TenantId("children")
ADMIN = Actor(ActorKind.STAFF, "per_a", roles=frozenset({StaffRole.PLATFORM_ADMIN}))
SECURITY = Actor(ActorKind.STAFF, "per_s", roles=frozenset({StaffRole.SECURITY}))
HOST = Actor(ActorKind.HOST, "root")
TENANT_ADMIN = Actor(ActorKind.PERSON, "per_t", GENERAL, frozenset({Role.ADMINISTRATOR}))
PHYSICIAN = Actor(ActorKind.PERSON, "per_p", GENERAL, frozenset({Role.PHYSICIAN}))
TENANT = Tenant(GENERAL, "General Hospital", UpstreamRef(UpstreamKind.EMBEDDED))
PERSON = NewPerson(GENERAL, "ann", "Ann Example", Role.PHYSICIAN, "Practitioner/1")


def person(role: str, *patients: str) -> Person:
    return Person(PersonId("per_1"), GENERAL, "ann", "Ann", role, patients=patients)


@pytest.mark.parametrize("role", Role)
def test_every_right_names_a_real_type_and_letters_in_their_order(role: Role) -> None:
    rights = policy.RIGHTS[role]

    assert set(rights) <= set(resource_types())
    assert [name for name, letters in rights.items() if mask_of(letters) is None] == []


@pytest.mark.parametrize("role", ["", "PHYSICIAN", "physician ", "superuser", "platform_admin", "security"])
def test_an_unknown_role_may_do_nothing_and_reaches_nobody(role: str) -> None:
    assert dict(policy.rights_of(role)) == {}
    assert not policy.reaches_all_patients(role)
    assert policy.patients_openable(person(role)) == ()


CLINICAL = [
    "Observation",
    "Condition",
    "MedicationRequest",
    "DocumentReference",
    "DiagnosticReport",
    "AllergyIntolerance",
]


@pytest.mark.parametrize("resource_type", CLINICAL)
def test_administrators_and_the_front_desk_see_no_clinical_data(resource_type: str) -> None:
    assert resource_type not in policy.rights_of(Role.ADMINISTRATOR)
    assert resource_type not in policy.rights_of(Role.FRONT_DESK)


@pytest.mark.parametrize("role", [Role.ANALYST, Role.ADMINISTRATOR])
def test_analysts_and_administrators_only_read(role: Role) -> None:
    assert {letters for letters in policy.rights_of(role).values() if set(letters) - set("rs")} == set()


@pytest.mark.parametrize(
    "resource_type", ["DocumentReference", "Binary", "Communication", "QuestionnaireResponse"]
)
def test_analysts_read_no_notes(resource_type: str) -> None:
    assert resource_type not in policy.rights_of(Role.ANALYST)


@pytest.mark.parametrize("role", [Role.NURSE, Role.PATIENT, Role.ANALYST, Role.ADMINISTRATOR])
def test_these_roles_delete_nothing(role: Role) -> None:
    assert [name for name, letters in policy.rights_of(role).items() if "d" in letters] == []


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "resource_type", ["AuditEvent", "Patient", "Provenance", "Encounter", "DiagnosticReport"]
)
def test_nobody_deletes_what_must_stay(role: Role, resource_type: str) -> None:
    assert "d" not in policy.rights_of(role).get(resource_type, "")


@pytest.mark.parametrize(
    "resource_type", ["MedicationRequest", "Condition", "AllergyIntolerance", "Patient", "Encounter"]
)
def test_a_patient_writes_no_order_diagnosis_or_demographics(resource_type: str) -> None:
    assert set(policy.rights_of(Role.PATIENT)[resource_type]) == set("rs")


def test_the_table_of_rights_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        policy.rights_of(Role.NURSE)["Patient"] = "cruds"  # type: ignore[index]


def test_clinicians_open_every_chart_and_patients_their_own_and_their_wards() -> None:
    """C34."""
    for role in (Role.PHYSICIAN, Role.NURSE, Role.ANALYST, Role.FRONT_DESK):
        assert policy.patients_openable(person(role)) is None
    assert policy.patients_openable(person(Role.PATIENT, "p1", "p2")) == ("p1", "p2")
    assert policy.patients_openable(person(Role.PATIENT)) == ()
    assert policy.patients_openable(person(Role.ADMINISTRATOR)) == ()


@pytest.mark.parametrize(
    ("actor", "tenant", "allowed"),
    [
        (ADMIN, GENERAL, True),
        (ADMIN, None, True),
        (HOST, None, True),
        (SYSTEM, None, True),
        (TENANT_ADMIN, GENERAL, True),
        (TENANT_ADMIN, CHILDREN, False),
        (TENANT_ADMIN, None, False),
        (SECURITY, GENERAL, False),
        (PHYSICIAN, GENERAL, False),
        (ANONYMOUS, GENERAL, False),
        (Actor(ActorKind.CLIENT, "c", GENERAL, frozenset({"administrator"})), GENERAL, False),
        (Actor(ActorKind.PERSON, "p", None, frozenset({"administrator"})), None, False),
        (Actor(ActorKind.PERSON, "p", GENERAL, frozenset({"platform_admin"})), GENERAL, False),
    ],
)
def test_people_are_administered_by_their_own_tenant_or_by_the_platform(
    actor: Actor, tenant: TenantId | None, allowed: bool
) -> None:
    """C145."""
    assert policy.may_administer(actor, tenant) is allowed


@pytest.mark.parametrize(
    "bad", ["", "a", "A1", "-ab", "ab-", "a_b", "a.b", "a/b", "ä1", "x" * 33, "ab\n", "..", "a b"]
)
def test_a_tenant_id_that_cannot_stand_in_an_address_is_refused(bad: str) -> None:
    assert policy.tenant_faults(replace(TENANT, id=TenantId(bad)))["id"] == "tenant_id_malformed"


@pytest.mark.parametrize("good", ["ab", "general", "st-mary-2", "0x", "x" * 32])
def test_a_tenant_id_of_small_letters_digits_and_inner_hyphens_is_taken(good: str) -> None:
    assert policy.tenant_faults(replace(TENANT, id=TenantId(good))) == {}


@pytest.mark.parametrize(
    "bad",
    [
        "ehr.example",
        "ftp://ehr.example",
        "https://",
        "https://ehr.example/",
        "https://ehr.example/x",
        "https://ehr.example?x",
        "https://ehr.example#",
        "https://a@ehr.example",
        "https://EHR.example",
        "HTTPS://ehr.example",
        "https://ehr.example:443",
        "https://ehr.example:99999",
        "https://ehr.example:x",
        "https://*.example",
        "https://ehr example",
        "https://[::1",
        "null",
        "https://" + "a" * 600,
        "http://ehr.example",
        "http://10.0.0.1",
    ],
)
def test_an_origin_that_no_browser_would_send_or_that_is_not_safe_is_refused(bad: str) -> None:
    assert policy.origin_fault(bad)


@pytest.mark.parametrize(
    "good",
    [
        "https://ehr.example",
        "https://ehr.example:8443",
        "http://localhost:8001",
        "http://127.0.0.1",
        "http://[::1]:8080",
    ],
)
def test_an_origin_as_a_browser_writes_it_is_taken(good: str) -> None:
    assert policy.origin_fault(good) == ""


@pytest.mark.parametrize(
    ("kind", "url", "fault"),
    [
        (UpstreamKind.EMBEDDED, "https://x.example", "upstream_url_unexpected"),
        (UpstreamKind.HTTP, "", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "x.example/fhir", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "https://u:p@x.example/fhir", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "https://x.example/fhir?a=1", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "https://x.example/fhir#a", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "https://x.example/fhir\r\nHost: y", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "https://x.example:bad/fhir", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "file:///etc/passwd", "upstream_url_malformed"),
        (UpstreamKind.HTTP, "http://x.example/fhir", "upstream_not_https"),
        (UpstreamKind.HTTP, "https://x.example/fhir", ""),
        (UpstreamKind.HTTP, "http://127.0.0.1:9000/fhir", ""),
    ],
)
def test_the_address_of_a_fhir_server_is_judged(kind: UpstreamKind, url: str, fault: str) -> None:
    assert policy.upstream_fault(UpstreamRef(kind, url)) == fault


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({"public_url": "https://fhir.hospital.example/r4"}, ""),
        ({"public_url": "http://fhir.hospital.example/r4"}, ""),
        ({"public_url": "fhir.hospital.example"}, "upstream_public_url_malformed"),
        ({"public_url": "https://a:b@fhir.hospital.example/r4"}, "upstream_public_url_malformed"),
        ({"attachment_hosts": ("images.example", "10.0.0.7", "pacs")}, ""),
        ({"attachment_hosts": ("https://images.example",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("images.example:443",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("*.example",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("Images.example",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": (".".join(["a" * 61] * 4) + ".b.cde",)}, ""),
        ({"attachment_hosts": (".".join(["a" * 61] * 4) + ".b.cdef",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("images.example/x",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("x.example",)}, "attachment_hosts_malformed"),
        ({"attachment_hosts": ("a.example",) * 21}, "attachment_hosts_malformed"),
    ],
)
def test_what_a_server_calls_itself_and_shows_is_judged(more: dict[str, Any], fault: str) -> None:
    """Security decision 22: a server's own host is never one whose addresses apps are shown."""
    assert policy.upstream_fault(UpstreamRef(UpstreamKind.HTTP, "https://x.example/fhir", **more)) == fault


@pytest.mark.parametrize(
    ("change", "field", "fault"),
    [
        ({"username": ""}, "username", "username_malformed"),
        ({"username": "Ann"}, "username", "username_malformed"),
        ({"username": "a nn"}, "username", "username_malformed"),
        ({"username": "a" * 65}, "username", "username_malformed"),
        ({"username": "-ann"}, "username", "username_malformed"),
        ({"name": " "}, "name", "name_missing"),
        ({"name": "x" * 201}, "name", "name_too_long"),
        ({"name": "Ann\x00"}, "name", "name_characters"),
        ({"role": "king"}, "role", "role_unknown"),
        ({"role": "security"}, "role", "role_unknown"),
        ({"tenant": None, "fhir_user": ""}, "role", "role_unknown"),
        ({"tenant": None, "role": "security"}, "fhir_user", "staff_have_no_chart"),
        ({"fhir_user": "Group/1"}, "fhir_user", "fhir_user_malformed"),
        ({"fhir_user": "https://x/Practitioner/1"}, "fhir_user", "fhir_user_malformed"),
        ({"patients": ("a/b",)}, "patients", "patient_id_malformed"),
        ({"patients": tuple(str(n) for n in range(51))}, "patients", "too_many"),
    ],
)
def test_a_person_that_cannot_be_is_refused_by_field(
    change: dict[str, object], field: str, fault: str
) -> None:
    assert policy.person_faults(replace(PERSON, **change))[field] == fault  # type: ignore[arg-type]


CHILDREN_ADMIN = Actor(ActorKind.PERSON, "per_c", CHILDREN, frozenset({Role.ADMINISTRATOR}))
CLIENT_CALLED_ADMINISTRATOR = Actor(ActorKind.CLIENT, "cli_1", GENERAL, frozenset({Role.ADMINISTRATOR}))


@pytest.mark.parametrize(
    ("actor", "staff", "colleague", "patient"),
    [
        (ADMIN, True, True, True),
        (HOST, True, True, True),
        (SECURITY, True, True, False),
        (Actor(ActorKind.STAFF, "per_o", roles=frozenset({StaffRole.AUDITOR})), True, True, False),
        (TENANT_ADMIN, True, True, True),
        (CHILDREN_ADMIN, True, False, False),
        (PHYSICIAN, False, False, False),
        (CLIENT_CALLED_ADMINISTRATOR, False, False, False),
        (
            Actor(ActorKind.MEMBER, "per_v", None, frozenset({VendorRole.OWNER}), VendorId("ven_1")),
            False,
            False,
            False,
        ),
        (ANONYMOUS, False, False, False),
    ],
)
def test_whose_name_stands_behind_an_id_is_shown_to_those_who_must_ask_them(
    actor: Actor, staff: bool, colleague: bool, patient: bool
) -> None:
    """C145: names of a hospital's people stay in it, and patients' names with those who look after their accounts."""
    people = (replace(person(StaffRole.SECURITY), tenant=None), person(Role.NURSE), person(Role.PATIENT))

    assert [policy.may_see_name(actor, each) for each in people] == [staff, colleague, patient]


def test_a_member_without_a_role_is_no_member() -> None:
    """C8: an API token may have none of its person's roles."""
    owner = Actor(ActorKind.MEMBER, "per_v", None, frozenset({VendorRole.OWNER}), VendorId("ven_1"))

    assert policy.is_member(owner, "ven_1")
    assert not policy.is_member(owner, "ven_2")
    assert not policy.is_member(replace(owner, vendor=None), "")
    assert not policy.is_member(replace(owner, roles=frozenset()), "ven_1")


def test_a_username_is_compared_without_case_and_space_and_never_malformed() -> None:
    assert policy.normal_username("  Ann.Example@X ") == "ann.example@x"
    assert [policy.normal_username(bad) for bad in ("", "a b", "x" * 500, "\x00", "ann\n;")] == [""] * 5
    assert re.fullmatch(r"[a-z0-9._@+-]+", policy.normal_username("ANN"))


@pytest.mark.parametrize(
    ("place", "role", "command"),
    [
        (None, "auditor", "hilum login --username d.marin"),
        ("general", "nurse", "hilum login --tenant general --username d.marin"),
        ("ven_01", "vendor_owner", "hilum login --vendor ven_01 --username d.marin"),
    ],
)
def test_the_command_of_a_sign_in_names_the_place_by_the_id_that_it_needs(
    place: str | None, role: str, command: str
) -> None:
    tenant = None if place is None else TenantId(place)

    assert policy.login_command(Person(PersonId("per_1"), tenant, "d.marin", "D Marin", role)) == command
