"""Audit: what happened, in chains that show every edit.

Owns: events of the control plane (written in the transaction of the change), the journal of FHIR accesses (durable before the answer
leaves), payloads that can be purged by class, signed checkpoints over all heads, verification, explanation of one request.
Must not know: what a decision means, HTTP, who may read it (edges ask ``identity.policy``).
Public verbs: ``service.record``, ``list_events``, ``explain``, ``checkpoint``, ``verify``, ``purge_payloads``;
``live.open_journal`` (``record``, ``record_refusal_by_stranger``, ``subscribe``, ``close``), ``live.open_reader``.
Invariants: one chain per writer, hash = SHA-256(previous, payload digest, header); a record is never changed; an access whose record is
not durable is not answered; PHI lies in payloads only.
"""
