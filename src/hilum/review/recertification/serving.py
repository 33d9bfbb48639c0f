"""Whether an app keeps to what its entry asks of its service, of what it causes itself. Pure (C228).

The hospital's server and the platform cause failures and most of the latency; neither counts against an app. So of latency only what the
app has at hospitals whose server answers everybody else fast enough is judged.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from hilum.policy.matrix.models import NO_CRITERIA, Criteria
from hilum.records.audit.models import SLOW_PERCENT, Served
from hilum.review.recertification.models import Concern, Criterion, CriterionResult, Finding, Severity

RULE = "service.criteria"
OTHERS_LEAST = 100
"""Answers to other apps without which nothing is known of a hospital's server."""
SERVICE_DAYS = 28
_WORDS = {
    Criterion.AVAILABILITY: "calls that were refused because the app had used up its quota",
    Criterion.ERRORS: "calls that nobody could have answered: malformed, too large or too costly",
    Criterion.LATENCY: "answers that took longer, at hospitals whose server answers other apps fast enough",
}
_FIXES = {
    Criterion.AVAILABILITY: "Send fewer requests, or spread them: follow Retry-After, and search instead of reading one by one.",
    Criterion.ERRORS: "Find them with hilum app calls, and fix what sends them.",
    Criterion.LATENCY: "Ask for less at once: narrower searches, _count, and fewer included records.",
}


def asks(criteria: Criteria) -> bool:
    """Check whether an entry asks anything of an app's service."""
    return (
        criteria.unavailable_percent < NO_CRITERIA.unavailable_percent
        or criteria.errors_percent < NO_CRITERIA.errors_percent
        or criteria.latency_ms_p95 < NO_CRITERIA.latency_ms_p95
    )


def measure(
    by_tenant: Mapping[str, Served], totals: Mapping[str, Served], criteria: Criteria
) -> tuple[CriterionResult, ...]:
    """Return how an app meets each criterion that is asked for.

    ``by_tenant``: its calls at each hospital. ``totals``: those of all apps there, its own among them.
    """
    total = sum(by_tenant.values(), Served())
    found: list[CriterionResult] = []
    least = criteria.least_calls
    if criteria.unavailable_percent < NO_CRITERIA.unavailable_percent:
        of = total.calls
        found.append(
            _measured(Criterion.AVAILABILITY, criteria.unavailable_percent, total.throttled, of, least)
        )
    if criteria.errors_percent < NO_CRITERIA.errors_percent:
        of = total.calls - total.throttled
        found.append(_measured(Criterion.ERRORS, criteria.errors_percent, total.mistaken, of, least))
    if criteria.latency_ms_p95 < NO_CRITERIA.latency_ms_p95:
        quick = (
            own
            for tenant, own in by_tenant.items()
            if _is_quick(own, totals.get(tenant, Served()), criteria.latency_ms_p95)
        )
        at_quick = sum(quick, Served())
        hits = at_quick.slower_than(criteria.latency_ms_p95)
        found.append(_measured(Criterion.LATENCY, criteria.latency_ms_p95, hits, at_quick.answers, least))
    return tuple(found)


def _is_quick(own: Served, total: Served, limit_ms: int) -> bool:
    """Check whether a hospital's server answers other apps within a limit; without enough of their answers that is not known."""
    others = total.answers - own.answers
    slow = total.slower_than(limit_ms) - own.slower_than(limit_ms)
    return others >= OTHERS_LEAST and 100 * slow <= SLOW_PERCENT * others


def _measured(criterion: Criterion, limit: int, hits: int, of: int, least: int) -> CriterionResult:
    percent = SLOW_PERCENT if criterion is Criterion.LATENCY else limit
    exceeded = None if of < least else 100 * hits > percent * of
    return CriterionResult(criterion, limit, hits, of, exceeded)


def concerns_of(
    measured: Iterable[CriterionResult], held: Collection[Finding], *, public: bool, due_at: datetime
) -> Iterator[Concern]:
    """Yield what an app does not keep to; what is no longer known keeps a finding open, and opens none.

    ``public``: it has a public client, and whoever uses that holds its tokens: it weighs less, as other calls of such a client do.
    """
    known = {each.about for each in held if each.rule == RULE}
    for each in measured:
        about = each.criterion.value
        if each.exceeded or (each.exceeded is None and about in known):
            yield Concern(
                RULE,
                about,
                Severity.LOW if public else Severity.MEDIUM,
                certain=each.exceeded is True,
                evidence=_evidence(each, public=public),
                reproduction=f"hilum app service APP --days {SERVICE_DAYS}, and hilum finding service APP",
                fix=_FIXES[each.criterion],
                due_at=due_at,
            )


def _evidence(each: CriterionResult, *, public: bool) -> str:
    limit = f"{each.limit} ms for 95 of 100" if each.criterion is Criterion.LATENCY else f"{each.limit} %"
    whose = " It has a public client, so whoever uses it may have sent them with its token." if public else ""
    return (
        f"Within {SERVICE_DAYS} days {each.percent} % of its calls were {_WORDS[each.criterion]}; "
        f"the policy allows {limit}.{whose}"
    )


def window(now: datetime) -> datetime:
    """Return since when calls are judged."""
    return now - timedelta(days=SERVICE_DAYS - 1)
