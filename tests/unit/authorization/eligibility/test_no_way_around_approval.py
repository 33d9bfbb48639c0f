"""No kind of client acts without a certification and an installation in force, whatever is asked and however old it is (C231)."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from hilum.apps.clients.models import SYSTEM_CLIENTS, ClientType
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import PersonId, TenantId, VersionId
from hilum.policy.matrix.models import SANDBOX_TRIAL, SYSTEM_CLIENT, Tier
from tests.unit.authorization.eligibility.facts import DAY, GENERAL, GOOD, NOW, Change, changed

LACKING: dict[str, Change] = {
    "no certification": {"client.certified_until": None, "client.certified_scopes": (), "client.certified_tier": None},
    "an expired one": {"client.certified_until": NOW},
    "one of another category's book": {"client.category": "gone", "client.certified_until": None},
    "suspended": {"client.active": False},
    "no installation": {"installation": None},
    "an ended one": {"installation.expires_at": NOW},
    "one of synthetic data": {"client.environment": Environment.SANDBOX},
    "one hospital's client elsewhere": {"client.tenant": TenantId("other")},
    "a dynamic client elsewhere": {
        "client.tenant": TenantId("other"),
        "client.category": SANDBOX_TRIAL,
        "client.environment": Environment.SANDBOX,
    },
    "before another vendor": {"client.owner_since": NOW},
    "of nobody knows when, before another vendor": {"client.owner_since": NOW - DAY, "installation.since": None},
}  # fmt: skip
TOKENS: dict[str, Change] = {
    "nothing yet": {"issued_at": None},
    "a launch": {"issued_at": None, "launching": True, "begins": True, "answered_until": NOW + DAY},
    "a token of a person": {"issued_at": NOW - DAY / 2},
    "a token of a service": {"issued_at": NOW - DAY / 2, "acting.person": PersonId(""), "acting.role": ""},
    # Before there were roles, workflows, facilities and versions in tokens, these were empty.
    "a token of an old form": {"issued_at": NOW - DAY / 2, "acting.version": VersionId(""), "acting.role": ""},
    "a token without a role": {"issued_at": NOW - DAY / 2, "acting.role": None},
}  # fmt: skip


def eligibility(kind: ClientType, token: str, lacking: Change) -> Any:
    held: Change = {"client.type": kind} | TOKENS[token]
    if kind in SYSTEM_CLIENTS:
        held |= {"client.category": SYSTEM_CLIENT, "client.tenant": GENERAL, "client.certified_until": None}
    return changed(GOOD, held | lacking)


@pytest.mark.parametrize("kind", [each for each in ClientType if each not in SYSTEM_CLIENTS])
@pytest.mark.parametrize("token", TOKENS)
def test_whatever_an_app_presents_it_needs_approval(kind: ClientType, token: str) -> None:
    """C4, C17, C231: with the ground it stands, and without any part of it it does not."""
    allowed = eligibility_fault(eligibility(kind, token, {}), NOW)

    # An app of people needs a role that the installation lists; an old token's empty one is none.
    roleless = kind is not ClientType.BACKEND and TOKENS[token].get("acting.role") == ""
    assert (allowed is Reason.ROLE_NOT_ALLOWED) if roleless else (allowed is None)
    for name, lacking in LACKING.items():
        assert eligibility_fault(eligibility(kind, token, lacking), NOW) is not None, name


@pytest.mark.parametrize("kind", sorted(SYSTEM_CLIENTS))
@pytest.mark.parametrize("token", TOKENS)
def test_a_hospitals_own_systems_reach_no_record_with_any_token(kind: ClientType, token: str) -> None:
    """C231: they need no approval, for they have no access; an installation of an app beside them changes nothing."""
    for lacking in ({}, *LACKING.values()):
        judged = eligibility(kind, token, lacking)
        assert eligibility_fault(replace(judged, for_records=True), NOW) is not None


@pytest.mark.parametrize(
    ("kind", "token", "one", "other"), list(product(ClientType, TOKENS, ["no installation"], LACKING))
)
def test_lacking_two_things_is_never_better_than_lacking_one(
    kind: ClientType, token: str, one: str, other: str
) -> None:
    judged = replace(eligibility(kind, token, LACKING[one] | LACKING[other]), for_records=True)

    assert eligibility_fault(judged, NOW) is not None


def test_every_tier_of_certification_is_asked_for() -> None:
    """A certification without a tier, as from before there were tiers, admits nothing that a launch could grant."""
    judged = changed(GOOD, {"client.certified_tier": None, "launching": True})

    assert eligibility_fault(judged, NOW) is not None
    assert (
        eligibility_fault(changed(GOOD, {"client.certified_tier": Tier.HIGH, "launching": True}), NOW) is None
    )
