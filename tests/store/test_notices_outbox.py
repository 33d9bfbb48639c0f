"""The outbox over real mail servers and receivers, on each backend (C163, C227): once for each cause, and nothing lost."""

import base64
import hashlib
import hmac
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest
from sqlalchemy import Connection, event, update

from hilum.foundation.infra.db import Database, metadata
from hilum.foundation.infra.settings import SmtpTls
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices import service, store
from hilum.records.notices.mail import MAILS_BOUND
from hilum.records.notices.models import (
    AFTER_HANDOVER,
    BEFORE_HANDOVER,
    MAIL_ENDS,
    WAITING_BOUND,
    Channel,
    EventKind,
    NewEndpoint,
    NoticeQuery,
    Outcome,
    Result,
    State,
    VendorEvent,
)
from hilum.records.notices.policy import NAMELESS
from hilum.records.notices.store import notices
from tests.sim.mail_server import DROP, PASSWORD, USER, mail_server, silent_server
from tests.sim.notice_ground import FACTS, LINK, SERVER, TRACE, NoticeGround, in_background, mail, reminder
from tests.sim.tcp_proxy import TcpProxy
from tests.sim.webhook_receiver import Received, webhook_receiver
from tests.sim.world import FakeClock, SeededIds

SHORT = timedelta(seconds=0.4)
EVENT = VendorEvent(
    EventKind.CONTACT_PROVED,
    "ven_1",
    "proved/1",
    {
        "contact_id": "con_1",
        "contact": "security contact",
        "vendor_id": "ven_1",
        "until": "2026-09-01T00:00:00+00:00",
    },
)


@pytest.fixture
def ground(uow: UnitOfWork) -> NoticeGround:
    return NoticeGround(uow)


@pytest.fixture
def on_sqlite(sqlite_uow: UnitOfWork) -> NoticeGround:
    return NoticeGround(sqlite_uow)


# --- within the caller's unit of work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [Conflict("late"), Unavailable("away"), ValueError("a bug")])
def test_a_change_that_is_rolled_back_sends_nothing(ground: NoticeGround, failure: Exception) -> None:
    def verb(ctx: Any) -> None:
        service.put_mail(ctx, mail())
        raise failure

    with pytest.raises(type(failure)):
        ground.do(verb)

    assert ground.all() == []


def test_one_cause_yields_one_mail_to_an_address_however_often_and_at_once_it_is_put(
    ground: NoticeGround,
) -> None:
    with ThreadPoolExecutor(4) as pool:
        put = list(pool.map(lambda _: ground.put(), range(8)))

    assert [each is not None for each in put].count(True) == 1
    assert len(ground.all()) == 1
    assert ground.put("other@acme.example") is not None
    assert ground.put(cause="cause/2") is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "sec@acme.example\r\nBcc: x@y.example"}, "to"),
        ({"to": "nobody"}, "to"),
        ({"facts": FACTS | {"vendor": ""}}, "vendor"),
        ({"facts": {k: v for k, v in FACTS.items() if k != "until"}}, "until"),
        ({"facts": FACTS | {"subject": "forged"}}, "subject"),
        ({"facts": FACTS | {"link": "javascript:x"}}, "link"),
    ],
)
def test_a_mail_that_is_not_of_its_template_is_refused_when_it_is_put(
    on_sqlite: NoticeGround, change: dict[str, Any], field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        on_sqlite.put(**change)

    assert list(refused.value.fields) == [field]
    assert on_sqlite.all() == []


def test_a_database_dump_has_no_one_time_link(on_sqlite: NoticeGround) -> None:
    """C9: stored sealed, and deleted once the mail is settled."""
    on_sqlite.put()

    with mail_server() as server:
        dump = _dump(on_sqlite)
        sealed = on_sqlite.only().sealed
        on_sqlite.sender(server.port).run()

        assert "hil_cl_secret" not in dump
        assert len(sealed) > 40
        assert "hil_cl_secret" in server.mails[0][1].as_string()
    assert on_sqlite.only().sealed == ""
    assert sealed not in _dump(on_sqlite)


def _dump(ground: NoticeGround) -> str:
    def read(ctx: Any) -> str:
        tables = [metadata.tables[each] for each in ("notices_notice", "notices_endpoint", "audit_payload")]
        rows = (ctx.tx.execute(table.select()).all() for table in tables)
        return str([list(each) for each in rows])

    found: str = ground.do(read)
    return found


def test_a_mail_that_names_an_app_of_signs_alone_is_put(on_sqlite: NoticeGround) -> None:
    put = on_sqlite.put(facts=FACTS | {"vendor": "@@@"})

    assert put is not None
    assert put.facts["vendor"] == NAMELESS


def test_a_recipient_with_too_many_waiting_gets_no_more_and_that_is_on_record(
    on_sqlite: NoticeGround,
) -> None:
    def fill(ctx: Any) -> None:
        for number in range(WAITING_BOUND):
            service.put_mail(ctx, mail(cause=f"fill/{number}"))

    on_sqlite.do(fill)

    put = on_sqlite.put(cause="one/more")

    assert put is not None
    assert (put.state, put.reason, put.sealed) == (State.DEAD, "queue_full", "")


# --- a mail server that works ---------------------------------------------------------------------------------------------------


def test_a_mail_is_handed_over_once(ground: NoticeGround) -> None:
    put = ground.put()
    assert put is not None

    with mail_server() as server:
        for _ in range(3):
            ground.sender(server.port).run()

    assert server.accepted == {f"<{put.id}@hospital.example>": 1}
    to, found = server.mails[0]
    assert (to, found["To"], found["From"]) == ("sec@acme.example",) * 2 + ("Hilum <hilum@hospital.example>",)
    assert LINK in found.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert (ground.only().state, ground.only().status, ground.only().attempts) == (State.SENT, 250, 1)


def test_two_senders_at_once_hand_each_mail_over_once(ground: NoticeGround) -> None:
    """Two nodes, even if both believe that they have the job's lease."""
    for number in range(30):
        ground.put(f"a{number}@acme.example")

    with mail_server() as server, ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: ground.sender(server.port).run(), range(2)))

    assert len(server.accepted) == 30
    assert set(server.accepted.values()) == {1}
    assert {each.state for each in ground.all()} == {State.SENT}


@pytest.mark.parametrize(("tls", "signs_in"), [(SmtpTls.STARTTLS, True), (SmtpTls.IMPLICIT, False)])
def test_a_mail_travels_encrypted_and_signed_in(
    on_sqlite: NoticeGround, tmp_path: Path, tls: SmtpTls, signs_in: bool
) -> None:
    on_sqlite.put()
    account = {"username": USER, "password": PASSWORD} if signs_in else {}

    with mail_server(tls=tls, folder=tmp_path, signs_in=signs_in) as server:
        smtp = replace(SERVER, tls=tls, ca=server.certificate, **account)  # type: ignore[arg-type]
        on_sqlite.sender(server.port, smtp=smtp).run()

    assert (len(server.mails), server.signed_in) == (1, [USER] * signs_in)


STARTTLS: dict[str, Any] = {"tls": SmtpTls.STARTTLS, "trusted": True}


@pytest.mark.parametrize(
    ("change", "serving", "reason"),
    [
        ({"tls": SmtpTls.STARTTLS}, {"tls": "none"}, "tls_not_offered"),
        ({"tls": SmtpTls.STARTTLS}, {"tls": "starttls"}, "tls_failed"),
        ({"tls": SmtpTls.IMPLICIT}, {"tls": "implicit"}, "tls_failed"),
        ({"tls": SmtpTls.IMPLICIT}, {"tls": "none"}, "tls_failed"),
        (
            STARTTLS | {"username": USER, "password": "x"},
            {"tls": "starttls", "signs_in": True},
            "sign_in_refused",
        ),
        (STARTTLS, {"tls": "starttls", "signs_in": True}, "sender_refused"),
        ({"username": USER, "password": PASSWORD}, {"tls": "none"}, "server_unreachable"),
        ({}, {"tls": "starttls"}, "sender_refused"),
    ],
)
def test_without_the_right_server_no_mail_and_no_link_leaves(
    on_sqlite: NoticeGround, tmp_path: Path, change: dict[str, Any], serving: dict[str, Any], reason: str
) -> None:
    """A certificate that is not trusted, an offer of TLS that was removed on the way, a wrong password."""
    on_sqlite.put()

    with mail_server(folder=tmp_path, **serving) as server:
        trusted = {"ca": server.certificate} if change.get("trusted") else {}
        settings = {name: value for name, value in change.items() if name != "trusted"} | trusted
        on_sqlite.sender(server.port, smtp=replace(SERVER, **settings)).run()

    assert server.mails == []
    assert (on_sqlite.only().state, on_sqlite.only().reason) == (State.WAITING, reason)


# --- many mails ------------------------------------------------------------------------------------------------------------------


def test_security_mail_leaves_before_everything_that_waited_longer(
    ground: NoticeGround, clock: FakeClock
) -> None:
    """A one-time link does not wait behind a queue of reminders."""
    for number in range(5):
        ground.do(service.put_mail, reminder(f"a{number}@acme.example"))
    clock.advance(timedelta(minutes=1))
    ground.put("waits@acme.example")

    with mail_server() as server:
        ground.sender(server.port, lanes=1).run()

    order = [to for to, _ in server.mails]
    assert order == ["waits@acme.example", *(f"a{number}@acme.example" for number in range(5))]


def test_the_next_notice_is_found_in_the_order_of_an_index(on_sqlite: NoticeGround) -> None:
    plans: list[str] = []

    def explain(tx: Connection, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            plans.extend(row[3] for row in tx.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))

    def look(ctx: Any) -> None:
        event.listen(ctx.tx, "before_cursor_execute", explain)
        service.is_anything_due(ctx, Channel.MAIL)
        store.claim(ctx.tx, Channel.MAIL, "att_1", now=ctx.now, until=ctx.now, busy=())

    on_sqlite.do(look)

    assert sum("ix_notices_notice_due (channel=? AND state=?" in each for each in plans) == 2, plans
    assert not [each for each in plans if "TEMP B-TREE" in each or each.startswith("SCAN notices")], plans


def test_mails_share_connections_within_a_bound(ground: NoticeGround) -> None:
    mails = MAILS_BOUND + 1
    for number in range(mails):
        ground.put(f"a{number}@acme.example")

    with mail_server() as server:
        ground.sender(server.port, lanes=1).run()

    assert (len(server.accepted), set(server.accepted.values())) == (mails, {1})
    assert len(server.connections) == 2
    assert server.steps.count("RSET") == mails - 2


@pytest.mark.parametrize("reply", ["421 4.7.0 Too many mails", "451 4.3.0 Later", "500 5.5.1 What?", DROP])
@pytest.mark.parametrize("step", ["RSET", "MAIL"])
def test_a_connection_that_takes_no_further_mail_loses_and_delays_nothing(
    on_sqlite: NoticeGround, step: str, reply: str
) -> None:
    for number in range(4):
        on_sqlite.put(f"a{number}@acme.example")

    with mail_server() as server:
        # Of each connection, the first mail alone is taken. RSET comes before every further one.
        server.behave = lambda at, _to: reply if at == step and "RSET" in server.steps[-2:] else None
        on_sqlite.sender(server.port, lanes=1).run()

    assert (len(server.accepted), set(server.accepted.values())) == (4, {1})
    assert {(each.state, each.attempts) for each in on_sqlite.all()} == {(State.SENT, 1)}
    assert len(server.connections) == 4


@pytest.mark.parametrize(("step", "accepted"), [("CONTENT", 0), ("ACCEPTED", 1)])
def test_a_connection_that_breaks_while_a_mail_leaves_loses_that_answer_alone(
    on_sqlite: NoticeGround, step: str, accepted: int
) -> None:
    """ADR 46: what may have left is not sent again, also over a connection that had worked."""
    for number in range(3):
        on_sqlite.put(f"a{number}@acme.example")

    with mail_server() as server:
        server.behave = lambda at, to: DROP if (at, to) == (step, "a1@acme.example") else None
        on_sqlite.sender(server.port, lanes=1).run()
        on_sqlite.sender(server.port, lanes=1).run()

    states = {each.recipient[:2]: each.state for each in on_sqlite.all()}
    assert states == {"a0": State.SENT, "a1": State.UNKNOWN, "a2": State.SENT}
    assert [to for to, _ in server.mails].count("a1@acme.example") == accepted


def test_nothing_of_a_refused_mail_is_left_on_the_connection_of_the_next(on_sqlite: NoticeGround) -> None:
    for number in range(4):
        on_sqlite.put(f"a{number}@acme.example")

    with mail_server() as server:
        server.behave = lambda at, to: "550 No such user" if (at, to[:2]) == ("RCPT", "a1") else None
        on_sqlite.sender(server.port, lanes=1).run()

    assert [(to, mail["To"]) for to, mail in server.mails] == [
        (f"a{number}@acme.example",) * 2 for number in (0, 2, 3)
    ]


def test_connections_are_closed_when_nothing_is_left_to_send(on_sqlite: NoticeGround) -> None:
    on_sqlite.put()
    with mail_server() as server:
        sender = on_sqlite.sender(server.port)
        sender.run()
        on_sqlite.put(cause="cause/2")
        sender.run()

    assert (len(server.mails), len(server.connections), server.steps.count("RSET")) == (2, 2, 0)


@pytest.mark.parametrize("may_have_left", [True, False])
def test_what_a_process_left_is_settled_while_the_queue_is_sent(
    on_sqlite: NoticeGround, clock: FakeClock, may_have_left: bool
) -> None:
    """The process died within an attempt; its lease ends while another one sends a long queue."""
    on_sqlite.put("left@acme.example")
    left = on_sqlite.do(service.claim, Channel.MAIL, busy=())
    if may_have_left:
        assert on_sqlite.do(service.hand_over, left.notice)
    for number in range(3):
        on_sqlite.do(service.put_mail, reminder(f"a{number}@acme.example"))
    states: list[State] = []

    def behave(step: str, to: str) -> None:
        if (step, to) == ("RCPT", "a0@acme.example"):
            clock.advance(AFTER_HANDOVER + timedelta(seconds=1))
        if (step, to) == ("RCPT", "a1@acme.example"):
            found: dict[str, Any] = {each.recipient: each for each in on_sqlite.all()}
            states.append(found["left@acme.example"].state)

    with mail_server() as server:
        server.behave = behave
        on_sqlite.sender(server.port, lanes=1).run()

    assert states == [State.UNKNOWN if may_have_left else State.SENT]
    assert [to for to, _ in server.mails].count("left@acme.example") == (not may_have_left)
    assert set(server.accepted.values()) == {1}


# --- a mail server that does not ------------------------------------------------------------------------------------------------


def test_a_mail_server_that_is_down_delays_and_loses_nothing(ground: NoticeGround, clock: FakeClock) -> None:
    ground.put()
    with silent_server() as port:
        pass
    sender = ground.sender(port)

    for _ in range(20):
        sender.run()
        clock.advance(timedelta(minutes=6))
    down = ground.only()
    with mail_server() as server:
        back = ground.sender(server.port)
        back.run()

    assert (down.state, down.reason, down.attempts) == (State.WAITING, "server_unreachable", 0)
    assert len(server.mails) == 1
    assert ground.only().state is State.SENT


def test_a_server_that_is_down_is_asked_seldom_whatever_waits(on_sqlite: NoticeGround) -> None:
    for number in range(50):
        on_sqlite.put(f"a{number}@acme.example")
    with silent_server() as port:
        pass
    sender = on_sqlite.sender(port)

    sender.run()
    sender.run()

    assert sum(each.reason == "server_unreachable" for each in on_sqlite.all()) <= sender.lanes


@pytest.mark.parametrize(
    ("step", "reply", "state", "reason"),
    [
        ("RCPT", "450 4.2.0 Greylisted, try again later", State.WAITING, "recipient_refused"),
        ("RCPT", "452 4.2.2 Mailbox full", State.WAITING, "recipient_refused"),
        ("RCPT", "550 5.1.1 No such user", State.DEAD, "recipient_refused"),
        ("RCPT", "421 4.7.0 Too many connections", State.WAITING, "server_busy"),
        ("MAIL", "451 4.3.0 Local error", State.WAITING, "sender_refused"),
        ("MAIL", "550 5.7.1 Sender refused", State.WAITING, "sender_refused"),
        ("CONTENT", "451 4.3.0 Try again", State.WAITING, "content_refused"),
        ("CONTENT", "554 5.7.1 Looks like spam", State.DEAD, "content_refused"),
    ],
)
def test_a_refusal_is_recorded_as_what_it_is(
    on_sqlite: NoticeGround, step: str, reply: str, state: State, reason: str
) -> None:
    on_sqlite.put()

    with mail_server() as server:
        server.behave = lambda at, _to: reply if at == step else None
        on_sqlite.sender(server.port).run()

    found = on_sqlite.only()
    assert (found.state, found.reason, found.status) == (state, reason, int(reply[:3]))
    assert server.mails == []


def test_a_greylisted_mail_arrives_once_later(ground: NoticeGround, clock: FakeClock) -> None:
    ground.put()

    with mail_server() as server:
        server.behave = lambda at, _to: "450 4.2.0 Greylisted" if at == "RCPT" else None
        ground.sender(server.port).run()
        server.behave = lambda _at, _to: None
        ground.sender(server.port).run()
        early = len(server.mails)
        clock.advance(timedelta(minutes=2))
        ground.sender(server.port).run()

    assert (early, len(server.mails)) == (0, 1)
    assert (ground.only().state, ground.only().attempts) == (State.SENT, 2)


@pytest.mark.parametrize(
    "lines",
    [
        (b"",),
        (b"220 mail\r\n", b"250 mail\r\n", b""),
        (b"220 mail\r\n", b"250 mail\r\n", b"250 ok\r\n", b""),
        (b"220 mail\r\n", b"250 mail\r\n", b"250 ok\r\n", b"250 ok\r\n", b""),
    ],
    ids=["greeting", "sender", "recipient", "content announced"],
)
def test_a_server_that_answers_one_byte_at_a_time_ends_at_the_deadline(
    on_sqlite: NoticeGround, lines: tuple[bytes, ...]
) -> None:
    """Each read succeeds, so only a deadline of the whole ends it. Nothing has left by then."""
    on_sqlite.put()

    with silent_server(*lines, drip=b"2") as port:
        on_sqlite.sender(port, handed=SHORT).run()

    found = on_sqlite.only()
    assert (found.state, found.reason) == (State.WAITING, "server_too_slow")


def test_a_mail_whose_content_is_not_answered_is_unknown_and_not_sent_again(
    ground: NoticeGround, clock: FakeClock
) -> None:
    ground.put()
    lines = (b"220 mail\r\n", b"250 mail\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"")

    with silent_server(*lines, drip=b"2") as port:
        ground.sender(port, answered=SHORT).run()
    with mail_server() as server:
        clock.advance(timedelta(days=1))
        ground.sender(server.port).run()

    assert server.mails == []
    found = ground.only()
    assert (found.state, found.reason, found.sealed) == (State.UNKNOWN, "no_answer", "")


def test_no_transaction_is_open_while_a_mail_server_is_waited_for(on_sqlite: NoticeGround) -> None:
    """Security decision 4: another write succeeds at once, at every step of a server that is slow."""
    on_sqlite.put()
    wrote: list[str] = []

    def write(step: str, _to: str) -> None:
        on_sqlite.put("other@acme.example", cause=f"during/{step}")
        wrote.append(step)

    with mail_server() as server:
        server.behave = write
        on_sqlite.sender(server.port, lanes=1).run(lambda: not wrote)
        done = len(wrote)

    assert done >= 1


def test_mail_that_nobody_could_send_is_given_up_after_its_end(
    on_sqlite: NoticeGround, clock: FakeClock
) -> None:
    on_sqlite.put()
    with silent_server() as port:
        pass

    on_sqlite.sender(port).run()
    clock.advance(MAIL_ENDS + timedelta(minutes=1))
    with mail_server() as server:
        on_sqlite.sender(server.port).run()

    assert server.mails == []
    assert (on_sqlite.only().state, on_sqlite.only().reason) == (State.DEAD, "server_unreachable")


def test_a_mail_whose_link_has_expired_meanwhile_is_not_sent(ground: NoticeGround, clock: FakeClock) -> None:
    ground.put(until=clock.now() + timedelta(hours=1))
    ground.put(cause="cause/2")
    clock.advance(timedelta(hours=1))

    with mail_server() as server:
        ground.sender(server.port).run()

    assert len(server.mails) == 1
    assert [(each.state, each.reason, each.sealed) for each in ground.all()] == [
        (State.SENT, "", ""),
        (State.DEAD, "expired", ""),
    ]


def test_a_mail_whose_link_does_not_open_is_given_up_and_holds_up_no_other(ground: NoticeGround) -> None:
    """A restored database under another key: whatever was sealed under the old one never opens again."""
    ground.put()
    ground.put(cause="cause/2")
    first = ground.all()[0]
    ground.do(
        lambda ctx: ctx.tx.execute(update(notices).where(notices.c.id == first.id).values(sealed="AAAA"))
    )

    with mail_server() as server:
        ground.sender(server.port).run()

    assert len(server.mails) == 1
    assert {each.id: (each.state, each.reason) for each in ground.all()}[first.id] == (
        State.DEAD,
        "seal_broken",
    )


# --- crashes and takeovers ------------------------------------------------------------------------------------------------------


def test_a_claim_that_outlived_its_lease_is_free_again_and_its_holder_may_not_send(
    ground: NoticeGround, clock: FakeClock
) -> None:
    """A process that is frozen before the handover wakes up after another has sent the mail."""
    ground.put()
    frozen = ground.do(service.claim, Channel.MAIL, busy=())
    nothing = ground.do(service.claim, Channel.MAIL, busy=())
    clock.advance(BEFORE_HANDOVER + timedelta(seconds=1))

    with mail_server() as server:
        ground.sender(server.port).run()

    assert nothing is None
    assert ground.do(service.hand_over, frozen.notice) is False
    assert ground.do(service.end_attempt, frozen.notice, Outcome(Result.REFUSED), timedelta(0)) is None
    assert ground.only().state is State.SENT
    assert len(server.mails) == 1


def test_a_mail_being_handed_over_at_a_crash_is_unknown_until_its_process_corrects_it(
    ground: NoticeGround, clock: FakeClock
) -> None:
    ground.put()
    frozen = ground.do(service.claim, Channel.MAIL, busy=())
    assert ground.do(service.hand_over, frozen.notice)
    clock.advance(AFTER_HANDOVER + timedelta(seconds=1))

    with mail_server() as server:
        ground.sender(server.port).run()
    crashed = ground.only()
    corrected = ground.do(service.end_attempt, frozen.notice, Outcome(Result.ACCEPTED, "", 250), timedelta(0))

    assert server.mails == []
    assert (crashed.state, crashed.reason) == (State.UNKNOWN, "interrupted")
    assert corrected is not None
    assert ground.only().state is State.SENT


def test_a_handover_whose_lease_lasts_is_left_alone(ground: NoticeGround, clock: FakeClock) -> None:
    ground.put()
    claimed = ground.do(service.claim, Channel.MAIL, busy=())
    ground.do(service.hand_over, claimed.notice)
    clock.advance(AFTER_HANDOVER - timedelta(seconds=1))

    ground.do(service.settle_abandoned)

    assert ground.only().state is State.HANDING_OVER


def test_a_restore_sends_no_mail_that_the_backup_shows_as_waiting(ground: NoticeGround) -> None:
    """It may have been sent after the backup was made."""
    ground.put()
    claimed = ground.do(service.claim, Channel.MAIL, busy=())

    ended = ground.do(service.end_open_mail)

    assert (ended, ground.only().state, ground.only().reason) == (1, State.UNKNOWN, "restored")
    assert ground.do(service.hand_over, claimed.notice) is False


def test_a_mail_with_a_link_is_never_resent_and_an_open_one_neither(on_sqlite: NoticeGround) -> None:
    put = on_sqlite.put()
    assert put is not None

    with pytest.raises(Conflict, match="notice_not_settled"):
        on_sqlite.do(service.resend, put.id)
    on_sqlite.do(service.end_open_mail)
    with pytest.raises(Conflict, match="notice_had_link"):
        on_sqlite.do(service.resend, put.id)


def test_an_end_that_cannot_be_recorded_at_once_is_recorded_later(
    postgres_url: str, clock: FakeClock, ids: SeededIds
) -> None:
    """The database is away between the server's answer and its record; without the record the mail would be unknown."""
    port = urlsplit(postgres_url).port or 5432
    with TcpProxy(port) as path, silent_server() as nobody:
        uow = UnitOfWork.create(Database(path.url(postgres_url)), clock, ids, "test-writer")
        ground = NoticeGround(uow)
        ground.put()

        def be_away(step: str, _to: str) -> None:
            if step == "ACCEPTED":
                path.lead_to(nobody)
                path.cut()
                threading.Timer(0.3, path.lead_to, (port,)).start()

        with mail_server() as server:
            server.behave = be_away
            sender = ground.sender(server.port)
            with suppress(Unavailable):
                sender.run(lambda: not server.mails)
            sender.wait_for_attempts(10)

        assert (len(server.mails), ground.only().state) == (1, State.SENT)
        uow.close()


# --- webhooks -------------------------------------------------------------------------------------------------------------------


def verify(secret: str, received: Received) -> bool:
    """Verify as a receiver does, written from the specification and not with Hilum's code."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    head = received.headers
    signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + received.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(each, f"v1,{expected}") for each in head["webhook-signature"].split(" "))


def test_an_event_arrives_signed_and_its_answer_is_recorded(ground: NoticeGround, clock: FakeClock) -> None:
    with webhook_receiver() as receiver:
        made = ground.endpoint(receiver.url)
        ground.do(service.put_event, EVENT)
        ground.hooks().run()
        ground.hooks().run()

    (received,) = receiver.received
    assert verify(made.secret, received)
    assert received.headers["webhook-timestamp"] == str(int(clock.now().timestamp()))
    body = orjson.loads(received.body)
    assert (body["type"], body["data"]["contact_id"]) == ("contact.proved", "con_1")
    assert body["id"] == received.headers["webhook-id"] == ground.only().id
    assert (ground.only().state, ground.only().status) == (State.SENT, 204)


def test_a_webhook_is_repeated_under_the_same_id_with_a_new_time(
    ground: NoticeGround, clock: FakeClock
) -> None:
    with webhook_receiver() as receiver:
        made = ground.endpoint(receiver.url)
        ground.do(service.put_event, EVENT)
        receiver.answer = lambda _: (500, {})
        ground.hooks().run()
        receiver.answer = lambda _: (204, {})
        clock.advance(timedelta(seconds=10))
        ground.hooks().run()

    first, second = receiver.received
    assert receiver.ids[0] == receiver.ids[1]
    assert first.body == second.body
    assert first.headers["webhook-timestamp"] != second.headers["webhook-timestamp"]
    assert verify(made.secret, first)
    assert verify(made.secret, second)
    assert ground.only().state is State.SENT


@pytest.mark.parametrize("damage", ["body", "id", "timestamp", "secret"])
def test_what_was_changed_on_the_way_has_a_wrong_signature(on_sqlite: NoticeGround, damage: str) -> None:
    """C227."""
    with webhook_receiver() as receiver:
        made = on_sqlite.endpoint(receiver.url)
        other = on_sqlite.endpoint(receiver.url + "/other", events=("webhook.ping",))
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.hooks().run()
    (received,) = receiver.received
    head = received.headers
    changed = {
        "body": Received(head, received.body.replace(b"proved", b"lapsed")),
        "id": Received(head | {"webhook-id": "ntc_other"}, received.body),
        "timestamp": Received(head | {"webhook-timestamp": "1"}, received.body),
        "secret": received,
    }[damage]

    assert not verify(other.secret if damage == "secret" else made.secret, changed)


def test_while_secrets_overlap_receivers_with_either_one_accept(
    on_sqlite: NoticeGround, clock: FakeClock
) -> None:
    with webhook_receiver() as receiver:
        old = on_sqlite.endpoint(receiver.url)
        new = on_sqlite.do(service.rotate_secret, old.endpoint.id, timedelta(hours=2))
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.hooks().run()
        clock.advance(timedelta(hours=3))
        on_sqlite.do(service.put_event, replace(EVENT, cause="proved/2"))
        on_sqlite.hooks().run()

    during, later = receiver.received
    assert verify(old.secret, during)
    assert verify(new.secret, during)
    assert verify(new.secret, later)
    assert not verify(old.secret, later)


def test_a_rotation_without_overlap_ends_a_leaked_secret_at_once(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as receiver:
        old = on_sqlite.endpoint(receiver.url)
        new = on_sqlite.do(service.rotate_secret, old.endpoint.id, timedelta(0))
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.hooks().run()

    assert verify(new.secret, receiver.received[0])
    assert not verify(old.secret, receiver.received[0])
    for secret in (old.secret, new.secret):
        assert secret.removeprefix("whsec_") not in _dump(on_sqlite)


@pytest.mark.parametrize("overlap", [timedelta(days=8), timedelta(seconds=-1)])
def test_an_overlap_is_bounded(on_sqlite: NoticeGround, overlap: timedelta) -> None:
    with webhook_receiver() as receiver:
        made = on_sqlite.endpoint(receiver.url)

    with pytest.raises(Invalid):
        on_sqlite.do(service.rotate_secret, made.endpoint.id, overlap)


def test_a_redirect_of_a_webhook_is_not_followed(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as receiver, webhook_receiver() as elsewhere:
        receiver.answer = lambda _: (307, {"location": elsewhere.url})
        on_sqlite.endpoint(receiver.url)
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.hooks().run()

    assert (len(receiver.received), elsewhere.received) == (1, [])
    assert (on_sqlite.only().state, on_sqlite.only().reason) == (State.WAITING, "redirected")


def test_a_receiver_that_never_answers_holds_up_no_other(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as slow, webhook_receiver() as quick:
        release = threading.Event()
        slow.answer = lambda _: (204, {}) if release.wait(10) else (500, {})
        on_sqlite.endpoint(slow.url)
        on_sqlite.endpoint(quick.url)
        for number in range(10):
            on_sqlite.do(service.put_event, replace(EVENT, cause=f"proved/{number}"))
        run = in_background(on_sqlite.hooks())
        for _ in range(100):
            if len(quick.received) == 10 and slow.received:
                break
            release.wait(0.05)
        arrived, held = len(quick.received), len(slow.received)
        release.set()
        run.join(20)

    assert (arrived, held) == (10, 1)
    assert len(slow.received) == 10


def test_a_receiver_that_fails_is_left_in_peace_for_a_while(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as receiver:
        receiver.answer = lambda _: (500, {})
        on_sqlite.endpoint(receiver.url)
        for number in range(10):
            on_sqlite.do(service.put_event, replace(EVENT, cause=f"proved/{number}"))
        on_sqlite.hooks().run()
        on_sqlite.hooks().run()

    assert len(receiver.received) == 1


def test_a_receiver_that_is_gone_is_never_called_again_until_resumed(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as receiver:
        receiver.answer = lambda _: (410, {})
        made = on_sqlite.endpoint(receiver.url)
        for number in range(3):
            on_sqlite.do(service.put_event, replace(EVENT, cause=f"proved/{number}"))
        on_sqlite.hooks().run()
        later = on_sqlite.do(service.put_event, replace(EVENT, cause="proved/9"))
        on_sqlite.do(service.resume_endpoint, made.endpoint.id)
        receiver.answer = lambda _: (204, {})
        on_sqlite.do(service.put_event, replace(EVENT, cause="proved/10"))
        on_sqlite.hooks().run()

    assert (len(receiver.received), later) == (2, [])
    assert [each.reason for each in on_sqlite.all()] == ["", "endpoint_ended", "endpoint_ended", "gone"]
    disabled = on_sqlite.do(audit.list_events, EventQuery(action="notices.endpoint.disable")).events
    assert [each.event.reason for each in disabled] == ["gone"]


def test_what_waits_for_a_removed_endpoint_is_given_up(on_sqlite: NoticeGround) -> None:
    with webhook_receiver() as receiver:
        made = on_sqlite.endpoint(receiver.url)
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.do(service.remove_endpoint, made.endpoint.id)
        on_sqlite.hooks().run()

    assert receiver.received == []
    assert (on_sqlite.only().state, on_sqlite.only().reason) == (State.DEAD, "endpoint_ended")


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "https://127.0.0.1/",
        "https://10.0.0.1/hook",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://user:pass@hooks.example/",
        "https://hooks.example/#x",
        "ftp://hooks.example/",
        "https://hooks.example\\@10.0.0.1/",
        "not a url",
        "",
        "https://hooks.example/" + "x" * 1_000,
    ],
)
def test_an_endpoint_at_an_address_that_may_not_be_called_is_refused(
    on_sqlite: NoticeGround, url: str
) -> None:
    order = NewEndpoint("ven_1", url)

    with pytest.raises(Invalid) as refused:
        on_sqlite.do(partial(service.add_endpoint, order=order, private=False))

    assert list(refused.value.fields) == ["url"]


def test_an_endpoint_whose_name_leads_to_a_private_address_is_not_called(on_sqlite: NoticeGround) -> None:
    """Judged at each attempt: a name may lead elsewhere than when it was registered."""
    with webhook_receiver() as receiver:
        on_sqlite.endpoint(receiver.url.replace("127.0.0.1", "localhost"))
        on_sqlite.do(service.put_event, EVENT)
        on_sqlite.hooks(private=False).run()

    assert receiver.received == []
    assert on_sqlite.only().reason == "address_refused"


@pytest.mark.parametrize("events", [("contact.unknown",), ("contact.proved", "contact.proved"), ("",)])
def test_an_endpoint_subscribes_to_events_that_exist(
    on_sqlite: NoticeGround, events: tuple[str, ...]
) -> None:
    with pytest.raises(Invalid) as refused:
        on_sqlite.endpoint("http://127.0.0.1:1/", events=events)

    assert list(refused.value.fields) == ["events"]


def test_an_event_of_one_vendor_reaches_no_other(on_sqlite: NoticeGround) -> None:
    on_sqlite.endpoint("http://127.0.0.1:1/")

    assert on_sqlite.do(service.put_event, replace(EVENT, vendor="ven_2")) == []


def test_nobody_without_the_right_reads_or_changes_anything(sqlite_uow: UnitOfWork) -> None:
    ground = NoticeGround(sqlite_uow)
    made = ground.endpoint("http://127.0.0.1:1/")
    notice = ground.do(service.ping, made.endpoint.id)
    verbs = (
        lambda ctx: service.list_notices(ctx, NoticeQuery()),
        lambda ctx: service.get_notice(ctx, notice.id),
        lambda ctx: service.resend(ctx, notice.id),
        lambda ctx: service.list_endpoints(ctx, ""),
        lambda ctx: service.add_endpoint(ctx, NewEndpoint("ven_1", "https://x.example/"), private=False),
        lambda ctx: service.rotate_secret(ctx, made.endpoint.id, timedelta(0)),
        lambda ctx: service.ping(ctx, made.endpoint.id),
        lambda ctx: service.resume_endpoint(ctx, made.endpoint.id),
        lambda ctx: service.remove_endpoint(ctx, made.endpoint.id),
    )

    for verb in verbs:
        with pytest.raises(NotPermitted):
            sqlite_uow.write_now(verb, actor=ANONYMOUS, trace=TRACE)
    assert len(ground.all()) == 1
    assert sqlite_uow.read_now(lambda ctx: service.list_endpoints(ctx, ""), actor=SYSTEM, trace=TRACE)


def test_settled_notices_are_deleted_after_their_time_and_open_ones_never(
    on_sqlite: NoticeGround, clock: FakeClock
) -> None:
    on_sqlite.put()
    on_sqlite.do(service.end_open_mail)
    on_sqlite.put(cause="cause/2")
    clock.advance(timedelta(days=401))

    deleted = on_sqlite.do(service.purge)

    assert (deleted, on_sqlite.only().cause) == (1, "cause/2")
