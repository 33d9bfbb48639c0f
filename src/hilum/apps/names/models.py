"""What a look-up finds."""

from dataclasses import dataclass
from enum import StrEnum

MATCHES_BOUND = 10
"""Records of one name that a look-up returns at most."""


class Kind(StrEnum):
    """What can be named."""

    APP = "app"
    VENDOR = "vendor"
    TENANT = "tenant"
    CLIENT = "client"
    PERSON = "person"
    FACILITY = "facility"
    VERSION = "version"


@dataclass(frozen=True, slots=True)
class Match:
    """A record of this name or id. ``of`` tells it apart from others of the same name: its vendor, app or place."""

    id: str
    name: str
    of: str = ""
