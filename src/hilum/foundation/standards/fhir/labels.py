"""Security labels for which resources are withheld from apps.

Source: HL7 v3 Confidentiality, ActCode (information sensitivity policy) and ActCode (42 CFR Part 2); FHIR R4 security-labels.html
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Codes for information that law or custom protects specially: substance use treatment (42 CFR Part 2), mental
# health, HIV, genetics, sexual and domestic violence, and Confidentiality R and V.
CATEGORIES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "confidential": frozenset({"R", "V"}),
        "vip": frozenset({"VIP", "CEL"}),
        "taboo": frozenset({"TABOO"}),
        "disability": frozenset({"DVD"}),
        "substance_use": frozenset({"42CFRPart2", "ETH", "ETHUD", "ALC", "ALCUD", "SUD", "OPIOIDUD"}),
        "mental_health": frozenset({"MH", "PSY", "BH"}),
        "psychotherapy_notes": frozenset({"PSYTHPN", "PSYCHPN"}),
        "hiv": frozenset({"HIV"}),
        "sexual_health": frozenset({"STD", "SEX", "SXO", "PREGNANT"}),
        "genetics": frozenset({"GDIS"}),
        "violence": frozenset({"SDV"}),
        "specially_protected": frozenset({"SPI"}),
    }
)
"""Category -> its codes, which withhold a resource; each of them is in one category. They are compared without regard to case."""

_CATEGORY_OF = {code.casefold(): name for name, codes in CATEGORIES.items() for code in codes}


def is_restricted(resource: dict[str, Any]) -> bool:
    """Check whether a label withholds this resource, or the document that it is or refers to. A malformed label withholds it.

    Source: FHIR R4 documentreference-definitions.html#DocumentReference.securityLabel, composition-definitions.html#Composition.confidentiality
    """
    meta = resource.get("meta")
    # A label that cannot be read could be any label.
    if meta is not None and not isinstance(meta, dict):
        return True
    if meta and _any_restricts(meta.get("security")):
        return True
    # Composition has a code of its own, without a system (FHIR R4 composition-definitions.html#Composition.confidentiality).
    if "confidentiality" in resource and _restricts({"code": resource["confidentiality"]}):
        return True
    # meta.security labels the DocumentReference, securityLabel the document that it points to: either one withholds it.
    concepts = resource.get("securityLabel", [])
    if not isinstance(concepts, list):
        return True
    return any(not isinstance(each, dict) or _any_restricts(each.get("coding")) for each in concepts)


def categories_of(resource: dict[str, Any]) -> frozenset[str] | None:
    """Return the categories of the labels that withhold a resource: none if no label does, None if one of them cannot be read.

    INVARIANT: empty exactly if the resource is not restricted.
    """
    if not is_restricted(resource):
        return frozenset()
    meta = resource.get("meta") or {}
    concepts = resource.get("securityLabel", [])
    if not isinstance(meta, dict) or not isinstance(concepts, list):
        return None
    lists: list[Any] = [meta.get("security")]
    if "confidentiality" in resource:
        lists.append([{"code": resource["confidentiality"]}])
    for concept in concepts:
        if not isinstance(concept, dict):
            return None
        lists.append(concept.get("coding"))
    categories: set[str] = set()
    for labels in lists:
        if not isinstance(labels, list | None):
            return None
        for label in labels or ():
            if not _restricts(label):
                continue
            code = label.get("code") if isinstance(label, dict) else None
            if not isinstance(code, str):
                return None
            categories.add(_CATEGORY_OF[_folded(code)])
    # Restricted, but by no label that was read: unknown, so no category opens it.
    return frozenset(categories) or None


def _any_restricts(labels: object) -> bool:
    if labels is None:
        return False
    return not isinstance(labels, list) or any(_restricts(label) for label in labels)


def _restricts(label: object) -> bool:
    if not isinstance(label, dict):
        return True
    code = label.get("code")
    if not isinstance(code, str):
        return code is not None
    # Whatever its system: the same codes are in HL7 v2 tables, C-CDA and local systems, and each system is spelled in many ways. A label
    # that means something else under its system withholds too, which is the safe mistake.
    return _folded(code) in _CATEGORY_OF


def _folded(code: str) -> str:
    return code.strip().casefold()
