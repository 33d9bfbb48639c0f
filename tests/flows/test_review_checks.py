"""What was submitted is checked by the jobs process against real servers, stored, and judged again to the same result (C99, C110)."""

import json
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import TextClause, text

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict
from hilum.review.submissions.models import RUNS_A_DAY, Look, Target
from tests.flows.control_site import TRACE, problem
from tests.flows.policy_ground import put_in_force
from tests.flows.review_ground import Ground, signs
from tests.flows.review_world import (
    PRIVATE,
    World,
    again,
    checks_of,
    decide,
    in_order,
    key,
    results,
    sandbox_client,
    submitted,
)
from tests.flows.vendor_ground import PROFILE, furnish_vendor, made
from tests.sim.jwks_host import Page


def replayed(ground: Ground, submission: str) -> Any:
    return made(ground.site.api("rita").get(f"/submissions/{submission}/checks/replay"), 200)


def test_what_is_in_order_passes_and_waits_for_its_disciplines(world: World) -> None:
    """C98, C99, C110: with tier, track, disciplines and clocks; the same inputs and policy give the same again."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    assert world.check()
    assert not world.check(), "nothing waits any more"

    found = ground.see(sent)
    assert [each["after"] for each in found["history"]] == ["draft", "submitted", "checking", "in_review"]
    assert {each["actor"] for each in found["history"][2:]} == {"system:system"}
    run = checks_of(ground, sent, "acme.developer")
    assert {each["result"] for each in run["checks"]} == {"passed"}, run["checks"]
    assert all(each["evidence"] and each["fix"] and each["reproduction"] for each in run["checks"])
    assert (run["route"]["tier"], run["route"]["track"], run["route"]["disciplines"]) == (
        "low",
        "fast",
        ["technical"],
    )
    asked = len(world.hosts["acme.example"].asked)
    world.clock.advance(timedelta(days=400))
    again = replayed(ground, sent)
    assert again["same"] is True
    assert (again["checks"], again["route"]) == (run["checks"], run["route"])
    assert len(world.hosts["acme.example"].asked) == asked, "a replay looks at nothing"


def test_each_address_that_is_out_of_order_is_found_with_its_evidence(world: World) -> None:
    """C99: TLS that is expired or signed by itself, a changed redirect, a name inside, a hang, a gigabyte, a page that is gone."""
    good = world.host("app.example")
    forever = Page(before_body=lambda: world.hosts["app.example"].closing.wait(30), body=b"x")
    world.deadline = timedelta(seconds=2)
    moved = Page(302, {"Location": "https://10.0.0.1/login"})
    own = Page(302, {"Location": f"{good}/signin"})
    relative, misread = Page(302, {"Location": "/signin"}), Page(302, {"Location": "/\\10.0.0.1/login"})
    urls = {
        "expired": f"{world.host('expired.example', expired=True)}/cb",
        "self_signed": f"{world.host('own.example', trusted=False)}/cb",
        "moved": world.page(good, "/moved", moved),
        "own": world.page(good, "/own", own),
        "relative": world.page(good, "/relative", relative),
        "misread": world.page(good, "/misread", misread),
        "gone": world.page(good, "/gone", Page(404)),
        "broken": world.page(good, "/broken", Page(500)),
        "hangs": world.page(good, "/hangs", forever),
        "inside": f"https://{PRIVATE}/cb",
        "huge": world.page(good, "/huge", Page(body=b"x" * 1_048_576, times=1_024)),
    }
    ground = in_order(world, redirect_uris=list(urls.values()))
    sent = made(ground.submit())["id"]

    world.check()

    found = results(checks_of(ground, sent))

    def of(name: str) -> tuple[str | None, ...]:
        about = f"redirect: {urls[name]}"
        return tuple(found.get((f"address.{rule}", about)) for rule in ("answers", "tls", "stays"))

    assert {name: of(name) for name in urls} == {
        "expired": ("unknown", "failed", "unknown"),
        "self_signed": ("unknown", "failed", "unknown"),
        "moved": ("passed", "passed", "failed"),
        "own": ("passed", "passed", "passed"),
        "relative": ("passed", "passed", "passed"),
        "misread": ("passed", "passed", "failed"),
        "gone": ("failed", "passed", "passed"),
        "broken": ("failed", "passed", "passed"),
        "hangs": ("unknown", "unknown", "unknown"),
        "inside": ("failed", "unknown", "unknown"),
        "huge": ("failed", "passed", "unknown"),
    }
    said = {
        each["about"]: each["evidence"]
        for each in checks_of(ground, sent)["checks"]
        if each["rule"] == "address.tls"
    }
    assert "expired" in said[f"redirect: {urls['expired']}"]
    assert "self" in said[f"redirect: {urls['self_signed']}"]
    assert replayed(ground, sent)["same"] is True


def test_in_a_sandbox_what_only_the_internet_could_answer_is_not_judged_and_what_answered_wrongly_is(
    world: World,
) -> None:
    """C99: a vendor whose app runs on a laptop can go through review in a sandbox, and reads what production will require."""
    good = world.host("app.example")
    gone, silent = world.page(good, "/gone", Page(404)), "https://nowhere.example/cb"
    ground = in_order(world, redirect_uris=[silent])
    client = {"redirect_uris": [silent], "launch_url": silent}
    sandbox_client(ground, **client)

    signs(ground.site, "rita", "technical")
    sent = submitted(ground, world, environment="sandbox")

    run = checks_of(ground, sent)
    of_addresses = [each for each in run["checks"] if each["about"].endswith(silent)]
    assert {each["result"] for each in of_addresses} == {"not_required"}, of_addresses
    assert all("for production it must answer" in each["evidence"] for each in of_addresses)
    assert decide(ground, sent).status_code == 200

    sandbox_client(ground, redirect_uris=[gone], client_name="Gone")
    other = made(ground.submit(environment="sandbox"))["id"]
    world.check()
    assert results(checks_of(ground, other))["address.answers", f"redirect: {gone}"] == "failed"


def test_keys_that_rotate_pass_and_a_key_that_changes_under_its_id_does_not(world: World) -> None:
    """C11, C99."""
    origin = world.host("keys.example")
    first, second = key("k1"), key("k2")

    def serve(keys: list[Any]) -> None:
        world.page(origin, "/jwks", Page(body=json.dumps({"keys": keys}).encode()))

    serve([first])
    ground = in_order(world, client_type="confidential-asymmetric", jwks_uri=f"{origin}/jwks")
    sent = made(ground.submit())["id"]
    about = f"keys: {origin}/jwks"
    seen: list[tuple[str, str]] = []
    for keys in (
        [first],
        [second],
        [second | {"kid": "k1"}],
        [{"kty": "oct", "k": "c2VjcmV0", "kid": "k"}],
    ):
        serve(keys)
        if seen:
            again(ground, sent)
        world.check()
        run = results(checks_of(ground, sent))
        seen.append((run["keys.usable", about], run["keys.kept", about]))

    assert seen == [("passed", "passed"), ("passed", "passed"), ("passed", "failed"), ("failed", "passed")]


def test_documents_and_records_that_changed_since_are_found(world: World) -> None:
    """C99, C104: what is reviewed is what was submitted."""
    ground = in_order(world)
    origin = ground.see(made(ground.submit())["id"])["content"]["profile"]["terms"].removesuffix("/terms")
    sent = made(ground.site.api("rita").get("/submissions"), 200)["items"][0]["id"]
    withdraw = {"revision": 2, "reason": "A document is added."}
    made(ground.site.api("acme.owner").post(f"/submissions/{sent}/withdraw", json=withdraw), 200)
    flow = world.page(origin, "/flow.pdf", Page(body=b"%PDF"))
    digest = "3a8c40a2dd9a2c5bf2e0c7d4a1d17bd6a6e3a5e8a0bd0b0ad1e1b0f1d6f7d8aa"
    day = world.clock.now().date().isoformat()
    sent = made(
        ground.submit(documents=[{"kind": "data_flow", "url": flow, "sha256": digest, "dated": day}])
    )["id"]
    edit = PROFILE | {"revision": 1, "owner": "Somebody Else"}
    made(ground.site.api("acme.owner").put(f"/apps/{ground.app}/profile", json=edit), 200)

    world.check()

    found = results(checks_of(ground, sent))
    assert found["document.as_declared", f"document: {flow}"] == "failed"
    assert found["records.unchanged", "profile"] == "failed"
    assert found["records.unchanged", "clients"] == "passed"


def test_a_run_belongs_to_the_policy_of_its_moment(world: World) -> None:
    """C110: a newer policy changes nothing of it, and judges the next run."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]
    world.check()
    before = checks_of(ground, sent)
    put_in_force(ground.site, {"categories.scheduling.entries.low.proofs": ["owner"]})

    assert replayed(ground, sent)["same"] is True
    again(ground, sent)
    world.check()

    after = checks_of(ground, sent)
    assert after["policy_version"] > before["policy_version"]
    assert results(before)["contacts.proved", "security"] == "passed"
    assert ("contacts.proved", "security") not in results(after), "asked for no more"
    first = ground.site.api("rita").get(f"/submissions/{sent}/checks", params={"run": 1})
    assert made(first, 200) == before


def _execute(ctx: Context, edit: TextClause) -> None:
    ctx.tx.execute(edit)


def test_what_was_tampered_with_in_the_database_does_not_pass(world: World) -> None:
    """C104."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]
    world.check()
    # What was shown, what it came to, and the inputs that stand for a visit.
    changes = (
        ("checks", "The record is as", "Nothing is as"),
        ("checks", "passed", "failed"),
        ("route", "fast", "slow"),
    )
    for column, was, now in changes:
        for old, new, same in ((was, now, False), (now, was, True)):
            edit = text(f"UPDATE review_run SET {column} = replace({column}, :old, :new)")  # noqa: S608 - named above
            ground.site.system(partial(_execute, edit=edit.bindparams(old=old, new=new)))
            assert replayed(ground, sent)["same"] is same, (column, new)
    broken = "UPDATE review_run SET inputs = replace(inputs, '200', '201')"
    world.uow.write_now(lambda ctx: ctx.tx.execute(text(broken)), actor=SYSTEM, trace=TRACE)
    assert replayed(ground, sent)["same"] is False

    other = "UPDATE review_submission SET content = replace(content, 'Planning.', 'Anything.')"
    world.uow.write_now(lambda ctx: ctx.tx.execute(text(other)), actor=SYSTEM, trace=TRACE)
    again(ground, sent)
    world.check()

    assert results(checks_of(ground, sent))["content.as_submitted", ""] == "failed"


def test_a_process_that_dies_while_it_looks_leaves_the_work_to_the_next(world: World) -> None:
    """Nothing is lost, and nothing is there twice."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    class Killed(BaseException):
        pass

    def dies(targets: Sequence[Target]) -> list[Look]:
        world.look_at(targets)
        raise Killed

    with pytest.raises(Killed):
        world.check(dies)
    assert ground.see(sent)["state"] == "checking"
    problem(ground.site.api("rita").get(f"/submissions/{sent}/checks"), 404, "run_not_found")
    world.expire_leases()
    assert world.check(holder="two")

    assert checks_of(ground, sent)["number"] == 1
    assert [each["after"] for each in ground.see(sent)["history"]].count("checking") == 1


def test_a_fault_of_the_program_keeps_no_other_submission_waiting(world: World) -> None:
    """Unknown never passes."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    def faulty(_: Sequence[Target]) -> list[Look]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        world.check(faulty)

    assert not world.check()
    assert [each["result"] for each in checks_of(ground, sent)["checks"]] == ["unknown"]
    assert replayed(ground, sent)["same"] is False
    again(ground, sent)
    assert world.check()
    assert {each["result"] for each in checks_of(ground, sent)["checks"]} == {"passed"}


def test_what_is_withdrawn_while_it_is_checked_stays_withdrawn(world: World) -> None:
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    def withdrawn_meanwhile(targets: Sequence[Target]) -> list[Look]:
        body = {"revision": ground.see(sent)["revision"], "reason": "A mistake."}
        made(ground.site.api("acme.owner").post(f"/submissions/{sent}/withdraw", json=body), 200)
        return world.look_at(targets)

    world.check(withdrawn_meanwhile)

    assert ground.see(sent)["state"] == "withdrawn"
    problem(ground.site.api("rita").get(f"/submissions/{sent}/checks"), 404, "run_not_found")


def test_who_may_have_it_checked_again_and_how_often(world: World) -> None:
    """Hilum must not be made to flood a stranger's host."""
    ground = in_order(world)
    site = ground.site
    sent = made(ground.submit())["id"]
    path = f"/submissions/{sent}/rerun"
    problem(site.api("rita").post(path, json={"revision": 2}), 409, "transition_refused")
    world.check()
    furnish_vendor(site, "Rival", "rival")
    for who in ("acme.billing", "otto", "sam", "gina"):
        assert site.api(who).post(path, json={"revision": 4}).status_code == 403, who
    problem(site.api("rival.owner").post(path, json={"revision": 4}), 404, "submission_not_found")
    problem(site.api("rita").post(path, json={"revision": 3}), 409, "changed_since_read")

    developer = site.api("acme.developer")
    for n in range(RUNS_A_DAY - 1):
        made(developer.post(path, json={"revision": 4 + 2 * n}), 200)
        world.check(lambda targets: [Look(each.kind, each.url, fault="fetch_failed") for each in targets])
    revision = ground.see(sent)["revision"]
    problem(developer.post(path, json={"revision": revision}), 403, "rerun_bound")
    world.clock.advance(timedelta(days=1, seconds=1))
    made(site.api("acme.owner").post(path, json={"revision": revision}), 200)


def test_a_holder_that_lost_its_lease_while_it_looked_writes_nothing(world: World) -> None:
    """Two nodes: what the second one stored is there once."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    def slow(targets: Sequence[Target]) -> list[Look]:
        world.expire_leases()
        assert world.check(holder="two")
        return world.look_at(targets)

    with pytest.raises(Conflict):
        world.check(slow)

    assert checks_of(ground, sent)["number"] == 1
