"""The decision about a read by id, written a second time from the order of reasons and nothing else: slow, and without anything kept.

What it shares with the platform is the algebra that has properties of its own: which scopes are left of a grant, and which a switch takes.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from hilum.apps.clients.models import ClientType
from hilum.apps.clients.policy import admission, served_until, workflows_allowed
from hilum.apps.installations.policy import is_from
from hilum.authorization.tokens.models import AccessToken
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import Mode, Target, TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import (
    READ,
    CompiledScope,
    Prefix,
    compile_narrowed,
    compile_scopes,
)
from hilum.gateway.enforcement.models import Snapshot
from hilum.identity.people.models import MovedReads
from hilum.identity.people.policy import role_rights
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.policy import retirement, workflow_limit

SHARED = frozenset({"Practitioner", "Organization"})
Check = tuple[Reason, Callable[[], bool]]


class Read:
    """One read by id with everything that its decision follows from."""

    def __init__(
        self,
        token: AccessToken,
        snapshot: Snapshot,
        now: datetime,
        *,
        tenant: TenantId,
        name: str,
        source: str | None,
    ) -> None:
        self.token, self.snapshot, self.now, self.tenant, self.source = token, snapshot, now, tenant, source
        self.name = name
        self.type, _, self.id = name.partition("/")
        self.client = snapshot.registry.clients.get(token.client)
        self.installation = snapshot.registry.installations.get((token.tenant, token.app))
        self.place = snapshot.identity.tenants.get(tenant)

    @property
    def book(self) -> Book:
        return self.snapshot.policies.book_at(self.token.tenant, self.now, self.token.app)

    def reason(self) -> Reason | None:
        """Return the first reason, in the order in which reasons are declared, why it is refused; None if it is permitted."""
        return next((reason for reason, applies in self.checks() if applies()), None)

    def checks(self) -> Iterator[Check]:
        token, now = self.token, self.now
        yield Reason.TOKEN_INVALID, lambda: now >= token.expires_at
        yield Reason.TOKEN_REVOKED, self.is_revoked
        yield Reason.APP_SUSPENDED, lambda: self.client is not None and not self.client.active
        yield Reason.SWITCH_ENGAGED, self.is_stopped
        yield Reason.TENANT_MISMATCH, self.is_elsewhere
        yield Reason.APP_NOT_CERTIFIED, self.is_not_certified
        yield Reason.APP_NOT_INSTALLED, self.is_not_installed
        yield Reason.NETWORK_NOT_ALLOWED, self.is_from_elsewhere
        yield (
            Reason.PERSON_INACTIVE,
            lambda: token.person != "" and token.person in self.snapshot.identity.inactive_people,
        )
        yield Reason.ROLE_NOT_ALLOWED, self.is_of_another_role
        yield Reason.WORKFLOW_NOT_APPROVED, self.is_for_another_workflow
        yield Reason.ROLE_NOT_ALLOWED, lambda: not self.is_own and not self.role_reads
        yield Reason.SCOPE_RETIRED, lambda: self.lacks_a_scope and self.retired
        yield Reason.SCOPE_INSUFFICIENT, lambda: self.lacks_a_scope
        yield Reason.LAUNCH_ENDED, self.has_ended
        yield Reason.CONTEXT_MOVED, self.has_moved
        yield Reason.OUTSIDE_LAUNCH_CONTEXT, self.is_outside
        ends = token.authorization_expires_at
        yield Reason.AUTHORIZATION_EXPIRED, lambda: ends is not None and now >= ends

    def is_revoked(self) -> bool:
        facts, token = self.snapshot.tokens, self.token
        return (
            token.family in facts.revoked_families
            or token.hash in facts.revoked_tokens
            or token.authorization in self.snapshot.consent.revoked
        )

    def is_stopped(self) -> bool:
        token, client = self.token, self.client
        versions = {token.version, token.version if client is None else client.version}
        targets = [
            Target(TargetKind.PLATFORM),
            Target(TargetKind.TENANT, token.tenant),
            Target(TargetKind.VENDOR, token.vendor),
            Target(TargetKind.APP, token.app),
            *(Target(TargetKind.VERSION, version) for version in versions),
            Target(TargetKind.RESOURCE_TYPE, self.type),
        ]
        targets += [Target(TargetKind.PERSON, token.person)] if token.person else []
        needed = [each.text for each in compile_scopes(token.scopes).grants(self.type) if each.mask & READ]
        return any(map(self.is_full_stop, targets)) or bool(
            needed and all(map(self.is_scope_stopped, needed))
        )

    def is_full_stop(self, target: Target) -> bool:
        facts, issued = self.snapshot.controls.switches, self.token.issued_at
        ended = facts.not_issued_before.get(target)
        return (ended is not None and issued <= ended) or any(
            switch.mode is Mode.FULL_STOP
            and (switch.expires_at is None or self.now < switch.expires_at or issued <= switch.expires_at)
            for switch in facts.engaged.get(target, ())
        )

    def is_scope_stopped(self, text: str) -> bool:
        index, issued = self.snapshot.controls.switches, self.token.issued_at
        stops = controls.scope_stops(index, self.now, issued_at=issued, writes=False)
        return stops is not None and stops(text, self.type)

    def is_elsewhere(self) -> bool:
        return self.place is None or not self.place.active or self.tenant != self.token.tenant

    def is_not_certified(self) -> bool:
        client = self.client
        if client is None or (client.expires_at is not None and client.expires_at <= self.now):
            return True
        if client.since is not None and self.token.issued_at < client.since:
            return True
        until = served_until(self.book, client)
        return until is None or self.now >= until

    def is_not_installed(self) -> bool:
        here = self.installation
        if here is None or (here.expires_at is not None and here.expires_at <= self.now):
            return True
        return here.since is not None and self.token.issued_at < here.since

    def is_from_elsewhere(self) -> bool:
        assert self.installation is not None
        assert self.client is not None
        pinned = self.client.type is ClientType.BACKEND and self.source is not None
        return pinned and not is_from(self.installation.networks, self.source or "")

    def is_of_another_role(self) -> bool:
        assert self.installation is not None
        assert self.client is not None
        return self.client.type is not ClientType.BACKEND and self.token.role not in self.installation.roles

    def is_for_another_workflow(self) -> bool:
        assert self.client is not None
        workflow = self.token.workflow
        return workflow != "" and workflow not in workflows_allowed(self.book, self.client, self.now)

    @property
    def role_reads(self) -> bool:
        rights = role_rights(self.token.role) if self.token.person else None
        return rights is None or bool(rights.mask(self.type) & READ)

    @property
    def held(self) -> tuple[tuple[CompiledScope, ...], frozenset[str]]:
        """The scopes of the grant that reach this type, and those without a type, without what a switch takes out."""
        assert self.client is not None
        assert self.installation is not None
        limit = workflow_limit(self.book, self.token.workflow)
        admitted = admission(self.book, self.client, self.now).scopes
        limits = (admitted, self.installation.scopes, *(() if limit is None else (limit,)))
        scopes = compile_narrowed(self.token.scopes, *limits)
        clinical = [each for each in scopes.grants(self.type) if not self.is_scope_stopped(each.text)]
        special = frozenset(each for each in scopes.special if not self.is_scope_stopped(each))
        return tuple(each for each in clinical if each.mask & READ and each.matchers is not None), special

    @property
    def is_own(self) -> bool:
        return self.name == self.token.fhir_user and {"openid", "fhirUser"} <= self.held[1]

    def reach(self, *, anywhere: bool) -> list[frozenset[str] | None]:
        """Return whose records each scope reaches, None for everybody's; ``anywhere``: as if there were a patient in context."""
        token, found = self.token, list[frozenset[str] | None]()
        people = None if token.person_patients is None or anywhere else frozenset(token.person_patients)
        patient = token.patient or ("-" if anywhere else "")
        for scope in self.held[0]:
            shared = self.type in SHARED
            if scope.prefix is Prefix.SYSTEM:
                found += [] if token.person else [None]
            elif not token.person:
                continue
            elif scope.prefix is Prefix.USER:
                found.append(None if shared else people)
            elif patient and (people is None or patient in people) and not scope.text.startswith("patient/*"):
                found.append(None if shared else frozenset({patient}))
            elif patient and (people is None or patient in people) and not shared:
                found.append(frozenset({patient}))
        return found

    @property
    def lacks_a_scope(self) -> bool:
        return not self.is_own and not self.reach(anywhere=True) and not self.reach(anywhere=False)

    @property
    def retired(self) -> bool:
        return bool(retirement(self.book, self.token.scopes, self.type, READ))

    def has_ended(self) -> bool:
        launch = self.token.launch
        return (
            bool(launch) and launch in self.snapshot.launches.ended and "offline_access" not in self.held[1]
        )

    def has_moved(self) -> bool:
        launch = self.token.launch
        moved = self.token.launch_moved or (bool(launch) and launch in self.snapshot.launches.moved)
        return moved and self.place is not None and self.place.moved_reads is not MovedReads.ALLOW

    def is_outside(self) -> bool:
        if self.is_own:
            return False
        reach = self.reach(anywhere=False)
        named = self.type != "Patient" or any(within is None or self.id in within for within in reach)
        return not reach or not named
