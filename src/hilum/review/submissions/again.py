"""Check a certified version again after the decision: the same checks on the present state (C115)."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Certification
from hilum.apps.registry.policy import was_reviewed
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.policy.matrix import service as policies
from hilum.review.certification_runs import service as evidence
from hilum.review.submissions import checking, checks, content, policy, store
from hilum.review.submissions.models import (
    MADE_HERE,
    TARGETS_BOUND,
    AskedScope,
    Check,
    Kind,
    Look,
    Result,
    Submission,
    SubmissionOrder,
    Target,
)

_KEPT = frozenset(
    {
        "address.answers",
        "address.tls",
        "address.stays",
        "document.as_declared",
        "keys.usable",
        "keys.kept",
        "contacts.proved",
    }
)
"""Rules that can fail after a decision. Scopes and tiers change with the policy, which opens delta reviews."""
# Edits of an app and of its clients wait for a reviewer; these do not.
_UNREVIEWED = ("vendor", "profile", "version")
_PAGES = frozenset({Kind.PRIVACY, Kind.TERMS})


def addresses_of(ctx: Context, certification: Certification) -> list[Target]:
    """List the addresses to fetch: those in the present records of a certified version."""
    return checks.targets_of(_described(ctx, certification))[:TARGETS_BOUND]


def judge_again(ctx: Context, certification: Certification, looks: Sequence[Look]) -> tuple[Check, ...]:
    """Judge fetched addresses and records, compared with the submission if the certification names one."""
    described = _described(ctx, certification)
    text = policy.canonical(described)
    submission = _submission(ctx, certification)
    earlier = None if submission is None else _earlier(ctx, submission)
    app, version = registry.get_app(ctx, certification.app), registry.get_version(ctx, certification.version)
    raised, waived = policies.raise_of(ctx, version.id), policies.waived_for(ctx, app.id)
    # A requirement that was waived applies again once that has ended.
    over = earlier is not None and not {*earlier.waived} <= {*waived}
    inputs = checks.Inputs(
        ctx.now,
        tuple(looks),
        {part: checks.part_digest(described[part]) for part in checks.PARTS},
        policy.digest_of(text),
        tuple(sorted(content.unproved_of(ctx, app))),
        None if raised is None else (raised.tier, raised.reason),
        evidence.latest_result(ctx, version.id) if over else None,
        waived,
        evidence.unasked_of(ctx, app, version) if over else (),
    )
    number = policies.in_force(ctx.as_actor(SYSTEM)).everywhere
    book = policies.get_version(ctx.as_actor(SYSTEM), number)[1]
    judged = checks.judge(text, policy.digest_of(text), inputs, earlier, book).checks
    # The regulated lane requires no proof, so a lapsed one does not stop what the lane enabled (45 CFR 170.404(b)).
    kept = _KEPT if was_reviewed(certification) else _KEPT - {"contacts.proved"}
    found = [each for each in judged if each.rule in kept]
    if submission is not None:
        # Documents may grow too old. The sandbox run belongs to the review and is not required again each night.
        aged = (
            each
            for each in judged
            if each.rule == "evidence.attached"
            and each.result is Result.FAILED
            and (over or each.about not in MADE_HERE)
        )
        found += [*aged, *_pages(looks, earlier), *_as_reviewed(submission, described)]
    return tuple(found)


def _described(ctx: Context, certification: Certification) -> Mapping[str, Any]:
    """Return the description of a certified version from its present records, as for a submission."""
    submission = _submission(ctx, certification)
    order = (
        SubmissionOrder(tuple(AskedScope(each, "") for each in certification.scopes))
        if submission is None
        else submission.order
    )
    app, version = registry.get_app(ctx, certification.app), registry.get_version(ctx, certification.version)
    found = content.describe(ctx, app, version, certification.environment, order)
    described: Mapping[str, Any] = orjson.loads(policy.canonical(found))
    return described


def _submission(ctx: Context, certification: Certification) -> Submission | None:
    if not certification.submission:
        return None
    return store.get_submission(ctx.tx, certification.submission)


def _earlier(ctx: Context, submission: Submission) -> checks.Inputs | None:
    """Return the inputs of the last run of checks before the decision."""
    run = store.find_run(ctx.tx, submission.id)
    return None if run is None or not run.inputs else checking.read_inputs(run.inputs)


def _pages(looks: Iterable[Look], earlier: checks.Inputs | None) -> Iterable[Check]:
    """Compare policy pages with the reviewed ones. Another address is a change of the records."""
    before = {(each.kind, each.url): each for each in earlier.looks} if earlier else {}
    for look in looks:
        old = before.get((look.kind, look.url))
        if look.kind not in _PAGES or old is None or old.status != 200:
            continue
        check = Check(
            "policy_page.unchanged",
            f"{look.kind}: {look.url}",
            Result.PASSED,
            "The page has not changed since it was reviewed.",
            f"curl -sS {shlex.quote(look.url)} | sha256sum",
            "Submit the version again, so that the page is reviewed, or restore the page that was reviewed.",
        )
        if look.fault or look.status != 200:
            yield check.but(Result.UNKNOWN, "The page could not be read.")
        elif look.sha256 != old.sha256:
            said = f"It has the SHA-256 {look.sha256} now; {old.sha256} was reviewed."
            yield check.but(Result.FAILED, said)
        else:
            yield check


def _as_reviewed(submission: Submission, described: Mapping[str, Any]) -> Iterable[Check]:
    """Compare records that can change without a review with the submission."""
    submitted: Mapping[str, Any] = orjson.loads(submission.content)
    for part in _UNREVIEWED:
        # Only the parts that the submission described: a later release describes more.
        changed = [
            name for name, value in submitted[part].items() if described[part].get(name, value) != value
        ]
        check = Check(
            "records.as_reviewed",
            part,
            Result.PASSED,
            "The record has not changed since it was reviewed.",
            "hilum review show SUBMISSION --json",
            "Submit the version again with the record as it is now, or take the edit back.",
        )
        said = f"Edited since it was reviewed: {', '.join(sorted(changed))}."
        yield check.but(Result.FAILED, said) if changed else check
