"""The explanation for a person whose launch is refused: which rule, who owns it, and what to do next. Pure.

The only source of these sentences, for the page at authorize, the page at ``open_url`` and the answer to the EHR, which shows it to its
user. They use no term of the protocol. ``%(tenant)s``: the hospital's name.
Source: C38, C216
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from hilum.controls.switches.models import Mode, Switch, TargetKind
from hilum.foundation.kernel.decision import Reason

FULL_STOP, NO_NEW_LAUNCHES, ENDED = "full_stop", "no_new_launches", "ended"
INSTALLED_UNTIL, CERTIFIED_UNTIL, UNNAMED = "installed_until", "certified_until", "unnamed"
CATEGORY = "category"
EHR_STOPPED = "ehr_stopped"
"""The EHR was stopped after it opened the launch."""
NOTHING_LEFT, PATIENT_MISSING = "scope_nothing_left", "patient_missing"
LAUNCH_OVER, NOT_YOURS = "launch_over", "launch_not_yours"
SCOPES_STOPPED, FOR_TASK, FOR_ROLE, NOT_ASKED = "scopes_stopped", "for_task", "for_role", "not_asked"
LAUNCH_FAULTS = (
    NOTHING_LEFT,
    PATIENT_MISSING,
    Reason.OUTSIDE_LAUNCH_CONTEXT,
    Reason.LAUNCH_ENDED,
    Reason.SCOPE_RETIRED,
    LAUNCH_OVER,
    NOT_YOURS,
)
"""Reasons to refuse an EHR launch of an app that may act there: its scopes, the chart, or the launch itself."""

_ADMINISTRATOR = "The administrator of %(tenant)s"
SECURITY = "The platform's security team"
_VENDOR = "The vendor of the app"
_EHR = "The record system of %(tenant)s"
_ASK = "Ask the administrator of %(tenant)s."
_ASK_VENDOR = "Ask the vendor of the app."
_AGAIN = "Go back to the chart and open the app again."
_OF_HOSPITAL = frozenset({TargetKind.TENANT, TargetKind.APP_TENANT, TargetKind.PERSON, TargetKind.APP_PERSON})
"""The targets that a hospital's administrator may stop."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One row of the table. ``%(until)s`` in ``rule`` is a day; only some variants have one."""

    rule: str
    owner: str
    next_step: str


TABLE: Mapping[tuple[Reason | str, str], Explanation] = MappingProxyType(
    {
        (Reason.APP_SUSPENDED, ""): Explanation(
            "This app is suspended by the platform, so nobody can use it now, also where it was open. Nothing is wrong with your account.",
            SECURITY,
            "Go on without it. " + _ASK,
        ),
        (Reason.SWITCH_ENGAGED, FULL_STOP): Explanation(
            "This app, or what it needs, is stopped at the moment. It was stopped on purpose; nothing is wrong with your account.",
            _ADMINISTRATOR,
            "Go on without it. " + _ASK,
        ),
        (Reason.SWITCH_ENGAGED, NO_NEW_LAUNCHES): Explanation(
            "This app cannot be opened at the moment; where it is open already, it keeps working.",
            _ADMINISTRATOR,
            _ASK,
        ),
        (Reason.SWITCH_ENGAGED, ENDED): Explanation(
            "This app was stopped after you began, and may be used again now.",
            _ADMINISTRATOR,
            "Open it again from the chart, or go back to it and start again.",
        ),
        (Reason.TENANT_MISMATCH, ""): Explanation(
            "%(tenant)s is not active on this platform.", "The platform's operator", _ASK
        ),
        (Reason.APP_NOT_CERTIFIED, ""): Explanation(
            "This app is not certified for use here.", _VENDOR, _ASK_VENDOR
        ),
        (Reason.APP_NOT_CERTIFIED, CERTIFIED_UNTIL): Explanation(
            "This app was certified for use here until %(until)s, and no longer is.",
            _VENDOR,
            _ASK_VENDOR,
        ),
        (Reason.APP_NOT_CERTIFIED, CATEGORY): Explanation(
            "Apps of this kind may not be used at %(tenant)s now.", "The platform's operator", _ASK
        ),
        (Reason.APP_NOT_INSTALLED, ""): Explanation(
            "This app is not installed at %(tenant)s.", _ADMINISTRATOR, _ASK
        ),
        (Reason.APP_NOT_INSTALLED, INSTALLED_UNTIL): Explanation(
            "This app was installed at %(tenant)s until %(until)s, and no longer is.", _ADMINISTRATOR, _ASK
        ),
        (Reason.AGREEMENT_MISSING, ""): Explanation(
            "This app may not be opened at %(tenant)s now: an agreement with its vendor is missing or has lapsed.",
            "The vendor of the app and the administrator of %(tenant)s",
            "Where it is open already, it keeps working. " + _ASK,
        ),
        (Reason.APPROVER_MISSING, ""): Explanation(
            "Nobody at %(tenant)s answers for this service now.", _ADMINISTRATOR, _ASK
        ),
        (Reason.NETWORK_NOT_ALLOWED, ""): Explanation(
            "This service may be used at %(tenant)s from some networks only.", _ADMINISTRATOR, _ASK
        ),
        (Reason.FACILITY_NOT_ALLOWED, ""): Explanation(
            "This app may not be used at this facility of %(tenant)s.",
            _ADMINISTRATOR,
            "Use it at another facility, or ask the administrator of %(tenant)s.",
        ),
        (Reason.FACILITY_NOT_ALLOWED, UNNAMED): Explanation(
            "This app may be used at some facilities of %(tenant)s only, and it is not known at which one you are.",
            _ADMINISTRATOR,
            "Open it from the chart at one of them, or ask the administrator of %(tenant)s.",
        ),
        (Reason.PERSON_INACTIVE, ""): Explanation(
            "Your account at %(tenant)s is not active.", _ADMINISTRATOR, _ASK
        ),
        (Reason.ROLE_NOT_ALLOWED, ""): Explanation(
            "Your role may not use this app at %(tenant)s.", _ADMINISTRATOR, _ASK
        ),
        (Reason.WORKFLOW_NOT_APPROVED, ""): Explanation(
            "This app may not be used for this task at %(tenant)s.",
            _ADMINISTRATOR,
            "Open it for another task, or ask the administrator of %(tenant)s.",
        ),
        (EHR_STOPPED, ""): Explanation(
            "The record system that opened this app has since been stopped or suspended.",
            _ADMINISTRATOR,
            _ASK,
        ),
        (NOTHING_LEFT, ""): Explanation(
            "%(tenant)s allows nothing that this app asks for.", _ADMINISTRATOR, _ASK
        ),
        (NOTHING_LEFT, FOR_ROLE): Explanation(
            "Your role at %(tenant)s allows nothing that this app asks for.", _ADMINISTRATOR, _ASK
        ),
        (NOTHING_LEFT, FOR_TASK): Explanation(
            "This app asks for nothing that the task it was opened for needs.",
            "The platform's operator",
            "Open it for another task, or ask the administrator of %(tenant)s.",
        ),
        (NOTHING_LEFT, SCOPES_STOPPED): Explanation(
            "What this app needs is stopped at the moment. It was stopped on purpose; nothing is wrong with your account.",
            _ADMINISTRATOR,
            "Go on without it. " + _ASK,
        ),
        (PATIENT_MISSING, ""): Explanation(
            "This app works in the chart of one patient, and none is open.",
            _VENDOR,
            "Open a chart, and open the app from there.",
        ),
        (PATIENT_MISSING, NOT_ASKED): Explanation(
            "This app needs the chart that is open, and does not request it.", _VENDOR, _ASK_VENDOR
        ),
        (Reason.OUTSIDE_LAUNCH_CONTEXT, ""): Explanation(
            "You may no longer open this chart.", _ADMINISTRATOR, _ASK
        ),
        (Reason.LAUNCH_ENDED, ""): Explanation(
            "The chart from which this app was opened has been closed.", _EHR, _AGAIN
        ),
        (Reason.SCOPE_RETIRED, ""): Explanation(
            "This app asks for a kind of access that is no longer given.", _VENDOR, _ASK_VENDOR
        ),
        (LAUNCH_OVER, ""): Explanation(
            "Each opening of an app works once and for a short time, and this one was used or has expired.",
            _EHR,
            _AGAIN,
        ),
        (NOT_YOURS, ""): Explanation(
            "This app was opened for another person, or by another app.",
            _EHR,
            "Open it again from the chart, signed in as yourself.",
        ),
    }
)
"""By reason and variant."""


def explain(reason: Reason | str, variant: str = "") -> Explanation:
    """Return the row of a reason; its general one if it has none for ``variant``."""
    return TABLE.get((reason, variant)) or TABLE[reason, ""]


def owner_of(switches: Iterable[Switch], otherwise: str) -> str:
    """Return who can release the switches that stop a launch."""
    return otherwise if all(each.target.kind in _OF_HOSPITAL for each in switches) else SECURITY


def expected_from(switches: tuple[Switch, ...]) -> datetime | None:
    """Return when the last of these switches ends by itself; None if one of them does not."""
    ends = [each.expires_at for each in switches if each.expires_at is not None]
    return max(ends) if ends and len(ends) == len(switches) else None


def without_rights(*, admitted: bool, in_role: bool, in_task: bool) -> str:
    """Return the variant for a launch with nothing left to grant, by the step that removed the last scope."""
    # In the order in which the steps narrow: another task does not help a role that may use nothing.
    if not admitted:
        return ""
    if not in_role:
        return FOR_ROLE
    return SCOPES_STOPPED if in_task else FOR_TASK


def mode_of(switches: tuple[Switch, ...]) -> str:
    """Return the variant for some switches: a full stop before a stop of new launches; ``ENDED`` if none is engaged."""
    if not switches:
        return ENDED
    return FULL_STOP if any(each.mode is Mode.FULL_STOP for each in switches) else NO_NEW_LAUNCHES
