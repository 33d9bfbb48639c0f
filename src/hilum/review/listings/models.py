"""Listings of apps."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.review.certificates.models import Certificate


@dataclass(frozen=True, slots=True)
class Listing:
    """Whether an app is published. ``hidden``: temporarily not shown; ``by`` and ``reason`` belong to the last decision."""

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
    """A listing with its app's certificate, and whether the category of the app is open."""

    listing: Listing
    certificate: Certificate | None
    in_open_category: bool


class Basis(StrEnum):
    """How far a statement in a listing can be relied on."""

    ATTESTED = "attested"
    """Stated by the vendor, and checked by nobody."""
    VERIFIED = "verified"
    """Confirmed by a check of the platform or by a reviewer."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement about one version of an app. ``at``: when it was made or, if it is verified, checked. ``text``: the vendor's words."""

    basis: Basis
    what: str
    version: str
    at: datetime
    text: str = ""
