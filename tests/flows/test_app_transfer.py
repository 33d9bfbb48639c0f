"""Transfer of an app to another vendor: both owners agree, and what was agreed with the first one ends (C14)."""

from datetime import timedelta
from functools import partial

import pytest
from starlette.testclient import TestClient

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.authorization.eligibility.policy import is_certified, is_installed
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId
from hilum.policy.matrix import service as policies
from tests.flows.agreement_ground import confirm
from tests.flows.client_ground import EVIL, Certified
from tests.flows.control_site import TRACE, ControlSite, codes, problem
from tests.flows.vendor_ground import furnish_vendor, join, made


class Offered(Certified):
    """A certified app, installed at a hospital, that its owner has offered to another vendor."""

    def __init__(self, site: ControlSite) -> None:
        super().__init__(site)
        self.zen = furnish_vendor(site, "Zenith Care", "zen")
        self.path = f"/apps/{self.app}/transfer"
        self.owner, self.other = site.api("acme.owner"), site.api("zen.owner")
        self.sign(self.owner, self.vendor)
        self.installed = self.install()
        made(self.owner.post(self.path, json={"to": self.zen}))

    def sign(self, owner: TestClient, vendor: str) -> None:
        """Let a vendor and the hospital agree, as the app's entry needs it (C189)."""
        now = self.site.clock.now()
        body = {
            "vendor": vendor,
            "tenant": "mercy",
            "kind": "business_associate",
            "parties": ["The vendor", "Mercy Hospital"],
            "document": "a" * 64,
            "effective_at": now.isoformat(),
            "ends_at": (now + timedelta(days=100)).isoformat(),
        }
        recorded = made(owner.post("/agreements", json=body))
        made(confirm(self.site.api("mary"), recorded["id"], "a" * 64), 200)

    def install(self) -> str:
        wish = {"tenant": "mercy", "app": self.app, "roles": ["physician"]}
        return str(made(self.site.api("mary").post("/installations", json=wish))["id"])

    def stands(self) -> tuple[bool, bool]:
        """Return whether the app counts as certified, and as installed, for what is issued now."""
        read = self.site.uow.read_now
        facts = read(partial(clients.client_facts, client_id=ClientId(self.client)), trace=TRACE)
        at = partial(installations.installation, tenant=TenantId("mercy"), app=AppId(self.app))
        assert facts is not None
        book = read(policies.current, trace=TRACE).everywhere
        now = self.site.clock.now()
        return is_certified(facts, book, now), is_installed(facts, read(at, trace=TRACE), now)


def test_an_app_passes_to_the_other_vendor_when_both_owners_agree(site: ControlSite) -> None:
    """C14: tokens, secrets and certifications end; hospital and review agree again."""
    it = Offered(site)
    site.clock.advance(timedelta(minutes=1))
    assert it.stands() == (True, True)
    secret = len(it.shown()["secrets"])
    before = site.clock.now()
    site.clock.advance(timedelta(minutes=1))

    assert it.other.post(f"{it.path}/accept").status_code == 204

    assert it.stands() == (False, False)
    app = made(it.other.get(f"/apps/{it.app}"), 200)
    assert app["vendor"] == it.zen
    assert app["owner_since"] is not None
    problem(it.owner.get(f"/apps/{it.app}"), 404, "app_not_found")
    problem(it.developer.get(f"/clients/{it.client}"), 404, "client_not_found")
    it.developer = site.api("zen.developer")
    assert (secret, it.shown()["secrets"]) == (1, [])
    certified = made(it.other.get(f"/apps/{it.app}/certifications"), 200)["items"]
    assert [each["withdrawn_at"] is None for each in certified] == [False]
    it.certify(it.version)
    assert it.stands() == (True, False), "the hospital let in another vendor's app"
    wish = {"tenant": "mercy", "app": it.app, "roles": ["physician"]}
    unsigned = site.api("mary").post("/installations", json=wish)
    assert unsigned.json()["fields"]["app"]["code"] == "agreements_missing", (
        "the first vendor's does not count"
    )
    it.sign(it.other, it.zen)
    it.install()
    site.clock.advance(timedelta(minutes=1))
    assert it.stands() == (True, True)
    facts = site.uow.read_now(partial(clients.client_facts, client_id=ClientId(it.client)), trace=TRACE)
    assert facts is not None
    book = site.uow.read_now(policies.current, trace=TRACE).everywhere
    assert not is_certified(facts, book, site.clock.now(), issued_at=before), (
        "what was issued before stays dead"
    )


def test_nobody_but_the_two_owners_moves_an_app(site: ControlSite) -> None:
    """C14: not the staff, not another role, not a third vendor, not one owner alone."""
    it = Offered(site)
    furnish_vendor(site, "Third Party", "third")
    for who in (
        "root",
        "sam",
        "rita",
        "gina",
        "zen.developer",
        "zen.billing",
        "zen.security",
        "acme.developer",
    ):
        problem(site.api(who).post(f"{it.path}/accept"), 403, "not_permitted")
        problem(site.api(who).post(it.path, json={"to": it.zen}), 403, "not_permitted")
    problem(it.owner.post(f"{it.path}/accept"), 403, "not_permitted")
    problem(site.api("third.owner").post(f"{it.path}/accept"), 404, "transfer_not_found")
    problem(site.api("third.owner").get(it.path), 404, "transfer_not_found")
    problem(site.api("third.owner").delete(it.path), 404, "transfer_not_found")
    problem(it.other.post(it.path, json={"to": it.zen}), 404, "app_not_found")

    assert made(it.owner.get(f"/apps/{it.app}"), 200)["vendor"] == it.vendor
    assert it.stands() == (True, True)


@pytest.mark.parametrize("who", ["acme.owner", "zen.owner"])
def test_an_offer_is_withdrawn_or_declined_and_decided_once(site: ControlSite, who: str) -> None:
    it = Offered(site)
    problem(it.owner.post(it.path, json={"to": it.zen}), 409, "transfer_waits")

    made(site.api(who).delete(it.path), 200)

    problem(it.other.post(f"{it.path}/accept"), 404, "transfer_not_found")
    problem(it.owner.delete(it.path), 404, "transfer_not_found")
    assert it.stands() == (True, True)
    same = problem(it.owner.post(it.path, json={"to": it.vendor}), 422, "transfer_invalid")
    assert codes(same) == {"to": "vendor_unchanged"}
    problem(it.owner.post(it.path, json={"to": "ven_none"}), 404, "vendor_not_found")


def test_an_offer_ends_by_itself_and_can_be_made_again(site: ControlSite) -> None:
    it = Offered(site)
    site.clock.advance(timedelta(days=15))
    owner, other = site.api("acme.owner"), site.api("zen.owner")
    problem(other.post(f"{it.path}/accept"), 404, "transfer_not_found")

    made(owner.post(it.path, json={"to": it.zen}))

    assert other.post(f"{it.path}/accept").status_code == 204


def test_what_the_former_vendor_asked_for_is_not_approved_for_the_new_one(site: ControlSite) -> None:
    """C12, C14."""
    it = Offered(site)
    held = made(it.edit(EVIL), 202)["id"]
    assert it.other.post(f"{it.path}/accept").status_code == 204

    problem(it.rita.post(f"/client-changes/{held}/approve"), 409, "target_changed")
    problem(
        site.api("acme.owner").patch(f"/clients/{it.client}", json={"revision": "x"} | EVIL),
        404,
        "client_not_found",
    )


def test_an_owner_of_both_vendors_is_two_accounts_and_a_removed_one_is_none(site: ControlSite) -> None:
    it = Offered(site)
    join(site, it.zen, "zed", "owner")
    zed = site.api("zed")
    made(it.other.delete(f"/vendors/{it.zen}/members/{site.people['zed'].id}"), 200)

    problem(zed.post(f"{it.path}/accept"), 401, "token_invalid")


def test_the_vendor_to_which_an_app_is_offered_finds_it_by_name_until_then_and_others_never(
    site: ControlSite,
) -> None:
    """C14, C183: `hilum app accept NAME` works for the owner who accepts; a name discloses nothing to anybody else."""
    it = Offered(site)
    furnish_vendor(site, "Umber Medical", "umber")
    name = site.api("root").get(f"/apps/{it.app}").json()["name"]

    def found(who: TestClient) -> list[str]:
        query = {"kind": "app", "named": name}
        return [each["id"] for each in who.get("/lookups", params=query).json()["items"]]

    assert found(it.other) == [it.app]
    assert it.other.get("/names", params={"id": it.app}).json() == {it.app: name}
    assert found(site.api("umber.owner")) == []
    assert it.other.delete(it.path).status_code < 300
    assert found(it.other) == []
