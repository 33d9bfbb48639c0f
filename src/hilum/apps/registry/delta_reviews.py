"""Delta reviews: a certified version's scopes with a higher tier than at its certification, or use beyond its declaration (C21).

The rise already withholds the new part, at the next decision. This only records that a person must judge it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from hilum.apps.registry import policy, store
from hilum.apps.registry.models import (
    App,
    AppVersion,
    Certification,
    DeltaReview,
    Environment,
    ReviewSource,
    UseExcess,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import require_platform
from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PAGE_BOUND, PageQuery
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Assessment, Book, Tier
from hilum.policy.matrix.policy import as_enforced, assess
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def risen(
    book: Book, app: App, version: AppVersion, certification: Certification
) -> tuple[Tier, Assessment] | None:
    """Return the certified tier and the present one of a certification, if that is higher for any way to authenticate. Pure."""
    applicant = policy.applicant_of(app, version, certification.scopes)
    found: tuple[Tier, Assessment] | None = None
    for way, certified in certification.tiers.items():
        now = assess(book, replace(applicant, authentication=way))
        if now.tier.rank > certified.rank and (found is None or now.tier.rank > found[1].tier.rank):
            found = certified, now
    return found


def note_delta_reviews(ctx: Context, of: Collection[AppId]) -> None:
    """Record which certifications in force of some apps need a delta review by the policy in force everywhere, and which no longer do."""
    # An observed entry counts already, so that reviewers have judged its effect before the day when it is enforced (C209).
    book = as_enforced(policies.current(ctx).everywhere, ctx.now)
    apps, versions = store.read_apps(ctx.tx, of), store.read_versions(ctx.tx, of)
    needed: dict[tuple[str, Tier], DeltaReview] = {}
    for each in in_force(ctx, store.read_certifications(ctx.tx, of)):
        app, version = apps.get(each.app), versions.get(each.version)
        found = None if app is None or version is None else risen(book, app, version, each)
        if found is not None:
            certified, now = found
            key = each.id, now.tier
            needed[key] = DeltaReview(
                ctx.ids.new("dlt"), each.app, each.version, each.id, certified, now.tier, str(now), ctx.now
            )
    _note(ctx, of, needed, ReviewSource.BOOK)


def note_use_reviews(ctx: Context, of: Collection[AppId], needed: Iterable[UseExcess]) -> list[DeltaReview]:
    """Record which certifications in force of some apps need a delta review by their use, and which no longer do; return the new ones."""
    return _note_found(ctx, of, needed, ReviewSource.USE)


def note_finding_reviews(
    ctx: Context, of: Collection[AppId], needed: Iterable[UseExcess]
) -> list[DeltaReview]:
    """Record which certifications in force of some apps need a review by their findings, and which no longer do; return the new ones."""
    return _note_found(ctx, of, needed, ReviewSource.FINDINGS)


def _note_found(
    ctx: Context, of: Collection[AppId], needed: Iterable[UseExcess], source: ReviewSource
) -> list[DeltaReview]:
    # The certification may have been withdrawn or renewed since it was read.
    live = {each.id for each in in_force(ctx, store.read_certifications(ctx.tx, of))}
    reviews = {
        (each.certification, each.computed): DeltaReview(
            ctx.ids.new("dlt"),
            each.app,
            each.version,
            each.certification,
            each.certified,
            each.computed,
            each.sentence,
            ctx.now,
            source=source,
        )
        for each in needed
        if each.certification in live
    }
    return _note(ctx, of, reviews, source)


def _note(
    ctx: Context,
    of: Collection[AppId],
    needed: Mapping[tuple[str, Tier], DeltaReview],
    source: ReviewSource,
) -> list[DeltaReview]:
    """Open the reviews that are needed and close those that are not, of one source; return those that were opened."""
    found = (each for each in store.read_open_reviews(ctx.tx, of) if each.source is source)
    opened = {(each.certification, each.computed): each for each in found}
    new = []
    for key, review in needed.items():
        # The statement decides between two nodes with the same result.
        if key not in opened and store.add_review(ctx.tx, review):
            new.append(review)
            _record(ctx, "registry.delta_review.open", review, detail=review.sentence)
    for key, review in opened.items():
        if key not in needed and store.DELTA_REVIEWS.change(
            ctx.tx, {"closed_at": ctx.now}, id=review.id, closed_at=None
        ):
            _record(ctx, "registry.delta_review.close", review)
    return new


def _record(ctx: Context, action: str, review: DeltaReview, **more: str) -> None:
    facts = {"version": review.version, "certification": review.certification, "source": review.source.value}
    audit.record(ctx, Event(action, app=review.app, facts=facts | more))


def in_force(ctx: Context, certifications: Iterable[Certification]) -> list[Certification]:
    """Return the certifications in force, without those that a newer one of the same version replaces."""
    live = [each for each in certifications if each.withdrawn_at is None and ctx.now < each.expires_at]
    # Only a certification of the same version replaces another: apps have many versions, with few certifications each.
    same: dict[tuple[VersionId, Environment], list[Certification]] = {}
    for each in live:
        same.setdefault((each.version, each.environment), []).append(each)
    return [
        each
        for each in live
        if not any(_replaces(other, each) for other in same[each.version, each.environment])
    ]


def _replaces(newer: Certification, older: Certification) -> bool:
    """Check whether a certification replaces another one of the same version and environment."""
    return newer.id > older.id and all_covered(older.scopes, newer.scopes)


def note_next_reviews(ctx: Context, after: str) -> str:
    """Record the delta reviews of the next apps by id; return the last one, empty if there are no more. For the job."""
    found = [each.id for each in store.list_apps(ctx.tx, page=PageQuery(after))]
    if found:
        note_delta_reviews(ctx, found)
    return found[-1] if len(found) == PAGE_BOUND else ""


def list_delta_reviews(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[DeltaReview]:
    """List the delta reviews that are needed, newest first; for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.DELTA_REVIEWS.newest(ctx.tx, page, closed_at=None)
