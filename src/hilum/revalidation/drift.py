"""Which calls of a certified app its contract does not have. Pure (C220).

Daily counts have the interaction, the type and the scopes of what was permitted, so these are compared; parameters and workflows are in
the contract for people. What reads the person's own record is no call of the app's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from hilum.audit.models import PermitCount
from hilum.audit.policy import OWN_RECORD, letter_of, permitting_scopes
from hilum.evidence.models import RunContract, Shape
from hilum.revalidation.models import DRIFT_DAYS, DRIFTS_BOUND, RULES_BOUND, Concern, Drift, Severity
from hilum.standards.smart.scopes import WRITES, Scope, covers, parse_stored, render

RULE = "calls.as_certified"
_SHOWN = 3
_ORDER = tuple(Severity)


def outside(
    permits: Iterable[PermitCount], *contracts: RunContract, unmeasured: Iterable[str] = ()
) -> tuple[Drift, ...]:
    """Return what was permitted of shapes that no contract has, the gravest first; the same whatever the order of ``permits``.

    ``contracts``: of the certifications of a version that are in force, that which counts most first (ADR 119). ``unmeasured``: the scopes of those
    without a contract: they say nothing about calls.
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
    return _gravest(found)


def by_public_client(found: Drift) -> Drift:
    """Return what a public client did beyond a contract. Whoever uses it holds its tokens, and one person's calls must not stop an app for everybody."""
    return replace(found, severity=Severity.LOW, public=True)


def together(of_versions: Iterable[Drift]) -> tuple[Drift, ...]:
    """Return what several versions of an app did beyond their contracts, each kind of calls once, by the version where it weighs most."""
    found: dict[str, Drift] = {}
    for each in of_versions:
        held = found.get(each.about)
        if held is None:
            found[each.about] = each
            continue
        # Of two that weigh the same the one that is the app's for certain.
        one, other = sorted((held, each), key=lambda each: (_ORDER.index(each.severity), each.public))
        tenants = tuple(sorted({*one.tenants, *other.tenants}))
        found[each.about] = replace(_joined(one, other), tenants=tenants)
    return _gravest(found)


def _gravest(found: Mapping[str, Drift]) -> tuple[Drift, ...]:
    ordered = sorted(found.values(), key=lambda each: (_ORDER.index(each.severity), each.about))
    return tuple(ordered[:DRIFTS_BOUND])


def _covers(shape: Shape, piece: Scope) -> bool:
    return any(covers(each, piece) for each in parse_stored(shape.scopes))


def _severity(permit: PermitCount, *, known: bool, same: bool) -> Severity:
    if letter_of(permit.interaction) & WRITES:
        return Severity.HIGH
    # Another type, or the same call with another reach, such as over all patients instead of one.
    return Severity.LOW if known and not same else Severity.MEDIUM


def _joined(one: Drift, other: Drift) -> Drift:
    return replace(
        one,
        last=max(one.last, other.last),
        rules=tuple(sorted({*one.rules, *other.rules})[:RULES_BOUND]),
        scopes=tuple(sorted({*one.scopes, *other.scopes})),
    )


def concern_of(drift: Drift) -> Concern:
    """Return what is wrong about calls that a contract does not have. It discloses neither how many there were nor where."""
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
