"""``hilum installation``, and the commands of ``hilum app`` about installations, over the API."""

from datetime import datetime
from typing import Any

import click

from hilum.apps.installations.models import SORTS
from hilum.foundation.kernel.lists import counted
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, app_argument, ids_of, installation_argument, installation_of
from hilum.surfaces.cli.output import as_json, table
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option, tenant_option


@click.command("installations")
@click.option("--tenant", type=TENANT, default="", help="The hospital; by default, all that you may see.")
@sort_option(SORTS)
@json_option
def app_installations(tenant: str, sort: str, *, json_: bool) -> None:
    r"""List installations in force.

    \b
    Examples:
      hilum app installations --tenant general
      hilum app installations --sort until          # what ends next
    """
    columns = ("id", "tenant", "app", "roles", "scopes", "facilities", "denied", "expires_at")
    found = api.every("/installations", tenant=tenant, sort=sort)
    show(found, columns, json_=json_)


@click.command("narrow")
@installation_argument
@tenant_option
@click.option("--role", multiple=True, help="A role to keep; by default, all.")
@click.option("--scope", multiple=True, help="A scope to keep; by default, all.")
@click.option("--facility", multiple=True, help="A facility to keep; by default, all.")
@click.option("--deny-facility", multiple=True, help="A facility where it may no longer be opened.")
@click.option("--workflow", default=None, help="The workflow of launches that name none.")
@click.option("--expires-at", type=MOMENT, default=None, help="When it ends, such as 2027-06-30.")
@click.option(
    "--try",
    "try_",
    is_flag=True,
    help="Change nothing: list what of the last 90 days would have been refused.",
)
@click.option(
    "--quota",
    type=(float, int),
    default=None,
    help="With --try: a quota to try, as requests a second and at once.",
)
@click.option("--anyway", is_flag=True, help="Even if the app states that it does not work then.")
@click.option(
    "--revision", default="", help="Of the installation that you saw; refused if it has changed since."
)
@json_option
def app_narrow(
    installation_id: str,
    tenant: str,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    *,
    facility: tuple[str, ...],
    deny_facility: tuple[str, ...],
    workflow: str | None,
    expires_at: datetime | None,
    try_: bool,
    quota: tuple[float, int] | None,
    anyway: bool,
    revision: str,
    json_: bool,
) -> None:
    r"""Narrow an installation to fewer roles, scopes or facilities, or an earlier end; tokens in use are narrowed at once.

    Launch and identity scopes stay, since the app could not be opened without them. If the app says that it does not work
    without what you take away, nothing is done before you repeat it with --anyway.

    \b
    Examples:
      hilum app narrow "Chart Viewer" --scope user/Observation.rs --try
      hilum app narrow "Chart Viewer" --role physician --quota 5 50 --try
      hilum app narrow "Chart Viewer" --tenant general --role physician
      hilum app narrow ins_01h... --scope user/Observation.rs --deny-facility "East Clinic"
    """
    path = f"/installations/{api.segment(installation_of(installation_id, tenant))}"
    named = (*facility, *deny_facility)
    tenant = api.call("GET", path)["tenant"] if named else ""
    fewer = {
        "roles": list(role) or None,
        "scopes": list(scope) or None,
        "facilities": ids_of("facility", facility, tenant=tenant) or None,
        "denied": ids_of("facility", deny_facility, tenant=tenant),
    }
    if try_:
        _try_narrowing(path, fewer, quota, json_=json_)
        return
    if quota is not None:
        raise click.UsageError("--quota is for --try only. To set a quota, use `hilum app quota`.")
    body = fewer | {
        "default_workflow": workflow,
        "expires_at": expires_at.isoformat() if expires_at else None,
        "anyway": anyway,
        "revision": revision,
    }
    show_one(api.call("PATCH", path, body), json_=json_)


def _try_narrowing(path: str, fewer: dict[str, Any], quota: tuple[float, int] | None, *, json_: bool) -> None:
    if quota is None and not any(fewer.values()):
        raise click.UsageError(
            "--try needs what to keep: --scope, --role, --facility, --deny-facility or --quota."
        )
    tried = None if quota is None else {"rate_per_s": quota[0], "burst": quota[1]}
    found = api.call("POST", f"{path}/try-narrowing", fewer | {"quota": tried})
    if json_:
        as_json(found)
        return
    if found["rows"]:
        table(found["rows"], ("scope", "resource_type", "interaction", "verdict", "number", "last"))
    click.echo(
        f"{counted(found['permitted'], 'request')} since {found['since']}: {found['refused']} would be refused, {found['less']} answered in part, "
        f"{found['unjudged']} not known"
    )
    if launched := found["launches"]:
        if launched["rows"]:
            table(launched["rows"], ("reason", "role", "facility", "number"))
        click.echo(
            f"{counted(launched['number'], 'launch', 'launches')} since {launched['since']}: {launched['refused']} would be refused"
        )
    if found["beyond_quota"] is not None:
        click.echo(f"{counted(found['beyond_quota'], 'request')} would have been refused for the quota")


@click.command("install")
@app_argument
@tenant_option
@click.option("--role", multiple=True, help="A role that may launch it; may be repeated.")
@click.option("--scope", multiple=True, help="A scope it may have; by default, all that is certified.")
@click.option("--facility", multiple=True, help="A facility where it may be opened; by default, all.")
@click.option("--deny-facility", multiple=True, help="A facility where it may not be opened.")
@click.option("--workflow", default=None, help="The workflow of launches that name none.")
@click.option("--expires-at", type=MOMENT, default=None, help="When it ends, such as 2027-06-30.")
@click.option(
    "--network", multiple=True, help="A network that its backend clients come from; may be repeated."
)
@click.option("--anyway", is_flag=True, help="Even without what the app states that it needs.")
@click.option(
    "--try",
    "try_",
    is_flag=True,
    help="Install nothing: list what it would lack, and what would stop working.",
)
@json_option
def app_install(
    app_id: str,
    tenant: str,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    *,
    facility: tuple[str, ...],
    deny_facility: tuple[str, ...],
    workflow: str | None,
    expires_at: datetime | None,
    network: tuple[str, ...],
    anyway: bool,
    try_: bool,
    json_: bool,
) -> None:
    r"""Install an app at a hospital (its administrator).

    With --scope it gets these scopes and those to be launched and to know for whom; `hilum app show` lists those that are certified.
    If the app says that it does not work without what you leave out, nothing is done before you repeat it with --anyway.
    Facilities are named by name or id; a denied one stays closed to the app, also if --facility lists it.

    \b
    Examples:
      hilum app install app_01h... --role physician --role nurse --scope launch --scope patient/Observation.rs
      hilum app install "Chart Viewer" --tenant general --role patient
      hilum app install "Chart Viewer" --role nurse --scope patient/Observation.rs --try
      hilum app install app_01h... --role physician --facility "East Clinic"
    """
    tenant = api.require_tenant(tenant)
    body = {
        "tenant": tenant,
        "app": app_id,
        "roles": list(role),
        "scopes": list(scope) or None,
        "facilities": ids_of("facility", facility, tenant=tenant) or None,
        "denied": ids_of("facility", deny_facility, tenant=tenant),
        "default_workflow": workflow,
        "expires_at": expires_at.isoformat() if expires_at else None,
        "networks": list(network),
        "anyway": anyway,
    }
    if try_:
        _show_preview(api.call("POST", "/installations/preview", body), json_=json_)
        return
    show_one(api.call("POST", "/installations", body), json_=json_)


def _show_preview(found: dict[str, Any], *, json_: bool) -> None:
    if json_:
        as_json(found)
        return
    rows = [each | {"needed": "yes" if each["needed"] else "not stated"} for each in found["left_out"]]
    if rows:
        table(rows, ("scope", "needed", "reason", "work"))
    click.echo(
        "It gets everything that the app states it needs."
        if found["complete"]
        else "The app states that it does not work without these. To install it anyway, pass --anyway."
    )


@click.command("uninstall")
@app_argument
@tenant_option
@json_option
def app_uninstall(app_id: str, tenant: str, *, json_: bool) -> None:
    r"""Remove an app from a hospital; its tokens there stop at once.

    \b
    Example:
      hilum app uninstall "Chart Viewer" --tenant general
    """
    path = f"/installations/{api.segment(installation_of(app_id, tenant))}"
    show_one(api.call("DELETE", path), json_=json_)


@click.group()
def installation() -> None:
    r"""Show what a hospital approved, record that it looked at it again, and accept what a newer version has more.

    \b
    Examples:
      hilum installation show ins_01h...
      hilum installation validate ins_01h...
      hilum installation newer ins_01h...
      hilum installation accept ins_01h... --digest 4f0c...
    """


@installation.command("show")
@installation_argument
@tenant_option
@json_option
def installation_show(installation_id: str, tenant: str, *, json_: bool) -> None:
    r"""Show an installation: who approved it, what was asked, what was given, and when it was last validated.

    \b
    Example:
      hilum installation show ins_01h...
    """
    _show(
        api.call("GET", f"/installations/{api.segment(installation_of(installation_id, tenant))}"),
        json_=json_,
    )


@installation.command("networks")
@installation_argument
@tenant_option
@click.option("--network", multiple=True, help="A network, such as 192.0.2.0/24; may be repeated.")
@click.option("--any", "anywhere", is_flag=True, help="From anywhere: remove the limit.")
@json_option
def networks(
    installation_id: str, tenant: str, network: tuple[str, ...], *, anywhere: bool, json_: bool
) -> None:
    r"""Set the networks that an app's backend clients come from at your hospital; what comes from elsewhere is refused at once.

    It counts for the token endpoint and for FHIR requests, by the address that the platform sees or its trusted proxies report.

    \b
    Examples:
      hilum installation networks "Population Export" --network 192.0.2.0/24 --network 2001:db8::/48
      hilum installation networks ins_01h... --any
    """
    if bool(network) is anywhere:
        raise click.UsageError("Set --network or --any.")
    path = f"/installations/{api.segment(installation_of(installation_id, tenant))}/networks"
    show_one(api.call("PUT", path, {"networks": list(network)}), json_=json_)


@installation.command("validate")
@installation_argument
@tenant_option
@json_option
def installation_validate(installation_id: str, tenant: str, *, json_: bool) -> None:
    r"""Record that you looked at an installation again and leave it as it is (the hospital's administrator).

    \b
    Example:
      hilum installation validate ins_01h...
    """
    path = f"/installations/{api.segment(installation_of(installation_id, tenant))}/validation"
    _show(api.call("POST", path), json_=json_)


@installation.command("newer")
@installation_argument
@tenant_option
@json_option
def newer(installation_id: str, tenant: str, *, json_: bool) -> None:
    r"""Show what the newest certified version has more than the installation, by workflow.

    \b
    Example:
      hilum installation newer ins_01h...
    """
    id_ = installation_of(installation_id, tenant)
    found = api.call("GET", f"/installations/{api.segment(id_)}/newer-version")
    if json_:
        as_json(found)
        return
    if not found["version"]:
        click.echo("Nothing is new.")
        return
    click.echo(f"Version {found['label']} ({found['version']}) has more than this installation:")
    for work in found["work"]:
        title = work["title"] or "No workflow of the version needs this"
        click.secho(f"\n{title}{' (new)' if work['is_new'] else ''}", bold=True)
        for each in work["scopes"]:
            click.echo(f"  {'writes  ' if each['writes'] else ''}{each['words']}  [{each['scope']}]")
    if found["withheld"]:
        click.echo(f"\nCertified, but not allowed by the policy here: {' '.join(found['withheld'])}")
    if found["revives"]:
        click.echo("\nPart of it was taken away here before; accepting it ends what was issued until now.")
    click.echo(f"\nhilum installation accept {id_} --digest {found['digest']}")


@installation.command("accept")
@installation_argument
@tenant_option
@click.option("--scope", multiple=True, help="Only this scope; may be repeated. By default, all that is new.")
@click.option("--role", multiple=True, help="A role that gets it too; may be repeated.")
@click.option(
    "--digest", required=True, help="Of the difference that `newer` printed; refused if it has changed since."
)
@json_option
def accept(
    installation_id: str,
    tenant: str,
    *,
    scope: tuple[str, ...],
    role: tuple[str, ...],
    digest: str,
    json_: bool,
) -> None:
    r"""Accept what a newer version has more; until then, and for live grants also after it, nothing changes.

    \b
    Examples:
      hilum installation newer "Chart Viewer" --tenant general
      hilum installation accept ins_01h... --digest 4f0c...
      hilum installation accept ins_01h... --digest 4f0c... --scope patient/Immunization.rs --role nurse
    """
    where = f"/installations/{api.segment(installation_of(installation_id, tenant))}"
    body = {"digest": digest, "scopes": list(scope) or None, "roles": list(role)}
    show_one(api.call("POST", f"{where}/accept-version", body), json_=json_)


def _show(found: dict[str, Any], *, json_: bool) -> None:
    if not json_:
        record = found.pop("record") or {}
        found |= {f"{name} at approval": record.get(name) for name in ("asked", "scopes", "roles")}
    show_one(found, json_=json_)
