"""Overuse: what an app does beyond what its certified version declares, found in its counted decisions (C21).

Owns: which use exceeds a declaration, and of which tier the version would be had it declared it; the notice to the vendor.
Must not know: how decisions are counted, how a tier withholds (policies), how mail is sent.
Public verbs: book_for, next_to_judge, uses_of, volumes_of, judge, note.
Invariants: only permitted requests since the certification count; use that a declaration covers is never excess; a version that declares
nothing in particular counts as declaring everything, so nothing exceeds it; one review is open for a certification and tier, its mail goes
out once, with the review; nothing is withheld here, since what was used was certified: a reviewer decides.
"""
