"""Pages of declared actions: a list, a form, and a record with what can be done to it. A page by hand uses the same pieces."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, get_type_hints

from starlette.responses import Response
from starlette.routing import Route

from hilum.apps.clients import service as clients
from hilum.apps.names.models import Kind
from hilum.foundation.actions.models import PROSE_BOUND, Action, Input, Noun, Shows
from hilum.foundation.actions.policy import sentence, version_of
from hilum.foundation.actions.service import declared, inputs_of, parse, perform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.pages import PageQuery, Sorts
from hilum.foundation.kernel.sentences import in_words
from hilum.foundation.web.forms import Form
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Desk, Visit, address, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option

_UNKNOWN = {"PersonId": "a colleague", "VendorId": "its vendor"}
"""What stands for somebody whose name the reader may not see."""
_NAMED = frozenset({"AppId", "ClientId", "PersonId", "TenantId", "VendorId", "VersionId", "FacilityId"})


BY_ID = Sorts({})
LISTED = 80
"""Characters of what somebody wrote that a list shows."""


@dataclass(frozen=True, slots=True)
class Offered:
    """What a field offers: (value, text) pairs. ``free``: anything else may be typed. Without any, the page says ``nothing`` and its next step."""

    pairs: Sequence[tuple[str, str]]
    free: bool = False
    nothing: tuple[str, str, str, str] = ("There is nothing to choose from", "", "", "")


Offer = Callable[[Context], Offered]


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a noun in one console, by the key of the page of one record: ``tenant.service_owner``, ``tenant.service_owners``, ``tenant.service_owner_new``.

    Functions and not actions, as they are called elsewhere. ``offers``: what fields of forms offer. ``links``: the page of what a field names, by its key.
    ``template``: of a record's page, if it shows more than its facts; ``more`` reads what that needs.
    """

    key: str
    listed: Callable[..., Any]
    show: Callable[..., Any]
    new: Callable[..., Any] | None = None
    acts: tuple[Callable[..., Any], ...] = ()
    offers: Mapping[str, Offer] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    lead: str = ""
    new_lead: str = ""
    empty: Callable[[bool], tuple[str, str]] = lambda _may: ("Nothing yet", "")
    template: str = "console/actions/show.html"
    more: Callable[[Context, Any], Mapping[str, Any]] = lambda _ctx, _record: {}

    @property
    def noun(self) -> Noun:
        return declared(self.show).noun

    @property
    def actions(self) -> dict[str, Action]:
        """The actions of a record's page, by the value of their button."""
        return {declared(each).verb: declared(each) for each in self.acts}

    def routes(self, desk: Desk, show_list: Callable[[Visit], Any] | None = None) -> list[Route]:
        """Build the routes. ``show_list``: a page by hand in place of the list."""
        new = f"{self.key}_new"
        return [
            *(desk.route(new, self.show_new, self.submit) if self.new else ()),
            *desk.route(f"{self.key}s", show_list or self.show_list),
            *desk.route(self.key, self.show_one, self.act),
        ]

    # --- the list --------------------------------------------------------------------------------------------------------------

    async def show_list(self, visit: Visit, template: str = "console/list.html", **facts: Any) -> Response:
        """Show the list, with the columns, filters and orders that are declared."""
        action, may = declared(self.listed), self.new is not None and visit.may_open(f"{self.key}_new")
        begin = address(f"{self.key}_new") if may else ""
        button = declared(self.new).button if self.new else ""
        title, step = self.empty(may)
        orders = {name: word for word, name in action.sorts.columns.items()} if action.sorts else {}
        hints = _kinds(self.noun)
        columns = tuple(
            Column(each.label, orders.get(each.name, ""), number=hints.get(each.name) == "datetime")
            for each in self.noun.columns
        )
        shown = List(
            columns=columns,
            one=in_words(self.noun.name),
            many=in_words(self.noun.many),
            empty=Empty(title, step, begin, button),
            filters=tuple(_filter(each) for each in inputs_of(action) if each.kind in {"flag", "choice"}),
        )
        return await visit.show_list(
            shown, self._listed, template, lead=self.lead, action=(button, begin) if may else None, **facts
        )

    def _listed(self, ctx: Context, asked: Asked) -> Listed:
        action = declared(self.listed)
        page = PageQuery(asked.after, ROWS, asked.order)
        found = perform(ctx, action, parse(action, {k: v for k, v in asked.filters.items() if v}), page=page)
        shown = Shown.of(ctx, self.noun, *found)
        first, *rest = self.noun.columns
        rows = [
            (
                shown.cell(each, first, href=address(self.key, each.id), longest=LISTED),
                *(shown.cell(each, column) for column in rest),
            )
            for each in found
        ]
        return Listed(rows, next=(action.sorts or BY_ID).next(found, page))

    # --- the form --------------------------------------------------------------------------------------------------------------

    async def show_new(self, visit: Visit) -> Response:
        """Show the form of the action that makes a new record, filled with what the address has."""
        return await self._form(visit, visit.query())

    async def _form(
        self, visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None
    ) -> Response:
        assert self.new is not None
        action = declared(self.new)

        def read(ctx: Context) -> dict[str, Any]:
            offered = self._offered(ctx, _asked(action))
            nothing = next(
                (each.nothing for each in offered.values() if not each.free and not each.pairs), None
            )
            return {"offered": offered, "nothing": nothing}

        return visit.render(
            "console/actions/new.html",
            action=action,
            inputs=_asked(action),
            lead=self.new_lead,
            back=address(f"{self.key}s"),
            **await visit.read(read),
            **fields.answered(given, error),
        )

    def _offered(self, ctx: Context, asked: Iterable[Input]) -> dict[str, Offered]:
        return {each.name: self.offers[each.name](ctx) for each in asked if each.name in self.offers}

    async def submit(self, visit: Visit, form: Form) -> Response:
        """Do what the form asks for, and go on to the record; or show the form again with what is wrong."""
        assert self.new is not None
        action = declared(self.new)

        def verb(ctx: Context) -> Any:
            return perform(ctx, action, parse(action, self._typed(ctx, action, form)))

        try:
            made = await visit.write(verb)
        except (Invalid, Conflict) as error:
            return await self._form(visit, form, error)
        return to(address(self.key, made.id))

    def _typed(self, ctx: Context, action: Action, form: Form) -> dict[str, Any]:
        """Return what was typed, as the action takes it. Raises Invalid for a name that nothing has."""
        found: dict[str, Any] = {}
        for each in _asked(action):
            name, text = each.name, form.one(each.name)
            if each.kind == "flag":
                found[name] = text == "yes"
            elif each.kind == "list":
                found[name] = form.many(name) or fields.lines(form, name)
            elif not text:
                continue
            elif each.kind == "moment":
                found[name] = fields.day(form, name)
            elif each.arg.names and not (name in self.offers and not self.offers[name](ctx).free):
                found[name] = fields.named(ctx, Kind(each.arg.names), text, name)
            else:
                found[name] = text
        return found

    # --- a record --------------------------------------------------------------------------------------------------------------

    async def show_one(self, visit: Visit) -> Response:
        """Show a record: its facts, and what the reader can do to it now, each with its consequence."""
        return await self._one(visit)

    async def _one(
        self, visit: Visit, given: Form = fields.NO_FORM, error: HilumError | None = None
    ) -> Response:
        found = await visit.read(partial(self._read, id_=visit.param()))
        refused = error if isinstance(error, Invalid | Conflict) else None
        return visit.render(self.template, blank=fields.NO_FORM, **found, **fields.answered(given, refused))

    def _read(self, ctx: Context, id_: str) -> dict[str, Any]:
        record = perform(ctx, declared(self.show), {}, target=id_)
        shown = Shown.of(ctx, self.noun, record)
        texts = shown.texts(record)
        badge = self.noun.badge(ctx.actor, record, ctx.now) if self.noun.badge else ("", "plain")
        can = [
            each
            for each in self.actions.values()
            if each.when is None or each.when(ctx.actor, record, ctx.now)
        ]
        return {
            "title": sentence(self.noun.title, record, ctx.now, texts),
            "lead": self.noun.lead.format_map(texts),
            "badge": badge,
            "notices": [
                (title, sentence(text, record, ctx.now, texts))
                for title, text in self.noun.notices(record, ctx.now)
            ],
            "facts": [
                (each, shown.cell(record, each, href=self._link(record, each)))
                for each in self.noun.facts
                if not shown.is_empty(record, each)
            ],
            "can": [(each, _asked(each), sentence(each.consequence, record, ctx.now, texts)) for each in can],
            "offered": self._offered(ctx, (each for action in can for each in _asked(action))),
            "version": version_of(record),
            **self.more(ctx, record),
        }

    def _link(self, record: Any, each: Shows) -> str:
        return address(self.links[each.name], getattr(record, each.name)) if each.name in self.links else ""

    async def act(self, visit: Visit, form: Form) -> Response:
        """Do what a button says."""
        action, id_ = self.actions.get(form.one("act")), visit.param()
        if action is None:
            return await self._one(visit, form, fields.no_such_act())

        def verb(ctx: Context) -> Any:
            given = parse(action, self._typed(ctx, action, form))
            return perform(ctx, action, given, target=id_, version=form.one("version"))

        try:
            await visit.write(verb)
        except (Invalid, Conflict) as error:
            return await self._one(visit, form, error)
        return to(address(self.key, id_))


@dataclass(frozen=True, slots=True)
class Shown:
    """Records as a reader sees them: ids as names, moments as moments, the state as a badge."""

    ctx: Context
    noun: Noun
    known: Mapping[str, str]
    kinds: Mapping[str, str]

    @staticmethod
    def of(ctx: Context, noun: Noun, *records: Any) -> "Shown":
        """Read the names of all ids in some records at once."""
        kinds = _kinds(noun)
        ids = [
            str(getattr(record, name) or "")
            for record in records
            for name, kind in kinds.items()
            if kind in _NAMED | {"actor"}
        ]
        places = [name for name, kind in kinds.items() if kind == "TenantId"]
        tenants = [str(getattr(record, name) or "") for record in records for name in places]
        services = sorted(
            {getattr(r, name) for r in records for name, kind in kinds.items() if kind == "ClientId"}
        )
        # A client's id need not look like one: those of the sandbox are words.
        found = clients.read_named(ctx, [ClientId(each) for each in services]) if services else []
        called = {str(each.id): each.name for each in found}
        return Shown(ctx, noun, fields.names(ctx, ids, tenants) | called, kinds)

    def text(self, record: Any, name: str) -> str:
        """Return a field in words."""
        value, kind = self._value(record, name), self.kinds.get(name, "")
        if value is None or value == "":
            return ""
        if kind == "actor":
            return fields.who(self.known, str(value), "somebody else")
        if value == self.ctx.actor.id:
            return "You"
        if kind in _NAMED:
            return self.known.get(str(value), _UNKNOWN.get(kind, str(value)))
        if isinstance(value, StrEnum):
            return value.value.replace("_", " ")
        return f"{value:%Y-%m-%d}" if isinstance(value, datetime) else str(value)

    def texts(self, record: Any) -> dict[str, str]:
        """Return every field in words, for sentences."""
        return {name: self.text(record, name) for name in self.kinds}

    def is_empty(self, record: Any, each: Shows) -> bool:
        """Check whether a field has nothing to show."""
        return self._value(record, each.name) in (None, "", ())

    def _value(self, record: Any, name: str) -> Any:
        derive = self.noun.derived.get(name)
        return derive(record, self.ctx.now) if derive else getattr(record, name, "")

    def cell(self, record: Any, each: Shows, *, href: str = "", longest: int = PROSE_BOUND) -> Cell:
        """Return a field as a cell of a table or a fact."""
        if each.name == "state" and self.noun.badge:
            text, tone = self.noun.badge(self.ctx.actor, record, self.ctx.now)
            return Cell(text, kind="badge", tone=tone)
        value = self._value(record, each.name)
        if isinstance(value, datetime):
            return Cell("", at=value)
        text = self.text(record, each.name)
        # What people wrote stays as they wrote it.
        if self.kinds.get(each.name) in _NAMED | {"actor"}:
            text = text[:1].upper() + text[1:]
        text = text if len(text) <= longest else f"{text[:longest]}…"
        return Cell(text, href, self.text(record, each.note) if each.note else "")


def _kinds(noun: Noun) -> dict[str, str]:
    """Return the kind of each field of a record, by its type or as declared."""
    hints = get_type_hints(noun.record)
    found = {name: _kind(hint) for name, hint in hints.items()}
    return found | {each.name: each.kind for each in (*noun.columns, *noun.facts) if each.kind}


def _kind(hint: Any) -> str:
    """Return the name of a type, also where the field may be empty."""
    every = [each for each in getattr(hint, "__args__", ()) if each is not type(None)] or [hint]
    return getattr(every[0], "__name__", "")


def _filter(each: Input) -> Filter:
    if each.kind == "flag":
        return Filter(each.name, "Show", (Option("true", each.label),))
    return Filter(each.name, each.label, tuple(Option(one, one.replace("_", " ")) for one in each.choices))


def _asked(action: Action) -> tuple[Input, ...]:
    """Return the arguments that a form asks for: a page is of the reader's own hospital."""
    return tuple(each for each in inputs_of(action) if not each.arg.own)
