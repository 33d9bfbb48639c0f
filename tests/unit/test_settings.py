"""Settings are judged name by name before anything is opened (contract, Modes)."""

import pytest

from hilum.foundation.infra import settings
from hilum.foundation.kernel.errors import Invalid

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
    "HILUM_KEEP_SNAPSHOTS_DAYS": "10",
    "HILUM_KEEP_USED_TOKENS_DAYS": "30",
    "HILUM_TRUSTED_PROXIES": "192.0.2.1",
    "HILUM_SANDBOX_PUBLIC": "1",
    "HILUM_SMTP_HOST": "mail.example",
    "HILUM_SMTP_PORT": "2525",
    "HILUM_SMTP_TLS": "implicit",
    "HILUM_SMTP_USERNAME": "hilum",
    "HILUM_SMTP_PASSWORD": "mail secret",
    "HILUM_SMTP_FROM": "hilum@hospital.example",
    "HILUM_SMTP_CA": "/etc/ssl/mail.pem",
}
MAIL = {"HILUM_SMTP_HOST": "mail.example", "HILUM_SMTP_FROM": "hilum@hospital.example"}
NEEDED = {"HILUM_SMTP_HOST": {"HILUM_SMTP_FROM": "hilum@hospital.example"}}
"""What a setting cannot be without."""


@pytest.mark.parametrize("name", [each.name for each in settings.SETTINGS])
def test_every_documented_setting_has_an_effect(name: str) -> None:
    """C201: the bounds on connections and on requests of a source are those that the operator set."""
    base = KEY | NEEDED.get(name, {})

    assert settings.read(base | {name: OTHER_VALUES[name]}) != settings.read(base)


@pytest.mark.parametrize("name", [each.name for each in settings.SETTINGS if each.default.isdigit()])
@pytest.mark.parametrize("value", ["-1", "0", "ten", "1_000", "9999999"])
def test_a_number_out_of_its_range_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(Invalid) as refused:
        settings.read(KEY | {name: value})

    assert list(refused.value.fields) == [name]


def test_the_bounds_on_strangers_are_those_that_the_operator_set() -> None:
    """C201."""
    read = settings.read(KEY | {"HILUM_CONNECTIONS": "1024", "HILUM_SOURCE_REQUESTS": "64"})

    assert (read.connections, read.source_requests) == (1_024, 64)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("HILUM_SMTP_FROM", {"HILUM_SMTP_FROM": ""}),
        ("HILUM_SMTP_FROM", {"HILUM_SMTP_FROM": "hilum@hospital.example\nBcc: x@y.example"}),
        ("HILUM_SMTP_FROM", {"HILUM_SMTP_FROM": "Hilum <hilum@hospital.example>"}),
        ("HILUM_SMTP_HOST", {"HILUM_SMTP_HOST": "mail.example/x"}),
        ("HILUM_SMTP_PORT", {"HILUM_SMTP_PORT": "0"}),
        ("HILUM_SMTP_PORT", {"HILUM_SMTP_PORT": "65536"}),
        ("HILUM_SMTP_TLS", {"HILUM_SMTP_TLS": "ssl"}),
        ("HILUM_SMTP_TLS", {"HILUM_SMTP_TLS": "none"}),
        ("HILUM_SMTP_PASSWORD", {"HILUM_SMTP_USERNAME": "hilum"}),
        ("HILUM_SMTP_PASSWORD", {"HILUM_SMTP_PASSWORD": "secret"}),
        ("HILUM_SMTP_CA", {"HILUM_SMTP_CA": "/nowhere/ca.pem"}),
    ],
)
def test_a_mail_server_that_cannot_be_used_safely_is_refused_at_start(
    name: str, change: dict[str, str]
) -> None:
    """Without TLS a one-time link or a password would cross the network in clear text."""
    with pytest.raises(Invalid) as refused:
        settings.read(KEY | MAIL | change)

    assert list(refused.value.fields) == [name]


def test_only_a_mail_server_on_this_machine_may_be_without_tls() -> None:
    read = settings.read(KEY | MAIL | {"HILUM_SMTP_HOST": "127.0.0.1", "HILUM_SMTP_TLS": "none"})

    assert (read.smtp.tls, read.smtp.port) == ("none", 587)


def test_the_mail_password_is_not_in_the_text_of_the_settings() -> None:
    account = {"HILUM_SMTP_USERNAME": "hilum", "HILUM_SMTP_PASSWORD": "mail secret"}

    assert "mail secret" not in repr(settings.read(KEY | MAIL | account))
