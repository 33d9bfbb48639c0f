"""Approvals: acts that one person asked for and a second must approve before they happen.

Owns: pending acts: who asked, who decided, and until when each can be approved; the API of approvals.
Must not know: what the acts do (the modules that own them carry them out); who people are (identity).
Public verbs: ask, approve, refuse, view, list_pending, end_all, purge.
Invariants:
- Nobody approves what they asked for, or what is about themselves.
- An act is checked again when it is approved, and carried out exactly as asked, at most once, in the transaction that records the decision.
- An act that can no longer be carried out stays pending.
"""
