"""An agreement as FHIR R4 Consent resources, one for each of its versions. Pure.

Source: FHIR R4 consent.html, bundle.html#bdl-7 (versions of one resource in a Bundle).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hilum.authorization.consent.models import AgreementVersion, Authorization, Change
from hilum.foundation.standards.smart.scopes import READ, SEARCH, WRITES, ClinicalScope, parse_scope

SCOPE_EXTENSION = "/fhir/StructureDefinition/granted-scope"
CHANGE_EXTENSION = "/fhir/StructureDefinition/consent-change"
_SCOPES = "http://terminology.hl7.org/CodeSystem/consentscope"
_ACTIONS = "http://terminology.hl7.org/CodeSystem/consentaction"
_ACT_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_SIGNERS = "http://terminology.hl7.org/CodeSystem/contractsignertypecodes"
_TYPES = "http://hl7.org/fhir/resource-types"
_RELATIVE = frozenset({"Patient", "Practitioner", "PractitionerRole", "RelatedPerson"})
"""The resource types that R4 permits as performer. A Person is referred to by its identifier instead."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An agreement with the names behind its ids. ``versions`` are all of them, oldest first. ``base`` is the platform's address.

    ``person`` is the ``fhirUser`` of the person who agreed; ``proxy``: that person acts for the patient.
    """

    agreement: Authorization
    versions: tuple[AgreementVersion, ...]
    base: str
    app: str
    vendor: str
    hospital: str
    person: str
    proxy: bool


def bundle_of(exported: Iterable[Exported], now: datetime) -> dict[str, Any]:
    """Return a Bundle with every version of some agreements."""
    entries = [
        {"fullUrl": f"{each.base}/fhir/Consent/{consent_id(each.agreement)}", "resource": resource}
        for each in exported
        for resource in consents_of(each, now)
    ]
    # FHIR R4 has no empty arrays.
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": _instant(now),
    } | ({"entry": entries} if entries else {})


def consent_id(agreement: Authorization) -> str:
    """Return the FHIR id of an agreement: its own id with ``-`` for ``_``, which FHIR ids cannot contain."""
    return agreement.id.replace("_", "-")


def consents_of(exported: Exported, now: datetime) -> list[dict[str, Any]]:
    """Return an agreement's versions as Consent resources, oldest first."""
    followers = [*exported.versions[1:], None]
    return [
        _consent(exported, version, follower, now)
        for version, follower in zip(exported.versions, followers, strict=True)
    ]


def _consent(
    exported: Exported, version: AgreementVersion, follower: AgreementVersion | None, now: datetime
) -> dict[str, Any]:
    agreement, base = exported.agreement, exported.base
    ended = version.change is Change.WITHDRAWN
    over = ended or (follower is None and now >= agreement.expires_at)
    # A version lasts until the next one, the last one until the agreement ends.
    until = agreement.expires_at if follower is None else follower.at
    return {
        "resourceType": "Consent",
        "id": consent_id(agreement),
        "meta": {"versionId": str(version.number), "lastUpdated": _instant(version.at)},
        "extension": [{"url": f"{base}{CHANGE_EXTENSION}", "valueCode": version.change.value}],
        "identifier": [{"system": f"{base}/authorizations", "value": agreement.id}],
        "status": "inactive" if over else "active",
        "scope": _concept(_SCOPES, "patient-privacy"),
        "category": [_concept("http://loinc.org", "59284-0")],
        "patient": {"reference": f"Patient/{agreement.patient}"}
        if agreement.patient
        else _somebody(exported),
        "dateTime": _instant(version.at),
        "performer": [_performer(exported)],
        "organization": [
            {
                "identifier": {"system": f"{base}/tenants", "value": agreement.tenant},
                "display": exported.hospital,
            }
        ],
        "policyRule": _concept(_ACT_CODES, "OPTIN"),
        "provision": _provision(exported, version, max(until, version.at)),
    }


def _somebody(exported: Exported) -> dict[str, Any]:
    return {"identifier": {"system": f"{exported.base}/people", "value": exported.agreement.person}}


def _performer(exported: Exported) -> dict[str, Any]:
    """Return the person who agreed, with their relationship to the patient in words."""
    kind = exported.person.partition("/")[0]
    who = {"reference": exported.person} if kind in _RELATIVE else _somebody(exported)
    return who | {"display": "acts for the patient" if exported.proxy else "the patient"}


def _provision(exported: Exported, version: AgreementVersion, until: datetime) -> dict[str, Any]:
    agreement, base = exported.agreement, exported.base
    scopes = [parsed for text in version.scopes if isinstance(parsed := parse_scope(text), ClinicalScope)]
    app = {
        "role": _concept(_PARTICIPATION, "IRCP"),
        "reference": {
            "type": "Device",
            "identifier": {"system": f"{base}/apps", "value": agreement.app},
            "display": f"{exported.app} by {exported.vendor}",
        },
    }
    actors = [app]
    if exported.proxy:
        actors.append({"role": _concept(_SIGNERS, "DELEGATEE"), "reference": _performer(exported)})
    found: dict[str, Any] = {
        "extension": [{"url": f"{base}{SCOPE_EXTENSION}", "valueString": text} for text in version.scopes],
        # After a withdrawal, a denial rather than a permit without content.
        "type": "permit" if version.scopes else "deny",
        "period": {"start": _instant(version.at), "end": _instant(until)},
        "actor": actors,
        "action": _actions(scopes),
        "class": [
            {"system": _TYPES, "code": type_}
            for type_ in dict.fromkeys(each.type for each in scopes)
            if type_ != "*"
        ],
        "code": [
            _concept(*value.split("|", 1))
            for value in dict.fromkeys(
                value for each in scopes for name, value in each.constraints if name == "category"
            )
            if "|" in value
        ],
    }
    return {name: value for name, value in found.items() if value != []}


def _actions(scopes: Sequence[ClinicalScope]) -> list[dict[str, Any]]:
    letters = 0
    for each in scopes:
        letters |= each.letters
    named = (("access", READ | SEARCH), ("correct", WRITES))
    return [_concept(_ACTIONS, code) for code, bits in named if letters & bits]


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _instant(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
