"""Roles and their rights, who may administer whom, and which names are valid. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates

from hilum.controls.switches.models import Mode, Stop, Switch, SwitchIndex, Target, TargetKind
from hilum.controls.switches.policy import MAY_STOP_ANYTHING, administers, stop_among, switch_among
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.limits import too_long, too_many
from hilum.foundation.standards.fhir.values import ID, is_id
from hilum.foundation.standards.languages import Language
from hilum.foundation.standards.networks import is_address
from hilum.foundation.standards.smart.scopes import mask_of
from hilum.foundation.standards.zones import zone_fault
from hilum.identity.people.models import (
    ATTACHMENT_HOSTS_BOUND,
    CHART_RACE,
    CLIENT_ID_BOUND,
    EHR_ORIGINS_BOUND,
    HEADERS_BOUND,
    NAME_BOUND,
    NEGATIVE_WINDOW,
    PEM_BOUND,
    PROXIES_BOUND,
    QUIRKS_BOUND,
    SCOPE_BOUND,
    SECOND_PERSON_AGE,
    URL_BOUND,
    USERNAME_BOUND,
    VENDOR_ROLES,
    Bar,
    Chart,
    IdentityFacts,
    NewPerson,
    Person,
    Quirks,
    Role,
    RoleRights,
    StaffRole,
    Tenant,
    TenantFacts,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
    UpstreamSecrets,
    VendorRight,
    VendorRole,
)
from hilum.identity.people.rights import RIGHTS, VENDOR_RIGHTS

__all__ = ["RIGHTS", "VENDOR_RIGHTS"]

ROLES = frozenset(role.value for role in Role)
STAFF_ROLES = frozenset(role.value for role in StaffRole)
# Part of URLs and of a file name, so without characters that are special there.
_TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])")
_VENDOR_ID = re.compile(r"ven_[0-9a-z]{1,28}")
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_FHIR_USER = re.compile(rf"(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/{ID.pattern}")
_WORKER_TYPES = frozenset({"Practitioner", "PractitionerRole", "Person"})
FHIR_USERS: Mapping[Role, frozenset[str]] = MappingProxyType(
    {
        Role.PHYSICIAN: frozenset({"Practitioner", "PractitionerRole"}),
        Role.NURSE: frozenset({"Practitioner", "PractitionerRole"}),
        Role.ANALYST: _WORKER_TYPES,
        Role.ADMINISTRATOR: _WORKER_TYPES,
        Role.FRONT_DESK: _WORKER_TYPES,
        Role.PATIENT: frozenset({"Patient", "RelatedPerson", "Person"}),
    }
)
"""The resource types of a ``fhirUser`` by role. A clinician's is never a Patient."""
_PRINTABLE = re.compile(r"[\x21-\x7e][\x20-\x7e]*")
_HEADER = re.compile(r"[a-z][a-z0-9-]{0,63}")
QUIRKS_KEPT = 1_000
_PAGE = re.compile(r"[1-9][0-9]{0,3}")
_PARAMETER = re.compile(r"_?[a-zA-Z][a-zA-Z0-9-]{0,63}")
_FLAGS: Mapping[str, Mapping[str, Any]] = {
    "no-form": {"forms": False},
    "id-alone": {"id_alone": True},
    "one-patient": {"one_patient": True},
    "patient-criteria": {"patient_criteria": True},
}
_OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "authorization", "connection", "content-length", "content-type", "cookie", "expect", "host", "if-match", "prefer", "te", "transfer-encoding", "upgrade", "user-agent"}
)  # fmt: skip
"""Headers that each request sets itself, or that would change where it ends."""
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
"""A host name. Source: RFC 1035 section 2.3.4 (bounds), RFC 1123 section 2.1"""

_NO_RIGHTS: Mapping[str, str] = MappingProxyType({})
# Without administrators, who have rights on the directory only.
REACHES_ALL_PATIENTS = frozenset({Role.PHYSICIAN, Role.NURSE, Role.ANALYST, Role.FRONT_DESK})


def rights_of(role: str) -> Mapping[str, str]:
    """Return the rights of a role, by resource type; empty for an unknown role."""
    return RIGHTS[Role(role)] if role in ROLES else _NO_RIGHTS


@cache
def role_rights(role: str) -> RoleRights:
    """Return the rights of a role as masks; an unknown role has none."""
    return RoleRights({type_: mask_of(letters) or 0 for type_, letters in rights_of(role).items()})


def reaches_all_patients(role: str) -> bool:
    """Check whether a role may open every patient's chart at its tenant; other roles open their own charts only."""
    return role in REACHES_ALL_PATIENTS


def patients_openable(person: Person) -> tuple[str, ...] | None:
    """Return the charts a person may open; None means every chart of the tenant, an empty tuple none."""
    return None if reaches_all_patients(person.role) else person.patients


def may_as_member(actor: Actor, vendor: str, right: VendorRight) -> bool:
    """Check whether an actor is a member of this vendor with a right."""
    if not is_member(actor, vendor):
        return False
    return any(right in VENDOR_RIGHTS[VendorRole(role)] for role in actor.roles & VENDOR_ROLES)


def is_member(actor: Actor, vendor: str) -> bool:
    """Check whether an actor is a member of this vendor, with any role."""
    return actor.kind is ActorKind.MEMBER and bool(vendor) and actor.vendor == vendor and bool(actor.roles)


def is_vendor(place: str) -> bool:
    """Check whether the ``tenant`` of an account is a vendor's id, which is no valid id of a tenant."""
    return _VENDOR_ID.fullmatch(place) is not None


ACT_UNDER_A_PLATFORM_STOP = MAY_STOP_ANYTHING | {StaffRole.AUDITOR.value}
"""Staff who may act during a stop of the platform: those who may end it, and those who only read."""


_PLATFORM = Target(TargetKind.PLATFORM)


def stops_over(person: Person) -> tuple[Target, ...]:
    """Return the targets whose full stop stops a person: themselves, their tenant or vendor, the platform."""
    targets = [Target(TargetKind.PERSON, person.id)]
    if person.vendor is not None:
        targets.append(Target(TargetKind.VENDOR, person.vendor))
    elif person.tenant is not None:
        targets.append(Target(TargetKind.TENANT, person.tenant))
    # Staff who may release a stop of the platform must be able to act during it.
    if person.tenant is not None or person.role not in ACT_UNDER_A_PLATFORM_STOP:
        targets.append(_PLATFORM)
    return tuple(targets)


def bar_on(
    person: Person,
    tenant: Tenant | None,
    index: SwitchIndex,
    *,
    now: datetime,
    issued_at: datetime | None = None,
    writing: bool = False,
) -> Bar | None:
    """Return why a person's credential is not accepted now; None if it is. It judges every sign-in, session, API token and link.

    ``issued_at``: when the session, API token or link was issued; None for a password, which a stop does not invalidate for good.
    ``writing``: whether the person is about to change something.
    Source: security decisions 8 and 24.
    INVARIANT: adding a switch never turns a bar into None.
    """
    # Before the switches, so that an inactive account gets the same answer during a stop.
    at_tenant = person.tenant is not None and person.vendor is None
    if not person.active or (at_tenant and (tenant is None or not tenant.active)):
        return Bar.INACTIVE
    stop: Stop | None = None
    for target in stops_over(person):
        # Staff sessions survive a stop of the platform, or releasing it would end the session that releases it.
        counted_from = None if person.tenant is None and target == _PLATFORM else issued_at
        stop = stop or stop_among(index, (target,), now=now, issued_at=counted_from)
    if stop is not None:
        return Bar.STOPPED if isinstance(stop, Switch) and stop.in_force(now) else Bar.ISSUED_BEFORE
    own = (Target(TargetKind.PERSON, person.id),)
    if writing and switch_among(index, own, now, frozenset({Mode.READ_ONLY})) is not None:
        return Bar.READ_ONLY
    return None


def is_of_age(person: Person, now: datetime) -> bool:
    """Check whether an account is old enough to be one of two people. Source: security decision 25."""
    return person.age_counts_from is not None and now >= person.age_counts_from + SECOND_PERSON_AGE


def age_from(actor: Actor, now: datetime) -> datetime:
    """Return from when the age of an account counts that ``actor`` adds. An account that the host adds is of age at once."""
    return now - SECOND_PERSON_AGE if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM} else now


def may_manage_tenants(actor: Actor) -> bool:
    """Check whether an actor may add tenants and set their FHIR servers."""
    if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}:
        return True
    return actor.kind is ActorKind.STAFF and StaffRole.PLATFORM_ADMIN in actor.roles


def may_administer(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may add and remove people of a tenant or vendor (None: staff), and change a tenant's ordinary settings."""
    if may_manage_tenants(actor) or administers(actor, tenant or ""):
        return True
    return may_as_member(actor, tenant or "", VendorRight.MEMBERS)


def may_see_name(actor: Actor, person: Person) -> bool:
    """Check whether an actor may see the name behind an id in a record.

    Those who may administer the person, the platform's staff except for patients, and a tenant's administrators for the staff.
    """
    if may_administer(actor, person.tenant):
        return True
    if actor.kind is ActorKind.STAFF:
        return person.role != Role.PATIENT
    return person.tenant is None and actor.kind is ActorKind.PERSON and Role.ADMINISTRATOR in actor.roles


def has_power(tenant: TenantId | None, role: str) -> bool:
    """Check whether an account is of the platform's staff, an administrator of a tenant or an owner of a vendor."""
    return tenant is None or role in {Role.ADMINISTRATOR, VendorRole.OWNER}


def roles_with_power(place: TenantId | None) -> frozenset[str]:
    """Return the roles whose people may be the second person of a tenant or vendor (None: of the staff)."""
    if place is None:
        return frozenset({StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY})
    return frozenset({VendorRole.OWNER if is_vendor(place) else Role.ADMINISTRATOR})


def moves(before: Tenant, after: Tenant) -> bool:
    """Check whether a change moves a tenant's data, or where its people's browsers are sent or framed. Source: security decision 15."""
    # Only added origins: removing one forbids its site to frame consent pages.
    framed = set(after.ehr_origins) - set(before.ehr_origins)
    return after.upstream != before.upstream or after.base_url != before.base_url or bool(framed)


def may_see_tenant(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may read a tenant's settings."""
    return actor.is_platform or may_administer(actor, tenant)


def facts_of(tenant: Tenant) -> TenantFacts:
    """Return the facts of a tenant."""
    return TenantFacts(
        tenant.id,
        tenant.upstream,
        tenant.moved_reads,
        tenant.active,
        tenant.base_url,
        tenant.sandbox,
        tenant.language,
        tenant.time_zone,
        tenant.vendor,
        tenant.ehr_origins,
    )


def is_open_to(tenant: Tenant | TenantFacts, vendor: str | None) -> bool:
    """Check whether a vendor may know of a tenant: no other vendor owns it (C123)."""
    return tenant.vendor is None or tenant.vendor == vendor


def fits_tenant_id(text: str) -> bool:
    """Check whether a text is a valid tenant id."""
    return _TENANT_ID.fullmatch(text) is not None


def tenant_faults(tenant: Tenant) -> dict[str, str]:
    """Return the error code of each invalid field of a tenant."""
    faults: dict[str, str] = {}
    if not fits_tenant_id(tenant.id):
        faults["id"] = "tenant_id_malformed"
    if fault := name_fault(tenant.name):
        faults["name"] = fault
    if tenant.base_url and (fault := origin_fault(tenant.base_url)):
        faults["base_url"] = fault
    if len(tenant.ehr_origins) > EHR_ORIGINS_BOUND:
        faults["ehr_origins"] = too_many(EHR_ORIGINS_BOUND)
    for origin in tenant.ehr_origins[:EHR_ORIGINS_BOUND]:
        if fault := origin_fault(origin):
            faults["ehr_origins"] = fault
    if fault := upstream_fault(tenant.upstream):
        faults["upstream"] = fault
    if tenant.language and tenant.language not in set(Language):
        faults["language"] = "language_unknown"
    if fault := zone_fault(tenant.time_zone):
        faults["time_zone"] = fault
    return faults


def person_faults(person: NewPerson) -> dict[str, str]:
    """Return the error code of each invalid field of a person to add."""
    faults: dict[str, str] = {}
    # Lower case only, so that Anna and anna are not two people.
    if not _USERNAME.fullmatch(person.username):
        faults["username"] = "username_malformed"
    if fault := name_fault(person.name):
        faults["name"] = fault
    if person.role not in roles_at(person.tenant):
        faults["role"] = "role_unknown"
    if fault := fhir_user_fault(person.fhir_user, person.role):
        faults["fhir_user"] = fault
    if len(person.patients) > PROXIES_BOUND:
        faults["patients"] = too_many(PROXIES_BOUND)
    elif not all(map(is_id, person.patients)):
        faults["patients"] = "patient_id_malformed"
    without_charts = person.tenant is None or person.vendor is not None
    if without_charts and (person.fhir_user or person.patients):
        faults["fhir_user" if person.fhir_user else "patients"] = "staff_have_no_chart"
    return faults


def roles_at(place: TenantId | None) -> frozenset[str]:
    """Return the roles that people of a tenant or vendor (None: of the staff) may have."""
    if place is None:
        return STAFF_ROLES
    return VENDOR_ROLES if is_vendor(place) else ROLES


def fhir_user_fault(fhir_user: str, role: str) -> str:
    """Return the error code of an invalid ``fhirUser``: malformed, or of a type that does not fit the role; empty if it is valid."""
    if not fhir_user:
        return ""
    parsed = _FHIR_USER.fullmatch(fhir_user)
    if parsed is None:
        return "fhir_user_malformed"
    fits = role not in ROLES or parsed[1] in FHIR_USERS[Role(role)]
    return "" if fits else "fhir_user_unfit_for_role"


def own_chart(person: Person) -> str:
    """Return the id of the person's own chart; empty if there is none."""
    return person.fhir_user.removeprefix("Patient/") if person.fhir_user.startswith("Patient/") else ""


def charts_at(person: Person, now: datetime) -> Person:
    """Return the person without the charts that have ended at a moment.

    INVARIANT: applied again at a later moment, it adds no chart.
    """
    over = {patient for patient, until in person.chart_ends if until <= now}
    if not over:
        return person
    return replace(
        person,
        patients=tuple(patient for patient in person.patients if patient not in over),
        chart_ends=tuple((patient, until) for patient, until in person.chart_ends if patient not in over),
    )


def chart_faults(person: Person, charts: Sequence[Chart], now: datetime) -> dict[str, str]:
    """Return the error code of the charts to set for a person, by field; empty if they are valid."""
    patients = [chart.patient for chart in charts]
    own = own_chart(person)
    if person.role != Role.PATIENT:
        return {"charts": "role_has_no_charts"}
    if len(patients) > PROXIES_BOUND:
        return {"charts": too_many(PROXIES_BOUND)}
    if not all(map(is_id, patients)):
        return {"charts": "patient_id_malformed"}
    if len(set(patients)) < len(patients):
        return {"charts": "named_twice"}
    if any(chart.until is not None and chart.until <= now for chart in charts):
        return {"charts": "not_in_the_future"}
    if own and Chart(own) not in charts:
        return {"charts": "own_chart_stays"}
    return {}


def charts_widened(person: Person, charts: Sequence[Chart]) -> tuple[str, ...]:
    """Return the charts that a change opens to a person, or opens for longer than before."""
    ends = dict(person.chart_ends)

    def is_wider(chart: Chart) -> bool:
        if chart.patient not in person.patients:
            return True
        end = ends.get(chart.patient)
        return end is not None and (chart.until is None or chart.until > end)

    return tuple(chart.patient for chart in charts if is_wider(chart))


def owns(fhir_user: str, charts: Iterable[str]) -> frozenset[str]:
    """Return the ``fhirUser`` values that a person acts as: their own, and the patients whose charts they may open."""
    return frozenset(filter(None, (fhir_user, *(f"Patient/{chart}" for chart in charts))))


def charts_lost(person: Person, charts: Sequence[Chart], now: datetime) -> dict[str, datetime]:
    """Return the charts that a change takes from a person at once or within NEGATIVE_WINDOW, and when each is lost."""
    remaining = {chart.patient for chart in charts}
    lost = {patient: now for patient in person.patients if patient not in remaining}
    # Near ends are included, since nothing is written when they come.
    soon = now + NEGATIVE_WINDOW
    return lost | {
        each.patient: each.until for each in charts if each.until is not None and each.until <= soon
    }


def holds_lost_chart(
    facts: IdentityFacts,
    person: PersonId,
    person_patients: Iterable[str],
    *,
    issued_at: datetime,
    now: datetime,
) -> bool:
    """Check whether a token of ``issued_at`` contains a chart that the person has lost since."""
    lost = facts.lost_charts.get(person)
    if not lost:
        return False
    # CHART_RACE: a token issued just after a loss may have been built from the charts before it.
    return any(
        lost[patient] <= now and issued_at <= lost[patient] + CHART_RACE
        for patient in person_patients
        if patient in lost
    )


def normal_username(text: str) -> str:
    """Return a username in the form in which it is stored and compared; empty if it is invalid."""
    lowered = text.strip().lower() if len(text) <= USERNAME_BOUND * 2 else ""
    return lowered if _USERNAME.fullmatch(lowered) else ""


def name_fault(name: str) -> str:
    """Return the error code of an invalid display name; empty if it is valid."""
    if not name.strip():
        return "name_missing"
    if len(name) > NAME_BOUND:
        return too_long(NAME_BOUND, "name_too_long")
    return "" if name.isprintable() else "name_characters"


def origin_fault(text: str) -> str:
    """Return the error code of an invalid web origin, which is scheme, host and port as browsers write them; empty if it is valid."""
    if len(text) > URL_BOUND:
        return too_long(URL_BOUND, "origin_too_long")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return "origin_malformed"
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        return "origin_malformed"
    shown = f"[{host}]" if ":" in host else host
    written = f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")
    default = {"http": 80, "https": 443}[parts.scheme]
    # Exactly as browsers send it, since CSP and CORS compare origins as strings.
    if text != written or port == default or not (_HOST.fullmatch(host) or is_address(host)):
        return "origin_malformed"
    return "" if parts.scheme == "https" or is_loopback(host) else "origin_not_https"


def is_loopback(host: str) -> bool:
    """Check whether a host, as ``urlsplit`` returns it, is this machine."""
    if host == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def upstream_fault(upstream: UpstreamRef) -> str:
    """Return the error code of invalid settings of a FHIR server; empty if they are valid."""
    hosts = upstream.attachment_hosts
    if len(hosts) > ATTACHMENT_HOSTS_BOUND or not all(_HOST.fullmatch(host) for host in hosts):
        return "attachment_hosts_malformed"
    if len(upstream.quirks) > QUIRKS_BOUND or quirks_of(upstream.quirks) is None:
        return "quirks_unknown"
    if upstream.kind is UpstreamKind.EMBEDDED:
        unexpected = upstream.url or upstream.credentials_sealed or upstream.public_url or upstream.quirks
        return "upstream_url_unexpected" if unexpected else ""
    if upstream.public_url and _base_fault(upstream.public_url):
        return "upstream_public_url_malformed"
    if fault := _base_fault(upstream.url):
        return fault
    parts = urlsplit(upstream.url)
    # Apps never see the server's own addresses.
    if parts.hostname in hosts:
        return "attachment_hosts_malformed"
    # Without TLS only on this machine: clinical data and credentials would cross the network in clear text.
    if not _is_secure(upstream.url):
        return "upstream_not_https"
    return _access_fault(upstream)


@lru_cache(maxsize=QUIRKS_KEPT)
def quirks_of(words: tuple[str, ...]) -> Quirks | None:
    """Parse the quirks of a FHIR server; None if a word is none of them.

    The words: ``page=N``, ``no-form``, ``id-alone``, ``one-patient``, ``patient-criteria`` and ``ignores=PARAMETER``.
    """
    found = Quirks()
    for word in words:
        name, _, value = word.partition("=")
        if name == "page" and _PAGE.fullmatch(value):
            found = replace(found, page=int(value))
        elif name == "ignores" and _PARAMETER.fullmatch(value):
            found = replace(found, ignored=found.ignored | {value})
        elif word in _FLAGS:
            found = replace(found, **_FLAGS[word])
        else:
            return None
    return found


def _is_secure(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or is_loopback(str(parts.hostname))


def _access_fault(upstream: UpstreamRef) -> str:
    """Return the error code of what is wrong with how a FHIR server lets Hilum in."""
    if not all(_are_certificates(pem) for pem in (upstream.authorities, upstream.certificate) if pem):
        return "certificates_malformed"
    if upstream.token_auth is None:
        return "token_auth_missing" if upstream.token_url or upstream.client_id or upstream.scope else ""
    if not _PRINTABLE.fullmatch(upstream.client_id) or len(upstream.client_id) > CLIENT_ID_BOUND:
        return "upstream_client_id_malformed"
    if not _PRINTABLE.fullmatch(upstream.scope or "-") or len(upstream.scope) > SCOPE_BOUND:
        return "upstream_scope_malformed"
    if _base_fault(upstream.token_url) or not _is_secure(upstream.token_url):
        return "token_url_malformed"
    return ""


def secrets_fault(upstream: UpstreamRef, secrets: UpstreamSecrets) -> str:
    """Return the error code of secrets that do not fit how a FHIR server lets Hilum in; empty if they do."""
    if upstream.kind is UpstreamKind.EMBEDDED:
        return "credentials_unexpected" if secrets != UpstreamSecrets() else ""
    if secrets.authorization and upstream.token_auth is not None:
        return "authorization_unexpected"
    if bool(secrets.client_secret) != (upstream.token_auth in {TokenAuth.BASIC, TokenAuth.POST}):
        return "client_secret_unexpected" if secrets.client_secret else "client_secret_missing"
    if bool(secrets.key) != bool(upstream.certificate):
        return "certificate_or_key_missing"
    names = [name.lower() for name in secrets.headers]
    is_odd = len(set(names)) < len(names) or not _OWN_HEADERS.isdisjoint(names)
    if is_odd or len(names) > HEADERS_BOUND or not all(_HEADER.fullmatch(name) for name in names):
        return "headers_malformed"
    # A line break in a value would add a header to every request.
    values = (secrets.authorization, secrets.client_secret, *secrets.headers.values())
    return "" if all(_PRINTABLE.fullmatch(each or "-") for each in values) else "credentials_malformed"


def _are_certificates(pem: str) -> bool:
    try:
        return len(pem) <= PEM_BOUND and bool(load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return False


def _base_fault(url: str) -> str:
    if not url or len(url) > URL_BOUND or not url.isascii():
        return "upstream_url_malformed"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for what is not a port
    except ValueError:
        return "upstream_url_malformed"
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s\\]", url):
        return "upstream_url_malformed"
    # Targets are appended to the base, so it must not end in a query or a fragment; a user name would be sent as credentials.
    if parts.query or parts.fragment or "@" in parts.netloc or url.endswith("?"):
        return "upstream_url_malformed"
    return ""


def login_command(person: Person) -> str:
    """Return the command by which a person signs in on the command line."""
    place = ""
    if person.vendor:
        place = f" --vendor {person.vendor}"
    elif person.tenant:
        place = f" --tenant {person.tenant}"
    return f"hilum login{place} --username {person.username}"
