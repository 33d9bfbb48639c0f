"""What happens to a hospital's rows in each table when it has left. Pure data, in the order of erasure.

One readable list: a verb in each of thirty modules would be thirty places to forget something.
A test fails for a table of people's or hospitals' rows that is missing here.
"""

from hilum.hospitals.offboarding.models import By, ErasureAction, Retention

_TENANT, _PERSON, _CLIENT = By.TENANT, By.PERSON, By.CLIENT
_ERASE, _KEEP = ErasureAction.ERASE, ErasureAction.KEEP

RETENTIONS = (
    # Credentials and sessions. None of them works; they go first.
    Retention("signin_session", _TENANT, _ERASE, "sessions"),
    Retention("signin_pending", _TENANT, _ERASE, "sign-ins in progress"),
    Retention("signin_api_token", _PERSON, _ERASE, "API tokens"),
    Retention("signin_password", _PERSON, _ERASE, "passwords"),
    Retention("signin_password_rule", _TENANT, _ERASE, "rules for passwords"),
    Retention("factors_totp", _PERSON, _ERASE, "authenticator apps"),
    Retention("factors_recovery", _PERSON, _ERASE, "recovery codes"),
    Retention("factors_passkey", _PERSON, _ERASE, "passkeys"),
    Retention("enrolment_link", _TENANT, _ERASE, "links into accounts"),
    Retention("federation_link", _TENANT, _ERASE, "links of accounts to identities"),
    Retention("federation_unlinked", _PERSON, _ERASE, "links that ended"),
    Retention(
        "federation_provider",
        _TENANT,
        _ERASE,
        "identity providers",
        exported=True,
        hidden=("secret_sealed",),
    ),
    Retention("authorization_request", _TENANT, _ERASE, "authorization requests"),
    Retention("authorization_code", _TENANT, _ERASE, "authorization codes"),
    Retention("access_token", _TENANT, _ERASE, "access tokens"),
    Retention("refresh_token", _TENANT, _ERASE, "refresh tokens"),
    Retention("token_family", _TENANT, _ERASE, "families of tokens"),
    Retention("launch", _TENANT, _ERASE, "launches with their patients"),
    Retention("ehr_activity", _TENANT, _ERASE, "counts of the EHR's activity", exported=True),
    Retention("registry_client_secret", _CLIENT, _ERASE, "secrets of the hospital's own clients"),
    Retention("registry_credential_use", _CLIENT, _ERASE, "use of those secrets"),
    Retention("registry_client_change", _CLIENT, _ERASE, "edits of those clients"),
    Retention(
        "registry_client",
        By.APP,
        _ERASE,
        "the hospital's own clients: its EHR, its servers",
        exported=True,
    ),
    Retention("pictures_picture", By.OWNER, _ERASE, "its logo"),
    Retention("signing_key", By.RING, _ERASE, "keys that signed id_tokens"),
    # Decisions of people and the hospital.
    Retention("authorization_version", By.AUTHORIZATION, _ERASE, "versions of consents", exported=True),
    Retention("authorization", _TENANT, _ERASE, "consents and agreements of people", exported=True),
    Retention("breakglass_use", _TENANT, _ERASE, "emergency accesses and their reviews", exported=True),
    Retention("breakglass_setting", _TENANT, _ERASE, "settings of emergency access", exported=True),
    Retention(
        "service_owners_service_owner", _TENANT, _ERASE, "service owners of backend services", exported=True
    ),
    Retention("requests_request", _TENANT, _ERASE, "requests of people", exported=True),
    Retention("snapshots_snapshot", By.ID, _ERASE, "that it was a vendor's own"),
    Retention(
        "registry_installation", _TENANT, _ERASE, "installations and their approval records", exported=True
    ),
    Retention("control_quota", _TENANT, _ERASE, "quotas", exported=True),
    Retention(
        "approvals_approval", _TENANT, _ERASE, "what two people agreed to", exported=True, hidden=("sealed",)
    ),
    Retention("dryruns_row", _TENANT, _ERASE, "results of dry runs"),
    Retention("decision_count", _TENANT, _ERASE, "counts of decisions"),
    Retention("revalidation_place", _TENANT, _ERASE, "where calls that were not certified were seen"),
    Retention("decision_slot", _TENANT, _ERASE, "counts of traffic"),
    Retention("monitoring_alert", _TENANT, _ERASE, "alerts about calls of apps", exported=True),
    Retention("service_slot", _TENANT, _ERASE, "how calls of apps ended, by ten minutes"),
    Retention("service_day", _TENANT, _ERASE, "how calls of apps ended, by day"),
    Retention("identity_chart_loss", _PERSON, _ERASE, "charts that people lost"),
    Retention("identity_facility", _TENANT, _ERASE, "facilities", exported=True),
    Retention(
        "identity_person",
        _TENANT,
        ErasureAction.BLANK,
        "people: only id, role and dates stay, since the audit names ids",
        exported=True,
        blank={
            "username": "=id",
            "name": "erased",
            "fhir_user": "",
            "fhir_user_claim": None,
            "patients": [],
            "chart_ends": [],
            "mail": "",
            "active": False,
        },
    ),
    Retention(
        "identity_tenant",
        By.ID,
        ErasureAction.BLANK,
        "the hospital: its id and name stay, so that nobody else gets the id",
        exported=True,
        hidden=("credentials_sealed",),
        blank={
            "upstream_url": "",
            "credentials_sealed": "",
            "upstream_public_url": "",
            "attachment_hosts": [],
            "quirks": [],
            "base_url": "",
            "ehr_origins": [],
            "colour": "",
            "logo": "",
            "language": "",
            "time_zone": "",
        },
    ),
    # What stays.
    Retention(
        "agreements_agreement", _TENANT, _KEEP, "it is the vendor's as much as the hospital's", exported=True
    ),
    Retention(
        "deletion_requests_request",
        _TENANT,
        _KEEP,
        "until 400 days after the vendor was asked to delete the hospital's data",
        exported=True,
    ),
    Retention("control_switch", _TENANT, _KEEP, "it keeps stopped what the hospital had", exported=True),
    Retention(
        "policies_exception", _TENANT, _KEEP, "signed decisions of the platform, with ids and no names"
    ),
    Retention(
        "registry_app", _TENANT, _KEEP, "names of the hospital's own systems, which certifications refer to"
    ),
    Retention("drills_drill", _TENANT, _KEEP, "results about the platform's stops, without a person"),
    Retention(
        "evidence_run",
        _TENANT,
        _KEEP,
        "signed results of apps tried on synthetic patients, which reviews refer to",
    ),
    Retention("fhir_servers_server", By.ID, _ERASE, "how its FHIR server worked"),
    Retention("incidents_notice", _TENANT, _KEEP, "notices of incidents to the hospital", exported=True),
    Retention("audit_hold", _TENANT, _KEEP, "what was held, by whom and why"),
    Retention("offboardings_offboarding", _TENANT, _KEEP, "who let the hospital leave, and this proof"),
    Retention(
        "audit_event",
        _TENANT,
        _KEEP,
        "the chained audit: its records stay as headers with ids, and as hashes; what they contain is purged when its retention period ends, "
        "and a hold keeps it longer",
    ),
    Retention(
        "access_index",
        _TENANT,
        _KEEP,
        "where accesses are found, also by the patients whom an answer showed; it goes with their contents",
    ),
)
ELSEWHERE = (
    (
        "journals of FHIR accesses",
        "like the audit: headers and hashes stay, contents until their retention period ends",
    ),
    ("mail that was sent to its people", "until the retention period of notices ends"),
    (
        "backups made before",
        "until the operator deletes them; whoever restores one lets the hospital leave again",
    ),
    ("the hospital's FHIR server", "it is the hospital's; the platform keeps no record of a patient itself"),
)
"""Data in no table, or in one without a column for its owner."""
HAVE_NO_HOSPITAL = frozenset(
    {
        "access_found",
        "factors_challenge",
        "incidents_incident",
        "lease",
        "notices_notice",
        "review_right",
        "review_conflict_of_interest",
    },
)
"""Tables with such a column that hold nothing of a hospital: rows of the platform's staff, and what goes by its own short retention.

And ``access_found``, whose keyed digests name nobody and go with those of ``access_index``.
"""
