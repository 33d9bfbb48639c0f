"""Decisions about versions: whether one can be read, and whether a write meets its conditions. Pure."""

import re

from hilum_ehr.fhirserver.models import Precondition, Problem, Refused, Version

NO_SUCH = "There is no such resource."
_TAG = re.compile(r'(?:W/)?"([\x21\x23-\x7e]*)"')


def present(version: Version | None) -> Version:
    """Return a version that can be read. Raises Refused if there is none, or it is deleted."""
    if version is None:
        raise Refused(Problem.NOT_FOUND, NO_SUCH)
    # 410 and not 404, as FHIR asks for. The gateway in front answers 404 to both, since 410 would disclose
    # that there was a record (ADR 27).
    if version.deleted:
        raise Refused(Problem.DELETED, "The resource was deleted.")
    return version


def parse_precondition(if_match: str | None, if_none_match: str | None) -> Precondition:
    """Parse the conditions of a write. Raises Refused if they are malformed.

    Source: RFC 9110 section 13.1, FHIR R4 http.html#concurrency
    """
    absent = if_none_match is not None
    if absent and if_none_match != "*":
        raise Refused(Problem.MALFORMED, "On a write, If-None-Match must be *.")
    if if_match is None:
        return Precondition(absent=absent)
    if if_match.strip() == "*":
        return Precondition(present=True, absent=absent)
    match = _TAG.fullmatch(if_match.strip())
    if match is None:
        raise Refused(Problem.MALFORMED, 'If-Match is not one entity tag, such as W/"3".')
    # 0 is the version of nothing: a tag that is not one of ours never matches.
    number = int(match.group(1)) if re.fullmatch(r"[1-9][0-9]{0,8}", match.group(1)) else 0
    return Precondition(version=number, present=True, absent=absent)


def check(precondition: Precondition, current: Version | None) -> None:
    """Raise Refused if the resource does not meet the precondition of a write."""
    exists = current is not None and not current.deleted
    number = current.number if current is not None and exists else 0
    wrong_version = precondition.version is not None and precondition.version != number
    if wrong_version or (precondition.present and not exists) or (precondition.absent and exists):
        raise Refused(
            Problem.VERSION_CONFLICT, "The resource is not in the state that the request depends on."
        )


def is_unchanged(if_none_match: str, version: Version) -> bool:
    """Check whether one of these entity tags is this version's. Source: RFC 9110 section 13.1.2."""
    if if_none_match.strip() == "*":
        return True
    return str(version.number) in _TAG.findall(if_none_match)
