"""How R4 compares a range of a resource with an asked one, written out as its table has it: the measure for what the store finds."""

from hilum.foundation.standards.fhir.dates import Range, widen


def matches(prefix: str, asked: Range, target: Range, *, now: int = 0) -> bool:
    """Compare a range of a resource with an asked one.

    ``ap`` widens what is asked by a tenth of its distance from ``now``.
    Source: FHIR R4 search.html#prefix
    """
    within = asked.low <= target.low and target.high <= asked.high
    match prefix:
        case "eq":
            return within
        case "ne":
            return not within
        case "gt":
            return target.high > asked.high
        case "lt":
            return target.low < asked.low
        case "ge":
            return target.high > asked.high or within
        case "le":
            return target.low < asked.low or within
        case "sa":
            return target.low >= asked.high
        case "eb":
            return target.high <= asked.low
        case "ap":
            wide = widen(asked, now)
            return target.low < wide.high and target.high > wide.low
        case _:
            raise ValueError(prefix)
