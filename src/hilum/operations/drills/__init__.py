"""Drills: proof, in production, that a kill switch stops an app, on a canary that reaches no patient.

Owns: what a canary is; a drill, its time limit and its result; the API of drills.
Must not know: how a switch is engaged and proved (switch administration); how the endpoints are tried (by the command, from outside, like any app).
Public verbs: service.begin, end, list_drills.
Invariants:
- A drill stops one canary at one hospital, by a switch that ends by itself, so a drill that dies leaves nothing stopped.
- The canary's scopes reach no patient's record, and it is installed nowhere else.
- A drill passes only if every endpoint refused within the time limit and the containment report says "contained".
"""
