"""What a certified app causes itself is measured against its entry every night; a contact whose mail bounces is found (C115, C228)."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind
from hilum.foundation.kernel.ids import VendorId
from hilum.records.audit import live as journals
from hilum.records.audit.models import Outcome
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel, Mail, MailKind, Result
from hilum.records.notices.models import Outcome as Ended
from hilum.review.recertification.service import Totals, Use
from tests.flows.certified_app import DAY, Certified, certified_in
from tests.flows.control_site import problem
from tests.flows.journal_ground import JournalGround, access
from tests.flows.policy_ground import put_in_force
from tests.flows.review_world import World
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.journals import journal_of

ENTRIES = "categories.scheduling.entries"
ASKED: dict[str, Any] = {
    f"{ENTRIES}.{tier}.service_{name}": value
    for tier in ("low", "moderate")
    for name, value in (("errors_percent", 5), ("least_calls", 100), ("grace_days", 50))
}


@pytest.fixture
def certified(world: World) -> Certified:
    return certified_in(world)


def call(certified: Certified, number: int, *, tenant: str = "mercy", **more: Any) -> None:
    """Record calls of the app at a production hospital, and count them."""
    uow = certified.world.uow
    folder = journal_of(uow)
    facts = {
        "app": str(certified.ground.app),
        "client": "cli_1",
        "at": certified.world.clock.now(),
        "tenant": tenant,
    }
    JournalGround(uow, uow.db.url, folder).write(access(1, **(facts | {"count": number} | more)))
    journals.count_decisions(folder, uow.db.url, certified.world.clock.now())
    certified.use = Use(
        lambda *_: (),
        served=partial(journals.read_served, folder, uow.db.url),
        totals=Totals(partial(journals.read_totals, folder, uow.db.url)),
    )


MISTAKEN: dict[str, Any] = {"outcome": Outcome.REFUSED, "reason": "request_unsupported", "status": 400}


def service(certified: Certified, who: str = "acme.developer") -> Any:
    path = f"/revalidation/apps/{certified.ground.app}/service"
    return {
        each["criterion"]: each for each in made(certified.ground.site.api(who).get(path), 200)["criteria"]
    }


def test_errors_that_an_app_causes_are_a_finding_with_the_grace_of_its_entry_until_they_are_fixed(
    certified: Certified,
) -> None:
    """C228: recomputed every night, over the calls of four weeks."""
    site = certified.ground.site
    certified.keep_proofs()
    put_in_force(site, ASKED)
    certified.world.clock.advance(2 * DAY)
    call(certified, 190)
    call(certified, 10, **MISTAKEN)
    certified.night()
    assert certified.findings() == [], "exactly as many as are allowed"
    assert service(certified)["errors"] == {
        "criterion": "errors", "limit": 5, "hits": 10, "of": 200, "percent": 5.0, "exceeded": False,
    }  # fmt: skip

    call(certified, 1, **MISTAKEN)
    certified.night()

    (found,) = certified.findings()
    assert (found["rule"], found["about"], found["severity"]) == ("service.criteria", "errors", "medium")
    assert datetime.fromisoformat(found["due_at"]) == certified.world.clock.now() + 50 * DAY
    assert certified.level() == ("notify", "notify")
    assert service(certified)["errors"]["exceeded"] is True
    furnish_vendor(site, "Rival", "rival")
    path = f"/revalidation/apps/{certified.ground.app}/service"
    problem(site.api("rival.owner").get(path), 404, "app_not_found")
    problem(site.api("ann").get(path), 403, "not_permitted")
    assert service(certified, "gina")["errors"] == {
        "criterion": "errors", "limit": 5, "hits": None, "of": None, "percent": None, "exceeded": True,
    }, "a hospital learns no numbers, in which others' are"  # fmt: skip
    browser = site.signed_in("gina", "/t/general/signin")
    assert "more than allowed" in browser.get(f"/tenant/apps/{certified.ground.app}").text

    call(certified, 100)
    certified.night()

    assert certified.findings() == []


def test_calls_in_a_sandbox_and_failures_of_a_server_are_no_matter_of_it(certified: Certified) -> None:
    """C228: of what the app itself causes."""
    put_in_force(certified.ground.site, ASKED)
    certified.keep_proofs()
    certified.world.clock.advance(2 * DAY)
    call(certified, 900, tenant="general", **MISTAKEN)
    call(certified, 900, outcome=Outcome.REFUSED, reason="upstream_unavailable", status=503)
    call(certified, 99, **MISTAKEN, at=certified.world.clock.now() - 40 * DAY)

    certified.night()

    assert certified.findings() == []
    assert service(certified, "rita")["errors"]["hits"] == 0


def mail_to(certified: Certified, address: str, outcome: Ended) -> None:
    """Send a mail to an address, as the job that sends does, with what the mail server answered."""
    do = certified.ground.site.system
    certified.world.clock.advance(timedelta(minutes=1))
    cause = f"drill/{certified.world.clock.now()}"
    facts = {"apps": "Rota", "places": "Mercy", "kind": "slow"}
    do(notices.put_mail, order=Mail(MailKind.ALERT, address, cause, facts))
    while (attempt := do(notices.claim, channel=Channel.MAIL, busy=())) is not None:
        ours = attempt.notice.recipient == address
        answered = outcome if ours else Ended(Result.ACCEPTED)
        if answered.result is Result.ACCEPTED:
            do(notices.hand_over, notice=attempt.notice)
        do(notices.end_attempt, notice=attempt.notice, outcome=answered, pause=timedelta(0))


def test_a_contact_whose_mail_bounces_is_a_finding_until_mail_is_accepted_again(certified: Certified) -> None:
    """C115: not at the first night, as whatever could only not be seen; and no other contact is meant."""
    certified.keep_proofs()
    do = certified.ground.site.system
    proved = do(contacts.proved_contacts, vendor=VendorId(certified.ground.vendor))
    address = next(each.address for each in proved if each.kind is ContactKind.SECURITY)
    mail_to(certified, address, Ended(Result.REFUSED, "content_refused", 554))
    certified.night()
    assert certified.findings(state="suspected") == [], (
        "what its server does not like says nothing of the mailbox"
    )

    mail_to(certified, address, Ended(Result.REFUSED, "recipient_refused", 550))
    certified.night()
    assert certified.findings() == []
    assert [each["rule"] for each in certified.findings(state="suspected")] == ["contacts.reached"]
    certified.night()

    (found,) = certified.findings()
    assert (found["rule"], found["severity"]) == ("contacts.reached", "high")
    assert found["about"] == f"security: {address}"
    assert datetime.fromisoformat(found["due_at"]) == certified.world.clock.now() + 14 * DAY

    mail_to(certified, address, Ended(Result.ACCEPTED))
    certified.night()

    assert certified.findings() == []
