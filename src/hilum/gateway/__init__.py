"""Gateway: the enforcement point in front of every tenant's FHIR server.

Owns: the decision (``policy.decide`` and its inputs), the snapshot of enforcement facts, the narrowing of searches, the
judgement on every resource that comes back, page links, the OperationOutcome of every refusal, ``/metadata`` as apps may see it.
Must not know: a database (it reads facts through a port), how tokens are made, what the sandbox is.
Public verbs: ``policy.decide``, ``snapshot.SnapshotKeeper``, ``service.Enforcer.answer``, ``batches.Batches.answer``, ``routes.Gateway``.
Invariants: unknown, missing or stale means no; engaging a switch or removing a scope never turns a Deny into a permit; filters only
remove and are idempotent; nothing is answered before its audit record is durable; no answer carries an address of the FHIR server or a link that opens by itself; no
write points at a Binary but at one that the stored version names, or that the same app stored for the same patient; a Binary opens only through a visible record that holds it.
"""
