"""Review: what vendors submit of their versions, and what becomes of it.

Owns: submissions, with the justification of each scope, the evidence and an unchangeable description of everything that was submitted;
their states and who changed them, when and why; runs of automated checks with all that they saw; the three lenses with their scorecards,
verdicts and findings; which reviewer signs for which lens, and their ties to vendors; clocks in business days, the public ledger of missed
ones and published figures; draws, appeals and known answers; the regulated lane.
Must not know: where an app is installed; prices and plans; pages.
Public verbs: service.create, change, submit, withdraw, decide, rerun, view_run, replay, take, release, judge, answer, resolve, view_lenses,
change_rights, declare_tie, end_tie, appeal, decide_appeal, set_known, ask_access, verify_access, view_clocks, list_breaches, view_figures, view_draw, list_certified_documents, browse and other listings; policy.next_state, entry_faults, signing_bar, verdict_faults, lenses_obstacle;
checks.judge; clocks.elapsed, due; jobs.run_next, keep_time.
Invariants: nothing is submitted while something is missing that the rule book's cell requires; what was submitted never changes, and its
digest is in the audit; a state changes only by the table of policy.TRANSITIONS, at the revision that was read; a version has at most one
open submission for an environment; only the jobs process looks at addresses; what could not be seen does not pass, and what did not pass
is not certified; no lens is judged by who does not sign for it, is tied to the vendor, or at the high tier has another of the same
submission; no step of the regulated lane reads anything of the other; no tier but the low one passes without a person, and a draw comes to the same from its seed; the same inputs under the same rule book give the same checks, tier and route; nobody but the vendor's members and the
platform's staff sees one, and a document of what is certified is read by whom its visibility names; when evidence expires the checks run again.
"""
