"""Eligibility: whether an app may act at a tenant at all, decided before what it may do there.

Owns: the one decision (switch, tenant, certification, installation, agreements, facility, person, role, workflow) and its inputs; the
explanation for a person whose launch it refuses. Every entry point asks it: the gateway, authorize, the token endpoint with introspection,
the launch API, and the EHR's own calls.
Must not know: scopes and records; sessions, authorizations, codes; how an entry point presents a refusal.
Public verbs: policy.eligibility_fault, policy.fault_without_app, policy.refusal_of, service.of_launch, service.of_token,
service.is_app_stopped.
Invariants:
- Reasons come in the order of ``Reason``.
- Anything unknown or missing refuses. Engaging a switch or removing any input never turns a refusal into a permit.
- An entry point may add conditions of its own, but never omits one of these.
"""
