"""A vendor submits a version to review; what is missing is listed; what was submitted stays as it was (C6, C98)."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.contacts.models import PROOF_LIFE, ContactKind, NewContact
from hilum.foundation.kernel.ids import VendorId
from hilum.review.submissions import policy, service
from hilum.review.submissions.models import DRAFT_KEPT, KEPT
from tests.flows.control_site import ControlSite, codes, problem
from tests.flows.review_ground import Ground, furnish
from tests.flows.vendor_ground import PROFILE, ROLES, furnish_vendor, made
from tests.sim.command_line import run_hilum
from tests.sim.proofs import prove, prove_contact
from tests.sim.serving import serving
from tests.sim.world import FakeClock


@pytest.fixture
def ground(site: ControlSite) -> Ground:
    return furnish(site)


def events(ground: Ground, action: str) -> list[Any]:
    found = made(ground.site.api("otto").get("/audit/events", params={"action": action}), 200)["items"]
    return [each for each in found if each["outcome"] == "done"]


def test_what_was_submitted_never_changes_whatever_its_records_say_later(ground: Ground) -> None:
    """C98, C104: state, actor, time; the digest is in the audit too."""
    sent = made(ground.submit())

    assert sent["state"] == "submitted"
    assert [(each["before"], each["after"]) for each in sent["history"]] == [
        (None, "draft"),
        ("draft", "submitted"),
    ]
    assert {each["actor"] for each in sent["history"]} == {
        f"member:{ground.site.people['acme.developer'].id}"
    }
    assert sent["content"]["clients"][0]["redirect_uris"] == ["https://notes.example/cb"]
    assert sent["content"]["profile"]["hosting_regions"] == ["DE"]
    assert "secret" not in str(sent["content"])
    (event,) = events(ground, "review.submission.submit")
    assert event["facts"]["digest"] == sent["digest"]

    made(
        ground.site.api("acme.owner").put(
            f"/apps/{ground.app}/profile", json=PROFILE | {"revision": 1, "owner": "Other"}
        ),
        200,
    )

    again = ground.see(sent["id"])
    assert again["content"] == sent["content"]
    assert policy.digest_of(policy.canonical(again["content"])) == sent["digest"]


def test_a_submission_that_lacks_something_is_refused_with_all_that_is_missing(ground: Ground) -> None:
    """C6: nothing is kept of it, not even a draft."""
    owner = ground.site.api("acme.owner")
    bare = {
        name: value
        for name, value in PROFILE.items()
        if name not in {"retention", "hosting_regions", "subcontractors"}
    }
    made(owner.put(f"/apps/{ground.app}/profile", json=bare | {"revision": 1}), 200)

    refused = problem(ground.submit(scopes=[{"scope": "user/Slot.rs"}]), 422, "submission_incomplete")

    assert codes(refused) == {
        "profile.retention": "missing",
        "profile.hosting_regions": "missing",
        "profile.subcontractors": "missing",
        "scopes.0.justification": "justification_missing",
    }
    assert made(owner.get("/submissions"), 200)["items"] == []
    assert events(ground, "review.submission.create") == []


def test_a_draft_is_written_step_by_step_and_says_what_it_lacks(ground: Ground) -> None:
    developer = ground.site.api("acme.developer")
    draft = made(ground.submit(scopes=[], draft=True))
    path = f"/submissions/{draft['id']}"
    assert draft["missing"]["scopes"]["code"] == "scopes_missing"
    problem(developer.post(f"{path}/submit", json={"revision": 1}), 422, "submission_incomplete")

    changed = made(developer.put(path, json={"revision": 1, "scopes": ground.written()["scopes"]}), 200)

    assert (changed["missing"], changed["revision"]) == ({}, 2)
    sent = made(developer.post(f"{path}/submit", json={"revision": 2}), 200)
    assert (sent["state"], sent["revision"]) == ("submitted", 3)
    problem(developer.put(path, json={"revision": 3}), 409, "submission_not_draft")
    problem(developer.post(f"{path}/submit", json={"revision": 3}), 409, "transition_refused")


def test_an_act_on_another_revision_is_stale_and_changes_nothing(ground: Ground) -> None:
    developer = ground.site.api("acme.developer")
    draft = made(ground.submit(draft=True))
    path = f"/submissions/{draft['id']}"
    made(developer.put(path, json={"revision": 1, "scopes": draft["scopes"]}), 200)

    problem(developer.put(path, json={"revision": 1, "scopes": []}), 409, "changed_since_read")
    problem(developer.post(f"{path}/submit", json={"revision": 1}), 409, "changed_since_read")
    problem(
        developer.post(f"{path}/withdraw", json={"revision": 1, "reason": "x"}), 409, "changed_since_read"
    )

    assert (ground.see(draft["id"])["state"], ground.see(draft["id"])["revision"]) == ("draft", 2)


def test_a_version_has_one_open_submission_for_an_environment(ground: Ground) -> None:
    developer = ground.site.api("acme.developer")
    sent = made(ground.submit())
    problem(ground.submit(), 409, "submission_open")
    path = f"/submissions/{sent['id']}/withdraw"
    assert codes(problem(developer.post(path, json={"revision": 2, "reason": " "}), 422, "reason_invalid"))

    gone = made(developer.post(path, json={"revision": 2, "reason": "Wrong scopes."}), 200)

    assert (gone["state"], gone["history"][-1]["reason"]) == ("withdrawn", "Wrong scopes.")
    problem(developer.post(path, json={"revision": 3, "reason": "x"}), 409, "transition_refused")
    assert made(ground.submit())["id"] != sent["id"]


def test_nobody_but_the_vendor_and_the_staff_sees_a_submission(ground: Ground) -> None:
    """Another vendor learns neither that there is one nor that there is such a version."""
    site = ground.site
    sent = made(ground.submit())
    furnish_vendor(site, "Rival", "rival")
    path = f"/submissions/{sent['id']}"

    for role in ROLES:
        assert made(site.api(f"acme.{role}").get("/submissions"), 200)["items"][0]["id"] == sent["id"]
        assert made(site.api(f"rival.{role}").get("/submissions"), 200)["items"] == []
        problem(site.api(f"rival.{role}").get(path), 404, "submission_not_found")
    for who in ("rita", "otto", "root"):
        assert ground.see(sent["id"], who)["digest"] == sent["digest"]
    rival = site.api("rival.owner")
    problem(rival.post(f"{path}/withdraw", json={"revision": 2, "reason": "x"}), 404, "submission_not_found")
    problem(rival.post("/submissions", json=ground.written()), 404, "app_not_found")
    for who in ("gina", "acme.billing", "acme.security", "rita"):
        assert site.api(who).post("/submissions", json=ground.written()).status_code == 403, who
    assert site.api("gina").get("/submissions").status_code == 403


def test_the_vendor_that_takes_an_app_over_submits_it_again(ground: Ground) -> None:
    """C14: what the former vendor submitted says nothing about the new one."""
    site = ground.site
    sent = made(ground.submit())
    rival = furnish_vendor(site, "Rival", "rival")
    offered = site.api("acme.owner").post(f"/apps/{ground.app}/transfer", json={"to": rival})
    assert offered.status_code in {200, 201}, offered.text
    assert site.api("rival.owner").post(f"/apps/{ground.app}/transfer/accept").status_code == 204
    problem(
        site.api("acme.owner").post(f"/submissions/{sent['id']}/submit", json={"revision": 2}),
        409,
        "app_changed_hands",
    )

    site.system(prove, vendor=rival)
    refused = problem(ground.submit("rival.developer"), 422, "submission_incomplete")
    assert codes(refused) == {f"contacts.{kind}": "contact_unproved" for kind in ("support", "security")}, (
        "the app still states those of the former vendor"
    )
    own = {f"{kind}_contact": f"{kind}@{rival.replace('_', '-')}.example" for kind in ("support", "security")}
    stated = site.api("rival.owner").put(f"/apps/{ground.app}/profile", json=PROFILE | own | {"revision": 1})
    made(stated, 200)
    second = made(ground.submit("rival.developer"))

    assert second["vendor"] == rival
    assert ground.see(sent["id"])["state"] == "withdrawn"
    assert ground.see(sent["id"])["history"][-1]["actor"] == "system:system"


def test_old_drafts_and_withdrawn_submissions_are_deleted_and_others_are_kept(
    ground: Ground, clock: FakeClock
) -> None:
    made(ground.submit())
    draft = made(ground.submit(environment="sandbox", draft=True))
    assert ground.site.system(service.purge) == 0

    clock.advance(DRAFT_KEPT + timedelta(days=1))
    assert ground.site.system(service.purge) == 1
    problem(ground.site.api("rita").get(f"/submissions/{draft['id']}"), 404, "submission_not_found")
    (kept,) = made(ground.site.api("rita").get("/submissions"), 200)["items"]
    gone = {"revision": 2, "reason": "x"}
    made(ground.site.api("acme.owner").post(f"/submissions/{kept['id']}/withdraw", json=gone), 200)
    clock.advance(KEPT + timedelta(days=1))
    assert ground.site.system(service.purge) == 1


def test_the_command_line_submits_shows_and_withdraws(ground: Ground, tmp_path: Path) -> None:
    """Contract, Commands."""
    with serving(lambda _: ground.site._from("198.51.100.8")) as port:
        base = f"http://127.0.0.1:{port}"

        def hilum(*words: str, code: int = 0) -> Any:
            token = ground.site.api("acme.developer").headers["authorization"].removeprefix("Bearer ")
            environment = {"HILUM_API_URL": base, "HILUM_API_TOKEN": token, "HOME": str(tmp_path)}
            done = run_hilum(("review", *words), environment)
            assert done.returncode == code, done.stderr + done.stdout
            return done

        file = tmp_path / "submission.json"
        file.write_text(json.dumps({"scopes": [{"scope": "launch"}]}))
        named = "Acme Rota@1"
        lacking = hilum("submit", named, "--file", str(file), code=1)
        assert "scopes.0.justification" in lacking.stderr
        draft = json.loads(hilum("submit", named, "--file", str(file), "--draft", "--json").stdout)
        assert "needs a sentence" in hilum("show", draft["id"]).stdout
        sent = hilum("submit", named, "--scope", "user/Slot.rs", "shows slots", "--json")
        assert json.loads(sent.stdout)["id"] == draft["id"], "the draft goes on"
        assert draft["id"] in hilum("list", "--state", "submitted").stdout
        gone = hilum("withdraw", draft["id"], "--reason", "wrong scopes")
        assert "withdrawn" in gone.stdout


def test_a_version_is_submitted_for_production_only_once_its_vendor_is_proved(
    site: ControlSite, clock: FakeClock
) -> None:
    """C6, C7: each missing proof by name with what to do next; a draft is kept, a sandbox takes none, and a proof that ended is missing again."""
    ground = furnish(site, proved=False)
    trial = problem(ground.submit(environment="sandbox"), 422, "submission_incomplete")
    assert codes(trial) == {"clients": "clients_missing"}, "and nothing else"

    refused = problem(ground.submit(), 422, "submission_incomplete")

    missing = {f"contacts.{kind}": "contact_unproved" for kind in ContactKind}
    assert codes(refused) == missing
    assert all("`hilum contact add`" in refused["fields"][name]["detail"] for name in missing)
    draft = made(ground.submit(draft=True))
    assert set(draft["missing"]) == set(missing)
    ground.site.system(prove, vendor=ground.vendor, security=PROFILE["security_contact"])
    other = problem(ground.submit(), 422, "submission_incomplete")
    assert codes(other) == {"contacts.support": "contact_unproved"}, "another address is stated of the app"
    clock.advance(PROOF_LIFE)
    submit = {"revision": draft["revision"]}
    path = f"/submissions/{draft['id']}/submit"
    owner = ground.site.api("acme.owner")
    assert codes(problem(owner.post(path, json=submit), 422, "submission_incomplete")) == missing
    ground.site.system(prove, vendor=ground.vendor)
    order = NewContact(VendorId(ground.vendor), ContactKind.SUPPORT, str(PROFILE["support_contact"]))
    ground.site.system(prove_contact, order=order)
    made(owner.post(path, json=submit), 200)
