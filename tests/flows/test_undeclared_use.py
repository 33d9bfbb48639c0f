"""Use beyond what a version declares: found by the job, listed for reviewers, mailed to the vendor (C21)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import BackendUse, ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit import access_index, windows
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.review.undeclared_use import service
from hilum.review.undeclared_use.models import LOOKED_BACK
from tests.flows.use_ground import MAILBOX, DeclaringApp
from tests.sim.backends import both_backends
from tests.sim.world import FakeClock

BEYOND: dict[str, Any] = {"resource_type": "Immunization", "rule": "patient/*.rs"}


@pytest.fixture
def seen(one_uow: UnitOfWork, clock: FakeClock) -> DeclaringApp:
    made = DeclaringApp(one_uow, clock)
    clock.advance(timedelta(days=91))
    return made


@both_backends
def test_use_beyond_a_declaration_is_listed_once_mailed_once_and_closed_when_it_is_long_ago(
    seen: DeclaringApp, clock: FakeClock
) -> None:
    """C21."""
    seen.use("general", "general", "children", **BEYOND)
    seen.use("general", resource_type="Appointment")

    for _ in range(2):
        seen.judge()

    ((source, sentence),) = seen.reviews()
    assert source == "use"
    assert sentence.startswith("observed use: it used patient/Immunization.r, for ")
    assert "(3 times, last on " in sentence
    (mail,) = seen.mails()
    assert (mail.kind, mail.recipient) == ("use_exceeds", MAILBOX)
    assert mail.facts["what"] == "it uses scopes that none of its declared workflows needs"
    # The other job, which judges by the policy alone, leaves it open.
    seen.site.system(registry.note_next_reviews, after="")
    assert len(seen.reviews()) == 1

    clock.advance(LOOKED_BACK + timedelta(days=1))
    seen.judge()

    assert seen.reviews() == []
    query = EventQuery(action="registry.delta_review", app=seen.app)
    events = [each.event for each in seen.site.system(audit.list_events, query=query).events]
    assert [(each.action.rpartition(".")[2], each.facts["source"]) for each in events] == [
        ("close", "use"),
        ("open", "use"),
    ]


def test_nothing_is_withheld_by_it(seen: DeclaringApp) -> None:
    """What was used is certified: a reviewer decides."""
    before = seen.site.api("rita").get(f"/apps/{seen.app}/certifications").json()
    seen.use("general", **BEYOND)

    seen.judge()

    assert seen.reviews()
    assert seen.site.api("rita").get(f"/apps/{seen.app}/certifications").json() == before


@pytest.mark.parametrize(
    "more",
    [
        {"resource_type": "Appointment"},
        BEYOND | {"days_ago": 31},
        BEYOND | {"outcome": Outcome.REFUSED, "reason": "scope_missing"},
        BEYOND | {"client": "cli_other"},
        BEYOND | {"rule": "fhirUser"},
    ],
)
def test_use_that_is_declared_old_refused_or_of_another_client_opens_nothing(
    seen: DeclaringApp, more: dict[str, Any]
) -> None:
    seen.use("general", **more)

    seen.judge()

    assert (seen.reviews(), seen.mails()) == ([], [])


@pytest.mark.parametrize("version", [NewVersion("2"), NewVersion("2", workflows=(), placements=())])
def test_a_version_that_declares_no_workflow_in_particular_is_exceeded_by_nothing(
    one_uow: UnitOfWork, clock: FakeClock, version: NewVersion
) -> None:
    made = DeclaringApp(one_uow, clock, version)
    clock.advance(timedelta(days=91))
    made.use("general", **BEYOND)

    made.judge()

    assert made.reviews() == []


def test_a_certification_that_was_withdrawn_after_it_was_judged_opens_nothing(seen: DeclaringApp) -> None:
    seen.use("general", **BEYOND)
    counts = journals.count_decisions(seen.folder, seen.place.url, seen.clock.now())
    apps, (judged,) = seen.site.system(service.next_to_judge, after="")
    book = seen.site.system(service.book_for)
    found = service.judge(book, judged, service.uses_of(judged, counts.permits))
    assert found is not None
    certification = judged.certification.id
    seen.site.system(registry.withdraw_certification, certification_id=certification)

    seen.site.system(service.note, of=apps, found=[found])

    assert (seen.reviews(), seen.mails()) == ([], [])


class Nightly(DeclaringApp):
    """The same, with a backend service that declares how much it does in a day at one hospital."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, **volumes: Any) -> None:
        super().__init__(uow, clock, NewVersion("2"))
        metadata = ClientMetadata(
            name="Nightly",
            type=ClientType.BACKEND,
            deployment=Deployment.SERVER,
            environment=Environment.SANDBOX,
            scopes=("system/Observation.rs",),
            jwks_uri="https://app.example/jwks",
            expires_at=clock.now() + timedelta(days=300),
            backend_use=BackendUse("Quality", "Adults", "Nightly", **volumes),
        )
        order = NewClient(self.app, self.client.version, metadata)
        self.service, _ = self.site.system(clients.add_client, order=order)
        clock.advance(timedelta(days=91))

    def call(self, *tenants: str, number: int, **more: Any) -> None:
        self.use(*tenants, client=self.service.id, rule="system/*.cruds", count=number, **more)


@both_backends
def test_more_calls_in_a_day_than_a_service_declares_open_a_review(
    one_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C21: listed and mailed once, whatever other hospitals and days add."""
    nightly = Nightly(one_uow, clock, calls_a_day=10, writes_a_day=2)
    nightly.call("general", "children", number=6)
    nightly.call("general", number=6, days_ago=2)
    nightly.judge()
    assert (nightly.reviews(), nightly.mails()) == ([], [])

    nightly.call("general", number=5)
    nightly.call("general", number=3, days_ago=3, interaction="update")
    for _ in range(2):
        nightly.judge()

    ((source, sentence),) = nightly.reviews()
    assert source == "use"
    assert (
        "it made up to 11 calls in a day at one hospital, and declares 10 at most (once, last on " in sentence
    )
    assert (
        "it made up to 3 writes in a day at one hospital, and declares 2 at most (once, last on " in sentence
    )
    (mail,) = nightly.mails()
    assert (mail.kind, mail.recipient) == ("use_exceeds", MAILBOX)
    assert "calls more often in a day than it declares" in mail.facts["what"]

    clock.advance(LOOKED_BACK + timedelta(days=1))
    nightly.judge()
    assert nightly.reviews() == []


@pytest.mark.parametrize(
    "more",
    [
        {"reason": "quota_exceeded", "outcome": Outcome.REFUSED},
        {"days_ago": 31},
        {"client": "cli_other"},
        {"interaction": "search-type", "count": 10},
    ],
)
def test_calls_that_were_refused_long_ago_of_others_or_within_open_nothing(
    one_uow: UnitOfWork, clock: FakeClock, more: dict[str, Any]
) -> None:
    nightly = Nightly(one_uow, clock, calls_a_day=10)

    nightly.use("general", **({"client": nightly.service.id, "rule": "system/*.rs", "count": 11} | more))
    nightly.judge()

    assert nightly.reviews() == []


def test_a_service_that_declares_no_volume_is_judged_by_none(one_uow: UnitOfWork, clock: FakeClock) -> None:
    nightly = Nightly(one_uow, clock)

    nightly.call("general", number=100_000)
    nightly.judge()

    assert nightly.reviews() == []


@both_backends
def test_whom_and_when_a_service_reaches_beyond_what_it_declares_opens_a_review(
    one_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C21, C17: patients of reads and of searches over many, each once a day and hospital, and calls at other hours."""
    nightly = Nightly(one_uow, clock, patients_a_day=3, hours="22:00-05:00")
    midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)

    def call(tenant: str, hour: int, **more: Any) -> None:
        nightly.call(tenant, number=1, at=midnight + timedelta(hours=hour), **more)

    call("general", 1, patient="p1")
    call("general", 2, patient="", found="p1:2 p2:1 p3:4", returned=7)
    call("general", 23, patient="p2")
    call("children", 3, patient="p4")
    call("general", 26, patient="p5")
    call("general", 12, patient="p6", outcome=Outcome.REFUSED, reason="quota_exceeded")
    nightly.judge()
    assert nightly.reviews() == []

    call("general", 5, patient="p5")
    call("general", 12, patient="p1")
    nightly.judge()

    ((_, found),) = nightly.reviews()
    assert (
        "it reached up to 4 patients in a day at one hospital, and declares 3 at most (once, last on "
        in found
    )
    assert (
        "it made up to 1 call in a day at one hospital outside the hours that it declares (22:00-05:00 UTC)"
        in found
    )


@both_backends
def test_a_day_counts_also_if_it_is_indexed_long_after_its_end_and_closes_nothing_before(
    one_uow: UnitOfWork, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C21: after a restore the index is made again while the job runs, and a flood of calls may hold it up."""
    monkeypatch.setattr(windows, "INDEX_WAITS", 1)
    nightly = Nightly(one_uow, clock, patients_a_day=0)
    early = clock.now() - timedelta(days=2)
    known = nightly.known_days()

    nightly.call("general", number=1, at=early, indexed=False, patient="p1")
    nightly.judge_with(known, indexed=False)
    assert nightly.reviews() == []
    nightly.judge_with(known)
    ((_, opened),) = nightly.reviews()

    monkeypatch.setattr(access_index, "reached_on", lambda *_, **__: [])
    nightly.call("general", number=2, at=early, indexed=False, patient="p2")
    nightly.judge_with(nightly.known_days(), indexed=False)
    assert nightly.reviews() == [("use", opened)]
