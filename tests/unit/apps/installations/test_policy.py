"""What a tenant may install and narrow, and what that allows (C68, C147)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.apps.installations import policy as installations_policy
from hilum.apps.installations.models import Installation, InstallOrder, NarrowOrder
from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix.models import NO_BOOK
from hilum.policy.matrix.shipped import shipped_book
from tests.unit.apps.registry.values import APP, FACTS, FUTURE, INSTALLED, NOW, PAST, SCOPES

GENERAL = TenantId("general")
BOOK = shipped_book()


def test_scopes_are_what_client_review_and_tenant_all_allow() -> None:
    """C68: registered AND certified AND admitted by the policy AND installed."""
    allowed = installations_policy.allowed_scopes(
        FACTS, replace(INSTALLED, scopes=("openid", "patient/Patient.r", "patient/Observation.rs")), BOOK, NOW
    )

    assert allowed == ("openid", "patient/Observation.rs", "patient/Patient.r")
    assert installations_policy.allowed_scopes(FACTS, INSTALLED, NO_BOOK, NOW) == ()
    games = replace(FACTS, category="games")
    assert installations_policy.allowed_scopes(games, INSTALLED, BOOK, NOW) == ()
    assert installations_policy.allowed_scopes(FACTS, replace(INSTALLED, scopes=()), BOOK, NOW) == ()
    assert (
        installations_policy.allowed_scopes(replace(FACTS, certified_scopes=()), INSTALLED, BOOK, NOW) == ()
    )


ORDER = InstallOrder(GENERAL, APP.id, frozenset({"physician"}), ("openid", "patient/Observation.r"))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({}, {}),
        ({"scopes": None}, {}),
        ({"scopes": ()}, {"scopes": "scopes_missing"}),
        ({"scopes": ("patient/Observation.cruds",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("user/Observation.r",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("offline_access",)}, {"scopes": "scopes_not_certified"}),
        ({"scopes": ("nonsense",)}, {"scopes": "scope_unknown"}),
        ({"scopes": ("patient/Observation.rc",)}, {"scopes": "scope_letters"}),
        ({"roles": frozenset()}, {"roles": "roles_missing"}),
        ({"roles": frozenset({"king"})}, {"roles": "role_unknown"}),
        ({"roles": frozenset({"physician", "security"})}, {"roles": "role_unknown"}),
        ({"expires_at": NOW}, {"expires_at": "not_in_the_future"}),
    ],
)
def test_a_tenant_never_installs_more_than_was_certified(
    change: dict[str, object], faults: dict[str, str]
) -> None:
    """C147."""
    order = replace(ORDER, **change)  # type: ignore[arg-type]

    assert installations_policy.install_faults(order, SCOPES, only_backend=False, now=NOW) == faults


INSTALLATION = Installation(
    "ins_1", GENERAL, APP.id, SCOPES, frozenset({"physician", "nurse"}), "person:t", PAST, FUTURE
)


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (NarrowOrder(), {}),
        (NarrowOrder(("openid",), frozenset({"nurse"}), NOW + timedelta(hours=1)), {}),
        (NarrowOrder(scopes=("patient/*.cruds",)), {"scopes": "widens"}),
        (NarrowOrder(scopes=("nonsense",)), {"scopes": "widens"}),
        (NarrowOrder(roles=frozenset({"nurse", "analyst"})), {"roles": "widens"}),
        (NarrowOrder(expires_at=FUTURE), {}),
        (NarrowOrder(expires_at=FUTURE + timedelta(seconds=1)), {"expires_at": "widens"}),
        (NarrowOrder(expires_at=NOW), {"expires_at": "not_in_the_future"}),
    ],
)
def test_narrowing_never_widens(order: NarrowOrder, faults: dict[str, str]) -> None:
    """C147."""
    assert installations_policy.narrow_faults(order, INSTALLATION, now=NOW) == faults


@pytest.mark.parametrize(
    ("before", "after", "faults"),
    [
        ("", "rounds", {}),
        ("rounds", "rounds", {}),
        ("rounds", "triage", {"default_workflow": "widens"}),
        ("rounds", "", {"default_workflow": "widens"}),
    ],
)
def test_another_default_workflow_or_none_may_widen(before: str, after: str, faults: dict[str, str]) -> None:
    """C190: it may allow what the present one does not."""
    installation = replace(INSTALLATION, default_workflow=before)
    order = NarrowOrder(default_workflow=after)

    assert installations_policy.narrow_faults(order, installation, now=NOW) == faults


@pytest.mark.parametrize(
    ("before", "asked", "after"),
    [
        (
            ("launch", "openid", "patient/*.rs"),
            ("patient/Patient.r",),
            ("launch", "openid", "patient/Patient.r"),
        ),
        (
            ("fhirUser", "launch/patient", "launch/encounter", "user/*.rs"),
            (),
            ("fhirUser", "launch/patient", "launch/encounter"),
        ),
        (("openid", "patient/*.rs"), ("patient/Patient.r", "openid"), ("openid", "patient/Patient.r")),
        # A hospital may take these away: the app goes on, for a shorter time.
        (("launch", "offline_access", "patient/*.rs"), ("patient/*.rs",), ("launch", "patient/*.rs")),
        (("hilum/launch", "system/*.rs"), ("system/*.rs",), ("system/*.rs",)),
        # Nothing is added that was not installed.
        (("patient/*.rs",), ("patient/Patient.r",), ("patient/Patient.r",)),
        (("openid", "patient/*.rs"), None, ("openid", "patient/*.rs")),
    ],
)
def test_narrowing_keeps_what_a_launch_needs(
    before: tuple[str, ...], asked: tuple[str, ...] | None, after: tuple[str, ...]
) -> None:
    """C66: an app narrowed to what it used can still be launched."""
    found = installations_policy.narrowed(NarrowOrder(scopes=asked), replace(INSTALLATION, scopes=before))

    assert found.scopes == after
