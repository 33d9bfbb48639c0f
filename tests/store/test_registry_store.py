"""Vendors, apps, versions and certifications as the service keeps them, on each backend (C5, C111)."""

from datetime import timedelta

import pytest

from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.registry import service
from hilum.registry.models import AppState, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from tests.store import registry_ground
from tests.store.registry_ground import GINA, RITA, ROOT, SAM, SCOPES, Ground, staff

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
