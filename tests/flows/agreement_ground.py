"""An app that needs an agreement between its vendor and a hospital."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.apps.agreements import service
from hilum.apps.agreements.models import AGREEMENTS
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVersion
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from tests.flows.control_site import TRACE, ControlSite
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.proofs import certify

DIGEST, OTHER_DIGEST = "a" * 64, "b" * 64
SCOPES = ("launch", "openid", "fhirUser", "patient/Observation.rs")
BAA = "business_associate"


def confirm(client: Any, agreement: str, document: str) -> Any:
    """Confirm an agreement as somebody who has read it."""
    version = client.get(f"/agreements/{agreement}").json().get("etag", "")
    return client.post(
        f"/agreements/{agreement}/confirm", json={"document": document}, headers={"If-Match": f'"{version}"'}
    )


class Ground:
    """A vendor with a certified app of a category whose entry needs a business associate agreement, and the hospital Mercy."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        made = site.furnished("a helper that needs an agreement", self._furnish)
        self.vendor, self.other, self.app, self.client = made
        self.owner, self.mary = site.api("acme.owner"), site.api("mary")

    def _furnish(self) -> tuple[str, str, AppId, ClientId]:
        vendor = furnish_vendor(self.site, "Acme", "acme")
        other = furnish_vendor(self.site, "Bolt", "bolt")
        do = self.site.system
        order = NewApp(VendorId(vendor), "Helper", "d", "p", "clinical_decision_support")
        app = do(registry.add_app, order=order)
        version = do(registry.add_version, app_id=app.id, order=NewVersion("1"))
        ends = self.site.clock.now() + timedelta(days=360)
        for environment in (Environment.SANDBOX, Environment.PRODUCTION):
            do(certify, order=CertifyOrder(version.id, environment, SCOPES, ends))
        metadata = ClientMetadata(
            name="Helper",
            type=ClientType.SYMMETRIC,
            deployment=Deployment.SERVER,
            environment=Environment.PRODUCTION,
            redirect_uris=("https://app.example/cb",),
            launch_uri="https://app.example/launch",
            scopes=SCOPES,
        )
        client, _ = do(clients.add_client, order=NewClient(app.id, version.id, metadata))
        return vendor, other, app.id, client.id

    def body(self, **change: Any) -> dict[str, Any]:
        now = self.site.clock.now()
        return {
            "vendor": self.vendor,
            "tenant": "mercy",
            "kind": BAA,
            "parties": ["Acme, Inc.", "Mercy Hospital"],
            "document": DIGEST,
            "effective_at": now.isoformat(),
            "ends_at": (now + timedelta(days=100)).isoformat(),
        } | change

    def agree(self, **change: Any) -> str:
        """Record an agreement for the vendor and confirm it for the hospital."""
        body = self.body(**change)
        found = made(self.owner.post("/agreements", json=body))
        made(confirm(self.mary, found["id"], body["document"]), 200)
        return str(found["id"])

    def install(self, *roles: str) -> Any:
        body = {"tenant": "mercy", "app": self.app, "roles": list(roles or ("physician",))}
        return self.mary.post("/installations", json=body)

    def fault(self, role: str = "physician") -> str | None:
        """Return why a launch by somebody of a role would be refused now."""
        person = self.site.people["ann"]

        def judge(ctx: Any) -> str | None:
            who = replace(person, tenant=TenantId("mercy"), role=role)
            judged = eligibility.read(ctx, TenantId("mercy"), self.client, who, issued_at=ctx.now)
            return eligibility_fault(judged, ctx.now)

        return self.site.uow.read_now(judge, trace=TRACE)

    def follow(self) -> int:
        return int(self.site.system(service.follow_due))

    def state(self, id_: str) -> str:
        return str(self.mary.get(f"/agreements/{id_}").json()["state"])

    def findings(self) -> list[str]:
        found = self.mary.get("/agreements", params={"findings": "true"})
        return [each["id"] for each in found.json()["items"]]

    def actions(self, action: str) -> list[Any]:
        read = EventQuery(action=action, limit=200)
        return list(self.site.uow.read_now(lambda ctx: audit.list_events(ctx, read), trace=TRACE).events)


def written(ground: Ground, *statements: Any) -> None:
    """Run statements as somebody who can write to the database does, and let every process read agreements again."""

    def verb(ctx: Any) -> None:
        for each in statements:
            ctx.tx.execute(each)
        ctx.advance_epoch(AGREEMENTS)

    ground.site.system(verb)
