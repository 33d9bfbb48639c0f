"""The public pages: how apps are certified, made from the policy in force, and a check of a certificate by anybody (C113, C224)."""

from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import VersionId
from hilum.surfaces.console.trust import TEXT_BOUND
from tests.flows.certificate_ground import DAY, SCOPES, Certified
from tests.flows.control_site import ControlSite, build, with_policy
from tests.flows.policy_ground import put_in_force
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.world import FakeClock


@pytest.fixture
def site(sqlite_uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    found = build(sqlite_uow, clock, then=with_policy)
    furnish_vendor(found, "Acme Health", "acme")
    return found


def check(site: ControlSite, certificate: str) -> Any:
    return site.browser().post("/trust/certificate", data={"certificate": certificate})


def test_how_apps_are_certified_is_shown_to_anybody_by_the_rules_in_force(site: ControlSite) -> None:
    """Tiers, disciplines, days, evidence; cacheable, the same for all, and without a cookie."""
    answer = site.browser().get("/trust")
    text = unescape(answer.text)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=60"
    assert "set-cookie" not in answer.headers
    for expected in (
        "Risk tiers",
        "How long it took",
        "it reads records of every patient",
        "A penetration test by a third party",
        "Decision",
        "technical, unless every check passes",
    ):
        assert expected in text
    again = site.browser().get("/trust", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_page_follows_the_policy_within_a_minute(site: ControlSite) -> None:
    before = site.browser().get("/trust").text
    put_in_force(site, {"title": "Rules of another year"})

    assert site.browser().get("/trust").text == before, "read once a minute, however many ask"
    site.clock.advance(timedelta(seconds=61))
    assert "Rules of another year" in site.browser().get("/trust").text


def test_a_certificate_is_checked_by_pasting_it(site: ControlSite) -> None:
    """C113: valid as it is; not when one character differs, not when it was withdrawn, and never by what it says of itself."""
    certified = Certified(site)
    order = CertifyOrder(
        VersionId(certified.version), Environment.PRODUCTION, tuple(SCOPES), site.clock.now() + 30 * DAY
    )
    certified.certificate = site.system(registry.certify, order=order, unproved=lambda *_: ()).id
    certified.follow()
    text = certified.fetch(f"/{certified.certificate}").text

    good = check(site, text)
    assert ">Valid<" in good.text
    assert "Rota" in good.text
    wrapped = "\r\n".join(text[at : at + 60] for at in range(0, len(text), 60))
    assert ">Valid<" in check(site, wrapped).text
    head, body, signature = text.split(".")
    for forged in (
        f"{head}.{body}.{signature[:-8]}AAAAAAAA",
        f"{head}.{body[:-4]}.{signature}",
        "a.b.c",
        "x",
    ):
        assert ">Valid<" not in check(site, forged).text
        assert "Not valid" in check(site, forged).text
    made(certified.rita.delete(f"/certifications/{certified.certificate}"), 200)
    certified.follow()
    assert "Not valid: revoked" in check(site, text).text


def test_a_certificate_for_sandboxes_is_not_called_valid(site: ControlSite) -> None:
    """C4, C113: a reviewer made it by hand, and nobody looked at the app."""
    certified = Certified(site)
    text = certified.fetch(f"/{certified.certificate}").text

    answer = check(site, text).text

    assert ">Valid<" not in answer
    assert ">For sandboxes only<" in answer
    assert "The certificate is for sandboxes only, not for use with real patients." in answer
    assert "was valid when the list was made" in answer, "the status list was asked"
    made(certified.rita.delete(f"/certifications/{certified.certificate}"), 200)
    certified.follow()
    assert "Not valid: revoked" in check(site, text).text


def test_what_is_not_known_is_not_called_valid(site: ControlSite) -> None:
    """While the jobs process stands still, nobody knows whether it was withdrawn."""
    certified = Certified(site)
    text = certified.fetch(f"/{certified.certificate}").text
    site.clock.advance(timedelta(minutes=5))

    answer = check(site, text).text

    assert ">Valid<" not in answer
    assert "Not known" in answer


@pytest.mark.parametrize("sent", ["", "   ", "x" * (TEXT_BOUND + 1)], ids=["nothing", "spaces", "too-much"])
def test_what_is_no_certificate_is_answered_and_not_repeated(site: ControlSite, sent: str) -> None:
    answer = check(site, sent)
    assert answer.status_code == 422
    assert "Nothing was checked" in answer.text
    assert "xxxxxxxx" not in answer.text


def test_markup_in_a_certificate_is_text(site: ControlSite) -> None:
    answer = check(site, "<script>alert(1)</script>.b.c")
    assert "<script>alert" not in answer.text
    assert "Not valid" in answer.text
