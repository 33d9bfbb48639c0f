"""Secrets and keys show their last use and end; what nobody used for 90 days is proposed for removal, and never removed (C219)."""

from datetime import timedelta
from functools import partial
from typing import Any

from hilum.apps.clients import credential_policy, credentials, store
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import KEYS, KIDS_BOUND, UNUSED_AFTER, USE_NOTED_EVERY, CredentialKind
from hilum.apps.contacts import store as contact_store
from hilum.apps.contacts.models import Contact, ContactKind
from hilum.apps.deprecations import unused as sunsets
from hilum.apps.registry import service as registry
from hilum.foundation.kernel.ids import ClientId
from hilum.records.notices import service as notices
from hilum.records.notices.models import NoticeQuery
from tests.flows import token_flow
from tests.flows.control_site import ControlSite, problem
from tests.flows.token_flow import Platform
from tests.flows.vendor_ground import furnish_app, furnish_vendor, made
from tests.sim.world import FakeClock

platform = token_flow.platform
UNUSED = "/unused-credentials"


def furnish(site: ControlSite) -> str:
    """Let a vendor have a client with a secret; return the client's id."""
    return furnish_app(site, furnish_vendor(site, "Acme Health", "acme"), "acme")[2]


def use(site: ControlSite, client: str, credential: str = KEYS) -> None:
    site.system(clients.note_use, client=ClientId(client), credential=credential)


def secret_of(site: ControlSite, client: str) -> str:
    found: Any = site.system(clients.get_client, client_id=ClientId(client))
    return str(found.secrets[-1].digest)


def unused(site: ControlSite, username: str = "acme.developer") -> list[Any]:
    return list(made(site.api(username).get(UNUSED), 200)["items"])


def test_the_use_of_a_secret_and_of_keys_is_recorded_at_the_token_endpoint(
    platform: Platform, clock: FakeClock
) -> None:
    """C219: after a success alone."""
    platform.backend("system/Observation.rs")
    platform.redeem(platform.code())

    with platform.uow.db.engine.connect() as tx:
        rows = tx.exec_driver_sql("SELECT client, credential FROM registry_credential_use").all()

    kinds = {"keys" if row[1] == KEYS else row[1].partition(":")[0] for row in rows}
    assert {"keys", "kid"} <= kinds
    assert len(rows) == len(set(rows)) >= 1


def test_a_use_shortly_after_the_last_one_is_not_written_again(site: ControlSite, clock: FakeClock) -> None:
    client = furnish(site)
    digest = secret_of(site, client)
    path = f"/clients/{client}/credentials"
    use(site, client, digest)
    first = clock.now()
    clock.advance(USE_NOTED_EVERY - timedelta(seconds=1))
    use(site, client, digest)
    (soon,) = made(site.api("acme.developer").get(path), 200)["items"]
    clock.advance(timedelta(seconds=1))
    use(site, client, digest)
    (later,) = made(site.api("acme.developer").get(path), 200)["items"]

    assert soon["last_used_at"] == first.isoformat().replace("+00:00", "Z")
    assert later["last_used_at"] == clock.now().isoformat().replace("+00:00", "Z")
    assert (later["kind"], later["unused"]) == ("secret", False)
    assert digest not in str(later)


def test_what_nobody_used_for_90_days_is_proposed_and_still_works(
    site: ControlSite, clock: FakeClock
) -> None:
    client = furnish(site)
    digest = secret_of(site, client)
    use(site, client, digest)
    clock.advance(UNUSED_AFTER - timedelta(seconds=1))
    early = unused(site)
    clock.advance(timedelta(seconds=1))

    (found,) = unused(site)

    assert early == []
    assert (found["client"], [each["kind"] for each in found["credentials"]]) == (client, ["secret"])
    assert secret_of(site, client) == digest
    assert [each["client"] for each in unused(site, "otto")] == [client]
    use(site, client, digest)
    assert unused(site) == []


def test_a_secret_that_replaced_another_counts_from_its_own_beginning(
    site: ControlSite, clock: FakeClock
) -> None:
    client = furnish(site)
    use(site, client, secret_of(site, client))
    clock.advance(UNUSED_AFTER)
    made(site.api("acme.developer").post(f"/clients/{client}/secret", json={"overlap_s": 86400}), 200)

    listed = made(site.api("acme.developer").get(f"/clients/{client}/credentials"), 200)["items"]

    assert sorted(each["unused"] for each in listed) == [False, True]
    assert all(each["ends_at"] is not None for each in listed if each["unused"])
    clock.advance(timedelta(days=2))
    assert unused(site) == []


def test_before_uses_were_recorded_for_90_days_nothing_is_called_unused(
    site: ControlSite, clock: FakeClock
) -> None:
    """Unknown means no: after an upgrade a secret in use would otherwise be proposed for removal."""
    client = furnish(site)
    clock.advance(UNUSED_AFTER * 2)
    assert unused(site) == []

    use(site, "another", KEYS)
    clock.advance(UNUSED_AFTER - timedelta(seconds=1))
    early = unused(site)
    clock.advance(timedelta(seconds=1))

    assert early == []
    assert [each["client"] for each in unused(site)] == [client]


def test_members_see_their_own_vendors_and_hospitals_none(site: ControlSite, clock: FakeClock) -> None:
    client = furnish(site)
    furnish_vendor(site, "Zenith Care", "zen")
    use(site, "another", KEYS)
    clock.advance(UNUSED_AFTER)

    assert [each["client"] for each in unused(site, "acme.billing")] == [client]
    assert unused(site, "zen.owner") == []
    problem(site.api("zen.owner").get(f"/clients/{client}/credentials"), 404, "client_not_found")
    for username in ("gina", "ann"):
        problem(site.api(username).get(UNUSED), 403, "not_permitted")


def test_each_key_shows_its_last_use_and_an_old_one_is_proposed_once_another_is_used(
    platform: Platform, clock: FakeClock
) -> None:
    """C219: by kid; a key that is registered and never used is listed too, and nothing is called unused before uses could be known."""
    client = platform.clients["backend"].id
    listed = partial(credentials.list_with_keys, client_id=client)
    platform.backend("system/Observation.rs")
    (used,) = [each for each in platform.run(listed) if each.kind is CredentialKind.KEY and each.last_used_at]
    clock.advance(UNUSED_AFTER - timedelta(days=1))
    platform.run(lambda ctx: clients.note_key_use(ctx, client, "next"))
    early = platform.run(listed)
    clock.advance(timedelta(days=1))
    late = {each.kid: each for each in platform.run(listed) if each.kind is CredentialKind.KEY}

    assert used.last_used_at == clock.now() - UNUSED_AFTER
    assert [each.kid for each in early if each.unused] == []
    assert late[used.kid].unused
    assert not late["next"].unused


def test_the_uses_of_keys_that_are_kept_are_bounded(platform: Platform, clock: FakeClock) -> None:
    """A client names its keys as it likes: the last used ones are kept, and a long name as a digest."""
    client = platform.clients["backend"].id
    for n in range(KIDS_BOUND + 5):
        clock.advance(timedelta(seconds=1))
        platform.run(partial(clients.note_key_use, client=client, kid=f"{n:03}" * 30))

    rows = platform.run(lambda ctx: store.find_uses(ctx.tx, client))

    kids = [credential_policy.kid_of(name) for name in rows if credential_policy.kid_of(name)]
    assert len(kids) == KIDS_BOUND
    assert all(kid is not None and kid.startswith("#") and len(kid) == 60 for kid in kids)
    newest = credential_policy.kid_of(credential_policy.kid_credential(f"{KIDS_BOUND + 4:03}" * 30))
    assert newest in kids


def test_a_vendor_gets_one_mail_about_what_nobody_uses_and_another_once_it_is_unused_again(
    site: ControlSite, clock: FakeClock
) -> None:
    """C219: nothing ends by it, and nothing is mailed before it is known."""
    client = furnish(site)
    app = site.system(clients.get_client, client_id=ClientId(client)).app
    vendor = site.system(registry.get_app, app_id=app).vendor
    mailbox, until = "owner@acme.example", clock.now() + timedelta(days=900)
    contact = Contact(
        "con_1",
        vendor,
        ContactKind.OWNER,
        mailbox,
        mailbox,
        "staff:root",
        clock.now(),
        proved_at=clock.now(),
        proof_ends_at=until,
    )
    site.system(lambda ctx: contact_store.CONTACTS.add(ctx.tx, contact))
    mails = []
    for wait in (timedelta(days=1), UNUSED_AFTER, timedelta(hours=6), UNUSED_AFTER):
        if wait == UNUSED_AFTER:
            use(site, client, secret_of(site, client))
        clock.advance(wait)
        assert site.system(sunsets.propose_removal, after="") == ""
        found = site.system(notices.list_notices, query=NoticeQuery())
        mails.append([each.recipient for each in found if each.kind == "credentials_unused"])

    assert mails == [[], [mailbox], [mailbox], [mailbox] * 2]
    assert secret_of(site, client)
