"""The pages of a vendor's members: its apps, and the vendor itself."""

from hilum.surfaces.console.catalogue.roles import DEVELOPERS, MEMBERS, OWNERS, ROTATORS, SIGNERS, pages_of
from hilum.surfaces.console.models import Console

page = pages_of(Console.DEVELOPER, MEMBERS)
PAGES = (
    page("apps", "", "My apps", "How far along are my apps?", menu="Apps"),
    page("register", "/register", "Register an app", "What is it?", "apps", roles=DEVELOPERS),
    page("app", "/apps/{id}", "App", "What is missing?", "apps"),
    page("versions", "/apps/{id}/versions", "Versions", "What does each version declare?", "app"),
    page("rules", "/apps/{id}/rules", "Rules", "Which rules apply to it?", "app"),
    page("clients", "/apps/{id}/clients", "Clients & keys", "How does it authenticate?", "app"),
    page("scopes", "/apps/{id}/scopes", "Scopes", "What does it ask for, and what does it use?", "app"),
    page("traffic", "/apps/{id}/traffic", "Traffic", "How were its calls answered, and why?", "app"),
    page("sandbox", "/apps/{id}/sandbox", "Sandbox", "Where can I try it?", "app"),
    page("statements", "/apps/{id}/statements", "Statements", "What do hospitals know about it?", "app"),
    page("runs", "/apps/{id}/runs", "Certification runs", "How does it behave when something fails?", "app"),
    page("run", "/runs/{id}", "Certification run", "What did it show?", "runs"),
    page("review", "/apps/{id}/review", "Review", "How far along is its review?", "app"),
    page("submission", "/submissions/{id}", "Submission", "What is missing?", "review"),
    page("narrow", "/apps/{id}/narrow", "Ask for less", "Who is affected?", "scopes", roles=DEVELOPERS),
    page(
        "proposal", "/apps/{id}/proposal", "Proposed scopes", "Which scopes would have been enough?", "scopes"
    ),
    page("transfer", "/apps/{id}/transfer", "Transfer the app", "To whom?", "app"),
    page("offer", "/offers/{id}", "Offered app", "Do we accept it?", "apps"),
    page(
        "client_new",
        "/apps/{id}/clients/new",
        "Register a client",
        "What may it ask for?",
        "clients",
        roles=DEVELOPERS,
    ),
    page(
        "client_edit", "/clients/{id}/edit", "Change a client", "What changes?", "clients", roles=DEVELOPERS
    ),
    page(
        "secret",
        "/clients/{id}/secret",
        "Replace a secret",
        "What ends, and when?",
        "clients",
        roles=ROTATORS,
    ),
    page("changes", "/changes", "Changes in review", "What is waiting?", menu="Reviews"),
    page("change", "/changes/{id}", "Change", "What changes?", "changes"),
    page("change_logo", "/changes/{id}/logo", "Logo", "What would be shown?", "changes"),
    page("defects", "/defects", "Defects", "What is wrong with our apps?", menu="Reviews"),
    page("defect_new", "/defects/new", "Report a defect", "What is it?", "defects", roles=DEVELOPERS),
    page("defect", "/defects/{id}", "Defect", "What became of it?", "defects"),
    page("incidents", "/incidents", "Incidents", "Which harm did our apps do?", menu="Reviews"),
    page("incident", "/incidents/{id}", "Incident", "What is expected of us?", "incidents"),
    page("snapshots", "/snapshots", "Snapshots", "Where can we try things on our own?", menu="Snapshots"),
    page("snapshot", "/snapshots/{id}", "Snapshot", "How do I open it?", "snapshots"),
    page("contacts", "/contacts", "Contacts & domains", "How can people reach us?", menu="Company"),
    page("webhooks", "/webhooks", "Webhooks", "Where do we receive events?", menu="Company"),
    page("team", "/team", "Team", "Who acts for us?", roles=OWNERS, menu="Company"),
    page("invite", "/team/new", "Invite", "Who is new?", "team", roles=OWNERS),
    page("waiting", "/team/waiting", "Approvals", "What is waiting?", "team", roles=OWNERS),
    page("approval", "/team/waiting/{id}", "Approval", "Do I agree?", "waiting", roles=OWNERS),
    page("member", "/team/{id}", "Member", "Who is this?", "team", roles=OWNERS),
    page("agreements", "/agreements", "Agreements", "What was signed?", menu="Company"),
    page("agreement_new", "/agreements/new", "Record one", "What was signed?", "agreements", roles=SIGNERS),
    page("agreement", "/agreements/{id}", "Agreement", "Is it in force?", "agreements"),
    page("deletion_requests", "/deletions", "Deletions", "What must we delete?", menu="Company"),
    page("deletion_request", "/deletions/{id}", "Deletion", "What became of the data?", "deletion_requests"),
    page("guide", "/guide", "Guide", "What is each page for?"),
)
