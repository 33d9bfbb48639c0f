"""The pages of a hospital's administrators."""

from hilum.surfaces.console.catalogue.roles import ADMINISTRATOR, APPROVERS, pages_of
from hilum.surfaces.console.models import Console

page = pages_of(Console.TENANT, ADMINISTRATOR)
PAGES = (
    page("apps", "", "Apps", "What is used here, by whom and for what?", menu="Apps"),
    page("app", "/apps/{id}", "App", "What may it do here?", "apps"),
    page("approve", "/apps/{id}/approve", "Approve", "What would it get?", "app"),
    page("narrow", "/apps/{id}/narrow", "Narrow", "What does it not need?", "app"),
    page("networks", "/apps/{id}/networks", "Networks", "Where does it connect from?", "app"),
    page("newer", "/apps/{id}/newer", "What is new", "What more does the newer version need?", "app"),
    page("remove", "/apps/{id}/remove", "Remove", "What would end?", "app"),
    page("alone", "/apps/{id}/write-alone", "Let its AI write alone", "Until when?", "app"),
    page("exceptions", "/exceptions", "Exceptions", "What is allowed for a time?", "apps"),
    page("exception", "/exceptions/{id}", "Exception", "Should it continue?", "exceptions"),
    page("requests", "/requests", "Requests", "Who is asking for an app?", menu="Apps"),
    page("ask", "/requests/{id}", "Request", "Should they have it?", "requests"),
    page("people", "/people", "People", "Who has an account?", menu="People"),
    page("person_new", "/people/new", "Add a person", "Who is new?", "people"),
    page("person", "/people/{id}", "Person", "Who is this?", "people"),
    page("agreements", "/agreements", "Agreements", "What was signed, and until when?", menu="Contracts"),
    page("agreement_new", "/agreements/new", "Record one", "What was signed?", "agreements"),
    page("agreement", "/agreements/{id}", "Agreement", "Is it in force?", "agreements"),
    # Whoever is named for a service agrees with their own account, whatever their work is.
    page(
        "service_owners",
        "/backend-services",
        "Backend services",
        "Who answers for programs that run by themselves?",
        roles=APPROVERS,
        menu="Contracts",
    ),
    page(
        "service_owner_new", "/backend-services/new", "Name somebody", "Who answers for it?", "service_owners"
    ),
    page(
        "service_owner",
        "/backend-services/{id}",
        "Service",
        "Who answers for it?",
        "service_owners",
        roles=APPROVERS,
    ),
    page(
        "deletion_requests", "/deletions", "Deletions", "Did vendors delete what they had?", menu="Contracts"
    ),
    page("waiting", "/waiting", "Approvals", "What is waiting for a colleague?", "people"),
    page("approval", "/waiting/{id}", "Approval", "Do I agree?", "waiting"),
    page("activity", "/activity", "Activity", "What did apps do?", menu="Activity"),
    page("events", "/activity/changes", "Changes", "Who changed what?", "activity"),
    page("consents", "/activity/consents", "Consents", "Who agreed to what, until when?", "activity"),
    page("request", "/activity/{id}", "Why", "Why was it answered this way?", "activity"),
    page("switches", "/switches", "Switches", "What is stopped here?", menu="Activity"),
    page("stop", "/switches/new", "Stop something", "What would it stop?", "switches"),
    page("switch", "/switches/{id}", "Switch", "Did it stop?", "switches"),
    page("release", "/switches/{id}/release", "Release", "What will start again?", "switch"),
    page("incidents", "/incidents", "Incidents", "Which harm by apps concerns us?", menu="Activity"),
    page("incident", "/incidents/{id}", "Incident", "What happened, and what should we do?", "incidents"),
    page("emergencies", "/emergencies", "Emergencies", "Who opened restricted records?", menu="Activity"),
    page("emergency_settings", "/emergencies/settings", "Allowed", "What may be opened?", "emergencies"),
    page("emergency", "/emergencies/{id}", "Emergency access", "Was there an emergency?", "emergencies"),
    page("settings", "/settings", "Settings", "How is your hospital set up?", menu="Settings"),
    page("fhir_servers", "/settings/fhir-server", "FHIR server", "Does it work as apps need it?", "settings"),
    page("fhir_server", "/settings/fhir-server/{id}", "Check", "What does not work?", "fhir_servers"),
    page("leave", "/settings/leave", "Leave the platform", "What would end?", "settings"),
    page("providers", "/sign-in", "Sign-in", "How do your people sign in?", "settings"),
    page("links", "/sign-in/links", "Linked accounts", "Who signs in as whom?", "providers"),
    page("link_new", "/sign-in/links/new", "Link an account", "Which identity is whose?", "links"),
    page("link", "/sign-in/links/{id}", "Linked account", "Should it stay linked?", "links"),
    page(
        "provider_new", "/sign-in/new", "Add a provider", "Where do your people have accounts?", "providers"
    ),
    page("provider", "/sign-in/{id}", "Provider", "Does it work?", "providers"),
    page("provider_edit", "/sign-in/{id}/edit", "Change", "What do its claims mean here?", "provider"),
    page("search", "/search", "Search", "Where is it?"),
    page("guide", "/guide", "Guide", "What is each page for?", roles=APPROVERS),
)
