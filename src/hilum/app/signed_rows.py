"""What is signed row by row, by kind: the one list of rooms whose rows are signed."""

from collections.abc import Mapping

from hilum.agreements import service as agreements
from hilum.attestations import service as attestations
from hilum.attestations.service import Source
from hilum.clients import service as clients
from hilum.infra.context import Context
from hilum.mandates import service as mandates
from hilum.notices import service as notices
from hilum.policies import service as policies
from hilum.requests import service as requests
from hilum.rollouts import service as rollouts

SOURCES: Mapping[str, Source] = {
    "client": clients.signed_states,
    "agreement": agreements.signed_states,
    "mandate": mandates.signed_states,
    "rules": requests.signed_states,
    "exception": policies.signed_states,
    "rollout": rollouts.signed_states,
    "webhook": notices.signed_states,
}
"""A kind that is added here later is signed at the first start of the release that adds it."""


def begin(ctx: Context) -> int:
    """Sign the rows of kinds that were not signed before; return how many. Raises Conflict."""
    return attestations.begin_kinds(ctx, SOURCES)


def sign_from_scratch(ctx: Context) -> int:
    """Sign every row as it is in the database, after somebody has checked all of them; return how many. Raises Conflict."""
    return attestations.begin_kinds(ctx, SOURCES, from_scratch=True)


def faults(ctx: Context) -> tuple[str, ...]:
    """Return the rows that do not match their signed states."""
    return attestations.faults(ctx, SOURCES)
