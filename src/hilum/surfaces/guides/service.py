"""The guides that were installed with the platform."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import MappingProxyType

from hilum.surfaces.guides import policy
from hilum.surfaces.guides.models import Library

PACKAGES = Path(__file__).parents[3]
INSTALLED = PACKAGES / "hilum_guides"
"""Where a wheel puts them."""
CHECKED_OUT = PACKAGES.parent / policy.FOLDER
"""Where they are beside the source."""
GUIDES_BOUND = 50
GUIDE_BYTES_BOUND = 256 * 1024
ORDER = (
    "patient",
    "clinician",
    "staff",
    "app-developer",
    "vendor",
    "tenant-administrator",
    "reviewer",
    "ehr",
    "fhir-server",
)
"""The first guides of the index, those for the most frequent readers first. Others follow by name."""


@cache
def guides() -> Library:
    """Return the guides of this installation, read and rendered once; none if it was installed without them."""
    return library(next((folder for folder in (INSTALLED, CHECKED_OUT) if folder.is_dir()), None))


def library(folder: Path | None) -> Library:
    """Return the guides of a folder."""
    texts = dict(_texts(folder)) if folder is not None else {}
    ordered = sorted(texts, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    return Library(MappingProxyType({name: policy.render(name, texts[name], texts) for name in ordered}))


def _texts(folder: Path) -> Iterable[tuple[str, str]]:
    found = sorted(folder.glob("*.md"))
    assert len(found) <= GUIDES_BOUND
    for path in found:
        assert path.stat().st_size <= GUIDE_BYTES_BOUND, path.name
        yield path.stem, path.read_text(encoding="utf-8")
