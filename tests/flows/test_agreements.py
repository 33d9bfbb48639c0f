"""Agreements of vendors with hospitals: two people of the two organisations, needed to install and to launch, and a lapse as a finding (C189)."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.apps.agreements import service
from hilum.apps.agreements.models import REMIND_BEFORE, WAITING_BOUND
from hilum.apps.agreements.store import agreements as agreement_table
from hilum.apps.contacts.store import contacts as contact_table
from hilum.foundation.actions import service as actions
from hilum.foundation.actions.models import KEYS_KEPT
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.identity.people.store import people
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel, NoticeQuery
from tests.flows.agreement_ground import DIGEST, OTHER_DIGEST, Ground, confirm
from tests.flows.control_site import build, codes, problem
from tests.flows.vendor_ground import join, made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    return Ground(build(sqlite_uow, clock))


def test_an_app_is_installed_once_both_organisations_have_agreed_to_what_its_entry_needs(
    ground: Ground,
) -> None:
    """C189: the refusal lists what is missing and what to do."""
    refused = problem(ground.install(), 422, "installation_invalid")
    assert codes(refused) == {"app": "agreements_missing"}
    assert "business associate agreement" in refused["detail"]
    assert f"hilum agreement add --vendor {ground.vendor} --tenant mercy" in refused["detail"]

    found = made(ground.owner.post("/agreements", json=ground.body()))
    assert (found["state"], found["recorded_for"]) == ("waiting", "vendor")
    problem(ground.install(), 422, "installation_invalid")
    made(confirm(ground.mary, found["id"], DIGEST), 200)

    made(ground.install())
    assert ground.fault() is None
    assert ground.state(found["id"]) == "in_force"


def test_the_hospital_may_record_it_and_the_vendor_confirm(ground: Ground) -> None:
    found = made(ground.mary.post("/agreements", json=ground.body()))
    problem(
        confirm(ground.mary, found["id"], DIGEST),
        403,
        "recorded_by_you",
    )
    made(confirm(ground.owner, found["id"], DIGEST), 200)

    made(ground.install())


def test_nobody_else_signs_for_either_organisation(ground: Ground) -> None:
    """C189: two people of the two organisations; neither the platform's staff, nor others of them, nor other organisations."""
    found = made(ground.owner.post("/agreements", json=ground.body()))

    for who in ("acme.developer", "acme.billing", "bolt.owner", "gina", "root", "rita", "ann"):
        client = ground.site.api(who)
        assert client.post("/agreements", json=ground.body()).status_code == 403, who
        for verb, body in (("confirm", {"document": DIGEST}), ("end", {"reason": "x"})):
            answer = client.post(f"/agreements/{found['id']}/{verb}", json=body)
            assert answer.status_code in {403, 404, 428}, who
        assert confirm(client, found["id"], DIGEST).status_code in {403, 404}, who
    assert ground.state(found["id"]) == "waiting"


def test_only_the_two_organisations_and_the_staff_see_an_agreement(ground: Ground) -> None:
    id_ = ground.agree()

    for who, status in (("acme.billing", 200), ("rita", 200), ("bolt.owner", 404), ("gina", 404)):
        assert ground.site.api(who).get(f"/agreements/{id_}").status_code == status, who
    assert ground.site.api("gina").get("/agreements").json()["items"] == []
    assert ground.site.api("bolt.owner").get("/agreements").json()["items"] == []
    problem(ground.site.api("gina").get("/agreements?tenant=mercy"), 403, "not_permitted")
    problem(ground.site.api("bolt.owner").get(f"/agreements?vendor={ground.vendor}"), 403, "not_permitted")
    assert len(ground.site.api("otto").get("/agreements").json()["items"]) == 1


def test_who_holds_another_document_does_not_confirm(ground: Ground) -> None:
    found = made(ground.owner.post("/agreements", json=ground.body()))

    answer = confirm(ground.mary, found["id"], OTHER_DIGEST)

    assert codes(problem(answer, 422, "agreement_invalid")) == {"document": "document_differs"}
    assert ground.state(found["id"]) == "waiting"


def test_it_is_confirmed_once(ground: Ground) -> None:
    id_ = ground.agree()

    answer = confirm(ground.mary, id_, DIGEST)

    problem(answer, 409, "agreement_decided")


def test_an_account_younger_than_a_week_signs_nothing(ground: Ground) -> None:
    """Security decision 25."""
    found = made(ground.owner.post("/agreements", json=ground.body()))
    young = people.update().where(people.c.id == ground.site.people["mary"].id)
    ground.site.system(lambda ctx: ctx.tx.execute(young.values(age_counts_from=ctx.now)))

    answer = confirm(ground.mary, found["id"], DIGEST)

    problem(answer, 403, "account_too_new")
    problem(ground.mary.post("/agreements", json=ground.body()), 403, "account_too_new")


FAULTY: tuple[tuple[dict[str, Any], dict[str, str]], ...] = (
    ({"kind": "handshake"}, {"kind": "agreement_kind_unknown"}),
    ({"document": "A" * 64}, {"document": "digest_malformed"}),
    ({"document": "baa.pdf"}, {"document": "digest_malformed"}),
    ({"parties": ["Acme"]}, {"parties": "parties_missing"}),
    ({"parties": ["Acme", " Acme "]}, {"parties": "parties_missing"}),
    ({"parties": ["Acme", " "]}, {"parties": "parties_missing"}),
    ({"ends_at": "2026-01-01T00:00:00Z"}, {"ends_at": "not_in_the_future"}),
    (
        {"effective_at": "2027-01-01T00:00:00Z", "ends_at": "2027-01-01T00:00:00Z"},
        {"ends_at": "ends_before_it_begins"},
    ),
    ({"ends_at": "2099-01-01T00:00:00Z"}, {"ends_at": "too_far_away"}),
)


def test_a_faulty_agreement_is_refused_by_field(ground: Ground) -> None:
    for change, faults in FAULTY:
        answer = ground.owner.post("/agreements", json=ground.body(**change))
        assert codes(problem(answer, 422, "agreement_invalid")) == faults

    assert ground.owner.get("/agreements").json()["items"] == []


def test_an_agreement_of_another_kind_entity_time_or_hospital_does_not_count(ground: Ground) -> None:
    for change, signer in (
        ({"kind": "data_sharing"}, "mary"),
        ({"entity": "Mercy Outpatient LLC"}, "mary"),
        ({"effective_at": "2026-03-02T09:00:01Z"}, "mary"),
        ({"tenant": "general"}, "gina"),
    ):
        found = made(ground.owner.post("/agreements", json=ground.body(**change)))
        made(confirm(ground.site.api(signer), found["id"], DIGEST), 200)

    problem(ground.install(), 422, "installation_invalid")


def test_a_vendor_cannot_use_the_agreement_of_another(ground: Ground) -> None:
    body = ground.body(vendor=ground.other)
    found = made(ground.site.api("bolt.owner").post("/agreements", json=body))
    made(confirm(ground.mary, found["id"], DIGEST), 200)

    problem(ground.install(), 422, "installation_invalid")


def test_what_patients_use_with_their_own_record_and_sandboxes_need_none(ground: Ground) -> None:
    made(ground.install("patient"))
    body = {"tenant": "general", "app": ground.app, "roles": ["physician"]}
    made(ground.site.api("gina").post("/installations", json=body))

    assert ground.fault("patient") is None
    assert ground.fault() == "agreement_missing"


def test_a_lapse_is_a_finding_and_from_that_moment_nothing_new_is_opened(ground: Ground) -> None:
    """C189: the end counts at its moment, whether or not the job has run; the finding stays until another agreement is in force."""
    id_ = ground.agree()
    made(ground.install())
    ground.site.clock.advance(timedelta(days=100) - timedelta(microseconds=1))
    assert ground.fault() is None
    ground.site.clock.advance(timedelta(microseconds=1))
    assert ground.fault() == "agreement_missing"
    owner, mary = ground.site.api("acme.owner"), ground.site.api("mary")
    ground.owner, ground.mary = owner, mary

    assert ground.follow() == 1
    assert ground.follow() == 0

    assert ground.findings() == [id_]
    assert ground.state(id_) == "lapsed"
    (lapse,) = ground.actions("agreements.agreement.lapse")
    assert (lapse.event.tenant, lapse.event.facts["agreement"]) == ("mercy", id_)

    ground.agree()
    assert ground.findings() == []
    assert ground.fault() is None


def test_one_that_is_renewed_before_its_end_lapses_unnoticed(ground: Ground) -> None:
    ground.agree()
    now: datetime = ground.site.clock.now()
    ground.agree(ends_at=(now + timedelta(days=400)).isoformat())
    made(ground.install())
    keep_proofs(ground)

    ground.site.clock.advance(timedelta(days=101))
    ground.follow()

    assert ground.fault() is None
    assert ground.actions("agreements.agreement.lapse") == []
    assert mails(ground) == []


def test_one_that_begins_later_ends_the_finding_when_it_begins(ground: Ground) -> None:
    id_ = ground.agree()
    start = ground.site.clock.now()
    later = {"effective_at": (start + timedelta(days=105)).isoformat(), "ends_at": None}
    ground.agree(**later)
    ground.site.clock.advance(timedelta(days=101))
    ground.owner, ground.mary = ground.site.api("acme.owner"), ground.site.api("mary")
    ground.follow()
    assert ground.findings() == [id_]

    ground.site.clock.advance(timedelta(days=4))
    ground.mary = ground.site.api("mary")
    ground.follow()

    assert ground.findings() == []


def keep_proofs(ground: Ground) -> None:
    """Let every proof last longer than the story."""
    far = ground.site.clock.now() + timedelta(days=2_000)
    proved = contact_table.update().values(proof_ends_at=far)
    ground.site.system(lambda ctx: ctx.tx.execute(proved))


def mails(ground: Ground) -> list[str]:
    query = NoticeQuery(channel=Channel.MAIL)
    found = ground.site.system(notices.list_notices, query=query)
    return [each.kind for each in found if each.kind.startswith("agreement")]


def test_the_vendor_gets_mail_sixty_thirty_and_seven_days_before_the_end_and_at_it(ground: Ground) -> None:
    """C189: never silently; however often the job runs, one mail a date."""
    keep_proofs(ground)
    ground.agree()
    start = ground.site.clock.now()

    for before in (*REMIND_BEFORE, timedelta(0)):
        moment = start + timedelta(days=100) - before
        ground.site.clock.advance(moment - ground.site.clock.now() - timedelta(seconds=1))
        assert ground.follow() == 0
        ground.site.clock.advance(timedelta(seconds=1))
        assert ground.follow() == 1
        assert ground.follow() == 0

    assert sorted(mails(ground)) == ["agreement_ending"] * 3 + ["agreement_lapsed"]


def recipients(ground: Ground) -> dict[str, set[str]]:
    """Return who gets each kind of mail about agreements."""
    found: dict[str, set[str]] = {}
    for each in ground.site.system(notices.list_notices, query=NoticeQuery(channel=Channel.MAIL)):
        if each.kind.startswith("agreement"):
            found.setdefault(each.kind, set()).add(each.recipient)
    return found


def test_the_hospitals_administrators_get_the_same_mail_and_the_vendor_does_not_read_their_addresses(
    ground: Ground,
) -> None:
    """C189: asked, ending and lapsed, to those who have an address; asked once a day, to whoever did not record it."""
    keep_proofs(ground)
    mary = ground.site.people["mary"].id
    ground.site.system(
        lambda ctx: ctx.tx.execute(
            update(people).where(people.c.id == mary).values(mail="mary@mercy.example")
        )
    )
    ground.agree()
    made(ground.owner.post("/agreements", json=ground.body(kind="data_sharing")))
    assert recipients(ground) == {"agreement_asked": {"mary@mercy.example"}}
    assert len(mails(ground)) == 1

    made(ground.mary.post("/agreements", json=ground.body(kind="data_sharing")))
    asked = recipients(ground)["agreement_asked"]
    assert len(asked) == 2
    ground.site.clock.advance(timedelta(days=100))
    ground.follow()

    vendors = asked - {"mary@mercy.example"}
    assert recipients(ground)["agreement_lapsed"] == {"mary@mercy.example"} | vendors
    own = ground.owner.get("/notices", params={"limit": 200}).text
    assert "mary@mercy.example" not in own


def test_either_organisation_ends_it_at_once_or_with_notice(ground: Ground) -> None:
    first = ground.agree()
    made(ground.install())
    later = (ground.site.clock.now() + timedelta(days=30)).isoformat()
    ended = made(ground.owner.post(f"/agreements/{first}/end", json={"reason": "merger", "at": later}), 200)
    assert (ended["state"], ground.fault()) == ("in_force", None)

    ended = made(ground.mary.post(f"/agreements/{first}/end", json={"reason": "breach"}), 200)

    assert (ended["state"], ended["end_reason"], ground.fault()) == ("ended", "breach", "agreement_missing")
    assert ground.findings() == [first]
    problem(ground.mary.post(f"/agreements/{first}/end", json={"reason": "again"}), 409, "agreement_over")


def test_an_end_needs_a_reason_and_lengthens_nothing(ground: Ground) -> None:
    id_ = ground.agree()

    for body, faults in (
        ({"reason": " "}, {"reason": "reason_missing"}),
        ({"reason": "x", "at": "2026-01-01T00:00:00Z"}, {"at": "not_in_the_future"}),
        ({"reason": "x", "at": "2028-01-01T00:00:00Z"}, {"at": "too_late"}),
    ):
        answer = ground.owner.post(f"/agreements/{id_}/end", json=body)
        assert codes(problem(answer, 422, "agreement_invalid")) == faults

    assert ground.state(id_) == "in_force"


def test_what_waits_between_two_organisations_is_bounded(ground: Ground) -> None:
    for _ in range(WAITING_BOUND):
        made(ground.owner.post("/agreements", json=ground.body()))

    problem(ground.owner.post("/agreements", json=ground.body()), 503, "too_many_agreements")


def test_moments_at_the_end_of_the_calendar_are_judged_and_break_nothing(ground: Ground) -> None:
    far = {"effective_at": "9999-01-01T00:00:00Z", "ends_at": "9999-06-01T00:00:00Z"}

    made(ground.owner.post("/agreements", json=ground.body(**far)))

    long = far | {"effective_at": "9000-01-01T00:00:00Z"}
    answer = ground.owner.post("/agreements", json=ground.body(**long))
    assert codes(problem(answer, 422, "agreement_invalid")) == {"ends_at": "too_far_away"}


@in_one_world("entity", ["\u200b", "//", "\u202e:"])
def test_a_legal_entity_of_which_no_mail_can_show_anything_is_refused(ground: Ground, entity: str) -> None:
    answer = ground.owner.post("/agreements", json=ground.body(entity=entity))

    assert codes(problem(answer, 422, "agreement_invalid")) == {"entity": "name_malformed"}


def test_an_agreement_with_an_unshowable_name_holds_up_no_other(ground: Ground) -> None:
    """C189: two organisations cannot keep the lapses of all others from being recorded."""
    keep_proofs(ground)
    ours = ground.agree(entity="Mercy Clinics")
    odd = ground.agree(kind="data_sharing")
    named = agreement_table.update().where(agreement_table.c.id == odd)
    ground.site.system(lambda ctx: ctx.tx.execute(named.values(entity="\u200b")))

    ground.site.clock.advance(timedelta(days=100))
    while ground.follow():
        pass

    # The API token of before is over.
    assert made(ground.site.api("mary").get(f"/agreements/{ours}"), 200)["finding_since"]
    assert mails(ground) == ["agreement_lapsed"] * 2


def test_what_somebody_recorded_who_was_removed_since_is_not_confirmed(ground: Ground) -> None:
    """Both of the two people count when the second one signs."""
    found = made(ground.owner.post("/agreements", json=ground.body()))
    join(ground.site, ground.vendor, "acme.second", "owner")
    gone = ground.site.people["acme.owner"].id
    ground.site.system(identity.deactivate_person, person_id=gone)

    answer = confirm(ground.mary, found["id"], DIGEST)

    problem(answer, 403, "asker_no_longer_counts")
    assert ground.state(found["id"]) == "waiting"


def test_what_somebody_recorded_whose_account_became_new_again_is_not_confirmed(ground: Ground) -> None:
    found = made(ground.owner.post("/agreements", json=ground.body()))
    who = ground.site.people["acme.owner"].id
    young = people.update().where(people.c.id == who).values(age_counts_from=ground.site.clock.now())
    ground.site.system(lambda ctx: ctx.tx.execute(young))

    answer = confirm(ground.mary, found["id"], DIGEST)

    problem(answer, 403, "asker_no_longer_counts")


def counting(ground: Ground) -> set[str]:
    """Return the kinds of agreements that count at the hospital."""
    vendor = VendorId(ground.vendor)
    return set(ground.site.system(service.kinds_in_force, vendor=vendor, tenant=TenantId("mercy")))


# --- sent again ------------------------------------------------------------------------------------------------------------------


def test_what_is_sent_again_under_its_key_is_recorded_once(ground: Ground) -> None:
    """An answer that was lost: draft-ietf-httpapi-idempotency-key-header."""
    body, key = ground.body(), {"Idempotency-Key": "k1"}

    first, second = (made(ground.owner.post("/agreements", json=body, headers=key)) for _ in range(2))

    assert first == second
    assert len(ground.owner.get("/agreements").json()["items"]) == 1


def test_a_key_is_of_one_person_and_one_order(ground: Ground) -> None:
    key = {"Idempotency-Key": "k1"}
    first = made(ground.owner.post("/agreements", json=ground.body(), headers=key))

    other = ground.owner.post("/agreements", json=ground.body(kind="data_sharing"), headers=key)
    theirs = made(ground.mary.post("/agreements", json=ground.body(), headers=key))

    problem(other, 409, "key_reused")
    assert theirs["id"] != first["id"]
    for malformed in ("", " ", "a b", "x" * 256):
        answer = ground.owner.post("/agreements", json=ground.body(), headers={"Idempotency-Key": malformed})
        assert malformed.strip() == "" or answer.json()["code"] == "key_malformed", malformed


def test_what_was_refused_is_sent_again_under_its_key(ground: Ground) -> None:
    key = {"Idempotency-Key": "k1"}
    refused = ground.owner.post("/agreements", json=ground.body(document="x"), headers=key)
    problem(refused, 422, "agreement_invalid")

    made(ground.owner.post("/agreements", json=ground.body(), headers=key))


def test_a_key_counts_for_a_day(ground: Ground) -> None:
    key = {"Idempotency-Key": "k1"}
    first = made(ground.owner.post("/agreements", json=ground.body(), headers=key))
    ground.site.clock.advance(KEYS_KEPT)

    second = made(ground.site.api("acme.owner").post("/agreements", json=ground.body(), headers=key))

    assert second["id"] != first["id"]
    assert ground.site.system(actions.purge) == 0, "it counts anew"
    ground.site.clock.advance(KEYS_KEPT)
    assert ground.site.system(actions.purge) == 1
