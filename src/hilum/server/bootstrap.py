"""Opens what every process of Hilum needs first: the vault, the database, the unit of work, and the name of its audit chain."""

import os

from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.nodes import Node, name_of
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.records.audit import service as audit
from hilum.records.keys import live as keys

BOOT_VARIABLE = "_HILUM_BOOT"
"""The environment variable by which the supervisor passes the id of this start of the node to its children."""


def open_uow(settings: Settings, clock: Clock, ids: Ids, part: str) -> UnitOfWork:
    """Open the control plane for one process. Its audit chain is named after the host, ``part`` and a random id of this start."""
    keys.install(keys.Vault(settings.secret_key))
    writer = f"{os.uname().nodename[:40]}-{part}-{ids.new('b')[2:]}"
    return UnitOfWork.create(Database(settings.database_url), clock, ids, writer, append=audit.record)


def node_of(settings: Settings, ids: Ids) -> Node:
    """Describe the node that this process belongs to. The processes of one supervisor share its boot."""
    name = name_of(settings.data_dir, settings.node)
    return Node(name, settings.workers, release(), os.environ.get(BOOT_VARIABLE) or ids.new("boot"))
