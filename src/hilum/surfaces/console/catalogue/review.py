"""The pages of review. All of the staff read them; who acts there is judged by the verb."""

from hilum.surfaces.console.catalogue.roles import REVIEWERS, STAFF, pages_of
from hilum.surfaces.console.models import Console

page = pages_of(Console.REVIEW, STAFF)
PAGES = (
    page("queue", "", "Queue", "What is waiting, and for whom?", menu="Queue"),
    page("submission", "/submissions/{id}", "Submission", "Is it in order, and is it needed?", "queue"),
    page(
        "discipline",
        "/submissions/{id}/{discipline}",
        "Discipline",
        "Does it pass, and if not, why?",
        "submission",
    ),
    page("run", "/runs/{id}", "Certification run", "What did it show?", "queue"),
    page("changes", "/changes", "Changes", "What did vendors change?", menu="Queue"),
    page("change", "/changes/{id}", "Change", "May it take effect?", "changes"),
    page("change_logo", "/changes/{id}/logo", "Logo", "Which logo?", "change"),
    page("reviewers", "/reviewers", "Reviewers", "Who signs for what?", menu="Reviewers"),
    page(
        "conflicts",
        "/conflicts-of-interest",
        "Conflicts of interest",
        "Who has one with whom?",
        "reviewers",
    ),
    page(
        "conflict_new",
        "/conflicts-of-interest/new",
        "Declare one",
        "With which vendor have you a conflict of interest?",
        "conflicts",
        roles=REVIEWERS,
    ),
    page(
        "conflict",
        "/conflicts-of-interest/{id}",
        "Conflict of interest",
        "Does it exclude the reviewer?",
        "conflicts",
    ),
    page(
        "lane",
        "/regulated-access",
        "Regulated access",
        "Who is asking, and when is the answer due?",
        menu="Queue",
    ),
    page("access", "/regulated-access/{id}", "Request", "Are they who they say they are?", "lane"),
    page("guide", "/guide", "Guide", "What is each page for?"),
)
