"""Audit: the tamper-evident record of what happened, in hash chains that show every edit.

Owns: events of the control plane (written in the transaction of the change), the journal of FHIR accesses (durable before the answer
leaves), payloads that can be purged by class, signed checkpoints over all heads, their anchor outside the database, verification,
explanation of one request, the search index of accesses, with each patient whom an answer showed, counts of decisions and of how calls ended, the stream of every worker's decisions, and the record of who read any of it.
Must not know: what a decision means, HTTP, who may read it (routes ask ``identity.policy``).
Public verbs: ``service.record``, ``list_events``, ``explain``, ``checkpoint``, ``verify``, ``purge_payloads``;
``newest_checkpoint``; ``live.open_journal`` (``record``, ``record_unauthenticated_refusal``, ``close``), ``live.open_reader``.
Invariants: one chain per writer, hash = SHA-256(previous, payload digest, header); a record is never changed; an access whose record is
not durable is not answered; every read of the audit is itself recorded before data is returned; PHI is in payloads only;
the index holds patients as keyed digests, and no longer than their payloads.
"""
