"""The outbox as its tests use it: putting notices, and sending what is due once."""

import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.settings import Smtp, SmtpTls
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.pages import FIRST_PAGE
from hilum.records.notices import service
from hilum.records.notices.delivery import Sender
from hilum.records.notices.mail import Deadlines, MailSender
from hilum.records.notices.models import (
    Channel,
    EndpointSecret,
    Mail,
    MailKind,
    NewEndpoint,
    Notice,
    NoticeQuery,
)
from hilum.records.notices.webhooks import WebhookSender

TRACE = Trace("req_test")
LINK = "http://127.0.0.1:8000/contacts/hil_cl_secret"
SERVER = Smtp("127.0.0.1", 25, SmtpTls.NONE, "hilum@hospital.example")
FACTS = {
    "vendor": "Acme Health",
    "contact": "security contact",
    "address": "sec@acme.example",
    "until": "2099-01-01T00:00:00+00:00",
    "link": LINK,
}


def mail(to: str = "sec@acme.example", cause: str = "cause/1", **change: Any) -> Mail:
    return replace(Mail(MailKind.CONTACT_PROOF, to, cause, FACTS, vendor="ven_1"), **change)


def reminder(to: str, cause: str = "cause/1") -> Mail:
    """Return a mail of the second priority."""
    facts = {"client": "Lumen", "app": "Lumen Chart", "client_id": "cli_1"}
    return Mail(MailKind.CREDENTIALS_UNUSED, to, cause, facts, vendor="ven_1")


class NoticeGround:
    """One outbox. ``sender`` and ``hooks`` build what sends."""

    def __init__(self, uow: UnitOfWork) -> None:
        self.uow = uow

    def do(self, verb: Any, *args: Any, **more: Any) -> Any:
        return self.uow.write_now(lambda ctx: verb(ctx, *args, **more), actor=SYSTEM, trace=TRACE)

    def put(self, to: str = "sec@acme.example", cause: str = "cause/1", **change: Any) -> Notice | None:
        found: Notice | None = self.do(service.put_mail, mail(to, cause, **change))
        return found

    def sender(self, port: int, *, smtp: Smtp = SERVER, lanes: int = 4, **deadlines: timedelta) -> Sender:
        send = MailSender(replace(smtp, port=port), Deadlines(**deadlines))
        return Sender(self.uow, Channel.MAIL, send, lanes, rest=send.rest, record_pause_s=0.05)

    def hooks(self, *, private: bool = True) -> Sender:
        send = WebhookSender(self.uow.clock, lambda: SafeFetcher(allow_private=private))
        return Sender(self.uow, Channel.WEBHOOK, send, 4, record_pause_s=0.05)

    def endpoint(self, url: str, **change: Any) -> EndpointSecret:
        order = NewEndpoint("ven_1", url, **change)
        found: EndpointSecret = self.do(partial(service.add_endpoint, order=order, private=True))
        return found

    def all(self) -> list[Notice]:
        found: list[Notice] = self.uow.read_now(
            lambda ctx: service.list_notices(ctx, NoticeQuery(), FIRST_PAGE), actor=SYSTEM, trace=TRACE
        )
        return found

    def only(self) -> Notice:
        (found,) = self.all()
        return found


def in_background(sender: Sender) -> threading.Thread:
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    return thread
