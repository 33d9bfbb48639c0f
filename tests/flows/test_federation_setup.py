"""Setting up a hospital's identity provider: who may, what takes two people, and what a trial finds (security decisions 15 and 25)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.identity.federation import service
from tests.flows.control_site import ControlSite, build, codes, problem
from tests.sim.identity_provider import CLIENT, SECRET, IdentityProvider, public, running
from tests.sim.world import FakeClock

ROWS = [{"value": "doctors", "role": "physician"}, {"value": "nurses", "role": "nurse"}]


@dataclass
class Ground:
    site: ControlSite
    idp: IdentityProvider
    callers: dict[str, TestClient] = field(default_factory=dict)

    def api(self, who: str) -> TestClient:
        if who not in self.callers:
            self.callers[who] = self.site.api(who)
        return self.callers[who]

    def asked(self, **changes: Any) -> dict[str, Any]:
        return {
            "tenant": "general",
            "name": "General Hospital",
            "issuer": self.idp.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "role_table": ROWS,
            "roles": ["physician", "nurse"],
        } | changes

    def agree(self, waiting: Any, by: str = "root") -> str:
        assert waiting.status_code == 202, waiting.text
        agreed = self.api(by).post(f"/approvals/{waiting.json()['approval']['id']}/approve")
        assert agreed.status_code == 200, agreed.text
        return str(agreed.json()["target"])

    def allow(self) -> None:
        self.site.system(service.add_host, origin=self.idp.issuer, loopback=True)

    def added(self, **changes: Any) -> str:
        self.allow()
        return self.agree(self.api("gina").post("/identity-providers", json=self.asked(**changes)))


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    with running(clock) as idp:
        yield Ground(build(sqlite_uow, clock), idp)


def test_a_host_is_allowed_by_two_of_the_platform_and_taken_off_by_one(ground: Ground) -> None:
    """Security decision 15."""
    order = {"origin": "https://login.general.example"}
    for who in ("gina", "ann", "otto", "sam"):
        assert ground.api(who).post("/identity-provider-hosts", json=order).status_code == 403, who

    waiting = ground.api("root").post("/identity-provider-hosts", json=order)
    assert ground.api("root").get("/identity-provider-hosts").json()["items"] == []
    own = ground.api("root").post(f"/approvals/{waiting.json()['approval']['id']}/approve")
    assert own.status_code == 403
    host = ground.agree(waiting, by="sam")
    seen = ground.api("gina").get("/identity-provider-hosts").json()["items"]
    assert [(each["id"], each["origin"]) for each in seen] == [(host, order["origin"])]
    assert ground.api("gina").delete(f"/identity-provider-hosts/{host}").status_code == 403
    assert ground.api("root").delete(f"/identity-provider-hosts/{host}").status_code == 204
    assert ground.api("root").get("/identity-provider-hosts").json()["items"] == []


@pytest.mark.parametrize(
    "origin", ["http://login.example", "https://login.example/", "https://a@b.example", "login.example", ""]
)
def test_a_host_that_is_none_is_not_put_on_the_list(ground: Ground, origin: str) -> None:
    answer = ground.api("root").post("/identity-provider-hosts", json={"origin": origin})

    assert "origin" in codes(problem(answer, 422, "host_invalid"))


def test_a_provider_is_set_up_by_two_people_and_its_secret_is_shown_to_nobody(ground: Ground) -> None:
    """Security decision 25; C182."""
    refused = ground.api("gina").post("/identity-providers", json=ground.asked())
    assert codes(problem(refused, 422, "provider_invalid")) == {"issuer": "host_not_allowed"}
    ground.allow()
    for who in ("ann", "carl", "sam", "otto"):
        answer = ground.api(who).post("/identity-providers", json=ground.asked())
        assert answer.status_code in {403, 404}, who

    waiting = ground.api("gina").post("/identity-providers", json=ground.asked())
    approval = waiting.json()["approval"]
    assert approval["about"] == "General Hospital", (
        "the provider's name, as its id says nothing to a colleague"
    )
    assert approval["order"]["roles"] == ["physician", "nurse"]
    assert approval["order"]["new_secret"] is True
    assert ground.api("gina").post(f"/approvals/{approval['id']}/approve").status_code == 403
    assert ground.api("gina").get("/identity-providers").json()["items"] == []
    provider = ground.agree(waiting)

    shown = ground.api("gina").get(f"/identity-providers/{provider}").json()
    assert shown["redirect_uri"] == f"http://127.0.0.1:8000/t/general/signin/through/{provider}/return"
    assert SECRET not in waiting.text + str(shown)
    assert ground.api("carl").get(f"/identity-providers/{provider}").status_code == 404
    assert ground.api("carl").get("/identity-providers").json()["items"] == []
    assert ground.api("carl").get("/identity-providers", params={"tenant": "general"}).status_code == 404
    twice = ground.api("gina").post("/identity-providers", json=ground.asked())
    problem(twice, 409, "provider_exists")


def test_what_only_takes_away_applies_at_once_and_anything_else_waits(ground: Ground) -> None:
    provider = ground.added()
    path = f"/identity-providers/{provider}"

    def change(**changes: Any) -> Any:
        number = ground.api("gina").get(path).json()["number"]
        return ground.api("gina").patch(path, json={"number": number} | changes)

    narrower: list[dict[str, Any]] = [
        {"name": "Our sign-in"},
        {"roles": ["physician"], "role_table": ROWS[:1]},
        {"max_age_s": 600},
        {"acr_values": ["mfa"]},
        {"session_life_s": 3_600},
        {"passwords": "administrators"},
        {"active": False},
    ]
    wider: list[dict[str, Any]] = [
        {"active": True},
        {"passwords": "everyone"},
        {"session_life_s": 7_200},
        {"acr_values": []},
        {"acr_values": ["mfa", "password"]},
        {"max_age_s": 0},
        {"roles": ["physician", "nurse"]},
        {"adds_people": True},
        {"link_by": "username"},
        {"role_claim": "groups"},
        {"client_secret": "another"},
        {"client_id": "another"},
        {"factor_amr": ["mfa"]},
        {"subject_claim": "email"},
    ]
    assert [change(**each).status_code for each in narrower] == [200] * len(narrower)
    assert [change(**each).status_code for each in wider] == [202] * len(wider)


def test_a_stale_edit_changes_nothing(ground: Ground) -> None:
    provider = ground.added()
    path = f"/identity-providers/{provider}"
    waiting = ground.api("gina").patch(path, json={"number": 1, "adds_people": True})
    ground.api("gina").patch(path, json={"number": 1, "name": "Mine"})

    stale = ground.api("gina").patch(path, json={"number": 1, "name": "Other"})
    late = ground.api("root").post(f"/approvals/{waiting.json()['approval']['id']}/approve")

    problem(stale, 409, "stale_edit")
    problem(late, 409, "target_changed")
    assert ground.api("gina").get(path).json()["name"] == "Mine"


def test_a_secret_is_never_sent_to_another_issuer_than_it_was_given_for(ground: Ground) -> None:
    """Security decision 15: credentials are bound to their host."""
    provider = ground.added()
    ground.site.system(service.add_host, origin="https://other.example")

    moved = ground.api("gina").patch(
        f"/identity-providers/{provider}", json={"number": 1, "issuer": "https://other.example"}
    )

    assert codes(problem(moved, 422, "provider_invalid")) == {"client_secret": "missing"}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"issuer": "https://login.example/common/v2.0"}, {"issuer": "issuer_of_everybody"}),
        ({"issuer": "http://login.example"}, {"issuer": "issuer_not_https"}),
        ({"issuer": "https://login.example?x=1"}, {"issuer": "issuer_malformed"}),
        ({"algorithm": "HS256"}, {"algorithm": "algorithm_unknown"}),
        ({"algorithm": "none"}, {"algorithm": "algorithm_unknown"}),
        ({"scopes": ["profile"]}, {"scopes": "openid_missing"}),
        ({"roles": ["platform_admin"]}, {"roles": "role_unknown", "role_table": "role_not_listed"}),
        ({"role_table": [{"value": "x", "role": "administrator"}]}, {"role_table": "role_not_listed"}),
        ({"role_table": []}, {"role_table": "missing"}),
        ({"link_by": "fhir_user"}, {"link_by": "fhir_user_claim_missing"}),
        ({"session_life_s": 1}, {"session_life_s": "out_of_range"}),
        ({"subject_claim": ""}, {"subject_claim": "claim_malformed"}),
    ],
)
def test_settings_that_cannot_be_are_refused_field_by_field(
    ground: Ground, changes: dict[str, Any], fields: dict[str, str]
) -> None:
    ground.allow()

    answer = ground.api("gina").post("/identity-providers", json=ground.asked(**changes))

    assert codes(problem(answer, 422, "provider_invalid")) == fields


def test_a_link_takes_two_others_than_its_person(ground: Ground) -> None:
    """Security decision 25: whoever is linked enters the account."""
    provider = ground.added()
    ann, gina = ground.site.people["ann"], ground.site.people["gina"]
    order = {"provider": provider, "person": ann.id, "subject": "s-ann"}

    own = ground.api("gina").post("/identity-links", json=order | {"person": gina.id})
    foreign = ground.api("carl").post("/identity-links", json=order)
    malformed = ground.api("gina").post("/identity-links", json=order | {"subject": " "})
    elsewhere = ground.api("root").post(
        "/identity-links", json=order | {"person": ground.site.people["carl"].id}
    )
    waiting = ground.api("gina").post("/identity-links", json=order)

    assert [own.status_code, foreign.status_code, malformed.status_code, elsewhere.status_code] == [
        403,
        404,
        422,
        404,
    ]
    assert ground.api("gina").get("/identity-links").json()["items"] == []
    ground.agree(waiting)
    (link,) = ground.api("gina").get("/identity-links").json()["items"]
    assert (link["person"], link["subject"]) == (ann.id, "s-ann")
    problem(ground.api("gina").post("/identity-links", json=order), 409, "linked_already")
    assert ground.api("carl").delete(f"/identity-links/{link['id']}").status_code == 404
    caller = ground.api("ann")
    assert caller.get("/tokens").status_code == 200
    assert ground.api("gina").delete(f"/identity-links/{link['id']}").status_code == 204
    assert caller.get("/tokens").status_code == 401


def test_a_person_who_signs_in_at_the_hospital_is_reset_by_two_although_they_have_no_password(
    ground: Ground,
) -> None:
    """A one-time link from one administrator would otherwise open an account in use."""
    provider = ground.added()
    order = {"tenant": "general", "username": "nia", "name": "Nia Nurse", "role": "nurse"}
    nia = ground.api("gina").post("/people", json=order).json()["id"]
    assert ground.api("gina").post(f"/people/{nia}/reset").status_code == 201
    ground.site.system(service.link, provider_id=provider, subject="s-nia", person_id=nia)

    assert ground.api("gina").post(f"/people/{nia}/reset").status_code == 202


def findings(ground: Ground, provider: str, who: str = "gina") -> dict[str, str]:
    answer = ground.api(who).post(f"/identity-providers/{provider}/try")
    assert answer.status_code == 200, answer.text
    return {each["check"]: "ok" if each["ok"] else each["detail"] for each in answer.json()["findings"]}


def test_a_trial_looks_at_all_that_a_sign_in_needs_and_signs_nobody_in(ground: Ground) -> None:
    provider = ground.added()
    ground.idp.redirects = [f"http://127.0.0.1:8000/t/general/signin/through/{provider}/return"]

    found = findings(ground, provider)

    assert set(found.values()) == {"ok"}
    assert {"discovery", "clock", "keys", "client credentials", "redirect URI", "algorithm"} <= set(found)
    assert ground.api("carl").post(f"/identity-providers/{provider}/try").status_code == 404
    assert ground.api("otto").post(f"/identity-providers/{provider}/try").status_code == 403


def _wrong_secret(idp: IdentityProvider) -> None:
    idp.answers["/token"] = (401, b'{"error":"invalid_client"}')


def _slow_clock(idp: IdentityProvider) -> None:
    ahead = FakeClock()
    ahead.advance(timedelta(minutes=5))
    idp.dated = ahead


FAULTS: list[tuple[Callable[[IdentityProvider], Any], str, str]] = [
    (
        lambda idp: idp.answers.update({"/.well-known/openid-configuration": (404, b"")}),
        "discovery",
        "issuer exactly",
    ),
    (lambda idp: idp.described.update({"token_endpoint": "https://evil.example/"}), "discovery", "idp allow"),
    (lambda idp: setattr(idp, "keys", [public("ec")]), "keys", "No key there can verify RS256"),
    (lambda idp: idp.answers.update({"/jwks": (500, b"")}), "keys", "jwks_uri"),
    (_wrong_secret, "client credentials", "Check the client id"),
    (
        lambda idp: setattr(idp, "redirects", ["https://elsewhere.example"]),
        "redirect URI",
        "Register exactly",
    ),
    (_slow_clock, "clock", "300 seconds apart"),
    (
        lambda idp: idp.described.update({"code_challenge_methods_supported": ["plain"]}),
        "PKCE",
        "S256 is not",
    ),
    (
        lambda idp: idp.described.update({"id_token_signing_alg_values_supported": ["ES256"]}),
        "algorithm",
        "RS256 is not",
    ),
]


def test_a_trial_says_what_is_wrong_and_what_to_do(ground: Ground) -> None:
    provider = ground.added()
    for spoil, check, advice in FAULTS:
        fresh = IdentityProvider(ground.idp.port, ground.idp.clock)
        ground.idp.__dict__.update(fresh.__dict__)
        spoil(ground.idp)
        assert advice in findings(ground, provider)[check], check


def test_a_key_in_place_of_a_secret_is_a_private_key_and_neither_serves_as_the_other(ground: Ground) -> None:
    """RFC 7517: a secret is never taken for a key, and a key never sent as a secret."""
    ground.allow()
    gina = ground.api("gina")
    for bad in (SECRET, "{}", '{"kty":"EC","kid":"a","crv":"P-256","x":"AA","y":"AA"}'):
        order = ground.asked(client_auth="private_key_jwt", client_secret=bad)
        found = problem(gina.post("/identity-providers", json=order), 422, "provider_invalid")
        assert codes(found) == {"client_secret": "private_key_malformed"}
    id_ = ground.agree(gina.post("/identity-providers", json=ground.asked()))
    change = {"number": 1, "client_auth": "private_key_jwt"}
    found = problem(gina.patch(f"/identity-providers/{id_}", json=change), 422, "provider_invalid")
    assert codes(found) == {"client_secret": "missing"}
