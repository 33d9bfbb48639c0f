"""One meaning, one rendering: every reason has a status, an issue code and headers; page links are worth nothing elsewhere."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from hilum.controls.switches.models import QuotaResult
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.gateway.enforcement.models import PAGE_LINK_BOUND, PAGE_LINK_LIFE, Page
from hilum.gateway.enforcement.pagelinks import PageLinks
from hilum.gateway.enforcement.rendering import (
    RENDERING,
    RequestOutcome,
    absent,
    rate_headers,
    refused,
    render,
    version_headers,
)
from hilum.records.keys.live import vault
from tests.sim.world import SeededIds
from tests.unit.gateway.enforcement.facts import NOW, TOKEN

STATUS = {
    401: {
        "token_missing",
        "token_invalid",
        "proof_invalid",
        "token_revoked",
        "person_inactive",
        "tenant_mismatch",
        "launch_ended",
        "authorization_expired",
        "one_time_over",
        "study_ended",
        "fixed_end_reached",
        "authorization_idle",
        "authorization_dormant",
        "refresh_token_old",
        "absolute_limit_reached",
    },
    403: {
        "app_suspended",
        "switch_engaged",
        "app_not_certified",
        "app_not_installed",
        "agreement_missing",
        "approver_missing",
        "network_not_allowed",
        "facility_not_allowed",
        "role_not_allowed",
        "workflow_not_approved",
        "scope_retired",
        "scope_insufficient",
        "context_moved",
        "too_costly",
        "write_done_answer_withheld",
    },
    404: {"outside_launch_context", "label_withheld"},
    400: {"request_unsupported"},
    413: {"resource_too_large"},
    429: {"quota_exceeded", "app_concurrency_exceeded", "concurrency_exceeded", "traffic_shed"},
    409: {"write_repeated"},
    503: {"snapshot_stale", "audit_unavailable", "upstream_unavailable", "outcome_unknown"},
    502: {"response_unjudgeable"},
}


@pytest.mark.parametrize("reason", list(Reason))
def test_each_reason_is_rendered_as_the_contract_says(reason: Reason) -> None:
    """Contract, Errors."""
    answer = refused(Deny(reason, "Because."))
    found, body = render(answer, "req_1")
    headers, issue = dict(found), orjson.loads(body)["issue"][0]

    assert reason in STATUS[answer.status]
    assert issue["diagnostics"] == "Decision req_1"
    assert (b"www-authenticate" in headers) == (answer.status == 401 or reason is Reason.SCOPE_INSUFFICIENT)
    assert (b"retry-after" in headers) == (answer.status in {409, 429, 503})
    if answer.status == 401:
        bare = reason is Reason.TOKEN_MISSING
        assert headers[b"www-authenticate"] == (b"Bearer" if bare else b'Bearer error="invalid_token"')
    if answer.status == 404:
        assert (answer.status, found, body) == (404, *render(absent(), "req_1"))
    else:
        assert issue["details"]["text"] == "Because."
        assert issue["details"]["coding"][0]["code"] == reason


def test_what_becomes_a_refusal_answers_nothing_of_what_was_shown_and_records_whose_it_was() -> None:
    ended = RequestOutcome(200, b"{}", ((b"etag", b'W/"1"'),), b"text/plain", patient="p1", returned=1)

    ended.refuse(Deny(Reason.SWITCH_ENGAGED, "Stopped."), retry_after_s=3.0)

    assert (ended.patient, ended.returned) == ("p1", 1)
    assert (ended.status, *render(ended, "r")) == (
        403,
        *render(refused(Deny(Reason.SWITCH_ENGAGED, "Stopped.")), "r"),
    )


def test_every_reason_has_its_row() -> None:
    assert set(RENDERING) == set(Reason)
    assert {name for names in STATUS.values() for name in names} == {str(reason) for reason in Reason}


def test_retry_after_is_whole_seconds_and_at_least_one() -> None:
    """RFC 9110 section 10.2.3."""
    for wait, told in ((0.0, b"1"), (0.2, b"1"), (1.01, b"2"), (60.0, b"60")):
        refusal = refused(Deny(Reason.QUOTA_EXCEEDED))
        refusal.retry_after_s = wait
        assert dict(render(refusal, "r")[0])[b"retry-after"] == told
    assert dict(rate_headers(QuotaResult(allowed=True, limit=9, remaining=3, retry_after_s=0.0))) == {
        b"ratelimit-limit": b"9",
        b"ratelimit-remaining": b"3",
        b"ratelimit-reset": b"0",
    }


PAGE = Page("Observation", (("patient", "p1"), ("_count", "5")), "Observation?patient=p1&page=2", 3)


def test_a_page_link_opens_for_the_same_grant_until_it_is_too_old(ids: SeededIds) -> None:
    """C78."""
    sealed = PageLinks(vault(), ids).seal(PAGE, TOKEN, NOW)
    assert sealed is not None
    refreshed = replace(TOKEN, hash=b"n" * 32, issued_at=NOW)

    assert PageLinks(vault(), ids).unseal(sealed, refreshed, NOW) == PAGE
    assert PageLinks(vault(), ids).unseal(sealed, TOKEN, NOW + PAGE_LINK_LIFE - timedelta(seconds=1)) == PAGE
    assert PageLinks(vault(), ids).unseal(sealed, TOKEN, NOW + PAGE_LINK_LIFE) is None
    assert "p1" not in sealed


@pytest.mark.parametrize(
    "change",
    [
        {"client": "cli_2"},
        {"tenant": "clinic"},
        {"person": "per_2"},
        {"patient": "p2"},
        {"authorization": "aut_2"},
        {"family": "fam_2"},
        {"launch": "lau_2"},
    ],
)
def test_a_page_link_opens_for_no_other_grant(ids: SeededIds, change: dict[str, Any]) -> None:
    """C78."""
    sealed = PageLinks(vault(), ids).seal(PAGE, TOKEN, NOW)
    assert sealed is not None

    assert PageLinks(vault(), ids).unseal(sealed, replace(TOKEN, **change), NOW) is None


def test_a_page_link_that_was_changed_or_is_none_does_not_open(ids: SeededIds) -> None:
    sealed = PageLinks(vault(), ids).seal(PAGE, TOKEN, NOW)
    assert sealed is not None

    for text in ("", "x", sealed[:-1], sealed + "A", sealed[::-1], "A" * (PAGE_LINK_BOUND + 1)):
        assert PageLinks(vault(), ids).unseal(text, TOKEN, NOW) is None


def test_a_search_too_long_for_a_link_gets_none(ids: SeededIds) -> None:
    long = replace(PAGE, target="Observation?code=" + "x" * PAGE_LINK_BOUND)
    fits = replace(PAGE, target="Observation?code=" + "x" * 2_000)

    assert PageLinks(vault(), ids).seal(long, TOKEN, NOW) is None
    sealed = PageLinks(vault(), ids).seal(fits, TOKEN, NOW)
    assert sealed is not None
    assert len(sealed) <= PAGE_LINK_BOUND


def test_no_nonce_comes_twice(ids: SeededIds) -> None:
    """NIST SP 800-38D section 8: with one key, a nonce is used once."""
    first, second = PageLinks(vault(), ids), PageLinks(vault(), ids)
    made = [each.nonce() for _ in range(500) for each in (first, second)]

    assert len(set(made)) == len(made)
    assert {len(nonce) for nonce in made} == {12}


@pytest.mark.parametrize(
    ("given", "passed_on"),
    [
        ("Thu, 26 Nov 2026 17:12:21 GMT", True),
        ("2026-11-26T17:12:21.827Z", False),
        ("Thu, 26 Nov 2026 17:12:21 +0000", False),
        ("Thursday, 26-Nov-26 17:12:21 GMT", False),
        ("Thu, 26 Nov 2026 17:12:21 GMT, more", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_a_time_that_is_no_http_date_is_not_passed_on(given: str, passed_on: bool) -> None:
    """RFC 9110 section 8.8.2; node-fhir-server-core writes meta.lastUpdated there, and clients fail over it."""
    headers = dict(version_headers('W/"1"', given))

    assert headers == {b"etag": b'W/"1"'} | ({b"last-modified": given.encode()} if passed_on else {})
