"""The dependencies of the gateway, built by the composition root."""

from dataclasses import dataclass

from hilum.audit.live import Intents, Journal
from hilum.controls.live import Buckets
from hilum.gateway.snapshot import SnapshotKeeper
from hilum.kernel.ports import Clock, Ids
from hilum.keys.live import Vault
from hilum.tokens.live import TokenTable
from hilum.upstream.live import Upstreams
from hilum.web.urls import Urls


@dataclass(frozen=True, slots=True)
class GatewayDeps:
    """Everything outside the room that the gateway calls."""

    snapshots: SnapshotKeeper
    tokens: TokenTable
    buckets: Buckets
    upstreams: Upstreams
    journal: Journal
    urls: Urls
    vault: Vault
    clock: Clock
    ids: Ids
    intents: Intents
    registers: bool = False
    """Dynamic registration is open here, so the public statement names its address."""
