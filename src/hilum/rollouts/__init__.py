"""Rollouts: a version of the rule book reaches one ring of hospitals after the other, and goes back by itself on a regression.

Owns: the plan of a rollout, signed; the comparison of refusals and latency with before and with the hospitals that are not in it yet; the
steps forward and back; the API of rollouts.
Must not know: how a version is put in force and what it newly allows (policies); how decisions are counted (audit).
Public verbs: start, stop, view, list_rollouts; jobs.run; policy.judge, position.
Invariants: where a rollout stands is read from the signed applications of the rule book and not from its own row, so a row that was altered
moves nothing; it advances only when the dwell is over, enough was decided, and nothing regressed; it goes back only to what was in force
when it began, and only while nobody else has applied anything since; whoever applies something else ends it.
"""
