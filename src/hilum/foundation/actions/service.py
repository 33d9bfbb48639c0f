"""Declare actions, find what is declared, and run it with arguments from outside."""

import inspect
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from functools import cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from hilum.foundation.actions import store
from hilum.foundation.actions.models import (
    KEYS_KEPT,
    Action,
    Arg,
    Creation,
    Denied,
    Effect,
    Input,
    Noun,
    Sentence,
    When,
)
from hilum.foundation.actions.policy import digest_of, path_of, version_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import DECIDED, FACTOR_STALE, NO_RIGHT, Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.events import Event, Outcome
from hilum.foundation.kernel.pages import PageQuery, Sorts
from hilum.foundation.web.faults import field_of, of_validation

P = ParamSpec("P")
T = TypeVar("T")
_DECLARED = "__action__"


def action(
    noun: Noun,
    verb: str,
    *,
    who: tuple[str, ...],
    effect: Effect = Effect.CHANGES,
    creates: bool = False,
    step_up: bool | None = None,
    past: str = "",
    button: str = "",
    asks: str = "",
    consequence: Sentence = "",
    more: str = "",
    when: When | None = None,
    sorts: Sorts | None = None,
    records: bool = True,
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Declare a service function as an action.

    ``step_up``: whether it needs a fresh second factor; by default, if it widens. ``past`` completes "Ada ..." in the audit. ``asks``: the
    question that is confirmed. ``more``: a paragraph for its help. ``when``: whether a page offers it for a record; the function judges by
    itself. ``records``: false for a function that records events of its own, such as one whose event depends on the outcome.
    """
    assert who, "an action is for somebody"
    assert effect is Effect.READS or past or not records, f"{noun.name} {verb}: the audit has no words for it"

    def declare(function: Callable[P, T]) -> Callable[P, T]:
        needs_factor = effect is Effect.WIDENS if step_up is None else step_up
        recorded = effect is not Effect.READS and records
        run = function
        if recorded or needs_factor:
            run = _judged(function, needs_factor=needs_factor, recorded=recorded)
        declaration = Action(
            noun, verb, run, who, effect, creates, needs_factor, past, button, asks, consequence, more, when, sorts
        )  # fmt: skip
        setattr(run, _DECLARED, declaration)
        return run

    return declare


def _judged(function: Callable[P, T], *, needs_factor: bool, recorded: bool) -> Callable[P, T]:
    """Wrap a function so that it asks for a second factor, and is recorded whether it succeeds or is refused."""

    @wraps(function)
    def run(*args: P.args, **named: P.kwargs) -> T:
        ctx = cast("Context", args[0])
        declaration = declared(run)
        noun, code = declaration.noun, declaration.code
        if needs_factor and ctx.actor.unconfirmed:
            subject = _subject(ctx, declaration, inspect.signature(function).bind(*args, **named).arguments)
            raise _refused(ctx, noun.about(code, subject), "factor_stale", FACTOR_STALE)
        try:
            result = function(*args, **named)
        except Denied as denial:
            raise _refused(
                ctx, noun.about(code, denial.subject), denial.code, denial.detail or NO_RIGHT
            ) from None
        if recorded:
            ctx.record(noun.about(code, result))
        return result

    return run


def _subject(ctx: Context, declaration: Action, arguments: Mapping[str, Any]) -> Any:
    """Return the record that an action would be done to, or the order that it was given; None if it has neither."""
    if target := target_of(declaration):
        return declaration.noun.load(ctx, arguments[target])
    return next((value for value in arguments.values() if is_dataclass(value) and value is not ctx), None)


def _refused(ctx: Context, event: Event, code: str, detail: str) -> NotPermitted:
    """Record a refusal, and return the error to raise. It commits, so the record stays (security decision 3)."""
    ctx.record(replace(event, outcome=Outcome.REFUSED, reason=code))
    error = NotPermitted(code, detail)
    error.recorded = True
    return error


def declared(function: Callable[..., Any]) -> Action:
    """Return the declaration of a function."""
    return cast("Action", getattr(function, _DECLARED))


def actions_of(module: types.ModuleType) -> list[Action]:
    """Return the actions that a module declares, in the order in which they stand there."""
    # What a module imports from another one is declared there.
    own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module.__name__)
    return [getattr(function, _DECLARED) for function in own if hasattr(function, _DECLARED)]


# --- arguments --------------------------------------------------------------------------------------------------------------------


def _arg_of(hint: Any) -> Arg | None:
    """Return what an annotated type says of an argument; None for what cannot be sent."""
    if get_origin(hint) is not Annotated:
        return None
    return next((note for note in get_args(hint)[1:] if isinstance(note, Arg)), None)


@cache
def _parameters(function: Callable[..., Any]) -> Mapping[str, tuple[Any, Any]]:
    """Return type and default of each parameter after the context."""
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.items())[1:]
    return {name: (hints[name], parameter.default) for name, parameter in parameters}


@cache
def _sent(function: Callable[..., Any]) -> Mapping[str, tuple[Any, Arg, Any]]:
    """Return what can be sent: annotated parameters, and annotated fields of a parameter that is a dataclass, with type and default."""
    sent: dict[str, tuple[Any, Arg, Any]] = {}
    for name, (hint, default) in _parameters(function).items():
        arg = _arg_of(hint)
        if is_dataclass(hint):
            sent |= _spread(hint)
        elif arg is not None and not arg.target:
            sent[name] = hint, arg, MISSING if default is inspect.Parameter.empty else default
    return sent


def _spread(kind: Any) -> dict[str, tuple[Any, Arg, Any]]:
    """Return the annotated fields of a dataclass and of those within it, all on one level."""
    sent: dict[str, tuple[Any, Arg, Any]] = {}
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        hint = hints[field.name]
        arg = _arg_of(hint)
        if is_dataclass(hint):
            sent |= _spread(hint)
        elif arg is not None:
            sent[field.name] = hint, arg, field.default if arg.default is None else arg.default
    return sent


def _built(kind: Any, values: Mapping[str, Any]) -> Any:
    """Build a dataclass, and those within it, of what was sent."""
    hints = get_type_hints(kind, include_extras=True)
    inner = {name: _built(hint, values) for name, hint in hints.items() if is_dataclass(hint)}
    return kind(**inner, **{field.name: values[field.name] for field in fields(kind) if field.name in values})


def target_of(action: Action) -> str:
    """Return the name of the parameter with the id of the record that an action is done to; empty if it has none."""
    for name, (hint, _) in _parameters(action.run).items():
        arg = _arg_of(hint)
        if arg is not None and arg.target:
            return name
    return ""


def needs_version(action: Action) -> bool:
    """Check whether whoever does an action from outside must say which version of the record they saw."""
    return action.effect is Effect.WIDENS and bool(target_of(action))


def is_paged(action: Action) -> bool:
    """Check whether a list is read page by page. One that is not has a bound of its own."""
    return any(hint is PageQuery for hint, _ in _parameters(action.run).values())


@cache
def model_of(function: Callable[..., Any]) -> type[BaseModel] | None:
    """Return the model that validates what is sent; None if nothing can be."""
    members: dict[str, Any] = {}
    for name, (hint, arg, default) in _sent(function).items():
        if arg.own:
            members[name] = (hint | None, None)
        else:
            members[name] = (hint, ... if default is MISSING else default)
    if not members:
        return None
    declaration = declared(function)
    title = f"{declaration.noun.name}_{declaration.verb}".title().replace("_", "")
    # A misspelled field that was ignored would leave its default in force, such as no end.
    return create_model(title, __config__=ConfigDict(extra="forbid"), **members)


def inputs_of(action: Action) -> tuple[Input, ...]:
    """Return the arguments of an action as surfaces see them; types and bounds are read from the schema that the API publishes."""
    model = model_of(action.run)
    if model is None:
        return ()
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    inputs = []
    for name, (_, arg, _) in _sent(action.run).items():
        member = schema["properties"][name]
        member = next((kind for kind in member.get("anyOf", ()) if kind.get("type") != "null"), member)
        member = schema["$defs"][member["$ref"].rpartition("/")[2]] if "$ref" in member else member
        choices, longest = tuple(member.get("enum", ())), member.get("maxLength", 0)
        inputs.append(Input(name, _kind_of(member, arg), name in required, arg, choices, longest))
    return tuple(inputs)


def _kind_of(schema: Mapping[str, Any], arg: Arg) -> str:
    if "enum" in schema:
        return "choice"
    if schema.get("format") == "date-time":
        return "moment"
    kinds = {"boolean": "flag", "integer": "integer", "array": "list"}
    written = "document" if arg.document else "area" if arg.area else "text"
    return kinds.get(schema.get("type", ""), written)


def parse(action: Action, sent: Mapping[str, Any]) -> dict[str, Any]:
    """Validate arguments from a surface other than the API, which does it by the same model. Raises Invalid with the same faults."""
    model = model_of(action.run)
    if model is None:
        return {}
    try:
        return values_of(model(**sent))
    except ValidationError as error:
        faults = {field_of(fault["loc"]): of_validation(fault)["code"] for fault in error.errors()}
        raise Invalid("fields_invalid", "Some fields cannot be accepted.", fields=faults) from error


def values_of(model: BaseModel | None) -> dict[str, Any]:
    """Return the arguments that a validated model holds."""
    return {} if model is None else {name: getattr(model, name) for name in type(model).model_fields}


# --- running ----------------------------------------------------------------------------------------------------------------------


def perform(
    ctx: Context,
    action: Action,
    values: Mapping[str, Any],
    *,
    target: str = "",
    version: str = "",
    key: str = "",
    page: PageQuery | None = None,
) -> Any:
    """Run an action for somebody outside, with validated arguments.

    ``version``: of the record, as they saw it. ``key``: under which a creation is sent, so that sending it again creates nothing more.

    Raises Conflict if the record has another version by now, or the key was used for something else; Invalid without a version where one
    is needed; and what the action raises.
    """
    if not action.reads and (version or needs_version(action)):
        _require_version(ctx, action, target, version)
    arguments = _bound(ctx, action, values, target, page)
    if key and action.creates:
        return _created_once(ctx, action, arguments, key)
    return action.run(ctx, **arguments)


def _require_version(ctx: Context, action: Action, target: str, version: str) -> None:
    # Locked, so that it is still this version when the action reads it.
    record = action.noun.load(ctx, target, lock=True)
    if not version:
        detail = "Read the record, and send its `etag` in If-Match: this acts on what you saw."
        raise Invalid("version_missing", detail)
    if version_of(record) != version:
        raise Conflict("changed_meanwhile", "It was changed since you saw it. Read it again.")


def _created_once(ctx: Context, action: Action, arguments: Mapping[str, Any], key: str) -> Any:
    """Create a record, or return the one that was created under the key."""
    creation = Creation(digest_of((str(ctx.actor), action.code, key)), digest_of(arguments), ctx.now)
    store.delete_creation(ctx.tx, creation.id, before=ctx.now - KEYS_KEPT)
    # First, so that one sent at the same moment waits here for what becomes of this one.
    if not store.add_creation(ctx.tx, creation):
        earlier = store.find_creation(ctx.tx, creation.id)
        if earlier is None or earlier.digest != creation.digest:
            raise Conflict("key_reused", "This Idempotency-Key was used for something else. Use a new one.")
        record = action.noun.load(ctx, earlier.record)
        event = action.noun.about(action.code, record)
        ctx.record(replace(event, facts=event.facts | {"repeated": True}))
        return record
    try:
        record = action.run(ctx, **arguments)
    except DECIDED:
        # It commits, and what was refused may be sent again under its key.
        store.delete_creation(ctx.tx, creation.id)
        raise
    store.save_record(ctx.tx, creation.id, record.id)
    return record


def purge(ctx: Context) -> int:
    """Delete a batch of keys of creations that no longer count; return how many."""
    return store.purge(ctx.tx, ctx.now - KEYS_KEPT)


def _bound(
    ctx: Context, action: Action, sent: Mapping[str, Any], target: str, page: PageQuery | None
) -> dict[str, Any]:
    """Return the keyword arguments of the function."""
    values = dict(sent)
    for name, (_, arg, _) in _sent(action.run).items():
        if arg.own and not values.get(name):
            if ctx.actor.tenant is None:
                raise Invalid("fields_invalid", "You do not belong to a hospital.", fields={name: "missing"})
            values[name] = ctx.actor.tenant
    arguments: dict[str, Any] = {}
    for name, (hint, _) in _parameters(action.run).items():
        note = _arg_of(hint)
        if hint is PageQuery:
            arguments |= {name: page} if page is not None else {}
        elif is_dataclass(hint):
            arguments[name] = _built(hint, values)
        elif note is not None:
            arguments[name] = target if note.target else values[name]
    return arguments


# --- results ----------------------------------------------------------------------------------------------------------------------


def result_of(action: Action) -> tuple[type, bool]:
    """Return the type of what an action returns, and whether it returns a list of it."""
    hint: Any = get_type_hints(action.run)["return"]
    return (get_args(hint)[0], True) if get_origin(hint) is list else (hint, False)


def response_model(action: Action) -> type:
    """Return what the API publishes as the response of an action, of one item if it is a list."""
    kind, _ = result_of(action)
    return response_of(action.noun) if kind is action.noun.record else kind


def response_of(noun: Noun) -> type[BaseModel]:
    """Return the response model of a record: the dataclass's own fields, those that depend on the time, and its version as ``etag``."""
    hints = get_type_hints(noun.record, include_extras=True)
    names = [field.name for field in fields(noun.record) if field.name not in noun.hidden]
    members: dict[str, Any] = {name: (hints[name], ...) for name in names}
    members |= {name: (get_type_hints(derive)["return"], ...) for name, derive in noun.derived.items()}
    model: type[BaseModel] = create_model(noun.record.__name__, **members, etag=(str, ...))
    return model


# --- descriptions -----------------------------------------------------------------------------------------------------------------


def describe(action: Action) -> dict[str, Any]:
    """Return all that a client program needs to know of an action, as JSON: the command line is made of it, without any service."""
    noun, target = action.noun, target_of(action)
    kind, many = result_of(action)
    columns = [column.name for column in noun.columns] if kind is noun.record else _names_of(kind)
    return {
        "noun": noun.name,
        "verb": action.verb,
        "path": path_of(action, targeted=bool(target)),
        "record": f"/{noun.many.replace('_', '-')}/{{id}}",
        "who": sorted(action.who),
        "effect": action.effect,
        "step_up": action.step_up,
        "creates": action.creates,
        "audit": action.code if action.past else "",
        "past": action.past,
        "many": many,
        "paged": many and is_paged(action),
        "target": noun.name if target else "",
        "needs_version": needs_version(action),
        "summary": action.summary,
        "more": action.more,
        "asks": action.asks,
        "facts": [fact.name for fact in noun.facts] if action.asks else [],
        "columns": list(dict.fromkeys(("id", *columns))) if many else [],
        "sorts": list(action.sorts.words) if action.sorts else [],
        "inputs": [_described(input_) for input_ in inputs_of(action)],
        "returns": list(response_of(noun).model_fields) if kind is noun.record else _names_of(kind),
    }


def _names_of(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)]


def _described(input_: Input) -> dict[str, Any]:
    arg = input_.arg
    description = {
        "name": input_.name,
        "kind": input_.kind,
        "help": arg.help,
        "example": arg.example,
        "names": arg.names,
        "listed_by": arg.listed_by,
        "placed": arg.placed,
        "required": input_.required,
        "choices": [str(choice.value if isinstance(choice, Enum) else choice) for choice in input_.choices],
    }
    return {name: value for name, value in description.items() if value}
