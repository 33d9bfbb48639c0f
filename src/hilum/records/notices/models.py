"""Notices, their states and outcomes; webhook endpoints; the bounds of both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

PURGE_BATCH = 500
KEPT = timedelta(days=400)
"""How long a settled notice stays on record."""
WAITING_BOUND = 1_000
"""Notices that wait for one recipient; a further one is recorded as dead at once, with the reason ``queue_full``."""
VALUE_BOUND = 500
NAME_BOUND = 80
"""Letters of a name that a mail shows."""
ZONE = "zone"
"""The parameter that is stored with a mail and that no template has: the zone of its times."""
CAUSE_BOUND = 300
ADDRESS_BOUND = 254
URL_BOUND = 1_000
ENDPOINTS_BOUND = 20
"""Webhook endpoints of one vendor."""
BUDGET_WINDOW = timedelta(hours=24)
PINGS_BOUND = 50
"""Test events of one vendor's endpoints within BUDGET_WINDOW."""
SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"
OVERLAP = timedelta(hours=24)
"""How long the old secret of an endpoint signs beside the new one, unless another period is asked for."""
OVERLAP_MAX = timedelta(days=7)
MAIL_ENDS = timedelta(days=5)
"""After this time a mail is given up (RFC 5321 section 4.5.4.1: at least four to five days)."""
WEBHOOK_ENDS = timedelta(days=4)
BEFORE_HANDOVER = timedelta(minutes=3)
"""The lease of an attempt until something of it may have left; longer than its deadline over two connections."""
AFTER_HANDOVER = timedelta(minutes=13)
"""The lease of a mail that is being handed over: a server may take ten minutes to answer (RFC 5321 section 4.5.3.2.6)."""
MAIL_BACKOFF = tuple(timedelta(minutes=each) for each in (1, 5, 15, 30, 60, 120, 240))
"""Pauses after a mail was deferred; the last one repeats until the mail is given up."""
WEBHOOK_BACKOFF = tuple(
    timedelta(seconds=each) for each in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000)
)
"""Pauses after a webhook failed; after the last of them it is given up. Source: Standard Webhooks, Deliverability and reliability."""
PAUSE_FIRST, PAUSE_MAX = timedelta(seconds=5), timedelta(minutes=5)
"""Pauses of a whole channel while the mail server cannot be used, doubled each time."""
ENDPOINT_PAUSE_MAX = timedelta(hours=1)
RETRY_AFTER_MAX = timedelta(hours=1)


RECIPIENT_REFUSED = "recipient_refused"
"""The reason of a mail whose address the mail server refused."""
ENDPOINT_ENDED = "endpoint_ended"
"""The reason of a webhook whose endpoint was removed or disabled, so that nothing was called."""


class Channel(StrEnum):
    MAIL = "mail"
    WEBHOOK = "webhook"


class MailKind(StrEnum):
    """Every mail; each has a template."""

    CONTACT_PROOF = "contact_proof"
    CONTACT_RENEWAL = "contact_renewal"
    DOMAIN_ENDS = "domain_ends"
    AGREEMENT_ASKED = "agreement_asked"
    AGREEMENT_ENDING = "agreement_ending"
    AGREEMENT_LAPSED = "agreement_lapsed"
    SERVICE_OWNER_ASKED = "service_owner_asked"
    SERVICE_OWNER_ENDS = "service_owner_ends"
    SERVICE_OWNER_LOST = "service_owner_lost"
    DELETION_REQUEST_REQUESTED = "deletion_request_requested"
    ENROLMENT = "enrolment"
    APPROVAL_WAITS = "approval_waits"
    FACTORS_RESET_ASKED = "factors_reset_asked"
    FACTORS_RESET = "factors_reset"
    SCOPE_ENDS = "scope_ends"
    SCOPE_ENDED = "scope_ended"
    USE_EXCEEDS = "use_exceeds"
    LIMITS_TIGHTEN = "limits_tighten"
    BOOK_CHANGED = "book_changed"
    BOOK_CHANGES = "book_changes"
    BREAK_GLASS = "break_glass"
    CERTIFICATE_ENDS = "certificate_ends"
    CERTIFICATE_ENDED = "certificate_ended"
    CERTIFICATE_GRACE = "certificate_grace"
    APP_CERTIFICATE_ENDS = "app_certificate_ends"
    APP_CERTIFICATE_GRACE = "app_certificate_grace"
    APP_CERTIFICATE_ENDED = "app_certificate_ended"
    FINDINGS_OPENED = "findings_opened"
    FINDINGS_WARNED = "findings_warned"
    FINDINGS_STOPPED = "findings_stopped"
    APP_HELD = "app_held"
    REVIEW_NEWS = "review_news"
    REVIEW_LATE = "review_late"
    ALERT = "alert"
    APP_ALERT = "app_alert"
    CREDENTIALS_UNUSED = "credentials_unused"
    REQUESTS_WAIT = "requests_wait"
    REQUEST_DECIDED = "request_decided"
    INCIDENT_OPENED = "incident_opened"
    INCIDENT = "incident"
    INCIDENT_VENDOR = "incident_vendor"
    FHIR_SERVER_FAILS = "fhir_server_fails"


URGENT = frozenset(
    {
        MailKind.CONTACT_PROOF,
        MailKind.ENROLMENT,
        MailKind.APPROVAL_WAITS,
        MailKind.FACTORS_RESET_ASKED,
        MailKind.FACTORS_RESET,
        MailKind.BREAK_GLASS,
        MailKind.USE_EXCEEDS,
        MailKind.FINDINGS_STOPPED,
        MailKind.APP_HELD,
        MailKind.INCIDENT_OPENED,
        MailKind.INCIDENT,
        MailKind.INCIDENT_VENDOR,
    }
)
"""Mails that leave before all others: links that somebody waits for, second people, stops and what may be a breach; no reminder and no digest."""


class EventKind(StrEnum):
    """Every event that is sent to webhooks."""

    PING = "webhook.ping"
    CONTACT_PROVED = "contact.proved"
    CONTACT_LAPSED = "contact.lapsed"
    DOMAIN_PROVED = "domain.proved"
    DOMAIN_LAPSED = "domain.lapsed"
    AGREEMENT_ENDING = "agreement.ending"
    AGREEMENT_LAPSED = "agreement.lapsed"
    DELETION_REQUEST_REQUESTED = "deletion_request.requested"
    SCOPE_ENDING = "scope.ending"
    USE_EXCEEDS = "app.use_exceeds"
    LIMITS_TIGHTEN = "app.limits_tighten"
    FINDINGS = "app.findings"
    ALERT = "app.alert"
    REVIEW_NEWS = "review.news"
    REVIEW_LATE = "review.late"
    CERTIFICATE_ENDING = "certificate.ending"
    INCIDENT = "app.incident"


class State(StrEnum):
    """Where a notice is on its way. Waiting, sending and handing over are open; the others are settled."""

    WAITING = "waiting"
    SENDING = "sending"
    """An attempt is in progress, and nothing of it has left."""
    HANDING_OVER = "handing_over"
    """It may have left."""
    SENT = "sent"
    """The mail server, or the receiver of the webhook, accepted it."""
    UNKNOWN = "unknown"
    """A mail that may have been accepted; it is not sent again by itself."""
    DEAD = "dead"
    """Given up."""


OPEN = frozenset({State.WAITING, State.SENDING, State.HANDING_OVER})


class Result(StrEnum):
    """How an attempt ended."""

    ACCEPTED = "accepted"
    DEFERRED = "deferred"
    """Refused for now, or failed with nothing accepted."""
    REFUSED = "refused"
    """Refused for good."""
    UNREACHABLE = "unreachable"
    """The mail server as a whole cannot be used; this says nothing about the notice."""
    UNKNOWN = "unknown"
    """It left, and no answer arrived."""
    LOST = "lost"
    """Another process has taken over the notice, so nothing was sent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an attempt. ``reason`` is a stable code, ``status`` the reply code of SMTP or HTTP, 0 without one."""

    result: Result
    reason: str = ""
    status: int = 0
    retry_after: timedelta | None = None


class Kind(StrEnum):
    """What a parameter of a template is, which decides how it is checked and shown."""

    NAME = "name"
    """A text by a vendor or person: shown as one short line, in which nothing is a link."""
    ADDRESS = "address"
    """A mail address."""
    MOMENT = "moment"
    WORD = "word"
    """One of our own words: a kind of contact, a state."""
    ID = "id"
    LINK = "link"
    """A one-time link of this platform: stored sealed, and only until the mail is settled."""


@dataclass(frozen=True, slots=True)
class Template:
    """A mail. ``lines`` are its paragraphs; one that is ``{name}`` of a link alone becomes a button. No parameter is in the subject."""

    id: MailKind
    subject: str
    lines: tuple[str, ...]
    fields: Mapping[str, Kind]
    shown: tuple[tuple[str, str], ...] = ()
    """Rows of a table: label and parameter. Names are shown only here, beside their label."""


@dataclass(frozen=True, slots=True)
class EventType:
    """A kind of webhook, and the members of its ``data``."""

    id: EventKind
    fields: Mapping[str, Kind]


@dataclass(frozen=True, slots=True)
class Mail:
    """An order to send one mail. ``cause`` identifies why: the same cause yields one mail to an address, however often it is put.

    ``until``: when the mail is of no more use, such as the end of its link. ``zone``: in which its times are, by its name; empty for UTC.
    """

    template: MailKind
    to: str
    cause: str
    facts: Mapping[str, str] = field(default_factory=dict)
    vendor: str = ""
    app: str = ""
    until: datetime | None = None
    zone: str = ""


@dataclass(frozen=True, slots=True)
class VendorEvent:
    """An order to send an event to every endpoint of a vendor that subscribes to it."""

    type: EventKind
    vendor: str
    cause: str
    facts: Mapping[str, str] = field(default_factory=dict)
    app: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One notice to one recipient. ``recipient`` is a mail address or the id of an endpoint; ``kind`` a template or an event type.

    ``attempt`` identifies the attempt in progress: only its process may record how it ended.
    """

    id: str
    channel: Channel
    recipient: str
    kind: str
    vendor: str
    app: str
    cause: str
    facts: Mapping[str, str]
    created_at: datetime
    next_at: datetime
    ends_at: datetime
    sealed: str = ""
    state: State = State.WAITING
    attempts: int = 0
    reason: str = ""
    status: int = 0
    attempt: str = ""
    leased_until: datetime | None = None
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a vendor receives webhooks. ``events`` is empty for all. ``paused_until``: not called before, since it failed.

    ``old_sealed`` is the secret that is being replaced, and signs too until ``old_until``.
    """

    id: str
    vendor: str
    app: str
    url: str
    events: tuple[str, ...]
    sealed: str
    created_at: datetime
    created_by: str
    old_sealed: str = ""
    old_until: datetime | None = None
    failures: int = 0
    paused_until: datetime | None = None
    disabled: str = ""
    """Why it is no longer called; empty while it is."""
    last_status: int = 0
    last_reason: str = ""
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewEndpoint:
    vendor: str
    url: str
    app: str = ""
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointSecret:
    """An endpoint with its new secret, which is shown only once."""

    endpoint: Endpoint
    secret: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """A notice that this process sends now. ``secrets`` sign a webhook, ``url`` is where it goes; ``link`` is what was sealed: a mail's link, a webhook's signed text."""

    notice: Notice
    url: str = ""
    secrets: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many notices of a channel are open, unknown and dead, and since when the oldest open one waits."""

    channel: Channel
    open: int
    unknown: int
    dead: int
    oldest: datetime | None = None
    reason: str = ""
    """Why the oldest open one was not sent yet."""


@dataclass(frozen=True, slots=True)
class NoticeQuery:
    """Which notices to list; empty fields do not filter."""

    state: State | None = None
    channel: Channel | None = None
    vendor: str = ""
    recipient: str = ""
