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
