"""The consent page: what it says, what ticks mean, and what deny does."""

import re

import pytest

from hilum.foundation.standards.smart.scopes import Prefix, types_of
from hilum.identity.people.policy import rights_of
from tests.flows.authorize_flow import Front, answer, error, front
from tests.flows.token_flow import MERCY
from tests.sim.one_world import in_one_world

__all__ = ["front"]

CONTEXT = "launch/patient openid fhirUser offline_access"
CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"


def token_after(front: Front, scope: str, *, without: tuple[str, ...] = ()) -> set[str]:
    browser = front.browser("pat")
    browser.authorize(scope=scope)
    told = answer(browser.allow(without=without))
    return set(front.redeem(told["code"], "web").json()["scope"].split(" "))


def test_the_page_says_who_asks_what_for_why_how_long_and_what_is_ticked(front: Front) -> None:
    """C87, C88; contract: initial ticks are stated on the page."""
    browser = front.browser("pat")

    page = browser.authorize(scope=f"{CONTEXT} patient/Condition.rs patient/Observation.crs").text

    for words in (
        "web",
        "Acme Health",
        "To be tested",
        "Certified until",
        "while you are away",
        "Everything the app asks for is ticked",
        "changes the record",
        "https://app.example",
    ):
        assert words in page, words
    assert "patient/Condition" not in re.sub(r'(value|id|for)="[^"]*"', "", page)


def test_everything_left_ticked_grants_the_exact_strings_asked(front: Front) -> None:
    """Contract, forms that a script can send."""
    scope = f"{CONTEXT} patient/*.rs patient/Observation.rs?category=laboratory"

    assert token_after(front, scope) == set(scope.split(" "))


def test_a_wildcard_with_types_unticked_becomes_the_remaining_types(front: Front) -> None:
    """Conformance 3.2: limited access."""
    browser = front.browser("pat")
    browser.authorize(scope=f"{CONTEXT} patient/*.rs")
    form = browser.form("decision")
    kept = {"patient/Patient.rs", "patient/Immunization.rs", "offline_access"}
    others = tuple(value for name, value in form.fields if name == "scope" and value not in kept)

    told = answer(browser.allow(without=others))

    granted = set(front.redeem(told["code"], "web").json()["scope"].split(" "))
    assert granted == set(CONTEXT.split(" ")) | {"patient/Patient.rs", "patient/Immunization.rs"}


def test_a_type_can_be_unticked_and_the_rest_stays_as_asked(front: Front) -> None:
    scope = f"{CONTEXT} patient/Patient.rs patient/Immunization.rs patient/Goal.rs"

    assert token_after(front, scope, without=("patient/Immunization.rs",)) == {
        *CONTEXT.split(" "),
        "patient/Patient.rs",
        "patient/Goal.rs",
    }


def test_categories_can_be_chosen_instead_of_the_whole_type(front: Front) -> None:
    """Conformance [9.26]: granular scope selection."""
    scope = f"{CONTEXT} patient/Condition.rs patient/Observation.rs patient/Patient.rs"
    browser = front.browser("pat")
    browser.authorize(scope=scope)
    values = browser.form("decision").choices["scope"]
    for code in ("encounter-diagnosis", "problem-list-item"):
        assert f"patient/Condition.rs?category={CONDITION}|{code}" in values
    assert any("health-concern" in value for value in values)
    for code in ("procedure", "laboratory", "social-history", "sdoh", "survey", "vital-signs"):
        assert any(v.startswith("patient/Observation.rs?category=") and v.endswith(code) for v in values)
    dropped = tuple(
        v for v in values if "?category=" in v and not v.endswith(("|problem-list-item", "|laboratory"))
    )

    told = answer(browser.allow(without=dropped))

    granted = set(front.redeem(told["code"], "web").json()["scope"].split(" "))
    assert set(CONTEXT.split(" ")) | {"patient/Patient.rs"} <= granted
    assert not {"patient/Condition.rs", "patient/Observation.rs"} & granted
    assert f"patient/Condition.rs?category={CONDITION}|problem-list-item" in granted
    assert any(g.startswith("patient/Observation.rs?") and g.endswith("|laboratory") for g in granted)


def test_offline_access_is_shown_and_can_be_declined(front: Front) -> None:
    """Conformance 3.7 item 4."""
    browser = front.browser("pat")
    browser.authorize()

    told = answer(browser.allow(without=("offline_access",)))

    token = front.redeem(told["code"], "web").json()
    assert "refresh_token" not in token
    assert "offline_access" not in token["scope"].split(" ")


def test_deny_returns_access_denied_to_the_app_and_records_it(front: Front) -> None:
    """S3."""
    browser = front.browser("pat")
    browser.authorize()

    error(browser.deny(), "access_denied")

    (event,) = front.events("authserver.request.refuse")
    assert event.reason == "person_declined"
    assert front.events("consent.authorization.record") == []


def test_staff_may_deny_at_the_notice_too(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)

    error(browser.deny(), "access_denied")


def test_nothing_ticked_grants_nothing(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize(scope="launch/patient patient/Goal.rs")

    error(browser.allow(without=("scope",)), "access_denied")


def test_a_patient_is_asked_every_time(front: Front) -> None:
    """Security decision 14."""
    for _ in range(2):
        browser = front.browser("pat")
        assert "Share your record" in browser.authorize().text
        answer(browser.allow())


def test_a_patient_in_an_ehr_launch_is_asked_too(front: Front) -> None:
    browser = front.browser("pat")

    page = browser.authorize(launch=front.open_launch("pat").handle)

    assert "Share your record" in page.text
    assert front.redeem(answer(browser.allow())["code"], "web").json()["patient"] == "p1"


@in_one_world(
    "extra",
    [
        "patient/*.cruds",
        "patient/*.rs",
        "user/Patient.rs",
        "system/*.rs",
        "patient/Goal.cruds",
        "patient/Goal.rs?lifecycle-status=active",
        "offline_access",
        "fhirUser",
        "nonsense",
    ],
)
def test_a_tick_that_was_not_offered_counts_for_nothing(front: Front, extra: str) -> None:
    """C68: consent only narrows."""
    browser = front.browser("pat")
    browser.authorize(scope="launch/patient openid patient/Goal.rs patient/Patient.rs")
    form = browser.form("decision")

    told = answer(
        browser.press(form, ("decision", "allow"), ("scope", extra), without=("patient/Patient.rs",))
    )

    scope = front.redeem(told["code"], "web").json()["scope"].split(" ")
    assert set(scope) == {"launch/patient", "openid", "patient/Goal.rs"}


def test_a_page_for_everything_lists_each_type_once(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize(scope="launch/patient patient/*.rs")

    values = browser.form("decision").choices["scope"]

    assert len(values) == len(set(values))
    named = {value.split("/")[1].split(".")[0] for value in values}
    reached = {type_ for type_ in types_of(Prefix.PATIENT) if rights_of("patient").get(type_)}
    assert named == reached - {"Binary"}


def test_two_presses_of_allow_earn_one_code(front: Front) -> None:
    """One request issues one code at most."""
    browser = front.browser("pat")
    browser.authorize()
    form = browser.form("decision")
    answer(browser.press(form, ("decision", "allow")))

    again = browser.press(form, ("decision", "allow"))

    assert again.status_code == 400
    assert "already answered" in again.text
    assert len(front.events("authserver.code.issue")) == 1


def test_a_form_without_a_decision_or_with_two_is_refused(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize()
    form = browser.form("decision")

    assert browser.press(form).status_code == 400
    assert browser.press(form, ("decision", "maybe")).status_code == 400
    doubled = browser.press(form, ("decision", "allow"), ("decision", "deny"))
    assert doubled.status_code in {400, 422}
    assert front.events("authserver.code.issue") == []


# --- one permission, one tick --------------------------------------------------------------------------------------------------

BOTH = "launch/patient openid fhirUser offline_access user/*.* patient/*.read"


def test_with_user_and_patient_scopes_asked_each_permission_stands_once(front: Front) -> None:
    """C88. There were 140 boxes, 55 titles twice."""
    browser = front.browser("pat")
    browser.authorize(scope=BOTH)

    values = browser.form("decision").choices["scope"]

    assert len(values) == len(set(values))
    assert len(values) < 90
    assert "shares no such entries" not in browser.last.text


def test_what_is_unticked_is_not_granted_under_any_prefix_nor_after_refresh(front: Front) -> None:
    """C88, C91: the app read on what the person had declined."""
    granted = token_after(front, BOTH, without=("patient/Encounter.rs",))

    assert not [text for text in granted if "Encounter" in text or "/*" in text]
    assert {"patient/Immunization.rs", "user/Immunization.rs", "fhirUser"} <= granted


def test_who_declines_their_own_details_has_them_read_by_no_other_scope(front: Front) -> None:
    """Security decision 11 opens a person's own entry to fhirUser, so that goes with the tick."""
    granted = token_after(
        front, "launch/patient openid fhirUser patient/*.rs", without=("patient/Patient.rs",)
    )

    assert "fhirUser" not in granted
    assert "openid" in granted
    assert not [text for text in granted if text.startswith(("patient/Patient", "patient/*"))]


def test_declining_today_takes_it_out_of_what_was_agreed_before(front: Front) -> None:
    """C88, C91: tokens of an earlier, wider agreement would read on behind the page's back."""
    scope = f"{CONTEXT} patient/Observation.rs patient/Encounter.rs"
    browser = front.browser("pat")
    browser.authorize(scope=scope)
    first = front.redeem(answer(browser.allow())["code"], "web").json()

    browser.authorize(scope=scope)
    answer(browser.allow(without=("patient/Encounter.rs",)))

    assert not front.is_alive(first["access_token"])
    again = front.refresh(first["refresh_token"], "web").json()
    assert "patient/Observation.rs" in again["scope"].split(" ")
    assert "patient/Encounter.rs" not in again["scope"].split(" ")
    wider = front.refresh(again["refresh_token"], "web", scope="patient/Encounter.rs")
    assert wider.status_code == 400
    (event,) = front.events("consent.authorization.narrow")
    assert event.person == front.people["pat"].id


@pytest.mark.parametrize(
    ("scope", "unticked"),
    [
        pytest.param("launch/patient patient/Goal.rs", ("scope",), id="everything"),
        pytest.param(
            f"{CONTEXT} patient/Observation.rs patient/Encounter.rs", ("scope",), id="all but openid"
        ),
    ],
)
def test_allowing_nothing_takes_what_was_unticked_out_of_what_was_agreed_before(
    front: Front, scope: str, unticked: tuple[str, ...]
) -> None:
    """C88, C91: an Allow that grants too little is refused, and what it unticked is withheld all the same."""
    browser = front.browser("pat")
    browser.authorize(scope=scope)
    first = front.redeem(answer(browser.allow())["code"], "web").json()

    browser.authorize(scope=scope)
    browser.allow(without=unticked)

    assert not front.is_alive(first["access_token"])
    assert front.events("consent.authorization.withdraw") or front.events("consent.authorization.narrow")
    if "refresh_token" in first:
        again = front.refresh(first["refresh_token"], "web")
        assert again.status_code == 400 or "patient/" not in again.json()["scope"].replace(
            "launch/patient", ""
        )


def test_an_allow_that_grants_nothing_leaves_what_was_not_on_the_page(front: Front) -> None:
    """What was not on the page was not declined, whatever became of the request."""
    browser = front.browser("pat")
    browser.authorize(scope=f"{CONTEXT} patient/Observation.rs")
    first = front.redeem(answer(browser.allow())["code"], "web").json()

    browser.authorize(scope="launch/patient patient/Goal.rs")
    error(browser.allow(without=("scope",)), "access_denied")

    assert front.is_alive(first["access_token"])
    assert front.events("consent.authorization.narrow") == []
    assert front.events("consent.authorization.withdraw") == []


def test_denying_a_request_leaves_earlier_agreements_alone(front: Front) -> None:
    """ADR 17: Deny refuses this request and unticks nothing; withdrawing is done on the page of connected apps."""
    scope = f"{CONTEXT} patient/Observation.rs"
    browser = front.browser("pat")
    browser.authorize(scope=scope)
    first = front.redeem(answer(browser.allow())["code"], "web").json()

    browser.authorize(scope=scope)
    error(browser.deny(), "access_denied")

    assert front.is_alive(first["access_token"])
    assert front.events("consent.authorization.narrow") == []
    assert front.events("consent.authorization.withdraw") == []


SAID = "Deny</strong> refuses only what it asks for now; what you allowed before stays allowed."


def test_a_person_who_agreed_before_reads_what_deny_leaves_and_can_end_it(front: Front) -> None:
    """S1.12, ADR 17: nobody thinks that the app has nothing because they pressed Deny. It counts for the app, whichever of its clients."""
    front.add_app("phone", front.clients["web"].type, beside="web")
    scope = f"{CONTEXT} patient/Observation.rs"
    browser = front.browser("pat")
    earlier = {}
    for client in ("web", "phone"):
        page = browser.authorize(client=client, scope=scope).text
        assert (SAID in page, 'value="remove"' in page) == (client == "phone", client == "phone")
        earlier[client] = front.redeem(answer(browser.allow())["code"], client).json()

    page = browser.authorize(scope=scope).text
    assert SAID in page
    assert f"/t/{MERCY}/oauth/manage" in page
    error(browser.press(browser.form("decision"), ("decision", "remove")), "access_denied")

    for client, before in earlier.items():
        assert not front.is_alive(before["access_token"])
        assert front.refresh(before["refresh_token"], client).status_code == 400
    (withdrawn,) = front.events("consent.authorization.withdraw")
    assert withdrawn.person == front.people["pat"].id
    assert front.events("authserver.request.refuse")[0].reason == "person_declined"
    assert SAID not in browser.authorize(scope=scope).text


def test_removing_an_app_on_the_page_leaves_others_alone(front: Front) -> None:
    """What ends is the person's own, with this app."""
    front.add_app("second", front.clients["web"].type)
    scope = f"{CONTEXT} patient/Observation.rs"
    pat, gus = front.browser("pat"), front.browser("gus")
    pat.authorize(client="second", scope=scope)
    of_second = front.redeem(answer(pat.allow())["code"], "second").json()
    gus.authorize(scope=scope)
    gus.pick("p1")
    of_gus = front.redeem(answer(gus.allow())["code"], "web").json()
    pat.authorize(scope=scope)

    error(pat.press(pat.form("decision"), ("decision", "remove")), "access_denied")

    assert front.is_alive(of_second["access_token"])
    assert front.is_alive(of_gus["access_token"])
    assert front.events("consent.authorization.withdraw") == []


def test_staff_who_used_the_app_before_read_it_at_the_notice_too(front: Front) -> None:
    """A new version asks again, while the tokens of the one before go on."""
    browser = front.browser("dora")
    page = browser.authorize(launch=front.open_launch().handle)
    assert SAID not in page.text
    held = front.redeem(answer(browser.allow())["code"], "web").json()

    page = browser.authorize(launch=front.open_launch().handle, prompt="consent")
    assert SAID in page.text
    error(browser.press(browser.form("decision"), ("decision", "remove")), "access_denied")

    assert not front.is_alive(held["access_token"])


def test_what_is_declined_beside_one_chart_is_withheld_in_an_agreement_about_another(front: Front) -> None:
    """S1.12, C88: user/ reaches every chart; the review read on through an agreement about another chart and another client of the app."""
    front.add_app("phone", front.clients["web"].type, beside="web")
    scope = f"{CONTEXT} patient/Encounter.rs user/Encounter.rs user/Goal.rs"
    browser = front.browser("gus")
    earlier = {}
    for client in ("web", "phone"):
        browser.authorize(client=client, scope=scope)
        browser.pick("p1")
        earlier[client] = front.redeem(answer(browser.allow())["code"], client).json()

    browser.authorize(scope=scope)
    browser.pick("p2")
    answer(browser.allow(without=("patient/Encounter.rs",)))

    for client, before in earlier.items():
        assert not front.is_alive(before["access_token"])
        left = front.refresh(before["refresh_token"], client).json()["scope"].split(" ")
        assert "user/Encounter.rs" not in left
        assert {"patient/Encounter.rs", "user/Goal.rs"} <= {*left}


def test_agreeing_to_less_by_asking_less_leaves_earlier_agreements_alone(front: Front) -> None:
    """What was not on the page was not declined."""
    browser = front.browser("pat")
    browser.authorize(scope=f"{CONTEXT} patient/Observation.rs patient/Encounter.rs")
    first = front.redeem(answer(browser.allow())["code"], "web").json()

    browser.authorize(scope="launch/patient openid patient/Observation.rs")
    answer(browser.allow())

    assert front.is_alive(first["access_token"])
    assert front.events("consent.authorization.narrow") == []


def test_a_proxy_sees_when_an_app_asks_for_every_record_they_may_open(front: Front) -> None:
    """C87: user/ scopes reach beyond the record that was chosen."""
    browser = front.browser("gus")
    sentence = "cover every record that you may open"

    browser.authorize(scope="launch/patient openid patient/Observation.rs")
    assert sentence not in browser.pick("p2").text
    browser.authorize(scope="launch/patient openid user/Observation.rs patient/Observation.rs")
    assert sentence in browser.pick("p2").text

    alone = front.browser("pat").authorize(scope="launch/patient openid user/Observation.rs")
    assert sentence not in alone.text
