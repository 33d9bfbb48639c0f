"""The catalogue of refusals: what each reason means, and what to do next, in the words of those who read it.

One entry a reason, and the only place where these sentences stand: the gateway and the token endpoint answer apps with ``meaning``,
``hilum explain`` tells operators, pages show people ``person``, the launch API answers EHRs with ``ehr``, and docs/reference/reasons.md
is written from it. What a refusal says beyond its reason (which type, which scope) is said where it is decided.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hilum.kernel.decision import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """``person`` and ``ehr`` are empty for reasons that no page and no launch is refused for. ``{tenant}`` is the hospital's name."""

    meaning: str
    next_step: str
    person: str = ""
    ehr: str = ""


_ASK_TENANT = "Ask the administrator of {tenant}."
_ASK_VENDOR = "Ask the vendor of the app."

CATALOGUE: Mapping[Reason, Refusal] = MappingProxyType(
    {
        Reason.TOKEN_MISSING: Refusal(
            "No access token came with the request.", "Send `Authorization: Bearer`."
        ),
        Reason.REQUEST_UNSUPPORTED: Refusal(
            "The request is malformed, names something unknown, or is of a kind that is refused whole (batch, history, patch, operations).",
            "The sentence in the answer names the part; send the simpler form.",
        ),
        Reason.SNAPSHOT_STALE: Refusal(
            "This worker could not confirm within two seconds what is allowed, or could not look the token up, so it let nothing through.",
            "Try again after `Retry-After`; operations: look at `/readyz` and the database.",
        ),
        Reason.TOKEN_INVALID: Refusal(
            "The access token was not issued here, or has expired.", "Refresh, or authorize again."
        ),
        Reason.PROOF_INVALID: Refusal(
            "The access token is bound to a key, and the request did not prove that key.", "Send the proof."
        ),
        Reason.TOKEN_REVOKED: Refusal(
            "The access token was revoked, or the agreement behind it withdrawn.", "Authorize again."
        ),
        Reason.SWITCH_ENGAGED: Refusal(
            "A kill switch stops this, or did after the token was issued.",
            "Ask who operates the platform; `hilum switch list`. After release, launch again.",
            person="This app, or what it needs, is stopped at the moment. " + _ASK_TENANT,
            ehr="A kill switch stops this app here; ask the hospital's administrator.",
        ),
        Reason.TENANT_MISMATCH: Refusal(
            "The access token is not for this FHIR base, or the hospital is not active here.",
            "Use it at the FHIR base it was issued for.",
            person="{tenant} is not active on this platform. " + _ASK_TENANT,
            ehr="This hospital is not active here; ask the hospital's administrator.",
        ),
        Reason.APP_NOT_CERTIFIED: Refusal(
            "The app's version has no certification in force, or the app is suspended.",
            "The vendor asks the platform's reviewers.",
            person="This app is not certified for use here. " + _ASK_VENDOR,
            ehr="The app is not certified now; ask the vendor of the app.",
        ),
        Reason.APP_NOT_INSTALLED: Refusal(
            "The app is not installed at this hospital, or was removed after the token was issued.",
            "The hospital's administrator installs it.",
            person="This app is not installed at {tenant}. " + _ASK_TENANT,
            ehr="The app is not installed here; ask the hospital's administrator.",
        ),
        Reason.PERSON_INACTIVE: Refusal(
            "The account of the person behind the request is not active.",
            "The hospital's administrator adds an account; a deactivated one stays so.",
            person="Your account at {tenant} is not active. " + _ASK_TENANT,
            ehr="The person's account is not active here; ask the hospital's administrator.",
        ),
        Reason.ROLE_NOT_ALLOWED: Refusal(
            "The app is not installed for the person's role, or the role may not do this to this type.",
            "The hospital's administrator widens the installation, or nobody does: rights come with the role.",
            person="Your role may not use this app at {tenant}. " + _ASK_TENANT,
            ehr="The app is not installed for this person's role; ask the hospital's administrator.",
        ),
        Reason.WORKFLOW_NOT_APPROVED: Refusal(
            "The workflow of the launch is not approved for the app here.",
            "Reserved for the policy matrix; nothing gives this reason yet.",
        ),
        Reason.SCOPE_RETIRED: Refusal(
            "A scope has passed its sunset.",
            "Reserved for the scope registry; nothing gives this reason yet.",
        ),
        Reason.SCOPE_INSUFFICIENT: Refusal(
            "No granted scope covers this interaction on this type.",
            "Ask for the scope when authorizing; the `scope` of the token response says what was granted.",
        ),
        Reason.LAUNCH_ENDED: Refusal(
            "The EHR session that opened the app has ended.", "Launch again from the chart."
        ),
        Reason.CONTEXT_MOVED: Refusal(
            "The chart has moved to another patient since the launch.", "Launch again from the chart."
        ),
        Reason.OUTSIDE_LAUNCH_CONTEXT: Refusal(
            "The record is not in the chart of the patient in context: another patient's, or not there at all.",
            "Answered exactly as if there were no such record.",
        ),
        Reason.AUTHORIZATION_EXPIRED: Refusal(
            "The agreement behind the token has expired.", "Authorize again."
        ),
        Reason.LABEL_WITHHELD: Refusal(
            "A label on the record withholds it (for example 42 CFR Part 2).",
            "Answered exactly as if there were no such record.",
        ),
        Reason.TOO_COSTLY: Refusal(
            "The search would cost too much.", "The sentence in the answer names the cheaper form."
        ),
        Reason.RESOURCE_TOO_LARGE: Refusal(
            "The resource is larger than an app may write of its type, so that no app makes a record too large for others to read.",
            "Send less, or move attachments into a DocumentReference.",
        ),
        Reason.QUOTA_EXCEEDED: Refusal(
            "The app has used up its quota at this hospital for now.", "Wait `Retry-After` seconds."
        ),
        Reason.CONCURRENCY_EXCEEDED: Refusal(
            "Too many requests are under way to this FHIR server.", "Wait `Retry-After` seconds."
        ),
        Reason.WRITE_REPEATED: Refusal(
            "An identical create of the same client, person and tenant is not settled yet, or its answer may have been lost.",
            "The sentence has the request id of the first one, and `Location` what it stored, if that is known.",
        ),
        Reason.UPSTREAM_UNAVAILABLE: Refusal(
            "The hospital's FHIR server did not answer in time.", "Try again after `Retry-After`."
        ),
        Reason.RESPONSE_UNJUDGEABLE: Refusal(
            "The hospital's FHIR server answered something that cannot be judged, so nothing of it was returned.",
            "Operations: compare the server with the FHIR R4 specification.",
        ),
        Reason.AUDIT_UNAVAILABLE: Refusal(
            "The access could not be recorded durably, so nothing was returned.",
            "Operations: look at the disk or database of the audit journal.",
        ),
        Reason.OUTCOME_UNKNOWN: Refusal(
            "A write was sent, and its answer was lost or its outcome could not be recorded. It may have been carried out.",
            "Read what is stored, or ask `hilum explain`. An identical create is refused until this one is settled.",
        ),
        Reason.WRITE_DONE_ANSWER_WITHHELD: Refusal(
            "The write was carried out; what the FHIR server answered was kept back, because the grant ended meanwhile or the answer cannot be judged.",
            "Do not send it again. An identical create of an app that is permitted again is `write_repeated` with `Location`, for 24 hours.",
        ),
    }
)


def meaning_of(reason: Reason) -> str:
    """Return what a reason means, for apps and operators."""
    return CATALOGUE[reason].meaning


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a kill switch stops, for those who are refused a launch."""

    person: str
    ehr: str


FULL_STOP, NO_NEW_LAUNCHES, ENDED = "full_stop", "no_new_launches", ""
STOPPED: Mapping[str, Stopped] = MappingProxyType(
    {
        FULL_STOP: Stopped(CATALOGUE[Reason.SWITCH_ENGAGED].person, CATALOGUE[Reason.SWITCH_ENGAGED].ehr),
        NO_NEW_LAUNCHES: Stopped(
            "This app cannot be opened at the moment; where it is open already, it goes on working. "
            + _ASK_TENANT,
            "A kill switch stops new launches of this app here, and what is open goes on; ask the hospital's administrator.",
        ),
        ENDED: Stopped(
            "This app was stopped after you began. Go back to it and start again.",
            "A kill switch ended this launch; open the app again from the chart.",
        ),
    }
)
"""By the mode of the switch in force; ``ENDED`` where none is any more and what was begun before it stays dead."""


def page_text(reason: Reason, tenant_name: str, *, stop: str = FULL_STOP) -> str:
    """Return the reason with the sentence for the person at the browser, which says whom to ask (C38). ``stop``: see ``STOPPED``."""
    sentence = STOPPED[stop].person if reason is Reason.SWITCH_ENGAGED else CATALOGUE[reason].person
    return f"{reason}: {sentence.format(tenant=tenant_name)}"


def ehr_text(reason: Reason, *, stop: str = FULL_STOP) -> str:
    """Return the sentence for the EHR that is refused a launch, and for whoever it opens it for. ``stop``: see ``STOPPED``."""
    return STOPPED[stop].ehr if reason is Reason.SWITCH_ENGAGED else CATALOGUE[reason].ehr
