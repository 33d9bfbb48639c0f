"""``hilum person`` and ``hilum approval``: people, their links and charts, and what waits for a second person."""

from datetime import UTC, datetime
from typing import Any

import click

from hilum.foundation.kernel.ids import PersonId
from hilum.identity.people.models import PEOPLE_SORTS
from hilum.server.commands import host
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, id_of, person_argument
from hilum.surfaces.cli.resources import (
    all_option,
    json_option,
    limit_option,
    read_list,
    show,
    show_approval,
    show_done,
    show_one,
    show_way_in,
    sort_option,
)

APPROVAL_COLUMNS = ("id", "kind", "tenant", "about", "asked_by", "asked_at", "expires_at")


@click.group()
def person() -> None:
    r"""Manage people, their links and charts.

    \b
    Examples:
      hilum person list --tenant general
      hilum person reset per_01h...
    """


@person.command("list")
@click.option(
    "--tenant",
    type=TENANT,
    default="",
    help="The hospital; by default your own, or for staff, the platform's staff.",
)
@sort_option(PEOPLE_SORTS)
@json_option
def person_list(tenant: str, *, sort: str, json_: bool) -> None:
    r"""List people.

    \b
    Examples:
      hilum person list
      hilum person list --tenant general --json
    """
    tenant = tenant or api.own_tenant()
    show(
        api.every("/people", tenant=tenant, sort=sort),
        ("id", "username", "name", "role", "active"),
        json_=json_,
    )


@person.command("add")
@click.argument("username")
@click.option(
    "--tenant",
    type=TENANT,
    default="",
    help="The hospital; by default your own, or for staff, the platform's staff.",
)
@click.option("--name", required=True, help="Full name.")
@click.option(
    "--role",
    required=True,
    help="physician, nurse, analyst, administrator, front_desk, patient; or a staff role.",
)
@click.option("--fhir-user", default="", help="Their FHIR resource, such as Practitioner/12.")
@click.option(
    "--patient", multiple=True, help="The id of a patient whom they are, or act for; may be repeated."
)
@click.option("--mail", default="", help="Their mail address: the link goes there and is not shown.")
@json_option
def person_add(
    username: str,
    *,
    tenant: str,
    name: str,
    role: str,
    fhir_user: str,
    patient: tuple[str, ...],
    mail: str,
    json_: bool,
) -> None:
    r"""Add a person, and mail or print the link through which they set their password.

    Staff of the platform, administrators of a hospital, and people who could open a chart that is or was another account's own wait for
    a second person. Pass the setup code on to the new person yourself; the link is shown to the colleague who approves.
    With --mail the link is mailed to the new person, and the colleague who approves gets the code.

    \b
    Examples:
      hilum person add n.okafor --name "Ngozi Okafor" --role nurse --fhir-user Practitioner/77
      hilum person add r.silva --name "Rui Silva" --role reviewer
    """
    body = {"tenant": tenant or api.own_tenant() or None, "username": username, "name": name, "role": role}
    body |= {"fhir_user": fhir_user or None, "patients": list(patient) or None}  # type: ignore[dict-item]
    body |= {"mail": mail or None}
    show_way_in(api.call("POST", "/people", body), json_=json_)


def _segment(named: str) -> str:
    """Return a person's id as a path segment: of a user name at the caller's own place, or NAME@PLACE elsewhere."""
    return api.segment(id_of("person", named))


@person.command("deactivate")
@person_argument
@click.option(
    "--local",
    is_flag=True,
    help="On this host, without the network, as host:<user>; even if nobody would be left.",
)
@json_option
def person_deactivate(person_id: str, *, local: bool, json_: bool) -> None:
    r"""End a person's access for good: sessions, launches and tokens.

    At least two of the staff who can act as a second person must remain. On the host, --local deactivates them too; `hilum init` then
    adds administrators.

    \b
    Examples:
      hilum person deactivate n.okafor
      hilum person deactivate n.okafor@general
      hilum person deactivate per_01h... --local
    """
    if local:
        # Imported here: commands over the API start without the platform's modules.
        from hilum.identity.people import service as identity

        gone = host.write(lambda ctx: identity.deactivate_person(ctx, PersonId(person_id)))
        show_one({"id": gone.id, "username": gone.username, "active": gone.active}, json_=json_)
        return
    show_one(api.call("DELETE", f"/people/{_segment(person_id)}"), json_=json_)


@person.command("password")
@person_argument
@click.password_option(help="Prompted for if not given.")
@click.option("--current", prompt="Present password", hide_input=True, help="Prompted for if not given.")
@json_option
def person_password(person_id: str, password: str, current: str, *, json_: bool) -> None:
    r"""Change your own password; your sessions and API tokens end. For another person's, see `hilum person reset`.

    \b
    Example:
      hilum person password per_01h...
    """
    body = {"password": password, "current": current}
    found = api.call("PUT", f"/people/{_segment(person_id)}/password", body)
    show_one(found, json_=json_)


@person.command("sign-out")
@person_argument
@json_option
def person_sign_out(person_id: str, *, json_: bool) -> None:
    r"""End every session of a person, and of another person their API tokens too; your own API tokens stay.

    \b
    Example:
      hilum person sign-out per_01h...
    """
    show_one(api.call("DELETE", f"/people/{_segment(person_id)}/sessions"), json_=json_)


@person.command("reset")
@person_argument
@click.option(
    "--local", is_flag=True, help="On this host, without the network, as host:<user>; takes no second person."
)
@json_option
def person_reset(person_id: str, *, local: bool, json_: bool) -> None:
    r"""Create a new link through which a person sets their password; earlier links stop working.

    For an account in use, and one that took two people to add, it waits for a second person.

    \b
    Examples:
      hilum person reset per_01h...
      hilum person reset per_01h... --local
    """
    if local:
        show_way_in(_reset_here(PersonId(person_id)), json_=json_)
        return
    show_way_in(api.call("POST", f"/people/{_segment(person_id)}/reset"), json_=json_)


@person.command("reset-factors")
@click.argument("person_id")
@click.option("--reason", required=True, help="What was lost, and how you verified who asks.")
@click.option(
    "--local", is_flag=True, help="On this host, without the network, as host:<user>; takes no second person."
)
@json_option
def person_reset_factors(person_id: str, reason: str, *, local: bool, json_: bool) -> None:
    r"""Ask to remove the second factors of a person who lost them; a colleague agrees with `hilum approval approve`.

    Their sessions and API tokens end then, they get a mail, and they set up a new factor when they sign in.

    \b
    Examples:
      hilum person reset-factors per_01h... --reason "telephone lost, came to the desk with their badge"
      hilum person reset-factors per_01h... --reason "both administrators lost theirs" --local
    """
    if local:
        from hilum.identity.enrolment import service as enrolment

        host.write(lambda ctx: enrolment.reset_factors(ctx, PersonId(person_id), reason))
        show_one({"id": person_id, "reset": True}, json_=json_)
        return
    body = {"reason": reason}
    show_way_in(api.call("POST", f"/people/{api.segment(person_id)}/reset-factors", body), json_=json_)


def _reset_here(person: PersonId) -> dict[str, Any]:
    from hilum.foundation.web.urls import Urls
    from hilum.identity.enrolment import service as enrolment
    from hilum.identity.enrolment.models import LinkMail, Opened

    found = host.read_settings()
    urls = Urls(found.base_url, found.sandbox_url)
    # Shown, not mailed: this is the way in when nothing else works.
    opened = host.write(lambda ctx: enrolment.reset(ctx, person, LinkMail(urls.enrol, works=False)))
    assert isinstance(opened, Opened), "the host acts alone"
    # The same link that the API would return: it leads to the platform's page and works once.
    url = urls.enrol(opened.link.tenant or "", opened.link.secret)
    link = {"url": url, "expires_at": opened.link.expires_at.isoformat()}
    return {"id": opened.person.id, "username": opened.person.username, "enrolment": link}


@person.command("charts")
@person_argument
@click.option(
    "--chart",
    multiple=True,
    required=True,
    help="A patient's id, or ID=DAY for access until that day; may be repeated.",
)
@json_option
def person_charts(person_id: str, chart: tuple[str, ...], *, json_: bool) -> None:
    r"""Set the charts that a patient or a proxy may open; what is left out is taken away at once.

    With a day the chart is theirs until that day begins (UTC), such as a child's eighteenth birthday. A chart whose patient has or had an
    account waits for a second person.

    \b
    Examples:
      hilum person charts per_01h... --chart pat-12 --chart pat-31=2031-04-17
    """
    charts = [_chart(each) for each in chart]
    show_done(api.call("PUT", f"/people/{_segment(person_id)}/charts", {"charts": charts}), json_=json_)


def _chart(text: str) -> dict[str, str]:
    patient, _, day = text.partition("=")
    if not day:
        return {"patient": patient}
    try:
        # A day without a zone begins in UTC, as for every other moment that is typed here.
        until = datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise click.BadParameter(f"{day} is not a day such as 2031-04-17", param_hint="--chart") from None
    return {"patient": patient, "until": until.isoformat()}


@click.group()
def approval() -> None:
    r"""Agree, as the second person, to what a colleague asked for.

    \b
    Examples:
      hilum approval list
      hilum approval show apr_01h...
      hilum approval approve apr_01h...
    """


@approval.command("list")
@click.option("--tenant", type=TENANT, default="", help="Only those of one hospital.")
@limit_option
@all_option
@json_option
def approval_list(tenant: str, limit: int, *, all_: bool, json_: bool) -> None:
    r"""List what waits for a second person, oldest first, including what you asked for yourself.

    \b
    Examples:
      hilum approval list
      hilum approval list --tenant general --limit 20
    """
    show(read_list("/approvals", limit, all_=all_, tenant=tenant), APPROVAL_COLUMNS, json_=json_)


@approval.command("show")
@click.argument("approval_id")
@json_option
def approval_show(approval_id: str, *, json_: bool) -> None:
    r"""Show what was asked for, what it replaces, and how it was decided.

    \b
    Example:
      hilum approval show apr_01h...
    """
    show_approval(api.call("GET", f"/approvals/{api.segment(approval_id)}"), json_=json_)


@approval.command("approve")
@click.argument("approval_id")
@json_option
def approval_approve(approval_id: str, *, json_: bool) -> None:
    r"""Agree to what another asked for; it is carried out now, exactly as it was asked.

    Look at it first (`hilum approval show`), and ask your colleague whether it is meant. A link works only with the setup code that the
    asker was shown; a client's secret is the half that the asker was shown and, right after it, the one printed here.

    \b
    Example:
      hilum approval approve apr_01h...
    """
    show_way_in(api.call("POST", f"/approvals/{api.segment(approval_id)}/approve"), json_=json_)


@approval.command("refuse")
@click.argument("approval_id")
@json_option
def approval_refuse(approval_id: str, *, json_: bool) -> None:
    r"""Refuse what another asked for, or withdraw what you asked for.

    \b
    Example:
      hilum approval refuse apr_01h...
    """
    show_one(api.call("POST", f"/approvals/{api.segment(approval_id)}/refuse"), json_=json_)
