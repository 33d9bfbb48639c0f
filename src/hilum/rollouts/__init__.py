"""Rollouts: a version of the rule book reaches one ring of hospitals after the other, and goes back by itself on a regression.

Owns: the signed plan of a rollout; the comparison of refusals and latency with those before, and with hospitals that are not in it yet; the
steps forward and back; the API of rollouts.
Must not know: how a version is put in force and what it newly allows (policies); how decisions are counted (audit).
Public verbs: start, stop, view, list_rollouts; jobs.run; policy.judge, position.
Invariants:
- The position of a rollout is read from the signed applications of the rule book, not from its own row, so an altered row moves nothing.
- It advances only when the dwell is over, enough was decided and nothing regressed.
- It goes back only to the version in force when it began, and only while nobody else has applied anything since.
- Applying another version ends it.
"""
