"""The guide of a console: what each page in its navigation is for, what it asks of whom, and the commands that do the same."""

from collections.abc import Mapping
from types import MappingProxyType

from starlette.responses import Response

from hilum.surfaces.console import policy
from hilum.surfaces.console.desk import Visit

TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "operations.now": (
            "What is stopped, refused and slow in the last hour, and whether the nodes are well. It stays up to date by itself. Open a number to see why.",
            "hilum doctor",
        ),
        "operations.search": (
            "Apps, vendors, hospitals and people by a part of their name; a request by the number that an error page or an app shows.",
            "hilum explain REQUEST",
        ),
        "operations.apps": (
            "Every app with its state; its page shows what happened to it, and can stop it.",
            "hilum app list",
        ),
        "operations.switches": (
            "Stop something: you see what is open and who is affected first, and on the switch's page when each worker began to refuse. Wide switches are released by two people.",
            "hilum switch engage",
        ),
        "operations.incidents": (
            "Harm by apps, from the first alert to what was learned: stop it, count whom it reached, tell the hospitals and the vendor, and close it. Each page says what is to be done next.",
            "hilum incident open",
        ),
        "operations.audit": (
            "What apps did and what people changed. Your access is recorded, too. Evidence has holds and the anchor.",
            "hilum audit accesses",
        ),
        "operations.policy": (
            "Which policy is in force where. Open a version to compare it, to try it on the decisions of the last 90 days, and to put it in force at hospitals that you choose or everywhere; add another one as a file. A version that allows something new takes a second person.",
            "hilum policy publish",
        ),
        "operations.scopes": (
            "Who answers for which scopes, and until when. Ending one with notice writes a version of the policy.",
            "hilum policy show",
        ),
        "operations.defects": (
            "Defects of certified versions. One that was first seen in production is closed once it is said whether the sandbox could have shown it.",
            "hilum defect list",
        ),
        "operations.fhir_servers": (
            "Whether each hospital's FHIR server works as apps need it, checked every night and when you ask: what fails, what is refused, and which setting helps.",
            "hilum tenant check",
        ),
        "operations.offboardings": (
            "The hospitals that left: what each had, and what its erasure waits for. Two of you let one leave.",
            "hilum tenant leave list",
        ),
        "operations.staff": (
            "What waits for a second of you, and the accounts of the staff. Nobody agrees to what they asked for.",
            "hilum approval list",
        ),
        "review.queue": (
            "What vendors submitted, the oldest first. A submission's page has what the checks found, its scopes against the declared workflows, what differs from what was certified last, and the decision.",
            "hilum review list",
        ),
        "review.changes": (
            "What vendors changed in certified apps and clients, and logos that look like another's, shown beside it. If you agree, it takes effect; if you refuse, the vendor sees why.",
            "hilum app edits",
        ),
        "review.reviewers": (
            "Who signs for which discipline, and who has a conflict of interest with which vendor. Two of you give a right; who has one declares it, and somebody else ends it.",
            "hilum review rights",
        ),
        "review.lane": (
            "Who asks for access that regulation protects. You say within ten business days whether they are who they say they are, and judge nothing else.",
            "hilum review lane",
        ),
        "tenant.apps": (
            "What is certified for you and what you installed. Approve one for roles, work and permissions; narrow or remove it on its page.",
            "hilum app install",
        ),
        "tenant.requests": (
            "What your colleagues and vendors ask for. Approve it, which installs the app or gives it more, or decline it with a reason.",
            "hilum request list",
        ),
        "tenant.people": (
            "Who has an account. Each sets their own password through a link. An account with power waits for a second administrator.",
            "hilum person add",
        ),
        "tenant.agreements": (
            "What was signed with vendors. One side records it, the other confirms it with the digest of its own copy. An app that needs one is not installed without it.",
            "hilum agreement add",
        ),
        "tenant.service_owners": (
            "Programs that read by themselves. Name a colleague for each; they agree with their own account and can end it at any time.",
            "hilum service-owner ask",
        ),
        "tenant.deletion_requests": (
            "What vendors were asked to delete after a withdrawal or a removal, and what they answered.",
            "hilum deletion-request list",
        ),
        "tenant.activity": (
            "What apps did, by app, person or patient, and what people changed. Open a line to see why it was answered so.",
            "hilum audit accesses",
        ),
        "tenant.incidents": (
            "Harm by apps that concerned your hospital: what happened, how many of your patients, and what to do. Confirm that you have read each notice.",
            "hilum incident-notice list",
        ),
        "tenant.switches": (
            "Stop an app or a person here; it acts within two seconds.",
            "hilum switch engage",
        ),
        "tenant.emergencies": (
            "When clinicians stated an emergency, and restricted records of the patient whose chart was open were readable for some minutes. Somebody else reviews each use in time. Settings that allow more take two administrators.",
            "hilum break-glass list",
        ),
        "tenant.settings": (
            "Your FHIR server, facilities, what an app may read after the chart moved, and Sign-in: your identity provider, what its values mean here, a trial of it and its switch.",
            "hilum idp add",
        ),
        "developer.apps": (
            "Each app with its state and next step. Its pages have versions, clients and keys, scopes asked against used, each call with its reason, the sandbox, what hospitals must know, certification runs that show how it behaves when something fails, and its review: submit a version, see what is missing and what the checks found.",
            "hilum app list",
        ),
        "developer.changes": (
            "What you changed in an app or client that is certified for production waits here for a reviewer, and can be withdrawn.",
            "hilum app edits",
        ),
        "developer.defects": (
            "What is wrong with versions of your apps, and where it was first seen. You report one; the platform's staff say whether the sandbox could have shown it, and close it.",
            "hilum defect report",
        ),
        "developer.incidents": (
            "Harm by your apps: what was stopped, whom it reached, and what is expected of you. Confirm that you have read each notice.",
            "hilum incident-notice list",
        ),
        "developer.contacts": (
            "Addresses are proved by a link that is mailed there, domains by a line in a file. A proof ends, and mail comes before.",
            "hilum contact add",
        ),
        "developer.webhooks": (
            "Where you are called, with a signature that only you and the platform can make.",
            "hilum webhook add",
        ),
        "developer.snapshots": (
            "Synthetic hospitals of your own: make, reset and remove them. What opens one is new with each reset; no other vendor sees it.",
            "hilum sandbox snapshot create",
        ),
        "developer.team": (
            "Your members and what each may do. A new owner takes a second person; what waits is on this page.",
            "hilum vendor invite",
        ),
        "developer.agreements": (
            "What was signed with hospitals. One side records it, the other confirms it with the digest of its own copy.",
            "hilum agreement add",
        ),
        "developer.deletion_requests": (
            "What you are to delete, until when, and your answers: deleted, or kept with the reason.",
            "hilum deletion-request answer",
        ),
    }
)
"""By page: what it is for, and the command that does the same."""


async def show(visit: Visit) -> Response:
    """Show the guide of the visitor's console: the pages that they may open."""
    pages = policy.opened(visit.visitor, visit.page.console)
    return visit.render(
        "console/guide.html",
        entries=[
            (each.key.partition(".")[2], each.title, each.path, each.question, *TEXTS[each.key])
            for each in pages
        ],
    )
