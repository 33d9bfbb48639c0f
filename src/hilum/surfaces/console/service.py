"""Finds who visits a console, and the names of what ids stand for."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from hilum.apps.registry import service as registry
from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.policy import may_decide
from hilum.controls.approvals.service import Acts
from hilum.controls.switches.models import Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.sentences import Sentence
from hilum.identity.people import service as identity
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Stopped
from hilum.identity.signin.policy import actor_of_session, wants_touch
from hilum.operations.switch_administration import service as switch_administration
from hilum.surfaces.console.models import SignInFirst, Visitor

_ID = re.compile(r"\b(?:app|ven|per|ver)_[0-9a-z]{4,40}\b")
_NAMED_BOUND = 300
"""Ids that one page names."""


def enter(ctx: Context, cookie: str, *, production: bool) -> Visitor | None:
    """Return who is signed in at a browser; None if nobody is."""
    session = signin.session(ctx, cookie, production=production) if cookie else None
    if session is None:
        return None
    person = identity.get_person(ctx, session.person)
    return Visitor(session, person, actor_of_session(session), _place(ctx, session.tenant, person.vendor))


def count_waiting(ctx: Context, acts: Acts) -> int:
    """Count what waits for the actor as the second person, by what decides whether they may approve or release it."""
    actor = ctx.actor
    if not may_decide(actor, actor.tenant or TenantId(actor.vendor or "") or None):
        return 0
    releases = switch_administration.list_asked(ctx) if actor.is_platform else []
    return len(approvals.list_for_actor(ctx, acts=acts)) + sum(mine for _, mine in releases)


def _place(ctx: Context, tenant: TenantId | None, vendor: VendorId | None) -> str:
    if vendor is not None:
        return registry.get_vendor(ctx, vendor).name
    return "Platform staff" if tenant is None else identity.get_tenant(ctx, tenant).name


def touch(ctx: Context, visitor: Visitor) -> None:
    """Record that a session is in use."""
    signin.touch(ctx, visitor.session)


def is_due(visitor: Visitor, ctx: Context) -> bool:
    """Check whether a session's last use is old enough to be recorded again."""
    return wants_touch(visitor.session, ctx.now)


def require(ctx: Context, visitor: Visitor, cookie: str, *, writing: bool) -> Context:
    """Return the context of an act by the signed-in person, checked in the act's own transaction. Raises SignInFirst, Stopped."""
    # A session may end, and a person be stopped, while a form is on its way.
    again = signin.session(ctx, cookie)
    if again is None or again.id != visitor.session.id:
        raise SignInFirst
    if writing:
        person = identity.get_person(ctx, again.person)
        if identity.bar_on(ctx, person, issued_at=again.created_at, writing=True) is not None:
            raise Stopped
    return ctx.as_actor(visitor.actor)


@dataclass(frozen=True, slots=True)
class Names:
    """What the ids of a page are called, as far as its reader may see names. An id without a name stays an id."""

    apps: Mapping[str, str] = field(default_factory=dict)
    vendors: Mapping[str, str] = field(default_factory=dict)
    people: Mapping[str, str] = field(default_factory=dict)
    tenants: Mapping[str, str] = field(default_factory=dict)

    def app(self, id_: str) -> str:
        return self.apps.get(id_, id_)

    def vendor(self, id_: str) -> str:
        return self.vendors.get(id_, id_)

    def person(self, id_: str) -> str:
        return self.people.get(id_, id_)

    def tenant(self, id_: str) -> str:
        return self.tenants.get(id_, id_)

    def actor(self, written: str) -> str:
        """Return who did something, as an event stores it."""
        kind, _, id_ = written.partition(":")
        match kind:
            case "system":
                return "the platform itself"
            case "host":
                return f"{id_} at the host's shell"
            case "anonymous":
                return "somebody who had not signed in"
            case "client":
                return f"client {id_}"
            case "member":
                # A hospital sees the names of its own people and of the staff, and not of a vendor's.
                return self.people.get(id_, "a vendor's member")
            case _:
                return self.person(id_) if id_ else written

    def target(self, target: Target) -> str:
        """Return what a switch is on."""
        first, _, second = target.key.partition("/")
        match target.kind:
            case TargetKind.PLATFORM:
                return "The whole platform"
            case TargetKind.TENANT:
                return self.tenant(first)
            case TargetKind.VENDOR:
                return self.vendor(first)
            case TargetKind.APP:
                return self.app(first)
            case TargetKind.PERSON:
                return self.person(first)
            case TargetKind.APP_TENANT:
                return f"{self.app(first)} at {self.tenant(second)}"
            case TargetKind.APP_PERSON:
                return f"{self.app(first)} for {self.person(second)}"
            case _:
                return target.key

    def sentence(self, text: str) -> str:
        """Return a sentence with names in the place of ids."""
        if isinstance(text, Sentence):
            # By its parts, so that the page says its times in its own zone.
            return text.with_texts(self.sentence)
        named = {**self.apps, **self.vendors, **self.people}
        return _ID.sub(lambda found: named.get(found[0], found[0]), text)


def ids_in(texts: Iterable[str]) -> set[str]:
    """Return the ids that stand in some texts."""
    return {found for text in texts for found in _ID.findall(text)}


def names(
    ctx: Context,
    ids: Iterable[str] = (),
    *,
    tenants: Collection[str] = (),
    targets: Iterable[Target] = (),
) -> Names:
    """Look up the names behind ids, which may be actors as events store them, and behind the targets of switches."""
    wanted, at = {each.rpartition(":")[2] for each in ids if each}, set(filter(None, tenants))
    for target in targets:
        wanted.update(target.key.split("/"))
        if target.kind in {TargetKind.TENANT, TargetKind.APP_TENANT}:
            at.add(target.key.rpartition("/")[2])
    some = sorted(wanted)[:_NAMED_BOUND]
    apps = [AppId(each) for each in some if each.startswith("app_")]
    vendors = [VendorId(each) for each in some if each.startswith("ven_")]
    people = [PersonId(each) for each in some if each.startswith("per_")]
    return Names(
        _plain(registry.app_names(ctx, apps)) if apps else {},
        _plain(registry.vendor_names(ctx, vendors)) if vendors else {},
        _plain(identity.list_names(ctx, people)) if people else {},
        _plain(identity.tenant_names(ctx, [TenantId(each) for each in sorted(at)])) if at else {},
    )


def _plain(found: Mapping[Any, str]) -> dict[str, str]:
    return {str(id_): name for id_, name in found.items()}


def version_label(ctx: Context, version: str) -> str:
    """Return the label of a version; its id if it is gone."""
    try:
        return registry.get_version(ctx, VersionId(version)).label
    except NotFound:
        return version
