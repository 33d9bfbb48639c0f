"""``hilum certificate``: certificates of certified apps, and verifying one without a platform."""

import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson

from hilum.review.certificates import policy
from hilum.review.certificates.models import FILE_BOUND, SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP
from hilum.surfaces.cli.output import REFUSED, as_json
from hilum.surfaces.cli.resources import json_option, show, show_one, sort_option

COLUMNS = (
    "id",
    "app_name",
    "label",
    "environment",
    "status",
    "cause",
    "expires_at",
    "grace_until",
    "vendor_name",
)
TIMEOUT_S = 15


@click.group()
def certificate() -> None:
    r"""Show the certificates of certified apps, and verify one.

    \b
    Examples:
      hilum certificate list --status valid
      hilum certificate verify rota.jws --keys keys.json --status status.jwt
    """


@certificate.command("list")
@click.option("--app", "app", type=APP, default="", help="Only of this app.")
@click.option("--status", type=click.Choice(["valid", "grace", "suspended", "invalid"]), default=None)
@sort_option(SORTS)
@json_option
def certificate_list(*, app: str, status: str | None, sort: str, json_: bool) -> None:
    r"""List certificates: for a vendor's member those of their vendor, for staff and hospital administrators all.

    \b
    Examples:
      hilum certificate list
      hilum certificate list --app Rota
    """
    show(api.every("/certificates", app=app, sort=sort, status=status or ""), COLUMNS, json_=json_)


@certificate.command("show")
@click.argument("certificate_id", metavar="CERTIFICATE|APP")
@click.option(
    "--text", "text_only", is_flag=True, help="Print the signed document only, such as into a file."
)
@json_option
def certificate_show(certificate_id: str, *, text_only: bool, json_: bool) -> None:
    r"""Show a certificate by its id, or the current one of an app by the app's id or name.

    \b
    Examples:
      hilum certificate show Rota
      hilum certificate show cert_01h... --text > rota.jws
    """
    if not certificate_id.startswith("cert_"):
        certificate_id = APP.convert(certificate_id, None, None)
    found = api.call("GET", f"/certificates/{api.segment(certificate_id)}")
    if text_only:
        click.echo(found["certificate"])
        return
    show_one(found, json_=json_)


@certificate.command("verify")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option(
    "--keys",
    "keys_",
    default="",
    metavar="FILE|URL",
    help="The published keys; leave out to fetch them from HILUM_API_URL.",
)
@click.option(
    "--status",
    "status_",
    default="",
    metavar="FILE|URL",
    help="A status list, to find out whether it was withdrawn or suspended.",
)
@json_option
def certificate_verify(file: Path, *, keys_: str, status_: str, json_: bool) -> None:
    r"""Verify a certificate by its signature, and by a status list if you give one. With files it needs no network. Exits 1 if it is not valid.

    Keys are at /certificates/keys.json of the platform; the certificate names the address of its status list.

    \b
    Examples:
      hilum certificate verify rota.jws --keys keys.json
      hilum certificate verify rota.jws --status https://hilum.example/certificates/status/0
    """
    text = _text(_read(str(file)))
    try:
        keys = orjson.loads(_read(keys_ or f"{api.base_url()}/certificates/keys.json"))
    except orjson.JSONDecodeError:
        keys = {}
    listed = _text(_read(status_)) if status_ else None
    verdict = policy.verify(
        text, keys if isinstance(keys, dict) else {}, now=datetime.now(UTC), status_list=listed
    )
    found: dict[str, Any] = {
        "valid": not verdict.code,
        "code": verdict.code,
        "detail": verdict.detail,
        "status_checked": verdict.checked,
    }
    if json_:
        as_json(found | {"claims": dict(verdict.claims)})
    else:
        show_one(found | _claims_shown(dict(verdict.claims)), json_=False, names_of=lambda _: {})
    if verdict.code:
        raise SystemExit(REFUSED)


def _claims_shown(claims: dict[str, Any]) -> dict[str, Any]:
    """Return what a verified certificate says, one line each."""
    if not claims:
        return {}
    named = {
        name: claims[name].get("name", "") for name in ("app", "vendor") if isinstance(claims.get(name), dict)
    }
    version = claims.get("version")
    label = version.get("label", "") if isinstance(version, dict) else ""
    rest = {name: claims.get(name) for name in ("environment", "tier", "scopes", "policy_version", "iss")}
    return named | {"version": label} | rest


def _read(source: str) -> bytes:
    """Read a file, standard input (``-``) or an address, up to FILE_BOUND. Prints why and exits 1 if it cannot."""
    try:
        if source.startswith(("https://", "http://")):
            with urllib.request.urlopen(source, timeout=TIMEOUT_S) as answer:  # noqa: S310 - one of the two schemes, as its caller typed it
                read = bytes(answer.read(FILE_BOUND + 1))
        elif source == "-":
            read = sys.stdin.buffer.read(FILE_BOUND + 1)
        else:
            with Path(source).open("rb") as file:
                read = file.read(FILE_BOUND + 1)
    except urllib.error.HTTPError as error:
        _refuse(f"{source} answered {error.code}")
    except (OSError, HTTPException, ValueError) as error:
        _refuse(f"{source} cannot be read: {error}")
    if len(read) > FILE_BOUND:
        _refuse(f"{source} is longer than {FILE_BOUND} bytes")
    return read


def _text(read: bytes) -> str:
    return read.decode("ascii", errors="replace")


def _refuse(why: str) -> NoReturn:
    click.secho(f"refused: {why}", fg="red", err=True)
    raise SystemExit(REFUSED)
