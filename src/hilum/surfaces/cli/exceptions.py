"""``hilum policy except``: what the policy says otherwise of one app, and its end."""

from datetime import datetime

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_done
from hilum.surfaces.cli.tiers import TIERS

KINDS = click.Choice(["raised_tier", "lowered_tier", "autonomous_writes", "waived_requirement"])
COLUMNS = (
    "id",
    "kind",
    "app",
    "version",
    "tenant",
    "state",
    "tier",
    "requirement",
    "ends_at",
    "reason",
    "control",
    "owner",
    "agreed_by",
)


@click.command("except")
@click.argument("kind", type=KINDS)
@click.option("--app", "app", type=APP, default="", help="The app of which a requirement is waived.")
@click.option("--version", "version", default="", help="The version that everything else is about.")
@click.option("--tenant", type=TENANT, default="", help="Only at this hospital; by default, everywhere.")
@click.option("--tier", type=TIERS, help="The tier that counts, or that of the entry with the requirement.")
@click.option("--requirement", default="", help="What is waived, such as evidence.security_test.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--control", default="", help="What is done instead until then, such as who checks what.")
@click.option(
    "--until", type=MOMENT, help="When it ends by itself, such as 2026-12-01; not for a raised tier."
)
@json_option
def ask(
    kind: str,
    *,
    app: str,
    version: str,
    tenant: str,
    tier: str | None,
    requirement: str,
    reason: str,
    control: str,
    until: datetime | None,
    json_: bool,
) -> None:
    r"""Make an exception to the policy for one app.

    A reviewer raises a version's tier at once, since that only removes access. Everything else takes a second person, a compensating
    control and an end: a lower tier or a waived requirement two platform administrators, and an AI that writes alone two administrators of
    the hospital.

    \b
    Examples:
      hilum policy except raised_tier --version ver_01h... --tier high --reason "it suggests doses in its pages"
      hilum policy except lowered_tier --version ver_01h... --tier moderate --until 2026-12-01T00:00:00Z \
        --reason "certified again by then" --control "a nurse looks at each list"
      hilum policy except autonomous_writes --version ver_01h... --tenant general --until 2026-12-01T00:00:00Z \
        --reason "nights have no second pharmacist" --control "the pharmacy checks each entry daily"
      hilum policy except waived_requirement --app app_01h... --tier high --requirement evidence.security_test \
        --until 2026-12-01T00:00:00Z --reason "the test is booked" --control "our own scan each week"
    """
    body = {
        "kind": kind,
        "app": app or None,
        "version": version or None,
        "tenant": tenant or None,
        "tier": tier,
        "requirement": requirement,
        "reason": reason,
        "control": control or None,
        "ends_at": None if until is None else until.isoformat(),
    }
    show_done(api.call("POST", "/policies/exceptions", body), json_=json_)


@click.command("exceptions")
@click.option("--kind", type=KINDS, help="Only of this kind.")
@json_option
def exceptions(*, kind: str | None, json_: bool) -> None:
    r"""List exceptions, newest first, with the reason for each that does not apply.

    \b
    Examples:
      hilum policy exceptions
      hilum policy exceptions --kind raised_tier --json
    """
    show(api.every("/policies/exceptions", kind=kind or ""), COLUMNS, json_=json_)


@click.command("end-exception")
@click.argument("exception_id", metavar="EXCEPTION")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def end_exception(exception_id: str, *, reason: str, json_: bool) -> None:
    r"""End an exception at once. One person does it; a raised tier another reviewer than the one who raised it.

    \b
    Example:
      hilum policy end-exception exc_01 --reason "certified again"
    """
    path = f"/policies/exceptions/{api.segment(exception_id)}/end"
    show_done(api.call("POST", path, {"reason": reason}), json_=json_)
