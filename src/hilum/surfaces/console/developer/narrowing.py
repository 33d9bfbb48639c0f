"""Which scopes a client would be left with if it asked for what was used only. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hilum.apps.installations.models import ScopeUse


@dataclass(frozen=True, slots=True)
class Narrowed:
    """The scopes of a client as they are left, and what goes: whole scopes, or parts of one."""

    left: tuple[str, ...]
    gone: tuple[str, ...]


def narrowed(scopes: Sequence[str], rows: Iterable[ScopeUse]) -> Narrowed:
    """Leave of each scope what was used. What is on no record, as scopes of launch and identity, stays.

    INVARIANT: nothing is left that was not in ``scopes``.
    """
    used = {row.scope: row for row in rows}
    left: list[str] = []
    gone: list[str] = []
    for scope in scopes:
        row = used.get(scope)
        if row is None or not row.unused:
            left.append(scope)
            continue
        if row.used:
            left += row.kept
        gone += row.unused if row.used else (scope,)
    return Narrowed(tuple(dict.fromkeys(left)), tuple(dict.fromkeys(gone)))
