"""Traffic classes, and the shares of places that each has at a FHIR server."""

from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import ConfigDict, Field, Strict, TypeAdapter, with_config

from hilum.policy.matrix.fields import fault


class TrafficClass(StrEnum):
    """Traffic classes; in overload the last one is shed first (C133)."""

    CLINICAL_INTERACTIVE = "clinical_interactive"
    USER_APPS = "user_apps"
    PATIENT_APPS = "patient_apps"
    BACKEND = "backend"
    BULK = "bulk"

    @property
    def rank(self) -> int:
        """Return its place in the order: 0 for the class that is shed last."""
        return _URGENCY[self]


_URGENCY = {each: rank for rank, each in enumerate(TrafficClass)}
ALL_PLACES = (100,) * len(TrafficClass)
"""The shares of a policy that reserves no places."""


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True)
class _Shares:
    user_apps: "Share | None" = None
    patient_apps: "Share | None" = None
    backend: "Share | None" = None
    bulk: "Share | None" = None


Share = Annotated[int, Strict(), Field(ge=10, le=100)]
"""With less a class could not work at all; an app that may not act has no entry."""
_WRITTEN_SHARES = TypeAdapter(_Shares)


def read_shares(value: object) -> tuple[int, ...]:
    """Read the shares of the traffic classes. A class that is not named has the share of the one above it, and the first has every place.

    A class is counted together with those below it, so a share that is larger than that of a class above would never be reached.
    """
    found = [ALL_PLACES[0]]
    for each, share in asdict(_WRITTEN_SHARES.validate_python(value)).items():
        if share is not None and share > found[-1]:
            raise fault("contradictory", f"The class above {each} has {found[-1]}, and counts it in.")
        found.append(found[-1] if share is None else share)
    return tuple(found)


def written_shares(shares: tuple[int, ...]) -> dict[str, int]:
    """Return the shares as documents have them: those that differ from the class above."""
    pairs = zip(tuple(TrafficClass)[1:], pairwise(shares), strict=True)
    return {each.value: share for each, (above, share) in pairs if share != above}
