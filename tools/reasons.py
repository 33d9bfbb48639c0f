"""What each refusal reason means and what to do about it, for docs/reference/reasons.md. One entry a reason, or the page fails."""

from hilum.kernel.decision import Reason

MEANINGS: dict[Reason, tuple[str, str]] = {
    Reason.TOKEN_MISSING: ("No access token came with the request.", "Send `Authorization: Bearer`."),
    Reason.REQUEST_UNSUPPORTED: (
        "The request is malformed, names something unknown, or is of a kind that is refused whole (batch, history, patch, operations).",
        "The sentence in the answer names the part; send the simpler form.",
    ),
    Reason.SNAPSHOT_STALE: (
        "This worker could not confirm within two seconds what is allowed, or could not look the token up.",
        "Try again after `Retry-After`; operations: look at `/readyz` and the database.",
    ),
    Reason.TOKEN_INVALID: ("The token was not issued here, or has expired.", "Refresh, or authorize again."),
    Reason.PROOF_INVALID: ("The token is bound to a key and came without its proof.", "Send the proof."),
    Reason.TOKEN_REVOKED: (
        "The token, its line, its authorization or its person was ended.",
        "Authorize again.",
    ),
    Reason.SWITCH_ENGAGED: (
        "A kill switch stops this, or did after the token was issued.",
        "Ask who operates the platform; `hilum switch list`. After release, launch again.",
    ),
    Reason.TENANT_MISMATCH: (
        "The token is another hospital's.",
        "Use it at the FHIR base it was issued for.",
    ),
    Reason.APP_NOT_CERTIFIED: (
        "The app's version has no certification in force, or the app is suspended.",
        "The vendor asks the platform's reviewers.",
    ),
    Reason.APP_NOT_INSTALLED: (
        "The hospital has not installed the app, or removed it after the token was issued.",
        "Its administrator installs it.",
    ),
    Reason.ROLE_NOT_ALLOWED: (
        "The app is not installed for the person's role, or the role may not do this to this type.",
        "The hospital's administrator widens the installation, or nobody does: rights come with the role.",
    ),
    Reason.WORKFLOW_NOT_APPROVED: (
        "The workflow of the launch is not approved for the app here.",
        "Reserved for the policy matrix; nothing gives this reason yet.",
    ),
    Reason.SCOPE_RETIRED: (
        "A scope has passed its sunset.",
        "Reserved for the scope registry; nothing gives this reason yet.",
    ),
    Reason.SCOPE_INSUFFICIENT: (
        "No granted scope covers this interaction on this type.",
        "Ask for the scope when authorizing; the `scope` of the token response says what was granted.",
    ),
    Reason.LAUNCH_ENDED: ("The EHR session that opened the app has ended.", "Launch again from the chart."),
    Reason.CONTEXT_MOVED: (
        "The chart has turned to another patient since the launch.",
        "Launch again from the chart.",
    ),
    Reason.OUTSIDE_LAUNCH_CONTEXT: (
        "The record lies outside the launch's patient or the person's charts.",
        "Answered exactly as if there were no such record.",
    ),
    Reason.AUTHORIZATION_EXPIRED: ("The agreement behind the token has ended.", "Authorize again."),
    Reason.LABEL_WITHHELD: (
        "The record carries a restricted label (for example 42 CFR Part 2).",
        "Answered exactly as if there were no such record.",
    ),
    Reason.TOO_COSTLY: ("The search would cost too much.", "The sentence names the cheaper form."),
    Reason.RESOURCE_TOO_LARGE: (
        "The resource is larger than an app may write of its type, so that no app makes a record too large for others to read.",
        "Send less, or move attachments into a DocumentReference.",
    ),
    Reason.QUOTA_EXCEEDED: ("The app has used up its quota at this hospital.", "Wait `Retry-After` seconds."),
    Reason.CONCURRENCY_EXCEEDED: (
        "Too many requests are under way to this FHIR server.",
        "Wait `Retry-After` seconds.",
    ),
    Reason.WRITE_REPEATED: (
        "An identical create of the same client, person and tenant is not settled yet, or its answer may have been lost.",
        "The sentence has the request id of the first one, and `Location` what it stored, if that is known.",
    ),
    Reason.UPSTREAM_UNAVAILABLE: (
        "The hospital's FHIR server does not answer in time.",
        "Try again after `Retry-After`.",
    ),
    Reason.RESPONSE_UNJUDGEABLE: (
        "The FHIR server answered something that cannot be judged, so nothing of it is given.",
        "Operations: compare the server with the FHIR R4 specification.",
    ),
    Reason.AUDIT_UNAVAILABLE: (
        "The access could not be recorded durably, so nothing is given.",
        "Operations: look at the disk or database of the audit journal.",
    ),
    Reason.OUTCOME_UNKNOWN: (
        "A write was sent, and its answer was lost or its outcome could not be recorded. It may have been carried out.",
        "Read what is stored, or ask `hilum explain`. An identical create is refused until this one is settled.",
    ),
    Reason.WRITE_DONE_ANSWER_WITHHELD: (
        "A write was carried out, and the grant ended before its answer left, or that cannot be judged. Nothing of it is given.",
        "Do not send it again. An identical create of an app that is permitted again is `write_repeated` with `Location`, for 24 hours.",
    ),
}
