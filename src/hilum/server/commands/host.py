"""Shared by the host commands: settings, the database and the actor."""

import getpass
import os
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import inspect
from sqlalchemy.exc import SQLAlchemyError

from hilum.foundation.infra import settings
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.database_clock import steady
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.schema_gate import ALEMBIC_TABLE
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import PersonId
from hilum.records.audit import policy
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys import live as keys
from hilum.surfaces.cli.output import refuse

T = TypeVar("T")
SQLITE = "sqlite:///"
KEY_FILE = "secret-key"
"""The file of a sandbox's own key, in its data directory."""


def read_settings() -> settings.Settings:
    """Read the settings. Exits 1 with what is wrong with each."""
    try:
        return settings.read(os.environ)
    except Invalid as error:
        # Whoever reads "the key is missing" makes a new one, which would orphan all sealed data. So this case
        # has an advice of its own.
        if "HILUM_SECRET_KEY" in error.fields:
            refuse_new_key()
        refuse(error)


def refuse_new_key() -> None:
    """Exit 1 if the database has data: it opens only with the key that it was sealed with, and a new key would orphan it."""
    values = {each.name: os.environ.get(each.name, "") or each.default for each in settings.SETTINGS}
    url, kept = values["HILUM_DATABASE_URL"], Path(values["HILUM_DATA_DIR"]) / KEY_FILE
    if not _holds_tables(url):
        return
    where = url.removeprefix(SQLITE) if url.startswith(SQLITE) else "the database of HILUM_DATABASE_URL"
    advice = (
        f'This sandbox keeps it in {kept}: export HILUM_MODE=sandbox HILUM_SECRET_KEY="$(cat {kept})"'
        if kept.is_file()
        else "Restore it from where you keep it: your secret store, or the settings of another node. A backup does not contain it"
    )
    refuse(
        NotPermitted(
            "secret_key_missing",
            f"HILUM_SECRET_KEY is missing or shorter than {settings.SECRET_KEY_MIN} characters, and {where} holds data already. "
            f"Only the key that it was created with opens it, so do not create a new one. {advice}.",
        )
    )


def _holds_tables(url: str) -> bool:
    """Check whether there is a database with tables, without creating one. One that does not answer counts as none."""
    # SQLite would create the file by connecting.
    if url.startswith(SQLITE) and not Path(url.removeprefix(SQLITE)).is_file():
        return False
    try:
        database = Database(url)
    except SQLAlchemyError:
        return False
    try:
        return database.read(lambda tx: inspect(tx).has_table(ALEMBIC_TABLE))
    except HilumError:
        return False
    finally:
        database.dispose()


def actor() -> Actor:
    """Return the actor of host commands: ``host:<user>``, whoever has the shell."""
    # The name of the shell's user is in the record. It proves nothing, so the host is never a second person.
    return Actor(ActorKind.HOST, getpass.getuser(), roles=frozenset({"platform_admin"}))


def now() -> datetime:
    """Return the time on this host."""
    return SystemClock().now()


def open_uow(found: settings.Settings) -> UnitOfWork:
    """Open the control plane for one host command. The caller closes it."""
    keys.install(keys.Vault(found.secret_key))
    return UnitOfWork.create(
        Database(found.database_url),
        # The time of the database, as the nodes have it, and not of this machine: what this command issues or
        # ends is compared with theirs.
        steady(found.database_url, SystemClock()),
        SystemIds(),
        f"host-{os.uname().nodename}",
        # The chain of audit events is shared by all commands of this
        # host, so that its row is locked and its end not cached.
        shares_chain=True,
        append=audit.record,
    )


def write(verb: Callable[[Context], T]) -> T:
    """Run one verb as ``host:<user>`` in a writing transaction."""
    return _run(verb, writing=True)


def read(verb: Callable[[Context], T]) -> T:
    """Run one verb as ``host:<user>`` in a reading transaction."""
    return _run(verb, writing=False)


def names_of(people: Collection[str]) -> dict[str, str]:
    """Return people's names by their ids."""
    from hilum.identity.people import service as identity

    ids = [PersonId(each) for each in people]
    return {str(id_): name for id_, name in read(lambda ctx: identity.list_names(ctx, ids)).items()}


def read_audited(verb: Callable[[Context], tuple[T, Event]], read_event: Event) -> T:
    """Read the audit record as ``host:<user>``, and record that it was read before anything is shown (C155)."""

    # NotFound is returned and not raised: a refused read is recorded too, in the transaction that follows.
    def tried(ctx: Context) -> tuple[T | HilumError, Event]:
        try:
            return verb(ctx)
        except NotFound as error:
            return error, policy.refused(read_event, error.code)

    found, event = read(tried)
    # A second transaction, because verifying reads for minutes
    # and a write transaction on SQLite would block all writers.
    write(lambda ctx: audit.record(ctx, event))
    if isinstance(found, HilumError):
        refuse(found)
    return found


def _run(verb: Callable[[Context], T], *, writing: bool) -> T:
    from hilum.server.commands.preflight import require_schema_of

    uow = open_uow(read_settings())
    trace = Trace(uow.ids.new("req"), source="host")
    try:
        # In a transaction of its own: a write reads tables before its verb runs, and there may be none yet.
        uow.read_now(require_schema_of, trace=trace)
        run = uow.write_now if writing else uow.read_now
        return run(verb, actor=actor(), trace=trace)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()
