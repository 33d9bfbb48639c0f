"""A hospital is told what another version of the policy changes for its apps, once (C180)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.deprecations import service
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.actor import SYSTEM
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.document import render
from hilum.policy.matrix.models import ApplyOrder
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.notices.models import Notice
from tests.flows.policy_ground import READ_ONLY, narrow_policy
from tests.sim.notice_ground import NoticeGround
from tests.store.registry_ground import GENERAL, MERCY, Ground, ground

__all__ = ["ground"]
ADMIN, OTHER = "gina@general.example", "mary@mercy.example"


@pytest.fixture
def made(ground: Ground) -> Ground:
    """One app, certified and installed at one of two hospitals, each with an administrator, under the shipped book."""
    ground.do(SYSTEM, policies.adopt_shipped)
    until = ground.uow.clock.now() + timedelta(days=150)
    ground.certify(expires_at=until)
    metadata = ClientMetadata(
        name="Viewer",
        type=ClientType.PUBLIC,
        deployment=Deployment.BROWSER,
        environment=Environment.SANDBOX,
        redirect_uris=("https://app.example/cb",),
        launch_uri="https://app.example/launch",
        scopes=("launch", "patient/Observation.rs"),
    )
    ground.do(SYSTEM, clients.add_client, NewClient(ground.app.id, ground.version.id, metadata))
    ground.install()
    for tenant, address in ((GENERAL, ADMIN), (MERCY, OTHER)):
        order = NewPerson(tenant, address.partition("@")[0], "Admin", "administrator", mail=address)
        ground.do(SYSTEM, identity.add_person, order)
    nurse = NewPerson(GENERAL, "nora", "Nora", "nurse", mail="nora@general.example")
    ground.do(SYSTEM, identity.add_person, nurse)
    run(ground)
    return ground


def run(made: Ground) -> None:
    while made.do(SYSTEM, service.notify_next):
        pass


def sent(made: Ground) -> list[Notice]:
    return [each for each in NoticeGround(made.uow).all() if each.kind == "book_changed"]


def apply(made: Ground, changes: dict[str, Any], *tenants: Any) -> None:
    narrow_policy(lambda verb: made.do(SYSTEM, verb), changes, *tenants)
    run(made)


ENTRY = "categories.care_recommendations.entries"
STOPPED, LESS = (
    {f"{ENTRY}.{tier}.scopes": scopes for tier in ("moderate", "high")}
    for scopes in (["patient/Location.rs"], ["patient/Location.rs", "patient/Observation.r"])
)


def test_who_administers_a_hospital_where_an_app_is_concerned_gets_one_mail(made: Ground) -> None:
    apply(made, STOPPED)
    run(made)

    assert [each.recipient for each in sent(made)] == [ADMIN]
    facts = sent(made)[0].facts
    assert (facts["stopped"], facts["less"], facts["more"]) == ("1 app (Viewer)", "none", "none")


def test_a_book_in_force_elsewhere_or_without_effect_sends_no_mail(made: Ground) -> None:
    apply(made, STOPPED, MERCY)
    assert sent(made) == []

    apply(made, {"title": "Another text, and the same rules"}, GENERAL)
    assert sent(made) == []


def test_each_change_is_mailed_by_itself_in_order(made: Ground) -> None:
    narrow_policy(lambda verb: made.do(SYSTEM, verb), LESS, GENERAL)
    apply(made, STOPPED, GENERAL)

    told = {each.facts["version"]: each.facts for each in sent(made)}
    assert {version: (each["less"], each["stopped"]) for version, each in told.items()} == {
        "2": ("1 app (Viewer)", "none"),
        "3": ("none", "1 app (Viewer)"),
    }


def test_where_nobody_has_an_address_the_staff_find_whom_to_tell(made: Ground) -> None:
    gina = made.do(SYSTEM, identity.find_person_by_username, GENERAL, "gina")
    made.do(SYSTEM, identity.deactivate_person, gina.id)

    apply(made, STOPPED)

    assert sent(made) == []
    query = EventQuery(action="policies.application.announce", tenant=GENERAL)
    (event,) = made.do(SYSTEM, audit.list_events, query).events
    assert (event.event.facts["mailed"], event.event.facts["stopped"]) == (0, 1)


def test_applications_before_the_first_run_are_not_mailed(ground: Ground) -> None:
    ground.do(SYSTEM, policies.adopt_shipped)
    narrow_policy(lambda verb: ground.do(SYSTEM, verb), READ_ONLY)

    run(ground)

    assert sent(ground) == []


def noticed(made: Ground) -> list[Notice]:
    return [each for each in NoticeGround(made.uow).all() if each.kind == "book_changes"]


def observed(made: Ground, days: int) -> tuple[datetime, dict[str, Any]]:
    """What stops the app from a day on, and is observed until then."""
    day = (made.uow.clock.now() + timedelta(days=days)).date()
    until = {f"{ENTRY}.{tier}.observe": {"until": day.isoformat()} for tier in ("moderate", "high")}
    return datetime(day.year, day.month, day.day, tzinfo=UTC), STOPPED | until


def test_what_a_version_enforces_from_a_day_on_is_announced_before_that_day_once(made: Ground) -> None:
    """C180: whoever publishes sets the day, by observing until then (C209), and hospitals learn it at once."""
    day, changes = observed(made, 20)

    apply(made, changes)
    run(made)

    (mail,) = noticed(made)
    assert (mail.recipient, mail.facts["stopped"]) == (ADMIN, "1 app (Viewer)")
    assert mail.facts["since"] == day.isoformat()
    assert sent(made) == [], "nothing has changed yet"
    query = EventQuery(action="policies.application.announce", tenant=GENERAL)
    (event,) = made.do(SYSTEM, audit.list_events, query).events
    assert (event.event.facts["since"], event.event.facts["mailed"]) == (day.date().isoformat(), 1)


def apply_whole(made: Ground, whole: dict[str, Any]) -> None:
    number = made.do(SYSTEM, policies.add_version, whole, base=1, note="").number
    last = made.do(SYSTEM, policies.in_force).last
    made.do(SYSTEM, policies.apply, ApplyOrder(number, (), last, "a drill", emergency=True))
    run(made)


def test_a_day_that_a_hospital_knows_of_is_not_announced_again_and_a_sooner_one_is(made: Ground) -> None:
    _, changes = observed(made, 20)
    apply(made, changes)
    whole = render(made.do(SYSTEM, policies.get_version, 2)[1])

    apply_whole(made, whole | {"title": "Another text"})
    assert len(noticed(made)) == 1

    sooner, _ = observed(made, 10)
    for tier in ("moderate", "high"):
        whole["categories"]["care_recommendations"]["entries"][tier]["observe"]["until"] = str(sooner.date())
    apply_whole(made, whole | {"title": "A third text"})
    assert {each.facts["since"] for each in noticed(made)} > {sooner.isoformat()}
    assert len(noticed(made)) == 2
