"""What must hold whatever the facts are."""

from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from hilum.authorization.consent.models import ConsentFacts
from hilum.authorization.launches.models import LaunchFacts
from hilum.authorization.tokens.models import AccessToken, TokenFacts
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import ControlFacts, Mode, Switch, Target, TargetKind
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.gateway.enforcement.models import GatewayRequest, Permit, Snapshot
from hilum.gateway.enforcement.resource_access import judge_resource
from hilum.gateway.enforcement.response_filter import filter_response
from tests.effort import effort
from tests.unit.gateway.enforcement.facts import (
    BACKEND,
    NOW,
    OTHER,
    PATIENT_USER,
    RESTRICTED,
    SNAPSHOT,
    TOKEN,
    ask,
    decide,
    with_client,
    with_installation,
)

LAB = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"
SCOPES = st.lists(
    st.sampled_from(
        [
            "openid",
            "fhirUser",
            "offline_access",
            "patient/*.rs",
            "patient/Observation.rs",
            "patient/Observation.cruds",
            f"patient/Observation.rs?category={LAB}",
            "patient/Patient.r",
            "patient/Provenance.rs",
            "user/*.cruds",
            "user/Observation.rs",
            "user/Organization.r",
            "user/Group.rs",
            "system/*.rs",
            "system/Observation.cruds",
        ]
    ),
    max_size=6,
    unique=True,
).map(tuple)
BODY = b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p1"},"status":"final"}'
ASKS = st.sampled_from(
    [
        ask("Observation/o1"),
        ask("Observation/o1/_history/1"),
        ask("Observation?patient=p1"),
        ask("Observation?patient=p2"),
        ask("Observation?_revinclude=Provenance:target"),
        ask("Observation?_include=Observation:subject"),
        ask("Patient/p1"),
        ask("Patient/p2"),
        ask("Practitioner/dr"),
        ask("Organization/org"),
        ask("Group/g"),
        ask("Binary/b"),
        ask("Provenance/v"),
        ask("Basic/x"),
        ask("Observation", method="POST", body=BODY),
        ask("Observation/o1", method="PUT", body=BODY),
        ask("Observation/o1", method="DELETE"),
        ask("", method="POST", body=b'{"resourceType":"Bundle","type":"batch"}'),
    ]
)
WHO: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        PATIENT_USER,
        BACKEND,
        {"role": "nurse"},
        {"patient": ""},
        {"launch_moved": True},
        {"role": "nobody"},
    ]
)
TARGETS = st.sampled_from(
    [
        Target(TargetKind.PLATFORM),
        Target(TargetKind.TENANT, "general"),
        Target(TargetKind.VENDOR, "ven_1"),
        Target(TargetKind.APP, "app_1"),
        Target(TargetKind.APP, "app_2"),
        Target(TargetKind.VERSION, "ver_1"),
        Target(TargetKind.PERSON, "per_1"),
        Target(TargetKind.SCOPE, "patient/*.rs"),
        Target(TargetKind.SCOPE, "user/*.cruds"),
        Target(TargetKind.SCOPE, "patient/Observation.rs"),
        Target(TargetKind.RESOURCE_TYPE, "Observation"),
        Target(TargetKind.RESOURCE_TYPE, "Provenance"),
        Target(TargetKind.APP_TENANT, "app_1/general"),
        Target(TargetKind.APP_PERSON, "app_1/per_1"),
    ]
)
SWITCHES = st.lists(st.tuples(TARGETS, st.sampled_from(list(Mode))), max_size=3)


def switched(snapshot: Snapshot, engaged: list[tuple[Target, Mode]]) -> Snapshot:
    switches = [Switch(f"sw_{n}", t, m, "r", "staff:x", NOW) for n, (t, m) in enumerate(engaged)]
    return replace(snapshot, controls=ControlFacts(switches=controls.index(switches, [])))


def reaches(decision: Permit | Deny) -> bool:
    return isinstance(decision, Permit)


@given(
    asked=ASKS, scopes=SCOPES, who=WHO, before=SWITCHES, more=st.tuples(TARGETS, st.sampled_from(list(Mode)))
)
@settings(max_examples=effort(80, 5_000), deadline=None)
def test_engaging_a_switch_never_turns_deny_into_permit(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any], before: Any, more: Any
) -> None:
    """House rule 12."""
    held = replace(TOKEN, scopes=scopes, **who)

    now = decide(asked, held, switched(SNAPSHOT, before))
    then = decide(asked, held, switched(SNAPSHOT, [*before, more]))

    assert reaches(now) or not reaches(then)


@given(asked=ASKS, scopes=SCOPES, who=WHO, data=st.data())
@settings(max_examples=effort(80, 5_000), deadline=None)
def test_taking_a_scope_away_anywhere_never_turns_deny_into_permit(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any], data: st.DataObject
) -> None:
    """House rule 12; C68: granted = asked AND certified AND installed."""
    held = replace(TOKEN, scopes=scopes, **who)
    certified, installed = data.draw(SCOPES), data.draw(SCOPES)
    snapshot = with_installation(with_client(certified_scopes=certified), scopes=installed)
    both = replace(
        snapshot,
        registry=replace(snapshot.registry, clients=with_client(certified_scopes=certified).registry.clients),
    )
    before = decide(asked, held, both)
    at = data.draw(st.integers(0, 2))
    fewer = [list(scopes), list(certified), list(installed)]
    if not fewer[at]:
        return
    fewer[at].pop(data.draw(st.integers(0, len(fewer[at]) - 1)))
    narrowed = with_installation(with_client(), scopes=tuple(fewer[2]))
    clients = with_client(certified_scopes=tuple(fewer[1])).registry.clients
    narrowed = replace(narrowed, registry=replace(narrowed.registry, clients=clients))

    after = decide(asked, replace(held, scopes=tuple(fewer[0])), narrowed)

    assert reaches(before) or not reaches(after)


@given(asked=ASKS, scopes=SCOPES, who=WHO, engaged=SWITCHES)
@settings(max_examples=effort(50, 10_000), deadline=None)
def test_another_tenants_token_is_always_denied(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any], engaged: Any
) -> None:
    """House rule 12; C145."""
    held = replace(TOKEN, scopes=scopes, **who)

    assert not reaches(decide(replace(asked, tenant=OTHER), held, switched(SNAPSHOT, engaged)))
    assert not reaches(decide(asked, replace(held, tenant=OTHER), switched(SNAPSHOT, engaged)))


@given(asked=ASKS, scopes=SCOPES, who=WHO, which=st.integers(0, 5))
@settings(max_examples=effort(50, 10_000), deadline=None)
def test_revoking_anything_never_turns_deny_into_permit(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any], which: int
) -> None:
    held = replace(TOKEN, scopes=scopes, **who)
    revoked = [
        replace(SNAPSHOT, tokens=TokenFacts(revoked_tokens=frozenset({held.hash}))),
        replace(SNAPSHOT, tokens=TokenFacts(revoked_families=frozenset({held.family}))),
        replace(SNAPSHOT, consent=ConsentFacts(frozenset({held.authorization}))),
        replace(SNAPSHOT, launches=LaunchFacts(ended=frozenset({held.launch}))),
        replace(SNAPSHOT, launches=LaunchFacts(moved=frozenset({held.launch}))),
        replace(SNAPSHOT, identity=replace(SNAPSHOT.identity, inactive_people=frozenset({held.person}))),
    ][which]

    assert reaches(decide(asked, held)) or not reaches(decide(asked, held, revoked))


FACTS = st.sampled_from(
    [
        SNAPSHOT,
        replace(SNAPSHOT, tokens=TokenFacts(revoked_tokens=frozenset({TOKEN.hash}))),
        replace(SNAPSHOT, launches=LaunchFacts(moved=frozenset({TOKEN.launch}))),
        with_client(active=False),
        with_client(certified_scopes=("launch", "patient/Observation.rs")),
        with_installation(scopes=("launch", "patient/Observation.rs", "user/Observation.rs")),
        with_installation(roles=frozenset({"nurse"})),
    ]
)


@given(asked=ASKS, scopes=SCOPES, who=WHO, facts=st.lists(FACTS, min_size=2, max_size=3), data=st.data())
@settings(max_examples=effort(80, 5_000), deadline=None)
def test_what_two_copies_permit_together_each_of_them_permits(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any], facts: list[Snapshot], data: Any
) -> None:
    """ADR 162: the union of the copies before and after a failover turns no Deny of either into a permit."""
    copies = [switched(one, data.draw(SWITCHES)) for one in facts]
    token = replace(TOKEN, scopes=scopes, **who)
    united = decide(asked, token, replace(copies[0], earlier=tuple(copies[1:])))
    alone = [decide(asked, token, copy) for copy in copies]

    if isinstance(united, Permit):
        for permit in alone:
            assert isinstance(permit, Permit)
            assert {grant.text for grant in united.grants} <= {grant.text for grant in permit.grants}
    else:
        differ = any(copy != copies[0] for copy in copies)
        assert differ or not reaches(alone[0]), "copies that agree forbid no more than each of them"


@given(asked=ASKS, scopes=SCOPES, who=WHO)
@settings(max_examples=effort(50, 10_000), deadline=None)
def test_a_refusal_has_a_reason_and_a_sentence(
    asked: GatewayRequest, scopes: tuple[str, ...], who: dict[str, Any]
) -> None:
    found = decide(asked, replace(TOKEN, scopes=scopes, **who))

    if isinstance(found, Deny):
        assert found.reason in Reason
        assert found.detail.endswith(".")
        assert "p1" not in found.detail
        assert "p2" not in found.detail


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-5, 5),
        st.sampled_from(["", "Patient/p1", "Patient/p2", "x", "#c"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["reference", "subject", "meta", "security", "coding", "code", "system", "contained", "id"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)
REFERENCES = st.sampled_from(
    [{"reference": "Patient/p1"}, {"reference": "Patient/p2"}, {"reference": "#x"}, {}, None]
)
RESOURCES = st.fixed_dictionaries(
    {
        "resourceType": st.sampled_from(
            ["Observation", "Patient", "Provenance", "Medication", "Group", "Basic"]
        )
    },
    optional={
        "id": st.sampled_from(["p1", "p2", "a", "b"]),
        "subject": st.one_of(REFERENCES, JSON),
        "target": st.lists(
            st.sampled_from([{"reference": "Observation/a"}, {"reference": "Patient/p2"}]), max_size=2
        ),
        "meta": st.one_of(st.just(RESTRICTED), JSON),
        "contained": st.one_of(st.lists(st.just({"resourceType": "Medication"}), max_size=1), JSON),
        "category": JSON,
    },
)
ENTRIES = st.fixed_dictionaries(
    {"resource": RESOURCES},
    optional={
        "fullUrl": st.just("http://x"),
        "search": st.sampled_from([{"mode": "match"}, {"mode": "include"}, {"mode": "outcome"}, {}]),
        "request": st.just({"method": "GET"}),
    },
)
BUNDLES = st.fixed_dictionaries(
    {"resourceType": st.just("Bundle"), "type": st.just("searchset")},
    optional={
        "entry": st.lists(ENTRIES, max_size=5),
        "total": st.integers(0, 9),
        "link": JSON,
        "id": st.just("b"),
    },
)
SEARCHES = st.sampled_from(
    [
        "Observation",
        "Observation?_revinclude=Provenance:target",
        "Observation?_include=Observation:subject",
        "Patient",
        "Patient?_revinclude=Observation:subject",
    ]
)


# As a server that is well answers: most of it stays.
PLAIN = st.builds(
    lambda type_, id_, whose: {
        "resourceType": type_,
        "id": id_,
        "subject": {"reference": f"Patient/{whose}"},
    },
    st.sampled_from(["Observation", "Patient"]),
    st.sampled_from(["p1", "p2", "a", "b"]),
    st.sampled_from(["p1", "p1", "p2"]),
)
ANSWERS = st.lists(st.fixed_dictionaries({"resource": PLAIN}), min_size=1, max_size=5).map(
    lambda entries: {"resourceType": "Bundle", "type": "searchset", "entry": entries}
)
OWN = {"resourceType": "Observation", "id": "a", "subject": {"reference": "Patient/p1"}}
ONE = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": OWN}]}


@example(bundle=ONE, search="Observation", scopes=("patient/*.rs",), who={})
@given(bundle=st.one_of(ANSWERS, BUNDLES, JSON), search=SEARCHES, scopes=SCOPES, who=WHO)
@settings(max_examples=effort(80, 5_000), deadline=None)
def test_filtering_only_removes_and_is_idempotent(
    bundle: Any, search: str, scopes: tuple[str, ...], who: dict[str, Any]
) -> None:
    """House rule 12, C74."""
    held: AccessToken = replace(
        TOKEN, scopes=(*scopes, "patient/Observation.rs", "patient/Patient.rs"), **who
    )
    decision = decide(ask(search), held)
    if isinstance(decision, Deny):
        return
    evidence = {
        "Observation/a": traits_of(
            {"resourceType": "Observation", "id": "a", "subject": {"reference": "Patient/p1"}}
        )
    }

    found = filter_response(decision, bundle, evidence)

    if isinstance(found, Deny):
        assert found.reason is Reason.RESPONSE_UNJUDGEABLE
        return
    filtered, removed = found
    before = [entry.get("resource") for entry in bundle.get("entry", [])]
    after = [entry["resource"] for entry in filtered.get("entry", [])]
    assert all(resource in before for resource in after)
    assert len(before) - len(after) == removed
    assert all(filtered[key] == bundle[key] for key in filtered if key != "entry")
    if who in ({}, PATIENT_USER) and not any(scope.startswith("user/") for scope in scopes):
        assert all(
            each.get("subject") == {"reference": "Patient/p1"}
            for each in after
            if each["resourceType"] == "Observation"
        )
    assert filter_response(decision, filtered, evidence) == (filtered, 0)


PARTS = st.lists(
    st.fixed_dictionaries(
        {
            "resourceType": st.sampled_from(
                ["Observation", "Patient", "Binary", "Medication", "Group", "Basic"]
            )
        },
        optional={
            "subject": REFERENCES,
            "securityContext": REFERENCES,
            "meta": st.just(RESTRICTED),
            "id": st.sampled_from(["p1", "x"]),
        },
    ),
    max_size=2,
)


@given(record=PLAIN, parts=PARTS, scopes=SCOPES, who=WHO)
@settings(max_examples=effort(150, 10_000), deadline=None)
def test_what_a_record_contains_only_withholds_it(
    record: dict[str, Any], parts: list[dict[str, Any]], scopes: tuple[str, ...], who: dict[str, Any]
) -> None:
    """C73, C82, ADR 12: and with patient/ scopes nothing is shown that names another patient, or may be another's."""
    held = replace(TOKEN, scopes=(*scopes, "patient/Observation.rs", "patient/Patient.rs"), **who)
    decision = decide(ask(record["resourceType"]), held)
    if isinstance(decision, Deny):
        return
    without, holding = (
        judge_resource(decision.access, traits_of(each), decision.grants)
        for each in (record, record | {"contained": parts})
    )

    assert without is None or holding is not None
    if holding is None and all(grant.patients == frozenset({"p1"}) for grant in decision.grants):
        assert all(
            part.get("subject", {"reference": "Patient/p1"}) == {"reference": "Patient/p1"}
            for part in parts
            if part["resourceType"] == "Observation"
        )
        assert not {"Patient", "Group", "Basic"} & {part["resourceType"] for part in parts}
        assert not any("meta" in part or "securityContext" in part for part in parts)
