"""Record, find, renew, narrow and withdraw authorizations.

The life of an agreement, in order:

1. ``authorize`` shows the page; ``policy.choices`` are its checkboxes, ``policy.apply_ticks`` the scopes that the ticks grant.
2. ``record_authorization``: a new agreement, or the renewal of one that covers it.
3. ``withhold``: what was declined is removed from earlier agreements with the app, and from their tokens.
4. ``find_covering``: the next launch needs no page while an agreement covers it; the token endpoint reads it with ``hold_authorization``.
5. ``narrow`` and ``withdraw``, by the person or the hospital; ``policy.end_of``: the end by time, use and policy.

Each change ends or narrows the tokens under it in the same transaction, and advances the facts that the gateway judges by.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.deletion_requests import service as deletion_requests
from hilum.authorization.consent import policy, store
from hilum.authorization.consent.exports import export, export_one, export_own, record_version
from hilum.authorization.consent.fhir import bundle_of
from hilum.authorization.consent.lives import list_for_person, list_lives, with_last_use
from hilum.authorization.consent.models import (
    CONSENT,
    NEGATIVE_WINDOW,
    Authorization,
    Basis,
    Change,
    ConsentFacts,
)
from hilum.authorization.consent.policy import Consenter
from hilum.authorization.tokens import service as tokens
from hilum.controls.approvals.models import Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.ids import AppId, AuthorizationId, ClientId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.persistent import RecentSet
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.identity.people import service as identity
from hilum.identity.people.models import Chart, Person
from hilum.identity.people.policy import may_administer
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Expiry, PolicyEntry
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome

__all__ = ["bundle_of", "export", "export_one", "export_own", "list_for_person", "list_lives"]


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
    covering_id: AuthorizationId | None = None,
    workflow: str = "",
    study_ends: datetime | None = None,
    language: str = "",
) -> Authorization:
    """Record an agreement, or renew one: that of ``covering_id``, or one with the same scopes, version, basis, patient and workflow.

    A new agreement leaves earlier ones unchanged, except for what ``withhold`` removes from them. ``study_ends``: when the hospital's
    installation of the app ends. ``language``: in which the person read the page; empty if there was none.
    """
    texts = tuple(scopes)
    policy_entry = _entry(ctx, tenant, facts)
    covering = _covering(ctx, covering_id, facts, holder=(tenant, person), scopes=texts)
    # For another workflow it is another agreement.
    if covering is not None and covering.workflow != workflow:
        covering = None
    if covering is None:
        wanted = (facts.id, facts.version, basis, patient, workflow, frozenset(texts))
        covering = _same(ctx, policy_entry, facts, holder=(tenant, person), wanted=wanted)
    read_in = {"language": language} if language else {}
    if covering is not None:
        return _renew(ctx, covering, policy_entry, offline=offline, read_in=read_in)
    recorded = Authorization(
        id=AuthorizationId(ctx.ids.new("aut")),
        tenant=tenant,
        person=person,
        app=facts.app,
        version=facts.version,
        client=facts.id,
        basis=basis,
        scopes=texts,
        created_at=ctx.now,
        expires_at=_end_of_new(ctx, policy_entry, person, patient, study_ends=study_ends),
        patient=patient,
        launch=launch,
        offline=offline,
        last_validated_at=ctx.now,
        workflow=workflow,
    )
    store.AUTHORIZATIONS.add(ctx.tx, recorded)
    record_version(ctx, recorded, Change.RECORDED)
    audit.record(
        ctx,
        _event(
            recorded,
            "consent.authorization.record",
            basis=basis.value,
            scopes=list(texts),
            workflow=workflow,
            **read_in,
        ),
    )
    return recorded


def _same(
    ctx: Context,
    policy_entry: PolicyEntry | None,
    facts: ClientFacts,
    *,
    holder: tuple[TenantId, PersonId],
    wanted: tuple[object, ...],
) -> Authorization | None:
    """Find an agreement in force that equals the new one and so is renewed: people should not collect equal agreements.

    Only if its expiry is rolling; otherwise each consent begins a new agreement with a new end.
    """
    if policy_entry is None or policy_entry.lifetimes.expiry is not Expiry.ROLLING:
        return None
    return next(
        (
            each
            for each in _in_force(ctx, *holder, facts)
            if (each.client, each.version, each.basis, each.patient, each.workflow, frozenset(each.scopes))
            == wanted
        ),
        None,
    )


def count_in_force(
    ctx: Context, clients: Collection[ClientId]
) -> Iterator[tuple[str, str, tuple[str, ...], int]]:
    """Yield tenant, client and scopes of the authorizations of some clients that are in force, with how many are equal."""
    return store.count_in_force(ctx.tx, clients, ctx.now)


def read_in_force(ctx: Context, clients: Collection[ClientId]) -> Iterator[Authorization]:
    """Stream the authorizations of some clients that are in force, with their last use. Reads the table once."""
    wanted, after = frozenset(clients), ""
    while wanted and (page := store.read_in_force(ctx.tx, wanted, ctx.now, after)):
        matching = [each for each in page if each.client in wanted]
        used = tokens.last_minted(ctx, [each.id for each in matching]) if matching else {}
        yield from (replace(each, last_used_at=used.get(each.id)) for each in matching)
        after = page[-1].id


def _end_of_new(
    ctx: Context,
    policy_entry: PolicyEntry | None,
    person: PersonId,
    patient: str,
    *,
    study_ends: datetime | None = None,
) -> datetime:
    """Return when an agreement that is recorded now expires: by the app's entry, and no later than its person may act for the patient."""
    end = policy.first_end(policy_entry, now=ctx.now, study_ends=study_ends)
    last = policy.chart_end(identity.find_person(ctx, person), patient) if patient else None
    return end if last is None else min(end, last)


def _entry(ctx: Context, tenant: TenantId, facts: ClientFacts) -> PolicyEntry | None:
    return admission(policies.current(ctx).book_at(tenant, ctx.now, facts.app), facts, ctx.now).entry


def _in_force(ctx: Context, tenant: TenantId, person: PersonId, facts: ClientFacts) -> list[Authorization]:
    """List a person's agreements with an app that are in force, also by the present policy, newest first."""
    policy_entry = _entry(ctx, tenant, facts)
    authorizations = store.list_in_force_of_app(ctx.tx, tenant, person, ctx.now, app=facts.app)
    # Agreements from before a transfer of the app, or a change of its purpose, no longer count (C14).
    since = facts.consented_since
    owned = [each for each in authorizations if since is None or each.created_at >= since]
    return [
        each
        for each in _with_last_use(ctx, owned, policy_entry)
        if ctx.now < policy.end_of(each, policy_entry).at
    ]


def _with_last_use(
    ctx: Context, found: list[Authorization], policy_entry: PolicyEntry | None
) -> list[Authorization]:
    """Set when agreements were last used, if the entry limits idle time."""
    if not found or not policy.limits_idle_time(policy_entry):
        return found
    return with_last_use(ctx, found)


def withhold(
    ctx: Context,
    tenant: TenantId,
    person: PersonId,
    app: AppId,
    refused: Iterable[str],
    *,
    patient: str,
    by: Consenter,
    but: AuthorizationId | None,
) -> None:
    """Remove what the person just declined from earlier agreements with the app, through any of its clients.

    Otherwise the app could keep reading it with earlier tokens. Scopes that the page did not offer are kept. ``but``: the agreement that was
    just recorded, if there is one.
    """
    declined = tuple(refused)
    # By app rather than by client: a person sees apps, and declined one (ADR 17).
    for each in store.list_in_force_of_app(ctx.tx, tenant, person, ctx.now, app=app):
        if each.id != but:
            _narrow_by(ctx, each, partial(policy.left_of, refused=declined, patient=patient, by=by))


def take_back(ctx: Context, entry: Authorization, refused: Iterable[str], *, by: Consenter) -> None:
    """Remove scopes from all of a person's agreements with an app. ``entry`` is one of ``list_for_person``."""
    gone = tuple(refused)
    for each in store.list_in_force_of_app(ctx.tx, entry.tenant, entry.person, ctx.now, app=entry.app):
        _narrow_by(ctx, each, lambda agreed: policy.without(agreed.scopes, gone, by=by))


def _narrow_by(
    ctx: Context, found: Authorization, left_of: Callable[[Authorization], tuple[str, ...]]
) -> None:
    """Narrow an agreement to the scopes that ``left_of`` leaves of it; end it if there are none."""
    # An agreement never gets more scopes, so where nothing is to be removed nothing has to be locked.
    if set(left_of(found)) == set(found.scopes):
        return
    # Of what is left by then: what another narrowing removed at this moment must not come back.
    found = store.AUTHORIZATIONS.get(ctx.tx, found.id, lock=True)
    left = left_of(found)
    if found.revoked_at is not None or set(left) == set(found.scopes):
        return
    # If the remaining parts of a split scope are not provably within the old one, the agreement ends.
    if left and all_covered(left, found.scopes):
        narrow(ctx, found.id, left)
    else:
        _end(ctx, found)


def _end(ctx: Context, found: Authorization) -> None:
    if _revoke(ctx, found):
        audit.record(ctx, _event(found, "consent.authorization.withdraw", also=[]))


def _revoke(ctx: Context, found: Authorization, *, disposes: bool = True) -> bool:
    """Revoke an agreement with its tokens, and ask the app's vendor to delete its copies (C95); False if it was revoked already.

    ``disposes``: False for synthetic data, which no vendor has to delete.
    """
    # One statement decides between two concurrent withdrawals, so that everything below happens once.
    if not store.revoke(ctx.tx, found.id, str(ctx.actor), ctx.now):
        return False
    tokens.revoke_authorization(ctx, found.id)
    ctx.advance_epoch(CONSENT, f"withdrawn/{found.id}")
    record_version(ctx, found, Change.WITHDRAWN)
    if disposes:
        deletion_requests.ask_of_person(ctx, found.tenant, found.app, found.id, found.patient)
    return True


def end_all_at(ctx: Context, tenant: TenantId) -> int:
    """End every agreement at a sandbox hospital that is reset, for the platform itself; return how many."""
    assert ctx.actor.acts_alone, "the platform alone ends what others agreed to"
    ended, after = 0, ""
    while page := store.list_of_tenant(ctx.tx, tenant, None, PageQuery(after)):
        ended += sum(_revoke(ctx, each, disposes=False) for each in page)
        after = f"{page[-1].person}~{page[-1].id}"
    if ended:
        audit.record(ctx, Event("consent.authorization.end_all", tenant=tenant, facts={"ended": ended}))
    return ended


def set_charts(ctx: Context, person_id: PersonId, charts: tuple[Chart, ...]) -> Person | Asked:
    """Set the charts that a person may open (``identity.service.set_charts``), and end their agreements about lost charts (C96)."""
    outcome = identity.set_charts(ctx, person_id, charts)
    if isinstance(outcome, Person):
        _end_lost_charts(ctx, outcome)
    return outcome


def carry_out_charts(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    """Carry out a change of charts that a second person approved, as ``set_charts`` does."""
    done = identity.CARRY_OUT[ApprovalKind.CHARTS](ctx, approval, asker)
    _end_lost_charts(ctx, identity.get_person(ctx, PersonId(approval.act.target)))
    return done


def _end_lost_charts(ctx: Context, person: Person) -> None:
    """End a person's agreements about charts that they may no longer open, and shorten those about charts that end."""
    if person.tenant is None:
        return
    page = FIRST_PAGE
    while batch := store.list_in_force(ctx.tx, person.tenant, person.id, ctx.now, page):
        for each in batch:
            if each.basis is not Basis.PERSON or not each.patient:
                continue
            if each.patient not in person.patients:
                _end(ctx, each)
            elif (last := policy.chart_end(person, each.patient)) is not None:
                store.save_end(ctx.tx, each.id, last)
        page = PageQuery(batch[-1].id)


def _covering(
    ctx: Context,
    covering_id: AuthorizationId | None,
    facts: ClientFacts,
    *,
    holder: tuple[TenantId, PersonId],
    scopes: tuple[str, ...],
) -> Authorization | None:
    if covering_id is None:
        return None
    covering = store.AUTHORIZATIONS.get(ctx.tx, covering_id, lock=True)
    # INVARIANT: a renewal never widens. Holder and scopes are judged again here.
    mine = (covering.tenant, covering.person) == holder and covering.client == facts.id
    if facts.consented_since is not None and covering.created_at < facts.consented_since:
        return None
    policy_entry = _entry(ctx, holder[0], facts)
    (covering,) = _with_last_use(ctx, [covering], policy_entry)
    in_force = covering.revoked_at is None and ctx.now < policy.end_of(covering, policy_entry).at
    return covering if mine and in_force and all_covered(scopes, covering.scopes) else None


def _renew(
    ctx: Context,
    found: Authorization,
    policy_entry: PolicyEntry | None,
    *,
    offline: bool,
    read_in: Mapping[str, str],
) -> Authorization:
    # Opening the app extends only a rolling agreement.
    rolls = policy_entry is not None and policy_entry.lifetimes.expiry is Expiry.ROLLING
    until = _end_of_new(ctx, policy_entry, found.person, found.patient) if rolls else found.expires_at
    renewed = replace(
        found,
        # Never earlier: a renewal must not shorten what was agreed.
        expires_at=max(found.expires_at, until),
        offline=found.offline or offline,
        last_validated_at=ctx.now,
    )
    store.AUTHORIZATIONS.save(ctx.tx, renewed, only=("expires_at", "offline", "last_validated_at"))
    audit.record(ctx, _event(renewed, "consent.authorization.renew", **read_in))
    return renewed


def find_in_force(
    ctx: Context,
    tenant: TenantId,
    person: PersonId,
    facts: ClientFacts,
    *,
    patient: str | None = None,
) -> Authorization | None:
    """Find the person's newest agreement in force with the client; with ``patient``, only one about that chart."""
    mine = (each for each in _in_force(ctx, tenant, person, facts) if each.client == facts.id)
    return next((each for each in mine if patient is None or each.patient == patient), None)


def find_covering(
    ctx: Context, tenant: TenantId, person: PersonId, facts: ClientFacts, *, workflow: str
) -> Authorization | None:
    """Find the newest agreement with the client that spares the person another page, unless the requested scopes are wider (C90)."""
    mine = [each for each in _in_force(ctx, tenant, person, facts) if each.client == facts.id]
    used = tokens.last_minted(ctx, [each.id for each in mine])
    policy_entry = _entry(ctx, tenant, facts)
    return next(
        (
            each
            for each in mine
            if policy.may_go_on(
                replace(each, last_used_at=used.get(each.id)),
                version=facts.version,
                workflow=workflow,
                policy_entry=policy_entry,
                now=ctx.now,
            )
        ),
        None,
    )


def find_agreed(ctx: Context, tenant: TenantId, person: PersonId, app: AppId) -> Authorization | None:
    """Find the person's newest agreement in force with an app, through any of its clients, with the creation time of the oldest."""
    agreed = store.list_in_force_of_app(ctx.tx, tenant, person, ctx.now, app=app)
    return replace(agreed[0], created_at=agreed[-1].created_at) if agreed else None


def find_authorization(ctx: Context, authorization: AuthorizationId) -> Authorization | None:
    """Find an authorization in any state; None if there is none. ``policy.is_in_force`` checks whether it is in force."""
    return store.AUTHORIZATIONS.find(ctx.tx, id=authorization)


def hold_authorization(ctx: Context, authorization: AuthorizationId) -> Authorization | None:
    """Find an authorization as ``find_authorization`` does, and lock it until the transaction ends.

    A concurrent narrowing or withdrawal either waits and then finds the tokens issued here, or commits first and limits them.
    """
    return store.hold(ctx.tx, authorization)


def withdraw(ctx: Context, authorization: AuthorizationId) -> Authorization:
    """Withdraw all of the person's agreements with this app, of any of its clients, and revoke their tokens in the same transaction (C91).

    Only for the person, the tenant's administrator and the platform. Raises NotFound, NotPermitted.
    """
    stored = store.AUTHORIZATIONS.get(ctx.tx, authorization)
    _judge_actor(ctx, stored, "consent.authorization.withdraw")
    in_force = store.list_in_force_of_app(ctx.tx, stored.tenant, stored.person, ctx.now, app=stored.app)
    # The stored one may have ended already: withdrawing it again succeeds, too.
    for each in ({stored.id: stored} | {each.id: each for each in in_force}).values():
        _revoke(ctx, each)
    audit.record(ctx, _event(stored, "consent.authorization.withdraw", also=[each.id for each in in_force]))
    return replace(
        stored, revoked_at=stored.revoked_at or ctx.now, revoked_by=stored.revoked_by or str(ctx.actor)
    )


def narrow(ctx: Context, authorization: AuthorizationId, scopes: Iterable[str]) -> Authorization:
    """Remove scopes from an agreement. Its access tokens end; its refresh tokens keep the remaining scopes.

    Raises NotFound, NotPermitted, Invalid (the agreement has ended, or ``scopes`` is empty or has more than was agreed).
    """
    # Locked: of two narrowings at one moment the second is judged by what the first one left.
    stored = store.AUTHORIZATIONS.get(ctx.tx, authorization, lock=True)
    # Before the input is judged, so that a stranger learns nothing about the agreement.
    _judge_actor(ctx, stored, "consent.authorization.narrow")
    texts = tuple(dict.fromkeys(scopes))
    if not policy.is_in_force(stored, ctx.now):
        raise Invalid("authorization_ended", "This authorization has ended and cannot be narrowed.")
    if not texts or not all_covered(texts, stored.scopes):
        detail = (
            "The scopes include some that were not agreed to."
            if texts
            else "The scopes are empty. Withdraw the authorization instead."
        )
        raise Invalid(
            "scopes_invalid",
            detail,
            fields={"scopes": "scopes_widen" if texts else "scopes_empty"},
        )
    offline = stored.offline and "offline_access" in texts
    store.AUTHORIZATIONS.change(ctx.tx, {"scopes": texts, "offline": offline}, id=stored.id)
    record_version(ctx, stored, Change.NARROWED, texts)
    # In the same transaction, so that the tokens are never wider than the agreement.
    tokens.narrow_authorization(ctx, stored.id, texts)
    ctx.advance_epoch(CONSENT, f"narrowed/{stored.id}")
    audit.record(ctx, _event(stored, "consent.authorization.narrow", scopes=list(texts)))
    return replace(stored, scopes=texts, offline=offline)


@keyed(r"(withdrawn|narrowed)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[ConsentFacts]:
    """Return the authorizations withdrawn within the life of an access token: all of them, or those added since."""
    # A negative list: tokens from before the window have expired (ADR 5).
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        return Delta(ConsentFacts(RecentSet(store.read_revoked(ctx.tx, forget_before))))
    changes = ((each.key.partition("/"), each.at) for each in since.changes)
    withdrawn = [(AuthorizationId(id_), at) for (what, _, id_), at in changes if what == "withdrawn"]

    def change(before: ConsentFacts) -> ConsentFacts:
        return ConsentFacts(RecentSet.of(before.revoked).changed(withdrawn, forget_before=forget_before))

    return Delta(change=change)


def _judge_actor(ctx: Context, found: Authorization, action: str) -> None:
    actor = ctx.actor
    own = actor.kind is ActorKind.PERSON and actor.id == found.person and actor.tenant == found.tenant
    if own or may_administer(actor, found.tenant):
        return
    refused = _event(found, action, by=str(actor))
    # A refused attempt on another person's agreement is evidence, and refusals commit (security decision 3).
    audit.record(ctx, replace(refused, outcome=Outcome.REFUSED, reason="not_yours"))
    raise NotPermitted("not_yours", "This authorization belongs to another person.")


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
