"""Documents that vendors attach as evidence: who may read them, and until when they count."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import VersionId

DOCUMENT_LIFE = timedelta(days=365)
"""How old a document may be when it is submitted."""


class Visibility(StrEnum):
    """Who may read a submission's document besides its vendor; each level includes those before it."""

    REVIEWERS = "reviewers"
    HOSPITALS = "hospitals"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a vendor attaches as evidence: its kind in the policy, its address, and its content's SHA-256.

    ``expires``: the last day on which it is valid; None if it has none. It is valid for DOCUMENT_LIFE at most (C104).
    """

    kind: str
    url: str
    sha256: str
    dated: date
    expires: date | None = None
    visibility: Visibility = Visibility.REVIEWERS

    @property
    def last_day(self) -> date:
        """Return the last day on which it is valid."""
        return min(self.dated + DOCUMENT_LIFE, self.expires or date.max)


@dataclass(frozen=True, slots=True)
class CertifiedDocument:
    """A document behind an app's certification that the reader may see. ``expired``: it is no longer valid."""

    certification: str
    version: VersionId
    document: Document
    expired: bool
