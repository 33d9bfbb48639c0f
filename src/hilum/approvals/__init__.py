"""Approvals: what one person asked for and a second must agree to before it happens.

Owns: what waits, who asked, who decided, until when it may be agreed to; the API's approvals.
Must not know: what the acts are and how they are carried out (the rooms that own them say), who somebody is (identity).
Public verbs: ask, approve, refuse, view, list_pending, end_all.
Invariants: nobody agrees to what they asked for or to what is about them; what was asked is carried out exactly so, at most once, in the
transaction that records the decision, and is judged again then; what cannot be carried out any more stays undecided.
"""
