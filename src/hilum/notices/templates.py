"""Every mail and every kind of webhook. The texts are constants; what others wrote appears only as a parameter of a declared kind."""

from hilum.notices.models import EventType, Kind, Template

_CONTACT = {
    "vendor": Kind.NAME,
    "contact": Kind.WORD,
    "address": Kind.ADDRESS,
    "link": Kind.LINK,
    "until": Kind.MOMENT,
}
_ROWS = (("Vendor", "vendor"), ("Contact", "contact"), ("Address", "address"))

CONTACT_PROOF = Template(
    "contact_proof",
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
    "contact_renewal",
    "Confirm your contact address again",
    (
        "The proof of this contact address ends on {ends}. Please confirm it again.",
        "{link}",
        "The link works once, until {until}. If this is no longer your address, open it and decline.",
    ),
    _CONTACT | {"ends": Kind.MOMENT},
    _ROWS,
)
TEMPLATES = {each.id: each for each in (CONTACT_PROOF, CONTACT_RENEWAL)}

_OF_CONTACT = {"contact_id": Kind.ID, "contact": Kind.WORD, "vendor_id": Kind.ID}
WEBHOOK_PING = EventType("webhook.ping", {"webhook_id": Kind.ID})
CONTACT_PROVED = EventType("contact.proved", _OF_CONTACT | {"until": Kind.MOMENT})
CONTACT_LAPSED = EventType("contact.lapsed", _OF_CONTACT | {"since": Kind.MOMENT})
EVENTS = {each.id: each for each in (WEBHOOK_PING, CONTACT_PROVED, CONTACT_LAPSED)}
