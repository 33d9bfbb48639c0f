"""API routes of disciplines, findings and reviewers."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.web.api import Id, Page, Paging, audience, page_of, run_read, run_write
from hilum.foundation.web.approvals import WAITS, waits
from hilum.foundation.web.kit import Kit
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import service
from hilum.review.submissions.bodies import RevisionAsked
from hilum.review.submissions.discipline_bodies import (
    AnswerAsked,
    DisciplineListed,
    DisciplineShown,
    DisciplinesQuery,
    DisciplinesShown,
    FindingShown,
    ReleaseAsked,
    ResolveAsked,
    RightsAsked,
    RightsShown,
    ScorecardsShown,
    VerdictAsked,
    discipline_listed,
    discipline_shown,
    disciplines_shown,
    finding_shown,
    scorecards_shown,
)
from hilum.review.submissions.models import DisciplineRights

READERS, STAFF = audience("staff", "member"), audience("staff")
REVIEWERS = audience("reviewer")
JUDGES = audience("reviewer", large=True)
ADMINISTRATORS = audience("platform_admin", "security")


def add_discipline_routes(router: APIRouter, kit: Kit) -> None:
    """Add the routes of disciplines and what they found."""
    one = "/submissions/{submission}/disciplines/{discipline}"

    @router.get("/submissions/{submission}/disciplines", openapi_extra=READERS)
    async def get_disciplines(request: Request, submission: Id) -> DisciplinesShown:
        """Show the disciplines of a submission with their verdicts, findings and history."""
        return disciplines_shown(
            await run_read(kit, request, partial(service.view_disciplines, submission_id=submission))
        )

    @router.get("/disciplines", response_model=Page[DisciplineListed], openapi_extra=STAFF)
    async def list_disciplines(request: Request, query: Annotated[DisciplinesQuery, Query()]) -> object:
        """List disciplines in the order in which they were opened: what waits, and who has what."""
        verb = partial(service.list_disciplines, page=query.page, query=query.query)
        return page_of(await run_read(kit, request, verb), discipline_listed, query)

    @router.post(f"{one}/take", openapi_extra=REVIEWERS)
    async def take(
        request: Request, submission: Id, discipline: Discipline, body: RevisionAsked
    ) -> DisciplineShown:
        """Take a discipline as the reviewer who judges it."""
        verb = partial(service.take, submission_id=submission, discipline=discipline, revision=body.revision)
        return discipline_shown(await run_write(kit, request, verb))

    @router.post(f"{one}/release", openapi_extra=audience("reviewer", "platform_admin", "security"))
    async def release(
        request: Request, submission: Id, discipline: Discipline, body: ReleaseAsked
    ) -> DisciplineShown:
        """Give a discipline back, with a reason."""
        verb = partial(
            service.release,
            submission_id=submission,
            discipline=discipline,
            revision=body.revision,
            reason=body.reason,
        )
        return discipline_shown(await run_write(kit, request, verb))

    @router.post(f"{one}/judge", openapi_extra=JUDGES)
    async def judge(
        request: Request, submission: Id, discipline: Discipline, body: VerdictAsked
    ) -> DisciplineShown:
        """Record the verdict on a discipline that you have taken."""
        verb = partial(service.judge, order=body.order(submission, discipline))
        return discipline_shown(await run_write(kit, request, verb))

    @router.post(
        f"{one}/answer", openapi_extra=audience("platform_admin", "vendor_owner", "vendor_developer")
    )
    async def answer(
        request: Request, submission: Id, discipline: Discipline, body: AnswerAsked
    ) -> DisciplineShown:
        """Answer a discipline's findings; its reviewer looks again."""
        verb = partial(
            service.answer,
            submission_id=submission,
            discipline=discipline,
            revision=body.revision,
            text=body.text,
        )
        return discipline_shown(await run_write(kit, request, verb))

    _findings(router, kit)
    _reviewers(router, kit)


def _findings(router: APIRouter, kit: Kit) -> None:
    @router.post("/findings/{finding}/resolve", openapi_extra=REVIEWERS)
    async def resolve(request: Request, finding: Id, body: ResolveAsked) -> FindingShown:
        """Record that a finding is fixed."""
        verb = partial(service.resolve, finding_id=finding, note=body.note)
        return finding_shown(await run_write(kit, request, verb))

    @router.get("/scorecards", openapi_extra=audience("anyone"))
    async def get_scorecards() -> ScorecardsShown:
        """Show the scorecards by which disciplines are judged, with every reason code."""
        return scorecards_shown(service.shipped_scorecards())


def _reviewers(router: APIRouter, kit: Kit) -> None:
    @router.get("/reviewers", response_model=Page[RightsShown], openapi_extra=STAFF)
    async def list_rights(request: Request, query: Annotated[Paging, Query()]) -> object:
        """List who signs for which disciplines."""
        found = await run_read(kit, request, partial(service.list_rights, page=query.page))
        return page_of(found, RightsShown.model_validate, query, key=lambda each: str(each.person))

    @router.put(
        "/reviewers/{person}", response_model=RightsShown, responses=WAITS, openapi_extra=ADMINISTRATORS
    )
    async def change_rights(request: Request, person: Id, body: RightsAsked) -> object:
        """Set for which disciplines a reviewer signs. One that is added waits for a second person."""
        verb = partial(service.change_rights, person_id=PersonId(person), disciplines=body.disciplines)
        done: Any = await run_write(kit, request, verb)
        return RightsShown.model_validate(done) if isinstance(done, DisciplineRights) else waits(done)
