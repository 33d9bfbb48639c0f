"""When agreements were last used and when they end, for their people and for the hospital."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.authorization.consent import policy, store
from hilum.authorization.consent.models import AgreementLife, Authorization, End
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import TokenFamily
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, AuthorizationId, ClientId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import PolicyEntry
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def list_for_person(ctx: Context, tenant: TenantId, person: PersonId) -> tuple[Authorization, ...]:
    """List a person's connected apps, one entry for each: the newest agreement, with the scopes, last use and end of all agreements with the app.

    Withdrawing an entry withdraws all of these. An agreement that the policy ends is listed until its own expiry, because another policy
    may revive it.
    """
    entries: dict[AppId, Authorization] = {}
    page = FIRST_PAGE
    while in_force := store.list_in_force(ctx.tx, tenant, person, ctx.now, page):
        policy_entries = _entries(ctx, in_force)
        for each in with_last_use(ctx, in_force):
            older = entries.pop(each.app, each)  # the newest agreement of an app represents it on the page
            ends = [policy.end_of(each, policy_entries[each.client])] + ([older.ends] if older.ends else [])
            entries[each.app] = replace(
                each,
                scopes=tuple(dict.fromkeys((*each.scopes, *older.scopes))),
                offline=each.offline or older.offline,
                last_used_at=_latest(older.last_used_at, each.last_used_at),
                created_at=min(each.created_at, older.created_at),
                ends=max(ends, key=lambda end: end.at),
            )
        page = PageQuery(in_force[-1].id)
    return tuple(reversed(entries.values()))


def list_lives(
    ctx: Context, tenant: TenantId, page: PageQuery, *, person: PersonId | None = None
) -> list[AgreementLife]:
    """List the agreements at a hospital, or of one of its people, also ended ones, by person and id; the page's ``after`` is both, joined by ``~``.

    For the hospital's administrator, and for people about themselves. The read is recorded. Raises NotPermitted.
    """
    event = Event("consent.authorization.list", tenant=tenant, person=person or "")
    if not policy.may_export(ctx.actor, tenant, person):
        raise audit.refusal(ctx, event)
    lives = store.list_of_tenant(ctx.tx, tenant, person, page)
    policy_entries = _entries(ctx, lives)
    families: dict[AuthorizationId, list[TokenFamily]] = {}
    for family in tokens.list_families(ctx, [each.id for each in lives]) if lives else ():
        families.setdefault(family.authorization, []).append(family)
    audit.record(ctx, replace(event, facts={"given": len(lives)}))
    return [
        _life(each, policy_entries[each.client], families.get(each.id, ()))
        for each in with_last_use(ctx, lives)
    ]


def _life(
    agreement: Authorization, policy_entry: PolicyEntry | None, families: Iterable[TokenFamily]
) -> AgreementLife:
    ends = policy.end_of(agreement, policy_entry)
    if agreement.revoked_at is not None and agreement.revoked_at < ends.at:
        ends = End(agreement.revoked_at, Reason.TOKEN_REVOKED)
    return AgreementLife(
        replace(agreement, ends=ends),
        tuple(
            (
                each,
                min([ends, *policy.family_ends(each, policy_entry), _own_end(each)], key=lambda end: end.at),
            )
            for each in families
        ),
    )


def _own_end(family: TokenFamily) -> End:
    """Return the end that a token family got when it was issued."""
    return End(family.expires_at, Reason.REFRESH_TOKEN_OLD)


def _entries(ctx: Context, found: Iterable[Authorization]) -> dict[ClientId, PolicyEntry | None]:
    """Return the entry of each agreement's client in the policy in force at its hospital; None for one without."""
    agreed = {each.client: each for each in found}
    if not agreed:
        return {}
    current = policies.current(ctx)
    by_app = clients.facts_of_apps(ctx, {each.app for each in agreed.values()})
    facts: dict[ClientId, ClientFacts] = {each.id: each for of in by_app.values() for each in of}
    policy_entries: dict[ClientId, PolicyEntry | None] = dict.fromkeys(agreed)
    for client, each in agreed.items():
        if client in facts:
            book = current.book_at(each.tenant, ctx.now, each.app)
            policy_entries[client] = admission(book, facts[client], ctx.now).entry
    return policy_entries


def with_last_use(ctx: Context, found: list[Authorization]) -> list[Authorization]:
    """Return agreements with when each was last used."""
    used = tokens.last_minted(ctx, [each.id for each in found])
    return [replace(each, last_used_at=used.get(each.id)) for each in found]


def _latest(one: datetime | None, other: datetime | None) -> datetime | None:
    return max(filter(None, (one, other)), default=None)
