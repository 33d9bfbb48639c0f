"""Which runs are opened, and what they need (C120)."""

from dataclasses import replace

import pytest

from hilum.apps.clients.models import Client
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import Applicant
from hilum.policy.matrix.shipped import shipped_book
from hilum.review.certification_runs import policy
from tests.unit.apps.registry.values import CLIENT

OWN = replace(CLIENT, environment=Environment.SANDBOX)
OURS, THEIRS = VendorId("ven_ours"), VendorId("ven_theirs")
HERE = Tenant(TenantId("general"), "General", UpstreamRef(UpstreamKind.EMBEDDED), sandbox=True)


@pytest.mark.parametrize(
    ("client", "tenant", "needed", "faults"),
    [
        (OWN, HERE, ("launch",), {}),
        (OWN, HERE, (), {"client": "scenarios_none"}),
        (CLIENT, HERE, ("launch",), {"client": "client_not_of_sandbox"}),
        (CLIENT, HERE, (), {"client": "client_not_of_sandbox"}),
        (replace(OWN, dynamic=True), HERE, ("launch",), {"client": "client_not_of_sandbox"}),
        (OWN, None, ("launch",), {"tenant": "tenant_not_sandbox"}),
        (OWN, replace(HERE, sandbox=False), ("launch",), {"tenant": "tenant_not_sandbox"}),
        (OWN, replace(HERE, active=False), (), {"tenant": "tenant_not_sandbox"}),
        (OWN, replace(HERE, vendor=THEIRS), ("launch",), {"tenant": "tenant_not_sandbox"}),
        (OWN, replace(HERE, vendor=OURS), ("launch",), {}),
    ],
    ids=[
        "all",
        "no scenario",
        "production",
        "production alone",
        "dynamic",
        "nowhere",
        "people there",
        "left",
        "another vendor's own",
        "our own",
    ],
)
def test_a_run_is_of_a_client_for_the_sandbox_at_a_sandbox_and_has_something_to_show(
    client: Client, tenant: Tenant | None, needed: tuple[str, ...], faults: dict[str, str]
) -> None:
    assert policy.order_faults(client, tenant, OURS, needed, ()) == faults
    assert policy.order_faults(client, tenant, OURS, needed, None) == {
        name: code for name, code in faults.items() if code != "scenarios_none"
    } | {"scenarios": "scenario_unknown"}


def test_a_category_that_the_policy_has_no_more_needs_nothing() -> None:
    """So that no run of it is opened: there is nothing to show."""
    book = shipped_book()
    scheduling = Applicant("scheduling", ("user/Slot.rs",), certified_tier=None)

    assert policy.entries_of(book, replace(scheduling, category="gone")) == {}
    assert (
        policy.needed_of(book, policy.entries_of(book, replace(scheduling, category="gone")).values()) == {}
    )
    assert policy.entries_of(book, scheduling)
