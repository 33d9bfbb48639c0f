"""Check submissions: begin, store and judge the results, check again, and replay."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

import orjson

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotFound
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, Tier
from hilum.policy.matrix.policy import excess_scopes
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import RunSummary
from hilum.review.submissions import checks, content, disciplines, moves, news, policy, store, timekeeping
from hilum.review.submissions.attached import evidence_ends
from hilum.review.submissions.models import (
    RUNS_A_DAY,
    RUNS_BOUND,
    TARGETS_BOUND,
    Act,
    Check,
    Judgement,
    Kind,
    Look,
    Replay,
    Result,
    Route,
    Run,
    State,
    Submission,
    SubmissionView,
    Target,
)

DAY = timedelta(days=1)
RECORDED_WITHIN = timedelta(minutes=1)
"""How much later than a run its event may be; both are in one transaction."""
_BROKEN = Check(
    "checks.completed",
    "",
    Result.UNKNOWN,
    "The checks failed because of a fault of the platform.",
    "",
    "Run them again; if they fail again, inform the platform's operators.",
)


def next_to_check(ctx: Context) -> str | None:
    """Return the next submission to check; vendors take turns."""
    return store.next_to_check(ctx.tx)


def begin(ctx: Context, submission_id: str) -> list[Target] | None:
    """Begin to check a submission, also again after a process died; return the addresses to fetch, None if it is not to be checked."""
    found = store.get_submission(ctx.tx, submission_id, lock=True)
    if found.state is State.SUBMITTED:
        found = moves.move(ctx, found, Act.CHECK)
    if found.state is not State.CHECKING:
        return None
    return checks.targets_of(orjson.loads(found.content))[:TARGETS_BOUND]


def finish(ctx: Context, submission_id: str, looks: tuple[Look, ...]) -> Run | None:
    """Store and judge the results, and move the submission on; None if it was withdrawn meanwhile."""
    found = store.get_submission(ctx.tx, submission_id, lock=True)
    if found.state is not State.CHECKING:
        return None
    inputs = _inputs(ctx, found, looks)
    number = policies.in_force(ctx.as_actor(SYSTEM)).everywhere
    text = write_inputs(inputs)
    judgement = checks.judge(found.content, found.digest, inputs, _first(ctx, found), _book(ctx, number))
    return _store(ctx, _counted(found, judgement, _book(ctx, number)), text, number, judgement)


def _counted(found: Submission, judgement: Judgement, book: Book) -> Submission:
    """Store from the first checks how many scopes exceed the declared workflows: a later policy does not change that."""
    if found.beyond is not None:
        return found
    workflows = tuple(content_of(found)["version"]["workflows"])
    beyond = excess_scopes(book, workflows, tuple(each.scope for each in found.order.scopes))
    tier = judgement.route.tier
    return replace(found, beyond=len(beyond), checked_tier="" if tier is None else tier.value)


def give_up(ctx: Context, submission_id: str) -> Run | None:
    """Record that checks failed because of a bug, so that they block no other submission."""
    found = store.get_submission(ctx.tx, submission_id, lock=True)
    if found.state is not State.CHECKING:
        return None
    number = policies.in_force(ctx.as_actor(SYSTEM)).everywhere
    return _store(ctx, found, "", number, Judgement((_BROKEN,), Route()))


def _store(ctx: Context, found: Submission, inputs: str, policy_version: int, judgement: Judgement) -> Run:
    last = store.find_run(ctx.tx, found.id)
    number = 1 if last is None else last.number + 1
    run = Run(found.id, number, ctx.now, inputs, policy.digest_of(inputs), policy_version, judgement)
    store.add_run(ctx.tx, run)
    facts = {
        "submission": found.id,
        "run": run.number,
        "digest": run.digest,
        "policy_version": policy_version,
        "shown": shown_digest(judgement),
    }
    audit.record(ctx, Event("review.checks.finish", app=found.app, facts=facts))
    ends = evidence_ends(content_of(found), judgement, run_seen(run))
    passed_on = moves.move(
        ctx, replace(found, evidence_ends=ends), Act.PASS_ON, checks.in_words(judgement.checks)
    )
    disciplines.open_disciplines(ctx, passed_on, judgement.route, digest_seen(run))
    timekeeping.start(ctx, passed_on, judgement.route)
    return run


def rerun(ctx: Context, submission_id: str, revision: int) -> SubmissionView:
    """Have a submission checked again, for its vendor and for reviewers. Raises NotFound, NotPermitted (right, too many), Conflict."""
    found = moves.visible(ctx, submission_id, lock=True)
    event = Event("review.submission.rerun", app=found.app, facts={"submission": found.id})
    if not (policy.may_submit(ctx.actor, found.vendor) or policy.may_decide(ctx.actor)):
        raise audit.refusal(ctx, event)
    moves.require_revision(found, revision)
    moves.require_possible(found, Act.RERUN)
    number, today = store.count_runs(ctx.tx, found.id, since=ctx.now - DAY)
    if today >= RUNS_A_DAY or number >= RUNS_BOUND:
        detail = f"A submission is checked {RUNS_A_DAY} times a day and {RUNS_BOUND} times at most."
        raise audit.refusal(ctx, Event(event.action, app=found.app, reason="rerun_bound"), detail)
    moves.move(ctx, found, Act.RERUN)
    return moves.view_of(ctx, found.id)


def reopen_next(ctx: Context) -> bool:
    """Reopen the checks of the next submission whose evidence has expired; return False if there is none (C104)."""
    found = store.next_of_expired_evidence(ctx.tx, ctx.now)
    if found is None or found.evidence_ends is None:
        return False
    ended = found.evidence_ends
    moves.move(ctx, replace(found, evidence_ends=None), Act.RERUN, "Evidence has expired.")
    news.notify_vendor(ctx, found, "evidence_expired", f"evidence/{ended.isoformat()}")
    return True


def content_of(found: Submission) -> Mapping[str, Any]:
    """Return the description of what was submitted."""
    read: Mapping[str, Any] = orjson.loads(found.content)
    return read


def view_run(ctx: Context, submission_id: str, number: int | None = None) -> Run:
    """Get a run of a submission's checks, the last one without a number. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    run = store.find_run(ctx.tx, found.id, number)
    if run is None:
        raise NotFound(
            "run_not_found", "There is no such run of checks; the submission may not have been checked yet."
        )
    return run


def replay(ctx: Context, submission_id: str, number: int | None = None) -> Replay:
    """Judge a run again from its stored inputs, under the policy of that time (C110). Fetches nothing. Raises NotFound.

    It is the same if rules, results and route are. The sentences shown then stay stored, and the audit has their digest.
    """
    run = view_run(ctx, submission_id, number)
    found = store.get_submission(ctx.tx, submission_id)
    if not run.inputs or policy.digest_of(run.inputs) != run.digest:
        # No inputs are stored, or not those that were judged.
        again = Judgement((_BROKEN.but(Result.UNKNOWN, "What was seen is not as it was stored."),), Route())
        return Replay(run, again, same=False)
    earlier = None if run.number == 1 else _first(ctx, found)
    book = _book(ctx, run.policy_version)
    again = checks.judge(found.content, found.digest, read_inputs(run.inputs), earlier, book)
    same = checks.is_same_result(again, run.judgement) and _is_as_shown(ctx, found, run)
    return Replay(run, again, same=same)


# --- inputs --------------------------------------------------------------------------------------------------------------------


def _inputs(ctx: Context, found: Submission, looks: tuple[Look, ...]) -> checks.Inputs:
    app, version = registry.get_app(ctx, found.app), registry.get_version(ctx, found.version)
    raised = policies.raise_of(ctx, version.id)
    return checks.Inputs(
        ctx.now,
        looks,
        records_now(ctx, found),
        _recorded(ctx, found),
        tuple(sorted(content.unproved_of(ctx, app))),
        None if raised is None else (raised.tier, raised.reason),
        evidence.latest_result(ctx, found.version),
        policies.waived_for(ctx, found.app),
        evidence.unasked_of(ctx, app, version),
    )


def route_now(ctx: Context, found: Submission, run: Run) -> Route:
    """Return the route of a checked submission, with the tier to which a reviewer has raised the version since."""
    raised = policies.raise_of(ctx, found.version)
    now = None if raised is None else (raised.tier, raised.reason)
    inputs = replace(read_inputs(run.inputs), raised=now)
    return checks.route_under(_book(ctx, run.policy_version), orjson.loads(found.content), inputs)


def records_now(ctx: Context, found: Submission) -> dict[str, str]:
    """Return the digest of each part of a submission's description from the present records."""
    app, version = registry.get_app(ctx, found.app), registry.get_version(ctx, found.version)
    described = content.describe(ctx, app, version, found.environment, found.order)
    now: Mapping[str, Any] = orjson.loads(policy.canonical(described))
    return {part: checks.part_digest(now[part]) for part in checks.PARTS}


def is_as_submitted(ctx: Context, found: Submission) -> bool:
    """Check whether a stored submission is the one that the audit recorded, including the scopes and documents in other tables."""
    if policy.digest_of(found.content) != _recorded(ctx, found):
        return False
    kept: Mapping[str, Any] = orjson.loads(
        policy.canonical(
            {
                "scopes": [policy.stated(each) for each in found.order.scopes],
                "documents": [policy.described(each) for each in found.order.documents],
            }
        )
    )
    content_of: Mapping[str, Any] = orjson.loads(found.content)
    return all(content_of[part] == kept[part] for part in ("scopes", "documents"))


def is_run_recorded(ctx: Context, found: Submission, run: Run) -> bool:
    """Check whether the audit recorded the inputs of a run, and of the first run with which it was compared."""
    first = run if run.number == 1 else store.find_run(ctx.tx, found.id, 1)
    return first is not None and all(
        _is_recorded(ctx, found, each) for each in {first.number: first, run.number: run}.values()
    )


def _is_recorded(ctx: Context, of: Submission, run: Run) -> bool:
    return any(
        (facts.get("digest"), facts.get("policy_version")) == (run.digest, run.policy_version)
        for facts in _records_of(ctx, of, run)
    )


def _is_as_shown(ctx: Context, of: Submission, run: Run) -> bool:
    """Check whether the conclusions of a run are stored as they were shown. The audit has no digest for older releases, or after a purge."""
    shown = [facts["shown"] for facts in _records_of(ctx, of, run) if "shown" in facts]
    return not shown or shown_digest(run.judgement) in shown


def _records_of(ctx: Context, of: Submission, run: Run) -> list[Mapping[str, Any]]:
    """Return what the audit recorded of a run."""
    query = EventQuery(
        action="review.checks.finish",
        app=of.app,
        since=run.at,
        before=run.at + RECORDED_WITHIN,
        outcome="done",
    )
    found = [each.event.facts for each in audit.list_events(ctx, query).events]
    return [
        each for each in found if (each.get("submission"), each.get("run")) == (run.submission, run.number)
    ]


def shown_digest(judgement: Judgement) -> str:
    """Return the digest of a judgement with all of its sentences."""
    return policy.digest_of(policy.canonical(asdict(judgement)))


def _recorded(ctx: Context, found: Submission) -> str:
    """Return the audit's digest of a submission; empty if it has none."""
    submitted = found.submitted_at
    if submitted is None:
        return ""
    query = EventQuery(
        action="review.submission.submit",
        app=found.app,
        since=submitted,
        # Its own event, however many of the app's events follow.
        before=submitted + RECORDED_WITHIN,
        outcome="done",
    )
    facts = [each.event.facts for each in audit.list_events(ctx, query).events]
    mine = [str(each.get("digest", "")) for each in facts if each.get("submission") == found.id]
    return mine[-1] if mine else ""


def _first(ctx: Context, found: Submission) -> checks.Inputs | None:
    """Return the inputs of the first run, with which later ones are compared."""
    run = store.find_run(ctx.tx, found.id, 1)
    return None if run is None or not run.inputs else read_inputs(run.inputs)


def _book(ctx: Context, number: int) -> Book:
    return policies.get_version(ctx.as_actor(SYSTEM), number)[1]


def evidence_at(run: Run | None) -> datetime | None:
    """Return when the sandbox run behind a run of checks was made; None if none was needed."""
    if run is None or not any(
        each.about == "sandbox_run" and each.result is Result.PASSED for each in run.judgement.checks
    ):
        return None
    seen = run_seen(run)
    return None if seen is None else seen.at


def run_seen(run: Run | None) -> RunSummary | None:
    """Return the certification run that existed when a submission was checked; None if there was none."""
    return None if run is None or not run.inputs else read_inputs(run.inputs).run


def digest_seen(run: Run | None) -> str:
    """Return the digest of that certification run; empty if there was none."""
    seen = run_seen(run)
    return "" if seen is None else seen.digest


def write_inputs(inputs: checks.Inputs) -> str:
    """Return inputs as canonical JSON."""
    return policy.canonical(asdict(inputs) | {"format": content.FORMAT})


def read_inputs(text: str) -> checks.Inputs:
    """Return inputs from canonical JSON."""
    read = orjson.loads(text)
    looks = tuple(
        Look(
            **each
            | {"kind": Kind(each["kind"]), "keys": tuple((kid, digest) for kid, digest in each["keys"])}
        )
        for each in read["looks"]
    )
    raised = read["raised"]
    return checks.Inputs(
        datetime.fromisoformat(read["at"]),
        looks,
        read["records"],
        read["recorded"],
        tuple(read["unproved"]),
        None if raised is None else (Tier(raised[0]), raised[1]),
        # What was stored before there were runs has none.
        _seen(read.get("run")),
        tuple(read["waived"]),
        tuple(read["unasked"]),
    )


def _seen(read: Mapping[str, Any] | None) -> RunSummary | None:
    if read is None:
        return None
    return RunSummary(
        **dict(read) | {"at": datetime.fromisoformat(read["at"]), "scenarios": tuple(read["scenarios"])}
    )
