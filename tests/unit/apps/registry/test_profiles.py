"""What a vendor states about an app: complete, valid, free of contradictions (C6)."""

from dataclasses import fields, replace
from typing import Any

import pytest

from hilum.apps.registry.models import App, Profile, Subcontractor
from hilum.apps.registry.profiles import html_fault, missing_metadata, profile_faults
from hilum.foundation.kernel.ids import AppId, VendorId

APP = App(
    AppId("app_1"),
    VendorId("ven_1"),
    "Notes",
    "Writes notes",
    "Documentation",
    category="documentation_assistance",
)
WHOLE = Profile(
    owner="Olga Owens",
    support_contact="help@acme.example",
    security_contact="security@acme.example",
    security_escalation="On-call engineer, +1 555 0100",
    privacy_policy="https://acme.example/privacy",
    terms="https://acme.example/terms",
    stores_data=True,
    retention="Notes are deleted after 30 days.",
    retention_days=30,
    subcontractors=(Subcontractor("Cloud Ltd", "Hosting", "DE"),),
    hosting_regions=("DE", "US-OH"),
)
STATED = [each.name for each in fields(Profile) if each.name != "revision"]


def test_a_whole_profile_is_missing_nothing_and_valid() -> None:
    assert missing_metadata(APP, WHOLE) == ()
    assert profile_faults(WHOLE) == {}
    assert missing_metadata(APP, replace(WHOLE, subcontractors=())) == (), "none is a statement"
    assert missing_metadata(APP, replace(WHOLE, stores_data=False, retention_days=0)) == ()


@pytest.mark.parametrize("name", STATED)
def test_each_part_that_is_not_stated_is_listed(name: str) -> None:
    """C6."""
    without = replace(WHOLE, **{name: getattr(Profile(), name)})

    assert missing_metadata(APP, without) == (name,)


def test_nothing_stated_is_no_fault_and_lists_everything() -> None:
    assert profile_faults(Profile()) == {}
    assert missing_metadata(replace(APP, purpose=" "), Profile()) == tuple(sorted([*STATED, "purpose"]))


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"privacy_policy": "http://acme.example/p"}, "privacy_policy", "redirect_not_https"),
        ({"privacy_policy": "javascript:alert(1)"}, "privacy_policy", "redirect_scheme"),
        ({"privacy_policy": "https://10.0.0.1/p"}, "privacy_policy", "redirect_ip_host"),
        ({"privacy_policy": "https://a@acme.example/p"}, "privacy_policy", "redirect_userinfo"),
        ({"terms": "https://localhost/t"}, "terms", "redirect_loopback"),
        ({"terms": "https://0x7f.1/t"}, "terms", "redirect_ip_host"),
        ({"terms": "https://acme.example/a/../t"}, "terms", "redirect_dot_segment"),
        ({"terms": WHOLE.privacy_policy}, "terms", "same_as_privacy_policy"),
        ({"support_contact": "help"}, "support_contact", "address_malformed"),
        ({"support_contact": "help@acme.example\nBcc: x@y.example"}, "support_contact", "address_malformed"),
        ({"security_contact": "a@b@c.example"}, "security_contact", "address_malformed"),
        ({"security_escalation": WHOLE.security_contact}, "security_escalation", "same_as_security_contact"),
        ({"owner": "<b>Olga</b>"}, "owner", "html_in_text"),
        ({"owner": "Olga\u202e"}, "owner", "name_characters"),
        ({"retention": "Kept <script>"}, "retention", "html_in_text"),
        ({"retention": "x" * 2_001}, "retention", "too_long"),
        ({"stores_data": False}, "retention_days", "retention_without_data"),
        ({"retention_days": 0}, "retention_days", "data_without_retention"),
        ({"retention_days": -1}, "retention_days", "out_of_range"),
        ({"hosting_regions": ("Germany",)}, "hosting_regions", "region_malformed"),
        ({"hosting_regions": ("DE", "DE")}, "hosting_regions", "named_twice"),
        ({"hosting_regions": ("FR",)}, "subcontractors", "region_not_listed"),
        ({"hosting_regions": ("DE",) * 51}, "hosting_regions", "too_many"),
        ({"subcontractors": (Subcontractor("Cloud", "Hosting", "DE"),) * 51}, "subcontractors", "too_many"),
        ({"subcontractors": (Subcontractor("<i>", "Hosting", "DE"),)}, "subcontractors", "html_in_text"),
        ({"subcontractors": (Subcontractor("Cloud", " ", "DE"),)}, "subcontractors", "name_missing"),
    ],
)  # fmt: skip
def test_what_is_invalid_or_contradictory_is_said_by_field_and_rule(
    change: dict[str, Any], field: str, code: str
) -> None:
    assert profile_faults(replace(WHOLE, **change))[field] == code


@pytest.mark.parametrize("text", ["<b>", "</p", "<!--", "a&nbsp;b", "&#60;", "JavaScript:x"])
def test_markup_is_found(text: str) -> None:
    assert html_fault(text) == "html_in_text"


@pytest.mark.parametrize("text", ["Weight < 50 kg", "R&D & more", "5 > 3"])
def test_plain_text_is_not_markup(text: str) -> None:
    assert html_fault(text) == ""
