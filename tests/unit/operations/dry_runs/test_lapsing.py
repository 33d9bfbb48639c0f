"""What would lapse under another policy beside scopes, and which exceptions end (C180, C207, C208)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry.models import Environment
from hilum.authorization.tokens.models import TokenFamily
from hilum.foundation.kernel.ids import AppId, AuthorizationId, FamilyId, TenantId
from hilum.operations.dry_runs.books import BooksAt
from hilum.operations.dry_runs.lapsing import (
    certificate_lapse,
    climbed,
    ended_exceptions,
    gap_lapse,
    missing_proofs,
)
from hilum.operations.dry_runs.models import Lapse, Start, What
from hilum.operations.dry_runs.policy import as_judged, effect_of, is_live, judged_by, newly_old
from hilum.operations.dry_runs.replay import Replay
from hilum.policy.matrix.exceptions import raises_of
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import Book, CurrentVersions, ExceptionKind, PolicyException, Tier
from hilum.review.recertification.models import Climb, Level
from hilum.review.recertification.policy import escalation_differs
from tests.unit.gateway.enforcement import facts
from tests.unit.policy.matrix.books import GONE, Changes, book, document
from tests.unit.policy.matrix.exception_facts import EXCEPTION

ENTRIES = "categories.unclassified.entries"
DAY = timedelta(days=1)
NOW, GENERAL, CLINIC = facts.NOW, TenantId("general"), TenantId("clinic")
RULE = {"name": "reads-patients", "tier": "high", "because": "it reads {type}", "types": ["Patient"]}  # fmt: skip
READER = replace(
    facts.CLIENT, scopes=("patient/Patient.rs", "patient/Observation.rs"), certified_tier=Tier.HIGH
)


def everywhere(**limits: Any) -> Book:
    return book(
        {
            f"{ENTRIES}.{tier}.{name}": value
            for name, value in limits.items()
            for tier in ("low", "moderate", "high")
        }
    )


def with_rule(more: Changes | None = None, **rule: Any) -> Book:
    changed = {"tier_rules": [*document()["tier_rules"], RULE | rule]}
    return book(changed | (more or {}))


BEFORE = with_rule()
STRICTER = with_rule({f"{ENTRIES}.high": GONE})


def exception(**changes: Any) -> PolicyException:
    made: dict[str, Any] = {
        "app": READER.app,
        "version": READER.version,
        "starts_at": NOW - DAY,
        "ends_at": NOW + 5 * DAY,
    }
    return replace(EXCEPTION, **made | changes)


def books(after: Book, *exceptions: PolicyException, before: Book = BEFORE) -> BooksAt:
    in_force = PolicyFacts(before, exceptions={READER.app: exceptions} if exceptions else {})
    return BooksAt(in_force, after, NOW)


def lost(found: BooksAt, tenant: TenantId, app: AppId = READER.app) -> tuple[str, ...]:
    effect = found.at(tenant, app).effect(replace(READER, app=app))
    return () if effect is None else effect.lost


# --- what two people allowed ---------------------------------------------------------------------------------------------------


SHORT: Changes = {f"{ENTRIES}.high.certificate_life": "10 d"} | {
    f"{ENTRIES}.{tier}.grace_days": 0 for tier in ("low", "moderate", "high")
}
"""A certificate of the high tier holds ten days, and has no grace."""
OLD = replace(READER, certified_at=NOW - 20 * DAY, certified_until=NOW + 100 * DAY)


def test_an_app_that_only_an_exception_keeps_certified_is_judged_and_lapses_with_it() -> None:
    """C19, C208: it acts at a lower tier, whose certificates hold for longer. Under another policy the exception is over."""
    before = with_rule(SHORT)
    after = with_rule(SHORT | {f"{ENTRIES}.{tier}.quota.burst": 7 for tier in ("low", "moderate", "high")})
    lowered = exception(
        tier="moderate", category=OLD.category, rules=(RULE["name"],), book_digest=before.digest
    )
    found, nobody = books(after, lowered, before=before), books(after, before=before)

    assert is_live(OLD, [each.before for each in found.of(OLD.app)], NOW)
    assert not is_live(OLD, [each.before for each in nobody.of(OLD.app)], NOW)
    start = Start(after, "", found.in_force, CurrentVersions(1, {}, 1), (OLD,), NOW, NOW - 90 * DAY)
    rows = Replay(start).judge([OLD.app], {}, [], {})
    assert [each.what for each in rows if isinstance(each, Lapse)] == [What.CERTIFICATE]


def test_what_lapses_is_judged_where_the_app_is_certified() -> None:
    """C208: at one hospital another policy is on trial, and it alone gives the certificate a longer life."""
    after = with_rule(SHORT | {f"{ENTRIES}.{tier}.quota.burst": 7 for tier in ("low", "moderate", "high")})
    in_force = PolicyFacts(with_rule(SHORT), at={GENERAL: BEFORE})
    start = Start(after, "", in_force, CurrentVersions(1, {}, 1), (OLD,), NOW, NOW - 90 * DAY)

    rows = Replay(start).judge([OLD.app], {}, [], {})

    assert [each.what for each in rows if isinstance(each, Lapse)] == [What.CERTIFICATE]


ALONE = {"kind": ExceptionKind.AUTONOMOUS_WRITES, "tenant": GENERAL, "tier": ""}


@pytest.mark.parametrize(
    ("after", "which", "ends"),
    [
        (book({"exceptions": GONE}), "expired", 0),
        (book({"exceptions.longest": "1 d"}), "expired", 0),
        (book({"exceptions.longest": "3 d"}), "expires_sooner", 2),
    ],
)
def test_an_exception_that_the_version_allows_no_longer_is_listed(after: Book, which: str, ends: int) -> None:
    """C23, C207."""
    [row] = ended_exceptions(books(after, exception(**ALONE)))

    assert (row.tenant, row.what, row.which) == (GENERAL, What.EXCEPTION, ("autonomous_writes", which))
    assert (row.before, row.until) == (NOW + 5 * DAY, NOW + ends * DAY)


@pytest.mark.parametrize("over", [{"ended_at": NOW - DAY}, {"ends_at": NOW}, {"tenant": None}])
def test_an_exception_that_does_not_count_now_is_nothing_that_ends(over: dict[str, Any]) -> None:
    found = books(book({"exceptions": GONE}), exception(**ALONE | over))

    assert list(ended_exceptions(found)) == []


def test_a_raised_tier_counts_under_every_book_and_ends_with_none() -> None:
    """C19: what it withholds the version does not give back."""
    raised = exception(kind=ExceptionKind.RAISED_TIER, ends_at=None, tier="high")
    in_force = replace(BEFORE, raised=raises_of([raised]))
    found = BooksAt(PolicyFacts(in_force, exceptions={READER.app: (raised,)}), STRICTER, NOW)

    assert list(ended_exceptions(found)) == []
    assert lost(found, GENERAL) == READER.scopes
    assert lost(books(STRICTER), GENERAL) == ("patient/Patient.rs",)


def test_a_lowered_tier_counts_under_its_own_book_only() -> None:
    """C19: what another policy computes nobody agreed to."""
    same = exception(book_digest=BEFORE.digest, rules=(RULE["name"],), category="unclassified", tier="low")

    [row] = ended_exceptions(books(STRICTER, same))
    assert (row.what, row.which) == (What.EXCEPTION, ("lowered_tier", "book_changed"))
    assert (row.before, row.until) == (NOW + 5 * DAY, NOW)
    assert list(ended_exceptions(books(BEFORE, same))) == []
    assert list(ended_exceptions(books(STRICTER, replace(same, book_digest="")))) == []


def test_a_version_is_judged_as_itself_where_something_is_allowed_to_it() -> None:
    """Clients that are alike are judged once; one whose version two people allowed something is not like the others."""
    same = exception(book_digest=BEFORE.digest, rules=(RULE["name"],), category="unclassified", tier="low")
    found = books(STRICTER, same)
    here = found.at(GENERAL, READER.app)

    assert judged_by(READER, here.before, here.after) is READER
    plain = found.at(GENERAL, AppId("another"))
    assert plain is found.everywhere
    assert judged_by(READER, plain.before, plain.after) == as_judged(READER)
    assert len(found.of(READER.app)) == len(found.of(AppId("another"))) == 1


# --- certificates, graces and tokens -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "life", "grace_before", "grace", "what", "until"),
    [
        (60, "100 d", 0, 0, None, 0),
        (60, "50 d", 0, 0, What.CERTIFICATE, -10),
        (60, "50 d", 14, 14, What.CERTIFICATE, 4),
        (60, "50 d", 14, 5, What.CERTIFICATE, -5),
        (370, "365 d", 14, 14, None, 0),
        (370, "365 d", 14, 0, What.GRACE, -5),
        (370, "365 d", 14, 4, What.GRACE, -1),
        (370, "365 d", 14, 6, None, 0),
    ],
)
def test_what_is_older_than_its_new_life_lapses_and_a_shorter_grace_is_over(
    age: int, life: str, grace_before: int, grace: int, what: What | None, until: int
) -> None:
    """C114: within its grace it goes on, so that ``until`` is when it stops. In days; the life before was a year."""
    certified = replace(facts.CLIENT, certified_at=NOW - age * DAY, certified_until=NOW + (365 - age) * DAY)
    effect = effect_of(
        certified,
        everywhere(certificate_life="365 d", grace_days=grace_before),
        everywhere(certificate_life=life, grace_days=grace),
        NOW,
    )

    found = None if effect is None else certificate_lapse(certified, effect, 3, NOW)

    assert (found and found.what) == what
    if found is not None:
        assert (found.number, found.which) == (3, (certified.version,))
        assert found.until == NOW + until * DAY
        assert found.before == NOW + (365 - age + grace_before) * DAY


@pytest.mark.parametrize(
    ("gap", "grace_before", "grace", "lapses"),
    [
        (10, 14, 14, False),
        (10, 14, 10, False),
        (10, 14, 9, True),
        (10, 14, 0, True),
        (10, 9, 0, False),
        (10, 5, 14, False),
        (None, 14, 0, False),
    ],
)
def test_a_gap_that_fewer_days_of_grace_bridge_no_more_is_listed(
    gap: int | None, grace_before: int, grace: int, lapses: bool
) -> None:
    """What was issued before it ends then, although nothing else of the certification lapses."""
    since, began = NOW - 20 * DAY, NOW - 100 * DAY
    certified = replace(
        facts.CLIENT,
        certified_at=since,
        certified_until=NOW + 300 * DAY,
        since=since,
        gaps=() if gap is None else ((gap * DAY, began),),
    )
    effect = effect_of(certified, everywhere(grace_days=grace_before), everywhere(grace_days=grace), NOW)

    found = None if effect is None else gap_lapse(certified, effect, 3)

    assert (found is not None) == lapses
    if found is not None:
        assert (found.what, found.number) == (What.GAP, 3)
        assert found.which == (certified.version, since.isoformat())


@pytest.mark.parametrize(
    ("offline", "started", "used", "limits", "reason"),
    [
        (True, 40, 1, {"absolute": "30 d"}, "absolute_limit_reached"),
        (True, 40, 20, {"refresh_token": "10 d"}, "refresh_token_old"),
        (False, 40, 20, {"refresh_token": "10 d"}, ""),
        (True, 40, 20, {"idle": "15 d"}, "authorization_idle"),
        (True, 40, 20, {"idle": "21 d"}, ""),
        (True, 2, 1, {"absolute": "30 d"}, ""),
    ],
)
def test_tokens_that_could_be_refreshed_and_could_not_are_counted_by_the_limit(
    offline: bool, started: int, used: int, limits: dict[str, str], reason: str
) -> None:
    """C194: days since they began, and since the last use."""
    before = {"refresh_token": "90 d", "session_refresh_token": "60 d"}
    effect = effect_of(
        facts.CLIENT,
        everywhere(**{f"lifetimes.{name}": value for name, value in before.items()}),
        everywhere(**{f"lifetimes.{name}": value for name, value in (before | limits).items()}),
        NOW,
    )
    assert effect is not None
    family = TokenFamily(
        FamilyId("fam_1"), AuthorizationId("aut_1"), offline, NOW - started * DAY, NOW - used * DAY, NOW + DAY
    )

    assert newly_old(family, effect, NOW) == reason
    gone = NOW - 400 * DAY
    assert newly_old(replace(family, started_at=gone, minted_at=gone), effect, NOW) == "", (
        "it has ended already"
    )


# --- proofs and findings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "unproved", "environment", "lacking"),
    [
        ([], ["owner", "domain"], ["domain"], Environment.PRODUCTION, ("domain",)),
        ([], ["owner", "domain"], ["domain", "owner"], Environment.PRODUCTION, ("domain", "owner")),
        (["domain"], ["owner", "domain"], ["domain"], Environment.PRODUCTION, None),
        ([], ["owner"], [], Environment.PRODUCTION, None),
        ([], ["owner"], ["owner"], Environment.SANDBOX, None),
        (["owner"], [], ["owner"], Environment.PRODUCTION, None),
    ],
)
def test_proofs_that_are_newly_asked_are_missing_where_nobody_has_them(
    before: list[str],
    after: list[str],
    unproved: list[str],
    environment: Environment,
    lacking: tuple[str, ...] | None,
) -> None:
    """C6, C7, C115: and when the finding about them is due."""
    client = replace(facts.CLIENT, environment=environment)
    effect = effect_of(client, everywhere(proofs=before), everywhere(proofs=after, fix_days_high=9), NOW)
    assert effect is not None

    found = missing_proofs(client, effect, unproved, NOW)

    assert (found and found.which) == lacking
    assert found is None or (found.what, found.until) == (What.PROOFS, NOW + 9 * DAY)


@pytest.mark.parametrize(
    ("now", "then", "what"),
    [
        (Level.NOTIFY, Level.STOP, What.STOPPED),
        (Level.NONE, Level.SUSPEND, What.SUSPENDED),
        (Level.STOP, Level.SUSPEND, What.SUSPENDED),
    ],
)
def test_what_the_escalation_would_do_is_named_by_its_level(now: Level, then: Level, what: What) -> None:
    """C226."""
    found = climbed(Climb(READER.app, now, then, 2))

    assert (found.what, found.which, found.number) == (what, (now.name.lower(), then.name.lower()), 2)


def test_only_another_escalation_has_findings_read() -> None:
    """A policy that changes scopes, or days within which something new is fixed, moves no app that is overdue."""
    assert not escalation_differs(BEFORE, STRICTER)
    assert not escalation_differs(BEFORE, everywhere(fix_days_low=1))
    assert escalation_differs(BEFORE, everywhere(automation="suspend"))
    assert escalation_differs(BEFORE, everywhere(suspend_days=3))
