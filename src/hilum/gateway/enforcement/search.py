"""Searches at the FHIR server: sent, gathered into full pages of what may be seen, and linked."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hilum.authorization.breakglass.models import BrokenGlass
from hilum.authorization.breakglass.policy import stays_closed
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.bundles import rebased, resources_of, without_duplicates
from hilum.foundation.standards.fhir.outcomes import IssueCode, disclosable_issue, outcome
from hilum.foundation.standards.fhir.parameters import INCLUDE_PARAMETERS, PAGE_PARAMETER
from hilum.foundation.standards.fhir.queries import (
    only_targets,
    targets_named,
    with_count,
    with_half_the_count,
    without_summary,
)
from hilum.foundation.standards.fhir.requests import PAGE_SIZE_BOUND, render_query
from hilum.foundation.standards.fhir.shaping import dump, shape_params
from hilum.foundation.standards.fhir.statements import unknown_filter
from hilum.foundation.standards.fhir.traits import RecordTraits, traits_of
from hilum.foundation.standards.fhir.visibility import is_judged_by_targets
from hilum.gateway.enforcement.models import (
    COUNTED_BOUND,
    COUNTED_PAGES_BOUND,
    DEFAULT_PAGE,
    OVERSIZED_BOUND,
    PAGE_OF_TARGETS,
    REFILL_BOUND,
    Page,
    SearchPlan,
)
from hilum.gateway.enforcement.pagelinks import PageLinks
from hilum.gateway.enforcement.query_rewrite import quirk_fault, sent_query
from hilum.gateway.enforcement.rendering import RequestOutcome
from hilum.gateway.enforcement.resource_access import NO_EVIDENCE, judge_resource
from hilum.gateway.enforcement.response_filter import (
    UNJUDGEABLE,
    evidence_within,
    filter_response,
    is_match,
    without_orphans,
)
from hilum.gateway.enforcement.transport import ACCEPT, Transport
from hilum.gateway.enforcement.upstream_task import Refusal, TooLarge, UpstreamTask
from hilum.gateway.upstream.models import RESPONSE_BOUND, UpstreamRequest
from hilum.gateway.upstream.policy import page_target

# FHIR R4 search.html#errors: a lenient server ignores a parameter that it does not know, and a
# narrowed search would come back with everything.
_SEARCH_HEADERS = (*ACCEPT, ("prefer", "handling=strict"))
_QUERY_INLINE = 2_000
"""Characters of a query that is sent in the address; a longer one is sent as a form."""


@dataclass(frozen=True, slots=True)
class _Gathered:
    entries: list[dict[str, Any]]
    removed: int
    after: tuple[str, int] | None
    total: int | None


_NOTHING = _Gathered([], 0, None, 0)


@dataclass(frozen=True, slots=True)
class Fetched:
    """One of the server's pages. ``target`` is where it is, ``size`` its bytes, ``left_out``: a record that may be seen is too large."""

    bundle: Any
    target: str
    size: int
    left_out: bool = False


_TOO_LARGE = {
    "resource": outcome(
        IssueCode.TOO_COSTLY, "A record that is too large to be shown was left out.", severity="warning"
    ),
    "search": {"mode": "outcome"},
}


def _stays_closed(glass: BrokenGlass) -> dict[str, Any]:
    """Return the entry that says which kinds of records an emergency access does not open.

    INVARIANT: the same for every patient and every result, so that it discloses nothing about what is withheld (security decision 12).
    Source: FHIR R4 search.html#modifyinginclude (outcome entries are not counted), bundle-definitions.html#Bundle.entry.search.mode
    """
    note = outcome(IssueCode.INFORMATIONAL, str(stays_closed(glass.categories)), severity="information")
    return {"resource": note, "search": {"mode": "outcome"}}


_TOO_MANY_TO_COUNT = Deny(
    Reason.TOO_COSTLY,
    f"More than {COUNTED_BOUND:,} records may have to be counted; narrow the search, for example by date, or follow its pages without asking for a number.",
)


class Searcher:
    """Executes searches exactly as planned."""

    def __init__(self, transport: Transport, links: PageLinks) -> None:
        self._transport, self._links = transport, links

    async def search(self, task: UpstreamTask) -> RequestOutcome:
        plan = task.permit.plan
        assert plan is not None, "a permitted search has a plan"
        if task.capabilities is not None and (
            name := unknown_filter(task.capabilities, plan.type, plan.asked)
        ):
            sentence = f"The FHIR server does not know the search parameter {name} for {plan.type}."
            raise Refusal(Deny(Reason.REQUEST_UNSUPPORTED, sentence))
        if fault := quirk_fault(plan, task.addresses.quirks):
            raise Refusal(fault)
        if plan.counting:
            return await self._counted(task, plan)
        narrowed = await self._about(task, plan) if is_judged_by_targets(plan.type) else plan
        gathered = _NOTHING if narrowed is None else await self._gather(task, narrowed)
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        total = gathered.total
        # Later pages do not count again.
        if (
            total is None
            and task.incoming.page is None
            and ("_total", "accurate") in task.permit.request.params
        ):
            total = await self._count(task, plan)
        if total is not None:
            bundle["total"] = total
        bundle["link"] = self._linked(task, plan, gathered.after)
        if gathered.entries:
            bundle["entry"] = [rebased(entry, task.addresses.base) for entry in gathered.entries]
        patient, found = task.shown(entry["resource"] for entry in gathered.entries)
        returned = len(gathered.entries)
        # The note that a record was too large is not a record.
        if returned and gathered.entries[-1] is _TOO_LARGE:
            returned -= 1
        opened = task.opened(entry["resource"] for entry in gathered.entries)
        if glass := task.permit.access.glass:
            bundle["entry"] = [*bundle.get("entry", ()), _stays_closed(glass)]
        body = dump(bundle, task.permit.request.shape)
        return RequestOutcome(
            200,
            body,
            patient=patient,
            removed=gathered.removed,
            returned=returned,
            found=found,
            opened=opened,
        )

    async def _counted(self, task: UpstreamTask, plan: SearchPlan) -> RequestOutcome:
        bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
        bundle["total"] = await self._count(task, plan)
        bundle["link"] = self._linked(task, plan, None)
        return RequestOutcome(200, dump(bundle, task.permit.request.shape), patient=task.permit.patient)

    async def _count(self, task: UpstreamTask, plan: SearchPlan) -> int:
        """Count what may be seen: by the server if its number discloses nothing beyond the grant, else by judging every match.

        Raises Refusal if that takes too many.
        """
        params = tuple(pair for pair in plan.params if pair[0] not in {*INCLUDE_PARAMETERS, "_sort"})
        if plan.exact and task.addresses.in_process:
            counted = render_query((*params, ("_summary", "count")))
            found = (await self.page(task, f"{plan.type}?{counted}")).bundle
            total = found.get("total") if isinstance(found, dict) else None
            if isinstance(total, int) and not isinstance(total, bool):
                return total
        narrowed = replace(plan, params=params, included={})
        about = await self._about(task, narrowed) if is_judged_by_targets(plan.type) else narrowed
        if about is None:
            return 0
        size = PAGE_OF_TARGETS if is_judged_by_targets(plan.type) else PAGE_SIZE_BOUND
        target = f"{plan.type}?{render_query(sent_query(about, task.addresses.quirks, size))}"
        ids: set[str | None] = set()
        too_large, read = 0, 0
        for _ in range(COUNTED_PAGES_BOUND):
            fetched = await self._page_without_the_largest(task, about, target)
            too_large += fetched.left_out
            read += fetched.size
            filtered, _ = await self._filtered(task, about, fetched)
            # A record that moves to a later page meanwhile is one.
            ids |= {entry["resource"].get("id") for entry in filtered.get("entry", []) if is_match(entry)}
            goes_on = following(task, fetched.bundle)
            if goes_on is None:
                return len(ids) + too_large
            if len(ids) > COUNTED_BOUND or read > RESPONSE_BOUND:
                break
            target = goes_on
        raise Refusal(_TOO_MANY_TO_COUNT)

    async def _about(self, task: UpstreamTask, plan: SearchPlan) -> SearchPlan | None:
        """Narrow a search by targets to those within reach, since the number of its pages would disclose others; None if none is left."""
        named = {
            name: traits_of({"resourceType": plan.type, "target": [{"reference": name}]})
            for name in targets_named(plan.params)
        }
        # Before anything is searched: pages of one entry, some of them empty, would disclose how
        # many targets are withheld.
        evidence = await self._transport.evidence(task, named.values())
        grants = tuple(replace(grant, matchers=()) for grant in task.permit.grants)
        access = task.permit.access
        kept = {
            name for name, only in named.items() if judge_resource(access, only, grants, evidence) is None
        }
        params = only_targets(plan.params, kept)
        return None if params is None else replace(plan, params=params)

    async def page(self, task: UpstreamTask, target: str) -> Fetched:
        """Fetch one of the server's pages, in smaller ones if it is too large. Raises TooLarge if it cannot be made smaller."""
        while True:
            try:
                return await self._bundle(task, target)
            except TooLarge:
                smaller = with_half_the_count(target)
                if smaller is None:
                    raise
                target = smaller

    async def _bundle(self, task: UpstreamTask, target: str) -> Fetched:
        path, _, query = target.partition("?")
        outgoing = UpstreamRequest("GET", target, _SEARCH_HEADERS)
        # Many servers and proxies cut or refuse longer addresses; a form body has no such bound.
        if len(query) > _QUERY_INLINE and path and task.addresses.quirks.forms:
            headers = (*_SEARCH_HEADERS, ("content-type", "application/x-www-form-urlencoded"))
            outgoing = UpstreamRequest("POST", f"{path}/_search", headers, query.encode())
        response = await self._transport.send(task, outgoing)
        if response.status in {400, 422}:
            code, _ = disclosable_issue(response.body)
            sentence = f"The FHIR server refuses this search ({code}); check its parameters and their values."
            raise Refusal(Deny(Reason.REQUEST_UNSUPPORTED, sentence))
        if response.status != 200:
            raise Refusal(UNJUDGEABLE)
        bundle = await self._transport.opened(task, response)
        return Fetched(bundle, target, len(response.body))

    async def _page_without_the_largest(self, task: UpstreamTask, plan: SearchPlan, target: str) -> Fetched:
        """Fetch a page. If one record alone exceeds the bound, fetch only its summary, judge that, and continue behind it.

        The rest stays readable. If the record may be seen, the page says that one was left out.
        """
        try:
            return await self.page(task, target)
        except TooLarge:
            alone = with_count(target, 1)
            if alone is None:
                raise
            fetched = await self._bundle(task, f"{alone}&_summary=true")
        filtered, _ = await self._filtered(task, plan, fetched)
        seen = any(is_match(entry) for entry in filtered.get("entry", []))
        goes_on = following(task, fetched.bundle)
        whole = None if goes_on is None else without_summary(goes_on)
        if goes_on is not None and whole is None:
            raise Refusal(UNJUDGEABLE)  # behind it the server would continue with summaries
        link = (
            [] if whole is None else [{"relation": "next", "url": f"{task.addresses.upstream_base}/{whole}"}]
        )
        bundle = fetched.bundle | {"entry": [], "link": link}
        return Fetched(bundle, alone, RESPONSE_BOUND // OVERSIZED_BOUND, left_out=seen)

    async def _gather(self, task: UpstreamTask, plan: SearchPlan) -> _Gathered:
        """Fill one page with what may be seen, from as many of the server's pages as needed, and find out whether more follows.

        A page that is shorter by what was removed would disclose that something is there, and so would a link to an empty page.
        """
        limit = plan.count or DEFAULT_PAGE
        if is_judged_by_targets(plan.type):
            limit = min(limit, PAGE_OF_TARGETS)
        page, skip = task.incoming.page, task.incoming.page.skip if task.incoming.page else 0
        # One more than the page, so that whether more follows is known without another request.
        quirks = task.addresses.quirks
        asked = render_query(sent_query(plan, quirks, limit + 1))
        target = page.target if page else f"{plan.type}?{asked}"
        matches: list[dict[str, Any]] = []
        others: list[dict[str, Any]] = []
        removed, size, after = 0, 0, None
        totals: list[int | None] = []
        # A budget of the server's pages: a search whose matches are nearly all withheld must end, too.
        left, left_out = max(REFILL_BOUND, PAGE_SIZE_BOUND // min(limit, quirks.page or limit)), False
        while left > 0:
            fetched = await self._page_without_the_largest(task, plan, target)
            if fetched.target != target:
                left = min(left + limit, PAGE_SIZE_BOUND)  # smaller pages: more of them
            left -= 1
            left_out |= fetched.left_out
            size += fetched.size
            target = fetched.target
            filtered, gone = await self._filtered(task, plan, fetched)
            removed += gone
            totals.append(filtered.get("total"))
            entries = filtered.get("entry", [])
            found = [entry for entry in entries if is_match(entry)]
            fresh, skip = found[skip:], max(0, skip - len(found))
            others += [entry for entry in entries if not is_match(entry)]
            # Matches that an earlier page of this search has shown are skipped; their page was
            # fetched again for the rest of it.
            room = limit - len(matches)
            matches += fresh[:room]
            goes_on = following(task, fetched.bundle)
            after = None if goes_on is None else (goes_on, skip)
            # The page is full, and this one of the server's pages
            # holds more: the link leads into the middle of it.
            if len(fresh) > room:
                after = (target, len(found) - len(fresh) + room)
                break
            # Also when the pages fetched so far are together as large as one answer may be.
            if goes_on is None or size > RESPONSE_BOUND:
                break
            target = goes_on
        # Once more over the whole page: what came along may belong to a match beyond its end.
        entries, _ = without_orphans(without_duplicates(matches + others), plan, task.permit.bases)
        entries += [_TOO_LARGE] if left_out else []
        # Counted by what was judged, or taken from the embedded server, whose total is exact. The
        # total of another server counts what is withheld without a word.
        whole = page is None and after is None and not left_out
        passed_on = task.addresses.in_process and None not in totals
        total = len(matches) if whole else totals[0] if passed_on else None
        return _Gathered(entries, removed, after, total)

    async def _filtered(
        self, task: UpstreamTask, plan: SearchPlan, fetched: Fetched
    ) -> tuple[dict[str, Any], int]:
        evidence, bundle = NO_EVIDENCE, fetched.bundle
        if isinstance(bundle, dict) and any(map(is_judged_by_targets, (plan.type, *plan.included))):
            records = await self._transport.work(fetched.size, partial(_records, bundle, task.permit.bases))
            evidence = await self._transport.evidence(task, records, evidence_within(records))
        judge = partial(filter_response, task.permit, bundle, evidence)
        filtered = await self._transport.work(fetched.size, judge)
        if isinstance(filtered, Deny):
            raise Refusal(filtered)
        return filtered

    def _linked(
        self, task: UpstreamTask, plan: SearchPlan, after: tuple[str, int] | None
    ) -> list[dict[str, str]]:
        request = task.permit.request
        address = f"{task.addresses.base}/{plan.type}"
        asked = render_query((*plan.params, *_result_params(request.params), *shape_params(request.shape)))
        links = [{"relation": "self", "url": f"{address}?{asked}" if asked else address}]
        if after is not None:
            target, skip = after
            page = Page(plan.type, request.params, target, skip)
            sealed = self._links.seal(page, task.token, task.incoming.at)
            if sealed is None:
                raise Refusal(
                    Deny(Reason.TOO_COSTLY, "The search is too long to be paged; ask for fewer values.")
                )
            rest = render_query(((PAGE_PARAMETER, sealed), *shape_params(request.shape)))
            links.append({"relation": "next", "url": f"{address}?{rest}"})
        return links


def _records(bundle: dict[str, Any], bases: tuple[str, ...]) -> list[RecordTraits]:
    return [traits_of(each, bases) for each in resources_of(bundle)]


def following(task: UpstreamTask, bundle: dict[str, Any]) -> str | None:
    """Return the target of the server's next page; None if there is none. Raises Refusal for a link outside its bases."""
    links = bundle.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next":
            url = link.get("url")
            bases = (task.addresses.base, *task.addresses.upstream_bases)
            target = page_target(bases, url) if isinstance(url, str) else None
            if target is None:
                raise Refusal(UNJUDGEABLE)
            return target.replace(task.addresses.base + "/", task.addresses.upstream_bases[0] + "/")
    return None


def _result_params(params: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in params if name in {"_count", "_total"})
