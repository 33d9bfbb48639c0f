"""A platform administrator lets a hospital leave by page: what it would lose first, its name typed, and two people (C148)."""

from hilum.hospitals.offboarding import service as offboardings
from tests.flows.console_ground import agree, enter_hospital, site
from tests.flows.control_site import ControlSite, send

__all__ = ["site"]

NEW = "/operations/offboardings/new"
ASK = f"{NEW}?tenant=general"
ORDER = {"reason": "moves <b>away</b>", "name": "General", "days": "14"}


def test_what_it_would_lose_comes_first_and_two_let_it_leave(site: ControlSite) -> None:
    root = site.signed_in("root")
    assert f'href="{NEW}"' in root.get("/operations/offboardings").text
    assert "tenant=general" in root.get(NEW).text
    assert "tenant=mercy" not in root.get(f"{NEW}?q=gene").text
    assert "No hospital" in root.get(f"{NEW}?q=nowhere").text
    page = root.get(ASK).text
    assert ("People" in page, "hilum tenant leave export" in page) == (True, True)

    asked = send(root, ASK, "name", **ORDER)

    assert site.system(offboardings.list_offboardings) == []
    assert "moves &lt;b&gt;away" in root.get(asked.headers["location"]).text
    own = send(root, asked.headers["location"], "decision", decision="approve")
    assert own.status_code == 403
    assert agree(site, asked).status_code == 303
    ((left, _),) = site.system(offboardings.list_offboardings)
    assert (left.reason, (left.erase_at - left.left_at).days) == (ORDER["reason"], 14)
    assert "moves &lt;b&gt;away" in root.get(f"/operations/offboardings/{left.id}").text
    assert root.get(ASK).status_code == 404
    assert "tenant=general" not in root.get(NEW).text


def test_it_is_not_requested_by_mistake_or_without_the_right(site: ControlSite) -> None:
    root = site.signed_in("root")
    for wrong in ({"name": "general"}, {"name": ""}, {"reason": " "}, {"days": "1"}, {"days": "x"}):
        answer = send(root, ASK, "name", **(ORDER | wrong))
        assert (answer.status_code, "Nothing was asked for" in answer.text) == (422, True), wrong
    assert root.get(f"{NEW}?tenant=nowhere").status_code == 404
    assert root.get(f"{NEW}?tenant=%00").status_code == 422
    assert root.post(NEW, data=ORDER | {"tenant": "general"}).status_code == 403
    for username in ("rita", "otto"):
        browser = site.signed_in(username)
        assert browser.get(NEW).status_code == 403
        assert NEW not in browser.get("/operations/offboardings").text
    assert site.system(offboardings.list_offboardings) == []
    assert "more waits for a second person" not in root.get("/operations/offboardings").text


def test_a_hospitals_administrator_asks_for_its_own_only(site: ControlSite) -> None:
    """C148: the staff agree as the second; whatever the form names, it is the administrator's own hospital."""
    page = "/tenant/settings/leave"
    gina = enter_hospital(site, "gina")
    assert f'href="{page}"' in gina.get("/tenant/settings").text
    assert "What it has, and would lose" in gina.get(page).text
    elsewhere = send(gina, page, "name", **(ORDER | {"tenant": "mercy", "name": "Mercy"}))
    assert (elsewhere.status_code, "The name does not match" in elsewhere.text) == (422, True)
    assert enter_hospital(site, "ann").get(page).status_code == 403

    asked = send(gina, page, "name", **ORDER)

    assert asked.headers["location"].startswith("/tenant/waiting/apr_")
    waits = asked.headers["location"].replace("/tenant/waiting", "/operations/staff")
    assert send(site.signed_in("sam"), waits, "decision", decision="approve").status_code == 303
    ((left, _),) = site.system(offboardings.list_offboardings)
    assert left.tenant == "general"
    assert gina.get(page).status_code in {401, 403, 404}
