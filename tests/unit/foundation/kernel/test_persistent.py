"""Immutable collections that share: whatever is done to one, it equals what a dict or a set would hold, and no other changes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.persistent import BUCKET_S, PersistentMap, RecentSet
from tests.effort import effort

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
keys = st.text("abcdef", max_size=3)


@settings(max_examples=effort(50, 1_000), deadline=None)
@given(steps=st.lists(st.tuples(st.dictionaries(keys, st.integers()), st.lists(keys)), max_size=12))
def test_a_map_holds_what_a_dict_would_and_leaves_the_ones_before_alone(
    steps: list[tuple[dict[str, int], list[str]]],
) -> None:
    held: PersistentMap[str, int] = PersistentMap()
    plain: dict[str, int] = {}
    past = []
    for puts, gone in steps:
        past.append((held, dict(plain)))
        held = held.changed(puts, gone)
        plain = {key: value for key, value in plain.items() if key not in gone} | puts

        assert held == plain
        assert len(held) == len(plain)
        assert all(key in held and held.get(key) == value == held[key] for key, value in plain.items())
    assert all(before == copy for before, copy in past)


def test_a_change_of_a_large_map_copies_a_few_of_its_many_pages() -> None:
    """Cost follows what changed: the pages without a change are the same objects."""
    before = PersistentMap({f"key {n}": n for n in range(100_000)})

    after = before.changed({"key 7": -7, "another": 1}, ["key 8"])

    copied = sum(a is not b for a, b in zip(before._pages, after._pages, strict=True))
    assert (after["key 7"], after["another"], "key 8" in after, len(after)) == (-7, 1, False, 100_000)
    assert before["key 7"] == 7
    assert 1 <= copied <= 3
    assert max(map(len, before._pages)) < 1_000
    assert len(before._pages) < 5_000


def test_a_map_that_grows_one_by_one_keeps_its_pages_small() -> None:
    held: PersistentMap[int, int] = PersistentMap()
    for n in range(5_000):
        held = held.changed({hash(str(n)): n})

    assert len(held) == 5_000
    assert max(map(len, held._pages)) < 300


@pytest.mark.parametrize("missing", ["", "x", 7, None])
def test_what_is_not_there_is_not_found(missing: object) -> None:
    held = PersistentMap({"a": 1})

    assert missing not in held
    assert held.get(missing, "none") == "none"
    with pytest.raises(KeyError):
        held[missing]  # type: ignore[index]


events = st.lists(st.tuples(st.lists(keys, max_size=4), st.integers(0, 200)), max_size=25)


@settings(max_examples=effort(40, 2_000), deadline=None)
@given(happenings=events)
def test_a_recent_set_forgets_nothing_too_early_and_nothing_much_too_late(
    happenings: list[tuple[list[str], int]],
) -> None:
    """C36, C91: what was revoked within the window is known; a minute more at most is kept."""
    window, minute = timedelta(minutes=65), timedelta(seconds=BUCKET_S)
    held: RecentSet[str] = RecentSet()
    latest: dict[str, datetime] = {}
    now = START
    for added, waited in happenings:
        now += timedelta(minutes=waited)
        latest |= dict.fromkeys(added, now)
        expired, before = held.expired(now - window), held
        held = held.changed([(key, now) for key in added], forget_before=now - window)

        assert set(before) - set(held) <= set(expired)
        assert set(expired) & set(held) <= set(added)

        assert {key for key, at in latest.items() if at > now - window} <= set(held)
        assert all(latest[key] > now - window - minute for key in held)


def test_what_comes_late_with_an_older_moment_is_kept_as_long_as_the_newest() -> None:
    """Transactions end in another order than they began."""
    held = RecentSet([("a", START)]).changed([("a", START - timedelta(minutes=50))])

    later = held.changed((), forget_before=START - timedelta(minutes=10))

    assert "a" in later
    assert "a" not in later.changed((), forget_before=START + timedelta(minutes=2))


def test_adding_to_a_large_set_and_forgetting_from_it_leave_the_rest_shared() -> None:
    held = RecentSet((f"fam_{n}", START + timedelta(seconds=n % 3_600)) for n in range(50_000))

    after = held.changed([("fam_x", START + timedelta(hours=1))], forget_before=START + timedelta(minutes=1))

    assert "fam_x" in after
    assert "fam_5" not in after
    assert "fam_5" in held
    assert "fam_3599" in after
    assert after.changed(()) is after
