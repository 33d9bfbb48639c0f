"""Tables of submissions and their history."""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    Select,
    String,
    Table,
    Text,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
)

from hilum.apps.registry.models import Environment
from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions import clock_store, discipline_store
from hilum.review.submissions.models import (
    PURGE_BATCH,
    AskedBeyond,
    AskedScope,
    Check,
    Document,
    Judgement,
    Result,
    Route,
    Run,
    State,
    Step,
    Submission,
    SubmissionOrder,
    Visibility,
)

_OPEN = text("closed_at IS NULL")
_EVIDENCE_ENDS = text("evidence_ends IS NOT NULL")

submissions = Table(
    "review_submission",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("label", String(100), nullable=False),
    Column("environment", String(20), nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("documents", JSON, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("certification", String(64), nullable=False),
    Column("submitted_at", Instant),
    Column("closed_at", Instant),
    Column("reasons", JSON, nullable=False),
    Column("beyond", Integer),
    Column("checked_tier", String(20)),
    Column("evidence_ends", Instant),
    # Beside the documents: a release before this one reads lists of four parts.
    Column("document_terms", JSON(none_as_null=True)),
    # Any number that are closed, and one that is open, for each version and environment.
    Index(
        "uq_review_submission_open",
        "version",
        "environment",
        unique=True,
        sqlite_where=_OPEN,
        postgresql_where=_OPEN,
    ),
    Index("ix_review_submission_vendor", "vendor", "id"),
    Index("ix_review_submission_app", "app", "id"),
    Index("ix_review_submission_state", "state", "id"),
    Index("ix_review_submission_closed", "closed_at"),
    Index("ix_review_submission_submitted", "submitted_at"),
    Index(
        "ix_review_submission_evidence",
        "evidence_ends",
        sqlite_where=_EVIDENCE_ENDS,
        postgresql_where=_EVIDENCE_ENDS,
    ),
)

steps = Table(
    "review_step",
    metadata,
    Column("submission", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("before", String(20), nullable=False),
    Column("after", String(20), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("submission", "number"),
)
"""Rows are only ever added."""


runs = Table(
    "review_run",
    metadata,
    Column("submission", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("inputs", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("policy_version", Integer, nullable=False),
    Column("checks", JSON, nullable=False),
    Column("route", JSON, nullable=False),
    PrimaryKeyConstraint("submission", "number"),
)
"""Rows are only ever added."""


def _values(each: Submission) -> dict[str, Any]:
    simple = (
        "id",
        "app",
        "vendor",
        "version",
        "label",
        "created_by",
        "created_at",
        "changed_at",
        "revision",
        "content",
        "digest",
        "policy_version",
        "certification",
        "submitted_at",
        "closed_at",
        "evidence_ends",
        "beyond",
        "checked_tier",
    )
    return {name: getattr(each, name) for name in simple} | {
        "environment": each.environment.value,
        "state": each.state.value,
        "reasons": list(each.reasons),
        "scopes": [
            # A scope without a defence has two parts, as in rows that are older than defences.
            [asked.scope, asked.justification, *([asked.defence] if asked.defence else [])]
            for asked in each.order.scopes
        ],
        "documents": [
            [found.kind, found.url, found.sha256, found.dated.isoformat()] for found in each.order.documents
        ],
        "document_terms": _terms(each.order.documents),
    }


def _terms(documents: Iterable[Document]) -> list[list[str]] | None:
    """Return until when documents hold and who reads them, by kind and content; None if none of them says anything."""
    usual = (None, Visibility.REVIEWERS)
    found = [
        [
            each.kind,
            each.sha256,
            "" if each.expires is None else each.expires.isoformat(),
            each.visibility.value,
        ]
        for each in documents
        if (each.expires, each.visibility) != usual
    ]
    return found or None


def _documents(row: Row[Any]) -> tuple[Document, ...]:
    # Terms belong to a content: a document that a release before this one put in another's place gets none of its terms.
    terms = {(kind, sha256): more for kind, sha256, *more in row.document_terms or ()}
    found = []
    for kind, url, sha256, dated in row.documents:
        expires, visibility = terms.get((kind, sha256), ("", Visibility.REVIEWERS))
        ends = date.fromisoformat(expires) if expires else None
        found.append(Document(kind, url, sha256, date.fromisoformat(dated), ends, Visibility(visibility)))
    return tuple(found)


def asked_beyond(tx: Connection, since: datetime, limit: int) -> list[AskedBeyond]:
    """Count the submissions since a moment that were checked, by tier, and those with a scope beyond the declared workflows."""
    of = (submissions.c.submitted_at >= since, submissions.c.beyond.is_not(None))
    tier, over = func.coalesce(submissions.c.checked_tier, ""), submissions.c.beyond > 0
    counted = select(tier, func.count(), func.sum(case((over, 1), else_=0))).where(*of).group_by(tier)
    rows: dict[str, list[str]] = {}
    newest = select(tier, submissions.c.id).where(*of, over).order_by(submissions.c.id.desc()).limit(limit)
    for name, submission in tx.execute(newest):
        rows.setdefault(name, []).append(submission)
    return [
        AskedBeyond(name, int(number), int(beyond), tuple(rows.get(name, ())))
        for name, number, beyond in tx.execute(counted.order_by(tier))
    ]


def next_of_expired_evidence(tx: Connection, now: datetime) -> Submission | None:
    """Find and lock the submission in its disciplines whose evidence expired first."""
    query = select(submissions).where(
        submissions.c.evidence_ends <= now, submissions.c.state == State.IN_REVIEW.value
    )
    ordered = query.order_by(submissions.c.evidence_ends, submissions.c.id).limit(1)
    row = tx.execute(ordered.with_for_update()).first()
    return None if row is None else submission_of(row)


def submission_of(row: Row[Any]) -> Submission:
    order = SubmissionOrder(tuple(AskedScope(*each) for each in row.scopes), _documents(row))
    return Submission(
        id=row.id,
        app=AppId(row.app),
        vendor=VendorId(row.vendor),
        version=VersionId(row.version),
        label=row.label,
        environment=Environment(row.environment),
        order=order,
        created_by=row.created_by,
        created_at=row.created_at,
        changed_at=row.changed_at,
        state=State(row.state),
        revision=row.revision,
        content=row.content,
        digest=row.digest,
        policy_version=row.policy_version,
        certification=row.certification,
        submitted_at=row.submitted_at,
        closed_at=row.closed_at,
        beyond=row.beyond,
        checked_tier=row.checked_tier or "",
        evidence_ends=row.evidence_ends,
        reasons=tuple(row.reasons),
    )


def no_such_submission() -> NotFound:
    """Build the error of a submission that does not exist, or that the actor may not see."""
    return NotFound("submission_not_found", "There is no such submission.")


def add_submission(tx: Connection, added: Submission) -> bool:
    """Add a submission; return False if its version has an open one for the environment."""
    return tx.execute(insert_or_ignore(tx, submissions).values(_values(added))).rowcount == 1


def get_submission(tx: Connection, submission: str, *, lock: bool = False) -> Submission:
    """Get a submission; with ``lock`` its row is locked until the transaction ends. Raises NotFound."""
    row = row_of(tx, submissions, submission, lock=lock)
    if row is None:
        raise no_such_submission()
    return submission_of(row)


def find_submission(tx: Connection, submission: str) -> Submission | None:
    """Find a submission; None if it was purged."""
    row = row_of(tx, submissions, submission)
    return None if row is None else submission_of(row)


def find_open(tx: Connection, version: VersionId, environment: Environment) -> Submission | None:
    """Find and lock the open submission of a version for an environment."""
    query = select(submissions).where(
        submissions.c.version == version,
        submissions.c.environment == environment.value,
        submissions.c.closed_at.is_(None),
    )
    row = tx.execute(query.with_for_update()).first()
    return None if row is None else submission_of(row)


def save_submission(tx: Connection, after: Submission, *, revision: int) -> bool:
    """Save a submission that is at a revision; return False if it was changed meanwhile."""
    same = (submissions.c.id == after.id, submissions.c.revision == revision)
    return tx.execute(submissions.update().where(*same).values(_values(after))).rowcount == 1


def list_submissions(
    tx: Connection, page: PageQuery, *, vendor: str = "", app: str = "", state: State | None = None
) -> list[Submission]:
    """List submissions, oldest first: of a vendor, an app and a state, where they are given."""
    query = select(submissions)
    for column, value in (
        (submissions.c.vendor, vendor),
        (submissions.c.app, app),
        (submissions.c.state, "" if state is None else state.value),
    ):
        if value:
            query = query.where(column == value)
    return [submission_of(row) for row in tx.execute(by_key(query, submissions.c.id, page))]


def last_decided(tx: Connection, app: AppId, environment: Environment) -> Submission | None:
    """Find the submission of an app for an environment that was certified or rejected last."""
    query = select(submissions).where(
        submissions.c.app == app,
        submissions.c.environment == environment.value,
        submissions.c.state.in_([State.CERTIFIED.value, State.REJECTED.value]),
    )
    last = query.order_by(submissions.c.closed_at.desc(), submissions.c.id.desc()).limit(1)
    row = tx.execute(last).first()
    return None if row is None else submission_of(row)


def add_step(tx: Connection, added: Step) -> None:
    row = {
        "submission": added.submission,
        "number": added.number,
        "before": "" if added.before is None else added.before.value,
        "after": added.after.value,
        "actor": added.actor,
        "at": added.at,
        "reason": added.reason,
    }
    tx.execute(steps.insert().values(row))


def list_steps(tx: Connection, submission: str) -> list[Step]:
    """List all changes of a submission's state, oldest first."""
    query = select(steps).where(steps.c.submission == submission).order_by(steps.c.number)
    return [
        Step(
            row.submission,
            row.number,
            State(row.before) if row.before else None,
            State(row.after),
            row.actor,
            row.at,
            row.reason,
        )
        for row in tx.execute(query)
    ]


def purge(tx: Connection, *, drafts_before: datetime, closed_before: datetime) -> int:
    """Delete old drafts, withdrawn and rejected submissions with their history, at most a batch; return how many."""
    draft = and_(submissions.c.state == State.DRAFT.value, submissions.c.changed_at < drafts_before)
    ended = submissions.c.state.in_([State.WITHDRAWN.value, State.REJECTED.value])
    closed = and_(ended, submissions.c.closed_at < closed_before)
    old = select(submissions.c.id).where(or_(draft, closed)).limit(PURGE_BATCH)
    ids = list(tx.execute(old).scalars())
    if ids:
        discipline_store.purge(tx, ids)
        clock_store.purge(tx, ids)
        tx.execute(runs.delete().where(runs.c.submission.in_(ids)))
        tx.execute(steps.delete().where(steps.c.submission.in_(ids)))
        tx.execute(submissions.delete().where(submissions.c.id.in_(ids)))
    return len(ids)


# --- runs of checks ------------------------------------------------------------------------------------------------------------


def next_to_check(tx: Connection) -> str | None:
    """Return the submission to check next: of the vendor whose last check is longest ago, one whose check broke off, else the oldest.

    So a vendor that has many checked again and again, at addresses that answer slowly, keeps no other waiting for longer than one of its own.
    """
    waits = submissions.c.state.in_([State.CHECKING.value, State.SUBMITTED.value])
    asking = select(submissions.c.vendor).where(waits).distinct().subquery()
    checked = submissions.alias()
    last = (
        select(func.max(runs.c.at))
        .select_from(checked.join(runs, runs.c.submission == checked.c.id))
        .where(checked.c.vendor == asking.c.vendor)
        .scalar_subquery()
    )
    # What was never checked comes first: the two databases order NULL differently.
    order = (last.is_not(None), last, asking.c.vendor)
    vendor = tx.execute(select(asking.c.vendor).order_by(*order).limit(1)).scalar_one_or_none()
    if vendor is None:
        return None
    broke_off = submissions.c.state == State.CHECKING.value
    oldest = select(submissions.c.id).where(waits, submissions.c.vendor == vendor)
    found = tx.execute(oldest.order_by(broke_off.desc(), submissions.c.id).limit(1)).scalar_one_or_none()
    return None if found is None else str(found)


def add_run(tx: Connection, run: Run) -> None:
    route = run.judgement.route
    row = {
        "submission": run.submission,
        "number": run.number,
        "at": run.at,
        "inputs": run.inputs,
        "digest": run.digest,
        "policy_version": run.policy_version,
        "checks": [list(astuple(each)) for each in run.judgement.checks],
        "route": [
            route.tier and route.tier.value,
            route.track,
            [each.value for each in route.disciplines],
            route.first_answer_days,
            route.decision_days,
            route.automatic,
        ],
    }
    tx.execute(runs.insert().values(row))


def find_run(tx: Connection, submission: str, number: int | None = None) -> Run | None:
    """Find a run of a submission's checks, the last one without a number."""
    query = select(runs).where(runs.c.submission == submission)
    if number is not None:
        query = query.where(runs.c.number == number)
    row = tx.execute(query.order_by(runs.c.number.desc()).limit(1)).first()
    return None if row is None else _run(row)


def last_runs(tx: Connection, ids: Sequence[str]) -> list[Run]:
    """Read the last run of each of some submissions, without what was seen."""
    last = (
        select(runs.c.submission, func.max(runs.c.number).label("number"))
        .where(runs.c.submission.in_(ids))
        .group_by(runs.c.submission)
        .subquery()
    )
    brief: list[Any] = [each for each in runs.c if each.name != "inputs"]
    same = (runs.c.submission == last.c.submission, runs.c.number == last.c.number)
    query: Select[Any] = select(*brief, literal("").label("inputs")).join(last, and_(*same))
    return [_run(row) for row in tx.execute(query)]


def _run(row: Row[Any]) -> Run:
    checks = tuple(
        Check(rule, about, Result(result), evidence, reproduction, fix)
        for rule, about, result, evidence, reproduction, fix in row.checks
    )
    # Older runs have no sample.
    tier, track, disciplines, *rest = row.route
    route = Route(tier and Tier(tier), track, tuple(map(Discipline, disciplines)), *rest)
    return Run(
        row.submission,
        row.number,
        row.at,
        row.inputs,
        row.digest,
        row.policy_version,
        Judgement(checks, route),
    )


def count_runs(tx: Connection, submission: str, *, since: datetime) -> tuple[int, int]:
    """Count the runs of a submission's checks: all, and those since a moment."""
    times = list(tx.execute(select(runs.c.at).where(runs.c.submission == submission)).scalars())
    return len(times), sum(at >= since for at in times)
