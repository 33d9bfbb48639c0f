"""The dependencies of the gateway, built by the composition root."""

from dataclasses import dataclass

from hilum.authorization.tokens.live import TokenTable
from hilum.controls.switches.live import Buckets
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web.urls import Urls
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from hilum.gateway.upstream.live import Upstreams
from hilum.records.audit.live import Intents, Journal
from hilum.records.keys.live import Vault


@dataclass(frozen=True, slots=True)
class GatewayDeps:
    """Everything outside the module that the gateway calls."""

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
