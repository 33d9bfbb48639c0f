"""What becomes of a hospital's rows, what an erasure waits for, and documents that verify with nothing but themselves (C148)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hilum.audit import policy as audit_policy
from hilum.audit.models import PartRecord
from hilum.departures import policy
from hilum.departures.models import Departure, Recorded, State, Waits
from hilum.kernel import base64url
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.ids import TenantId

NOW = datetime(2026, 11, 27, tzinfo=UTC)
GENERAL = TenantId("general")
LEFT = Departure("dep_1", GENERAL, "General", "moves", "a", "b", NOW, NOW + timedelta(days=30), "sw_1", {})
MANIFEST = "a digest"
EXPORTED = replace(LEFT, exported_at=NOW, export={"manifest": MANIFEST})
DAY = LEFT.erase_at
RECORDED = Recorded(DAY, frozenset({MANIFEST}))


@pytest.mark.parametrize(
    ("found", "holds", "now", "waits"),
    [
        (LEFT, (), DAY, Waits.EXPORT),
        (LEFT, ("hld_1",), DAY, Waits.EXPORT),
        (EXPORTED, (), NOW, Waits.DATE),
        (EXPORTED, (), DAY - timedelta(microseconds=1), Waits.DATE),
        (EXPORTED, ("hld_1",), DAY, Waits.HOLD),
        (replace(EXPORTED, state=State.ERASING), ("hld_1",), DAY, Waits.HOLD),
        (EXPORTED, (), DAY, Waits.NOTHING),
        (replace(EXPORTED, state=State.ERASED), ("hld_1",), DAY, Waits.NOTHING),
    ],
)
def test_nothing_is_erased_before_its_day_without_an_export_or_under_a_hold(
    found: Departure, holds: tuple[str, ...], now: datetime, waits: Waits
) -> None:
    assert policy.waits_for(found, RECORDED, holds, now) is waits


@pytest.mark.parametrize(
    ("found", "recorded", "now", "waits"),
    [
        (replace(EXPORTED, erase_at=NOW), RECORDED, NOW, Waits.RECORD),
        (replace(EXPORTED, erase_at=NOW), RECORDED, DAY, Waits.NOTHING),
        (replace(EXPORTED, erase_at=DAY + timedelta(days=7)), RECORDED, DAY, Waits.DATE),
        (EXPORTED, Recorded(None, frozenset({MANIFEST})), DAY, Waits.RECORD),
        (LEFT, Recorded(None, frozenset()), DAY, Waits.RECORD),
        (EXPORTED, Recorded(DAY, frozenset()), DAY, Waits.RECORD),
        (EXPORTED, Recorded(DAY, frozenset({"another"})), DAY, Waits.RECORD),
        (replace(EXPORTED, export={}), RECORDED, DAY, Waits.RECORD),
        (replace(EXPORTED, export={}, state=State.ERASING), RECORDED, DAY, Waits.RECORD),
    ],
)
def test_what_is_not_as_the_audit_recorded_it_erases_nothing(
    found: Departure, recorded: Recorded, now: datetime, waits: Waits
) -> None:
    """C148: whoever writes to the database can neither bring the day forward nor say that there is an export."""
    assert policy.waits_for(found, recorded, (), now) is waits


@pytest.mark.parametrize(
    ("actor", "may"),
    [
        (Actor(ActorKind.PERSON, "p", GENERAL, frozenset({"administrator"})), True),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"platform_admin"})), True),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"security"})), True),
        (Actor(ActorKind.PERSON, "p", TenantId("children"), frozenset({"administrator"})), False),
        (Actor(ActorKind.PERSON, "p", GENERAL, frozenset({"physician"})), False),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"reviewer"})), False),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"auditor"})), False),
        (Actor(ActorKind.HOST, "h", None, frozenset({"platform_admin"})), False),
        (SYSTEM, False),
    ],
)
def test_who_may_be_one_of_the_two(actor: Actor, may: bool) -> None:
    assert policy.may_ask(actor, GENERAL) is may


@pytest.mark.parametrize(
    ("reason", "days", "fields"),
    [
        ("moves", 30, set()),
        ("moves", 7, set()),
        ("moves", 365, set()),
        ("", 30, {"reason"}),
        ("  ", 30, {"reason"}),
        ("x" * 501, 30, {"reason"}),
        ("moves", 6, {"erase_after_days"}),
        ("moves", 366, {"erase_after_days"}),
        ("", -1, {"reason", "erase_after_days"}),
    ],
)
def test_what_is_wrong_is_named_by_field(reason: str, days: int, fields: set[str]) -> None:
    assert set(policy.ask_faults(reason, days)) == fields


def signed(**change: Any) -> dict[str, Any]:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = base64url.encode(private.public_key().public_bytes_raw())
    document = policy.proof(EXPORTED, now=DAY, checkpoint={"number": 1}, key=key) | change
    return {
        "document": document,
        "kid": "k",
        "signature": base64url.encode(private.sign(policy.signed_bytes(document))),
    }


def test_a_proof_verifies_with_nothing_but_itself_and_names_what_stays_and_why() -> None:
    found = signed()

    assert policy.check_signed(found) == ""
    assert policy.check_signed(found, key=found["document"]["key"]) == ""
    assert {each["deed"] for each in found["document"]["erased"]} == {"erase", "blank"}
    assert all(each["why"] for each in found["document"]["stays"])
    assert {"audit_event", "journals of FHIR accesses"} <= {
        each["what"] for each in found["document"]["stays"]
    }


@pytest.mark.parametrize(
    "altered",
    [
        {},
        {"document": "none", "signature": ""},
        {"signature": 7},
        {"signature": ""},
        {"signature": "AAAA"},
        {"document": {"format": "hilum drill v1", "key": ""}},
        signed(format="hilum drill v1"),
        {"document": signed()["document"] | {"tenant": "children"}},
        {"document": signed()["document"] | {"format": policy.EXPORT}},
        {"document": signed()["document"] | {"key": "AAAA"}},
        {"document": signed()["document"] | {"key": "é"}},
    ],
    ids=lambda each: "+".join(each) or "nothing",
)
def test_whatever_was_changed_is_no_proof(altered: dict[str, Any]) -> None:
    found = signed() | altered if altered else {}

    assert policy.check_signed(found)


def test_who_knows_the_key_from_elsewhere_accepts_no_other() -> None:
    assert "another key" in policy.check_signed(signed(), key="somebody-elses")


def test_the_digest_of_rows_depends_on_each_and_on_their_order_and_not_on_batches() -> None:
    rows = [b"1", b"2", b"3"]
    whole = policy.added(policy.NO_ROWS, rows)

    assert policy.added(policy.added(policy.NO_ROWS, rows[:1]), rows[1:]) == whole
    assert policy.added(policy.NO_ROWS, [b"2", b"1", b"3"]) != whole
    assert policy.added(policy.NO_ROWS, rows[:2]) != whole


def line(**change: Any) -> dict[str, Any]:
    previous, salt, payload = bytes(32), b"salt", b'["",{}]'
    header = b'[1,"staff:x","a.b.c","done","general"]'
    digest = audit_policy.payload_digest(salt, payload)
    whole = audit_policy.link(previous, digest, header)
    return (
        audit_policy.part_line(PartRecord("control/w", 1, previous, header, digest, whole, salt, payload))
        | change
    )


@pytest.mark.parametrize(
    "change",
    [
        {"header": '[1,"staff:y","a.b.c","done","general"]'},
        {"previous": "11" * 32},
        {"digest": "22" * 32},
        {"hash": "33" * 32},
        {"payload": '["",{"n":1}]'},
        {"salt": "00"},
        {"salt": "no hex"},
        {"hash": None},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_record_of_the_audit_recomputes_its_hash_offline(change: dict[str, Any]) -> None:
    assert audit_policy.check_part(line()) == ""
    assert audit_policy.check_part(line(salt="", payload=None)) == ""  # purged

    assert audit_policy.check_part(line(**change))
    assert audit_policy.check_part({})
