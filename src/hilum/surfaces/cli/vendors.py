"""``hilum vendor``: vendors, their members and contacts, over the API."""

import click

from hilum.apps.registry.models import VENDOR_SORTS
from hilum.foundation.web.faults import SENTENCES
from hilum.identity.people.models import PEOPLE_SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import id_of, person_argument, vendor_argument
from hilum.surfaces.cli.resources import json_option, show, show_one, show_way_in, sort_option


@click.group()
def vendor() -> None:
    r"""Manage vendors, which make apps.

    \b
    Example:
      hilum vendor list
    """


@vendor.command("list")
@sort_option(VENDOR_SORTS)
@json_option
def vendor_list(*, sort: str, json_: bool) -> None:
    r"""List vendors.

    \b
    Example:
      hilum vendor list --json
    """
    show(api.every("/vendors", sort=sort), ("id", "name", "support_contact", "security_contact"), json_=json_)


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


@vendor.command("members")
@vendor_argument
@sort_option(PEOPLE_SORTS)
@json_option
def vendor_members(vendor_id: str, *, sort: str, json_: bool) -> None:
    r"""List a vendor's members, former ones too.

    \b
    Example:
      hilum vendor members ven_01h...
    """
    found = api.every(f"/vendors/{api.segment(vendor_id)}/members", sort=sort)
    show(found, ("id", "username", "name", "role", "active"), json_=json_)


@vendor.command("invite")
@vendor_argument
@click.argument("username")
@click.option("--name", required=True, help="Full name.")
@click.option(
    "--role",
    required=True,
    type=click.Choice(["vendor_owner", "vendor_developer", "vendor_billing", "vendor_security"]),
    help="What they may do.",
)
@click.option("--mail", default="", help="Their mail address: the link goes there and is not shown.")
@json_option
def vendor_invite(vendor_id: str, username: str, *, name: str, role: str, mail: str, json_: bool) -> None:
    r"""Invite a member, and mail or print the link through which they set their password. An owner waits for a second person.

    \b
    Example:
      hilum vendor invite ven_01h... d.marin --name "Dana Marin" --role vendor_developer
    """
    body = {"username": username, "name": name, "role": role, "mail": mail or None}
    show_way_in(api.call("POST", f"/vendors/{api.segment(vendor_id)}/members", body), json_=json_)


def _member(vendor: str, named: str) -> str:
    """Return a member's id as a path segment."""
    return api.segment(id_of("person", named, tenant=vendor))


@vendor.command("invite-again")
@vendor_argument
@person_argument
@json_option
def vendor_invite_again(vendor_id: str, person_id: str, *, json_: bool) -> None:
    r"""Create a new link for a member; earlier ones stop working. For an account in use it waits for a second person.

    \b
    Example:
      hilum vendor invite-again ven_01h... per_01h...
    """
    path = f"/vendors/{api.segment(vendor_id)}/members/{api.segment(id_of('person', person_id, tenant=vendor_id))}/invitation"
    show_way_in(api.call("POST", path), json_=json_)


@vendor.group("domain")
def vendor_domain() -> None:
    r"""Prove that a vendor's domain is its own, by a file that it serves or a TXT record.

    \b
    Examples:
      hilum vendor domain add ven_01h... acme.example
      hilum vendor domain check "Acme Health" acme.example
    """


DOMAIN_COLUMNS = ("id", "name", "state", "proof_ends_at", "fault")


@vendor_domain.command("add")
@vendor_argument
@click.argument("name")
@json_option
def domain_add(vendor_id: str, name: str, *, json_: bool) -> None:
    r"""Add a domain, and print which line to serve, and where.

    \b
    Example:
      hilum vendor domain add ven_01h... acme.example
    """
    show_one(api.call("POST", f"/vendors/{api.segment(vendor_id)}/domains", {"name": name}), json_=json_)


@vendor_domain.command("list")
@vendor_argument
@json_option
def domain_list(vendor_id: str, *, json_: bool) -> None:
    r"""List a vendor's domains: waiting, proved until when, or lapsed, and why the last check failed.

    \b
    Example:
      hilum vendor domain list ven_01h...
    """
    show(api.every(f"/vendors/{api.segment(vendor_id)}/domains"), DOMAIN_COLUMNS, json_=json_)


@vendor_domain.command("check")
@vendor_argument
@click.argument("domain_id", metavar="DOMAIN")
@json_option
def domain_check(vendor_id: str, domain_id: str, *, json_: bool) -> None:
    r"""Look at the file and the TXT record of a domain now. A proof counts for 180 days, and is renewed while one of them stays.

    \b
    Example:
      hilum vendor domain check "Acme Health" acme.example
    """
    path = f"/vendors/{api.segment(vendor_id)}/domains/{api.segment(_domain_of(vendor_id, domain_id))}/check"
    found = api.call("POST", path)
    show_one(found, json_=json_)
    if found["fault"] and not json_:
        said = SENTENCES.get(found["fault"], "The file could not be fetched.")
        next_ = (
            "Serve proof_line at proof_url, or publish it as a TXT record of proof_record, and check again."
        )
        click.secho(f"not proved: {said} {next_} ({found['fault']})", fg="yellow", err=True)


@vendor_domain.command("remove")
@vendor_argument
@click.argument("domain_id", metavar="DOMAIN")
@json_option
def domain_remove(vendor_id: str, domain_id: str, *, json_: bool) -> None:
    r"""Remove a domain; its proof ends.

    \b
    Example:
      hilum vendor domain remove "Acme Health" acme.example
    """
    path = f"/vendors/{api.segment(vendor_id)}/domains/{api.segment(_domain_of(vendor_id, domain_id))}"
    show_one(api.call("DELETE", path), json_=json_)


def _domain_of(vendor_id: str, named: str) -> str:
    """Return the id of a vendor's domain that is named by it, or by its name; what was typed if there is none."""
    if "." not in named:
        return named
    listed = api.every(f"/vendors/{api.segment(vendor_id)}/domains")
    return next((str(each["id"]) for each in listed if each["name"] == named.lower()), named)


@vendor.command("remove")
@vendor_argument
@person_argument
@json_option
def vendor_remove(vendor_id: str, person_id: str, *, json_: bool) -> None:
    r"""Remove a member for good: tokens, sessions and links end. The last owner cannot be removed.

    \b
    Example:
      hilum vendor remove "Acme Health" d.marin
    """
    path = f"/vendors/{api.segment(vendor_id)}/members/{api.segment(id_of('person', person_id, tenant=vendor_id))}"
    show_one(api.call("DELETE", path), json_=json_)
