"""What schemathesis leaves out in an ordinary run: its configuration names this file, and it asks here for each case that it made up."""

from typing import Any

import schemathesis

_tried: set[tuple[str, ...]] = set()


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """Check whether a case brings its route a kind of mistake, or a place for one, that the route has not seen yet."""
    made, route = case.meta.phase.data, (case.operation.label, case.method)
    # The last word of a location is the rule that was broken there.
    place = str(made.location).rpartition("/")[0]
    brings = {
        (*route, str(made.scenario)),
        (*route, str(made.parameter_location), str(made.parameter), place),
    }
    if brings <= _tried:
        return False
    _tried.update(brings)
    return True
