"""Make, reset and remove snapshots: transactions, and the longer work between them.

Making one, in order: 1 reserve a place; 2 hash the password and copy the records, with no transaction open; 3 one transaction adds all rows, and
stores the card before it commits. If it breaks off before that, the place is free again after some minutes, and what was copied is deleted.
Resetting one: 1 close the tenant, so that no process serves it; 2 copy the records over what is there, in one transaction of their store;
3 open it again with new secrets. If it breaks off in between, the tenant stays closed until the next reset, which starts over.

Two runs at one moment have different claims, and the later claim replaces the earlier. Records are copied by one run at a time, which must still
hold its claim, so nothing is copied over a hospital that is open.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn, TypeVar

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor
from hilum.foundation.kernel.errors import HilumError, NotFound
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.ports import Ids
from hilum.hospitals.vendor_hospitals import service
from hilum.hospitals.vendor_hospitals.models import Card, Furnisher, NewSnapshot, Snapshot, Template
from hilum.identity.signin import live as passwords

T = TypeVar("T")
SECRET_BYTES = 18


def no_furnisher() -> Furnisher:
    """Return the furnisher of a platform without a sandbox: it has no template, so no snapshot can be made."""

    def never(*_: object) -> NoReturn:
        raise NotFound("snapshot_not_found", "There is no such snapshot.")

    return Furnisher(
        templates=dict,
        fill=never,
        clear=never,
        keep=never,
        find=lambda _: None,
        kept=tuple,
        address=lambda _: "",
    )


@dataclass(frozen=True, slots=True)
class Snapshots:
    """The verbs that need more than one transaction."""

    uow: UnitOfWork
    ids: Ids
    furnisher: Furnisher

    async def create(self, order: NewSnapshot, *, actor: Actor, trace: Trace) -> Snapshot:
        """Make a snapshot for the actor's vendor. Raises NotPermitted, Invalid, Conflict, Unavailable."""
        templates = await asyncio.to_thread(self.furnisher.templates)
        reserve = partial(
            service.reserve,
            order=order,
            templates=templates,
            secret=self.ids.secret(),
            claim=self.ids.secret(),
        )
        begun = await self.uow.write(reserve, actor=actor, trace=trace)
        try:
            fresh, digest = await self._fresh(begun, actor)
            await self._fill(begun, trace)
            template = templates[begun.template]
            create = partial(service.create, begun=begun, template=template, fresh=fresh, digest=digest)
            return await self._with_card(create, actor=actor, trace=trace)
        except HilumError:
            # Now, not when its claim ends, so that the vendor can retry.
            await self.uow.write(partial(service.give_up, begun=begun), actor=SYSTEM, trace=trace)
            raise

    async def reset(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Reset a snapshot to the records of its template, with new secrets. Raises NotFound, NotPermitted, Conflict, Unavailable."""
        templates = await asyncio.to_thread(self.furnisher.templates)
        begin = partial(
            service.begin_reset, snapshot_id=snapshot, templates=templates, claim=self.ids.secret()
        )
        begun = await self.uow.write(begin, actor=actor, trace=trace)
        template: Template = templates[begun.template]
        fresh, digest = await self._fresh(begun, actor)
        await self._fill(begun, trace)
        finish = partial(service.finish_reset, begun=begun, template=template, fresh=fresh, digest=digest)
        return await self._with_card(finish, actor=actor, trace=trace)

    async def remove(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Remove a snapshot with its records. Raises NotFound, NotPermitted."""
        done = await self.uow.write(partial(service.remove, snapshot_id=snapshot), actor=actor, trace=trace)
        # After the commit: an interruption here leaves unreachable records, which are swept.
        read = partial(self.uow.read_now, actor=SYSTEM, trace=trace)
        await asyncio.to_thread(clear, self.furnisher, done.id, read)
        return done

    async def put_apps(self, snapshot: TenantId, *, actor: Actor, trace: Trace) -> Snapshot:
        """Install the vendor's apps that have been certified since. Raises NotFound, NotPermitted."""

        def verb(ctx: Context) -> Snapshot:
            found, apps = service.put_apps(ctx, snapshot)
            card = self.furnisher.find(found.id)
            if card is not None:
                self.furnisher.keep(replace(card, apps=apps))
            return found

        return await self.uow.write(verb, actor=actor, trace=trace)

    async def _fill(self, begun: Snapshot, trace: Trace) -> None:
        def holds() -> bool:
            return self.uow.read_now(partial(service.holds, begun=begun), actor=SYSTEM, trace=trace)

        if not await asyncio.to_thread(self.furnisher.fill, begun.id, begun.template, holds):
            raise service.place_taken()

    async def _fresh(self, begun: Snapshot, actor: Actor) -> tuple[Card, str]:
        password, door = self.ids.secret(SECRET_BYTES), self.ids.secret(SECRET_BYTES)
        vendor = actor.vendor or VendorId("")
        card = Card(begun.id, vendor, begun.name, begun.template, password, door, "", "", ())
        # One password for all of its people, so that one is hashed.
        return card, await passwords.hash_password(password, self.ids, "")

    async def _with_card(
        self, verb: Callable[[Context], tuple[Snapshot, Card]], *, actor: Actor, trace: Trace
    ) -> Snapshot:
        def kept(ctx: Context) -> Snapshot:
            found, card = verb(ctx)
            # Before the commit, as the seed does: the other order could leave a hospital whose secrets nobody has.
            self.furnisher.keep(card)
            return found

        return await self.uow.write(kept, actor=actor, trace=trace)


Read = Callable[[Callable[[Context], bool]], bool]
"""Answers a question in a read transaction of its own."""


def clear(furnisher: Furnisher, tenant: TenantId, read: Read) -> bool:
    """Delete the card and records of a snapshot, unless somebody makes another one in its place; return whether they were deleted."""
    return furnisher.clear(tenant, partial(read, partial(service.is_gone, snapshot_id=tenant)))


def sweep(furnisher: Furnisher, read: Read) -> None:
    """Delete what is left of removed or unfinished snapshots, also a card or records without a row."""
    for tenant in furnisher.kept():
        if read(partial(service.is_gone, snapshot_id=tenant)):
            clear(furnisher, tenant, read)
