"""How commands name apps, vendors, hospitals, clients, people, facilities and versions: by id, or by name (one resolver for all)."""

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.output import LISTED_BY, REFUSED, plain

F = TypeVar("F", bound=Callable[..., Any])
KINDS = {
    "app": ("app_", "app"),
    "vendor": ("ven_", "vendor"),
    "client": ("cli_", "client"),
    "person": ("per_", "person"),
    "facility": ("fac_", "facility"),
    "version": ("ver_", "version"),
    # A hospital's id has no prefix: it is what people call it in addresses.
    "tenant": ("", "hospital"),
}
"""The prefix of ids, and the word for it."""
_TENANT_ID = re.compile(r"[a-z0-9][a-z0-9-]{1,31}")


def id_of(kind: str, named: str, *, tenant: str = "", listed_by: str = "") -> str:
    """Return the id of what is named. Exits 1 if nothing, or more than one thing, has this name.

    What looks like an id is not looked up: the platform answers for it. ``tenant``: of which hospital (or vendor) a person or facility
    is; without one the caller's own. ``listed_by``: the command that lists what is meant, if it is not the usual one.
    """
    prefix, word = KINDS[kind]
    looks_like_id = named.startswith(prefix) if prefix else _TENANT_ID.fullmatch(named)
    if not named or looks_like_id:
        return named
    query = {"kind": kind, "named": named, "tenant": tenant}
    found = api.call("GET", "/lookups", query=query)["items"]
    where = f" at {plain(tenant)}" if tenant else ""
    return chosen(word, named, found, code=f"{kind}_not_found", where=where, listed_by=listed_by)


def chosen(
    word: str,
    named: str,
    found: list[dict[str, Any]],
    *,
    code: str,
    at: str = "of",
    where: str = "",
    listed_by: str = "",
) -> str:
    """Return the id of the only one that was found. Exits 1 if there is none, or more than one. ``at``: the field that says whose each is."""
    if len(found) == 1:
        return str(found[0]["id"])
    if found:
        click.secho(f"refused: {len(found)} {word}s are named {plain(named)!r}:", fg="red", err=True)
        for each in found:
            click.echo(f"  {each['id']}  {plain(each[at])}", err=True)
        click.echo("Use its id.", err=True)
        raise SystemExit(REFUSED)
    click.secho(f"refused: no {word} is named {plain(named)!r}{where} ({code})", fg="red", err=True)
    click.echo(f"Next: `{listed_by or LISTED_BY[code]}` lists them.", err=True)
    raise SystemExit(REFUSED)


def ids_of(kind: str, named: Iterable[str], *, tenant: str = "") -> list[str]:
    """Return the ids of all that are named, in their order."""
    return [id_of(kind, each, tenant=tenant) for each in named]


class Named(click.ParamType[str]):
    """The type of an argument or option that names something by id or name; commands get the id."""

    def __init__(self, kind: str, listed_by: str = "") -> None:
        self.name, self._listed_by = kind, listed_by

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - the base class passes them
        """Resolve what was typed."""
        return id_of(self.name, str(value), listed_by=self._listed_by)


APP, VENDOR, TENANT, CLIENT, VERSION = map(Named, ("app", "vendor", "tenant", "client", "version"))
app_argument = click.argument("app_id", metavar="APP", type=APP)
vendor_argument = click.argument("vendor_id", metavar="VENDOR", type=VENDOR)
client_argument = click.argument("client_id", metavar="CLIENT", type=CLIENT)
tenant_argument = click.argument("tenant_id", metavar="TENANT", type=TENANT)
version_argument = click.argument("version_id", metavar="VERSION", type=VERSION)
person_argument = click.argument("person_id", metavar="PERSON")
"""A person's id or user name. The command resolves it, with the hospital or vendor that it knows."""
installation_argument = click.argument("installation_id", metavar="INSTALLATION")
"""An installation's id, or the app's name or id; the command resolves it with ``installation_of``."""


def installation_of(named: str, tenant: str) -> str:
    """Return the id of the installation in force that is named by it, or by its app at a hospital. Exits 1 if there is none."""
    if named.startswith("ins_"):
        return named
    app, tenant = id_of("app", named), api.require_tenant(tenant)
    found = [each for each in api.every("/installations", tenant=tenant) if each["app"] == app]
    if not found:
        name = api.names_of({app}).get(app, named)
        click.secho(f"refused: {plain(name)} is not installed at {tenant}", fg="red", err=True)
        click.echo("Next: `hilum app installations` lists what is.", err=True)
        raise SystemExit(REFUSED)
    return str(found[0]["id"])
