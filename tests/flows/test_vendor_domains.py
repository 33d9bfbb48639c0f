"""A vendor proves its domain by a file that it serves (C7): by API, job and a real HTTP host."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from hilum.apps.contacts import domains
from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.contacts.domain_models import (
    CHECKS_BOUND,
    DOMAINS_BOUND,
    PATH,
    RENEW_BEFORE,
    RENEW_EVERY,
    WARN_BEFORE,
)
from hilum.apps.contacts.models import PROOF_LIFE, WINDOW, ContactKind, NewContact
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVendor
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.txt_records import TxtRecords
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import VendorId
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.flows.domain_ground import NAME, Ground, checker_at
from tests.flows.vendor_ground import ROLES, furnish_vendor, made
from tests.sim.jwks_host import Page, running
from tests.sim.name_server import name_server
from tests.sim.notice_ground import NoticeGround
from tests.sim.proofs import prove_contact
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    with running() as host:
        checker = checker_at(host)
        site = build(sqlite_uow, clock, checker)
        yield Ground(site, host, checker, furnish_vendor(site, "Acme Health", "acme"))


def test_a_domain_is_proved_by_serving_its_file(ground: Ground, clock: FakeClock) -> None:
    """C7: the answer says what to serve and where; a check proves it for 180 days."""
    added = ground.add("Acme.Example")
    ground.serve("# of two vendors", "hilum-domain-proof=other", f"  {added['proof_line']}  ")

    checked = made(ground.check(added["id"], "acme.developer"), 200)

    assert added["state"] == "waiting"
    assert added["proof_url"] == f"https://{NAME}{PATH}"
    assert checked["state"] == "proved"
    assert checked["fault"] == ""
    assert checked["proof_ends_at"] == (clock.now() + PROOF_LIFE).isoformat().replace("+00:00", "Z")
    assert added["proof_line"].removeprefix("hilum-domain-proof=") not in str(ground.host.asked)


ANSWERS: list[tuple[Page | None, str]] = [
    (None, "proof_not_found"),
    (Page(404, {}, b"LINE"), "proof_not_found"),
    (Page(500, {}, b"LINE"), "proof_not_found"),
    (Page(200, {}, b""), "proof_differs"),
    (Page(200, {}, b"hilum-domain-proof=" + b"A" * 43), "proof_differs"),
    (Page(200, {}, b"x LINE"), "proof_differs"),
    (Page(200, {}, b"LINEx"), "proof_differs"),
    (Page(200, {}, b"<html>LINE</html>"), "proof_differs"),
    (Page(200, {}, b"\n" * 200 + b"LINE"), "proof_differs"),
    (Page(200, {}, b"\xff\xfe\x00" * 100), "proof_differs"),
    (Page(200, {}, b"x" * 300_000), "fetch_too_large"),
    (Page(200, {"Content-Encoding": "gzip"}, b"LINE"), "fetch_failed"),
    (Page(302, {"Location": "https://evil.example/"}, b"LINE"), "redirect_refused"),
    (Page(302, {"Location": "http://169.254.169.254/"}, b"LINE"), "address_refused"),
    (Page(302, {"Location": PATH}, b"LINE"), "redirect_refused"),
]


def test_any_other_answer_proves_nothing_and_says_why(ground: Ground) -> None:
    added, owner = ground.add(), ground.api("acme.owner")
    for page, fault in ANSWERS:
        if page is not None:
            body = page.body.replace(b"LINE", added["proof_line"].encode())
            ground.host.pages[PATH] = Page(page.status, page.headers, body)

        checked = made(owner.post(f"{ground.path}/{added['id']}/check"), 200)

        assert (checked["state"], checked["fault"]) == ("waiting", fault), page
        assert checked["proof_ends_at"] is None


RECORD = f"_hilum-domain-proof.{NAME}"


def test_a_domain_is_proved_by_its_txt_record_too(sqlite_uow: UnitOfWork, clock: FakeClock) -> None:
    """C7: of its own name, the whole line; a name server that fails proves nothing, and what is proved is renewed by the record alone."""
    with running() as host, name_server() as names:
        records = TxtRecords(names.address)
        checker = replace(checker_at(host), records=records)
        site = build(sqlite_uow, clock, checker)
        ground = Ground(site, host, checker, furnish_vendor(site, "Acme Health", "acme"))
        added = ground.add()
        line = added["proof_line"]
        assert added["proof_record"] == RECORD

        def fault(**texts: list[str]) -> str:
            names.records = texts
            return str(made(ground.check(added["id"]), 200)["fault"])

        assert fault() == "proof_not_found"
        assert fault(**{NAME: [line]}) == "proof_not_found", "what else is published there has no say"
        assert fault(**{RECORD: ["v=spf1 -all"]}) == "proof_not_found"
        for other in (line + "x", line[:-1], "hilum-domain-proof="):
            assert fault(**{RECORD: [other]}) == "record_differs"
        names.broken = True
        assert fault(**{RECORD: [line]}) == "proof_not_found"
        names.broken = False
        assert fault(**{RECORD: ["x" * 600, f" {line} "]}) == ""
        assert set(names.asked) == {RECORD}

        clock.advance(PROOF_LIFE - RENEW_BEFORE)
        ground.run_job()

        assert proof_end(ground.listed()[0]) == clock.now() + PROOF_LIFE


def test_a_domain_that_leads_into_our_own_network_is_not_fetched(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C7, C10: a vendor's name may resolve to a private address."""

    async def inside(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.8"]

    site = build(sqlite_uow, clock, DomainChecker(SafeFetcher(allow_private=False, resolve=inside)))
    path = f"/vendors/{furnish_vendor(site, 'Acme Health', 'acme')}/domains"
    owner = site.api("acme.owner")
    added = made(owner.post(path, json={"name": NAME}))

    checked = made(owner.post(f"{path}/{added['id']}/check"), 200)

    assert (checked["state"], checked["fault"]) == ("waiting", "address_refused")


NO_DOMAINS = [
    "",
    "localhost",
    "acme",
    "10.0.0.8",
    "2130706433",
    "0x7f.1",
    "[::1]",
    "acme.example:8443",
    "user@acme.example",
    "https://acme.example",
    "acme.example/path",
    "acme..example",
    ".acme.example",
    "acme.example.",
    "-acme.example",
    "acme_x.example",
    "ac me.example",
    "äcme.example",
    "acme.example#",
    "acme.example?x",
    "acme.example\\@evil.example",
    "printer.local",
    "db.internal",
    "<b>acme.example</b>",
    "a" * 64 + ".example",
    "a." * 124 + "example",
]


def test_a_name_that_is_no_public_domain_is_refused(ground: Ground) -> None:
    owner = ground.api("acme.owner")
    for name in NO_DOMAINS:
        answer = owner.post(ground.path, json={"name": name})
        if len(name) > 253:
            problem(answer, 422, "fields_invalid")
        else:
            assert codes(problem(answer, 422, "domain_invalid")) == {"name": "domain_malformed"}, name
    assert ground.listed() == []


def test_owners_keep_domains_developers_check_them_and_every_member_reads(ground: Ground) -> None:
    """C8"""
    for role in ROLES:
        added, api = ground.add(f"{role}.example"), ground.api(f"acme.{role}")
        steps = [
            (api.get(ground.path), {"owner", "developer", "billing", "security"}),
            (api.post(ground.path, json={"name": "b.example"}), {"owner"}),
            (api.post(f"{ground.path}/{added['id']}/check"), {"owner", "developer"}),
            (api.delete(f"{ground.path}/{added['id']}"), {"owner"}),
        ]

        for answer, may in steps:
            if role in may:
                assert answer.status_code in {200, 201}, answer.text
            else:
                problem(answer, 403, "not_permitted")


def test_another_vendors_domains_answer_as_absent(ground: Ground) -> None:
    added = ground.add()
    theirs = furnish_vendor(ground.site, "Zenith Care", "zen")
    stranger = ground.api("zen.owner")

    for vendor in (ground.vendor, "ven_none"):
        path = f"/vendors/{vendor}/domains"
        problem(stranger.get(path), 404, "vendor_not_found")
        problem(stranger.post(path, json={"name": NAME}), 404, "vendor_not_found")
        problem(stranger.post(f"{path}/{added['id']}/check"), 404, "vendor_not_found")
        problem(stranger.delete(f"{path}/{added['id']}"), 404, "vendor_not_found")
    own = f"/vendors/{theirs}/domains"
    problem(stranger.post(f"{own}/{added['id']}/check"), 404, "domain_not_found")
    problem(stranger.delete(f"{own}/{added['id']}"), 404, "domain_not_found")
    for username in ("gina", "ann"):
        problem(ground.api(username).get(ground.path), 403, "not_permitted")
    assert ground.host.asked == []


def test_two_vendors_of_one_domain_need_a_line_each(ground: Ground) -> None:
    first = ground.prove()
    ground.vendor = furnish_vendor(ground.site, "Zenith Care", "zen")
    second = ground.add(username="zen.owner")

    checked = made(ground.check(second["id"], "zen.owner"), 200)

    assert checked["fault"] == "proof_differs"
    assert first["proof_line"] != second["proof_line"]


def test_a_domain_that_is_added_again_takes_a_new_file(ground: Ground) -> None:
    proved = ground.prove()
    made(ground.api("acme.owner").delete(f"{ground.path}/{proved['id']}"), 200)

    again = ground.add()

    assert again["state"] == "waiting"
    assert made(ground.check(again["id"]), 200)["fault"] == "proof_differs"
    problem(ground.check(proved["id"]), 404, "domain_not_found")


def test_domains_and_checks_are_bounded(ground: Ground, clock: FakeClock) -> None:
    owner = ground.api("acme.owner")
    added = [ground.add(f"a{number}.example") for number in range(DOMAINS_BOUND)]
    problem(owner.post(ground.path, json={"name": "more.example"}), 409, "domains_full")
    checks = [ground.check(added[number % DOMAINS_BOUND]["id"]).status_code for number in range(CHECKS_BOUND)]

    refused = ground.check(added[0]["id"])

    assert set(checks) == {200}
    problem(refused, 403, "domain_check_bound")
    assert ground.host.times_asked(PATH) == CHECKS_BOUND
    clock.advance(WINDOW)
    assert ground.check(added[0]["id"]).status_code == 200
    made(ground.api("acme.owner").delete(f"{ground.path}/{added[0]['id']}"), 200)
    name = {"name": "a1.example"}
    problem(ground.api("acme.owner").post(ground.path, json=name), 409, "domain_exists")


def test_a_proof_is_renewed_by_itself_while_the_file_stays(ground: Ground, clock: FakeClock) -> None:
    ground.prove()
    ground.run_job()
    asked = ground.host.times_asked(PATH)
    clock.advance(PROOF_LIFE - RENEW_BEFORE)

    ground.run_job()
    ground.run_job()

    assert ground.host.times_asked(PATH) == asked + 1
    (renewed,) = ground.listed()
    assert renewed["proof_ends_at"] == (clock.now() + PROOF_LIFE).isoformat().replace("+00:00", "Z")


def test_a_proof_that_is_not_renewed_warns_once_and_lapses_once(ground: Ground, clock: FakeClock) -> None:
    """C7: it counts to its last day, is tried once a day, and its end is a finding that the vendor's webhooks get."""
    proved, site, notices = ground.prove(), ground.site, NoticeGround(ground.site.uow)
    prove_security_contact(site, ground.vendor, "sec@mail.acme.example")
    made(site.api("root").post("/webhooks", json={"vendor": ground.vendor, "url": "https://h.example/"}))
    ground.serve("gone")
    clock.advance(PROOF_LIFE - RENEW_BEFORE)
    while clock.now() < proof_end(proved) - RENEW_EVERY:
        ground.run_job()
        clock.advance(RENEW_EVERY)
    still = ground.listed()[0]
    clock.advance(RENEW_EVERY)

    for _ in range(3):
        ground.run_job()

    assert (still["state"], still["fault"]) == ("proved", "proof_differs")
    assert ground.listed()[0]["state"] == "lapsed"
    assert ground.host.times_asked(PATH) <= 2 + RENEW_BEFORE // RENEW_EVERY
    kinds = [each.kind for each in notices.all()]
    assert kinds.count("domain_ends") == 1
    assert kinds.count("domain.lapsed") == 1
    assert WARN_BEFORE < RENEW_BEFORE
    made(ground.check(proved["id"]), 200)
    assert ground.listed()[0]["state"] == "lapsed"
    ground.serve(proved["proof_line"])
    assert made(ground.check(proved["id"]), 200)["state"] == "proved"


def proof_end(shown: Any) -> Any:
    return datetime.fromisoformat(shown["proof_ends_at"])


def prove_security_contact(site: ControlSite, vendor: str, address: str) -> None:
    site.system(prove_contact, order=NewContact(VendorId(vendor), ContactKind.SECURITY, address))


def test_a_check_that_ends_after_its_domain_was_replaced_proves_nothing(ground: Ground) -> None:
    """A crash or another request between the fetch and its record leaves a domain that was not checked."""
    added = ground.add()
    stale = ground.site.system(domains.begin_check, vendor=VendorId(ground.vendor), domain_id=added["id"])
    made(ground.api("acme.owner").delete(f"{ground.path}/{added['id']}"), 200)
    ground.add()

    with pytest.raises(NotFound):
        ground.site.system(domains.end_check, checked=stale, fault="")
    assert [each["state"] for each in ground.listed()] == ["waiting"]


def test_a_contacts_domain_is_compared_with_the_proved_ones(ground: Ground, clock: FakeClock) -> None:
    """C7: addresses at a proved domain, and below it, are shown as such; a look-alike and the domain above are not."""
    ground.prove()
    site = ground.site
    wanted = {"a@acme.example": True, "b@mail.acme.example": True, "c@notacme.example": False}
    for address in wanted:
        body = {"vendor": ground.vendor, "kind": "support", "address": address}
        made(site.api("acme.owner").post("/contacts", json=body))

    def shown() -> dict[str, bool]:
        found = made(site.api("otto").get(f"/contacts?vendor={ground.vendor}"), 200)["items"]
        return {each["address"]: each["domain_proved"] for each in found}

    assert shown() == wanted
    clock.advance(PROOF_LIFE + timedelta(seconds=1))
    assert shown() == dict.fromkeys(wanted, False)


def test_domains_are_kept_on_both_databases(uow: UnitOfWork, clock: FakeClock) -> None:
    """C7: the renewal's claim and the lapse, on SQLite and PostgreSQL."""
    ground = NoticeGround(uow)
    vendor = ground.do(registry.add_vendor, NewVendor("Acme", "h@a.example", "s@a.example")).id
    added = ground.do(domains.add_domain, vendor, NAME)
    ground.do(domains.end_check, added, "")
    assert ground.do(domains.claim_renewals) == []
    clock.advance(PROOF_LIFE - RENEW_BEFORE)

    claimed = [ground.do(domains.claim_renewals) for _ in range(2)]
    clock.advance(RENEW_BEFORE)
    lapsed = [ground.do(domains.lapse_due) for _ in range(2)]

    assert [len(each) for each in claimed] == [1, 0]
    assert lapsed == [1, 0]
    assert ground.do(domains.claim_renewals) == []
