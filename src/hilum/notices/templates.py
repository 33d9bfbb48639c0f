"""Every mail and every kind of webhook. The texts are constants; what others wrote appears only as a parameter of a declared kind."""

from hilum.notices.models import EventKind, EventType, Kind, MailKind, Template

_CONTACT = {
    "vendor": Kind.NAME,
    "contact": Kind.WORD,
    "address": Kind.ADDRESS,
    "link": Kind.LINK,
    "until": Kind.MOMENT,
}
_ROWS = (("Vendor", "vendor"), ("Contact", "contact"), ("Address", "address"))

CONTACT_PROOF = Template(
    MailKind.CONTACT_PROOF,
    "Confirm your contact address",
    (
        "A vendor was registered with this address as one of its contacts. Please confirm that it is yours.",
        "{link}",
        "The link works once, until {until}. If you do not know this vendor, open it and decline: you will get no more mail about it.",
    ),
    _CONTACT,
    _ROWS,
)
CONTACT_RENEWAL = Template(
    MailKind.CONTACT_RENEWAL,
    "Confirm your contact address again",
    (
        "The proof of this contact address ends on {ends}. Please confirm it again.",
        "{link}",
        "The link works once, until {until}. If this is no longer your address, open it and decline.",
    ),
    _CONTACT | {"ends": Kind.MOMENT},
    _ROWS,
)
DOMAIN_ENDS = Template(
    MailKind.DOMAIN_ENDS,
    "The proof of your domain ends soon",
    (
        "The proof that a domain is yours could not be renewed. It ends on {ends}.",
        "Serve the file with the line that was given to you again, then have the domain checked: hilum vendor domain check",
    ),
    {"vendor": Kind.NAME, "domain": Kind.NAME, "ends": Kind.MOMENT},
    (("Vendor", "vendor"), ("Domain", "domain")),
)
TEMPLATES = {each.id.value: each for each in (CONTACT_PROOF, CONTACT_RENEWAL, DOMAIN_ENDS)}

_OF_CONTACT = {"contact_id": Kind.ID, "contact": Kind.WORD, "vendor_id": Kind.ID}
WEBHOOK_PING = EventType(EventKind.PING, {"webhook_id": Kind.ID})
CONTACT_PROVED = EventType(EventKind.CONTACT_PROVED, _OF_CONTACT | {"until": Kind.MOMENT})
CONTACT_LAPSED = EventType(EventKind.CONTACT_LAPSED, _OF_CONTACT | {"since": Kind.MOMENT})
_OF_DOMAIN = {"domain_id": Kind.ID, "vendor_id": Kind.ID}
DOMAIN_PROVED = EventType(EventKind.DOMAIN_PROVED, _OF_DOMAIN | {"until": Kind.MOMENT})
DOMAIN_LAPSED = EventType(EventKind.DOMAIN_LAPSED, _OF_DOMAIN | {"since": Kind.MOMENT})
EVENTS = {
    each.id.value: each
    for each in (WEBHOOK_PING, CONTACT_PROVED, CONTACT_LAPSED, DOMAIN_PROVED, DOMAIN_LAPSED)
}
