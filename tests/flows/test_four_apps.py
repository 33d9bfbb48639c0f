"""Four apps from draft to published, and what becomes of one that drifts: by the API alone, against real hosts (C98 to C115, C226).

The scheduling app passes without a person; the note writer takes three disciplines, a rejection and a fix; the population-health service takes agreements, a
stated population and a named approver; the fourth moves its redirect, loses a contact and leaves a scope unused, and is stopped by the escalation.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import orjson
import pytest

from hilum.apps.contacts.store import contacts
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.policy.matrix import service as policies
from hilum.records.audit import live as journals
from hilum.review.recertification import service as revalidation
from tests.flows.agreement_ground import confirm
from tests.flows.certified_app import Certified
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.flows.discipline_ground import states
from tests.flows.journal_ground import JournalGround, access
from tests.flows.listing_ground import follow
from tests.flows.review_ground import (
    Ground,
    add_reviewer,
    discipline_of,
    judge,
    pass_discipline,
    signs,
)
from tests.flows.review_world import OK, World, decide, key, passed
from tests.flows.vendor_ground import PROFILE, client_body, furnish_vendor, made
from tests.sim.journals import journal_of
from tests.sim.jwks_host import Page
from tests.sim.proofs import prove
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock

DAY = timedelta(days=1)
JWKS = orjson.dumps({"keys": [key("one")]})
WHY = {"reason": "Certified, and its support answers."}
DATED = "2026-02-01"


@dataclass
class App:
    """What a vendor registers. ``asked``: each scope with what the app does with it."""

    prefix: str
    category: str
    workflows: Sequence[str]
    asked: dict[str, str]
    placements: Sequence[str] = ("sidebar",)
    population: str = ""
    client: dict[str, Any] = field(default_factory=dict)

    @property
    def scopes(self) -> list[dict[str, str]]:
        return [{"scope": scope, "justification": why} for scope, why in self.asked.items()]


ROTA = App(
    "rota",
    "scheduling",
    ["appointments"],
    {
        "launch": "Opens from the chart.",
        "user/Slot.rs": "Shows free slots to the front desk.",
        "user/Appointment.rs": "Shows what is booked.",
    },
)
NOTES = App(
    "notes",
    "documentation_assistance",
    ["documentation"],
    {
        "launch": "Opens from the chart.",
        "user/DocumentReference.cu": "Saves the note that the physician signed.",
    },
    placements=("note",),
)
CENSUS = App(
    "census",
    "population_health",
    ["quality_reporting"],
    {"system/Patient.rs": "Counts who is overdue.", "system/Observation.rs": "Reads the last results."},
    placements=(),
    population="up_to_100000",
    client={
        "client_type": "backend",
        "redirect_uris": [],
        "launch_url": "",
        "backend_use": {
            "purpose": "Quality reporting",
            "population": "Adults with diabetes",
            "schedule": "Nightly",
        },
    },
)


@dataclass
class Story:
    """One platform with a reviewer for each discipline, and the hosts of its vendors."""

    world: World
    site: ControlSite

    def origin(self, app: App) -> str:
        host = f"{app.prefix}.example"
        return (
            self.world.host(host)
            if host not in self.world.hosts
            else f"https://{host}:{self.world.hosts[host].port}"
        )

    def register(self, app: App) -> Ground:
        """Register an app with a version, what hospitals must know, proved contacts, and a client for production; all served by its host."""
        origin, who = self.origin(app), f"{app.prefix}.developer"
        vendor = furnish_vendor(self.site, f"{app.prefix.title()} Health", app.prefix)
        developer, owner = self.site.api(who), self.site.api(f"{app.prefix}.owner")
        about = {
            "name": app.prefix.title(),
            "description": "Shows.",
            "purpose": "Care.",
            "category": app.category,
        }
        made_app = made(developer.post("/apps", json={"vendor": vendor} | about))["id"]
        version = {"label": "1", "workflows": app.workflows, "placements": app.placements}
        stated = version | ({"population": app.population} if app.population else {})
        made_version = made(developer.post(f"/apps/{made_app}/versions", json=stated))["id"]
        for path in ("/cb", "/launch", "/privacy", "/terms"):
            self.world.page(origin, path, OK)
        reached = {kind: f"{kind}@{app.prefix}.example" for kind in ("support", "security")}
        profile = PROFILE | {"privacy_policy": f"{origin}/privacy", "terms": f"{origin}/terms"}
        profile |= {f"{kind}_contact": address for kind, address in reached.items()}
        made(owner.put(f"/apps/{made_app}/profile", json=profile), 200)
        self.site.system(prove, vendor=vendor, **reached)
        client = made(owner.post("/clients", json=self.client(app, made_app, made_version)))["id"]
        return Ground(self.site, vendor, made_app, made_version, client)

    def client(self, app: App, of: str, version: str, environment: str = "production") -> dict[str, Any]:
        origin = self.origin(app)
        own = {
            "redirect_uris": [f"{origin}/cb"],
            "launch_url": f"{origin}/launch",
            "environment": environment,
        }
        body = client_body(of, version, **own | app.client) | {"scope": " ".join(app.asked)}
        if app.client:
            served = Page(headers={"Content-Type": "application/json"}, body=JWKS)
            ends = (self.site.clock.now() + 90 * DAY).isoformat()
            body |= {"jwks_uri": self.world.page(origin, "/jwks.json", served), "expires_at": ends}
        return body

    def documents(self, app: App, *kinds: str) -> list[dict[str, str]]:
        """Serve the documents that the policy asks for, and return them as they are declared."""
        found = []
        for kind in kinds:
            text = f"The {kind} of {app.prefix}.".encode()
            url = self.world.page(self.origin(app), f"/{kind}.pdf", Page(body=text))
            found.append(
                {"kind": kind, "url": url, "sha256": hashlib.sha256(text).hexdigest(), "dated": DATED}
            )
        return found

    def submit(self, app: App, ground: Ground, documents: Sequence[dict[str, str]] = ()) -> str:
        """Submit a version, and have the platform look at everything that it names."""
        who = f"{app.prefix}.developer"
        sent = str(made(ground.submit(who, scopes=app.scopes, documents=list(documents)))["id"])
        self.site.clock.advance(timedelta(minutes=1))
        assert self.world.check()
        return sent

    def run(self, app: App, ground: Ground) -> None:
        """Have a certification run of the version pass in the sandbox."""
        body = self.client(app, ground.app, ground.version, "sandbox")
        client = made(self.site.api(f"{app.prefix}.owner").post("/clients", json=body))["id"]
        passed(ground, client, who=f"{app.prefix}.developer")

    def publish(self, app: App, ground: Ground) -> Certified:
        """Publish a certified app, as its vendor, for hospitals to see."""
        found = Certified(self.world, ground, "")
        follow(found)
        shown = made(
            self.site.api(f"{app.prefix}.owner").post(f"/listings/{ground.app}/publish", json=WHY), 200
        )
        assert (shown["visible"], shown["certificate_status"]) == (True, "valid")
        assert ground.app in self.listed()
        return found

    def listed(self) -> list[str]:
        return [each["app"] for each in made(self.site.api("mary").get("/listings"), 200)["items"]]

    def agree(self, ground: Ground, prefix: str, *kinds: str) -> None:
        """Sign agreements of a vendor with the hospital in production, each side by its own people."""
        now = self.site.clock.now()
        for kind in kinds:
            body = {
                "vendor": ground.vendor,
                "tenant": "mercy",
                "kind": kind,
                "parties": ["V", "M"],
                "document": "d" * 64,
            }
            body |= {"effective_at": now.isoformat(), "ends_at": (now + 300 * DAY).isoformat()}
            agreed = made(self.site.api(f"{prefix}.owner").post("/agreements", json=body))["id"]
            made(confirm(self.site.api("mary"), agreed, "d" * 64), 200)

    def install(self, ground: Ground, *roles: str) -> Any:
        return self.site.api("mary").post(
            "/installations", json={"tenant": "mercy", "app": ground.app, "roles": roles}
        )


@pytest.fixture
def story(sqlite_uow: UnitOfWork, clock: FakeClock, authority: Authority) -> Iterator[Story]:
    with ExitStack() as stack:
        world = World(stack, authority, sqlite_uow, clock)
        site = build(sqlite_uow, clock)
        site.system(policies.adopt_shipped)
        signs(site, "rita", "technical")
        add_reviewer(site, "lena", "legal")
        add_reviewer(site, "cleo", "clinical")
        yield Story(world, site)


def at(found: Any, state: str) -> datetime:
    """Return when a submission came into a state."""
    return next(datetime.fromisoformat(each["at"]) for each in found["history"] if each["after"] == state)


def test_the_scheduling_app_is_certified_in_minutes_without_a_person(story: Story) -> None:
    """C98, C99, C103, C111: on the fast track by its checks alone; publishing and approving are other people's decisions."""
    ground = story.register(ROTA)

    sent = story.submit(ROTA, ground)

    found = ground.see(sent)
    assert found["state"] == "certified"
    assert at(found, "certified") - at(found, "submitted") <= timedelta(minutes=10)
    assert {each["actor"] for each in found["history"][2:]} == {"system:system"}
    assert story.listed() == []
    story.publish(ROTA, ground)
    alone = problem(story.install(ground, "physician"), 422, "installation_invalid")
    assert codes(alone) == {"app": "agreements_missing"}
    story.agree(ground, ROTA.prefix, "business_associate")
    assert made(story.install(ground, "physician"))["app"] == ground.app


def test_the_note_writer_is_rejected_fixes_one_thing_and_keeps_what_passed(story: Story) -> None:
    """C100, C102, C105, C107, C108: three disciplines of three people; submitted again, only the discipline that the fix touches is judged again."""
    ground = story.register(NOTES)
    documents = story.documents(NOTES, "data_flow", "agreement", "security_test", "clinical_safety")
    lacking = codes(
        problem(ground.submit("notes.developer", scopes=NOTES.scopes), 422, "submission_incomplete")
    )
    assert {f"documents.{each['kind']}" for each in documents} <= set(lacking)
    story.run(NOTES, ground)
    first = story.submit(NOTES, ground, documents)
    assert states(ground, first) == dict.fromkeys(("technical", "legal", "clinical"), "open")
    pass_discipline(ground, first, "technical", "rita")
    pass_discipline(ground, first, "clinical", "cleo")
    revision = discipline_of(ground, first, "legal").revision
    made(
        ground.site.api("lena").post(
            f"/submissions/{first}/disciplines/legal/take", json={"revision": revision}
        ),
        200,
    )
    silence = {"rule": "legal.retention", "severity": "high", "evidence": "No period is stated.", "reproduction": "Read it.", "fix": "State one."}  # fmt: skip
    says = {"verdict": "fail", "answers": {}, "reasons": ["legal.retention"], "findings": [silence]}
    made(judge(ground, first, "legal", "lena", **says), 200)
    problem(decide(ground, first), 403, "disciplines_not_passed")
    rejected = made(decide(ground, first, decision="reject", reason="No period is stated."), 200)
    assert (rejected["state"], list(rejected["reasons"])) == ("rejected", ["legal.retention"])

    owner = ground.site.api("notes.owner")
    profile = made(owner.get(f"/apps/{ground.app}/profile"), 200)
    fixed = {name: value for name, value in profile.items() if name not in {"app", "missing"}}
    fixed["retention"] = "Notes are deleted after 30 days, at the latest."
    made(owner.put(f"/apps/{ground.app}/profile", json=fixed), 200)
    second = story.submit(NOTES, ground, documents)

    assert states(ground, second) == {"technical": "passed", "legal": "open", "clinical": "passed"}
    pass_discipline(ground, second, "legal", "lena")
    ends = (ground.site.clock.now() + 90 * DAY).isoformat()
    assert made(decide(ground, second, expires_at=ends), 200)["state"] == "certified"
    story.publish(NOTES, ground)


def test_the_population_service_takes_agreements_a_population_and_a_named_approver(story: Story) -> None:
    """C17, C18, C111: certified by two disciplines, installed under two agreements, and used only once its approver has agreed."""
    ground = story.register(CENSUS)
    story.run(CENSUS, ground)
    sent = story.submit(CENSUS, ground, story.documents(CENSUS, "data_flow", "agreement"))
    assert states(ground, sent) == dict.fromkeys(("technical", "legal"), "open")
    pass_discipline(ground, sent, "technical", "rita")
    pass_discipline(ground, sent, "legal", "lena")
    made(decide(ground, sent), 200)
    story.publish(CENSUS, ground)

    story.agree(ground, CENSUS.prefix, "business_associate")
    alone = problem(story.install(ground), 422, "installation_invalid")
    assert codes(alone) == {"app": "agreements_missing"}
    story.agree(ground, CENSUS.prefix, "data_sharing")
    made(story.install(ground))
    approver = add_physician(story)
    asked = {"tenant": "mercy", "client": ground.client, "approver": story.site.people[approver].id}
    service_owner = made(story.site.api("mary").post("/service-owners", json=asked))
    assert (service_owner["state"], service_owner["population"]) == ("waiting", "Adults with diabetes")
    agree, seen = (
        f"/service-owners/{service_owner['id']}/agree",
        {"If-Match": f'"{service_owner["etag"]}"'},
    )
    problem(story.site.api("mary").post(agree, headers=seen), 403, "not_the_approver")
    agreed = made(story.site.api(approver).post(agree, headers=seen), 200)
    assert agreed["state"] == "in_force"


def add_physician(story: Story) -> str:
    order = NewPerson(TenantId("mercy"), "dora", "Dora", "physician")
    story.site.people["dora"] = story.site.system(identity.add_person, order=order)
    return "dora"


def test_a_certified_app_that_drifts_is_found_warned_and_stopped_by_the_escalation(story: Story) -> None:
    """C115, C220, C226: its redirect leads elsewhere, a contact does not answer any more, a scope is used by nobody."""
    ground = story.register(ROTA)
    story.submit(ROTA, ground)
    app = story.publish(ROTA, ground)
    story.agree(ground, ROTA.prefix, "business_associate")
    made(story.install(ground, "physician"))
    app.night()
    assert app.rules() == []

    story.site.clock.advance(95 * DAY)
    app.use = use(story, ground, "user/Slot.rs", "Slot")
    elsewhere = Page(302, headers={"location": "https://elsewhere.example/cb"})
    story.world.page(story.origin(ROTA), "/cb", elsewhere)
    lapsed = (
        contacts.update().where(contacts.c.kind == "security").values(proof_ends_at=story.site.clock.now())
    )
    story.site.system(lambda ctx: ctx.tx.execute(lapsed))
    app.night()

    assert app.rules() == ["address.stays", "contacts.proved", "scopes.used"]
    unused = next(each for each in app.findings() if each["rule"] == "scopes.used")
    assert ("user/Appointment.rs" in unused["evidence"], "Slot" in unused["evidence"]) == (True, False)
    assert app.level()[0] == "notify"
    story.site.clock.advance(3 * DAY)
    app.night()
    assert (app.level()[0], ground.app in story.listed()) == ("warn", True)
    story.site.clock.advance(3 * DAY)
    app.night()
    assert (app.level()[0], story.listed()) == ("stop", [])
    (stop,) = [
        each for each in made(story.site.api("sam").get("/switches"), 200)["items"] if each["in_force"]
    ]
    assert (stop["key"], stop["mode"]) == (ground.version, "no_new_launches")
    assert app.mails() == ["findings_opened", "findings_warned", "findings_stopped"]

    story.world.page(story.origin(ROTA), "/cb", OK)
    story.site.system(prove, vendor=ground.vendor)
    app.night()
    follow(app)

    assert app.rules() == ["scopes.used"]
    assert (app.level()[0], story.listed()) == ("notify", [ground.app])


def use(story: Story, ground: Ground, rule: str, type_: str) -> revalidation.Use:
    """Have an app use one of its scopes, yesterday; return how what was permitted is read."""
    url = story.site.uow.db.url
    folder = journal_of(story.site.uow)
    facts = {"app": ground.app, "client": ground.client, "rule": rule, "resource_type": type_}
    JournalGround(story.site.uow, url, folder).write(
        access(1, **facts, at=story.site.clock.now() - DAY, tenant="mercy")
    )
    journals.count_decisions(folder, url, story.site.clock.now())
    return revalidation.Use(partial(journals.read_permits, folder, url))
