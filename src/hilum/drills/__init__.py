"""Drills: proof, in production, that a kill switch stops an app, on a canary that touches no patient.

Owns: what a canary is; the steps of a drill, its ceiling, its verdict and its signed record; the API of drills.
Must not know: how a switch is engaged and proved (switchboard); how the doors are tried (the command, from outside, like any app).
Public verbs: begin, engage, release, finish, view, list_drills.
Invariants: a drill stops one canary at one hospital, by a switch that ends by itself, so one that dies leaves nothing stopped; the canary's
scopes reach no patient's record, and it is installed nowhere else; a drill passes only if every door closed within the ceiling, the
containment report says "contained", what was issued before stays dead after the release, and what is issued then works.
"""
