"""Certificates that anybody verifies offline, and that follow what they are about within a minute (C113)."""

from datetime import timedelta
from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from sqlalchemy import text

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.review.certificates import policy, store
from hilum.review.certificates.models import LIST_REMADE
from hilum.review.certificates.policy import SANDBOX_ONLY
from hilum.review.certificates.service import current_of, step, validly_certified
from tests.flows.certificate_ground import AT, DAY, Certified
from tests.flows.control_site import ControlSite, build, problem, with_policy
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.proofs import prove
from tests.sim.world import FakeClock


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    found = build(sqlite_uow, clock, then=with_policy)
    acme = furnish_vendor(found, "Acme Health", "acme")
    found.furnished("proved", lambda: found.system(prove, vendor=acme))
    return found


@pytest.fixture
def certified(site: ControlSite) -> Certified:
    return Certified(site)


def test_a_certificate_is_published_and_verifies(certified: Certified) -> None:
    """C113: without a credential, and the API shows the same document to who may list it."""
    document = certified.fetch(f"/{certified.certificate}")

    assert (document.status_code, document.headers["content-type"]) == (200, "application/jwt")
    assert certified.verdict() == SANDBOX_ONLY
    shown = made(certified.site.api("gina").get(f"/certificates/{certified.app}"), 200)
    assert (shown["certificate"], shown["status"], shown["tier"]) == (document.text, "valid", "low")
    assert shown["address"] == f"{AT.issuer}/{certified.certificate}"
    assert "for sandboxes only until" in certified.badge()
    assert "certified" not in certified.badge()
    badge = certified.fetch(f"/{certified.certificate}/badge.svg")
    assert badge.headers["content-security-policy"] == "default-src 'none'; sandbox", "it runs nothing"
    assert certified.fetch("/status/0").headers["content-type"] == "application/statuslist+jwt"
    # RFC 9864: by a library, without its warning of a deprecated name.
    keys_ = KeySet.import_key_set(certified.fetch("/keys.json").json())
    opened = jws.deserialize_compact(document.text, keys_, algorithms=["Ed25519"])
    assert opened.headers()["typ"] == "hilum-certificate+jwt"


def test_nothing_that_is_asked_without_reason_is_answered(certified: Certified) -> None:
    assert certified.fetch("/cert_none").status_code == 404
    assert certified.fetch("/status/1").status_code == 404
    assert certified.fetch("/of/Nobody").status_code == 404
    assert "no certificate" in certified.fetch("/of/Nobody/badge.svg").text
    # Certified for a sandbox alone: nobody's app is found by name for that.
    assert certified.fetch("/of/Rota").status_code == 404
    system = certified.site.system
    assert system(current_of, app=AppId(certified.app)) is None
    assert system(validly_certified) == set()
    assert certified.site.browser().post("/certificates/keys.json").status_code == 405
    problem(certified.site.api("ann").get("/certificates"), 403, "not_permitted")
    furnish_vendor(certified.site, "Rival", "rival")
    rival = certified.site.api("rival.developer")
    assert made(rival.get("/certificates"), 200)["items"] == []
    problem(rival.get(f"/certificates/{certified.certificate}"), 404, "certificate_not_found")


def test_a_kill_switch_suspends_it_and_its_release_restores_it(certified: Certified) -> None:
    """C113: within a minute, on the version as on the platform; other certificates stay as they are."""
    other = Certified(certified.site, "Lists")
    for target in (Target(TargetKind.VERSION, certified.version), Target(TargetKind.APP, certified.app)):
        order = EngageOrder(
            target, Mode.NO_NEW_LAUNCHES, "drift", certified.site.clock.now() + timedelta(hours=1)
        )
        certified.site.system(controls.engage, order=order)
        assert certified.verdict() == SANDBOX_ONLY
        certified.follow()
        assert (certified.verdict(), other.verdict()) == ("suspended", SANDBOX_ONLY)
        assert "stopped" in certified.badge()
        certified.site.clock.advance(timedelta(hours=1))
        certified.follow()
        assert certified.verdict() == SANDBOX_ONLY


def test_suspension_withdrawal_and_expiry_show(certified: Certified) -> None:
    """C113."""
    certified.root.post(f"/apps/{certified.app}/suspend", json={"reason": "An incident."})
    certified.follow()
    assert certified.verdict() == "suspended"
    certified.root.post(f"/apps/{certified.app}/resume", json={"reason": "Solved."})
    certified.follow()
    assert certified.verdict() == SANDBOX_ONLY

    made(certified.rita.delete(f"/certifications/{certified.certificate}"), 200)
    certified.follow()
    assert certified.verdict() == "revoked"
    assert "withdrawn" in certified.badge()

    first = certified.certificate
    certified.certificate = certified.certify(certified.version, days=2)
    certified.follow()
    assert certified.certificate != first
    assert certified.verdict() == SANDBOX_ONLY
    certified.site.clock.advance(2 * DAY)
    assert "expired" in certified.badge(), "also before the jobs process comes to it"
    certified.follow()
    assert certified.verdict() == "expired"
    (shown,) = made(certified.rita.get("/certificates", params={"status": "invalid", "limit": 1}), 200)[
        "items"
    ]
    assert shown["cause"] == "withdrawn"


def test_a_status_follows_the_registry_and_not_its_own_row(certified: Certified) -> None:
    """C113."""

    def write(statement: str) -> None:
        certified.site.system(lambda ctx: ctx.tx.execute(text(statement)))

    made(certified.rita.delete(f"/certifications/{certified.certificate}"), 200)
    certified.follow()
    write("UPDATE certificate SET status = 0, cause = ''")
    certified.follow()
    assert certified.verdict() == "revoked", "it is judged again in turns"


def test_a_certificate_in_somebodys_hands_keeps_its_place_in_the_list(certified: Certified) -> None:
    """C113: whoever swaps places, or deletes the row of one that was withdrawn, does not make it valid for who holds it."""
    second = certified.certify(certified.add_version("2"))
    certified.follow()
    certified.fetch("/keys.json")
    held = certified.fetch(f"/{certified.certificate}").text
    made(certified.rita.delete(f"/certifications/{certified.certificate}"), 200)
    certified.follow()

    def said() -> str:
        certified.site.clock.advance(LIST_REMADE)
        certified.follow()
        jwks, listed = certified.fetch("/keys.json").json(), certified.fetch("/status/0").text
        return policy.verify(held, jwks, now=certified.site.clock.now(), status_list=listed).code

    def write(statement: str, **values: object) -> None:
        certified.site.system(lambda ctx: ctx.tx.execute(text(statement), values))

    assert said() == "revoked"
    for number, which in ((9, certified.certificate), (0, second), (1, certified.certificate)):
        write("UPDATE certificate SET number = :number WHERE id = :which", number=number, which=which)
    assert said() == "revoked"
    write("DELETE FROM certificate")
    assert said() == "revoked"


def test_a_key_that_rotates_between_signing_and_checking_still_verifies(certified: Certified) -> None:
    """C113: the retired key stays published; who has the old keys is told to fetch them again."""
    old = certified.fetch("/keys.json").json()
    certified.site.system(keys.rotate, purpose=Purpose.CERTIFICATE, ring="")
    certified.site.clock.advance(LIST_REMADE)
    certified.follow()

    assert certified.verdict() == SANDBOX_ONLY
    assert len(certified.fetch("/keys.json").json()["keys"]) == 2
    listed = certified.fetch("/status/0").text
    document = certified.fetch(f"/{certified.certificate}").text
    now = certified.site.clock.now()
    assert policy.verify(document, old, now=now, status_list=listed).code == "key_unknown"
    assert policy.verify(document, old, now=now).code == SANDBOX_ONLY


def test_strangers_cost_a_snapshot_and_see_no_unknown_status(
    certified: Certified, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C113, C201: a hundred requests read the database once; when the jobs process stands still, nothing is said to be valid."""
    certified.fetch("/keys.json")
    reads: list[object] = []
    read = UnitOfWork.read

    async def counted(self: UnitOfWork, verb: Any, **more: Any) -> Any:
        reads.append(verb)
        return await read(self, verb, **more)

    monkeypatch.setattr(UnitOfWork, "read", counted)
    answer = certified.fetch("/status/0")
    for _ in range(50):
        certified.fetch("/status/0")
        certified.fetch("/cert_unknown")
    assert not reads
    held = certified.fetch("/status/0", **{"if-none-match": answer.headers["etag"]})
    assert (held.status_code, held.content) == (304, b"")
    assert answer.headers["cache-control"] == "public, max-age=30"

    certified.site.clock.advance(timedelta(seconds=61))
    problem(certified.fetch("/status/0"), 503, "certificates_not_known")
    assert "state not known now" in certified.badge()


def test_what_changed_is_followed_alone_and_what_was_missed_is_walked_over(certified: Certified) -> None:
    """A worker of the jobs process that starts late, or after a restore, reads every app; numbers are never used again."""
    assert not certified.site.system(step, at=AT)
    certified.site.system(lambda ctx: ctx.tx.execute(text("DELETE FROM fact_change")))
    certified.site.system(lambda ctx: ctx.tx.execute(text("UPDATE certificate_walk SET n = 0, mark = 0")))
    second = certified.certify(certified.add_version("2"))
    before = certified.site.system(lambda ctx: store.get_walk(ctx.tx)).at
    certified.site.clock.advance(timedelta(seconds=1))
    assert certified.site.system(step, at=AT)
    assert certified.site.system(lambda ctx: store.get_walk(ctx.tx)).at == before, "there is more to follow"

    certified.follow()

    found = {each["id"]: each for each in made(certified.rita.get("/certificates"), 200)["items"]}
    assert set(found) == {certified.certificate, second}
    certified.certificate = second
    assert certified.verdict() == SANDBOX_ONLY
