"""What a narrowing takes away that an app says it cannot do without (C211)."""

from dataclasses import replace

import pytest

from hilum.apps.installations.completeness import recorded
from hilum.apps.installations.models import ApprovalRecord, Installation, LeftOut
from hilum.apps.installations.policy import left_out, needed_lost, needed_words, optional_for_all
from hilum.authorization.consent.models import Choice, PlainPermission
from hilum.authorization.consent.policy import with_needs
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix.product_models import Workflow
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import calls_of
from tests.sim.world import START
from tests.unit.authorization.eligibility.facts import CLIENT

HAD = ("launch/patient", "openid", "patient/Patient.rs", "patient/Goal.cruds", "patient/Observation.rs")


@pytest.mark.parametrize(
    ("optional", "after", "lost"),
    [
        (None, ("openid",), ()),
        ((), HAD, ()),
        ((), ("patient/Patient.rs", "patient/Goal.cruds"), ("patient/Observation.rs",)),
        ((), ("patient/Patient.r", "patient/Goal.cruds", "patient/Observation.rs"), ("patient/Patient.s",)),
        (("patient/Observation.rs",), ("patient/Patient.rs", "patient/Goal.cruds"), ()),
        (("patient/*.cud", "patient/Observation.rs"), ("patient/Patient.rs", "patient/Goal.rs"), ()),
        (("patient/*.rs",), ("patient/Goal.rs",), ("patient/Goal.cud",)),
        (("patient/*.cruds",), (), ()),
    ],
)
def test_what_is_needed_is_what_the_version_does_not_call_optional(
    optional: tuple[str, ...] | None, after: tuple[str, ...], lost: tuple[str, ...]
) -> None:
    """By type and letter; a version that does not say has nothing that it needs. Identity is never lost by a narrowing."""
    client = replace(CLIENT, scopes=HAD, optional_scopes=optional)

    assert needed_lost(HAD, after, [client]) == lost


def test_an_optional_part_of_a_wildcard_may_go_and_what_was_not_had_is_not_lost() -> None:
    client = replace(CLIENT, scopes=("patient/*.rs",), optional_scopes=("patient/Goal.rs",))
    before = ("patient/Patient.rs", "patient/Goal.rs")

    assert needed_lost(before, ("patient/Patient.rs",), [client]) == ()
    assert needed_lost(before, ("patient/Goal.rs",), [client]) == ("patient/Patient.rs",)


LAB, VITALS = (f"patient/Observation.rs?category={each}" for each in ("laboratory", "vital-signs"))
NARROW = LAB + "&code=1234"


@pytest.mark.parametrize(
    ("asked", "before", "after", "lost"),
    [
        ((LAB,), (LAB, VITALS), (VITALS,), (LAB,)),
        ((LAB,), ("patient/*.rs",), (LAB, "patient/Goal.rs"), ()),
        ((NARROW,), (LAB,), (VITALS,), (NARROW,)),
        ((NARROW,), (LAB,), (LAB,), ()),
        # What was had in part was not had whole, and is not lost.
        ((LAB,), (NARROW,), (), ()),
        ((LAB,), (LAB,), ("patient/Observation.r?category=laboratory", "patient/*.s"), ()),
        ((LAB,), (LAB,), ("user/*.cruds",), (LAB,)),
        (("patient/*.rs",), ("patient/*.rs",), ("patient/*.r", "patient/*.s"), ()),
    ],
)
def test_what_has_more_constraints_is_permitted_by_what_has_fewer(
    asked: tuple[str, ...], before: tuple[str, ...], after: tuple[str, ...], lost: tuple[str, ...]
) -> None:
    client = replace(CLIENT, scopes=asked, optional_scopes=())

    assert needed_lost(before, after, [client]) == lost


def _work(asked: str, others: int) -> int:
    """Count the calls that judging one scope takes beside so many others."""
    had = (asked, *(f"patient/Observation.rs?category=c{n}" for n in range(others)))
    client = replace(CLIENT, scopes=(asked,), optional_scopes=())
    needed_lost(had, had, [client])  # so that no scope is parsed while it is counted
    return calls_of(lambda: needed_lost(had, had, [client]))


def test_hundreds_of_scopes_with_constraints_are_gone_over_once() -> None:
    """A vendor chooses them: each type and letter of a wildcard is not compared with all others again."""
    wild, one = (_work(asked, 200) - _work(asked, 0) for asked in ("patient/*.cruds", "patient/Goal.cruds"))
    many = ("patient/*.cruds", *(f"patient/Observation.rs?category=c{n}" for n in range(200)))
    clients = [replace(CLIENT, scopes=many[n:], optional_scopes=()) for n in range(3)]

    assert one > 200
    assert wild < 2 * one
    assert needed_lost(many, many[:1], clients) == ()
    assert needed_lost(many[1:], many[2:], clients) == ("patient/Observation.rs?category=c0",)


def test_a_permission_is_marked_only_by_what_covers_it_whole() -> None:
    offered = [
        Choice(value, (value,), PlainPermission(value, "", "", ()))
        for value in ("patient/Goal.rs", "patient/Goal.cud", "offline_access")
    ]

    assert with_needs(offered, None) == tuple(offered)
    marked = with_needs(offered, ("patient/Goal.r", "patient/Goal.s", "offline_access"))
    assert [each.optional for each in marked] == [True, False, True]


def test_what_is_left_out_says_what_it_is_for_and_which_work_stops() -> None:
    """C211: first what the app says it needs, then what it says nothing about."""
    workflows = {
        "review": Workflow("review", "Chart review", "", "", 1, ("patient/*.rs",)),
        "other": Workflow("other", "Other", "", "", 1, ("user/*.rs",)),
    }
    book = replace(shipped_book(), workflows=workflows)
    stated = replace(CLIENT, scopes=HAD, optional_scopes=("patient/Goal.cud",), workflows=("review",))
    silent = replace(CLIENT, scopes=("patient/Observation.rs", "user/Slot.r"), optional_scopes=None)
    reasons = {"patient/*.rs": "To show the chart.", "user/Slot.r": ""}
    before = (*HAD, "user/Slot.r")

    found = left_out(before, ("patient/Patient.rs", "patient/Goal.rs"), (stated, silent), book, reasons)

    assert found == (
        LeftOut("patient/Observation.rs", True, "To show the chart.", ("Chart review",)),
        LeftOut("user/Slot.r", False, "", ()),
    )
    words = needed_words(found, how="Go on.")
    assert words == (
        "The app says that it does not work without patient/Observation.rs. It asks for patient/Observation.rs because: To show the chart."
        " This work stops: Chart review. Go on."
    )
    assert needed_words(found[1:], how="Go on.") == ""


@pytest.mark.parametrize(
    ("had", "kept", "optional", "lost"),
    [
        (("offline_access",), (), (), ("offline_access",)),
        (("offline_access",), (), ("offline_access",), ()),
        (("offline_access",), ("offline_access",), (), ()),
        (("openid", "launch/patient"), (), (), ()),
    ],
)
def test_staying_signed_in_may_be_needed_and_launch_stays_by_itself(
    had: tuple[str, ...], kept: tuple[str, ...], optional: tuple[str, ...], lost: tuple[str, ...]
) -> None:
    assert needed_lost(had, kept, [replace(CLIENT, scopes=had, optional_scopes=optional)]) == lost


@pytest.mark.parametrize(
    ("declared", "all_"),
    [
        ((), None),
        ((None,), None),
        ((("patient/Goal.rs",), None), None),
        ((("patient/Goal.rs", "user/Slot.r"), ("patient/Goal.cruds",)), ("patient/Goal.rs",)),
    ],
)
def test_an_app_can_do_without_what_each_of_its_clients_can(
    declared: tuple[tuple[str, ...] | None, ...], all_: tuple[str, ...] | None
) -> None:
    assert optional_for_all([replace(CLIENT, optional_scopes=each) for each in declared]) == all_


def test_what_was_left_out_before_stays_on_record_beside_what_is_left_out_now_until_it_is_given() -> None:
    """C97."""
    record = ApprovalRecord(HAD, HAD, ("nurse",), without=("patient/Goal.rs", "patient/Patient.rs"))
    after = Installation(
        "", TenantId("general"), AppId("app_1"), ("patient/Patient.rs",), frozenset(), "", START
    )

    found = recorded(replace(after, record=record), ("patient/Observation.rs",))

    assert found.without == ("patient/Goal.rs", "patient/Observation.rs")
