"""Commands made of the descriptions of declared actions: ``hilum NOUN VERB``. A command of the same name by hand wins."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from hilum.foundation.actions.live import declared
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import id_of
from hilum.surfaces.cli.output import plain
from hilum.surfaces.cli.resources import MOMENT, digest_of, json_option, show, show_one

_OF_A_PLACE = frozenset({"person", "facility"})
"""What is named within a hospital."""


def group_of(noun: str) -> click.Group:
    """Build the group of a noun, with a command for each action."""
    description = declared()[noun]
    examples = [_example(action) for action in description["actions"][:3]]
    group = click.Group(noun, help=_help(description["help"], *examples))
    add_declared(noun, group)
    return group


def add_declared(noun: str, group: click.Group) -> None:
    """Add the commands of declared actions to a group that may have others by hand, which stay."""
    for action in declared()[noun]["actions"] if noun in declared() else ():
        if action["verb"] not in group.commands:
            group.add_command(command_of(action))


def command_of(action: Mapping[str, Any]) -> click.Command:
    """Build the command of an action."""
    parameters: list[click.Parameter] = []
    if action["target"]:
        parameters.append(click.Argument(["id"], metavar=action["target"].replace("_", "-").upper()))
    parameters += [_parameter(input_) for input_ in action["inputs"]]
    if action["sorts"]:
        hint = "The column to sort by; a leading - reverses the order."
        parameters.append(click.Option(["--sort"], type=click.Choice(action["sorts"]), help=hint))
    if action["asks"]:
        hint = "Do not ask for confirmation: you have read it."
        parameters.append(click.Option(["--yes"], is_flag=True, help=hint))

    def run(*, json_: bool, **typed: Any) -> None:
        _run(action, typed, json_=json_)

    text = _help(" ".join(filter(None, (action["summary"], action["more"]))), _example(action))
    return json_option(click.Command(action["verb"], params=parameters, callback=run, help=text))


def _parameter(input_: Mapping[str, Any]) -> click.Parameter:
    name, kind = input_["name"], input_["kind"]
    if input_.get("placed"):
        return click.Argument([name], metavar=input_.get("names", name).upper())
    flag = f"--{name.replace('_', '-')}"
    if kind == "flag":
        return click.Option([flag, name], is_flag=True, default=False, help=input_["help"])
    types: dict[str, Any] = {
        "choice": click.Choice(input_.get("choices", ())),
        "moment": MOMENT,
        "integer": int,
    }
    return click.Option(
        [flag, name],
        type=types.get(kind, str),
        multiple=kind == "list",
        required=input_.get("required", False),
        help=input_["help"] + (" A file, of which only the SHA-256 is sent." if kind == "document" else ""),
    )


def _help(text: str, *examples: str) -> str:
    head = "Example" if len(examples) == 1 else "Examples"
    return f"{text}\n\n\b\n{head}:\n" + "\n".join(f"  {example}" for example in examples)


def _example(action: Mapping[str, Any]) -> str:
    words = ["hilum", action["noun"].replace("_", "-"), action["verb"]]
    if action["target"]:
        words.append(f"{action['target'].replace('_', '-').upper()}")
    words += [input_["example"] for input_ in action["inputs"] if input_.get("placed")]
    for input_ in action["inputs"]:
        flag = f"--{input_['name'].replace('_', '-')}"
        if input_["kind"] == "flag":
            words.append(flag)
        elif input_.get("example") and not input_.get("placed"):
            words += [f"{flag} {example}" for example in input_["example"].split("|")]
    return " ".join(words)


def _run(action: Mapping[str, Any], typed: dict[str, Any], *, json_: bool) -> None:
    id_, yes, sort = api.segment(typed.pop("id", "")), typed.pop("yes", False), typed.pop("sort", None) or ""
    path, sent = action["path"].replace("{id}", id_), _sent(action, typed)
    if action["many"]:
        query = {name: "true" if value is True else str(value) for name, value in sent.items()}
        paged = action["paged"]
        items = api.every(path, sort=sort, **query) if paged else api.call("GET", path, query=query)["items"]
        show(items, tuple(action["columns"]), json_=json_)
    elif action["effect"] == "reads":
        show_one(api.call("GET", path, query=sent), json_=json_)
    else:
        version = _version(action, id_, confirmed=yes or not action["asks"])
        key = secrets.token_urlsafe() if action["creates"] else ""
        show_one(api.call("POST", path, sent, version=version, key=key), json_=json_)


def _sent(action: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was typed as the API takes it: ids in place of names, moments as text; nothing for what was not typed."""
    tenant = typed.get("tenant") or ""
    sent: dict[str, Any] = {}
    for input_ in action["inputs"]:
        name, value = input_["name"], typed.get(input_["name"])
        if value is None or value in ("", False, ()):
            continue
        if kind := input_.get("names"):
            place = {"tenant": tenant} if kind in _OF_A_PLACE else {}
            value = id_of(kind, value, listed_by=input_.get("listed_by", ""), **place)
        elif input_["kind"] == "document":
            value = digest_of(value)
        sent[name] = value.isoformat() if isinstance(value, datetime) else value
    return sent


def _version(action: Mapping[str, Any], id_: str, *, confirmed: bool) -> str:
    """Return the version of the record that the action is done to, so that no other is; empty if any will do. Shows it and asks, unless confirmed."""
    if confirmed and not action["needs_version"]:
        return ""
    record = api.call("GET", action["record"].replace("{id}", id_))
    if not confirmed:
        names = api.names_of({value for value in record.values() if isinstance(value, str)})
        for name in action["facts"]:
            if (value := record.get(name)) not in (None, ""):
                click.echo(f"{name:18} {plain(str(names.get(value, value)))}", err=True)
        click.confirm(action["asks"], abort=True, err=True)
    return str(record["etag"])
