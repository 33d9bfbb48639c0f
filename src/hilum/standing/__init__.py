"""Standing: whether an app may act at a tenant at all, before anybody asks what it may do there.

Owns: the one judgement (switch, tenant, certification, installation, person, role) and what it is judged by. Every door asks it: the
gateway, authorize, the token endpoint with introspection, the launch API, and the EHR's own calls.
Must not know: scopes and records, sessions, agreements, codes; what a door answers when it refuses.
Public verbs: policy.standing_fault, policy.fault_without_app, service.of_launch, service.of_token.
Invariants: reasons come in the order of ``Reason``; whatever is unknown or missing refuses; engaging a switch or taking anything away
never turns a refusal into a permit; a door adds conditions of its own and never leaves one of these out.
"""
