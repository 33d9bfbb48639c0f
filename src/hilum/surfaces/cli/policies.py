"""``hilum policy``: the policy. Files are checked and compared on this machine; everything else goes over the API."""

import tomllib
from pathlib import Path
from typing import Any

import click
import orjson

from hilum.foundation.kernel.errors import NotFound
from hilum.policy.matrix.comparison import changes, privilege_increases
from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import Book, ClientAuthentication, Fault
from hilum.policy.matrix.shipped import shipped_book
from hilum.surfaces.cli import api, dry_runs, exceptions
from hilum.surfaces.cli.named import TENANT
from hilum.surfaces.cli.output import MISUSED, REFUSED, as_json, refuse
from hilum.surfaces.cli.resources import json_option, show, show_done, show_one

SHIPPED = "shipped"
MADE_FROM = "made_from"
"""The table of a file that says which version its document was made from, and after which application. It is not part of the document."""
REASON_HELP = "Why; it is recorded."
TENANTS_HELP = "Only at this hospital; may be repeated. By default, everywhere."
EMERGENCY_HELP = "Skip the dry run; only for a version that allows nothing new."
emergency_option = click.option("--emergency", is_flag=True, help=EMERGENCY_HELP)
reason_option = click.option("--reason", required=True, help=REASON_HELP)
tenants_option = click.option("--tenant", "tenants", type=TENANT, multiple=True, help=TENANTS_HELP)


@click.group()
def policy() -> None:
    r"""Read and change the policy: what each category of app may do at each risk tier.

    \b
    Examples:
      hilum policy show
      hilum policy validate book.toml
      hilum policy publish book.toml --tenant general --reason "shorter tokens"
    """


for command in (
    dry_runs.dry_run,
    dry_runs.dry_runs,
    dry_runs.observed,
    exceptions.ask,
    exceptions.exceptions,
    exceptions.end_exception,
):
    policy.add_command(command)


@policy.command("show")
@click.argument("version", default="")
@click.option(
    "--document",
    is_flag=True,
    help="Print the whole document as JSON, to edit and publish it; its made_from says what it was made from.",
)
@json_option
def show_policy(version: str, *, document: bool, json_: bool) -> None:
    r"""Show what is in force, or one version; "shipped" is the one of this release.

    \b
    Examples:
      hilum policy show
      hilum policy show 3 --document > book.json
    """
    current = api.call("GET", "/policies")
    if current["fault"]:
        click.secho(f"Nothing is decided by the policy: {current['fault']}", fg="red", err=True)
    found = api.call("GET", f"/policies/versions/{_number(version or str(current['everywhere']))}")
    if document:
        as_json({MADE_FROM: {"version": found["number"], "after": current["last"]}} | found["document"])
        return
    if json_:
        as_json(found | {"in_force": current})
        return
    show_one(
        {
            "version": found["number"],
            "digest": found["digest"],
            "note": found["note"],
            "in force everywhere": current["everywhere"],
            "last application": current["last"],
            "elsewhere": [f"{tenant}: {number}" for tenant, number in current["at"].items()],
        },
        json_=False,
    )
    for each in current["observed"]:
        what = f"{', '.join(each['limits'])} of {each['category']}, {each['tier']} tier,"
        text = f"version {each['version']} observes {what} until {each['until']}, and refuses nothing by it; what it would refuse:"
        click.secho(f"{text} hilum policy observed", fg="yellow")
    click.echo()
    show(_entries(found["document"]), ("category", "tier", "open", "clients", "access", "quota"), json_=False)


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entries of a rendered document as rows."""
    return [
        {
            "category": name,
            "tier": tier,
            "open": "yes" if category["open"] else "no",
            "clients": " ".join(entry["client_authentication"]),
            "access": entry["lifetimes"]["access_token"],
            "quota": f"{entry['quota']['rate_per_s']:g}/s, {entry['quota']['burst']}",
        }
        for name, category in document["categories"].items()
        for tier, entry in category["entries"].items()
    ]


@policy.command("list")
@click.option("--applied", is_flag=True, help="List when which version was put in force where.")
@json_option
def list_versions(*, applied: bool, json_: bool) -> None:
    r"""List the versions of the policy, newest first.

    \b
    Examples:
      hilum policy list
      hilum policy list --applied
    """
    if applied:
        applied_columns = ("number", "version", "tenants", "reason", "applied_by", "agreed_by", "applied_at")
        show(api.every("/policies/applications"), applied_columns, json_=json_)
    else:
        columns = ("number", "base", "note", "added_by", "added_at", "digest")
        show(api.every("/policies/versions"), columns, json_=json_)


@policy.command("scopes")
@click.argument("name", default="")
@click.option(
    "--tenant",
    type=TENANT,
    help="At this hospital; by default, where the policy that is in force everywhere applies.",
)
@json_option
def list_scopes(name: str, tenant: str | None, *, json_: bool) -> None:
    r"""List the scope products: who answers for which scopes, and until when. With a name, show one with all that it covers.

    \b
    Examples:
      hilum policy scopes
      hilum policy scopes messages --tenant general
    """
    found = api.call("GET", "/policies/scopes", query={"tenant": tenant} if tenant else None)
    products = found["products"]
    if name:
        product = next((each for each in products if each["name"] == name), None)
        if product is None:
            refuse(
                NotFound(
                    "scope_product_not_found",
                    f"There is no scope product {name!r}. `hilum policy scopes` lists them.",
                )
            )
        show_one(product, json_=json_)
        return
    columns = ("name", "status", "data_class", "version", "owner", "deprecated_from", "sunset", "successor")
    show(products, columns, json_=json_)
    if found["finding"] and not json_:
        click.echo(f"\n{found['finding']}")


@policy.command("validate")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def validate(file: Path, *, json_: bool) -> None:
    r"""Check a policy in a file, without the network. Exits 1 and lists everything that is wrong, if anything is.

    \b
    Example:
      hilum policy validate book.toml
    """
    book, faults = read_book(_document(file))
    if json_:
        rows = [{"path": each.path, "code": each.code, "sentence": each.sentence} for each in faults]
        as_json({"valid": book is not None, "digest": book.digest if book else "", "faults": rows})
    elif book is not None:
        click.echo(f"valid, digest {book.digest}")
    else:
        _print_faults(faults)
    if book is None:
        raise SystemExit(REFUSED)


@policy.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("--check", is_flag=True, help="Exit 1 if AFTER allows anything that BEFORE does not.")
@json_option
def diff(before: str, after: str, *, check: bool, json_: bool) -> None:
    r"""List what differs between two policies, and what the second allows that the first does not.

    Each is a file, the number of a version, or "shipped". Two files are compared without the network.

    \b
    Examples:
      hilum policy diff 3 4
      hilum policy diff shipped book.toml --check
    """
    old, new = _book(before), _book(after)
    changed, wider = changes(old, new), privilege_increases(old, new)
    if json_:
        rows = [{"path": each.path, "before": each.before, "after": each.after} for each in changed]
        allows = [{"path": each.path, "sentence": each.sentence} for each in wider]
        as_json({"changes": rows, "privilege_increases": allows})
    else:
        for each in changed:
            click.echo(f"{each.path}: {said_of(each.before, each.after)}")
        click.echo("" if changed else "nothing differs")
        click.echo("allows nothing new" if not wider else "allows, which takes two people:")
        for new_access in wider:
            click.echo(f"  {new_access.path}: {new_access.sentence}")
    if check and wider:
        raise SystemExit(REFUSED)


@policy.command("publish")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--base", default="", help="The version it was made from, if the file does not say so.")
@click.option(
    "--after",
    type=click.IntRange(min=0),
    help="The last application that you have seen, if the file does not say so or you have seen later ones.",
)
@tenants_option
@reason_option
@emergency_option
@json_option
def publish(
    file: Path,
    *,
    base: str,
    after: int | None,
    tenants: tuple[str, ...],
    reason: str,
    emergency: bool,
    json_: bool,
) -> None:
    r"""Add a policy as a version, and put it in force.

    What allows something new waits for a second person, and is in force at some hospitals before it is everywhere. It is refused if
    anything was applied since the document was made (made_from in the file, as `hilum policy show --document` prints it).

    \b
    Examples:
      hilum policy publish book.toml --reason "shorter tokens"
      hilum policy publish book.toml --tenant general --reason "a trial of order entry"
    """
    document = _document(file)
    # Before anything is added: a version for a hospital that is misspelt would be added, and in force nowhere.
    for each in tenants:
        api.call("GET", f"/tenants/{api.segment(each)}")
    version, known = _made_from(file, base, after)
    current = api.call("GET", "/policies")
    last = current["last"]
    # Before anything is added. The order names it too, for what a colleague applies from now on.
    if known != last:
        detail = f"refused: others were applied since this document was made, after application {known}; the last one is application {last}. Compare them (`hilum policy list --applied`, `hilum policy diff`), merge what you keep, and publish with --after {last}."
        click.secho(detail, fg="red", err=True)
        raise SystemExit(REFUSED)
    added = api.call("POST", "/policies/versions", {"document": document, "base": version, "note": reason})
    _apply(added["number"], tenants, reason, current, emergency=emergency, json_=json_)


@policy.command("apply")
@click.argument("version", type=int)
@tenants_option
@reason_option
@emergency_option
@json_option
def apply_version(
    version: int, *, tenants: tuple[str, ...], reason: str, emergency: bool, json_: bool
) -> None:
    r"""Put a version in force that was added before.

    \b
    Example:
      hilum policy apply 4 --reason "no more refusals at the first hospitals"
    """
    current = api.call("GET", "/policies")
    _apply(version, tenants, reason, current, emergency=emergency, json_=json_)


@policy.command("refusals")
@click.argument("version", type=click.IntRange(1))
@json_option
def show_refusals(version: int, *, json_: bool) -> None:
    r"""Show how many decisions were refused at the hospitals that have a version first, in the week before they had it and since.

    \b
    Example:
      hilum policy refusals 4
    """
    found = _refusals(version)
    if json_:
        as_json(found)
    else:
        click.echo(found["sentence"] or f"No hospital has version {version} before it is everywhere.")


@policy.command("rollback")
@click.option(
    "--tenant", "tenants", type=TENANT, multiple=True, help="Only at this hospital; may be repeated."
)
@reason_option
@emergency_option
@json_option
def rollback(*, tenants: tuple[str, ...], reason: str, emergency: bool, json_: bool) -> None:
    r"""Go back: at some hospitals to the version that is in force everywhere, or everywhere to the one before it.

    Before it means: before it was first put in force everywhere. So going back twice goes further back.

    \b
    Examples:
      hilum policy rollback --tenant general --reason "refusals went up"
      hilum policy rollback --reason "refusals went up"
    """
    current = api.call("GET", "/policies")
    target = current["everywhere"]
    if not tenants:
        applied = reversed(list(api.every("/policies/applications")))
        everywhere = [each["version"] for each in applied if not each["tenants"]]
        first = everywhere.index(target) if target in everywhere else 0
        if first == 0:
            click.secho("refused: no other version was in force everywhere before.", fg="red", err=True)
            raise SystemExit(REFUSED)
        target = everywhere[first - 1]
    _apply(target, tenants, reason, current, emergency=emergency, json_=json_)


@policy.command("assess")
@click.option("--category", required=True, help="The app's category.")
@click.option("--scope", required=True, help="The scopes it asks for, separated by spaces.")
@click.option(
    "--client",
    type=click.Choice([each.value for each in ClientAuthentication]),
    default=ClientAuthentication.KEY.value,
    show_default=True,
    help="How its client authenticates.",
)
@click.option("--workflow", multiple=True, help="A workflow that it is made for; may be repeated.")
@click.option("--placement", multiple=True, help="A placement where it is opened; may be repeated.")
@click.option("--tenant", type=TENANT, default="", help="Use the policy in force at this hospital.")
@json_option
def assess(
    *,
    category: str,
    scope: str,
    client: str,
    workflow: tuple[str, ...],
    placement: tuple[str, ...],
    tenant: str,
    json_: bool,
) -> None:
    r"""Show the tier that an app would have and why, and the scopes it would have.

    Without a workflow or placement they count as not declared, and each rule about them raises the tier.

    \b
    Example:
      hilum policy assess --category order_entry --scope "launch user/MedicationRequest.cu" --placement orders
    """
    body: dict[str, Any] = {
        "category": category,
        "scopes": scope.split(),
        "client_authentication": client,
    }
    if workflow or placement:
        body |= {"workflows": list(workflow), "placements": list(placement)}
    found = api.call("POST", "/policies/assess", body | ({"tenant": tenant} if tenant else {}))
    if json_:
        as_json(found)
        return
    withheld = [f"{each['scope']} ({each['why']})" for each in found["withheld"]]
    shown = {"tier": found["sentence"], "acts at": found["acts_at"], "scopes": found["scopes"]}
    coming = [f"from {each['day']}: {' '.join(each['lost']) or 'no scope'}" for each in found["foreseen"]]
    more = {"requires": found["requires"], "will be withheld": coming}
    show_one(shown | {"withheld": withheld} | {name: of for name, of in more.items() if of}, json_=False)


def _apply(
    version: int,
    tenants: tuple[str, ...],
    reason: str,
    current: dict[str, Any],
    *,
    emergency: bool,
    json_: bool,
) -> None:
    """Put a version in force, after a dry run unless a recent one is there or an emergency skips it."""
    body = {"version": version, "tenants": list(tenants), "after": current["last"], "reason": reason}
    if emergency:
        body["emergency"] = True
    # Where what is in force cannot be read there is nothing to compare with.
    elif not current["fault"]:
        dry_runs.ensure(version, current["last"], shown=not json_)
    if not tenants and not json_ and (sentence := _refusals(version)["sentence"]):
        click.secho(sentence, fg="yellow", err=True)
    show_done(api.call("POST", "/policies/applications", body), json_=json_)


def _refusals(version: int) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"/policies/versions/{version}/refusals")
    return found


def _number(text: str) -> int:
    if text == SHIPPED:
        return 0
    if not text.isdecimal():
        click.secho(f"{text!r} is neither the number of a version nor {SHIPPED!r}.", fg="red", err=True)
        raise SystemExit(MISUSED)
    return int(text)


def _document(file: Path) -> Any:
    """Read a document from TOML or JSON, as JSON can hold it and without what it was made from. Exits 1 if it is neither."""
    found = _contents(file)
    return (
        {key: value for key, value in found.items() if key != MADE_FROM} if isinstance(found, dict) else found
    )


def _contents(file: Path) -> Any:
    raw = file.read_bytes()
    try:
        found = tomllib.loads(raw.decode()) if file.suffix == ".toml" else orjson.loads(raw)
    except (tomllib.TOMLDecodeError, orjson.JSONDecodeError, UnicodeDecodeError) as error:
        click.secho(f"refused: {file} cannot be read: {error}", fg="red", err=True)
        raise SystemExit(REFUSED) from error
    return orjson.loads(orjson.dumps(found))


def _made_from(file: Path, base: str, after: int | None) -> tuple[int, int]:
    """Return the version that a document was made from and the last application that its author knew of. Exits 2 if nothing says so."""
    contents = _contents(file)
    written = contents.get(MADE_FROM) if isinstance(contents, dict) else None
    said = written if isinstance(written, dict) else {}
    version = _number(base) if base else said.get("version")
    known = said.get("after") if after is None else after
    if type(version) is int and type(known) is int and min(version, known) >= 0:
        return version, known
    detail = f"{file} does not say what it was made from. Make it with `hilum policy show --document`, or set --base to the version and --after to the last application that you have seen (`hilum policy show` prints both)."
    click.secho(detail, fg="red", err=True)
    raise SystemExit(MISUSED)


def _book(named: str) -> Book:
    """Return a policy by file, number or "shipped". Exits 1 if it is not valid."""
    if named == SHIPPED:
        return shipped_book()
    file = Path(named)
    if file.is_file():
        document = _document(file)
    else:
        document = api.call("GET", f"/policies/versions/{_number(named)}")["document"]
    book, faults = read_book(document)
    if book is None:
        _print_faults(faults)
        raise SystemExit(REFUSED)
    return book


def _print_faults(faults: tuple[Fault, ...]) -> None:
    for each in faults:
        click.echo(f"{each.path or 'the document'}: {each.sentence} ({each.code})")


def said_of(before: object, after: object) -> str:
    """Return a difference in words; of two lists only what went and what came, since whole ones look alike where they are cut."""
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        gone = [f"- {each}" for each in before if each not in after]
        if apart := gone + [f"+ {each}" for each in after if each not in before]:
            return "  ".join(apart)
    return f"{_short(before)} -> {_short(after)}"


def _short(value: object) -> str:
    text = "nothing" if value is None else orjson.dumps(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}..."
