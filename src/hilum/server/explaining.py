"""Explains the policy's part in a decision: the version then in force, the exception that permitted it, product and workflow (C205).

With the facts of the request it is what explanations have from other modules. Computed on demand from the recorded time and the history of applications, so that it costs requests nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry import service as registry
from hilum.authorization.consent import service as consent
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, AuthorizationId, ClientId, TenantId, VersionId
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.sentences import in_english, moment
from hilum.foundation.standards.smart.scopes import ANY_TYPE, ClinicalScope, all_covered, parse_stored
from hilum.policy.matrix import history
from hilum.policy.matrix.history import PolicyAt
from hilum.policy.matrix.limits import share_sentence
from hilum.policy.matrix.models import Book, Withholding
from hilum.policy.matrix.policy import traffic_of
from hilum.policy.matrix.products import product_of
from hilum.records.audit import service as audit
from hilum.records.audit.models import Access, Background, EventQuery, Outcome, RecordedEvent
from hilum.server import request_facts

BY_THE_BOOK = frozenset({Reason.SCOPE_INSUFFICIENT, Reason.SCOPE_RETIRED, Reason.WORKFLOW_NOT_APPROVED})
"""Refusals that the policy may have caused."""
SHOWN = 5
"""How many withheld scopes are listed."""
CATEGORY_ACTION = "registry.app.category"
_WHY = {
    Withholding.CATEGORY: "it does not have the app's category",
    Withholding.CERTIFICATE: "its tier is above the one that was certified",
    Withholding.MOVED: "it was certified in another category, which does not allow it",
    Withholding.TIER: "the category does not allow its tier",
    Withholding.CLIENT: "its tier does not allow how this client authenticates",
    Withholding.SCOPE: "the app's category and tier do not list it",
    Withholding.PRODUCT: "its scope product is retired",
}


def explain(
    ctx: Context, request_id: str, accesses: Sequence[Access], events: Sequence[RecordedEvent]
) -> Background:
    """Return what the policy had to do with a request, and its facts."""
    record = request_facts.decided(request_id, accesses, events)
    if record is None:
        return Background()
    found, reasons = request_facts.about(ctx, record), tuple(request_facts.why(ctx, record, events))
    return Background(_policy(ctx, accesses), found, reasons)


def _policy(ctx: Context, accesses: Sequence[Access]) -> list[str]:
    """Return sentences about the policy's part in the decision of a request; none if no record has an app."""
    # The first record with a decision: an intent only announces a write.
    decided = next((each for each in accesses if each.app and each.outcome is not Outcome.INTENDED), None)
    if decided is None:
        return []
    at, app, tenant = decided.at, AppId(decided.app), TenantId(decided.tenant)
    then = history.then(ctx, tenant, app, at)
    if then is None:
        return []
    return [_in_force(then, decided), *_of_book(ctx, then, decided)]


def _in_force(then: PolicyAt, decided: Access) -> str:
    applied = then.application
    where = "at some hospitals" if applied.tenants else "everywhere"
    unread = "" if then.book else " It can no longer be read or trusted (`hilum doctor`)."
    return in_english(
        "The policy in force at %(tenant)s then was version %(version)s, by application %(number)s %(where)s on %(at)s.%(unread)s",
        tenant=decided.tenant,
        version=applied.version,
        number=applied.number,
        where=where,
        at=moment(applied.applied_at, seconds=True),
        unread=unread,
    )


def _of_book(ctx: Context, then: PolicyAt, decided: Access) -> Iterator[str]:
    book = then.book
    if book is None:
        return
    yield from _workflow(ctx, book, decided)
    facts = _client_then(ctx, decided)
    if not decided.reason and decided.rule:
        if (product := product_of(book, decided.rule)) is not None:
            yield f"{decided.rule} is of scope product {product.name}, version {product.version}."
        if facts is not None:
            yield from _exceptions(then, facts, decided)
    elif decided.reason == Reason.TRAFFIC_SHED and facts is not None:
        entry = clients_policy.admission(book, facts, decided.at).entry
        if entry is not None:
            yield share_sentence(book, traffic_of(entry, with_person=bool(decided.person)))
    elif decided.reason in BY_THE_BOOK and facts is not None:
        yield from _withheld(book, facts, then.application.version, decided)


def _workflow(ctx: Context, book: Book, decided: Access) -> Iterator[str]:
    agreed = (
        consent.find_authorization(ctx, AuthorizationId(decided.authorization))
        if decided.authorization
        else None
    )
    if agreed is None or not agreed.workflow:
        return
    workflow = book.workflows.get(agreed.workflow)
    version = "which this policy does not have" if workflow is None else f"version {workflow.version}"
    yield f"The launch was for workflow {agreed.workflow}, {version}."


def _exceptions(then: PolicyAt, facts: ClientFacts, decided: Access) -> Iterator[str]:
    """Yield a sentence for each exception that permitted it: without it the scope would be withheld, or the entry require more."""
    version = then.application.version
    admitted = None if then.book is None else clients_policy.admission(then.book, facts, decided.at)
    # Waiving a requirement changes no scopes, so judging without it would not show it. It is found by its name.
    waived = (
        ()
        if admitted is None or admitted.entry is None
        else [(admitted.tier, name) for name in admitted.entry.waived]
    )
    for each in then.exceptions:
        if each.ends_at is None:
            continue  # a raised tier permits nothing
        facts_of = {"id": each.id, "by": each.agreed_by, "until": moment(each.ends_at), "version": version}
        if (each.tier, each.requirement) in waived:
            yield in_english(
                "Exception %(id)s was in force, agreed to by %(by)s until %(until)s: "
                "version %(version)s asks for %(rule)s, and the app may act without it.",
                rule=each.requirement,
                **facts_of,
            )
        elif not _admits(then.without(each), facts, decided):
            yield in_english(
                "Exception %(id)s permitted it, agreed to by %(by)s until %(until)s: without it, version %(version)s would have withheld %(rule)s.",
                rule=decided.rule,
                **facts_of,
            )


def _admits(book: Book, facts: ClientFacts, decided: Access) -> bool:
    return all_covered((decided.rule,), clients_policy.admission(book, facts, decided.at).scopes)


def _withheld(book: Book, facts: ClientFacts, version: int, decided: Access) -> Iterator[str]:
    admitted = clients_policy.admission(book, facts, decided.at)
    withheld = [each for each in admitted.withheld if _reaches(each.scope, decided.resource_type)]
    for each in withheld[:SHOWN]:
        yield f"Version {version} of the policy withheld {each.scope}, or a part of it, from this client: {_WHY[each.why]}."
    if len(withheld) > SHOWN:
        yield f"It withheld {counted(len(withheld) - SHOWN, 'more scope')} from it."
    if not withheld:
        yield f"Version {version} of the policy withheld nothing of this type that is certified from this client."


def _reaches(text: str, type_: str) -> bool:
    scopes = (each for each in parse_stored((text,)) if isinstance(each, ClinicalScope))
    return any(each.type in {ANY_TYPE, type_} for each in scopes)


def _client_then(ctx: Context, decided: Access) -> ClientFacts | None:
    """Return the client's facts at the time of the decision; None if the client was deleted.

    Version, category and certifications are of that time; the client's registration is the present one.
    """
    client = clients.find_client(ctx, ClientId(decided.client)) if decided.client else None
    if client is None:
        return None
    try:
        app = registry.get_app(ctx, client.app)
        version = registry.get_version(ctx, VersionId(decided.version) if decided.version else client.version)
    except NotFound:
        return None
    app = replace(app, category=_category_then(ctx, app.id, decided.at) or app.category)
    certified = [
        replace(
            each,
            # A certification that was withdrawn later was in force at that time.
            withdrawn_at=None
            if each.withdrawn_at is not None and each.withdrawn_at > decided.at
            else each.withdrawn_at,
        )
        for each in registry.certifications_of(ctx, app.id)
        if each.certified_at <= decided.at
    ]
    return clients_policy.join(replace(client, version=version.id), app, version, certified)


def _category_then(ctx: Context, app: AppId, at: datetime) -> str:
    """Return an app's category at a time, from the audit of later changes; empty if there were none."""
    query = EventQuery(app=app, action=CATEGORY_ACTION, outcome=Outcome.DONE)
    later = [each for each in audit.list_events(ctx, query).events if each.at > at]
    return str(later[-1].event.facts.get("from", "")) if later else ""
