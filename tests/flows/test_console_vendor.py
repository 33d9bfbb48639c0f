"""A vendor's own affairs by pages: contacts, domains, the team, statements, changes in review, and asking for less (C6, C7, C8, C12)."""

import base64
import re
from datetime import timedelta
from typing import Any

from starlette.testclient import TestClient

from hilum.apps.contacts import service as contacts
from hilum.apps.installations.models import ScopeUse
from hilum.apps.membership import service as membership
from hilum.apps.registry import service as registry
from hilum.foundation.kernel.ids import VendorId
from hilum.surfaces.console.developer.narrowing import narrowed
from hilum.surfaces.console.parts.charts import columns, round_up
from tests.flows import developer_ground
from tests.flows.control_site import send
from tests.flows.developer_ground import Desk
from tests.sim.browser import form_with
from tests.sim.pictures import png

desk = developer_ground.desk


def test_a_contact_is_added_gets_its_link_again_and_is_removed(desk: Desk) -> None:
    """C7: by whom the right is; a faulty address keeps the form."""
    page, owner = "/developer/contacts", desk.browser("acme.owner")
    assert "Not proved now: owner, support, security, domain" in owner.get(page).text

    wrong = send(owner, page, "address", act="add", kind="owner", address="no address")
    assert wrong.status_code == 422
    assert 'value="no address"' in wrong.text
    assert send(owner, page, "address", act="add", kind="owner", address="me@acme.example").status_code == 303
    listed = contacts_of(desk)
    assert [each.address for each in listed] == ["me@acme.example"]
    again = send(owner, page, "id", act="send")
    assert again.status_code == 303
    assert contacts_of(desk)[0].link_digest != listed[0].link_digest
    reader = desk.browser("acme.developer")
    assert "me@acme.example" in reader.get(page).text
    assert "Add a contact" not in reader.get(page).text
    assert "me@acme.example" not in desk.browser("bolt.owner").get(page).text
    assert send(owner, page, "id", act="remove").status_code == 303
    assert "me@acme.example" not in owner.get(page).text


def contacts_of(desk: Desk) -> list[Any]:
    return list(desk.site.system(contacts.list_contacts, vendor=desk.vendors["acme"]))


def test_a_domain_says_what_to_serve_and_why_it_is_not_proved(desk: Desk) -> None:
    """C6: the file is looked at outside every transaction; what is not there proves nothing."""
    page, owner = "/developer/contacts", desk.browser("acme.owner")
    assert send(owner, page, "name", act="domain", name="localhost").status_code == 422
    assert send(owner, page, "name", act="domain", name="acme.example").status_code == 303
    shown = owner.get(page).text
    assert "https://acme.example/.well-known/hilum-domain-proof.txt" in shown
    assert "hilum-domain-proof=" in shown

    id_ = desk.site.system(contacts.list_domains, vendor=VendorId(desk.vendors["acme"]))[0].id
    developer = desk.browser("acme.developer")
    checked = send(developer, page, "id", act="check", id=id_)
    assert checked.status_code == 303
    assert "could not be fetched" in developer.get(page).text
    foreign = send(developer, page, "id", act="drop", id=id_)
    assert foreign.status_code == 403
    other = desk.browser("bolt.owner")
    send(other, page, "name", act="domain", name="bolt.example")
    assert send(other, page, "id", act="check", id=id_).status_code == 404
    assert send(owner, page, "id", act="drop", id=id_).status_code == 303
    assert "hilum-domain-proof=" not in owner.get(page).text


def test_an_owner_invites_a_member_whose_link_is_shown_once_and_removes_them(desk: Desk) -> None:
    """C8; an owner takes a second person, who agrees here."""
    owner, page = desk.browser("acme.owner"), "/developer/team"
    desk.site.clock.advance(timedelta(days=8))
    owner = desk.browser("acme.owner")

    shown = send(owner, f"{page}/new", "username", name="Nia", username="nia", role="vendor_developer")
    assert "/enrol/hil_ln_" in shown.text
    assert "/enrol/hil_ln_" not in owner.get(page).text
    link = re.search(r"/t/ven_[0-9a-z]+/enrol/hil_ln_[\w-]+", shown.text)
    assert link is not None
    assert "inform whoever gave you the link." in desk.site.browser().get(link[0]).text
    nia = next(each for each in members(desk) if each.username == "nia")
    asked = send(owner, f"{page}/new", "username", name="Otis", username="otis", role="vendor_owner")
    assert "Waits for a colleague" in asked.text
    assert "otis" not in [each.username for each in members(desk)]
    waits = owner.get(f"{page}/waiting").text
    assert "Otis" in waits

    unsure = send(owner, f"{page}/{nia.id}", "confirm", act="remove")
    assert unsure.status_code == 422
    assert send(owner, f"{page}/{nia.id}", "confirm", act="remove", confirm="yes").status_code == 303
    assert not next(each for each in members(desk) if each.username == "nia").active
    faulty = send(owner, f"{page}/new", "username", name="X", username="UP PER", role="vendor_developer")
    assert (faulty.status_code, 'value="UP PER"' in faulty.text) == (422, True)


def members(desk: Desk) -> list[Any]:
    return list(desk.site.system(membership.list_members, vendor=VendorId(desk.vendors["acme"])))


def test_nobody_but_an_owner_sees_the_team_and_no_other_vendors_member(desk: Desk) -> None:
    owner, other = desk.browser("acme.owner"), desk.browser("bolt.owner")
    member = next(each for each in members(desk) if each.username == "acme.developer")
    for role in ("developer", "security", "billing"):
        assert desk.browser(f"acme.{role}").get("/developer/team").status_code == 403
    page = f"/developer/team/{member.id}"
    assert (owner.get(page).status_code, other.get(page).status_code) == (200, 404)
    fields = dict(form_with(owner.get(page).text, "confirm").fields) | {"act": "remove", "confirm": "yes"}
    assert other.post(page, data=fields).status_code == 403
    assert owner.post(page, data=fields | {"csrf": "none"}).status_code == 403
    assert next(each for each in members(desk) if each.id == member.id).active


def test_what_is_stated_is_saved_and_a_stale_form_shows_both_sides(desk: Desk) -> None:
    """C6: it may be incomplete, not contradictory; whoever may not state it reads it."""
    owner, page = desk.browser("acme.owner"), f"/developer/apps/{desk.app}/statements"
    first = form_with(owner.get(page).text, "privacy_policy")
    values = {
        "act": "profile",
        "owner": "Olga Smith",
        "stores_data": "no",
        "retention_days": "0",
        "subcontractors": "none",
    }

    saved = owner.post(page, data=dict(first.fields) | values | {"hosting_regions": "US"})
    stale = owner.post(page, data=dict(first.fields) | values | {"owner": "Otis Smith"})

    assert saved.status_code == 303
    assert stale.status_code == 409
    assert "It is now: <strong>Olga Smith" in stale.text
    assert 'value="Otis Smith"' in stale.text
    _, profile = desk.site.system(registry.view_profile, app_id=desk.app)
    assert (profile.owner, profile.subcontractors, profile.hosting_regions) == ("Olga Smith", (), ("US",))
    contradictory = send(owner, page, "privacy_policy", **(values | {"retention_days": "30"}))
    assert contradictory.status_code == 422
    unreadable = send(owner, page, "privacy_policy", **(values | {"subcontractors": "Cloud only"}))
    assert unreadable.status_code == 422
    reader = desk.browser("acme.billing").get(page).text
    assert "Olga Smith" in reader
    assert 'name="privacy_policy"' not in reader


def test_texts_change_at_once_until_the_app_is_certified_and_wait_after_it(desk: Desk) -> None:
    """C12: the same verb as the API's; what waits is seen and withdrawn on its page."""
    developer, page = desk.browser("acme.developer"), f"/developer/apps/{desk.app}/statements"
    texts = {"act": "texts", "purpose": "Documentation"}
    assert send(developer, page, "description", **texts, description="Writes notes.").status_code == 303
    assert desk.shown().description == "Writes notes."
    desk.certified()

    waits = send(developer, page, "description", act="texts", description="Again.", purpose="Research")

    assert waits.headers["location"] == "/developer/changes?kind=apps"
    assert (desk.shown().description, desk.shown().purpose) == ("Again.", "Documentation")
    listed = developer.get("/developer/changes?kind=apps").text
    change = "/developer/changes/" + listed.partition('href="/developer/changes/')[2].partition('"')[0]
    assert "Research" in developer.get(change).text
    assert desk.browser("bolt.owner").get(change).status_code == 404
    assert 'name="reason"' not in desk.browser("acme.billing").get(change).text
    assert send(developer, change, "reason", reason="not yet").status_code == 303
    assert "refused" in developer.get(change).text
    assert send(developer, page, "description", act="none").status_code == 422


def give(browser: TestClient, page: str, content: bytes, *, field: str = "logo", **values: str) -> Any:
    """Choose a logo on a page, and send it as a browser does."""
    form = form_with(browser.get(page).text, "logo")
    data = dict(form.fields) | {"act": "logo"} | values
    return browser.post(page, data=data, files={field: ("logo.png", content, "image/png")})


def test_a_logo_is_given_changed_and_taken_away_by_pages(desk: Desk) -> None:
    """ADR 14: what is no logo changes nothing and says why; the file stands in its own field only."""
    developer, page = desk.browser("acme.developer"), f"/developer/apps/{desk.app}/statements"
    assert "It shows none" in developer.get(page).text
    assert give(developer, page, png()).status_code == 303
    first = desk.shown().logo
    assert f"/logos/app/{desk.app}/{first}.png" in developer.get(page).text
    assert f"/logos/app/{desk.app}/{first}.png" in developer.get(f"/developer/apps/{desk.app}").text

    for content, status, why in (
        (b"<svg/>", 422, "This is not a complete PNG or JPEG picture"),
        (png(8), 422, "16 to 512 pixels"),
        (png(64, after=b"x" * 65_536), 422, "larger than 64 KiB"),
        (b"x" * 300_000, 413, "larger than 64 KiB"),
    ):
        refused = give(developer, page, content)
        assert (refused.status_code, why in refused.text) == (status, True), why
    assert send(developer, page, "logo", act="logo").status_code == 422
    assert give(developer, page, png(48), field="name").status_code == 400
    assert give(developer, page, png(48), csrf="x").status_code == 403
    stale = give(developer, page, png(48), revision="0" * 32)
    assert (stale.status_code, "Choose your picture again" in stale.text) == (409, True)
    assert desk.shown().logo == first

    reader = desk.browser("acme.billing")
    assert 'type="file"' not in reader.get(page).text
    assert give(developer, page, png(48)).status_code == 303
    assert desk.shown().logo not in {"", first}
    assert send(developer, page, "logo", act="no_logo").status_code == 303
    assert desk.shown().logo == ""


def test_the_logo_of_a_certified_app_waits_and_outlives_a_refused_edit(desk: Desk) -> None:
    """C12: its vendor sees what waits, nobody else does; an invalid edit meanwhile takes nothing away."""
    developer, page = desk.browser("acme.developer"), f"/developer/apps/{desk.app}/statements"
    desk.certified()

    waits = give(developer, page, png())

    assert waits.headers["location"] == "/developer/changes?kind=apps"
    listed = developer.get("/developer/changes?kind=apps").text
    change = "/developer/changes/" + listed.partition('href="/developer/changes/')[2].partition('"')[0]
    body = {"revision": desk.shown().revision, "name": "", "logo": base64.b64encode(png(48)).decode()}
    assert desk.site.api("acme.developer").patch(f"/apps/{desk.app}", json=body).status_code == 422
    assert f'src="{change}/logo"' in developer.get(change).text
    shown = developer.get(f"{change}/logo")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "image/png")
    assert desk.browser("bolt.owner").get(f"{change}/logo").status_code == 404
    assert desk.site.browser().get(f"{change}/logo").status_code == 401
    assert desk.shown().logo == ""
    assert send(developer, change, "reason", reason="not yet").status_code == 303
    assert f"{change}/logo" not in developer.get(change).text


def test_a_client_is_changed_after_its_difference_was_seen(desk: Desk) -> None:
    """C12: at once in the sandbox; held for a certified client of production; a stale form changes nothing."""
    developer, page = desk.browser("acme.developer"), f"/developer/clients/{desk.client}/edit"
    form = form_with(developer.get(page).text, "scopes")
    before = desk.stored()
    given = {
        "redirect_uris": "https://other.example/cb",
        "scopes": "launch openid",
        "launch_uri": before.launch_uri,
    }
    wanted = dict(form.fields) | given | {"origins": "\n".join(before.origins)}

    shown = developer.post(page, data=wanted)
    assert "It changes at once." in shown.text
    assert desk.stored() == before
    assert developer.post(page, data=dict(form_with(shown.text, "sure").fields)).status_code == 303
    assert desk.stored().scopes == ("launch", "openid")
    stale = developer.post(page, data=wanted | {"sure": "yes", "scopes": "openid"})
    assert stale.status_code == 409
    assert "A colleague was faster" in stale.text
    faulty = developer.post(page, data=wanted | {"redirect_uris": "http://other.example/cb"})
    assert faulty.status_code == 422
    assert desk.stored().redirect_uris == ("https://other.example/cb",)

    held = desk.certified()
    page = f"/developer/clients/{held}/edit"
    old = desk.stored(held)
    texts = {
        "redirect_uris": "\n".join(old.redirect_uris),
        "scopes": "launch openid",
        "origins": "\n".join(old.origins),
    }
    shown = developer.post(page, data=dict(form_with(developer.get(page).text, "scopes").fields) | texts)
    assert "a reviewer decides first" in shown.text
    done = developer.post(page, data=dict(form_with(shown.text, "sure").fields))
    assert done.headers["location"].startswith("/developer/changes/chg_")
    assert desk.stored(held) == old
    assert desk.browser("bolt.developer").get(page).status_code == 404
    assert desk.browser("acme.billing").get(page).status_code == 403


def test_an_app_asks_for_less_after_it_was_said_who_is_affected(desk: Desk) -> None:
    """C-scopes: what was used stays, what is on no record stays, and nothing goes that was not on the page."""
    developer, page = desk.browser("acme.developer"), f"/developer/apps/{desk.app}/narrow"
    assert f"{page}?days=30" in developer.get(f"/developer/apps/{desk.app}/scopes").text
    shown = developer.get(page)
    assert "Who is affected" in shown.text
    before = desk.stored()
    form = dict(form_with(shown.text, "left").fields)

    for wrong in ({"left": "launch"}, {"revision": "0" * 32}):
        assert developer.post(page, data=form | wrong).status_code == 409
    assert developer.post(page, data=form | {"client": "cli_none"}).status_code == 404
    assert desk.browser("acme.billing").get(page).status_code == 403
    assert desk.stored() == before
    assert developer.post(page, data=form).status_code == 303

    assert set(desk.stored().scopes) < set(before.scopes)
    assert {"launch", "openid"} & set(before.scopes) <= set(desk.stored().scopes)
    assert "Nothing to take away" in developer.get(page).text


def test_narrowing_leaves_what_was_used_and_invents_nothing() -> None:
    rows = [
        ScopeUse(
            "patient/*.rs", True, True, 2, 3, kept=("patient/Observation.rs",), unused=("patient/*.rs",)
        ),
        ScopeUse("user/Flag.rs", True, True, 1, 0, unused=("user/Flag.rs",)),
        ScopeUse("launch", True, True, 2),
    ]

    found = narrowed(("patient/*.rs", "user/Flag.rs", "launch", "openid"), rows)

    assert found.left == ("patient/Observation.rs", "launch", "openid")
    assert found.gone == ("patient/*.rs", "user/Flag.rs")
    assert narrowed((), rows).left == ()


def test_columns_stand_on_an_axis_from_zero_that_holds_the_highest() -> None:
    chart = columns([(12.0, "a", False), (3.0, "b", True), (0.0, "c", False)], unit="ms", summary="x")

    assert chart is not None
    assert [label for _, label in chart.rules] == ["0 ms", "10 ms", "20 ms"]
    heights = [each.height for each in chart.columns]
    assert heights[0] > heights[1] > heights[2] >= 1
    assert columns([], unit="ms", summary="x") is None
    assert [round_up(each) for each in (0.0, 0.03, 7.0, 11.0, 500.0, 501.0)] == [
        0.01,
        0.05,
        10.0,
        20.0,
        500.0,
        1000.0,
    ]


def test_a_vendor_sees_that_its_app_was_stopped_and_where_in_general(desk: Desk) -> None:
    """C139: not by whom, and not why: those are the words of the staff and of hospitals among themselves."""
    sam = desk.staff("sam")
    page = f"/operations/switches/new?kind=app&key={desk.app}"

    send(sam, page, "reason", reason="keys leaked", mode="full_stop", ends="1h")

    shown = desk.browser("acme.developer").get(f"/developer/apps/{desk.app}").text
    assert "was stopped everywhere" in shown
    assert "keys leaked" not in shown
    desk.site.clock.advance(timedelta(hours=2))
    assert (
        "was no longer stopped everywhere"
        in desk.browser("acme.developer").get(f"/developer/apps/{desk.app}").text
    )
