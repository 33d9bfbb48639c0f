"""Builds responses from stored versions: Bundles, reduced resources, OperationOutcomes. Pure.

Stored bytes are joined, not parsed, unless a client requests a part of them: decimals keep their digits.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson

from hilum.foundation.standards.fhir import requests
from hilum.foundation.standards.fhir.dates import SECOND, render_instant
from hilum.foundation.standards.fhir.shaping import dump, load
from hilum_ehr.fhirserver.models import Issue, Page, Problem, SearchPlan, Shape, Version
from hilum_ehr.fhirserver.search import PAGE, render_page

STATUS: dict[Problem, tuple[int, str]] = {
    Problem.MALFORMED: (400, "structure"),
    Problem.STRUCTURE: (400, "structure"),
    Problem.RULE: (422, "business-rule"),
    Problem.UNKNOWN_PARAMETER: (400, "not-supported"),
    Problem.BAD_VALUE: (400, "value"),
    Problem.NOT_SUPPORTED: (400, "not-supported"),
    Problem.NOT_IMPLEMENTED: (501, "not-supported"),
    Problem.UNKNOWN_TYPE: (404, "not-supported"),
    Problem.NOT_FOUND: (404, "not-found"),
    Problem.DELETED: (410, "deleted"),
    Problem.VERSION_CONFLICT: (412, "conflict"),
    Problem.NOT_SELECTIVE: (412, "multiple-matches"),
    Problem.TOO_LARGE: (413, "too-long"),
    Problem.TOO_COSTLY: (400, "too-costly"),
    Problem.MEDIA_TYPE: (415, "not-supported"),
    Problem.NOT_ACCEPTABLE: (406, "not-supported"),
    Problem.METHOD: (405, "not-supported"),
    Problem.BUSY: (503, "transient"),
    Problem.INTERNAL: (500, "exception"),
}
"""The status and issue code of each problem. Source: FHIR R4 http.html#2.21.0.4, valueset-issue-type.html"""


def outcome(issues: Iterable[Issue], code: str, severity: str = "error") -> bytes:
    """Build an OperationOutcome. Source: FHIR R4 operationoutcome.html."""
    rows = []
    for issue in issues:
        row: dict[str, Any] = {"severity": severity, "code": code, "details": {"text": issue.detail}}
        # In both members: some clients show details.text, older ones diagnostics only.
        row["diagnostics"] = issue.detail
        if issue.expression:
            row["expression"] = [issue.expression]
        rows.append(row)
    return orjson.dumps({"resourceType": "OperationOutcome", "issue": rows})


def etag(version: Version) -> bytes:
    return b'W/"%d"' % version.number


# Formatting a date costs more than a read; all reads of a second's writes share it.
@lru_cache(maxsize=4096)
def http_date(seconds: int) -> bytes:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True).encode()


def last_modified(version: Version) -> bytes:
    return http_date(version.updated // SECOND)


def shaped(body: bytes, shape: Shape, *, pretty: bool = False) -> bytes:
    """Reduce a resource to the requested part, marked SUBSETTED; mandatory elements stay.

    Source: FHIR R4 search.html#summary, search.html#elements
    """
    if shape.is_whole and not pretty:
        return body
    return dump(load(body), requests.Shape(pretty, requests.Summary(shape.summary), shape.elements))


def search_bundle(plan: SearchPlan, page: Page, base_url: str) -> bytes:
    """Build a page of a search. Source: FHIR R4 http.html#search, bundle.html#searchset."""
    address = f"{base_url}/{plan.resource_type}"
    links = [("self", _link(address, plan.echo))]
    if following := next_link(plan, page, base_url):
        links.append(("next", following))
    entries = [_entry(v, "match", plan, base_url) for v in page.matches]
    entries += [_entry(v, "include", plan, base_url) for v in page.included]
    return _bundle("searchset", page.total, links, entries, pretty=plan.pretty)


def next_link(plan: SearchPlan, page: Page, base_url: str) -> str:
    """Return the address of the next page; empty on the last one."""
    if page.next_after is None:
        return ""
    return _link(f"{base_url}/{plan.resource_type}", (*plan.echo, (PAGE, render_page(page.next_after))))


def history_bundle(
    versions: Sequence[Version], plan: SearchPlan, base_url: str, *, next_page: int | None
) -> bytes:
    """Build a Bundle of versions, newest first, each with the request that created it. Source: FHIR R4 http.html#history."""
    address = f"{base_url}/{versions[0].type}/{versions[0].id}/_history"
    links = [("self", _link(address, plan.echo))]
    if next_page is not None:
        links.append(("next", _link(address, (*plan.echo, (PAGE, render_page(next_page))))))
    entries = []
    for version in versions:
        where = f"{version.type}/{version.id}"
        # The status that the request was answered with when it was made.
        status = "204" if version.deleted else "201" if version.number == 1 else "200"
        tail = {
            "request": {"method": "DELETE" if version.deleted else "PUT", "url": where},
            "response": {
                "status": status,
                "etag": etag(version).decode(),
                "lastModified": render_instant(version.updated),
            },
        }
        resource = b"" if version.deleted else b',"resource":' + version.body
        full_url = orjson.dumps(f"{base_url}/{where}")
        entries.append(b'{"fullUrl":' + full_url + resource + b"," + orjson.dumps(tail)[1:])
    return _bundle("history", None, links, entries, pretty=plan.pretty)


def _link(address: str, pairs: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(pairs)}" if pairs else address


def _entry(version: Version, mode: str, plan: SearchPlan, base_url: str) -> bytes:
    body = shaped(version.body, plan.shape)
    full_url = f"{base_url}/{version.type}/{version.id}"
    return b'{"fullUrl":%b,"resource":%b,"search":{"mode":"%b"}}' % (
        orjson.dumps(full_url),
        body,
        mode.encode(),
    )


def _bundle(
    kind: str, total: int | None, links: list[tuple[str, str]], entries: list[bytes], *, pretty: bool
) -> bytes:
    head: dict[str, Any] = {"resourceType": "Bundle", "type": kind}
    if total is not None:
        head["total"] = total
    head["link"] = [{"relation": relation, "url": url} for relation, url in links]
    # Entries are appended as bytes: parsing and writing them again would cost most of a search.
    body = orjson.dumps(head)
    if entries:
        body = body[:-1] + b',"entry":[' + b",".join(entries) + b"]}"
    return shaped(body, Shape(), pretty=True) if pretty else body
