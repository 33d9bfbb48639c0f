"""Registering, certifying and installing are different people's decisions (C111)."""

from dataclasses import replace

import pytest

from hilum.apps.clients import policy as clients_policy
from hilum.apps.installations import policy as installations_policy
from hilum.apps.registry import policy
from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from tests.unit.apps.registry.values import APP

GENERAL, CHILDREN = TenantId("general"), TenantId("children")


def staff(role: str) -> Actor:
    return Actor(ActorKind.STAFF, f"per_{role}", roles=frozenset({role}))


def member(role: str, tenant: TenantId = GENERAL) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{role}", tenant, frozenset({role}))


ACTORS = {
    "admin": staff("platform_admin"),
    "reviewer": staff("reviewer"),
    "security": staff("security"),
    "auditor": staff("auditor"),
    "system": SYSTEM,
    "host": Actor(ActorKind.HOST, "root"),
    "tenant_admin": member("administrator"),
    "other_admin": member("administrator", CHILDREN),
    "physician": member("physician"),
    "client": Actor(ActorKind.CLIENT, "cli", GENERAL, frozenset({"administrator", "platform_admin"})),
    "pretender": member("platform_admin"),
    "anonymous": ANONYMOUS,
}
ITSELF = {"system", "host"}
PLATFORM = ITSELF | {"admin", "reviewer", "security", "auditor"}
SYSTEM_CLIENT = replace(APP, tenant=GENERAL)


@pytest.mark.parametrize("name", ACTORS)
def test_each_verb_is_for_those_whose_task_it_is_and_for_nobody_else(name: str) -> None:
    """C111: certifying, installing and registering are different people's decisions."""
    actor = ACTORS[name]

    asked = {
        "register": (policy.may_register(actor), ITSELF | {"admin"}),
        "certify": (policy.may_certify(actor), ITSELF | {"reviewer"}),
        "suspend": (policy.may_suspend(actor), ITSELF | {"admin", "security"}),
        "install": (installations_policy.may_install(actor, GENERAL), ITSELF | {"tenant_admin"}),
        "uninstall": (
            installations_policy.may_uninstall(actor, GENERAL),
            ITSELF | {"tenant_admin", "admin", "security"},
        ),
        "system_clients": (
            clients_policy.may_manage_system_clients(actor, GENERAL),
            ITSELF | {"tenant_admin", "admin"},
        ),
        "catalogue": (policy.may_read_catalogue(actor), PLATFORM | {"tenant_admin", "other_admin"}),
        "see app": (policy.may_see_app(actor, APP), PLATFORM | {"tenant_admin", "other_admin"}),
        "see system client": (policy.may_see_app(actor, SYSTEM_CLIENT), PLATFORM | {"tenant_admin"}),
        "rotate": (clients_policy.may_rotate(actor, APP), ITSELF | {"admin"}),
        "rotate system client": (
            clients_policy.may_rotate(actor, SYSTEM_CLIENT),
            ITSELF | {"admin", "tenant_admin"},
        ),
        "clients": (clients_policy.may_see_clients(actor, APP), PLATFORM),
        "installations": (
            installations_policy.may_see_installations(actor, GENERAL),
            PLATFORM | {"tenant_admin"},
        ),
        "all installations": (installations_policy.may_see_installations(actor, None), PLATFORM),
    }

    assert {verb: allowed for verb, (allowed, _) in asked.items()} == {
        verb: name in who for verb, (_, who) in asked.items()
    }
