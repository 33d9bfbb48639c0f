"""The one decision whether an app may act at a tenant. Pure.

Add a new condition here, once, with its reason in ``ELIGIBILITY_REASONS`` and its explanation in ``standards.refusals``, and its sentences in ``eligibility.refusals``.
"""

from datetime import datetime

from hilum.apps.agreements.policy import missing
from hilum.apps.clients.models import SYSTEM_CLIENTS, ClientFacts, ClientType
from hilum.apps.clients.policy import (
    admission,
    certified_until,
    served_until,
    unbroken_since,
    workflows_allowed,
)
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.installations.policy import is_allowed_at, is_for_role, is_from
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility.models import EligibilityInputs, Stopped
from hilum.authorization.eligibility.refusals import (
    CATEGORY,
    CERTIFIED_UNTIL,
    EHR_STOPPED,
    INSTALLED_UNTIL,
    LAUNCH_FAULTS,
    LAUNCH_OVER,
    NOT_ASKED,
    NOTHING_LEFT,
    PATIENT_MISSING,
    UNNAMED,
    expected_from,
    explain,
    mode_of,
    owner_of,
    without_rights,
)
from hilum.controls.switches.models import Subject, Switch
from hilum.controls.switches.policy import launch_stops, launches_stopped, read_only, scope_stops, stopped_by
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Refused
from hilum.foundation.kernel.sentences import Sentence, moment
from hilum.foundation.standards.smart.scopes import WRITES, compile_scopes
from hilum.identity.people.models import Role
from hilum.identity.people.policy import is_open_to
from hilum.policy.matrix.models import Book

__all__ = [
    "EHR_STOPPED",
    "LAUNCH_FAULTS",
    "LAUNCH_OVER",
    "NOTHING_LEFT",
    "NOT_ASKED",
    "PATIENT_MISSING",
    "without_rights",
]
ACTS_ALONE = SYSTEM_CLIENTS | {ClientType.BACKEND}
"""Clients without a person, and so without a role."""


def eligibility_fault(eligibility: EligibilityInputs, now: datetime) -> Reason | None:
    """Return the first reason, in the order of ``Reason``, why an app may not act at a tenant; None if it may.

    INVARIANT: engaging a switch, or removing any fact, never turns a reason into None.
    Source: C4, C38, C140, C146
    """
    # Place, app, person: an administrator who repairs the first reason is shown the next one.
    return (
        _suspension(eligibility)
        or _place_fault(eligibility, now)
        or _owner_fault(eligibility)
        or _app_fault(eligibility, now)
        or _network_fault(eligibility)
        or _facility_fault(eligibility)
        or _person_fault(eligibility)
        or _workflow_fault(eligibility, now)
    )


def _suspension(eligibility: EligibilityInputs) -> Reason | None:
    """Judge whether the app is suspended, before any switch: a stop of new launches alone would say that open ones continue."""
    client = eligibility.client
    return None if client is None or client.active else Reason.APP_SUSPENDED


def fault_without_app(eligibility: EligibilityInputs, now: datetime) -> Reason | None:
    """Return why the platform may not read for a person without an app: a switch, the tenant or the person; None if it may."""
    # A switch and an inactive tenant come first, so that a person who is also inactive is refused for what everybody is.
    if not eligibility.person_active:
        return _place_fault(eligibility, now) or Reason.PERSON_INACTIVE
    return _place_fault(eligibility, now)


def _place_fault(eligibility: EligibilityInputs, now: datetime) -> Reason | None:
    tenant = eligibility.tenant
    # Without any switch, as nearly always, the whole check is this one test.
    if eligibility.switches.kinds and stopped_part(eligibility, now) is not None:
        return Reason.SWITCH_ENGAGED
    # The id is compared although the caller looked the tenant up: a token for another tenant must not pass
    # with this one's facts.
    if tenant is None or not tenant.active or tenant.id != eligibility.acting.tenant:
        return Reason.TENANT_MISMATCH
    return None


def _owner_fault(eligibility: EligibilityInputs) -> Reason | None:
    """Judge the owner of the tenant: at a vendor's own tenant, other vendors' apps are refused as if it did not exist (C123)."""
    tenant, client = eligibility.tenant, eligibility.client
    if tenant is None or tenant.vendor is None or (client is not None and client.type in SYSTEM_CLIENTS):
        return None
    return None if is_open_to(tenant, eligibility.acting.vendor) else Reason.TENANT_MISMATCH


def stopped_part(eligibility: EligibilityInputs, now: datetime) -> Stopped | None:
    """Return the part of an app's request that a switch stops; None if no switch stops any of it."""
    index, issued_at, subjects = eligibility.switches, eligibility.issued_at, _subjects(eligibility)
    if any(stopped_by(index, each, now=now, issued_at=issued_at) is not None for each in subjects):
        return Stopped.EVERYTHING
    if eligibility.launching and any(launches_stopped(index, each, now) is not None for each in subjects):
        return Stopped.EVERYTHING
    writes = bool(eligibility.letter & WRITES)
    if writes and any(read_only(index, each, now) is not None for each in subjects):
        return Stopped.WRITES
    stops = scope_stops(index, now, issued_at=issued_at, writes=writes)
    if stops is None:
        return None
    type_, letter = eligibility.resource_type, eligibility.letter
    # One scope that permits this and is not stopped is enough.
    needed = [each.text for each in compile_scopes(eligibility.scopes).grants(type_) if each.mask & letter]
    return Stopped.SCOPES if needed and all(stops(text, type_) for text in needed) else None


def _subjects(eligibility: EligibilityInputs) -> list[Subject]:
    """Return the subjects of switches: the version that a token was issued for, and the one that its client has adopted since."""
    acting, client, type_ = eligibility.acting, eligibility.client, eligibility.resource_type
    # A switch on a version also stops tokens of the version before it, once the client has moved on.
    versions = {acting.version, acting.version if client is None else client.version}
    return [
        Subject(acting.tenant, acting.vendor, acting.app, version, acting.person, type_)
        for version in versions
    ]


def stops_of(eligibility: EligibilityInputs, now: datetime) -> tuple[Switch, ...]:
    """Return the switches that stop a launch now; empty if they have been released since."""
    # Without issued_at: the page words a stop that is engaged now differently from one that has ended.
    subjects = _subjects(eligibility)
    found = {
        each.id: each for subject in subjects for each in launch_stops(eligibility.switches, subject, now)
    }
    return tuple(found.values())


def refusal_of(
    eligibility: EligibilityInputs, reason: Reason | str, now: datetime, *, tenant: str = ""
) -> Refused:
    """Return the explanation of a refusal for the person who launched; ``tenant``: the hospital's name (C216)."""
    stops, until, variant = stops_of(eligibility, now), None, ""
    client, installation = eligibility.client, eligibility.installation
    match reason:
        case Reason.SWITCH_ENGAGED:
            variant = mode_of(stops)
        case Reason.APP_NOT_CERTIFIED if client is not None:
            until = certified_until(eligibility.book, client)
            variant = CERTIFIED_UNTIL if until is not None and until <= now else ""
            if not variant and until is not None and admission(eligibility.book, client, now).entry is None:
                variant = CATEGORY
        case Reason.APP_NOT_INSTALLED if installation is not None:
            until = installation.expires_at
            variant = INSTALLED_UNTIL if until is not None and until <= now else ""
        case Reason.FACILITY_NOT_ALLOWED if not eligibility.acting.facility:
            variant = UNNAMED
    named = stops if reason == Reason.SWITCH_ENGAGED else ()
    return in_words(reason, variant, tenant=tenant, until=until, stops=named)


def in_words(
    reason: Reason | str,
    variant: str = "",
    *,
    tenant: str,
    until: datetime | None = None,
    stops: tuple[Switch, ...] = (),
) -> Refused:
    """Return the row of a refused launch as the person reads it. ``stops``: the switches that are the reason, if some are."""
    row, name = explain(reason, variant), tenant or Sentence("your hospital")
    words = {"tenant": name, "until": "" if until is None else moment(until)}
    owner, expected_at = owner_of(stops, row.owner), expected_from(stops)
    ends = (
        "" if expected_at is None else Sentence("It ends by itself on %(until)s.", until=moment(expected_at))
    )
    refusal = Refused(
        str(reason),
        Sentence(row.rule, **words).initial_capital(),
        owner=Sentence(owner, **words),
        next_step=Sentence(row.next_step, **words),
        expected=ends,
        expected_at=expected_at,
    )
    refusal.switches = tuple(each.id for each in stops)
    return refusal


def _app_fault(eligibility: EligibilityInputs, now: datetime) -> Reason | None:
    acting, client = eligibility.acting, eligibility.client
    # A client's facts and a token are read at different moments; facts of another client would be judged as its own.
    if client is None or client.id != acting.client or client.app != acting.app:
        return Reason.APP_NOT_CERTIFIED
    if not is_certified(client, eligibility.book, now, issued_at=eligibility.issued_at):
        return Reason.APP_NOT_CERTIFIED
    # A client that exists only at one tenant cannot be installed at another.
    if client.tenant is not None and client.tenant != acting.tenant:
        return Reason.APP_NOT_INSTALLED
    # A hospital's EHR and resource servers are registered by two of its people and are no apps.
    if client.type in SYSTEM_CLIENTS:
        return Reason.APP_NOT_INSTALLED if eligibility.for_records else None
    # An app that no entry admits is granted nothing; say so when it is opened, instead of "nothing is left to grant".
    if eligibility.launching and admission(eligibility.book, client, now).entry is None:
        return Reason.APP_NOT_CERTIFIED
    if not is_installed(client, eligibility.installation, now, issued_at=eligibility.issued_at):
        return Reason.APP_NOT_INSTALLED
    return _beginning_fault(eligibility, client, now)


def _beginning_fault(eligibility: EligibilityInputs, client: ClientFacts, now: datetime) -> Reason | None:
    """Judge what a beginning needs: agreements of vendor and hospital (C189), and a service owner for a backend service."""
    installation, role = eligibility.installation, eligibility.acting.role
    if not eligibility.begins or installation is None:
        return None
    # Nobody has signed in yet. A patient needs no agreement: where patients may sign in, the page asks again after sign-in.
    if role is None and Role.PATIENT in installation.roles:
        return None
    roles = frozenset({role}) if role else frozenset()
    lacking = missing(
        eligibility.book, (client,), installation.environment, roles, eligibility.agreements, now=now
    )
    if lacking:
        return Reason.AGREEMENT_MISSING
    # Somebody of the hospital must answer for what acts without a person (C17).
    until = eligibility.answered_until
    answered = client.type is not ClientType.BACKEND or (until is not None and now < until)
    return None if answered else Reason.APPROVER_MISSING


def _network_fault(eligibility: EligibilityInputs) -> Reason | None:
    """Judge the address that a backend service comes from, where the hospital has pinned it to networks (C213)."""
    client, installation, source = eligibility.client, eligibility.installation, eligibility.source
    if source is None or installation is None or not installation.networks:
        return None
    # People may come from any network; they prove who they are in other ways.
    if client is None or client.type is not ClientType.BACKEND or is_from(installation.networks, source):
        return None
    return Reason.NETWORK_NOT_ALLOWED


def _facility_fault(eligibility: EligibilityInputs) -> Reason | None:
    """Judge the facility of a launch: it is in use, and the hospital has not limited the app to others or denied it there (C38, C146)."""
    facility, installation = eligibility.acting.facility, eligibility.installation
    # None: no launch was taken yet, and the page asks again once one was. A hospital's own EHR has no installation.
    if facility is None or installation is None:
        return None
    # A hospital that limits nothing may leave facilities unnamed; one that does must know where the app is.
    if (facility and not eligibility.facility_open) or not is_allowed_at(installation, facility):
        return Reason.FACILITY_NOT_ALLOWED
    return None


def _person_fault(eligibility: EligibilityInputs) -> Reason | None:
    client, installation, role = eligibility.client, eligibility.installation, eligibility.acting.role
    if not eligibility.person_active:
        return Reason.PERSON_INACTIVE
    # None: nobody has signed in yet. The page judges eligibility again once somebody has.
    if role is None or (client is not None and client.type in ACTS_ALONE):
        return None
    if installation is None or not is_for_role(installation, role):
        return Reason.ROLE_NOT_ALLOWED
    return None


def _workflow_fault(eligibility: EligibilityInputs, now: datetime) -> Reason | None:
    """Judge the workflow of an agreement. Those from before there were workflows, and launches that state none, have none (C190)."""
    workflow, client = eligibility.acting.workflow, eligibility.client
    if not workflow or client is None or workflow in workflows_allowed(eligibility.book, client, now):
        return None
    return Reason.WORKFLOW_NOT_APPROVED


def is_certified(
    client: ClientFacts, book: Book, now: datetime, *, issued_at: datetime | None = None
) -> bool:
    """Check whether a client is active, unexpired and certified or in its grace, and has been without interruption since ``issued_at``.

    The grace is for where an app is installed already: whoever installs one asks for its certification (C114). A tenant's own EHR or resource
    server needs no certification and no installation, only its registration. Anything issued before an interruption stays invalid after it.
    """
    if not client.active or (client.expires_at is not None and client.expires_at <= now):
        return False
    # INVARIANT: an interruption (suspension, lapse, withdrawal) ends everything issued before it, also after it is over.
    if (
        issued_at is not None
        and client.since is not None
        and issued_at < client.since
        and not _is_within_grace(client, book, issued_at, now)
    ):
        return False
    if client.type in SYSTEM_CLIENTS:
        return True
    ends = served_until(book, client)
    return ends is not None and now < ends


def _is_within_grace(client: ClientFacts, book: Book, issued_at: datetime, now: datetime) -> bool:
    """Check whether every gap in a client's certification since then was within its grace."""
    if not client.gaps or client.type in SYSTEM_CLIENTS:
        return False
    since = unbroken_since(book, client, now)
    return since is not None and issued_at >= since


def is_installed(
    client: ClientFacts,
    installation: InstallationFacts | None,
    now: datetime,
    *,
    issued_at: datetime | None = None,
) -> bool:
    """Check whether an installation is in force for a client's environment, and has been since ``issued_at`` (C4)."""
    if installation is None or (installation.expires_at is not None and installation.expires_at <= now):
        return False
    # A client that was certified for synthetic data only must not read a production installation's records (C4).
    if client.environment is Environment.SANDBOX and installation.environment is not Environment.SANDBOX:
        return False
    # The hospital approved the app under another vendor; it has not approved this one (C14).
    if client.owner_since is not None and (
        installation.since is None or installation.since < client.owner_since
    ):
        return False
    # What was issued at that very moment is treated as issued after it, as in `is_certified`.
    return issued_at is None or installation.since is None or issued_at >= installation.since
