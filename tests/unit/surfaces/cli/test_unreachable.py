"""Why the command line cannot reach a platform, from the reason that urllib wraps."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from hilum.surfaces.cli import api
from tests.sim.tls_host import Authority


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (URLError(socket.gaierror(-2, "Name or service not known")), "cannot be resolved"),
        (
            URLError(ConnectionRefusedError(111, "Connection refused")),
            "was refused. Is the platform running?",
        ),
        (URLError(TimeoutError("timed out")), "timed out"),
        (TimeoutError("timed out"), "timed out"),
        (URLError("unknown url type: ftp"), "unknown url type: ftp"),
        (URLError(ssl.SSLError(1, "wrong version number")), "wrong version number"),
        (ConnectionResetError(), "ConnectionResetError"),
    ],
)
def test_the_reason_behind_a_failed_call_is_named(error: Exception, why: str) -> None:
    assert why in api.why_unreachable(error)


@contextmanager
def presenting(context: ssl.SSLContext) -> Iterator[int]:
    """Serve a port that presents a certificate once, and answers nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def handshake() -> None:
            with suppress(OSError), context.wrap_socket(listening.accept()[0], server_side=True):
                pass

        thread = threading.Thread(target=handshake, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


@pytest.mark.parametrize(
    ("certificate", "trusts", "hint"),
    [
        ({"host": "localhost"}, False, True),
        ({"host": "localhost", "trusted": False}, True, True),
        ({"host": "localhost", "expired": True}, True, False),
        ({"host": "elsewhere.example"}, True, False),
    ],
    ids=["private authority", "self-signed", "expired", "of another host"],
)
def test_a_private_authority_is_told_how_to_be_trusted(
    certificate: dict[str, Any],
    trusts: bool,
    hint: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    authority = Authority(tmp_path)
    if trusts:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))

    with presenting(authority.server(**certificate)) as port, pytest.raises(SystemExit):
        monkeypatch.setenv("HILUM_API_URL", f"https://localhost:{port}")
        api.call("GET", "/apps", open_=True)

    shown = capsys.readouterr().err
    assert "certificate is not trusted" in shown
    assert ("SSL_CERT_FILE" in shown) is hint
