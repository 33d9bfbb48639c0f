"""A sandbox runs the code, the policy and the limits of production; what differs is listed here, each with its reason (C121)."""

import ast
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.foundation.infra import settings
from hilum.identity.people.models import TenantFacts
from hilum.server.parts import SITES
from tests.unit.authorization.eligibility.facts import FAULTS, GOOD, NOW, Change, changed

SOURCE = Path(__file__).parents[2] / "src" / "hilum"
ASKED = frozenset(
    {"is_sandbox", "opens_private_fetches", "sandbox_public", "sandbox", "SANDBOX", "production"}
)
"""Names by which code asks where it runs, what a hospital is, or for which environment something was registered or certified."""
DECIDING = (
    "records/audit", "authorization/breakglass", "authorization/consent", "controls/switches", "hospitals/offboarding", "apps/deletion_requests", "operations/drills", "gateway/enforcement", "hospitals/disclosures",
    "records/keys", "foundation/kernel", "authorization/launches", "apps/names", "records/notices", "review/undeclared_use", "foundation/standards", "apps/deprecations", "operations/switch_administration", "authorization/tokens", "gateway/upstream",
)  # fmt: skip
"""Modules that decide, limit, count and record: they do not know what a sandbox is."""
_APART = "what is registered or certified for synthetic data only is kept apart from what is for people (C4)"
_FACTOR = "staff and administrators need a second factor where people are treated; the accounts of a sandbox are published"
_FETCH = "a developer's own machine is fetched from, in a sandbox that is not public"
_SYNTHETIC = "it makes, shows or guards the synthetic hospitals themselves"
_PAGES = "pages say that everyone is synthetic, or offer what is for the sandbox"
DIFFERENCES = {
    "identity/account": {"own_pages.py": _FACTOR, "service.py": _FACTOR},
    "apps/agreements": {
        "policy.py": "agreements between organisations are about records of people, and a sandbox has none",
    },
    "server": {
        "ehr.py": _SYNTHETIC,
        "jobs.py": _FETCH,
        "mounts.py": f"{_FACTOR}; {_FETCH}; clients register themselves in a sandbox that is not public",
        "platform.py": f"{_PAGES}; {_FETCH}",
        "seed.py": _SYNTHETIC,
        "sending.py": _FETCH,
        "supervisor.py": "the simulator is a process beside the platform",
    },
    "authorization/token": {"service.py": "certification runs are looked for at sandbox hospitals only"},
    "server/commands": {
        "doctor.py": "a sandbox is not asked for what only production needs",
        "preflight.py": "a production platform refuses to start with synthetic hospitals, or with what is missing",
        "sandbox.py": _SYNTHETIC,
        "server.py": _SYNTHETIC,
    },
    "apps/clients": {
        "policy.py": "addresses on this machine and keys sent inline are for clients of the sandbox",
        "routes.py": _APART,
        "service.py": _APART,
    },
    "surfaces/console": {
        "desk.py": f"{_FACTOR}; {_PAGES}",
        "service.py": _FACTOR,
        **{
            f"developer/{name}.py": _PAGES
            for name in (
                "clients",
                "proposals",
                "reviews",
                "runs",
                "snapshots",
                "steps",
                "submission",
                "usage",
            )
        },
        "tenant/apps.py": _APART,
        "tenant/settings.py": _PAGES,
    },
    "operations/dry_runs": {"policy.py": _APART},
    "review/certification_runs": dict.fromkeys(
        ("acting.py", "by_hand.py", "policy.py", "tracing.py"),
        "nothing is made to fail where people are treated",
    ),
    "identity/factors": {"policy.py": _FACTOR},
    "identity/federation": {"pages.py": _FACTOR, "policy.py": _FACTOR, "sign_in.py": _FACTOR},
    "authorization/authorize": {"flow.py": _PAGES, "pages.py": _PAGES},
    "identity/people": {
        "ownership.py": _SYNTHETIC,
        "policy.py": "the fact is passed on",
        "routes.py": "a synthetic hospital is added to a sandbox only",
        "service.py": "the fact is recorded",
    },
    "foundation/infra": {"settings.py": "where it is read and checked"},
    "apps/installations": {
        "answering.py": _APART,
        "dynamic.py": "dynamic registration is for synthetic data",
    },
    "apps/service_owners": dict.fromkeys(
        ("policy.py", "service.py"), "who answers for a service is asked where people are treated"
    ),
    "policy/matrix": {"rollout.py": "what a synthetic hospital shows of a version says little of a real one"},
    "apps/registry": {"calls.py": _APART, "models.py": _APART, "policy.py": _APART, "store.py": _APART},
    "review/recertification": {
        "service.py": _APART,
        "serviced.py": "service is asked of what people use",
    },
    "review/submissions": {
        "checks.py": "what is submitted for the sandbox needs no public TLS and no run",
        "policy.py": "a submission for the sandbox needs less",
    },
    "identity/signin": dict.fromkeys(("api_tokens.py", "routes.py", "service.py"), _FACTOR),
    "hospitals/vendor_hospitals": {"service.py": _SYNTHETIC},
    "authorization/eligibility": {"policy.py": _APART},
    "foundation/web": {"kit.py": "where it is asked"},
}
"""Every file that asks, by module, with the reason why it may."""
SECRET = {"HILUM_SECRET_KEY": "k" * 40}
OF_THE_PLACE = frozenset({"mode", "base_url", "sandbox_url", "listen", "sandbox_listen"})
"""Settings that say where a platform is."""


def asking() -> Iterator[str]:
    """Yield each file that reads one of the names, as ``module/path``."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            attribute = (
                isinstance(node, ast.Attribute) and node.attr in ASKED and isinstance(node.ctx, ast.Load)
            )
            variable = (
                isinstance(node, ast.Name) and node.id == "production" and isinstance(node.ctx, ast.Load)
            )
            if attribute or variable:
                yield path.relative_to(SOURCE).as_posix()
                break


def test_every_place_where_a_sandbox_differs_is_listed_with_its_reason() -> None:
    """C121: one that is new fails here, until somebody can say why; one that is gone goes from the list."""
    listed = {f"{module}/{file}" for module, files in DIFFERENCES.items() for file in files}
    assert set(asking()) == listed
    assert all(reason for files in DIFFERENCES.values() for reason in files.values())


def test_the_rooms_that_decide_do_not_know_what_a_sandbox_is() -> None:
    """C121: nor is there a second gateway, policy or limit to choose."""
    assert not DIFFERENCES.keys() & set(DECIDING)
    assert all((SOURCE / module).is_dir() for module in DECIDING)
    assert SITES["platform"] == "hilum.server.factories:platform", "both are one program"


def test_the_defaults_of_every_limit_are_the_same() -> None:
    """C121: of all settings only those differ by themselves that say where the platform is."""
    production = settings.read(
        SECRET | {"HILUM_MODE": "production", "HILUM_BASE_URL": "https://hilum.example"}
    )
    sandbox = settings.read(SECRET | {"HILUM_MODE": "sandbox", "HILUM_BASE_URL": "http://127.0.0.1:8000"})
    differing = {
        each.name
        for each in fields(production)
        if getattr(production, each.name) != getattr(sandbox, each.name)
    }
    assert differing <= OF_THE_PLACE


@pytest.mark.parametrize(
    "change", [change for changes in FAULTS.values() for change in changes], ids=lambda _: "x"
)
def test_the_same_app_is_judged_alike_at_a_synthetic_hospital(change: Change) -> None:
    """C121: each reason that the decision about an app's eligibility knows, and none, at a tenant of either kind."""
    for eligibility in (GOOD, changed(GOOD, change)):
        if not isinstance(eligibility.tenant, TenantFacts):
            continue
        both = {
            eligibility_fault(replace(eligibility, tenant=replace(eligibility.tenant, sandbox=kind)), NOW)
            for kind in (True, False)
        }
        assert len(both) == 1
