"""One-time links, setup codes, and their limits."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.identity.people.models import Person

LINK_PREFIX = "hil_ln_"
LINK_LIFE = timedelta(hours=72)
MAILS_TO_ONE = 10
"""The most links that are mailed to one mailbox a day, for all accounts together."""
CODE_TRIES = 5
"""Attempts at a setup code before its link stops working."""


class Purpose(StrEnum):
    """What a link may be used for."""

    ENROL = "enrol"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Link:
    """A one-time link without its secret. ``code_digest`` is empty if no setup code is needed."""

    digest: str
    person: PersonId
    tenant: TenantId | None
    purpose: Purpose
    issued_by: str
    issued_at: datetime
    expires_at: datetime
    approval: str = ""
    code_digest: str = ""
    tries: int = 0
    used_at: datetime | None = None
    replaced_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedLink:
    """A link with its secret, which is shown once. ``secret`` is empty if the link was mailed to its owner instead."""

    secret: str
    tenant: TenantId | None
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LinkMail:
    """Whether links are mailed to people with an address. ``url`` returns the page of a link, from the tenant's id and the secret."""

    url: Callable[[str, str], str]
    works: bool


@dataclass(frozen=True, slots=True)
class Opened:
    """A person, and the link through which they set their password."""

    person: Person
    link: IssuedLink


@dataclass(frozen=True, slots=True)
class Visitor:
    """The account of a link, as its page shows it. ``needs_code``: a setup code must be entered."""

    person: Person
    purpose: Purpose
    place: str
    expires_at: datetime
    needs_code: bool


class WrongCode(NotPermitted):
    """The setup code does not belong to the link."""

    def __init__(self, tries_left: int) -> None:
        detail = Sentence.counted(
            "This is not the setup code of this link; %(number)s try is left.",
            "This is not the setup code of this link; %(number)s tries are left.",
            tries_left,
        )
        super().__init__("setup_code_wrong", detail)
