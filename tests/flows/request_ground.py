"""A certified app that two hospitals may install, and people who ask for it, on the site of the control plane."""

from datetime import timedelta
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.policy.matrix.models import UNCLASSIFIED
from tests.flows.control_site import build, everybodys_digest
from tests.sim.world import FakeClock

GENERAL = TenantId("general")
READS = ("launch", "openid", "fhirUser", "patient/Observation.rs", "patient/Condition.rs")
QUARTER = timedelta(days=90)


class RequestGround:
    """An app at two hospitals: ``ann`` is a physician, ``nora`` a nurse, ``gina`` and ``greg`` administer the general hospital."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock) -> None:
        self.clock, self.site = clock, build(uow, clock)
        self.vendor, self.app = self.site.furnished("an app to ask for", self._furnish)
        self.clients: dict[str, Any] = {}

    def _furnish(self) -> tuple[VendorId, str]:
        for username, role in (("nora", "nurse"), ("greg", "administrator"), ("pat", "patient")):
            self.join(GENERAL, username, role)
        do = self.site.system
        self.vendor = do(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example")).id
        self.join(self.vendor, "dev", "vendor_developer")
        app = self.add_app("Chart")
        self.certify(app, "1", READS)
        return self.vendor, app

    def join(self, place: str, username: str, role: str) -> str:
        order = NewPerson(TenantId(place), username, username.title(), role)
        person = self.site.system(identity.add_person, order=order)
        self.site.people[username] = person
        self.site.system(signin.set_password, person_id=person.id, digest=everybodys_digest())
        return str(person.id)

    def add_app(self, name: str, category: str = UNCLASSIFIED) -> str:
        order = NewApp(self.vendor, name, "Shows", "Review", category)
        return str(self.site.system(registry.add_app, order=order).id)

    def certify(
        self,
        app: str,
        label: str,
        scopes: tuple[str, ...],
        *,
        kind: ClientType = ClientType.PUBLIC,
        **declared: Any,
    ) -> str:
        """Add a version that is certified for scopes, with a client of it; return the client."""
        do = self.site.system
        version = do(registry.add_version, app_id=app, order=NewVersion(label, **declared))
        ends = self.clock.now() + QUARTER
        do(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, scopes, ends))
        metadata = ClientMetadata(
            name=f"{label} of {app[-4:]}",
            type=kind,
            deployment=Deployment.BROWSER if kind is ClientType.PUBLIC else Deployment.SERVER,
            environment=Environment.SANDBOX,
            redirect_uris=("https://app.example/cb",),
            launch_uri="https://app.example/launch",
            scopes=scopes,
        )
        client, _ = do(clients.add_client, order=NewClient(app, version.id, metadata))  # type: ignore[arg-type]
        return str(client.id)

    def api(self, who: str) -> Any:
        """Return one caller for each person, who may have only so many API tokens."""
        if who not in self.clients:
            self.clients[who] = self.site.api(who)
        return self.clients[who]

    def leave(self, who: str) -> None:
        """Deactivate somebody of the general hospital."""
        answer = self.api("gina").delete(f"/people/{self.site.people[who].id}")
        assert answer.status_code == 200, answer.text

    def ask(self, who: str, app: str = "", **more: Any) -> Any:
        body = {"app": app or self.app, "roles": ["physician"], "reason": "for the ward"} | more
        return self.api(who).post("/requests", json=body)

    def waiting(self, who: str = "gina") -> Any:
        return self.api(who).get("/requests?state=open").json()["items"]

    def decide(self, who: str, verb: str, request: str = "", **body: Any) -> Any:
        """Approve or decline a request, by default the oldest that waits."""
        return self.api(who).post(f"/requests/{request or self.waiting()[0]['id']}/{verb}", json=body)

    def installed(self, who: str = "gina") -> Any:
        return self.api(who).get("/installations").json()["items"]
