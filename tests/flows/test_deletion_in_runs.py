"""A certification run sends a request to delete to the app's webhook, and the same with a wrong signature (C227)."""

from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.evidence import service
from hilum.evidence.jobs import run
from hilum.evidence.models import Probe
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.ids import TenantId
from tests.flows.control_site import ControlSite, build, problem
from tests.flows.review_ground import Ground, furnish
from tests.flows.review_world import sandbox_client
from tests.flows.vendor_ground import PROFILE, client_body, join, made
from tests.sim.world import FakeClock

HOOK = "https://hooks.acme.example/hilum"


class Lease:
    """The lease of the job, held all the time."""

    def __init__(self, site: ControlSite) -> None:
        self.write = site.system


def opened(uow: UnitOfWork, clock: FakeClock, *, stores: bool) -> tuple[Ground, str]:
    profile = PROFILE | {"stores_data": stores, "retention_days": 30 if stores else 0}
    ground = furnish(build(uow, clock), profile=profile)
    body = {"client": sandbox_client(ground), "tenant": "general", "scenarios": ["deletion_asked"]}
    found = made(ground.site.api("acme.developer").post("/evidence-runs", json=body))
    return ground, f"/evidence-runs/{found['id']}"


def agree(ground: Ground) -> str:
    """Add a webhook to which two owners agree."""
    site = ground.site
    join(site, ground.vendor, "acme.second", "owner")
    hook = str(made(site.api("acme.developer").post("/webhooks", json={"vendor": ground.vendor, "url": HOOK}))["id"])  # fmt: skip
    asked = made(site.api("acme.owner").post(f"/webhooks/{hook}/disposals"), 202)["approval"]["id"]
    made(site.api("acme.second").post(f"/approvals/{asked}/approve"), 200)
    return hook


def sent(ground: Ground) -> list[tuple[str, int]]:
    query = EventQuery(action="evidence.deletion.send", limit=9)
    found = ground.site.system(audit.list_events, query=query).events
    return sorted((each.event.facts["signed"], each.event.facts["status"]) for each in found)


def send(ground: Ground, then: Any = None) -> list[Probe]:
    """Run the job once, with a webhook that verifies; ``then`` happens while its answer is under way."""
    probes: list[Probe] = []

    def answer(probe: Probe, secrets: tuple[str, ...]) -> int:
        probes.append(probe)
        if then is not None and len(probes) == 2:
            then()
        return 204 if secrets == probe.secrets else 401

    run(Lease(ground.site), answer, "https://hilum.example", lambda: True)
    return probes


def test_it_is_sent_once_to_the_address_that_two_people_agreed_to(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C227: what it says is of the form of every request to delete, and about the sandbox's hospital."""
    ground, path = opened(sqlite_uow, clock, stores=True)
    developer = ground.site.api("acme.developer")
    agree(ground)

    assert made(developer.post(f"{path}/scenarios/deletion_asked/begin"), 200)["sending"] is True
    first, second = send(ground)

    assert first == second
    assert (first.url, first.run) == (HOOK, path.rpartition("/")[2])
    assert b'"type":"disposal.requested"' in first.body
    assert first.wrong not in first.secrets
    assert sent(ground) == [("right", 204), ("wrong", 401)]
    assert made(developer.get(path), 200)["sending"] is False
    assert send(ground) == [], "once"


@pytest.mark.parametrize("act", ["scenarios/end", "abandon", "delete"])
def test_what_ends_while_it_is_sent_is_noted_for_nothing(
    sqlite_uow: UnitOfWork, clock: FakeClock, act: str
) -> None:
    """C227: the scenario or the run is over; a webhook that was removed gives no answer."""
    ground, path = opened(sqlite_uow, clock, stores=True)
    hook, developer = agree(ground), ground.site.api("acme.developer")
    made(developer.post(f"{path}/scenarios/deletion_asked/begin"), 200)
    if act == "delete":
        assert developer.delete(f"/webhooks/{hook}").status_code in {200, 204}
        assert send(ground) == []
        assert sent(ground) == [("right", 0), ("wrong", 0)]
        return

    send(ground, then=lambda: made(developer.post(f"{path}/{act}"), 200))

    assert sent(ground) == []
    assert send(ground) == []


def test_a_webhook_whose_secret_cannot_be_opened_is_noted_and_holds_up_no_other(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C227: otherwise nothing would be sent for any vendor until the run is over."""
    ground, path = opened(sqlite_uow, clock, stores=True)
    agree(ground)
    made(ground.site.api("acme.developer").post(f"{path}/scenarios/deletion_asked/begin"), 200)
    ground.site.system(lambda ctx: ctx.tx.execute(text("update notices_endpoint set sealed = 'broken'")))

    assert send(ground) == []
    assert sent(ground) == [("right", 0), ("wrong", 0)]


def test_an_app_that_stores_nothing_is_sent_nothing(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    """C227: its vendor states so, which review sees."""
    ground, path = opened(sqlite_uow, clock, stores=False)

    begun = made(ground.site.api("acme.developer").post(f"{path}/scenarios/deletion_asked/begin"), 200)

    assert begun["sending"] is False
    assert send(ground) == []
    found = ground.site.system(audit.list_events, query=EventQuery(action="evidence.scenario.begin", limit=1))
    assert found.events[0].event.facts["stored"] == "nothing"
    run_id = path.rpartition("/")[2]
    assert not ground.site.system(partial(service.note_probe, run_id=run_id, probe="prb_1", answers={"right": 204}))  # fmt: skip


def test_an_app_without_a_webhook_reads_both_and_answers_the_one_that_is_signed(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C227: among the requests of its client at that hospital, while the scenario is under way and no longer."""
    ground = furnish(build(sqlite_uow, clock), profile=PROFILE)
    developer = ground.site.api("acme.developer")
    order = client_body(ground.app, ground.version, scope="launch user/Slot.rs")
    public = order | {"client_name": "Browser", "client_type": "public", "deployment": "browser"}
    found = [
        made(ground.site.api("acme.owner").post("/clients", json=each))["id"] for each in (order, public)
    ]
    runs = [
        made(developer.post("/evidence-runs", json={"client": each, "tenant": "general", "scenarios": ["deletion_asked"]}))["id"]
        for each in found
    ]  # fmt: skip
    # It has a webhook to which nobody agreed, and a public client proves nothing.
    made(developer.post("/webhooks", json={"vendor": ground.vendor, "url": HOOK}))
    problem(developer.post(f"/evidence-runs/{runs[1]}/scenarios/deletion_asked/begin"), 409, "receiver_missing")  # fmt: skip
    client, path = found[0], f"/evidence-runs/{runs[0]}"
    general = TenantId("general")
    polled = partial(ground.site.system, partial(service.list_polled, client=client, tenant=general, issuer="https://h.example"))  # fmt: skip
    note = partial(ground.site.system, service.note_polled, client=client, tenant=general)
    assert polled() == []
    begun = made(developer.post(f"{path}/scenarios/deletion_asked/begin"), 200)
    assert begun["sending"] is False

    wrong, right = polled()

    assert wrong.text.split(".")[0] == right.text.split(".")[0]
    assert not note(probe="prb_other")
    assert note(probe=right.disposal.id)
    assert note(probe=right.disposal.id), "a repeated answer is answered alike"
    assert sent(ground) == [("right", 200)]
    assert note(probe=wrong.disposal.id)
    assert sent(ground) == [("right", 200), ("wrong", 200)]
    made(developer.post(f"{path}/scenarios/end"), 200)
    assert polled() == []
    assert not note(probe=right.disposal.id)
