"""Networks that backend services are pinned to: read, compared, and asked about an address (C213)."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hilum.apps.installations.models import NETWORKS_BOUND
from hilum.apps.installations.policy import is_from, networks_of, pins_further

V4, V6 = "192.0.2.0/24", "2001:db8::/48"


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], ()),
        ([V6, V4, V4], (V4, V6)),
        (["192.0.2.7"], ("192.0.2.7/32",)),
        (["2001:DB8:0:0::1"], ("2001:db8::1/128",)),
        (["192.0.2.1/24"], "network_malformed"),
        (["192.0.2.0/33"], "network_malformed"),
        (["hospital.example"], "network_malformed"),
        ([""], "network_malformed"),
        (["192.0.2.0/-1"], "network_malformed"),
        (["0300.0.2.0/24"], "network_malformed"),
        (["0.0.0.0/0"], "network_of_everything"),
        (["::/0"], "network_of_everything"),
        ([f"10.0.{n}.0/24" for n in range(NETWORKS_BOUND)], tuple(f"10.0.{n}.0/24" for n in range(NETWORKS_BOUND))),
        ([f"10.0.{n}.0/24" for n in range(NETWORKS_BOUND + 1)], "too_many"),
    ],
)  # fmt: skip
def test_networks_are_read_strictly(texts: list[str], found: tuple[str, ...] | str) -> None:
    """RFC 4632 section 3.1: a prefix with bits beyond it is a typing error, and which one was meant is not known."""
    assert networks_of(texts) == found


@pytest.mark.parametrize(
    ("networks", "source", "admitted"),
    [
        ((), "198.51.100.1", True),
        ((), "", True),
        ((V4,), "192.0.2.255", True),
        ((V4,), "192.0.3.0", False),
        ((V4,), "::ffff:192.0.2.1", True),
        ((V4,), "::ffff:192.0.3.1", False),
        ((V4,), "2001:db8::1", False),
        ((V6,), "2001:db8:0:ffff::1", True),
        ((V6,), "2001:db8:1::1", False),
        ((V6,), "192.0.2.1", False),
        ((V4, V6), "2001:db8::1", True),
        ((V4,), "", False),
        ((V4,), "unknown", False),
        ((V4,), "192.0.2.1:443", False),
        ((V6,), "[2001:db8::1]", False),
    ],
)
def test_an_address_is_in_a_network_or_refused(
    networks: tuple[str, ...], source: str, admitted: bool
) -> None:
    """RFC 4291 section 2.5.5.2 for IPv4-mapped addresses; what cannot be read is nowhere."""
    assert is_from(networks, source) is admitted


@pytest.mark.parametrize(
    ("after", "before", "further"),
    [
        ((V4,), (), True),
        ((), (), True),
        ((), (V4,), False),
        ((V4,), (V4,), True),
        (("192.0.2.128/25",), (V4,), True),
        (("192.0.2.0/23",), (V4,), False),
        ((V4, V6), (V4,), False),
        ((V4,), (V4, V6), True),
        ((V6,), (V4,), False),
    ],
)
def test_a_pin_goes_further_if_it_admits_nothing_new(
    after: tuple[str, ...], before: tuple[str, ...], further: bool
) -> None:
    assert pins_further(after, before) is further


# Few enough that many pairs go further, and many sources are admitted.
networks = st.lists(
    st.sampled_from(["192.0.2.0/24", "192.0.2.0/25", "192.0.2.1/32", "192.0.3.0/24", "192.0.0.0/16"]),
    max_size=3,
).map(tuple)
sources = st.sampled_from(["192.0.2.1", "192.0.2.200", "192.0.3.1", "192.0.9.9", "198.51.100.1"])


@given(networks, networks, sources)
def test_what_goes_further_admits_no_other_address(
    after: tuple[str, ...], before: tuple[str, ...], source: str
) -> None:
    assume(pins_further(after, before) and is_from(after, source))

    assert is_from(before, source)
