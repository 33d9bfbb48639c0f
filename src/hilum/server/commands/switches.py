"""``hilum switch`` and ``hilum explain``: stop something now, and find out why a request was answered as it was."""

import sys
import time
from datetime import datetime
from typing import Any, BinaryIO
from urllib.parse import urlencode

import click
import orjson

from hilum.controls.switches.models import SWITCH_SORTS, EngageOrder, Mode, Switch, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.lists import counted
from hilum.server.commands import host
from hilum.surfaces.cli import api, containment
from hilum.surfaces.cli.named import KINDS, TENANT, id_of
from hilum.surfaces.cli.output import REFUSED, as_json, plain
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option, with_names

PREVIEW = ("tenant", "launches", "encounters", "tokens", "people", "stand_ins")
CONFIRMED_TRIES, CONFIRMED_EVERY_S = 10, 0.3
"""Workers confirm a switch within a tenth of a second; a node that takes longer than this is reported, not waited for."""
COLUMNS = ("id", "kind", "key", "mode", "in_force", "reason", "engaged_by", "engaged_at")


@click.group()
def switch() -> None:
    r"""Stop something now, and release it again.

    \b
    Examples:
      hilum switch list
      hilum switch engage --target app --key app_01h... --reason "asks for every patient"
    """


@switch.command("engage")
@click.option(
    "--target",
    "kind",
    type=click.Choice([str(kind) for kind in TargetKind]),
    required=True,
    help="The kind of target.",
)
@click.option(
    "--key",
    default="",
    help="Its id or name; APP/TENANT or APP/PERSON for a pair; left out for the platform.",
)
@click.option(
    "--mode",
    type=click.Choice([str(mode) for mode in Mode]),
    default="full_stop",
    show_default=True,
    help="How hard.",
)
@click.option("--reason", default="", help="Why; it is recorded. Required, except with --preview.")
@click.option(
    "--preview",
    is_flag=True,
    help="Stop nothing: show what would end, and possible stand-ins.",
)
@click.option(
    "--expires-at",
    type=MOMENT,
    default=None,
    help="When it ends by itself: a day, which begins in UTC, or a moment.",
)
@click.option("--local", is_flag=True, help="On this host, without the network, as host:<user>.")
@json_option
def engage(
    *,
    kind: str,
    key: str,
    mode: str,
    reason: str,
    expires_at: datetime | None,
    preview: bool,
    local: bool,
    json_: bool,
) -> None:
    r"""Engage a kill switch. A full stop ends what was issued before it, for good.

    \b
    Examples:
      hilum switch engage --target app_tenant --key APP/general --preview
      hilum switch engage --target app_tenant --key "Chart Viewer/general" --reason "asks for every patient"
      hilum switch engage --target platform --reason "keys leaked" --local
    """
    if not local:
        key = _key(kind, key)
    if preview:
        _preview(kind, key, json_=json_)
        return
    if not reason:
        raise click.UsageError("Missing option '--reason': why this is stopped.")
    if local:
        from hilum.operations.switch_administration import service as switch_administration

        # Through switch administration like the API, so that a mistyped target is refused here too.
        order = EngageOrder(Target(TargetKind(kind), key), Mode(mode), reason, expires_at)
        engaged = host.write(lambda ctx: switch_administration.engage(ctx, order))
        _show_here(engaged, json_=json_)
        return
    body: dict[str, Any] = {"kind": kind, "key": key, "mode": mode, "reason": reason}
    body["expires_at"] = expires_at.isoformat() if expires_at else None
    engaged = api.call("POST", "/switches", body)
    show_one(engaged, json_=json_)
    if not json_:
        _show_effect(engaged)


def _show_effect(engaged: dict[str, Any]) -> None:
    """Print how fast every worker confirmed a switch, and what was open to its target."""
    report = _confirmed(engaged["id"])
    silent = report["workers_silent"] if report else {}
    for node, count in silent.items():
        told = f"not confirmed by {counted(count, 'worker')} of {node}, which refuses everything within two seconds if it cannot read the database"
        click.secho(told, fg="yellow")
    if report is None or silent or not report["confirmations"]:
        click.echo(f"see which workers confirmed it: hilum switch report {engaged['id']}")
    else:
        workers = len(report["confirmations"])
        took = f"in force at every worker ({workers}), at the last one after {report['longest_ms']:.0f} ms"
        click.secho(took, fg="green")
    if engaged["mode"] != Mode.FULL_STOP:
        return
    # Counted after the stop, which must not wait for it: a switch changes neither launches nor tokens, it refuses them.
    target = urlencode({"kind": engaged["kind"], "key": engaged["key"]})
    open_until_now = api.readable(f"/switches/preview?{target}")
    if not open_until_now or not open_until_now["counted"]:
        return
    for each in open_until_now["hospitals"]:
        launches, tokens, people = each["launches"], each["tokens"], each["people"]
        click.echo(
            f"ended at {each['tenant']}: open launches {launches}, tokens {tokens}; people who used it in the last hour {people}"
        )
    if not open_until_now["hospitals"]:
        click.echo("nothing was open")


def _confirmed(switch_id: str) -> dict[str, Any] | None:
    """Return the containment report of a switch once every worker has confirmed it, or after some seconds; None if it may not be seen."""
    report: dict[str, Any] | None = None
    for _ in range(CONFIRMED_TRIES):
        time.sleep(CONFIRMED_EVERY_S)
        found = api.readable(f"/switches/{api.segment(switch_id)}/containment")
        if found is None:
            return None
        report = found["report"]
        if report["confirmations"] and not report["workers_silent"]:
            break
    return report


def _key(kind: str, named: str) -> str:
    """Return the key of a target whose parts are named by id or name; the second part of a pair follows the last slash."""
    kinds = [each for each in kind.split("_") if each in KINDS]
    if len(kinds) == 1 and kind == kinds[0]:
        return id_of(kind, named)
    first, slash, second = named.rpartition("/")
    if len(kinds) != 2:
        return named
    if not slash:
        form = "/".join(KINDS[each][1].upper() for each in kinds)
        click.secho(f"refused: the key of {kind} is {form}, not {plain(named)!r} alone", fg="red", err=True)
        raise SystemExit(REFUSED)
    return f"{id_of(kinds[0], first)}/{id_of(kinds[1], second)}"


def _preview(kind: str, key: str, *, json_: bool) -> None:
    found = api.call("GET", "/switches/preview", query={"kind": kind, "key": key})
    if json_:
        as_json(found)
        return
    if not found["counted"]:
        click.echo("What a switch on a scope or a resource type would stop cannot be counted beforehand.")
        return
    rows = [
        each | {"stand_ins": [f"{other['name']} ({other['app']})" for other in each["stand_ins"]]}
        for each in found["hospitals"]
    ]
    show(rows, PREVIEW, json_=False)
    for tenant in found["without_stand_in"]:
        click.secho(f"{tenant}: no installed app could stand in", fg="yellow")


@switch.command("list")
@click.option("--tenant", type=TENANT, default="", help="Only those of one hospital.")
@sort_option(SWITCH_SORTS)
@json_option
def list_(tenant: str, *, sort: str, json_: bool) -> None:
    r"""List switches, newest first, including released ones.

    \b
    Example:
      hilum switch list --tenant general
    """
    found = api.every("/switches", tenant=tenant, sort=sort)
    show(found, COLUMNS, json_=json_)


@switch.command("show")
@click.argument("switch_id")
@json_option
def show_switch(switch_id: str, *, json_: bool) -> None:
    r"""Show a switch.

    \b
    Example:
      hilum switch show sw_01h...
    """
    show_one(api.call("GET", f"/switches/{api.segment(switch_id)}"), json_=json_)


@switch.command("release")
@click.argument("switch_id")
@click.option(
    "--local", is_flag=True, help="On this host, without the network, as host:<user>; not for wide switches."
)
@json_option
def release(switch_id: str, *, local: bool, json_: bool) -> None:
    r"""Release a switch; a wide one waits for a second person of the staff.

    Nobody can release a switch on themselves. When every administrator is stopped, release a narrow switch on the host with --local.

    \b
    Examples:
      hilum switch release sw_01h...
      hilum switch release sw_01h... --local
    """
    if local:
        from hilum.operations.switch_administration import service as switch_administration

        released = host.write(lambda ctx: switch_administration.release(ctx, switch_id))
        _show_here(released, json_=json_)
        return
    found = api.call("POST", f"/switches/{api.segment(switch_id)}/release")
    show_one(found, json_=json_)
    # Success of the command is not yet the release; without this line the first person would believe it was.
    if found["in_force"] and found["release_asked_by"]:
        click.secho(
            "still in force: a second person of the staff releases it with the same command",
            fg="yellow",
            err=True,
        )


@switch.command("confirm-failover")
@click.option("--reason", required=True, help="What was lost and done again; it is recorded.")
def confirm_failover(*, reason: str) -> None:
    r"""Confirm on this host that a failover lost changes, and that somebody has done again what was lost.

    Until then nodes refuse what either copy of the database forbids. From then on every node enforces what the database says, and only that.

    \b
    Example:
      hilum switch confirm-failover --reason "standby lost 3 s; certification of Lumen withdrawn again"
    """
    from hilum.controls.switches import service as controls

    host.write(lambda ctx: controls.confirm_failover(ctx, reason))
    click.echo("confirmed: every node enforces what the database says")


@switch.command("report")
@click.argument("switch_id")
@json_option
def report(switch_id: str, *, json_: bool) -> None:
    r"""Report whether a switch stopped its target: whether any answer was sent after the last worker had confirmed it.

    Exits 1 unless the verdict is "contained". Keep the output of --json: it is signed.

    \b
    Examples:
      hilum switch report sw_01h...
      hilum switch report sw_01h... --json > containment.json
    """
    found = api.call("GET", f"/switches/{api.segment(switch_id)}/containment")
    if json_:
        as_json(found)
    else:
        for line in with_names(list(containment.lines(found["report"])), api.names_of):
            click.echo(line)
    sys.exit(0 if found["report"]["verdict"] == "contained" else REFUSED)


@switch.command("verify-report")
@click.argument("file", type=click.File("rb"))
def verify_report(file: BinaryIO) -> None:
    r"""Verify on this host that a report was signed by this installation, and that nothing in it was changed.

    \b
    Example:
      hilum switch verify-report containment.json
    """
    from hilum.operations.switch_administration import service as switch_administration

    try:
        found = orjson.loads(file.read())
    except orjson.JSONDecodeError:
        found = None
    genuine = isinstance(found, dict) and host.read(lambda ctx: switch_administration.is_signed(ctx, found))
    click.secho("genuine" if genuine else "NOT GENUINE", fg="green" if genuine else "red", bold=True)
    sys.exit(0 if genuine else REFUSED)


@click.command()
@click.argument("request_id")
@click.option("--local", is_flag=True, help="On this host, without the network.")
@json_option
def explain(request_id: str, *, local: bool, json_: bool) -> None:
    r"""Explain why a request was answered as it was. Its id is in the answer's X-Request-Id header.

    \b
    Example:
      hilum explain req_01m886m4ymntcfhmb7pj7qg62w
    """
    found = _explain_here(request_id) if local else api.call("GET", f"/explain/{api.segment(request_id)}")
    if json_:
        as_json(found)
        return
    for fact in (*found["why"], *found["about"]):
        named = f" ({fact['id']})" if fact["id"] not in {"", fact["text"]} else ""
        click.echo(f"{fact['name']}: {plain(fact['text'])}{named}")
    for sentence in with_names(found["sentences"], host.names_of if local else api.names_of):
        click.echo(sentence)


def _explain_here(request_id: str) -> dict[str, Any]:
    from hilum.records.audit import live, policy, service
    from hilum.records.audit.models import Event, Explanation
    from hilum.records.audit.routes import explanation_json
    from hilum.server import explaining

    settings = host.read_settings()
    reader = live.open_reader(settings.journal_dir, settings.database_url)
    # Reading the audit on the host is recorded as it is over the API (C155).
    read_event = policy.reading(Event("audit.request.explain"), {"request_id": request_id})

    def verb(ctx: Context) -> tuple[Explanation, Event]:
        found = service.explain(ctx, request_id, reader, explaining.explain)
        return found, policy.explaining(read_event, request_id, found)

    return explanation_json(host.read_audited(verb, read_event))


def _show_here(switch: Switch, *, json_: bool) -> None:
    """Print a switch as the API shows it."""
    from hilum.operations.switch_administration.routes import SwitchShown

    shown = SwitchShown.of(switch, host.now()).model_dump(mode="json")
    show_one(shown, json_=json_, names_of=host.names_of)
