"""``hilum idp``: sign-in through hospitals' own identity providers."""

import json
import os
from pathlib import Path
from typing import Any

import click
from joserfc.jwk import ECKey

from hilum.surfaces.cli import api
from hilum.surfaces.cli.apps import read_object
from hilum.surfaces.cli.named import chosen, id_of, person_argument
from hilum.surfaces.cli.output import REFUSED
from hilum.surfaces.cli.resources import json_option, show, show_done, show_one, tenant_option

COLUMNS = ("id", "tenant", "name", "issuer", "active", "passwords", "number")
LINKS = ("id", "tenant", "subject", "person", "linked_at", "seen_at")
PREFIX = "idp_"
FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)


class Provider(click.ParamType[str]):
    """An identity provider's id, or its name; commands get the id."""

    name = "provider"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002 - the base class passes them
        """Resolve what was typed."""
        # A few for each hospital, so the list is looked through here.
        named = str(value)
        if named.startswith(PREFIX):
            return named
        same = named.casefold()
        found = [each for each in api.every("/identity-providers") if each["name"].casefold() == same]
        return chosen("identity provider", named, found, at="tenant", code="provider_not_found")


provider_argument = click.argument("provider", metavar="PROVIDER", type=Provider())


@click.group()
def idp() -> None:
    r"""Manage sign-in through a hospital's own identity provider (OpenID Connect).

    \b
    Examples:
      hilum idp add provider.json --tenant general --secret
      hilum idp try "Meridian General"
      hilum idp off "Meridian General"
    """


@idp.command("hosts")
@json_option
def hosts(*, json_: bool) -> None:
    r"""List the hosts that may serve identity providers.

    \b
    Example:
      hilum idp hosts
    """
    show(api.every("/identity-provider-hosts"), ("id", "origin", "added_at", "added_by"), json_=json_)


@idp.command("allow")
@click.argument("origin")
@json_option
def allow(origin: str, *, json_: bool) -> None:
    r"""Allow a host to serve identity providers; it waits for a second person. For platform administrators.

    \b
    Example:
      hilum idp allow https://login.lakeside.example
    """
    show_done(api.call("POST", "/identity-provider-hosts", {"origin": origin}), json_=json_)


@idp.command("disallow")
@click.argument("origin")
@json_option
def disallow(origin: str, *, json_: bool) -> None:
    r"""Take a host off the list: users are no longer sent there, and nothing is fetched from it. For platform administrators.

    \b
    Example:
      hilum idp disallow https://login.lakeside.example
    """
    for each in api.every("/identity-provider-hosts"):
        if origin in {each["origin"], each["id"]}:
            show_one(api.call("DELETE", f"/identity-provider-hosts/{api.segment(each['id'])}"), json_=json_)
            return
    click.secho(f"refused: {origin} is not on the list", fg="red", err=True)
    raise SystemExit(REFUSED)


@idp.command("key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def key(file: Path) -> None:
    r"""Make a key for client_auth private_key_jwt: the private JWK in a new file, the public key set on standard output.

    Register the key set at the provider. Then give the line of the file where `hilum idp add --secret` asks for the secret, and delete the file.

    \b
    Example:
      hilum idp key hilum-at-lakeside.jwk
    """
    made = ECKey.generate_key("P-256")
    kid = {"kid": made.thumbprint()}
    try:
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as private:
            private.write(json.dumps(dict(made.as_dict(private=True)) | kid) + "\n")
    except FileExistsError:
        click.secho(f"refused: {file} exists already", fg="red", err=True)
        raise SystemExit(REFUSED) from None
    public = dict(made.as_dict(private=False)) | kid | {"use": "sig", "alg": "ES256"}
    click.echo(json.dumps({"keys": [public]}))


@idp.command("add")
@click.argument("file", type=FILE)
@tenant_option
@click.option("--secret", is_flag=True, help="Ask for the client's secret.")
@json_option
def add(file: Path, *, tenant: str, secret: bool, json_: bool) -> None:
    r"""Set up an identity provider by a JSON file (- for standard input); it waits for a second person.

    The file has name, issuer, client_id, roles and role_table, a list of {"value": ..., "role": ...}, and may have any other field that
    `hilum idp show` prints.

    \b
    Example:
      hilum idp add provider.json --tenant general --secret
    """
    body = read_object(file) | {"tenant": api.require_tenant(tenant)} | _secret(asked=secret)
    show_done(api.call("POST", "/identity-providers", body), json_=json_)


@idp.command("change")
@provider_argument
@click.argument("file", type=FILE)
@click.option("--secret", is_flag=True, help="Ask for a new secret of the client.")
@json_option
def change(provider: str, file: Path, *, secret: bool, json_: bool) -> None:
    r"""Change an identity provider by a JSON file (- for standard input): what only takes away applies at once, the rest waits for a second person.

    The file has `number` as `hilum idp show` prints it, and the fields to change.

    \b
    Example:
      hilum idp change "Meridian General" change.json
    """
    body = read_object(file) | _secret(asked=secret)
    show_done(api.call("PATCH", f"/identity-providers/{api.segment(provider)}", body), json_=json_)


@idp.command("off")
@provider_argument
@json_option
def off(provider: str, *, json_: bool) -> None:
    r"""Switch an identity provider off at once; people sign in with passwords again. Switching it on takes a second person.

    \b
    Example:
      hilum idp off "Meridian General"
    """
    _switch(provider, active=False, json_=json_)


@idp.command("on")
@provider_argument
@json_option
def on(provider: str, *, json_: bool) -> None:
    r"""Switch an identity provider on; it waits for a second person.

    \b
    Example:
      hilum idp on "Meridian General"
    """
    _switch(provider, active=True, json_=json_)


@idp.command("list")
@click.option("--tenant", default="", help="The hospital; by default, all that you may see.")
@json_option
def list_(*, tenant: str, json_: bool) -> None:
    r"""List identity providers.

    \b
    Example:
      hilum idp list --tenant general
    """
    show(api.every("/identity-providers", tenant=tenant), COLUMNS, json_=json_)


@idp.command("show")
@provider_argument
@json_option
def show_(provider: str, *, json_: bool) -> None:
    r"""Show an identity provider, with the addresses to register there.

    \b
    Example:
      hilum idp show "Meridian General"
    """
    show_one(api.call("GET", f"/identity-providers/{api.segment(provider)}"), json_=json_)


@idp.command("try")
@provider_argument
@json_option
def try_(provider: str, *, json_: bool) -> None:
    r"""Look at everything that a sign-in needs but a person, and print what is wrong with it and what to do.

    \b
    Example:
      hilum idp try "Meridian General"
    """
    found = api.call("POST", f"/identity-providers/{api.segment(provider)}/try")
    if json_:
        show_one(found, json_=True)
    else:
        for each in found["findings"]:
            click.secho(
                f"{'ok  ' if each['ok'] else 'FAIL'}  {each['check']}: {each['detail']}",
                fg=None if each["ok"] else "red",
            )
    if not found["ok"]:
        raise SystemExit(REFUSED)


@idp.command("link")
@provider_argument
@person_argument
@click.argument("subject")
@json_option
def link(provider: str, person_id: str, subject: str, *, json_: bool) -> None:
    r"""Link an account with a subject of an identity provider, who then signs in to it; it waits for a second person.

    \b
    Example:
      hilum idp link "Meridian General" n.okafor 7f1c2e9a
    """
    at = api.call("GET", f"/identity-providers/{api.segment(provider)}")["tenant"]
    person = id_of("person", person_id, tenant=at)
    body = {"provider": provider, "person": person, "subject": subject}
    show_done(api.call("POST", "/identity-links", body), json_=json_)


@idp.command("links")
@click.option("--tenant", default="", help="The hospital; by default, all that you may see.")
@json_option
def links(*, tenant: str, json_: bool) -> None:
    r"""List who is linked with which subject.

    \b
    Example:
      hilum idp links --tenant general
    """
    show(api.every("/identity-links", tenant=tenant), LINKS, json_=json_)


@idp.command("unlink")
@click.argument("link")
@json_option
def unlink(link: str, *, json_: bool) -> None:
    r"""Remove a link; the person's sessions and API tokens end.

    \b
    Example:
      hilum idp unlink lnk_01h...
    """
    show_one(api.call("DELETE", f"/identity-links/{api.segment(link)}"), json_=json_)


def _switch(provider: str, *, active: bool, json_: bool) -> None:
    path = f"/identity-providers/{api.segment(provider)}"
    number = api.call("GET", path)["number"]
    show_done(api.call("PATCH", path, {"number": number, "active": active}), json_=json_)


def _secret(*, asked: bool) -> dict[str, Any]:
    # Prompted and not an option: arguments are visible in the process list and the shell's history.
    return {"client_secret": click.prompt("Client secret", hide_input=True)} if asked else {}
