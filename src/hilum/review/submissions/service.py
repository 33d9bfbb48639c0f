"""Write, submit and withdraw submissions, and list them.

A submission, in order:

1. ``create`` or ``change``: a draft, in which things may be missing.
2. ``submit``: nothing may be missing (``policy.entry_faults``); ``content.describe`` describes everything once, and the digest is audited.
3. ``jobs.run_next``: the addresses are fetched with no transaction open; then ``automatic.finish`` judges the checks and opens the disciplines.
4. ``take`` and ``judge``: a reviewer for each discipline. The vendor answers findings (``answer``).
5. ``decide``: the submission is rejected, or certified if there is no obstacle. A clean one of the low tier is certified in 3, where
   the policy asks for no person. After an appeal others go on at 4.

Each step changes the state by ``policy.TRANSITIONS``, with its audit event in the same transaction (``moves.move``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion, Environment
from hilum.apps.registry.policy import reason_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, Invalid, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, PersonId, VendorId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions import content, moves, policy, queue_store, store
from hilum.review.submissions.again import addresses_of, judge_again
from hilum.review.submissions.appeals import appeal
from hilum.review.submissions.checking import replay, rerun, view_run
from hilum.review.submissions.conflicts import (
    conflicts_to,
    declare_conflict,
    end_conflict,
    list_conflicts,
    view_conflict,
)
from hilum.review.submissions.content import unproved_of, unproved_of_apps
from hilum.review.submissions.decisions import decide, view_obstacles
from hilum.review.submissions.disciplines import (
    answer,
    bars,
    disciplines_by_submission,
    judge,
    list_disciplines,
    release,
    resolve,
    take,
    view_clocks,
    view_disciplines,
)
from hilum.review.submissions.documents import list_certified_documents, reasons_of
from hilum.review.submissions.lane import ask_access, list_access, verify_access, view_access
from hilum.review.submissions.models import (
    DRAFT_KEPT,
    KEPT,
    ROWS_COUNTED,
    Act,
    AskedBeyond,
    BrowsedPage,
    BrowseQuery,
    Run,
    State,
    Step,
    Submission,
    SubmissionOrder,
    SubmissionView,
)
from hilum.review.submissions.reviewers import (
    CARRY_OUT,
    change_rights,
    disciplines_of,
    list_rights,
)
from hilum.review.submissions.rules import view_rules
from hilum.review.submissions.scorecards import shipped_scorecards
from hilum.review.submissions.timekeeping import (
    clocks_by_submission,
    times_of,
    view_figures,
)

__all__ = [
    "CARRY_OUT",
    "addresses_of",
    "answer",
    "appeal",
    "ask_access",
    "bars",
    "change_rights",
    "clocks_by_submission",
    "conflicts_to",
    "decide",
    "declare_conflict",
    "disciplines_by_submission",
    "disciplines_of",
    "end_conflict",
    "judge",
    "judge_again",
    "list_access",
    "list_certified_documents",
    "list_conflicts",
    "list_disciplines",
    "list_rights",
    "reasons_of",
    "release",
    "replay",
    "rerun",
    "resolve",
    "shipped_scorecards",
    "take",
    "times_of",
    "unproved_of",
    "unproved_of_apps",
    "verify_access",
    "view_access",
    "view_clocks",
    "view_conflict",
    "view_disciplines",
    "view_figures",
    "view_obstacles",
    "view_rules",
    "view_run",
]
Unused = Callable[[Context, App, Sequence[str]], Sequence[str]]
"""Returns which scopes hospitals granted an app for long and nobody used (``installations.service.unused_scopes``)."""


def never_unused(_: Context, __: App, ___: Sequence[str]) -> Sequence[str]:
    """Return nothing: nobody looks, as where the platform submits by itself."""
    return ()


_OTHER_OWNER = "The app belongs to another vendor now."


def create(
    ctx: Context,
    version_id: VersionId,
    environment: Environment,
    order: SubmissionOrder,
    *,
    draft: bool,
    unused: Unused = never_unused,
) -> SubmissionView:
    """Add a submission of a version for an environment, and submit it at once unless it is a draft.

    Raises NotFound, NotPermitted, Invalid (what is missing, by field), Conflict (one is open).
    """
    event = Event("review.submission.create", facts={"version": version_id, "environment": environment.value})
    app, version = _submittable(ctx, version_id, event)
    # Judged before anything is written, since a refusal commits.
    _judge(ctx, app, version, environment, order, unused=None if draft else unused)
    _close_of_other_vendor(ctx, app, version, environment)
    added = Submission(
        id=ctx.ids.new("sub"),
        app=app.id,
        vendor=app.vendor,
        version=version.id,
        label=version.label,
        environment=environment,
        order=order,
        created_by=str(ctx.actor),
        created_at=ctx.now,
        changed_at=ctx.now,
    )
    if not store.add_submission(ctx.tx, added):
        detail = "This version has an open submission for the environment. Continue with it, or withdraw it."
        raise Conflict("submission_open", detail)
    store.add_step(ctx.tx, Step(added.id, 1, None, added.state, str(ctx.actor), ctx.now))
    audit.record(ctx, replace(event, app=app.id, facts=event.facts | {"submission": added.id}))
    return view(ctx, added.id, unused) if draft else _submit(ctx, added, app, version)


def _submittable(ctx: Context, version_id: VersionId, event: Event) -> tuple[App, AppVersion]:
    """Return a version that the actor may submit, with its app. Raises NotFound, NotPermitted, Invalid."""
    if not ctx.actor.is_platform and ctx.actor.vendor is None:
        raise audit.refusal(ctx, event)
    version = registry.get_version(ctx, version_id)
    # Another vendor's member learns no more than that there is no such app.
    app = registry.get_changeable(ctx, version.app, event.action, VendorRight.APPS)
    if app.tenant is not None:
        raise Invalid(
            "submission_invalid",
            "Only apps for every hospital are reviewed.",
            fields={"version": "app_of_one_tenant"},
        )
    return app, version


def _close_of_other_vendor(ctx: Context, app: App, version: AppVersion, environment: Environment) -> None:
    """Close the open submission of the vendor that the app had before, which would keep its new one from submitting."""
    found = store.find_open(ctx.tx, version.id, environment)
    if found is not None and found.vendor != app.vendor:
        moves.move(ctx.as_actor(SYSTEM), found, Act.WITHDRAW, _OTHER_OWNER)


def change(
    ctx: Context, submission_id: str, order: SubmissionOrder, revision: int, *, unused: Unused = never_unused
) -> SubmissionView:
    """Replace what is written in a draft that is at a revision. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("review.submission.change", facts={"submission": submission_id})
    found, app, version = _own(ctx, submission_id, event)
    if found.state is not State.DRAFT:
        detail = "A submission can no longer be changed. Withdraw it, and submit it again."
        raise Conflict("submission_not_draft", detail)
    _judge(ctx, app, version, found.environment, order, unused=None)
    after = replace(found, order=order, changed_at=ctx.now, revision=revision + 1)
    if not store.save_submission(ctx.tx, after, revision=revision):
        raise Conflict("changed_since_read", moves.CHANGED)
    audit.record(ctx, replace(event, app=app.id, facts=event.facts | {"revision": after.revision}))
    return view(ctx, found.id, unused)


def submit(
    ctx: Context, submission_id: str, revision: int, *, unused: Unused = never_unused
) -> SubmissionView:
    """Submit a draft that is at a revision. Raises NotFound, NotPermitted, Invalid (what is missing, by field), Conflict."""
    event = Event("review.submission.submit", facts={"submission": submission_id})
    found, app, version = _own(ctx, submission_id, event)
    moves.require_revision(found, revision)
    moves.require_possible(found, Act.SUBMIT)
    _judge(ctx, app, version, found.environment, found.order, unused=unused)
    return _submit(ctx, found, app, version)


def _submit(ctx: Context, found: Submission, app: App, version: AppVersion) -> SubmissionView:
    described = content.describe(ctx, app, version, found.environment, found.order)
    text = policy.canonical(described)
    whole = replace(
        found,
        content=text,
        digest=policy.digest_of(text),
        policy_version=policies.in_force(ctx.as_actor(SYSTEM)).everywhere,
        submitted_at=ctx.now,
    )
    moves.move(ctx, whole, Act.SUBMIT)
    return view(ctx, found.id)


def withdraw(ctx: Context, submission_id: str, revision: int, reason: str) -> SubmissionView:
    """Withdraw an open submission, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("review.submission.withdraw", facts={"submission": submission_id})
    found, _, _ = _own(ctx, submission_id, event)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    moves.require_revision(found, revision)
    moves.move(ctx, found, Act.WITHDRAW, reason.strip())
    return view(ctx, found.id)


def asked_beyond(ctx: Context, since: datetime) -> list[AskedBeyond]:
    """Count the submissions since a moment by tier, and those that asked for a scope beyond their declared workflows; for the platform itself (K5)."""
    return store.asked_beyond(ctx.tx, since, ROWS_COUNTED)


def view(ctx: Context, submission_id: str, unused: Unused = never_unused) -> SubmissionView:
    """Get a submission with its history; of a draft also what is missing. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    missing: Mapping[str, str] = {}
    if found.state is State.DRAFT:
        app, version = registry.get_app(ctx, found.app), registry.get_version(ctx, found.version)
        missing = _faults(ctx, app, version, found.environment, found.order, unused=unused)
    return SubmissionView(found, moves.steps_of(ctx, found.id), missing)


def list_submissions(
    ctx: Context, page: PageQuery = FIRST_PAGE, *, app: AppId | None = None, state: State | None = None
) -> list[Submission]:
    """List submissions, oldest first: a member those of their vendor, the platform's staff all. Raises NotPermitted."""
    vendor = _scope_of_list(ctx)
    return store.list_submissions(ctx.tx, page, vendor=vendor, app=app or "", state=state)


def _scope_of_list(ctx: Context) -> str:
    """Return the vendor whose submissions the actor may list; empty for every vendor. Raises NotPermitted."""
    vendor = "" if ctx.actor.vendor is None else ctx.actor.vendor
    if not policy.may_see(ctx.actor, VendorId(vendor)):
        raise not_shown("submissions", Readers.VENDOR)
    return vendor


def browse(ctx: Context, asked: BrowseQuery) -> BrowsedPage:
    """List submissions with how many there are: a member those of their vendor, the platform's staff all. Raises NotPermitted."""
    vendor, me = _scope_of_list(ctx), str(ctx.actor)
    signs = disciplines_of(ctx, PersonId(ctx.actor.id)) if asked.mine and policy.may_decide(ctx.actor) else ()
    return queue_store.browse(ctx.tx, asked, vendor=vendor, reviewer=me, signs=signs)


def last_runs(ctx: Context, found: Iterable[Submission]) -> dict[str, Run]:
    """Return the last run of checks of each submission that the actor may see, without what was seen."""
    ids = [each.id for each in found if policy.may_see(ctx.actor, each.vendor)]
    return {each.submission: each for each in store.last_runs(ctx.tx, ids)} if ids else {}


def barred(ctx: Context, app: App) -> bool:
    """Check whether a reviewer has a conflict of interest with an app's vendor, and so certifies nothing of it by hand either (C101)."""
    return bool(conflicts_to(ctx, app.vendor))


def purge(ctx: Context) -> int:
    """Delete old drafts, withdrawn and rejected submissions, at most a batch; return how many."""
    return store.purge(ctx.tx, drafts_before=ctx.now - DRAFT_KEPT, closed_before=ctx.now - KEPT)


# --- steps ---------------------------------------------------------------------------------------------------------------------


def _own(ctx: Context, submission_id: str, event: Event) -> tuple[Submission, App, AppVersion]:
    """Get a submission that the actor may change, locked, with its app and version. Raises NotFound, NotPermitted."""
    found = moves.visible(ctx, submission_id, lock=True)
    if not policy.may_submit(ctx.actor, found.vendor):
        raise audit.refusal(ctx, replace(event, app=found.app))
    app = registry.get_app(ctx, found.app)
    if app.vendor != found.vendor and event.action != "review.submission.withdraw":
        # It represents a vendor that no longer has the app.
        raise Conflict("app_changed_hands", f"{_OTHER_OWNER} Its own members submit it.")
    return found, app, registry.get_version(ctx, found.version)


def _judge(
    ctx: Context,
    app: App,
    version: AppVersion,
    environment: Environment,
    order: SubmissionOrder,
    *,
    unused: Unused | None,
) -> None:
    """Check what is written, and unless ``unused`` is None, as for a draft, also what is missing. Raises Invalid."""
    if faults := _faults(ctx, app, version, environment, order, unused=unused):
        code, detail = (
            ("submission_incomplete", "This cannot be submitted yet; fields list what is missing or invalid.")
            if unused is not None
            else ("submission_invalid", "The submission is invalid; see fields.")
        )
        raise Invalid(code, detail, fields=faults)


def _faults(
    ctx: Context,
    app: App,
    version: AppVersion,
    environment: Environment,
    order: SubmissionOrder,
    *,
    unused: Unused | None,
) -> dict[str, str]:
    book = policies.asked_of(ctx, app.id)
    written = policy.order_faults(order, book, now=ctx.now)
    if unused is None:
        return written
    # An invalid scope has no use; it is reported as invalid.
    are_scopes = not any(name.startswith("scopes") for name in written)
    idle = unused(ctx, app, [each.scope for each in order.scopes]) if are_scopes else ()
    entry = content.read_entry(ctx, app, version, environment, order, book=book, unused=idle)
    return policy.entry_faults(order, entry, book, now=ctx.now)
