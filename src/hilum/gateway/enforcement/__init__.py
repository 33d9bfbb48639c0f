"""Gateway: the enforcement point in front of every tenant's FHIR server.

Owns: the decision (``policy.decide`` and its inputs), the snapshot of enforcement facts, the narrowing of searches, the
judgement on every resource that comes back, page links, the OperationOutcome of every refusal, ``/metadata`` as apps may see it.
Must not know: a database (it reads facts through a port), how tokens are made, what the sandbox is.
Public verbs: ``policy.decide``, ``snapshot.SnapshotKeeper``, ``service.Enforcer.answer``, ``batches.Batches.answer``, ``routes.Gateway``.
Invariants:
- Unknown, missing or stale means no.
- Engaging a switch or removing a scope never turns a Deny into a permit.
- Filters only remove, and are idempotent.
- Nothing is answered before its audit record is durable.
- No answer has an address of the FHIR server, or a link that opens by itself.
- A write refers to no Binary, except one that the stored version refers to or that the same app stored for the same patient.
- A Binary opens only through a visible record that refers to it.
"""
