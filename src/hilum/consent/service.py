"""Agreements: recorded, found again, renewed, narrowed, withdrawn."""

from collections.abc import Iterable
from dataclasses import replace

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients.models import ClientFacts
from hilum.consent import policy, store
from hilum.consent.models import (
    AUTHORIZATION_LIFE,
    CONSENT,
    NEGATIVE_WINDOW,
    Authorization,
    Basis,
    ConsentFacts,
)
from hilum.consent.policy import By
from hilum.identity.policy import may_administer
from hilum.infra.context import Context
from hilum.infra.facts import Delta, Since, keyed
from hilum.kernel.actor import ActorKind
from hilum.kernel.errors import Invalid, NotPermitted
from hilum.kernel.ids import AppId, AuthorizationId, ClientId, LaunchId, PersonId, TenantId
from hilum.kernel.persistent import RecentSet
from hilum.standards.smart.scopes import all_covered
from hilum.tokens import service as tokens


def record_authorization(
    ctx: Context,
    *,
    tenant: TenantId,
    person: PersonId,
    facts: ClientFacts,
    basis: Basis,
    scopes: Iterable[str],
    patient: str = "",
    launch: LaunchId = LaunchId(""),
    offline: bool = False,
    standing: AuthorizationId | None = None,
) -> Authorization:
    """Record what was agreed. ``standing`` names an agreement that already covers it: that one is renewed instead.

    So is one with the same scopes, version, basis and patient. An agreement to something else is a new one; it leaves the
    earlier ones alone until the person withdraws, but for what ``withhold`` takes out of them.
    """
    texts = tuple(scopes)
    covering = _covering(ctx, standing, holder=(tenant, person, facts.id), scopes=texts)
    if covering is None:
        same = store.standing(ctx.tx, tenant, person, ctx.now, app=facts.app)
        agreed = (facts.id, facts.version, basis, patient, frozenset(texts))
        covering = next(
            (f for f in same if (f.client, f.version, f.basis, f.patient, frozenset(f.scopes)) == agreed),
            None,
        )
    if covering is not None:
        return _renew(ctx, covering, offline=offline)
    made = Authorization(
        id=AuthorizationId(ctx.ids.new("aut")),
        tenant=tenant,
        person=person,
        app=facts.app,
        version=facts.version,
        client=facts.id,
        basis=basis,
        scopes=texts,
        created_at=ctx.now,
        expires_at=ctx.now + AUTHORIZATION_LIFE,
        patient=patient,
        launch=launch,
        offline=offline,
        last_validated_at=ctx.now,
    )
    store.add(ctx.tx, made)
    audit.record(ctx, _event(made, "consent.authorization.record", basis=basis.value, scopes=list(texts)))
    return made


def withhold(
    ctx: Context,
    holder: tuple[TenantId, PersonId, AppId],
    refused: Iterable[str],
    *,
    patient: str,
    by: By,
    made: AuthorizationId | None,
) -> None:
    """Take what the person just declined out of earlier agreements with the same app, through whichever of its clients they were made.

    Otherwise the app would go on with tokens of before, whatever the page of today said. What was not asked today stays.
    ``made`` is the agreement of today, if there is one.
    """
    tenant, person, app = holder
    gone = tuple(refused)
    for each in store.standing(ctx.tx, tenant, person, ctx.now, app=app):
        if each.id != made:
            _cut(ctx, each, policy.left_of(each, gone, patient=patient, by=by))


def take_back(ctx: Context, entry: Authorization, refused: Iterable[str], *, by: By) -> None:
    """Take scopes out of all that the person agreed with an app. ``entry`` is one of ``list_for_person``."""
    gone = tuple(refused)
    for each in store.standing(ctx.tx, entry.tenant, entry.person, ctx.now, app=entry.app):
        _cut(ctx, each, policy.without(each.scopes, gone, by=by))


def _cut(ctx: Context, found: Authorization, left: tuple[str, ...]) -> None:
    """Narrow an agreement to what is left of it; end it where nothing is."""
    if set(left) == set(found.scopes):
        return
    if left and all_covered(left, found.scopes):
        narrow(ctx, found.id, left)
    else:
        _end(ctx, found)


def _end(ctx: Context, found: Authorization) -> None:
    if store.revoke(ctx.tx, found.id, str(ctx.actor), ctx.now):
        tokens.revoke_authorization(ctx, found.id)
        ctx.advance_epoch(CONSENT, f"withdrawn/{found.id}")
        audit.record(ctx, _event(found, "consent.authorization.withdraw", also=[]))


def _covering(
    ctx: Context,
    standing: AuthorizationId | None,
    *,
    holder: tuple[TenantId, PersonId, ClientId],
    scopes: tuple[str, ...],
) -> Authorization | None:
    if standing is None:
        return None
    found = store.get(ctx.tx, standing)
    mine = (found.tenant, found.person, found.client) == holder
    if not mine or not policy.stands(found, ctx.now) or not all_covered(scopes, found.scopes):
        return None
    return found


def _renew(ctx: Context, found: Authorization, *, offline: bool) -> Authorization:
    renewed = replace(
        found,
        expires_at=max(found.expires_at, ctx.now + AUTHORIZATION_LIFE),
        offline=found.offline or offline,
        last_validated_at=ctx.now,
    )
    store.renew(ctx.tx, found.id, expires_at=renewed.expires_at, offline=renewed.offline, now=ctx.now)
    audit.record(ctx, _event(renewed, "consent.authorization.renew"))
    return renewed


def find_standing(
    ctx: Context,
    tenant: TenantId,
    person: PersonId,
    facts: ClientFacts,
    *,
    patient: str | None = None,
) -> Authorization | None:
    """Find the newest agreement of the person with the client that counts; with ``patient``, one about that chart only."""
    mine = (
        each
        for each in store.standing(ctx.tx, tenant, person, ctx.now, app=facts.app)
        if each.client == facts.id
    )
    return next((each for each in mine if patient is None or each.patient == patient), None)


def find_authorization(ctx: Context, authorization: AuthorizationId) -> Authorization | None:
    """Read an authorization in whatever state; None if there is none. ``policy.stands`` says whether it counts."""
    return store.find(ctx.tx, authorization)


def hold_authorization(ctx: Context, authorization: AuthorizationId) -> Authorization | None:
    """Read an authorization as ``find_authorization`` does, and keep it so until the tokens issued on it are stored.

    Whoever narrows or withdraws it at the same moment waits, and then finds those tokens, or was first, and then less is issued.
    """
    return store.hold(ctx.tx, authorization)


def list_for_person(ctx: Context, tenant: TenantId, person: PersonId) -> tuple[Authorization, ...]:
    """List a person's connected apps, one entry each: the newest agreement, with every scope still agreed and its last use.

    Withdrawing the entry withdraws all of them.
    """
    standing = store.standing(ctx.tx, tenant, person, ctx.now)
    used = tokens.last_minted(ctx, [each.id for each in standing])
    entries: dict[AppId, Authorization] = {}
    for each in standing:
        newest = entries.get(each.app, each)
        uses = [moment for moment in (newest.last_used_at, used.get(each.id)) if moment is not None]
        entries[each.app] = replace(
            newest,
            scopes=tuple(dict.fromkeys((*newest.scopes, *each.scopes))),
            offline=newest.offline or each.offline,
            last_used_at=max(uses) if uses else None,
            created_at=min(newest.created_at, each.created_at),
        )
    return tuple(entries.values())


def withdraw(ctx: Context, authorization: AuthorizationId) -> Authorization:
    """End all that the person agreed with this app, through any of its clients; access and refresh tokens die in the same transaction (C91).

    For the person, the tenant's administrator and the platform; NotPermitted for anybody else.
    """
    found = store.get(ctx.tx, authorization)
    _judge_actor(ctx, found, "consent.authorization.withdraw")
    standing = store.standing(ctx.tx, found.tenant, found.person, ctx.now, app=found.app)
    for each in {found.id: found} | {each.id: each for each in standing}:
        if store.revoke(ctx.tx, each, str(ctx.actor), ctx.now):
            tokens.revoke_authorization(ctx, each)
            ctx.advance_epoch(CONSENT, f"withdrawn/{each}")
    audit.record(ctx, _event(found, "consent.authorization.withdraw", also=[each.id for each in standing]))
    return replace(
        found, revoked_at=found.revoked_at or ctx.now, revoked_by=found.revoked_by or str(ctx.actor)
    )


def narrow(ctx: Context, authorization: AuthorizationId, scopes: Iterable[str]) -> Authorization:
    """Take scopes out of an agreement. Its access tokens end; its refresh tokens go on with less. Adding is Invalid."""
    found = store.get(ctx.tx, authorization)
    _judge_actor(ctx, found, "consent.authorization.narrow")
    texts = tuple(dict.fromkeys(scopes))
    if not policy.stands(found, ctx.now):
        raise Invalid("authorization_ended", "This authorization has ended.")
    if not texts or not all_covered(texts, found.scopes):
        fault = "holds more than was agreed" if texts else "is empty; withdraw instead"
        raise Invalid(
            "scopes_invalid",
            f"The list {fault}.",
            fields={"scopes": "scopes_widen" if texts else "scopes_empty"},
        )
    offline = found.offline and "offline_access" in texts
    store.set_scopes(ctx.tx, found.id, texts, offline=offline)
    tokens.narrow_authorization(ctx, found.id, texts)
    ctx.advance_epoch(CONSENT, f"narrowed/{found.id}")
    audit.record(ctx, _event(found, "consent.authorization.narrow", scopes=list(texts)))
    return replace(found, scopes=texts, offline=offline)


@keyed(r"(withdrawn|narrowed)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[ConsentFacts]:
    """Return the authorizations that were withdrawn within the life of an access token: all of them, or what was added since."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        return Delta(ConsentFacts(RecentSet(store.read_revoked(ctx.tx, forget_before))))
    named = ((each.key.partition("/"), each.at) for each in since.changes)
    withdrawn = [(AuthorizationId(id_), at) for (what, _, id_), at in named if what == "withdrawn"]

    def change(before: ConsentFacts) -> ConsentFacts:
        return ConsentFacts(RecentSet.of(before.revoked).changed(withdrawn, forget_before=forget_before))

    return Delta(change=change)


def _judge_actor(ctx: Context, found: Authorization, action: str) -> None:
    actor = ctx.actor
    own = actor.kind is ActorKind.PERSON and actor.id == found.person and actor.tenant == found.tenant
    if own or may_administer(actor, found.tenant):
        return
    refused = _event(found, action, by=str(actor))
    audit.record(ctx, replace(refused, outcome=Outcome.REFUSED, reason="not_yours"))
    raise NotPermitted("not_yours", "This authorization is somebody else's.")


def _event(found: Authorization, action: str, **facts: object) -> Event:
    return Event(
        action,
        tenant=found.tenant,
        app=found.app,
        client=found.client,
        person=found.person,
        launch=found.launch,
        authorization=found.id,
        patient=found.patient,
        facts=facts,
    )
