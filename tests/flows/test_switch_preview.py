"""Before a stop: what is open and would end, and which apps could stand in (C217)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.authorization.launches import store as launches
from hilum.authorization.launches.models import Launch
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import LaunchId, PersonId, TenantId
from hilum.policy.matrix.models import SYSTEM_CLIENT_LIFETIMES, UNCLASSIFIED
from tests.flows.control_site import ControlSite, build, in_a_browser, problem, with_policy
from tests.sim.world import FakeClock

GENERAL = TenantId("general")
SCOPES = ("launch", "openid", "fhirUser", "patient/Observation.rs")
HOUR = timedelta(hours=1)


@dataclass
class Ward:
    """A hospital with an app in use, and others."""

    site: ControlSite
    n: int = 0

    def app(self, *, installed: bool = True, certified: bool = True, category: str = UNCLASSIFIED) -> Client:
        do, self.n = self.site.system, self.n + 1
        vendor = do(
            registry.add_vendor, order=NewVendor(f"Vendor {self.n}", "help@v.example", "sec@v.example")
        )
        app = do(registry.add_app, order=NewApp(vendor.id, f"Number {self.n}", "Shows", "Review", category))
        version = do(registry.add_version, app_id=app.id, order=NewVersion("first"))
        metadata = in_a_browser(f"Client {self.n}", SCOPES)
        client, _ = do(clients.add_client, order=NewClient(app.id, version.id, metadata))
        ends = self.site.clock.now() + 24 * HOUR
        given = do(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, SCOPES, ends))
        if installed:
            do(installations.install, order=InstallOrder(GENERAL, app.id, frozenset({"physician"})))
        if not certified:
            do(registry.withdraw_certification, certification_id=given.id)
        made: Client = client
        return made

    def use(self, client: Client, person: str = "per_1", encounter: str = "enc-1", **launch: Any) -> None:
        """Have a person work with an app: a launch in an encounter, and a token."""
        self.n += 1
        now = self.site.clock.now()
        facts: dict[str, Any] = {"encounter": encounter, "used_at": now} | launch
        of = Launch(LaunchId(f"lch_{self.n}"), GENERAL, client.id, PersonId(person), now, now + HOUR, **facts)

        def verb(ctx: Context) -> None:
            secret = str(self.n).encode()
            launches.LAUNCHES.add(ctx.tx, of, handle_hash=secret, open_hash=secret, open_expires_at=now)
            app = registry.get_app(ctx, client.app)
            grant = Grant(
                GENERAL, client.id, client.app, client.version, app.vendor, SCOPES, PersonId(person)
            )
            tokens.mint(
                ctx, grant, offline=None, code_family=None, lifetimes=SYSTEM_CLIENT_LIFETIMES, life=HOUR
            )

        self.site.system(verb)

    def preview(self, kind: str, key: str, by: str = "sam") -> Any:
        return self.site.api(by).get("/switches/preview", params={"kind": kind, "key": key})


@pytest.fixture
def ward(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ward:
    return ward_on(sqlite_uow, clock)


def ward_on(uow: UnitOfWork, clock: FakeClock) -> Ward:
    return Ward(build(uow, clock, then=with_policy))


def row(answer: Any) -> dict[str, Any]:
    (found,) = answer.json()["hospitals"]
    return dict(found)


def test_it_shows_what_is_open_and_which_certified_app_could_stand_in(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C217: launches, encounters, tokens in force, people of the last hour, hospitals; and nothing is stopped."""
    ward = ward_on(uow, clock)
    stopped, other = ward.app(), ward.app()
    ward.use(stopped)
    ward.use(stopped, "per_2")
    ward.use(stopped, "per_2", "enc-2")
    ward.use(other)

    found = row(ward.preview("app", stopped.app))

    assert {name: found[name] for name in ("tenant", "launches", "encounters", "tokens", "people")} == {
        "tenant": "general",
        "launches": 3,
        "encounters": 2,
        "tokens": 3,
        "people": 2,
    }
    assert [each["app"] for each in found["stand_ins"]] == [other.app]
    assert ward.site.api("sam").get("/switches").json()["items"] == []


def test_what_is_over_is_not_open(ward: Ward, clock: FakeClock) -> None:
    stopped = ward.app()
    ward.use(stopped, ended_at=clock.now())
    ward.use(stopped, used_at=None)
    clock.advance(HOUR)

    found = row(ward.preview("app_tenant", f"{stopped.app}/general"))

    assert (found["launches"], found["encounters"], found["tokens"], found["people"]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "unlike",
    [
        {"installed": False},
        {"certified": False},
        {"category": "scheduling"},
    ],
)
def test_an_app_that_could_not_be_launched_there_for_the_same_does_not_stand_in(
    ward: Ward, unlike: dict[str, Any]
) -> None:
    stopped = ward.app()
    ward.app(**unlike)

    answer = ward.preview("app", stopped.app)

    assert row(answer)["stand_ins"] == []
    assert answer.json()["without_stand_in"] == ["general"]


def test_an_app_that_is_stopped_itself_does_not_stand_in(ward: Ward) -> None:
    stopped, other = ward.app(), ward.app()
    order = EngageOrder(Target(TargetKind.APP_TENANT, f"{other.app}/general"), Mode.FULL_STOP, "x")
    ward.site.system(controls.engage, order=order)

    assert row(ward.preview("app", stopped.app))["stand_ins"] == []


def test_a_person_a_vendor_and_the_platform_are_previewed_too(ward: Ward) -> None:
    stopped = ward.app()
    person = ward.site.people["ann"].id
    ward.use(stopped, person)
    ward.use(stopped, "per_2")
    vendor = ward.site.system(registry.get_app, app_id=stopped.app).vendor

    assert row(ward.preview("person", person))["tokens"] == 1
    assert row(ward.preview("app_person", f"{stopped.app}/{person}"))["launches"] == 1
    assert row(ward.preview("vendor", vendor))["tokens"] == 2
    assert row(ward.preview("version", stopped.version))["tokens"] == 2
    assert row(ward.preview("platform", ""))["people"] == 2
    assert ward.preview("scope", "patient/Observation.rs").json()["counted"] is False


@pytest.mark.parametrize(
    ("by", "kind", "status"), [("gina", "app", 403), ("carl", "app_tenant", 403), ("gina", "app_tenant", 200)]
)
def test_only_who_may_engage_a_switch_sees_what_it_would_stop(
    ward: Ward, by: str, kind: str, status: int
) -> None:
    app = ward.app().app

    assert ward.preview(kind, app if kind == "app" else f"{app}/general", by=by).status_code == status


def test_a_target_that_does_not_exist_is_none(ward: Ward) -> None:
    assert ward.preview("app", "app_none").status_code == 404
    assert problem(ward.preview("app", ""), 422, "switch_invalid")
