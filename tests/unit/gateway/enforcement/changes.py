"""What may change between two requests, and the tokens that meet it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from hilum.apps.clients.models import ClientType
from hilum.authorization.breakglass.models import BreakGlassFacts
from hilum.authorization.consent.models import ConsentFacts
from hilum.authorization.launches.models import LaunchFacts
from hilum.authorization.tokens.models import TokenFacts
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import (
    Mode,
    Quota,
    QuotaFacts,
    QuotaLevels,
    Switch,
    Target,
    TargetKind,
)
from hilum.foundation.kernel.ids import PersonId
from hilum.gateway.enforcement.models import Snapshot
from hilum.identity.people.models import MovedReads
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.product_models import NOTICE
from tests.unit.gateway.enforcement.facts import (
    BACKEND,
    EVERYTHING,
    NOW,
    PATIENT_USER,
    SNAPSHOT,
    TENANT,
    TOKEN,
    with_client,
    with_installation,
    with_tenant,
)
from tests.unit.policy.matrix.books import book

HOUR = timedelta(hours=1)
HELD = replace(TOKEN, expires_at=NOW + 48 * HOUR, authorization_expires_at=NOW + 72 * HOUR)
SUNSET = PolicyFacts(
    book(
        {
            "scopes.patient_demographics.status": "deprecated",
            "scopes.patient_demographics.deprecated_from": NOW.date() - NOTICE,
            "scopes.patient_demographics.sunset": (NOW + timedelta(days=1)).date(),
            "scopes.patient_demographics.successor": "encounters",
        }
    )
)
"""A policy by which Patient is granted until midnight."""


def switched(snapshot: Snapshot, target: Target, mode: Mode, ends: datetime | None) -> Snapshot:
    switch = Switch("sw_1", target, mode, "because", "staff:sec", NOW - HOUR, expires_at=ends)
    index = controls.index([switch], [])
    return replace(snapshot, controls=replace(snapshot.controls, switches=index))


def limited(snapshot: Snapshot, burst: int) -> Snapshot:
    overrides = {("app_1", str(TENANT)): QuotaLevels(tenant=Quota(1.0, burst))}
    return replace(snapshot, controls=replace(snapshot.controls, quotas=QuotaFacts(overrides)))


TARGETS = st.sampled_from(
    [
        Target(TargetKind.PLATFORM),
        Target(TargetKind.VERSION, "ver_2"),
        Target(TargetKind.PERSON, "per_1"),
        Target(TargetKind.APP, "app_2"),
        Target(TargetKind.SCOPE, "patient/*.cruds"),
        Target(TargetKind.SCOPE, "patient/Observation.rs"),
        Target(TargetKind.SCOPE, "fhirUser"),
        Target(TargetKind.RESOURCE_TYPE, "Observation"),
    ]
)
ENDS = st.sampled_from([None, NOW, NOW + HOUR, NOW + 2 * HOUR])
SCOPES = st.sampled_from([EVERYTHING, ("patient/Patient.rs",), ("patient/Observation.rs", "openid"), ()])
Change = Callable[[Snapshot], Snapshot]
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.just(lambda snapshot: snapshot),
    st.just(lambda _: SNAPSHOT),
    st.tuples(TARGETS, st.sampled_from(list(Mode)), ENDS).map(lambda row: lambda it: switched(it, *row)),
    st.just(lambda it: replace(it, controls=replace(it.controls, switches=controls.index([], [])))),
    st.integers(1, 3).map(lambda burst: lambda it: limited(it, burst)),
    ENDS.map(lambda at: lambda it: with_client(it, certified_until=at)),
    ENDS.map(lambda at: lambda it: with_client(it, expires_at=at, version="ver_2")),
    ENDS.map(lambda at: lambda it: with_client(it, since=at)),
    SCOPES.map(lambda scopes: lambda it: with_client(it, certified_scopes=scopes)),
    st.booleans().map(lambda active: lambda it: with_client(it, active=active)),
    st.just(lambda it: with_client(it, type=ClientType.BACKEND)),
    ENDS.map(lambda at: lambda it: with_installation(it, expires_at=at)),
    ENDS.map(lambda at: lambda it: with_installation(it, since=at)),
    SCOPES.map(lambda scopes: lambda it: with_installation(it, scopes=scopes)),
    st.sampled_from([(), ("192.0.2.0/24",)]).map(
        lambda nets: lambda it: with_installation(it, networks=nets)
    ),
    st.sampled_from([{"nurse"}, {"physician"}]).map(
        lambda roles: lambda it: with_installation(it, roles=frozenset(roles))
    ),
    st.booleans().map(lambda active: lambda it: with_tenant(it, active=active)),
    st.sampled_from(list(MovedReads)).map(lambda moved: lambda it: with_tenant(it, moved_reads=moved)),
    st.booleans().map(lambda gone: lambda it: left(it, {TOKEN.person} if gone else set())),
    st.booleans().map(lambda moved: lambda it: launched(it, moved=moved)),
    st.booleans().map(lambda ended: lambda it: launched(it, ended=ended)),
    st.sampled_from([SUNSET, SNAPSHOT.policies]).map(lambda books: lambda it: replace(it, policies=books)),
    st.sampled_from([TokenFacts(), TokenFacts(revoked_families=frozenset({TOKEN.family}))]).map(
        lambda facts: lambda it: replace(it, tokens=facts)
    ),
    st.sampled_from([ConsentFacts(), ConsentFacts(frozenset({TOKEN.authorization}))]).map(
        lambda facts: lambda it: replace(it, consent=facts)
    ),
    st.just(lambda it: replace(it, break_glass=BreakGlassFacts())),
)


def left(snapshot: Snapshot, people: set[PersonId]) -> Snapshot:
    return replace(snapshot, identity=replace(snapshot.identity, inactive_people=frozenset(people)))


def launched(snapshot: Snapshot, *, moved: bool = False, ended: bool = False) -> Snapshot:
    launch = frozenset({TOKEN.launch})
    none = frozenset[Any]()
    return replace(
        snapshot, launches=LaunchFacts(moved=launch if moved else none, ended=launch if ended else none)
    )


TOKENS = [
    HELD,
    # The same row, read once more.
    replace(HELD),
    # Another one with the same hash: what was kept for the first is not for it.
    replace(HELD, scopes=("patient/Observation.r",)),
    replace(HELD, hash=b"o" * 32, scopes=("openid", "fhirUser", "patient/*.rs")),
    replace(HELD, hash=b"n" * 32, role="nurse", launch_moved=True),
    replace(HELD, hash=b"p" * 32, **PATIENT_USER),
    replace(HELD, hash=b"b" * 32, scopes=("system/*.rs",), **BACKEND),
    replace(HELD, hash=b"w" * 32, workflow="surgery"),
]
MOMENTS = st.sampled_from([NOW - HOUR, NOW, NOW + HOUR, NOW + 2 * HOUR, NOW + 15 * HOUR])
