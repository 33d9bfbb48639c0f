"""A vendor with an app that can be submitted to review, on the site of the control plane."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import service as review
from hilum.review.submissions.models import DisciplineReview
from hilum.review.submissions.scorecards import shipped_scorecards
from tests.flows.control_site import ControlSite
from tests.flows.policy_ground import put_in_force
from tests.flows.vendor_ground import PROFILE, client_body, furnish_vendor, made
from tests.sim.proofs import prove

SCOPES = [
    {"scope": "launch", "justification": "Opens from the chart."},
    {"scope": "user/Slot.rs", "justification": "Shows free slots to the front desk."},
]
WORKFLOWS = ["appointments"]
REGULATED_SCOPES = ["launch/patient", "patient/Appointment.rs"]


@dataclass
class Ground:
    """``version`` of an app of the low tier, with a complete profile and a production client."""

    site: ControlSite
    vendor: str
    app: str
    version: str
    client: str

    def written(self, **change: Any) -> dict[str, Any]:
        return {"version": self.version, "environment": "production", "scopes": SCOPES} | change

    def submit(self, who: str = "acme.developer", **change: Any) -> Any:
        return self.site.api(who).post("/submissions", json=self.written(**change))

    def see(self, submission: str, who: str = "rita") -> Any:
        return made(self.site.api(who).get(f"/submissions/{submission}"), 200)


def examine_every_one(site: ControlSite) -> None:
    """Put a policy in force by which a person examines also what is of the low tier and clean."""
    put_in_force(site, {"categories.scheduling.entries.low.review.automatic": False})


def signs(site: ControlSite, username: str, *disciplines: str) -> None:
    """Let a reviewer sign for disciplines."""
    site.system(
        review.change_rights,
        person_id=site.people[username].id,
        disciplines=tuple(map(Discipline, disciplines)),
    )


def add_reviewer(site: ControlSite, username: str, *disciplines: str, mail: str = "") -> None:
    """Add a reviewer who signs for disciplines."""
    order = NewPerson(None, username, username.title(), "reviewer", mail=mail)
    site.people[username] = site.system(identity.add_person, order=order)
    signs(site, username, *disciplines)


def discipline_of(ground: Ground, submission: str, discipline: str = "technical") -> DisciplineReview:
    """Return a discipline as it is now."""
    view = ground.site.system(review.view_disciplines, submission_id=submission)
    (found,) = [each for each in view.disciplines if each.discipline == discipline]
    return found


def act_on(ground: Ground, submission: str, discipline: str, act: str, who: str = "rita", **body: Any) -> Any:
    """Take, judge, release or answer a discipline at its present revision."""
    revision = body.pop("revision", None) or discipline_of(ground, submission, discipline).revision
    path = f"/submissions/{submission}/disciplines/{discipline}/{act}"
    return ground.site.api(who).post(path, json={"revision": revision} | body)


def in_order_answers(discipline: str) -> dict[str, str]:
    return {each.name: "met" for each in shipped_scorecards().of[Discipline(discipline)].points}


def judge(
    ground: Ground, submission: str, discipline: str = "technical", who: str = "rita", **body: Any
) -> Any:
    whole = {"verdict": "pass", "text": "In order.", "answers": in_order_answers(discipline)}
    return act_on(ground, submission, discipline, "judge", who, **whole | body)


def pass_discipline(ground: Ground, submission: str, discipline: str = "technical", who: str = "rita") -> Any:
    """Take a discipline and let it pass."""
    made(act_on(ground, submission, discipline, "take", who), 200)
    return made(judge(ground, submission, discipline, who), 200)


def furnish(
    site: ControlSite,
    prefix: str = "acme",
    profile: dict[str, Any] = PROFILE,
    *,
    category: str = "scheduling",
    workflows: Sequence[str] = WORKFLOWS,
    proved: bool = True,
    **client: Any,
) -> Ground:
    def build() -> tuple[str, str, str, str]:
        vendor = furnish_vendor(site, f"{prefix.title()} Health", prefix)
        owner, developer = site.api(f"{prefix}.owner"), site.api(f"{prefix}.developer")
        about = {"name": f"{prefix.title()} Rota", "description": "Shows.", "purpose": "Planning."}
        app = made(developer.post("/apps", json={"vendor": vendor, "category": category} | about))["id"]
        version = made(
            developer.post(
                f"/apps/{app}/versions",
                json={"label": "1", "workflows": list(workflows), "placements": ["sidebar"]},
            )
        )["id"]
        made(owner.put(f"/apps/{app}/profile", json=profile), 200)
        usual = {"environment": "production", "scope": "launch user/Slot.rs"}
        body = client_body(app, version, **usual | client)
        if proved:
            stated = {kind: str(profile[f"{kind}_contact"]) for kind in ("support", "security")}
            site.system(prove, vendor=vendor, **stated)
        made_client = made(owner.post("/clients", json=body))
        return vendor, app, version, made_client["id"]

    name = f"in review {prefix} {profile} {category} {workflows} {proved} {client}"
    return Ground(site, *site.furnished(name, build))


def ask_for_regulated_access(
    ground: Ground, who: str = "acme.developer", scopes: list[str] = REGULATED_SCOPES
) -> Any:
    body = {"version": ground.version, "scopes": scopes}
    return ground.site.api(who).post("/regulated-access", json=body)
