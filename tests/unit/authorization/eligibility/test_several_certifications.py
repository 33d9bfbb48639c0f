"""What counts of several certifications of one version: what each gives, until its own end (ADR 36)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry.models import Certification
from hilum.authorization.eligibility.policy import is_certified
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix.models import Book, ClientAuthentication, Tier
from tests.effort import effort
from tests.unit.apps.registry.values import APP, CERT, CLIENT, NOW, PAST, VERSION
from tests.unit.gateway.enforcement import facts as gateway
from tests.unit.policy.matrix.books import book

DAY = timedelta(days=1)
TIERS = ("low", "moderate", "high")
ASKS = replace(
    CLIENT, scopes=("patient/Observation.rs", "patient/Patient.rs", "patient/Condition.cud", "openid")
)
UNITS = tuple(
    f"patient/{type_}.{letter}" for type_ in ("Observation", "Patient", "Condition") for letter in "cruds"
)
GRACE = 3
BOOK = book({f"categories.unclassified.entries.{tier}.grace_days": GRACE for tier in TIERS})


def facts_of(*found: Certification) -> ClientFacts:
    return clients_policy.join(ASKS, APP, VERSION, found)


def units(found: ClientFacts, now: datetime, by: Book = BOOK) -> frozenset[str]:
    """Return what a client may be granted now, type by type and letter by letter."""
    admitted = clients_policy.admission(by, found, now).scopes
    return frozenset(each for each in UNITS if all_covered((each,), admitted))


WIDE = replace(CERT, scopes=("patient/Observation.rs", "patient/Patient.rs"), expires_at=NOW + 10 * DAY)
NARROW = replace(
    CERT, id="cert_2", scopes=("patient/Patient.r",), certified_at=NOW, expires_at=NOW + 90 * DAY
)
OTHER = replace(NARROW, scopes=("patient/Condition.c",))


@pytest.mark.parametrize(
    ("found", "days", "left"),
    [
        ([WIDE, NARROW], 1, "Observation.r Observation.s Patient.r Patient.s"),
        ([NARROW, WIDE], 1, "Observation.r Observation.s Patient.r Patient.s"),
        ([WIDE, NARROW], 10 + GRACE - 1, "Observation.r Observation.s Patient.r Patient.s"),
        ([WIDE, NARROW], 10 + GRACE, "Patient.r"),
        ([WIDE, NARROW], 90 + GRACE - 1, "Patient.r"),
        ([WIDE, OTHER], 1, "Condition.c Observation.r Observation.s Patient.r Patient.s"),
        ([WIDE, OTHER], 10 + GRACE, "Condition.c"),
        ([replace(WIDE, withdrawn_at=NOW), NARROW], 1, "Patient.r"),
        ([WIDE, replace(NARROW, withdrawn_at=NOW)], 1, "Observation.r Observation.s Patient.r Patient.s"),
        ([WIDE, replace(NARROW, withdrawn_at=NOW)], 10, "Observation.r Observation.s Patient.r Patient.s"),
    ],
)
def test_each_certification_gives_what_it_gives_until_its_own_end(
    found: list[Certification], days: int, left: str
) -> None:
    """C112, C113: one that is narrower and ends later takes nothing away, and gives nothing that ended."""
    assert units(facts_of(*found), NOW + days * DAY) == {f"patient/{each}" for each in left.split()}


def test_a_withdrawal_takes_the_grace_of_what_was_certified_before_it_and_of_nothing_else() -> None:
    """C114."""
    withdrawn = replace(NARROW, id="cert_3", withdrawn_at=NOW + DAY)
    later = replace(OTHER, id="cert_4", certified_at=NOW + 2 * DAY, expires_at=NOW + 20 * DAY)

    assert units(facts_of(WIDE, withdrawn, later), NOW + 11 * DAY) == {"patient/Condition.c"}
    assert units(facts_of(WIDE, withdrawn, later), NOW + 21 * DAY) == {"patient/Condition.c"}
    assert not is_certified(facts_of(WIDE, withdrawn), BOOK, NOW + 10 * DAY)


def test_what_one_certification_lacks_another_does_not_lend_it() -> None:
    """C20: the tier, the category and the life are each certification's own."""
    low = {**dict.fromkeys(ClientAuthentication, Tier.LOW)}
    below = replace(OTHER, tiers=low)
    elsewhere = replace(OTHER, category="games")

    for lesser in (below, elsewhere):
        assert units(facts_of(WIDE, lesser), NOW) == units(facts_of(WIDE), NOW)
    short = book(
        {
            f"{at}.{tier}.certificate_life": "30 d"
            for tier in TIERS
            for at in ("base", "categories.unclassified.entries")
        }
    )
    old = replace(OTHER, certified_at=NOW - 30 * DAY, expires_at=NOW + 300 * DAY)
    assert units(facts_of(WIDE, old), NOW, short) == units(facts_of(WIDE), NOW, short)


def test_what_nobody_reviewed_does_not_lengthen_what_was_reviewed() -> None:
    """C112: the regulated lane certifies without a review, so the life of a reviewed certification does not begin with it."""
    short = book(
        {
            f"{at}.{tier}.certificate_life": "30 d"
            for tier in TIERS
            for at in ("base", "categories.unclassified.entries")
        }
    )
    reviewed = replace(WIDE, submission="sub_1", certified_at=NOW - 20 * DAY, expires_at=NOW + 90 * DAY)
    enabled = replace(
        reviewed, id="cert_2", submission="", certified_by=str(SYSTEM), certified_at=NOW, expires_at=NOW + DAY
    )

    assert clients_policy.certified_until(short, facts_of(reviewed, enabled)) == NOW + 10 * DAY


def test_a_renewal_leaves_one_basis_and_another_tier_two() -> None:
    """History must not make facts grow: what another one gives for as long is left out."""
    before = replace(WIDE, expires_at=NOW)
    renewed = replace(WIDE, id="cert_2", certified_at=NOW, expires_at=NOW + 90 * DAY)
    other_tier = replace(before, tiers=dict.fromkeys(ClientAuthentication, Tier.LOW))

    assert facts_of(before, renewed).also == ()
    assert len(facts_of(other_tier, renewed).also) == 1
    assert facts_of(before, renewed, other_tier) == facts_of(other_tier, renewed, before), "in whatever order"


DRAWN = st.lists(
    st.builds(
        lambda scopes, begins, life, gone, tier: (tuple(scopes), begins, life, gone, tier),
        st.lists(st.sampled_from((*UNITS, "patient/*.rs", "patient/Patient.cruds")), min_size=1, max_size=3),
        st.integers(0, 6),
        st.integers(1, 12),
        st.none() | st.integers(1, 10),
        st.sampled_from(Tier),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=effort(50, 2_000), deadline=None)
@given(DRAWN, st.integers(0, 24))
def test_together_certifications_give_what_each_gives_and_nothing_more(
    drawn: list[tuple[tuple[str, ...], int, int, int | None, Tier]], day: int
) -> None:
    """House rule 12: nothing is granted that no certification in force gives, and one more never takes away."""
    now = NOW + day * DAY
    found = [
        replace(
            CERT,
            id=f"cert_{n}",
            scopes=scopes,
            certified_at=NOW + begins * DAY,
            expires_at=NOW + (begins + life) * DAY,
            withdrawn_at=NOW + gone * DAY if gone is not None and begins < gone <= day else None,
            tiers=dict.fromkeys(ClientAuthentication, tier),
        )
        for n, (scopes, begins, life, gone, tier) in enumerate(drawn)
        if begins <= day
    ]
    if not found:
        return
    gone = [each for each in found if each.withdrawn_at is not None]
    alone = [facts_of(each, *gone) for each in found if each.withdrawn_at is None]
    given_by_each = [units(each, now) for each in alone if is_certified(each, BOOK, now)]

    whole = facts_of(*found)

    assert is_certified(whole, BOOK, now) == bool(given_by_each)
    if given_by_each:
        assert units(whole, now) == frozenset().union(*given_by_each)
        for each in found:
            fewer = facts_of(*(other for other in found if other is not each))
            if each.withdrawn_at is None and is_certified(fewer, BOOK, now):
                assert units(fewer, now) <= units(whole, now)


def test_at_the_gateway_a_scope_ends_with_the_certification_that_gives_it() -> None:
    """C113, house rule 12: by the same facts and the same policy, without anything having changed in between."""
    ends = gateway.NOW + timedelta(milliseconds=1)
    wide = replace(gateway.CLIENT.bases[0], until=ends, at=PAST, graceless=True)
    snapshot = gateway.with_client(
        certified_scopes=("patient/Patient.rs",), certified_until=ends + 300 * DAY, also=(wide,)
    )

    def decided(target: str, now: datetime) -> object:
        found = gateway.decide(gateway.ask(target), snapshot=snapshot, now=now)
        return found.reason if isinstance(found, Deny) else None

    for target, after in (("Observation/o1", Reason.SCOPE_INSUFFICIENT), ("Patient/p1", None)):
        assert decided(target, gateway.NOW) is None
        assert decided(target, ends) is after
