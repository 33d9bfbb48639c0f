"""Evidence: certification runs in the sandbox, judged from the audit alone.

Owns: runs of a version and client at a sandbox hospital; the scenarios that this release can judge, each with its fault; the judgement of a
scenario from the audit; the signed result; the scopes that a trace needs; the contracts of certified versions.
Must not know: submissions, disciplines and certificates; how an EHR opens a launch; how a FHIR server is made to fail (a port does that).
Public verbs: service.open_run, begin, end, finish, abandon, view, list_runs, watch, run_of, life_within, scopes_within, unasked_of,
 latest_result, ground_at, close_expired, propose_of_run, propose_of_client,
keep_contract, find_contracts, view_contract; judging.judge_run; traces.propose, shapes_of; by_hand.make, end, own.
Invariants:
- A run belongs to a sandbox hospital, and no other hospital ever gets a fault. One run is open for a client at a hospital.
- What its app does is recorded under the run's id, which no request can name.
- A scenario passes only by records that show it; missing records never pass, and altered records are no evidence.
- A result is signed and never changes.
- Proposed scopes permit every call of the trace, and none of them can be left out.
- A contract names no patient and no value, and never changes.
"""
