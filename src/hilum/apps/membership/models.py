"""What inviting a member takes, and its limits."""

from dataclasses import dataclass

MEMBERS_BOUND = 200
"""Active members of one vendor."""


@dataclass(frozen=True, slots=True)
class NewMember:
    """A member to invite. ``role`` is a VendorRole. ``mail``: where the invitation goes; empty to show it."""

    username: str
    name: str
    role: str
    mail: str = ""
