"""P22: the nightly round over ten thousand certified apps: what it costs, how much it does at once, and how far it says that it is.

The addresses answer at once here, so this is what the platform itself needs. What hosts need comes on top: at most AT_ONCE of them are
asked together, for at most LOOK_WITHIN each.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from itertools import islice, pairwise
from threading import Event

from hilum.apps.clients.store import clients
from hilum.apps.registry.models import Profile
from hilum.apps.registry.store import apps, certifications, profiles, vendors, versions
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.policy.matrix import service as policies
from hilum.records.keys import live as keys
from hilum.review.certificates import service as certificates
from hilum.review.certificates.models import Addresses
from hilum.review.recertification import service
from hilum.review.recertification.jobs import run
from hilum.review.recertification.models import AT_ONCE, BATCH, Round
from hilum.review.submissions.models import Kind, Look, Target
from hilum.server.schedule import JobLease
from tests.bench import dry_runs
from tests.bench.figures import Figure
from tests.bench.setup import TRACE
from tests.sim.postgres import Cluster

APPS = int(os.environ.get("BENCH_APPS", "10000"))
TARGET_S = 900.0
AT = Addresses("https://hilum.example/certificates", "https://hilum.example/certificates/status")
HOST = "https://app-{n}.example"
_STATED = asdict(Profile())
_STATED.pop("revision")


@dataclass
class World:
    """Every address answers as it should; how many are asked together, and what the round says meanwhile, is kept."""

    uow: UnitOfWork
    at_once: int = 0
    asked: int = 0
    seen: list[Round] = field(default_factory=list)

    def look_at(self, targets: Sequence[Target]) -> list[Look]:
        self.at_once, self.asked = max(self.at_once, len(targets)), self.asked + len(targets)
        self.seen.append(self.uow.read_now(service.progress, actor=SYSTEM, trace=TRACE))
        return [_look(each) for each in targets]


def figures() -> list[Figure]:
    keys.install(keys.Vault(dry_runs.SECRET))
    with tempfile.TemporaryDirectory() as folder:
        took, used, world = _night(f"sqlite:///{folder}/hilum.db")
    cluster = Cluster()
    try:
        over, own, on_postgresql = _night(cluster.url)
    finally:
        cluster.stop()
    worst = max(took, over)
    at_once = max(world.at_once, on_postgresql.at_once)
    done = [each.done for each in on_postgresql.seen]
    told = all(0 <= after - before <= BATCH for before, after in pairwise(done))
    return [
        Figure(
            "P22",
            f"nightly round over {APPS:,} certified apps, hosts aside, SQLite / PostgreSQL",
            worst,
            f"{took:.0f} / {over:.0f} s",
            f"<= {TARGET_S:.0f} s, <= {AT_ONCE} at once",
            worst <= TARGET_S and at_once <= AT_ONCE and told and on_postgresql.seen[-1].total == APPS,
            [
                f"{world.asked:,} addresses, at most {at_once} at once; CPU of the process: {used:.0f} / {own:.0f} s",
                f"{len(done):,} looks at the progress: from {done[0]:,} to {done[-1]:,} of {on_postgresql.seen[-1].total:,}, by at most {BATCH}",
            ],
        )
    ]


def _night(url: str) -> tuple[float, float, World]:
    migrate(url)
    uow = UnitOfWork.create(Database(url), SystemClock(), SystemIds(), "bench")
    _fill(uow)
    world = World(uow)
    lease = JobLease(uow, "revalidation", "bench", Event())
    began, used = time.perf_counter(), time.process_time()
    run(lease, world.look_at, service.Use(lambda *_: ()), lambda: True)
    took = time.perf_counter() - began, time.process_time() - used
    over = uow.read_now(service.progress, actor=SYSTEM, trace=TRACE)
    assert (over.done, over.is_over) == (APPS, True), over
    uow.close()
    return *took, world


def _fill(uow: UnitOfWork) -> None:
    uow.write_now(policies.adopt_shipped, actor=SYSTEM, trace=TRACE)
    made = list(islice(dry_runs.made_apps(), APPS))
    fill = partial(dry_runs.insert, uow.db)
    vendor = {
        "id": "ven_1",
        "name": "Lumen",
        "support_contact": "help@v.example",
        "security_contact": "sec@v.example",
        "website": "",
    }
    fill(vendors, [vendor])
    fill(apps, (each["app"] for each in made))
    fill(versions, (each["version"] for each in made))
    # Long enough ago that the use of its scopes is looked at too.
    then = dry_runs.NOW - timedelta(days=100)
    fill(certifications, (each["certification"] | {"certified_at": then} for each in made))
    fill(clients, (each["client"] | _addresses(n) for n, each in enumerate(made)))
    fill(profiles, (_profile(n) for n in range(APPS)))
    while uow.write_now(partial(certificates.step, at=AT), actor=SYSTEM, trace=TRACE):
        pass


def _addresses(n: int) -> dict[str, object]:
    host = HOST.format(n=n)
    return {"redirect_uris": [f"{host}/cb"], "launch_uri": f"{host}/launch", "jwks_uri": f"{host}/jwks.json"}


def _profile(n: int) -> dict[str, object]:
    host = HOST.format(n=n)
    return {
        "app": f"app_{n}",
        "revision": 1,
        "stated": _STATED | {"privacy_policy": f"{host}/privacy", "terms": f"{host}/terms"},
    }


def _look(target: Target) -> Look:
    keys_ = (("k1", "0" * 64),) if target.kind is Kind.KEYS else ()
    return Look(target.kind, target.url, status=200, sha256="0" * 64, size=100, keys=keys_)
