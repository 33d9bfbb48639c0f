"""What a certification must state (C5)."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hilum.apps.registry import policy
from hilum.apps.registry.models import Certification, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import VersionId
from hilum.policy.matrix.models import SANDBOX_TRIAL, UNCLASSIFIED, Book
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.apps.registry.values import APP, CERT, CLIENT, FUTURE, NOW, SCOPES, VERSION
from tests.unit.policy.matrix.books import book, document

ROOT = Actor(ActorKind.STAFF, "per_root", roles=frozenset({"platform_admin"}))


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, FUTURE), {}),
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, (), FUTURE), {"scopes": "scopes_missing"}),
        (CertifyOrder(CLIENT.version, Environment.PRODUCTION, ("x",), FUTURE), {"scopes": "scope_unknown"}),
        (
            CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, NOW),
            {"expires_at": "not_in_the_future"},
        ),
        (
            CertifyOrder(CLIENT.version, Environment.PRODUCTION, SCOPES, NOW + timedelta(days=9_999)),
            {"expires_at": "too_far_away"},
        ),
    ],
)
def test_a_certification_names_scopes_and_ends(order: CertifyOrder, faults: dict[str, str]) -> None:
    assert policy.certify_faults(order, APP, VERSION, shipped_book(), now=NOW, missing=()) == faults


def test_the_policy_says_which_tiers_are_certified_and_for_how_long() -> None:
    """C20, C179."""
    scheduler = replace(APP, category="scheduling")
    reads, writes = ("user/Slot.rs",), ("user/MedicationRequest.c",)
    short = book(
        {
            "base.low.certificate_life": "10 d",
            "base.moderate.certificate_life": "10 d",
            "base.high.certificate_life": "10 d",
        }
    )

    def faults(scopes: tuple[str, ...], of: Book, days: int = 30) -> dict[str, str]:
        order = CertifyOrder(CLIENT.version, Environment.PRODUCTION, scopes, NOW + timedelta(days=days))
        return policy.certify_faults(order, scheduler, VERSION, of, now=NOW, missing=())

    assert faults(reads, shipped_book()) == {}
    assert faults(reads, shipped_book(), days=366) == {"expires_at": "too_far_away"}
    assert faults(reads, short) == {"expires_at": "too_far_away"}
    assert faults(writes, shipped_book()) == {"scopes": "tier_not_allowed"}


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (NewVersion("2.0"), {}),
        (NewVersion("2.0", (), ()), {}),
        (NewVersion("2.0", ("intake",), ("orders", "note")), {}),
        (NewVersion("2.0", ("surgery",), ("ceiling",)), {"workflows": "workflow_unknown", "placements": "placement_unknown"}),
        (NewVersion("2.0", placements=("*", "note")), {"placements": "placement_unknown"}),
        (NewVersion("2.0", ("intake", "intake")), {"workflows": "named_twice"}),
        (NewVersion("2.0", ("",)), {"workflows": "workflow_unknown"}),
        (NewVersion("2.0", tuple(map(str, range(51)))), {"workflows": "too_many"}),
        (NewVersion(" "), {"label": "name_missing"}),
    ],
)  # fmt: skip
def test_a_version_declares_what_the_policy_names(order: NewVersion, faults: dict[str, str]) -> None:
    """C18, C191."""
    assert policy.version_faults(order, shipped_book(), "scheduling") == faults


def test_a_trial_in_a_sandbox_is_never_certified_for_production() -> None:
    """C4."""
    trial = replace(APP, category=SANDBOX_TRIAL)

    def faults(environment: Environment) -> dict[str, str]:
        order = CertifyOrder(CLIENT.version, environment, SCOPES, FUTURE)
        return policy.certify_faults(order, trial, VERSION, shipped_book(), now=NOW)

    assert faults(Environment.PRODUCTION) == {"environment": "sandbox_only"}
    assert faults(Environment.SANDBOX) == {}


def test_a_certification_counts_for_the_ways_to_authenticate_that_have_a_entry() -> None:
    """C20: a rule about public clients does not stop a version with keys from being certified."""
    rule = {
        "name": "public",
        "tier": "high",
        "because": "its client cannot keep a secret",
        "clients": ["none"],
        "types": ["Appointment"],
    }
    of = book({"tier_rules": [*document()["tier_rules"], rule]})
    order = CertifyOrder(CLIENT.version, Environment.PRODUCTION, ("user/Appointment.rs",), FUTURE)

    scheduler, declared = replace(APP, category="scheduling"), replace(VERSION, workflows=(), placements=())
    assert policy.certify_faults(order, scheduler, declared, of, now=NOW, missing=()) == {}


@pytest.mark.parametrize(
    ("category", "actor", "fault"),
    [
        ("scheduling", ROOT, ""),
        ("games", ROOT, "category_unknown"),
        ("games", SYSTEM, "category_unknown"),
        ("", ROOT, "category_unknown"),
        (UNCLASSIFIED, ROOT, "category_closed"),
        (UNCLASSIFIED, SYSTEM, ""),
    ],
)
def test_a_new_app_is_of_an_open_category_of_the_policy(category: str, actor: Actor, fault: str) -> None:
    order = NewApp(APP.vendor, "Viewer", "Shows charts", "Care", category)

    assert policy.app_faults(order, shipped_book(), actor).get("category", "") == fault


@pytest.mark.parametrize(
    ("workflows", "environment", "justified", "lacking"),
    [
        (("appointments",), Environment.PRODUCTION, (), ("user/MedicationRequest.c",)),
        (("appointments",), Environment.PRODUCTION, ("user/MedicationRequest.cruds",), ("user/MedicationRequest.c",)),
        (("appointments",), Environment.PRODUCTION, ("user/MedicationRequest.c",), ()),
        (("appointments",), Environment.SANDBOX, (), ()),
        (("medication_reconciliation", "appointments"), Environment.PRODUCTION, (), ()),
        ((), Environment.PRODUCTION, (), ()),
        (("*",), Environment.PRODUCTION, (), ()),
    ],
)  # fmt: skip
def test_a_scope_of_risk_beyond_the_declared_workflows_needs_a_justification_of_its_own(
    workflows: tuple[str, ...], environment: Environment, justified: tuple[str, ...], lacking: tuple[str, ...]
) -> None:
    """C64: a justification of another scope is none, and one for a sandbox is not asked for."""
    book = shipped_book()
    order = CertifyOrder(VERSION.id, environment, ("launch", "user/Slot.rs", "user/MedicationRequest.c"), NOW)
    found = policy.unjustified(order, APP, replace(VERSION, workflows=workflows), book, justified)

    assert found == lacking


@pytest.mark.parametrize(
    ("role", "environment", "submission", "may"),
    [
        ("reviewer", Environment.PRODUCTION, "", False),
        ("reviewer", Environment.PRODUCTION, "sub_1", True),
        ("reviewer", Environment.SANDBOX, "", True),
        ("platform_admin", Environment.PRODUCTION, "", False),
        ("", Environment.PRODUCTION, "", True),
    ],
)
def test_for_production_only_what_disciplines_decided_is_certified(
    role: str, environment: Environment, submission: str, *, may: bool
) -> None:
    """C100, C109: and what the platform itself enables in the regulated lane."""
    actor = Actor(ActorKind.STAFF, "per_1", roles=frozenset({role})) if role else SYSTEM
    order = CertifyOrder(CLIENT.version, environment, SCOPES, FUTURE, submission)

    assert policy.may_certify_for(actor, order) is may


GRACE, DAY = timedelta(days=30), timedelta(days=1)
ENDS = replace(CERT, certified_at=NOW, expires_at=NOW + 10 * DAY)
OTHER = replace(ENDS, id="cert_other")


@pytest.mark.parametrize(
    ("certification", "others", "last"),
    [
        (ENDS, (OTHER,), ENDS.expires_at + GRACE),
        (replace(ENDS, withdrawn_at=NOW + DAY), (), NOW + DAY),
        (replace(ENDS, withdrawn_at=NOW + 20 * DAY), (), ENDS.expires_at),
        (ENDS, (replace(OTHER, withdrawn_at=NOW + DAY),), ENDS.expires_at),
        (ENDS, (replace(OTHER, withdrawn_at=NOW),), ENDS.expires_at),
        (ENDS, (replace(OTHER, withdrawn_at=NOW - DAY),), ENDS.expires_at + GRACE),
        (ENDS, (replace(OTHER, withdrawn_at=NOW + DAY, version=VersionId("ver_other")),), ENDS.expires_at + GRACE),
    ],
    ids=["grace", "withdrawn", "withdrawn after its end", "another is withdrawn", "at that instant", "before it", "of another version"],
)  # fmt: skip
def test_what_was_withdrawn_has_no_grace_nor_has_what_stands_beside_it(
    certification: Certification, others: tuple[Certification, ...], last: datetime
) -> None:
    """C114."""
    assert policy.last_use(certification, others, GRACE) == last


@pytest.mark.parametrize(
    ("website", "is_one"),
    [
        ("", True),
        ("https://x.example", True),
        ("https://x.example/@team?q=a@b", True),
        ("http://x.example", False),
        ("https://", False),
        ("https://user:pw@x.example/", False),
        ("https://hospital.example@x.example", False),
        ("https://x.example/\\@y", False),
        ('https://x.example/"onclick=', False),
        ("https://x.example/'", False),
        ("https://x.example/<b>", False),
    ],
)
def test_a_vendor_s_website_leads_where_it_says(website: str, is_one: bool) -> None:
    faults = policy.vendor_faults(NewVendor("Acme", "help@acme.example", "sec@acme.example", website))

    assert faults == ({} if is_one else {"website": "website_not_https"})
