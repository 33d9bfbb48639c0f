"""Answers to reads of one record, kept beside what a FHIR server answered, and gone with it. Pure.

Such an answer follows from the permit and from what the server answered, and from nothing else. A server in this process shares its answers
until anything changes; any other is asked each time, and only what it answers in the same bytes is found. Refusals and absence are never kept, so that
a record out of reach keeps costing what an absent one costs (security decision 12).
"""

from hilum.gateway.models import Permit
from hilum.gateway.rendering import Answer, sent_headers
from hilum.standards.fhir.requests import PLAIN
from hilum.standards.fhir.visibility import is_judged_by_targets
from hilum.upstream.models import UpstreamResponse

ANSWERS_BOUND = 16
"""Permits by which one record is shown that are kept with it."""


def find_answer(permit: Permit, response: UpstreamResponse) -> Answer | None:
    """Return the answer that this permit gave to the same response before; None if it must be judged."""
    kept = None if response.made is None else response.made.get(id(permit))
    if kept is None:
        return None
    # Held with its permit, so that no other has its identity.
    return _copy(kept[1])


def keep_answer(permit: Permit, response: UpstreamResponse, answer: Answer) -> None:
    """Keep an answer that shows the record of a response whole, unless other records were needed to judge it."""
    request = permit.request
    if request.shape is not PLAIN or is_judged_by_targets(request.type):
        return
    if response.made is None:
        # The embedded server keeps the response itself; another one's is gone with the request.
        response.made = {}
    if len(response.made) >= ANSWERS_BOUND:
        response.made.clear()
    response.made[id(permit)] = permit, _copy(answer)


def _copy(answer: Answer) -> Answer:
    """Return an answer without what each request adds to its own: rates, origins, settled writes."""
    return Answer(
        answer.status,
        answer.body,
        answer.headers,
        patient=answer.patient,
        returned=answer.returned,
        found=answer.found,
        sent=answer.sent or sent_headers(answer),
    )
