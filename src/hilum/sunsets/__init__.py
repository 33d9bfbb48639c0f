"""Sunsets: notice of scope products that end, to who has them (C62).

Owns: which notices of an end are due, who has a scope that ends, and how far the walk over hospitals and vendors came.
Must not know: how mail is sent, who may deprecate a scope, what ends at the gateway (policies and the rooms that enforce it).
Public verbs: step.
Invariants: for each end a hospital's administrators and a vendor's proved contacts get one mail for each stage (announced; 60, 30 and 7 days
before; ended), never a second one; a stage that was missed is not made up for by an older one; the mails of a place and the
record of the walk commit together.
"""
