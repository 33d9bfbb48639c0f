"""Agreements are kept in versions, leave as FHIR Consent resources, and those of a proxy end with the relationship (C96)."""

import json
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.authorization.consent import exports, store
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Basis
from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AuthorizationId, PersonId
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.people.models import Chart
from hilum.identity.signin.policy import actor_of
from hilum.server.acts import acts
from hilum_ehr.fhirserver.validation import parse_resource
from tests.flows.authorize_flow import Front, answer, front
from tests.flows.connected_ground import connect, manage
from tests.flows.consent_ground import add_agreements
from tests.flows.control_site import build, problem
from tests.flows.token_flow import MERCY, TRACE, Platform, refused
from tests.sim.world import FakeClock

__all__ = ["front"]

CONSENTS = f"/t/{MERCY}/oauth/manage/consents"
GRANTED = "/fhir/StructureDefinition/granted-scope"


def exported(front: Front, person: str = "pat") -> list[dict[str, Any]]:
    """Return the Consents of a download, each of which the embedded FHIR server accepts."""
    browser = front.browser(person)
    page = browser.follow(browser.http.get(CONSENTS))
    assert page.headers["content-type"] == "application/fhir+json"
    parse_resource(page.content)
    found = [each["resource"] for each in json.loads(page.content).get("entry", ())]
    for each in found:
        parse_resource(json.dumps(each).encode())
    return found


def granted(resource: dict[str, Any]) -> list[str]:
    return [
        each["valueString"]
        for each in resource["provision"].get("extension", ())
        if each["url"].endswith(GRANTED)
    ]


def connect_proxy(
    front: Front, patient: str, scope: str = "launch/patient offline_access patient/Goal.rs"
) -> Any:
    browser = front.browser("gus")
    browser.authorize(scope=scope)
    browser.pick(patient)
    return front.redeem(answer(browser.allow())["code"], "web").json()


def charts(front: Platform, *found: Chart) -> None:
    front.run(lambda ctx: consent.set_charts(ctx, PersonId(front.people["gus"].id), found))


def test_each_change_is_a_version_and_the_history_can_be_read(front: Front) -> None:
    """C96: agreed, narrowed, withdrawn: three versions that the FHIR server's own validation accepts."""
    connect(
        front,
        scope="launch/patient patient/Goal.rs patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
    )
    (entry,) = front.run(lambda ctx: consent.list_for_person(ctx, MERCY, front.people["pat"].id))
    front.clock.advance(timedelta(hours=1))
    front.run(lambda ctx: consent.narrow(ctx, entry.id, ("launch/patient", "patient/Goal.rs")))
    front.clock.advance(timedelta(hours=1))
    front.run(lambda ctx: consent.withdraw(ctx, entry.id))

    first, second, third = exported(front)

    assert [each["meta"]["versionId"] for each in (first, second, third)] == ["1", "2", "3"]
    assert len({each["id"] for each in (first, second, third)}) == 1
    assert [each["status"] for each in (first, second, third)] == ["active", "active", "inactive"]
    assert [len(granted(each)) for each in (first, second, third)] == [3, 2, 0]
    provision = first["provision"]
    assert provision["type"] == "permit"
    assert third["provision"]["type"] == "deny"
    assert [each["code"] for each in provision["class"]] == ["Goal", "Observation"]
    assert provision["code"][0]["coding"][0]["code"] == "laboratory"
    assert provision["actor"][0]["reference"]["identifier"]["value"] == front.clients["web"].app
    assert provision["period"]["end"] == second["provision"]["period"]["start"]
    assert first["patient"] == {"reference": "Patient/p1"}
    assert len(front.events("consent.authorization.export")) == 1


def test_an_agreement_older_than_versions_has_its_state_as_its_first(front: Front) -> None:
    connect(front, scope="launch/patient patient/Goal.rs patient/Immunization.rs")
    front.run(lambda ctx: ctx.tx.execute(store.agreement_version.delete()))
    assert [each["meta"]["versionId"] for each in exported(front)] == ["1"]
    (entry,) = front.run(lambda ctx: consent.list_for_person(ctx, MERCY, front.people["pat"].id))
    front.run(lambda ctx: consent.narrow(ctx, entry.id, ("launch/patient", "patient/Goal.rs")))

    first, second = exported(front)

    assert len(granted(first)) == 3
    assert len(granted(second)) == 2


def test_an_agreement_that_ran_out_is_inactive(front: Front) -> None:
    connect(front)
    front.clock.advance(timedelta(days=400))

    (only,) = exported(front)

    assert only["status"] == "inactive"


def test_a_proxys_agreement_names_the_relationship_and_whose_record_it_is(front: Front) -> None:
    """C96."""
    connect_proxy(front, "p2")

    (only,) = exported(front, "gus")

    assert only["patient"] == {"reference": "Patient/p2"}
    assert only["performer"] == [{"reference": "RelatedPerson/r1", "display": "acts for the patient"}]
    assert only["provision"]["actor"][1]["role"]["coding"][0]["code"] == "DELEGATEE"


def test_a_proxys_agreement_ends_with_the_access_and_does_not_come_back_with_it(front: Front) -> None:
    """C96: refresh and gateway too; whoever may act again is asked again."""
    token = connect_proxy(front, "p2")
    other = connect_proxy(front, "p1")

    charts(front, Chart("p1"))
    charts(front, Chart("p1"), Chart("p2"))

    assert not front.is_alive(token["access_token"])
    assert front.read("Goal", token["access_token"]).status == 401
    refused(front.refresh(token["refresh_token"], "web"), "invalid_grant")
    assert front.is_alive(other["access_token"])
    assert [
        each["status"] for each in exported(front, "gus") if each["patient"]["reference"] == "Patient/p2"
    ] == [
        "active",
        "inactive",
    ]


def test_at_the_age_of_majority_the_agreement_ends_whether_it_was_known_before_or_after(front: Front) -> None:
    """C96: nothing is written at the moment itself, so the end stands in the agreement."""
    ends = front.clock.now() + timedelta(days=3)
    charts(front, Chart("p1"), Chart("p2", ends))
    known_before = connect_proxy(front, "p2")
    known_after = connect_proxy(front, "p1")

    def period_ends() -> list[str]:
        return [each["provision"]["period"]["end"] for each in exported(front, "gus")]

    at = ends.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert period_ends().count(at) == 1
    charts(front, Chart("p1", ends), Chart("p2", ends))
    assert period_ends() == [at, at]

    front.clock.advance(timedelta(days=3))
    for token in (known_before, known_after):
        refused(front.refresh(token["refresh_token"], "web"), "invalid_grant")
    assert {each["status"] for each in exported(front, "gus")} == {"inactive"}


def test_a_change_of_charts_by_two_people_ends_agreements_as_well(front: Front) -> None:
    """C96: once the second person has agreed, and not before."""
    front.add_person("ken", "patient", "Patient/p9", "p9")
    token = connect_proxy(front, "p2")["access_token"]
    ada, ben = (front.add_person(name, "administrator", "") for name in ("ada", "ben"))
    change = partial(
        consent.set_charts, person_id=PersonId(front.people["gus"].id), charts=(Chart("p1"), Chart("p9"))
    )
    asked = front.uow.write_now(change, actor=actor_of(ada), trace=TRACE)
    assert isinstance(asked, Asked)
    assert front.is_alive(token)

    table = acts(LinkMail(lambda tenant, secret: "", works=False))
    approve = partial(approvals.approve, approval_id=asked.approval.id, acts=table)
    front.uow.write_now(approve, actor=actor_of(ben), trace=TRACE)

    assert not front.is_alive(token)
    assert [each["status"] for each in exported(front, "gus")] == ["active", "inactive"]


def test_the_page_links_to_the_download_and_strangers_sign_in_first(front: Front) -> None:
    connect(front)
    assert CONSENTS in manage(front.browser("pat"))

    assert front.browser().http.get(CONSENTS).status_code == 303


def test_what_staff_of_a_hospital_confirmed_is_no_patients_consent(front: Front) -> None:
    front.earn("public", person="dora")

    agreed = front.run(lambda ctx: consent.list_for_person(ctx, MERCY, front.people["dora"].id))
    assert {each.basis for each in agreed} == {Basis.TENANT}
    assert exported(front, "dora") == []


def test_a_persons_own_download_has_all_of_it_or_is_refused(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C96: what is cut off without a word would be taken for all of it."""
    connect(front)
    (entry,) = front.run(lambda ctx: consent.list_for_person(ctx, MERCY, front.people["pat"].id))

    def add(ctx: Context) -> None:
        for n in range(PAGE_BOUND):
            store.AUTHORIZATIONS.add(ctx.tx, replace(entry, id=AuthorizationId(f"aut_{n:04}")))

    front.run(add)
    assert len({each["id"] for each in exported(front)}) == PAGE_BOUND + 1
    monkeypatch.setattr(exports, "OWN_BOUND", PAGE_BOUND)
    browser = front.browser("pat")
    assert browser.follow(browser.http.get(CONSENTS)).status_code == 409


def test_a_hospital_exports_all_of_its_own_by_page_and_nothing_of_another(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    """C96, on both databases."""
    site = build(uow, clock)
    agreed = add_agreements(uow)
    gina = site.api("gina")

    found, url = [], "/consents?limit=2"
    while url:
        bundle = gina.get(url).json()
        parse_resource(json.dumps(bundle).encode())
        found += [each["resource"]["identifier"][0]["value"] for each in bundle.get("entry", ())]
        links = bundle.get("link", ())
        url = links[0]["url"].partition("/api/v1")[2] if links else ""

    assert found == agreed
    one = gina.get(f"/consents/{agreed[0]}").json()
    assert len(one["entry"]) == 1
    assert (
        gina.get("/consents?person=per_1").json()["entry"][0]["resource"]["identifier"][0]["value"]
        == agreed[0]
    )
    problem(site.api("carl").get(f"/consents/{agreed[0]}"), 404, "authorization_unknown")
    problem(site.api("ann").get("/consents"), 403, "not_permitted")
    problem(site.api("sam").get("/consents"), 403, "not_permitted")

    listed: list[dict[str, Any]] = []
    after = ""
    while after or not listed:
        page = gina.get(f"/authorizations?limit=2&after={after}").json()
        listed, after = listed + page["items"], page["next"]
    assert [each["id"] for each in listed if each["basis"] == "person"] == agreed
    assert all(each["ends_by"] and each["families"] == [] for each in listed)
    problem(site.api("ann").get("/authorizations"), 403, "not_permitted")
    problem(site.api("gina").get("/authorizations?limit=0"), 422, "fields_invalid")
    # As many to a page as of other lists: the command asks for that.
    assert site.api("gina").get("/authorizations?limit=200").status_code == 200
