"""The grace of apps after the end of their certification, for callers that must notice its changes."""

from datetime import timedelta

from hilum.infra.context import Context
from hilum.policies import service as policies
from hilum.policies.policy import longest_grace


def grace_of(ctx: Context, category: str) -> timedelta:
    """Return the longest grace that any rule book in force gives apps of a category (C114)."""
    return longest_grace(policies.current(ctx).as_of(ctx.now).books(), category)
