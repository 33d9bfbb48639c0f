"""Which clients count: those that match what was signed, of apps that have the vendor that was signed (ADR 141)."""

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from hashlib import sha256

import orjson

from hilum.attestations import service as attestations
from hilum.attestations.policy import GONE, signed_moment
from hilum.attestations.service import State
from hilum.clients import store
from hilum.clients.models import BackendUse, Client, Transfer
from hilum.infra import unreadable
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import AppId, ClientId
from hilum.registry import service as registry
from hilum.registry.models import App

Registered = tuple[Client, App]
SIGNED = (
    "app",
    "version",
    "environment",
    "type",
    "deployment",
    "name",
    "redirect_uris",
    "launch_uri",
    "origins",
    "scopes",
    "jwks_uri",
    "grant_types",
    "dynamic",
)
SIGNED_MOMENTS = ("expires_at", "adopted_at", "certified_before")
"""The fields of a client that are signed beside its keys, its secrets and the use of a backend service.

Adding one changes the digest of every client, so all must be signed again.
"""
FAULT = "One of its clients, or its vendor, does not match what was signed."
UNREADABLE = "unreadable"
"""The digest of a client whose row cannot be read: nothing that is signed has it."""


def client_state(client: Client) -> State:
    """Return subject and digest of a client with its secrets. Pure."""
    held = [getattr(client, name) for name in SIGNED]
    moments = [signed_moment(getattr(client, name)) for name in SIGNED_MOMENTS]
    secrets = sorted((each.digest, signed_moment(each.expires_at)) for each in client.secrets)
    # As text: keys may hold numbers of any size.
    keys = "" if client.jwks is None else json.dumps(client.jwks, sort_keys=True)
    return _client_subject(client.id), _digest(held, moments, keys, _use(client.backend_use), secrets)


def _digest(*state: object) -> str:
    # Not by ``attestations.digest_of``, which accepts any value and is slower: a worker that starts digests every client there is.
    return sha256(orjson.dumps(state)).hexdigest()


def _use(use: BackendUse | None) -> list[object]:
    if use is None:
        return []
    stated: list[object] = [
        use.purpose,
        use.population,
        use.schedule,
        use.approver,
        use.calls_a_day,
        use.writes_a_day,
    ]
    # Only where one is declared: the rest is signed as releases before these two signed it.
    return (
        [*stated, use.patients_a_day, use.hours]
        if (use.patients_a_day, use.hours) != (None, None)
        else stated
    )


def _client_subject(client: ClientId) -> str:
    return f"client/{client}"


def _offer_subject(app: AppId) -> str:
    return f"offer/{app}"


def _offer_state(offer: Transfer) -> State:
    return _offer_subject(offer.app), _digest(offer.vendor, offer.to, signed_moment(offer.expires_at))


def _states(registered: Registered) -> tuple[State, State]:
    client, app = registered
    return client_state(client), registry.owner_state(app)


# --- what counts ---------------------------------------------------------------------------------------------------------------


def find(ctx: Context, client: ClientId) -> Registered | None:
    """Find a client with its app; None if there is none, or if it does not count."""

    def read(ctx: Context) -> list[Registered]:
        found = store.read_client(ctx.tx, client)
        app = None if found is None else registry.read_apps(ctx, [found.app]).get(found.app)
        return [] if found is None or app is None else [(found, app)]

    return next(iter(attestations.wholly_intact(ctx, read, _states)), None)


def read(ctx: Context, of: Collection[AppId] | None) -> tuple[list[Registered], set[AppId]]:
    """Read the clients of some apps (None: of all) that count, by id, with their apps; and of which apps one does not."""
    every: list[Registered] = []

    def again(ctx: Context) -> list[Registered]:
        apps = registry.read_apps(ctx, of)
        # An app that is deleted between the reads takes its clients with it.
        every[:] = [
            (client, apps[client.app]) for client in store.read_clients(ctx.tx, of) if client.app in apps
        ]
        return every

    with unreadable.noting() as left_out:
        counting = attestations.wholly_intact(ctx, again, _states)
    kept = {client.id for client, _ in counting}
    unread = {AppId(each.app) for each in left_out if each.app}
    return counting, unread | {app.id for client, app in every if client.id not in kept}


def ended_dynamic(ctx: Context) -> list[Registered]:
    """Read dynamic clients that have expired, and count, with their apps: one that somebody marked so in the database is none of them."""

    def read(ctx: Context) -> list[Registered]:
        found = store.read_ended_dynamic(ctx.tx, ctx.now)
        apps = registry.read_apps(ctx, {client.app for client in found}) if found else {}
        return [(client, apps[client.app]) for client in found if client.app in apps]

    return attestations.wholly_intact(ctx, read, _states)


def states(ctx: Context) -> Iterator[State]:
    """Return subject and digest of every client, of the owner of every app with a client, and of every offer of an app."""
    apps, owned = registry.read_apps(ctx, None), dict[AppId, App]()
    with unreadable.noting() as left_out:
        readable = [(client.app, client_state(client)) for client in store.read_clients(ctx.tx, None)]
    odd = [
        (AppId(each.app), (_client_subject(ClientId(each.id)), UNREADABLE)) for each in left_out if each.app
    ]
    for app, state in (*readable, *odd):
        if app in apps:
            owned[app] = apps[app]
            yield state
    yield from map(registry.owner_state, owned.values())
    yield from map(_offer_state, store.read_transfers(ctx.tx))


# --- signing -------------------------------------------------------------------------------------------------------------------


def require(ctx: Context, client: Client) -> None:
    """Check that a client matches what was signed, and that its app has the vendor that was signed, before a change would vouch for it. Raises Conflict."""
    attestations.require(ctx, client_state(client))
    # Whose the app is decides who may change its clients: for a vendor that somebody wrote, a change would be signed for good.
    attestations.require(ctx, registry.owner_state(registry.get_app(ctx, client.app)))


def attest(ctx: Context, client: Client) -> None:
    """Sign a client as the verb meant to leave it; the last of a verb, since others wait for it. Raises Conflict.

    Not as the database has it: what somebody writes beside the verb is not signed with it.
    """
    attestations.attest(ctx, client_state(client))


def attest_new(ctx: Context, client: Client) -> None:
    """Sign a client that was just added; with an app's first client also which vendor owns the app. Raises Conflict (the vendor was changed since)."""
    owner = registry.owner_state(registry.get_app(ctx, client.app))
    first = not attestations.is_signed(ctx, owner[0])
    if not first:
        attestations.require(ctx, owner)
    attestations.attest(ctx, client_state(client), *([owner] if first else []))


def require_owner(ctx: Context, app: App) -> None:
    """Check that an app has the vendor that was signed, if it has clients. Raises Conflict."""
    if attestations.is_signed(ctx, registry.owner_subject(app.id)):
        attestations.require(ctx, registry.owner_state(app))


def attest_offer(ctx: Context, offer: Transfer) -> None:
    """Sign that an app is offered to a vendor. Raises Conflict."""
    attestations.attest(ctx, _offer_state(offer))


def attest_decided(ctx: Context, offer: Transfer) -> None:
    """Sign the end of an offer. Raises Conflict."""
    attestations.attest(ctx, (_offer_subject(offer.app), GONE))


def begin_transfer(ctx: Context, app: App, offer: Transfer) -> list[Client]:
    """Return the clients of an app that count, before it becomes another vendor's. Raises Conflict (its vendor, or the offer, does not match what was signed)."""
    require_owner(ctx, app)
    attestations.require(ctx, _offer_state(offer))
    return [client for client, _ in read(ctx, [app.id])[0]]


def attest_transferred(ctx: Context, app: App, counting: Iterable[Client]) -> None:
    """Sign which vendor owns an app now, and its clients that counted before, without their credentials. Raises Conflict (one was changed meanwhile)."""
    decided = (_offer_subject(app.id), GONE)
    if not attestations.is_signed(ctx, registry.owner_subject(app.id)):
        attestations.attest(ctx, decided)
        return
    kept = [client_state(replace(each, secrets=(), jwks=None, jwks_uri="")) for each in counting]
    # The rows are locked by now. A secret or an edit that came between the reading and the lock would be left, and not be signed.
    if any(
        client_state(store.get_client(ctx.tx, each.id)) != state
        for each, state in zip(counting, kept, strict=True)
    ):
        raise Conflict("changed_since_read", "A client of this app was changed at this moment. Try again.")
    attestations.attest(ctx, decided, registry.owner_state(app), *kept)


def attest_gone(ctx: Context, ended: Iterable[tuple[ClientId, AppId]]) -> None:
    """Sign that clients are gone whose apps had no other. Raises Conflict."""
    subjects = {
        subject for client, app in ended for subject in (_client_subject(client), registry.owner_subject(app))
    }
    if subjects:
        attestations.attest(ctx, *((each, GONE) for each in sorted(subjects)))
