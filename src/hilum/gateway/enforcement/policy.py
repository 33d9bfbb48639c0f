"""The decision: may this request pass, and how far does it reach. Pure.

One straight line of early returns, in the order of ``Reason``: the first fault is the answer.
Source: house rule 11; SMART App Launch 2.2; FHIR R4 http.html.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from hilum.authorization.breakglass.models import BrokenGlass
from hilum.authorization.breakglass.policy import in_effect
from hilum.authorization.eligibility.models import ELIGIBILITY_REASONS, EligibilityInputs, Stopped
from hilum.authorization.eligibility.policy import eligibility_fault, fault_without_app, stopped_part
from hilum.authorization.tokens import policy as tokens
from hilum.authorization.tokens.models import AccessToken
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import Subject
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.attachments import referrer_types
from hilum.foundation.standards.fhir.queries import SearchQuery, read_search
from hilum.foundation.standards.fhir.requests import FhirRequest, Interaction, Unsupported
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.foundation.standards.fhir.visibility import Belonging, local_reference, rule_of
from hilum.foundation.standards.refusals import meaning_of
from hilum.foundation.standards.smart.interactions import LETTERS
from hilum.foundation.standards.smart.scopes import CREATE, READ, WRITES, CompiledScopes, Prefix
from hilum.gateway.enforcement.access_scope import attaching_rules, grant_rules, holds, reach_of
from hilum.gateway.enforcement.grants import compiled_grant, quota_of
from hilum.gateway.enforcement.models import (
    ATTACHED_BOUND,
    DOCUMENT_BOUND,
    RESOURCE_BOUND,
    STALENESS_BOUND,
    CompiledGrant,
    EffectiveAccess,
    GatewayRequest,
    GrantRule,
    Permit,
    SearchPlan,
    Snapshot,
)
from hilum.gateway.enforcement.query_rewrite import (
    context_fault,
    cost_fault,
    includes_fault,
    plan_search,
    price_of,
)
from hilum.gateway.enforcement.resource_access import judge_resource
from hilum.identity.people.models import MovedReads
from hilum.identity.people.policy import holds_lost_chart
from hilum.policy.matrix.policy import notice_headers, notice_of, retirement

_INELIGIBLE = {reason: Deny(reason, meaning_of(reason)) for reason in ELIGIBILITY_REASONS}
_STOPPED: dict[Stopped | None, Deny] = {
    Stopped.WRITES: Deny(Reason.SWITCH_ENGAGED, "A kill switch stops every write."),
    Stopped.SCOPES: Deny(Reason.SWITCH_ENGAGED, "A kill switch stops every scope that would permit this."),
}

_NOT_YET = {
    Interaction.PATCH: "Patches are not supported; update the whole resource.",
    Interaction.BATCH: "A batch cannot be an entry of a batch.",
    Interaction.TRANSACTION: "Transactions are not supported; send a Bundle of type batch, whose entries succeed or fail one by one.",
    Interaction.CAPABILITIES: "Read the CapabilityStatement by itself: GET metadata.",
    Interaction.HISTORY_INSTANCE: "History is not available; read a version by its id.",
    Interaction.HISTORY_TYPE: "History is not available; read a version by its id.",
    Interaction.HISTORY_SYSTEM: "History is not available; read a version by its id.",
    Interaction.SEARCH_SYSTEM: "Search one resource type at a time.",
    Interaction.SEARCH_COMPARTMENT: "Search the resource type with its patient parameter instead.",
    Interaction.OPERATION: "Operations are not supported, except DocumentReference/$docref: no scope covers them.",
}
_CONDITIONAL = (
    "Conditional creates, updates, patches and deletes are not supported; search first, then write by id."
)
_NO_TOKEN = Deny(Reason.TOKEN_MISSING, "Send an access token: Authorization: Bearer.")
_FAILOVER = (
    "So it was before a failover of the database that lost changes; the platform's operator must confirm it."
)
_STALE = Deny(Reason.SNAPSHOT_STALE, "Current permissions could not be confirmed. Try again in a moment.")


def decide(incoming: GatewayRequest, snapshot: Snapshot | None, now: datetime) -> Permit | Deny:
    """Judge one request. ``snapshot``: None if it is stale.

    INVARIANT: taking a scope away, engaging a switch or revoking anything never turns a Deny into a permit.
    INVARIANT: what was forbidden before a failover that lost changes stays forbidden until a person confirms (ADR 162).
    """
    decision = _decide_by(incoming, snapshot, now)
    for earlier in () if snapshot is None else snapshot.earlier:
        if isinstance(decision, Permit):
            decision = _united(decision, _decide_by(incoming, earlier, now))
    return decision


def _decide_by(incoming: GatewayRequest, snapshot: Snapshot | None, now: datetime) -> Permit | Deny:
    """Judge a request by one copy of the facts: the line of early returns."""
    token = incoming.token
    if token is None:
        return _NO_TOKEN
    # Before the token is judged: an unsupported request needs no facts, and its refusal discloses none.
    request = incoming.request
    if isinstance(request, Unsupported):
        return Deny(Reason.REQUEST_UNSUPPORTED, request.detail)
    if incoming.purpose and request.is_write:
        return Deny(Reason.REQUEST_UNSUPPORTED, "The platform writes nothing by itself.")
    query = understand(request, incoming.bases)
    if isinstance(query, Deny):
        return query
    if snapshot is None:
        return _STALE
    if isinstance(token, Deny):
        return token
    if fault := _token_fault(token, incoming.proof, snapshot, now):
        return fault
    grant, letter = compiled_grant(token, incoming.purpose, snapshot, now), LETTERS[request.interaction]
    if fault := _eligibility_fault(incoming, grant, snapshot, now, type_=request.type, letter=letter):
        return fault
    permit = _permit(incoming, request, grant, snapshot, now)
    if fault := _grant_fault(permit, token, query):
        return fault
    if fault := _context_fault(permit, token, query, snapshot, now):
        return fault
    if query is not None and (fault := cost_fault(query, permit.grants)):
        return fault
    if fault := size_fault(request):
        return fault
    if query is not None:
        permit.plan = _plan(permit, query)
        permit.price = price_of(permit.plan, query)
    permit.patient, permit.may_create = _patient(permit, query), _may_create(permit)
    return permit


def _united(permit: Permit, earlier: Permit | Deny) -> Permit | Deny:
    """Return a permit if the facts from before a failover permit the same; else why not."""
    if isinstance(earlier, Deny):
        return Deny(earlier.reason, f"{earlier.detail} {_FAILOVER}")
    # An emergency access widens what is shown, not what is granted, and may have begun since.
    return (
        permit
        if is_same_grant(without_glass(earlier), without_glass(permit))
        else Deny(Reason.SCOPE_INSUFFICIENT, _FAILOVER)
    )


def _scope_stops(
    snapshot: Snapshot, token: AccessToken, now: datetime, *, writes: bool
) -> controls.ScopeStops | None:
    """Return what switches take out of every grant; those from before a failover too."""
    own = controls.scope_stops(snapshot.controls.switches, now, issued_at=token.issued_at, writes=writes)
    if not snapshot.earlier:
        return own
    stops = [own, *(_scope_stops(facts, token, now, writes=writes) for facts in snapshot.earlier)]
    return lambda scope, type_: any(stop is not None and stop(scope, type_) for stop in stops)


def unread_fault(incoming: GatewayRequest, snapshot: Snapshot | None, now: datetime) -> Deny | None:
    """Return why a request is refused whatever its body holds, so that the body is not read; None if it must be read.

    ``incoming.request`` is not looked at. Source: security decision 26
    """
    token = incoming.token
    if token is None:
        return _NO_TOKEN
    if snapshot is None:
        return _STALE
    if isinstance(token, Deny):
        return token
    if fault := _token_fault(token, incoming.proof, snapshot, now):
        return fault
    return _eligibility_fault(incoming, compiled_grant(token, incoming.purpose, snapshot, now), snapshot, now)


def _eligibility_fault(
    incoming: GatewayRequest,
    grant: CompiledGrant,
    snapshot: Snapshot,
    now: datetime,
    *,
    type_: str = "",
    letter: int = 0,
) -> Deny | None:
    """Return why an app may not act here now. ``letter`` 0: whatever it asks for."""
    token, identity = grant.token, snapshot.identity
    eligibility = EligibilityInputs(
        token,
        identity.tenants.get(incoming.tenant),
        grant.client,
        grant.installation,
        snapshot.controls.switches,
        grant.book,
        person_active=not token.person or token.person not in identity.inactive_people,
        facility_open=token.facility not in identity.removed_facilities,
        issued_at=token.issued_at,
        source=incoming.source,
        for_records=True,
        resource_type=type_,
        letter=letter,
        scopes=token.scopes,
    )
    # A read that the platform makes for no app needs the person and the tenant only.
    alone = incoming.purpose and not token.client
    reason = fault_without_app(eligibility, now) if alone else eligibility_fault(eligibility, now)
    if reason is None:
        return None
    stopped = stopped_part(eligibility, now) if reason is Reason.SWITCH_ENGAGED else None
    return _STOPPED.get(stopped) or _INELIGIBLE[reason]


def statement_fault(tenant: TenantId, snapshot: Snapshot, now: datetime) -> Deny | None:
    """Return why a tenant's capability statement is not read now. It is public, but after a full stop the platform does not call the server either."""
    stops = (
        controls.stopped_by(facts.controls.switches, Subject(tenant=tenant), now=now, issued_at=None)
        for facts in (snapshot, *snapshot.earlier)
    )
    return None if not any(stops) else Deny(Reason.SWITCH_ENGAGED, "A kill switch stops this FHIR server.")


def sunset_notice(permit: Permit) -> Mapping[str, str]:
    """Return the headers that announce the end of a scope that a permit rests on; none if no end is announced (C62)."""
    book = permit.grant.book
    if not book.notices:
        return {}
    type_ = permit.request.type
    # Of a wildcard only the part for this type.
    ending = notice_of(book, tuple(g.text.replace("/*.", f"/{type_}.", 1) for g in permit.grants))
    return {} if ending is None else notice_headers(ending)


def _broken_glass(
    permit: Permit, token: AccessToken, snapshot: Snapshot, now: datetime
) -> BrokenGlass | None:
    """Return whose restricted records an app may read because its person broke the glass: it adds to no scope, role, context or write (C82)."""
    if permit.request.is_write or _has_moved(token, snapshot) or _has_ended(token, snapshot):
        return None
    facts = snapshot.break_glass
    glass = in_effect(facts, tenant=token.tenant, person=token.person, launch=token.launch, now=now)
    # An emergency access is for the patient for whom it was opened; a token for another one gets nothing from it.
    return None if glass is None or glass.patient != token.patient else glass


def without_glass(permit: Permit) -> Permit:
    """Return the permit of the same request as if nobody had broken the glass."""
    return replace(permit, access=replace(permit.access, glass=None))


def is_same_grant(before: Permit, now: Permit) -> bool:
    """Check whether a later permit of the same request reaches everything that was used of the earlier one."""
    a, b = before.access, now.access
    if (before.may_create, before.only) != (now.may_create, now.only) or not _are_equal(a.scopes, b.scopes):
        return False
    if (a.patient, a.people, a.rights, a.own, a.glass) != (b.patient, b.people, b.rights, b.own, b.glass):
        return False
    if a.stopped is None and b.stopped is None:
        return True
    # With a switch on a scope or type, compare the rules that were looked up: nothing else decided
    # anything. Those of the asked type may have been looked up in another object.
    if before.reach.rule != now.reach.rule:
        return False
    return all(reach.rule == reach_of(b, *asked).rule for asked, reach in list(a.reaches.items()))


def _are_equal(a: CompiledScopes, b: CompiledScopes) -> bool:
    """Check whether two sets of scopes permit the same: what is kept and what was compiled again are two objects."""
    return a is b or (a.by_type, a.any_type, a.special) == (b.by_type, b.any_type, b.special)


def size_fault(request: FhirRequest) -> Deny | None:
    """Judge how much is written. What one app stores, every other must be able to read."""
    if not request.raw:
        return None
    bound = DOCUMENT_BOUND if request.type in referrer_types() else RESOURCE_BOUND
    if request.type == "Binary":
        bound = ATTACHED_BOUND
    if len(request.raw) <= bound:
        return None
    return Deny(
        Reason.RESOURCE_TOO_LARGE,
        f"A {request.type} written by an app may have at most {bound // 1024} KiB; this one has {len(request.raw)} bytes.",
    )


# A switch and a deactivation are never waited out.
_MAY_BE_OUTDATED = frozenset(ELIGIBILITY_REASONS) - {Reason.SWITCH_ENGAGED, Reason.PERSON_INACTIVE}


def may_be_outdated(deny: Deny, incoming: GatewayRequest) -> bool:
    """Check whether the token is so new that the facts it needs may be newer than the snapshot, as with an app that has just registered."""
    token = incoming.token
    fresh = isinstance(token, AccessToken) and incoming.at - token.issued_at < STALENESS_BOUND
    return fresh and deny.reason in _MAY_BE_OUTDATED


def understand(request: FhirRequest, bases: tuple[str, ...]) -> SearchQuery | Deny | None:
    """Return why a well-formed request is not supported, or its parsed search; None for a supported request that is no search.

    Source: FHIR R4 http.html#update (the body's id), http.html#create
    """
    kind = request.interaction
    if kind not in LETTERS:
        return Deny(Reason.REQUEST_UNSUPPORTED, _NOT_YET.get(kind, _CONDITIONAL))
    visibility = rule_of(request.type)
    if visibility is None:
        return Deny(
            Reason.REQUEST_UNSUPPORTED,
            f"{request.type} is not available to apps: it does not say whose record it is.",
        )
    # A Binary does not say whose it is; the records that
    # refer to it do, so it is neither searched nor updated.
    if visibility.belonging is Belonging.REFERRER and kind not in {Interaction.READ, Interaction.CREATE}:
        return Deny(
            Reason.REQUEST_UNSUPPORTED,
            f"{request.type} can only be created, and read through a record that refers to it.",
        )
    if request.body is not None and request.body.get("resourceType") != request.type:
        return Deny(Reason.REQUEST_UNSUPPORTED, "The body's resourceType is not the type of the address.")
    if (
        visibility.belonging is Belonging.REFERRER
        and kind is Interaction.CREATE
        and not attached_to(request, bases)
    ):
        return Deny(
            Reason.REQUEST_UNSUPPORTED,
            'A Binary is stored for one patient: name them as securityContext: {"reference": "Patient/..."}.',
        )
    if kind is Interaction.UPDATE and (request.body or {}).get("id") != request.id:
        return Deny(Reason.REQUEST_UNSUPPORTED, "The body's id is not the id of the address.")
    if kind is not Interaction.SEARCH_TYPE:
        return None
    query = read_search(request, bases)
    return query if isinstance(query, SearchQuery) else Deny(Reason.REQUEST_UNSUPPORTED, query.detail)


def attached_to(request: FhirRequest, bases: tuple[str, ...]) -> str:
    """Return the patient for whom a Binary is to be stored; empty if it names none."""
    named = local_reference((request.body or {}).get("securityContext"), bases)
    return named.id if named is not None and named.type == "Patient" else ""


def _token_fault(token: AccessToken, proof: str, snapshot: Snapshot, now: datetime) -> Deny | None:
    reason = tokens.judge(token, snapshot.tokens, now)
    if reason is Reason.TOKEN_INVALID:
        return Deny(reason, "The access token has expired.")
    if fault := tokens.require_proof(token, proof):
        return Deny(fault, "The access token came without the proof that it is bound to.")
    if reason is not None:
        return Deny(reason, "The access token was revoked.")
    # Withdrawing revokes the tokens too, so this is a second lock under the same reason.
    if token.authorization and token.authorization in snapshot.consent.revoked:
        return Deny(Reason.TOKEN_REVOKED, "The authorization behind the access token was withdrawn.")
    # The token holds the charts of its issue; a loss since then is a fact of its own.
    if token.person_patients and holds_lost_chart(
        snapshot.identity, token.person, token.person_patients, issued_at=token.issued_at, now=now
    ):
        return Deny(
            Reason.TOKEN_REVOKED, "The person may no longer open a chart that the access token reaches."
        )
    return None


def _permit(
    incoming: GatewayRequest, request: FhirRequest, grant: CompiledGrant, snapshot: Snapshot, now: datetime
) -> Permit:
    """Return the permit that the request would have, for its faults to be found; what it is to do is added once there are none."""
    token, access, letter = grant.token, grant.access, LETTERS[request.interaction]
    # Asked with the time of the request, for each type that an answer holds.
    stops = _scope_stops(snapshot, token, now, writes=bool(letter & WRITES))
    if stops is not None:
        access = replace(access, stopped=stops)
    reach = reach_of(access, request.type, letter)
    # openid fhirUser permits reading exactly this one resource, whatever the clinical scopes (security decision 11).
    name = token.fhir_user if request.interaction is Interaction.READ else ""
    is_own = (
        name != ""
        and name == f"{request.type}/{request.id}"
        and holds(access, request.type, "openid", "fhirUser")
    )
    rule = incoming.purpose or ("fhirUser" if is_own else reach.rule)
    tenant, quota = snapshot.identity.tenants[incoming.tenant], quota_of(grant, snapshot)
    permit = Permit(
        request, grant, tenant, quota, access, reach, rule, incoming.bases, name if is_own else ""
    )
    # Nearly always none: this must cost the others nothing.
    if token.launch in snapshot.break_glass.open and not incoming.purpose:
        glass = _broken_glass(permit, token, snapshot, now)
        permit.access = access if glass is None else replace(access, glass=glass)
    return permit


def _grant_fault(permit: Permit, token: AccessToken, query: SearchQuery | None) -> Deny | None:
    """Role, then scope. A grant that only lacks its context is not refused here."""
    type_, letter, access = permit.request.type, LETTERS[permit.request.interaction], permit.access
    if permit.only:
        return None
    rights = access.rights
    if rights is not None and not rights.mask(type_) & letter:
        return Deny(Reason.ROLE_NOT_ALLOWED, f"The person's role does not permit this on {type_}.")
    if type_ == "Binary" and letter == CREATE:
        if not permit.grants and not attaching_rules(_in_some_context(access)):
            return Deny(
                Reason.SCOPE_INSUFFICIENT, "No scope covers writing a record that could refer to this."
            )
        return None
    if type_ == "Binary":
        if not any(grant_rules(access, each, READ) for each in referrer_types()):
            return Deny(Reason.SCOPE_INSUFFICIENT, "No scope covers a type that could refer to this.")
        return None
    # 403 only where no patient would help. A grant that lacks its context is out of reach, which is
    # 404 for everybody (ADR 13).
    if not permit.grants and not grant_rules(_in_some_context(access), type_, letter):
        if sentence := retirement(permit.grant.book, token.scopes, type_, letter):
            return Deny(Reason.SCOPE_RETIRED, sentence)
        return Deny(Reason.SCOPE_INSUFFICIENT, f"No scope covers this on {type_}.")
    if query is not None:
        return includes_fault(query, access)
    return None


def _in_some_context(access: EffectiveAccess) -> EffectiveAccess:
    return replace(access, patient=access.patient or "-", people=None)


def _context_fault(
    permit: Permit, token: AccessToken, query: SearchQuery | None, snapshot: Snapshot, now: datetime
) -> Deny | None:
    """Launch, context, authorization, labels."""
    request = permit.request
    if fault := _launch_fault(permit, token, snapshot):
        return fault
    body = None if request.body is None else _body_fault(permit, request.body)
    if not permit.only and (body is Reason.OUTSIDE_LAUNCH_CONTEXT or _is_outside(permit, query)):
        return Deny(Reason.OUTSIDE_LAUNCH_CONTEXT, "The record is out of reach of this grant.")
    if fault := _expiry_fault(token, now):
        return fault
    if body is not None:
        return Deny(body, "Apps may not write a record with this label.")
    return None


def _launch_fault(permit: Permit, token: AccessToken, snapshot: Snapshot) -> Deny | None:
    """Judge whether the launch or session continues."""
    request = permit.request
    # C36: whatever was not granted for offline use ends with the EHR's session.
    if _has_ended(token, snapshot) and not holds(permit.access, request.type, "offline_access"):
        return Deny(Reason.LAUNCH_ENDED, "The session that opened the app has ended.")
    if _has_moved(token, snapshot) and (
        request.is_write or permit.tenant.moved_reads is not MovedReads.ALLOW
    ):
        return Deny(Reason.CONTEXT_MOVED, "The chart has moved to another patient since the launch.")
    return None


def _expiry_fault(token: AccessToken, now: datetime) -> Deny | None:
    """Judge the end of what a person agreed to."""
    if token.authorization_expires_at is not None and now >= token.authorization_expires_at:
        return Deny(Reason.AUTHORIZATION_EXPIRED, "The authorization behind the access token has expired.")
    return None


def _has_ended(token: AccessToken, snapshot: Snapshot) -> bool:
    """Check whether the EHR ended the session that opened the app."""
    return bool(token.launch) and token.launch in snapshot.launches.ended


def _has_moved(token: AccessToken, snapshot: Snapshot) -> bool:
    """Check whether the EHR's chart has moved to another patient since the launch."""
    return token.launch_moved or (bool(token.launch) and token.launch in snapshot.launches.moved)


def _is_outside(permit: Permit, query: SearchQuery | None) -> bool:
    """Check whether the request is out of reach before anything is fetched: the grant has no context, or none of the patients named."""
    request, grants = permit.request, permit.grants
    if request.type == "Binary" and request.interaction is not Interaction.CREATE:
        return False
    if not grants:
        return True
    if request.type == "Binary":
        return not _reaches(grants, attached_to(request, permit.bases))
    if query is not None:
        return context_fault(query, grants) is not None
    visibility = rule_of(request.type)
    # Another patient by id is refused without asking the FHIR
    # server: it looks the same whether or not there is one.
    if visibility is not None and visibility.belonging is Belonging.SELF and request.id:
        return not _reaches(grants, request.id)
    return False


def _reaches(grants: tuple[GrantRule, ...], patient: str) -> bool:
    return any(grant.patients is None or patient in grant.patients for grant in grants)


def _body_fault(permit: Permit, body: dict[str, Any]) -> Reason | None:
    """Judge the resource to be written without its targets. Types that are judged by their targets are judged once those were fetched."""
    request = permit.request
    # It holds nothing but bytes and the patient whom _is_outside judges.
    if request.type == "Binary":
        return None
    if request.interaction is Interaction.CREATE:
        # FHIR R4 http.html#create: the server assigns the id and ignores the body's. Judged by it, a grant on
        # the launched patient could create a chart under that patient's id.
        body = body | {"id": None}
    record = traits_of(body, permit.bases)
    if not permit.grants or record.belonging is Belonging.TARGETS:
        return None
    return judge_resource(permit.access, record, permit.grants)


def _patient(permit: Permit, query: SearchQuery | None) -> str:
    """Return the patient whom the request is about, if that is known before anything is fetched."""
    request = permit.request
    if request.type == "Patient" and request.id:
        return request.id
    if request.type == "Binary" and request.body is not None:
        return attached_to(request, permit.bases)
    if permit.grants and permit.reach.is_of_one:
        return permit.access.patient
    named = query.named if query is not None else None
    return next(iter(named)) if named is not None and len(named) == 1 else ""


def _plan(permit: Permit, query: SearchQuery) -> SearchPlan:
    own, grants = permit.access.own, permit.grants
    only_own = bool(own) and all(grant.patients == frozenset((own,)) for grant in grants)
    return plan_search(query, permit.access, grants, labels=not only_own)


def _may_create(permit: Permit) -> bool:
    """Check whether an update may create the resource it names: only services, by their own scopes."""
    request = permit.request
    return (
        request.interaction is Interaction.UPDATE
        and all(grant.prefix is Prefix.SYSTEM for grant in permit.grants)
        and any(each.prefix is Prefix.SYSTEM for each in grant_rules(permit.access, request.type, CREATE))
    )
