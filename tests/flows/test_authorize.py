"""From an authorization request to a code: EHR launch and standalone, GET and POST, and every way it is refused."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType, Deployment
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewVersion
from hilum.authorization.launches import service as launches
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.kernel.ids import LaunchId
from hilum.identity.people import service as identity
from hilum.identity.signin import service as signin
from hilum.records.audit.policy import SENT_BOUND
from tests.flows.authorize_flow import SCOPE, STANDALONE, STATE, Front, answer, error, front, shown
from tests.flows.authorize_flow import patient as a_patient
from tests.flows.token_flow import BASE, MERCY, OTHER, REDIRECT
from tests.sim.one_world import in_one_world

__all__ = ["front"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_ehr_launch_leads_from_the_open_session_over_a_notice_to_a_code(front: Front, method: str) -> None:
    """C29, C32; SMART 2.2 app-launch; docs/architecture.md, An EHR launch."""
    opened = front.open_launch()
    browser = front.browser("dora")

    browser.authorize(method=method, launch=opened.handle)
    told = answer(browser.allow())

    assert told["state"] == STATE
    assert told["iss"] == f"{BASE}/t/{MERCY}"
    token = front.redeem(told["code"], "web").json()
    assert token["patient"] == "p1"
    assert token["encounter"] == "e1"
    assert token["need_patient_banner"] is False
    assert token["intent"] == "reconcile"
    assert token["smart_style_url"] == front.site().style_url
    assert token["scope"] == SCOPE
    assert "fhirContext" not in token
    assert token["id_token"]
    assert token["refresh_token"]


def test_a_launch_without_a_session_asks_for_sign_in_and_continues_after_it(front: Front) -> None:
    """Security decision 2: a launch never authenticates."""
    opened = front.open_launch()
    browser = front.browser()

    page = browser.authorize(launch=opened.handle)
    assert "app.example" not in page.text
    assert ">Sign in to open web<" in page.text, "what the person signs in for is named"
    assert f"form-action 'self' {REDIRECT.rsplit('/', 1)[0]}" in page.headers["content-security-policy"]
    browser.sign_in("dora")
    told = answer(browser.allow())

    assert front.redeem(told["code"], "web").json()["patient"] == "p1"


def test_staff_see_the_notice_once_per_version_and_then_go_straight_through(front: Front) -> None:
    """Security decision 14: a first-use notice per version."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    answer(browser.allow())

    again = browser.authorize(launch=front.open_launch().handle)
    assert "code" in answer(again)

    app = front.clients["web"].app
    version = front.run(lambda ctx: registry.add_version(ctx, app, NewVersion("2.0")))
    end = front.clock.now() + timedelta(days=90)
    scopes = front.clients["web"].scopes
    front.run(lambda ctx: registry.certify(ctx, CertifyOrder(version.id, Environment.SANDBOX, scopes, end)))
    front.run(lambda ctx: clients.adopt_version(ctx, front.clients["web"].id, version.id))
    page = browser.authorize(launch=front.open_launch().handle)
    assert page.status_code == 200
    assert "has approved this app for your role" in page.text


def test_staff_are_asked_again_for_more_and_when_the_client_wants_it(front: Front) -> None:
    """C90."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle, scope="launch openid user/Patient.r")
    answer(browser.allow())

    less = browser.authorize(launch=front.open_launch().handle, scope="launch user/Patient.r")
    assert "code" in answer(less)
    more = browser.authorize(launch=front.open_launch().handle, scope="launch openid user/Patient.rs")
    assert more.status_code == 200
    asked = browser.authorize(
        launch=front.open_launch().handle, scope="launch openid user/Patient.r", prompt="consent"
    )
    assert asked.status_code == 200


@pytest.mark.parametrize(
    "redirect_uri", ["http://127.0.0.1:5000/cb", "http://localhost:5000/cb", "org.example.app:/cb"]
)
def test_a_sandbox_shows_the_notice_once_even_to_a_client_that_anybody_can_impersonate(
    front: Front, redirect_uri: str
) -> None:
    """ADR 17. Everywhere else such a client is never let through silently: security decision 14, ``unit/authorization/authorize/test_policy.py``."""
    front.add_app(
        "native",
        ClientType.PUBLIC,
        redirect_uris=(redirect_uri,),
        origins=(),
        deployment=Deployment.NATIVE,
        launch_uri="https://app.example/launch",
    )
    browser = front.browser("dora")
    launch = front.open_launch(client="native").handle
    first = browser.authorize(client="native", launch=launch, redirect_uri=redirect_uri)
    assert first.status_code == 200
    assert browser.allow().headers["location"].startswith(redirect_uri + "?code=")

    launch = front.open_launch(client="native").handle
    second = browser.authorize(client="native", launch=launch, redirect_uri=redirect_uri)

    assert second.headers["location"].startswith(redirect_uri + "?code=")


def test_a_standalone_launch_lets_a_physician_search_and_choose(front: Front) -> None:
    """C34; conformance 1.2."""
    browser = front.browser()

    browser.authorize()
    browser.sign_in("dora")
    form = browser.form("patient")
    assert form.choices["patient"] == ["p1", "p2", "p3"]
    assert "Amy Shaw, born 2 January 1911, female" in browser.last.text
    search = browser.form("q")
    fields = "&".join(f"{k}={v}" for k, v in search.fields if k != "q")
    browser.follow(browser.http.get(f"{search.action}?{fields}&q=Tran"))
    assert browser.form("patient").choices["patient"] == ["p2"]
    browser.pick("p2")
    told = answer(browser.allow())

    token = front.redeem(told["code"], "web").json()
    assert token["patient"] == "p2"
    assert "encounter" not in token
    assert "need_patient_banner" not in token
    assert token["scope"] == STANDALONE
    events = front.events("authserver.context.choose")
    assert [(event.patient, event.person) for event in events] == [("p2", front.people["dora"].id)]


def test_a_long_list_of_patients_has_more_pages_that_cannot_be_forged(front: Front) -> None:
    """House rule 13: every page is bounded; works without script."""
    front.records.load([a_patient(n, f"Family{n:03}", "X") for n in range(10, 260)])
    browser = front.browser("dora")
    browser.authorize()
    first = browser.form("patient").choices["patient"]
    link = browser.last.text.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")

    browser.follow(browser.http.get(link))

    second = browser.form("patient").choices["patient"]
    assert len(first) == 200
    assert len(second) == 53
    assert not set(first) & set(second)
    forged = browser.follow(browser.http.get(link[:-4] + "AAAA"))
    assert forged.status_code == 200
    assert browser.form("patient").choices["patient"] == first


def test_somebody_with_one_chart_is_not_asked_which(front: Front) -> None:
    """C34."""
    browser = front.browser("pat")

    page = browser.authorize()

    assert "Share your record" in page.text
    token = front.redeem(answer(browser.allow())["code"], "web").json()
    assert token["patient"] == "p1"
    assert [event.patient for event in front.events("authserver.context.choose")] == ["p1"]


def test_a_proxy_chooses_among_own_charts_only(front: Front) -> None:
    """C34."""
    browser = front.browser("gus")
    browser.authorize()
    form = browser.form("patient")

    assert form.choices["patient"] == ["p1", "p2"]
    assert "Usher" not in browser.last.text
    refused = browser.press(form, ("patient", "p3"))
    assert refused.status_code == 200
    assert "That choice does not fit" in refused.text
    assert "Usher" not in refused.text
    reasons = [event.reason for event in front.events("authserver.context.choose")]
    assert reasons == ["patient_out_of_reach"]
    browser.pick("p2")
    assert front.redeem(answer(browser.allow())["code"], "web").json()["patient"] == "p2"


@in_one_world("patient", ["", "p99", "../Patient/p1", "p1,p2", "p1&_id=p2", "x" * 3000])
def test_a_patient_who_is_not_there_cannot_be_chosen(front: Front, patient: str) -> None:
    browser = front.browser("dora")
    browser.authorize()

    page = browser.pick(patient)

    assert page.status_code == 200
    assert "That choice does not fit" in page.text
    assert front.events("authserver.context.choose") == []


def test_somebody_who_finds_no_patient_has_a_way_back_to_the_app(front: Front) -> None:
    """RFC 6749 4.1.2.1: the app receives access_denied instead of nothing."""
    browser = front.browser("dora")
    browser.authorize()

    left = browser.press(browser.form("decision"), ("decision", "deny"))

    assert answer(left)["error"] == "access_denied"
    assert "code" not in answer(left)


def test_nobody_gets_past_the_picker_by_allowing(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize()

    stayed = browser.press(browser.form("decision"), ("decision", "allow"))

    assert "Choose a patient" in stayed.text


def test_an_encounter_is_asked_for_when_the_app_asks_for_one(front: Front) -> None:
    """SMART 2.2 launch/encounter."""
    scope = "launch/patient launch/encounter openid patient/*.rs"
    browser = front.browser("dora")
    browser.authorize(scope=scope)

    browser.pick("p1")
    assert browser.form("encounter").choices["encounter"] == ["e1b", "e1", ""]
    assert "5 February 2026 · Check-up · finished" in browser.last.text
    wrong = browser.press(browser.form("encounter"), ("encounter", "e2"))
    assert "That choice does not fit" in wrong.text
    browser.pick("p1")
    browser.press(browser.form("encounter"), ("encounter", "e1"))
    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert (token["patient"], token["encounter"]) == ("p1", "e1")


def test_patient_and_encounter_can_be_sent_at_once_and_none_is_an_answer(front: Front) -> None:
    """Contract, forms that a script can send."""
    for encounter, expected in (("e2", "e2"), ("", None)):
        browser = front.browser("nora")
        browser.authorize(scope="launch/encounter openid", prompt="consent")
        browser.press(browser.form("patient"), ("patient", "p2"), ("encounter", encounter))
        token = front.redeem(answer(browser.allow())["code"], "web").json()

        assert token["patient"] == "p2"
        assert token.get("encounter") == expected


def test_a_patient_grant_without_a_patient_is_refused(front: Front) -> None:
    """C34."""
    browser = front.browser("dora")

    assert "patient" in error(browser.authorize(scope="openid patient/*.rs"), "invalid_scope")
    launch = front.open_launch(patient="", encounter="").handle
    assert "patient" in error(browser.authorize(launch=launch), "invalid_scope")


def test_user_scopes_of_an_ehr_launch_get_no_patient_scope_beside_them(front: Front) -> None:
    """Conformance 3.3: a granted patient/ scope fails."""
    browser = front.browser("dora")
    scope = "launch openid fhirUser offline_access user/Patient.rs user/Observation.rs"
    browser.authorize(launch=front.open_launch().handle, scope=scope)

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["scope"] == scope
    assert (token["patient"], token["encounter"]) == ("p1", "e1")


def test_scopes_beyond_the_role_are_left_out(front: Front) -> None:
    """S3: user/ scopes never exceed the person's rights; C46: the answer says what was granted."""
    browser = front.browser("nora")
    scope = "launch openid user/MedicationRequest.cruds user/Claim.rs"
    browser.authorize(launch=front.open_launch("nora").handle, scope=scope)

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["scope"] == "launch openid user/MedicationRequest.rs"


def test_v1_scopes_are_answered_in_v2(front: Front) -> None:
    """C59; conformance [9.22]."""
    browser = front.browser("pat")
    browser.authorize(scope="launch/patient openid patient/Observation.read patient/Patient.read profile")

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["scope"] == "launch/patient openid patient/Observation.rs patient/Patient.rs"


@pytest.mark.parametrize(
    ("order", "asked", "stop", "code", "said"),
    [
        (
            {},
            "launch user/Claim.rs",
            "",
            "invalid_scope",
            "allows nothing that this app asks for",
        ),
        ({}, "launch user/Patient.rs", "Patient", "invalid_scope", "What this app needs is stopped"),
        ({"patient": "", "encounter": ""}, SCOPE, "", "invalid_scope", "none is open"),
        ({}, "openid patient/Patient.rs", "", "invalid_scope", "does not request it"),
    ],
)
def test_who_opened_an_app_from_a_chart_reads_why_it_gets_nothing(
    front: Front, order: dict[str, str], asked: str, stop: str, code: str, said: str
) -> None:
    """C216: the rule, whose it is and what to do, with a number; from there the app gets its OAuth error."""
    launch = front.open_launch("nora", **order).handle
    if stop:
        front.engage(TargetKind.RESOURCE_TYPE, stop, Mode.FULL_STOP)

    page = front.browser("nora").authorize(launch=launch, scope=asked)

    assert page.status_code == 403
    assert said in page.text
    assert "Who decides: " in page.text
    assert "What to do next." in page.text
    error(page, code)


def test_an_app_that_began_by_itself_or_wants_no_page_gets_its_error_at_once(front: Front) -> None:
    """C216: nobody waits in a chart."""
    launch = front.open_launch("nora").handle
    nora = front.browser("nora")
    alone = nora.authorize(scope="openid patient/*.rs")
    silent = nora.authorize(launch=launch, scope="launch user/Claim.rs", prompt="none")
    invented = nora.authorize(launch="never-opened")

    assert [each.status_code for each in (alone, silent, invented)] == [303, 303, 303]
    error(alone, "invalid_scope")
    error(silent, "invalid_scope")
    error(invented, "invalid_request")


def test_a_launch_that_was_used_sends_its_clinician_back_to_the_chart(front: Front) -> None:
    """C216."""
    launch = front.open_launch("nora").handle
    front.browser("nora").authorize(launch=launch)

    again = front.browser("nora").authorize(launch=launch)

    assert "works once and for a short time" in again.text
    assert error(again, "invalid_request").startswith("launch_over: ")


@in_one_world("method", ["GET", "POST"])
@in_one_world(
    ("changes", "expected"),
    [
        ({"aud": "https://inferno.healthit.gov/invalid_aud"}, "invalid_request"),
        ({"aud": None}, "invalid_request"),
        ({"aud": f"{BASE}/t/{OTHER}/fhir"}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"scope": "openid patient/Observation.sr"}, "invalid_scope"),
        ({"scope": "patient/*.rs system/*.rs"}, "invalid_scope"),
    ],
)
def test_an_invalid_request_is_answered_to_the_client_at_once(
    front: Front, method: str, changes: dict[str, str], expected: str
) -> None:
    """C16, C28, C29, C42; nobody has to sign in for it, and nothing is kept."""
    error(front.browser().authorize(method=method, **changes), expected)
    assert front.requests() == 0
    assert front.events("authserver.request.refuse")[0].reason == expected


def test_a_wrong_redirect_is_on_record_with_its_client_and_the_address_that_was_sent(front: Front) -> None:
    """C69, ADR 11: bounded and printable; of a client that nobody knows, what it called itself."""
    front.browser().authorize(redirect_uri="https://elsewhere.example/\x1b[31m" + "x" * 1_000)
    front.browser().authorize(client_id="nobody")

    unknown, wrong = front.events("authserver.request.refuse")

    client = front.clients["web"]
    assert (wrong.client, wrong.app, wrong.reason) == (client.id, client.app, "redirect_uri_unknown")
    sent = wrong.facts["redirect_uri"]
    assert sent.startswith("https://elsewhere.example/?[31mxxx")
    assert len(sent) == SENT_BOUND
    assert (unknown.client, unknown.app, unknown.facts["client_id"]) == ("", "", "nobody")


def test_a_request_may_name_the_base_with_a_slash(front: Front) -> None:
    """Conformance 0.6."""
    page = front.browser("pat").authorize(aud=f"{BASE}/t/{MERCY}/fhir/")

    assert page.status_code == 200


def test_what_an_app_says_of_context_changes_nothing_and_is_recorded(front: Front) -> None:
    """C31."""
    browser = front.browser("dora")
    extra = {"patient": "p2", "encounter": "e2", "fhirContext": '[{"reference":"Task/1"}]'}
    browser.authorize(launch=front.open_launch().handle, **extra)

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert (token["patient"], token["encounter"]) == ("p1", "e1")
    (event,) = front.events("authserver.context.ignore")
    assert event.facts["parameters"] == ["encounter", "fhirContext", "patient"]


def test_fhir_context_is_disclosed_when_the_launch_has_it_and_the_grant_reads_it(front: Front) -> None:
    """C33."""
    context = ({"reference": "Task/1"}, {"reference": "ImagingStudy/2"})
    browser = front.browser("dora")
    launch = front.open_launch(fhir_context=context).handle
    browser.authorize(launch=launch, scope="launch patient/Task.rs")

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["fhirContext"] == [{"reference": "Task/1"}]


@in_one_world(
    ("person", "prompt", "expected"),
    [
        ("", "none", "login_required"),
        ("pat", "none", "consent_required"),
        ("dora", "none", "interaction_required"),
    ],
)
def test_prompt_none_answers_instead_of_showing_a_page(
    front: Front, person: str, prompt: str, expected: str
) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.6."""
    error(front.browser(person).authorize(prompt=prompt), expected)


def test_prompt_none_goes_through_where_nothing_is_to_be_asked(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    answer(browser.allow())

    assert "code" in answer(browser.authorize(launch=front.open_launch().handle, prompt="none"))


@pytest.mark.parametrize("changes", [{"prompt": "login"}, {"max_age": "60"}])
def test_a_client_may_ask_for_a_fresh_sign_in(front: Front, changes: dict[str, str]) -> None:
    """OpenID Connect Core 1.0 section 3.1.2.1."""
    browser = front.browser("pat")
    front.clock.advance(timedelta(seconds=61))

    browser.authorize(**changes)
    browser.sign_in("pat")

    assert "code" in answer(browser.allow())


# --- who may launch what, where ------------------------------------------------------------------------------------------------


def _uninstall(front: Front) -> None:
    found = front.run(lambda ctx: installations.list_installations(ctx, MERCY))
    for each in found:
        if each.app == front.clients["web"].app:
            front.run(partial(installations.uninstall, installation_id=each.id))


def _restrict(front: Front) -> None:
    _uninstall(front)
    app = front.clients["web"].app
    front.run(lambda ctx: installations.install(ctx, InstallOrder(MERCY, app, frozenset({"patient"}))))


def _suspend(front: Front) -> None:
    front.run(lambda ctx: registry.suspend_app(ctx, front.clients["web"].app, "A test"))


def _stop(target: TargetKind, mode: Mode = Mode.FULL_STOP) -> Callable[[Front], None]:
    def engage(front: Front) -> None:
        order = EngageOrder(front.target(target), mode, "A test")
        front.run(lambda ctx: controls.engage(ctx, order, person_tenant=MERCY))

    return engage


REFUSALS = [
    (_uninstall, "app_not_installed"),
    (_suspend, "app_suspended"),
    (_restrict, "role_not_allowed"),
    *(
        (_stop(kind), "switch_engaged")
        for kind in (
            TargetKind.PLATFORM,
            TargetKind.TENANT,
            TargetKind.VENDOR,
            TargetKind.APP,
            TargetKind.VERSION,
            TargetKind.PERSON,
            TargetKind.APP_TENANT,
            TargetKind.APP_PERSON,
        )
    ),
    (_stop(TargetKind.APP, Mode.NO_NEW_LAUNCHES), "switch_engaged"),
]


@pytest.mark.parametrize(("spoil", "reason"), REFUSALS)
def test_what_may_not_launch_is_refused_at_authorize_by_name(
    front: Front, spoil: Callable[[Front], None], reason: str
) -> None:
    """C38, C140."""
    browser = front.browser("dora")
    spoil(front)

    described = error(browser.authorize(), "access_denied")

    assert described.startswith(f"{reason}: ")
    assert "Ask " in described


def test_somebody_who_is_stopped_has_no_session_to_authorize_with(front: Front) -> None:
    """C140, C199: the app is told by name; whoever sits down next signs in as somebody else."""
    before, after, ended = front.browser("dora"), front.browser("dora"), front.browser("dora")
    before.authorize(launch=front.open_launch().handle)
    _stop(TargetKind.PERSON)(front)

    for page in (before.allow(), after.authorize()):
        assert error(page, "access_denied").startswith("switch_engaged: ")
    ended.http.cookies.clear()
    assert 'name="password"' in ended.authorize().text
    assert front.events("authserver.code.issue") == []


@pytest.mark.parametrize(("spoil", "reason"), REFUSALS)
def test_what_may_no_longer_launch_is_refused_at_the_last_step_too(
    front: Front,
    spoil: Callable[[Front], None],
    reason: str,
) -> None:
    """C38, C140: judged again when the code would be issued."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    spoil(front)

    assert error(browser.allow(), "access_denied").startswith(f"{reason}: ")


def test_a_scope_or_type_that_is_stopped_is_not_granted(front: Front) -> None:
    """C140: targets scope and resource type."""
    for target in (
        Target(TargetKind.SCOPE, "patient/Observation.rs"),
        Target(TargetKind.RESOURCE_TYPE, "Condition"),
    ):
        order = EngageOrder(target, Mode.FULL_STOP, "A test")
        front.run(partial(controls.engage, order=order))
    browser = front.browser("dora")
    scope = "launch patient/Observation.rs patient/Condition.rs patient/Patient.rs"
    browser.authorize(launch=front.open_launch().handle, scope=scope)

    token = front.redeem(answer(browser.allow())["code"], "web").json()

    assert token["scope"] == "launch patient/Patient.rs"


def test_observing_and_read_only_switches_let_launches_through(front: Front) -> None:
    for mode in (Mode.OBSERVE, Mode.READ_ONLY):
        _stop(TargetKind.APP, mode)(front)

    assert front.browser("dora").authorize(launch=front.open_launch().handle).status_code == 200


def test_somebody_deactivated_in_between_must_sign_in_and_cannot(front: Front) -> None:
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    front.run(lambda ctx: identity.deactivate_person(ctx, front.people["dora"].id))

    browser.allow()

    assert browser.form("password")


def test_a_launch_whose_ehr_session_ended_in_between_earns_no_code(front: Front) -> None:
    """C36."""
    opened = front.open_launch()
    browser = front.browser("dora")
    browser.authorize(launch=opened.handle)
    front.as_ehr(lambda ctx: launches.end(ctx, LaunchId(opened.launch.id)))

    assert error(browser.allow(), "access_denied")


def test_a_chart_that_moves_before_the_app_asks_opens_the_new_chart(front: Front) -> None:
    """C35."""
    opened = front.open_launch()
    front.as_ehr(lambda ctx: launches.move(ctx, opened.launch.id, "p2", "e2"))
    browser = front.browser("dora")
    browser.authorize(launch=opened.handle)

    assert front.redeem(answer(browser.allow())["code"], "web").json()["patient"] == "p2"


def test_a_request_that_waited_too_long_is_over(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize()
    front.clock.advance(timedelta(minutes=30))
    browser.sit_down("pat")

    page = browser.follow(browser.http.get(browser.trail[-1]))

    shown(page, "This took too long")


def test_a_session_that_ended_at_the_consent_page_leads_to_sign_in(front: Front) -> None:
    browser = front.browser("pat")
    browser.authorize()
    front.run(lambda ctx: signin.end_sessions_of(ctx, front.people["pat"].id))

    browser.allow()
    browser.sign_in("pat")

    assert "code" in answer(browser.allow())


def test_granted_scopes_are_what_code_and_event_say(front: Front) -> None:
    """C46."""
    browser = front.browser("pat")
    browser.authorize()
    answer(browser.allow())

    (event,) = front.events("authserver.code.issue")
    assert event.facts["scopes"] == STANDALONE.split()
    assert event.patient == "p1"
