"""The ends of the signed chains of the rule book, of certifications and of rows in the anchor, outside the database.

A tail that is cut off together with its records in the audit, while no process runs, is found only by what was written elsewhere.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from cachetools import LRUCache

from hilum.attestations import service as rows
from hilum.audit import anchor
from hilum.audit.models import ANCHOR_HEADS_KEPT, AnchoredHead
from hilum.audit.policy import head_faults
from hilum.infra.context import Context
from hilum.infra.settings import Settings
from hilum.kernel.errors import HilumError
from hilum.policies import service as policies
from hilum.registry import attestations

_kept: LRUCache[tuple[str, str], tuple[int, str]] = LRUCache(16)
POLICY, REGISTRY, ROWS = "policy", "registry", "rows"
Newest = Callable[[Context], tuple[int, str] | None]
Heads = Callable[[Context, Collection[int]], dict[int, str]]
CHAINS: dict[str, tuple[str, Newest, Heads]] = {
    POLICY: ("the rule book's applications", policies.newest_head, policies.heads),
    REGISTRY: ("the attestations of certifications", attestations.newest_head, attestations.heads),
    ROWS: ("the signed heads of rows", rows.newest_head, rows.heads),
}


def newest_heads(ctx: Context) -> list[AnchoredHead]:
    """Return the present end of each chain."""
    found = ((name, newest(ctx)) for name, (_, newest, _) in CHAINS.items())
    return [AnchoredHead(name, end[0], ctx.now, end[1]) for name, end in found if end is not None]


def keep(settings: Settings, heads: Sequence[AnchoredHead], *, fresh: bool) -> None:
    """Write the ends that are new to this node's anchor. Raises Unavailable."""
    for each in heads:
        place, end = (str(settings.anchor), each.chain), (each.number, each.digest)
        # Remembered, so that the file is not read every second.
        if _kept.get(place) != end:
            anchor.keep_head(settings.anchor, each, fresh=fresh)
            _kept[place] = end


def read(settings: Settings, copy: Path | None = None) -> list[AnchoredHead]:
    """Read the ends that were anchored here, and in a copy. An anchor that cannot be read has none: its checkpoints are missed as well."""
    found: list[AnchoredHead] = []
    for path in filter(None, (copy, settings.anchor)):
        try:
            found += anchor.read_heads(path)
        except HilumError:
            continue
    return found


def faults(ctx: Context, anchored: Sequence[AnchoredHead]) -> list[str]:
    """Compare what is stored with what was anchored."""
    found = []
    for name, (names, _, heads) in CHAINS.items():
        mine = [each for each in anchored if each.chain == name][-ANCHOR_HEADS_KEPT:]
        if mine:
            found += head_faults(mine, heads(ctx, {each.number for each in mine}), names)
    return found
