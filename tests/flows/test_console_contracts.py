"""What a hospital and a vendor do with each other by pages: agreements, backend services, deletions (C14, C17, C189)."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.apps.agreements import service as agreements
from hilum.apps.agreements.models import KINDS, AgreementQuery
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import BackendUse, ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.deletion_requests import service as deletion_requests
from hilum.apps.deletion_requests import store
from hilum.apps.deletion_requests.models import Cause, DeletionRequest
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVersion
from hilum.apps.service_owners import service as service_owners
from hilum.apps.service_owners.models import ServiceOwnerQuery, ServiceOwnerState
from hilum.apps.service_owners.policy import state_of
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, AuthorizationId, TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.policy.matrix.exception_models import Population
from tests.flows.control_site import ControlSite, build, everybodys_digest, send, with_policy
from tests.flows.vendor_ground import furnish_vendor
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world
from tests.sim.proofs import certify
from tests.sim.world import FakeClock

DIGEST = "a" * 64
MERCY = TenantId("mercy")
SCOPES = ("system/Observation.rs",)
USE = BackendUse("Quality <b>reports</b>", "Everybody with diabetes", "Nightly")
ROLES = {"mary": "administrator", "olga": "physician", "fred": "front_desk"}


@dataclass
class Two:
    """A hospital and a vendor whose backend service is installed there."""

    site: ControlSite
    vendor: str
    other: str
    app: AppId

    def browser(self, username: str, place: str = "") -> TestClient:
        place = place or (self.vendor if username.startswith("acme") else str(MERCY))
        return self.site.signed_in(username, f"/t/{place}/signin")

    def record(self, browser: TestClient, page: str, **change: str) -> Any:
        given = {
            "kind": "business_associate",
            "parties": "Acme, Inc.\nMercy Hospital",
            "document": DIGEST,
            "ends_at": f"{self.site.clock.now() + timedelta(days=200):%Y-%m-%d}",
        }
        return send(browser, page, "document", **(given | change))

    def agreements(self) -> list[Any]:
        return list(self.site.system(agreements.list_agreements, query=AgreementQuery()))

    def service_owners(self) -> list[Any]:
        return list(self.site.system(service_owners.list_service_owners, query=ServiceOwnerQuery()))


def furnish(site: ControlSite) -> None:
    """Add people of Mercy beside its administrator."""
    for username in ("olga", "fred"):
        order = NewPerson(MERCY, username, username.title(), ROLES[username])
        site.people[username] = site.system(identity.add_person, order=order)
        person = site.people[username].id
        site.system(signin.set_password, person_id=person, digest=everybodys_digest())


@pytest.fixture
def two(sqlite_uow: UnitOfWork, clock: FakeClock) -> Two:
    site = build(sqlite_uow, clock, then=with_policy)
    return Two(site, *site.furnished("two vendors and a service", lambda: two_and_a_service(site)))


def two_and_a_service(site: ControlSite) -> tuple[str, str, AppId]:
    furnish(site)
    vendor, other = furnish_vendor(site, "Acme", "acme"), furnish_vendor(site, "Bolt", "bolt")
    order = NewApp(VendorId(vendor), "Counter", "Counts", "Quality", "population_health")
    app = site.system(registry.add_app, order=order)
    version = site.system(
        registry.add_version, app_id=app.id, order=NewVersion("1", population=Population.UP_TO_1000)
    )
    ends = site.clock.now() + timedelta(days=300)
    site.system(certify, order=CertifyOrder(version.id, Environment.PRODUCTION, SCOPES, ends))
    metadata = ClientMetadata(
        name="Nightly counts",
        type=ClientType.BACKEND,
        deployment=Deployment.SERVER,
        environment=Environment.PRODUCTION,
        jwks_uri="https://app.example/jwks",
        scopes=SCOPES,
        backend_use=USE,
        expires_at=ends,
    )
    site.system(clients.add_client, order=NewClient(app.id, version.id, metadata))
    # An account signs for its organisation once it is a week old.
    site.clock.advance(timedelta(days=8))
    return vendor, other, app.id


def test_an_agreement_is_recorded_by_the_vendor_and_confirmed_by_the_hospital(two: Two) -> None:
    """C189: by pages as by the API; the digest that the hospital must hold is not on its page."""
    owner, mary = two.browser("acme.owner"), two.browser("mary")
    answer = two.record(owner, "/developer/agreements/new", other="Mercy")
    assert answer.status_code == 303
    page = answer.headers["location"].replace("/developer", "/tenant")
    shown = mary.get(page).text
    assert "waiting for you" in mary.get("/tenant/agreements").text
    assert "Acme with Mercy" in shown
    assert DIGEST not in shown

    wrong = send(mary, page, "document", act="confirm", document="b" * 64)
    right = send(mary, page, "document", act="confirm", document=DIGEST)

    assert (wrong.status_code, right.status_code) == (422, 303)
    assert "not the SHA-256 of the document" in wrong.text
    assert "in force" in owner.get("/developer/agreements").text
    assert two.agreements()[0].confirmed_by == f"person:{two.site.people['mary'].id}"
    again = send(mary, page, "reason", act="end", reason="over", at="")
    assert again.status_code == 303
    assert "over" in owner.get(answer.headers["location"]).text


@in_one_world(
    ("change", "sentence"),
    [
        ({"document": "abc"}, "This is not a SHA-256"),
        ({"other": "Nobody Ltd"}, "nothing with this name"),
        ({"parties": "Only us"}, "at least two"),
        ({"ends_at": "2020-01-01"}, "This moment has passed"),
        ({"ends_at": "soon"}, "has the wrong format"),
    ],
)
def test_a_faulty_agreement_keeps_the_form_and_says_what_is_wrong(
    two: Two, change: dict[str, str], sentence: str
) -> None:
    answer = two.record(two.browser("mary"), "/tenant/agreements/new", **({"other": "Acme"} | change))

    assert answer.status_code == 422
    assert sentence in answer.text
    assert two.agreements() == []


def test_who_may_not_sign_reads_and_confirms_nothing(two: Two) -> None:
    """Each side and role: the vendor's developer reads, another vendor learns nothing, one's own record is not confirmed by oneself."""
    made = two.record(two.browser("acme.owner"), "/developer/agreements/new", other="Mercy")
    page = made.headers["location"]
    reader, stranger = two.browser("acme.developer"), two.browser("bolt.owner", two.other)

    assert reader.get(page).status_code == 200
    assert reader.get("/developer/agreements/new").status_code == 403
    assert stranger.get(page).status_code == 404
    owner = two.browser("acme.owner")
    token = form_with(owner.get(page).text, "reason")
    values = dict(token.fields) | {"act": "confirm", "document": DIGEST}
    assert owner.post(page, data=values).status_code == 403
    assert owner.post(page, data=values | {"csrf": "x"}).status_code == 403
    assert two.agreements()[0].confirmed_at is None


def installed(two: Two) -> None:
    """Install the backend service, with the agreements that it needs."""
    for kind in KINDS:
        made = two.record(two.browser("acme.owner"), "/developer/agreements/new", other="Mercy", kind=kind)
        page = made.headers["location"].replace("/developer", "/tenant")
        send(two.browser("mary"), page, "document", act="confirm", document=DIGEST)
    two.site.system(installations.install, order=InstallOrder(MERCY, two.app, frozenset()))


def test_somebody_is_named_for_a_backend_service_and_agrees_by_themselves(two: Two) -> None:
    """C17: a physician has this one page; what they agree to is shown, and is text."""
    mary, olga = two.browser("mary"), two.browser("olga")
    assert "No backend service is installed here" in mary.get("/tenant/backend-services/new").text
    installed(two)
    choice = form_with(mary.get("/tenant/backend-services/new").text, "client").choices["client"][0]

    asked = send(mary, "/tenant/backend-services/new", "client", client=choice, approver="olga")

    assert asked.status_code == 303
    page = asked.headers["location"]
    assert "waiting for you" in olga.get("/tenant/backend-services").text
    text = olga.get(page).text
    assert "Quality &lt;b&gt;reports" in text
    assert 'href="/tenant/people"' not in text
    assert send(olga, page, "act", act="agree").status_code == 303
    assert state_of(two.service_owners()[0], two.site.clock.now()) is ServiceOwnerState.IN_FORCE
    assert send(mary, page, "reason", act="end", reason=" ").status_code == 422
    assert send(mary, page, "reason", act="end", reason="no longer needed").status_code == 303
    assert "no longer needed" in olga.get(page).text


def test_nobody_agrees_in_the_place_of_who_was_named(two: Two) -> None:
    installed(two)
    mary = two.browser("mary")
    choice = form_with(mary.get("/tenant/backend-services/new").text, "client").choices["client"][0]
    for approver, status in (("mary", 422), ("fred", 422), ("nobody", 422), ("olga", 303)):
        answer = send(mary, "/tenant/backend-services/new", "client", client=choice, approver=approver)
        assert answer.status_code == status, approver
    page = answer.headers["location"]

    assert send(mary, page, "reason", act="agree").status_code == 403
    assert two.browser("fred").get(page).status_code == 403
    assert two.service_owners()[0].agreed_at is None


def test_a_deletion_is_answered_by_the_vendor_and_seen_by_the_hospital(two: Two) -> None:
    """C14: nobody answers in the vendor's place."""
    installed(two)
    two.site.system(deletion_requests.ask_of_hospital, tenant=MERCY, app_id=two.app, installation="ins_1")
    owner, mary = two.browser("acme.owner"), two.browser("mary")
    assert "not answered yet" in mary.get("/tenant/deletions").text
    shown = owner.get("/developer/deletions").text
    page = shown.partition('href="/developer/deletions/')[2].partition('"')[0]
    assert 'name="answer"' not in two.browser("acme.developer").get(f"/developer/deletions/{page}").text
    assert two.browser("bolt.owner", two.other).get(f"/developer/deletions/{page}").status_code == 404

    nothing = send(owner, f"/developer/deletions/{page}", "answer")
    lawless = send(owner, f"/developer/deletions/{page}", "answer", answer="kept")
    answer = send(owner, f"/developer/deletions/{page}", "answer", answer="deleted")

    assert (nothing.status_code, lawless.status_code, answer.status_code) == (422, 422, 303)
    assert "deleted" in mary.get("/tenant/deletions?state=deleted").text
    assert "No requests fit" in mary.get("/tenant/deletions?state=open").text


def test_only_an_owner_of_the_vendor_sees_the_patient_of_a_deletion(two: Two) -> None:
    """C95: neither a list nor anybody else."""

    def verb(ctx: Any) -> None:
        about = VendorId(two.vendor), two.app, ctx.now, MERCY, AuthorizationId("azr_1"), "pat-of-mercy"
        assert store.add(ctx.tx, DeletionRequest("dlr_1", Cause.AGREEMENT, *about), "test/1")

    two.site.system(verb)
    pages = {
        ("acme.owner", "/developer/deletions/dlr_1"): True,
        ("acme.owner", "/developer/deletions"): False,
        ("acme.billing", "/developer/deletions/dlr_1"): False,
        ("acme.billing", "/developer/deletions"): False,
        ("mary", "/tenant/deletions"): False,
    }

    for (who, path), seen in pages.items():
        page = two.browser(who).get(path)
        assert page.status_code == 200, (who, path)
        assert ("pat-of-mercy" in page.text) is seen, (who, path)
        assert "one person" in page.text
