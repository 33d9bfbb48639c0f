"""Vendors, apps, versions and certifications as the service keeps them, on each backend (C5, C111)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry import service
from hilum.apps.registry.models import AppState, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Applicant, ApplyOrder, ClientAuthentication, Tier
from hilum.policy.matrix.policy import admit
from tests.sim.world import START
from tests.store import registry_ground
from tests.store.registry_ground import GINA, RITA, ROOT, SAM, SCOPES, Ground, staff
from tests.unit.policy.matrix.books import document

ground = registry_ground.ground


def test_what_is_added_comes_back(ground: Ground) -> None:
    assert ground.do(SYSTEM, service.get_app, ground.app.id) == ground.app
    assert ground.do(SYSTEM, service.get_vendor, ground.vendor.id) == ground.vendor
    assert ground.do(ROOT, service.list_versions, ground.app.id) == [ground.version]
    assert ground.do(GINA, service.list_vendors) == [ground.vendor]


def test_nobody_but_the_registrar_registers_and_nobody_who_registers_certifies(ground: Ground) -> None:
    """C111."""
    for actor in (RITA, SAM, GINA, staff("auditor")):
        for verb, args in (
            (service.add_vendor, (NewVendor("x", "y", "z"),)),
            (service.add_app, (NewApp(ground.vendor.id, "x", "y", "z", "scheduling"),)),
            (service.add_version, (ground.app.id, NewVersion("2"))),
        ):
            with pytest.raises(NotPermitted):
                ground.do(actor, verb, *args)
    end = ground.uow.clock.now() + timedelta(days=1)
    with pytest.raises(NotPermitted):
        ground.do(ROOT, service.certify, CertifyOrder(ground.version.id, Environment.SANDBOX, SCOPES, end))


def test_an_app_has_a_version_of_a_label_once(ground: Ground) -> None:
    """C5."""
    with pytest.raises(Conflict):
        ground.do(ROOT, service.add_version, ground.app.id, NewVersion("1.0"))
    with pytest.raises(Invalid):
        ground.do(ROOT, service.add_version, ground.app.id, NewVersion(" "))


def test_a_suspension_has_a_reason_and_happens_once(ground: Ground) -> None:
    with pytest.raises(Invalid):
        ground.do(SAM, service.suspend_app, ground.app.id, " ")
    with pytest.raises(NotPermitted):
        ground.do(GINA, service.suspend_app, ground.app.id, "why")
    assert ground.do(SAM, service.suspend_app, ground.app.id, "why").state is AppState.SUSPENDED

    with pytest.raises(Conflict):
        ground.do(SAM, service.suspend_app, ground.app.id, "why")


def test_the_longest_label_that_is_taken_fits_where_it_is_kept(ground: Ground) -> None:
    label = "v" * 100

    assert ground.do(SYSTEM, service.add_version, ground.app.id, NewVersion(label)).label == label
    with pytest.raises(Invalid) as refused:
        ground.do(SYSTEM, service.add_version, ground.app.id, NewVersion(label + "v"))
    assert refused.value.fields == {"label": "name_too_long"}


# --- policies on trial -----------------------------------------------------------------------------------------------------------

NEW_CATEGORY = {
    "categories.triage": {
        "title": "Triage",
        "floor": "low",
        "open": True,
        "entries": {"low": {"scopes": ["patient/Observation.rs"]}},
    }
}
READ = ("patient/Observation.rs",)


def on_trial(ground: Ground, changes: dict[str, Any], *tenants: str) -> None:
    """Put a version in force, as two people have agreed to."""

    def verb(ctx: Context) -> None:
        policies.adopt_shipped(ctx)
        version = policies.add_version(ctx, document(changes), base=1, note="")
        order = ApplyOrder(
            version.number, tuple(map(TenantId, tenants)), policies.in_force(ctx).last, "a trial"
        )
        policies._applied(ctx, order, agreed_by="staff:second")

    ground.do(SYSTEM, verb)


def test_what_only_a_book_on_trial_allows_is_registered_and_certified_to_be_tried(ground: Ground) -> None:
    """C218: otherwise nothing new could be tried. Where that policy is not in force nobody gets anything of it."""
    order = NewApp(ground.vendor.id, "Sorter", "Sorts", "Triage", "triage")
    with pytest.raises(Invalid) as refused:
        ground.do(ROOT, service.add_app, order)
    assert refused.value.fields == {"category": "category_unknown"}

    on_trial(ground, NEW_CATEGORY, "general")

    app = ground.do(ROOT, service.add_app, order)
    version = ground.do(ROOT, service.add_version, app.id, NewVersion("1", workflows=(), placements=()))
    end = ground.uow.clock.now() + timedelta(days=1)
    made = ground.do(RITA, service.certify, CertifyOrder(version.id, Environment.SANDBOX, READ, end))
    assert set(made.tiers.values()) == {Tier.LOW}
    books = ground.do(SYSTEM, policies.current)
    applicant = Applicant("triage", READ, ClientAuthentication.KEY, (), (), certified_tier=Tier.LOW)
    assert admit(books.book_at(TenantId("general"), START), applicant).scopes == READ
    assert admit(books.everywhere, applicant).scopes == ()


def test_what_the_book_everywhere_allows_is_certified_by_it(ground: Ground) -> None:
    """A trial that judges an app as riskier, or lets it run longer, changes nothing for the others."""
    on_trial(ground, {"categories.care_recommendations.floor": "high"}, "general")
    end = ground.uow.clock.now() + timedelta(days=1)

    made = ground.do(RITA, service.certify, CertifyOrder(ground.version.id, Environment.SANDBOX, READ, end))

    assert Tier.HIGH not in made.tiers.values()


def test_what_no_book_in_force_allows_is_refused_by_the_one_everywhere(ground: Ground) -> None:
    on_trial(ground, NEW_CATEGORY, "general")

    with pytest.raises(Invalid) as refused:
        ground.do(ROOT, service.add_app, NewApp(ground.vendor.id, "Sorter", "Sorts", "Triage", "nothing"))

    assert refused.value.fields == {"category": "category_unknown"}
