"""The decision agrees with its specification, whatever the facts are and whatever is kept with a token."""

from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.kernel.decision import Deny
from tests.effort import effort
from tests.unit.gateway.enforcement.changes import CHANGES, MOMENTS, TOKENS
from tests.unit.gateway.enforcement.facts import NOW, OTHER, SNAPSHOT, ask, decide
from tests.unit.gateway.enforcement.specification import Read

NAMES = ["Patient/p1", "Patient/p2", "Observation/o1", "Practitioner/dr", "Practitioner/other"]
READS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from([None, "192.0.2.9", "198.51.100.1"]),
    st.sampled_from([0, 0, 0, 1]),
)
LATER = [NOW + timedelta(hours=hours) for hours in (0, 1, 2, 15, 40, 47)]
STEPS = st.lists(st.tuples(CHANGES, MOMENTS, READS, st.sampled_from(TOKENS)), min_size=1, max_size=12)


@given(steps=STEPS)
@settings(max_examples=effort(150, 20_000), deadline=None)
def test_a_read_is_decided_as_its_specification_says(steps: list[Any]) -> None:
    snapshot = SNAPSHOT
    for change, now, (name, source, elsewhere), token in steps:
        snapshot = change(snapshot)
        incoming = ask(name)
        incoming.source = source
        incoming.tenant = OTHER if elsewhere else incoming.tenant

        # By the same facts again and again: whatever is kept with the token meets every end that the time brings.
        for moment in (now, *LATER):
            decision = decide(incoming, token, snapshot, moment)

            read = Read(token, snapshot, moment, tenant=incoming.tenant, name=name, source=source)
            reason = decision.reason if isinstance(decision, Deny) else None
            assert reason is read.reason(), (name, moment, decision)
