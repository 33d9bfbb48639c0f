"""Decisions about versions: what is there to be read, and whether a write may go on. Pure."""

import re

from hilum_ehr.fhirserver.models import Precondition, Problem, Refused, Version

NO_SUCH = "There is no such resource."
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def present(version: Version | None) -> Version:
    """Return what can be shown. Raises Refused: never there, or deleted."""
    if version is None:
        raise Refused(Problem.NOT_FOUND, NO_SUCH)
    if version.deleted:
        raise Refused(Problem.DELETED, "The resource was deleted.")
    return version


def parse_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """Read the conditions of a write. Raises Refused if they cannot be read.

    Source: RFC 9110 section 13.1, FHIR R4 http.html#concurrency
    """
    absent = if_none_match is not None
    if absent and if_none_match != "*":
        raise Refused(Problem.MALFORMED, "A write takes If-None-Match: * only.")
    if if_match is None:
        return Precondition(absent=absent)
    if if_match.strip() == "*":
        return Precondition(present=True, absent=absent)
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise Refused(Problem.MALFORMED, 'If-Match is not one entity tag, such as W/"3".')
    number = int(match.group(1)) if re.fullmatch(r"[1-9][0-9]{0,8}", match.group(1)) else 0
    return Precondition(version=number, present=True, absent=absent)


def check(precondition: Precondition, current: Version | None) -> None:
    """Let a write go on, or raise Refused because the resource is not in the state the client believes."""
    exists = current is not None and not current.deleted
    number = current.number if current is not None and exists else 0
    wrong_version = precondition.version is not None and precondition.version != number
    if wrong_version or (precondition.present and not exists) or (precondition.absent and exists):
        raise Refused(
            Problem.VERSION_CONFLICT, "The resource is not in the state that the request depends on."
        )


def is_unchanged(if_none_match: str, version: Version) -> bool:
    """Return whether a client that holds these entity tags holds this version. Source: RFC 9110 section 13.1.2."""
    if if_none_match.strip() == "*":
        return True
    return str(version.number) in _TAG.findall(if_none_match)
