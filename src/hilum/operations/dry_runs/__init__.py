"""Dry runs: what a version of the policy would change, found by replaying 90 days of decisions under it before it is put in force.

Owns: the replay and its result: every decision that would turn out differently, the apps, certifications, installations, agreements and
hospitals that would be affected, and what would lapse beside scopes; the trial of a narrowing at one hospital; observed entries of the policy
in force, counted and mailed to owners; the API of dry runs.
Must not know: when what is allowed or certified ends (policies, clients, consent, revalidation); how a version is put in force and which
runs that takes (policies); how the journals are read (audit counts the decisions).
Public verbs: jobs.run_next, ask_due; observing.list_observed; service.view, list_rows; narrowing.try_narrowing; policy.effect_of, turn_of,
narrowed_use.
Invariants:
- An app is judged by the policies with its exceptions applied.
- A decision is judged by the function that judges it live (``installations.policy.allowed_scopes``), and by nothing else.
- Each distinct client, and each distinct decision, is judged once. Rows that the version cannot affect are not read.
- A changed quota is tried on the recorded calls by the buckets that enforce it (``controls.live``).
- A hospital sees its own rows only.
- An interrupted run starts again, and the digest of its result is the same for the same facts.
"""
