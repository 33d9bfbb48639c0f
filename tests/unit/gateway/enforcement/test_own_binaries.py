"""The id of a Binary that an app stored proves whose it is, and one plain pointer at it is allowed (C73, ADR 27)."""

import hmac
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.binaries import binary_fault
from hilum.foundation.standards.fhir.values import is_id
from hilum.gateway.enforcement.attachments import Mention
from hilum.gateway.enforcement.own_binaries import is_of, new_id, points_at_own

BASE = "https://apps.hospital.example/t/general/fhir/"
OWNER = ("general", "app_1", "p1")
URL = ("content", "attachment", "url")


def mac(data: bytes) -> str:
    return hmac.digest(b"a key that no app has", data, "sha256").hex()


OWN = new_id("secret", OWNER, mac)
DOCUMENT = {"resourceType": "DocumentReference", "subject": {"reference": "Patient/p1"}}


def allowed(
    text: str, path: tuple[str, ...] = URL, tenant: str = "general", app: str = "app_1", **changed: Any
) -> bool:
    return points_at_own(Mention(path, text), DOCUMENT | changed, (BASE,), tenant=tenant, app=app, mac=mac)


def test_an_own_binary_may_be_pointed_at_by_its_plain_address() -> None:
    assert is_id(OWN)
    assert allowed(f"Binary/{OWN}")
    assert allowed(f"{BASE}Binary/{OWN}")


@pytest.mark.parametrize(
    "text",
    [
        "Binary/b2",
        f"Binary/{OWN}/_history/1",
        f"Binary/{OWN}?x=1",
        f"Binary/{OWN}#x",
        f"Binary/{OWN} ",
        f"/Binary/{OWN}",
        f"./Binary/{OWN}",
        f"binary/{OWN}",
        f"Binary%2F{OWN}",
        f"//apps.hospital.example/t/general/fhir/Binary/{OWN}",
        f"https://other.example/fhir/Binary/{OWN}",
        f"{BASE}{BASE}Binary/{OWN}",
        f"Binary/{OWN[:-1]}0" if not OWN.endswith("0") else f"Binary/{OWN[:-1]}1",
        f"Binary/{OWN.upper()}",
        f"Binary/{OWN[:28]}",
        f"Binary/{OWN}Binary/b2",
        f"Binary/b2,Binary/{OWN}",
    ],
)
def test_anything_but_the_plain_address_is_refused(text: str) -> None:
    assert not allowed(text)


@pytest.mark.parametrize(
    ("given_", "changed"),
    [
        ({"tenant": "children"}, {}),
        ({"app": "app_2"}, {}),
        ({}, {"subject": {"reference": "Patient/p2"}}),
        ({}, {"subject": {"reference": "Group/p1"}}),
        ({}, {"subject": None}),
        ({}, {"subject": [{"reference": "Patient/p1"}, {"reference": "Patient/p2"}]}),
        ({}, {"subject": {"reference": "https://other.example/Patient/p1"}}),
        ({"path": ("extension", "valueAttachment", "url")}, {}),
        ({"path": ("content", "extension", "valueAttachment", "url")}, {}),
        ({"path": ("contained", "content", "attachment", "url")}, {}),
        ({"path": ("content", "attachment", "title")}, {}),
        ({"path": ("text", "div")}, {}),
        ({"path": ("url",)}, {}),
        ({}, {"resourceType": "Observation"}),
        ({}, {"resourceType": "Practitioner"}),
        ({}, {"resourceType": "Provenance"}),
        ({}, {"resourceType": "Nothing"}),
    ],
)
def test_of_another_hospital_app_patient_or_place_it_is_refused(
    given_: dict[str, Any], changed: dict[str, Any]
) -> None:
    assert not allowed(f"Binary/{OWN}", **given_, **changed)


def test_two_binaries_of_one_owner_have_two_ids() -> None:
    """They are stored by PUT: an id that came again would replace what the app stored before."""
    assert new_id("another secret", OWNER, mac) != OWN


@given(st.text(max_size=80))
def test_no_text_is_an_id_by_chance(text: str) -> None:
    assert not is_of(text, OWNER, mac)


@example(("general", "app_1", "p1"), ("general", "app_", "1p1"))
@example(("general", "app_1", "p1"), ("generalapp_1", "", "p1"))
@given(st.tuples(*[st.text(max_size=6)] * 3), st.tuples(*[st.text(max_size=6)] * 3))
def test_an_id_is_that_of_one_owner(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert is_of(new_id("s", one, mac), other, mac) == (one == other)


@pytest.mark.parametrize(
    "changed",
    [
        {"data": ""},
        {"data": None},
        {"data": 5},
        {"data": "not base64!"},
        {"data": "YQ==\n"},
        {"contentType": ""},
        {"contentType": "text/html; charset=utf-8"},
        {"contentType": None},
        {"meta": {"security": []}},
        {"extension": [{"url": "x", "valueUrl": "Binary/b2"}]},
        {"implicitRules": "x"},
        {"_data": {}},
    ],
)
def test_a_binary_to_store_holds_its_bytes_and_nothing_else(changed: dict[str, Any]) -> None:
    whole = {"resourceType": "Binary", "contentType": "image/png", "data": "YQ==", "securityContext": {}}

    assert binary_fault(whole) == ""
    assert binary_fault(whole | changed)
