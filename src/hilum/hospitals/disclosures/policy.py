"""Who may read which history, and what an access is called in it. Pure."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from hilum.authorization.consent.models import Basis
from hilum.foundation.kernel.decision import ReadPurpose
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.sentences import Sentence, day, joined, pattern
from hilum.foundation.standards.fhir.requests import WRITES
from hilum.hospitals.disclosures.models import EXPORT_FIELDS, AppNames, Entry, Kind, Names, PermittedBy
from hilum.identity.people.models import Person, Role
from hilum.records.audit.models import SETTLEMENT, UNDELIVERED, Access, Outcome
from hilum.records.audit.policy import emergency_of, found_in

_READS = frozenset({"read", "vread", ReadPurpose.RECORD_NAME.value})
_WRITES = frozenset(each.value for each in WRITES)
_ROLES: Mapping[str, Sentence] = {
    Role.PHYSICIAN: Sentence("a physician of the hospital"),
    Role.NURSE: Sentence("a nurse of the hospital"),
    Role.ANALYST: Sentence("an analyst of the hospital"),
    Role.ADMINISTRATOR: Sentence("an administrator of the hospital"),
    Role.FRONT_DESK: Sentence("the hospital's front desk"),
    Role.PATIENT: Sentence("the patient or a person who acts for them"),
}
_WHY = {
    PermittedBy.OWN: Sentence("You agreed to it."),
    PermittedBy.FAMILY: Sentence("The patient, or a person who acts for them, agreed to it."),
    PermittedBy.HOSPITAL: Sentence("The hospital approved the app for its staff."),
    PermittedBy.SERVICE: Sentence("The hospital approved the app, which works without a person."),
    PermittedBy.UNKNOWN: Sentence("Who permitted it is no longer on record."),
}
_REFUSED = {
    "switch_engaged": Sentence("Refused: the app or a part of it was stopped."),
    "app_suspended": Sentence("Refused: the app was suspended."),
    "app_not_certified": Sentence("Refused: the app was not certified."),
    "app_not_installed": Sentence("Refused: the hospital does not use this app."),
    "token_revoked": Sentence("Refused: its access had ended."),
    "token_invalid": Sentence("Refused: its access had ended."),
    "authorization_expired": Sentence("Refused: the agreement had ended."),
    "role_not_allowed": Sentence("Refused: the person who used the app may not do this."),
    "scope_insufficient": Sentence("Refused: nobody agreed to this."),
    "scope_retired": Sentence("Refused: this kind of access is no longer given."),
    "workflow_not_approved": Sentence("Refused: the hospital does not use the app for this."),
    "outside_launch_context": Sentence("Refused: it was outside what the app was opened for."),
    "launch_ended": Sentence("Refused: the app had been closed."),
    "context_moved": Sentence("Refused: another record had been opened meanwhile."),
    "label_withheld": Sentence("Refused: the record is restricted."),
    "quota_exceeded": Sentence("Refused: the app asked too often."),
}
_AGREED_ON = {
    PermittedBy.OWN: pattern("You agreed to it on %(day)s."),
    PermittedBy.FAMILY: pattern("The patient, or a person who acts for them, agreed to it on %(day)s."),
}
_EMERGENCY = Sentence(
    "They stated an emergency, so restricted records were readable too; somebody else at the hospital reviews it."
)
_UNDELIVERED = Sentence("It was permitted, and then stopped before the answer left.")
_OUTCOMES = {
    Outcome.NOT_DONE: Sentence("It was not carried out."),
    Outcome.UNKNOWN: Sentence("Whether it was carried out is not known."),
}


def may_read(person: Person | None, tenant: TenantId | None, patient: str) -> bool:
    """Check whether a person may read the history of a record: the patient, or who acts for them now. ``person`` has the charts of now."""
    if person is None or not patient or tenant is None:
        return False
    here = person.active and person.tenant == tenant and person.role == Role.PATIENT
    return here and patient in person.patients


def is_shown(access: Access) -> bool:
    """Check whether a record is an app's access, not a read by the platform itself to show names on its pages."""
    return bool(access.app) and access.outcome is not Outcome.INTENDED


def kind_of(interaction: str) -> Kind:
    """Return what kind of access an interaction is."""
    if interaction == ReadPurpose.PICKER:
        return Kind.SEARCH
    if interaction in _READS or interaction.startswith("history"):
        return Kind.READ
    if interaction.startswith("search"):
        return Kind.SEARCH
    return Kind.WRITE if interaction in _WRITES else Kind.OTHER


def ground_of(access: Access, names: Names, reader: PersonId) -> PermittedBy:
    """Return who permitted an access, as the reader of the history sees it."""
    if access.outcome is Outcome.REFUSED:
        return PermittedBy.NONE
    if not access.person:
        return PermittedBy.SERVICE if not access.authorization else PermittedBy.UNKNOWN
    agreed = names.agreements.get(access.authorization)
    if agreed is None:
        return PermittedBy.UNKNOWN
    if agreed.basis is Basis.TENANT:
        return PermittedBy.HOSPITAL
    return PermittedBy.OWN if agreed.person == reader else PermittedBy.FAMILY


def entry_of(access: Access, names: Names, reader: PersonId, patient: str) -> Entry:
    """Return an access as the history of a patient's record shows it to its reader."""
    ground = ground_of(access, names, reader)
    agreed = names.agreements.get(access.authorization)
    named = names.apps.get(access.app) or AppNames(access.app, "")
    return Entry(
        at=access.at,
        request_id=access.request_id,
        app_id=access.app,
        app=named.app,
        vendor=named.vendor,
        kind=kind_of(access.interaction),
        resource_type=access.resource_type,
        count=access.count,
        outcome=access.outcome.value,
        reason=access.reason,
        ground=ground,
        why=_why(access, ground, None if agreed is None else agreed.created_at),
        used_by=_used_by(access, reader),
        workflow="" if agreed is None else agreed.workflow,
        # A settlement's rule is not a scope.
        scope=access.rule if ground is not PermittedBy.NONE and access.rule != SETTLEMENT else "",
        # Of an answer that showed others too, nothing but what is this record's own.
        removed=0 if access.found else access.removed,
        records=_records(access, patient),
        among_others=bool(access.found),
        authorization=access.authorization,
    )


def _records(access: Access, patient: str) -> int:
    """Return how many entries of a patient's record an answer showed, if it left."""
    if access.outcome is Outcome.REFUSED:
        return 0
    return found_in(access).get(patient, 0) if access.found else access.returned


def _used_by(access: Access, reader: PersonId) -> Sentence:
    if access.person and access.person == reader:
        return Sentence("you")
    return _ROLES.get(access.role, Sentence("a person") if access.person else Sentence("nobody"))


def _why(access: Access, ground: PermittedBy, agreed_at: datetime | None) -> str:
    if access.rule == UNDELIVERED:
        return _UNDELIVERED
    if ground is PermittedBy.NONE:
        named = access.reason.replace("_", " ")
        return _REFUSED.get(access.reason, Sentence("Refused by the platform (%(reason)s).", reason=named))
    agreed = _WHY[ground]
    if agreed_at is not None and ground in _AGREED_ON:
        agreed = Sentence(_AGREED_ON[ground], day=day(agreed_at))
    emergency = _EMERGENCY if emergency_of(access) else ""
    return joined((agreed, emergency, _OUTCOMES.get(access.outcome, "")))


def export_row(entry: Entry) -> dict[str, str]:
    """Return an entry as a row of a download, by column."""
    values = asdict(entry) | {"at": entry.at.isoformat(), "kind": entry.kind.value}
    return {name: str(values[name]) for name in EXPORT_FIELDS}
