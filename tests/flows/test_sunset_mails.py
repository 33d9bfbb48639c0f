"""Holders of a scope that ends get a mail when it is announced, 60, 30 and 7 days before and at its end, once each (C62)."""

from datetime import date, timedelta
from typing import Any

import pytest

from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.apps.deprecations import policy, service
from hilum.apps.deprecations.models import PLACES_AT_ONCE, Stage
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment, NewVendor
from hilum.foundation.kernel.actor import SYSTEM
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder
from hilum.policy.matrix.product_models import NOTICE, DataClass, ScopeProduct, ScopeStatus
from hilum.records.notices.models import Kind, Notice, State
from hilum.records.notices.policy import value_fault
from tests.flows.policy_ground import ending, narrow_policy
from tests.sim.mail_server import mail_server
from tests.sim.notice_ground import NoticeGround
from tests.sim.world import FakeClock
from tests.store.registry_ground import GENERAL, MERCY, Ground, ground

__all__ = ["ground"]

TODAY = date(2026, 3, 2)
ADMIN, VENDOR, OTHER = "gina@general.example", "sec@v.example", "mary@mercy.example"


def product(**change: Any) -> ScopeProduct:
    fields: dict[str, Any] = {
        "status": ScopeStatus.DEPRECATED,
        "deprecated_from": TODAY,
        "sunset": TODAY + timedelta(days=90),
        "successor": "assessments",
    }
    return ScopeProduct(
        name="results",
        purpose="Reads",
        data_class=DataClass.CLINICAL,
        version=1,
        owner="Owner",
        covers=("patient/Observation.rs",),
        **fields | change,
    )


@pytest.mark.parametrize(
    ("left", "stage"),
    [
        (91, None),
        (90, Stage.ANNOUNCED),
        (61, Stage.ANNOUNCED),
        (60, Stage.IN_60_DAYS),
        (31, Stage.IN_60_DAYS),
        (30, Stage.IN_30_DAYS),
        (8, Stage.IN_30_DAYS),
        (7, Stage.IN_7_DAYS),
        (1, Stage.IN_7_DAYS),
        (0, Stage.ENDED),
        (-29, Stage.ENDED),
        (-30, None),
    ],
)
def test_a_stage_is_the_latest_one_that_has_begun(left: int, stage: Stage | None) -> None:
    assert policy.stage_of(product(), TODAY + timedelta(days=90 - left)) is stage


def test_what_does_not_end_on_a_day_has_no_stage() -> None:
    for status in (ScopeStatus.ACTIVE, ScopeStatus.DRAFT):
        assert policy.stage_of(product(status=status, sunset=None), TODAY) is None
    assert policy.stage_of(product(status=ScopeStatus.RETIRED), TODAY) is None
    assert policy.stage_of(product(status=ScopeStatus.DEPRECATED, sunset=None), TODAY) is None
    ended = TODAY + timedelta(days=90)
    assert policy.stage_of(product(status=ScopeStatus.RETIRED), ended) is Stage.ENDED


@pytest.mark.parametrize(
    ("scopes", "has"),
    [
        (("patient/Observation.rs",), True),
        (("patient/*.rs",), True),
        (("patient/Observation.r",), True),
        (("user/Observation.rs", "launch"), False),
        (("patient/Patient.rs",), False),
        ((), False),
        (("no scope",), False),
    ],
)
def test_who_has_any_part_of_a_product_has_it(scopes: tuple[str, ...], has: bool) -> None:
    assert policy.has(product(), scopes) is has


def furnish(made: Ground) -> None:
    """One app, certified and installed at one of two hospitals, each with an administrator; one vendor has no app."""
    until = made.uow.clock.now() + timedelta(days=150)
    made.certify(expires_at=until)
    made.certify(Environment.PRODUCTION, expires_at=until)
    made.install()
    for tenant, address in ((GENERAL, ADMIN), (MERCY, OTHER)):
        order = NewPerson(tenant, address.partition("@")[0], "Admin", "administrator", mail=address)
        made.do(SYSTEM, identity.add_person, order)
    nurse = NewPerson(GENERAL, "nora", "Nora", "nurse", mail="nora@general.example")
    made.do(SYSTEM, identity.add_person, nurse)
    idle = made.do(SYSTEM, registry.add_vendor, NewVendor("Idle", "h@idle.example", "s@idle.example")).id
    for vendor, kind, address in (
        (made.vendor.id, ContactKind.SECURITY, VENDOR),
        (made.vendor.id, ContactKind.OWNER, VENDOR),
        (idle, ContactKind.OWNER, "o@idle.example"),
    ):
        prove(made, NewContact(vendor, kind, address))
    unproved = NewContact(made.vendor.id, ContactKind.SUPPORT, "help@v.example")
    made.do(SYSTEM, contacts.add_contact, unproved, link_url=lambda _: "http://127.0.0.1:8000/contacts/x")


def prove(made: Ground, order: NewContact) -> None:
    secrets: list[str] = []

    def link(secret: str) -> str:
        secrets.append(secret)
        return f"http://127.0.0.1:8000/contacts/{secret}"

    made.do(SYSTEM, contacts.add_contact, order, link_url=link)
    made.do(SYSTEM, contacts.confirm, secrets[0])


def deprecate(made: Ground, *tenants: Any) -> None:
    narrow_policy(lambda verb: made.do(SYSTEM, verb), ending(), *tenants)


def run(made: Ground) -> int:
    steps = 1
    while made.do(SYSTEM, service.step):
        steps += 1
    return steps


def sent(made: Ground) -> list[Notice]:
    return [each for each in NoticeGround(made.uow).all() if each.kind in {"scope_ends", "scope_ended"}]


def stages(made: Ground, address: str) -> list[str]:
    found = [each for each in sent(made) if each.recipient == address]
    return [each.cause.split("/")[3] for each in sorted(found, key=lambda each: each.created_at)]


def test_who_has_a_scope_gets_one_mail_for_each_stage_of_its_end(ground: Ground, clock: FakeClock) -> None:
    """C62: administrators where it is installed, and the proved contacts of its vendor; nobody else, and nobody twice."""
    furnish(ground)
    assert run(ground) == 1
    deprecate(ground)
    for _ in range(NOTICE.days + 40):
        run(ground)
        run(ground)
        clock.advance(timedelta(days=1))

    wanted = ["announced", "in_60_days", "in_30_days", "in_7_days", "ended"]
    assert stages(ground, ADMIN) == wanted
    assert stages(ground, VENDOR) == wanted
    assert {each.recipient for each in sent(ground)} == {ADMIN, VENDOR}
    assert [each.kind for each in sent(ground)].count("scope_ended") == 2


def test_the_mail_says_what_ends_when_and_what_follows(ground: Ground) -> None:
    furnish(ground)
    deprecate(ground)
    run(ground)

    with mail_server() as server:
        NoticeGround(ground.uow).sender(server.port).run()

    (mail,) = [mail for _, mail in server.mails if mail["To"] == ADMIN]
    body = mail.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    for wanted in ("31 May 2026", "results", "assessments", "1 app (Viewer)", "general"):
        assert wanted in text
    assert {each.state for each in sent(ground)} == {State.SENT}


def test_a_stage_that_nobody_ran_in_is_not_made_up_for(ground: Ground, clock: FakeClock) -> None:
    furnish(ground)
    deprecate(ground)
    clock.advance(NOTICE - timedelta(days=20))

    run(ground)

    assert stages(ground, ADMIN) == ["in_30_days"]


def test_a_process_that_dies_between_two_steps_is_continued_and_nobody_is_mailed_twice(
    ground: Ground, clock: FakeClock
) -> None:
    furnish(ground)
    for number in range(PLACES_AT_ONCE + 2):
        order = NewVendor(f"Vendor {number}", "h@a.example", "s@a.example")
        ground.do(SYSTEM, registry.add_vendor, order)
    deprecate(ground)

    class Died(Exception):
        pass

    def dies(ctx: Any) -> None:
        service.step(ctx)
        raise Died

    for _ in range(3):
        with pytest.raises(Died):
            ground.do(SYSTEM, dies)
        if not ground.do(SYSTEM, service.step):
            break
    run(ground)

    assert stages(ground, ADMIN) == ["announced"]
    assert stages(ground, VENDOR) == ["announced"]


def test_another_version_of_the_book_mails_only_whom_it_newly_concerns(
    ground: Ground, clock: FakeClock
) -> None:
    """A policy on trial ends nothing at the other hospitals; when it is in force everywhere, those get their notice too."""
    furnish(ground)
    ground.install(SYSTEM, MERCY)
    deprecate(ground, GENERAL)
    run(ground)
    on_trial = {each.recipient for each in sent(ground)}

    def everywhere(ctx: Any) -> None:
        last = policies.in_force(ctx).last
        policies.apply(ctx, ApplyOrder(2, (), last, "everywhere", emergency=True))

    ground.do(SYSTEM, everywhere)
    run(ground)

    assert on_trial == {ADMIN, VENDOR}
    assert stages(ground, ADMIN) == stages(ground, OTHER) == stages(ground, VENDOR) == ["announced"]


def test_names_that_others_choose_hold_up_no_mail() -> None:
    """Three apps with names as long as they may be, at one hospital, would end the walk over all hospitals (C62, C180)."""
    long = [f"{letter * 199}." for letter in "abcd"]

    for words in (policy.apps_in_words(long), policy.names_in_words(long)):
        assert value_fault(Kind.NAME, words) == ""
        assert words.startswith("4 apps (")
