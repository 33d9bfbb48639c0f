"""How binding a rule is, and what sets one aside for one app."""

from enum import StrEnum


class Level(StrEnum):
    """How binding a tier rule is (C207)."""

    ADVISORY = "advisory"
    """It is reported, and withholds nothing."""
    OVERRIDABLE = "overridable"
    """Two people may set it aside for one app, for a time."""
    ABSOLUTE = "absolute"
