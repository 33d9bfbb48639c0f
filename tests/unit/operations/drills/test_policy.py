"""What a canary is, and when a drill passed (C139)."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId, VersionId
from hilum.operations.drills.models import CEILING_S, ENDPOINTS, TRIES_LEAST, Drill, Measured
from hilum.operations.drills.policy import canary_fault, faults

HERE, THERE = TenantId("general"), TenantId("mercy")
CANARY = ClientFacts(
    ClientId("cli_1"),
    AppId("app_1"),
    VersionId("ver_1"),
    VendorId("ven_1"),
    ClientType.BACKEND,
    Environment.PRODUCTION,
    active=True,
    expires_at=None,
    certified_scopes=(),
    certified_until=None,
    origins=(),
    scopes=("system/Organization.rs", "system/Location.r"),
    category="population_health",
    certified_tier=None,
)
REFUSED = tuple(Measured(name, TRIES_LEAST, 40.0) for name in ENDPOINTS)
SEEN = Drill(
    "drl_1",
    CANARY.id,
    CANARY.app,
    HERE,
    "sw_1",
    "staff:a",
    datetime(2026, 12, 3, tzinfo=UTC),
    measured=REFUSED,
    containment="contained",
    slowest_ms=40.0,
)


def test_a_backend_service_of_directories_alone_is_a_canary_where_it_is_installed_and_nowhere_else() -> None:
    assert canary_fault(CANARY, 1, [HERE], HERE) == ""


@pytest.mark.parametrize(
    ("scopes", "fault"),
    [
        ((), "canary_reaches_patients"),
        (("system/Patient.rs",), "canary_reaches_patients"),
        (("system/Organization.rs", "system/Observation.rs"), "canary_reaches_patients"),
        (("system/*.rs",), "canary_reaches_patients"),
        (("system/Organization.cruds",), "canary_reaches_patients"),
        (("user/Organization.rs",), "canary_reaches_patients"),
        (("system/Binary.r",), "canary_reaches_patients"),
        (("system/Group.rs",), "canary_reaches_patients"),
        (("system/Unheard.rs",), "canary_reaches_patients"),
        (("launch",), "canary_reaches_patients"),
        (("nonsense",), "canary_reaches_patients"),
    ],
)
def test_whatever_could_reach_a_patient_is_no_canary(scopes: tuple[str, ...], fault: str) -> None:
    assert canary_fault(replace(CANARY, scopes=scopes), 1, [HERE], HERE) == fault


@pytest.mark.parametrize(
    ("client", "clients", "tenants", "fault"),
    [
        (replace(CANARY, type=ClientType.PUBLIC), 1, [HERE], "canary_acts_for_people"),
        (replace(CANARY, type=ClientType.EHR), 1, [HERE], "canary_acts_for_people"),
        (CANARY, 2, [HERE], "canary_has_other_clients"),
        (CANARY, 0, [HERE], "canary_has_other_clients"),
        (CANARY, 1, [], "canary_installed_elsewhere"),
        (CANARY, 1, [THERE], "canary_installed_elsewhere"),
        (CANARY, 1, [HERE, THERE], "canary_installed_elsewhere"),
    ],
)
def test_an_app_that_somebody_uses_is_no_canary(
    client: ClientFacts, clients: int, tenants: list[TenantId], fault: str
) -> None:
    assert canary_fault(client, clients, tenants, HERE) == fault


def test_a_drill_passes_if_every_endpoint_refused_in_time_and_nothing_passed() -> None:
    assert faults(SEEN) == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"measured": REFUSED[1:]}, "gateway_not_tried"),
        ({"measured": ()}, "token_not_tried"),
        ({"measured": (replace(REFUSED[0], refused=TRIES_LEAST - 1), *REFUSED[1:])}, "gateway_not_tried"),
        (
            {"measured": (replace(REFUSED[0], last_open_ms=CEILING_S * 1_000 + 1), *REFUSED[1:])},
            "gateway_open_too_long",
        ),
        ({"containment": ""}, "not_contained"),
        ({"containment": "not_proven"}, "not_contained"),
        ({"containment": "not_contained"}, "not_contained"),
        ({"slowest_ms": None}, "worker_too_slow"),
        ({"slowest_ms": CEILING_S * 1_000 + 1}, "worker_too_slow"),
        ({"slowest_ms": -1.0}, "worker_too_slow"),
    ],
)
def test_what_was_not_seen_or_took_too_long_fails_a_drill(change: dict[str, Any], fault: str) -> None:
    assert fault in faults(replace(SEEN, **change))
