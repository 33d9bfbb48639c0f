"""Evidence: certification runs in the sandbox, judged from the audit alone.

Owns: runs of a version and client at a sandbox hospital; the scenarios that this release can judge, with the fault of each; the judgement
of a scenario from what was recorded; the signed result; the scopes that a trace needs; the contracts of what was certified.
Must not know: submissions, lenses and certificates; how an EHR opens a launch; how a FHIR server is made to fail (a port does that).
Public verbs: service.open_run, begin, end, finish, abandon, view, list_runs, watch, run_of, life_within, scopes_within, next_probes, note_probe, list_polled, note_polled, unasked_of, latest_result, ground_at, check_result,
close_expired, propose_of_run, propose_of_client, keep_contract, find_contracts, view_contract; judging.judge_run; traces.propose, shapes_of;
by_hand.make, end, own.
Invariants: a run is of a sandbox hospital, and no fault is ever made at another; one run is open for a client at a hospital; what its app does
is recorded under its id, which no request names; a scenario is met only by records that show it, and missing records never pass; records that
are not as they were written are no evidence; a result is signed, and nothing in it changes any more; what is proposed permits every call of
its trace, and nothing of it can be left out; a contract has no patient and no value, and never changes.
"""
