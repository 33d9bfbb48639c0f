"""What is kept of a request's head is what would be read of it now."""

from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.gateway.heads import HEAD_BYTES_BOUND, HEADS_BOUND, Head, Heads

METHODS = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "get"])
PATHS = st.sampled_from(
    [
        b"/t/a/fhir/Patient/p1",
        b"/t/b/fhir/Patient/p1",
        b"/t/a/fhir/Observation",
        b"/t/a/fhir",
        b"/t/a/oauth",
        b"/t/a/fhir/%2e",
    ]
)
QUERIES = st.sampled_from([b"", b"patient=p1", b"patient=p1&_count=5", b"_method=DELETE", b"x=hil_at_secret"])
MEANT = st.sampled_from(
    [[], ["accept", "*/*"], ["if-none-match", "*"], ["accept", "application/xml"], ["x-http-method", "PUT"]]
)


def parts_of(head: Head) -> object:
    asked = (head.tenant, head.method, head.path, head.query, head.meant)
    return asked, head.recorded_path, head.recorded_query, head.request, head.body_bound


@given(asked=st.lists(st.tuples(METHODS, PATHS, QUERIES, MEANT), max_size=12))
@settings(deadline=None)
def test_a_head_that_is_kept_is_read_as_it_would_be_now(
    asked: list[tuple[str, bytes, bytes, list[str]]],
) -> None:
    heads = Heads()

    for each in (*asked, *asked, *asked):
        assert parts_of(heads.read(*each)) == parts_of(Heads().read(*each))


def test_a_head_is_kept_once_it_comes_again() -> None:
    heads = Heads()
    asked = ("GET", b"/t/a/fhir/Patient/p1", b"", ["accept", "*/*"])

    first, second, third = (heads.read(*asked) for _ in range(3))

    assert not first.is_kept
    assert first is not second is third
    assert third.is_kept
    assert heads.read("GET", b"/t/a/fhir/Patient/p1", b"", []) is not third


def test_heads_that_are_kept_are_bounded_in_number_and_size() -> None:
    heads = Heads()
    long = ("GET", b"/t/a/fhir/Patient", b"_id=" + b"x" * HEAD_BYTES_BOUND, list[str]())

    for number in range(HEADS_BOUND + 50):
        for _ in range(2):
            heads.read("GET", b"/t/a/fhir/Patient/%d" % number, b"", [])

    assert len(heads._kept) == HEADS_BOUND
    assert not any(heads.read(*long).is_kept for _ in range(3))
