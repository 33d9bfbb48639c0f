"""A mail server for a laptop, with the standard library only: it prints each mail, and delivers none.

    python examples/mail_printer.py 2525

The sandbox uses it when it is started like this, so that the links in its mails can be opened:

    HILUM_SMTP_HOST=127.0.0.1 HILUM_SMTP_PORT=2525 HILUM_SMTP_TLS=none HILUM_SMTP_FROM=hilum@sandbox.example make run

It listens on this machine only and asks nobody who they are.
"""

import sys
from email import message_from_bytes, policy
from email.message import EmailMessage
from socketserver import StreamRequestHandler, ThreadingTCPServer

LINE_BOUND = 4096
MAIL_BOUND = 1024 * 1024
ANSWERS = {
    "EHLO": "250 here",
    "HELO": "250 here",
    "MAIL": "250 OK",
    "RCPT": "250 OK",
    "RSET": "250 OK",
    "NOOP": "250 OK",
    "QUIT": "221 bye",
}


class Session(StreamRequestHandler):
    """One connection: every sender and recipient is accepted."""

    timeout = 60

    def handle(self) -> None:
        self._say("220 here")
        to: list[str] = []
        while line := self.rfile.readline(LINE_BOUND):
            said = line.decode("utf-8", "replace").strip()
            word = said[:4].upper()
            if word == "DATA":
                self._say("354 end with a line that has one dot")
                content = self._content()
                if content is None:
                    return
                # Before it is taken: who sent it may stop this server at once.
                print_mail(to, content)
                self._say("250 OK")
                to = []
            else:
                if word == "RCPT":
                    to.append(said.partition(":")[2].partition("<")[2].partition(">")[0])
                self._say(ANSWERS.get(word, "502 not here"))
            if word == "QUIT":
                return

    def _content(self) -> bytes | None:
        """Return the mail until its last dot; None if it never came, or is too long."""
        content = bytearray()
        while (line := self.rfile.readline(LINE_BOUND)) and len(content) < MAIL_BOUND:
            if line.rstrip(b"\r\n") == b".":
                return bytes(content)
            # A line that begins with a dot comes with another one before it (RFC 5321, 4.5.2).
            content += line.removeprefix(b".")
        return None

    def _say(self, answer: str) -> None:
        self.wfile.write(answer.encode() + b"\r\n")


def print_mail(to: list[str], content: bytes) -> None:
    """Print what a person would read."""
    mail = message_from_bytes(content, _class=EmailMessage, policy=policy.default)
    body = mail.get_body(("plain",))
    text = "\n".join(body.get_content().splitlines()) if body is not None else ""
    print(f"To: {', '.join(to)}\nSubject: {mail['subject']}\n\n{text.strip()}\n\n{'-' * 72}", flush=True)


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def main() -> None:
    if len(sys.argv) != 2:
        raise SystemExit("usage: mail_printer.py PORT")
    server = Server(("127.0.0.1", int(sys.argv[1])), Session)
    print(f"listening on 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
