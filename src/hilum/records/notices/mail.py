"""Hand a mail to the mail server over SMTP.

Source: RFC 5321 (SMTP), RFC 3207 (STARTTLS), RFC 4954 (AUTH), RFC 8314 (implicit TLS); docs/adr/0046-notices-leave-once.md
"""

import queue
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from io import BufferedIOBase
from typing import Any

from hilum.foundation.infra.settings import Smtp, SmtpTls
from hilum.records.notices import policy
from hilum.records.notices.delivery import HandOver
from hilum.records.notices.models import RECIPIENT_REFUSED, Attempt, Outcome, Result
from hilum.records.notices.templates import TEMPLATES

CONNECT_WITHIN = timedelta(seconds=10)
HANDED_WITHIN = timedelta(seconds=60)
"""How long everything before the content may take."""
ANSWERED_WITHIN = timedelta(minutes=10)
"""How long the server may take to answer the content: shorter, a slow server would often leave a mail unknown."""
LANES = 4
MAILS_BOUND = 100
"""Mails that leave over one connection. Servers bound this too, and say so by a refusal or by closing it."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    handed: timedelta = HANDED_WITHIN
    answered: timedelta = ANSWERED_WITHIN


@dataclass(frozen=True, slots=True)
class MailSender:
    """Sends mails through the configured server, many over one connection, and one at a time over each."""

    smtp: Smtp
    deadlines: Deadlines = Deadlines()
    _idle: "queue.SimpleQueue[_Connection]" = field(default_factory=queue.SimpleQueue)
    """Open connections, over which the last mail was accepted. The one that rested longest is used first."""

    def __call__(self, attempt: Attempt, hand_over: HandOver) -> Outcome:
        """Send one mail; ``hand_over`` is called once, after the server has accepted the recipient and before the content leaves."""
        template = TEMPLATES.get(attempt.notice.kind)
        if template is None:
            # Of a newer release, whose node will send it.
            return Outcome(Result.DEFERRED, "template_unknown")
        content = policy.compose(attempt.notice, template, sender=self.smtp.sender, link=attempt.link)
        connection, refused = self._announce(attempt.notice.recipient)
        outcome: Outcome | None = None
        try:
            if refused is not None:
                return refused
            if not hand_over():
                return Outcome(Result.LOST)
            with _closing(connection, self.deadlines.answered):
                outcome = connection.send(content)
            return outcome
        finally:
            # After anything else, the two sides may disagree about where they are.
            if outcome is not None and outcome.result is Result.ACCEPTED and connection.mails < MAILS_BOUND:
                self._idle.put(connection)
            else:
                connection.close()

    def _announce(self, recipient: str) -> tuple["_Connection", Outcome | None]:
        """Name sender and recipient over a connection; return it, and the outcome if the attempt ends with it."""
        with suppress(queue.Empty):
            used = self._idle.get_nowait()
            with _closing(used, self.deadlines.handed):
                refused = used.address(self.smtp.sender, recipient)
            if refused is None or refused.result is not Result.UNREACHABLE:
                return used, refused
            # The server closed it, or takes no more mail over it. It may over a new one, and no content has left.
            used.close()
        new = _Connection(self.smtp)
        with _closing(new, self.deadlines.handed):
            return new, new.open() or new.address(self.smtp.sender, recipient)

    def rest(self) -> None:
        """Close the connections that nobody uses."""
        with suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()


@contextmanager
def _closing(connection: "_Connection", within: timedelta) -> Iterator[None]:
    """Close a connection at a deadline: a timeout of single reads would not end a server that answers one byte at a time."""
    timer = threading.Timer(within.total_seconds(), connection.abort)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _WholeLines:
    """The replies of a server, in which a line that was cut off is the end of the connection.

    smtplib accepts it as a reply: ``250`` of a connection that broke would pass for an acceptance.
    """

    def __init__(self, replies: BufferedIOBase) -> None:
        self._replies = replies

    def readline(self, limit: int) -> bytes:
        line = self._replies.readline(limit)
        return line if line.endswith(b"\n") or len(line) == limit else b""

    def close(self) -> None:
        self._replies.close()


class _Watched(smtplib.SMTP):
    """A session that is handed to ``watch`` before its greeting is read, so that a slow greeting can be interrupted too."""

    def __init__(self, watch: "Watch", *where: Any, **more: Any) -> None:
        watch(self)
        super().__init__(*where, **more)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _WholeLines(self.sock.makefile("rb"))
        return super().getreply()


class _WatchedImplicit(_Watched, smtplib.SMTP_SSL):
    """The same within TLS from the start."""


Watch = Callable[[smtplib.SMTP], None]


class _Connection:
    """One SMTP session. Each method returns an outcome if the attempt ends with it."""

    def __init__(self, smtp: Smtp) -> None:
        self._settings = smtp
        self._smtp: smtplib.SMTP | None = None
        self._aborted = False
        self.mails = 0
        """How many were sent over it."""

    def watch(self, smtp: smtplib.SMTP) -> None:
        """Keep the session for ``abort``."""
        self._smtp = smtp

    def open(self) -> Outcome | None:
        """Connect, encrypt and sign in. Whatever fails here says nothing about the mail."""
        settings, within = self._settings, CONNECT_WITHIN.total_seconds()
        try:
            context = (
                ssl.create_default_context(cafile=settings.ca) if settings.tls is not SmtpTls.NONE else None
            )
            name = _own_name(settings.sender)
            if settings.tls is SmtpTls.IMPLICIT:
                _WatchedImplicit(
                    self.watch, settings.host, settings.port, name, timeout=within, context=context
                )
            else:
                _Watched(self.watch, settings.host, settings.port, name, timeout=within)
            assert self._smtp is not None
            # The deadline of the whole ends a read; a single slow one may take all of it.
            if self._smtp.sock is not None:
                self._smtp.sock.settimeout(ANSWERED_WITHIN.total_seconds())
            self._smtp.ehlo()
            if settings.tls is SmtpTls.STARTTLS:
                # Never in clear text because somebody on the way removed the offer.
                if not self._smtp.has_extn("starttls"):
                    return Outcome(Result.UNREACHABLE, "tls_not_offered")
                self._smtp.starttls(context=context)
                self._smtp.ehlo()
            if settings.username:
                self._smtp.login(settings.username, settings.password)
        except smtplib.SMTPAuthenticationError as error:
            return Outcome(Result.UNREACHABLE, "sign_in_refused", error.smtp_code)
        except smtplib.SMTPResponseException as error:
            return Outcome(Result.UNREACHABLE, "server_busy", error.smtp_code)
        except ssl.SSLError:
            return Outcome(Result.UNREACHABLE, "tls_failed")
        except (OSError, smtplib.SMTPException, ValueError):
            return Outcome(Result.UNREACHABLE, "server_too_slow" if self._aborted else "server_unreachable")
        return None

    def address(self, sender: str, recipient: str) -> Outcome | None:
        """Send the envelope (MAIL, RCPT) and DATA; RSET before it, on a connection that was used."""
        assert self._smtp is not None
        try:
            if self.mails and self._smtp.docmd("rset")[0] != 250:
                return Outcome(Result.UNREACHABLE, "connection_lost")
            code, _ = self._smtp.mail(sender)
            if code != 250:
                # The sender is the same for all mail, so its refusal is not about this one.
                return Outcome(Result.UNREACHABLE, "sender_refused", code)
            code, _ = self._smtp.rcpt(recipient)
            if code not in {250, 251}:
                return _refused(code, RECIPIENT_REFUSED) or Outcome(Result.UNREACHABLE, "reply_malformed")
            code, _ = self._smtp.docmd("data")
            if code == 354:
                return None
            return _refused(code, "content_refused") or Outcome(Result.UNREACHABLE, "reply_malformed")
        except (OSError, smtplib.SMTPException, ValueError):
            return Outcome(Result.UNREACHABLE, "server_too_slow" if self._aborted else "connection_lost")

    def send(self, content: bytes) -> Outcome:
        """Send the content. Without an answer it is not known whether the mail was accepted."""
        assert self._smtp is not None
        self.mails += 1
        # A dot that begins a line would end the content (RFC 5321 section 4.5.2).
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        try:
            self._smtp.send(stuffed.removesuffix(b"\r\n") + b"\r\n.\r\n")
            code, _ = self._smtp.getreply()
        except (OSError, smtplib.SMTPException, ValueError):
            return Outcome(Result.UNKNOWN, "no_answer")
        if 200 <= code < 300:
            return Outcome(Result.ACCEPTED, "", code)
        # A malformed SMTP reply does not tell whether the mail was accepted.
        return _refused(code, "content_refused") or Outcome(Result.UNKNOWN, "no_answer", max(code, 0))

    def close(self) -> None:
        """End the session. What the server says to that does not matter: it has answered for the mail."""
        if self._smtp is not None:
            self._smtp.close()

    def abort(self) -> None:
        """Interrupt whatever waits for the server."""
        self._aborted = True
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            # Of the plain socket: the TLS layer's own shutdown must not be called from another thread.
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _own_name(sender: str) -> str:
    return sender.rpartition("@")[2]


def _refused(code: int, reason: str) -> Outcome | None:
    """Return the outcome of a refusal: 421 closes the session, 4yz is temporary, 5yz permanent; None if it is not a refusal.

    Source: RFC 5321 section 4.2.1.
    """
    if code == 421:
        return Outcome(Result.UNREACHABLE, "server_busy", code)
    if 400 <= code < 500:
        return Outcome(Result.DEFERRED, reason, code)
    return Outcome(Result.REFUSED, reason, code) if 500 <= code < 600 else None
