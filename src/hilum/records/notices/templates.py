"""Every mail and every kind of webhook. The texts are constants; what others wrote appears only as a parameter of a declared kind."""

from hilum.records.notices.models import EventKind, EventType, Kind, MailKind, Template

_CONTACT = {
    "vendor": Kind.NAME,
    "contact": Kind.WORD,
    "address": Kind.ADDRESS,
    "link": Kind.LINK,
    "until": Kind.MOMENT,
}
_ROWS = (("Vendor", "vendor"), ("Contact", "contact"), ("Address", "address"))

CONTACT_PROOF = Template(
    MailKind.CONTACT_PROOF,
    "Confirm your contact address",
    (
        "A vendor was registered with this address as one of its contacts. Please confirm that it is yours.",
        "{link}",
        "The link works once, until {until}. If you do not know this vendor, open it and decline: you will get no more mail about it.",
    ),
    _CONTACT,
    _ROWS,
)
CONTACT_RENEWAL = Template(
    MailKind.CONTACT_RENEWAL,
    "Confirm your contact address again",
    (
        "The proof of this contact address ends on {ends}. Please confirm it again.",
        "{link}",
        "The link works once, until {until}. If this is no longer your address, open it and decline.",
    ),
    _CONTACT | {"ends": Kind.MOMENT},
    _ROWS,
)
DOMAIN_ENDS = Template(
    MailKind.DOMAIN_ENDS,
    "The proof of your domain ends soon",
    (
        "The proof that a domain is yours could not be renewed. It ends on {ends}.",
        "Serve the file with the line that was given to you again, then have the domain checked: hilum vendor domain check",
    ),
    {"vendor": Kind.NAME, "domain": Kind.NAME, "ends": Kind.MOMENT},
    (("Vendor", "vendor"), ("Domain", "domain")),
)
_AGREEMENT = {
    "vendor": Kind.NAME,
    "hospital": Kind.NAME,
    "agreement": Kind.WORD,
    "id": Kind.ID,
    "ends": Kind.MOMENT,
}
_AGREEMENT_ROWS = (
    ("Vendor", "vendor"),
    ("Hospital", "hospital"),
    ("Kind of agreement", "agreement"),
    ("Its id", "id"),
)
AGREEMENT_ASKED = Template(
    MailKind.AGREEMENT_ASKED,
    "An agreement waits for you to confirm it",
    (
        "The other organisation recorded this agreement. It takes effect once one of you confirms it with the digest of the document that you hold.",
        "Compare the documents first. Hospitals confirm it on the page Agreements of /tenant, vendors on the page Agreements of /developer, or both with hilum agreement confirm. If you did not sign it, end it.",
        "This mail is sent at most once a day about the two of you, however many agreements wait.",
    ),
    {name: kind for name, kind in _AGREEMENT.items() if name != "ends"},
    _AGREEMENT_ROWS,
)
AGREEMENT_ENDING = Template(
    MailKind.AGREEMENT_ENDING,
    "An agreement between vendor and hospital ends soon",
    (
        "This agreement ends on {ends}, and no other is recorded in its place.",
        "Sign a new one together and record it before that day; the other organisation confirms it. Otherwise apps that need it can no longer be opened at the hospital from then on.",
    ),
    _AGREEMENT,
    _AGREEMENT_ROWS,
)
AGREEMENT_LAPSED = Template(
    MailKind.AGREEMENT_LAPSED,
    "An agreement between vendor and hospital has ended",
    (
        "This agreement ended on {ends}, and no other is in force in its place.",
        "Apps that need it can no longer be opened at the hospital; those that are open keep working. Sign a new one together and record it; the other organisation confirms it.",
    ),
    _AGREEMENT,
    _AGREEMENT_ROWS,
)
_SERVICE_OWNER = {"service": Kind.NAME, "app": Kind.NAME, "service_owner": Kind.ID, "ends": Kind.MOMENT}
_SERVICE_OWNER_ROWS = (("Service", "service"), ("App", "app"), ("Service owner", "service_owner"))
SERVICE_OWNER_ASKED = Template(
    MailKind.SERVICE_OWNER_ASKED,
    "You are asked to answer for a backend service",
    (
        "An administrator of your hospital named you for a program that reads records by itself. It gets no tokens under your name before you agree, and your agreement ends on {ends}.",
        "Look at what it is for, about whom and when it runs, and agree or decline with your own account: Backend services in /tenant, or hilum service-owner show and hilum service-owner agree. If you did not expect this, decline.",
    ),
    _SERVICE_OWNER,
    _SERVICE_OWNER_ROWS,
)
SERVICE_OWNER_ENDS = Template(
    MailKind.SERVICE_OWNER_ENDS,
    "Soon nobody will answer for a backend service",
    (
        "What a colleague agreed to for this service ends on {ends}. From then on it gets no tokens at your hospital.",
        "If you still need it, name somebody before that day: Backend services in /tenant, or hilum service-owner ask.",
    ),
    _SERVICE_OWNER,
    _SERVICE_OWNER_ROWS,
)
SERVICE_OWNER_LOST = Template(
    MailKind.SERVICE_OWNER_LOST,
    "The person who answered for a backend service has left",
    (
        "The colleague who answered for this service at your hospital is no longer active. It goes on until {ends}, and gets no tokens after that.",
        "Before then, name somebody else, who agrees with their own account: Backend services in /tenant, or hilum service-owner ask. If you no longer need it, end it there.",
    ),
    _SERVICE_OWNER,
    _SERVICE_OWNER_ROWS,
)
DELETION_REQUEST_REQUESTED_MAIL = Template(
    MailKind.DELETION_REQUEST_REQUESTED,
    "Requests to delete data wait for your answer",
    (
        "A hospital or a person ended your app's access. Please delete the data that the app has, and answer each request before its deadline.",
        "Deletions in /developer, or hilum deletion-request list, has them, and hilum deletion-request show whose data each is about.",
        "This mail is sent at most once a day for an app, however many requests there are.",
    ),
    {"app": Kind.NAME, "deletion_request": Kind.ID, "due": Kind.MOMENT},
    (("App", "app"), ("First request", "deletion_request"), ("Answer before", "due")),
)
ENROLMENT = Template(
    MailKind.ENROLMENT,
    "Set the password of your account",
    (
        "An account was opened for you, or a new link into yours was asked for. Set its password here.",
        "{link}",
        "The link works once, until {until}. Some accounts also need a setup code, which a colleague gives you by another way. If you did not expect this mail, do nothing.",
    ),
    {"place": Kind.NAME, "username": Kind.NAME, "link": Kind.LINK, "until": Kind.MOMENT},
    (("Account at", "place"), ("Username", "username")),
)
APPROVAL_WAITS = Template(
    MailKind.APPROVAL_WAITS,
    "A request waits for your approval",
    (
        "A colleague asked for something that takes two people. It waits until {until}.",
        "To look at it: hilum approval show {approval}",
    ),
    {"kind": Kind.WORD, "approval": Kind.ID, "asker": Kind.NAME, "until": Kind.MOMENT},
    (("Kind", "kind"), ("Asked by", "asker")),
)
_FACTORS = {"place": Kind.NAME, "username": Kind.NAME, "colleague": Kind.NAME}
_FACTORS_ROWS = (("Account at", "place"), ("Username", "username"), ("Asked for by", "colleague"))
FACTORS_RESET_ASKED = Template(
    MailKind.FACTORS_RESET_ASKED,
    "Somebody asked to remove your second factor",
    (
        "A colleague asked to remove the second factor of your account. It happens once another colleague agrees.",
        "If you did not ask for help with signing in, tell your administrators at once: somebody may be trying to get into your account.",
    ),
    _FACTORS,
    _FACTORS_ROWS,
)
FACTORS_RESET = Template(
    MailKind.FACTORS_RESET,
    "Your second factor was removed",
    (
        "Two colleagues agreed to remove the second factor of your account. You are signed out everywhere, and your API tokens have ended.",
        "Sign in with your password and set up a new one now. If you did not ask for this, tell your administrators at once.",
    ),
    _FACTORS,
    _FACTORS_ROWS,
)
_SCOPE_FIELDS = {
    "scope": Kind.NAME,
    "ends": Kind.MOMENT,
    "successor": Kind.NAME,
    "apps": Kind.NAME,
    "place": Kind.NAME,
}
_SCOPE_ROWS = (("Scope", "scope"), ("Successor", "successor"), ("Who has it", "apps"), ("At", "place"))
SCOPE_ENDS = Template(
    MailKind.SCOPE_ENDS,
    "A scope that your apps have will end",
    (
        "A scope is deprecated. From {ends} on, no app is granted it, and access under it stops.",
        "To see what ends and what follows it: hilum policy scopes",
    ),
    _SCOPE_FIELDS,
    _SCOPE_ROWS,
)
BREAK_GLASS = Template(
    MailKind.BREAK_GLASS,
    "Somebody used emergency access",
    (
        "A clinician of your hospital opened restricted records in an emergency. It ends by {ends}.",
        "Somebody other than this person reviews it before {review}, on the hospital's console or with: hilum break-glass show {use}",
        "If it must end now: hilum break-glass end {use}",
    ),
    {
        "place": Kind.NAME,
        "person": Kind.NAME,
        "app": Kind.NAME,
        "use": Kind.ID,
        "ends": Kind.MOMENT,
        "review": Kind.MOMENT,
    },
    (("Hospital", "place"), ("Person", "person"), ("App", "app"), ("Its id", "use")),
)
SCOPE_ENDED = Template(
    MailKind.SCOPE_ENDED,
    "A scope that your apps had has ended",
    (
        "A scope ended on {ends}. No app is granted it any longer, and access under it has stopped.",
        "To see what follows it: hilum policy scopes",
    ),
    _SCOPE_FIELDS,
    _SCOPE_ROWS,
)
USE_EXCEEDS = Template(
    MailKind.USE_EXCEEDS,
    "One of your apps does more than it declares",
    (
        "One of your apps does something that its certified version does not declare. Nothing was withheld; a reviewer looks at it.",
        "Declare it in a new version and have that certified, or end this use. What is used of its scopes: hilum app scopes",
    ),
    {"app": Kind.NAME, "version": Kind.NAME, "what": Kind.NAME, "tier": Kind.WORD, "review": Kind.ID},
    (
        ("App", "app"),
        ("Version", "version"),
        ("What", "what"),
        ("Tier by its use", "tier"),
        ("Review", "review"),
    ),
)
LIMITS_TIGHTEN = Template(
    MailKind.LIMITS_TIGHTEN,
    "One of your apps will be limited more",
    (
        "From {ends} on, the platform's policy limits one of your apps more. Until then nothing is withheld from it.",
        "To see what would have been refused at each hospital: hilum app observed APP, or its page Scopes in /developer. Change the app before that day, or ask the platform's staff.",
        "This mail is sent once for an app and a day.",
    ),
    {"app": Kind.NAME, "what": Kind.NAME, "ends": Kind.MOMENT},
    (("App", "app"), ("What changes", "what")),
)
BOOK_CHANGED = Template(
    MailKind.BOOK_CHANGED,
    "The rules for apps of your hospital have changed",
    (
        "Since {since} another version of the platform's policy is in force at your hospital. It changes what apps may do there.",
        "What an app has now: hilum app scopes APP. People who open a stopped app see the reason. If this is wrong, ask the platform's staff.",
        "This mail is sent once about a change.",
    ),
    {
        "place": Kind.NAME,
        "version": Kind.ID,
        "stopped": Kind.NAME,
        "less": Kind.NAME,
        "more": Kind.NAME,
        "limits": Kind.NAME,
        "since": Kind.MOMENT,
    },
    (
        ("Hospital", "place"),
        ("Version of the policy", "version"),
        ("Stopped", "stopped"),
        ("May do less", "less"),
        ("May be allowed more", "more"),
        ("Other limits", "limits"),
    ),
)
BOOK_CHANGES = Template(
    MailKind.BOOK_CHANGES,
    "The rules for apps of your hospital will change",
    (
        "A version of the platform's policy changes what apps may do at your hospital, from {since} at the earliest.",
        "Until then nothing changes. What an app has now: hilum app scopes APP. If this is wrong, ask the platform's staff before that day.",
        "This mail is sent once about it.",
    ),
    BOOK_CHANGED.fields,
    BOOK_CHANGED.shown,
)
_FINDINGS = {"app": Kind.NAME, "rule": Kind.ID, "finding": Kind.ID, "due": Kind.MOMENT}
_FINDINGS_ROWS = (
    ("App", "app"),
    ("Gravest finding", "rule"),
    ("Its id", "finding"),
    ("Fix it before", "due"),
)
_FINDINGS_NEXT = (
    "To see what was found, and what to do: hilum finding show {finding}. All of them: hilum finding list --state open. "
    "Once it is fixed, have it looked at again: hilum finding recheck"
)
FINDINGS_OPENED = Template(
    MailKind.FINDINGS_OPENED,
    "A scheduled check of one of your certified apps found a problem",
    (
        "A scheduled check of one of your certified apps found a problem that must be fixed before {due}.",
        _FINDINGS_NEXT,
    ),
    _FINDINGS,
    _FINDINGS_ROWS,
)
FINDINGS_WARNED = Template(
    MailKind.FINDINGS_WARNED,
    "Half of the time to fix one of your apps has passed",
    (
        "A finding about one of your certified apps is still open. From {due} on, the app is no longer listed and cannot be launched.",
        _FINDINGS_NEXT,
    ),
    _FINDINGS,
    _FINDINGS_ROWS,
)
FINDINGS_STOPPED = Template(
    MailKind.FINDINGS_STOPPED,
    "One of your apps can no longer be opened",
    (
        "A finding about one of your certified apps was not fixed before {due}. The app is no longer listed and cannot be launched; where it is open, it keeps working.",
        "This ends by itself once the finding is fixed. " + _FINDINGS_NEXT,
    ),
    _FINDINGS,
    _FINDINGS_ROWS,
)
APP_HELD = Template(
    MailKind.APP_HELD,
    "An app that your hospital uses can no longer be opened",
    (
        "Scheduled checks found a problem with an app, and its vendor did not fix it in time. It cannot be launched; where it is open, it keeps working.",
        "This ends by itself once the vendor has fixed it. Ask the vendor when that will be, and what your people should use meanwhile.",
    ),
    {"app": Kind.NAME, "rule": Kind.ID},
    (("App", "app"), ("What was found", "rule")),
)
_ALERT = {"apps": Kind.NAME, "places": Kind.NAME, "kind": Kind.WORD}
_ALERT_ROWS = (("Apps", "apps"), ("Hospitals", "places"), ("What", "kind"))
_ALERT_KINDS = "Refused: not permitted, or no such record. Failed: not answered, or not to be answered. Slow: answered late."
ALERT = Template(
    MailKind.ALERT,
    "Calls of one of your apps exceed a limit",
    (
        "Within the last hour, more calls of your apps were refused, failed or slow than the policy allows. The alert ends by itself once the calls are within the limit again; you get at most one such mail a day for an app at a hospital.",
        _ALERT_KINDS,
        "See the numbers, and which limit: hilum alert list --state open. Which calls they were: hilum app calls.",
    ),
    _ALERT,
    _ALERT_ROWS,
)
APP_ALERT = Template(
    MailKind.APP_ALERT,
    "Calls of an app that your hospital uses exceed a limit",
    (
        "Within the last hour, more calls of apps at your hospital were refused, failed or slow than the policy allows. Nothing was stopped. The alert ends by itself once the calls are within the limit again; you get at most one such mail a day for an app.",
        _ALERT_KINDS,
        "If it is many apps at once, look at your FHIR server first. See the numbers: hilum alert list --state open.",
    ),
    _ALERT,
    _ALERT_ROWS,
)
CREDENTIALS_UNUSED = Template(
    MailKind.CREDENTIALS_UNUSED,
    "Secrets or keys of one of your clients were not used for 90 days",
    (
        "They still work, and nothing ends by itself. Remove what nobody uses: whoever finds it can use it.",
        "See which: hilum client credentials {client_id}. Replace or end what nobody needs (hilum app secret), or remove its keys.",
    ),
    {"client": Kind.NAME, "app": Kind.NAME, "client_id": Kind.ID},
    (("Client", "client"), ("App", "app")),
)
REQUESTS_WAIT = Template(
    MailKind.REQUESTS_WAIT,
    "People of your hospital ask for apps",
    (
        "Their requests wait for you or a colleague. You get at most one such mail an hour, however many requests there are.",
        "Look at who asks and why, and decide: Requests in /tenant, or hilum request list.",
    ),
    {"place": Kind.NAME, "apps": Kind.NAME},
    (("Hospital", "place"), ("Apps", "apps")),
)
REQUEST_DECIDED = Template(
    MailKind.REQUEST_DECIDED,
    "What you asked for was decided",
    (
        "Your request for an app was {outcome}.",
        "To see the reason, if one was given: hilum request show {request}",
    ),
    {"app": Kind.NAME, "place": Kind.NAME, "outcome": Kind.WORD, "request": Kind.ID},
    (("App", "app"), ("Hospital", "place")),
)
REVIEW_NEWS = Template(
    MailKind.REVIEW_NEWS,
    "Your submission to review has changed",
    (
        "The state of your submission has changed. Sign in and look at it: hilum review show, and hilum review disciplines for what was found.",
        "If it needs changes, its clock is stopped until you answer. If it was rejected, correct it and submit it again, or appeal once within 30 days: hilum review appeal.",
    ),
    {"app": Kind.NAME, "version": Kind.NAME, "what": Kind.NAME, "submission": Kind.ID},
    (("App", "app"), ("Version", "version"), ("What", "what"), ("Submission", "submission")),
)
REVIEW_LATE = Template(
    MailKind.REVIEW_LATE,
    "A clock of a review was missed",
    (
        "A review is late: its clock ended on {due}.",
        "Find it with hilum review list, and judge or decide it.",
    ),
    {"stage": Kind.WORD, "tier": Kind.WORD, "days": Kind.NAME, "due": Kind.MOMENT, "entry": Kind.ID},
    (("Stage", "stage"), ("Tier", "tier"), ("Business days", "days"), ("Entry", "entry")),
)
_CERTIFICATE = {"app": Kind.NAME, "version": Kind.NAME, "ends": Kind.MOMENT}
_CERTIFICATE_ROWS = (("App", "app"), ("Version", "version"))
CERTIFICATE_ENDS = Template(
    MailKind.CERTIFICATE_ENDS,
    "A certificate of one of your apps ends soon",
    (
        "The certificate of one of your apps ends on {ends}, and no later one has been issued. From then on no hospital can install it, and where the policy gives no grace it cannot be used anywhere.",
        "Submit the version again, or a newer one, in time: hilum review submit. A new review costs nothing.",
    ),
    _CERTIFICATE,
    _CERTIFICATE_ROWS,
)
CERTIFICATE_ENDED = Template(
    MailKind.CERTIFICATE_ENDED,
    "A certificate of one of your apps has ended",
    (
        "The certificate of one of your apps ended on {ends}, and no other one has been issued. The app can no longer be used.",
        "Submit the version again, or a newer one: hilum review submit. A new review costs nothing.",
    ),
    _CERTIFICATE,
    _CERTIFICATE_ROWS,
)
APP_CERTIFICATE_ENDS = Template(
    MailKind.APP_CERTIFICATE_ENDS,
    "The certificate of an app that your hospital uses ends",
    (
        "The certificate of an app that your hospital uses ends on {ends}, and no later one has been issued. From then on the app cannot be used, or only for a short grace period.",
        "Ask its vendor whether it is being certified again, and decide what your people should use if it is not.",
    ),
    _CERTIFICATE,
    _CERTIFICATE_ROWS,
)
_GRACE = _CERTIFICATE | {"grace": Kind.MOMENT}
CERTIFICATE_GRACE = Template(
    MailKind.CERTIFICATE_GRACE,
    "A certificate of one of your apps has ended, and its grace period has begun",
    (
        "The certificate of one of your apps ended on {ends}, and no other one has been issued. No hospital can install the app any longer, and it is not listed.",
        "Hospitals that have it may keep using it until {grace}. Before then, submit the version again, or a newer one: hilum review submit. A new review costs nothing.",
    ),
    _GRACE,
    _CERTIFICATE_ROWS,
)
APP_CERTIFICATE_GRACE = Template(
    MailKind.APP_CERTIFICATE_GRACE,
    "The certificate of an app that your hospital uses has ended, and its grace period has begun",
    (
        "The certificate of an app that your hospital uses ended on {ends}, and no other one has been issued. Your people can keep using the app until {grace}.",
        "Ask its vendor whether it is being certified again, and decide what your people should use from then on if it is not.",
    ),
    _GRACE,
    _CERTIFICATE_ROWS,
)
APP_CERTIFICATE_ENDED = Template(
    MailKind.APP_CERTIFICATE_ENDED,
    "An app that your hospital used is no longer certified",
    (
        "The certificate of an app that your hospital used ended on {ends}, no other one has been issued, and there is no grace period, or it has ended. The app cannot be opened, and its access has ended.",
        "Ask its vendor whether it is being certified again. Remove the app if you do not want it back.",
    ),
    _CERTIFICATE,
    _CERTIFICATE_ROWS,
)
INCIDENT_OPENED = Template(
    MailKind.INCIDENT_OPENED,
    "An incident was opened",
    (
        "It must be contained by {due}.",
        "Its steps, and the button that stops the app, are at Incidents in /operations, or: hilum incident show {incident}",
    ),
    {"summary": Kind.NAME, "severity": Kind.WORD, "incident": Kind.ID, "due": Kind.MOMENT},
    (("Incident", "summary"), ("Severity", "severity")),
)
_INCIDENT = {"what": Kind.NAME, "severity": Kind.WORD, "notice": Kind.ID}
_INCIDENT_ROWS = (("App or vendor", "what"), ("Severity", "severity"))
INCIDENT = Template(
    MailKind.INCIDENT,
    "An incident concerns your hospital",
    (
        "An app that is used at your hospital did harm, or may have done. What happened, how many of your patients it concerns, and what you should do stands in the notice.",
        "Read and acknowledge it: Incidents in /tenant, or hilum incident-notice show {notice}",
    ),
    _INCIDENT,
    _INCIDENT_ROWS,
)
INCIDENT_VENDOR = Template(
    MailKind.INCIDENT_VENDOR,
    "An incident concerns one of your apps",
    (
        "One of your apps did harm, or may have done. What happened, and what is expected of you, stands in the notice. The hospitals that it reached were told.",
        "Read and acknowledge it: Incidents in /developer, or hilum incident-notice show {notice}",
    ),
    _INCIDENT,
    _INCIDENT_ROWS,
)
FHIR_SERVER_FAILS = Template(
    MailKind.FHIR_SERVER_FAILS,
    "The FHIR server of a hospital fails",
    (
        "The check of a hospital's FHIR server found that apps cannot work there as they should. You get this mail once; a later check says when it works again.",
        "What was found, and what to change: Settings in /tenant, FHIR servers in /operations, or hilum tenant check {tenant}",
    ),
    {"hospital": Kind.NAME, "tenant": Kind.ID},
    (("Hospital", "hospital"),),
)
TEMPLATES = {each.id.value: each for each in tuple(globals().values()) if isinstance(each, Template)}

_OF_CONTACT = {"contact_id": Kind.ID, "contact": Kind.WORD, "vendor_id": Kind.ID}
WEBHOOK_PING = EventType(EventKind.PING, {"webhook_id": Kind.ID})
CONTACT_PROVED = EventType(EventKind.CONTACT_PROVED, _OF_CONTACT | {"until": Kind.MOMENT})
CONTACT_LAPSED = EventType(EventKind.CONTACT_LAPSED, _OF_CONTACT | {"since": Kind.MOMENT})
_OF_DOMAIN = {"domain_id": Kind.ID, "vendor_id": Kind.ID}
DOMAIN_PROVED = EventType(EventKind.DOMAIN_PROVED, _OF_DOMAIN | {"until": Kind.MOMENT})
DOMAIN_LAPSED = EventType(EventKind.DOMAIN_LAPSED, _OF_DOMAIN | {"since": Kind.MOMENT})
_OF_AGREEMENT = {
    "agreement_id": Kind.ID,
    "vendor_id": Kind.ID,
    "tenant": Kind.ID,
    "kind": Kind.WORD,
    "ends": Kind.MOMENT,
}
EVENT_AGREEMENT_ENDING = EventType(EventKind.AGREEMENT_ENDING, _OF_AGREEMENT)
EVENT_AGREEMENT_LAPSED = EventType(EventKind.AGREEMENT_LAPSED, _OF_AGREEMENT)
DELETION_REQUEST_REQUESTED = EventType(
    EventKind.DELETION_REQUEST_REQUESTED,
    {"deletion_request_id": Kind.ID, "app_id": Kind.ID, "due_at": Kind.MOMENT},
)
SCOPE_ENDING = EventType(
    EventKind.SCOPE_ENDING,
    {"scope": Kind.ID, "stage": Kind.ID, "ends": Kind.MOMENT, "vendor_id": Kind.ID},
)
APP_USE_EXCEEDS = EventType(
    EventKind.USE_EXCEEDS,
    {"app_id": Kind.ID, "vendor_id": Kind.ID, "review_id": Kind.ID, "tier": Kind.WORD},
)
APP_LIMITS_TIGHTEN = EventType(
    EventKind.LIMITS_TIGHTEN, {"app_id": Kind.ID, "vendor_id": Kind.ID, "ends": Kind.MOMENT}
)
APP_FINDINGS = EventType(
    EventKind.FINDINGS,
    {"app_id": Kind.ID, "finding_id": Kind.ID, "stage": Kind.WORD, "due": Kind.MOMENT},
)
APP_ALERTED = EventType(
    EventKind.ALERT, {"app_id": Kind.ID, "alert_id": Kind.ID, "tenant": Kind.ID, "kind": Kind.WORD}
)
_OF_REVIEW = {"submission_id": Kind.ID, "app_id": Kind.ID, "vendor_id": Kind.ID}
EVENT_REVIEW_NEWS = EventType(EventKind.REVIEW_NEWS, _OF_REVIEW | {"what": Kind.WORD})
EVENT_REVIEW_LATE = EventType(EventKind.REVIEW_LATE, _OF_REVIEW | {"stage": Kind.WORD, "due_at": Kind.MOMENT})
EVENT_CERTIFICATE_ENDING = EventType(
    EventKind.CERTIFICATE_ENDING, {"certificate_id": Kind.ID, "app_id": Kind.ID, "ends": Kind.MOMENT}
)
APP_INCIDENT = EventType(EventKind.INCIDENT, {"app_id": Kind.ID, "notice_id": Kind.ID, "severity": Kind.WORD})
EVENTS = {each.id.value: each for each in tuple(globals().values()) if isinstance(each, EventType)}
