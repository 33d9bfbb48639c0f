"""What the host commands share: settings, the database and who acts."""

import getpass
import os
from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

from hilum.audit import policy
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.cli.output import refuse
from hilum.infra import settings
from hilum.infra.clocks import steady
from hilum.infra.context import Context, Trace
from hilum.infra.db import Database
from hilum.infra.edge import Edge
from hilum.infra.system import SystemClock, SystemIds
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import HilumError, Invalid, NotFound
from hilum.keys import live as keys

T = TypeVar("T")


def read_settings() -> settings.Settings:
    """Read the settings, or refuse with what is wrong with each."""
    try:
        return settings.read(os.environ)
    except Invalid as error:
        refuse(error)


def actor() -> Actor:
    """Name the one who has the shell."""
    return Actor(ActorKind.HOST, getpass.getuser(), roles=frozenset({"platform_admin"}))


def now() -> datetime:
    """Return the time on this host."""
    return SystemClock().now()


def open_edge(found: settings.Settings) -> Edge:
    """Open the control plane for one host command. The caller closes it."""
    keys.install(keys.Vault(found.secret_key))
    return Edge.create(
        Database(found.database_url),
        steady(found.database_url, SystemClock()),
        SystemIds(),
        f"host-{os.uname().nodename}",
        shares_chain=True,
    )


def write(verb: Callable[[Context], T]) -> T:
    """Run one verb as ``host:<user>`` in a writing transaction."""
    return _run(verb, writing=True)


def read(verb: Callable[[Context], T]) -> T:
    """Run one verb as ``host:<user>`` in a reading transaction."""
    return _run(verb, writing=False)


def look(verb: Callable[[Context], tuple[T, Event]], looked: Event) -> T:
    """Read the record as ``host:<user>`` and put on record that it was read, before anything of it is shown (C155)."""

    def tried(ctx: Context) -> tuple[T | HilumError, Event]:
        try:
            return verb(ctx)
        except NotFound as error:
            return error, policy.refused(looked, error.code)

    found, told = read(tried)
    write(lambda ctx: audit.record(ctx, told))
    if isinstance(found, HilumError):
        refuse(found)
    return found


def _run(verb: Callable[[Context], T], *, writing: bool) -> T:
    edge = open_edge(read_settings())
    trace = Trace(edge.ids.new("req"), source="host")
    try:
        run = edge.write_now if writing else edge.read_now
        return run(verb, actor=actor(), trace=trace)
    except HilumError as error:
        refuse(error)
    finally:
        edge.close()
