"""Listings of apps."""

from dataclasses import dataclass
from datetime import datetime

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
