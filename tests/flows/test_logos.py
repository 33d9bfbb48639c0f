"""Logos of apps and hospitals: given by who may, shown where approved, served as nothing but pictures (C12, C90, ADR 14)."""

import base64
from typing import Any

import pytest

from tests.flows.app_edit_ground import OTHER_LOGO, app, brand, certify, edit, shown
from tests.flows.control_site import ControlSite, problem
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.one_world import in_one_world
from tests.sim.pictures import chunk, png

LOGO = base64.b64encode(png(before=chunk(b"tEXt", b"<script>"))).decode()
COLOUR = "#0b6b74"


__all__ = ["app"]


def served(site: ControlSite, owner: str, digest: str) -> Any:
    return site.browser().get(f"/logos/{owner}/{digest}.png")


def test_a_logo_is_served_as_a_picture_and_nothing_else(site: ControlSite, app: str) -> None:
    digest = made(edit(site, app, logo=LOGO), 200)["logo"]

    answer = served(site, f"app/{app}", digest)

    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    assert b"<script>" not in answer.content
    assert made(edit(site, app, logo=""), 200)["logo"] == ""
    assert served(site, f"app/{app}", digest).status_code == 404


@pytest.mark.parametrize("kind", ["app", "vendor"])
def test_a_stop_on_an_app_or_its_vendor_hides_its_logo(site: ControlSite, app: str, kind: str) -> None:
    """Nobody takes it for one that works; a stop elsewhere hides nothing."""
    digest = made(edit(site, app, logo=LOGO), 200)["logo"]
    of = {"app": app, "vendor": made(site.api("root").get(f"/apps/{app}"), 200)["vendor"]}
    order = {"kind": "tenant", "key": "mercy", "reason": "It misbehaves."}
    made(site.api("sam").post("/switches", json=order))
    assert served(site, f"app/{app}", digest).status_code == 200

    made(site.api("sam").post("/switches", json=order | {"kind": kind, "key": of[kind]}))

    assert served(site, f"app/{app}", digest).status_code == 404


def test_the_logo_of_a_certified_app_is_not_shown_before_a_reviewer_agrees(
    site: ControlSite, app: str
) -> None:
    """C12."""
    before = made(edit(site, app, logo=LOGO), 200)["logo"]
    certify(site, app)

    asked = made(edit(site, app, logo=OTHER_LOGO), 202)

    wanted = asked["order"]["logo"]
    assert shown(site, app)["logo"] == asked["before"]["logo"] == before
    assert served(site, f"app/{app}", wanted).status_code == 404
    looked = made(site.api("rita").get(f"/app-edits/{asked['id']}/logo"), 200)
    assert base64.b64decode(looked["png"]).startswith(b"\x89PNG")

    made(site.api("rita").post(f"/app-edits/{asked['id']}/approve"), 200)

    assert shown(site, app)["logo"] == wanted
    assert served(site, f"app/{app}", wanted).status_code == 200
    assert served(site, f"app/{app}", before).status_code == 404


def test_a_refused_logo_is_never_served_and_makes_room_for_the_next(site: ControlSite, app: str) -> None:
    certify(site, app)
    asked = made(edit(site, app, logo=LOGO), 202)
    made(site.api("rita").post(f"/app-edits/{asked['id']}/refuse", json={"reason": "It is another's."}), 200)

    assert served(site, f"app/{app}", asked["order"]["logo"]).status_code == 404
    again = made(edit(site, app, logo=OTHER_LOGO), 202)

    problem(site.api("rita").get(f"/app-edits/{asked['id']}/logo"), 404, "picture_not_found")
    made(site.api("rita").get(f"/app-edits/{again['id']}/logo"), 200)


def test_another_vendor_sees_and_gives_no_logo(site: ControlSite, app: str) -> None:
    furnish_vendor(site, "Other Works", "other")
    certify(site, app)
    asked = made(edit(site, app, logo=LOGO), 202)
    stranger = site.api("other.owner")

    problem(stranger.get(f"/app-edits/{asked['id']}/logo"), 404, "edit_not_found")
    body = {"revision": shown(site, app)["revision"], "logo": OTHER_LOGO}
    assert stranger.patch(f"/apps/{app}", json=body).status_code == 404


@pytest.mark.parametrize(
    "logo", ["", "x", base64.b64encode(b"<svg/>").decode(), "A" * 200_000, f"data:image/png;base64,{LOGO}"]
)
def test_what_is_no_picture_changes_nothing(site: ControlSite, app: str, logo: str) -> None:
    kept = made(edit(site, app, logo=LOGO), 200)["logo"]

    refused = edit(site, app, logo=logo or "=")

    # Above the bound of a body it is not even read.
    assert refused.status_code in {413, 422}
    assert shown(site, app)["logo"] == kept


@in_one_world(
    "path",
    [
        "/logos/vendor/x/{0}.png",
        "/logos/app/app_none/{0}.png",
        "/logos/app/../{0}.png",
        "/logos/app/app_none/x.png",
        "/logos/hospital/general/{0}.png",
        "/brand/0B6B74.css",
        "/brand/red.css",
        "/brand/0b6b74;}.css",
    ],
)
def test_nothing_else_is_at_such_addresses(site: ControlSite, path: str) -> None:
    assert site.browser().get(path.replace("{0}", "0" * 64)).status_code == 404


def test_a_hospital_shows_its_colour_and_logo_where_its_people_sign_in(site: ControlSite) -> None:
    after = made(brand(site, "gina", colour=COLOUR, logo=LOGO), 200)

    page = site.browser().get("/t/general/signin").text
    assert f'href="/brand/{COLOUR[1:]}.css"' in page
    assert f'src="/logos/hospital/general/{after["logo"]}.png"' in page
    assert served(site, "hospital/general", after["logo"]).status_code == 200
    sheet = site.browser().get(f"/brand/{COLOUR[1:]}.css")
    assert (sheet.headers["content-type"].partition(";")[0], COLOUR in sheet.text) == ("text/css", True)
    assert "hospital-band" not in site.browser().get("/signin").text

    made(brand(site, "gina", colour="", logo=""), 200)

    assert "hospital-band" not in site.browser().get("/t/general/signin").text
    assert served(site, "hospital/general", after["logo"]).status_code == 404


def test_a_colour_that_is_none_and_a_person_who_may_not_change_nothing(site: ControlSite) -> None:
    problem(brand(site, "gina", colour="#0b6b74;}"), 422, "tenant_invalid")
    for username, person in site.people.items():
        if str(person.role) not in {"administrator", "platform_admin"} or person.tenant not in {
            None,
            "general",
        }:
            assert brand(site, username, colour=COLOUR).status_code in {403, 404}, username
    assert "hospital-band" not in site.browser().get("/t/general/signin").text
