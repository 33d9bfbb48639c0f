"""The steps of the regulated lane, and what they may wait for."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

from hilum.policy.matrix.fields import Days, SetOf, fault, one_of

LANE_STEPS = ("verify", "enable")
"""The steps of the regulated lane: verify the requester, enable the app. A policy cannot add steps, or a fee could be one."""
NEVER_A_CONDITION = frozenset({"fee", "certificate", "exclusivity"})
"""Conditions on which protected access must never depend. Source: 45 CFR 170.404(a)."""


class StepCondition(StrEnum):
    """The only conditions that a step of the regulated lane may have."""

    IDENTITY_VERIFIED = "identity_verified"
    METADATA_COMPLETE = "metadata_complete"
    KEYS_REGISTERED = "keys_registered"
    SECURITY_TERMS_ACCEPTED = "security_terms_accepted"


def _refuse_conditions(value: object) -> object:
    words = value if isinstance(value, list | tuple) else ()
    for word in (each for each in words if isinstance(each, str) and each in NEVER_A_CONDITION):
        sentence = (
            f"A step of the regulated lane must not depend on a {word}: access that regulation protects"
            " is free of it (45 CFR 170.404). Remove it."
        )
        raise fault("regulated_lane_condition", sentence)
    return value


@dataclass(frozen=True, slots=True)
class LaneStep:
    """A step of the regulated lane: its business days, and what it may wait for."""

    name: Annotated[str, one_of(LANE_STEPS)]
    within_business_days: Days
    requires: Annotated[SetOf[StepCondition], BeforeValidator(_refuse_conditions)]
