"""Launch parameters of a token response.

Source: SMART App Launch 2.2, scopes-and-launch-context#launch-context-arrives-with-your-access_token and #fhircontext-exp.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hilum.foundation.standards.smart.scopes import (
    READ,
    ClinicalScope,
    Scope,
    SpecialScope,
    covers,
    parse_scope,
)

CONTEXT_ENTRIES_BOUND = 20
LAUNCH = "launch"
"""The scope of a client that an EHR launches. Source: SMART App Launch 2.2, scopes-and-launch-context#apps-that-launch-from-the-ehr."""
ROLE_LAUNCH = "launch"
SENT_CONTEXT = frozenset(
    {"patient", "encounter", "fhirContext", "intent", "need_patient_banner", "smart_style_url"}
)
"""Parameters of a token response. In a request from an app they are ignored (C31)."""

_REFERENCE = re.compile(r"([A-Z][A-Za-z]{1,63})/([A-Za-z0-9.-]{1,64})")
_CANONICAL = re.compile(r"https?://[^\s#]+")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")
_MEMBERS = frozenset({"reference", "canonical", "identifier", "type", "role"})


def with_launch(scopes: tuple[str, ...]) -> tuple[str, ...]:
    """Return a delegated client's scopes with ``launch`` if it reads records: many SMART libraries request it in every EHR launch."""
    reads = any(isinstance(parse_scope(text), ClinicalScope) for text in scopes)
    return scopes if not reads or LAUNCH in scopes else (LAUNCH, *scopes)


def fhir_context_fault(entry: Mapping[str, Any]) -> str:
    """Return what is wrong with a ``fhirContext`` entry; empty if it is valid.

    Source: SMART App Launch 2.2, scopes-and-launch-context#fhircontext-exp: at least one of reference, canonical and identifier;
    no Patient or Encounter unless in a role other than ``launch``; a role is never empty.
    """
    # An unknown member is refused because nobody has judged whether an app may read what it holds.
    if set(entry) - _MEMBERS:
        return "fhir_context_member_unknown"
    if not any(name in entry for name in ("reference", "canonical", "identifier")):
        return "fhir_context_nothing_named"
    resource_type = entry.get("type")
    if resource_type is not None and not (isinstance(resource_type, str) and _TYPE.fullmatch(resource_type)):
        return "fhir_context_type"
    role = entry.get("role")
    if role is not None and not (isinstance(role, str) and role):
        return "fhir_context_role"
    reference, match = entry.get("reference"), None
    if reference is not None:
        match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        if match is None:
            return "fhir_context_reference"
        # `_readable` judges by the reference's type; a different `type` beside it would let an entry pass
        # under the wrong scope.
        if resource_type not in {None, match[1]}:
            return "fhir_context_contradiction"
    canonical = entry.get("canonical")
    if canonical is not None and not (isinstance(canonical, str) and _CANONICAL.fullmatch(canonical)):
        return "fhir_context_canonical"
    identifier = entry.get("identifier")
    if identifier is not None and not (isinstance(identifier, Mapping) and identifier):
        return "fhir_context_identifier"
    # The launch's own patient and encounter have parameters of their own; a second pair in fhirContext could contradict them.
    actual_type = match[1] if match else resource_type
    if actual_type in {"Patient", "Encounter"} and role in {None, ROLE_LAUNCH}:
        return "fhir_context_launch_role"
    return ""


def readable_context(
    entries: Iterable[Mapping[str, Any]], granted: Iterable[Scope]
) -> tuple[dict[str, Any], ...]:
    """Return the well-formed entries whose type some granted scope can read (C33)."""
    scopes = [scope for scope in granted if isinstance(scope, ClinicalScope)]
    return tuple(
        dict(entry)
        # Without a scope for its type the entry itself would disclose that such a record exists (C33).
        for entry in list(entries)[:CONTEXT_ENTRIES_BOUND]
        if not fhir_context_fault(entry) and _readable(entry, scopes)
    )


def _readable(entry: Mapping[str, Any], scopes: list[ClinicalScope]) -> bool:
    reference = entry.get("reference")
    resource_type = reference.split("/")[0] if reference else entry.get("type")
    if resource_type is None:
        return False
    return any(
        covers(scope, ClinicalScope(scope.prefix, resource_type, READ, scope.constraints)) for scope in scopes
    )


def requested_context(scopes: Iterable[Scope]) -> tuple[bool, bool]:
    """Return whether the scopes of a standalone launch request a patient, and whether an encounter.

    Source: SMART App Launch 2.2, scopes-and-launch-context#requesting-context-with-scopes.
    """
    names = {scope.name for scope in scopes if isinstance(scope, SpecialScope)}
    return "launch/patient" in names or "launch/encounter" in names, "launch/encounter" in names


def needs_patient(scopes: Iterable[Scope]) -> bool:
    """Check whether any scope is limited to one patient, so that the launch needs one (C34)."""
    return any(isinstance(scope, ClinicalScope) and scope.prefix == "patient" for scope in scopes)


def response_parameters(
    *,
    ehr_launch: bool,
    intent: str,
    need_patient_banner: bool,
    style_url: str,
    fhir_context: Iterable[Mapping[str, Any]],
    granted: Iterable[Scope],
) -> dict[str, object]:
    """Build the launch parameters of a token response other than patient and encounter (C32).

    Only an EHR launch has any; ``fhirContext`` only if the launch has readable entries.
    """
    # A standalone launch has no EHR behind it that could have set any of these.
    if not ehr_launch:
        return {}
    parameters: dict[str, object] = {"need_patient_banner": need_patient_banner}
    if style_url:
        parameters["smart_style_url"] = style_url
    if intent:
        parameters["intent"] = intent
    if entries := readable_context(fhir_context, granted):
        parameters["fhirContext"] = list(entries)
    return parameters
