"""API routes of submissions."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.ids import AppId, VersionId
from hilum.foundation.web.api import Id, Page, api_router, audience, run_read, run_write
from hilum.foundation.web.kit import Kit
from hilum.review.submissions import service
from hilum.review.submissions.bodies import (
    CertifiedDocumentsShown,
    ChangeAsked,
    DecisionAsked,
    ReplayShown,
    RevisionAsked,
    RunQuery,
    RunShown,
    SubmissionAsked,
    SubmissionListed,
    SubmissionShown,
    SubmissionsQuery,
    WithdrawAsked,
    certified_document,
    listed,
    replay_shown,
    run_shown,
    shown,
)
from hilum.review.submissions.clock_routes import add_clock_routes
from hilum.review.submissions.discipline_routes import add_discipline_routes
from hilum.review.submissions.lane_routes import add_lane_routes
from hilum.review.submissions.models import DecideOrder
from hilum.review.submissions.rule_bodies import AppRulesShown, rules_shown

READERS = audience("staff", "member")
DEVELOPERS = audience("platform_admin", "vendor_owner", "vendor_developer")
WRITERS = audience("platform_admin", "vendor_owner", "vendor_developer", large=True)


def _about_apps(router: APIRouter, kit: Kit) -> None:
    @router.get("/apps/{app}/documents", openapi_extra=audience("staff", "administrator", "member"))
    async def list_documents(request: Request, app: Id) -> CertifiedDocumentsShown:
        """List the documents by which an app is certified for production, as far as you may read them, the newest first."""
        verb = partial(service.list_certified_documents, app_id=AppId(app))
        return CertifiedDocumentsShown(
            items=tuple(map(certified_document, await run_read(kit, request, verb)))
        )

    @router.get("/apps/{app}/rules", openapi_extra=READERS)
    async def view_rules(request: Request, app: Id) -> AppRulesShown:
        """Show what the policy in force everywhere says of an app: how each version is judged, and every rule of its category's entries."""
        return rules_shown(await run_read(kit, request, partial(service.view_rules, app_id=AppId(app))))


def api(kit: Kit, unused: service.Unused = service.never_unused) -> APIRouter:
    """Build the API routes of review. ``unused``: which scopes hospitals granted for long and nobody used."""
    router = api_router(kit, "review")

    _about_apps(router, kit)

    @router.post("/submissions", status_code=201, response_model=SubmissionShown, openapi_extra=WRITERS)
    async def create(request: Request, body: SubmissionAsked) -> object:
        """Submit a version for an environment, or keep a draft. What is missing is listed by field."""
        verb = partial(
            service.create,
            version_id=VersionId(body.version),
            environment=body.environment,
            order=body.order,
            draft=body.draft,
            unused=unused,
        )
        return shown(await run_write(kit, request, verb))

    @router.get("/submissions", response_model=Page[SubmissionListed], openapi_extra=READERS)
    async def list_submissions(request: Request, query: Annotated[SubmissionsQuery, Query()]) -> object:
        """List submissions, oldest first or in the order that is asked for: a vendor's member their own, the staff all."""
        found = await run_read(kit, request, partial(service.browse, asked=query.browsed))
        return {"items": [listed(each) for each in found.submissions], "next": found.next}

    @router.get("/submissions/{submission}", response_model=SubmissionShown, openapi_extra=READERS)
    async def get_submission(request: Request, submission: Id) -> object:
        """Show a submission with its history and everything that was submitted."""
        return shown(
            await run_read(kit, request, partial(service.view, submission_id=submission, unused=unused))
        )

    @router.put("/submissions/{submission}", response_model=SubmissionShown, openapi_extra=WRITERS)
    async def change(request: Request, submission: Id, body: ChangeAsked) -> object:
        """Replace what is written in a draft."""
        verb = partial(
            service.change,
            submission_id=submission,
            order=body.order,
            revision=body.revision,
            unused=unused,
        )
        return shown(await run_write(kit, request, verb))

    @router.post("/submissions/{submission}/submit", response_model=SubmissionShown, openapi_extra=DEVELOPERS)
    async def submit(request: Request, submission: Id, body: RevisionAsked) -> object:
        """Submit a draft. What is missing is listed by field."""
        verb = partial(service.submit, submission_id=submission, revision=body.revision, unused=unused)
        return shown(await run_write(kit, request, verb))

    @router.post(
        "/submissions/{submission}/withdraw", response_model=SubmissionShown, openapi_extra=DEVELOPERS
    )
    async def withdraw(request: Request, submission: Id, body: WithdrawAsked) -> object:
        """Withdraw an open submission, with a reason."""
        verb = partial(service.withdraw, submission_id=submission, revision=body.revision, reason=body.reason)
        return shown(await run_write(kit, request, verb))

    _checks(router, kit)
    add_discipline_routes(router, kit)
    add_clock_routes(router, kit)
    add_lane_routes(router, kit)
    return router


def _checks(router: APIRouter, kit: Kit) -> None:
    rerunners = audience("platform_admin", "reviewer", "vendor_owner", "vendor_developer")

    @router.post("/submissions/{submission}/rerun", response_model=SubmissionShown, openapi_extra=rerunners)
    async def rerun(request: Request, submission: Id, body: RevisionAsked) -> object:
        """Have a submission checked again."""
        verb = partial(service.rerun, submission_id=submission, revision=body.revision)
        return shown(await run_write(kit, request, verb))

    @router.post(
        "/submissions/{submission}/decide",
        response_model=SubmissionShown,
        openapi_extra=audience("reviewer"),
    )
    async def decide(request: Request, submission: Id, body: DecisionAsked) -> object:
        """Certify what was submitted, once its checks and disciplines have passed, or reject it; with a reason."""
        certify = body.decision == "certify"
        order = DecideOrder(submission, certify=certify, **body.model_dump(exclude={"decision"}))
        return shown(await run_write(kit, request, partial(service.decide, order=order)))

    @router.get("/submissions/{submission}/checks", openapi_extra=READERS)
    async def get_checks(request: Request, submission: Id, query: Annotated[RunQuery, Query()]) -> RunShown:
        """Show a run of a submission's automated checks: what each concludes, by which evidence, and what to do."""
        verb = partial(service.view_run, submission_id=submission, number=query.run)
        return run_shown(await run_read(kit, request, verb))

    @router.get("/submissions/{submission}/checks/replay", openapi_extra=READERS)
    async def replay(request: Request, submission: Id, query: Annotated[RunQuery, Query()]) -> ReplayShown:
        """Judge a run again from what was stored, under the policy of then, and compare."""
        verb = partial(service.replay, submission_id=submission, number=query.run)
        return replay_shown(await run_read(kit, request, verb))
