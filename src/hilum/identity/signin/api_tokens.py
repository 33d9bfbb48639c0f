"""Create, accept, confirm and revoke API tokens."""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.factors import policy as factor_policy
from hilum.identity.factors import service as factors
from hilum.identity.people import service as identity
from hilum.identity.signin import policy, store
from hilum.identity.signin.models import (
    API_TOKEN_LIFE,
    API_TOKEN_PREFIX,
    API_TOKENS_PER_PERSON,
    TOKEN_USE_NOTED_EVERY,
    ApiToken,
    Barred,
    TokenInvalid,
    TokenWithoutFactor,
)
from hilum.identity.signin.refusing import event_of, require_unbarred
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.keys.live import vault

TOKEN_USE, SESSION_ACT = "signin.token.use", "signin.session.act"
"""Refused calls with an API token, and refused pages and forms of consoles."""


def create_api_token(
    ctx: Context,
    person_id: PersonId,
    *,
    life: timedelta = API_TOKEN_LIFE,
    roles: tuple[str, ...] | None = None,
    name: str = "",
    factor_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """Create an API token, never with more than the person's own role; return it with its secret, which is stored only as a digest.

    Raises NotFound, NotPermitted, Invalid.
    """
    person = identity.get_person(ctx, person_id)
    if not policy.may_hold_token(ctx.actor, person):
        raise audit.refusal(ctx, event_of("signin.token.create", person))
    require_unbarred(ctx, person, "signin.token.create")
    wanted = (person.role,) if roles is None else roles
    if faults := policy.token_faults(person, name=name, life=life, roles=wanted):
        raise Invalid("token_order_invalid", "The token cannot be created as requested.", fields=faults)
    if store.count_api_tokens(ctx.tx, person.id, ctx.now) >= API_TOKENS_PER_PERSON:
        raise NotPermitted(
            "too_many_tokens",
            f"You already have {API_TOKENS_PER_PERSON} API tokens. Revoke one that is no longer needed.",
        )
    body = API_TOKEN_PREFIX + ctx.ids.secret()
    secret = f"{body}_{vault().mac(policy.API_TOKEN_MAC, body.encode())}"
    token = ApiToken(
        ctx.ids.new("pat"), person.id, name, wanted, ctx.now, ctx.now + life, factor_at=factor_at
    )
    store.API_TOKENS.add(ctx.tx, token, digest=policy.digest(secret))
    # The id, never the secret: people other than the owner read the record.
    facts = {"token": token.id, "roles": list(wanted), "expires_at": token.expires_at.isoformat()}
    facts["second_factor"] = "yes" if factor_at else "no"
    audit.record(ctx, Event("signin.token.create", tenant=person.tenant or "", person=person.id, facts=facts))
    return token, secret


def is_api_token(text: str) -> bool:
    """Check whether a text can be an API token of this platform, without a database query."""
    parts = policy.api_token_parts(text)
    if parts is None:
        return False
    body, mac = parts
    return not mac or hmac.compare_digest(vault().mac(policy.API_TOKEN_MAC, body.encode()), mac)


def authenticate_api_token(
    ctx: Context, bearer: str, *, production: bool, writing: bool = False
) -> Actor | Barred:
    """Return the actor of an API token, or ``Barred`` if its person may not call now. Raises NotAuthenticated.

    ``writing``: the call changes something. Then a switch that permits only reading bars it, and the actor is ``unconfirmed`` unless a
    second factor was entered lately or none is needed.
    """
    token = _token_of(ctx, bearer)
    person = identity.find_person(ctx, token.person)
    if person is None:
        raise TokenInvalid
    bar = identity.bar_on(ctx, person, issued_at=token.created_at, writing=writing)
    if bar is not None:
        return policy.barred(person, bar)
    must_have = factor_policy.must_have(person.role, production=production)
    if policy.lacks_factor(token, must_have=must_have):
        raise TokenWithoutFactor
    # The person's factors are read only where they decide, since each read delays a stop by a round trip.
    asked = writing and token.factor_at is None and not must_have
    has_factor = asked and factors.held(ctx, person.id).any
    unconfirmed = writing and not policy.token_confirmed(
        token, has_factor=has_factor, must_have=must_have, now=ctx.now
    )
    return policy.actor_of(person, token.roles, unconfirmed=unconfirmed)


def note_token_use(ctx: Context, bearer: str) -> None:
    """Record the use of an API token, unless one was recorded within TOKEN_USE_NOTED_EVERY (C219)."""
    store.save_api_token_used(ctx.tx, policy.digest(bearer), ctx.now, ctx.now - TOKEN_USE_NOTED_EVERY)


def _token_of(ctx: Context, bearer: str) -> ApiToken:
    """Find the valid token of a bearer secret. Raises TokenInvalid."""
    if not is_api_token(bearer):
        raise TokenInvalid
    token = store.API_TOKENS.find(ctx.tx, digest=policy.digest(bearer))
    if token is None or not policy.token_counts(token, ctx.now):
        raise TokenInvalid
    return token


def own_token(ctx: Context, bearer: str) -> ApiToken:
    """Return the actor's own token by its secret. Raises TokenInvalid."""
    token = _token_of(ctx, bearer)
    if token.person != ctx.actor.id:
        raise TokenInvalid
    return token


def confirm_token(ctx: Context, token: ApiToken) -> None:
    """Record that the actor, whose token it is, has just entered a second factor for it. Raises NotFound."""
    if token.person != ctx.actor.id or not store.API_TOKENS.change(
        ctx.tx, {"factor_at": ctx.now}, id=token.id, revoked_at=None
    ):
        raise NotFound("token_not_found", "There is no such token.")
    person = identity.get_person(ctx, token.person)
    facts = {"token": token.id}
    audit.record(
        ctx, Event("signin.token.confirm", tenant=person.tenant or "", person=person.id, facts=facts)
    )


def record_forbidden(ctx: Context, action: str, reason: str, facts: Mapping[str, str]) -> None:
    """Record what somebody tried without the right to; ``facts``: the method and the route, the object's id, what they were told."""
    person, tenant, kept = ctx.actor.id, ctx.actor.tenant or "", {k: v for k, v in facts.items() if v}
    audit.record(ctx, Event(action, Outcome.REFUSED, tenant=tenant, person=person, reason=reason, facts=kept))


def revoke_api_token(ctx: Context, token_id: str) -> None:
    """Revoke an API token of the actor, or of a person the actor administers. Raises NotFound, Conflict."""
    token = store.API_TOKENS.get(ctx.tx, token_id)
    person = identity.get_person(ctx, token.person)
    if not policy.may_revoke_token(ctx.actor, person):
        # As for an unknown token, since a refusal would confirm that the id exists.
        raise NotFound("token_not_found", "There is no such token.")
    if not store.save_api_token_revoked(ctx.tx, token.id, ctx.now):
        raise Conflict("token_revoked", "This token was already revoked.")
    facts = {"token": token.id}
    audit.record(ctx, Event("signin.token.revoke", tenant=person.tenant or "", person=person.id, facts=facts))


def list_api_tokens(ctx: Context, person_id: PersonId, page: PageQuery = FIRST_PAGE) -> list[ApiToken]:
    """List a person's valid API tokens, newest first: the actor's own, or of a person the actor administers. Raises NotFound."""
    person = identity.get_person(ctx, person_id)
    if not policy.may_revoke_token(ctx.actor, person):
        raise NotFound("person_not_found", "There is no such person.")
    return store.list_api_tokens(ctx.tx, person.id, ctx.now, page)
