"""What the platform's owner does by pages: the staff, scopes, putting a policy in force, dry runs, evidence (C61, C62, C208, C210)."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import orjson

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVendor
from hilum.identity.people import service as identity
from hilum.operations.dry_runs import store
from hilum.operations.dry_runs.models import (
    InstallationChange,
    Kind,
    Lapse,
    LimitChange,
    Loss,
    Pack,
    QuotaTrial,
    What,
)
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NOTICE, ScopeStatus
from hilum.policy.matrix.store import save_dry_run
from hilum.records.audit import service as audit
from tests.flows.console_ground import site, wider
from tests.flows.control_site import ControlSite, send
from tests.sim.browser import form_with
from tests.sim.dry_runs import dry_run
from tests.unit.policy.matrix.books import document

__all__ = ["site"]


def test_a_colleague_is_added_by_two_and_nobody_sees_both_halves(site: ControlSite) -> None:
    """C200: who asks gets the setup code, who agrees the link."""
    root = site.signed_in("root")

    asked = send(root, "/operations/staff/new", "username", name="Ada New", username="ada", role="auditor")

    assert asked.status_code == 200
    assert "The setup code, shown once" in asked.text
    assert "/enrol/" not in asked.text
    waits = root.get("/operations/staff").text
    page = "/operations/staff/" + waits.partition('href="/operations/staff/apr_')[2].partition('"')[0].join(
        ["apr_", ""]
    )
    agreed = send(site.signed_in("sam"), page, "decision", decision="approve")
    assert "/enrol/hil_ln_" in agreed.text
    found = site.system(partial(identity.find_person_by_username, tenant=None, username="ada"))
    assert (found.role, found.tenant) == ("auditor", None)
    faulty = send(root, "/operations/staff/new", "username", name="X", username="UP PER", role="auditor")
    assert (faulty.status_code, 'value="UP PER"' in faulty.text) == (422, True)
    nobody = send(root, "/operations/staff/new", "username", name="X", username="x", role="administrator")
    assert nobody.status_code == 422
    for username in ("sam", "rita", "otto"):
        assert site.signed_in(username).get("/operations/staff/new").status_code == 403


def product(site: ControlSite) -> Any:
    products, _ = site.system(policies.scope_products, tenant=None)
    return next(each for each in products if each.status is ScopeStatus.ACTIVE)


def test_a_scope_product_is_ended_by_a_version_that_two_put_in_force(site: ControlSite) -> None:
    """C61, C62: the page writes a version with notice; nothing counts before it is in force."""
    root, found = site.signed_in("root"), product(site)
    page = f"/operations/scopes/{found.name}"
    assert found.name.replace("_", " ") in root.get("/operations/scopes?state=active").text
    late = f"{site.clock.now() + NOTICE + timedelta(days=2):%Y-%m-%d}"

    for values in ({"sunset": ""}, {"sunset": "soon"}, {"sunset": late}):
        assert send(root, page, "sunset", no_successor="", **values).status_code == 422
    written = send(root, page, "sunset", sunset=late, no_successor="Nobody needs it any more")

    assert written.status_code == 303
    assert written.headers["location"].endswith("/apply")
    assert product(site).name == found.name
    assert site.system(policies.in_force).everywhere == 1
    shown = root.get(written.headers["location"])
    assert "It allows nothing new" in shown.text
    order = {"act": "apply", "where": "everywhere", "reason": "decided"}
    untried = send(root, written.headers["location"], "where", **order)
    assert (untried.status_code, "Start one with" in untried.text) == (409, True)
    dry_run(site.uow, 2)
    done = send(root, written.headers["location"], "where", **order)
    assert done.headers.get("location") == "/operations/policy"
    assert site.system(policies.in_force).everywhere == 2
    assert "deprecated" in root.get(page).text
    assert 'name="sunset"' not in site.signed_in("sam").get(page).text


def test_a_policy_that_allows_something_new_is_tried_and_waits(site: ControlSite) -> None:
    """C208, C210: what it means comes first; without a dry run, a reason or a place nothing happens."""
    root = site.signed_in("root")
    document = wider(site)
    number = site.system(policies.add_version, document=document, base=1, note="One more").number
    page = f"/operations/policy/versions/{number}/apply"
    shown = root.get(page).text
    assert "a second person must agree" in shown
    for username in ("sam", "rita", "otto"):
        assert site.signed_in(username).get(page).status_code == 403

    form = dict(form_with(shown, "where").fields) | {"act": "apply", "reason": "asked for by wards"}
    assert root.post(page, data=form).status_code == 422
    assert root.post(page, data=form | {"where": "some"}).status_code == 422
    assert root.post(page, data=form | {"where": "everywhere", "tenants": "general"}).status_code == 422
    untried = root.post(page, data=form | {"where": "some", "tenants": "general"})
    assert untried.status_code == 409
    assert site.system(policies.in_force).at == {}

    run = root.post(page, data={"csrf": form["csrf"], "act": "try"})
    assert run.status_code == 303
    waits = root.get(run.headers["location"]).text
    assert "0 percent done" in waits
    assert 'data-live="2"' in waits, "it is read again until the run is done"
    assert "waits" in root.get(page).text
    assert site.signed_in("otto").get(run.headers["location"]).status_code == 200
    assert site.signed_in("root").get("/operations/policy/dry-runs/none").status_code == 404


def test_a_hold_is_placed_by_one_and_released_by_another(site: ControlSite) -> None:
    """Nobody lets evidence go alone; the auditor reads."""
    page, sam = "/operations/audit/evidence", site.signed_in("sam")

    for values in ({"reason": " "}, {"tenant": "Nowhere"}, {"since": "long ago"}):
        wrong = send(sam, page, "patient", **({"act": "place", "reason": "incident"} | values))
        assert wrong.status_code in {404, 422}
    placed = send(
        sam, page, "patient", act="place", reason="incident <b>7</b>", tenant="General", patient="p1"
    )

    assert placed.status_code == 303
    held = site.system(audit.list_holds)
    assert [(each.tenant, each.patient) for each in held] == [("general", "p1")]
    assert "incident &lt;b&gt;7" in sam.get(page).text
    csrf = dict(form_with(sam.get(page).text, "patient").fields)["csrf"]
    assert sam.post(page, data={"csrf": csrf, "act": "release", "hold": held[0].id}).status_code == 403
    otto = site.signed_in("otto").get(page).text
    assert "incident" in otto
    assert 'name="hold"' not in otto
    assert site.signed_in("rita").get(page).status_code == 403
    root = site.signed_in("root")
    assert send(root, page, "hold", act="release").status_code == 303
    assert site.system(audit.list_holds) == []


def test_the_dated_rules_of_jurisdictions_stand_on_a_page_with_whether_the_book_keeps_them(
    site: ControlSite,
) -> None:
    """C181: the source, the days, each rule and what the policy says; of any version, for all of the staff; in public without the console."""
    root = site.signed_in("root")
    page = "/operations/policy/jurisdictions"

    text = root.get(page).text

    assert f'href="{page}"' in root.get("/operations/policy").text
    for words in (
        "United States",
        "45 CFR 170.404(b)",
        "31 December 2022",
        "no end is set",
        "binds now",
        "at most 10 business days",
    ):
        assert words in text, words
    assert ">not kept<" not in text
    assert (
        "In the regulated lane “enable” takes at most 5 business days" in root.get(f"{page}?version=0").text
    )
    assert [root.get(f"{page}?version={wrong}").status_code for wrong in ("9999", "x")] == [404, 404]
    public = site.browser().get("/trust").text
    assert "45 CFR 170.404(b)" in public
    assert site.browser().get(page).status_code == 303


def test_the_page_of_a_dry_run_says_the_same_only_of_the_same_book(site: ControlSite) -> None:
    """C208: neither of a policy that changes only what concerns no app, nor where nothing but a limit changes."""
    root = site.signed_in("root")

    def page(changes: dict[str, Any]) -> tuple[str, str]:
        added = site.system(policies.add_version, document=document(changes), base=1, note="")
        run = dry_run(site.uow, added.number)
        return run.id, root.get(f"/operations/policy/dry-runs/{run.id}").text

    _, same = page({})
    _, other = page({"categories.scheduling.entries.low.quota": {"burst": 99}})
    run, _ = page({"categories.scheduling.entries.low.quota": {"burst": 98}})
    app = add_app(site)
    limits = LimitChange("quota.burst", "200", "98"), LimitChange("lifetimes.access_token", "1 h", "10 min")
    trial = QuotaTrial(5, site.clock.now(), 3, 1)
    row = InstallationChange("general", app, "cli_1", Loss.NONE, (), (), limits, 0, 0, (), trial)
    pack = Pack(1, Kind.INSTALLATION, "general", app, orjson.dumps([row]).decode())
    site.system(lambda ctx: store.add_packs(ctx.tx, run, [pack]))
    found = site.system(lambda ctx: policies.get_dry_run(ctx, run))
    counts = {**found.counts, "over_quota": 3, "within_quota": 1}
    site.system(lambda ctx: save_dry_run(ctx.tx, replace(found, counts=counts)))
    limited = root.get(f"/operations/policy/dry-runs/{run}").text

    assert ("it says the same as version 1" in same, 'data-live=""' in same) == (True, True)
    assert "It affects no app, no hospital and no decision" in other
    assert "in 1 place" in other
    for text in (
        "Permitted requests that would be refused for their quota: 3.",
        "Requests refused for their quota that would be permitted: 1.",
        "<td>Rota &amp; rounds</td><td>General</td><td>Requests at once</td><td>200</td><td>98</td>",
        f"of 5 calls since {site.clock.now():%-d %B %Y} 3 permitted ones would be refused, 1 refused ones would be permitted",
        "<td>Access token of a person</td><td>1 h</td><td>10 min</td>",
    ):
        assert text in limited, text
    for text in (same, other, limited):
        assert '<td class="number">0</td>' not in text


def add_app(site: ControlSite) -> str:
    order = NewVendor("Acme", "help@acme.example", "sec@acme.example")
    vendor = site.system(registry.add_vendor, order=order).id
    app = NewApp(vendor, "Rota & rounds", "Shows", "Planning", "scheduling")
    return str(site.system(registry.add_app, order=app).id)


def test_the_page_of_a_dry_run_lists_what_would_lapse_with_names(site: ControlSite) -> None:
    """C208."""
    run = dry_run(site.uow, site.system(policies.add_version, document=wider(site), base=1, note="").number)
    page = f"/operations/policy/dry-runs/{run.id}"
    assert "What would lapse" not in site.signed_in("root").get(page).text
    app = add_app(site)
    at = site.clock.now()
    rows = [
        Lapse("", app, "cli_1", What.CERTIFICATE, ("ver_1",), 3, at, at),
        Lapse("general", app, "cli_1", What.MISSING, ("data_use",), 1),
    ]
    packs = [
        Pack(n, Kind.LAPSE, each.tenant, app, orjson.dumps([each]).decode()) for n, each in enumerate(rows, 1)
    ]
    site.system(lambda ctx: store.add_packs(ctx.tx, run.id, packs))
    counted = replace(run, counts={**run.counts, "lapses": 201})
    site.system(lambda ctx: save_dry_run(ctx.tx, counted))

    shown = site.signed_in("sam").get(page).text

    for text in (
        "Rota &amp; rounds",
        "General",
        "everywhere",
        "are missing",
        "at once",
        "101 more",
    ):
        assert text in shown, text
