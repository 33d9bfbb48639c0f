"""What a token comes to: its scopes within what its app is admitted to and the hospital has installed, its person's rights, its tier.

Compiled when a token is first used and kept for its next uses, since it follows from a few facts that seldom change: the same objects give
the same grant. Whatever follows from the time, a switch or the request is judged at each request by ``policy``. Pure.
"""

from datetime import datetime

from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.installations.models import InstallationFacts
from hilum.authorization.tokens.models import AccessToken
from hilum.controls.switches.models import Quota
from hilum.controls.switches.policy import quota_at
from hilum.foundation.standards.smart.scopes import compile_narrowed
from hilum.gateway.enforcement.access_scope import effective_access
from hilum.gateway.enforcement.models import CompiledGrant, Snapshot
from hilum.gateway.upstream.models import SlotRequest
from hilum.identity.people.policy import role_rights
from hilum.policy.matrix.models import NO_QUOTA, Admission, Book
from hilum.policy.matrix.policy import traffic_of, workflow_limit

GRANTS_BOUND = 20_000
"""Tokens whose grants are kept; the one that was compiled longest ago is dropped first."""
kept: dict[bytes, CompiledGrant] = {}


def compiled_grant(token: AccessToken, purpose: str, snapshot: Snapshot, now: datetime) -> CompiledGrant:
    """Return what a token comes to now. It says nothing of whether its app may act at all: without client or installation it reaches nothing.

    ``purpose``: a read of the platform's own has the scopes of its purpose, which no app was granted.
    INVARIANT: what is kept is what would be compiled now, since everything that it follows from is compared.
    """
    registry = snapshot.registry
    client = registry.clients.get(token.client)
    installation = registry.installations.get((token.tenant, token.app))
    book = snapshot.policies.book_at(token.tenant, now, token.app)
    admitted = None if client is None else admission(book, client, now)
    if purpose:
        return _compiled(
            token, purpose, client=client, installation=installation, book=book, admitted=admitted
        )
    grant = kept.get(token.hash)
    # By identity, since nothing of it ever changes; and another row with the same hash is another token.
    if (
        grant is None
        or grant.token is not token
        or grant.admitted is not admitted
        or grant.installation is not installation
        or grant.book is not book
        or grant.client is not client
    ):
        grant = _compiled(
            token, purpose, client=client, installation=installation, book=book, admitted=admitted
        )
        if len(kept) >= GRANTS_BOUND and token.hash not in kept:
            del kept[next(iter(kept))]
        kept[token.hash] = grant
    return grant


def _compiled(
    token: AccessToken,
    purpose: str,
    *,
    client: ClientFacts | None,
    installation: InstallationFacts | None,
    book: Book,
    admitted: Admission | None,
) -> CompiledGrant:
    # An app with patient/ scopes only has a picker too, and its scopes say nothing about choosing a patient (ADR 30).
    allowed: tuple[tuple[str, ...], ...] = ()
    if not purpose:
        limit = workflow_limit(book, token.workflow)
        allowed = (
            () if admitted is None else admitted.scopes,
            () if installation is None else installation.scopes,
            *(() if limit is None else (limit,)),
        )
    entry = None if admitted is None else admitted.entry
    traffic = traffic_of(entry, with_person=bool(token.person))
    return CompiledGrant(
        token,
        client,
        installation,
        book,
        admitted,
        effective_access(
            compile_narrowed(token.scopes, *allowed),
            role_rights(token.role) if token.person else None,
            token.patient,
            token.person_patients,
            token.fhir_user,
        ),
        traffic,
        SlotRequest(traffic.rank, book.shares, token.app),
        frozenset(() if client is None else client.origins),
    )


def quota_of(grant: CompiledGrant, snapshot: Snapshot) -> Quota:
    """Return the quota of an app at a tenant: that of its entry in the policy, unless the platform or the tenant set another one.

    Source: C129, C147, C179
    """
    entry = None if grant.admitted is None else grant.admitted.entry
    default = NO_QUOTA if entry is None else entry.quota
    return quota_at(snapshot.controls.quotas, grant.token.app, grant.token.tenant, default)
