"""A hospital's rules for requests by pages: shown in words, tried before they count, and never changed unseen (C214)."""

from dataclasses import replace
from typing import Any

from starlette.testclient import TestClient

from hilum.infra.context import Context
from hilum.requests import service as requests
from hilum.requests import store
from hilum.requests.models import Action, Rule
from tests.flows.console_ground import Desk
from tests.flows.control_site import send
from tests.flows.ward_ground import GENERAL, ask, ward
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world

__all__ = ["ward"]
PAGE, NEW = "/tenant/requests/rules", "/tenant/requests/rules/new"


def names(ward: Desk) -> list[str]:
    return [each.name for each in in_force(ward)]


def in_force(ward: Desk) -> tuple[Rule, ...]:
    found: tuple[Rule, ...] = ward.site.system(requests.view_rules, tenant=GENERAL).rules
    return found


def add(browser: TestClient, *, sure: bool = True, **values: Any) -> Any:
    """Fill in the form of a rule, and confirm what it shows."""
    form = form_with(browser.get(NEW).text, "because")
    given = {name: value for name, value in form.fields if name not in {"categories", "requesters"}}
    answer = browser.post(NEW, data=given | values)
    return confirm(browser, answer, NEW) if sure and answer.status_code == 200 else answer


def confirm(browser: TestClient, shown: Any, page: str) -> Any:
    fields: dict[str, Any] = {}
    for name, value in form_with(shown.text, "note").fields:
        fields.setdefault(name, []).append(value)
    return browser.post(page, data=fields)


def move(browser: TestClient, act: str, rule: str) -> Any:
    form = form_with(browser.get(PAGE).text, "rule")
    return browser.post(PAGE, data=dict(form.fields) | {"act": act, "rule": rule})


def test_a_rule_is_tried_on_what_was_asked_for_and_counts_once_it_is_confirmed(ward: Desk) -> None:
    """C214: what it would have decided comes first; nothing counts before."""
    browser = ward.browser("gina")
    ask(ward, ward.site.people["ann"])
    values = {"name": "reading", "action": "approve", "requesters": ["physician", "nurse"]}

    shown = add(browser, sure=False, **values)

    assert "would have been answered</p>" not in shown.text
    assert "1</strong> request would have been answered differently" in shown.text
    assert "left waiting" in shown.text
    assert "approved by “reading”" in shown.text
    assert "If the requester is nurse or physician: <strong>approve</strong>" in shown.text
    assert names(ward) == []
    assert confirm(browser, shown, NEW).status_code == 303
    assert names(ward) == ["reading"]
    assert in_force(ward)[0].requesters == {"physician", "nurse"}
    assert "Gina put them in force" in browser.get(PAGE).text


def test_rules_are_moved_and_removed_in_their_order(ward: Desk) -> None:
    browser = ward.browser("gina")
    for name in ("one", "two", "three"):
        assert add(browser, name=name, action="escalate", to="gina").status_code == 303
    assert in_force(ward)[0].to == ward.site.people["gina"].id
    assert "Leave it to Gina" in browser.get(PAGE).text.replace("leave it", "Leave it")

    for act, rule, after in (
        ("up", "three", ["one", "three", "two"]),
        ("down", "one", ["three", "one", "two"]),
        ("remove", "one", ["three", "two"]),
    ):
        before = names(ward)
        shown = move(browser, act, rule)
        assert names(ward) == before, act
        assert confirm(browser, shown, PAGE).status_code == 303
        assert names(ward) == after, act


@in_one_world(
    ("values", "sentence"),
    [
        ({"name": "UPPER", "action": "approve"}, "up to 40 small letters"),
        ({"name": "no", "action": "dismiss"}, "reason"),
        ({"name": "less", "action": "restrict"}, "needs a limit"),
        ({"name": "who", "action": "escalate", "to": "ann"}, "not an active administrator"),
        ({"name": "app", "action": "approve", "apps": "Nothing Of This Name"}, "has this name"),
        ({"name": "days", "action": "restrict", "for_days": "many"}, "days must be a number"),
        ({"name": "none", "action": ""}, "Choose what the rule does"),
    ],
)
def test_a_faulty_rule_keeps_the_form_and_says_what_is_wrong(
    ward: Desk, values: dict[str, Any], sentence: str
) -> None:
    answer = add(ward.browser("gina"), **values)

    assert answer.status_code == 422
    assert sentence in answer.text
    assert f'value="{values["name"]}"' in answer.text
    assert names(ward) == []


def test_rules_that_a_colleague_changed_meanwhile_are_not_overwritten(ward: Desk) -> None:
    """A stale edit, at both steps; a rule that is gone is not moved."""
    browser = ward.browser("gina")
    shown = add(browser, sure=False, name="mine", action="approve")
    assert add(browser, name="theirs", action="escalate").status_code == 303

    stale = confirm(browser, shown, NEW)

    assert stale.status_code == 409
    assert "it is version 1 now" in stale.text
    assert names(ward) == ["theirs"]
    assert move(browser, "remove", "mine").status_code == 409
    assert move(browser, "rename", "theirs").status_code == 422


def test_nobody_else_sees_or_changes_the_rules_of_a_hospital(ward: Desk) -> None:
    browser, carl = ward.browser("gina"), ward.browser("carl")
    add(browser, name="ours", action="dismiss", because="<b>Ask</b> procurement first.")

    assert "ours" not in carl.get(PAGE).text
    assert ward.browser("ann").get(PAGE).status_code == 403
    text = browser.get(PAGE).text
    assert "&lt;b&gt;Ask&lt;/b&gt;" in text
    form = form_with(text, "rule")
    wanted = dict(form.fields) | {"act": "remove", "sure": "yes", "note": ""}
    foreign = browser.post(PAGE, data=wanted, headers={"sec-fetch-site": "cross-site"})
    assert foreign.status_code == 403
    # The token of the form that adds a rule does not remove one.
    other = form_with(browser.get(NEW).text, "because")
    assert browser.post(PAGE, data=wanted | {"csrf": dict(other.fields)["csrf"]}).status_code == 403
    assert send(carl, NEW, "because", name="ours", action="approve").status_code == 200
    assert [each.action for each in in_force(ward)] == [Action.DISMISS]


def change(browser: TestClient, rule: str, /, **values: Any) -> Any:
    """Fill in the form of a rule that there is; with ``sure`` confirm what it shows."""
    sure = values.pop("sure", True)
    page = f"{PAGE}/{rule}/edit"
    given: dict[str, Any] = {}
    for name, value in form_with(browser.get(page).text, "place").fields:
        given.setdefault(name, []).append(value)
    answer = browser.post(page, data=given | values)
    return confirm(browser, answer, page) if sure and answer.status_code == 200 else answer


def test_a_rule_is_changed_in_place_with_its_order_after_what_it_would_have_decided(ward: Desk) -> None:
    """C214: the form has the rule as it is, names in the place of ids, and nothing counts before it was confirmed."""
    browser = ward.browser("gina")
    for name in ("one", "two", "three"):
        assert add(browser, name=name, action="escalate", to="gina", because="looks odd").status_code == 303
    assert f'href="{PAGE}/two/edit"' in browser.get(PAGE).text
    form = browser.get(f"{PAGE}/two/edit").text
    assert 'value="gina"' in form
    assert str(ward.site.people["gina"].id) not in form

    shown = change(browser, "two", sure=False, because="ask me", place="3", requesters=["nurse"])

    assert "“two” is changed, and is checked as number 3." in shown.text
    assert names(ward) == ["one", "two", "three"]
    assert confirm(browser, shown, f"{PAGE}/two/edit").status_code == 303
    assert names(ward) == ["one", "three", "two"]
    changed = in_force(ward)[2]
    assert (changed.because, sorted(changed.requesters)) == ("ask me", ["nurse"])
    assert in_force(ward)[2].to == ward.site.people["gina"].id
    assert change(browser, "two", name="second").status_code == 303
    assert names(ward) == ["one", "three", "second"]


def test_a_change_of_a_rule_that_is_invalid_or_stale_changes_nothing(ward: Desk) -> None:
    browser = ward.browser("gina")
    for name in ("one", "two"):
        assert add(browser, name=name, action="approve").status_code == 303
    for wrong in ({"name": "two"}, {"place": "3"}, {"place": "x"}, {"action": "wait"}, {"to": "nobody"}):
        answer = change(browser, "one", **wrong)
        assert (answer.status_code, "Not changed yet" in answer.text) == (422, True), wrong
    assert browser.get(f"{PAGE}/none/edit").status_code == 404
    shown = change(browser, "one", sure=False, because="later")
    assert move(browser, "remove", "two").status_code == 200
    confirm(browser, move(browser, "remove", "two"), PAGE)
    assert confirm(browser, shown, f"{PAGE}/one/edit").status_code == 409
    assert (names(ward), in_force(ward)[0].because) == (["one"], "")
    for username in ("ann", "mary"):
        assert ward.browser(username).get(f"{PAGE}/one/edit").status_code in {403, 404}


def test_a_rule_whose_category_the_rule_book_lost_does_not_come_to_fit_any_by_another_change(
    ward: Desk,
) -> None:
    """C214: a condition goes only if somebody unticks it."""
    browser = ward.browser("gina")
    assert add(browser, name="one", action="approve", categories=["scheduling"]).status_code == 303

    def loses(ctx: Context) -> None:
        held = store.rules_in_force(ctx.tx, GENERAL)
        rule = replace(held.rules[0], categories=frozenset({"left_behind"}))
        after = replace(held, version=2, rules=(rule,))
        assert store.add_rules(ctx.tx, after)

    ward.site.system(loses)

    kept = change(browser, "one", because="worded better")

    assert (kept.status_code, "no longer has" in kept.text) == (422, True)
    assert in_force(ward)[0].categories == {"left_behind"}
    assert change(browser, "one", categories=["scheduling"]).status_code == 303
    assert in_force(ward)[0].categories == {"scheduling"}
