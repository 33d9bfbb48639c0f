"""The chain as pure values: any edit, removal or reorder is detected, and encoding loses nothing."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.records.audit import encoding, policy
from hilum.records.audit.journal_records import link_batch
from hilum.records.audit.models import FOUND_BOUND, Access, Checkpoint, Outcome
from tests.sim.world import SeededIds

FIRST = policy.genesis("access", "node")
texts = st.text(max_size=40)
accesses = st.builds(
    Access,
    request_id=st.text(st.characters(min_codepoint=48, max_codepoint=122), min_size=1, max_size=30),
    decision=texts,
    at=st.datetimes(timezones=st.just(UTC)),
    tenant=texts,
    interaction=texts,
    resource_type=texts,
    status=st.integers(100, 599),
    outcome=st.sampled_from(Outcome),
    reason=texts,
    rule=texts,
    detail=texts,
    app=texts,
    count=st.integers(1, 10**6),
    path=texts,
    query=texts,
    patient=texts,
    returned=st.integers(0, 200),
)


def chain(made: list[Access], first: bytes = FIRST) -> list[policy.Row]:
    batch = link_batch(made, first, SeededIds())
    return [
        (n, encoding.covered(request_id, header), digest, stored, salt, body)
        for n, (request_id, header, digest, stored, salt, body) in enumerate(
            zip(
                batch.request_ids,
                batch.headers,
                batch.digests,
                batch.hashes,
                batch.salts,
                batch.bodies,
                strict=True,
            ),
            1,
        )
    ]


def faults(
    rows: list[policy.Row], *, head: policy.Row | None = None, first: bytes = FIRST
) -> tuple[str, ...]:
    found = policy.Faults()
    required = {head[0]: {head[3]}} if head else {}
    policy.verify_chain(
        "access/node", first, iter(rows), required=required, covered=0, may_lack=lambda _: False, faults=found
    )
    return found.sentences()


@given(accesses)
def test_an_access_comes_back_as_it_was_written(made: Access) -> None:
    header, body = encoding.encode(made)
    back = encoding.decode(made.request_id, header, body)

    assert back == (made if made.decision else encoding.decode(made.request_id, header, body))
    assert encoding.at_of(header) == made.at


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z0-9.-]{1,64}", fullmatch=True), st.integers(1, 200), min_size=1)
)
def test_whom_an_answer_showed_comes_back_with_how_many_of_each(counts: dict[str, int]) -> None:
    """C94: in the payload, which is purged; a release before reads such a record, without them."""
    made = replace(chain_sample(), returned=sum(counts.values()), found=policy.found_text(counts))

    header, body = encoding.encode(made)
    back = encoding.decode("req_1", header, body)

    assert back == made
    assert policy.found_in(back) == counts
    assert all(policy.is_about(back, each) for each in counts)
    assert encoding.decode("req_1", header, None).found == ""
    assert len(orjson.loads(body)) == 5


@pytest.mark.parametrize("digest", ["", "ab" * 32])
@pytest.mark.parametrize("resource", ["", "Appointment/a1", "Appointment/a1/_history/2"])
@pytest.mark.parametrize("found", ["", "p1:1 p2:1", "p1:1 +3"])
def test_whose_record_was_written_comes_back_beside_where_it_is(
    digest: str, resource: str, found: str
) -> None:
    """C94."""
    made = replace(chain_sample(), digest=digest, resource=resource, found=found)

    back = encoding.decode("req_1", *encoding.encode(made))

    written = bool(digest or resource)
    assert (back.digest, back.resource) == (digest, resource)
    assert back.found == (found if written else "")


def test_of_more_patients_than_a_record_lists_their_number_is_kept() -> None:
    counts = {f"p{n}": 1 for n in range(FOUND_BOUND + 3)}

    text = policy.found_text(counts)

    assert text.endswith(f"p{FOUND_BOUND - 1}:1 +3")
    assert len(policy.found_in(replace(chain_sample(), found=text))) == FOUND_BOUND


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"7",
        b"{}",
        b"[]",
        b'["/p"]',
        b'["/p","","p1","found"]',
        b'["/p","","p1","found","x y:1"]',
        b"\xff",
    ],
)
def test_a_payload_that_somebody_edited_stops_no_reader(payload: bytes) -> None:
    """Verifying the chain finds it. Until then the record is read as one whose payload is gone."""
    header, _ = encoding.encode(chain_sample())

    assert encoding.decode("req_1", header, payload) == encoding.decode("req_1", header, None)


@pytest.mark.parametrize("found", ["", "+3", "p1", ":", "p1:", "p1:x", ":3", "p1:\u0663x"])
def test_a_text_that_somebody_edited_names_nobody(found: str) -> None:
    assert policy.found_in(replace(chain_sample(), found=found)) == {}


def test_an_id_that_is_a_part_of_another_finds_nothing_of_it() -> None:
    made = replace(chain_sample(), found="p10:1 ap1:2", returned=3)

    assert not policy.is_about(made, "p1")
    assert policy.is_about(made, "p10")


def test_what_was_recorded_before_answers_were_counted_reads_as_before() -> None:
    header, _ = encoding.encode(chain_sample())

    read = encoding.decode("req_1", header, b'["Patient","","p1"]')
    write = encoding.decode("req_1", header, b'["Patient","","p1","ab12","Patient/p1"]')

    assert (read.patient, read.returned, read.found, read.resource) == ("p1", 0, "", "")
    assert (write.digest, write.resource, write.found) == ("ab12", "Patient/p1", "")


def test_what_is_no_unicode_is_written_all_the_same() -> None:
    """A stranger's bytes must not fail the batch that others wait for."""
    made = replace(chain_sample(), path="Patient/\udcff", query="a=\ud800", detail="\udfff!")

    header, body = encoding.encode(made)
    back = encoding.decode(made.request_id, header, body)

    assert (back.path, back.query, back.detail) == ("Patient/?", "a=?", "?!")


def chain_sample() -> Access:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    return Access("req_1", "req_1", at, "general", "read", "Patient", 200, Outcome.DONE)


@given(accesses)
def test_path_query_and_patient_are_in_the_payload_only(made: Access) -> None:
    """Security decision 5: they are PHI."""
    values = [text for text in (made.path, made.query, made.patient) if len(text) > 12]
    header, _ = encoding.encode(made)
    told = {made.tenant, made.interaction, made.resource_type, made.reason, made.rule, made.detail, made.app}

    for text in values:
        if not any(text in other for other in told | {made.decision}):
            assert text.encode() not in header


@given(st.lists(accesses, min_size=1, max_size=6))
def test_an_untouched_chain_has_no_fault(made: list[Access]) -> None:
    rows = chain(made)

    assert faults(rows, head=rows[-1]) == ()


@given(st.lists(accesses, min_size=1, max_size=5), st.data())
def test_any_edit_of_any_byte_is_detected(made: list[Access], data: st.DataObject) -> None:
    """House rule 12: any edit to the audit chain is detected (C152)."""
    rows = chain(made)
    at = data.draw(st.integers(0, len(rows) - 1))
    part = data.draw(st.sampled_from([1, 2, 3, 4, 5]))
    row: list[Any] = list(rows[at])
    place = data.draw(st.integers(0, len(row[part]) - 1))
    row[part] = (
        row[part][:place]
        + bytes([row[part][place] ^ data.draw(st.integers(1, 255))])
        + row[part][place + 1 :]
    )

    edited = [*rows[:at], tuple(row), *rows[at + 1 :]]

    assert faults(edited) != ()


@given(st.lists(accesses, min_size=2, max_size=6), st.data())
def test_any_removal_is_detected_below_a_head(made: list[Access], data: st.DataObject) -> None:
    rows = chain(made)
    at = data.draw(st.integers(0, len(rows) - 1))

    assert faults([*rows[:at], *rows[at + 1 :]], head=rows[-1]) != ()


@given(st.lists(accesses, min_size=2, max_size=6), st.data())
def test_any_reorder_is_detected_even_when_numbered_again(made: list[Access], data: st.DataObject) -> None:
    rows = chain(made)
    shuffled = data.draw(st.permutations(rows))
    numbered = [(n, *row[1:]) for n, row in enumerate(shuffled, 1)]

    if shuffled != rows:
        assert faults(numbered) != ()


@given(st.lists(accesses, min_size=1, max_size=5), accesses)
def test_a_chain_made_again_misses_its_head(made: list[Access], other: Access) -> None:
    rows = chain(made)
    forged = chain([other, *made[1:]])

    if forged[-1][3] != rows[-1][3]:
        assert faults(forged) == ()
        assert faults(forged, head=rows[-1]) != ()


@given(st.lists(accesses, min_size=1, max_size=3), texts)
def test_a_chain_under_another_writers_name_does_not_fit(made: list[Access], writer: str) -> None:
    if writer != "node":
        assert faults(chain(made), first=policy.genesis("access", writer)) != ()


LATER = datetime(2026, 3, 2, tzinfo=UTC) + policy.CHECKPOINTS_KEPT + timedelta(seconds=1)


def checkpoints(count: int) -> list[tuple[Checkpoint, bytes]]:
    made: list[tuple[Checkpoint, bytes]] = []
    previous = policy.NO_CHECKPOINT
    for n in range(1, count + 1):
        heads = {"access/node": (n, f"{n:064x}")}
        signed = policy.checkpoint_bytes(n, n, heads, previous)
        at = datetime(2026, 3, 2, tzinfo=UTC)
        made.append((Checkpoint(n, at, heads, "key_1", f"s{n}", previous), signed))
        previous = policy.checkpoint_digest(signed, f"s{n}")
    return made


EDITS: dict[str, Callable[[list[Any]], list[Any]]] = {
    "one removed": lambda all_: [*all_[:2], *all_[3:]],
    "the first removed": lambda all_: all_[1:],
    "two swapped": lambda all_: [*all_[:1], all_[2], all_[1], *all_[3:]],
    "one repeated": lambda all_: [*all_[:2], all_[1], *all_[2:]],
}


@pytest.mark.parametrize("name", EDITS)
def test_checkpoints_that_do_not_follow_each_other_are_found(name: str) -> None:
    found = policy.Faults()

    fold(EDITS[name](checkpoints(5)), found, now=LATER - timedelta(days=1))

    assert found.sentences() != ()


def fold(
    made: list[tuple[Checkpoint, bytes]],
    found: policy.Faults,
    unsigned: frozenset[int] = frozenset(),
    *,
    now: datetime | None = None,
) -> tuple[int, dict[str, Any]]:
    """Fold so long after they were made that old ones may have been thinned, unless it is said when."""
    return policy.fold_checkpoints(
        made, found, now=now or LATER, is_signed=lambda checkpoint, _: checkpoint.number not in unsigned
    )


@pytest.mark.parametrize(
    ("kept", "unsigned", "said"),
    [
        ({1, 1_000, 2_000}, set(), ""),
        ({1, 7, 1_000, 1_004, 2_000}, set(), ""),
        ({1, 2_000}, set(), "checkpoint 2 is missing"),
        ({1_000, 2_000}, set(), "checkpoint 1 is missing"),
        ({1, 1_000, 2_000}, {1_000}, "checkpoint 1000 is not signed"),
        ({1, 1_000, 2_000}, {2_000}, "checkpoint 2000 is not signed"),
    ],
)
def test_old_checkpoints_are_thinned_and_each_that_stays_is_verified(
    kept: set[int], unsigned: set[int], said: str
) -> None:
    found = policy.Faults()

    fold([one for one in checkpoints(2_000) if one[0].number in kept], found, frozenset(unsigned))

    assert [said in fault for fault in found.sentences()] == ([True] if said else [])


def test_what_is_deleted_is_what_may_lack() -> None:
    made = [checkpoint for checkpoint, _ in checkpoints(1_010)]
    latest = {"access/node": made[500].heads["access/node"]}

    kept = {one.number for one in made if policy.is_needed(one, latest, LATER)}

    assert kept == {1, 501, 1_000}, (
        "501 alone states the end of a chain, as in a release that stated each head once"
    )
    assert [policy.next_stride(number) for number in (1, 999, 1_000, 1_001)] == [1_000, 1_000, 1_000, 2_000]
    assert all(policy.is_needed(one, {}, made[0].at) for one in made), "none that is young"


def test_untouched_checkpoints_fold_to_the_latest_head() -> None:
    found = policy.Faults()

    count, heads = fold(checkpoints(5), found)

    assert found.sentences() == ()
    assert (count, heads) == (5, {"access/node": (5, f"{5:064x}")})


def test_a_chain_that_goes_back_is_found() -> None:
    """A restored backup, or a fork."""
    made = checkpoints(2)
    back = {"access/node": (1, "0" * 64)}
    previous = policy.checkpoint_digest(made[-1][1], made[-1][0].signature)
    signed = policy.checkpoint_bytes(3, 3, back, previous)
    forked = Checkpoint(3, made[0][0].at, back, "key_1", "s3", previous)
    found = policy.Faults()

    fold([*made, (forked, signed)], found)

    assert any("puts chain access/node back" in fault for fault in found.sentences())


def test_a_head_is_stated_only_when_it_moved() -> None:
    heads = {"a": (1, "x"), "b": (2, "y"), "c": (0, "z")}

    assert policy.changed(heads, {"a": (1, "x"), "b": (1, "w")}) == {"b": (2, "y")}
