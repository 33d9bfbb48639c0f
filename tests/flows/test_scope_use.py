"""The scopes of an app compared with what its counted decisions used, over the API (C66)."""

import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.authorization.launches import store as launches
from hilum.authorization.launches.models import Launch
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import LaunchId, TenantId
from hilum.identity.people import service as identity
from hilum.records.audit import live as journals
from hilum.surfaces.cli.apps import proposal_of
from tests.flows.control_site import problem
from tests.flows.journal_ground import JournalGround, access
from tests.flows.use_ground import EAST, Ground
from tests.flows.vendor_ground import made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

USED = ["launch", "openid", "patient/Observation.r"]


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    made = Ground(sqlite_uow, clock)
    clock.advance(timedelta(days=91))
    return made


def reads(answer: Any) -> tuple[int, int]:
    """Return at how many hospitals the wildcard is granted, and how often it was used."""
    assert answer.status_code == 200, answer.text
    (row,) = (each for each in answer.json()["rows"] if each["scope"] == "patient/*.rs")
    return row["granted"], row["used"]


def test_what_is_proposed_to_a_hospital_is_what_its_people_used_and_narrows_its_installation(
    ground: Ground,
) -> None:
    """C66."""
    ground.use("general", "general", "children")
    ground.use("children", resource_type="Patient")

    found = ground.compare("gina").json()

    assert (found["tenant"], found["days"], found["whole"]) == ("general", 90, True)
    assert (found["proposal"], found["narrow_to"]) == ("narrow", USED)
    (row,) = (each for each in found["rows"] if each["scope"] == "patient/*.rs")
    assert (row["asked"], row["approved"], row["granted"], row["used"]) == (True, True, 1, 2)
    _, command = proposal_of(found).splitlines()
    words = ["hilum", "app", "narrow", ground.installed["general"]]
    assert shlex.split(command) == words + [word for each in USED for word in ("--scope", each)]
    body = {"scopes": found["narrow_to"]}
    narrowed = ground.site.api("gina").patch(f"/installations/{found['installation']}", json=body)
    assert narrowed.json()["scopes"] == USED
    assert ground.compare("gina").json()["proposal"] == "keep"


def test_the_staff_compare_all_hospitals_or_one(ground: Ground) -> None:
    ground.use("general", "general", "children")

    assert reads(ground.compare("rita")) == (2, 3)
    assert reads(ground.compare("rita", tenant="children")) == (1, 1)
    assert ground.compare("rita").json()["proposal"] == "none"
    problem(ground.compare("rita", tenant="nowhere"), 404, "tenant_not_found")


def test_an_administrator_sees_their_own_hospital_only_and_others_are_answered_as_absent(
    ground: Ground,
) -> None:
    """C66."""
    ground.use("general", "general", "children")

    assert reads(ground.compare("carl")) == reads(ground.compare("carl", tenant="children")) == (1, 1)
    foreign = problem(ground.compare("carl", tenant="general"), 404, "tenant_not_found")
    absent = problem(ground.compare("carl", tenant="nowhere"), 404, "tenant_not_found")
    assert foreign["detail"] == absent["detail"]
    mary = ground.compare("mary").json()
    assert (mary["installation"], mary["proposal"], mary["narrow_to"]) == ("", "none", [])
    assert all((row["granted"], row["used"]) == (0, 0) for row in mary["rows"])
    problem(ground.compare("ann"), 403, "not_permitted")
    problem(ground.site.api("carl").get("/apps/app_none/scopes"), 404, "app_not_found")
    assert ground.compare("").status_code == 401


def test_only_permits_of_the_days_compared_count(ground: Ground) -> None:
    ground.use("general", days_ago=40)
    ground.use("general", reason="scope_missing", rule="")
    ground.use("general", client="cli_other")

    assert reads(ground.compare("gina")) == (1, 1)
    assert reads(ground.compare("gina", days="30")) == (1, 0)
    assert ground.compare("gina", days="30").json()["proposal"] == "uninstall"
    for days in ("0", "31", "x", ""):
        problem(ground.compare("gina", days=days), 422, "fields_invalid")


def test_nothing_is_proposed_before_an_installation_is_as_old_as_the_days_compared(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    ground = Ground(sqlite_uow, clock)
    clock.advance(timedelta(days=31))

    early, late = ground.compare("gina").json(), ground.compare("gina", days="30").json()

    assert (early["proposal"], early["narrow_to"]) == ("too_early", [])
    assert late["proposal"] == "uninstall", "nothing was ever counted, and no file of counts is there"


def test_an_installation_that_has_ended_or_was_removed_is_none(ground: Ground) -> None:
    ground.site.system(installations.uninstall, installation_id=ground.installed["children"])

    assert reads(ground.compare("rita")) == (1, 0)
    assert ground.compare("carl").json()["proposal"] == "none"


def test_the_counts_sum_the_same_over_clients_and_tenants_on_both_databases(
    uow: UnitOfWork, clock: FakeClock, tmp_path: Path
) -> None:
    place = JournalGround(uow, uow.db.url, tmp_path / "journal")
    now = clock.now()
    facts = {"rule": "patient/*.rs", "at": now - timedelta(hours=1)}
    place.write(
        *(access(n, client=f"c{n % 2}", tenant=f"t{n % 3}", **facts) for n in range(6)),
        access(7, client="c0", tenant="t0", rule="", reason="scope_missing", at=facts["at"]),
    )
    journals.count_decisions(place.directory, place.url, now)

    def numbers(tenant: str, *of: str) -> list[int]:
        since = now - timedelta(days=30)
        found = journals.read_permits(place.directory, place.url, of, since, tenant)
        return [each.number for each in found]

    assert (numbers("", "c0", "c1"), numbers("", "c0"), numbers("t0", "c0", "c1")) == ([6], [3], [2])
    assert (numbers("t9", "c0"), numbers("", "c9"), numbers("")) == ([], [], [])


def test_a_narrowing_is_tried_on_what_was_permitted_before_it_is_done(ground: Ground) -> None:
    """C208: a hospital learns what its own setting would have refused; nothing changes, and other hospitals' use is not in it."""
    ground.use("general", "general", "children")
    ground.use("general", interaction="search-type", resource_type="Condition")
    path = f"/installations/{ground.installed['general']}/try-narrowing"
    gina = ground.site.api("gina")
    before = gina.get(f"/installations/{ground.installed['general']}").json()

    found = gina.post(path, json={"scopes": ["patient/Observation.r"]}).json()

    assert (found["permitted"], found["refused"], found["less"], found["whole"]) == (3, 1, 0, True)
    assert [(each["resource_type"], each["interaction"], each["verdict"]) for each in found["rows"]] == [
        ("Condition", "search-type", "allow_to_refuse")
    ]
    assert found["scopes"] == ["launch", "openid", "patient/Observation.r"]
    assert gina.post(path, json={"scopes": ["patient/*.rs"]}).json()["rows"] == []
    assert gina.get(f"/installations/{ground.installed['general']}").json() == before


def test_a_narrowing_that_only_keeps_part_of_what_was_read_says_so(ground: Ground) -> None:
    ground.use("general")
    path = f"/installations/{ground.installed['general']}/try-narrowing"

    found = ground.site.api("gina").post(
        path, json={"scopes": ["patient/Observation.rs?category=vital-signs"]}
    )

    assert (found.json()["refused"], found.json()["less"]) == (0, 1)


def opened(
    ground: Ground, n: int, username: str, facility: str, *, days_ago: int = 1, tenant: str = "general"
) -> None:
    """Store a launch of the app by somebody of a hospital."""
    site, at = ground.site, ground.clock.now() - timedelta(days=days_ago)
    person = site.system(identity.find_person_by_username, tenant=TenantId(tenant), username=username)
    each = Launch(
        id=LaunchId(f"lau_{n}"),
        tenant=TenantId(tenant),
        client=ground.client.id,
        person=person.id,
        created_at=at,
        expires_at=at,
        facility=facility,
        launch_uri="https://app.example/launch",
    )
    hashes = {"handle_hash": n.to_bytes(32, "big"), "open_hash": n.to_bytes(32, "big")}
    site.system(lambda ctx: launches.LAUNCHES.add(ctx.tx, each, **hashes, open_expires_at=at))


def test_fewer_roles_facilities_and_a_quota_are_tried_on_launches_and_on_recorded_calls(
    ground: Ground,
) -> None:
    """C208: whom of the last sixty days it would have refused, by role and facility, and how much a quota."""
    site, path = ground.site, f"/installations/{ground.installed['general']}/try-narrowing"
    gina = site.api("gina")
    east, west = (
        made(gina.post("/facilities", json=EAST | {"name": name, "reference": f"Organization/{name}"}))["id"]
        for name in ("East", "West")
    )
    site.clock.advance(timedelta(days=70))
    gina = site.api("gina")
    for n, (facility, days) in enumerate([(east, 1), (east, 3), (west, 2), ("", 2), (west, 65)], 1):
        opened(ground, n, "ann", facility, days_ago=days)
    opened(ground, 9, "carl", east, tenant="children")

    denied = made(gina.post(path, json={"denied": [east]}), 200)
    alone = made(gina.post(path, json={"facilities": [east]}), 200)
    nobody = made(gina.post(path, json={"roles": []}), 200)

    assert (denied["launches"]["number"], denied["launches"]["refused"]) == (4, 3)
    assert denied["launches"]["rows"][0] == {
        "reason": "facility_not_allowed",
        "role": "physician",
        "facility": east,
        "number": 2,
    }
    assert {each["facility"] for each in alone["launches"]["rows"]} == {west, ""}
    assert [(each["reason"], each["number"]) for each in nobody["launches"]["rows"]] == [
        ("role_not_allowed", 2),
        ("role_not_allowed", 1),
        ("role_not_allowed", 1),
    ]
    assert (nobody["refused"], nobody["beyond_quota"]) == (0, None)
    assert made(gina.post(path, json={"scopes": ["patient/*.rs"]}), 200)["launches"] is None

    ground.use(*(["general"] * 9 + ["children"] * 9))
    tight = made(gina.post(path, json={"quota": {"rate_per_s": 0.005, "burst": 1}}), 200)
    wide = made(gina.post(path, json={"quota": {"rate_per_s": 1, "burst": 100}}), 200)
    assert (tight["beyond_quota"], wide["beyond_quota"], tight["launches"]) == (8, 0, None)


@in_one_world(
    ("who", "body", "status", "code"),
    [
        ("gina", {"roles": ["physician", "nurse"]}, 422, "installation_invalid"),
        ("gina", {"facilities": ["fac_nowhere"]}, 422, "installation_invalid"),
        ("gina", {"denied": ["fac_nowhere"]}, 422, "installation_invalid"),
        ("gina", {"quota": {"rate_per_s": 0, "burst": 1}}, 422, "fields_invalid"),
        ("gina", {"scopes": ["user/*.cruds"]}, 422, "installation_invalid"),
        ("gina", {"scopes": [], "days": 91}, 422, "fields_invalid"),
        ("carl", {"scopes": []}, 404, "installation_not_found"),
    ],
)
def test_a_trial_that_widens_or_is_of_another_hospital_is_refused(
    ground: Ground, who: str, body: dict[str, Any], status: int, code: str
) -> None:
    path = f"/installations/{ground.installed['general']}/try-narrowing"
    problem(ground.site.api(who).post(path, json=body), status, code)


def test_a_trial_reaches_back_to_the_approval_and_not_beyond_it(ground: Ground) -> None:
    """C208: what an earlier installation was used for says nothing about this one; a removed one is not tried."""
    gina, removed = ground.site.api("gina"), ground.installed["general"]
    ground.use("general", days_ago=5)
    assert gina.delete(f"/installations/{removed}").status_code == 200
    again = {"tenant": "general", "app": ground.app, "roles": ["physician"]}
    installed = gina.post("/installations", json=again).json()["id"]

    found = gina.post(f"/installations/{installed}/try-narrowing", json={"scopes": []}).json()

    assert (found["permitted"], found["rows"]) == (0, [])
    gone = gina.post(f"/installations/{removed}/try-narrowing", json={"scopes": []})
    problem(gone, 409, "installation_removed")
