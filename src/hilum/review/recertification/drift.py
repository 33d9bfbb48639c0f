"""Which calls of a certified app are not in its contract. Pure (C220).

Daily counts have the interaction, type and scopes of permitted calls, so these are compared; parameters and workflows are in the contract for people to read.
Reads of the signed-in person's own resource do not count.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hilum.foundation.standards.smart.scopes import WRITES, Scope, covers, parse_stored, render
from hilum.records.audit.models import PermitCount
from hilum.records.audit.policy import OWN_RECORD, letter_of, permitting_scopes
from hilum.review.certification_runs.models import RunContract, Shape
from hilum.review.recertification.models import (
    DRIFT_DAYS,
    DRIFTS_BOUND,
    RULES_BOUND,
    Concern,
    Drift,
    Severity,
)

RULE = "calls.as_certified"
_SHOWN = 3
_ORDER = tuple(Severity)


def outside(
    permits: Iterable[PermitCount], *contracts: RunContract, unmeasured: Iterable[str] = ()
) -> tuple[Drift, ...]:
    """Return the permitted calls whose shape no contract has, the most severe first, independent of the order of ``permits``.

    ``contracts``: those of a version's certifications in force, the one that counts most first (ADR 36). ``unmeasured``: the scopes of certifications without a contract: these
    cannot be compared.
    """
    shapes: dict[tuple[str, str], list[Shape]] = {}
    for shape in (each for contract in contracts for each in contract.shapes):
        shapes.setdefault((shape.interaction, shape.type), []).append(shape)
    types = {type_ for _, type_ in shapes}
    free = parse_stored(tuple(unmeasured))
    found: dict[str, Drift] = {}
    for permit in permits:
        if permit.rule == OWN_RECORD or not letter_of(permit.interaction):
            continue
        pieces = permitting_scopes(permit.rule, permit.resource_type, permit.interaction)
        same = shapes.get((permit.interaction, permit.resource_type), [])
        if same and (not pieces or any(_covers(shape, piece) for shape in same for piece in pieces)):
            continue
        if any(covers(scope, piece) for scope in free for piece in pieces):
            continue
        each = Drift(
            permit.interaction,
            permit.resource_type,
            _severity(permit, known=permit.resource_type in types, same=bool(same)),
            permit.last,
            (permit.rule,),
            tuple(map(render, pieces)),
            otherwise=bool(same),
            run=contracts[0].run,
        )
        held = found.get(each.about)
        found[each.about] = each if held is None else _joined(held, each)
    return _most_severe(found)


def by_public_client(found: Drift) -> Drift:
    """Return what a public client did beyond a contract. Its users hold its tokens, and one person's calls must not stop an app for everybody."""
    return replace(found, severity=Severity.LOW, public=True)


def together(of_versions: Iterable[Drift]) -> tuple[Drift, ...]:
    """Return what several versions of an app did beyond their contracts: each kind of call once, for the version where it is most severe."""
    found: dict[str, Drift] = {}
    for each in of_versions:
        held = found.get(each.about)
        if held is None:
            found[each.about] = each
            continue
        # Of two equally severe ones the one that is certainly the app's.
        one, other = sorted((held, each), key=lambda each: (_ORDER.index(each.severity), each.public))
        tenants = tuple(sorted({*one.tenants, *other.tenants}))
        found[each.about] = replace(_joined(one, other), tenants=tenants)
    return _most_severe(found)


def _most_severe(found: Mapping[str, Drift]) -> tuple[Drift, ...]:
    ordered = sorted(found.values(), key=lambda each: (_ORDER.index(each.severity), each.about))
    return tuple(ordered[:DRIFTS_BOUND])


def _covers(shape: Shape, piece: Scope) -> bool:
    return any(covers(each, piece) for each in parse_stored(shape.scopes))


def _severity(permit: PermitCount, *, known: bool, same: bool) -> Severity:
    if letter_of(permit.interaction) & WRITES:
        return Severity.HIGH
    # Another type, or the same call with wider access, such as all patients instead of one.
    return Severity.LOW if known and not same else Severity.MEDIUM


def _joined(one: Drift, other: Drift) -> Drift:
    return replace(
        one,
        last=max(one.last, other.last),
        rules=tuple(sorted({*one.rules, *other.rules})[:RULES_BOUND]),
        scopes=tuple(sorted({*one.scopes, *other.scopes})),
    )


def concern_of(drift: Drift) -> Concern:
    """Return the finding about calls beyond a contract. It discloses neither their number nor the hospitals."""
    by = ", ".join(drift.scopes[:_SHOWN]) or "a scope of another type"
    whose = (
        " By a public client, so whoever uses it may have sent them with its token." if drift.public else ""
    )
    other = "made it by other scopes only" if drift.otherwise else "has no such call"
    return Concern(
        RULE,
        drift.about,
        drift.severity,
        certain=True,
        evidence=f"Permitted within {DRIFT_DAYS} days, last on {drift.last:%Y-%m-%d}: {drift.about}, by {by}. "
        f"The run that was certified ({drift.run}) {other}.{whose}",
        reproduction="hilum app contract APP, and hilum app scopes APP --days 30",
        fix="Stop these calls, or show them in a certification run and submit the version again with it.",
    )
