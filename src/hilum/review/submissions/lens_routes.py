"""API routes of lenses, findings and reviewers."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.ids import PersonId, VendorId
from hilum.foundation.web.api import Id, Page, Paging, audience, page_of, run_read, run_write
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix.models import Lens
from hilum.review.submissions import service
from hilum.review.submissions.bodies import RevisionAsked
from hilum.review.submissions.lens_bodies import (
    AnswerAsked,
    FindingShown,
    LensesQuery,
    LensesShown,
    LensListed,
    LensShown,
    ReleaseAsked,
    ResolveAsked,
    RightsAsked,
    RightsShown,
    ScorecardsShown,
    TieAsked,
    TieEnd,
    TieShown,
    TiesQuery,
    VerdictAsked,
    finding_shown,
    lens_listed,
    lens_shown,
    lenses_shown,
    scorecards_shown,
    tie_shown,
)
from hilum.review.submissions.models import TIE_SORTS, LensRights

READERS, STAFF = audience("staff", "member"), audience("staff")
REVIEWERS = audience("reviewer")
JUDGES = audience("reviewer", large=True)
ADMINISTRATORS = audience("platform_admin", "security")


def add_lens_routes(router: APIRouter, kit: Kit) -> None:
    """Add the routes of lenses and what they found."""
    one = "/submissions/{submission}/lenses/{lens}"

    @router.get("/submissions/{submission}/lenses", openapi_extra=READERS)
    async def get_lenses(request: Request, submission: Id) -> LensesShown:
        """Show the lenses of a submission with their verdicts, findings and history."""
        return lenses_shown(
            await run_read(kit, request, partial(service.view_lenses, submission_id=submission))
        )

    @router.get("/lenses", response_model=Page[LensListed], openapi_extra=STAFF)
    async def list_lenses(request: Request, query: Annotated[LensesQuery, Query()]) -> object:
        """List lenses in the order in which they were opened: what waits, and who has what."""
        verb = partial(service.list_lenses, page=query.page, query=query.query)
        return page_of(await run_read(kit, request, verb), lens_listed, query)

    @router.post(f"{one}/take", openapi_extra=REVIEWERS)
    async def take(request: Request, submission: Id, lens: Lens, body: RevisionAsked) -> LensShown:
        """Take a lens as the reviewer who judges it."""
        verb = partial(service.take, submission_id=submission, lens=lens, revision=body.revision)
        return lens_shown(await run_write(kit, request, verb))

    @router.post(f"{one}/release", openapi_extra=audience("reviewer", "platform_admin", "security"))
    async def release(request: Request, submission: Id, lens: Lens, body: ReleaseAsked) -> LensShown:
        """Give a lens back, with a reason."""
        verb = partial(
            service.release, submission_id=submission, lens=lens, revision=body.revision, reason=body.reason
        )
        return lens_shown(await run_write(kit, request, verb))

    @router.post(f"{one}/judge", openapi_extra=JUDGES)
    async def judge(request: Request, submission: Id, lens: Lens, body: VerdictAsked) -> LensShown:
        """Record the verdict on a lens that you have taken."""
        verb = partial(service.judge, order=body.order(submission, lens))
        return lens_shown(await run_write(kit, request, verb))

    @router.post(
        f"{one}/answer", openapi_extra=audience("platform_admin", "vendor_owner", "vendor_developer")
    )
    async def answer(request: Request, submission: Id, lens: Lens, body: AnswerAsked) -> LensShown:
        """Answer a lens's findings; its reviewer looks again."""
        verb = partial(
            service.answer, submission_id=submission, lens=lens, revision=body.revision, text=body.text
        )
        return lens_shown(await run_write(kit, request, verb))

    @router.post("/findings/{finding}/resolve", openapi_extra=REVIEWERS)
    async def resolve(request: Request, finding: Id, body: ResolveAsked) -> FindingShown:
        """Record that a finding is fixed."""
        verb = partial(service.resolve, finding_id=finding, note=body.note)
        return finding_shown(await run_write(kit, request, verb))

    @router.get("/scorecards", openapi_extra=audience("anyone"))
    async def get_scorecards() -> ScorecardsShown:
        """Show the scorecards by which lenses are judged, with every reason code."""
        return scorecards_shown(service.shipped_scorecards())

    _reviewers(router, kit)


def _reviewers(router: APIRouter, kit: Kit) -> None:
    @router.get("/reviewers", response_model=Page[RightsShown], openapi_extra=STAFF)
    async def list_rights(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List who signs for which lenses."""
        found = await run_read(kit, request, partial(service.list_rights, page=query.page))
        return page_of(found, RightsShown.model_validate, query, key=lambda each: str(each.person))

    @router.put(
        "/reviewers/{person}", response_model=RightsShown, responses=WAITS, openapi_extra=ADMINISTRATORS
    )
    async def change_rights(request: Request, person: Id, body: RightsAsked) -> object:
        """Set for which lenses a reviewer signs. One that is added waits for a second person."""
        verb = partial(service.change_rights, person_id=PersonId(person), lenses=body.lenses)
        done: Any = await run_write(kit, request, verb)
        return RightsShown.model_validate(done) if isinstance(done, LensRights) else waits(done)

    @router.get("/ties", response_model=Page[TieShown], openapi_extra=STAFF)
    async def list_ties(request: Request, query: Annotated[TiesQuery, Query()]) -> object:
        """List the ties to vendors that reviewers declared."""
        verb = partial(service.list_ties, page=query.page, vendor=query.vendor or "")
        return page_of(await run_read(kit, request, verb), tie_shown, query, key=TIE_SORTS.cursor(query.sort))

    @router.post("/ties", status_code=201, openapi_extra=REVIEWERS)
    async def declare_tie(request: Request, body: TieAsked) -> TieShown:
        """Declare a tie to a vendor; from then on you judge none of its submissions."""
        verb = partial(service.declare_tie, vendor=VendorId(body.vendor), reason=body.reason)
        return tie_shown(await run_write(kit, request, verb))

    @router.post("/ties/{tie}/end", openapi_extra=ADMINISTRATORS)
    async def end_tie(request: Request, tie: Id, body: TieEnd) -> TieShown:
        """End a reviewer's tie, with a reason."""
        verb = partial(service.end_tie, tie_id=tie, reason=body.reason)
        return tie_shown(await run_write(kit, request, verb))
