"""Sunsets: notice of scope products that end, to who has them (C62), and to hospitals of what another rule book changes there (C180).

Owns: which notices of an end are due, who has a scope that ends, what an application of the rule book does to the apps of a hospital, and how
far the walks over hospitals and vendors came.
Must not know: how mail is sent, who may deprecate a scope or apply a book, what ends at the gateway (policies and the rooms that enforce it).
Public verbs: service.step, notify_next, notify_ahead.
Invariants: for each end a hospital's administrators and a vendor's proved contacts get one mail for each stage (announced; 60, 30 and 7 days
before; ended), never a second one; a stage that was missed is not made up for by an older one; a hospital gets one mail about each application that
changes something for an app there, and about no other; the mails of a place and the record of the walk commit together.
"""
