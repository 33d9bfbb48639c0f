"""Commands that speak the API: who is here, what is registered, what is installed."""

from typing import Any

import click

from hilum.cli import api
from hilum.cli.output import as_json, table

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON.")
ENVIRONMENTS = click.Choice(["sandbox", "production"])


def show(found: list[dict[str, Any]], columns: tuple[str, ...], *, json_: bool) -> None:
    """Print a list as asked."""
    if json_:
        as_json(found)
    else:
        table(found, columns)


def show_one(found: dict[str, Any], *, json_: bool) -> None:
    """Print one record as asked."""
    if json_:
        as_json(found)
        return
    for name, value in found.items():
        click.echo(f"{name:18} {value if value not in (None, '') else '-'}")


@click.command()
@click.option("--username", prompt=True, help="Your user name.")
@click.option("--tenant", default="", help="Your hospital; leave out for the platform's staff.")
@click.password_option(confirmation_prompt=False, help="Asked for when not given.")
def login(username: str, tenant: str, password: str) -> None:
    r"""Get an API token and keep it for the next commands.

    \b
    Example:
      hilum login --username admin.ferro
    """
    made = api.call(
        "POST",
        "/tokens",
        {"username": username, "password": password, "tenant": tenant or None, "name": "hilum login"},
        open_=True,
    )
    kept = api.keep_token(made["token"])
    click.echo(f"signed in until {made['expires_at']}; the token is kept in {kept}")


@click.group()
def tenant() -> None:
    """Look after hospitals."""


@tenant.command("list")
@json_option
def tenant_list(*, json_: bool) -> None:
    """List hospitals."""
    show(api.every("/tenants"), ("id", "name", "active", "sandbox"), json_=json_)


@tenant.command("show")
@click.argument("tenant_id")
@json_option
def tenant_show(tenant_id: str, *, json_: bool) -> None:
    """Show one hospital."""
    show_one(api.call("GET", f"/tenants/{api.segment(tenant_id)}"), json_=json_)


@tenant.command("add")
@click.argument("tenant_id")
@click.option("--name", required=True, help="What people call it.")
@click.option("--upstream-url", default="", help="FHIR base of its server; leave out for the embedded one.")
@click.option("--sandbox", is_flag=True, help="Synthetic: sandbox clients may work here.")
@json_option
def tenant_add(tenant_id: str, name: str, upstream_url: str, *, sandbox: bool, json_: bool) -> None:
    r"""Add a hospital.

    \b
    Example:
      hilum tenant add lakeside --name "Lakeside Hospital" --upstream-url https://fhir.lakeside.example/r4
    """
    upstream = {"kind": "http", "url": upstream_url} if upstream_url else {"kind": "embedded"}
    body = {"id": tenant_id, "name": name, "upstream": upstream, "sandbox": sandbox}
    show_one(api.call("POST", "/tenants", body), json_=json_)


@click.group()
def person() -> None:
    """Look after people and what they are."""


@person.command("list")
@click.option("--tenant", default="", help="At which hospital; leave out for the platform's staff.")
@json_option
def person_list(tenant: str, *, json_: bool) -> None:
    """List people."""
    show(api.every("/people", tenant=tenant), ("id", "username", "name", "role", "active"), json_=json_)


@person.command("add")
@click.argument("username")
@click.option("--tenant", default="", help="At which hospital; leave out for the platform's staff.")
@click.option("--name", required=True, help="Full name.")
@click.option(
    "--role",
    required=True,
    help="physician, nurse, analyst, administrator, front_desk, patient; or a staff role.",
)
@click.option("--fhir-user", default="", help="Their resource, such as Practitioner/12.")
@click.option(
    "--patient", multiple=True, help="A chart that is theirs, or that they act for; may be repeated."
)
@json_option
def person_add(
    username: str, *, tenant: str, name: str, role: str, fhir_user: str, patient: tuple[str, ...], json_: bool
) -> None:
    r"""Add somebody.

    \b
    Example:
      hilum person add n.okafor --tenant general --name "Ngozi Okafor" --role nurse --fhir-user Practitioner/77
    """
    body = {"tenant": tenant or None, "username": username, "name": name, "role": role}
    body |= {"fhir_user": fhir_user or None, "patients": list(patient) or None}  # type: ignore[dict-item]
    show_one(api.call("POST", "/people", body), json_=json_)


@person.command("deactivate")
@click.argument("person_id")
@json_option
def person_deactivate(person_id: str, *, json_: bool) -> None:
    """End somebody's access for good: sessions, launches and tokens."""
    show_one(api.call("DELETE", f"/people/{api.segment(person_id)}"), json_=json_)


@click.group()
def vendor() -> None:
    """Look after who makes apps."""


@vendor.command("list")
@json_option
def vendor_list(*, json_: bool) -> None:
    """List vendors."""
    show(api.every("/vendors"), ("id", "name", "support_contact", "security_contact"), json_=json_)


@vendor.command("add")
@click.argument("name")
@click.option("--support", required=True, help="Support contact.")
@click.option("--security", required=True, help="Security contact.")
@click.option("--website", default="", help="Address of the vendor's pages.")
@json_option
def vendor_add(name: str, support: str, security: str, website: str, *, json_: bool) -> None:
    r"""Add a vendor.

    \b
    Example:
      hilum vendor add "Acme Health" --support help@acme.example --security security@acme.example
    """
    body = {
        "name": name,
        "support_contact": support,
        "security_contact": security,
        "website": website or None,
    }
    show_one(api.call("POST", "/vendors", body), json_=json_)


@click.group()
def app() -> None:
    """Look after apps, and install them at a hospital."""


@app.command("list")
@json_option
def app_list(*, json_: bool) -> None:
    """List apps."""
    show(api.every("/apps"), ("id", "name", "vendor", "state"), json_=json_)


@app.command("show")
@click.argument("app_id")
@json_option
def app_show(app_id: str, *, json_: bool) -> None:
    """Show an app with its versions, clients and certifications."""
    path = f"/apps/{api.segment(app_id)}"
    found = api.call("GET", path)
    for part in ("versions", "clients", "certifications"):
        found[part] = api.call("GET", f"{path}/{part}")["items"]
    show_one(found, json_=json_)


@app.command("add")
@click.argument("name")
@click.option("--vendor", required=True, help="The vendor's id.")
@click.option("--description", required=True, help="What it is, in a sentence.")
@click.option("--purpose", required=True, help="What it is for.")
@json_option
def app_add(name: str, vendor: str, description: str, purpose: str, *, json_: bool) -> None:
    """Add an app."""
    body = {"vendor": vendor, "name": name, "description": description, "purpose": purpose}
    show_one(api.call("POST", "/apps", body), json_=json_)


@app.command("certify")
@click.argument("version_id")
@click.option("--environment", type=ENVIRONMENTS, required=True, help="Where it may work.")
@click.option("--scope", multiple=True, required=True, help="A scope it may ask for; may be repeated.")
@click.option(
    "--expires-at", required=True, help="When the certification ends, such as 2027-06-30T00:00:00Z."
)
@json_option
def app_certify(
    version_id: str, environment: str, scope: tuple[str, ...], expires_at: str, *, json_: bool
) -> None:
    """Certify a version (reviewers)."""
    body = {
        "version": version_id,
        "environment": environment,
        "scopes": list(scope),
        "expires_at": expires_at,
    }
    show_one(api.call("POST", "/certifications", body), json_=json_)


@app.command("install")
@click.argument("app_id")
@click.option("--tenant", required=True, help="At which hospital.")
@click.option("--role", multiple=True, help="A role that may launch it; may be repeated.")
@click.option("--scope", multiple=True, help="A scope it may have; leave out for all that is certified.")
@json_option
def app_install(
    app_id: str, tenant: str, role: tuple[str, ...], scope: tuple[str, ...], *, json_: bool
) -> None:
    r"""Install an app at a hospital (its administrator).

    \b
    Example:
      hilum app install app_01h... --tenant general --role physician --scope user/Observation.rs
    """
    body = {"tenant": tenant, "app": app_id, "roles": list(role), "scopes": list(scope) or None}
    show_one(api.call("POST", "/installations", body), json_=json_)


@app.command("uninstall")
@click.argument("app_id")
@click.option("--tenant", required=True, help="At which hospital.")
@json_option
def app_uninstall(app_id: str, tenant: str, *, json_: bool) -> None:
    """Remove an app from a hospital; its tokens there stop at once."""
    found = [
        each
        for each in api.every("/installations", tenant=tenant)
        if each["app"] == app_id and not each["removed_at"]
    ]
    if not found:
        click.secho(f"refused: {app_id} is not installed at {tenant}", fg="red", err=True)
        raise SystemExit(1)
    show_one(api.call("DELETE", f"/installations/{api.segment(found[0]['id'])}"), json_=json_)


def _state(verb: str, app_id: str, reason: str, *, json_: bool) -> None:
    show_one(api.call("POST", f"/apps/{api.segment(app_id)}/{verb}", {"reason": reason}), json_=json_)


@app.command("suspend")
@click.argument("app_id")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def app_suspend(app_id: str, reason: str, *, json_: bool) -> None:
    """Suspend an app everywhere: slow and reasoned. For an emergency use `hilum switch engage`."""
    _state("suspend", app_id, reason, json_=json_)


@app.command("resume")
@click.argument("app_id")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def app_resume(app_id: str, reason: str, *, json_: bool) -> None:
    """Lift a suspension."""
    _state("resume", app_id, reason, json_=json_)
