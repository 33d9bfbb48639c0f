"""Dry runs: what a version of the rule book would change, found by replaying 90 days of decisions under it before it is put in force.

Owns: the replay; its result: every decision that would turn out differently, the apps, certifications, installations, agreements and
hospitals that the version would alter, and what would lapse beside scopes; the trial of a narrowing at one hospital; what is observed of the rule book in force, counted and mailed
to owners; the API of dry runs.
Must not know: when what is allowed or certified ends (policies, clients, consent, revalidation); how a version is put in force and which runs it takes (policies); how the journals are read (audit counts the decisions).
Public verbs: jobs.run_next, ask_due; observing.list_observed; service.view, list_rows; narrowing.try_narrowing; policy.effect_of, turn_of, narrowed_use.
Invariants: an app is judged by the books as two people's overrides and exceptions make them for it; a decision is judged by what judges it live (``installations.policy.allowed_scopes``), and by nothing else; each distinct
client, and each distinct decision, is judged once; what would alter nothing is not read; a hospital sees its own rows only; a run that
broke off begins again, and the digest of its result is the same for the same facts.
"""
