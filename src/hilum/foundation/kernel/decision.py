"""Why a FHIR request is refused. The other outcome of a decision, the ``Permit``, is the gateway's."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a FHIR request is refused, in the order in which the reasons are checked."""

    # The order is part of the contract: of several faults the first is answered, so what comes after
    # TOKEN_REVOKED is disclosed to holders of a valid token only.
    TOKEN_MISSING = "token_missing"
    REQUEST_UNSUPPORTED = "request_unsupported"
    SNAPSHOT_STALE = "snapshot_stale"
    TOKEN_INVALID = "token_invalid"
    PROOF_INVALID = "proof_invalid"
    TOKEN_REVOKED = "token_revoked"
    APP_SUSPENDED = "app_suspended"
    SWITCH_ENGAGED = "switch_engaged"
    TENANT_MISMATCH = "tenant_mismatch"
    APP_NOT_CERTIFIED = "app_not_certified"
    APP_NOT_INSTALLED = "app_not_installed"
    AGREEMENT_MISSING = "agreement_missing"
    APPROVER_MISSING = "approver_missing"
    NETWORK_NOT_ALLOWED = "network_not_allowed"
    FACILITY_NOT_ALLOWED = "facility_not_allowed"
    PERSON_INACTIVE = "person_inactive"
    ROLE_NOT_ALLOWED = "role_not_allowed"
    WORKFLOW_NOT_APPROVED = "workflow_not_approved"
    SCOPE_RETIRED = "scope_retired"
    SCOPE_INSUFFICIENT = "scope_insufficient"
    LAUNCH_ENDED = "launch_ended"
    CONTEXT_MOVED = "context_moved"
    OUTSIDE_LAUNCH_CONTEXT = "outside_launch_context"
    AUTHORIZATION_EXPIRED = "authorization_expired"
    ONE_TIME_OVER = "one_time_over"
    STUDY_ENDED = "study_ended"
    FIXED_END_REACHED = "fixed_end_reached"
    AUTHORIZATION_IDLE = "authorization_idle"
    AUTHORIZATION_DORMANT = "authorization_dormant"
    REFRESH_TOKEN_OLD = "refresh_token_old"
    ABSOLUTE_LIMIT_REACHED = "absolute_limit_reached"
    LABEL_WITHHELD = "label_withheld"
    TOO_COSTLY = "too_costly"
    RESOURCE_TOO_LARGE = "resource_too_large"
    QUOTA_EXCEEDED = "quota_exceeded"
    APP_CONCURRENCY_EXCEEDED = "app_concurrency_exceeded"
    CONCURRENCY_EXCEEDED = "concurrency_exceeded"
    TRAFFIC_SHED = "traffic_shed"
    WRITE_REPEATED = "write_repeated"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    RESPONSE_UNJUDGEABLE = "response_unjudgeable"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    OUTCOME_UNKNOWN = "outcome_unknown"
    WRITE_DONE_ANSWER_WITHHELD = "write_done_answer_withheld"


class ReadPurpose(StrEnum):
    """Why the platform itself reads a record, other than for an app's request."""

    PICKER = "picker"
    """The context picker: the patients to choose from, and the encounters of one."""
    RECORD_NAME = "record_name"
    """The name of the patient that a page is about, for a person who acts for others."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Refused. ``detail`` is one sentence for the client's developer, without token, patient or path."""

    reason: Reason
    detail: str = ""
