"""``hilum login`` and ``hilum tenant``, and how commands print what the API returns."""

import base64
import hashlib
import re
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import click

from hilum.foundation.kernel.pages import PAGE_BOUND, Sorts
from hilum.foundation.pictures.models import BYTES_BOUND as PICTURE_BOUND
from hilum.identity.people.models import TENANT_SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import KINDS, TENANT, tenant_argument
from hilum.surfaces.cli.output import REFUSED, as_json, plain, table

json_option = click.option("--json", "json_", is_flag=True, help="Print JSON.")
tenant_option = click.option("--tenant", type=TENANT, default="", help="The hospital; by default, your own.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, api.ROWS_BOUND), default=PAGE_BOUND, show_default=True, help="How many."
)
all_option = click.option("--all", "all_", is_flag=True, help="All of them, across all pages.")
CHECK_WAIT_S = 90
"""How long `hilum tenant check` waits: the jobs process begins within seconds, and a check ends within a minute."""
_TONES = {"works": "green", "limited": "yellow", "fails": "red", "untried": "white"}
_AGO = re.compile(r"(\d{1,5})([mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
PLATFORM = "system:system"
"""Who did what nobody asked for, as records have it."""
_UNNAMED = {
    "staff": "the platform's staff",
    "person": "somebody at the hospital",
    "member": "somebody at the vendor",
}
"""What stands for a person whose name the caller may not see."""
_NAMED_ID = re.compile(f"({'|'.join(prefix for prefix, _ in KINDS.values() if prefix)})[0-9a-z]+")
_ID_IN_TEXT = re.compile(
    rf"\b(?:{'|'.join(prefix for prefix, _ in KINDS.values() if prefix)})[0-9a-z]{{26}}\b"
)
Names = Callable[[Collection[str]], dict[str, str]]


class Moment(click.ParamType[datetime]):
    """A moment with its zone, or a day, which stands for its beginning in UTC."""

    name = "moment"
    fault = "is neither a day such as 2027-06-30 nor a moment such as 2027-06-30T08:00:00Z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse what was typed."""
        # A moment needs its zone: without one, the operator's and the server's would differ.
        for form in ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z"):
            with suppress(ValueError):
                found = datetime.strptime(value, form)  # noqa: DTZ007 - a day has no zone and begins in UTC
                return found if found.tzinfo else found.replace(tzinfo=UTC)
        raise click.BadParameter(f"{value!r} {self.fault}", ctx, param)


class PastMoment(Moment):
    """A moment, or how long ago it was: minutes, hours or days, such as 30m, 2h or 7d."""

    fault = "is neither a time ago such as 30m, 2h or 7d, nor a day such as 2027-06-30, nor a moment such as 2027-06-30T08:00:00Z"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse what was typed."""
        if ago := _AGO.fullmatch(value):
            return datetime.now(UTC) - int(ago[1]) * _UNITS[ago[2]]
        return super().convert(value, param, ctx)


MOMENT = Moment()
since_option = click.option(
    "--since",
    type=PastMoment(),
    default=None,
    help="Only from then on: 30m, 2h or 7d ago, a day, or a moment.",
)
before_option = click.option(
    "--before", type=PastMoment(), default=None, help="Only before then; in the same formats."
)


def show(
    found: list[dict[str, Any]], columns: tuple[str, ...], *, json_: bool = False, whole: str = ""
) -> None:
    """Print a list as JSON, or as a table in which what the ids in it stand for is shown by name. ``whole``: see ``table``."""
    if json_:
        as_json(found)
        return
    shown = [name for name in columns if name != "id"]
    names = api.names_of({id_ for each in found for name in shown for id_ in _ids_in(each.get(name))})
    table(
        [each | {name: _by_name(each.get(name), names) for name in shown} for each in found],
        columns,
        whole=whole,
    )


def digest_of(document: str) -> str:
    """Return the SHA-256 of a file, or what was typed if there is no such file: a digest, which the API checks."""
    path = Path(document)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else document


def sort_option(sorts: Sorts) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return the option by which a command asks for one of a list's orders."""
    hint = "The column to sort by; a leading - reverses the order."
    return click.option("--sort", type=click.Choice(sorts.words), callback=_or_own, help=hint)


def _or_own(_ctx: click.Context, _param: click.Parameter, sort: str | None) -> str:
    """Return the order that was asked for; empty: the list's own."""
    return sort or ""


def read_list(path: str, limit: int, *, all_: bool, **query: str) -> list[dict[str, Any]]:
    """Read the first records of a list, or all of them; print on standard error if there are more."""
    if all_:
        return api.every(path, **query)
    found, more = api.some(path, limit, **query)
    if more:
        click.secho("there are more: use --limit or --all", fg="yellow", err=True)
    return found


def _ids_in(value: Any) -> set[str]:
    """Return the ids of what has a name, in a value, a list or a table: an id, an actor such as ``staff:per_1``, or a pair such as ``app_1/general``."""
    if isinstance(value, dict):
        return {id_ for each in value.values() for id_ in _ids_in(each)}
    texts = [each for each in (value if isinstance(value, list) else [value]) if isinstance(each, str)]
    # An address is opened unchanged, whatever ids it has.
    texts = [each for each in texts if "://" not in each]
    parts = {part for each in texts for part in each.rpartition(":")[2].split("/")}
    return {each for each in parts if _NAMED_ID.fullmatch(each)}


def _by_name(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with names in place of the ids in it; the value itself where no name is known."""
    if isinstance(value, list):
        return [_by_name(each, names) for each in value]
    if isinstance(value, dict):
        return {name: _by_name(each, names) for name, each in value.items()}
    if value == PLATFORM:
        return "the platform"
    if not _ids_in(value).intersection(names):
        kind, _, id_ = value.partition(":") if isinstance(value, str) else ("", "", "")
        return _UNNAMED.get(kind, value) if id_.startswith("per_") else value
    return "/".join(names.get(part, part) for part in value.rpartition(":")[2].split("/"))


def with_names(sentences: list[str], names_of: Names) -> list[str]:
    """Return sentences in which each id follows the name of its object, as far as the caller may see it."""
    ids = {id_ for each in sentences for id_ in _ID_IN_TEXT.findall(each)}
    names = names_of(ids) if ids else {}

    def named(found: re.Match[str]) -> str:
        return f"{plain(names[found[0]])} ({found[0]})" if found[0] in names else found[0]

    return [_ID_IN_TEXT.sub(named, each) for each in sentences]


def show_one(found: dict[str, Any], *, json_: bool, names_of: Names = api.names_of) -> None:
    """Print one record as text or as JSON; "done" if the API's answer was empty. What ids stand for is shown by name and id."""
    if json_:
        as_json(found)
        return
    if not found:
        click.echo("done")
    ids = {id_ for name, value in found.items() if name != "id" for id_ in _ids_in(value)}
    names = names_of(ids) if ids else {}
    for name, value in found.items():
        shown = _with_name(value, names) if name != "id" else value
        click.echo(f"{name:18} {_plain(shown)}".rstrip())


def _with_name(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value as its name with the id behind it, so that either can be copied; the value itself where no name is known."""
    if isinstance(value, list):
        return [_with_name(each, names) for each in value]
    if isinstance(value, dict):
        return {name: _with_name(each, names) for name, each in value.items()}
    known = _by_name(value, names)
    return f"{plain(known)} ({value})" if known != value else value


def show_approval(found: dict[str, Any], *, json_: bool) -> None:
    """Print an approval; what a policy newly allows, each on a line of its own and whole, since that is what is agreed to."""
    if json_:
        as_json(found)
        return
    order = dict(found["order"])
    allows = order.pop("allows", [])
    before = found.get("before") or {}
    rest = {name: value for name, value in found.items() if name not in {"order", "before"}}
    # Each field on a line of its own, and all of them: what is not seen would be agreed to unseen.
    replaced = {f"before: {name}": value for name, value in _members(before)}
    asked = {f"asked: {name}": value for name, value in _members(order)}
    show_one(rest | replaced | asked, json_=False)
    for n, each in enumerate(allows, 1):
        click.echo(f"newly allows {n:<5} {each}")


def show_done(found: dict[str, Any], *, json_: bool) -> None:
    """Print what was done, or waits for a second person, and on standard error what to do next."""
    if json_ or "approval" not in found:
        show_one(found, json_=json_)
    if "approval" not in found:
        return
    hints = {
        "setup_code": "pass the setup code on to the account's owner yourself; it is shown only here",
        "secret_start": "keep the first half of the secret for whoever installs the client; it is shown only here",
    }
    shown = {name: found[name] for name in hints if found.get(name)}
    if not json_:
        show_approval(found["approval"] | shown, json_=False)
    hint = "; ".join(hints[name] for name in shown)
    waiting = f"waits for a second person: `hilum approval approve {found['approval']['id']}`"
    # On standard error: standard output is the record or its JSON, for scripts.
    click.secho("; ".join(filter(None, (waiting, hint))), fg="yellow", err=True)


def show_way_in(found: dict[str, Any], *, json_: bool) -> None:
    """Print a person, and on standard error what to do with the link."""
    show_done(found, json_=json_)
    if found.get("enrolment") and found["enrolment"].get("mailed"):
        click.secho("the link was mailed to its owner", fg="yellow", err=True)
        if found.get("setup_code"):
            hint = "pass the setup code to its owner by another way than mail; it is shown only here"
            click.secho(hint, fg="yellow", err=True)
    elif found.get("enrolment"):
        click.secho("send the link to its owner; it works once and is shown only here", fg="yellow", err=True)
    if found.get("secret_end"):
        hint = "pass the second half of the secret, and the client's id (target), to whoever installs the client; it is shown only here"
        click.secho(hint, fg="yellow", err=True)


def _members(value: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict) and each:
            yield from _members(each, f"{within}{name}.")
        else:
            yield within + name, each


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name}={_plain(each)}" for name, each in _members(value)) or "-"
    if isinstance(value, list | tuple | set | frozenset):
        several = any(isinstance(each, dict) for each in value)
        lists = any(isinstance(each, list | tuple) for each in value)
        return ("\n" + " " * 19 if several else "; " if lists else " ").join(
            _plain(each) for each in value
        ) or "-"
    # Each further line is set in, so that a text by somebody else looks like no other field.
    return "-" if value in (None, "") else ("\n" + " " * 19).join(map(plain, str(value).split("\n")))


@click.command()
@click.option("--username", prompt=True, help="Your user name.")
@click.option("--tenant", default="", help="Your hospital; not for the platform's staff.")
@click.option("--vendor", default="", help="Your vendor's id, if you are a member of one.")
@click.password_option(confirmation_prompt=False, help="Prompted for if not given.")
@click.option("--code", default="", help="The code of your second factor; prompted for if needed.")
def login(username: str, tenant: str, vendor: str, password: str, code: str) -> None:
    r"""Get an API token, and save it for the next commands.

    If your account has a second factor, the code of your authenticator app or a recovery code is asked for. Where your role must have
    one and you have none yet, sign in at the platform's page first, which sets it up.

    \b
    Examples:
      hilum login --username admin.ferro
      hilum login --username admin.hall --tenant general
      hilum login --username d.marin --vendor ven_01h...
      HILUM_API_URL=https://apps.hospital.example hilum login --username admin
    """
    body = {"username": username, "password": password, "name": "hilum login"}
    body |= {"tenant": tenant or None, "vendor": vendor or None}  # type: ignore[dict-item]
    created = api.sign_in(body | {"code": code or None}, lambda: click.prompt("Code of your second factor"))
    kept = api.keep_token(created["token"])
    click.echo(f"signed in until {created['expires_at']}; the token is kept in {kept}")


@click.command()
@click.option("--code", prompt="Code of your second factor", help="Prompted for if not given.")
def confirm(code: str) -> None:
    r"""Enter your second factor again, for acts that widen what others may do; it counts for 15 minutes.

    Releasing a wide switch, asking for what takes two people and approving it need this (`factor_stale`).

    \b
    Example:
      hilum confirm && hilum approval approve apr_01h...
    """
    api.call("POST", "/tokens/confirm", {"code": code})
    click.echo("confirmed for 15 minutes")


@click.group()
def tenant() -> None:
    r"""Manage hospitals.

    \b
    Examples:
      hilum tenant list
      hilum tenant show general
    """


@tenant.command("list")
@sort_option(TENANT_SORTS)
@json_option
def tenant_list(*, sort: str, json_: bool) -> None:
    r"""List hospitals.

    \b
    Example:
      hilum tenant list --json
    """
    show(api.every("/tenants", sort=sort), ("id", "name", "active", "sandbox"), json_=json_)


@tenant.command("show")
@tenant_argument
@json_option
def tenant_show(tenant_id: str, *, json_: bool) -> None:
    r"""Show one hospital.

    \b
    Example:
      hilum tenant show general
    """
    show_one(api.call("GET", f"/tenants/{api.segment(tenant_id)}"), json_=json_)


@tenant.command("add")
@click.argument("tenant_id")
@click.option("--name", required=True, help="Its name, as people see it.")
@click.option("--upstream-url", default="", help="FHIR base of its server; by default, the embedded one.")
@click.option(
    "--sandbox",
    is_flag=True,
    help="Synthetic, as every hospital of a sandbox is; sandbox clients may work here.",
)
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


def picture_in_base64(file: BinaryIO | None, *, none: bool) -> str | None:
    """Return a picture as the API takes it: None if it is to stay, empty if there is to be none."""
    if file is not None:
        return base64.b64encode(file.read(PICTURE_BOUND + 1)).decode()
    return "" if none else None


@tenant.command("brand")
@tenant_argument
@click.option("--colour", default=None, help="A colour such as #0b6b74; an empty one removes it.")
@click.option(
    "--logo", type=click.File("rb"), default=None, help="A PNG or JPEG file, 16 to 512 pixels a side."
)
@click.option("--no-logo", is_flag=True, help="Remove the logo.")
@json_option
def tenant_brand(
    tenant_id: str, *, colour: str | None, logo: BinaryIO | None, no_logo: bool, json_: bool
) -> None:
    r"""Set the colour and the logo that a hospital's sign-in, consent and connected-apps pages show.

    \b
    Example:
      hilum tenant brand lakeside --colour "#0b6b74" --logo logo.png
    """
    body = {"colour": colour, "logo": picture_in_base64(logo, none=no_logo)}
    show_one(api.call("PUT", f"/tenants/{api.segment(tenant_id)}/branding", body), json_=json_)


@tenant.command("change")
@tenant_argument
@click.option("--name", default=None, help="Its name, as people see it.")
@click.option("--base-url", default=None, help="An origin of its own.")
@click.option(
    "--moved-reads",
    type=click.Choice(["allow", "refuse"]),
    default=None,
    help="Whether apps may read after the chart moved.",
)
@click.option("--active/--inactive", default=None, help="Whether the hospital is active.")
@click.option(
    "--language",
    type=click.Choice(["en", "es", ""]),
    default=None,
    help="The language of its sign-in and consent pages, if the browser prefers none.",
)
@click.option("--time-zone", default=None, help="The time zone of times on its pages, such as Europe/Madrid.")
@json_option
def tenant_change(
    tenant_id: str,
    *,
    name: str | None,
    base_url: str | None,
    moved_reads: str | None,
    active: bool | None,
    json_: bool,
    **locale: str | None,
) -> None:
    r"""Change a hospital; options left out keep their values. A new --base-url waits for a second person.

    \b
    Examples:
      hilum tenant change lakeside --inactive
      hilum tenant change lakeside --language es --time-zone Europe/Madrid
    """
    body = {"name": name, "base_url": base_url, "moved_reads": moved_reads, "active": active} | locale
    show_done(api.call("PATCH", f"/tenants/{api.segment(tenant_id)}", body), json_=json_)


PEM = click.File(encoding="ascii", errors="replace")


@tenant.command("upstream")
@tenant_argument
@click.option("--url", default="", help="FHIR base of its server; by default, the embedded one.")
@click.option(
    "--authorization", is_flag=True, help="Prompt for the Authorization header that the server requires."
)
@click.option(
    "--public-url", default="", help="The base that the server writes in its answers, if it differs."
)
@click.option("--attachment-host", multiple=True, help="A host of links in attachments; may be repeated.")
@click.option(
    "--profile",
    type=click.Choice(["azure", "epic", "google", "hapi", "medplum", "oracle"]),
    help="Which product it is, if its quirks are known.",
)
@click.option(
    "--quirk",
    multiple=True,
    help="What it does otherwise than FHIR says: page=N, no-form, id-alone, one-patient, patient-criteria or ignores=PARAMETER; may be repeated.",
)
@click.option(
    "--token-auth",
    type=click.Choice(["client_secret_basic", "client_secret_post", "private_key_jwt"]),
    help="The server wants access tokens: how to authenticate at its token endpoint. Prompts for a client secret.",
)
@click.option("--token-url", default="", help="Its token endpoint.")
@click.option("--client-id", default="", help="The client that the server knows this platform by.")
@click.option("--scope", default="", help="The scopes of its tokens, such as system/*.rs.")
@click.option(
    "--header", multiple=True, help="The name of a further header; prompts for its value; may be repeated."
)
@click.option("--authorities", type=PEM, help="Certificates that the server's own is verified by, too.")
@click.option("--certificate", type=PEM, help="The certificate, with its chain, to show to the server.")
@click.option("--key", type=PEM, help="Its private key, without a password.")
@json_option
def tenant_upstream(
    tenant_id: str,
    *,
    url: str,
    public_url: str,
    attachment_host: tuple[str, ...],
    profile: str | None,
    quirk: tuple[str, ...],
    authorization: bool,
    token_auth: str | None,
    header: tuple[str, ...],
    authorities: TextIO | None,
    certificate: TextIO | None,
    key: TextIO | None,
    json_: bool,
    **token: str,
) -> None:
    r"""Move a hospital to another FHIR server, or change how its server is reached; a change waits for a second person.

    It replaces the whole setting: options left out are empty afterwards, including the Authorization.

    \b
    Examples:
      hilum tenant upstream lakeside --url https://fhir.lakeside.example/r4 --authorization
      hilum tenant upstream lakeside --url https://fhir.lakeside.example/r4 --token-auth private_key_jwt --token-url https://login.lakeside.example/token --client-id hilum --scope "system/*.crus"
    """
    upstream: dict[str, Any] = {"kind": "http" if url else "embedded", "url": url, "public_url": public_url}
    upstream |= {"attachment_hosts": list(attachment_host), "profile": profile, "quirks": list(quirk)}
    if authorization:
        # Prompted and not an option: arguments are visible in the process list and the shell's history.
        upstream["authorization"] = click.prompt("Authorization", hide_input=True)
    if token_auth:
        upstream["token_auth"] = token_auth
        if token_auth != "private_key_jwt":
            upstream["client_secret"] = click.prompt("Client secret", hide_input=True)
    upstream["headers"] = {name: click.prompt(name, hide_input=True) for name in header}
    files = {"authorities": authorities, "certificate": certificate, "key": key}
    upstream |= token | {name: file.read() for name, file in files.items() if file is not None}
    found = api.call("PATCH", f"/tenants/{api.segment(tenant_id)}", {"upstream": upstream})
    show_done(found, json_=json_)
    if "approval" not in found:
        click.secho("nothing changes: its server is reached like this already", fg="yellow", err=True)


@tenant.command("check")
@tenant_argument
@json_option
def tenant_check(tenant_id: str, *, json_: bool) -> None:
    r"""Check a hospital's FHIR server as apps will use it: what works, what will be refused, and what to change.

    It writes nothing and asks for no patient's records. Exits 1 if something fails.

    \b
    Example:
      hilum tenant check lakeside
    """
    path = f"/fhir-servers/{api.segment(tenant_id)}"
    found = api.call("POST", f"{path}/check")
    until = time.monotonic() + CHECK_WAIT_S
    with click.progressbar(
        length=CHECK_WAIT_S, label=f"checking the FHIR server of {tenant_id}", file=sys.stderr
    ) as bar:
        while is_waiting(found) and time.monotonic() < until:
            time.sleep(1)
            bar.update(1)
            found = api.call("GET", path)
        bar.update(CHECK_WAIT_S - bar.pos)
    if is_waiting(found):
        click.secho("refused: the check has not ended.", fg="red", err=True)
        click.echo("Next: `hilum doctor` on a node shows whether the jobs process runs.", err=True)
        raise SystemExit(REFUSED)
    if json_:
        as_json(found)
    for line in () if json_ else found["lines"]:
        click.echo(
            click.style(f"{line['outcome']:8}", fg=_TONES[line["outcome"]])
            + f" {line['name']}: {plain(line['found'])}"
        )
        if line["advice"]:
            click.echo(f"         {plain(line['advice'])}")
    raise SystemExit(REFUSED if found["state"] == "fails" else 0)


def is_waiting(server: Mapping[str, Any]) -> bool:
    """Check whether a FHIR server was not checked since somebody asked."""
    return not server["checked_at"] or server["checked_at"] < server["asked_at"]


@tenant.command("system-client")
@tenant_argument
@click.option(
    "--type", "kind", type=click.Choice(["ehr", "resource-server"]), required=True, help="What it is."
)
@click.option("--name", required=True, help="Its name, as people see it.")
@json_option
def tenant_system_client(tenant_id: str, kind: str, name: str, *, json_: bool) -> None:
    r"""Request a client for a hospital's EHR or data service; it waits for a second person.

    Its secret is the half printed here, followed directly by the half that the second person is shown.

    \b
    Example:
      hilum tenant system-client lakeside --type ehr --name "Lakeside EHR"
    """
    body = {"client_type": kind, "client_name": name}
    show_done(api.call("POST", f"/tenants/{api.segment(tenant_id)}/system-clients", body), json_=json_)
