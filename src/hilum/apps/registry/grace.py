"""The grace of apps after the end of their certification, for callers that must notice its changes."""

from datetime import timedelta

from hilum.foundation.infra.context import Context
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.policy import longest_grace


def grace_of(ctx: Context, category: str) -> timedelta:
    """Return the longest grace that any policy in force gives apps of a category (C114)."""
    return longest_grace(policies.current(ctx).as_of(ctx.now).books(), category)
