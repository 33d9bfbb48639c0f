"""The regulated lane: access that regulation protects, in fixed business days, by objective steps that are the same for all (C112).

INVARIANT: no step reads a fee, a certificate, an agreement on exclusivity, or anything of the other lane: no discipline, check, verdict, finding or
submission. What a step waits for is the list of conditions that the policy may name there, and nothing else can be written in it.
Source: 45 CFR 170.404(b).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion, CertifyOrder, Environment
from hilum.apps.registry.policy import applicant_of, reason_fault, scope_faults
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery, walk
from hilum.foundation.standards.smart.scopes import WRITES, ClinicalScope, Prefix, ScopeError, parse_scope
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, LaneStep, StepCondition
from hilum.policy.matrix.policy import tiers_to_certify
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions import clocks, conflicts, lane_store, policy, timekeeping
from hilum.review.submissions.clock_models import Stage
from hilum.review.submissions.lane_models import ENABLE, VERIFY, LaneRequest, LaneState

# --- pure ------------------------------------------------------------------------------------------------------------------------


def is_protected(scopes: Iterable[str]) -> bool:
    """Check whether scopes are those that regulation protects: reads and searches of a patient's own record, and sign-in."""
    parsed = [parse_scope(each) for each in scopes]
    clinical = [each for each in parsed if isinstance(each, ClinicalScope)]
    reads = all(each.prefix is Prefix.PATIENT and not each.letters & WRITES for each in clinical)
    return bool(clinical) and reads and not any(isinstance(each, ScopeError) for each in parsed)


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """Everything that a step may depend on."""

    identity_verified: bool
    metadata_complete: bool
    keys_registered: bool
    security_terms_accepted: bool

    def holds(self, condition: StepCondition) -> bool:
        """Check whether a condition holds."""
        return bool(getattr(self, condition.value))


def lacking(step: LaneStep, facts: LaneFacts) -> tuple[StepCondition, ...]:
    """Return the conditions of a step that do not hold, in the order in which they are defined."""
    return tuple(each for each in StepCondition if each in step.requires and not facts.holds(each))


def step_named(book: Book, name: str) -> LaneStep:
    """Return a step of the policy's lane. A step that the policy lacks takes no days and requires only a verified requester."""
    fallback = LaneStep(name, 1, frozenset({StepCondition.IDENTITY_VERIFIED}))
    return next((each for each in book.regulated_lane if each.name == name), fallback)


# --- verbs -----------------------------------------------------------------------------------------------------------------------


def ask_access(ctx: Context, version_id: VersionId, scopes: tuple[str, ...]) -> LaneRequest:
    """Request protected access for a version, as its vendor. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("review.lane.ask", facts={"version": version_id, "scopes": list(scopes)})
    if not ctx.actor.is_platform and ctx.actor.vendor is None:
        raise audit.refusal(ctx, event)
    version = registry.get_version(ctx, version_id)
    app = registry.get_changeable(ctx, version.app, event.action, VendorRight.APPS)
    faults = scope_faults(scopes) or ({} if is_protected(scopes) else {"scopes": "not_protected"})
    if app.tenant is not None:
        faults["version"] = "app_of_one_tenant"
    if faults:
        raise Invalid("lane_invalid", "This is not access that the lane gives; see fields.", fields=faults)
    book, calendar = _book(ctx)
    days = step_named(book, VERIFY).within_business_days
    made = LaneRequest(
        ctx.ids.new("lan"),
        app.id,
        app.vendor,
        version.id,
        scopes,
        str(ctx.actor),
        ctx.now,
        due_at=clocks.due(calendar, ctx.now, Fraction(days)),
    )
    if not lane_store.add_request(ctx.tx, made):
        raise Conflict("lane_open", "This version already has a request; `hilum review lane` lists it.")
    audit.record(ctx, replace(event, app=app.id, facts=event.facts | {"request": made.id}))
    return made


def verify_access(ctx: Context, request_id: str, reason: str, *, authentic: bool) -> LaneRequest:
    """Record whether the requester's identity is verified, as a reviewer without a conflict of interest with them; enables access at once if nothing else is lacking.

    Raises NotFound, NotPermitted, Invalid, Conflict.
    """
    found = lane_store.get_request(ctx.tx, request_id, lock=True)
    facts = {"request": found.id, "authentic": authentic, "reason": reason.strip()}
    event = Event("review.lane.verify", app=found.app, facts=facts)
    if not policy.may_decide(ctx.actor):
        raise audit.refusal(ctx, event)
    if conflicts.conflicts_to(ctx, found.vendor):
        detail = "You have a conflict of interest with this vendor, so a colleague must verify the requester."
        raise audit.refusal(ctx, replace(event, reason="conflict_of_interest"), detail)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    if found.state is not LaneState.ASKED:
        raise Conflict("lane_decided", f"This request is {found.state.value} already.")
    book, calendar = _book(ctx)
    days = step_named(book, ENABLE).within_business_days
    after = replace(
        found,
        state=LaneState.VERIFIED if authentic else LaneState.REFUSED,
        decided_by=str(ctx.actor),
        decided_at=ctx.now,
        reason=reason.strip(),
        due_at=clocks.due(calendar, ctx.now, Fraction(days)) if authentic else None,
        missed=False,
    )
    lane_store.save_request(ctx.tx, after)
    audit.record(ctx, event)
    return enable(ctx, after) if authentic else after


def enable(ctx: Context, found: LaneRequest) -> LaneRequest:
    """Enable a request whose step lacks nothing, otherwise return it unchanged. Nobody decides anything here."""
    book, _ = _book(ctx)
    if found.state is not LaneState.VERIFIED or lacking(step_named(book, ENABLE), facts_of(ctx, found)):
        return found
    system = ctx.as_actor(SYSTEM)
    app, version = registry.get_app(system, found.app), registry.get_version(system, found.version)
    if app.vendor != found.vendor:
        return found
    life = _life(book, app, version, found.scopes)
    if life is None:
        return found
    order = CertifyOrder(found.version, Environment.PRODUCTION, found.scopes, ctx.now + life)
    try:
        # The other lane's requirements for proofs and justifications do not apply here.
        made = registry.certify(system, order, unproved=lambda *_: [], justified=None)
    except (Invalid, Conflict):
        # A request that cannot be certified now waits, without blocking others.
        return found
    after = replace(found, state=LaneState.ENABLED, due_at=None, enabled_at=ctx.now, certification=made.id)
    lane_store.save_request(ctx.tx, after)
    facts = {"request": found.id, "certification": made.id}
    audit.record(system, Event("review.lane.enable", app=found.app, facts=facts))
    return after


def _life(book: Book, app: App, version: AppVersion, scopes: tuple[str, ...]) -> timedelta | None:
    tiers = tiers_to_certify(book, applicant_of(app, version, scopes))
    of = [book.categories[app.category].entries[each.tier].certificate_life for each in tiers.values()]
    return min(of, default=None)


def facts_of(ctx: Context, found: LaneRequest) -> LaneFacts:
    """Read all that a step may depend on."""
    system = ctx.as_actor(SYSTEM)
    app = registry.get_app(system, found.app)
    pages = walk(lambda page: clients.list_clients(system, found.app, page), key=lambda each: each.id)
    mine = [each for each in pages if each.environment is Environment.PRODUCTION]
    _, profile = registry.view_profile(system, found.app)
    return LaneFacts(
        identity_verified=found.state in {LaneState.VERIFIED, LaneState.ENABLED},
        metadata_complete=not registry.missing_of(system, app),
        keys_registered=bool(mine) and all(map(_has_keys, mine)),
        security_terms_accepted=bool(profile.terms),
    )


def _has_keys(client: Client) -> bool:
    return client.type.value != "confidential-asymmetric" or bool(client.jwks or client.jwks_uri)


def _book(ctx: Context) -> tuple[Book, clocks.Calendar]:
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    return book, clocks.calendar_of(book, clocks.shipped_calendars())


def view_access(ctx: Context, request_id: str) -> tuple[LaneRequest, tuple[StepCondition, ...]]:
    """Get a request with what its next step lacks. Raises NotFound."""
    found = lane_store.get_request(ctx.tx, request_id)
    if not policy.may_see(ctx.actor, found.vendor):
        raise lane_store.no_such_request()
    book, _ = _book(ctx)
    return found, lacking(step_named(book, ENABLE), facts_of(ctx, found))


def list_access(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[LaneRequest]:
    """List requests: a member gets their vendor's, staff all."""
    if not ctx.actor.is_platform and ctx.actor.vendor is None:
        raise NotFound("not_found", "There are no such requests for you.")
    return lane_store.list_requests(ctx.tx, page, vendor=ctx.actor.vendor or "")


def enable_next(ctx: Context, after: str) -> str:
    """Enable those of the next requests that lack nothing now; return the last one checked, empty at the end."""
    found = lane_store.verified_after(ctx.tx, after)
    for each in found:
        enable(ctx, each)
    return found[-1].id if found else ""


def note_late(ctx: Context) -> int:
    """Mark a batch of requests whose step is late, and notify those who can act; return how many."""
    found = lane_store.late(ctx.tx, ctx.now)
    for each in found:
        stage, days = (Stage.VERIFY, VERIFY) if each.state is LaneState.ASKED else (Stage.ENABLE, ENABLE)
        assert each.due_at is not None, "read by it"
        allowed = step_named(_book(ctx)[0], days).within_business_days
        timekeeping.notify_missed(ctx, each.id, stage, None, days=allowed, due_at=each.due_at)
        lane_store.save_request(ctx.tx, replace(each, missed=True))
        facts = {"request": each.id, "stage": stage.value}
        audit.record(ctx, Event("review.lane.miss", app=each.app, facts=facts))
    return len(found)
