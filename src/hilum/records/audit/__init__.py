"""Audit: the tamper-evident record of what happened, in hash chains that reveal every edit.

Owns: control-plane events, written in the transaction of the change; the journal of FHIR accesses, durable before the answer is sent;
payloads that are purged by class; signed checkpoints over all heads and their anchor outside the database; verification; the explanation of
one request; the search index of accesses, with each patient whom an answer showed; counts of decisions and of how calls ended; the stream
of every worker's decisions; the record of who read any of it.
Must not know: what a decision means; HTTP; who may read the audit (routes ask ``identity.policy``).
Public verbs: ``service.record``, ``list_events``, ``explain``, ``checkpoint``, ``verify``, ``purge_payloads``; ``newest_checkpoint``;
``live.open_journal`` (``record``, ``record_unauthenticated_refusal``, ``close``), ``live.open_reader``, ``live.index_accesses``,
``live.count_decisions`` and the ``live.read_used``, ``read_traffic``, ``read_served`` ... of what these counted.
Invariants:
- Each writer has one chain; hash = SHA-256(previous, payload digest, header). A record never changes.
- An access is answered only after its record is durable.
- Every read of the audit is recorded before data is returned.
- PHI is in payloads only. The index holds patients as keyed digests, for as long as their payloads.
"""
