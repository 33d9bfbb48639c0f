"""Versions of the policy: signed, put in force by two people where they allow something new, at chosen hospitals first, with a way back (C179, C210, C218)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from hilum.controls.approvals import store as approval_rows
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.policy.matrix import chain, service, store
from hilum.policy.matrix.document import canonical, render
from hilum.policy.matrix.models import POLICIES, TAKE_BACK_WITHIN, ApplyOrder, Book
from hilum.policy.matrix.product_models import NOTICE
from hilum.policy.matrix.shipped import shipped_book
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from tests.flows.control_site import TRACE, ControlSite, build, with_policy
from tests.flows.policy_ground import (
    ENTRY,
    NARROWER,
    WIDER,
    add,
    agree,
    apply,
    burst,
    in_force,
    json_of,
    plain,
)
from tests.sim.backends import both_backends
from tests.sim.facts import counted, whole
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import book


@pytest.fixture
def site(one_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    return build(one_uow, clock, then=with_policy)


@both_backends
def test_the_shipped_book_is_adopted_once_and_a_later_release_changes_nothing_by_itself(
    site: ControlSite,
) -> None:
    site.system(service.adopt_shipped)

    versions = site.api("root").get("/policies/versions").json()["items"]
    assert [(each["number"], each["digest"], each["added_by"]) for each in versions] == [
        (1, shipped_book().digest, "system:system")
    ]
    assert in_force(site) == {"everywhere": 1, "at": {}, "last": 1}


def test_one_person_puts_in_force_what_only_narrows(site: ControlSite) -> None:
    version = add(site, NARROWER)

    answer = apply(site, version)

    assert answer.status_code == 201, answer.text
    assert in_force(site) == {"everywhere": version, "at": {}, "last": 2}
    assert burst(site) == 99


@both_backends
def test_what_allows_something_new_takes_two_people_and_begins_at_some_hospitals(
    site: ControlSite, clock: FakeClock
) -> None:
    """C210, C218."""
    version = add(site, WIDER)

    refused = apply(site, version)
    assert (refused.status_code, json_of(refused)["code"]) == (409, "too_soon_everywhere")
    asked = apply(site, version, "mercy")
    assert asked.json()["approval"]["order"]["allows"] == [
        f"{ENTRY}.quota.burst: Is looser: 101 instead of 100."
    ]
    assert burst(site) == 100

    agreed = agree(site, asked)

    assert agreed.status_code == 200, agreed.text
    assert (burst(site, "mercy"), burst(site, "children")) == (101, 100)
    assert agree(site, apply(site, version)).status_code == 200
    assert in_force(site) == {"everywhere": version, "at": {}, "last": 3}
    (_, done) = site.api("root").get("/policies/applications").json()["items"][:2]
    assert (done["tenants"], done["applied_by"] != done["agreed_by"]) == (["mercy"], True)


def test_taking_back_what_allowed_something_new_takes_one_person_and_no_time(site: ControlSite) -> None:
    version = add(site, WIDER)
    agree(site, apply(site, version, "general"))

    answer = apply(site, 1, "general")

    assert answer.status_code == 201
    assert (burst(site, "general"), in_force(site)["at"]) == (100, {"general": 1})


def test_taking_back_what_only_narrowed_takes_two_people_but_no_trial(site: ControlSite) -> None:
    """The way back is quick: that policy was in force everywhere before."""
    apply(site, add(site, NARROWER))
    # By its author alone it is within an hour (ADR 43).
    site.clock.advance(TAKE_BACK_WITHIN)

    answer = apply(site, 1)

    assert answer.status_code == 202
    assert burst(site) == 99
    assert agree(site, answer).status_code == 200
    assert burst(site) == 100


def test_the_second_person_sees_all_that_is_newly_allowed_most_severe_first(site: ControlSite) -> None:
    """C210: nobody agrees to what they were not shown. A rule without one type, and one scope for every record without a person."""
    record = "categories.record_modification.entries.high.scopes"
    rules = plain({})["tier_rules"]
    kept = [each for each in rules[3]["types"] if each != "Procedure"]
    bursts = {
        f"categories.{name}.entries.{tier}.quota": {"rate_per_s": 50, "burst": 1_000}
        for name, category in plain({})["categories"].items()
        for tier in category["entries"]
    }
    version = add(site, bursts | {"tier_rules.3.types": kept, record: ["system/*.cruds"]})

    order = apply(site, version, "general").json()["approval"]["order"]

    assert len(order["allows"]) > 20
    assert order["allows"][0].startswith("categories.record_modification.entries.high.scopes: Also allows")
    assert "system/*.cruds" in order["allows"][0]
    assert len([each for each in order["allows"] if "falls from" in each]) == 1, "folded by rule"
    assert len(order["allows_digest"]) == 64


@both_backends
@pytest.mark.parametrize("change", [{"allows": []}, {"allows_digest": "0" * 64}])
def test_an_approval_covers_only_the_privilege_increases_that_were_shown(
    site: ControlSite, change: dict[str, Any]
) -> None:
    """Approving is bound to the list: a release that finds something else in the same policies, or a changed row, carries out nothing."""
    asked = apply(site, add(site, WIDER), "general")
    column = approval_rows.approvals.c.act

    def tamper(ctx: Context) -> None:
        order = ctx.tx.execute(select(column)).scalar_one()
        ctx.tx.execute(update(approval_rows.approvals).values({column: order | change}))

    site.system(tamper)

    answer = agree(site, asked)

    assert (answer.status_code, json_of(answer)["code"]) == (409, "target_changed")
    assert burst(site) == 100


@pytest.mark.parametrize("by", ["root"])
def test_nobody_agrees_to_what_they_asked_for(site: ControlSite, by: str) -> None:
    answer = agree(site, apply(site, add(site, WIDER), "general"), by=by)

    assert (answer.status_code, json_of(answer)["code"]) == (403, "asked_by_you")
    assert burst(site) == 100


@both_backends
def test_what_was_asked_for_before_another_change_is_not_carried_out(site: ControlSite) -> None:
    """Optimistic locking: who agrees agrees to what was in force when it was asked."""
    asked = apply(site, add(site, WIDER), "general")
    apply(site, add(site, NARROWER))

    answer = agree(site, asked)

    assert (answer.status_code, json_of(answer)["code"]) == (409, "target_changed")
    assert burst(site) == 99


@both_backends
def test_an_order_that_does_not_know_the_last_application_is_refused(site: ControlSite) -> None:
    version = add(site, NARROWER)

    for after in (0, 2):
        answer = apply(site, version, after=after)
        assert (answer.status_code, json_of(answer)["code"]) == (409, "concurrent_change")
    assert in_force(site)["everywhere"] == 1


@in_one_world("by", ["sam", "rita", "gina", "otto", "ann"])
def test_only_platform_administrators_add_and_apply_versions(site: ControlSite, by: str) -> None:
    version = add(site, NARROWER)

    added = site.api(by).post("/policies/versions", json={"document": plain(NARROWER), "base": 1, "note": ""})
    applied = site.api(by).post(
        "/policies/applications", json={"version": version, "after": 1, "reason": "x"}
    )

    assert (added.status_code, applied.status_code) == (403, 403)
    assert in_force(site)["last"] == 1


def test_the_host_alone_cannot_put_in_force_what_allows_something_new(site: ControlSite) -> None:
    version, order = (
        add(site, WIDER),
        partial(ApplyOrder, tenants=(TenantId("general"),), after=1, reason="x"),
    )
    host = Actor(ActorKind.HOST, "root")

    with pytest.raises(NotPermitted, match="takes_two_people"):
        site.uow.write_now(lambda ctx: service.apply(ctx, order(version)), actor=host, trace=TRACE)

    found = site.system(audit.list_events, query=EventQuery(action="policies.book.apply")).events
    assert Outcome.REFUSED in {each.event.outcome for each in found}


@in_one_world(
    ("body", "code", "field"),
    [
        ({"version": 0}, "apply_invalid", "version"),
        ({"version": 9}, "policy_not_found", ""),
        ({"tenants": ["nowhere"]}, "tenant_not_found", ""),
        ({"tenants": ["general", "general"]}, "apply_invalid", "tenants"),
        ({"tenants": [""]}, "fields_invalid", "tenants"),
        ({"version": -1}, "fields_invalid", "version"),
        ({"after": 2**31}, "fields_invalid", "after"),
        ({"reason": "a\x00"}, "fields_invalid", "reason"),
        ({"everywhere": True}, "fields_invalid", "everywhere"),
    ],
)
def test_a_bad_order_is_refused_and_nothing_changes(
    site: ControlSite, body: dict[str, Any], code: str, field: str
) -> None:
    answer = site.api("root").post(
        "/policies/applications", json={"version": 1, "tenants": [], "after": 1, "reason": "x"} | body
    )

    assert 400 <= answer.status_code < 500
    assert json_of(answer)["code"] == code
    assert [name.split(".")[0] for name in json_of(answer).get("fields") or {}] == [field] * bool(field)
    assert in_force(site)["last"] == 1


def test_a_document_that_is_not_valid_is_refused_with_each_place_and_code(site: ControlSite) -> None:
    bad = plain({"title": "", f"{ENTRY}.disciplines": ["financial"], "regulated_lane.0.requires": ["fee"]})

    answer = site.api("root").post("/policies/versions", json={"document": bad, "base": 1, "note": ""})
    asked = site.api("sam").post("/policies/validate", json={"document": bad})

    assert json_of(answer)["code"] == "book_invalid"
    assert set(json_of(answer)["fields"]) == {"title", f"{ENTRY}.disciplines", "regulated_lane[0].requires"}
    assert [(each["path"], each["code"]) for each in asked.json()["faults"] if "lane" in each["path"]] == [
        ("regulated_lane[0].requires", "regulated_lane_condition")
    ]
    assert len(site.api("root").get("/policies/versions").json()["items"]) == 1


def test_a_book_that_breaks_a_jurisdictions_rules_of_today_is_refused(site: ControlSite) -> None:
    answer = site.api("root").post(
        "/policies/versions",
        json={"document": plain({"regulated_lane.0.within_business_days": 11}), "base": 1, "note": ""},
    )

    assert (answer.status_code, json_of(answer)["code"]) == (422, "book_invalid")


@both_backends
@pytest.mark.parametrize("column", ["document", "digest", "signature", "base"])
def test_a_version_that_is_not_as_it_was_signed_decides_nothing(site: ControlSite, column: str) -> None:
    """Whoever can write to the database cannot widen a policy: facts fail, the snapshot ages, everything is refused."""
    wider = canonical(render(_wider())).decode()
    values = {"document": wider, "digest": _wider().digest, "signature": "AAAA", "base": 7}

    def tamper(ctx: Context) -> None:
        ctx.tx.execute(update(store.versions).values({column: values[column]}))

    site.system(tamper)

    with pytest.raises(Unavailable, match="policy_not_as_signed"):
        site.system(whole(service.facts))


def _wider() -> Book:
    return book(WIDER)


def test_a_version_signed_by_another_key_decides_nothing(site: ControlSite) -> None:
    def tamper(ctx: Context) -> None:
        version = replace(
            store.get_version(ctx.tx, 1),
            document=canonical(render(_wider())).decode(),
            digest=_wider().digest,
        )
        kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, chain.version_bytes(version))
        values = {"document": version.document, "digest": version.digest, "kid": kid, "signature": signature}
        ctx.tx.execute(update(store.versions).values(values))

    site.system(tamper)

    with pytest.raises(Unavailable, match="policy_not_as_signed"):
        site.system(whole(service.facts))
    assert site.api("root").get("/policies/versions/1").status_code == 503


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"tenants": "general"}, {"signature": "AAAA"}, {"number": 7}]
)
def test_an_application_that_is_not_as_it_was_signed_decides_nothing(
    site: ControlSite, change: dict[str, Any]
) -> None:
    add(site, WIDER)

    site.system(lambda ctx: ctx.tx.execute(update(store.applications).values(change)))

    with pytest.raises(Unavailable, match="policy_not_as_signed"):
        site.system(whole(service.facts))


@both_backends
def test_an_application_that_was_taken_out_of_the_middle_is_noticed(site: ControlSite) -> None:
    apply(site, add(site, NARROWER), "general")
    apply(site, add(site, NARROWER), "children")

    site.system(
        lambda ctx: ctx.tx.execute(delete(store.applications).where(store.applications.c.number == 2))
    )

    with pytest.raises(Unavailable, match="policy_not_as_signed"):
        site.system(whole(service.facts))


def test_what_was_signed_before_a_rotation_of_the_key_stays_valid(
    site: ControlSite, clock: FakeClock
) -> None:
    site.system(keys.rotate, purpose=Purpose.POLICY, ring="")
    clock.advance(timedelta(days=400))
    site.system(keys.rotate, purpose=Purpose.POLICY, ring="")

    assert apply(site, add(site, NARROWER)).status_code == 201
    assert burst(site) == 99


@both_backends
def test_every_process_learns_of_another_book_by_the_part_of_the_facts(site: ControlSite) -> None:
    before = counted(site.uow, POLICIES)

    apply(site, add(site, NARROWER))

    assert counted(site.uow, POLICIES) == before + 1


@both_backends
def test_two_who_apply_at_once_do_not_both_succeed(site: ControlSite) -> None:
    """Two transactions: the second begins before the first commits, where the database lets it."""
    order = ApplyOrder(add(site, NARROWER), (), 1, "x", emergency=True)
    other = ApplyOrder(add(site, {"title": "Another"}), (), 1, "x", emergency=True)
    root = Actor(ActorKind.STAFF, site.people["root"].id, roles=frozenset({"platform_admin"}))
    applied, begun = threading.Event(), threading.Event()

    def first(ctx: Context) -> object:
        done = service.apply(ctx, order)
        applied.set()
        begun.wait(0.5)  # SQLite lets no second writer begin
        return done

    def second(ctx: Context) -> object:
        begun.set()
        return service.apply(ctx, other)

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(site.uow.write_now, first, actor=root, trace=TRACE)
        assert applied.wait(10)
        two = pool.submit(site.uow.write_now, second, actor=root, trace=TRACE)
        assert one.result(10)
        with pytest.raises(Conflict, match="concurrent_change"):
            two.result(10)

    assert in_force(site) | {"fault": ""} == {"everywhere": order.version, "at": {}, "last": 2, "fault": ""}


def test_a_hospitals_administrator_reads_the_policy_and_no_other_hospitals_part(site: ControlSite) -> None:
    apply(site, add(site, NARROWER), "children")
    apply(site, add(site, NARROWER), "general")

    assert in_force(site, by="gina")["at"] == {"general": 3}
    assert site.api("gina").get("/policies/versions/1").status_code == 200
    assert site.api("gina").get("/policies/applications").status_code == 403
    assert site.api().get("/policies").status_code == 401


def test_the_comparison_lists_what_differs_and_what_is_new(site: ControlSite) -> None:
    version = add(site, WIDER | {"title": "Another"})

    there = site.api("root").get("/policies/compare", params={"before": 1, "after": version}).json()
    back = site.api("root").get("/policies/compare", params={"before": version, "after": 0}).json()

    assert {each["path"] for each in there["changes"]} == {"title", f"{ENTRY}.quota.burst"}
    assert there["privilege_increases"] == [
        {"path": f"{ENTRY}.quota.burst", "sentence": "Is looser: 101 instead of 100."}
    ]
    assert back["privilege_increases"] == []


def test_a_hospitals_administrator_compares_what_is_in_force_and_nothing_else(site: ControlSite) -> None:
    """What is only being prepared, or tried elsewhere, is not theirs to see, nor theirs to have computed."""
    apply(site, add(site, NARROWER), "children")
    apply(site, add(site, NARROWER), "general")

    def compare(by: str, before: int, after: int) -> int:
        answer = site.api(by).get("/policies/compare", params={"before": before, "after": after})
        return int(answer.status_code)

    assert compare("gina", 1, 3) == 200
    assert [compare("gina", *pair) for pair in ((1, 2), (2, 3), (0, 1), (1, 99))] == [403] * 4
    assert compare("sam", 1, 2) == 200


def test_the_tier_of_an_app_is_explained_before_it_exists(site: ControlSite) -> None:
    """C18: "high, because it writes MedicationRequest"."""
    body = {
        "category": "clinical_decision_support",
        "scopes": ["user/Condition.rs", "user/MedicationRequest.cu"],
        "client_authentication": "private_key_jwt",
    }

    found = site.api("gina").post("/policies/assess", json=body | {"tenant": "general"}).json()

    assert found["sentence"] == "high, because it writes MedicationRequest"
    assert (found["acts_at"], found["scopes"]) == ("moderate", ["user/Condition.rs"])
    assert found["withheld"] == [{"scope": "user/MedicationRequest.cu", "why": "scope_not_allowed"}]


def test_the_platform_itself_adopts_a_book_only_where_none_is_in_force(uow: UnitOfWork) -> None:
    assert uow.read_now(service.in_force, actor=SYSTEM, trace=TRACE).everywhere == 0
    with pytest.raises(Invalid):
        uow.write_now(lambda ctx: service.apply(ctx, ApplyOrder(0, (), 0, "x")), actor=SYSTEM, trace=TRACE)


def test_the_scope_products_in_force_are_listed_as_they_are_today(
    site: ControlSite, clock: FakeClock
) -> None:
    """C61, C65."""
    day = clock.now().date()
    ending = {
        "scopes.messages.status": "deprecated",
        "scopes.messages.deprecated_from": day.isoformat(),
        "scopes.messages.sunset": (day + NOTICE).isoformat(),
        "scopes.messages.successor": "notes",
        "custom_scopes_at_most": 0,
        "scopes.notes.custom": True,
        "scopes.notes.demand": "Mercy's scribes",
        "scopes.notes.tests": ["tests/flows/test_notes.py"],
    }
    assert apply(site, add(site, ending), "general").status_code == 201

    at_general = listed(site, "?tenant=general")
    assert at_general["items"]["messages"] == ("deprecated", (day + NOTICE).isoformat())
    assert at_general["finding"].startswith("1 custom scope products are in force")
    everywhere = listed(site)
    assert (everywhere["items"]["messages"], everywhere["finding"]) == (("active", None), "")
    clock.advance(NOTICE)
    assert listed(site, "?tenant=general")["items"]["messages"][0] == "retired"
    assert site.api("gina").get("/policies/scopes").status_code == 200, "a hospital reads it too"


def listed(site: ControlSite, query: str = "") -> dict[str, Any]:
    found = site.api("root").get(f"/policies/scopes{query}").json()
    return {
        "items": {each["name"]: (each["status"], each["sunset"]) for each in found["products"]},
        "finding": found["finding"],
    }
