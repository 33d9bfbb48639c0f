"""The pages of the platform's staff."""

from hilum.surfaces.console.catalogue.roles import (
    ACTS_ON_APPS,
    READS_AUDIT,
    RULES,
    SECONDS,
    STAFF,
    STOPS,
    pages_of,
)
from hilum.surfaces.console.models import Console

page = pages_of(Console.OPERATIONS, STAFF)
PAGES = (
    page("now", "", "Now", "Is everything all right?", menu="Now"),
    page("search", "/search", "Search", "Where is it?", menu="Now"),
    page(
        "request", "/requests/{id}", "Request", "Why was it answered this way?", "search", roles=READS_AUDIT
    ),
    page("incidents", "/incidents", "Incidents", "What harm is being dealt with?", menu="Now"),
    page("incident_new", "/incidents/new", "Open an incident", "What happened?", "incidents", roles=SECONDS),
    page("incident", "/incidents/{id}", "Incident", "What is to be done now?", "incidents"),
    page("apps", "/apps", "Apps", "Which apps are there?", menu="Apps"),
    page("app", "/apps/{id}", "App", "What is this app, and what happened to it?", "apps"),
    page("switches", "/switches", "Switches", "What is stopped?", menu="Switches"),
    page("stop", "/switches/new", "Stop something", "What would it stop?", "switches", roles=STOPS),
    page("switch", "/switches/{id}", "Switch", "Did it stop?", "switches"),
    page("release", "/switches/{id}/release", "Release", "What will start again?", "switch", roles=STOPS),
    page("audit", "/audit", "Audit", "Who did what?", roles=READS_AUDIT, menu="Audit"),
    page("events", "/audit/changes", "Changes", "Who changed what?", "audit", roles=READS_AUDIT),
    page("policy", "/policy", "Policy", "Which rules are in force where?", menu="Policy"),
    page("entry", "/policy/entries/{id}", "Policy entry", "What may such apps do?", "policy"),
    page(
        "entry_change",
        "/policy/entries/{id}/change",
        "Change an entry",
        "What should such apps do?",
        "entry",
        roles=RULES,
    ),
    page("version", "/policy/versions/{id}", "Version", "What does it change?", "policy"),
    page(
        "jurisdictions", "/policy/jurisdictions", "Jurisdictions", "Which dated rules must it keep?", "policy"
    ),
    page("scopes", "/scopes", "Scopes", "Which scopes are there, and until when?", menu="Policy"),
    page("product", "/scopes/{id}", "Scope product", "Who answers for it?", "scopes"),
    page("apply", "/policy/versions/{id}/apply", "Put in force", "What will change?", "version", roles=RULES),
    page("book_new", "/policy/new", "Add a policy", "What should apply?", "policy", roles=RULES),
    page(
        "eligibility",
        "/apps/{id}/eligibility",
        "Eligibility",
        "What applies to it?",
        "app",
        roles=ACTS_ON_APPS,
    ),
    page("exceptions", "/policy/exceptions", "Exceptions", "What is allowed?", "policy"),
    page(
        "exception", "/policy/exceptions/{id}", "Exception", "What is allowed, and until when?", "exceptions"
    ),
    page("dry_run", "/policy/dry-runs/{id}", "Dry run", "What would be decided differently?", "policy"),
    page(
        "evidence",
        "/audit/evidence",
        "Evidence",
        "Is the audit complete, and what is on hold?",
        "audit",
        roles=READS_AUDIT,
    ),
    page("defects", "/defects", "Defects", "What got past us?", menu="Apps"),
    page("defect_new", "/defects/new", "Report a defect", "What is it?", "defects", roles=ACTS_ON_APPS),
    page("defect", "/defects/{id}", "Defect", "Could we have caught it?", "defects"),
    page("fhir_servers", "/fhir-servers", "FHIR servers", "Does each work?", menu="Organisations"),
    page("fhir_server", "/fhir-servers/{id}", "FHIR server", "What does not work there?", "fhir_servers"),
    page(
        "offboardings", "/offboardings", "Offboardings", "Who left, and what is erased?", menu="Organisations"
    ),
    page(
        "offboarding_new", "/offboardings/new", "Let a hospital leave", "Who?", "offboardings", roles=SECONDS
    ),
    page("offboarding", "/offboardings/{id}", "Offboarding", "What became of it?", "offboardings"),
    page("staff_new", "/staff/new", "Add a colleague", "Who is new?", "staff", roles=RULES),
    page("staff", "/staff", "Staff", "Who else must agree?", roles=SECONDS, menu="Organisations"),
    page("approval", "/staff/{id}", "Approval", "Do I agree?", "staff", roles=SECONDS),
    page("guide", "/guide", "Guide", "What is each page for?"),
)
