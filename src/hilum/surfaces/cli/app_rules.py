"""``hilum app rules``: what the policy says of an app."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from hilum.policy.matrix.models import TIERS
from hilum.policy.matrix.policy import flat
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import app_argument
from hilum.surfaces.cli.output import as_json, plain
from hilum.surfaces.cli.resources import json_option

_SCOPES_OF = {
    "open_submission": "those of its open submission",
    "certification": "those for which it is certified",
    "clients": "those that the app's clients ask for",
    "none": "it asks for none yet, so this is the minimum",
}
_TITLED = ("evidence", "scenarios", "placements")


@click.command("rules")
@app_argument
@click.option(
    "--tier", type=click.Choice([each.value for each in TIERS]), help="Only the entry of this tier."
)
@json_option
def app_rules(app_id: str, *, tier: str | None, json_: bool) -> None:
    r"""Show what the policy says of an app: how each version is judged and why, and everything that its entries say.

    An entry is what its category says of one tier: what a version must show and prove, how clients authenticate, quotas, lives, clocks and
    thresholds. Each workflow is shown with the scopes that it expands into. Without --tier the entries are those by which a version is judged or in
    which a client acts; if there are none yet, all of the category.

    \b
    Examples:
      hilum app rules Rota
      hilum app rules Rota --tier high
      hilum app rules Rota --json
    """
    found = api.call("GET", f"/apps/{api.segment(app_id)}/rules")
    if json_:
        as_json(found)
        return
    head = f"{found['title'] or found['category']}, by version {found['policy_version']} of the policy"
    click.echo(plain(head))
    if not found["entries"]:
        click.echo("The policy does not have this category, so nothing of the app is certified.")
    labels = {each["version"]: each["label"] for each in found["versions"]}
    for line in (*_versions(found), *_clients(found, labels)):
        click.echo(plain(line))
    chosen = (
        [each for each in found["entries"] if each["tier"] == tier] if tier else _judging(found["entries"])
    )
    for line in (line for each in chosen for line in _entry(each, found["titles"], labels)):
        click.echo(plain(line))
    for line in (line for each in found["workflows"] for line in _workflow(each, labels)):
        click.echo(plain(line))


def _judging(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in entries if each["versions"] or each["clients"]] or entries


def _versions(found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["versions"]:
        scopes = f": {' '.join(each['scopes'])}" if each["scopes"] else ""
        yield ""
        yield f"version {each['label']} ({each['version']}), by its scopes, {_SCOPES_OF[each['scopes_of']]}{scopes}"
        for way in [one for one in each["ways"] if one["used"]] or each["ways"]:
            enforced = f"; {way['today']} by what is enforced today" if way["today"] != way["tier"] else ""
            refused = "" if way["allowed"] else "; not allowed in this category"
            yield f"  {way['authentication']:20} {way['sentence']}{enforced}{refused}"
        if each["beyond"]:
            yield f"  {'beyond workflows':20} {' '.join(each['beyond'])}"
    if found["more"]:
        yield "older versions are not listed"


def _clients(found: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    if found["clients"]:
        yield ""
    for each in found["clients"]:
        acts = f"acts at {each['tier']}" if each["tier"] else "is not certified, so nothing is granted to it"
        of = f"{each['authentication']}, {each['environment']}, version {labels.get(each['version'], each['version'])}"
        yield f"client {each['id']} ({of}) {acts}"


def _entry(entry: Mapping[str, Any], titles: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    judged = ", ".join(labels.get(each, each) for each in entry["versions"])
    yield ""
    yield f"entry {entry['tier']}{f', by which version {judged} is judged' if judged else ''}"
    for path, text in flat(entry["rules"]):
        yield f"  {path:32} {text or '-'}"
        if path in _TITLED:
            named = entry["rules"][path]
            yield from (f"    {name:30} {titles[path][name]}" for name in named if name in titles[path])
    for name in entry["waived"]:
        yield f"  {name:32} is waived for this app"
    for each in entry["still"]:
        yield f"  {each['path']:32} {each['value'] or '-'} until {entry['until']}"


def _workflow(found: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[str]:
    tiers = ", ".join(found["tiers"]) or "no tier of this category"
    declared = ", ".join(labels[each] for each in found["versions"] if each in labels)
    yield ""
    yield f"workflow {found['name']}: {found['title']}; allowed at {tiers}{f'; declared by version {declared}' if declared else ''}"
    for title, words in (
        ("expands into", found["scopes"] or ()),
        ("intents", found["intents"]),
        ("placements", found["placements"]),
    ):
        if words:
            yield f"  {title:20} {' '.join(words)}"


COMMANDS = (app_rules,)
