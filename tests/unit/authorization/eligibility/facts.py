"""An eligible app, and the facts each of which makes it ineligible, by reason."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility.models import EligibilityInputs, Party
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import Mode, Switch, SwitchIndex, Target, TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, PersonId, TenantId, VendorId, VersionId
from hilum.foundation.standards.smart.scopes import CREATE, READ
from hilum.identity.people.models import MovedReads, TenantFacts, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import UNCLASSIFIED, Book, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.sim.world import START

NOW = START
MOMENT = timedelta(microseconds=1)
DAY = timedelta(days=1)
GENERAL, OTHER = TenantId("general"), TenantId("other")
SCOPES = ("launch", "openid", "patient/*.rs")
CLIENT = ClientFacts(
    ClientId("cli_1"),
    AppId("app_1"),
    VersionId("ver_1"),
    VendorId("ven_1"),
    ClientType.PUBLIC,
    Environment.PRODUCTION,
    active=True,
    expires_at=None,
    certified_scopes=SCOPES,
    certified_until=NOW + DAY,
    origins=(),
    scopes=SCOPES,
    category=UNCLASSIFIED,
    certified_tier=Tier.HIGH,
    since=NOW - DAY,
)
PARTY = Party(GENERAL, CLIENT.id, CLIENT.app, CLIENT.version, CLIENT.vendor, PersonId("per_1"), "physician")
INSTALLED = InstallationFacts(SCOPES, frozenset({"physician"}), None, NOW - DAY, Environment.PRODUCTION)
TENANT = TenantFacts(GENERAL, UpstreamRef(UpstreamKind.EMBEDDED), MovedReads.REFUSE, active=True)


def with_agreements(book: Book, *kinds: str) -> Book:
    """Return a policy whose entries all require some kinds of agreements."""
    categories = {
        name: replace(
            each,
            entries={
                tier: replace(entry, agreements=frozenset(kinds)) for tier, entry in each.entries.items()
            },
        )
        for name, each in book.categories.items()
    }
    return replace(book, categories=categories, digest="needy")


NEEDY = with_agreements(shipped_book(), "business_associate")
GOOD = EligibilityInputs(PARTY, TENANT, CLIENT, INSTALLED, SwitchIndex(), shipped_book(), issued_at=NOW)


def switch(kind: TargetKind, key: str = "", mode: Mode = Mode.FULL_STOP, **change: Any) -> Switch:
    made = Switch("sw", Target(kind, key), mode, "x", "host:x", NOW - timedelta(hours=1))
    return replace(made, **change)


def stopped(*switches: Switch) -> SwitchIndex:
    return controls.index(switches, [])


def ended(kind: TargetKind, key: str = "") -> SwitchIndex:
    return controls.index([], [(Target(kind, key), NOW)])


Change = dict[str, Any]
"""Fields of EligibilityInputs, of its client (``client.``), of its installation (``installation.``), or of who acts (``acting.``)."""


def changed(eligibility: EligibilityInputs, change: Change) -> EligibilityInputs:
    own = {name: value for name, value in change.items() if "." not in name}
    for part in ("client", "installation", "acting"):
        held: Any = getattr(eligibility, part)
        inner = {
            name.partition(".")[2]: value for name, value in change.items() if name.startswith(f"{part}.")
        }
        if inner and held is not None:
            own.setdefault(part, replace(held, **inner))
    return replace(eligibility, **own)


ASKED: Change = {"for_records": True, "resource_type": "Observation", "letter": READ, "scopes": SCOPES}
WRITTEN: Change = ASKED | {"letter": CREATE}
STOPS: list[Change] = [
    ASKED | {"switches": stopped(switch(TargetKind.RESOURCE_TYPE, "Observation"))},
    ASKED | {"switches": ended(TargetKind.RESOURCE_TYPE, "Observation")},
    WRITTEN | {"switches": stopped(switch(TargetKind.RESOURCE_TYPE, "Observation", Mode.READ_ONLY))},
    WRITTEN | {"switches": stopped(switch(TargetKind.APP, "app_1", Mode.READ_ONLY))},
    WRITTEN
    | {
        "scopes": ("user/Observation.cruds",),
        "switches": stopped(switch(TargetKind.SCOPE, "user/Observation.cruds", Mode.READ_ONLY)),
    },
    ASKED
    | {
        "scopes": ("user/Observation.rs", "user/Condition.rs"),
        "switches": stopped(switch(TargetKind.SCOPE, "user/Observation.rs")),
    },
    {"switches": stopped(switch(TargetKind.PLATFORM))},
    {"switches": stopped(switch(TargetKind.TENANT, "general"))},
    {"switches": stopped(switch(TargetKind.VENDOR, "ven_1"))},
    {"switches": stopped(switch(TargetKind.APP, "app_1"))},
    {"switches": stopped(switch(TargetKind.VERSION, "ver_1"))},
    {"switches": stopped(switch(TargetKind.PERSON, "per_1"))},
    {"switches": stopped(switch(TargetKind.APP_TENANT, "app_1/general"))},
    {"switches": stopped(switch(TargetKind.APP_PERSON, "app_1/per_1"))},
    {"switches": stopped(switch(TargetKind.APP, "app_1", expires_at=NOW))},
    {"switches": ended(TargetKind.PLATFORM)},
    {"switches": ended(TargetKind.APP, "app_1")},
    {"switches": ended(TargetKind.PERSON, "per_1")},
    {"switches": stopped(switch(TargetKind.PLATFORM, mode=Mode.NO_NEW_LAUNCHES)), "launching": True},
]
FAULTS: dict[Reason, list[Change]] = {
    Reason.APP_SUSPENDED: [{"client.active": False}],
    Reason.SWITCH_ENGAGED: STOPS,
    Reason.TENANT_MISMATCH: [
        {"tenant": None},
        {"tenant": replace(TENANT, active=False)},
        {"tenant": replace(TENANT, id=OTHER)},
        {"tenant": replace(TENANT, vendor=VendorId("ven_2"))},
        {"tenant": replace(TENANT, vendor=VendorId("ven_1")), "acting.vendor": VendorId("ven_2")},
    ],
    Reason.APP_NOT_CERTIFIED: [
        {"client": None},
        {"client.id": ClientId("cli_2")},
        {"client.app": AppId("app_2")},
        {"client.expires_at": NOW},
        {"client.certified_until": NOW},
        {"client.certified_until": None},
        {"client.since": NOW + MOMENT},
    ],
    Reason.APP_NOT_INSTALLED: [
        {"installation": None},
        {"installation.expires_at": NOW},
        {"installation.since": NOW + MOMENT},
        {"client.environment": Environment.SANDBOX},
        {"client.tenant": OTHER},
    ],
    Reason.AGREEMENT_MISSING: [{"begins": True, "book": NEEDY, "agreements": frozenset({"data_sharing"})}],
    Reason.APPROVER_MISSING: [{"begins": True, "client.type": ClientType.BACKEND, "answered_until": NOW}],
    Reason.NETWORK_NOT_ALLOWED: [
        {
            "client.type": ClientType.BACKEND,
            "installation.networks": ("192.0.2.0/24",),
            "source": "198.51.100.1",
        },
        {"client.type": ClientType.BACKEND, "installation.networks": ("192.0.2.0/24",), "source": ""},
    ],
    Reason.FACILITY_NOT_ALLOWED: [{"installation.denied": frozenset({""})}],
    Reason.PERSON_INACTIVE: [{"person_active": False}],
    Reason.ROLE_NOT_ALLOWED: [
        {"acting.role": "nurse"},
        {"acting.role": ""},
        {"installation.roles": frozenset()},
        {"installation.roles": frozenset({"nurse"})},
    ],
    Reason.WORKFLOW_NOT_APPROVED: [{"acting.workflow": "surgery"}],
}
