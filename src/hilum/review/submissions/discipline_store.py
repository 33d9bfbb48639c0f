"""Tables of disciplines, what they found, who may sign for them, and the conflicts of interest of reviewers."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Index,
    Integer,
    PrimaryKeyConstraint,
    Row,
    String,
    Table,
    Text,
    and_,
    exists,
    or_,
    select,
    text,
)

from hilum.apps.registry.models import Environment
from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata, row_of
from hilum.foundation.infra.rows import Rows
from hilum.foundation.infra.sorting import by_key
from hilum.foundation.kernel.actor import ActorKind
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, PersonId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions.models import (
    FINDINGS_OF_ONE,
    Answer,
    ConflictOfInterest,
    DisciplineQuery,
    DisciplineReview,
    DisciplineRights,
    DisciplineState,
    DisciplineStep,
    Finding,
    FindingState,
    Severity,
)

disciplines = Table(
    "review_discipline",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("submission", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("environment", String(20), nullable=False),
    Column("discipline", String(20), nullable=False),
    Column("inputs", String(64), nullable=False),
    Column("scorecard", String(64), nullable=False),
    Column("opened_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("reviewer", String(120), nullable=False),
    Column("taken_at", Instant),
    Column("judged_at", Instant),
    Column("answers", JSON, nullable=False),
    Column("flags", JSON, nullable=False),
    Column("reasons", JSON, nullable=False),
    Column("text", Text, nullable=False),
    Column("kept_from", String(64), nullable=False),
    Index("uq_review_discipline_submission", "submission", "discipline", unique=True),
    Index("ix_review_discipline_state", "state", "id"),
    Index("ix_review_discipline_reviewer", "reviewer", "id"),
    # Which verdict on the same inputs is kept.
    Index("ix_review_discipline_inputs", "app", "environment", "discipline", "inputs"),
)

discipline_steps = Table(
    "review_discipline_step",
    metadata,
    Column("submission", String(64), nullable=False),
    Column("discipline", String(20), nullable=False),
    Column("number", Integer, nullable=False),
    Column("before", String(20), nullable=False),
    Column("after", String(20), nullable=False),
    Column("actor", String(120), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("submission", "discipline", "number"),
)
"""Rows are only ever added."""

findings = Table(
    "review_finding",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("submission", String(64), nullable=False),
    Column("discipline", String(20), nullable=False),
    Column("rule", String(100), nullable=False),
    Column("severity", String(20), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("reproduction", Text, nullable=False),
    Column("fix", Text, nullable=False),
    Column("found_by", String(120), nullable=False),
    Column("found_at", Instant, nullable=False),
    Column("state", String(20), nullable=False),
    Column("note", Text, nullable=False),
    Column("resolved_by", String(120), nullable=False),
    Column("resolved_at", Instant),
    Index("ix_review_finding_submission", "submission", "id"),
)

rights = Table(
    "review_right",
    metadata,
    Column("person", String(64), primary_key=True),
    Column("disciplines", JSON, nullable=False),
    Column("changed_at", Instant, nullable=False),
    Column("changed_by", String(120), nullable=False),
)

_IN_FORCE = text("ended_at IS NULL")
conflicts = Table(
    "review_conflict_of_interest",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("person", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("reason", Text, nullable=False),
    Column("declared_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("ended_by", String(120), nullable=False),
    Column("ended_because", Text, nullable=False),
    Index(
        "uq_review_conflict_of_interest_in_force",
        "person",
        "vendor",
        unique=True,
        sqlite_where=_IN_FORCE,
        postgresql_where=_IN_FORCE,
    ),
    Index("ix_review_conflict_of_interest_vendor", "vendor", "id"),
)

CONFLICTS = Rows(conflicts, ConflictOfInterest, "conflict_of_interest")


# --- disciplines --------------------------------------------------------------------------------------------------------------------


def _discipline_values(each: DisciplineReview) -> dict[str, Any]:
    simple = ("id", "submission", "app", "inputs", "scorecard", "opened_at", "revision", "reviewer")
    more = ("taken_at", "judged_at", "text", "kept_from")
    return {name: getattr(each, name) for name in (*simple, *more)} | {
        "environment": each.environment.value,
        "discipline": each.discipline.value,
        "state": each.state.value,
        "answers": {name: answer.value for name, answer in each.answers.items()},
        "flags": list(each.flags),
        "reasons": list(each.reasons),
    }


def _discipline(row: Row[Any]) -> DisciplineReview:
    return DisciplineReview(
        id=row.id,
        submission=row.submission,
        app=AppId(row.app),
        environment=Environment(row.environment),
        discipline=Discipline(row.discipline),
        inputs=row.inputs,
        scorecard=row.scorecard,
        opened_at=row.opened_at,
        state=DisciplineState(row.state),
        revision=row.revision,
        reviewer=row.reviewer,
        taken_at=row.taken_at,
        judged_at=row.judged_at,
        answers={name: Answer(answer) for name, answer in row.answers.items()},
        flags=tuple(row.flags),
        reasons=tuple(row.reasons),
        text=row.text,
        kept_from=row.kept_from,
    )


def add_discipline(tx: Connection, added: DisciplineReview) -> None:
    tx.execute(disciplines.insert().values(_discipline_values(added)))


def save_discipline(tx: Connection, after: DisciplineReview, *, revision: int) -> bool:
    """Save a discipline that is at a revision; return False if it was changed meanwhile."""
    same = (disciplines.c.id == after.id, disciplines.c.revision == revision)
    return tx.execute(disciplines.update().where(*same).values(_discipline_values(after))).rowcount == 1


def disciplines_of(tx: Connection, submission: str, *, lock: bool = False) -> list[DisciplineReview]:
    """List the disciplines of a submission: one of each kind at most."""
    query = select(disciplines).where(disciplines.c.submission == submission).order_by(disciplines.c.id)
    return [_discipline(row) for row in tx.execute(query.with_for_update() if lock else query)]


def find_verdict(tx: Connection, wanted: DisciplineReview) -> DisciplineReview | None:
    """Find the last verdict of a person on the same inputs of an app, of another submission; what passed by checks alone was judged by nobody."""
    query = select(disciplines).where(
        disciplines.c.app == wanted.app,
        disciplines.c.environment == wanted.environment.value,
        disciplines.c.discipline == wanted.discipline.value,
        disciplines.c.inputs == wanted.inputs,
        disciplines.c.submission != wanted.submission,
        disciplines.c.judged_at.is_not(None),
        disciplines.c.reviewer.startswith(f"{ActorKind.STAFF}:"),
    )
    row = tx.execute(query.order_by(disciplines.c.judged_at.desc(), disciplines.c.id.desc()).limit(1)).first()
    return None if row is None else _discipline(row)


def list_disciplines(tx: Connection, asked: DisciplineQuery, page: PageQuery) -> list[DisciplineReview]:
    """List disciplines by id, which is the order in which they were opened."""
    query = select(disciplines)
    for column, value in (
        (disciplines.c.discipline, asked.discipline and asked.discipline.value),
        (disciplines.c.state, asked.state and asked.state.value),
        (disciplines.c.reviewer, asked.reviewer),
    ):
        if value:
            query = query.where(column == value)
    return [_discipline(row) for row in tx.execute(by_key(query, disciplines.c.id, page))]


def disciplines_of_some(tx: Connection, submissions: Sequence[str]) -> list[DisciplineReview]:
    """List the disciplines of some submissions."""
    query = select(disciplines).where(disciplines.c.submission.in_(submissions)).order_by(disciplines.c.id)
    return [_discipline(row) for row in tx.execute(query)]


def waits_in(submission: ColumnElement[str], discipline: Discipline) -> ColumnElement[bool]:
    """Build the condition that a discipline of a submission is not judged yet."""
    states = [DisciplineState.OPEN.value, DisciplineState.TAKEN.value, DisciplineState.NEEDS_CHANGES.value]
    of_it = (
        disciplines.c.submission == submission,
        disciplines.c.discipline == discipline.value,
        disciplines.c.state.in_(states),
    )
    return exists(select(disciplines.c.id).where(*of_it))


def waits_for(
    submission: ColumnElement[str], reviewer: str, signs: Sequence[Discipline]
) -> ColumnElement[bool]:
    """Build the condition that a reviewer has a discipline of a submission, or may take one for which they sign."""
    free = and_(
        disciplines.c.state == DisciplineState.OPEN.value,
        disciplines.c.discipline.in_([each.value for each in signs]),
    )
    has = and_(disciplines.c.state == DisciplineState.TAKEN.value, disciplines.c.reviewer == reviewer)
    return exists(select(disciplines.c.id).where(disciplines.c.submission == submission, or_(free, has)))


def add_discipline_step(tx: Connection, added: DisciplineStep) -> None:
    row = {
        "submission": added.submission,
        "discipline": added.discipline.value,
        "number": added.number,
        "before": "" if added.before is None else added.before.value,
        "after": added.after.value,
        "actor": added.actor,
        "at": added.at,
        "reason": added.reason,
    }
    tx.execute(discipline_steps.insert().values(row))


def discipline_steps_of(
    tx: Connection, submission: str, discipline: Discipline | None = None
) -> list[DisciplineStep]:
    """List the changes of a submission's disciplines, oldest first of each."""
    query = select(discipline_steps).where(discipline_steps.c.submission == submission)
    if discipline is not None:
        query = query.where(discipline_steps.c.discipline == discipline.value)
    return [
        DisciplineStep(
            row.submission,
            Discipline(row.discipline),
            row.number,
            DisciplineState(row.before) if row.before else None,
            DisciplineState(row.after),
            row.actor,
            row.at,
            row.reason,
        )
        for row in tx.execute(query.order_by(discipline_steps.c.discipline, discipline_steps.c.number))
    ]


# --- findings ------------------------------------------------------------------------------------------------------------------


def _finding(row: Row[Any]) -> Finding:
    return Finding(
        row.id,
        row.submission,
        Discipline(row.discipline),
        row.rule,
        Severity(row.severity),
        row.evidence,
        row.reproduction,
        row.fix,
        row.found_by,
        row.found_at,
        FindingState(row.state),
        row.note,
        row.resolved_by,
        row.resolved_at,
    )


def _finding_values(each: Finding) -> dict[str, Any]:
    simple = ("id", "submission", "rule", "evidence", "reproduction", "fix", "found_by", "found_at")
    more = ("note", "resolved_by", "resolved_at")
    return {name: getattr(each, name) for name in (*simple, *more)} | {
        "discipline": each.discipline.value,
        "severity": each.severity.value,
        "state": each.state.value,
    }


def add_finding(tx: Connection, added: Finding) -> None:
    tx.execute(findings.insert().values(_finding_values(added)))


def save_finding(tx: Connection, after: Finding, *, before: FindingState) -> bool:
    """Save a finding that is in a state; return False if it was changed meanwhile."""
    same = (findings.c.id == after.id, findings.c.state == before.value)
    return tx.execute(findings.update().where(*same).values(_finding_values(after))).rowcount == 1


def get_finding(tx: Connection, finding: str) -> Finding:
    """Get a finding. Raises NotFound."""
    row = row_of(tx, findings, finding)
    if row is None:
        raise no_such_finding()
    return _finding(row)


def no_such_finding() -> NotFound:
    """Build the error of a finding that does not exist, or that the actor may not see."""
    return NotFound(
        "finding_not_found",
        "There is no such finding; `hilum review disciplines` lists those of a submission.",
    )


def findings_of(tx: Connection, submission: str) -> list[Finding]:
    """List the findings of a submission, oldest first; at most FINDINGS_OF_ONE."""
    query = select(findings).where(findings.c.submission == submission).order_by(findings.c.id)
    return [_finding(row) for row in tx.execute(query.limit(FINDINGS_OF_ONE))]


# --- reviewers -----------------------------------------------------------------------------------------------------------------


def find_rights(tx: Connection, person: PersonId) -> DisciplineRights | None:
    row = tx.execute(select(rights).where(rights.c.person == person)).first()
    return None if row is None else _rights(row)


def _rights(row: Row[Any]) -> DisciplineRights:
    return DisciplineRights(
        PersonId(row.person), tuple(map(Discipline, row.disciplines)), row.changed_at, row.changed_by
    )


def save_rights(tx: Connection, after: DisciplineRights) -> None:
    values = {
        "disciplines": [each.value for each in after.disciplines],
        "changed_at": after.changed_at,
        "changed_by": after.changed_by,
    }
    added = insert_or_ignore(tx, rights).values({"person": after.person} | values)
    if tx.execute(added).rowcount == 0:
        tx.execute(rights.update().where(rights.c.person == after.person).values(values))


def list_rights(tx: Connection, page: PageQuery) -> list[DisciplineRights]:
    return [_rights(row) for row in tx.execute(by_key(select(rights), rights.c.person, page))]


def purge(tx: Connection, submissions: Sequence[str]) -> None:
    """Delete what belongs to submissions that are deleted."""
    for table in (disciplines, discipline_steps, findings):
        tx.execute(table.delete().where(table.c.submission.in_(submissions)))
