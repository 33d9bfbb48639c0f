"""``hilum agreement``: what vendors and hospitals signed, before apps may be used."""

import hashlib
from datetime import datetime
from pathlib import Path

import click

from hilum.apps.agreements.models import SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, VENDOR
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option, tenant_option

COLUMNS = ("id", "vendor", "tenant", "entity", "kind", "state", "ends_at", "finding_since")
document_option = click.option(
    "--document",
    required=True,
    help="The signed document's file, of which only the SHA-256 is sent; or the SHA-256.",
)


@click.group()
def agreement() -> None:
    r"""Manage the agreements of vendors with hospitals, without which an app is not installed and nothing new begins.

    \b
    Examples:
      hilum agreement add --vendor ven_01h... --tenant mercy --kind business_associate --document baa.pdf \
        --party "Acme Health, Inc." --party "Mercy Hospital" --from 2026-12-01 --until 2028-12-01
      hilum agreement confirm agr_01h... --document baa.pdf
      hilum agreement list --findings
    """


@agreement.command("add")
@click.option("--vendor", type=VENDOR, required=True, help="The vendor.")
@tenant_option
@click.option(
    "--kind",
    required=True,
    help="business_associate, data_sharing, subcontractors, or one that the rule book names.",
)
@click.option(
    "--party", "parties", multiple=True, required=True, help="A party as the document names it; at least two."
)
@document_option
@click.option("--from", "effective_at", type=MOMENT, required=True, help="When it takes effect.")
@click.option(
    "--until", "ends_at", type=MOMENT, default=None, help="When it ends; by default, when somebody ends it."
)
@click.option(
    "--entity",
    default="",
    help="The hospital's legal entity that signed it; by default, the hospital itself.",
)
@json_option
def add(
    *,
    vendor: str,
    tenant: str,
    kind: str,
    parties: tuple[str, ...],
    document: str,
    effective_at: datetime,
    ends_at: datetime | None,
    entity: str,
    json_: bool,
) -> None:
    r"""Record an agreement for your organisation; the other one confirms it.

    \b
    Example:
      hilum agreement add --vendor ven_01h... --tenant mercy --kind business_associate --document baa.pdf \
        --party "Acme Health, Inc." --party "Mercy Hospital" --from 2026-12-01 --until 2028-12-01
    """
    body = {
        "vendor": vendor,
        "tenant": api.require_tenant(tenant),
        "kind": kind,
        "parties": list(parties),
        "document": _digest(document),
        "effective_at": effective_at.isoformat(),
        "ends_at": ends_at.isoformat() if ends_at else None,
        "entity": entity,
    }
    show_one(api.call("POST", "/agreements", body), json_=json_)


@agreement.command("confirm")
@click.argument("agreement_id", metavar="AGREEMENT")
@document_option
@json_option
def confirm(agreement_id: str, *, document: str, json_: bool) -> None:
    r"""Confirm what the other organisation recorded; both must hold the same document.

    \b
    Example:
      hilum agreement confirm agr_01h... --document baa.pdf
    """
    path = f"/agreements/{api.segment(agreement_id)}/confirm"
    show_one(api.call("POST", path, {"document": _digest(document)}), json_=json_)


@agreement.command("end")
@click.argument("agreement_id", metavar="AGREEMENT")
@click.option("--reason", required=True, help="Why; both organisations see it.")
@click.option("--at", type=MOMENT, default=None, help="When it ends; now by default.")
@json_option
def end(agreement_id: str, *, reason: str, at: datetime | None, json_: bool) -> None:
    r"""End an agreement, or decline to confirm one. From then on apps that need it cannot be opened.

    \b
    Example:
      hilum agreement end agr_01h... --reason "replaced by a new contract" --at 2027-06-30
    """
    body = {"reason": reason, "at": at.isoformat() if at else None}
    show_one(api.call("POST", f"/agreements/{api.segment(agreement_id)}/end", body), json_=json_)


@agreement.command("list")
@click.option("--vendor", type=VENDOR, default="", help="Only those of one vendor.")
@click.option("--tenant", type=TENANT, default="", help="Only those of one hospital.")
@click.option("--findings", is_flag=True, help="Only those that have ended without a replacement.")
@sort_option(SORTS)
@json_option
def list_(*, vendor: str, tenant: str, findings: bool, sort: str, json_: bool) -> None:
    r"""List agreements: those of your organisation, and for the staff all.

    \b
    Example:
      hilum agreement list --findings
    """
    query = {"vendor": vendor, "tenant": tenant, "findings": "true" if findings else ""}
    show(api.every("/agreements", sort=sort, **query), COLUMNS, json_=json_)


@agreement.command("show")
@click.argument("agreement_id", metavar="AGREEMENT")
@json_option
def show_(agreement_id: str, *, json_: bool) -> None:
    r"""Show one agreement with who recorded and confirmed it.

    \b
    Example:
      hilum agreement show agr_01h...
    """
    show_one(api.call("GET", f"/agreements/{api.segment(agreement_id)}"), json_=json_)


def _digest(document: str) -> str:
    """Return the SHA-256 of a file, or what was typed if there is no such file: a digest, which the API checks."""
    path = Path(document)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else document
