"""Review: submissions of versions, and the decisions on them.

Owns: submissions, with the justification of each scope, the evidence and an unchangeable description of everything submitted; their states
and who changed them, when and why; runs of automated checks with their inputs; the three disciplines with scorecards, verdicts and findings;
which reviewer signs for which discipline, and reviewers' conflicts of interest with vendors; clocks in business days and published figures; appeals; the regulated lane.
Must not know: where an app is installed; prices and plans; pages.
Public verbs: service.create, change, submit, withdraw, decide, rerun, view_run, replay, take, release, judge, answer, resolve, view_disciplines,
change_rights, declare_conflict, end_conflict, appeal, ask_access, verify_access, view_clocks, view_figures,
list_certified_documents, view_rules, reasons_of, browse and other listings; policy.next_state, entry_faults, signing_bar,
verdict_faults, disciplines_obstacle; checks.judge; clocks.elapsed, due; jobs.run_next, keep_time.
Invariants:
- Nothing is submitted while something is missing that the policy's entry requires.
- A submission never changes, and its digest is in the audit.
- A state changes only by the table policy.TRANSITIONS, at the revision that was read. A version has at most one open submission for an
  environment.
- Only the jobs process fetches addresses. What could not be fetched does not pass, and what did not pass is not certified.
- No discipline is judged by a reviewer who does not sign for it, has a conflict of interest with the vendor, or at the high tier has another discipline of the same
  submission.
- No step of the regulated lane reads anything of the other lane.
- Only the low tier passes without a person. After an appeal those who rejected it judge nothing of it.
- The same inputs under the same policy give the same checks, tier and route.
- Only the vendor's members and the platform's staff see a submission. A document of a certified app is visible as its visibility says.
- When evidence expires, the checks run again.
"""
