"""Clients, and whose their apps are, are signed: who can write to the database, and has no key, makes nothing count (ADR 141)."""

from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from hilum.app import signed_rows
from hilum.attestations import service as attestations
from hilum.attestations import store as tree
from hilum.clients import service as clients
from hilum.clients import store
from hilum.clients.models import ClientEdit, ClientType, NewPeer, Transfer
from hilum.controls.policy import VENDOR_OWNER
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.errors import Conflict
from hilum.registry import service as registry
from hilum.registry import store as registry_store
from hilum.registry.models import NewVendor, NewVersion
from tests.sim.world import FakeClock
from tests.store.registry_ground import GENERAL, METADATA, ROOT, SERVER, Ground, ground, write_without_key

__all__ = ["ground"]
C, S, A = store.clients, store.secrets, registry_store.apps
OTHER = "0" * 64
Edit = Callable[[Any, Any], list[Any]]


def counts(ground: Ground, client: Any) -> bool:
    """Return whether a client counts, which every way to it says alike."""
    said = {
        ground.do(SYSTEM, clients.find_client, client.id) is not None,
        ground.do(SYSTEM, clients.client_facts, client.id) is not None,
        client.id in ground.facts().clients,
    }
    (one,) = said
    return one


def of(client: Any, **values: Any) -> list[Any]:
    return [update(C).where(C.c.id == client.id).values(values)]


EDITS: dict[str, Edit] = {
    "redirect": lambda client, _: of(client, redirect_uris=["https://evil.example/cb"]),
    "origin": lambda client, _: of(client, origins=["https://evil.example"]),
    "launch": lambda client, _: of(client, launch_uri="https://evil.example/launch"),
    "scopes": lambda client, _: of(client, scopes="launch openid patient/*.cruds"),
    "keys": lambda client, _: of(client, jwks={"keys": []}),
    "keys elsewhere": lambda client, _: of(client, jwks_uri="https://evil.example/jwks"),
    "end": lambda client, _: of(client, expires_at=client.created_at + timedelta(days=900)),
    "type": lambda client, _: of(client, type="public"),
    "environment": lambda client, _: of(client, environment="production"),
    "since when": lambda client, _: of(client, certified_before=client.created_at - timedelta(days=900)),
    "its secret": lambda client, _: [update(S).where(S.c.client == client.id).values(digest=OTHER)],
    "one more secret": lambda client, _: [insert(S).values(client=client.id, digest=OTHER)],
    "a secret's end": lambda client, _: [
        update(S).where(S.c.client == client.id).values(expires_at=client.created_at)
    ],
    "no secret": lambda client, _: [delete(S).where(S.c.client == client.id)],
    "vendor": lambda _, app: [update(A).where(A.c.id == app.id).values(vendor="ven_evil")],
    "hospital": lambda _, app: [update(A).where(A.c.id == app.id).values(tenant="mercy")],
    "owner since": lambda _, app: [update(A).where(A.c.id == app.id).values(owner_since=app.created_at)],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=list(EDITS))
def test_a_client_that_somebody_changed_in_the_database_is_unknown(ground: Ground, edit: Edit) -> None:
    """It gets no token, no redirect and no scope, and nothing is signed on it; a hospital's EHR beside it goes on."""
    client, _ = ground.client(**SERVER)
    ehr, _ = ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
    assert counts(ground, client)
    assert counts(ground, ehr)

    write_without_key(ground, *edit(client, ground.app))

    assert not counts(ground, client)
    assert counts(ground, ehr)
    assert ground.facts().faults == {
        ground.app.id: "One of its clients, or its vendor, does not match what was signed."
    }
    (fault,) = ground.do(SYSTEM, signed_rows.faults)
    assert fault in {
        f"client/{client.id}: It does not match what was signed.",
        f"owner/{ground.app.id}: It does not match what was signed.",
    }


def test_a_client_that_somebody_added_or_put_back_is_unknown(ground: Ground) -> None:
    """C179: what was signed once is no better than what never was."""
    client, _ = ground.client(**SERVER)
    before = ground.do(SYSTEM, lambda ctx: dict(ctx.tx.execute(select(C)).mappings().one()))
    found = ground.do(SYSTEM, clients.find_client, client.id)
    write_without_key(ground, insert(C).values(before | {"id": "cli_evil"}))
    assert ground.do(SYSTEM, clients.find_client, "cli_evil") is None
    assert counts(ground, client)

    ground.do(
        ROOT, clients.edit, client.id, ClientEdit(found.revision, redirect_uris=("https://new.example/cb",))
    )
    assert counts(ground, client)
    write_without_key(ground, *of(client, redirect_uris=before["redirect_uris"]))

    assert not counts(ground, client)


def test_a_suspension_that_somebody_takes_out_of_the_database_ends_nothing(
    ground: Ground, clock: FakeClock
) -> None:
    """Of a hospital's own EHR, too, which needs no certification: nor is what was issued before valid again."""
    ehr, _ = ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
    resume = update(A).where(A.c.id == ehr.app).values(state="active", active_since=A.c.created_at)
    clock.advance(timedelta(minutes=1))
    vendor = ground.do(ROOT, registry.suspend_app, ehr.app, "It misbehaves.").vendor
    assert counts(ground, ehr)
    assert not ground.facts().clients[ehr.id].active

    write_without_key(ground, resume)
    ground.do(SYSTEM, registry.announce_change, ehr.app)
    assert not counts(ground, ehr)
    suspended = update(A).where(A.c.id == ehr.app)
    write_without_key(ground, suspended.values(state="suspended", vendor="ven_evil"))
    with pytest.raises(Conflict) as caught:
        ground.do(ROOT, registry.resume_app, ehr.app, "It is fixed.")
    assert caught.value.code == "not_as_signed"

    write_without_key(ground, suspended.values(vendor=vendor))
    clock.advance(timedelta(minutes=1))
    ground.do(ROOT, registry.resume_app, ehr.app, "It is fixed.")
    assert counts(ground, ehr)
    write_without_key(ground, resume)
    ground.do(SYSTEM, registry.announce_change, ehr.app)
    assert not counts(ground, ehr), "what was issued before the suspension is not valid again"


def test_every_change_that_people_make_is_signed(ground: Ground) -> None:
    client, _ = ground.client(**SERVER)
    ground.certify()
    found = ground.do(SYSTEM, clients.find_client, client.id)

    ground.do(
        ROOT, clients.edit, client.id, ClientEdit(found.revision, redirect_uris=("https://new.example/cb",))
    )
    ground.do(ROOT, clients.rotate_secret, client.id)
    later = ground.do(ROOT, registry.add_version, ground.app.id, NewVersion("2.0"))
    ground.certify(version=later.id)
    ground.do(ROOT, clients.adopt_version, client.id, later.id)

    assert counts(ground, client)
    assert ground.do(SYSTEM, signed_rows.faults) == ()


def test_a_change_does_not_vouch_for_what_somebody_wrote(ground: Ground) -> None:
    """Nor does another client vouch for the vendor that somebody gave an app."""
    client, _ = ground.client(**SERVER)
    ground.certify()
    write_without_key(ground, *of(client, redirect_uris=["https://evil.example/cb"]))
    stored = ground.do(ROOT, clients.view_client, client.id)
    edit = ClientEdit(stored.revision, launch_uri="https://app.example/launch")

    for verb, *args in (
        (clients.edit, client.id, edit),
        (clients.rotate_secret, client.id),
        (clients.adopt_version, client.id, ground.version.id),
    ):
        with pytest.raises(Conflict) as caught:
            ground.do(ROOT, verb, *args)
        assert caught.value.code == "not_as_signed"

    assert ground.client()[0], "another one of its vendor is registered"
    write_without_key(ground, update(A).where(A.c.id == ground.app.id).values(vendor="ven_evil"))
    with pytest.raises(Conflict) as caught:
        ground.client()
    assert caught.value.code == "not_as_signed"


def test_a_vendor_that_somebody_wrote_changes_no_client(ground: Ground) -> None:
    """Or it would have a secret that is signed, and counts once the vendor is put back."""
    client, _ = ground.client(**SERVER)
    ground.certify()
    evil = ground.do(
        ROOT, registry.add_vendor, NewVendor("Evil", "help@e.example", "sec@e.example", "https://e.example")
    )
    owner = Actor(ActorKind.MEMBER, "per_evil", roles=frozenset({VENDOR_OWNER}), vendor=evil.id)
    write_without_key(ground, update(A).where(A.c.id == ground.app.id).values(vendor=evil.id))
    edit = ClientEdit(
        ground.do(owner, clients.view_client, client.id).revision, launch_uri="https://evil.example/launch"
    )

    for verb, *args in (
        (clients.edit, client.id, edit),
        (clients.rotate_secret, client.id),
        (clients.adopt_version, client.id, ground.version.id),
    ):
        with pytest.raises(Conflict) as caught:
            ground.do(owner, verb, *args)
        assert caught.value.code == "not_as_signed"

    write_without_key(ground, update(A).where(A.c.id == ground.app.id).values(vendor=ground.vendor.id))
    assert counts(ground, client)


def test_whose_an_app_is_is_not_signed_again_where_the_tree_is_damaged(ground: Ground) -> None:
    """C179: or whoever damages that part, and writes another vendor, would be given the app with its next client."""
    client, _ = ground.client()
    ground.certify()
    leaf = tree.leaves.c.subject == f"owner/{ground.app.id}"
    before = ground.do(
        SYSTEM, lambda ctx: dict(ctx.tx.execute(select(tree.leaves).where(leaf)).mappings().one())
    )
    write_without_key(
        ground,
        delete(tree.leaves).where(leaf),
        update(A).where(A.c.id == ground.app.id).values(vendor="ven_evil"),
    )

    assert not counts(ground, client)
    with pytest.raises(Conflict) as caught:
        ground.client()
    assert caught.value.code == "not_as_signed"

    write_without_key(ground, insert(tree.leaves).values(before))
    assert not counts(ground, client)
    write_without_key(ground, update(A).where(A.c.id == ground.app.id).values(vendor=ground.vendor.id))
    assert counts(ground, client)


def test_an_offer_that_somebody_wrote_or_changed_gives_nobody_an_app(ground: Ground) -> None:
    """C14: or whoever writes to the database takes an app over with one press of a button."""
    client, _ = ground.client(**SERVER)
    evil, good = (
        ground.do(
            ROOT, registry.add_vendor, NewVendor(name, "help@e.example", "sec@e.example", "https://e.example")
        )
        for name in ("Evil", "Good")
    )
    owner, thief, friend = (
        Actor(ActorKind.MEMBER, f"per_{each.id}", roles=frozenset({VENDOR_OWNER}), vendor=each.id)
        for each in (ground.vendor, evil, good)
    )
    now = ground.uow.clock.now()
    offer = Transfer(ground.app.id, ground.vendor.id, evil.id, str(owner), now, now + timedelta(days=1))
    write_without_key(ground, insert(store.transfers).values(asdict(offer)))
    with pytest.raises(Conflict) as caught:
        ground.do(thief, clients.accept_app, ground.app.id)
    assert caught.value.code == "not_as_signed"

    ground.do(thief, clients.decline_app, ground.app.id)
    ground.do(owner, clients.offer_app, ground.app.id, good.id)
    write_without_key(ground, update(store.transfers).values(to=evil.id))
    with pytest.raises(Conflict) as caught:
        ground.do(thief, clients.accept_app, ground.app.id)
    assert caught.value.code == "not_as_signed"

    write_without_key(ground, update(store.transfers).values(to=good.id))
    ground.do(friend, clients.accept_app, ground.app.id)
    assert counts(ground, client)
    assert ground.do(SYSTEM, signed_rows.faults) == ()


VERBS: dict[str, Callable[[Ground, Any], Any]] = {
    "edit": lambda ground, client: ground.do(
        ROOT,
        clients.edit,
        client.id,
        ClientEdit(client.revision, redirect_uris=("https://new.example/cb",)),
    ),
    "rotate": lambda ground, client: ground.do(ROOT, clients.rotate_secret, client.id),
    "adopt": lambda ground, client: ground.do(ROOT, clients.adopt_version, client.id, client.version),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_what_somebody_writes_beside_a_change_is_not_signed_with_it(
    ground: Ground, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Ground, Any], Any]
) -> None:
    """Such as a trigger of the database, or who waits for the moment between the check and the signature."""
    client, _ = ground.client(**SERVER)
    ground.certify()
    found = ground.do(SYSTEM, clients.find_client, client.id)
    announce = registry.announce_change

    def beside(ctx: Any, app: Any) -> None:
        announce(ctx, app)
        ctx.tx.execute(insert(S).values(client=client.id, digest=OTHER))

    with monkeypatch.context() as patched:
        patched.setattr(registry, "announce_change", beside)
        verb(ground, found)

    assert not counts(ground, client)


def test_existing_clients_are_signed_once_and_rows_written_afterwards_are_not(ground: Ground) -> None:
    """The upgrade: a release before this one signed no client."""
    client, _ = ground.client(**SERVER)
    ehr, _ = ground.do(SYSTEM, clients.add_peer, NewPeer(GENERAL, ClientType.EHR, "EHR"))
    subjects = [f"client/{each.id}" for each in (client, ehr)] + [
        f"owner/{each.app}" for each in (client, ehr)
    ]
    ground.do(SYSTEM, attestations.attest, *((each, "") for each in subjects))
    assert not counts(ground, client)

    assert ground.do(SYSTEM, signed_rows.begin) == 4
    assert counts(ground, client)
    assert counts(ground, ehr)
    write_without_key(ground, *of(client, scopes="launch openid patient/*.cruds"))
    assert ground.do(SYSTEM, signed_rows.begin) == 0
    assert not counts(ground, client)
    assert counts(ground, ehr)


def test_a_client_that_expired_by_itself_leaves_nothing_signed(ground: Ground, clock: FakeClock) -> None:
    """Strangers may register by the hundred in a sandbox."""
    ends = clock.now() + timedelta(hours=1)
    metadata = replace(METADATA, name="Trial", expires_at=ends)
    client, _ = ground.do(SYSTEM, clients.add_dynamic, GENERAL, metadata, ends=ends)
    assert counts(ground, client)

    clock.advance(timedelta(hours=2))
    ground.do(SYSTEM, lambda ctx: clients.attest_gone(ctx, clients.delete_ended_dynamic(ctx)))

    left = ground.do(SYSTEM, lambda ctx: ctx.tx.execute(select(tree.leaves.c.subject)).scalars().all())
    assert left == []
    assert ground.do(SYSTEM, signed_rows.faults) == ()
