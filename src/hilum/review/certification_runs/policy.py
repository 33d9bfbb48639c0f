"""Rules of certification runs: where they may be opened, which records count, and what a result contains. Pure."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

import orjson

from hilum.apps.clients.models import Client
from hilum.apps.registry.models import Environment
from hilum.apps.registry.policy import may_register
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import ClientId, VendorId, VersionId
from hilum.foundation.standards.smart.scopes import (
    SPECIAL,
    ClinicalScope,
    covers,
    intersect,
    parse_scope,
    parse_stored,
    render,
)
from hilum.identity.people.models import Tenant, VendorRight
from hilum.identity.people.policy import is_member, is_open_to, may_as_member
from hilum.policy.matrix.models import Applicant, Book, PolicyEntry
from hilum.policy.matrix.policy import tiers_to_certify
from hilum.records.audit.models import Access, RecordedEvent
from hilum.review.certification_runs.judging import BEGIN, SCENARIOS, in_order, judge_run
from hilum.review.certification_runs.models import (
    EVERY,
    ROWS_BOUND,
    SCOPES_BOUND,
    Fault,
    Finding,
    Ground,
    Outcome,
    Proposal,
    Records,
    Row,
    Run,
    RunContract,
    RunGround,
    State,
)
from hilum.review.certification_runs.traces import calls_of, launch_scopes, propose

FORMAT = 1
"""The format of results. Another one gets another number, and this one stays readable."""
_OPEN_ANOTHER = "Open another run, and inform the platform's security officers."
TOO_MANY = f"This run has more than {ROWS_BOUND} records, so none of them was judged."
KEPT_FACTS = (
    "scenario", "backend", "run", "context", "stale", "kinds", "scopes", "fault", "family", "workflow", "optional",
)  # fmt: skip
"""Facts of events that a result keeps: nothing about patients."""


def may_run(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may open and change runs of a vendor's apps: its owners and developers, and the platform on their behalf."""
    return may_register(actor) or may_as_member(actor, vendor, VendorRight.APPS)


def may_see(actor: Actor, vendor: str) -> bool:
    """Check whether an actor may see the runs of a vendor's apps: its members and the platform's staff."""
    return actor.is_platform or is_member(actor, vendor)


def order_faults(
    client: Client,
    tenant: Tenant | None,
    vendor: VendorId,
    needed: Collection[str],
    further: Collection[str] | None,
) -> dict[str, str]:
    """Return the error code of each invalid field of an order."""
    faults = {}
    if client.environment is not Environment.SANDBOX or client.dynamic:
        faults["client"] = "client_not_of_sandbox"
    # Faults are never made at real hospitals.
    if tenant is None or not tenant.sandbox or not tenant.active or not is_open_to(tenant, vendor):
        faults["tenant"] = "tenant_not_sandbox"
    if further is None:
        faults["scenarios"] = "scenario_unknown"
    if not faults and not needed and not further:
        faults["client"] = "scenarios_none"
    return faults


def entries_of(book: Book, applicant: Applicant) -> dict[str, PolicyEntry]:
    """Return the entries in which a version would be certified, by tier."""
    category = book.categories.get(applicant.category)
    if category is None:
        return {}
    return {
        each.tier.value: category.entries[each.tier] for each in tiers_to_certify(book, applicant).values()
    }


def needed_of(book: Book, entries: Iterable[PolicyEntry], unasked: Collection[str] = ()) -> dict[str, str]:
    """Return the scenarios that some entries require, by name, with their titles in the policy, without those in ``unasked``."""
    names = sorted({name for entry in entries for name in entry.scenarios}.difference(unasked))
    return {name: book.scenarios[name] for name in names}


def further_of(book: Book, names: Collection[str]) -> dict[str, str] | None:
    """Return chosen scenarios with their titles; None if the policy lacks one."""
    chosen = set(book.scenarios) if EVERY in names else set(names)
    if not chosen <= book.scenarios.keys():
        return None
    return {name: book.scenarios[name] for name in sorted(chosen)}


def advice(scenario: str) -> tuple[str, str]:
    """Return what a developer does in a scenario, and how a well-made app behaves; empty for an unknown scenario."""
    found = SCENARIOS.get(scenario)
    return ("", "") if found is None else (found.how, found.good)


def fault_of(scenario: str) -> Fault:
    """Return how the situation of a scenario is created; by hand for an unknown one."""
    found = SCENARIOS.get(scenario)
    return Fault.NONE if found is None else found.fault


# --- records -------------------------------------------------------------------------------------------------------------------


def row_of_access(access: Access, *, place: str, link: str) -> Row:
    """Return the row of an access record."""
    return Row(
        at=access.at,
        name=access.interaction,
        request=True,
        outcome=access.outcome.value,
        reason=access.reason,
        status=access.status,
        type=access.resource_type,
        asked=f"{access.path}?{access.query}" if access.query else access.path,
        rule=access.rule,
        latency_ms=access.latency_us // 1_000,
        removed=access.removed,
        launch=access.launch,
        place=place,
        hash=link,
    )


def row_of_event(found: RecordedEvent, *, link: str) -> Row:
    """Return the row of an event."""
    event = found.event
    return Row(
        at=found.at,
        name=event.action,
        request=False,
        outcome=event.outcome.value,
        reason=event.reason,
        launch=event.launch,
        facts={name: event.facts[name] for name in KEPT_FACTS if name in event.facts},
        place=f"{found.writer}.{found.seq}",
        hash=link,
    )


def write_rows(rows: Sequence[Row]) -> str:
    """Return records as canonical JSON, in the order in which they happened."""
    return orjson.dumps([asdict(each) for each in in_order(rows)], option=orjson.OPT_SORT_KEYS).decode()


def read_rows(text: str) -> tuple[Row, ...]:
    """Return records from canonical JSON."""
    return tuple(Row(**each | {"at": datetime.fromisoformat(each["at"])}) for each in orjson.loads(text))


def without_optional(scopes: Sequence[str], optional: Iterable[str]) -> tuple[str, ...]:
    """Return scopes without optional ones, letter by letter. A wildcard is removed only as a whole."""
    declined = [each for each in parse_stored(optional) if isinstance(each, ClinicalScope)]
    special = {each for each in optional if each in SPECIAL}
    left = []
    for text, scope in ((each, parse_scope(each)) for each in scopes):
        if not isinstance(scope, ClinicalScope):
            left += [] if text in special else [text]
            continue
        gone = 0
        for each in declined:
            both = each.letters & scope.letters
            gone |= both if both and covers(each, replace(scope, letters=both)) else 0
        if not gone:
            left.append(text)
        elif scope.letters & ~gone:
            left.append(render(replace(scope, letters=scope.letters & ~gone)))
    return tuple(left)


def declinable(held: Sequence[str], optional: Collection[str]) -> list[str]:
    """Return the optional scopes that can be declined for a client with these scopes: not those within a wildcard."""
    left = parse_stored(without_optional(held, optional))
    return [each for each in optional if not intersect(parse_stored((each,)), left)]


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# --- results -------------------------------------------------------------------------------------------------------------------


def judge(run: Run, rows: Sequence[Row], faults: Sequence[str]) -> tuple[State, list[Finding]]:
    """Judge every scenario of a run. Faulty records show nothing."""
    faulty = [*faults, *([TOO_MANY] if len(rows) > ROWS_BOUND else [])]
    if faulty:
        found = [Finding(name, Outcome.INCOMPLETE, faulty[0], _OPEN_ANOTHER) for name in run.scenarios]
    else:
        found = [judge_run(name, rows) for name in run.scenarios]
    outcomes = {each.outcome for each in found}
    if Outcome.NOT_MET in outcomes:
        return State.FAILED, found
    return (State.PASSED if outcomes == {Outcome.MET} else State.INCOMPLETE), found


def written_ground(ground: Ground) -> dict[str, Any]:
    """Return where a run is made as JSON-serializable values."""
    at = None if ground.reset_at is None else ground.reset_at.isoformat()
    return {"own": ground.own, "reset_at": at, "changed": ground.changed}


def ground_of(run: Run) -> RunGround:
    """Return where a run was made, as far as known; for a judged run as signed."""
    signed: Mapping[str, Any] = run.result.get("ground", {})
    began = signed.get("began", {}) if run.result else run.ground
    ended: Mapping[str, Any] = signed.get("ended", {})
    at = began.get("reset_at")
    return RunGround(
        # The row of an open run is not signed: the look-up at its end counts too.
        True if ended.get("own") else began.get("own"),
        None if at is None else datetime.fromisoformat(at),
        began.get("changed"),
        ended.get("changed"),
        reset_meanwhile=bool(ended) and ended.get("reset_at") != at,
    )


def result_of(
    run: Run,
    records: Records,
    now: datetime,
    ground: Ground,
    held: Iterable[str] = (),
) -> dict[str, Any]:
    """Return the signed part of a run as JSON-serializable values. ``held``: its client's scopes; ``ground``: where it was made, as of now."""
    rows, faults = records.rows, records.faults
    state, found = judge(run, rows, faults)
    return {
        "format": FORMAT,
        "run": run.id,
        "app": run.app,
        "vendor": run.vendor,
        "version": run.version,
        "client": run.client,
        "tenant": run.tenant,
        "policy_version": run.policy_version,
        "tier": run.tier,
        "opened_by": run.opened_by,
        "opened_at": run.opened_at.isoformat(),
        "ended_at": now.isoformat(),
        "state": state.value,
        "scenarios": [
            asdict(each) | {"outcome": each.outcome.value, "title": run.scenarios[each.scenario]}
            for each in found
        ],
        "records": len(rows),
        "digest": digest_of(write_rows(rows)),
        "faults": list(faults),
        "scopes": list(used_scopes(rows, held)),
        # True if people and charts were not tried, because the app had only backend services.
        "backend": any(bool(each.facts.get("backend")) for each in rows if each.name == BEGIN),
        "ground": {"began": dict(run.ground), "ended": written_ground(ground)},
    }


def shown_by(result: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the scenarios that were met according to a result."""
    found = result.get("scenarios", ())
    return tuple(sorted(each["scenario"] for each in found if each["outcome"] == Outcome.MET.value))


def signed_bytes(result: Mapping[str, Any]) -> bytes:
    """Return the signed bytes of a result."""
    return b"hilum evidence v1\n" + orjson.dumps(dict(result), option=orjson.OPT_SORT_KEYS)


def proposal_of(
    client: ClientId, version: VersionId, held: Sequence[str], rows: Sequence[Row], *, whole: bool = True
) -> Proposal:
    """Return the proposal from the records of a client with some scopes."""
    scopes = propose(calls_of(rows, held), launch_scopes(rows))[:SCOPES_BOUND]
    needed = parse_stored(each.scope for each in scopes)
    # A scope that is needed in part is narrowed, not left out.
    left_out = tuple(
        text for text, each in zip(held, parse_stored(held), strict=False) if not intersect((each,), needed)
    )
    requests = sum(each.request for each in rows)
    return Proposal(client, version, scopes, left_out, requests, whole)


def contract_digest(contract: RunContract) -> str:
    """Return the digest of a contract for the audit."""
    text = orjson.dumps(asdict(contract), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"hilum contract v1\n" + text).hexdigest()


def used_scopes(rows: Sequence[Row], held: Iterable[str]) -> tuple[str, ...]:
    """Return the least scopes that permit a run's calls (C220). ``held``: its client's scopes."""
    return tuple(sorted(each.scope for each in propose(calls_of(rows, held))))[:SCOPES_BOUND]
