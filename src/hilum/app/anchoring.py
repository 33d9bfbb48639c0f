"""Writes the heads of the signed chains (rule book, certifications, rows) to the anchor, outside the database.

Whoever cuts off the end of a chain together with its audit records, while no process runs, is detected only by a copy elsewhere.
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

_written: LRUCache[tuple[str, str], tuple[int, str]] = LRUCache(16)
POLICY, REGISTRY, ROWS = "policy", "registry", "rows"
Newest = Callable[[Context], tuple[int, str] | None]
Heads = Callable[[Context, Collection[int]], dict[int, str]]
CHAINS: dict[str, tuple[str, Newest, Heads]] = {
    POLICY: ("the rule book's applications", policies.newest_head, policies.heads),
    REGISTRY: ("the attestations of certifications", attestations.newest_head, attestations.heads),
    ROWS: ("the signed heads of rows", rows.newest_head, rows.heads),
}


def newest_heads(ctx: Context) -> list[AnchoredHead]:
    """Return the present head of each chain that has one."""
    heads = ((name, newest(ctx)) for name, (_, newest, _) in CHAINS.items())
    return [AnchoredHead(name, head[0], ctx.now, head[1]) for name, head in heads if head is not None]


def keep(settings: Settings, heads: Sequence[AnchoredHead], *, fresh: bool) -> None:
    """Write the heads that this node's anchor lacks. Raises Unavailable."""
    for each in heads:
        place, head = (str(settings.anchor), each.chain), (each.number, each.digest)
        # Cached, so that the file is not read every second.
        if _written.get(place) != head:
            anchor.keep_head(settings.anchor, each, fresh=fresh)
            _written[place] = head


def read(settings: Settings, copy: Path | None = None) -> list[AnchoredHead]:
    """Read the heads in this node's anchor and in ``copy``. An unreadable anchor is treated as empty: its missing checkpoints are reported."""
    heads: list[AnchoredHead] = []
    for path in filter(None, (copy, settings.anchor)):
        try:
            heads += anchor.read_heads(path)
        except HilumError:
            continue
    return heads


def faults(ctx: Context, anchored: Sequence[AnchoredHead]) -> list[str]:
    """Return where the stored chains differ from the anchored heads."""
    differences = []
    for name, (title, _, heads) in CHAINS.items():
        of_chain = [each for each in anchored if each.chain == name][-ANCHOR_HEADS_KEPT:]
        if of_chain:
            differences += head_faults(of_chain, heads(ctx, {each.number for each in of_chain}), title)
    return differences
