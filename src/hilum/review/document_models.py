"""Documents that vendors attach as evidence, with who reads them and until when they hold."""

from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from hilum.kernel.ids import VersionId

DOCUMENT_LIFE = timedelta(days=365)
"""How old a document may be when it is submitted."""


class Visibility(StrEnum):
    """Who reads a document of a submission beside its vendor; each also those before it."""

    REVIEWERS = "reviewers"
    HOSPITALS = "hospitals"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Document:
    """A document that a vendor attaches as evidence: its kind in the rule book, its address, and the SHA-256 of its content.

    ``expires``: the last day on which it holds, by itself; None: it says none. It holds for DOCUMENT_LIFE at most (C104).
    """

    kind: str
    url: str
    sha256: str
    dated: date
    expires: date | None = None
    visibility: Visibility = Visibility.REVIEWERS

    @property
    def last_day(self) -> date:
        """The last day on which it counts."""
        return min(self.dated + DOCUMENT_LIFE, self.expires or date.max)


@dataclass(frozen=True, slots=True)
class CertifiedDocument:
    """A document by which something of an app is certified, as far as the reader may see it. ``expired``: it holds no more."""

    certification: str
    version: VersionId
    document: Document
    expired: bool
