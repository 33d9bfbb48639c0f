"""Alerts about the calls of apps: opened by the policy's limits, mailed once, shown, and closed by themselves (C20, C179)."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select

from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.signin.policy import actor_of
from hilum.operations.monitoring import jobs, service
from hilum.operations.monitoring.models import CLOSED_KEPT, MAILED_AGAIN, WINDOW
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.records.notices.store import notices
from tests.flows.control_site import TRACE, problem
from tests.flows.exception_ground import raise_to_high
from tests.flows.journal_ground import access
from tests.flows.use_ground import MAILBOX, SCOPES, DeclaringApp, Lease
from tests.flows.vendor_ground import join
from tests.sim.backends import both_backends
from tests.sim.proofs import all_proved, prove_contact
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import document

REFUSED: dict[str, Any] = {"outcome": Outcome.REFUSED, "reason": "scope_insufficient", "status": 403}
ENTRY = "categories.unclassified.entries"


class Watch(DeclaringApp):
    """An app at two hospitals, with calls of the last hour."""

    def call(self, tenant: str, number: int, **more: Any) -> None:
        at = self.clock.now() - timedelta(minutes=1)
        facts = {
            "app": self.app,
            "client": self.client.id,
            "rule": "patient/*.rs",
            "at": at,
            "tenant": tenant,
        }
        # Counted records, so that a hundred calls are one row of the journal.
        self.place.write(access(1, **(facts | {"count": number} | more)))

    def judge(self) -> None:
        counts = journals.count_decisions(self.folder, self.place.url, self.clock.now())
        jobs.run(Lease(self.site), counts, self.clock.now(), lambda: True)

    def alerts(self, who: str = "rita", **query: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.site.api(who).get("/alerts", params=query).json()["items"]
        return found

    def mailed(self) -> list[tuple[str, str]]:
        rows = self.uow.db.read(lambda tx: tx.execute(select(notices)).all())
        return sorted((row.kind, row.recipient) for row in rows if row.kind in {"alert", "app_alert"})


@pytest.fixture
def watch(one_uow: UnitOfWork, clock: FakeClock) -> Watch:
    return Watch(one_uow, clock)


@both_backends
def test_calls_beyond_a_limit_are_alerted_once_and_the_alert_ends_by_itself(
    watch: Watch, clock: FakeClock
) -> None:
    """C20: however often it is judged; with the numbers in the audit; also where the app is fine elsewhere."""
    watch.call("general", 70)
    watch.call("general", 30, **REFUSED)
    watch.call("children", 200)

    for _ in range(2):
        watch.judge()

    (found,) = watch.alerts()
    assert (found["app"], found["tenant"], found["kind"], found["closed_at"]) == (
        watch.app,
        "general",
        "refused",
        None,
    )
    assert (found["figures"]["calls"], found["figures"]["refused"]) == (100, 30)
    assert watch.mailed() == [("alert", MAILBOX)]

    clock.advance(WINDOW + timedelta(minutes=10))
    watch.call("general", 100)
    watch.judge()

    (over,) = watch.alerts()
    assert (over["why"], over["id"]) == ("over", found["id"])
    query = EventQuery(action="monitoring.alert", app=watch.app)
    events = [each.event for each in watch.site.system(audit.list_events, query=query).events]
    assert [(each.action, each.tenant, each.reason) for each in events] == [
        ("monitoring.alert.close", "general", "over"),
        ("monitoring.alert.open", "general", ""),
    ]
    assert (events[1].facts["limit"], events[1].facts["refused"]) == (found["limit"], 30)
    assert watch.site.api("otto").get("/alerts/progress").json()["judged"] == 1


def test_one_that_opens_again_within_a_day_is_not_mailed_again(watch: Watch, clock: FakeClock) -> None:
    for _ in range(2):
        watch.call("general", 100, **REFUSED)
        watch.judge()
        clock.advance(WINDOW + timedelta(minutes=10))
        watch.call("general", 100)
        watch.judge()
    assert ([each["why"] for each in watch.alerts()], len(watch.mailed())) == (["over", "over"], 1)

    clock.advance(MAILED_AGAIN)
    watch.call("general", 100, **REFUSED)
    watch.judge()

    assert len(watch.mailed()) == 2


def test_a_server_that_is_down_is_one_mail_for_each_kind_and_not_for_each_hospital(watch: Watch) -> None:
    for tenant in ("general", "children"):
        watch.call(tenant, 100, outcome=Outcome.REFUSED, reason="upstream_unavailable", status=503)

    watch.judge()

    assert [(each["tenant"], each["kind"]) for each in watch.alerts()] == [
        ("children", "failed"),
        ("general", "failed"),
    ]
    rows = watch.uow.db.read(lambda tx: tx.execute(select(notices)).all())
    (mail,) = (each for each in rows if each.kind == "alert")
    assert mail.facts == {"apps": "Chart", "places": "Children, General", "kind": "failed"}


def test_changing_the_entry_changes_when_it_alerts(watch: Watch) -> None:
    """C20, C179."""
    watch.call("general", 200)
    watch.call("general", 10, **REFUSED)
    watch.judge()
    assert watch.alerts() == []

    do = watch.site.system
    entries = {f"{ENTRY}.{tier}.alerts.refused_percent": 1 for tier in ("low", "moderate", "high")}
    version = do(lambda ctx: policies.add_version(ctx, document(entries), base=1, note=""))
    last = do(policies.in_force).last
    do(
        lambda ctx: policies.apply(
            ctx, ApplyOrder(version.number, (TenantId("general"),), last, "a try", emergency=True)
        )
    )
    watch.call("children", 200)
    watch.call("children", 10, **REFUSED)
    watch.judge()

    assert [(each["tenant"], each["limit"]) for each in watch.alerts()] == [("general", 1)]


def test_a_version_whose_tier_was_raised_is_watched_by_the_stricter_limits(watch: Watch) -> None:
    """C19, C20: at once, though it was certified in the lower tier."""
    watch.call("general", 200)
    watch.call("general", 14, **REFUSED)
    watch.judge()
    assert watch.alerts() == []

    version = watch.client.version
    watch.site.system(raise_to_high, version=version)
    watch.judge()

    assert [(each["tenant"], each["limit"]) for each in watch.alerts()] == [("general", 5)]


def test_alerts_are_mailed_to_support_and_security_and_not_to_the_owner_beside_them(watch: Watch) -> None:
    """C20: to whoever can do something about it; the owner's address alone is the last resort."""
    vendor = watch.site.system(registry.get_app, app_id=watch.app).vendor
    for kind in (ContactKind.SUPPORT, ContactKind.SECURITY):
        watch.site.system(prove_contact, order=NewContact(vendor, kind, f"{kind}@v.example"))
    watch.call("general", 100, **REFUSED)

    watch.judge()

    assert watch.mailed() == [("alert", "security@v.example"), ("alert", "support@v.example")]


def test_what_is_not_known_opens_nothing_and_is_recorded_as_skipped(watch: Watch) -> None:
    watch.call("general", 20, **REFUSED)
    watch.call("mercy", 200, **REFUSED)
    watch.call("nowhere", 200, **REFUSED)

    watch.judge()

    assert watch.alerts() == []
    run = watch.site.api("rita").get("/alerts/progress").json()
    assert (run["judged"], run["skipped"], run["open"]) == (0, {"few_calls": 1, "not_installed": 2}, 0)


def test_an_alert_ends_with_the_installation(watch: Watch, clock: FakeClock) -> None:
    watch.call("general", 100, **REFUSED)
    watch.judge()

    watch.site.system(installations.uninstall, installation_id=watch.installed["general"])
    clock.advance(WINDOW * 2)
    watch.judge()

    assert [each["why"] for each in watch.alerts()] == ["not_watched"]


def test_an_alert_ends_with_the_certification(watch: Watch) -> None:
    """C20, C4: what was withdrawn has no limits, though its term is not over and the version is certified for the other environment."""
    watch.call("general", 100, **REFUSED)
    watch.judge()

    do, ends = watch.site.system, watch.clock.now() + timedelta(days=300)
    held = do(registry.certifications_of, app=watch.app)
    elsewhere = CertifyOrder(watch.client.version, Environment.PRODUCTION, SCOPES, ends)
    do(registry.certify, order=elsewhere, unproved=all_proved)
    for each in held:
        do(registry.withdraw_certification, certification_id=each.id)
    watch.judge()

    assert [each["why"] for each in watch.alerts()] == ["not_watched"]


def test_an_alert_is_kept_from_when_it_closed(watch: Watch, clock: FakeClock) -> None:
    """C20: one that is open stays, however long ago it opened."""
    watch.call("general", 100, **REFUSED)
    watch.judge()
    long = CLOSED_KEPT + timedelta(days=1)
    clock.advance(long)
    assert watch.site.system(service.purge) == 0

    watch.judge()
    assert watch.site.system(service.purge) == 0
    clock.advance(long)

    assert watch.site.system(service.purge) == 1


def test_only_the_platform_reads_what_is_open_everywhere(watch: Watch) -> None:
    """C20: also without the addresses, which have their own audience."""
    watch.call("general", 100, **REFUSED)
    watch.judge()

    def do(who: str, verb: Callable[..., Any], **more: Any) -> Any:
        actor = actor_of(watch.site.people[who])
        return watch.site.uow.write_now(partial(verb, **more), actor=actor, trace=TRACE)

    assert len(do("rita", service.newest_open, limit=5)) == 1
    with pytest.raises(NotPermitted):
        do("gina", service.newest_open, limit=5)
    with pytest.raises(NotPermitted):
        do("gina", service.last_run)


def test_a_hospital_sees_its_own_alerts_only(watch: Watch) -> None:
    watch.call("general", 100, **REFUSED)
    watch.judge()
    (found,) = watch.alerts("gina", state="open")

    assert watch.alerts("carl") == []
    problem(watch.site.api("carl").get(f"/alerts/{found['id']}"), 404, "alert_not_found")
    problem(watch.site.api("carl").get("/alerts", params={"tenant": "general"}), 403, "not_permitted")
    problem(watch.site.api("gina").get("/alerts/progress"), 403, "not_permitted")
    assert watch.site.api("ann").get("/alerts").status_code == 403
    assert watch.site.api("gina").get(f"/alerts/{found['id']}").json() == found


def test_pages_of_the_staff_the_hospital_and_the_vendor_show_it(watch: Watch) -> None:
    """C20: to each what it has to do with, with the numbers and the limit."""
    watch.call("general", 100, latency_us=4_000_000)
    watch.call("children", 100, **REFUSED)
    watch.judge()
    site, vendor = watch.site, watch.site.system(registry.get_app, app_id=watch.app).vendor
    join(site, vendor, "v.dev", "developer")

    def page(username: str, path: str, place: str = "") -> str:
        browser = site.signed_in(username, f"/t/{place}/signin" if place else "/signin")
        answer = browser.get(path)
        assert answer.status_code == 200, answer.text
        return str(answer.text)

    now, of_app = page("rita", "/operations"), page("rita", f"/operations/apps/{watch.app}")
    own = page("gina", f"/tenant/apps/{watch.app}", "general")
    theirs = page("v.dev", f"/developer/apps/{watch.app}", vendor)

    for text in (now, of_app, own, theirs):
        assert "95 of 100 answers took up to 5,000 ms" in text
    for text in (now, of_app, theirs):
        assert "100.0 % of 100 calls: 100 refused; the limit is" in text
    assert "100 refused" not in own
    assert "each app at each hospital, 2 in all" in now
    assert "beyond a limit" in now
    member = site.api("v.dev").get("/alerts", params={"state": "open"}).json()["items"]
    assert len(member) == 2
    assert site.api("v.dev").get(f"/apps/{watch.app}/service").json()["total"]["refused"] == 100
