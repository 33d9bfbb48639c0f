"""A hospital's identity providers by pages: set up by two, tried, narrowed by one, and switched off at once (C182; ADR 64)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.testclient import TestClient

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.federation import service
from hilum.identity.federation.models import Provider
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from tests.flows.control_site import ControlSite, build, everybodys_digest, send
from tests.sim.browser import form_with
from tests.sim.identity_provider import CLIENT, SECRET, IdentityProvider, running
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock

NEW = "/tenant/sign-in/new"


@dataclass
class Ground:
    site: ControlSite
    idp: IdentityProvider

    def browser(self, username: str, place: str = "general") -> TestClient:
        return self.site.signed_in(username, f"/t/{place}/signin" if place else "/signin")

    def ask(self, **changes: str) -> Any:
        given = {
            "name": "General accounts",
            "issuer": self.idp.issuer,
            "client_id": CLIENT,
            "client_secret": SECRET,
            "role_claim": "roles",
            "value_0": "doctors",
            "role_0": "physician",
            "value_1": "nurses",
            "role_1": "nurse",
        }
        return send(self.browser("gina"), NEW, "role_claim", **(given | changes))

    def agree(self, answer: Any) -> None:
        assert answer.status_code == 303, answer.text
        page = answer.headers["location"]
        assert page.startswith("/tenant/waiting/")
        assert send(self.browser("greta"), page, "decision", decision="approve").status_code == 303

    def provider(self) -> Provider:
        found: list[Provider] = self.site.system(service.list_providers, tenant=TenantId("general"))
        return found[0]


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Ground]:
    with running(clock) as idp:
        site = build(sqlite_uow, clock)
        order = NewPerson(TenantId("general"), "greta", "Greta", "administrator")
        greta = site.people["greta"] = site.system(identity.add_person, order=order)
        site.system(signin.set_password, person_id=greta.id, digest=everybodys_digest())
        site.system(service.add_host, origin=idp.issuer, loopback=True)
        yield Ground(site, idp)


def test_a_provider_is_added_by_two_administrators_and_tried(ground: Ground) -> None:
    """Security decision 25: one asks, another agrees on the same console; nobody is shown the secret."""
    answer = ground.ask()
    gina = ground.browser("gina")
    waiting = gina.get(answer.headers["location"]).text
    assert SECRET not in waiting
    assert "waiting for a colleague" in waiting
    assert "General accounts" in gina.get("/tenant/waiting").text
    assert "Let people of General sign in through" in ground.browser("root", "").get("/operations/staff").text
    own = send(gina, answer.headers["location"], "decision", decision="approve")
    assert own.status_code == 403
    assert "No provider yet" in gina.get("/tenant/sign-in").text

    ground.agree(answer)

    page = f"/tenant/sign-in/{ground.provider().id}"
    shown = gina.get(page).text
    assert SECRET not in shown
    assert f"{page.rpartition('/')[2]}/return" in shown
    tried = send(gina, page, "act", act="try")
    assert "It works" in tried.text
    assert [row.role for row in ground.provider().settings.role_table] == ["physician", "nurse"]


def test_whoever_agrees_sees_the_last_row_of_a_long_table(ground: Ground) -> None:
    """Security decision 25: nothing is hidden behind what nobody would read to the end."""
    rows = {f"value_{n}": f"{n}-{'x' * 180}" for n in range(20)} | {
        f"role_{n}": "physician" for n in range(20)
    }

    answer = ground.ask(**rows, value_20="whoever-asks", role_20="administrator")

    assert "whoever-asks" in ground.browser("greta").get(answer.headers["location"]).text


@in_one_world(
    ("changes", "sentence"),
    [
        ({"issuer": "http://elsewhere.example"}, "must begin with https://"),
        ({"issuer": "https://elsewhere.example"}, "not on the platform"),
        ({"value_0": "", "role_0": "", "value_1": "", "role_1": ""}, "required"),
        ({"role_0": "platform_admin"}, "no such role"),
        ({"client_secret": ""}, "The secret is missing"),
        ({"client_auth": "private_key_jwt"}, "This is not a private key"),
        ({"session_life_m": "long"}, "minutes must be a number"),
        ({"link_by": "guess"}, "Choose one option"),
    ],
)
def test_a_faulty_provider_keeps_the_form_but_never_the_secret(
    ground: Ground, changes: dict[str, str], sentence: str
) -> None:
    answer = ground.ask(**changes)

    assert answer.status_code == 422
    assert sentence in answer.text
    assert 'value="General accounts"' in answer.text
    assert SECRET not in answer.text


def test_what_only_takes_away_applies_at_once_and_the_rest_waits(ground: Ground) -> None:
    """The difference comes first, with whether it waits; a stale one shows how it is now."""
    ground.agree(ground.ask())
    gina, provider = ground.browser("gina"), ground.provider()
    page = f"/tenant/sign-in/{provider.id}/edit"
    form = form_with(gina.get(page).text, "role_claim")
    fewer = dict(form.fields) | {"value_1": "", "role_1": "", "session_life_m": "60"}
    more = dict(form.fields) | {"value_2": "staff", "role_2": "analyst"}

    shown = gina.post(page, data=fewer)
    assert "applies at once" in shown.text
    assert "doctors: physician; nurses: nurse" in shown.text
    assert ground.provider().number == 1
    done = gina.post(page, data=dict(form_with(shown.text, "sure").fields))
    assert done.status_code == 303
    assert ground.provider().settings.roles == ("physician",)

    stale = gina.post(page, data=more | {"sure": "yes"})
    assert stale.status_code == 409
    assert "A colleague was faster" in stale.text
    assert "must agree" in stale.text
    waits = gina.post(page, data=dict(form_with(stale.text, "sure").fields))
    assert ground.provider().number == 2
    ground.agree(waits)
    assert set(ground.provider().settings.roles) == {"physician", "nurse", "analyst"}


def test_it_is_switched_off_by_one_and_on_by_two(ground: Ground) -> None:
    ground.agree(ground.ask())
    gina = ground.browser("gina")
    page = f"/tenant/sign-in/{ground.provider().id}"

    assert send(gina, page, "confirm", act="off").status_code == 422
    assert ground.provider().settings.active
    assert send(gina, page, "confirm", act="off", confirm="yes").status_code == 303
    assert not ground.provider().settings.active
    waits = gina.post(page, data=dict(form_with(gina.get(page).text, "number").fields) | {"act": "on"})
    assert "Waits for a colleague" in waits.text
    assert not ground.provider().settings.active


def test_nobody_else_sees_or_changes_how_people_sign_in(ground: Ground) -> None:
    answer = ground.ask()
    page = answer.headers["location"]
    ground.agree(answer)
    provider = f"/tenant/sign-in/{ground.provider().id}"
    for username, place, expected in (("ann", "general", 403), ("carl", "children", 404), ("root", "", 403)):
        browser = ground.browser(username, place)
        for path in (page, provider, f"{provider}/edit"):
            assert browser.get(path).status_code == expected, (username, path)
    gina = ground.browser("gina")
    fields = dict(form_with(gina.get(provider).text, "confirm").fields) | {"act": "off", "confirm": "yes"}
    assert gina.post(provider, data=fields | {"csrf": "guessed"}).status_code == 403
    assert gina.post(provider, data=fields, headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert ground.provider().settings.active


def test_an_account_is_linked_by_two_and_unlinked_by_one(ground: Ground) -> None:
    """ADR 64: by its username and the subject; its sessions end when it is unlinked, and nobody links their own."""
    links, new = "/tenant/sign-in/links", "/tenant/sign-in/links/new"
    gina = ground.browser("gina")
    assert "No provider yet" in gina.get(new).text
    ground.agree(ground.ask())
    ann = ground.site.people["ann"]
    assert f'href="{new}?person=ann"' in gina.get(f"/tenant/people/{ann.id}").text
    assert "Nobody is linked" in gina.get(links).text
    assert 'value="ann"' in gina.get(f"{new}?person=ann").text
    order = {"provider": ground.provider().id, "person": "ann", "subject": "sub-7"}
    for wrong, status in (
        ({"person": "nobody"}, 422),
        ({"person": "carl"}, 422),
        ({"subject": " "}, 422),
        ({"subject": "Größe"}, 422),
        ({"person": "gina"}, 403),
        ({"provider": "idp_none"}, 404),
        ({"csrf": "none"}, 403),
    ):
        assert send(gina, new, "subject", **(order | wrong)).status_code == status, wrong

    asked = send(gina, new, "subject", **order)

    assert "sub-7" not in gina.get(links).text
    ground.agree(asked)
    (link,) = ground.site.system(service.list_links, tenant=TenantId("general"))
    page = f"{links}/{link.id}"
    assert f'href="{page}"' in gina.get(links).text
    again = send(gina, new, "subject", **(order | {"subject": "sub-8"}))
    assert (again.status_code, "linked already" in again.text) == (409, True)
    working = ground.browser("ann")
    assert send(gina, page, "confirm", confirm="").status_code == 422
    assert ground.browser("carl", "children").get(page).status_code == 404
    assert working.get(page).status_code == 403
    assert send(gina, page, "confirm", confirm="yes").status_code == 303
    assert ground.site.system(service.list_links, tenant=TenantId("general")) == []
    assert working.get("/t/general/account").status_code == 303
    assert gina.get(page).status_code == 404
