"""What a token is entitled to on one type of record: by the standing of its app, its scopes and its person's role. Pure, and kept.

Of the request only its type and the scope letter that it needs count here. Which record, which search and which body it is, whether the
token was revoked and whether its launch has ended, is judged at each request by ``policy``.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from operator import is_
from typing import NamedTuple

from hilum.clients.policy import admission
from hilum.controls.models import Quota, QuotaFacts, SwitchIndex
from hilum.controls.policy import ScopeStops, quota_at
from hilum.gateway.access_scope import asked_rules, effective_access, own_resource
from hilum.gateway.models import Entitlement, Snapshot
from hilum.identity.models import IdentityFacts
from hilum.identity.policy import role_rights
from hilum.installations.models import RegistryFacts
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.ids import TenantId
from hilum.kernel.moments import WatchedMoment
from hilum.policies.models import NO_QUOTA, Book, Cell, TrafficClass
from hilum.policies.policy import PolicyFacts, workflow_limit
from hilum.standards.refusals import meaning_of
from hilum.standards.smart.scopes import compile_narrowed
from hilum.standing.models import STANDING_REASONS, Standing, Stopped
from hilum.standing.policy import fault_without_app, standing_fault, stopped_part
from hilum.tokens.models import AccessToken

ENTITLEMENTS_BOUND = 20_000
_STANDING = {reason: Deny(reason, meaning_of(reason)) for reason in STANDING_REASONS}
_STOPPED: dict[Stopped | None, Deny] = {
    Stopped.WRITES: Deny(Reason.SWITCH_ENGAGED, "A kill switch stops every write."),
    Stopped.SCOPES: Deny(Reason.SWITCH_ENGAGED, "A kill switch stops every scope that would permit this."),
}


class Need(NamedTuple):
    """What a request needs of its token. ``letter`` 0: whatever it needs, its app must be in good standing."""

    token_hash: bytes
    tenant: TenantId
    purpose: str
    source: str | None
    type: str = ""
    letter: int = 0


class Facts(NamedTuple):
    """Everything that an entitlement follows from, beside the token and the time: what changes seldom."""

    identity: IdentityFacts
    registry: RegistryFacts
    switches: SwitchIndex
    quotas: QuotaFacts
    policies: PolicyFacts


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """``number``: that of the facts by which it was judged."""

    entitlement: Entitlement
    token: AccessToken
    since: datetime
    until: datetime | None
    number: int


class _Entitlements(OrderedDict[Need, _Kept]):
    """What each token was entitled to when it was judged last; the one that was judged longest ago is dropped first.

    Only the newest facts are held, and the others by their number: idle tokens would otherwise each hold those of another moment.
    """

    def __init__(self) -> None:
        super().__init__()
        self.facts: Facts | None = None
        self.number = 0

    def find(self, need: Need, token: AccessToken, snapshot: Snapshot, now: datetime) -> Entitlement | None:
        """Return what was judged before, if the same facts would be judged now and come out the same."""
        kept, facts, at = self.get(need), self.facts, snapshot.controls
        # By identity, since nothing of it ever changes; and another row with the same hash is another token.
        if (
            kept is not None
            and kept.token is token
            and kept.number == self.number
            and kept.since <= now
            and (kept.until is None or now < kept.until)
            and facts is not None
            and facts.identity is snapshot.identity
            and facts.registry is snapshot.registry
            and facts.switches is at.switches
            and facts.quotas is at.quotas
            and facts.policies is snapshot.policies
        ):
            return kept.entitlement
        return None

    def number_of(self, facts: Facts) -> int:
        """Return the number of the facts by which is judged now: another one if they are others than before."""
        if self.facts is None or not all(map(is_, self.facts, facts)):
            self.facts, self.number = facts, self.number + 1
        return self.number

    def keep(self, need: Need, kept: _Kept) -> None:
        """Keep what was judged."""
        self[need] = kept
        self.move_to_end(need)
        if len(self) > ENTITLEMENTS_BOUND:
            self.popitem(last=False)

    def cache_clear(self) -> None:
        """Forget everything, as a cache of functools does."""
        self.clear()
        self.facts = None


_kept = _Entitlements()


def entitlement_of(
    need: Need, token: AccessToken, snapshot: Snapshot, now: datetime, stops: ScopeStops | None
) -> Entitlement | Deny:
    """Return what a token is entitled to now, or why its app may not act. ``stops``: the scopes that switches take out of every grant.

    INVARIANT: what is kept is what would be judged now: by the same facts, and before any moment with which the judgement compared the
    time. Refusals are never kept.
    """
    entitled: Entitlement | Deny | None = _kept.find(need, token, snapshot, now)
    if entitled is None:
        facts, watched = facts_of(snapshot), WatchedMoment.of(now)
        entitled = _judge(need, token, facts, watched)
        if isinstance(entitled, Entitlement):
            _kept.keep(need, _Kept(entitled, token, now, watched.until, _kept.number_of(facts)))
    if isinstance(entitled, Deny) or stops is None:
        return entitled
    # Nothing of this is kept: it is asked with the time of the request, for each type that an answer holds.
    return _without_stopped(entitled, need, token, stops)


def standing_refusal(need: Need, token: AccessToken, snapshot: Snapshot, now: datetime) -> Deny | None:
    """Return why the app of a token may not act here at all now, whatever it asks for; None if it may."""
    return _refusal(need, _standing(need, token, facts_of(snapshot), now), now)


def quota_of(token: AccessToken, snapshot: Snapshot, now: datetime) -> Quota:
    """Return the quota of an app at a tenant: that of its cell in the rule book, unless the platform or the tenant set another one.

    Source: C129, C147, C179
    """
    facts = facts_of(snapshot)
    client, book = facts.registry.clients.get(token.client), _book(token, facts, now)
    cell = None if client is None else admission(book, client, now).cell
    return quota_at(facts.quotas, token.app, token.tenant, NO_QUOTA if cell is None else cell.quota)


def traffic_of(cell: Cell | None, *, with_person: bool) -> TrafficClass:
    """Return the traffic class of a request: that of the app's cell. Where no person waits for the answer it is that of backends at most.

    Without a cell only the platform itself reads, for a person at a page: an app without one was refused.
    Source: C133
    """
    found = TrafficClass.USER_APPS if cell is None else cell.traffic_class
    if with_person or found.rank >= TrafficClass.BACKEND.rank:
        return found
    return TrafficClass.BACKEND


def facts_of(snapshot: Snapshot) -> Facts:
    """Return what an entitlement follows from of a snapshot."""
    switches, quotas = snapshot.controls.switches, snapshot.controls.quotas
    return Facts(snapshot.identity, snapshot.registry, switches, quotas, snapshot.policies)


def _judge(need: Need, token: AccessToken, facts: Facts, now: datetime) -> Entitlement | Deny:
    standing = _standing(need, token, facts, now)
    if refusal := _refusal(need, standing, now):
        return refusal
    book, client, installation = standing.book, standing.client, standing.installation
    admitted = None if client is None else admission(book, client, now)
    # A read of the platform's own has the scopes of its purpose. An app with patient/ scopes only has a picker
    # too, and its scopes say nothing about choosing a patient (ADR 30).
    allowed: tuple[tuple[str, ...], ...] = ()
    if not need.purpose:
        assert admitted is not None, "standing refuses a client that is not there"
        assert installation is not None, "standing refuses what is not installed"
        limit = workflow_limit(book, token.workflow)
        allowed = (admitted.scopes, installation.scopes, *(() if limit is None else (limit,)))
    rights = role_rights(token.role) if token.person else None
    cell = None if admitted is None else admitted.cell
    quota = quota_at(facts.quotas, token.app, token.tenant, NO_QUOTA if cell is None else cell.quota)
    scopes = compile_narrowed(token.scopes, *allowed)
    access = effective_access(scopes, rights, token.patient, token.person_patients, token.fhir_user)
    return Entitlement(
        facts.identity.tenants[need.tenant],
        book,
        need.letter,
        access,
        asked_rules(access, need.type, need.letter),
        own_resource=own_resource(access, token, need.type, need.letter),
        origins=frozenset(() if client is None else client.origins),
        traffic=traffic_of(cell, with_person=bool(token.person)),
        quota=quota,
    )


def _without_stopped(entitled: Entitlement, need: Need, token: AccessToken, stops: ScopeStops) -> Entitlement:
    access = replace(entitled.access, stopped=stops)
    grants = asked_rules(access, need.type, need.letter)
    own = own_resource(access, token, need.type, need.letter)
    return replace(entitled, access=access, grants=grants, own_resource=own)


def _standing(need: Need, token: AccessToken, facts: Facts, now: datetime) -> Standing:
    return Standing(
        token,
        facts.identity.tenants.get(need.tenant),
        facts.registry.clients.get(token.client),
        facts.registry.installations.get((token.tenant, token.app)),
        facts.switches,
        _book(token, facts, now),
        person_active=not token.person or token.person not in facts.identity.inactive_people,
        facility_open=token.facility not in facts.identity.removed_facilities,
        issued_at=token.issued_at,
        source=need.source,
        for_records=True,
        resource_type=need.type,
        letter=need.letter,
        scopes=token.scopes,
    )


def _refusal(need: Need, standing: Standing, now: datetime) -> Deny | None:
    """Return why an app may not act. A read that the platform makes for no app needs the person and the tenant only."""
    alone = need.purpose and not standing.acting.client
    reason = fault_without_app(standing, now) if alone else standing_fault(standing, now)
    if reason is None:
        return None
    stopped = stopped_part(standing, now) if reason is Reason.SWITCH_ENGAGED else None
    return _STOPPED.get(stopped) or _STANDING[reason]


def _book(token: AccessToken, facts: Facts, now: datetime) -> Book:
    return facts.policies.book_at(token.tenant, now, token.app)
