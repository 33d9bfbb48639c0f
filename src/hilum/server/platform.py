"""Builds the platform of one worker: wires every module once, behind one ASGI callable."""

import asyncio
import gc
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hilum.authorization.tokens.live import TokenTable
from hilum.controls.switches import policy as controls
from hilum.controls.switches import service as kill_switches
from hilum.controls.switches.live import Buckets
from hilum.controls.switches.models import Subject, Switch
from hilum.foundation.infra import lanes, metrics
from hilum.foundation.infra.change_feed import open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.heartbeat import Heartbeat
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.nodes import name_of
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.web import errors, problems
from hilum.foundation.web.asgi import App, Receive, Scope, Send
from hilum.foundation.web.bounds import Limits, RefusalDelay, RequestsInProgress
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.pages import NO_DEFAULTS, PageDefaults, Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.foundation.web.urls import Urls, host_of
from hilum.gateway.enforcement.batches import Batches
from hilum.gateway.enforcement.deps import GatewayDeps
from hilum.gateway.enforcement.platform_reads import PlatformReads
from hilum.gateway.enforcement.routes import Gateway
from hilum.gateway.enforcement.service import Enforcer
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from hilum.gateway.upstream.access import asserts_by
from hilum.gateway.upstream.live import Upstreams
from hilum.identity.people import service as identity
from hilum.policy.matrix.models import TrafficClass
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys.live import vault
from hilum.server import ehr, mounts
from hilum.server.asgi import Dispatcher
from hilum.server.bootstrap import node_of, open_uow
from hilum.server.connections import Connections
from hilum.server.lanes import in_lanes
from hilum.server.operations import WORKERS
from hilum.server.readiness import (
    OTHER_COPY,
    RELEASE_CLOSED,
    SNAPSHOT_STALE,
    STOPPED,
    Directory,
    Readiness,
    audit_unavailable,
)
from hilum.server.refusals import refuser
from hilum.server.reports import Faults, Reporter
from hilum.server.serve import address_of, connections_of
from hilum.surfaces.console.ports import Health

T = TypeVar("T")
HERE = Path(__file__).parent
COLLECT_EVERY = 20_000
"""Objects allocated and not freed before the collector examines its youngest generation."""


@dataclass(frozen=True, slots=True)
class Platform:
    """One worker's platform. ``dispatcher`` is what a server calls; the rest is for tests and tools."""

    dispatcher: App
    kit: Kit
    keeper: SnapshotKeeper
    journal: journals.Journal
    fetcher: SafeFetcher
    upstreams: Upstreams
    servers: ehr.FhirServers


def build(settings: Settings, clock: Clock, ids: Ids) -> Platform:
    """Wire the modules. No network connection is opened and no thread started before the lifespan begins."""
    uow = open_uow(settings, clock, ids, "web")
    keeper = _keeper(uow, name_of(settings.data_dir, settings.node))
    urls = Urls(
        settings.base_url, settings.sandbox_url, own_origin=lambda tenant: _own_origin(keeper, tenant)
    )
    heartbeat = Heartbeat(uow.db, clock, node_of(settings, ids))
    servers = ehr.fhir_servers(settings, urls, clock, ids, alone=lambda: heartbeat.state.alone)
    fetcher = SafeFetcher(allow_private=settings.opens_private_fetches)
    upstreams = Upstreams(vault(), servers.find, client_assertion=asserts_by(uow))
    journal = journals.open_journal(settings.database_url, settings.journal_dir, uow.writer, ids, clock=clock)
    assets = Assets(*mounts.static_folders())
    pages = _shell(settings, urls, assets, keeper)
    at_stop: list[Callable[[], None]] = []
    authenticate, record_forbidden = mounts.callers(uow, at_stop, production=not settings.is_sandbox)
    kit = Kit(
        uow=uow,
        clock=clock,
        ids=ids,
        urls=urls,
        mode=settings.mode,
        pages=pages,
        authenticate=authenticate,
        record_forbidden=record_forbidden,
    )
    enforcer = Enforcer(
        GatewayDeps(
            keeper,
            TokenTable(uow.reads, uow.write),
            Buckets(clock, workers=lambda: heartbeat.state.workers),
            upstreams,
            journal,
            urls,
            vault(),
            clock,
            ids,
            _intents(settings, uow),
            registers=settings.opens_private_fetches,
        )
    )
    directory = PlatformReads(enforcer, clock)
    refusal_delay = RefusalDelay()
    in_progress = RequestsInProgress(Limits(source_requests=settings.source_requests))
    readiness = _readiness(settings, keeper, heartbeat, journal, clock)
    reporter = Reporter(WORKERS, clock, faults=readiness.check, notices=lambda: _notices(keeper, clock))
    connections = Connections(connections_of(settings), address_of(settings.listen)[1])
    _measure(keeper, journal, in_progress, upstreams)
    health = partial(_health, keeper, journal, readiness)
    site = mounts.Site(kit, fetcher, directory, settings, at_stop, health, partial(_generation, keeper))
    dispatcher = Dispatcher(
        in_lanes(_split(_pages(site, keeper, assets, readiness), mounts.api(site))),
        gateway=Gateway(enforcer, Batches(enforcer, clock, ids), refusal_delay),
        refusal_delay=refusal_delay,
        hosts=_hosts(settings, keeper),
        ids=ids,
        trusted_proxies=settings.trusted_proxies,
        lifespan=lambda: _lifespan(
            _Threads(uow, keeper, heartbeat, journal, reporter, connections),
            site.at_stop,
            upstreams,
            servers,
        ),
        refuse=refuser(pages),
        in_progress=in_progress,
        closed=lambda: not heartbeat.state.gate.opens,
    )
    return Platform(dispatcher, kit, keeper, journal, fetcher, upstreams, servers)


def _intents(settings: Settings, uow: UnitOfWork) -> journals.Intents:
    return journals.Intents(
        lambda: journals.open_reader(settings.journal_dir, settings.database_url),
        lambda look: uow.reads(lambda _: look()),
    )


def _health(keeper: SnapshotKeeper, journal: journals.Journal, readiness: Readiness) -> Health:
    return Health(keeper.age_s(), journal.waiting, journal.failing, readiness.faults)


def _generation(keeper: SnapshotKeeper) -> object:
    """Return a value that changes whenever the snapshot changes."""
    snapshot = keeper.current()
    return None if snapshot is None else (snapshot.epoch, id(snapshot))


def _shell(settings: Settings, urls: Urls, assets: Assets, keeper: SnapshotKeeper) -> Pages:
    links = (
        (Sentence("Sandbox"), urls.sandbox()),
        (Sentence("Accounts"), urls.sandbox("/accounts")),
    )
    shown = links if settings.is_sandbox else ()
    shell = Shell(
        sandbox=settings.is_sandbox,
        links=shown,
        secure=urls.is_secure(),
        defaults=lambda tenant: _page_defaults(keeper, tenant),
        opens_an_app=mounts.opens_an_app,
    )
    return Pages(assets, shell, folders=[*mounts.template_folders(), HERE / "templates"])


def _keeper(uow: UnitOfWork, node: str) -> SnapshotKeeper:
    def record(switch: Switch, took: timedelta) -> None:
        ms = round(took.total_seconds() * 1000, 3)
        facts = {"switch": switch.id, "node": node, "worker": uow.writer, "ms": ms}
        metrics.SWITCH_SECONDS.observe(took.total_seconds())
        event = Event("gateway.switch.enforced", tenant=switch.tenant, facts=facts)
        uow.write_now(
            lambda ctx: audit.record(ctx, event), actor=SYSTEM, trace=Trace(uow.ids.new("req"), "worker")
        )

    def engage_lost(lost: list[Switch]) -> None:
        trace = Trace(uow.ids.new("req"), "worker")
        if lost:
            uow.write_now(lambda ctx: kill_switches.engage_lost(ctx, lost), actor=SYSTEM, trace=trace)

    def read(verb: Callable[[Context], T], /) -> T:
        with lanes.using(Lane.WATCH):
            return uow.read_now(verb, actor=SYSTEM, trace=Trace("snapshot", "worker"))

    def load(verb: Callable[[Context], T], /) -> T:
        # A connection of its own: a part that takes seconds
        # to read must not keep switches unseen by the watch.
        with lanes.using(Lane.LOAD):
            return uow.read_now(verb, actor=SYSTEM, trace=Trace("snapshot", "worker"))

    signal = open_change_feed(uow.db, uow.clock)
    # After a failover the pooled connections may still lead to the other copy of the database.
    return SnapshotKeeper(
        read,
        signal,
        uow.clock,
        load=load,
        on_stop=record,
        on_other_copy=uow.db.dispose,
        on_lost=engage_lost,
    )


def _page_defaults(keeper: SnapshotKeeper, tenant: str) -> PageDefaults:
    """Return the language and the zone of a hospital's pages, and the origins that may frame them while an app opens."""
    snapshot = keeper.current()
    facts = snapshot.identity.tenants.get(TenantId(tenant)) if snapshot is not None else None
    return NO_DEFAULTS if facts is None else PageDefaults(facts.language, facts.time_zone, facts.ehr_origins)


def _own_origin(keeper: SnapshotKeeper, tenant: str) -> str:
    snapshot = keeper.current()
    facts = snapshot.identity.tenants.get(TenantId(tenant)) if snapshot is not None else None
    return facts.base_url if facts is not None else ""


def _hosts(settings: Settings, keeper: SnapshotKeeper) -> Callable[[], frozenset[str]]:
    own = frozenset({host_of(settings.base_url)})
    cached: tuple[object, frozenset[str]] = (None, own)

    def hosts() -> frozenset[str]:
        nonlocal cached
        snapshot = keeper.current()
        if snapshot is None:
            # Without a current snapshot the last names stay valid; the request itself is refused with 503.
            return cached[1]
        if cached[0] is not snapshot.identity:
            origins = (tenant.base_url for tenant in snapshot.identity.tenants.values() if tenant.base_url)
            cached = (snapshot.identity, own | {host_of(origin) for origin in origins})
        return cached[1]

    return hosts


def _split(pages: App, api: App) -> App:
    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        await (api if scope["path"].startswith("/api/") else pages)(scope, receive, send)

    return site


def _readiness(
    settings: Settings, keeper: SnapshotKeeper, heartbeat: Heartbeat, journal: journals.Journal, clock: Clock
) -> Readiness:
    """Build the checks of what every answer depends on. The directory matters only if the journal is in it (SQLite)."""
    directory = Directory(settings.journal_dir, clock)
    return Readiness(
        lambda: None if heartbeat.state.gate.opens else RELEASE_CLOSED,
        lambda: SNAPSHOT_STALE if keeper.current() is None else None,
        lambda: audit_unavailable(journal.fault) if journal.failing else None,
        lambda: directory.fault() if settings.database_url.startswith("sqlite") else None,
    )


def _notices(keeper: SnapshotKeeper, clock: Clock) -> Faults:
    """Return the notices of a ready worker: a kill switch stops the whole platform; a failover lost changes."""
    snapshot = keeper.current()
    if snapshot is None:
        return {}
    stop = controls.stopped_by(snapshot.controls.switches, Subject(), now=clock.now(), issued_at=None)
    notices = dict([STOPPED]) if stop is not None else {}
    if snapshot.earlier:
        notices |= dict([OTHER_COPY])
    return notices


def _measure(
    keeper: SnapshotKeeper, journal: journals.Journal, in_progress: RequestsInProgress, upstreams: Upstreams
) -> None:
    metrics.SNAPSHOT_AGE.follow(keeper.age_s)
    metrics.JOURNAL_QUEUE.follow(lambda: journal.waiting)
    metrics.REQUESTS_UNDER_WAY.follow(lambda: in_progress.requests)
    metrics.BODY_BYTES.follow(lambda: in_progress.body_bytes)
    for traffic in TrafficClass:
        metrics.TRAFFIC_PLACES.follow(partial(upstreams.held, traffic.rank), traffic, "held")
        metrics.TRAFFIC_PLACES.follow(partial(upstreams.waiting, traffic.rank), traffic, "waiting")


def _pages(site: mounts.Site, keeper: SnapshotKeeper, assets: Assets, readiness: Readiness) -> Starlette:
    async def alive(_request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def ready(_request: Request) -> Response:
        serves = keeper.current() is not None and not readiness.faults
        headers = {} if serves else {"retry-after": str(problems.RETRY_AFTER_S)}
        return JSONResponse({"status": "ready" if serves else "not ready"}, 200 if serves else 503, headers)

    async def home(request: Request) -> Response:
        urls = site.kit.urls

        def list_tenants(ctx: Context) -> list[dict[str, str]]:
            return [
                {
                    "name": tenant.name,
                    "fhir": urls.fhir_base(tenant.id),
                    "signin": urls.signin(tenant.id),
                    "manage": urls.manage(tenant.id),
                    "discovery": urls.smart_configuration(tenant.id),
                }
                for tenant in identity.list_shared(ctx)
                if tenant.active
            ]

        trace = Trace(request.scope["state"]["request_id"])
        tenants = await site.kit.uow.read(list_tenants, trace=trace)
        return site.kit.pages.render(
            request,
            "app/home.html",
            tenants=tenants,
            ready=keeper.current() is not None,
            sandbox_url=urls.sandbox() if site.kit.is_sandbox else "",
        )

    own: list[BaseRoute] = [
        Route("/", home),
        Route("/healthz", alive),
        Route("/readyz", ready),
        *assets.routes(),
    ]
    app = Starlette(routes=[*own, *mounts.pages(site)])
    errors.install(app, site.kit.pages)
    return app


def _tune_collector() -> None:
    """Make the garbage collector run rarely: a request's objects are freed by reference count, and modules live as long as the worker."""
    # A full collection stops all threads while it walks the snapshot, a quarter of a second with a
    # million installations (ADR 5). Frozen objects are not walked.
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 20, 50)


@dataclass(frozen=True, slots=True)
class _Threads:
    """The parts of a worker that run in their own threads, from the start of the lifespan to its end."""

    uow: UnitOfWork
    keeper: SnapshotKeeper
    heartbeat: Heartbeat
    journal: journals.Journal
    reporter: Reporter
    connections: Connections


def _end_waits_at_sigterm(loop: asyncio.AbstractEventLoop, at_stop: list[Callable[[], None]]) -> None:
    """Call ``at_stop`` at SIGTERM, before the server stops: it ends the lifespan only after every response, and a stream would never end."""
    stop = signal.getsignal(signal.SIGTERM)

    def end_waits() -> None:
        for each in at_stop:
            each()

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end_waits)
        assert callable(stop), "only then is it called"
        stop(number, frame)

    # Else this is no server's worker.
    if callable(stop):
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, on_sigterm)


@asynccontextmanager
async def _lifespan(
    threads: _Threads, at_stop: list[Callable[[], None]], *closing: Upstreams | ehr.FhirServers
) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    _end_waits_at_sigterm(loop, at_stop)
    # The heartbeat first: it decides whether this release may serve at all. The snapshot second, so
    # that the first request finds one.
    await loop.run_in_executor(None, threads.heartbeat.start)
    await loop.run_in_executor(None, threads.keeper.start)
    # The first record retries; until it succeeds, readiness reports that the audit is unavailable.
    with suppress(Unavailable):
        await loop.run_in_executor(None, threads.journal.start)
    threads.reporter.start(loop)
    threads.connections.start()
    _tune_collector()
    try:
        yield
    finally:
        # The journal after everything that may still record, and the unit of work last, whose connections
        # all the others use.
        for each in closing:
            await each.close()
        threads.connections.stop()
        await loop.run_in_executor(None, threads.reporter.stop)
        await loop.run_in_executor(None, threads.keeper.stop)
        await loop.run_in_executor(None, threads.heartbeat.stop)
        await loop.run_in_executor(None, threads.journal.close)
        threads.uow.close()
