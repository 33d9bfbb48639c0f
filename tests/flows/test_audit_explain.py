"""``explain``: from a request id to plain sentences, joining the access with what led there."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.standards.refusals import meaning_of
from hilum.records.audit import explanation, live, service
from hilum.records.audit.models import Access, Event, Explanation, Outcome
from hilum.surfaces.console.action_words import ACTION_WORDS
from tests.flows.journal_ground import JournalGround, access
from tests.sim.world import FakeClock

OPERATOR = Actor(ActorKind.STAFF, "per_ops", roles=frozenset({"security"}))


@pytest.fixture
def place(sqlite_uow: UnitOfWork, tmp_path: Path) -> JournalGround:
    return JournalGround(sqlite_uow, sqlite_uow.db.url, tmp_path / "journal")


def happen(place: JournalGround, *events: Event) -> None:
    def verb(ctx: Context) -> None:
        for event in events:
            service.record(ctx, event)

    place.uow.write_now(verb, actor=OPERATOR, trace=Trace("req_other"))


def explain(place: JournalGround, request_id: str) -> Explanation:
    reader = live.open_reader(place.directory, place.url)
    return place.uow.read_now(lambda ctx: service.explain(ctx, request_id, reader), trace=Trace("req_asks"))


def refused(reason: Reason, at: Any, **more: Any) -> Access:
    facts = {"status": 403, "outcome": Outcome.REFUSED, "reason": reason, "authorization": "aut_1", "at": at}
    return access(1, **(facts | more))


def test_a_permit_names_who_asked_and_what_permitted(place: JournalGround) -> None:
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
    assert "2 resources were removed" in text


def test_no_sentence_discloses_patient_path_or_query(place: JournalGround) -> None:
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
        Reason.APP_SUSPENDED,
        Event("registry.app.suspend", app="app_1", facts={"reason": "an incident"}),
        Event("registry.app.suspend", app="app_2", facts={"reason": "an incident"}),
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
        Reason.TOKEN_REVOKED,
        Event("consent.authorization.withdraw", authorization="aut_1"),
        Event("consent.authorization.withdraw", authorization="aut_2"),
    ),
    (
        Reason.TOKEN_REVOKED,
        Event("tokens.family.revoke", authorization="aut_1", reason="withdrawn"),
        Event("tokens.family.revoke", authorization="aut_2", reason="withdrawn"),
    ),
    (
        Reason.PERSON_INACTIVE,
        Event("identity.person.deactivate", tenant="general", person="per_1"),
        Event("identity.person.deactivate", tenant="general", person="per_2"),
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
    place: JournalGround, clock: FakeClock, reason: Reason, matters: Event, beside: Event
) -> None:
    happen(place, beside, matters)
    clock.advance(timedelta(minutes=1))
    made = refused(reason, clock.now())
    place.write(made)

    found = explain(place, made.request_id)

    assert [each.event for each in found.events] == [matters]
    text = " ".join(found.sentences)
    assert f"Reason: {reason}." in text
    assert meaning_of(reason) in text
    assert f"{matters.action}" in text
    assert "by per_ops of the platform's staff" in text
    assert "after this request" not in text


def test_what_happened_after_the_request_is_marked(place: JournalGround, clock: FakeClock) -> None:
    made = refused(Reason.SCOPE_INSUFFICIENT, clock.now())
    place.write(made)
    clock.advance(timedelta(minutes=1))
    happen(place, Event("consent.authorization.withdraw", authorization="aut_1"))

    assert "after this request, the agreement was withdrawn" in " ".join(
        explain(place, made.request_id).sentences
    )


def test_every_entry_of_a_batch_is_explained_with_its_decision(place: JournalGround) -> None:
    request_id = access(1).request_id
    place.write(*(access(1, decision=f"{request_id}.{n}") for n in (1, 2)))

    found = explain(place, request_id)

    assert len(found.accesses) == 2
    assert sum(sentence.startswith(f"Decision {request_id}.") for sentence in found.sentences) == 2


def test_a_control_plane_request_is_explained_by_its_events(place: JournalGround) -> None:
    def verb(ctx: Context) -> None:
        service.record(
            ctx, Event("registry.app.suspend", Outcome.REFUSED, app="app_1", reason="not_permitted")
        )

    place.uow.write_now(verb, actor=OPERATOR, trace=Trace("req_api"))

    found = explain(place, "req_api")

    assert found.accesses == ()
    assert (
        "per_ops of the platform's staff was refused (registry.app.suspend): not_permitted."
        in found.sentences[0]
    )


@pytest.mark.parametrize("request_id", ["", "req_none", "' OR 1=1 --", "é" * 100])
def test_what_was_never_recorded_is_not_found(place: JournalGround, request_id: str) -> None:
    place.write(access(1))

    with pytest.raises(NotFound, match="request_unknown"):
        explain(place, request_id)


def test_an_unknown_reason_of_a_newer_version_is_shown_unchanged(place: JournalGround) -> None:
    made = access(1, outcome=Outcome.REFUSED, reason="brand_new_reason")
    place.write(made)

    assert "Reason: brand_new_reason." in " ".join(explain(place, made.request_id).sentences)


def test_a_switch_is_explained_with_target_mode_and_reason_and_others_are_omitted(
    place: JournalGround, clock: FakeClock
) -> None:
    """C69, C145: switches on something else explain nothing, and another hospital's are not this reader's to see."""
    facts = {"mode": "full_stop", "reason": "keys leaked"}
    happen(
        place,
        Event("controls.switch.engage", facts=facts | {"target": "app:app_1"}),
        Event("controls.switch.engage", facts=facts | {"target": "app:app_2"}),
        Event("controls.switch.engage", facts=facts | {"target": "vendor:ven_2"}),
        Event("controls.switch.engage", facts=facts | {"target": "app_tenant:app_1/mercy"}, tenant="mercy"),
        Event("controls.switch.engage", facts=facts | {"target": "tenant:mercy"}, tenant="mercy"),
        Event("controls.switch.engage", facts=facts | {"target": "person:per_9"}, tenant="general"),
        Event("controls.switch.engage", facts=facts | {"target": "platform"}),
    )
    clock.advance(timedelta(minutes=1))
    made = refused(Reason.SWITCH_ENGAGED, clock.now(), vendor="ven_1")
    place.write(made)

    found = explain(place, made.request_id)

    assert [each.event.facts["target"] for each in found.events] == ["app:app_1", "platform"]
    assert "a kill switch was engaged by per_ops of the platform's staff" in found.sentences[-2]
    assert "app:app_1, full_stop: keys leaked." in found.sentences[-2]


@pytest.mark.parametrize(
    "reason", [Reason.APP_NOT_INSTALLED, Reason.ROLE_NOT_ALLOWED, Reason.APP_NOT_CERTIFIED]
)
def test_what_happened_at_another_hospital_is_no_part_of_an_explanation(
    place: JournalGround, clock: FakeClock, reason: Reason
) -> None:
    """C145: which hospitals else installed an app is not a tenant administrator's to know."""
    happen(
        place,
        Event("registry.installation.add", app="app_1", tenant="mercy"),
        Event("registry.installation.remove", app="app_1", tenant="general"),
    )
    made = refused(reason, clock.now())
    place.write(made)

    found = explain(place, made.request_id)

    assert [each.event.tenant for each in found.events] == ["general"]
    assert "mercy" not in " ".join(found.sentences)


def test_an_exception_for_the_app_is_named_with_its_reason_and_control(
    place: JournalGround, clock: FakeClock
) -> None:
    """C207: also of a permit; that of another app or another hospital is left out."""
    facts = {"reason": "certified again by then", "detail": "a pharmacist checks"}
    happen(
        place,
        Event("policies.exception.add", app="app_1", tenant="general", facts=facts),
        Event("policies.exception.add", app="app_1", tenant="mercy", facts=facts),
        Event("policies.exception.add", app="app_2", tenant="general", facts=facts),
    )
    made = access(1, rule="patient/Observation.rs", at=clock.now())
    place.write(made)

    found = explain(place, made.request_id)

    assert [(each.event.app, each.event.tenant) for each in found.events] == [("app_1", "general")]
    assert "an exception was made for the app" in found.sentences[-1]
    assert "certified again by then; a pharmacist checks." in found.sentences[-1]


def test_a_404_says_that_it_hid_something_or_nothing_and_does_not_say_which(place: JournalGround) -> None:
    """No oracle: absent and out of reach were one decision, so the explanation knows no more than the decision did."""
    made = refused(Reason.OUTSIDE_LAUNCH_CONTEXT, access(1).at, status=404, detail="Out of reach.")
    place.write(made)

    text = " ".join(explain(place, made.request_id).sentences)

    assert "another patient's, or does not exist" in text
    assert "The app got the answer for a record that does not exist." in text
    assert "Detail sent to the app" not in text


def test_a_token_killed_by_a_released_full_stop_is_explained_as_dead(
    place: JournalGround, clock: FakeClock
) -> None:
    """Security decision 8: a release revives nothing, so the reason is still the switch."""
    facts = {"mode": "full_stop", "reason": "a drill", "target": "app:app_1"}
    for action in ("controls.switch.engage", "controls.switch.release"):
        happen(place, Event(action, facts=facts))
        clock.advance(timedelta(minutes=1))
    made = refused(Reason.SWITCH_ENGAGED, clock.now())
    place.write(made)
    said = "what was issued before the release remains invalid"

    assert said in explain(place, made.request_id).sentences[-1]

    happen(place, Event("controls.switch.engage", facts=facts))
    clock.advance(timedelta(minutes=1))
    again = replace(refused(Reason.SWITCH_ENGAGED, clock.now()), request_id="req_again", decision="req_again")
    place.write(again)
    assert said not in " ".join(explain(place, "req_again").sentences)


def test_the_explanation_has_what_the_app_was_answered(place: JournalGround) -> None:
    made = refused(Reason.QUOTA_EXCEEDED, access(1).at, status=429, detail="Later.", rule="patient/*.rs")
    place.write(made)

    sentences = explain(place, made.request_id).sentences

    assert "Detail sent to the app: Later." in sentences
    assert "The scopes alone would have permitted it (patient/*.rs); another rule refused it." in sentences


def test_a_stranger_is_described_by_address_and_a_count_as_a_count(place: JournalGround) -> None:
    """Security decision 5."""
    who = {"app": "", "client": "", "person": "", "launch": "", "authorization": "", "source": "192.0.2.7"}
    made = refused(Reason.TOKEN_INVALID, access(1).at, status=401, count=25, rule="folded", **who)
    place.write(made)

    sentences = explain(place, made.request_id).sentences

    assert "was refused with 401 (25 times)." in sentences[0]
    assert any("counted together" in each for each in sentences)
    assert sentences[-1] == "The request came from 192.0.2.7; its sender is unknown."
    assert not any("None" in each or "permitted" in each for each in sentences)


@pytest.mark.parametrize("interaction", ["unsupported", "read", ""])
def test_a_request_without_a_token_is_explained_as_that(place: JournalGround, interaction: str) -> None:
    """C153: without a token nothing is parsed, and nothing is said about what was asked."""
    who = {"app": "", "client": "", "person": "", "launch": "", "authorization": "", "source": "192.0.2.7"}
    made = refused(Reason.TOKEN_MISSING, access(1).at, status=401, interaction=interaction, **who)
    place.write(made)

    sentences = explain(place, made.request_id).sentences

    assert "a request without an access token at general was refused with 401." in sentences[0]
    assert "not offered" not in " ".join(sentences)


def test_a_refusal_at_the_token_endpoint_says_why_in_its_own_words(place: JournalGround) -> None:
    def verb(ctx: Context) -> None:
        facts = {"detail": "The code was used before.", "method": "basic"}
        event = Event("authserver.token.refuse", Outcome.REFUSED, reason="invalid_grant", facts=facts)
        service.record(ctx, event)

    client = Actor(ActorKind.CLIENT, "cli_1")
    place.uow.write_now(verb, actor=client, trace=Trace("req_token"))

    (told,) = explain(place, "req_token").sentences

    assert told.endswith(
        "client cli_1 was refused (authserver.token.refuse): invalid_grant; The code was used before."
    )


@pytest.mark.parametrize(
    ("actor", "told"),
    [
        (Actor(ActorKind.SYSTEM, "system"), "the platform itself"),
        (Actor(ActorKind.ANONYMOUS, "anonymous"), "an unauthenticated caller"),
        (Actor(ActorKind.HOST, "root"), "root at the host's shell"),
        (Actor(ActorKind.PERSON, "per_1"), "person per_1"),
    ],
)
def test_the_actor_is_described_in_words(place: JournalGround, actor: Actor, told: str) -> None:
    event = Event("registry.vendor.add")
    place.uow.write_now(lambda ctx: service.record(ctx, event), actor=actor, trace=Trace("req_actor"))

    assert f"registry.vendor.add was done by {told}." in explain(place, "req_actor").sentences[0]


def test_whatever_changes_an_installation_is_explained_in_words() -> None:
    """Its events are in the explanation of each request of the app there."""
    changes = {each for each in ACTION_WORDS if each.startswith("registry.installation.")}

    assert changes - set(explanation._HAPPENED) == set()


def test_every_phrase_names_an_action_that_there_is() -> None:
    """A renamed action must not leave its phrase behind."""
    source = "".join(path.read_text() for path in Path(explanation.__file__).parents[2].rglob("*.py"))

    assert [action for action in explanation._HAPPENED if source.count(f'"{action}"') < 2] == []
