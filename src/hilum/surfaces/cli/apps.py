"""``hilum app``: apps, clients and certifications, over the API; its commands about installations are in ``installations``."""

import sys
from datetime import datetime
from pathlib import Path
from shlex import quote
from typing import Any

import click
import orjson

from hilum.apps.registry.models import APP_SORTS
from hilum.surfaces.cli import api, app_edits, app_rules, app_service, app_traces, dry_runs, tiers
from hilum.surfaces.cli.clients import show_client
from hilum.surfaces.cli.installations import app_install, app_installations, app_narrow, app_uninstall
from hilum.surfaces.cli.named import (
    KINDS,
    TENANT,
    VENDOR,
    app_argument,
    client_argument,
    id_of,
    version_argument,
)
from hilum.surfaces.cli.output import MISUSED, as_json, table
from hilum.surfaces.cli.resources import (
    MOMENT,
    json_option,
    show,
    show_done,
    show_one,
    sort_option,
    tenant_option,
)

ENVIRONMENTS = click.Choice(["sandbox", "production"])


@click.group()
def app() -> None:
    r"""Manage apps, and install them at a hospital.

    \b
    Examples:
      hilum app list
      hilum app install "Chart Viewer" --tenant general --role physician
    """


for each in (
    app_install,
    app_installations,
    app_narrow,
    app_uninstall,
    *tiers.COMMANDS,
    *app_traces.COMMANDS,
    *app_service.COMMANDS,
    *app_rules.COMMANDS,
    dry_runs.app_observed,
    app_edits.app_edit,
    app_edits.app_edits,
    app_edits.app_edit_logo,
    app_edits.app_approve_edit,
    app_edits.app_refuse_edit,
):
    app.add_command(each)


@app.command("list")
@sort_option(APP_SORTS)
@json_option
def app_list(*, sort: str, json_: bool) -> None:
    r"""List apps.

    \b
    Example:
      hilum app list --json
    """
    show(
        api.every("/apps", sort=sort),
        ("id", "name", "vendor", "category", "state"),
        json_=json_,
    )


@app.command("show")
@app_argument
@json_option
def app_show(app_id: str, *, json_: bool) -> None:
    r"""Show an app with its versions and certifications: which scopes it may have, where and until when.

    Its clients are shown to the platform's staff only, and to the hospital that the app belongs to.

    \b
    Example:
      hilum app show "Chart Viewer"
    """
    path = f"/apps/{api.segment(app_id)}"
    found = api.call("GET", path)
    for part in ("versions", "certifications"):
        found[part] = api.every(f"{path}/{part}")
    # A hospital's administrator may read the app but not its clients; that is no error.
    if api.readable(f"{path}/clients") is not None:
        found["clients"] = api.every(f"{path}/clients")
    if json_:
        as_json(found)
        return
    versions = {each["id"]: each["label"] for each in found.pop("versions")}
    certifications = found.pop("certifications")
    found["versions"] = [f"{label} ({id_})" for id_, label in versions.items()]
    if "clients" in found:
        found["clients"] = [f"{each['name']} ({each['id']})" for each in found["clients"]]
    show_one(
        found | {part: ", ".join(found[part]) for part in ("versions", "clients") if found.get(part)},
        json_=False,
    )
    for each in certifications:
        click.echo(_certification(each, versions.get(each["version"], each["version"])))


def _certification(found: dict[str, Any], version: str) -> str:
    """Format a certification for a person, one scope on each line."""
    ends = (
        f"withdrawn at {found['withdrawn_at']}" if found["withdrawn_at"] else f"until {found['expires_at']}"
    )
    head = f"\ncertification {found['id']} of version {version}, {found['environment']}, {ends}:"
    return "\n  ".join((head, *found["scopes"]))


@app.command("add")
@click.argument("name")
@click.option("--vendor", type=VENDOR, required=True, help="The vendor.")
@click.option("--description", required=True, help="What it is, in a sentence.")
@click.option("--purpose", required=True, help="What it is for.")
@click.option("--category", required=True, help="Its category in the policy: scheduling, order_entry ...")
@json_option
def app_add(name: str, *, vendor: str, description: str, purpose: str, category: str, json_: bool) -> None:
    r"""Add an app.

    \b
    Example:
      hilum app add "Chart Viewer" --vendor "Acme Health" --category clinical_decision_support \
        --description "Vital signs on one page." --purpose "Treatment"
    """
    body = {
        "vendor": vendor,
        "name": name,
        "description": description,
        "purpose": purpose,
        "category": category,
    }
    show_one(api.call("POST", "/apps", body), json_=json_)


@app.command("profile")
@app_argument
@click.argument(
    "file",
    required=False,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@json_option
def app_profile(app_id: str, file: Path | None, *, json_: bool) -> None:
    r"""Show what an app's vendor states about it and what is missing, or replace it with a JSON file (- for standard input).

    The file has the fields that are shown, except app and missing; `revision` is the one that was read.

    \b
    Examples:
      hilum app profile app_01h... --json
      hilum app profile app_01h... profile.json
    """
    path = f"/apps/{api.segment(app_id)}/profile"
    if file is None:
        show_one(api.call("GET", path), json_=json_)
        return
    body = read_object(file)
    stated = {name: value for name, value in body.items() if name not in {"app", "missing"}}
    show_one(api.call("PUT", path, stated), json_=json_)


@app.command("version")
@app_argument
@click.argument("label")
@click.option(
    "--workflow", multiple=True, help="A workflow of the policy that it is made for; may be repeated."
)
@click.option(
    "--placement", multiple=True, help="A placement of the policy where it is opened; may be repeated."
)
@click.option("--optional-scope", multiple=True, help="A scope that it can do without; may be repeated.")
@click.option("--no-optional-scope", is_flag=True, help="It needs all of its scopes.")
@click.option(
    "--population",
    type=tiers.POPULATION,
    default=None,
    help="How many patients of a hospital it reaches; by default, every one.",
)
@tiers.ai_options
@json_option
def app_version(
    app_id: str,
    label: str,
    *,
    population: str | None,
    workflow: tuple[str, ...],
    placement: tuple[str, ...],
    optional_scope: tuple[str, ...],
    no_optional_scope: bool,
    json_: bool,
    **ai: str,
) -> None:
    r"""Add a version to an app.

    Declare the workflows and placements that it is made for: a version that declares none counts as made for all, also for its risk tier.
    Declare its optional scopes: people see them when they agree, and hospitals before they remove a scope that it needs.
    A version that uses AI says which model, for what, how far it acts by itself and what a person does; without --ai-model it uses none.

    \b
    Examples:
      hilum app version app_01h... 2.0 --workflow appointments --placement sidebar
      hilum app version app_01h... 2.1 --workflow quality_reporting
      hilum app version app_01h... 3.0 --ai-model "Notes 4" --ai-purpose "drafts visit notes" --ai-autonomy drafts \
        --ai-human-step "the clinician edits and signs"
    """
    body: dict[str, Any] = {"label": label}
    # Without either it does not state its needs, and nobody is warned.
    if optional_scope or no_optional_scope:
        body["optional_scopes"] = list(optional_scope)
    # Whoever names one of them declares both: a backend service has workflows and no placement.
    if workflow or placement:
        body |= {"workflows": list(workflow), "placements": list(placement)}
    if population:
        body["population"] = population
    if use := tiers.ai_use(ai):
        body["ai_use"] = use
    show_one(api.call("POST", f"/apps/{api.segment(app_id)}/versions", body), json_=json_)


@app.command("client")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@json_option
def app_client(file: Path, *, json_: bool) -> None:
    r"""Register a client described by a JSON file (- for standard input); its secret is shown once.

    \b
    Example of a file:
      {"app": "Chart Viewer", "version": "2.0", "client_name": "Chart", "client_type": "public", "deployment": "browser",
       "redirect_uris": ["https://chart.example/app"], "launch_url": "https://chart.example/launch", "scope": "launch patient/*.rs"}
    """
    body = read_object(file)
    app, version = body.get("app"), body.get("version")
    if isinstance(app, str):
        body["app"] = id_of("app", app)
    # The file names the app already, so its version goes by the label alone.
    if isinstance(app, str) and isinstance(version, str):
        whole = version.startswith(KINDS["version"][0]) or "@" in version
        body["version"] = id_of("version", version if whole else f"{app}@{version}")
    made = api.call("POST", "/clients", body)
    show_client(made, json_=json_)
    if made["client_secret"]:
        # On standard error: standard output is the record or its JSON, for scripts.
        click.secho("keep the secret for whoever runs the app; it is shown only here", fg="yellow", err=True)


def read_object(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file or, for -, from standard input. Exits 2 (misused) if it holds something else."""
    # From standard input too, so that a file with keys need not be left on disk.
    raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        click.secho(f"misused: {file} is not JSON: {error}", fg="red", err=True)
        raise SystemExit(MISUSED) from None
    if not isinstance(body, dict):
        click.secho(f"misused: {file} does not hold a JSON object", fg="red", err=True)
        raise SystemExit(MISUSED)
    return body


@app.command("change")
@client_argument
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@json_option
def app_change(client_id: str, file: Path, *, json_: bool) -> None:
    r"""Edit a client by a JSON file (- for standard input); for a certified production client it waits for a reviewer.

    The file has `revision` as `hilum client show` prints it, and any of redirect_uris, launch_url, origins, scope, jwks,
    jwks_uri, grant_types.

    \b
    Example:
      hilum app change cli_01h... change.json
    """
    show_client(api.call("PATCH", f"/clients/{api.segment(client_id)}", read_object(file)), json_=json_)


@app.command("offer")
@app_argument
@click.option("--to", type=VENDOR, required=True, help="The vendor to transfer it to.")
@json_option
def app_offer(app_id: str, to: str, *, json_: bool) -> None:
    r"""Offer an app to another vendor (owners); nothing changes before an owner of that one accepts.

    \b
    Example:
      hilum app offer app_01h... --to ven_01h...
    """
    show_one(api.call("POST", f"/apps/{api.segment(app_id)}/transfer", {"to": to}), json_=json_)


@app.command("accept")
@app_argument
@json_option
def app_accept(app_id: str, *, json_: bool) -> None:
    r"""Accept an app that was offered to your vendor (owners). Its tokens, secrets, keys and certifications end.

    \b
    Example:
      hilum app accept app_01h...
    """
    show_one(api.call("POST", f"/apps/{api.segment(app_id)}/transfer/accept"), json_=json_)


@app.command("decline")
@app_argument
@json_option
def app_decline(app_id: str, *, json_: bool) -> None:
    r"""Withdraw the offer of an app, or decline one that was made to your vendor (owners).

    \b
    Example:
      hilum app decline app_01h...
    """
    show_one(api.call("DELETE", f"/apps/{api.segment(app_id)}/transfer"), json_=json_)


@app.command("secret")
@client_argument
@click.option(
    "--overlap-s", type=int, default=None, help="How long the old secret keeps working, in seconds."
)
@json_option
def app_secret(client_id: str, overlap_s: int | None, *, json_: bool) -> None:
    r"""Create a new secret for a client, shown once; the old one ends after the overlap. An EHR's new secret waits for a second person.

    \b
    Example:
      hilum app secret cli_01h... --overlap-s 86400
    """
    path = f"/clients/{api.segment(client_id)}/secret"
    made = api.call("POST", path, {"overlap_s": overlap_s})
    (show_done if "approval" in made else show_client)(made, json_=json_)


@app.command("certify")
@version_argument
@click.option("--environment", type=ENVIRONMENTS, required=True, help="Where it may be used.")
@click.option("--scope", multiple=True, required=True, help="A scope it may ask for; may be repeated.")
@click.option(
    "--expires-at", type=MOMENT, required=True, help="When the certification ends, such as 2027-06-30."
)
@json_option
def app_certify(
    version_id: str, environment: str, scope: tuple[str, ...], expires_at: datetime, *, json_: bool
) -> None:
    r"""Certify a version for sandboxes by hand (reviewers). For production its disciplines decide: hilum review decide.

    \b
    Example:
      hilum app certify "Chart Viewer@2.0" --environment sandbox --scope launch --scope patient/Patient.rs --expires-at 2027-06-30
    """
    body = {
        "version": version_id,
        "environment": environment,
        "scopes": list(scope),
        "expires_at": expires_at.isoformat(),
    }
    show_one(api.call("POST", "/certifications", body), json_=json_)


@app.command("withdraw")
@click.argument("certification_id")
@json_option
def app_withdraw(certification_id: str, *, json_: bool) -> None:
    r"""Withdraw a certification; the apps that depend on it stop at once (reviewers).

    \b
    Example:
      hilum app withdraw cert_01h...
    """
    show_one(api.call("DELETE", f"/certifications/{api.segment(certification_id)}"), json_=json_)


@app.command("scopes")
@app_argument
@click.option(
    "--days", type=click.Choice(["30", "90"]), default="90", show_default=True, help="How far back."
)
@click.option("--tenant", type=TENANT, default="", help="The hospital; by default, all that you may see.")
@json_option
def app_scopes(app_id: str, *, days: str, tenant: str, json_: bool) -> None:
    r"""Compare the scopes of an app that are asked for, approved, granted and used, and print how to narrow it to what it used.

    \b
    Example:
      hilum app scopes app_01h... --days 90 --tenant general
    """
    path = f"/apps/{api.segment(app_id)}/scopes"
    found = api.call("GET", path, query={"days": days, "tenant": tenant})
    if json_:
        as_json(found)
        return
    columns = ("scope", "asked", "approved", "granted", "used", "last", "unused")
    table(
        [
            each | {name: "yes" if each[name] else "no" for name in ("asked", "approved")}
            for each in found["rows"]
        ],
        columns,
    )
    if not found["whole"]:
        click.echo(
            "The comparison was cut: there are more scopes or installations, and the numbers cover only those above."
        )
    click.echo(proposal_of(found))


def proposal_of(found: dict[str, Any]) -> str:
    """Return what is proposed for an installation, with the command line that does it."""
    at, days, id_ = found["tenant"], found["days"], found["installation"]
    # Quoted for a shell: a scope may hold & and *.
    scopes = " ".join(f"--scope {quote(each)}" for each in found["narrow_to"])
    return {
        "none": f"Not installed at {at}." if at else "For a proposal, set --tenant.",
        "too_early": f"Installed within the last {days} days, at {found['installed_at']}: too early for a proposal.",
        "keep": f"Nothing to narrow at {at}.",
        "narrow": f"Narrow it at {at} to what it used in {days} days:\n  hilum app narrow {id_} {scopes}",
        "uninstall": f"It used no record in {days} days. Remove it from {at}:\n  hilum app uninstall {found['app']} --tenant {at}",
    }[found["proposal"]]


@app.command("calls")
@app_argument
@click.option("--limit", type=click.IntRange(1, 200), default=50, show_default=True, help="How many.")
@click.option("--after", default="", help="`next` of the previous page.")
@json_option
def app_calls(app_id: str, *, limit: int, after: str, json_: bool) -> None:
    r"""List the newest calls of an app of your own vendor, with how each was answered and why; `hilum explain` is for the hospital.

    \b
    Example:
      hilum app calls app_01h... --limit 20
    """
    path = f"/apps/{api.segment(app_id)}/calls"
    found = api.call("GET", path, query={"limit": str(limit), "after": after})
    if json_:
        as_json(found)
        return
    table(
        found["items"],
        ("at", "tenant", "interaction", "resource_type", "status", "reason", "path", "request_id"),
    )
    if found["next"]:
        click.echo(f"There are more: --after {found['next']}")


@app.command("quota")
@app_argument
@tenant_option
@click.option("--rate", type=float, default=None, help="Requests a second, sustained.")
@click.option("--burst", type=int, default=None, help="Requests at once.")
@click.option("--remove", is_flag=True, help="Go back to the default.")
@json_option
def app_quota(
    app_id: str, *, tenant: str, rate: float | None, burst: int | None, remove: bool, json_: bool
) -> None:
    r"""Set or remove the quota of an app at a hospital.

    \b
    Examples:
      hilum app quota app_01h... --tenant general --rate 20 --burst 60
      hilum app quota app_01h... --tenant general --remove
    """
    # Half a quota is misuse and not a refusal: nothing was sent, so the exit code is 2.
    if remove == (rate is not None or burst is not None) or (rate is None) != (burst is None):
        raise click.UsageError("Set --rate and --burst, or --remove.")
    path = f"/quotas/{api.segment(app_id)}/{api.segment(api.require_tenant(tenant))}"
    body = None if remove else {"rate_per_s": rate, "burst": burst}
    show_one(api.call("DELETE" if remove else "PUT", path, body), json_=json_)


@app.command("category")
@app_argument
@click.argument("category")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def app_category(app_id: str, category: str, reason: str, *, json_: bool) -> None:
    r"""Move an app to another category of the policy.

    Scopes that the new category does not allow stop at once. Scopes that only the new one allows are withheld until a reviewer certifies them; this command lists them.

    \b
    Example:
      hilum app category app_01h... order_entry --reason "it writes orders since 2.0"
    """
    body = {"category": category, "reason": reason}
    found = api.call("POST", f"/apps/{api.segment(app_id)}/category", body)
    if json_:
        as_json(found)
        return
    show_one(found["app"], json_=False)
    for each in found["certifications"]:
        click.echo(f"\ncertification {each['certification']} of version {each['version']}:")
        for way, tier in each["tiers"].items():
            click.echo(f"  {way}: {tier}")
        for title, name in (("certify again", "certify_again"), ("not allowed there", "not_allowed")):
            click.echo(f"  {title}: {' '.join(each[name]) or 'nothing'}")


def _state(verb: str, app_id: str, reason: str, *, json_: bool) -> None:
    show_one(api.call("POST", f"/apps/{api.segment(app_id)}/{verb}", {"reason": reason}), json_=json_)


@app.command("suspend")
@app_argument
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def app_suspend(app_id: str, reason: str, *, json_: bool) -> None:
    r"""Suspend an app everywhere, until it is resumed. In an emergency use `hilum switch engage`.

    \b
    Example:
      hilum app suspend app_01h... --reason "the maker does not answer"
    """
    _state("suspend", app_id, reason, json_=json_)


@app.command("ask-again")
@app_argument
@click.option("--reason", required=True, help="Why, such as an incident; it is recorded.")
@json_option
def app_ask_again(app_id: str, reason: str, *, json_: bool) -> None:
    r"""Ask everybody who agreed to an app again at their next launch, for example after an incident. Open launches continue; `hilum switch engage` stops them.

    \b
    Example:
      hilum app ask-again "Chart Viewer" --reason "records of others were shown on 2026-11-20"
    """
    _state("ask-again", app_id, reason, json_=json_)


@app.command("resume")
@app_argument
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def app_resume(app_id: str, reason: str, *, json_: bool) -> None:
    r"""Lift a suspension.

    \b
    Example:
      hilum app resume app_01h... --reason "answered, and fixed in 2.1"
    """
    _state("resume", app_id, reason, json_=json_)
