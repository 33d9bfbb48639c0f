"""Families of expected errors. They know nothing of HTTP; each edge maps them in one table."""

from datetime import datetime
from enum import StrEnum

NO_RIGHT = "You do not have the right to do this. Ask an administrator who does."
"""The sentence of a refusal by role, the same in every module."""

FACTOR_STALE = "This takes a second factor that was entered within the last 15 minutes. Enter it on your account's page, or with `hilum confirm`, and do this again."
"""The sentence of a refusal that a fresh second factor would lift, the same in every module."""


class HilumError(Exception):
    """An expected error. ``code`` is stable snake_case, ``detail`` one sentence that is safe to show.

    ``request_id``: the id under which another program recorded the refusal that this error passes on; empty for our own errors.
    ``recorded``: whether the audit has an event of this refusal, so that no edge records it again.
    """

    request_id = ""
    recorded = False

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class NotFound(HilumError):
    """The object does not exist, or the actor may not learn that it does. Commits."""


class NotPermitted(HilumError):
    """A rule refuses the action. Commits its protective effects and its audit record."""


class Readers(StrEnum):
    """The readers of objects that are not public, as refusals list them."""

    STAFF = "the platform's staff"
    VENDOR = "the vendor's members and the platform's staff"
    HOSPITAL = "administrators of the hospital and the platform's staff"
    BOTH = "the vendor's members, administrators of the hospital and the platform's staff"
    HOSPITALS = "administrators of hospitals and the platform's staff"
    CATALOGUE = "members of vendors, administrators of hospitals and the platform's staff"


def not_shown(what: str, readers: str) -> NotPermitted:
    """Build the refusal to show an object: it states who may see it, in the same words in every module."""
    return NotPermitted("not_permitted", f"Only {readers} may see {what}. Ask one of them.")


class Refused(NotPermitted):
    """A rule refuses a person's action, with an explanation for that person: the rule, its owner, the next step, and when it may end.

    ``expected`` is a sentence about ``expected_at``; both are empty if no end is known. ``switches``: ids of the kill switches that stop it.
    """

    switches: tuple[str, ...] = ()

    def __init__(
        self,
        code: str,
        rule: str,
        *,
        owner: str,
        next_step: str,
        expected: str = "",
        expected_at: datetime | None = None,
    ) -> None:
        super().__init__(code, " ".join(filter(None, (rule, expected, next_step))))
        self.rule = rule
        self.owner = owner
        self.next_step = next_step
        self.expected = expected
        self.expected_at = expected_at

    @property
    def facts(self) -> dict[str, object]:
        """Return what the audit keeps of the explanation, so that it can be given again."""
        facts: dict[str, object] = {"rule": str(self.rule), "owner": str(self.owner)}
        return facts | ({"switches": list(self.switches)} if self.switches else {})


class Invalid(HilumError):
    """The input cannot be accepted. ``fields`` maps a field's name to the code of what is wrong with it. Commits."""

    def __init__(self, code: str, detail: str = "", *, fields: dict[str, str] | None = None) -> None:
        super().__init__(code, detail)
        self.fields = fields or {}


class Conflict(HilumError):
    """A concurrent or earlier change prevents the action. Rolls back."""


class Unavailable(HilumError):
    """A dependency is unavailable; retrying later may help. Rolls back."""


# Conflict and Unavailable are not decisions: writes before them may rest on facts that have changed.
DECIDED = (NotFound, NotPermitted, Invalid)
"""Errors that commit what was written before them (security decision 3)."""
