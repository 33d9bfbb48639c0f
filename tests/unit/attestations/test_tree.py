"""What of a damaged tree is still proved (ADR 159)."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.attestations.models import DIGITS, Part, Proof
from hilum.attestations.policy import changed, differing, is_whole, path_digests, place_of, prove, proved

STATES = {f"client/c{n}": f"digest {n}" for n in range(60)}
PLACES = sorted({place_of(each) for each in STATES})
MINE = place_of("client/c7")
FORGED = "0" * 64
Buckets = dict[str, dict[str, str]]
Nodes = dict[str, str]


def whole() -> tuple[Buckets, Nodes, str]:
    """Return the leaves and nodes of a tree as they are stored, and its root."""
    part = changed(Part({place: {} for place in PLACES}, {}), STATES)
    digests = path_digests(part)
    buckets = {place: dict(leaves) for place, leaves in part.buckets.items()}
    return buckets, {place: digest for place, digest in digests.items() if place}, digests[""]


def lost(part: Part, root: str) -> set[str]:
    return set(part.buckets) - set(proved(part, prove(part, root)).buckets)


def edit(buckets: Buckets, _: Nodes) -> None:
    buckets[MINE]["client/c7"] = "another"


def delete(buckets: Buckets, _: Nodes) -> None:
    del buckets[MINE]["client/c7"]


def add(buckets: Buckets, _: Nodes) -> None:
    buckets[MINE]["client/evil"] = "mine"


def bucket_node(_: Buckets, nodes: Nodes) -> None:
    nodes[MINE] = FORGED


def high_node(_: Buckets, nodes: Nodes) -> None:
    nodes[MINE[0]] = FORGED


def lost_node(_: Buckets, nodes: Nodes) -> None:
    del nodes[MINE[:2]]


def a_node_at_no_place(_: Buckets, nodes: Nodes) -> None:
    nodes["zzzz"] = FORGED


def a_leaf_and_a_node_beside_it(buckets: Buckets, nodes: Nodes) -> None:
    edit(buckets, nodes)
    nodes[next(each for each in PLACES if each[0] != MINE[0])[0]] = FORGED


def every_node(_: Buckets, nodes: Nodes) -> None:
    nodes.clear()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (edit, {MINE}), (delete, {MINE}), (add, {MINE}), (a_leaf_and_a_node_beside_it, {MINE}),
        (bucket_node, set()), (high_node, set()), (lost_node, set()), (a_node_at_no_place, set()), (every_node, set()),
    ],
)  # fmt: skip
def test_damage_costs_what_it_touches(damage: Callable[[Buckets, Nodes], None], expected: set[str]) -> None:
    """C179: a leaf costs its bucket, a node nothing."""
    buckets, nodes, root = whole()
    damage(buckets, nodes)

    assert lost(Part(buckets, nodes), root) == expected


DAMAGE = st.lists(
    st.one_of(
        st.tuples(st.just("leaf"), st.sampled_from(sorted(STATES)), st.sampled_from(["", "another", "digest 3"])),
        st.tuples(st.just("new leaf"), st.sampled_from(PLACES), st.just("client/evil")),
        st.tuples(
            st.just("node"),
            st.sampled_from(sorted({place[:n] for place in PLACES for n in range(1, 5)})),
            st.sampled_from(["", FORGED, "digest 3"]),
        ),
    ),
    max_size=12,
)  # fmt: skip


def a_leaf_at_the_place_of_a_node(buckets: Buckets, _: Nodes) -> None:
    buckets[MINE[:2]] = {"client/evil": "mine"}


def a_leaf_at_no_place(buckets: Buckets, _: Nodes) -> None:
    buckets["zzzz"] = {"client/evil": "mine"}


def a_leaf_below_a_bucket(buckets: Buckets, _: Nodes) -> None:
    buckets[f"{MINE}0"] = {"client/evil": "mine"}


def a_node_above_nothing(_: Buckets, nodes: Nodes) -> None:
    nodes[next(each for digit in DIGITS for each in (f"{MINE[:3]}{digit}",) if each not in PLACES)] = FORGED


@pytest.mark.parametrize(
    "damage",
    [
        edit, delete, add, bucket_node, high_node, lost_node, a_node_at_no_place, a_leaf_and_a_node_beside_it, every_node,
        a_leaf_at_the_place_of_a_node, a_leaf_at_no_place, a_leaf_below_a_bucket, a_node_above_nothing,
    ],
)  # fmt: skip
def test_a_tree_is_whole_only_without_any_damage(damage: Callable[[Buckets, Nodes], None]) -> None:
    buckets, nodes, root = whole()
    assert is_whole(Part(buckets, nodes), root)
    assert not is_whole(Part(buckets, nodes), FORGED)

    damage(buckets, nodes)

    assert not is_whole(Part(buckets, nodes), root)


def test_a_tree_without_leaves_is_whole_by_the_empty_root_only() -> None:
    assert is_whole(Part({}, {}), "")
    assert not is_whole(Part({}, {}), FORGED)


@given(DAMAGE)
def test_nothing_is_proved_that_was_not_signed(damage: list[tuple[str, str, str]]) -> None:
    """C179: whatever is written to leaves and nodes, a bucket that is proved has the leaves that were signed, and a node its digest."""
    buckets, nodes, root = whole()
    signed, digests = {place: dict(leaves) for place, leaves in buckets.items()}, {"": root, **nodes}
    for what, at, value in damage:
        if what == "node":
            nodes[at] = value
        elif what == "new leaf":
            buckets[at][value] = "mine"
        elif value:
            buckets[place_of(at)][at] = value
        else:
            buckets[place_of(at)].pop(at, None)
    part = Part(buckets, nodes)

    proof = prove(part, root)

    assert all(signed[place] == leaves for place, leaves in proved(part, proof).buckets.items())
    assert all(digests.get(place, "") == digest for place, digest in proof.digests.items())
    # Nor is anything lost without need: neither leaves alone nor nodes alone cost more than themselves.
    kinds = {what for what, _, _ in damage}
    touched = {place for place in PLACES if buckets[place] != signed[place]}
    if "node" not in kinds or not touched:
        assert lost(part, root) == touched


def test_a_forged_leaf_and_the_nodes_above_it_prove_nothing() -> None:
    """Whoever writes the nodes above their leaf too has another root: then nothing is proved, theirs neither."""
    buckets, _, root = whole()
    edit(buckets, {})

    assert lost(Part(buckets, path_digests(Part(buckets, {}))), root) == set(PLACES)


def test_what_was_signed_before_is_not_proved_by_the_root_of_today() -> None:
    """A removal is not undone: neither by its leaf nor by every leaf and node of the time before."""
    buckets, nodes, _ = whole()
    after = changed(Part(buckets, {}), {"client/c7": ""})
    digests = path_digests(after)

    assert MINE in lost(Part(buckets, nodes), digests[""])
    assert lost(Part(buckets, {place: each for place, each in digests.items() if place}), digests[""]) == {
        MINE
    }


def test_one_way_is_proved_by_the_nodes_beside_it_or_it_is_said_where_more_must_be_read() -> None:
    buckets, nodes, root = whole()
    beside = {place: digest for place, digest in nodes.items() if MINE.startswith(place[:-1])}
    mine = Part({MINE: buckets[MINE]}, beside)
    assert prove(mine, root).open == set()
    # Another leaf in the bucket: more reading would change nothing.
    assert lost(Part({MINE: {}}, beside), root) == {MINE}
    assert prove(Part({MINE: {}}, beside), root).open == set()

    beside[next(each for each in beside if len(each) == 1 and each != MINE[0])] = FORGED
    assert lost(mine, root) == {MINE}
    assert prove(mine, root).open == {""}
    # What was proved of these sixteen before is as good, and what was made up is not.
    children = {digit: nodes.get(digit, "") for digit in DIGITS}
    assert proved(mine, prove(mine, root, {root: children}.get)).buckets == mine.buckets
    assert prove(mine, root, {root: children | {"0": FORGED}}.get).open == {""}


def test_an_empty_tree_proves_that_nothing_is_in_it() -> None:
    assert lost(Part({MINE: {}}, {}), "") == set()
    assert lost(Part({MINE: {"client/c7": "x"}}, {MINE[0]: FORGED}), "") == {MINE}


def test_which_nodes_are_stored_otherwise_is_found() -> None:
    buckets, nodes, root = whole()
    nodes[MINE[:2]], nodes["zzzz"] = FORGED, FORGED
    right = path_digests(Part(buckets, {}))[MINE[:2]]
    part = Part(buckets, nodes)

    assert differing(part, prove(part, root)) == {MINE[:2]: right}
    assert differing(part, Proof({"": root}, frozenset())) == {}
