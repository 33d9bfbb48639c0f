"""A mail server for development, with the standard library only: it prints each mail and delivers none.

    python examples/mail_printer.py 2525

The sandbox uses it when it is started like this, so that the links in its mails can be opened:

    HILUM_SMTP_HOST=127.0.0.1 HILUM_SMTP_PORT=2525 HILUM_SMTP_TLS=none HILUM_SMTP_FROM=hilum@sandbox.example make run

It listens on this machine only, and accepts mail from anybody. Source: RFC 5321.
"""

import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer

LINE_BOUND = 4096
MAIL_BOUND = 1024 * 1024
REPLIES = {
    "EHLO": "250 here",
    "HELO": "250 here",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "RSET": "250 OK",
    "NOOP": "250 OK",
    "QUIT": "221 bye",
}


class Session(StreamRequestHandler):
    """Handles one connection. Every sender and recipient is accepted."""

    timeout = 60

    def handle(self) -> None:
        self._reply("220 here")
        recipients: list[str] = []
        while line := self.rfile.readline(LINE_BOUND):
            command = line.decode("utf-8", "replace").strip()
            verb = command[:4].upper()
            if verb == "DATA":
                self._reply("354 end with a line that has one dot")
                content = self._read_content()
                if content is None:
                    return
                # Before the reply, after which the sender may stop this server.
                print_mail(recipients, content)
                self._reply("250 OK")
                recipients = []
            else:
                if verb == "RCPT":
                    recipients.append(command.partition(":")[2].partition("<")[2].partition(">")[0])
                self._reply(REPLIES.get(verb, "502 not here"))
            if verb == "QUIT":
                return

    def _read_content(self) -> bytes | None:
        """Read a mail up to the line with one dot. Return None if that does not come, or the mail is too long."""
        content = bytearray()
        while (line := self.rfile.readline(LINE_BOUND)) and len(content) < MAIL_BOUND:
            if line.rstrip(b"\r\n") == b".":
                return bytes(content)
            # The sender puts a dot before a line that begins with one (RFC 5321 section 4.5.2).
            content += line.removeprefix(b".")
        return None

    def _reply(self, reply: str) -> None:
        self.wfile.write(reply.encode() + b"\r\n")


def print_mail(recipients: list[str], content: bytes) -> None:
    """Print the recipients, the subject and the plain text of a mail."""
    mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
    body = mail.get_body(("plain",))
    text = "\n".join(body.get_content().splitlines()) if body is not None else ""
    print(
        f"To: {', '.join(recipients)}\nSubject: {mail['subject']}\n\n{text.strip()}\n\n{'-' * 72}", flush=True
    )


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: mail_printer.py PORT")
    try:
        server = Server(("127.0.0.1", int(sys.argv[1])), Session)
    # OverflowError: a port above 65535.
    except (ValueError, OverflowError, OSError) as error:
        raise SystemExit(f"mail_printer.py: cannot listen on port {sys.argv[1]}: {error}") from None
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
