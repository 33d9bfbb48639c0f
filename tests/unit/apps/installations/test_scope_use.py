"""Asked, approved, granted and used scopes compared, and what that proposes (C66)."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.apps.installations.models import COMPARED_BOUND, Proposal, ScopeUse
from hilum.apps.installations.scope_use import compare, long_unused, propose
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.records.audit.models import PermitCount
from tests.unit.apps.registry.values import NOW


def permit(rule: str, type_: str = "Observation", interaction: str = "read", number: int = 3) -> PermitCount:
    return PermitCount(rule, type_, interaction, number, NOW)


def used_of(scope: str, *permits: PermitCount) -> ScopeUse:
    (row,) = compare((), (), {(scope,): 1}, permits)
    return row


OBSERVATIONS, ALL = "patient/Observation.rs", "patient/*.rs"
VITALS = "patient/Observation.rs?category=vital-signs"


@pytest.mark.parametrize(
    ("scope", "permits", "number", "kept", "unused"),
    [
        (OBSERVATIONS, (), 0, (), (OBSERVATIONS,)),
        (OBSERVATIONS, (permit(OBSERVATIONS),), 3, ("patient/Observation.r",), ("patient/Observation.s",)),
        (
            OBSERVATIONS,
            (permit(OBSERVATIONS), permit(OBSERVATIONS, interaction="search-type", number=4)),
            7,
            (OBSERVATIONS,),
            (),
        ),
        # Issued before the installation was narrowed: what of it is within the scope counts.
        (OBSERVATIONS, (permit(ALL),), 3, ("patient/Observation.r",), ("patient/Observation.s",)),
        # Permitted by two scopes together: one decision, counted once.
        (ALL, (permit(f"{OBSERVATIONS}, {ALL}"),), 3, ("patient/Observation.r",), (ALL,)),
        (ALL, (permit(ALL, "Patient"), permit(ALL)), 6, ("patient/Patient.r", "patient/Observation.r"), (ALL,)),
        (VITALS, (permit(VITALS),), 3, ("patient/Observation.r?category=vital-signs",), ("patient/Observation.s?category=vital-signs",)),
        # What was permitted is wider than the scope: the scope was used in its own bounds.
        (VITALS, (permit(OBSERVATIONS),), 3, ("patient/Observation.r?category=vital-signs",), ("patient/Observation.s?category=vital-signs",)),
        # Another prefix, type, letter or constraint is no use.
        (OBSERVATIONS, (permit("user/Observation.rs"),), 0, (), (OBSERVATIONS,)),
        (OBSERVATIONS, (permit("patient/Patient.rs", "Patient"),), 0, (), (OBSERVATIONS,)),
        (OBSERVATIONS, (permit("patient/Observation.c", interaction="create"),), 0, (), (OBSERVATIONS,)),
        # Records that cannot be read as a scope are no use.
        (OBSERVATIONS, (permit(""), permit("nonsense"), permit(OBSERVATIONS, ""), permit(OBSERVATIONS, interaction="?")), 0, (), (OBSERVATIONS,)),
        # The person's own record is no use of a scope of a type.
        ("user/Practitioner.r", (permit("fhirUser", "Practitioner"),), 0, (), ("user/Practitioner.r",)),
    ],
)  # fmt: skip
def test_a_scope_was_used_in_the_part_that_permitted_a_request(
    scope: str, permits: tuple[PermitCount, ...], number: int, kept: tuple[str, ...], unused: tuple[str, ...]
) -> None:
    """C66."""
    row = used_of(scope, *permits)

    assert (row.used, row.kept, row.unused) == (number, kept, unused)
    assert row.last == (NOW if number else None)


def test_the_last_use_is_the_latest_of_all_permits() -> None:
    earlier = PermitCount(OBSERVATIONS, "Observation", "read", 1, NOW - timedelta(days=2))

    assert used_of(OBSERVATIONS, permit(OBSERVATIONS), earlier).last == NOW


@pytest.mark.parametrize(
    "scope",
    ["openid", "fhirUser", "launch", "launch/patient", "launch/encounter", "offline_access", "online_access", "hilum/launch"],
)  # fmt: skip
def test_scopes_of_launch_identity_and_session_are_never_proposed_for_removal(scope: str) -> None:
    """C66."""
    row = used_of(scope)
    rows = compare((), (), {(scope, ALL): 1}, [permit(ALL)])

    assert (row.kept, row.unused) == ((scope,), ())
    assert propose((scope, ALL), rows) == (Proposal.NARROW, (scope, "patient/Observation.r"))
    assert propose((scope,), (row,)) == (Proposal.KEEP, ())


def test_asked_approved_and_granted_are_compared_by_what_the_scopes_cover() -> None:
    """C66."""
    granted: dict[tuple[str, ...], int] = {(ALL,): 3, (OBSERVATIONS,): 2, ("patient/Patient.r",): 1}

    rows = compare((ALL,), ("patient/*.r", OBSERVATIONS), granted, ())

    assert [(row.scope, row.asked, row.approved, row.granted) for row in rows] == [
        (ALL, True, False, 3),
        ("patient/*.r", True, True, 3),
        (OBSERVATIONS, True, True, 5),
        ("patient/Patient.r", True, True, 4),
    ]


@pytest.mark.parametrize(
    ("installed", "permits", "proposal", "narrow_to"),
    [
        ((OBSERVATIONS,), (), Proposal.UNINSTALL, ()),
        (("launch", OBSERVATIONS), (permit("user/Observation.rs"),), Proposal.UNINSTALL, ()),
        (("launch",), (), Proposal.KEEP, ()),
        ((), (), Proposal.KEEP, ()),
        (("patient/Observation.r",), (permit(ALL),), Proposal.KEEP, ()),
        (("launch", OBSERVATIONS), (permit(ALL),), Proposal.NARROW, ("launch", "patient/Observation.r")),
        ((ALL, OBSERVATIONS), (permit(ALL),), Proposal.NARROW, ("patient/Observation.r",)),
        (("patient/Observation.r", "patient/Patient.r"), (permit(ALL),), Proposal.NARROW, ("patient/Observation.r",)),
    ],
)  # fmt: skip
def test_an_installation_is_proposed_what_it_used(
    installed: tuple[str, ...],
    permits: tuple[PermitCount, ...],
    proposal: Proposal,
    narrow_to: tuple[str, ...],
) -> None:
    """C66."""
    assert propose(installed, compare((), (), {installed: 1}, permits)) == (proposal, narrow_to)


def test_nothing_is_proposed_where_a_scope_was_not_compared() -> None:
    many = tuple(f"patient/Observation.rs?code={n}" for n in range(COMPARED_BOUND))
    rows = compare(many, (), {(OBSERVATIONS,): 1}, [permit("patient/Observation.r")])

    assert len(rows) == COMPARED_BOUND
    assert propose((OBSERVATIONS,), rows) == (Proposal.KEEP, ())


SCOPES = st.builds(
    "{}/{}.{}".format,
    st.sampled_from(["patient", "user"]),
    st.sampled_from(["*", "Observation", "Patient"]),
    st.sampled_from(["r", "s", "rs", "cru", "cruds"]),
)
PERMITS = st.builds(
    permit,
    SCOPES,
    st.sampled_from(["Observation", "Patient"]),
    st.sampled_from(["read", "search-type", "create"]),
)


@given(st.lists(SCOPES, min_size=1, max_size=4), st.lists(PERMITS, max_size=5))
def test_a_proposal_never_widens_and_loses_nothing_that_was_used(
    installed: list[str], permits: list[PermitCount]
) -> None:
    """C66."""
    scopes = tuple(installed)
    rows = compare((), (), {scopes: 1}, permits)

    proposal, narrow_to = propose(scopes, rows)

    assert all_covered(narrow_to, scopes)
    if proposal is Proposal.NARROW:
        assert all(all_covered(row.kept, narrow_to) for row in rows)


GRANTED = {(OBSERVATIONS,): 2}


@pytest.mark.parametrize(
    ("asked", "approved", "granted", "permits", "unused"),
    [
        ((OBSERVATIONS,), (OBSERVATIONS,), GRANTED, (), (OBSERVATIONS,)),
        # Narrower than what was granted and never used.
        ((VITALS,), (OBSERVATIONS,), GRANTED, (), (VITALS,)),
        (("patient/Observation.r",), (ALL,), {(ALL,): 1}, (), ("patient/Observation.r",)),
        # A part was used, or it was used through a wider scope.
        ((OBSERVATIONS,), (OBSERVATIONS,), GRANTED, (permit(OBSERVATIONS),), ()),
        ((OBSERVATIONS,), (ALL,), {(ALL,): 1}, (permit(ALL),), ()),
        # Use of another type, or by another prefix, is none.
        ((OBSERVATIONS,), (ALL,), {(ALL,): 1}, (permit(ALL, "Patient"),), (OBSERVATIONS,)),
        # New, wider than before, certified only, or granted only: nobody could use it.
        ((OBSERVATIONS,), (), {}, (), ()),
        (("patient/Observation.crs",), (OBSERVATIONS,), GRANTED, (), ()),
        ((OBSERVATIONS,), (OBSERVATIONS,), {}, (), ()),
        ((OBSERVATIONS,), (OBSERVATIONS,), {("patient/Patient.rs",): 9}, (), ()),
        ((OBSERVATIONS,), ("patient/Patient.rs",), GRANTED, (), ()),
        # Their use is on no record.
        (("launch", "openid", "offline_access"), ("launch", "openid", "offline_access"), {("launch", "openid", "offline_access"): 3}, (), ()),
        ((), (OBSERVATIONS,), GRANTED, (), ()),
    ],
)  # fmt: skip
def test_unused_is_what_was_certified_and_granted_all_the_time_and_permitted_nothing(
    asked: tuple[str, ...],
    approved: tuple[str, ...],
    granted: dict[tuple[str, ...], int],
    permits: tuple[PermitCount, ...],
    unused: tuple[str, ...],
) -> None:
    """C66."""
    assert long_unused(asked, compare(asked, approved, granted, permits)) == unused
