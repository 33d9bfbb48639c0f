"""One act accepts what a newer version of an installed app has more (C215)."""

from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType
from hilum.apps.installations import policy as installations_policy
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, ClientId
from hilum.policy.matrix.shipped import shipped_book
from tests.flows.control_site import codes, problem
from tests.flows.request_ground import GENERAL, READS, RequestGround
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

FIRST = ("launch", "openid", "patient/Observation.rs")
SECOND = (*FIRST, "fhirUser", "patient/Condition.rs", "patient/Immunization.rs")


class Installed(RequestGround):
    """Version 1 of another app is installed for physicians, and version 2 is certified for more an hour later."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock) -> None:
        super().__init__(uow, clock)
        made = self.site.furnished("version 1 is installed", self._install)
        self.chart, self.first, self.id = made

    def _install(self) -> tuple[str, str, str]:
        chart = self.add_app("Wide")
        first = self.certify(chart, "1", FIRST)
        body = {"tenant": "general", "app": chart, "roles": ["physician"]}
        installed = made(self.api("gina").post("/installations", json=body))["id"]
        self.clock.advance(timedelta(hours=1))
        return chart, first, installed

    def newer(self, who: str = "gina") -> Any:
        return made(self.api(who).get(f"/installations/{self.id}/newer-version"), 200)

    def accept(self, who: str = "gina", **body: Any) -> Any:
        digest = body.pop("digest", "") or self.newer()["digest"]
        return self.api(who).post(f"/installations/{self.id}/accept-version", json={"digest": digest} | body)

    def now(self) -> Any:
        (found,) = (each for each in self.installed() if each["id"] == self.id)
        return found

    def allowed(self, client: str) -> tuple[str, ...]:
        """Return what a client may be granted at the hospital now."""
        facts = self.site.system(clients.client_facts, client_id=ClientId(client))
        place = self.site.system(installations.installation, tenant=GENERAL, app=AppId(self.chart))
        return installations_policy.allowed_scopes(facts, place, shipped_book(), self.site.clock.now())


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Installed:
    return Installed(sqlite_uow, clock)


def test_what_a_newer_version_has_more_is_shown_in_words_and_accepted_in_one_act(ground: Installed) -> None:
    """C215."""
    assert ground.newer()["version"] == ""
    second = ground.certify(ground.chart, "2", SECOND)
    before = ground.now()

    found = ground.newer()

    assert (found["label"], found["scopes"]) == (
        "2",
        ["fhirUser", "patient/Condition.rs", "patient/Immunization.rs"],
    )
    words = {each["scope"]: each["words"] for work in found["work"] for each in work["scopes"]}
    assert words["patient/Condition.rs"] == "See health problems of this patient"
    assert ground.now() == before
    assert "patient/Condition.rs" not in ground.allowed(second)
    accepted = made(ground.accept(), 200)

    assert accepted["accepted"] == found["scopes"]
    assert ground.now()["scopes"] == [*FIRST, *found["scopes"]]
    assert ground.now()["approved_at"] == before["approved_at"], "what was issued goes on"
    assert "patient/Condition.rs" in ground.allowed(second)
    assert "patient/Condition.rs" not in ground.allowed(ground.first)
    assert ground.newer()["version"] == ""


def test_a_part_is_accepted_and_the_rest_stays_on_offer(ground: Installed) -> None:
    """C215."""
    ground.certify(ground.chart, "2", SECOND)

    done = made(ground.accept(scopes=["patient/Condition.r"], roles=["nurse"]), 200)

    assert done["scopes"] == [*FIRST, "fhirUser", "patient/Condition.r"]
    assert (done["left_out"], done["roles"]) == (
        ["patient/Condition.rs", "patient/Immunization.rs"],
        ["nurse", "physician"],
    )
    assert ground.newer()["scopes"] == ["patient/Condition.rs", "patient/Immunization.rs"]
    assert made(ground.accept(), 200)["left_out"] == []
    assert ground.newer()["version"] == ""


@pytest.mark.parametrize(
    "scope", ["patient/Task.rs", "patient/*.rs", "patient/Observation.u", "user/Condition.rs"]
)
def test_only_what_is_new_can_be_accepted(ground: Installed, scope: str) -> None:
    ground.certify(ground.chart, "2", SECOND)

    refused = problem(ground.accept(scopes=["patient/Condition.rs", scope]), 422, "acceptance_invalid")

    assert codes(refused) == {"scopes": "not_new"}
    assert ground.now()["scopes"] == list(FIRST)


def test_another_difference_than_the_one_that_was_seen_is_not_accepted(ground: Installed) -> None:
    ground.certify(ground.chart, "2", SECOND)
    seen = ground.newer()["digest"]
    ground.clock.advance(timedelta(hours=1))
    ground.certify(ground.chart, "3", (*SECOND, "patient/Procedure.rs"))

    problem(ground.accept(digest=seen), 409, "changed_since_read")
    made(ground.accept(), 200)

    problem(ground.accept(digest=seen), 409, "changed_since_read")
    problem(ground.accept(), 409, "nothing_new")


def test_only_the_hospitals_administrators_accept(ground: Installed) -> None:
    ground.certify(ground.chart, "2", SECOND)
    digest = ground.newer()["digest"]

    problem(ground.accept("carl", digest=digest), 404, "installation_not_found")
    for who in ("ann", "root", "sam", "dev"):
        assert ground.accept(who, digest=digest).status_code == 403, who
    assert ground.newer("otto")["digest"] == digest
    assert ground.now()["scopes"] == list(FIRST)


def test_scopes_that_the_hospital_narrowed_away_are_not_new_in_a_version(ground: Installed) -> None:
    body = {"scopes": ["patient/Observation.r"]}
    made(ground.api("gina").patch(f"/installations/{ground.id}", json=body), 200)
    ground.certify(ground.chart, "2", SECOND)

    assert "patient/Observation.rs" not in ground.newer()["scopes"]


def test_giving_back_what_was_narrowed_away_ends_what_was_issued_before(ground: Installed) -> None:
    """C215: a grant from before the narrowing would have it again without anybody being asked."""
    ground.certify(ground.chart, "2", SECOND)
    made(ground.accept(), 200)
    made(
        ground.api("gina").patch(f"/installations/{ground.id}", json={"scopes": ["patient/Observation.rs"]}),
        200,
    )
    before = ground.now()
    ground.clock.advance(timedelta(hours=1))
    made(ground.ask("nora", app=ground.chart, scopes=["patient/Condition.rs"]))

    made(ground.decide("gina", "approve"), 200)

    after = ground.now()
    assert "patient/Condition.rs" in after["scopes"]
    assert after["approved_at"] > before["approved_at"]
    ground.clock.advance(timedelta(hours=1))
    ground.certify(ground.chart, "3", (*SECOND, "patient/Procedure.rs"))
    assert not ground.newer()["revives"]
    made(ground.accept(), 200)
    assert ground.now()["approved_at"] == after["approved_at"]


def test_a_narrower_version_takes_away_without_an_acceptance(ground: Installed) -> None:
    """C215."""
    second = ground.certify(ground.chart, "2", ("launch", "patient/Observation.r"))

    assert ground.newer()["version"] == ""
    assert ground.allowed(second) == ("launch", "patient/Observation.r")
    problem(ground.accept(), 409, "nothing_new")


@pytest.mark.parametrize("kind", [ClientType.PUBLIC, ClientType.SYMMETRIC])
def test_a_new_workflow_is_named_as_new_with_what_the_policy_allows_of_it(
    ground: Installed, kind: ClientType
) -> None:
    """C215: what it does not allow for how the app's clients authenticate is listed, and not offered."""
    app = ground.add_app("Declares", "documentation_assistance")
    declared: Any = {"placements": ("sidebar",), "kind": kind}
    ground.certify(app, "1", READS, workflows=("chart_review",), **declared)
    body = {"tenant": "general", "app": app, "roles": ["physician"]}
    id_ = made(ground.api("gina").post("/installations", json=body))["id"]
    ground.clock.advance(timedelta(hours=1))
    both, writes = ("chart_review", "documentation"), "patient/DocumentReference.cu"
    ground.certify(app, "2", (*READS, writes), workflows=both, **declared)

    found = made(ground.api("gina").get(f"/installations/{id_}/newer-version"), 200)

    if kind is ClientType.PUBLIC:
        assert (found["version"], found["work"], found["withheld"]) == ("", [], [writes])
        return
    (work,) = (each for each in found["work"] if each["is_new"])
    assert (work["name"], work["title"]) == ("documentation", "Writing and completing notes")
    offered = [(each["scope"], each["writes"]) for each in work["scopes"]]
    assert (offered, found["withheld"]) == ([(writes, True)], [])


def test_a_withdrawn_or_ended_version_is_not_offered(ground: Installed) -> None:
    ground.certify(ground.chart, "2", SECOND)
    (newest, *_) = ground.site.system(registry.certifications_of, app=AppId(ground.chart))
    made(ground.api("rita").delete(f"/certifications/{newest.id}"), 200)

    assert ground.newer()["version"] == ""
    problem(ground.accept(), 409, "nothing_new")


def test_a_suspended_app_is_neither_installed_nor_given_more(ground: Installed) -> None:
    """C146, C215: by the API, by a request and by accepting a version; each refusal says since when and why."""
    ground.certify(ground.chart, "2", SECOND)
    digest = ground.newer()["digest"]
    for app in (ground.chart, ground.app):
        ground.site.system(registry.suspend_app, app_id=AppId(app), reason="It shows the wrong patient.")
    said = f"since {ground.clock.now():%Y-%m-%d %H:%M} UTC: It shows the wrong patient."

    made(ground.ask("ann"))
    body = {"tenant": "general", "app": ground.app, "roles": ["physician"]}
    refusals = (
        ground.api("gina").post("/installations", json=body),
        ground.decide("gina", "approve", reason="fine"),
        ground.accept(digest=digest),
        ground.accept(digest=digest, scopes=[]),
    )

    for answer in refusals:
        refused = problem(answer, 422, "installation_invalid")
        assert codes(refused) == {"app": "app_suspended"}
        assert said in refused["detail"]
    assert [each["app"] for each in ground.installed()] == [ground.chart]
    assert ground.now()["scopes"] == list(FIRST)
    ground.site.system(registry.resume_app, app_id=AppId(ground.chart), reason="Solved.")
    made(ground.accept(digest=digest), 200)


def test_a_narrowing_of_what_a_colleague_changed_meanwhile_is_refused(ground: Installed) -> None:
    """C97: with the revision that was read; without one it is about the installation as it is."""
    where = f"/installations/{ground.id}"
    read = made(ground.api("gina").get(where), 200)["revision"]
    first = {"scopes": ["patient/Observation.r"], "revision": read}
    narrowed = made(ground.api("gina").patch(where, json=first), 200)

    stale = {"expires_at": (ground.clock.now() + timedelta(days=9)).isoformat()}
    problem(ground.api("greg").patch(where, json=stale | {"revision": read}), 409, "changed_since_read")
    assert ground.now()["expires_at"] is None

    made(ground.api("greg").patch(where, json=stale | {"revision": narrowed["revision"]}), 200)
    made(ground.api("greg").patch(where, json={"roles": ["physician"]}), 200)
