"""Which connections are closed when most places are taken (C201, security decision 26)."""

import socket
from collections import Counter
from contextlib import ExitStack

from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.server.connections import FILES, HIGH, LOW, SILENT_MS, Connections, Peer, to_close
from tests.effort import effort

BOUND = 20
PEERS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 3 * SILENT_MS)), max_size=BOUND
).map(lambda found: [Peer(at, network, silent) for at, (network, silent) in enumerate(found)])


@given(PEERS)
@settings(max_examples=effort(70, 5_000), deadline=None)
def test_only_silent_connections_are_closed_and_only_when_most_places_are_taken(peers: list[Peer]) -> None:
    chosen = to_close(peers, BOUND)

    assert all(each.silent_ms >= SILENT_MS for each in chosen)
    assert len(set(chosen)) == len(chosen) <= max(0, len(peers) - int(BOUND * LOW))
    assert not chosen or len(peers) > BOUND * HIGH


def test_the_largest_holder_loses_first_and_its_longest_silent_ones() -> None:
    crowd = [Peer(at, "crowd", SILENT_MS + at) for at in range(14)]
    others = [Peer(100 + at, f"other-{at}", 10 * SILENT_MS) for at in range(3)]

    chosen = to_close(crowd + others, BOUND)

    assert Counter(each.network for each in chosen) == {"crowd": len(chosen)}
    assert [each.file for each in chosen] == [13, 12, 11, 10, 9, 8, 7]


def test_connections_are_found_among_open_files_and_nothing_else_is_touched() -> None:
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        elsewhere = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=64))
        pair = [stack.enter_context(each) for each in socket.socketpair()]
        file = stack.enter_context(open(__file__, encoding="utf-8"))
        made = []
        for at, server in enumerate([listening] * 5 + [elsewhere] * 5):
            made.append(stack.enter_context(socket.create_connection(server.getsockname())))
            accepted, _ = server.accept()
            stack.enter_context(accepted)
            made[at].settimeout(1)
        looked = Connections(4, listening.getsockname()[1])

        found = [looked._peer(int(each.name)) for each in FILES.iterdir()]

        assert [each.network for each in found if each is not None] == ["127.0.0.1"] * 5
        assert looked.close_surplus() == 0, "none has been silent for long"
        pair[0].send(b"x")
        assert pair[1].recv(1) == b"x"
        assert file.read(3) == '"""'
        for each in made:
            each.send(b"x")
