"""Writes the head of the policy's signed chain to the anchor, outside the database.

Whoever cuts off the end of a chain together with its audit records, while no process runs, is detected only by a copy elsewhere.
"""

from collections.abc import Sequence
from pathlib import Path

from cachetools import LRUCache

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import HilumError
from hilum.policy.matrix import service as policies
from hilum.records.audit import anchor
from hilum.records.audit.models import ANCHOR_HEADS_KEPT, Anchored, AnchoredHead
from hilum.records.audit.policy import head_faults

_written: LRUCache[tuple[str, str], tuple[int, str]] = LRUCache(16)
POLICY = "policy"
TITLE = "the policy's applications"


def newest_head(ctx: Context) -> list[AnchoredHead]:
    """Return the present head of the policy's chain; empty without one."""
    head = policies.newest_head(ctx)
    return [] if head is None else [AnchoredHead(POLICY, head[0], ctx.now, head[1])]


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


def read_ends(settings: Settings) -> list[Anchored]:
    """Read the last checkpoint in this node's anchor, and each after which the numbers went back. An unreadable anchor is treated as empty."""
    try:
        return anchor.read_ends(settings.anchor)
    except HilumError:
        return []


def faults(ctx: Context, anchored: Sequence[AnchoredHead]) -> list[str]:
    """Return where the stored chain differs from the anchored heads."""
    heads = [each for each in anchored if each.chain == POLICY][-ANCHOR_HEADS_KEPT:]
    return head_faults(heads, policies.heads(ctx, {each.number for each in heads}), TITLE) if heads else []
