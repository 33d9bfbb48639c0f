"""Issue, redeem and revoke tokens.

A token, from its issue to its deletion:

1. ``mint``: an access token and perhaps a refresh token, in the family of a code. Only their hashes are stored.
2. ``live.TokenTable.get``: the gateway finds the facts of a presented access token; ``policy.judge`` decides at every use whether it is valid.
3. ``redeem_refresh``: a refresh token works once, and the family continues with new tokens. A second use revokes the family, unless it
   repeats a request whose answer may have been lost (``find_answer``).
4. ``revoke_presented``, ``revoke_family``, ``revoke_authorization``, ``revoke_launch``, ``end_access_at``: an early end, which ``facts`` takes to
   every node.
5. ``purge``, a job: deletes tokens that can no longer be used, once their reuse need no longer be recognized.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from hilum.authorization.tokens import policy, store
from hilum.authorization.tokens.live import genuine, make
from hilum.authorization.tokens.models import (
    ACCESS_PREFIX,
    JTI_BOUND,
    NEGATIVE_WINDOW,
    REFRESH_PREFIX,
    REPEAT_PAUSE,
    TOKENS,
    USED_REFRESH_KEPT,
    AccessToken,
    Exchange,
    Grant,
    IssuedTokens,
    OpenTokens,
    RefreshToken,
    TokenFacts,
    TokenFamily,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import AuthorizationId, ClientId, FamilyId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.persistent import RecentSet
from hilum.foundation.standards.oauth import TokenError
from hilum.foundation.standards.smart.scopes import narrow
from hilum.policy.matrix.models import Lifetimes
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome

_ACTIVE_FOR = timedelta(hours=1)
"""How long after their last token a person counts as active with an app."""
_REFRESH_KEPT = timedelta(days=1)
"""How long an expired refresh token is kept, so that its replay is recognized."""


def mint(
    ctx: Context,
    grant: Grant,
    *,
    offline: bool | None,
    code_family: FamilyId | None,
    lifetimes: Lifetimes,
    life: timedelta,
    access_scopes: tuple[str, ...] | None = None,
    cause: bytes = b"",
) -> IssuedTokens:
    """Issue an access token and perhaps a refresh token. Raises NotPermitted("invalid_grant") if the family is revoked.

    ``offline``: whether the refresh token outlives the session; None issues none. ``code_family``: the family of the code or of the redeemed
    refresh token; its first token creates it. ``life``: the access token's, limited by ``lifetimes`` of the policy (C47).
    ``access_scopes``: the access token's, if a refresh requested fewer; the refresh token keeps the grant's. Source: RFC 6749 section 6
    ``cause``: the request from which the tokens follow, so that ``find_answer`` finds them.
    """
    # A person's tokens always have a family, so that a withdrawal or a replay ends them together.
    family = code_family or FamilyId("")
    if not family and (grant.person or offline is not None):
        family = FamilyId(ctx.ids.new("fam"))
    # This locks the family's row until the commit: a concurrent revocation is either found here, or waits and then revokes this token too.
    if family and not store.touch_family(ctx.tx, family, grant, offline=bool(offline), now=ctx.now):
        audit.record(ctx, _event(grant, "tokens.access.mint", reason="family_revoked", family=family))
        raise NotPermitted(TokenError.INVALID_GRANT, "The code or refresh token has been revoked.")
    # The snapshot forgets a revocation after NEGATIVE_WINDOW, so no token may live longer.
    life = min(life, lifetimes.access_token if grant.person else lifetimes.backend_token)
    presented = make(ctx.ids, ACCESS_PREFIX, cause)
    granted = grant if access_scopes is None else replace(grant, scopes=access_scopes)
    store.add_access(ctx.tx, _access(ctx, granted, presented, family, life))
    refresh = ""
    if offline is not None:
        refresh = make(ctx.ids, REFRESH_PREFIX, cause)
        store.add_refresh(ctx.tx, _refresh(ctx, grant, refresh, family, lifetimes=lifetimes, offline=offline))
    kinds = "access+refresh" if refresh else "access"
    minted = _event(grant, "tokens.access.mint", family=family, kinds=kinds, scopes=list(granted.scopes))
    if grant.workflow:
        minted.facts["workflow"] = grant.workflow
    audit.record(ctx, minted)
    return IssuedTokens(presented, int(life.total_seconds()), granted.scopes, refresh)


def find_answer(ctx: Context, exchange: Exchange) -> IssuedTokens | None:
    """Return the tokens with which this same request was answered, if that answer may have been lost; None for a replay (ADR 163).

    The repeat is recorded. The caller judges everything else again, as for new tokens.
    """
    access = make(ctx.ids, ACCESS_PREFIX, exchange.cause)
    refresh = make(ctx.ids, REFRESH_PREFIX, exchange.cause)
    row = store.find_access(ctx.tx, policy.fingerprint(access))
    following = store.find_refresh(ctx.tx, policy.fingerprint(refresh))
    if row is None or not policy.may_repeat(row[0], following, exchange, ctx.now):
        return None
    token, since = row[0], None if exchange.authenticated else ctx.now - REPEAT_PAUSE
    if not store.note_repeated(ctx.tx, token.family, token.issued_at, now=ctx.now, unless_since=since):
        return None
    audit.record(ctx, _event(token, "tokens.access.repeat", family=token.family))
    left = int((token.expires_at - ctx.now).total_seconds())
    return IssuedTokens(access, max(0, left), token.scopes, refresh if following else "")


def redeem_refresh(
    ctx: Context, presented: str, exchange: Exchange, *, online_ended: bool = False
) -> RefreshToken:
    """Redeem a refresh token, which then no longer works. Callers make all other checks first, with ``find_refresh``.

    The result has an ``answer`` if the token was used already and this request repeats that use: then nothing may be minted.
    ``online_ended``: the session or launch of an online token has ended. Raises NotPermitted("invalid_grant") for every failure. A second use
    also revokes the family, and commits that; an attempt by another client changes nothing.
    Source: RFC 6749 section 6, RFC 9700 section 4.14.2
    """
    if not genuine(presented, REFRESH_PREFIX):
        raise _no_refresh("This refresh token was not issued here.")
    fingerprint, client, tenant = policy.fingerprint(presented), exchange.client, exchange.tenant
    if online_ended:
        stored = store.find_refresh(ctx.tx, fingerprint)
        if stored is not None and not stored.offline and _belongs_to(stored, client, tenant):
            _revoke_families(ctx, store.of_family(stored.family), "session_ended")
            audit.record(
                ctx,
                _event(stored.grant, "tokens.refresh.redeem", reason="session_ended", family=stored.family),
            )
            raise _no_refresh("The session of this online access has ended.")
    # One statement checks and marks the token, so of two concurrent uses one succeeds and the other is a replay (ADR 163).
    redeemed = store.use_refresh(ctx.tx, fingerprint, client=client, tenant=tenant, now=ctx.now)
    if redeemed is not None:
        return redeemed
    stored = store.find_refresh(ctx.tx, fingerprint)
    if stored is None:
        raise _no_refresh("This refresh token no longer exists.")
    # Only recorded: a client that found another's token must not be able to end its owner's access.
    if not _belongs_to(stored, client, tenant):
        foreign = _event(stored.grant, "tokens.refresh.redeem", reason="foreign_client", by=client, at=tenant)
        audit.record(ctx, foreign)
        raise _no_refresh("This refresh token was issued to another client.")
    fault = policy.refresh_fault(stored, ctx.now)
    if fault == "used" and (answer := find_answer(ctx, exchange)):
        return replace(stored, answer=answer)
    # After a second use it is unknown which user is the thief, so both lose access.
    if stored.used_at is not None and stored.family_revoked_at is None:
        _revoke_families(ctx, store.of_family(stored.family), "refresh_reused")
        fault = "reused"
    audit.record(
        ctx, _event(stored.grant, "tokens.refresh.redeem", reason=f"refresh_{fault}", family=stored.family)
    )
    raise _no_refresh(f"This refresh token is {fault}.")


def find_access(ctx: Context, presented: str) -> AccessToken | None:
    """Find an access token that is neither revoked nor expired. The caller checks eligibility and kill switches."""
    if not genuine(presented, ACCESS_PREFIX):
        return None
    row = store.find_access(ctx.tx, policy.fingerprint(presented))
    if row is None:
        return None
    token, revoked = row
    return None if revoked or ctx.now >= token.expires_at else token


def find_refresh(ctx: Context, presented: str) -> RefreshToken | None:
    """Find a refresh token in any state; ``policy.refresh_fault`` judges it."""
    if not genuine(presented, REFRESH_PREFIX):
        return None
    return store.find_refresh(ctx.tx, policy.fingerprint(presented))


def revoke_presented(ctx: Context, token: str, *, client: ClientId, tenant: TenantId) -> None:
    """Revoke a token that a client presents: an access token alone, a refresh token with its whole family.

    Ignores unknown and expired tokens, and those of other tenants. Raises NotPermitted for another client's token (C54).
    Source: RFC 7009 sections 2.1 and 2.2
    """
    prefix = policy.prefix_of(token)
    if not prefix or not genuine(token, prefix):
        return
    fingerprint = policy.fingerprint(token)
    if prefix == REFRESH_PREFIX:
        refresh = store.find_refresh(ctx.tx, fingerprint)
        if refresh is None or refresh.grant.tenant != tenant:
            return
        _refuse_foreign(ctx, refresh.grant.client, client, tenant)
        revoke_family(ctx, refresh.family, because="client_revoked")
        return
    access = store.find_access(ctx.tx, fingerprint)
    if access is None or access[0].tenant != tenant:
        return
    _refuse_foreign(ctx, access[0].client, client, tenant)
    if revoked := store.revoke_access(ctx.tx, store.access_of_hash(fingerprint), ctx.now):
        ctx.advance_epoch(TOKENS, *_keys(revoked))
        audit.record(
            ctx, Event("tokens.access.revoke", tenant=tenant, client=client, reason="client_revoked")
        )


def revoke_family(ctx: Context, family: FamilyId, *, because: str = "revoked") -> bool:
    """Revoke all tokens that were or will be issued from one code; return whether its family was active."""
    ended = _revoke_families(ctx, store.of_family(family), because)
    if not ended:
        # The code may be redeemed later: a revoked family makes touch_family refuse its first token.
        store.bar_family(ctx.tx, family, because=because, now=ctx.now)
        return False
    _record_revocation(ctx, ended, because, family=family)
    return True


def revoke_authorization(ctx: Context, authorization: AuthorizationId) -> int:
    """Revoke every access and refresh token of an authorization; return how many families were active."""
    ended = _revoke_families(ctx, store.of_authorization(authorization), "withdrawn")
    if ended:
        _record_revocation(ctx, ended, "withdrawn", authorization=authorization)
    return len(ended)


def narrow_authorization(ctx: Context, authorization: AuthorizationId, scopes: Iterable[str]) -> None:
    """Revoke the access tokens of an authorization, and narrow its refresh tokens to ``scopes``."""
    within = tuple(scopes)
    # Refresh tokens first: the update waits for a concurrent redemption, whose access token is then revoked below.
    for token in store.active_refreshes(ctx.tx, authorization):
        store.narrow_refresh(ctx.tx, token, narrow(token.grant.scopes, within))
    if revoked := store.revoke_access(
        ctx.tx, store.access_of(store.of_authorization(authorization)), ctx.now
    ):
        ctx.advance_epoch(TOKENS, *_keys(revoked))
    event = Event("tokens.authorization.narrow", authorization=authorization, facts={"scopes": list(within)})
    audit.record(ctx, event)


def revoke_launch(ctx: Context, launch: LaunchId) -> int:
    """Revoke the tokens of a launch except those with ``offline_access`` (C36); return how many families were active."""
    ended = _revoke_families(ctx, store.of_launch(launch), "launch_ended")
    if ended:
        _record_revocation(ctx, ended, "launch_ended", launch=launch)
    return len(ended)


def revoke_person(ctx: Context, person: PersonId, because: str) -> int:
    """Revoke every access and refresh token of a person, offline too; return how many families were active."""
    ended = _revoke_families(ctx, store.of_person(person), because)
    if ended:
        _record_revocation(ctx, ended, because, person=person)
    return len(ended)


def end_access_at(
    ctx: Context, client: ClientId, tenant: TenantId, *, families: bool = False, because: str
) -> int:
    """Revoke the access tokens of a client at a tenant, with ``families`` also its families; return how many were active."""
    ended = _revoke_families(ctx, store.of_client_at(client, tenant), because) if families else []
    revoked = store.revoke_access(ctx.tx, store.access_of_client_at(client, tenant), ctx.now)
    if revoked:
        ctx.advance_epoch(TOKENS, *_keys(revoked))
    if ended or revoked:
        _record_revocation(ctx, ended, because, tenant=tenant, client=client)
    return len(ended) + len(revoked)


def last_minted(ctx: Context, authorizations: Iterable[AuthorizationId]) -> dict[AuthorizationId, datetime]:
    """Return when a token was last issued under each authorization."""
    return store.last_minted(ctx.tx, authorizations)


def list_families(ctx: Context, authorizations: Iterable[AuthorizationId]) -> list[TokenFamily]:
    """List the families of authorizations that can be refreshed, the last used first, at most FAMILIES_BOUND of each."""
    return store.list_families(ctx.tx, authorizations, ctx.now)


def count_open(
    ctx: Context, *, tenant: str = "", clients: Collection[str] | None = None, person: str = ""
) -> list[OpenTokens]:
    """Count access tokens in force and active people by tenant. The arguments restrict it to a tenant, clients or a person."""
    since = ctx.now - _ACTIVE_FOR
    return store.count_open(ctx.tx, ctx.now, since, tenant=tenant, clients=clients, person=person)


def record_jti(ctx: Context, issuer: str, jti: str, until: datetime) -> bool:
    """Record that an issuer used a ``jti``; return False if it was used before. ``until`` is its expiry plus the allowed skew.

    The record is shared by all workers. Raises Unavailable if it cannot be reached, which refuses the assertion. Source: RFC 7523 section 3, item 7.
    """
    if not jti or len(jti) > JTI_BOUND or ctx.now >= until:
        return False
    # A jti is unique only within its issuer. The line break separates them: no client id contains one.
    fingerprint = sha256(f"{issuer}\n{jti}".encode()).digest()
    # Expired rows are deleted in one of 256 calls.
    if fingerprint[0] == 0:
        store.delete_jtis(ctx.tx, ctx.now)
    return store.record_jti(ctx.tx, fingerprint, until)


@keyed(r"token/([0-9a-f]{2})+|family/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[TokenFacts]:
    """Return the revocations of the last NEGATIVE_WINDOW: all, or those since a change."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        tokens = RecentSet(store.read_revoked_tokens(ctx.tx, forget_before))
        return Delta(TokenFacts(tokens, RecentSet(store.read_revoked_families(ctx.tx, forget_before))))
    revoked: list[tuple[bytes, datetime]] = []
    ended: list[tuple[FamilyId, datetime]] = []
    for revocation in since.changes:
        kind, _, name = revocation.key.partition("/")
        if kind == "token":
            revoked.append((bytes.fromhex(name), revocation.at))
        else:
            ended.append((FamilyId(name), revocation.at))

    def change(before: TokenFacts) -> TokenFacts:
        return TokenFacts(
            RecentSet.of(before.revoked_tokens).changed(revoked, forget_before=forget_before),
            RecentSet.of(before.revoked_families).changed(ended, forget_before=forget_before),
        )

    return Delta(change=change)


def purge(ctx: Context, *, used_kept: timedelta = USED_REFRESH_KEPT) -> int:
    """Delete a batch of tokens that can no longer be used; return how many rows. Call again until it returns 0.

    ``used_kept``: how long a used refresh token is stored, so that a second use is recognized and revokes its family.
    """
    deleted = store.purge(
        ctx.tx,
        access_before=ctx.now - NEGATIVE_WINDOW,
        refresh_before=ctx.now - _REFRESH_KEPT,
        # A revoked family is stored at least as long as an access token of it may live.
        ended_before=ctx.now - max(used_kept, NEGATIVE_WINDOW),
    )
    return deleted + store.delete_jtis(ctx.tx, ctx.now)


def _access(ctx: Context, grant: Grant, presented: str, family: FamilyId, life: timedelta) -> AccessToken:
    return AccessToken(
        hash=policy.fingerprint(presented),
        tenant=grant.tenant,
        client=grant.client,
        app=grant.app,
        version=grant.version,
        vendor=grant.vendor,
        scopes=grant.scopes,
        issued_at=ctx.now,
        expires_at=ctx.now + life,
        person=grant.person,
        role=grant.role,
        fhir_user=grant.fhir_user,
        person_patients=grant.person_patients,
        patient=grant.patient,
        encounter=grant.encounter,
        authorization=grant.authorization,
        authorization_expires_at=grant.authorization_expires_at,
        family=family,
        launch=grant.launch,
        launch_moved=grant.launch_moved,
        workflow=grant.workflow,
        facility=grant.facility,
        run=grant.run,
        session=grant.session,
    )


def _refresh(
    ctx: Context, grant: Grant, presented: str, family: FamilyId, *, lifetimes: Lifetimes, offline: bool
) -> RefreshToken:
    life = lifetimes.refresh_token if offline else lifetimes.session_refresh_token
    return RefreshToken(policy.fingerprint(presented), family, grant, ctx.now, ctx.now + life, offline)


def _belongs_to(token: RefreshToken, client: ClientId, tenant: TenantId) -> bool:
    return token.grant.client == client and token.grant.tenant == tenant


def _no_refresh(detail: str) -> NotPermitted:
    return NotPermitted(TokenError.INVALID_GRANT, detail)


def _refuse_foreign(ctx: Context, owner: ClientId, client: ClientId, tenant: TenantId) -> None:
    if owner != client:
        event = Event(
            "tokens.token.revoke",
            Outcome.REFUSED,
            tenant=tenant,
            client=client,
            reason="foreign_client",
            facts={"owner": owner},
        )
        audit.record(ctx, event)
        raise NotPermitted("unauthorized_client", "This token was issued to another client.")


def _revoke_families(ctx: Context, wanted: store.Condition, because: str) -> list[FamilyId]:
    ended = store.revoke_families(ctx.tx, wanted, because=because, now=ctx.now)
    if ended:
        ctx.advance_epoch(TOKENS, *(f"family/{family}" for family in ended))
    return ended


def _keys(tokens: Iterable[bytes]) -> list[str]:
    return [f"token/{fingerprint.hex()}" for fingerprint in tokens]


def _record_revocation(
    ctx: Context, families: list[FamilyId], because: str, *, family: str = "", **ids: Any
) -> None:
    facts = {"families": families, "family": family}
    audit.record(ctx, Event("tokens.family.revoke", reason=because, facts=facts, **ids))


def _event(grant: Grant | AccessToken, action: str, *, reason: str = "", **facts: object) -> Event:
    return Event(
        action,
        Outcome.REFUSED if reason else Outcome.DONE,
        tenant=grant.tenant,
        app=grant.app,
        client=grant.client,
        person=grant.person,
        launch=grant.launch,
        authorization=grant.authorization,
        reason=reason,
        patient=grant.patient,
        # A certification run is judged by these records.
        facts=facts | {"run": grant.run} if grant.run else facts,
    )
