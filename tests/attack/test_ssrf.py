"""Addresses that others wrote down (C10, security decision 15): they must not lead us anywhere but to a public host."""

import asyncio
import gzip
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.infra.fetch import BODY_BOUND, Fetched, FetchRefused, SafeFetcher, may_connect
from hilum.foundation.kernel.errors import Unavailable
from tests.sim.jwks_host import JwksHost, Page, running

PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "fec0::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.1.2.3",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.fixture
def host() -> Iterator[JwksHost]:
    with running() as made:
        yield made


def leading_to(*addresses: str, asked: list[str] | None = None) -> SafeFetcher:
    async def resolve(name: str, _port: int) -> list[str]:
        if asked is not None:
            asked.append(name)
        return list(addresses)

    return SafeFetcher(allow_private=False, resolve=resolve)


def fetch(fetcher: SafeFetcher, url: str) -> Fetched:
    return asyncio.run(fetcher.get(url))


def loopback(**more: Any) -> SafeFetcher:
    return SafeFetcher(allow_private=True, **more)


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_resolves_to_a_private_address_is_not_connected_to(address: str) -> None:
    with pytest.raises(FetchRefused, match=r"not (a )?public"):
        fetch(leading_to(address), "https://keys.example/jwks.json")


@pytest.mark.parametrize("address", PRIVATE)
def test_one_private_address_among_public_ones_refuses_the_name(address: str) -> None:
    """DNS rebinding by a record with two answers."""
    with pytest.raises(FetchRefused):
        fetch(leading_to("93.184.216.34", address), "https://keys.example/jwks.json")


@pytest.mark.parametrize(
    "host_part",
    [
        "127.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fd00:ec2::254]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1:8443",
    ],
)
def test_a_private_address_written_out_is_refused_before_anything_is_resolved(host_part: str) -> None:
    asked: list[str] = []

    with pytest.raises(FetchRefused):
        fetch(leading_to("93.184.216.34", asked=asked), f"https://{host_part}/jwks.json")

    assert asked == []


@pytest.mark.parametrize(
    "name", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "ip6-localhost"]
)
def test_other_spellings_of_loopback_do_not_get_through(name: str) -> None:
    with pytest.raises(Unavailable):
        fetch(SafeFetcher(allow_private=False), f"https://{name}/jwks.json")


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/jwks.json",
        "ftp://keys.example/jwks.json",
        "file:///etc/passwd",
        "gopher://keys.example/",
        "//keys.example/jwks.json",
        "jwks.json",
        "",
        "https://",
        "https:///jwks.json",
        "https://user:pass@keys.example/jwks.json",
        "https://keys.example@127.0.0.1/jwks.json",
        "https://keys.example/jwks.json#x",
        "https://keys.example:0/jwks.json",
        "https://keys.example:99999/jwks.json",
        "https://keys.example/ jwks.json",
        "https://keys.example\\@127.0.0.1/",
        "https://keys.example/\r\nHost: x",
        "https://[::1/jwks.json",
        "https://kéys.example/jwks.json",
        "https://keys.example/" + "a" * 3_000,
    ],
)
def test_only_plain_https_addresses_are_fetched(url: str) -> None:
    asked: list[str] = []

    with pytest.raises(FetchRefused):
        fetch(leading_to("93.184.216.34", asked=asked), url)

    assert asked == []


def test_a_name_is_resolved_once_so_that_what_is_connected_to_is_what_was_checked() -> None:
    """DNS rebinding: a second look-up could have another answer."""
    asked: list[str] = []

    with pytest.raises(Unavailable):
        fetch(leading_to(asked=asked), "https://keys.example/jwks.json")

    assert asked == ["keys.example"]


def test_a_plain_sandbox_reaches_loopback_and_nothing_else_that_is_private(host: JwksHost) -> None:
    host.serve({"keys": []})

    assert fetch(loopback(), host.jwks_uri).body == b'{"keys": []}'
    for address in ("10.0.0.1", "169.254.169.254", "192.168.0.1", "[fd00::1]"):
        with pytest.raises(FetchRefused):
            fetch(loopback(), f"http://{address}/jwks.json")
    assert not may_connect("10.0.0.1", allow_private=True)


def test_without_tls_only_loopback_is_read_even_in_a_sandbox() -> None:
    async def resolve(_name: str, _port: int) -> list[str]:
        return ["93.184.216.34"]

    with pytest.raises(FetchRefused, match="TLS"):
        fetch(SafeFetcher(allow_private=True, resolve=resolve), "http://keys.example/jwks.json")
    with pytest.raises(FetchRefused, match="TLS"):
        fetch(SafeFetcher(allow_private=True, resolve=resolve), "http://93.184.216.34/jwks.json")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_not_followed(host: JwksHost, status: int) -> None:
    with running() as inner:
        inner.serve({"keys": []})
        host.pages["/jwks.json"] = Page(status, {"Location": inner.jwks_uri})

        with pytest.raises(FetchRefused, match="another origin"):
            fetch(loopback(), host.jwks_uri)

        assert inner.asked == []


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "//10.0.0.1/x",
        "https://127.0.0.1/jwks.json",
        "file:///etc/passwd",
        "http://localhost/",
        "http://user@127.0.0.1/",
    ],
)
def test_a_redirect_to_a_private_address_or_another_scheme_is_not_followed(
    host: JwksHost, location: str
) -> None:
    host.pages["/jwks.json"] = Page(302, {"Location": location})

    with pytest.raises(FetchRefused):
        fetch(loopback(), host.jwks_uri)

    assert host.times_asked() == 1


def test_a_redirect_within_the_host_is_followed_and_a_loop_is_not_for_ever(host: JwksHost) -> None:
    host.pages["/old"] = Page(302, {"Location": "/jwks.json"})
    host.serve({"keys": []})
    host.pages["/loop"] = Page(302, {"Location": "/loop"})

    assert fetch(loopback(), f"{host.origin}/old").status == 200
    with pytest.raises(FetchRefused, match="too often"):
        fetch(loopback(), f"{host.origin}/loop")

    assert host.times_asked("/loop") == 4


def test_a_slow_answer_is_given_up(host: JwksHost) -> None:
    host.serve({"keys": []})
    host.pages["/jwks.json"].before_body = host.closing.wait

    with pytest.raises(Unavailable, match="in time"):
        fetch(loopback(deadline=timedelta(milliseconds=200)), host.jwks_uri)


def test_a_huge_answer_is_given_up(host: JwksHost) -> None:
    host.pages["/jwks.json"] = Page(body=b" " * (BODY_BOUND + 1))

    with pytest.raises(Unavailable, match="larger than"):
        fetch(loopback(), host.jwks_uri)


def test_a_compressed_answer_that_nobody_asked_for_is_not_unpacked(host: JwksHost) -> None:
    host.pages["/jwks.json"] = Page(
        headers={"Content-Encoding": "gzip"}, body=gzip.compress(b"0" * 50_000_000)
    )

    with pytest.raises(Unavailable):
        fetch(loopback(), host.jwks_uri)


def test_a_fetch_carries_no_credentials_and_no_cookies(host: JwksHost) -> None:
    host.serve({"keys": []})
    host.pages["/jwks.json"].headers["Set-Cookie"] = "a=b; Path=/"
    fetcher = loopback()

    async def twice() -> None:
        await fetcher.get(host.jwks_uri)
        await fetcher.get(host.jwks_uri)

    asyncio.run(twice())

    assert len(host.asked) == 2
    assert not any({"cookie", "authorization", "proxy-authorization"} & set(sent) for _, sent in host.asked)


def test_a_host_that_does_not_answer_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        fetch(loopback(), "http://127.0.0.1:9/jwks.json")


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_however_ipv6_wraps_it(address: object) -> None:
    plain = may_connect(str(address), allow_private=False)

    assert may_connect(f"::ffff:{address}", allow_private=False) == plain
    assert may_connect(f"64:ff9b::{address}", allow_private=False) == plain
    # In a global prefix, ISATAP is judged by what it embeds (RFC 5214 section 6.1).
    assert may_connect(f"2a00:1450::5efe:{address}", allow_private=False) == plain
    assert may_connect(f"2a00:1450::200:5efe:{address}", allow_private=False) == plain
    # IPv4-translated (RFC 7915) is never an address of the Internet.
    assert not may_connect(f"::ffff:0:{address}", allow_private=False)


@pytest.mark.parametrize("address", ["3fff::1", "5f00::1", "64:ff9b:1::1", "fec0::1", "4000::1", "100::1"])
def test_what_is_outside_global_unicast_is_never_connected_to(address: str) -> None:
    """RFC 9637, RFC 9602, RFC 8215, RFC 3879, RFC 4291 section 2.4, RFC 6666."""
    assert not may_connect(address, allow_private=False)


@given(st.ip_addresses(v=6))
def test_what_is_not_global_is_never_connected_to(address: object) -> None:
    if not address.is_global:  # type: ignore[attr-defined]
        assert not may_connect(str(address), allow_private=False) or address.ipv4_mapped  # type: ignore[attr-defined]


@given(st.text(max_size=60))
def test_no_text_makes_the_fetcher_fail_otherwise_than_by_refusing(text: str) -> None:
    with pytest.raises(Unavailable):
        fetch(leading_to("127.0.0.1"), text)
