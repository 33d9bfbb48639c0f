"""``hilum request`` and ``hilum request-rule``: what people ask a hospital for, and the rules that decide it."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from hilum.cli import api
from hilum.cli.apps import read_object
from hilum.cli.named import Named, id_of
from hilum.cli.output import REFUSED, as_json, plain, table
from hilum.cli.resources import MOMENT, json_option, show, show_one, sort_option, tenant_option
from hilum.kernel.lists import counted
from hilum.requests.models import GROUP_SORTS, State

GROUP, REQUEST = "rqg_", "arq_"
GROUP_COLUMNS = ("id", "tenant", "app", "requests", "roles", "attention", "assigned_to", "opened_at")
REQUEST_COLUMNS = ("id", "group", "app", "person", "role", "roles", "wanted", "state", "reason")
APP_COLUMNS = ("name", "vendor", "purpose", "tasks", "installed", "asked")
OWN_COLUMNS = tuple(each for each in REQUEST_COLUMNS if each not in {"person", "role"})
FILE = click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
revision_option = click.option(
    "--revision",
    type=int,
    default=None,
    help="The revision that you saw; refused if it has changed. By default, the current one.",
)


@click.group()
def request() -> None:
    r"""Ask a hospital for an app, and decide what is asked for.

    \b
    Examples:
      hilum request add app_01h... --role nurse --reason "for the ward round"
      hilum request list
      hilum request approve rqg_01h... --role nurse
    """


@request.command("add")
@click.argument("app_id", metavar="APP", type=Named("app", listed_by="hilum request apps"))
@tenant_option
@click.option("--role", multiple=True, help="A role that should have it; may be repeated.")
@click.option("--scope", multiple=True, help="A scope; without --scope and --workflow, all that it may have.")
@click.option("--workflow", multiple=True, help="A workflow, for the scopes that it needs.")
@click.option("--reason", required=True, help="What it is for. Name no patient.")
@json_option
def request_add(
    app_id: str,
    *,
    tenant: str,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    workflow: tuple[str, ...],
    reason: str,
    json_: bool,
) -> None:
    r"""Ask for an app at your hospital, or (a vendor's member) for your app at one.

    \b
    Examples:
      hilum request add app_01h... --role physician --workflow chart_review --reason "for the ward round"
      hilum request add "Chart Viewer" --tenant "General Hospital" --role nurse --reason "pilot on two wards"
    """
    body = {
        "app": app_id,
        "tenant": tenant or None,
        "roles": list(role),
        "scopes": list(scope),
        "workflows": list(workflow),
        "reason": reason,
    }
    _show_request(api.call("POST", "/requests", body), json_=json_)


@request.command("apps")
@json_option
def request_apps(*, json_: bool) -> None:
    r"""List the apps that you may ask your hospital for; name one of them in `hilum request add`.

    \b
    Examples:
      hilum request apps
      hilum request add "Chart Viewer" --role nurse --reason "for the ward round"
    """
    found = api.every("/requestable-apps")
    if not json_:
        found = [each | {"tasks": [task["name"] for task in each["tasks"]]} for each in found]
    show(found, APP_COLUMNS, json_=json_)


@request.command("list")
@tenant_option
@click.option("--state", type=click.Choice([str(each) for each in State]), default="open", show_default=True)
@click.option("--own", is_flag=True, help="Your own requests, in every state.")
@sort_option(GROUP_SORTS)
@json_option
def request_list(*, tenant: str, state: str, own: bool, sort: str, json_: bool) -> None:
    r"""List what is asked for, one line for each app.

    \b
    Examples:
      hilum request list
      hilum request list --own
    """
    if own:
        # Their own name is the only one, and who asks may not read names.
        show(api.every("/requests", tenant=tenant), OWN_COLUMNS, json_=json_)
        return
    found = api.every("/request-groups", tenant=tenant, sort=sort, state=state)
    show(found, GROUP_COLUMNS, json_=json_)


@request.command("show")
@click.argument("id_", metavar="GROUP|REQUEST")
@tenant_option
@json_option
def request_show(id_: str, *, tenant: str, json_: bool) -> None:
    r"""Show a group with its requests, by its id or its app, or one request with how the rules judged it.

    \b
    Examples:
      hilum request show "Chart Viewer"
      hilum request show arq_01h...
    """
    if id_.startswith(REQUEST):
        _show_request(api.call("GET", f"/requests/{api.segment(id_)}"), json_=json_)
        return
    id_ = _group_of(id_, tenant)
    found = api.call("GET", f"/request-groups/{api.segment(id_)}")
    asked = api.every("/requests", group=id_)
    if json_:
        as_json(found | {"asked": asked})
        return
    show_one(found, json_=False)
    show(asked, REQUEST_COLUMNS, json_=False)


def _group_of(named: str, tenant: str = "") -> str:
    """Return the id of a group that is named by it, or by the app that it asks for. Exits 1 if nobody asks for that app."""
    if named.startswith(GROUP):
        return named
    app = id_of("app", named)
    found = [each for each in api.every("/request-groups", tenant=tenant, state="open") if each["app"] == app]
    if not found:
        click.secho(f"refused: nobody is asking for {plain(named)}", fg="red", err=True)
        click.echo("Next: `hilum request list` lists what is asked for.", err=True)
        raise SystemExit(REFUSED)
    return str(found[0]["id"])


@request.command("withdraw")
@click.argument("request_id")
@json_option
def request_withdraw(request_id: str, *, json_: bool) -> None:
    r"""Withdraw a request of your own that nobody has decided.

    \b
    Example:
      hilum request withdraw arq_01h...
    """
    _show_request(api.call("DELETE", f"/requests/{api.segment(request_id)}"), json_=json_)


@request.command("approve")
@click.argument("group_id", metavar="GROUP")
@click.option(
    "--role", multiple=True, help="Only this role; may be repeated. By default, all that are asked for."
)
@click.option(
    "--scope", multiple=True, help="Only this scope; may be repeated. By default, all that are asked for."
)
@click.option(
    "--expires-at", type=MOMENT, default=None, help="When the installation ends, such as 2027-06-30."
)
@click.option("--reason", default="", help="Why; it is kept with the group.")
@click.option("--anyway", is_flag=True, help="Even without what the app states that it needs.")
@revision_option
@json_option
def request_approve(
    group_id: str,
    *,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    expires_at: datetime | None,
    reason: str,
    anyway: bool,
    revision: int | None,
    json_: bool,
) -> None:
    r"""Approve all requests of a group: the app is installed, or its installation gets what is new.

    If the app says that it does not work without what is left out, nothing is done before you repeat it with --anyway.

    \b
    Example:
      hilum request approve "Chart Viewer" --role nurse --scope patient/Observation.rs
    """
    group_id = _group_of(group_id)
    body = {
        "revision": _revision(group_id, revision),
        "roles": list(role) or None,
        "scopes": list(scope) or None,
        "expires_at": expires_at.isoformat() if expires_at else None,
        "reason": reason,
        "anyway": anyway,
    }
    show_one(api.call("POST", f"/request-groups/{api.segment(group_id)}/approve", body), json_=json_)


@request.command("dismiss")
@click.argument("group_id", metavar="GROUP")
@click.option("--reason", required=True, help="Why; those who asked see it.")
@revision_option
@json_option
def request_dismiss(group_id: str, *, reason: str, revision: int | None, json_: bool) -> None:
    r"""Dismiss all requests of a group.

    \b
    Example:
      hilum request dismiss "Chart Viewer" --reason "we have another app for this"
    """
    group_id = _group_of(group_id)
    body = {"revision": _revision(group_id, revision), "reason": reason}
    show_one(api.call("POST", f"/request-groups/{api.segment(group_id)}/dismiss", body), json_=json_)


@request.command("hand-over")
@click.argument("group_id", metavar="[GROUP]", required=False)
@click.option("--to", required=True, help="The administrator who should decide: a user name or an id.")
@click.option("--from", "of", default="", help="All open groups of this administrator, who may have left.")
@tenant_option
@json_option
def request_hand_over(group_id: str | None, *, to: str, of: str, tenant: str, json_: bool) -> None:
    r"""Hand a group, or all of one administrator, over to another.

    \b
    Examples:
      hilum request hand-over "Chart Viewer" --to m.berg
      hilum request hand-over --from p.hall --to m.berg
    """
    if bool(group_id) == bool(of):
        raise click.UsageError("Pass a group, or set --from to an administrator.")
    if group_id:
        group_id = _group_of(group_id, tenant)
        body = {"revision": _revision(group_id, None), "to": id_of("person", to, tenant=tenant)}
        show_one(api.call("POST", f"/request-groups/{api.segment(group_id)}/hand-over", body), json_=json_)
        return
    body = {
        "tenant": tenant or None,
        "of": id_of("person", of, tenant=tenant),
        "to": id_of("person", to, tenant=tenant),
    }
    number, more = 0, True
    while more:
        done = api.call("POST", "/request-groups/hand-over", body)
        number, more = number + done["groups"], done["more"]
    show_one({"groups": number}, json_=json_)


def _revision(group: str, seen: int | None) -> int:
    return seen or int(api.call("GET", f"/request-groups/{api.segment(group)}")["revision"])


def _show_request(found: dict[str, Any], *, json_: bool) -> None:
    verdict = found["verdict"]
    if json_:
        as_json(found)
        return
    steps = verdict.pop("steps")
    show_one(found, json_=False)
    if steps:
        table(steps, ("rule", "holds", "sentence"))


# --- rules ---------------------------------------------------------------------------------------------------------------------


@click.group("request-rule")
def request_rule() -> None:
    r"""Show, try and set a hospital's rules for requests. The first rule that matches decides.

    \b
    Examples:
      hilum request-rule list
      hilum request-rule try rules.json
      hilum request-rule set rules.json --note "nurses too"
    """


@request_rule.command("list")
@tenant_option
@json_option
def rule_list(*, tenant: str, json_: bool) -> None:
    r"""List the rules in force, in their order. With --json, in the form that `set` reads.

    \b
    Examples:
      hilum request-rule list
      hilum request-rule list --json > rules.json
    """
    found = api.call("GET", "/request-rules", query={"tenant": tenant})
    if json_:
        as_json(found)
        return
    click.echo(f"version {found['version']}, put in force {found['in_force_at'] or 'never'}")
    to = api.names_of({each["to"] for each in found["rules"] if each.get("to")})
    shown = [
        {
            "name": each["name"],
            "action": each["action"],
            "if": _in_words(each, CONDITIONS) or "always",
            "then": _in_words(each | {"to": to[each["to"]]} if each.get("to") in to else each, LIMITS),
        }
        for each in found["rules"]
    ]
    table(shown, ("name", "action", "if", "then"))


CONDITIONS = ("apps", "vendors", "categories", "tier_at_most", "tier_at_least", "scopes_within", "requesters")
LIMITS = ("only_scopes", "only_roles", "for_days", "to", "because")


def _in_words(rule: dict[str, Any], names: tuple[str, ...]) -> str:
    found = {name: rule[name] for name in names if name in rule}
    texts = {
        name: "|".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in found.items()
    }
    return " ".join(f"{name}={text}" for name, text in texts.items())


@request_rule.command("versions")
@tenant_option
@json_option
def rule_versions(*, tenant: str, json_: bool) -> None:
    r"""List the versions of a hospital's rules, newest first.

    \b
    Example:
      hilum request-rule versions
    """
    found = api.every("/request-rules/versions", tenant=tenant)
    if not json_:
        found = [
            {name: value for name, value in each.items() if name != "approver"}
            | {"rules": len(each["rules"]), "approved_by": each["approver"]}
            for each in found
        ]
    show(found, ("version", "in_force_at", "approved_by", "rules", "note"), json_=json_)


@request_rule.command("set")
@FILE
@tenant_option
@click.option("--note", default="", help="What has changed; it is kept with the version.")
@click.option(
    "--base", type=int, default=None, help="The version that you changed; refused if another is in force."
)
@json_option
def rule_set(file: Path, *, tenant: str, note: str, base: int | None, json_: bool) -> None:
    r"""Put the rules of a JSON file in force; they approve under your name.

    \b
    Example:
      hilum request-rule set rules.json --note "nurses may have scheduling apps"
    """
    found = _rules_in(file, tenant)
    if base is None:
        base = int(api.call("GET", "/request-rules", query={"tenant": tenant})["version"])
    body = {"tenant": tenant or None, "rules": found, "base": base, "note": note}
    done = api.call("PUT", "/request-rules", body)
    if not json_:
        done["rules"] = [each["name"] for each in done["rules"]]
    show_one(done, json_=json_)


@request_rule.command("try")
@FILE
@tenant_option
@json_option
def rule_try(file: Path, *, tenant: str, json_: bool) -> None:
    r"""Judge the requests of the last 90 days by the rules of a JSON file, and list those decided differently; nothing changes.

    \b
    Example:
      hilum request-rule try rules.json
    """
    body = {"tenant": tenant or None, "rules": _rules_in(file, tenant)}
    judged, found, after = 0, [], ""
    while True:
        done = api.call("POST", "/request-rules/try", body | {"after": after})
        judged, after = judged + done["judged"], done["next"]
        found += done["items"]
        if not after:
            break
    if json_:
        as_json({"judged": judged, "items": found})
        return
    shown = [
        each | {name: f"{each[name]['action']} {each[name]['rule']}".strip() for name in ("before", "now")}
        for each in found
    ]
    show(shown, ("request", "app", "person", "before", "now", "ended"), json_=False)
    click.echo(f"{counted(judged, 'request')} judged, {len(found)} decided differently")


def _rules_in(file: Path, tenant: str) -> list[Any]:
    found = read_object(file).get("rules")
    if not isinstance(found, list):
        raise click.UsageError('The file must hold an object with a list "rules".')
    for each in found:
        if isinstance(each, dict) and isinstance(each.get("to"), str):
            each["to"] = id_of("person", each["to"], tenant=tenant)
    return found
