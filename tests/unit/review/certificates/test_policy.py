"""What a certificate's status is, and what anybody who verifies one comes to (C113)."""

import string
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from xml.etree import ElementTree as ET

import orjson
import pytest

from hilum.apps.registry.models import App, AppState, Certification, Environment
from hilum.controls.switches.models import Mode, Switch, SwitchIndex, Target, TargetKind
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.review.certificates import policy
from hilum.review.certificates.live import Published
from hilum.review.certificates.models import (
    LIST_BOUND,
    LIST_LIFE,
    LIST_SIZE,
    LIST_TYPE,
    Cause,
    Certificate,
    Evidence,
    PublicationChanges,
    Status,
    Stops,
)
from hilum.review.submissions.models import Document, Visibility
from tests.unit.apps.registry.values import CERT, FACTS, PAST
from tests.unit.policy.matrix.books import book
from tests.unit.review.certificates.facts import (
    APP,
    AT,
    CERTIFIED,
    DAY,
    KEY,
    KEYS,
    NOW,
    OTHER,
    SHOWN,
    VENDOR,
    VERSION,
    claims,
    jwks,
    signed,
)

NO_STOPS = Stops()
ENDED = replace(CERTIFIED, expires_at=NOW)
ENDS = PAST + DAY


def listed(statuses: Mapping[int, Status], number: int = 0, now: datetime = NOW) -> str:
    return signed(policy.list_claims(number, statuses, now=now, at=AT), typ=LIST_TYPE)


# --- status --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("certification", "app", "stops", "status", "cause"),
    [
        (CERTIFIED, APP, NO_STOPS, Status.VALID, Cause.NONE),
        (CERTIFIED, APP, Stops(apps=frozenset({"app_2"})), Status.VALID, Cause.NONE),
        (CERTIFIED, APP, Stops(apps=frozenset({"app_1"})), Status.SUSPENDED, Cause.STOPPED),
        (CERTIFIED, APP, Stops(vendors=frozenset({"ven_1"})), Status.SUSPENDED, Cause.STOPPED),
        (CERTIFIED, APP, Stops(versions=frozenset({"ver_1"})), Status.SUSPENDED, Cause.STOPPED),
        (CERTIFIED, APP, Stops(everything=True), Status.SUSPENDED, Cause.STOPPED),
        (CERTIFIED, replace(APP, state=AppState.SUSPENDED), NO_STOPS, Status.SUSPENDED, Cause.APP_SUSPENDED),
        (replace(CERTIFIED, expires_at=NOW), APP, Stops(everything=True), Status.INVALID, Cause.EXPIRED),
        (replace(CERTIFIED, withdrawn_at=NOW), APP, NO_STOPS, Status.INVALID, Cause.WITHDRAWN),
        (None, APP, NO_STOPS, Status.INVALID, Cause.NOT_AS_SIGNED),
        (CERTIFIED, None, NO_STOPS, Status.INVALID, Cause.NOT_AS_SIGNED),
    ],
)
def test_the_status_follows_the_registry_and_the_switches(
    certification: Certification | None, app: App | None, stops: Stops, status: Status, cause: Cause
) -> None:
    """C113: what is not there as it was signed is not valid."""
    assert policy.status_of(certification, app, stops, NOW) == (status, cause)


@pytest.mark.parametrize(
    ("mode", "since", "stopped"),
    [
        (Mode.FULL_STOP, timedelta(0), True),
        (Mode.NO_NEW_LAUNCHES, timedelta(0), True),
        (Mode.READ_ONLY, timedelta(0), False),
        (Mode.FULL_STOP, DAY, False),
    ],
)
def test_a_switch_counts_while_it_stops_launches(mode: Mode, since: timedelta, *, stopped: bool) -> None:
    """C113: one that leaves an app its launches, or is over, suspends no certificate."""
    target = Target(TargetKind.APP, "app_1")
    switch = Switch("swi_1", target, mode, "a drill", "staff:per_1", NOW, NOW + DAY)

    found = policy.stops_in(SwitchIndex({target: (switch,)}), NOW + since)

    assert found == (Stops(apps=frozenset({"app_1"})) if stopped else Stops())


@pytest.mark.parametrize(
    ("actor", "own", "lists"),
    [
        (
            Actor(ActorKind.MEMBER, "per_m", roles=frozenset({"vendor_owner"}), vendor=VENDOR.id),
            VENDOR.id,
            True,
        ),
        (Actor(ActorKind.MEMBER, "per_m", vendor=VENDOR.id), None, False),
        (Actor(ActorKind.STAFF, "per_s", roles=frozenset({"auditor"})), None, True),
        (Actor(ActorKind.PERSON, "per_g", TenantId("general"), frozenset({"administrator"})), None, True),
        (Actor(ActorKind.PERSON, "per_a", TenantId("general"), frozenset({"physician"})), None, False),
    ],
)
def test_who_lists_certificates_and_whose(actor: Actor, own: str | None, lists: bool) -> None:
    """C113: a vendor's member those of the vendor; who has no role there none."""
    assert (policy.sees_only(actor), policy.may_list(actor)) == (own, lists)


@pytest.mark.parametrize(
    ("certification", "app", "stops", "status"),
    [
        (CERTIFIED, APP, NO_STOPS, Status.VALID),
        (ENDED, APP, NO_STOPS, Status.GRACE),
        (ENDED, replace(APP, state=AppState.SUSPENDED), NO_STOPS, Status.SUSPENDED),
        (ENDED, APP, Stops(everything=True), Status.SUSPENDED),
        (replace(ENDED, withdrawn_at=NOW), APP, NO_STOPS, Status.INVALID),
        (None, APP, NO_STOPS, Status.INVALID),
    ],
)
def test_what_ended_is_in_its_grace_until_that_is_over(
    certification: Certification | None, app: App, stops: Stops, status: Status
) -> None:
    """C114: what is withdrawn has none, and while something is stopped it is not in use."""
    until = NOW + timedelta(microseconds=1)

    assert policy.status_of(certification, app, stops, NOW, until)[0] is status
    if certification is ENDED:
        assert policy.status_of(ENDED, app, stops, until, until) == (Status.INVALID, Cause.EXPIRED)


@pytest.mark.parametrize(
    ("facts", "until"),
    [
        ({}, ENDS + 14 * DAY),
        ({"graceless": True}, None),
        ({"certified_until": ENDS + DAY}, None),
        ({"certified_scopes": (*CERT.scopes, "user/Slot.rs")}, None),
        ({"version": VersionId("ver_2")}, None),
        ({"environment": Environment.SANDBOX}, None),
    ],
)
def test_the_grace_is_that_of_the_clients_that_the_certification_counts_for(
    facts: dict[str, Any], until: datetime | None
) -> None:
    """C114: by the judgement of enforcement, so that a badge does not say what no door does."""
    graced = book(
        {f"categories.unclassified.entries.{tier}.grace_days": 14 for tier in ("low", "moderate", "high")}
    )
    ended = replace(CERT, expires_at=ENDS)
    client = replace(FACTS, **({"certified_until": ENDS} | facts))

    assert policy.grace_of(ended, graced, [client]) == until
    assert policy.grace_of(ended, book(), [client]) is None
    assert policy.grace_of(ended, graced, []) is None


def test_what_exists_at_one_hospital_gets_no_certificate() -> None:
    """Its existence is nobody else's business."""
    assert policy.gets_certificate(APP, CERTIFIED, NOW)
    assert not policy.gets_certificate(replace(APP, tenant=TenantId("general")), CERTIFIED, NOW)
    assert not policy.gets_certificate(APP, replace(CERTIFIED, withdrawn_at=NOW), NOW)
    assert not policy.gets_certificate(APP, CERTIFIED, CERTIFIED.expires_at)


def test_each_place_of_a_status_list_holds_its_own_status() -> None:
    """The order of bits is that of the draft: the first status in the lowest bits of the first byte."""
    statuses = {0: Status.INVALID, 1: Status.SUSPENDED, 6: Status.SUSPENDED, LIST_SIZE - 1: Status.INVALID}

    packed = policy.packed(statuses)

    assert [policy.status_at(packed, 2, place) for place in range(8)] == [1, 2, 0, 0, 0, 0, 2, 0]
    assert policy.status_at(packed, 2, LIST_SIZE - 1) == Status.INVALID
    assert policy.status_at(packed, 2, LIST_SIZE) is None
    assert policy.status_at(packed, 2, -1) is None
    assert policy.status_at(packed, 3, 0) is None
    larger = base64url.encode(zlib.compress(bytes(LIST_BOUND + 1)))
    assert policy.status_at(larger, 2, LIST_SIZE) is None, "no more is inflated than a list may have"
    assert policy.status_at("AAAA", 2, 0) is None
    assert policy.status_at("ä", 2, 0) is None


# --- verifying -----------------------------------------------------------------------------------------------------------------


def test_a_certificate_says_everything_that_was_certified_and_verifies_with_the_keys_alone() -> None:
    """C113: version, scopes, tier, evidence by digest, policy, dates, and where its status is."""
    found = policy.verify(signed(claims(LIST_SIZE + 5)), KEYS, now=NOW)

    assert (found.code, found.checked) == ("", False)
    assert found.claims["app"] == {"id": "app_1", "name": "Rota", "category": "scheduling"}
    assert found.claims["version"] == {"id": "ver_1", "label": "2.0"}
    assert (found.claims["tier"], found.claims["policy_version"]) == ("low", 3)
    assert found.claims["scopes"] == ["launch", "user/Slot.rs"]
    assert found.claims["evidence"] == {
        "submission": {"id": "sub_1", "sha256": "d" * 64},
        "checks": {"run": 2, "sha256": "e" * 64},
        "documents": [
            {"kind": "pentest", "sha256": "f" * 64},
            {"kind": "data_flow", "sha256": "a" * 64, "url": "https://acme.example/flow.pdf"},
        ],
    }
    assert found.claims["status"] == {"status_list": {"idx": 5, "uri": f"{AT.status}/1"}}
    assert "per_1" not in orjson.dumps(dict(found.claims)).decode(), "nobody who reviewed is named"


@pytest.mark.parametrize(
    ("change", "basis"),
    [
        ({"submission": "sub_1"}, "review"),
        ({"environment": Environment.SANDBOX, "submission": "sub_1"}, "review"),
        ({"environment": Environment.SANDBOX}, "sandbox"),
        ({"certified_by": str(SYSTEM)}, "regulated_access"),
    ],
    ids=["reviewed", "reviewed for sandboxes", "by hand", "regulated lane"],
)
def test_a_certificate_rests_on_a_review_only_if_a_submission_was_reviewed(
    change: dict[str, Any], basis: str
) -> None:
    """C113, ADR 79: what a reviewer certifies by hand for sandboxes, nobody has judged."""
    made = policy.claims_of(
        replace(CERTIFIED, **change), APP, VENDOR, VERSION, Evidence(), number=7, now=NOW, at=AT
    )

    assert made["basis"] == basis


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({}, None, "sandbox_only"),
        ({}, Status.VALID, "sandbox_only"),
        ({"basis": "review"}, Status.VALID, "sandbox_only"),
        ({"environment": "elsewhere"}, Status.VALID, "sandbox_only"),
        ({"exp": policy.seconds(NOW)}, Status.GRACE, "sandbox_only"),
        ({}, Status.SUSPENDED, "suspended"),
        ({}, Status.INVALID, "revoked"),
        ({"exp": policy.seconds(NOW)}, None, "expired"),
    ],
    ids=range(8),
)
def test_what_is_certified_for_sandboxes_verifies_as_that_and_not_as_valid(
    change: dict[str, Any], status: Status | None, code: str
) -> None:
    """C113, C4: whoever asks for an empty code is not given what holds for sandboxes."""
    text = signed(claims(**{"environment": "sandbox"} | change))
    listed = None
    if status is not None:
        listed = signed(policy.list_claims(0, {7: status}, now=NOW, at=AT), typ=LIST_TYPE)

    found = policy.verify(text, KEYS, now=NOW, status_list=listed)

    assert (found.code, found.checked) == (code, status is not None)
    assert ("sandboxes only" in found.detail) is (code == "sandbox_only")


def respelled(text: str) -> str:
    """Return the same signature with a bit set beyond its last byte."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    other = text[:-1] + letters[letters.index(text[-1]) ^ 1]
    assert base64url.decode(other.split(".")[2]) == base64url.decode(text.split(".")[2])
    return other


def tampered(text: str) -> str:
    head, body, signature = text.split(".")
    changed = base64url.decode(body).replace(b'"tier":"low"', b'"tier":"top"')
    return f"{head}.{base64url.encode(changed)}.{signature}"


@pytest.mark.parametrize(
    ("text", "keys", "code"),
    [
        ("", KEYS, "certificate_malformed"),
        ("a.b", KEYS, "certificate_malformed"),
        ("....", KEYS, "certificate_malformed"),
        (f"{base64url.encode(b'[]')}.e30.e30", KEYS, "certificate_malformed"),
        (tampered(signed(claims())), KEYS, "signature_invalid"),
        (signed(claims(), OTHER), KEYS, "signature_invalid"),
        (signed(claims())[:-4], KEYS, "certificate_malformed"),
        (signed(claims(), kid="k2"), KEYS, "key_unknown"),
        (signed(claims(), kid=None), {"keys": [{**KEYS["keys"][0], "kid": None}]}, "key_unknown"),
        (signed(claims()), {}, "key_unknown"),
        (signed(claims()), {"keys": "k1"}, "key_unknown"),
        (
            signed(claims()),
            {"keys": [{"kid": "k1", "kty": "OKP", "crv": "Ed25519", "x": "AA"}]},
            "key_unknown",
        ),
        (signed(claims(), alg="none"), KEYS, "type_wrong"),
        (signed(claims(), alg="HS256"), KEYS, "type_wrong"),
        (signed(claims(), typ="JWT"), KEYS, "type_wrong"),
        (signed(claims(), crit=["b64"]), KEYS, "type_wrong"),
        (signed(claims(nbf=policy.seconds(NOW + DAY))), KEYS, "not_yet_valid"),
        (signed(claims(exp=policy.seconds(NOW))), KEYS, "expired"),
        (signed(claims(exp=None)), KEYS, "certificate_malformed"),
    ],
    ids=range(19),
)
def test_what_is_not_wholly_in_order_is_not_valid(text: str, keys: Mapping[str, Any], code: str) -> None:
    found = policy.verify(text, keys, now=NOW)

    assert found.code == code
    assert found.detail.endswith(".")


@pytest.mark.parametrize("spelled", [lambda text: text + "=", lambda text: text + "==", respelled])
def test_a_certificate_has_one_spelling(spelled: Callable[[str], str]) -> None:
    """RFC 4648 section 3.5, RFC 7515 section 2: no padding, and no bits beyond the last byte."""
    text = signed(claims())

    assert policy.verify(text, KEYS, now=NOW).code != "certificate_malformed"
    assert policy.verify(spelled(text), KEYS, now=NOW).code == "certificate_malformed"


@pytest.mark.parametrize(
    ("status_list", "code"),
    [
        (listed({}), ""),
        (listed({6: Status.INVALID, 8: Status.SUSPENDED}), ""),
        (listed({7: Status.INVALID}), "revoked"),
        (listed({7: Status.SUSPENDED}), "suspended"),
        (listed({7: Status.GRACE}), "expired_in_grace"),
        (listed({}, number=1), "status_list_other"),
        (
            signed(
                policy.list_claims(0, {}, now=NOW, at=replace(AT, issuer="https://x.example")), typ=LIST_TYPE
            ),
            "status_list_other",
        ),
        (listed({}, now=NOW - LIST_LIFE), "status_list_old"),
        (signed(policy.list_claims(0, {}, now=NOW, at=AT), OTHER, typ=LIST_TYPE), "signature_invalid"),
        (signed(policy.list_claims(0, {}, now=NOW, at=AT)), "type_wrong"),
        (signed({"sub": f"{AT.status}/0"}, typ=LIST_TYPE), "status_list_malformed"),
        ("nothing", "status_list_malformed"),
    ],
    ids=range(12),
)
def test_a_status_list_says_whether_it_still_holds(status_list: str, code: str) -> None:
    """C113: one that is old, of somebody else, or about other certificates says nothing, and nothing is not valid."""
    assert policy.verify(signed(claims()), KEYS, now=NOW, status_list=status_list).code == code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.GRACE, "expired_in_grace"),
        (Status.VALID, "expired"),
        (Status.INVALID, "expired"),
        (Status.SUSPENDED, "expired"),
        (None, "expired"),
    ],
)
def test_what_expired_is_in_its_grace_only_if_a_list_of_now_says_so(status: Status | None, code: str) -> None:
    """C113, C114: without a list, or by an old one, nobody knows whether hospitals go on."""
    later = NOW + 31 * DAY
    of_now, old = (
        None if status is None else listed({7: status} if status else {}, now=at) for at in (later, NOW)
    )
    made = signed(claims())

    assert policy.verify(made, KEYS, now=later, status_list=of_now).code == code
    assert policy.verify(made, KEYS, now=later, status_list=old).code == "expired"


@pytest.mark.parametrize("name", ["EdDSA", "Ed25519"])
def test_a_certificate_verifies_by_either_name_of_its_algorithm(name: str) -> None:
    """C113, RFC 9864: "EdDSA" is deprecated, and certificates that were signed with it stay."""
    assert policy.verify(signed(claims(), alg=name), KEYS, now=NOW).code == ""


def test_a_key_that_was_replaced_still_verifies_what_it_signed() -> None:
    made = signed(claims())

    assert policy.verify(made, jwks(k2=OTHER, k1=KEY), now=NOW).code == ""
    assert policy.verify(made, jwks(k2=OTHER), now=NOW).code == "key_unknown"


def test_a_text_is_of_its_certification_only_as_it_was_signed() -> None:
    """C113: what anybody could have written, or of another certification or place, is not shown as this one's."""
    found = replace(SHOWN, number=7)
    of_another = signed(claims(sub="cert_2"))
    head, body, _ = signed(claims()).split(".")

    assert policy.is_as_signed(found, signed(claims()), KEYS)
    wrong = (of_another, f"{head}.{body}.", f"{head}.{body}", "", signed(claims(), OTHER), signed(claims(8)))
    assert [policy.is_as_signed(found, each, KEYS) for each in wrong] == [False] * len(wrong)
    assert not policy.is_as_signed(found, signed(claims(), typ=LIST_TYPE), KEYS)
    assert not policy.is_as_signed(found, signed(claims()), jwks(k2=KEY))
    assert not policy.is_as_signed(found, signed(claims(LIST_SIZE + 7)), KEYS), (
        "the same place of another list"
    )


# --- the badge -----------------------------------------------------------------------------------------------------------------

IN_GRACE = replace(SHOWN, expires_at=NOW, status=Status.GRACE, cause=Cause.EXPIRED, grace_until=NOW + DAY)
IN_SANDBOX = replace(SHOWN, environment=Environment.SANDBOX)


@pytest.mark.parametrize(
    ("found", "known", "words"),
    [
        (SHOWN, True, "Rota 2.0: certified until 2026-12-27"),
        (SHOWN, False, "Rota 2.0: state not known now"),
        (replace(SHOWN, expires_at=NOW), True, "Rota 2.0: expired"),
        (IN_GRACE, True, "Rota 2.0: expired, in grace until 2026-11-28"),
        (IN_GRACE, False, "Rota 2.0: expired"),
        (replace(IN_GRACE, grace_until=NOW), True, "Rota 2.0: expired"),
        (replace(SHOWN, status=Status.SUSPENDED, cause=Cause.STOPPED), True, "Rota 2.0: stopped"),
        (replace(SHOWN, status=Status.SUSPENDED, cause=Cause.APP_SUSPENDED), True, "Rota 2.0: suspended"),
        (replace(SHOWN, status=Status.INVALID, cause=Cause.WITHDRAWN), True, "Rota 2.0: withdrawn"),
        (replace(SHOWN, status=Status.INVALID, cause=Cause.NOT_AS_SIGNED), True, "Rota 2.0: not valid"),
        (replace(SHOWN, app_name='<script>"&'), True, '<script>"& 2.0: certified until 2026-12-27'),
        (IN_SANDBOX, True, "Rota 2.0: for sandboxes only until 2026-12-27"),
        (replace(IN_SANDBOX, status=Status.INVALID, cause=Cause.WITHDRAWN), True, "Rota 2.0: withdrawn"),
        (None, True, "no certificate"),
    ],
    ids=range(14),
)
def test_a_badge_says_its_state_in_words_that_screen_readers_say_too(
    found: Certificate | None, known: bool, words: str
) -> None:
    """C113: never by colour alone, and no name in it becomes markup."""
    drawn = ET.fromstring(policy.badge(found, known=known, now=NOW))  # noqa: S314 - made here

    shape = "{http://www.w3.org/2000/svg}"
    assert drawn.get("aria-label") == f"Hilum: {words}"
    assert [each.text for each in drawn.iter(f"{shape}title")] == [f"Hilum: {words}"]
    assert [each.text for each in drawn.iter(f"{shape}text")] == ["Hilum", words]
    assert not [each for each in drawn.iter() if each.tag.endswith("script")]


@pytest.mark.parametrize(
    ("found", "known", "reviewed", "is_grey"),
    [
        (SHOWN, True, True, False),
        (replace(SHOWN, status=Status.INVALID), True, True, False),
        (SHOWN, True, False, True),
        (IN_SANDBOX, True, True, True),
        (SHOWN, False, True, True),
        (None, True, True, True),
    ],
    ids=["valid", "not valid", "of the regulated lane", "for sandboxes", "not known", "none"],
)
def test_only_a_known_state_of_what_was_reviewed_has_a_colour(
    found: Certificate | None, *, known: bool, reviewed: bool, is_grey: bool
) -> None:
    """C112, C113: access of the regulated lane, which nobody judged, does not look certified."""
    badge = policy.badge(found, known=known, now=NOW, reviewed=reviewed)
    none = policy.badge(None, known=True, now=NOW)

    def fill(drawn: str) -> str | None:
        shapes = ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect")  # noqa: S314 - made here
        return [each.get("fill") for each in shapes][1]

    assert (fill(badge) == fill(none)) is is_grey
    assert ("regulated access until" in badge) is (found is not None and not reviewed)


def test_the_best_and_newest_certificate_stands_for_an_app() -> None:
    old, new = SHOWN, replace(SHOWN, number=8)
    gone, held = (
        replace(SHOWN, number=9, status=Status.INVALID),
        replace(SHOWN, number=10, status=Status.SUSPENDED),
    )

    assert policy.current([gone, old, new, held]) == new
    assert policy.current([gone, held]) == held
    assert policy.current([gone, held, IN_GRACE]) == IN_GRACE
    assert policy.current([]) is None


# --- what a worker publishes ---------------------------------------------------------------------------------------------------


def published(*certificates: Certificate) -> Published:
    made = Published(cast("Any", None))
    made._apply(PublicationChanges(1, NOW, certificates, {}, KEYS, whole=True))
    return made


def test_a_name_that_two_apps_have_shows_the_certificate_of_neither() -> None:
    """C113: no vendor gets the badge of another's app by giving its own the same name."""
    namesake = replace(SHOWN, id="cert_2", app=AppId("app_2"), app_name=SHOWN.app_name.upper())

    assert published(SHOWN).of_app("rota") == SHOWN
    both = published(SHOWN, namesake)
    assert both.of_app("rota") is None
    assert (both.of_app("app_1"), both.of_app("app_2")) == (SHOWN, namesake)


def test_what_is_certified_for_sandboxes_alone_stands_for_no_app() -> None:
    assert published(replace(SHOWN, environment=Environment.SANDBOX)).of_app("app_1") is None


def test_a_certificate_names_the_address_of_what_everybody_may_read_alone() -> None:
    """C104, C113: of every other document the digest, which proves which it was."""
    documents = [
        Document(each.value, f"https://acme.example/{each.value}", "d" * 64, NOW.date(), visibility=each)
        for each in Visibility
    ]

    assert policy.documents_of(documents) == tuple(
        (each.value, "d" * 64, "https://acme.example/public" if each is Visibility.PUBLIC else "")
        for each in Visibility
    )
