"""The policy in force decides what apps get: changing an entry changes the next token and the next request (C20, C21, C179)."""

from datetime import timedelta

from hilum.policy.matrix import service as policies
from tests.flows import authorize_flow, token_flow
from tests.flows.authorize_flow import Front, answer
from tests.flows.gateway_ground import GENERAL, Ground, Play, patient
from tests.flows.policy_ground import ENTRIES, READ_ONLY, everywhere, narrow_policy
from tests.flows.token_flow import MERCY, Platform, refused
from tests.sim.world import START, FakeClock
from tests.unit.policy.matrix.books import GONE

platform = token_flow.platform
front = authorize_flow.front


def test_a_code_earns_only_what_the_policy_admits(platform: Platform) -> None:
    scopes = ("launch", "patient/Observation.cruds", "patient/Patient.rs")
    assert platform.earn(scopes=scopes)["scope"].split() == list(scopes)

    narrow_policy(platform.run, READ_ONLY)

    assert platform.earn(scopes=scopes)["scope"].split() == [
        "launch",
        "patient/Observation.rs",
        "patient/Patient.rs",
    ]


def test_a_refresh_loses_what_the_policy_no_longer_admits(platform: Platform) -> None:
    first = platform.earn(scopes=("launch", "offline_access", "patient/Observation.cruds"))
    narrow_policy(platform.run, READ_ONLY)

    again = platform.refresh(first["refresh_token"]).json()

    assert again["scope"].split() == ["launch", "offline_access", "patient/Observation.rs"]


def test_a_client_that_may_not_authenticate_as_it_does_gets_nothing(platform: Platform) -> None:
    """C20: the policy says how clients of a category and tier authenticate."""
    first = platform.earn(scopes=("launch", "offline_access", "patient/Observation.rs"))
    code = platform.code()
    narrow_policy(
        platform.run, everywhere("client_authentication", ["client_secret_basic", "private_key_jwt"])
    )

    refused(platform.refresh(first["refresh_token"]), "invalid_scope")
    refused(platform.redeem(code), "invalid_scope")
    assert platform.earn("symmetric")["scope"]


def test_a_backend_service_gets_only_what_the_policy_admits(platform: Platform) -> None:
    narrow_policy(platform.run, READ_ONLY)

    assert platform.backend("system/Patient.cruds").json()["scope"] == "system/Patient.rs"


def test_a_tier_without_a_entry_withholds_only_what_is_of_it(platform: Platform) -> None:
    """C21."""
    narrow_policy(platform.run, {f"{ENTRIES}.high": GONE})

    earned = platform.earn(scopes=("launch", "patient/Observation.cruds", "patient/Patient.rs"))

    assert earned["scope"].split() == ["launch", "patient/Observation.rs", "patient/Patient.rs"]


def test_a_category_that_the_policy_does_not_have_gets_nothing(platform: Platform) -> None:
    code = platform.code()
    narrow_policy(platform.run, {"categories.unclassified": GONE})

    refused(platform.backend("system/Patient.rs"), "invalid_scope")
    refused(platform.redeem(code), "invalid_scope")


def test_another_hospital_continues_under_its_own_policy(platform: Platform) -> None:
    narrow_policy(platform.run, READ_ONLY, MERCY)

    assert (
        platform.earn(scopes=("launch", "patient/Observation.cruds"))["scope"].split()[-1]
        == "patient/Observation.rs"
    )
    other = platform.run(policies.current).book_at(token_flow.OTHER, START)
    assert other.digest != platform.run(policies.current).book_at(MERCY, START).digest


LIVES = {
    "access_token": "10 min",
    "backend_token": "1 min",
    "refresh_token": "100 d",
    "session_refresh_token": "1 h",
    "authorization": "150 d",
    "idle": "none",
    "absolute": "none",
    "expiry": "rolling",
}


def test_tokens_and_agreements_live_as_long_as_the_entry_says(platform: Platform, clock: FakeClock) -> None:
    """C47, C179."""
    narrow_policy(platform.run, everywhere("lifetimes", LIVES))

    offline = platform.earn(scopes=("launch", "offline_access", "patient/Observation.rs"))
    online = platform.earn(scopes=("launch", "online_access", "patient/Observation.rs"))
    backend = platform.backend().json()

    assert (offline["expires_in"], online["expires_in"], backend["expires_in"]) == (600, 600, 60)
    clock.advance(timedelta(hours=1))
    refused(platform.refresh(online["refresh_token"]), "invalid_grant")
    clock.advance(timedelta(days=99))
    again = platform.refresh(offline["refresh_token"])
    assert again.status_code == 200
    clock.advance(timedelta(days=51))
    refused(platform.refresh(again.json()["refresh_token"]), "invalid_grant")


def test_a_refresh_token_lives_no_longer_than_the_policy_in_force_allows(
    platform: Platform, clock: FakeClock
) -> None:
    """C47, C194: also one that was issued before its life was shortened."""
    scopes = ("launch", "patient/Observation.rs")
    held = [platform.earn(scopes=("offline_access", *scopes))["refresh_token"] for _ in range(2)]
    online = platform.earn(scopes=("online_access", *scopes))["refresh_token"]
    narrow_policy(platform.run, everywhere("lifetimes", LIVES))

    clock.advance(timedelta(minutes=61))
    refused(platform.refresh(online), "invalid_grant")
    clock.advance(timedelta(days=99))
    again = platform.refresh(held[0])
    clock.advance(timedelta(days=1))
    refused(platform.refresh(held[1]), "invalid_grant")

    assert again.status_code == 200, again.text
    assert platform.refresh(again.json()["refresh_token"]).status_code == 200


def test_an_agreement_lives_no_longer_than_the_policy_in_force_allows(front: Front, clock: FakeClock) -> None:
    """C194: what a person agreed to before is asked again when the shorter life is over."""
    browser = front.browser("dora")
    browser.authorize(launch=front.open_launch().handle)
    code = answer(browser.allow())["code"]
    token = front.redeem(code, "web").json()["refresh_token"]
    assert "code" in answer(browser.authorize(launch=front.open_launch().handle))
    narrow_policy(front.run, everywhere("lifetimes", LIVES))

    clock.advance(timedelta(days=90))
    token = front.refresh(token, "web").json()["refresh_token"]
    clock.advance(timedelta(days=60))

    told = refused(front.refresh(token, "web"), "invalid_grant")
    assert "authorization_expired" in told
    browser = front.browser("dora")
    assert "has approved this app for your role" in browser.authorize(launch=front.open_launch().handle).text


def test_a_certification_lives_no_longer_than_the_policy_in_force_allows(
    play: Play, clock: FakeClock
) -> None:
    """C20: at the gateway, by the snapshot alone."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        narrow_policy(made.run, everywhere("certificate_life", "30 d"), GENERAL)
        clock.advance(timedelta(days=30) - timedelta(minutes=30))
        token = made.token("patient/Patient.rs")
        assert (await made.get("Patient/p1", token)).status == 200

        clock.advance(timedelta(minutes=30))
        made.keeper.step(0)

        answered = await made.get("Patient/p1", token)
        assert (answered.status, b"certified" in answered.body) == (403, True)

    play(story)


def test_an_app_has_the_quota_of_its_entry(play: Play) -> None:
    """C129, C179."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token("patient/Patient.rs")
        narrow_policy(made.run, everywhere("quota", {"rate_per_s": 0.01, "burst": 2}), GENERAL)

        answers = [(await made.get("Patient/p1", token)).status for _ in range(3)]

        assert answers == [200, 200, 429]

    play(story)


def test_the_gateway_follows_the_policy_for_tokens_that_are_out(play: Play) -> None:
    """C179: at the next snapshot, not at the next token."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token("patient/Patient.rs")
        assert (await made.get("Patient/p1", token)).status == 200
        narrower = {
            f"{ENTRIES}.{tier}.scopes": ["patient/Observation.rs"] if tier == "low" else []
            for tier in ("low", "moderate", "high")
        }

        narrow_policy(made.run, narrower, GENERAL)

        answer = await made.get("Patient/p1", token)
        assert answer.status == 403
        assert b"scope" in answer.body

    play(story)
