"""Roles and their rights, who may administer whom, and which names are valid. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from types import MappingProxyType
from urllib.parse import urlsplit

from hilum.controls.models import Mode, Stop, Switch, SwitchIndex, Target, TargetKind
from hilum.controls.policy import MAY_STOP_ANYTHING, administers, stop_among, switch_among
from hilum.identity.models import (
    ATTACHMENT_HOSTS_BOUND,
    CHART_RACE,
    EHR_ORIGINS_BOUND,
    NAME_BOUND,
    NEGATIVE_WINDOW,
    PROXIES_BOUND,
    SECOND_PERSON_AGE,
    URL_BOUND,
    USERNAME_BOUND,
    VENDOR_ROLES,
    Bar,
    Chart,
    IdentityFacts,
    NewPerson,
    Person,
    Role,
    RoleRights,
    StaffRole,
    Tenant,
    TenantFacts,
    UpstreamKind,
    UpstreamRef,
    VendorRight,
    VendorRole,
)
from hilum.identity.rights import RIGHTS, VENDOR_RIGHTS
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import PersonId, TenantId
from hilum.kernel.limits import too_long, too_many
from hilum.standards.languages import Language
from hilum.standards.networks import is_address
from hilum.standards.smart.scopes import mask_of
from hilum.standards.zones import zone_fault

__all__ = ["RIGHTS", "VENDOR_RIGHTS"]

ROLES = frozenset(role.value for role in Role)
STAFF_ROLES = frozenset(role.value for role in StaffRole)
# It becomes a part of URLs and the name of a file, so nothing in it may mean anything there.
_TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])")
_VENDOR_ID = re.compile(r"ven_[0-9a-z]{1,28}")
_USERNAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
# FHIR R4 datatypes.html#id.
_FHIR_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_FHIR_USER = re.compile(r"(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/[A-Za-z0-9.-]{1,64}")
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
"""The resource types that a person of a role can be. A clinician's ``fhirUser`` is never a Patient."""
_HOST = re.compile(r"(?=.{1,253}\Z)(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*")
"""A host name. Source: RFC 1035 section 2.3.4 (the bounds), RFC 1123 section 2.1"""

_NO_RIGHTS: Mapping[str, str] = MappingProxyType({})
# Not the administrator, whose rights end at the directory.
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
    """Check whether the place of an account is a vendor's id, which no tenant's id can be."""
    return _VENDOR_ID.fullmatch(place) is not None


ACT_UNDER_A_PLATFORM_STOP = MAY_STOP_ANYTHING | {StaffRole.AUDITOR.value}
"""Staff who may act during a stop of the platform: those who may end it, and those who only read."""


_PLATFORM = Target(TargetKind.PLATFORM)


def stops_over(person: Person) -> tuple[Target, ...]:
    """List the targets whose full stop stops a person: themselves, their tenant or vendor, the platform."""
    found = [Target(TargetKind.PERSON, person.id)]
    if person.vendor is not None:
        found.append(Target(TargetKind.VENDOR, person.vendor))
    elif person.tenant is not None:
        found.append(Target(TargetKind.TENANT, person.tenant))
    # Staff who may release a stop of the platform must be able to act under it, or it could never
    # be released.
    if person.tenant is not None or person.role not in ACT_UNDER_A_PLATFORM_STOP:
        found.append(_PLATFORM)
    return tuple(found)


def bar_on(
    person: Person,
    tenant: Tenant | None,
    index: SwitchIndex,
    *,
    now: datetime,
    issued_at: datetime | None = None,
    writing: bool = False,
) -> Bar | None:
    """Return why a person's credential is not accepted now; None if it is. Every sign-in, session, API token and link is judged here.

    ``issued_at``: when the session, API token or link was issued; None for a password, which a stop does not invalidate for good.
    ``writing``: the actor is about to change something. Credentials of the staff outlive a stop of the platform, which staff ended.
    Source: security decisions 8 and 24.
    INVARIANT: adding a switch never turns a bar into None.
    """
    # Before the switches: an account that is gone says nothing about stops.
    at_tenant = person.tenant is not None and person.vendor is None
    if not person.active or (at_tenant and (tenant is None or not tenant.active)):
        return Bar.INACTIVE
    stop: Stop | None = None
    for target in stops_over(person):
        # Otherwise those who release the platform's stop would end their own sessions by it.
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
    """Return from when the age of an account counts that ``actor`` adds: one that the host adds is of age at once."""
    return now - SECOND_PERSON_AGE if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM} else now


def may_rule_tenants(actor: Actor) -> bool:
    """Check whether an actor may add tenants and set where their data is."""
    if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}:
        return True
    return actor.kind is ActorKind.STAFF and StaffRole.PLATFORM_ADMIN in actor.roles


def may_administer(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may add and remove people of a tenant or vendor (None: staff) and change a tenant's everyday settings."""
    if may_rule_tenants(actor) or administers(actor, tenant or ""):
        return True
    return may_as_member(actor, tenant or "", VendorRight.MEMBERS)


def may_see_name(actor: Actor, person: Person) -> bool:
    """Check whether an actor may see the name behind an id in a record.

    Whoever administers somebody may, the staff see all names but patients', and a tenant's administrator those of the staff.
    """
    if may_administer(actor, person.tenant):
        return True
    if actor.kind is ActorKind.STAFF:
        return person.role != Role.PATIENT
    return person.tenant is None and actor.kind is ActorKind.PERSON and Role.ADMINISTRATOR in actor.roles


def has_power(tenant: TenantId | None, role: str) -> bool:
    """Check whether an account has power over other people: the platform's staff, administrators of a tenant, owners of a vendor."""
    return tenant is None or role in {Role.ADMINISTRATOR, VendorRole.OWNER}


def roles_with_power(place: TenantId | None) -> frozenset[str]:
    """Return the roles whose people may be the second person at a place."""
    if place is None:
        return frozenset({StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY})
    return frozenset({VendorRole.OWNER if is_vendor(place) else Role.ADMINISTRATOR})


def moves(before: Tenant, after: Tenant) -> bool:
    """Check whether a change moves a tenant's data, or where its people's browsers are sent or framed. Source: security decision 15."""
    # Taking an origin away closes something and needs one person; adding one lets its site frame
    # consent pages.
    framed = set(after.ehr_origins) - set(before.ehr_origins)
    return after.upstream != before.upstream or after.base_url != before.base_url or bool(framed)


def may_see_tenant(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may read a tenant's settings."""
    return actor.is_platform or may_administer(actor, tenant)


def facts_of(tenant: Tenant) -> TenantFacts:
    """Return what the gateway and the client to the tenant's FHIR server must know of a tenant."""
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
    """Check whether a vendor may know of a tenant: one that is some vendor's own is nobody else's (C123)."""
    return tenant.vendor is None or tenant.vendor == vendor


def fits_tenant_id(text: str) -> bool:
    """Check whether a text is a valid tenant id."""
    return _TENANT_ID.fullmatch(text) is not None


def tenant_faults(tenant: Tenant) -> dict[str, str]:
    """Return what is wrong with a tenant, by field."""
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
    """Return what is wrong with a person to be added, by field. The username must be in lower case."""
    faults: dict[str, str] = {}
    # Lower case only, as it is stored and compared: Anna and anna must not be two people.
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
    elif not all(_FHIR_ID.fullmatch(patient) for patient in person.patients):
        faults["patients"] = "patient_id_malformed"
    without_charts = person.tenant is None or person.vendor is not None
    if without_charts and (person.fhir_user or person.patients):
        faults["fhir_user" if person.fhir_user else "patients"] = "staff_have_no_chart"
    return faults


def roles_at(place: TenantId | None) -> frozenset[str]:
    """Return the roles that an account at a place may have: of the staff (None), of a vendor, of a tenant."""
    if place is None:
        return STAFF_ROLES
    return VENDOR_ROLES if is_vendor(place) else ROLES


def fhir_user_fault(fhir_user: str, role: str) -> str:
    """Return what is wrong with a ``fhirUser``: its form, or a resource type that the role cannot be; empty if nothing."""
    if not fhir_user:
        return ""
    found = _FHIR_USER.fullmatch(fhir_user)
    if found is None:
        return "fhir_user_malformed"
    fits = role not in ROLES or found[1] in FHIR_USERS[Role(role)]
    return "" if fits else "fhir_user_unfit_for_role"


def own_chart(person: Person) -> str:
    """Return the id of the person's own chart; empty if there is none."""
    return person.fhir_user.removeprefix("Patient/") if person.fhir_user.startswith("Patient/") else ""


def charts_at(person: Person, now: datetime) -> Person:
    """Return the person with the charts that they may open at a moment: without those that have ended.

    Applied again at a later moment, it removes more charts but never adds one.
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
    """Return what is wrong with the charts to be set for a person, by field."""
    patients = [chart.patient for chart in charts]
    own = own_chart(person)
    if person.role != Role.PATIENT:
        return {"charts": "role_has_no_charts"}
    if len(patients) > PROXIES_BOUND:
        return {"charts": too_many(PROXIES_BOUND)}
    if not all(_FHIR_ID.fullmatch(patient) for patient in patients):
        return {"charts": "patient_id_malformed"}
    if len(set(patients)) < len(patients):
        return {"charts": "named_twice"}
    if any(chart.until is not None and chart.until <= now for chart in charts):
        return {"charts": "not_in_the_future"}
    if own and Chart(own) not in charts:
        return {"charts": "own_chart_stays"}
    return {}


def charts_widened(person: Person, charts: Sequence[Chart]) -> tuple[str, ...]:
    """Return the charts that a change opens to a person, or opens for longer than now."""
    ends = dict(person.chart_ends)

    def is_wider(chart: Chart) -> bool:
        if chart.patient not in person.patients:
            return True
        end = ends.get(chart.patient)
        # Longer is wider: a chart that would have ended stays open.
        return end is not None and (chart.until is None or chart.until > end)

    return tuple(chart.patient for chart in charts if is_wider(chart))


def owns(fhir_user: str, charts: Iterable[str]) -> frozenset[str]:
    """Return the ``fhirUser`` values that a person acts as: their own, and the patients whose charts they may open."""
    return frozenset(filter(None, (fhir_user, *(f"Patient/{chart}" for chart in charts))))


def charts_lost(person: Person, charts: Sequence[Chart], now: datetime) -> dict[str, datetime]:
    """Return which charts a change takes away while an access token may still hold them, and when each is lost."""
    kept = {chart.patient for chart in charts}
    lost = {patient: now for patient in person.patients if patient not in kept}
    # An end in the near future is announced now, since nothing is written at the moment itself.
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
    """Check whether a token issued at ``issued_at`` still covers a chart that was taken from the person since."""
    lost = facts.lost_charts.get(person)
    if not lost:
        return False
    # A future loss counts from its moment on. CHART_RACE: a token issued just after a loss may have
    # been built from the charts before it.
    return any(
        lost[patient] <= now and issued_at <= lost[patient] + CHART_RACE
        for patient in person_patients
        if patient in lost
    )


def normal_username(text: str) -> str:
    """Return a username as it is stored and compared; empty if it is not a valid one."""
    lowered = text.strip().lower() if len(text) <= USERNAME_BOUND * 2 else ""
    return lowered if _USERNAME.fullmatch(lowered) else ""


def name_fault(name: str) -> str:
    """Return what is wrong with a display name; empty if nothing."""
    if not name.strip():
        return "name_missing"
    if len(name) > NAME_BOUND:
        return too_long(NAME_BOUND, "name_too_long")
    return "" if name.isprintable() else "name_characters"


def origin_fault(text: str) -> str:
    """Return what is wrong with a web origin (scheme, host and port, as a browser writes it); empty if nothing."""
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
    # Exactly as a browser sends it: origins are compared as strings, in CSP and in CORS.
    if text != written or port == default or not (_HOST.fullmatch(host) or is_address(host)):
        return "origin_malformed"
    return "" if parts.scheme == "https" or is_loopback(host) else "origin_not_https"


def is_loopback(host: str) -> bool:
    """Check whether a host, as ``urlsplit`` returns it, is this machine."""
    if host == "localhost":
        return True
    return is_address(host) and ipaddress.ip_address(host).is_loopback


def upstream_fault(upstream: UpstreamRef) -> str:
    """Return what is wrong with the settings of a FHIR server; empty if nothing."""
    hosts = upstream.attachment_hosts
    if len(hosts) > ATTACHMENT_HOSTS_BOUND or not all(_HOST.fullmatch(host) for host in hosts):
        return "attachment_hosts_malformed"
    if upstream.kind is UpstreamKind.EMBEDDED:
        unexpected = upstream.url or upstream.credentials_sealed or upstream.public_url
        return "upstream_url_unexpected" if unexpected else ""
    if upstream.public_url and _base_fault(upstream.public_url):
        return "upstream_public_url_malformed"
    if fault := _base_fault(upstream.url):
        return fault
    if urlsplit(upstream.url).hostname in hosts:
        return "attachment_hosts_malformed"  # apps never see the server's own addresses
    # Clinical data and the tenant's credentials would cross the network in clear text; this machine
    # alone is exempt.
    secure = urlsplit(upstream.url).scheme == "https" or is_loopback(str(urlsplit(upstream.url).hostname))
    return "" if secure else "upstream_not_https"


def _base_fault(url: str) -> str:
    if not url or len(url) > URL_BOUND or not url.isascii():
        return "upstream_url_malformed"
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return "upstream_url_malformed"
    if parts.scheme not in {"http", "https"} or not parts.hostname or re.search(r"[\s\\]", url):
        return "upstream_url_malformed"
    # Targets are appended to the base: a query or a fragment would swallow them, and a user name
    # would be sent as credentials.
    if parts.query or parts.fragment or "@" in parts.netloc or url.endswith("?"):
        return "upstream_url_malformed"
    return ""


def login_command(person: Person) -> str:
    """Return the command by which a person signs in on the command line: a hospital and a vendor go by their ids there."""
    place = (
        f" --vendor {person.vendor}"
        if person.vendor
        else f" --tenant {person.tenant}"
        if person.tenant
        else ""
    )
    return f"hilum login{place} --username {person.username}"
