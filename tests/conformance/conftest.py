"""One launch per story, made when the first test needs it and shared by the rest of the folder."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conformance.inferno import CONTEXT, SMART, TYPES, Inferno, Launch, Order, scopes_of
from tests.sim.running import Running

ALL_PATIENT = f"{CONTEXT} {scopes_of('patient', TYPES)}"
ALL_USER = f"launch openid fhirUser offline_access {scopes_of('user', TYPES)}"
ALL_V1 = (
    f"{CONTEXT} {scopes_of('patient', sorted({*TYPES} - {'QuestionnaireResponse', 'RelatedPerson'}), 'read')}"
)
SUITE_REDIRECT = f"{SMART}/redirect"
EHR_CALLBACK = "http://127.0.0.1:9009/callback"
WIDE = f"{CONTEXT} patient/*.rs"
WIDE_EHR = "launch openid fhirUser offline_access patient/*.rs"


class Stories:
    """Launches by name."""

    def __init__(self, suite: Inferno) -> None:
        self.suite = suite
        chart = suite.running.patient(suite.tenant)
        self.chart, self.encounter = chart["id"], chart["encounters"][0]
        self._made: dict[str, Launch] = {}

    def __getitem__(self, name: str) -> Launch:
        if name not in self._made:
            tellers: dict[str, Callable[[], Launch]] = {
                "smart standalone public": lambda: self._suite_standalone("bench-public"),
                "smart standalone symmetric": lambda: self._suite_standalone("bench-symmetric"),
                "smart standalone asymmetric": lambda: self._suite_standalone("bench-asymmetric"),
                "smart standalone clinician": self._clinician,
                "smart ehr public": self._suite_ehr,
                "smart ehr symmetric": self._ehr_of_a_chart,
                "g10 standalone": lambda: self.suite.standalone(Order(scope=ALL_PATIENT)),
                "g10 standalone clinician": lambda: self.suite.standalone(
                    Order(scope=ALL_PATIENT, person="physician", patient=self.chart)
                ),
                "g10 ehr": lambda: self.suite.ehr(self.ehr_order(scope=ALL_USER, post=True), encounter=self.encounter),
                "g10 v1": lambda: self.suite.standalone(Order(scope=ALL_V1)),
            }  # fmt: skip
            self._made[name] = tellers[name]()
        return self._made[name]

    def declining(self, order: Order) -> Launch:
        """Launch with something unticked; that ends it for earlier agreements with the app too, so what was kept is launched again."""
        self._made.clear()
        return self.suite.standalone(order)

    def ehr_order(self, **changes: Any) -> Order:
        """Prepare a launch from the chart by its physician."""
        given: dict[str, Any] = {
            "person": "physician",
            "patient": self.chart,
            "redirect_uri": EHR_CALLBACK,
        } | changes
        return Order(**given)

    def _suite_standalone(self, client: str) -> Launch:
        return self.suite.standalone(Order(client=client, scope=WIDE, redirect_uri=SUITE_REDIRECT))

    def _clinician(self) -> Launch:
        order = Order(
            client="bench-public",
            scope=WIDE,
            person="physician",
            patient=self.chart,
            redirect_uri=SUITE_REDIRECT,
        )
        return self.suite.standalone(order)

    def _suite_ehr(self) -> Launch:
        order = self.ehr_order(client="bench-public", scope=WIDE_EHR, redirect_uri=SUITE_REDIRECT)
        return self.suite.ehr(order, through_simulator=True)

    def _ehr_of_a_chart(self) -> Launch:
        scope = "launch openid fhirUser offline_access user/*.rs"
        return self.suite.ehr(self.ehr_order(scope=scope), encounter=self.encounter)


@pytest.fixture(scope="session")
def suite(running: Running) -> Iterator[Inferno]:
    with Inferno(running) as made:
        yield made


@pytest.fixture(scope="session")
def stories(suite: Inferno) -> Stories:
    return Stories(suite)
