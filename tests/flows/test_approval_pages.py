"""An approval reads as sentences, and what waits for somebody stands behind their bell (C200, ADR 29)."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVendor, NewVersion
from hilum.authorization.breakglass.models import Settings as EmergencySettings
from hilum.authorization.breakglass.service import _shown as shown_settings
from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import APPROVALS_PENDING_BOUND, Act, ApprovalKind
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.enrolment.policy import write_person
from hilum.identity.federation import store as federation
from hilum.identity.federation.models import RoleRow, Settings
from hilum.identity.people import orders
from hilum.identity.people import service as identity
from hilum.identity.people.models import Chart, NewPerson
from hilum.identity.signin.policy import actor_of
from hilum.policy.matrix.models import ExceptionKind
from tests.flows.console_ground import site
from tests.flows.control_site import TRACE, ControlSite, send
from tests.flows.policy_ground import WIDER, add, apply
from tests.sim.dry_runs import dry_run

__all__ = ["site"]
GENERAL = TenantId("general")
DIGEST = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12,64}\b")
ID = re.compile(r"\b(?:app|ven|per|ver|idp|dry|cli)_[0-9a-z]{6,}\b")


def acts_of(site: ControlSite) -> Mapping[ApprovalKind, Act]:
    """Return an act of each kind but those of the policy, as the modules that own them write it."""
    ends = (site.clock.now() + timedelta(days=30)).isoformat()
    vendor = site.system(
        registry.add_vendor, order=NewVendor("Acme", "help@acme.example", "sec@acme.example")
    ).id
    app = site.system(registry.add_app, order=NewApp(vendor, "Rota", "Shows", "Planning", "scheduling")).id
    version = site.system(registry.add_version, app_id=app, order=NewVersion("2.1")).id
    person = site.people["ann"]
    new = write_person(NewPerson(GENERAL, "new.one", "New One", "administrator", patients=("pat-1",)))
    tenant = orders.write_tenant(site.system(identity.get_tenant, tenant=GENERAL), ["upstream"])
    moved = {
        "upstream": tenant["upstream"] | {"url": "https://new.example/fhir", "credentials": "0a1b2c3d4e5f"}
    }
    settings = Settings(
        "Azure", "https://login.example", "client-1", role_table=(RoleRow("g-doctors", "physician"),)
    )
    exception = {
        "kind": ExceptionKind.LOWERED_TIER.value,
        "app": app,
        "version": version,
        "tenant": None,
        "tier": "low",
    }
    emergency = shown_settings(EmergencySettings(GENERAL))
    made = [
        Act(ApprovalKind.CREATE, GENERAL, "", new, {"own_of": ["ann"]}),
        Act(ApprovalKind.RESET, GENERAL, person.id, write_person(person), {"own_of": []}),
        Act(ApprovalKind.FACTORS, GENERAL, person.id, {"username": "ann", "name": "Ann", "role": "nurse", "reason": "lost it"},
            {"authenticator_since": site.clock.now().isoformat(), "passkeys": ["Phone"]}),
        Act(ApprovalKind.CHARTS, GENERAL, person.id, {"username": "ann", "charts": orders.write_charts([Chart("pat-2", None)])},
            {"charts": [], "own_of": ["bob"]}),
        Act(ApprovalKind.TENANT, GENERAL, GENERAL, moved, tenant),
        Act(ApprovalKind.SYSTEM_CLIENT, GENERAL, "", {"client_type": "ehr", "client_name": "Chart"}),
        Act(ApprovalKind.SECRET, GENERAL, "cli_1", {"client_type": "ehr", "client_name": "Chart", "overlap_s": 172_800},
            {"secrets": ["0a1b2c3d4e5f"]}),
        Act(ApprovalKind.EXCEPTION, None, version, exception | {"reason": "small", "control": "a person looks", "ends_at": ends},
            {"computed": "high", "sentence": "It writes.", "category": "scheduling", "rules": ["writes"],
             "ai_use": {"model": "m", "model_card_digest": "a1" * 32}}),
        Act(ApprovalKind.PROVIDER, GENERAL, "", federation.write_settings(settings) | {"new_secret": True}, {}),
        Act(ApprovalKind.PROVIDER_HOST, None, "https://login.example", {"origin": "https://login.example"}),
        Act(ApprovalKind.PROVIDER_LINK, GENERAL, person.id, {"username": "ann", "issuer": "https://login.example", "subject": "s-1"},
            {"provider": "idp_01m8x6q5abcdef", "issuer": "https://login.example"}),
        Act(ApprovalKind.BREAK_GLASS, GENERAL, GENERAL, emergency | {"enabled": True, "categories": ["hiv"]}, emergency),
        Act(ApprovalKind.DISCIPLINES, None, site.people["rita"].id, {"disciplines": ["security", "privacy"], "username": "rita"},
            {"disciplines": ["security"]}),
        Act(ApprovalKind.OFFBOARDING, GENERAL, GENERAL, {"name": "General", "reason": "merged", "erase_after_days": 30,
            "has": {"people": 3, "installations": 2}}),
    ]  # fmt: skip
    return {each.kind: each for each in made}


def main_of(page: str) -> str:
    """Return the text of a page's main part."""
    return re.sub(r"<[^>]+>", " ", page.partition("<main")[2].partition("</main>")[0])


def test_every_kind_of_approval_reads_as_sentences(site: ControlSite) -> None:
    """No JSON, no digest, and no id of what has a name; for the staff, who decide about everything."""
    acts = acts_of(site)
    assert {*acts, ApprovalKind.POLICY} == {*ApprovalKind}
    root = actor_of(site.people["root"])
    asked = {
        kind: site.uow.write_now(partial(approvals.ask, act=act, counts=True), actor=root, trace=TRACE).id
        for kind, act in acts.items()
    }
    entry = "categories.record_modification.entries.high"
    version = add(
        site,
        WIDER
        | {
            f"{entry}.scopes": ["system/*.cruds", "user/*.cruds"],
            f"{entry}.quota": {"rate_per_s": 50, "burst": 900},
        },
    )
    dry_run(site.uow, version)
    asked[ApprovalKind.POLICY] = apply(site, version, "general").json()["approval"]["id"]
    sam = site.signed_in("sam")

    for kind, id_ in asked.items():
        answer = sam.get(f"/operations/staff/{id_}")
        text = main_of(answer.text)
        assert answer.status_code == 200, kind
        for wrong in ("{", "&#34;", "&quot;", "None", "[]"):
            assert wrong not in text, (kind, wrong, text)
        assert not DIGEST.search(text), (kind, text)
        assert not ID.search(text), (kind, text)
    waiting = main_of(sam.get("/operations/staff").text)
    assert (ID.search(waiting), DIGEST.search(waiting)) == (None, None)
    text = main_of(sam.get(f"/operations/staff/{asked[ApprovalKind.POLICY]}").text)
    for part in (
        "What it allows that version 1 does not",
        "Every difference",
        "What would change",
        "decisions since",
    ):
        assert part in text, part


def bell(browser: Any, page: str) -> str:
    """Return what the bell of a page says."""
    return (
        browser.get(page)
        .text.partition('class="desk-bell"')[2]
        .partition('aria-label="')[2]
        .partition('"')[0]
    )


def test_what_waits_for_somebody_stands_behind_their_bell_and_not_behind_the_askers(
    site: ControlSite,
) -> None:
    """Of whoever may decide, at each of their consoles; computed by what lets them approve."""
    root, sam = site.signed_in("root"), site.signed_in("sam")
    assert bell(sam, "/operations") == "Nothing waits for you"

    send(root, "/operations/staff/new", "username", name="Ada New", username="ada", role="auditor")

    assert [bell(sam, page) for page in ("/operations", "/operations/switches")] == [
        "1 thing waits for you"
    ] * 2
    assert bell(root, "/operations") == "Nothing waits for you", "nobody is the second of their own"
    assert "Add an account for Ada New (ada), auditor at the platform." in main_of(
        sam.get("/operations/staff").text
    )
    assert 'class="desk-bell"' not in site.signed_in("otto").get("/operations").text
    gina = site.signed_in("gina", "/t/general/signin")
    assert bell(gina, "/tenant") == "Nothing waits for you"


def test_a_release_that_waits_for_a_second_person_is_listed_and_counted(site: ControlSite) -> None:
    """Security decision 8: by the rule that lets the second person release it; asking twice releases nothing, and says so."""
    sam, sue = site.api("sam"), site.api("sue")
    switch = sam.post("/switches", json={"kind": "platform", "key": "", "reason": "a drill"}).json()["id"]
    assert sam.post(f"/switches/{switch}/release").status_code == 200

    again = sam.post(f"/switches/{switch}/release")

    assert (again.status_code, again.json()["code"]) == (409, "asked_by_you")
    first, second = site.signed_in("sam"), site.signed_in("sue")
    assert (bell(first, "/operations"), bell(second, "/operations")) == (
        "Nothing waits for you",
        "1 thing waits for you",
    )
    listed = second.get("/operations/staff").text
    assert "Release the switch on The whole platform." in listed
    assert f'href="/operations/switches/{switch}/release"' in listed
    assert sue.post(f"/switches/{switch}/release").json()["in_force"] is False
    assert bell(second, "/operations") == "Nothing waits for you"


def test_what_a_hospital_asks_for_hides_nothing_that_waits_for_the_staff(site: ControlSite) -> None:
    """One administrator alone may ask for as much as a page holds, and more than the list of the staff shows."""
    order = {"name": "Much", "subject": "s", "username": "u", "issuer": "https://login.example"}
    act = Act(ApprovalKind.PROVIDER_LINK, GENERAL, site.people["ann"].id, order)
    gina, root = actor_of(site.people["gina"]), actor_of(site.people["root"])
    for _ in range(APPROVALS_PENDING_BOUND):
        site.uow.write_now(partial(approvals.ask, act=act, counts=True), actor=gina, trace=TRACE)
    own = Act(ApprovalKind.PROVIDER_HOST, None, "https://a.example", {"origin": "https://a.example"})
    site.uow.write_now(partial(approvals.ask, act=own, counts=True), actor=root, trace=TRACE)

    listed = main_of(site.signed_in("sam").get("/operations/staff").text)

    assert "Allow https://a.example to serve identity providers." in listed


def test_a_name_is_not_taken_for_more_of_the_sentence(site: ControlSite) -> None:
    """Whoever asks chooses the name, and another one decides by the sentence."""
    name = "Nia (nia), nurse at General. Nothing else”"
    order = {"tenant": "general", "username": "mallory", "name": name, "role": "administrator"}
    assert site.api("gina").post("/people", json=order).status_code == 202

    listed = main_of(site.signed_in("sam").get("/operations/staff").text)

    expected = "Add an account for “Nia (nia), nurse at General. Nothing else'” (mallory), hospital administrator at General."
    assert expected in unescape(listed)
