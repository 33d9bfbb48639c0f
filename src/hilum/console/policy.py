"""Which role opens which page, and what the pages say: the state of a thing, the sentences of a list. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from hilum.audit.policy import READERS
from hilum.console.models import Asked, Console, Filter, Page, State, Visitor
from hilum.controls.policy import MAY_STOP_ANYTHING
from hilum.identity.models import Role, StaffRole, VendorRight, VendorRole
from hilum.identity.policy import VENDOR_RIGHTS
from hilum.kernel.actor import ActorKind
from hilum.kernel.errors import Invalid
from hilum.mandates.models import APPROVER_ROLES
from hilum.signin.models import Method

STAFF = frozenset(role.value for role in StaffRole)
READS_AUDIT = frozenset(READERS) & STAFF
STOPS = MAY_STOP_ANYTHING
SECONDS = frozenset({StaffRole.PLATFORM_ADMIN.value, StaffRole.SECURITY.value})
RULES = frozenset({StaffRole.PLATFORM_ADMIN.value})
ACTS_ON_APPS = frozenset({*SECONDS, StaffRole.REVIEWER.value})
ADMINISTRATOR = frozenset({Role.ADMINISTRATOR.value})
MEMBERS = frozenset(role.value for role in VendorRole)
OWNERS = frozenset({VendorRole.OWNER.value})
DEVELOPERS, ROTATORS, SIGNERS = (
    frozenset(role.value for role, rights in VENDOR_RIGHTS.items() if right in rights)
    for right in (VendorRight.APPS, VendorRight.SECRETS, VendorRight.PROFILE)
)
EXPIRING = timedelta(days=30)
"""How long before its end a thing is called expiring."""
_CURSOR = re.compile(r"[A-Za-z0-9_.@+~-]{0,1500}")
_WORD = re.compile(r"[a-z0-9_.-]{0,64}")
_KIND_OF: Mapping[Console, ActorKind] = MappingProxyType(
    {
        Console.OPERATIONS: ActorKind.STAFF,
        Console.TENANT: ActorKind.PERSON,
        Console.DEVELOPER: ActorKind.MEMBER,
        Console.REVIEW: ActorKind.STAFF,
    }
)


def _page(
    key: str,
    path: str,
    title: str,
    question: str,
    roles: frozenset[str],
    *,
    parent: str = "",
    nav: bool = False,
) -> Page:
    console = Console(key.partition(".")[0])
    return Page(key, console, f"/{console}{path}", title, question, roles, parent, nav)


def _evidence() -> tuple[Page, ...]:
    """Return the staff's pages of scopes, of putting a rule book in force, of evidence and of a new colleague."""

    def page(
        key: str,
        path: str,
        title: str,
        question: str,
        roles: frozenset[str],
        *,
        parent: str = "",
        nav: bool = False,
    ) -> Page:
        above = f"operations.{parent}" if parent else ""
        return _page(f"operations.{key}", path, title, question, roles, parent=above, nav=nav)

    return (
        page("scopes", "/scopes", "Scopes", "Which scopes are there, and until when?", STAFF, nav=True),
        page("product", "/scopes/{id}", "Scope product", "Who answers for it?", STAFF, parent="scopes"),
        page(
            "apply",
            "/policy/versions/{id}/apply",
            "Put in force",
            "What does it mean?",
            RULES,
            parent="version",
        ),
        page("book_new", "/policy/new", "Add a rule book", "What shall hold?", RULES, parent="policy"),
        page("roll_out", "/policy/versions/{id}/roll-out", "Roll out", "Who first?", RULES, parent="version"),
        page("standing", "/apps/{id}/standing", "Standing", "What holds for it?", ACTS_ON_APPS, parent="app"),
        page("exceptions", "/policy/exceptions", "Exceptions", "What is allowed?", STAFF, parent="policy"),
        page(
            "exception",
            "/policy/exceptions/{id}",
            "Exception",
            "What is allowed, and until when?",
            STAFF,
            parent="exceptions",
        ),
        page(
            "dry_run",
            "/policy/dry-runs/{id}",
            "Dry run",
            "What would be decided differently?",
            STAFF,
            parent="policy",
        ),
        page(
            "evidence",
            "/audit/evidence",
            "Evidence",
            "Is the audit whole, and what is kept?",
            READS_AUDIT,
            parent="audit",
        ),
        page("defects", "/defects", "Defects", "What got past us?", STAFF, nav=True),
        page("defect", "/defects/{id}", "Defect", "Could we have seen it?", STAFF, parent="defects"),
        page("departures", "/departures", "Departures", "Who left, and what is erased?", STAFF, nav=True),
        page(
            "departure_new", "/departures/new", "Let a hospital leave", "Who?", SECONDS, parent="departures"
        ),
        page("departure", "/departures/{id}", "Departure", "What became of it?", STAFF, parent="departures"),
        page("staff_new", "/staff/new", "Add a colleague", "Who is new?", RULES, parent="staff"),
    )


def _tenants() -> tuple[Page, ...]:
    """Return the pages of a hospital's administrators."""

    def page(
        key: str,
        path: str,
        title: str,
        question: str,
        parent: str = "",
        *,
        nav: bool = False,
        roles: frozenset[str] = ADMINISTRATOR,
    ) -> Page:
        above = f"tenant.{parent}" if parent else ""
        return _page(f"tenant.{key}", path, title, question, roles, parent=above, nav=nav)

    return (
        page("apps", "", "Apps", "What is used here, by whom and for what?", nav=True),
        page("app", "/apps/{id}", "App", "What may it do here?", "apps"),
        page("approve", "/apps/{id}/approve", "Approve", "What would it get?", "app"),
        page("narrow", "/apps/{id}/narrow", "Narrow", "What does it not need?", "app"),
        page("share", "/apps/{id}/share", "Share your approval", "Who may learn from it?", "app"),
        page("networks", "/apps/{id}/networks", "Networks", "From where does it connect?", "app"),
        page("newer", "/apps/{id}/newer", "What is new", "What does the newer version need more?", "app"),
        page("remove", "/apps/{id}/remove", "Remove", "What would end?", "app"),
        page("alone", "/apps/{id}/write-alone", "Let its AI write alone", "Until when?", "app"),
        page("exceptions", "/exceptions", "Exceptions", "What is allowed for a time?", "apps"),
        page("exception", "/exceptions/{id}", "Exception", "Shall it go on?", "exceptions"),
        page("requests", "/requests", "Requests", "Who asks for an app?", nav=True),
        page("rules", "/requests/rules", "Rules", "What is answered by itself?", "requests"),
        page("rule_new", "/requests/rules/new", "Add a rule", "What would you answer every time?", "rules"),
        page("rule", "/requests/rules/{id}/edit", "Change a rule", "What shall it answer?", "rules"),
        page("ask", "/requests/{id}", "Request", "Shall they have it?", "requests"),
        page("people", "/people", "People", "Who has an account?", nav=True),
        page("person_new", "/people/new", "Add a person", "Who is new?", "people"),
        page("person", "/people/{id}", "Person", "Who is this?", "people"),
        page("agreements", "/agreements", "Agreements", "What was signed, and until when?", nav=True),
        page("agreement_new", "/agreements/new", "Record one", "What was signed?", "agreements"),
        page("agreement", "/agreements/{id}", "Agreement", "Does it count?", "agreements"),
        # Whoever is named for a service agrees with their own account, whatever their work is.
        page(
            "mandates",
            "/backend-services",
            "Backend services",
            "Who answers for what runs by itself?",
            nav=True,
            roles=APPROVER_ROLES,
        ),
        page("mandate_new", "/backend-services/new", "Name somebody", "Who answers for it?", "mandates"),
        page(
            *("mandate", "/backend-services/{id}", "Service", "Who answers for it?", "mandates"),
            roles=APPROVER_ROLES,
        ),
        page("disposals", "/deletions", "Deletions", "Did vendors delete what they had?", nav=True),
        page("disposal", "/deletions/{id}", "Deletion", "What was answered?", "disposals"),
        page("waiting", "/waiting", "For a second person", "What waits for a colleague?", "people"),
        page("approval", "/waiting/{id}", "Second person", "Do I agree?", "waiting"),
        page("activity", "/activity", "Activity", "What did apps do?", nav=True),
        page("events", "/activity/changes", "Changes", "Who changed what?", "activity"),
        page("consents", "/activity/consents", "Consents", "Who agreed to what, until when?", "activity"),
        page("request", "/activity/{id}", "Why", "Why was it answered so?", "activity"),
        page("switches", "/switches", "Switches", "What is stopped here?", nav=True),
        page("stop", "/switches/new", "Stop something", "What would it stop?", "switches"),
        page("switch", "/switches/{id}", "Switch", "Did it stop?", "switches"),
        page("release", "/switches/{id}/release", "Release", "What will start again?", "switch"),
        *_emergencies(),
        page("settings", "/settings", "Settings", "How is your hospital set up?", nav=True),
        *_sign_in(),
        page("search", "/search", "Search", "Where is it?"),
    )


def _sign_in() -> tuple[Page, ...]:
    """Return the pages of how a hospital's people sign in, and of its leaving."""
    many, leave = "tenant.providers", "Leave the platform"
    return (
        _page(
            "tenant.leave",
            "/settings/leave",
            leave,
            "What would end?",
            ADMINISTRATOR,
            parent="tenant.settings",
        ),
        _page(
            many,
            "/sign-in",
            "Sign-in",
            "How do your people sign in?",
            ADMINISTRATOR,
            parent="tenant.settings",
        ),
        *(
            _page(
                f"tenant.{key}", f"/sign-in{path}", title, question, ADMINISTRATOR, parent=f"tenant.{parent}"
            )
            for key, path, title, question, parent in (
                ("links", "/links", "Linked accounts", "Who comes in as whom?", "providers"),
                ("link_new", "/links/new", "Link an account", "Who is who there?", "links"),
                ("link", "/links/{id}", "Linked account", "Shall it stay linked?", "links"),
                ("provider_new", "/new", "Add a provider", "Who knows your people?", "providers"),
                ("provider", "/{id}", "Provider", "Does it work?", "providers"),
                ("provider_edit", "/{id}/edit", "Change", "What do its claims mean here?", "provider"),
            )
        ),
    )


def _emergencies() -> tuple[Page, ...]:
    """Return the pages of a hospital's emergency accesses."""
    many, one = "tenant.emergencies", "Emergency access"
    return (
        _page(many, "/emergencies", "Emergencies", "Who opened what is restricted?", ADMINISTRATOR, nav=True),
        _page(
            "tenant.emergency_settings",
            "/emergencies/settings",
            "Allowed",
            "What may be opened?",
            ADMINISTRATOR,
            parent=many,
        ),
        _page("tenant.emergency", "/emergencies/{id}", one, "Was there one?", ADMINISTRATOR, parent=many),
    )


def _developers() -> tuple[Page, ...]:
    """Return the pages of a vendor's members about its apps."""
    app = "developer.app"

    def page(key: str, path: str, title: str, question: str, parent: str, *, roles: frozenset[str]) -> Page:
        return _page(f"developer.{key}", path, title, question, roles, parent=f"developer.{parent}")

    def of_app(name: str, title: str, question: str) -> Page:
        return _page(f"developer.{name}", f"/apps/{{id}}/{name}", title, question, MEMBERS, parent=app)

    return (
        _page("developer.apps", "", "My apps", "How far are my apps?", MEMBERS, nav=True),
        page("register", "/register", "Register an app", "What is it?", "apps", roles=DEVELOPERS),
        page("app", "/apps/{id}", "App", "What does it lack?", "apps", roles=MEMBERS),
        of_app("versions", "Versions", "What does each version declare?"),
        of_app("clients", "Clients & keys", "With what does it authenticate?"),
        of_app("scopes", "Scopes", "What does it ask for, and what does it use?"),
        of_app("traffic", "Traffic", "How were its calls answered, and why?"),
        of_app("sandbox", "Sandbox", "Where can I try it?"),
        of_app("statements", "Statements", "What do hospitals know about it?"),
        of_app("runs", "Certification runs", "How does it behave when something fails?"),
        page("run", "/runs/{id}", "Certification run", "What was shown?", "runs", roles=MEMBERS),
        of_app("review", "Review", "How far is its review?"),
        page("submission", "/submissions/{id}", "Submission", "What does it lack?", "review", roles=MEMBERS),
        page("narrow", "/apps/{id}/narrow", "Ask for less", "Who is affected?", "scopes", roles=DEVELOPERS),
        page(
            "proposal",
            "/apps/{id}/proposal",
            "Proposed scopes",
            "What would have been enough?",
            "scopes",
            roles=MEMBERS,
        ),
        page("transfer", "/apps/{id}/transfer", "Give it away", "To whom?", "app", roles=MEMBERS),
        page("offer", "/offers/{id}", "An app for us", "Do we take it?", "apps", roles=MEMBERS),
        page(
            "client_new",
            "/apps/{id}/clients/new",
            "Register a client",
            "What may it ask for?",
            "clients",
            roles=DEVELOPERS,
        ),
        page(
            "client_edit",
            "/clients/{id}/edit",
            "Change a client",
            "What changes?",
            "clients",
            roles=DEVELOPERS,
        ),
        page(
            "secret",
            "/clients/{id}/secret",
            "Replace a secret",
            "What ends, and when?",
            "clients",
            roles=ROTATORS,
        ),
    )


def _vendors() -> tuple[Page, ...]:
    """Return the pages of a vendor's members about the vendor itself."""

    def page(
        key: str,
        path: str,
        title: str,
        question: str,
        parent: str = "",
        *,
        roles: frozenset[str] = MEMBERS,
    ) -> Page:
        above = f"developer.{parent}" if parent else ""
        return _page(f"developer.{key}", path, title, question, roles, parent=above, nav=not parent)

    return (
        page("changes", "/changes", "Changes in review", "What waits?"),
        page("change", "/changes/{id}", "Change", "What changes?", "changes"),
        page("change_logo", "/changes/{id}/logo", "Logo", "What would be shown?", "changes"),
        page("defects", "/defects", "Defects", "What is wrong with our apps?"),
        page("defect_new", "/defects/new", "Report a defect", "What is it?", "defects", roles=DEVELOPERS),
        page("defect", "/defects/{id}", "Defect", "What became of it?", "defects"),
        page("contacts", "/contacts", "Contacts & domains", "How are we reached?"),
        page("webhooks", "/webhooks", "Webhooks", "Where are we called?"),
        page("snapshots", "/snapshots", "Snapshots", "Where do we try things alone?"),
        page("snapshot", "/snapshots/{id}", "Snapshot", "How is it opened?", "snapshots"),
        page("team", "/team", "Team", "Who acts for us?", roles=OWNERS),
        page("invite", "/team/new", "Invite", "Who is new?", "team", roles=OWNERS),
        page("waiting", "/team/waiting", "For a second person", "What waits?", "team", roles=OWNERS),
        page("approval", "/team/waiting/{id}", "Second person", "Do I agree?", "waiting", roles=OWNERS),
        page("member", "/team/{id}", "Member", "Who is this?", "team", roles=OWNERS),
        page("agreements", "/agreements", "Agreements", "What was signed?"),
        page(
            "agreement_new", "/agreements/new", "Record one", "What was signed?", "agreements", roles=SIGNERS
        ),
        page("agreement", "/agreements/{id}", "Agreement", "Does it count?", "agreements"),
        page("disposals", "/deletions", "Deletions", "What are we to delete?"),
        page("disposal", "/deletions/{id}", "Deletion", "What became of the data?", "disposals"),
    )


def _reviewers() -> tuple[Page, ...]:
    """Return the pages of review. All of the staff read them; who acts there is judged by the verb."""
    queue = "review.queue"
    return (
        _page(queue, "", "Queue", "What waits, and for whom?", STAFF, nav=True),
        _page(
            "review.submission",
            "/submissions/{id}",
            "Submission",
            "Is it in order, and is it needed?",
            STAFF,
            parent=queue,
        ),
        _page(
            "review.lens",
            "/submissions/{id}/{lens}",
            "Lens",
            "Does it pass, and if not, why?",
            STAFF,
            parent="review.submission",
        ),
        _page("review.run", "/runs/{id}", "Certification run", "What was shown?", STAFF, parent=queue),
        _page("review.changes", "/changes", "Changes", "What did vendors change?", STAFF, nav=True),
        _page("review.change", "/changes/{id}", "Change", "May it count?", STAFF, parent="review.changes"),
        _page("review.change_logo", "/changes/{id}/logo", "Logo", "Which?", STAFF, parent="review.change"),
        _page("review.reviewers", "/reviewers", "Reviewers", "Who signs for what?", STAFF, nav=True),
        _page("review.ties", "/ties", "Ties", "Who is tied to whom?", STAFF, parent="review.reviewers"),
        _page("review.tie", "/ties/{id}", "Tie", "Does it bar?", STAFF, parent="review.ties"),
        _page(
            "review.lane",
            "/regulated-access",
            "Regulated access",
            "Who asks, and until when are they answered?",
            STAFF,
            nav=True,
        ),
        _page(
            *("review.access", "/regulated-access/{id}", "Request", "Are they who they say?", STAFF),
            parent="review.lane",
        ),
    )


PAGES: Mapping[str, Page] = MappingProxyType(
    {
        page.key: page
        for page in (
            _page("operations.now", "", "Now", "Is everything all right?", STAFF, nav=True),
            _page("operations.search", "/search", "Search", "Where is it?", STAFF, nav=True),
            _page(
                "operations.request",
                "/requests/{id}",
                "Request",
                "Why was it answered so?",
                READS_AUDIT,
                parent="operations.search",
            ),
            _page("operations.apps", "/apps", "Apps", "Which apps are there?", STAFF, nav=True),
            _page(
                "operations.app",
                "/apps/{id}",
                "App",
                "What is this app, and what happened to it?",
                STAFF,
                parent="operations.apps",
            ),
            _page("operations.switches", "/switches", "Switches", "What is stopped?", STAFF, nav=True),
            _page(
                "operations.stop",
                "/switches/new",
                "Stop something",
                "What would it stop?",
                STOPS,
                parent="operations.switches",
            ),
            _page(
                "operations.switch",
                "/switches/{id}",
                "Switch",
                "Did it stop?",
                STAFF,
                parent="operations.switches",
            ),
            _page(
                "operations.release",
                "/switches/{id}/release",
                "Release",
                "What will start again?",
                STOPS,
                parent="operations.switch",
            ),
            _page("operations.audit", "/audit", "Audit", "Who did what?", READS_AUDIT, nav=True),
            _page(
                "operations.events",
                "/audit/changes",
                "Changes",
                "Who changed what?",
                READS_AUDIT,
                parent="operations.audit",
            ),
            _page(
                "operations.policy", "/policy", "Policy", "Which rules are in force where?", STAFF, nav=True
            ),
            _page(
                "operations.version",
                "/policy/versions/{id}",
                "Version",
                "What does it change?",
                STAFF,
                parent="operations.policy",
            ),
            _page(
                "operations.jurisdictions",
                "/policy/jurisdictions",
                "Jurisdictions",
                "Which dated rules must it keep?",
                STAFF,
                parent="operations.policy",
            ),
            _page(
                "operations.rollout",
                "/policy/rollouts/{id}",
                "Rollout",
                "Does it go well?",
                STAFF,
                parent="operations.policy",
            ),
            *_evidence(),
            _page("operations.staff", "/staff", "Staff", "Who else must agree?", SECONDS, nav=True),
            _page(
                "operations.approval",
                "/staff/{id}",
                "Second person",
                "Do I agree?",
                SECONDS,
                parent="operations.staff",
            ),
            *_tenants(),
            *_developers(),
            *_vendors(),
            *_reviewers(),
            _page("operations.guide", "/guide", "Guide", "What is each page for?", STAFF),
            _page("tenant.guide", "/guide", "Guide", "What is each page for?", APPROVER_ROLES),
            _page("developer.guide", "/guide", "Guide", "What is each page for?", MEMBERS),
            _page("review.guide", "/guide", "Guide", "What is each page for?", STAFF),
        )
    }
)
"""Every page by its key. What is not here does not exist."""


def may_open(visitor: Visitor, page: Page) -> bool:
    """Check whether a person may open a page: signed in by themselves, of the console, with one of its roles. An unknown role opens nothing."""
    if not is_of(visitor, page.console):
        return False
    return not visitor.actor.roles.isdisjoint(page.roles)


def is_of(visitor: Visitor, console: Console) -> bool:
    """Check whether a person belongs at a console. A session for which an EHR vouched is for launches only (ADR 9)."""
    return visitor.actor.kind is _KIND_OF[console] and visitor.session.method is not Method.EHR


def is_of_staff(console: Console) -> bool:
    """Check whether a console is that of the platform's staff."""
    return _KIND_OF[console] is ActorKind.STAFF


def opened(visitor: Visitor, console: Console) -> tuple[Page, ...]:
    """List the pages in a person's navigation."""
    of_it = (page for page in PAGES.values() if page.console is console and page.in_navigation)
    return tuple(page for page in of_it if may_open(visitor, page))


def beside(visitor: Visitor, console: Console) -> tuple[Page, ...]:
    """List the first page of each other console at which a person belongs."""
    firsts = (next(iter(opened(visitor, each)), None) for each in Console if each is not console)
    return tuple(page for page in firsts if page is not None)


def trail(page: Page) -> tuple[Page, ...]:
    """List the pages above a page, the highest first."""
    found: list[Page] = []
    while page.parent:
        page = PAGES[page.parent]
        found.insert(0, page)
    return tuple(found)


def ending(ends_at: datetime | None, now: datetime) -> State:
    """Return whether something that is approved until a moment is over, about to be, or approved."""
    if ends_at is None:
        return State.APPROVED
    if ends_at <= now:
        return State.STOPPED
    return State.EXPIRING if ends_at <= now + EXPIRING else State.APPROVED


def counted(number: int | None, bound: int, one: str, many: str) -> str:
    """Return how many there are, in words that claim no more than was counted."""
    if number is None:
        return ""
    if number > bound:
        return f"More than {bound:,} {many}"
    return f"{number:,} {one if number == 1 else many}"


def asked(given: Mapping[str, str], filters: Iterable[Filter], orders: Iterable[str]) -> Asked:
    """Read what the address of a list asks for. Raises Invalid for a value that the list does not have."""
    kept: dict[str, str] = {}
    for each in filters:
        value = given.get(each.name, "")
        if value and value not in {option.value for option in each.options}:
            raise _malformed(each.name)
        kept[each.name] = value
    order, after, wanted = (given.get(name, "") for name in ("sort", "after", "format"))
    allowed = tuple(orders)
    if order and order not in allowed:
        raise _malformed("sort")
    if not _CURSOR.fullmatch(after):
        raise _malformed("after")
    if wanted not in {"", "csv", "json"}:
        raise _malformed("format")
    text = " ".join(given.get("q", "").split())[:200]
    if "\x00" in text:
        raise _malformed("q")
    return Asked(text, kept, order or (allowed[0] if allowed else ""), after, wanted)


def word(text: str, name: str) -> str:
    """Return a word of an address as it is. Raises Invalid if it is none."""
    if not _WORD.fullmatch(text):
        raise _malformed(name)
    return text


def _malformed(name: str) -> Invalid:
    return Invalid(
        "filter_malformed", "The address of this page is not valid.", fields={name: "word_malformed"}
    )


def csv_cell(text: str) -> str:
    """Return a text as a cell of a file, so that no spreadsheet takes it for a formula."""
    # OWASP, CSV injection: names on a page were chosen by others.
    return f"'{text}" if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text
