"""``explain``: from a request id to plain sentences, joining the access with what led there."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.audit import explaining, live, service
from hilum.audit.models import Access, Event, Explanation, Outcome
from hilum.infra.context import Context, Trace
from hilum.infra.edge import Edge
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.decision import Reason
from hilum.kernel.errors import NotFound
from tests.flows.test_audit_journal import Place, access
from tests.sim.world import FakeClock

OPERATOR = Actor(ActorKind.STAFF, "per_ops", roles=frozenset({"security"}))


@pytest.fixture
def place(sqlite_edge: Edge, tmp_path: Path) -> Place:
    return Place(sqlite_edge, sqlite_edge.db.url, tmp_path / "journal")


def happen(place: Place, *events: Event) -> None:
    def verb(ctx: Context) -> None:
        for event in events:
            service.record(ctx, event)

    place.edge.write_now(verb, actor=OPERATOR, trace=Trace("req_other"))


def explain(place: Place, request_id: str) -> Explanation:
    reader = live.open_reader(place.directory, place.url)
    return place.edge.read_now(lambda ctx: service.explain(ctx, request_id, reader), trace=Trace("req_asks"))


def refused(reason: Reason, at: Any, **more: Any) -> Access:
    facts = {"status": 403, "outcome": Outcome.REFUSED, "reason": reason, "authorization": "aut_1", "at": at}
    return access(1, **(facts | more))


def test_a_permit_names_who_asked_and_what_permitted(place: Place) -> None:
    """C69, C150."""
    made = access(1, rule="patient/Observation.rs", authorization="aut_1", role="nurse", removed=2)
    place.write(made)

    found = explain(place, made.request_id)

    text = " ".join(found.sentences)
    assert found.accesses == (made,)
    assert "was answered with 200" in text
    assert "It was permitted by patient/Observation.rs." in text
    assert (
        "app app_1, client cli_1, for person per_1 (nurse), in launch lch_1, under authorization aut_1"
        in text
    )
    assert "2 resources were left out" in text


def test_no_sentence_tells_patient_path_or_query(place: Place) -> None:
    """Security decision 5: path, query and patient are PHI; whoever may see them reads the record itself."""
    made = access(1, path="Observation?secret-path", query="secret-query", patient="secret-patient")
    place.write(made)

    assert "secret" not in " ".join(explain(place, made.request_id).sentences)


CASES: list[tuple[Reason, Event, Event]] = [
    (
        Reason.SWITCH_ENGAGED,
        Event("controls.switch.engage", tenant="general", reason="app misbehaves", facts={"switch": "sw_1"}),
        Event("consent.authorization.record", authorization="aut_9"),
    ),
    (
        Reason.APP_NOT_CERTIFIED,
        Event("registry.certification.withdraw", app="app_1"),
        Event("registry.certification.withdraw", app="app_2"),
    ),
    (
        Reason.APP_NOT_INSTALLED,
        Event("registry.installation.remove", app="app_1", tenant="general"),
        Event("registry.installation.remove", app="app_2", tenant="general"),
    ),
    (
        Reason.CONSENT_DENIED,
        Event("consent.authorization.withdraw", authorization="aut_1"),
        Event("consent.authorization.withdraw", authorization="aut_2"),
    ),
    (
        Reason.TOKEN_REVOKED,
        Event("tokens.family.revoke", authorization="aut_1", reason="withdrawn"),
        Event("tokens.family.revoke", authorization="aut_2", reason="withdrawn"),
    ),
    (
        Reason.CONTEXT_MOVED,
        Event("launches.launch.move", launch="lch_1"),
        Event("launches.launch.move", launch="lch_2"),
    ),
    (
        Reason.LAUNCH_ENDED,
        Event("launches.launch.end", launch="lch_1"),
        Event("launches.launch.end", launch="lch_2"),
    ),
]


@pytest.mark.parametrize(("reason", "matters", "beside"), CASES, ids=[case[0] for case in CASES])
def test_a_refusal_is_joined_with_what_led_to_it_and_nothing_beside(
    place: Place, clock: FakeClock, reason: Reason, matters: Event, beside: Event
) -> None:
    happen(place, beside, matters)
    clock.advance(timedelta(minutes=1))
    made = refused(reason, clock.now())
    place.write(made)

    found = explain(place, made.request_id)

    assert [each.event for each in found.events] == [matters]
    text = " ".join(found.sentences)
    assert f"Reason: {reason}." in text
    assert explaining.MEANING[reason] in text
    assert f"{matters.action}" in text
    assert "by staff:per_ops" in text
    assert "after this request" not in text


def test_what_happened_after_the_request_is_marked(place: Place, clock: FakeClock) -> None:
    made = refused(Reason.SCOPE_INSUFFICIENT, clock.now())
    place.write(made)
    clock.advance(timedelta(minutes=1))
    happen(place, Event("consent.authorization.withdraw", authorization="aut_1"))

    assert "after this request, consent.authorization.withdraw" in " ".join(
        explain(place, made.request_id).sentences
    )


def test_every_reason_has_a_meaning() -> None:
    assert set(explaining.MEANING) == set(Reason)


def test_every_entry_of_a_batch_is_told_with_its_decision(place: Place) -> None:
    request_id = access(1).request_id
    place.write(*(access(1, decision=f"{request_id}.{n}") for n in (1, 2)))

    found = explain(place, request_id)

    assert len(found.accesses) == 2
    assert sum(sentence.startswith(f"Decision {request_id}.") for sentence in found.sentences) == 2


def test_a_control_plane_request_is_explained_by_its_events(place: Place) -> None:
    def verb(ctx: Context) -> None:
        service.record(
            ctx, Event("registry.app.suspend", Outcome.REFUSED, app="app_1", reason="not_permitted")
        )

    place.edge.write_now(verb, actor=OPERATOR, trace=Trace("req_api"))

    found = explain(place, "req_api")

    assert found.accesses == ()
    assert "registry.app.suspend was refused by staff:per_ops (not_permitted)" in found.sentences[0]


@pytest.mark.parametrize("request_id", ["", "req_none", "' OR 1=1 --", "é" * 100])
def test_what_was_never_recorded_is_not_found(place: Place, request_id: str) -> None:
    place.write(access(1))

    with pytest.raises(NotFound, match="request_unknown"):
        explain(place, request_id)


def test_an_unknown_reason_of_a_newer_version_is_told_as_it_is(place: Place) -> None:
    made = access(1, outcome=Outcome.REFUSED, reason="brand_new_reason")
    place.write(made)

    assert "Reason: brand_new_reason." in " ".join(explain(place, made.request_id).sentences)
