"""A mail server that accepts mail, and misbehaves as mail servers do. It really speaks SMTP (aiosmtpd)."""

import asyncio
import socket
import ssl
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.sim.postgres import free_port

HOST = "127.0.0.1"
USER, PASSWORD = "hilum", "mail secret"
DROP = "drop"
Behave = Callable[[str, str], str | None]
"""Called at each step with the recipient; returns the reply, None for the usual one, or DROP to end the connection. Steps: MAIL, RCPT, CONTENT, ACCEPTED, RSET."""


@dataclass
class MailServer:
    """``mails`` are those that it accepted, and answers for. ``behave`` may be replaced at any time."""

    port: int = 0
    mails: list[tuple[str, EmailMessage]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    """The client's end of each connection that named a sender."""
    behave: Behave = lambda _step, _to: None
    signed_in: list[str] = field(default_factory=list)
    certificate: Path | None = None

    @property
    def accepted(self) -> Counter[str]:
        """Return how often each Message-ID was accepted."""
        return Counter(str(mail["Message-ID"]) for _, mail in self.mails)

    async def _reply(self, server: SMTP, step: str, to: str, usual: str) -> str:
        self.steps.append(step)
        # In a thread: a behaviour may wait, and others are served meanwhile.
        reply = await asyncio.to_thread(self.behave, step, to) or usual
        if reply == DROP:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return reply

    async def handle_RSET(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        return await self._reply(server, "RSET", "", "250 OK")

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.connections.add(session.peer)
        reply = await self._reply(server, "MAIL", "", "250 OK")
        if reply.startswith("250"):
            envelope.mail_from = address
        return reply

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        reply = await self._reply(server, "RCPT", address, "250 OK")
        if reply.startswith("250"):
            envelope.rcpt_tos.append(address)
        return reply

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos[0]
        before = await self._reply(server, "CONTENT", to, "")
        if before:
            return before
        assert isinstance(envelope.content, bytes)
        found = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append((to, found))
        # Accepted from here on, whatever becomes of the answer.
        return await self._reply(server, "ACCEPTED", to, "250 OK")


@contextmanager
def mail_server(
    *, tls: str = "none", folder: Path | None = None, signs_in: bool = False
) -> Iterator[MailServer]:
    """Serve until the block ends. ``tls`` is none, starttls or implicit; the certificate lies in ``folder``."""
    made = MailServer()
    context = None
    if tls != "none":
        assert folder is not None
        made.certificate, context = _certificate(folder)

    def check(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        made.signed_in.append(data.login.decode())
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    # Offered over STARTTLS only, which is all that aiosmtpd does without a warning.
    more: dict[str, Any] = {"authenticator": check, "auth_required": True} if signs_in else {}
    if tls == "starttls":
        more |= {"tls_context": context, "require_starttls": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        controller = Controller(
            made,
            hostname=HOST,
            port=free_port(),
            ssl_context=context if tls == "implicit" else None,
            **more,
        )
        controller.start()
    made.port = controller.port
    try:
        yield made
    finally:
        controller.stop()


def _certificate(folder: Path) -> tuple[Path, ssl.SSLContext]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "mail.pem", folder / "mail.key"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return chain, context


@contextmanager
def silent_server(*lines: bytes, drip: bytes = b"", pause_s: float = 0.05) -> Iterator[int]:
    """Serve a port that sends ``lines``, one for each line that it receives, and then ``drip`` again and again, but no whole answer."""
    stop = threading.Event()
    with socket.create_server((HOST, 0)) as listening:
        listening.settimeout(0.1)

        def serve(connection: socket.socket) -> None:
            with connection:
                connection.settimeout(5)
                try:
                    for line in lines:
                        connection.sendall(line)
                        if line is not lines[-1]:
                            connection.recv(4096)
                    while not stop.wait(pause_s):
                        connection.sendall(drip)
                except OSError:
                    return

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listening.accept()
                except OSError:
                    continue
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            stop.set()
            thread.join()
