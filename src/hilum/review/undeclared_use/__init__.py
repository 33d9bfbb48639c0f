"""Undeclared use: use of an app beyond what its certified version declares, found in the counts of decisions (C21).

Owns: which use exceeds a declaration; which tier the version would have had if it had declared it; the notice to the vendor.
Must not know: how decisions are counted; how a tier withholds (policies); how mail is sent.
Public verbs: book_for, next_to_judge, uses_of, volumes_of, judge, note.
Invariants:
- Only permitted requests since the certification count, and declared use is never excess.
- A version that declares nothing in particular counts as declaring everything, so nothing exceeds it.
- One review is open for a certification and tier. Its mail is sent once, with the review.
- Nothing is withheld here, since the used scopes are certified: a reviewer decides.
"""
