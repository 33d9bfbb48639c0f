"""How mail is composed and webhooks are signed, and what follows an attempt (C163, C227)."""

import base64
import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.records.notices import policy
from hilum.records.notices.models import (
    ENDPOINT_PAUSE_MAX,
    MAIL_ENDS,
    NAME_BOUND,
    WEBHOOK_BACKOFF,
    ZONE,
    Channel,
    Endpoint,
    Kind,
    Notice,
    Outcome,
    Result,
    State,
)
from hilum.records.notices.templates import CONTACT_PROOF, EVENTS, TEMPLATES

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LINK = "https://hilum.example/contacts/hil_cl_abc"
FACTS = {
    "vendor": "Acme Health",
    "contact": "security contact",
    "address": "sec@acme.example",
    "until": "2026-03-05T09:00:00+00:00",
}
MAIL = Notice(
    id="ntc_1",
    channel=Channel.MAIL,
    recipient="sec@acme.example",
    kind="contact_proof",
    vendor="ven_1",
    app="",
    cause="contact/con_1/1",
    facts=FACTS,
    created_at=NOW,
    next_at=NOW,
    ends_at=NOW + MAIL_ENDS,
    state=State.SENDING,
    sealed="sealed",
    attempt="att_1",
)
WEBHOOK = replace(
    MAIL, channel=Channel.WEBHOOK, recipient="whk_1", kind="webhook.ping", facts={"webhook_id": "whk_1"}
)
ENDPOINT = Endpoint("whk_1", "ven_1", "", "https://hooks.example/", (), "new", NOW, "staff:per_1")


def composed(notice: Notice = MAIL) -> EmailMessage:
    raw = policy.compose(notice, CONTACT_PROOF, sender="hilum@hospital.example", link=LINK)
    found = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def bodies(mail: EmailMessage) -> tuple[str, str]:
    plain, markup = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert markup is not None
    return plain.get_content(), markup.get_content()


# --- mail -----------------------------------------------------------------------------------------------------------------------


def test_each_attempt_at_a_mail_sends_the_same_bytes_under_one_message_id() -> None:
    """A server or reader that sees a mail twice recognizes it."""
    first, second = (
        policy.compose(
            replace(MAIL, attempts=n, attempt=f"att_{n}"), CONTACT_PROOF, sender="h@h.example", link=LINK
        )
        for n in (1, 2)
    )

    assert first == second
    assert b"Message-ID: <ntc_1@h.example>\r\n" in first
    assert b"Auto-Submitted: auto-generated\r\n" in first


def test_a_mail_is_ascii_with_lines_that_every_server_accepts() -> None:
    """RFC 5321 section 4.5.3.1.6."""
    name = "Łódź Gesundheit " * 20
    raw = policy.compose(
        replace(MAIL, facts=FACTS | {"vendor": name}), CONTACT_PROOF, sender="h@h.example", link=LINK
    )

    assert raw.isascii()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")


def test_a_mail_names_vendor_contact_and_link_in_text_and_html() -> None:
    text, markup = bodies(composed())

    for body in (text, markup):
        assert "Acme Health" in body
        assert LINK in body
        assert "security contact" in body
        assert "5 March 2026, 09:00 UTC" in body


@pytest.mark.parametrize(
    ("zone", "shown"),
    [
        ("Europe/Madrid", "5 March 2026, 10:00 CET"),
        ("America/Sao_Paulo", "5 March 2026, 06:00 UTC-03"),
        ("Europe/Nowhere", "5 March 2026, 09:00 UTC"),
        ("<b>", "5 March 2026, 09:00 UTC"),
    ],
)
def test_a_mail_to_a_hospitals_people_has_its_times_in_the_hospitals_zone(zone: str, shown: str) -> None:
    """C87: and names it; what is no zone is UTC, and is in no mail."""
    for body in bodies(composed(replace(MAIL, facts=FACTS | {ZONE: zone}))):
        assert shown in body
        assert zone not in body


def test_no_mail_has_a_parameter_of_that_name() -> None:
    assert [each.id for each in TEMPLATES.values() if ZONE in each.fields] == []


HOSTILE = (
    "Evil\r\nBcc: victim@example.org",
    "Evil\n\nVisit https://evil.example/",
    "<script>alert(1)</script>",
    '"><img src=https://evil.example/x>',
    "{link}",
    "{vendor.__class__}",
    "%(link)s ${link}",
    "Your account is locked, see www.evil.example",
    "mail me@evil.example",
    "evil.example/login",
    "javascript:alert(1)",
    "\u202egro.live\u202c",
    "a\u0000b\u0007c",
    "\u2028Subject: forged",
    "http:\\\\evil.example",
    "=_ntc_1--",
    "--=_ntc_1\r\nContent-Type: text/html\r\n\r\n<b>x</b>",
    "evil。example",
    "x" * 500,
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_vendors_name_becomes_neither_header_nor_markup_nor_link(name: str) -> None:
    """C163: one vendor's text cannot forge another's mail."""
    clean, mail = composed(), composed(replace(MAIL, facts=FACTS | {"vendor": name}))

    text, markup = bodies(mail)

    assert mail.items() == clean.items()
    assert [part.get_content_type() for part in mail.walk()] == [
        part.get_content_type() for part in clean.walk()
    ]
    assert markup.count("<") == bodies(clean)[1].count("<")
    assert text.count("\n") == bodies(clean)[0].count("\n")
    assert (text.count(LINK), markup.count(LINK)) == (1, 2)
    for body in (text, markup):
        assert "://" not in body.replace(LINK, "")
        assert "evil。example" not in body
        assert "evil.example" not in body
        assert "@evil" not in body
        assert "www.evil" not in body
        assert "\u202e" not in body
        assert "\u2028" not in body
        assert "\x00" not in body


@given(st.text(max_size=300))
def test_any_text_becomes_one_short_line_without_anything_to_press(text: str) -> None:
    shown = policy.plain_name(text)

    assert len(shown) <= NAME_BOUND
    assert shown.isprintable()
    assert not set(shown) & set("\r\n:@/\\")
    assert policy.plain_name(shown.removesuffix("…")) == shown.removesuffix("…").strip()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.0", "1.0"),
        ("v2.10.3", "v2.10.3"),
        ("Notes 1.0, web", "Notes 1.0, web"),
        ("10.0.0.1", "10. 0. 0. 1"),
        ("1.0.example", "1. 0. example"),
        ("1.0-evil.example", "1. 0-evil. example"),
        ("v1.example", "v1. example"),
    ],
)
def test_the_label_of_a_version_stays_one_word_and_an_address_does_not(text: str, shown: str) -> None:
    assert policy.plain_name(text) == shown


def test_no_template_has_a_parameter_in_its_subject_or_a_name_in_a_sentence() -> None:
    """Header injection is impossible by construction; a name stands beside its label only."""
    for template in TEMPLATES.values():
        names = {name for name, kind in template.fields.items() if kind is Kind.NAME}
        assert "{" not in template.subject
        assert not any(f"{{{name}}}" in line for line in template.lines for name in names)
        assert sum(kind is Kind.LINK for kind in template.fields.values()) <= 1


def test_no_event_has_a_link_or_a_text_of_others() -> None:
    assert not {kind for each in EVENTS.values() for kind in each.fields.values()} & {
        Kind.LINK,
        Kind.NAME,
        Kind.ADDRESS,
    }


def test_security_mail_is_of_the_first_priority_and_everything_else_of_the_second() -> None:
    """A link that somebody waits for, a second person, a stop, a breach; of links, the renewal alone is a reminder."""
    links = {kind for kind, each in TEMPLATES.items() if Kind.LINK in each.fields.values()}
    urgent = {kind for kind in [*TEMPLATES, *EVENTS, "of_a_newer_release"] if policy.priority_of(kind) == 0}

    assert urgent == (links - {"contact_renewal"}) | {
        "approval_waits",
        "factors_reset_asked",
        "factors_reset",
        "break_glass",
        "use_exceeds",
        "findings_stopped",
        "app_held",
        "incident",
        "incident_opened",
        "incident_vendor",
    }


def test_the_record_of_a_mail_shows_no_link() -> None:
    text, markup = policy.render(CONTACT_PROOF, FACTS)

    assert policy.LINK_WITHHELD in text
    assert "http" not in text + markup


@pytest.mark.parametrize(
    "address",
    [
        "",
        "acme.example",
        "@acme.example",
        "sec@",
        "sec@acme",
        "sec@@acme.example",
        "a b@acme.example",
        "sec@acme.example\r\nRCPT TO:<victim@example.org>",
        "sec@acme.example, victim@example.org",
        "<sec@acme.example>",
        "Sec <sec@acme.example>",
        '"a b"@acme.example',
        "sec@[127.0.0.1]",
        "sec@127.0.0.1",
        "victim%example.org@acme.example",
        "example.org!victim@acme.example",
        ".sec@acme.example",
        "sec.@acme.example",
        "s..c@acme.example",
        "sec@-acme.example",
        "sec@acme..example",
        "sec@acme.example.",
        "séc@acme.example",
        "sec@ácme.example",
        "s" * 65 + "@acme.example",
        "sec@" + "a." * 130 + "example",
    ],
)
def test_what_is_not_a_plain_address_gets_no_mail(address: str) -> None:
    assert policy.parse_address(address) == ""


@pytest.mark.parametrize(
    "address", ["sec@acme.example", "s.e-c+x_y'z@mail.acme.co.example", "sec@xn--cme-ela.example"]
)
def test_a_plain_address_gets_mail(address: str) -> None:
    assert policy.parse_address(address) == address


@given(st.text(max_size=80))
def test_an_accepted_address_cannot_end_a_command(text: str) -> None:
    for found in (policy.parse_address(text), policy.parse_address(f"{text}@acme.example")):
        assert found.isascii()
        assert not set(found) & set('\r\n <>,;:"\\()[]%!\0')


def test_neither_case_nor_a_tag_makes_another_mailbox() -> None:
    keys = {
        policy.mailbox_key(each) for each in ("sec@acme.example", "SEC@acme.example", "sec+1@acme.example")
    }

    assert len(keys) == 1
    assert policy.mailbox_key("sec2@acme.example") not in keys


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"vendor": None}, {"vendor": "missing"}),
        ({"extra": "x"}, {"extra": "field_unknown"}),
        ({"vendor": "\u200b"}, {"vendor": "name_missing"}),
        ({"vendor": "x" * 501}, {"vendor": "too_long"}),
        ({"contact": "Security Contact"}, {"contact": "word_malformed"}),
        ({"contact": "see evil.example"}, {"contact": "word_malformed"}),
        ({"address": "x"}, {"address": "address_malformed"}),
        ({"until": "tomorrow"}, {"until": "date_malformed"}),
        ({"until": "2026-03-05T09:00:00"}, {"until": "date_malformed"}),
        ({"link": "javascript:alert(1)"}, {"link": "link_malformed"}),
        ({"link": 'https://hilum.example/"onclick='}, {"link": "link_malformed"}),
        ({"link": "https://user@hilum.example/x"}, {"link": "link_malformed"}),
    ],
)
def test_a_parameter_that_is_not_of_its_kind_is_named(
    change: dict[str, str | None], fault: dict[str, str]
) -> None:
    facts = {name: value for name, value in (FACTS | {"link": LINK} | change).items() if value is not None}

    assert policy.facts_faults(CONTACT_PROOF.fields, facts) == fault


@pytest.mark.parametrize("name", ["@@@", "::", "//", "@/: \\", "\u200b"])
def test_a_name_of_signs_alone_is_replaced_and_holds_up_no_mail(name: str) -> None:
    """A vendor names its apps and versions: one of them must not keep other mail, or an emergency access, from going on."""
    facts = policy.with_names(CONTACT_PROOF.fields, FACTS | {"link": LINK, "vendor": name})

    assert facts == FACTS | {"link": LINK, "vendor": policy.NAMELESS}
    assert policy.facts_faults(CONTACT_PROOF.fields, facts) == {}


def test_other_parameters_and_other_names_stay_as_they_are() -> None:
    facts = FACTS | {"link": LINK, "contact": "@@@", "extra": "::"}

    assert policy.with_names(CONTACT_PROOF.fields, facts) == facts
    assert policy.with_names(CONTACT_PROOF.fields, {"vendor": ""}) == {"vendor": ""}


# --- webhooks -------------------------------------------------------------------------------------------------------------------


def test_a_signature_is_that_of_standard_webhooks() -> None:
    """The vector of the reference libraries, whose verifiers therefore accept ours."""
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

    found = policy.signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}')

    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_sign_while_they_overlap_and_one_afterwards() -> None:
    rotating = replace(ENDPOINT, old_sealed="old", old_until=NOW + timedelta(hours=1))

    assert policy.secrets_in_force(ENDPOINT, NOW) == ("new",)
    assert policy.secrets_in_force(rotating, NOW) == ("new", "old")
    assert policy.secrets_in_force(rotating, NOW + timedelta(hours=1)) == ("new",)


def test_a_signature_covers_id_time_and_body() -> None:
    secret = "whsec_" + base64.b64encode(b"k" * 32).decode()
    base = policy.signature(secret, "ntc_1", 1, b"{}")

    others = [
        policy.signature(secret, "ntc_2", 1, b"{}"),
        policy.signature(secret, "ntc_1", 2, b"{}"),
        policy.signature(secret, "ntc_1", 1, b"{ }"),
        policy.signature("whsec_" + base64.b64encode(b"l" * 32).decode(), "ntc_1", 1, b"{}"),
    ]

    assert base not in others
    assert len(set(others)) == 4


@pytest.mark.parametrize(
    ("event", "app", "endpoint", "expected"),
    [
        ("contact.proved", "", ENDPOINT, True),
        ("contact.proved", "app_1", ENDPOINT, True),
        ("contact.proved", "", replace(ENDPOINT, disabled="gone"), False),
        ("contact.proved", "", replace(ENDPOINT, events=("contact.lapsed",)), False),
        ("contact.proved", "app_2", replace(ENDPOINT, app="app_1"), False),
        ("contact.proved", "", replace(ENDPOINT, app="app_1"), False),
    ],
)
def test_an_endpoint_gets_only_what_it_subscribed_to(
    event: str, app: str, endpoint: Endpoint, expected: bool
) -> None:
    assert policy.subscribes(endpoint, event, app) is expected


@pytest.mark.parametrize(
    ("status", "retry", "result", "wait"),
    [
        (200, "", Result.ACCEPTED, None),
        (204, "", Result.ACCEPTED, None),
        (301, "", Result.DEFERRED, None),
        (400, "", Result.DEFERRED, None),
        (401, "", Result.DEFERRED, None),
        (410, "", Result.REFUSED, None),
        (429, "60", Result.DEFERRED, timedelta(seconds=60)),
        (503, "999999", Result.DEFERRED, timedelta(hours=1)),
        (503, "-1", Result.DEFERRED, None),
        (503, "²", Result.DEFERRED, None),
        (503, "9" * 50, Result.DEFERRED, None),
        (500, "60", Result.DEFERRED, None),
    ],
)
def test_only_2xx_is_a_delivery(status: int, retry: str, result: Result, wait: timedelta | None) -> None:
    found = policy.outcome_of_answer(status, retry)

    assert (found.result, found.retry_after, found.status) == (result, wait, status)


# --- what follows an attempt ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "state"),
    [(Result.ACCEPTED, State.SENT), (Result.UNKNOWN, State.UNKNOWN), (Result.REFUSED, State.DEAD)],
)
def test_a_settled_notice_no_longer_has_a_link(result: Result, state: State) -> None:
    ended = policy.after(MAIL, Outcome(result), now=NOW)

    assert (ended.state, ended.sealed, ended.settled_at, ended.attempts) == (state, "", NOW, 1)


def test_a_deferred_mail_waits_longer_each_time_and_is_given_up_at_its_end() -> None:
    notice, now, waits = MAIL, NOW, []
    while notice.state is not State.DEAD:
        notice = policy.after(
            replace(notice, state=State.SENDING), Outcome(Result.DEFERRED, "recipient_refused", 450), now=now
        )
        waits.append(notice.next_at - now)
        now = max(now, notice.next_at)

    assert waits[:7] == sorted(waits[:7])
    assert NOW + MAIL_ENDS - timedelta(hours=5) < now <= NOW + MAIL_ENDS
    assert (notice.reason, notice.status, notice.sealed) == ("recipient_refused", 450, "")


def test_a_mail_server_that_is_away_costs_a_mail_no_attempt() -> None:
    ended = policy.after(
        MAIL, Outcome(Result.UNREACHABLE, "server_unreachable"), now=NOW, pause=timedelta(seconds=5)
    )

    assert (ended.state, ended.attempts, ended.next_at) == (State.WAITING, 0, NOW + timedelta(seconds=5))
    assert ended.sealed == "sealed"


def test_a_webhook_is_given_up_after_its_last_pause() -> None:
    notice, now = WEBHOOK, NOW
    for _ in WEBHOOK_BACKOFF:
        notice = policy.after(replace(notice, state=State.SENDING), Outcome(Result.DEFERRED, "x"), now=now)
        assert notice.state is State.WAITING
        now = notice.next_at

    assert (
        policy.after(replace(notice, state=State.SENDING), Outcome(Result.DEFERRED, "x"), now=now).state
        is State.DEAD
    )


@pytest.mark.parametrize(
    ("notice", "state", "expected"),
    [
        (MAIL, State.SENDING, State.WAITING),
        (MAIL, State.HANDING_OVER, State.UNKNOWN),
        (WEBHOOK, State.SENDING, State.WAITING),
    ],
)
def test_only_a_mail_that_may_have_left_is_unknown_after_a_crash(
    notice: Notice, state: State, expected: State
) -> None:
    freed = policy.abandoned(replace(notice, state=state), NOW)

    assert (freed.state, freed.reason) == (expected, "interrupted")


def test_an_endpoint_that_fails_is_paused_and_one_that_is_gone_is_disabled() -> None:
    failing, pauses = ENDPOINT, []
    for _ in range(10):
        failing = policy.endpoint_after(failing, Outcome(Result.DEFERRED, "not_accepted", 500), NOW)
        assert failing.paused_until is not None
        pauses.append(failing.paused_until - NOW)

    assert pauses == sorted(pauses)
    assert pauses[-1] == ENDPOINT_PAUSE_MAX
    # One that says when to come again is not called before.
    asks = Outcome(Result.DEFERRED, "not_accepted", 429, timedelta(minutes=40))
    assert policy.endpoint_after(ENDPOINT, asks, NOW).paused_until == NOW + timedelta(minutes=40)
    assert policy.endpoint_after(failing, Outcome(Result.ACCEPTED, "", 200), NOW).paused_until is None
    assert policy.endpoint_after(ENDPOINT, Outcome(Result.REFUSED, "gone", 410), NOW).disabled == "gone"


@pytest.mark.parametrize(
    "actor",
    [
        ANONYMOUS,
        Actor(ActorKind.CLIENT, "c", roles=frozenset({"platform_admin"})),
        Actor(ActorKind.PERSON, "p", TenantId("general"), frozenset({"administrator"})),
        Actor(ActorKind.PERSON, "p", TenantId("general"), frozenset({"platform_admin"})),
        Actor(ActorKind.STAFF, "s", roles=frozenset({"reviewer"})),
    ],
)
def test_notices_are_for_the_platforms_administrators_security_and_auditors(actor: Actor) -> None:
    assert not policy.may_manage(actor)
    assert not policy.may_read(actor)
    assert policy.may_manage(SYSTEM)
    assert policy.may_read(Actor(ActorKind.STAFF, "s", roles=frozenset({"auditor"})))
    assert not policy.may_manage(Actor(ActorKind.STAFF, "s", roles=frozenset({"auditor"})))
