"""The catalogue of refusals: what each reason means and what to do next, phrased for each reader.

One entry a reason, and the only source of these sentences: apps get ``meaning`` from the gateway and the token endpoint, operators see
it in ``hilum explain``, and docs/reference/reasons.md is generated from it. Explanations for people whose launch is refused are in ``eligibility``.
Details beyond the reason (which type, which scope) are added where the refusal is decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hilum.foundation.kernel.decision import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """The sentences of one reason."""

    meaning: str
    next_step: str


CATALOGUE: Mapping[Reason, Refusal] = MappingProxyType(
    {
        Reason.TOKEN_MISSING: Refusal("The request has no access token.", "Send `Authorization: Bearer`."),
        Reason.REQUEST_UNSUPPORTED: Refusal(
            "The request is malformed, refers to something unknown, or is of an unsupported kind (transaction, history, patch, operations).",
            "The response says which part; send a simpler request.",
        ),
        Reason.SNAPSHOT_STALE: Refusal(
            "This worker could not confirm within two seconds what is allowed, or could not read the token, so it refused the request.",
            "Retry after `Retry-After`; operators: check `/readyz` and the database.",
        ),
        Reason.TOKEN_INVALID: Refusal(
            "The access token was not issued here, or has expired.", "Refresh, or authorize again."
        ),
        Reason.PROOF_INVALID: Refusal(
            "The access token is bound to a key, and the request did not prove possession of it.",
            "Send the proof.",
        ),
        Reason.TOKEN_REVOKED: Refusal(
            "The access token was revoked, or its authorization was withdrawn.", "Authorize again."
        ),
        Reason.APP_SUSPENDED: Refusal(
            "The app is suspended by the platform at every hospital, also where it was open.",
            "The vendor fixes what it was told and asks the platform's staff, who resume it. Then launch again.",
        ),
        Reason.SWITCH_ENGAGED: Refusal(
            "A kill switch stops this request, or was engaged after the token was issued.",
            "Ask the platform's operator (`hilum switch list`). After the release, launch again.",
        ),
        Reason.TENANT_MISMATCH: Refusal(
            "The access token is not for this FHIR base, or the hospital is not active here.",
            "Use it at the FHIR base it was issued for.",
        ),
        Reason.APP_NOT_CERTIFIED: Refusal(
            "The app's version has no certification in force, or the token is from before an interruption of it.",
            "The vendor asks the platform's reviewers.",
        ),
        Reason.APP_NOT_INSTALLED: Refusal(
            "The app is not installed at this hospital, or was removed after the token was issued.",
            "The hospital's administrator installs it.",
        ),
        Reason.AGREEMENT_MISSING: Refusal(
            "An agreement between the vendor and the hospital that the app needs has lapsed or was never made, so the app cannot be opened; where it is open, it keeps working.",
            "Vendor or hospital records a new one with `hilum agreement add`, and the other confirms it; `hilum agreement list --findings` shows which lapsed.",
        ),
        Reason.APPROVER_MISSING: Refusal(
            "No person of the hospital answers for this backend service now: nobody agreed to its purpose, population and schedule, that has ended, or who did has left.",
            "An administrator of the hospital asks a colleague with `hilum service-owner ask`, who agrees with `hilum service-owner agree`.",
        ),
        Reason.NETWORK_NOT_ALLOWED: Refusal(
            "The hospital admits this backend service from some networks only, and the request came from elsewhere.",
            "Send it from one of them; the hospital's administrator sets them with `hilum installation networks`.",
        ),
        Reason.FACILITY_NOT_ALLOWED: Refusal(
            "The app is not installed for the facility of the launch, was denied there, or the facility was removed; where an app is limited"
            " to facilities, a launch that names none is refused, too.",
            "Open it at a facility for which it is installed; the hospital's administrator decides which those are.",
        ),
        Reason.PERSON_INACTIVE: Refusal(
            "The account of the person behind the request is not active.",
            "The hospital's administrator creates a new account; a deactivated one cannot be reactivated.",
        ),
        Reason.ROLE_NOT_ALLOWED: Refusal(
            "The app is not installed for the person's role, or the role does not permit this interaction on this type.",
            "The hospital's administrator adds the role to the installation; what a role permits cannot be changed.",
        ),
        Reason.WORKFLOW_NOT_APPROVED: Refusal(
            "The app may not be used here for the workflow of its launch: its version does not declare it, or the policy does not allow it.",
            "Open it for another workflow; the vendor certifies a version that declares this one.",
        ),
        Reason.SCOPE_RETIRED: Refusal(
            "The scope that would permit this was retired, or its sunset has passed.",
            "Request its successor, which the response names; `hilum policy scopes` says more.",
        ),
        Reason.SCOPE_INSUFFICIENT: Refusal(
            "No granted scope covers this interaction on this type.",
            "Request the scope when authorizing; `scope` in the token response lists what was granted.",
        ),
        Reason.LAUNCH_ENDED: Refusal(
            "The EHR session that opened the app has ended.", "Launch again from the chart."
        ),
        Reason.CONTEXT_MOVED: Refusal(
            "The chart has moved to another patient since the launch.", "Launch again from the chart."
        ),
        # Never says which of the two it is: whether another patient's record exists is itself clinical
        # information (ADR 13).
        Reason.OUTSIDE_LAUNCH_CONTEXT: Refusal(
            "The record, or a resource that it contains, is not in the chart of the patient in context: it is another patient's, or does not exist.",
            "The response is the same as for a record that does not exist.",
        ),
        Reason.AUTHORIZATION_EXPIRED: Refusal("The token's authorization has expired.", "Authorize again."),
        Reason.ONE_TIME_OVER: Refusal(
            "The agreement was for one opening of the app, and that is over.",
            "Open the app again; its person is asked again.",
        ),
        Reason.STUDY_ENDED: Refusal(
            "The study that the agreement was for has ended at this hospital.",
            "There is nothing left to refresh. A hospital that continues the study installs the app until a later day, and people are asked again.",
        ),
        Reason.FIXED_END_REACHED: Refusal(
            "The agreement had a fixed end, which opening the app does not move.",
            "Authorize again; its person is asked again.",
        ),
        Reason.AUTHORIZATION_IDLE: Refusal(
            "No token was issued for longer than the policy lets an agreement or a refresh token rest.",
            "Authorize again, and refresh more often than the limit.",
        ),
        Reason.AUTHORIZATION_DORMANT: Refusal(
            "The app was not used for so long that its person's agreement has ended.",
            "Authorize again; its person is asked again.",
        ),
        Reason.REFRESH_TOKEN_OLD: Refusal(
            "The refresh token is older than the policy allows now.", "Authorize again."
        ),
        Reason.ABSOLUTE_LIMIT_REACHED: Refusal(
            "Tokens were refreshed for as long after one authorization as the policy allows.",
            "Authorize again.",
        ),
        Reason.LABEL_WITHHELD: Refusal(
            "A label on the record, or on a resource that it contains, withholds it (for example 42 CFR Part 2).",
            "The response is the same as for a record that does not exist.",
        ),
        Reason.TOO_COSTLY: Refusal(
            "The search, or the batch that the request is an entry of, would cost too much.",
            "The response suggests a cheaper search, or another batch.",
        ),
        Reason.RESOURCE_TOO_LARGE: Refusal(
            "The resource is larger than an app may write of its type; a larger one would be too large for other apps to read.",
            "Send less, or move attachments into a DocumentReference.",
        ),
        Reason.QUOTA_EXCEEDED: Refusal(
            "The app has used up its quota at this hospital for now.", "Wait `Retry-After` seconds."
        ),
        Reason.APP_CONCURRENCY_EXCEEDED: Refusal(
            "As many requests of the app as may wait for this FHIR server, or it did not answer several of them in a row; the other places are kept for other apps.",
            "Wait `Retry-After` seconds, send fewer requests at a time, and ask for less with each.",
        ),
        Reason.CONCURRENCY_EXCEEDED: Refusal(
            "Too many requests to this FHIR server are in progress.", "Wait `Retry-After` seconds."
        ),
        Reason.TRAFFIC_SHED: Refusal(
            "Apps of this traffic class have reached their limit of concurrent requests at this FHIR server; the other places are kept for more urgent work.",
            "Wait `Retry-After` seconds, and send fewer requests at a time.",
        ),
        Reason.WRITE_REPEATED: Refusal(
            "An identical create by the same client, person and tenant is not settled yet, or its response may have been lost.",
            "The response has the request id of the first one and, if known, the created resource in `Location`.",
        ),
        Reason.UPSTREAM_UNAVAILABLE: Refusal(
            "The hospital's FHIR server did not respond in time, or what came before the request in its batch took too long.",
            "Retry after `Retry-After`.",
        ),
        Reason.RESPONSE_UNJUDGEABLE: Refusal(
            "The hospital's FHIR server sent a response that cannot be judged, so nothing of it was returned.",
            "Operators: check the server against the FHIR R4 specification.",
        ),
        Reason.AUDIT_UNAVAILABLE: Refusal(
            "The access could not be recorded durably, so nothing was returned.",
            "Operators: check the disk or database of the audit journal.",
        ),
        Reason.OUTCOME_UNKNOWN: Refusal(
            "A write was sent, and its response was lost or its outcome could not be recorded. It may have been executed.",
            "Read the resource, or run `hilum explain`. An identical create is refused until this one is settled.",
        ),
        # Apart from the reason that took the grant away: an app that read 401 or 503 would send the write
        # again, although it was executed.
        Reason.WRITE_DONE_ANSWER_WITHHELD: Refusal(
            "The write was executed; the FHIR server's response was withheld, because the grant ended meanwhile or the response cannot be judged.",
            "Do not repeat the write. For 24 hours, an identical create by an app that is permitted again returns `write_repeated` with `Location`.",
        ),
    }
)


def meaning_of(reason: Reason) -> str:
    """Return what a reason means, for apps and operators."""
    return CATALOGUE[reason].meaning
