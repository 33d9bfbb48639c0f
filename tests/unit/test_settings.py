"""Settings are judged name by name before anything is opened (contract, Modes)."""

import pytest

from hilum.infra import settings
from hilum.kernel.errors import Invalid

KEY = {"HILUM_SECRET_KEY": "k" * 32}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HILUM_BASE_URL", "http://127.0.0.1:99999"),
        ("HILUM_BASE_URL", "http://127.0.0.1:x"),
        ("HILUM_BASE_URL", "http://[::1"),
        ("HILUM_BASE_URL", "https://hilum.example/"),
        ("HILUM_SANDBOX_URL", "http://[::1"),
        ("HILUM_LISTEN", "junk"),
        ("HILUM_LISTEN", ":8000"),
        ("HILUM_LISTEN", "127.0.0.1"),
        ("HILUM_LISTEN", "127.0.0.1:x"),
        ("HILUM_LISTEN", "127.0.0.1:70000"),
        ("HILUM_LISTEN", "http://127.0.0.1:8000"),
        ("HILUM_SANDBOX_LISTEN", "[::1:8001"),
        ("HILUM_WORKERS", "²"),
        ("HILUM_WORKERS", "0"),
        ("HILUM_WORKERS", "65"),
        ("HILUM_WORKERS", "9" * 5_000),
    ],
)
def test_a_setting_that_cannot_be_taken_is_named(name: str, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        settings.read(KEY | {name: value})

    assert list(refused.value.fields) == [name]


@pytest.mark.parametrize("listen", ["0.0.0.0:8000", "[::1]:8000", "localhost:1", "hilum.example:65535"])
def test_a_host_and_a_port_are_an_address(listen: str) -> None:
    assert settings.read(KEY | {"HILUM_LISTEN": listen}).listen == listen


OTHER_VALUES = {
    "HILUM_MODE": "sandbox",
    "HILUM_BASE_URL": "https://hilum.example",
    "HILUM_SANDBOX_URL": "http://localhost:9001",
    "HILUM_DATABASE_URL": "postgresql://hilum@db/hilum",
    "HILUM_DATA_DIR": "/srv/hilum",
    "HILUM_AUDIT_ANCHOR": "/mnt/anchor/audit.log",
    "HILUM_SECRET_KEY": "l" * 32,
    "HILUM_LISTEN": "127.0.0.1:9000",
    "HILUM_SANDBOX_LISTEN": "127.0.0.1:9001",
    "HILUM_OPS_LISTEN": "off",
    "HILUM_WORKERS": "4",
    "HILUM_NODE": "node-2",
    "HILUM_CONNECTIONS": "1024",
    "HILUM_SOURCE_REQUESTS": "64",
    "HILUM_KEEP_ACCESSES_DAYS": "100",
    "HILUM_KEEP_EVENTS_DAYS": "100",
    "HILUM_KEEP_LAUNCHES_DAYS": "10",
    "HILUM_KEEP_USED_TOKENS_DAYS": "30",
    "HILUM_TRUSTED_PROXIES": "192.0.2.1",
    "HILUM_SANDBOX_PUBLIC": "1",
}


@pytest.mark.parametrize("name", [each.name for each in settings.SETTINGS])
def test_every_documented_setting_has_an_effect(name: str) -> None:
    """C201: the bounds on connections and on requests of a source are those that the operator set."""
    assert settings.read(KEY | {name: OTHER_VALUES[name]}) != settings.read(KEY)


def test_the_bounds_on_strangers_are_those_that_the_operator_set() -> None:
    """C201."""
    read = settings.read(KEY | {"HILUM_CONNECTIONS": "1024", "HILUM_SOURCE_REQUESTS": "64"})

    assert (read.connections, read.source_requests) == (1_024, 64)
