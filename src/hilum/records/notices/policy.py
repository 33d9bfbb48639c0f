"""How a mail is composed and a webhook signed, and what follows an attempt. Pure.

Source: RFC 5321, RFC 5322, RFC 3834 (automatic mail); Standard Webhooks 1.0.0; docs/adr/0046-notices-leave-once.md
"""

import base64
import hashlib
import hmac
import html
import re
import unicodedata
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.kernel.sentences import moment
from hilum.foundation.standards.zones import zone_of
from hilum.records.notices.models import (
    ADDRESS_BOUND,
    ENDPOINT_PAUSE_MAX,
    MAIL_BACKOFF,
    NAME_BOUND,
    RETRY_AFTER_MAX,
    SECRET_PREFIX,
    URGENT,
    VALUE_BOUND,
    WEBHOOK_BACKOFF,
    ZONE,
    Channel,
    Endpoint,
    Kind,
    Notice,
    Outcome,
    Result,
    State,
    Template,
)
from hilum.records.notices.templates import EVENTS

LINK_WITHHELD = "(one-time link)"
SENDER_NAME = "Hilum"
NAMELESS = "(a name of signs alone)"
"""Stands in a mail for a name of which nothing can be shown."""
_LOCAL = r"[A-Za-z0-9_+'&=~-]+(?:\.[A-Za-z0-9_+'&=~-]+)*"
_DOMAIN = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])"
# Neither quoted local parts nor % and !, by which some relays route to another host; no literal addresses.
_ADDRESS = re.compile(rf"(?=.{{3,254}}\Z)(?=.{{1,64}}@){_LOCAL}@{_DOMAIN}")
_DOT = re.compile(r"(?<![\w.。-])(v?[0-9]{1,9}(?:\.[0-9]{1,9}){1,2})(?![\w.。-])|([.。])(?=\S)")
"""The label of a version as a whole, or a dot within a word."""
_WORD = re.compile(r"[a-z][a-z0-9_ ]{0,39}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_LINK = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+/[A-Za-z0-9/_.-]+")
_SOURCE_TAG = re.compile(r"\+[^@]*(?=@)")


def may_manage(actor: Actor) -> bool:
    """Check whether an actor may register endpoints and read or resend notices."""
    return actor.acts_alone or (actor.kind is ActorKind.STAFF and "platform_admin" in actor.roles)


def may_read(actor: Actor) -> bool:
    """Check whether an actor may read which notices were sent, without their recipients' links."""
    return may_manage(actor) or (
        actor.kind is ActorKind.STAFF and not actor.roles.isdisjoint({"security", "auditor"})
    )


def may_manage_endpoints(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may register, call and remove a vendor's endpoints: the platform, its owners and developers."""
    return may_manage(actor) or _is_member(actor, vendor, {"vendor_owner", "vendor_developer"})


def may_replace_secrets(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may replace the secret of a vendor's endpoint: its security members too."""
    return may_manage_endpoints(actor, vendor) or _is_member(actor, vendor, {"vendor_security"})


def may_read_endpoints(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may read a vendor's endpoints (empty: everybody's): the platform's readers, and each member of it."""
    return may_read(actor) or _is_member(actor, vendor, actor.roles)


def _is_member(actor: Actor, vendor: str, roles: AbstractSet[str]) -> bool:
    ours = actor.kind is ActorKind.MEMBER and bool(vendor) and actor.vendor == vendor
    return ours and not actor.roles.isdisjoint(roles)


# Addresses and texts of others.


def parse_address(text: str) -> str:
    """Return a mail address with its domain in lower case; empty if no mail can be sent to it."""
    local, at, domain = text.strip().rpartition("@")
    address = f"{local}{at}{domain.lower()}"
    return address if len(address) <= ADDRESS_BOUND and _ADDRESS.fullmatch(address) else ""


def mailbox_key(address: str) -> str:
    """Return the digest under which mail to a mailbox is counted: case and ``+tag`` do not make another one."""
    return hashlib.sha256(_SOURCE_TAG.sub("", address.lower()).encode()).hexdigest()


def plain_name(text: str) -> str:
    """Return a text by others as one short line in which a mail program finds neither link nor address.

    A name such as "Account locked, see https://evil.example" would otherwise travel in a mail that comes from Hilum.
    """
    # Control and format characters (line ends, direction overrides, zero width) could hide or reorder
    # what stands around them.
    visible = "".join(
        " " if unicodedata.category(each) in {"Zl", "Zp", "Zs"} or each in "\r\n\t" else each
        for each in unicodedata.normalize("NFKC", text)
    )
    visible = "".join(each for each in visible if not unicodedata.category(each).startswith("C"))
    visible = re.sub(r"[:@/\\]", " ", visible)
    # The ideographic full stop too, which programs read as a dot within a domain (RFC 3490 section 3.1).
    # The label of a version, such as 1.0, stays one word: it is neither a domain nor an address of four numbers.
    visible = _DOT.sub(lambda found: found[1] or f"{found[2]} ", visible)
    visible = " ".join(visible.split())
    return visible if len(visible) <= NAME_BOUND else visible[: NAME_BOUND - 1].rstrip() + "…"


def with_names(fields: Mapping[str, Kind], facts: Mapping[str, str]) -> dict[str, str]:
    """Return parameters in which each name can be shown in a mail: one of signs alone, of which nothing would be left, is replaced.

    Others choose these names. Otherwise one of them could hold up the change or the batch whose mail names it.
    """
    return {
        name: NAMELESS if fields.get(name) is Kind.NAME and value and not plain_name(value) else value
        for name, value in facts.items()
    }


def value_fault(kind: Kind, value: str) -> str:
    """Return what is wrong with the value of a parameter; empty if nothing."""
    if len(value) > VALUE_BOUND:
        return too_long(VALUE_BOUND)
    match kind:
        case Kind.NAME:
            return "" if plain_name(value) else "name_missing"
        case Kind.ADDRESS:
            return "" if parse_address(value) == value else "address_malformed"
        case Kind.MOMENT:
            return "" if _moment(value) else "date_malformed"
        case Kind.WORD:
            return "" if _WORD.fullmatch(value) else "word_malformed"
        case Kind.ID:
            return "" if _ID.fullmatch(value) else "word_malformed"
        case Kind.LINK:
            return "" if _LINK.fullmatch(value) else "link_malformed"


def facts_faults(fields: Mapping[str, Kind], facts: Mapping[str, str]) -> dict[str, str]:
    """Return the fault of each parameter that is missing, unexpected or not of its kind."""
    faults = dict.fromkeys(fields.keys() - facts.keys(), "missing")
    faults |= dict.fromkeys(facts.keys() - fields.keys(), "field_unknown")
    for name in fields.keys() & facts.keys():
        if fault := value_fault(fields[name], facts[name]):
            faults[name] = fault
    return faults


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def _shown(kind: Kind, value: str, zone: tzinfo) -> str:
    if kind is Kind.NAME:
        return plain_name(value)
    if kind is Kind.MOMENT:
        at = _moment(value)
        assert at is not None, "checked when the notice was put"
        return moment(at, zone)
    return value


# Mail.


def render(template: Template, facts: Mapping[str, str]) -> tuple[str, str]:
    """Return a mail's text and its HTML, in which every value is escaped; its times are in the zone that its facts name."""
    zone = zone_of(facts.get(ZONE, "")) or UTC
    shown = {
        name: _shown(kind, facts.get(name, LINK_WITHHELD), zone) for name, kind in template.fields.items()
    }
    escaped = {name: html.escape(value) for name, value in shown.items()}
    rows = [(label, name) for label, name in template.shown]
    # The templates' own texts are constants; values are filled in and never parsed as a template.
    text = [line.format_map(shown) for line in template.lines]
    table = "\n".join(f"{label}: {shown[name]}" for label, name in rows)
    entries = "".join(
        f'<tr><th align="left">{html.escape(label)}</th><td>{escaped[name]}</td></tr>' for label, name in rows
    )
    paragraphs = "".join(_paragraph(line, template, escaped) for line in template.lines[1:])
    first = html.escape(template.lines[0], quote=False).format_map(escaped)
    return (
        "\n\n".join([text[0], *([table] if table else []), *text[1:]]) + "\n",
        f'<!doctype html><html lang="en"><body><p>{first}</p><table cellpadding="4">{entries}</table>{paragraphs}</body></html>\n',
    )


def _paragraph(line: str, template: Template, escaped: Mapping[str, str]) -> str:
    name = line.strip("{}")
    if template.fields.get(name) is Kind.LINK and line == f"{{{name}}}":
        return f'<p><a href="{escaped[name]}">{escaped[name]}</a></p>'
    return f"<p>{html.escape(line, quote=False).format_map(escaped)}</p>"


def compose(notice: Notice, template: Template, *, sender: str, link: str) -> bytes:
    """Return a mail as it is sent, the same in each attempt. Its Message-ID is that of the notice."""
    links = {name: link for name, kind in template.fields.items() if kind is Kind.LINK}
    text, markup = render(template, {**notice.facts, **links})
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    local, _, domain = sender.rpartition("@")
    mail["From"] = Address(SENDER_NAME, local, domain)
    to, _, host = notice.recipient.rpartition("@")
    mail["To"] = Address("", to, host)
    # No header has a parameter of the template, so no text of others can add or forge one.
    mail["Subject"] = template.subject
    mail["Date"] = notice.created_at
    mail["Message-ID"] = message_id(notice.id, sender)
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(text, cte="quoted-printable")
    mail.add_alternative(markup, subtype="html", cte="quoted-printable")
    # Fixed, so that each attempt sends the same bytes.
    # Quoted-printable has no "=_", so no content can end its part.
    mail.set_boundary(f"=_{notice.id}")
    return bytes(mail)


def message_id(notice: str, sender: str) -> str:
    """Return the Message-ID of a notice, by which a mail that arrived twice is recognized."""
    return f"<{notice}@{sender.rpartition('@')[2].lower()}>"


# Webhooks.


def signed_text(notice: str, timestamp: int, body: bytes) -> bytes:
    """Return what a webhook's signature covers: id, time in seconds and body, joined by dots."""
    return f"{notice}.{timestamp}.".encode() + body


def signature(secret: str, notice: str, timestamp: int, body: bytes) -> str:
    """Return one entry of the header ``webhook-signature``."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    mac = hmac.digest(key, signed_text(notice, timestamp, body), "sha256")
    return f"v1,{base64.b64encode(mac).decode()}"


def headers_of(notice: str, timestamp: int, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a webhook, with one signature for each secret that is in force."""
    assert secrets, "a webhook is never sent unsigned"
    return {
        "content-type": "application/json",
        "user-agent": "Hilum-Webhooks/1",
        "webhook-id": notice,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(each, notice, timestamp, body) for each in secrets),
    }


def event_of(notice: Notice) -> dict[str, Any]:
    """Return the body of a webhook, the same in each attempt."""
    data = dict(sorted(notice.facts.items()))
    return {"id": notice.id, "type": notice.kind, "timestamp": notice.created_at.isoformat(), "data": data}


def subscribes(endpoint: Endpoint, event: str, app: str) -> bool:
    """Check whether an endpoint is sent an event, which concerns an app or (empty) the vendor."""
    if endpoint.disabled or (endpoint.app and endpoint.app != app):
        return False
    return not endpoint.events or event in endpoint.events


def events_fault(events: Sequence[str]) -> str:
    """Return what is wrong with a list of event types; empty if nothing."""
    if len(set(events)) != len(events):
        return "named_twice"
    return "" if all(each in EVENTS for each in events) else "event_unknown"


def outcome_of_answer(status: int, retry_after: str) -> Outcome:
    """Return the outcome of a webhook that was answered. Only 2xx is success; 410 ends the endpoint."""
    if 200 <= status < 300:
        return Outcome(Result.ACCEPTED, "", status)
    if status == 410:
        return Outcome(Result.REFUSED, "gone", status)
    if 300 <= status < 400:
        return Outcome(Result.DEFERRED, "redirected", status)
    wait = None
    # Digits only: the date form would need the receiver's clock.
    if status in {429, 503} and re.fullmatch("[0-9]{1,6}", retry_after):
        wait = min(timedelta(seconds=int(retry_after)), RETRY_AFTER_MAX)
    return Outcome(Result.DEFERRED, "not_accepted", status, wait)


def priority_of(kind: str) -> int:
    """Return 0 for security mail, which leaves first, and 1 for every other notice, also of a kind that is not known."""
    return 0 if kind in URGENT else 1


# What follows an attempt.


def after(notice: Notice, outcome: Outcome, *, now: datetime, pause: timedelta = timedelta(0)) -> Notice:
    """Return a notice after an attempt ended. ``pause``: for how long the whole channel waits if its server cannot be used."""
    noted = replace(notice, reason=outcome.reason, status=outcome.status, attempt="", leased_until=None)
    counted = replace(noted, attempts=notice.attempts + 1)
    match outcome.result:
        case Result.ACCEPTED:
            return _settled(counted, State.SENT, now)
        case Result.UNKNOWN:
            return _settled(counted, State.UNKNOWN, now)
        case Result.REFUSED:
            return _settled(counted, State.DEAD, now)
        case Result.UNREACHABLE:
            # Not counted: the server did not judge this notice.
            return _waiting(noted, pause, now)
        case Result.DEFERRED:
            steps = MAIL_BACKOFF if notice.channel is Channel.MAIL else WEBHOOK_BACKOFF
            if notice.channel is Channel.WEBHOOK and counted.attempts > len(steps):
                return _settled(counted, State.DEAD, now)
            wait = steps[min(counted.attempts, len(steps)) - 1]
            return _waiting(counted, max(_spread(notice.id, wait), outcome.retry_after or wait), now)
    raise AssertionError(f"{outcome.result} leaves the notice as it is")


def _waiting(notice: Notice, wait: timedelta, now: datetime) -> Notice:
    if now + wait >= notice.ends_at:
        return _settled(replace(notice, reason=notice.reason or "expired"), State.DEAD, now)
    return replace(notice, state=State.WAITING, next_at=now + wait)


def _settled(notice: Notice, state: State, now: datetime) -> Notice:
    # The sealed link is deleted: nobody needs it any longer.
    return replace(notice, state=state, settled_at=now, sealed="")


def _spread(notice: str, wait: timedelta) -> timedelta:
    """Return a pause up to a fifth longer, so that what failed together does not come back together."""
    share = hashlib.sha256(notice.encode()).digest()[0] / 255
    return wait * (1 + share / 5)


def given_up(notice: Notice, reason: str, now: datetime) -> Notice:
    """Return a notice that is given up: its end has passed, or what is sealed for it does not open."""
    return _settled(replace(notice, reason=reason, attempt="", leased_until=None), State.DEAD, now)


def abandoned(notice: Notice, now: datetime) -> Notice:
    """Return a notice whose attempt ended without a record, since its process died or lost the database.

    A mail that may have left is unknown. A webhook is sent again: its receiver recognizes its id.
    """
    if notice.channel is Channel.MAIL and notice.state is State.HANDING_OVER:
        return _settled(replace(notice, reason="interrupted", leased_until=None), State.UNKNOWN, now)
    return _waiting(replace(notice, reason="interrupted", attempt="", leased_until=None), timedelta(0), now)


def endpoint_after(endpoint: Endpoint, outcome: Outcome, now: datetime) -> Endpoint:
    """Return an endpoint after it was called: it is paused while it fails, and disabled if it is gone."""
    noted = replace(endpoint, last_status=outcome.status, last_reason=outcome.reason, last_at=now)
    if outcome.result is Result.ACCEPTED:
        return replace(noted, failures=0, paused_until=None)
    if outcome.reason == "gone":
        return replace(noted, disabled="gone")
    steps = WEBHOOK_BACKOFF
    wait = max(steps[min(endpoint.failures, len(steps) - 1)], outcome.retry_after or timedelta(0))
    pause = min(wait, ENDPOINT_PAUSE_MAX)
    return replace(noted, failures=endpoint.failures + 1, paused_until=now + pause)


def secrets_in_force(endpoint: Endpoint, now: datetime) -> tuple[str, ...]:
    """Return the sealed secrets that sign for an endpoint now, the newest first."""
    if endpoint.old_sealed and endpoint.old_until is not None and now < endpoint.old_until:
        return endpoint.sealed, endpoint.old_sealed
    return (endpoint.sealed,)
