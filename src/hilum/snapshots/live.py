"""Makes, resets and removes snapshots: transactions, and between them what takes longer.

Making one, in order: 1 choose its tenant; 2 hash the password and copy the records, with no transaction open; 3 one transaction adds all
rows, and stores the card before it commits. What breaks off before that leaves records and a card of a tenant that there is not.
Resetting one: 1 close the tenant, so that no process serves it; 2 copy the records over what is there, in one transaction of their store;
3 open it again with new secrets. What breaks off in between leaves it closed, and a reset begins from the front.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from hilum.infra.context import Context, Trace
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import Actor
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import TenantId, VendorId
from hilum.kernel.ports import Ids
from hilum.signin import live as passwords
from hilum.snapshots import service
from hilum.snapshots.models import Card, Furnisher, NewSnapshot, Snapshot, Template

T = TypeVar("T")
SECRET_BYTES = 18


def no_furnisher() -> Furnisher:
    """Return the furnisher of a platform without a sandbox: it has no template, so no snapshot is ever made."""

    def never(*_: object) -> None:
        raise NotFound("snapshot_not_found", "There is no such snapshot.")

    return Furnisher(dict, never, never, never, lambda _: None, never, lambda _: "")


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The verbs that take more than one transaction."""

    uow: UnitOfWork
    ids: Ids
    furnisher: Furnisher

    async def create(self, order: NewSnapshot, *, actor: Actor, trace: Trace) -> Snapshot:
        """Make a snapshot for the actor's vendor. Raises NotPermitted, Invalid, Conflict, Unavailable."""
        templates = await asyncio.to_thread(self.furnisher.templates)
        chosen = partial(service.choose, order=order, templates=templates, secret=self.ids.secret())
        # A write, so that a refusal is recorded.
        at = await self.uow.write(chosen, actor=actor, trace=trace)
        fresh, digest = await self._fresh(at[0], order.name.strip(), order.template, actor)
        await asyncio.to_thread(self.furnisher.fill, at[0], order.template)
        create = partial(
            service.create,
            order=order,
            at=at,
            template=templates[order.template],
            fresh=fresh,
            digest=digest,
        )
        return await self._with_card(create, actor=actor, trace=trace)

    async def reset(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Reset a snapshot to the records of its template, with new secrets. Raises NotFound, NotPermitted, Conflict, Unavailable."""
        templates = await asyncio.to_thread(self.furnisher.templates)
        begin = partial(service.begin_reset, snapshot_id=snapshot, templates=templates)
        begun = await self.uow.write(begin, actor=actor, trace=trace)
        template: Template = templates[begun.template]
        fresh, digest = await self._fresh(begun.id, begun.name, begun.template, actor)
        await asyncio.to_thread(self.furnisher.fill, begun.id, begun.template)
        finish = partial(
            service.finish_reset, snapshot_id=begun.id, template=template, fresh=fresh, digest=digest
        )
        return await self._with_card(finish, actor=actor, trace=trace)

    async def remove(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Remove a snapshot with its records. Raises NotFound, NotPermitted."""
        done = await self.uow.write(partial(service.remove, snapshot_id=snapshot), actor=actor, trace=trace)
        # After the commit: what breaks off here leaves records that nobody reaches, and that the next one replaces.
        await asyncio.to_thread(self._clear, done.id)
        return done

    async def put_apps(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Install the vendor's apps that are certified by now. Raises NotFound, NotPermitted."""

        def verb(ctx: Context) -> Snapshot:
            found, apps = service.put_apps(ctx, snapshot)
            card = self.furnisher.find(found.id)
            if card is not None:
                self.furnisher.keep(replace(card, apps=apps))
            return found

        return await self.uow.write(verb, actor=actor, trace=trace)

    def _clear(self, tenant: TenantId) -> None:
        self.furnisher.forget(tenant)
        self.furnisher.empty(tenant)

    async def _fresh(self, tenant: TenantId, name: str, template: str, actor: Actor) -> tuple[Card, str]:
        password, door = self.ids.secret(SECRET_BYTES), self.ids.secret(SECRET_BYTES)
        vendor = actor.vendor or VendorId("")
        card = Card(tenant, vendor, name, template, password, door, "", "", ())
        # One password for all of its people, so that one is hashed.
        return card, await passwords.hash_password(password, self.ids)

    async def _with_card(
        self, verb: Callable[[Context], tuple[Snapshot, Card]], *, actor: Actor, trace: Trace
    ) -> Snapshot:
        def kept(ctx: Context) -> Snapshot:
            found, card = verb(ctx)
            # Before the commit, as the seed does: the other order could leave a hospital whose secrets nobody has.
            self.furnisher.keep(card)
            return found

        return await self.uow.write(kept, actor=actor, trace=trace)
