"""Approvals: what one person asked for and a second must agree to before it happens.

Owns: what waits, who asked, who decided, until when it may be agreed to; the API's approvals.
Must not know: what the acts are and how they are carried out (the rooms that own them do that), who people are (identity).
Public verbs: ask, approve, refuse, view, list_pending, end_all, purge.
Invariants: nobody approves what they asked for or what is about themselves; an act is judged again when it is approved, and carried out
exactly as it was asked, at most once, in the transaction that records the decision; an act that can no longer be carried out stays pending.
"""
