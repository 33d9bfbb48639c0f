"""What a certification must state (C5)."""

from datetime import timedelta

import pytest

from hilum.registry import policy
from hilum.registry.models import CertifyOrder, Environment
from tests.unit.registry.values import CLIENT, FUTURE, NOW, SCOPES


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
    assert policy.certify_faults(order, now=NOW) == faults
