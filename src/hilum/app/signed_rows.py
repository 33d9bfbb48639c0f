"""The one list of rooms whose rows are signed one by one, by kind."""

from collections.abc import Mapping

from hilum.agreements import service as agreements
from hilum.attestations import service as attestations
from hilum.attestations.models import SHOWN_BOUND
from hilum.attestations.service import Source
from hilum.clients import service as clients
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.kernel.lists import counted
from hilum.mandates import service as mandates
from hilum.notices import service as notices
from hilum.policies import service as policies
from hilum.requests import service as requests
from hilum.rollouts import service as rollouts

SOURCES: Mapping[str, Source] = {
    "client": clients.signed_states,
    "installation": installations.signed_states,
    "agreement": agreements.signed_states,
    "mandate": mandates.signed_states,
    "rules": requests.signed_states,
    "exception": policies.signed_states,
    "rollout": rollouts.signed_states,
    "webhook": notices.signed_states,
}
"""A kind that is added here later is signed at the first start of the release that adds it."""
_FIRST_SOURCES = {**SOURCES, "installation": installations.written_states}
"""The sources of the first signing, which also writes the sheets of installations (ADR 142)."""


def begin(ctx: Context) -> int:
    """Sign the rows of kinds that were not signed before; return how many. Raises Conflict."""
    return attestations.begin_kinds(ctx, _FIRST_SOURCES)


def sign_from_scratch(ctx: Context) -> int:
    """Sign every row as it is in the database, once a person has checked all of them; return how many. Raises Conflict."""
    return attestations.begin_kinds(ctx, _FIRST_SOURCES, from_scratch=True)


def faults(ctx: Context) -> tuple[str, ...]:
    """Return the rows that do not match their signed states, at most SHOWN_BOUND of them installations."""
    of_installations = sorted(f"{what}: {fault}" for what, fault in installations.signing_faults(ctx))
    more = len(of_installations) - SHOWN_BOUND
    return (
        *attestations.faults(ctx, SOURCES),
        *of_installations[:SHOWN_BOUND],
        *([f"And {counted(more, 'more installation')}."] if more > 0 else []),
    )
