"""What a kill switch may be engaged on, and by whom, on each backend (C138, C144)."""

from typing import Any

import pytest

from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.kernel.actor import SYSTEM, Actor
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.operations.switch_administration import service as switch_administration
from tests.store import registry_ground
from tests.store.registry_ground import GENERAL, GINA, MERCY, SAM, Ground

ground = registry_ground.ground


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (TargetKind.APP, "app_none"),
        (TargetKind.VENDOR, "ven_none"),
        (TargetKind.VERSION, "ver_none"),
        (TargetKind.TENANT, "nowhere"),
        (TargetKind.PERSON, "per_none"),
        (TargetKind.APP_TENANT, "app_none/general"),
        (TargetKind.APP_PERSON, "app_none/per_none"),
    ],
)
def test_a_switch_on_what_does_not_exist_is_refused_rather_than_comforting(
    ground: Ground, kind: TargetKind, key: str
) -> None:
    """C138."""
    with pytest.raises(NotFound):
        ground.do(SAM, switch_administration.engage, EngageOrder(Target(kind, key), Mode.FULL_STOP, "why"))


def test_a_tenants_administrator_engages_on_the_own_people_and_pairs(ground: Ground) -> None:
    """C144."""
    ann = ground.do(SYSTEM, identity.add_person, NewPerson(GENERAL, "ann", "Ann", "physician"))
    mo = ground.do(SYSTEM, identity.add_person, NewPerson(MERCY, "mo", "Mo", "physician"))

    def engage(actor: Actor, kind: TargetKind, key: str) -> Any:
        return ground.do(
            actor, switch_administration.engage, EngageOrder(Target(kind, key), Mode.FULL_STOP, "why")
        )

    assert engage(GINA, TargetKind.PERSON, ann.id).tenant == GENERAL
    assert engage(GINA, TargetKind.APP_PERSON, f"{ground.app.id}/{ann.id}").tenant == GENERAL
    assert engage(GINA, TargetKind.APP_TENANT, f"{ground.app.id}/general").tenant == GENERAL
    assert engage(SAM, TargetKind.PERSON, mo.id).tenant == MERCY
    for kind, key in (
        (TargetKind.PERSON, mo.id),
        (TargetKind.APP_PERSON, f"{ground.app.id}/{mo.id}"),
        (TargetKind.APP_TENANT, f"{ground.app.id}/mercy"),
        (TargetKind.APP, ground.app.id),
    ):
        with pytest.raises(NotPermitted):
            engage(GINA, kind, key)
    with pytest.raises(Invalid):
        engage(SAM, TargetKind.APP_TENANT, ground.app.id)
