"""Which roles open pages, and how a page of a console is written down."""

from typing import Protocol

from hilum.apps.service_owners.models import APPROVER_ROLES
from hilum.controls.switches.policy import MAY_STOP_ANYTHING
from hilum.identity.people.models import Role, StaffRole, VendorRight, VendorRole
from hilum.identity.people.policy import VENDOR_RIGHTS
from hilum.records.audit.policy import READERS
from hilum.surfaces.console.models import Console, Page

STAFF = frozenset(role.value for role in StaffRole)
READS_AUDIT = frozenset(READERS) & STAFF
STOPS = MAY_STOP_ANYTHING
SECONDS = frozenset({StaffRole.PLATFORM_ADMIN.value, StaffRole.SECURITY.value})
RULES = frozenset({StaffRole.PLATFORM_ADMIN.value})
ACTS_ON_APPS = frozenset({*SECONDS, StaffRole.REVIEWER.value})
REVIEWERS = frozenset({StaffRole.REVIEWER.value})
ADMINISTRATOR = frozenset({Role.ADMINISTRATOR.value})
APPROVERS = APPROVER_ROLES
MEMBERS = frozenset(role.value for role in VendorRole)
OWNERS = frozenset({VendorRole.OWNER.value})
DEVELOPERS, ROTATORS, SIGNERS = (
    frozenset(role.value for role, rights in VENDOR_RIGHTS.items() if right in rights)
    for right in (VendorRight.APPS, VendorRight.SECRETS, VendorRight.PROFILE)
)


class Write(Protocol):
    """Builds a page of one console; ``parent`` is the page it is part of, ``menu`` the entry of the navigation that leads to it."""

    def __call__(
        self,
        key: str,
        path: str,
        title: str,
        question: str,
        parent: str = "",
        *,
        roles: frozenset[str] | None = None,
        menu: str = "",
    ) -> Page: ...


def pages_of(console: Console, usual: frozenset[str]) -> Write:
    """Return what builds the pages of a console. ``usual``: the roles of a page that names none."""

    def page(
        key: str,
        path: str,
        title: str,
        question: str,
        parent: str = "",
        *,
        roles: frozenset[str] | None = None,
        menu: str = "",
    ) -> Page:
        return Page(
            f"{console}.{key}",
            console,
            f"/{console}{path}",
            title,
            question,
            usual if roles is None else roles,
            f"{console}.{parent}" if parent else "",
            menu,
        )

    return page
