"""What was submitted is checked by the jobs process against real servers, stored, and judged again to the same result (C99, C110)."""

import atexit
import json
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Any

import pytest
from joserfc.jwk import ECKey
from sqlalchemy import TextClause, text

from hilum.app.schedule import JobLease
from hilum.infra import nodes
from hilum.infra.context import Context
from hilum.infra.fetch import SafeFetcher
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from hilum.policies import service as policies
from hilum.review.jobs import run_next
from hilum.review.looking import look_at
from hilum.review.models import LOOK_BYTES, RUNS_A_DAY, Look, Target
from tests.flows.control_site import TRACE, ControlSite, build, problem
from tests.flows.review_ground import Ground, examine_every_one, furnish
from tests.flows.test_proofs_before_certification import put_in_force
from tests.flows.test_vendor_apps import PROFILE
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.jwks_host import JwksHost, Page, running
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock

DEADLINE = timedelta(seconds=5)
PRIVATE = "inside.example"


@cache
def _served(authority: Authority, name: str, **certificate: bool) -> JwksHost:
    """Start a host for the rest of the run."""
    served = running(authority.server(name, **certificate), poll_s=0.1)
    host = served.__enter__()
    atexit.register(served.__exit__, None, None, None)
    return host


@dataclass
class World:
    """Hosts with names of their own, all on loopback, and a site whose app is on the first of them."""

    stack: ExitStack
    authority: Authority
    uow: UnitOfWork
    clock: FakeClock
    deadline: timedelta = DEADLINE
    hosts: dict[str, JwksHost] = field(default_factory=dict)

    def host(self, name: str, **certificate: bool) -> str:
        """Serve a host over TLS; return its origin."""
        served = _served(self.authority, name, **certificate)
        # Shared with the tests before, which is why its address stays: what is furnished with it is copied.
        served.pages, served.asked, served.closing = {}, [], threading.Event()
        self.stack.callback(served.closing.set)
        self.hosts[name] = served
        return f"https://{name}:{served.port}"

    def page(self, origin: str, path: str, page: Page) -> str:
        self.hosts[origin.split("/")[2].split(":", maxsplit=1)[0]].pages[path] = page
        return origin + path

    async def _resolve(self, host: str, port: int) -> list[str]:
        return ["10.0.0.5" if host == PRIVATE else "127.0.0.1"]

    def look_at(self, targets: Sequence[Target]) -> list[Look]:
        def fetcher() -> SafeFetcher:
            return SafeFetcher(
                allow_private=True,
                resolve=self._resolve,
                tls=self.authority.client,
                deadline=self.deadline,
                body_bound=LOOK_BYTES,
            )

        return look_at(fetcher, targets)

    def expire_leases(self) -> None:
        """What time does while a process is frozen or gone."""
        self.uow.write_now(lambda ctx: nodes.expire_leases(ctx.tx), actor=SYSTEM, trace=TRACE)

    def lease(self, holder: str = "one") -> JobLease:
        return JobLease(self.uow, "review_checks", holder, threading.Event())

    def check(self, looks: Callable[..., list[Look]] | None = None, holder: str = "one") -> bool:
        return run_next(self.lease(holder), looks or self.look_at)


def key(kid: str) -> dict[str, Any]:
    return dict(ECKey.generate_key("P-384", {"kid": kid}).as_dict(private=False))


OK = Page(body=b"<p>Here we are.</p>")


def where_every_one_is_examined(site: ControlSite) -> None:
    site.system(policies.adopt_shipped)
    examine_every_one(site)


def in_order(world: World, **client: Any) -> Ground:
    """An app all of whose addresses answer as they should."""
    origin = world.host("acme.example")
    for path in ("/cb", "/launch", "/privacy", "/terms"):
        world.page(origin, path, OK)
    profile = PROFILE | {"privacy_policy": f"{origin}/privacy", "terms": f"{origin}/terms"}
    own = {"redirect_uris": [f"{origin}/cb"], "launch_url": f"{origin}/launch"}
    site = build(world.uow, world.clock, then=where_every_one_is_examined)
    return furnish(site, profile=profile, **own | client)


def checks_of(ground: Ground, submission: str, who: str = "rita") -> Any:
    return made(ground.site.api(who).get(f"/submissions/{submission}/checks"), 200)


def results(run: Any) -> dict[tuple[str, str], str]:
    return {(each["rule"], each["about"]): each["result"] for each in run["checks"]}


def replayed(ground: Ground, submission: str) -> Any:
    return made(ground.site.api("rita").get(f"/submissions/{submission}/checks/replay"), 200)


def test_what_is_in_order_passes_and_waits_for_its_lenses(world: World) -> None:
    """C98, C99, C110: with tier, track, lenses and clocks; the same inputs and rule book give the same again."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]

    assert world.check()
    assert not world.check(), "nothing waits any more"

    found = ground.see(sent)
    assert [each["after"] for each in found["history"]] == ["draft", "submitted", "checking", "in_lenses"]
    assert {each["actor"] for each in found["history"][2:]} == {"system:system"}
    run = checks_of(ground, sent, "acme.developer")
    assert {each["result"] for each in run["checks"]} == {"passed"}, run["checks"]
    assert all(each["evidence"] and each["fix"] and each["reproduction"] for each in run["checks"])
    assert (run["route"]["tier"], run["route"]["track"], run["route"]["lenses"]) == (
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


def again(ground: Ground, submission: str, who: str = "rita", status: int = 200) -> Any:
    body = {"revision": ground.see(submission)["revision"]}
    return made(ground.site.api(who).post(f"/submissions/{submission}/rerun", json=body), status)


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


def test_a_run_belongs_to_the_rule_book_of_its_moment(world: World) -> None:
    """C110: a newer rule book changes nothing of it, and judges the next run."""
    ground = in_order(world)
    sent = made(ground.submit())["id"]
    world.check()
    before = checks_of(ground, sent)
    put_in_force(ground.site, {"categories.scheduling.cells.low.proofs": ["owner"]})

    assert replayed(ground, sent)["same"] is True
    again(ground, sent)
    world.check()

    after = checks_of(ground, sent)
    assert after["rule_book"] > before["rule_book"]
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
