"""A hospital's rules for requests: in their order, each in words, and changed only after what it would have decided was seen."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.console import fields, words
from hilum.console.desk import Visit, address, to
from hilum.console.tenant.apps import own
from hilum.console.tenant.forms import ROLES
from hilum.identity import service as identity
from hilum.identity.models import Role, VendorRole
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound
from hilum.kernel.ids import PersonId
from hilum.kernel.lists import counted
from hilum.lookups import service as lookups
from hilum.lookups.models import Kind
from hilum.policies import service as policies
from hilum.policies.models import Tier
from hilum.requests import service as requests
from hilum.requests.models import Action, Rule, RuleSet, Tried, Verdict
from hilum.web.forms import Form

TRIED_AT_ONCE = 1_000
"""Past requests that a change is tried on before it is confirmed."""
DIFFERENCES_SHOWN = 20
MULTI = ("categories", "requesters", "only_roles")
ACTIONS = (
    (Action.APPROVE, "Approve", "Everything that is asked for, if the rule book allows it here."),
    (Action.RESTRICT, "Approve less", "Only some roles or permissions, or with an end."),
    (Action.ESCALATE, "Leave it to a person", "With its reason; to one colleague, or to any."),
    (Action.DISMISS, "Dismiss", "The requester sees the reason."),
)
_DONE = {
    Action.APPROVE: "approved",
    Action.RESTRICT: "approved with limits",
    Action.ESCALATE: "left to a person",
    Action.DISMISS: "dismissed",
    Action.WAIT: "left waiting",
}
ASKERS = (*(each for each in ROLES if each is not Role.PATIENT), *VendorRole)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the rules that a form asks for: the rules as they would be, and the change in words."""

    rules: tuple[Rule, ...]
    sentence: str


async def show(visit: Visit) -> Response:
    """Show the rules in force, in their order."""
    return visit.render("console/tenant/rules.html", **await visit.read(_shown))


def _shown(ctx: Context) -> dict[str, Any]:
    found = requests.view_rules(ctx, own(ctx).id)
    known = _names(ctx, found.rules, found.approver)
    return {
        "base": found.version,
        "rules": [(each.name, *in_words(each, known)) for each in found.rules],
        "edits": {each.name: address("tenant.rule", each.name) for each in found.rules},
        "found": found,
        "approver": known.get(found.approver, "nobody who is here"),
    }


def _names(ctx: Context, rules: Sequence[Rule], *more: str) -> dict[str, str]:
    ids = [id_ for each in rules for id_ in (*each.apps, *each.vendors, each.to)]
    return fields.names(ctx, [*ids, *more])


def in_words(rule: Rule, known: Mapping[str, str]) -> tuple[list[str], str, str]:
    """Return when a rule decides, what it does then, and the reason it states."""

    def one_of(ids: Sequence[str] | frozenset[str]) -> str:
        return " or ".join(sorted(known.get(each, each) for each in ids))

    when = []
    if rule.apps:
        when.append(f"the app is {one_of(rule.apps)}")
    if rule.vendors:
        when.append(f"the vendor is {one_of(rule.vendors)}")
    if rule.categories:
        when.append(f"it is for {one_of(frozenset(each.replace('_', ' ') for each in rule.categories))}")
    if rule.tier_at_most:
        when.append(f"its risk is {rule.tier_at_most.value} or lower")
    if rule.tier_at_least:
        when.append(f"its risk is {rule.tier_at_least.value} or higher")
    if rule.requesters:
        when.append(f"the requester is {one_of(frozenset(map(words.asker, rule.requesters)))}")
    if rule.scopes_within:
        when.append(f"it asks for no more than {', '.join(rule.scopes_within)}")
    return when, _effect(rule, known), rule.because


def _effect(rule: Rule, known: Mapping[str, str]) -> str:
    match rule.action:
        case Action.RESTRICT:
            limits = []
            if rule.only_roles:
                limits.append("only for " + ", ".join(sorted(map(words.role, rule.only_roles))))
            if rule.only_scopes:
                limits.append("only " + ", ".join(rule.only_scopes))
            if rule.for_days:
                limits.append(f"for {counted(rule.for_days, 'day')}")
            return f"Approve, {'; '.join(limits)}"
        case Action.ESCALATE:
            return (
                f"Leave it to {known.get(rule.to, 'any administrator') if rule.to else 'any administrator'}"
            )
        case Action.DISMISS:
            return "Dismiss"
        case _:
            return "Approve"


async def change(visit: Visit, form: Form) -> Response:
    """Move or remove a rule: show first what it would have decided, then put it in force."""
    return await _changed(visit, form, lambda rules, _: _moved(rules, form))


def _moved(rules: tuple[Rule, ...], form: Form) -> Change:
    names = [each.name for each in rules]
    if form.one("rule") not in names:
        raise Conflict("changed_since_read", "This rule no longer exists. Open the page again.")
    at = names.index(form.one("rule"))
    rule, rest = rules[at], [*rules[:at], *rules[at + 1 :]]
    match form.one("act"):
        case "up":
            rest.insert(max(0, at - 1), rule)
            return Change(tuple(rest), f"“{rule.name}” is checked before “{names[max(0, at - 1)]}”.")
        case "down":
            rest.insert(at + 1, rule)
            return Change(
                tuple(rest), f"“{rule.name}” is checked after “{names[min(len(names) - 1, at + 1)]}”."
            )
        case "remove":
            return Change(tuple(rest), f"“{rule.name}” no longer decides anything.")
        case _:
            raise fields.no_such_act()


async def show_new(visit: Visit) -> Response:
    """Show the form that adds a rule."""
    return await _form(visit)


async def add(visit: Visit, form: Form) -> Response:
    """Add a rule at the end: show first what it would have decided, then put it in force."""

    def added(rules: tuple[Rule, ...], ctx: Context) -> Change:
        rule = _rule(ctx, form)
        return Change((*rules, rule), f"“{rule.name}” is checked after all other rules.")

    try:
        return await _changed(visit, form, added)
    except Invalid as error:
        return await _form(visit, form, _beside(error))


def _beside(error: Invalid) -> Invalid:
    """Return an error with the faults of the rule of the form by its fields."""
    wrong = {name.rpartition(".")[2]: code for name, code in error.fields.items()}
    return Invalid(error.code, error.detail, fields=wrong)


async def show_edit(visit: Visit) -> Response:
    """Show the form that changes a rule in place, as it is."""
    return await _form(visit, await visit.read(partial(_as_form, name=visit.param())))


async def edit(visit: Visit, form: Form) -> Response:
    """Change a rule in place, or its place: show first what it would have decided, then put it in force."""
    name, place = visit.param(), form.one("place")

    def changed(rules: tuple[Rule, ...], ctx: Context) -> Change:
        at = _place_of(rules, name)
        if not place.isdecimal() or len(place) > 4 or not 1 <= int(place) <= len(rules):
            detail = "Choose its place in the order."
            raise Invalid("rules_invalid", detail, fields={"place": "not_an_option"})
        rule, rest = _rule(ctx, form), [*rules[:at], *rules[at + 1 :]]
        rest.insert(int(place) - 1, rule)
        moved = "" if int(place) == at + 1 else f", and is checked as number {place}"
        return Change(tuple(rest), f"“{name}” is changed{moved}.")

    try:
        return await _changed(visit, form, changed)
    except Invalid as error:
        return await _form(visit, form, _beside(error))


def _place_of(rules: Sequence[Rule], name: str) -> int:
    names = [each.name for each in rules]
    if name not in names:
        raise NotFound("rule_not_found", "This rule no longer exists.")
    return names.index(name)


def _as_form(ctx: Context, name: str) -> Form:
    """Return a rule as the form has it, with names in the place of ids where they are clear. Raises NotFound."""
    rules = requests.view_rules(ctx, own(ctx).id).rules
    at = _place_of(rules, name)
    rule = rules[at]
    known = _names(ctx, (rule,))

    def named(kind: Kind, ids: Iterable[str]) -> str:
        clear = {each: known[each] for each in ids if each in known}
        # Where the name would be taken for something else, the id stays.
        alone = {
            each
            for each, text in clear.items()
            if [one.id for one in lookups.find(ctx, kind, text)] == [each]
        }
        return "\n".join(sorted(clear[each] if each in alone else each for each in ids))

    values = {
        "place": (str(at + 1),),
        "name": (rule.name,),
        "action": (rule.action.value,),
        "because": (rule.because,),
        "apps": (named(Kind.APP, rule.apps),),
        "vendors": (named(Kind.VENDOR, rule.vendors),),
        "categories": tuple(rule.categories),
        "requesters": tuple(rule.requesters),
        "only_roles": tuple(rule.only_roles),
        "tier_at_most": (rule.tier_at_most.value if rule.tier_at_most else "",),
        "tier_at_least": (rule.tier_at_least.value if rule.tier_at_least else "",),
        "scopes_within": ("\n".join(rule.scopes_within),),
        "only_scopes": ("\n".join(rule.only_scopes),),
        "for_days": (str(rule.for_days) if rule.for_days else "",),
        "to": (_username(ctx, rule.to),),
    }
    return Form(values)


def _username(ctx: Context, person: str) -> str:
    with suppress(NotFound):
        return identity.view_person(ctx, PersonId(person)).username if person else ""
    return person


async def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    changes = visit.param() if visit.page.key == "tenant.rule" else ""

    def look(ctx: Context) -> dict[str, Any]:
        tenant = own(ctx)
        book, found = policies.current(ctx).book_at(tenant.id, ctx.now), requests.view_rules(ctx, tenant.id)
        # One that the rule has and the book lost stays ticked: without it the rule would fit any category.
        lost = sorted({*given.many("categories")} - {*book.categories})
        return {
            "categories": [
                *((name, each.title) for name, each in book.categories.items()),
                *((name, f"{name}, which the rule book no longer has") for name in lost),
            ],
            "base": found.version,
            "places": [
                (str(n), f"{n}: {'as it is now' if each.name == changes else f'where {each.name} is'}")
                for n, each in enumerate(found.rules, 1)
            ],
        }

    return visit.render(
        "console/tenant/rule_new.html",
        **fields.answered(given, error),
        actions=[(each.value, text, note) for each, text, note in ACTIONS],
        askers=[(each.value, words.asker(each.value).capitalize()) for each in ASKERS],
        roles=[(each.value, words.role(each.value).capitalize()) for each in ROLES],
        tiers=[("", "Any"), *((each.value, each.value.capitalize()) for each in Tier)],
        changes=changes,
        **await visit.read(look),
    )


def _rule(ctx: Context, form: Form) -> Rule:
    """Return the rule that a form describes. Raises Invalid."""
    try:
        action = Action(form.one("action"))
        tiers = [
            Tier(each) if (each := form.one(name)) else None for name in ("tier_at_most", "tier_at_least")
        ]
        days = int(text) if (text := form.one("for_days").strip()) else None
    except ValueError as error:
        detail = "Choose what the rule does; days must be a number."
        raise Invalid("rules_invalid", detail, fields={"action": "not_an_option"}) from error
    to_whom = form.one("to").strip()
    return Rule(
        name=form.one("name").strip(),
        action=action,
        because=form.one("because").strip(),
        apps=frozenset(fields.named(ctx, Kind.APP, each, "apps") for each in fields.lines(form, "apps")),
        vendors=frozenset(
            fields.named(ctx, Kind.VENDOR, each, "vendors") for each in fields.lines(form, "vendors")
        ),
        categories=frozenset(form.many("categories")),
        tier_at_most=tiers[0],
        tier_at_least=tiers[1],
        scopes_within=tuple(form.one("scopes_within").split()),
        requesters=frozenset(form.many("requesters")),
        only_scopes=tuple(form.one("only_scopes").split()),
        only_roles=frozenset(form.many("only_roles")),
        for_days=days,
        to=fields.named(ctx, Kind.PERSON, to_whom, "to") if to_whom else "",
    )


async def _changed(visit: Visit, form: Form, made: Any) -> Response:
    """Try a change of the rules and ask whether it is meant, or put it in force if that was confirmed."""
    base = form.one("base")
    if not base.isdecimal() or len(base) > 9:
        raise Invalid("form_invalid", "Open the page again.", fields={"base": "malformed"})
    sure = form.one("sure") == "yes"

    def verb(ctx: Context) -> tuple[Change, Tried | None, RuleSet]:
        tenant = own(ctx).id
        now = requests.view_rules(ctx, tenant)
        if now.version != int(base):
            raise Conflict(
                "changed_since_read",
                f"A colleague put other rules in force meanwhile: it is version {now.version} now. Open the page again.",
            )
        change: Change = made(now.rules, ctx)
        if sure:
            requests.put_in_force(ctx, tenant, change.rules, base=now.version, note=form.one("note"))
            return change, None, now
        tried = requests.try_rules(ctx, tenant, change.rules, after="", limit=TRIED_AT_ONCE)
        return change, tried, now

    change, tried, _ = await visit.write(verb)
    if tried is None:
        return to(address("tenant.rules"))
    facts = await visit.read(partial(_consequences, change=change, tried=tried))
    again = [(name, value) for name, values in form.values.items() for value in values if name not in _OWN]
    return visit.render("console/tenant/rules_sure.html", again=again, base=base, **facts)


_OWN = {"csrf", "base", "sure", "note"}


def _consequences(ctx: Context, change: Change, tried: Tried) -> dict[str, Any]:
    shown = tried.differences[:DIFFERENCES_SHOWN]
    ids = [id_ for each in shown for id_ in (each.request.app, each.request.person)]
    known = _names(ctx, change.rules, *ids, ctx.actor.id)
    return {
        "sentence": change.sentence,
        "rules": [(each.name, *in_words(each, known)) for each in change.rules],
        "judged": tried.judged,
        "more": bool(tried.next),
        "differ": len(tried.differences),
        "differences": [
            (
                known.get(each.request.app, each.request.app),
                known.get(each.request.person, "somebody who has left"),
                each.request.asked_at,
                _said(each.request.verdict),
                _said(each.now),
                each.ended.value,
            )
            for each in shown
        ],
        "approver": known.get(ctx.actor.id, "you"),
    }


def _said(verdict: Verdict) -> str:
    rule = f" by “{verdict.rule}”" if verdict.rule else ""
    return f"{_DONE[verdict.action]}{rule}"
