"""Plans what the sandbox registers before it listens: vendors, apps, clients, installations, system clients and staff. Pure.

``hilum.server.seed`` registers it, and creates the secrets and keys, which are not part of the plan.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from hilum.foundation.standards.smart.scopes import Prefix, everything
from hilum_ehr.synthesis.models import Role

SUITE_HOSTS = ("http://localhost:4567", "http://127.0.0.1:4567", "http://localhost")
"""Where the public conformance suites listen when they run on a developer's machine."""
# The redirect paths of Inferno's test kits.
SUITE_PATHS = ("/custom/smart_stu2_2/redirect", "/custom/smart/redirect", "/custom/smart_stu2/redirect")
CALLBACKS = ("http://127.0.0.1:9009/callback", "http://localhost:9009/callback")
CLINICAL_ROLES = (Role.PHYSICIAN, Role.NURSE)
EVERY_ROLE = tuple(Role)
TENANTS = ("general", "children", "clinic")
# The clients of the test bench may request every scope; each suite requests those that it needs.
EVERYTHING = (
    "launch", "launch/patient", "launch/encounter", "openid", "fhirUser", "online_access", "offline_access",
    *everything(Prefix.PATIENT), *everything(Prefix.USER),
)  # fmt: skip
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "key_ops"})
"""What only the private half of a key holds; its ``key_ops`` are to sign, which the public half cannot."""


class Kind(StrEnum):
    """How a client authenticates, in the terms of the card."""

    PUBLIC = "public"
    SYMMETRIC = "confidential-symmetric"
    ASYMMETRIC = "confidential-asymmetric"
    BACKEND = "backend"


class Deployment(StrEnum):
    BROWSER = "browser"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class BackendUse:
    """Why a backend service runs: its purpose, population and schedule, and who is responsible."""

    purpose: str
    population: str
    schedule: str
    approver: str


# Ids are fixed and not drawn, because documents, suites and scripts name them.
@dataclass(frozen=True, slots=True)
class ClientPlan:
    """One client. Those that authenticate with keys get a key set when they are registered."""

    client_id: str
    name: str
    kind: Kind
    deployment: Deployment
    scopes: tuple[str, ...]
    redirect_uris: tuple[str, ...] = ()
    launch_url: str = ""
    origins: tuple[str, ...] = ()
    backend_use: BackendUse | None = None

    @property
    def is_keyed(self) -> bool:
        return self.kind in {Kind.ASYMMETRIC, Kind.BACKEND}


@dataclass(frozen=True, slots=True)
class AppPlan:
    """One app with its version, clients, and the tenants and roles it is installed for. It is certified for all scopes of its clients."""

    slug: str
    vendor: str
    name: str
    description: str
    purpose: str
    version: str
    category: str
    clients: tuple[ClientPlan, ...]
    workflows: tuple[str, ...] | None = None
    placements: tuple[str, ...] | None = None
    """What its version declares; None: no declaration, as for the clients of test suites."""
    population: str = ""
    """How many patients of a hospital it declares to reach."""
    tenants: tuple[str, ...] = TENANTS
    roles: tuple[Role, ...] = CLINICAL_ROLES
    in_chart: bool = False
    """The simulator offers it in its list of apps."""

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(scope for client in self.clients for scope in client.scopes))


@dataclass(frozen=True, slots=True)
class VendorPlan:
    slug: str
    name: str
    support_contact: str
    security_contact: str
    website: str = ""


@dataclass(frozen=True, slots=True)
class SystemClientPlan:
    """A hospital's EHR, or a resource server that may introspect its tokens. Both authenticate with a secret."""

    tenant: str
    client_id: str
    name: str


@dataclass(frozen=True, slots=True)
class StaffPlan:
    """A member of the platform's staff; ``role`` is one of the platform's staff roles, ``disciplines`` those for which a reviewer signs, with blanks between them."""

    username: str
    password: str
    role: str
    name: str
    disciplines: str = ""


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """A member of a vendor; ``vendor`` is its slug, ``role`` one of a vendor's roles."""

    vendor: str
    username: str
    password: str
    role: str
    name: str

    @property
    def place(self) -> str:
        """Return the vendor's name among the places of accounts; no hospital's id has this form."""
        return f"vendor:{self.vendor}"


@dataclass(frozen=True, slots=True)
class Plan:
    vendors: tuple[VendorPlan, ...]
    apps: tuple[AppPlan, ...]
    ehr_clients: tuple[SystemClientPlan, ...]
    resource_servers: tuple[SystemClientPlan, ...]
    staff: tuple[StaffPlan, ...] = field(default_factory=tuple)
    members: tuple[MemberPlan, ...] = ()

    def clients(self) -> Iterable[tuple[AppPlan, ClientPlan]]:
        """Yield every client with its app."""
        return ((app, client) for app in self.apps for client in app.clients)


def plan(sandbox_url: str) -> Plan:
    """Build the plan. ``sandbox_url`` is the origin that serves the sample apps."""
    return Plan(
        vendors=_VENDORS,
        apps=(_lumen(sandbox_url), _wellspring(sandbox_url), *_testbench(), _northgate()),
        ehr_clients=tuple(SystemClientPlan(tenant, f"ehr-{tenant}", "Sandbox EHR") for tenant in TENANTS),
        resource_servers=tuple(
            SystemClientPlan(tenant, f"rs-{tenant}", "Sandbox data service") for tenant in TENANTS
        ),
        staff=_STAFF,
        members=_MEMBERS,
    )


def public_jwks(private_jwks: dict[str, Any]) -> dict[str, Any]:
    """Return the public half of a key set."""
    return {
        "keys": [
            {name: value for name, value in key.items() if name not in _PRIVATE_MEMBERS}
            for key in private_jwks["keys"]
        ]
    }


def _patient(*types: str) -> tuple[str, ...]:
    return tuple(f"patient/{each}.rs" for each in types)


def _lumen(sandbox_url: str) -> AppPlan:
    scopes = ("launch", "launch/patient", "launch/encounter", "openid", "fhirUser", "online_access")
    return AppPlan(
        slug="lumen",
        vendor="lumen",
        name="Lumen Chart",
        description="A patient's vital signs, problems, medications and allergies on one page, beside the chart.",
        purpose="Lets a clinician see at a glance how a patient has been doing over the last visits.",
        version="1.0",
        category="clinical_decision_support",
        workflows=("chart_review",),
        placements=("banner", "sidebar"),
        clients=(
            ClientPlan(
                "lumen-chart",
                "Lumen Chart",
                Kind.PUBLIC,
                Deployment.BROWSER,
                (
                    *scopes,
                    *_patient(
                        "Patient", "Observation", "Condition", "MedicationRequest", "Medication", "AllergyIntolerance", "Encounter"
                    ),
                ),
                redirect_uris=(f"{sandbox_url}/apps/lumen/app",),
                launch_url=f"{sandbox_url}/apps/lumen/launch",
                origins=(sandbox_url,),
            ),
        ),
        in_chart=True,
    )  # fmt: skip


def _wellspring(sandbox_url: str) -> AppPlan:
    return AppPlan(
        slug="wellspring",
        vendor="wellspring",
        name="Wellspring",
        description="Your lab results, vaccines and medicines in plain words, wherever you were treated.",
        purpose="Gives people their own record in words they understand.",
        version="1.0",
        category="care_recommendations",
        workflows=("outreach",),
        placements=("sidebar",),
        clients=(
            ClientPlan(
                "wellspring",
                "Wellspring",
                Kind.PUBLIC,
                Deployment.BROWSER,
                (
                    "launch", "launch/patient", "openid", "fhirUser", "offline_access",
                    *_patient("Patient", "Observation", "Immunization", "MedicationRequest", "Medication"),
                ),
                redirect_uris=(f"{sandbox_url}/apps/wellspring/app",),
                launch_url=f"{sandbox_url}/apps/wellspring/launch",
                origins=(sandbox_url,),
            ),
        ),
        roles=(Role.PATIENT,),
        in_chart=True,
    )  # fmt: skip


def _testbench() -> tuple[AppPlan, AppPlan]:
    """Build clients of each kind with scopes for every conformance suite; they redirect to the tester's own machine only."""
    redirects = CALLBACKS + tuple(host + path for host in SUITE_HOSTS for path in SUITE_PATHS)
    origins = ("http://127.0.0.1:9009", "http://localhost:9009", *SUITE_HOSTS)

    def client(slug: str, kind: Kind) -> ClientPlan:
        return ClientPlan(
            f"bench-{slug}",
            f"Testbench ({kind.value})",
            kind,
            # A client that authenticates runs on a server: the platform refuses any other combination (C15).
            Deployment.BROWSER if kind is Kind.PUBLIC else Deployment.SERVER,
            EVERYTHING,
            redirect_uris=redirects,
            launch_url="http://127.0.0.1:9009/launch",
            origins=origins,
        )

    delegated = AppPlan(
        slug="bench",
        vendor="bench",
        name="Testbench",
        description="A client for test suites and scripts: every scope, every role, redirects to this machine only.",
        purpose="Lets anyone drive the whole platform from outside.",
        version="1.0",
        category="sandbox_trial",
        clients=(
            client("public", Kind.PUBLIC),
            client("symmetric", Kind.SYMMETRIC),
            client("asymmetric", Kind.ASYMMETRIC),
        ),
        roles=EVERY_ROLE,
    )
    backend = AppPlan(
        slug="bench-backend",
        vendor="bench",
        name="Testbench service",
        description="The same without a person: a backend service with every system scope.",
        purpose="Lets anyone drive backend services from outside.",
        version="1.0",
        category="sandbox_trial",
        clients=(
            ClientPlan(
                "bench-backend",
                "Testbench (backend)",
                Kind.BACKEND,
                Deployment.SERVER,
                ("system/*.cruds",),
                backend_use=BackendUse("Conformance tests", "Synthetic patients", "On demand", "The sandbox"),
            ),
        ),
        # A backend service acts for no person.
        roles=(),
    )
    return delegated, backend


def _northgate() -> AppPlan:
    return AppPlan(
        slug="northgate",
        vendor="northgate",
        name="Northgate Immunization Registry",
        description="Collects vaccinations every night for the county's registry.",
        purpose="Keeps the county's immunization registry complete.",
        version="2.1",
        category="population_health",
        workflows=("quality_reporting",),
        placements=(),
        population="up_to_1000",
        clients=(
            ClientPlan(
                "northgate-registry",
                "Northgate Immunization Registry",
                Kind.BACKEND,
                Deployment.SERVER,
                ("system/Patient.rs", "system/Immunization.rs"),
                backend_use=BackendUse(
                    "Reports vaccinations to the county's registry",
                    "Everyone vaccinated at the hospital",
                    "Every night at 02:00",
                    "Head of infection control",
                ),
            ),
        ),
        tenants=("general", "children"),
        roles=(),
    )


_VENDORS = (
    VendorPlan("lumen", "Lumen Clinical", "support@lumen.example", "security@lumen.example", "https://lumen.example"),
    VendorPlan(
        "wellspring", "Wellspring Health", "help@wellspring.example", "security@wellspring.example",
        "https://wellspring.example",
    ),
    VendorPlan("bench", "Testbench Works", "support@bench.example", "security@bench.example"),
    VendorPlan(
        "northgate", "Northgate County Health", "registry@northgate.example", "security@northgate.example",
        "https://northgate.example",
    ),
)  # fmt: skip

_STAFF = tuple(
    StaffPlan(username, f"sandbox-{username}", *more)
    for username, *more in (
        # Two of each role whose acts take two people.
        ("admin.ferro", "platform_admin", "Livia Ferro"),
        ("admin.stone", "platform_admin", "Graham Stone"),
        ("security.ito", "security", "Naoko Ito"),
        ("security.bauer", "security", "Klaus Bauer"),
        # One for each discipline of a review.
        ("reviewer.mensah", "reviewer", "Abena Mensah", "technical"),
        ("reviewer.okafor", "reviewer", "Chidi Okafor", "legal"),
        ("reviewer.lind", "reviewer", "Astrid Lind", "clinical"),
        # And one who had no part in a review: for its appeal, and to judge again what another let fail.
        ("reviewer.rocha", "reviewer", "Beatriz Rocha", "technical legal clinical"),
        ("auditor.quispe", "auditor", "Rosa Quispe"),
    )
)

_MEMBERS = tuple(
    MemberPlan("lumen", username, f"sandbox-{username}", role, name)
    for username, role, name in (
        ("owner.varga", "vendor_owner", "Ilona Varga"),
        ("developer.lund", "vendor_developer", "Mads Lund"),
    )
)
