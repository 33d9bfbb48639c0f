"""Listings of apps."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.certificates.models import Certificate
from hilum.kernel.ids import AppId, VendorId


@dataclass(frozen=True, slots=True)
class Listing:
    """Whether an app is published. ``hidden``: for now, although it is; ``by`` and ``reason`` are of the last decision."""

    app: AppId
    vendor: VendorId
    name: str
    published: bool
    by: str
    at: datetime
    reason: str
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Listed:
    """A listing with the certificate that stands for its app."""

    listing: Listing
    certificate: Certificate | None


class Standing(StrEnum):
    """Of something that a listing states about an app."""

    ATTESTED = "attested"
    """The vendor says so, and nobody has checked it."""
    VERIFIED = "verified"
    """The platform looked, or a reviewer judged it, and it was so."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Something stated about one version of an app, and since when: of what is verified when it was looked at. ``text``: what the vendor says."""

    standing: Standing
    what: str
    version: str
    at: datetime
    text: str = ""
