"""Break-glass: a clinician's emergency access, within one launch, to records of its patient that are withheld for their labels (C82).

Owns: each use (reason, limits, end, review), a hospital's settings for it, the clinician's page, the part of the facts with open uses.
Must not know: how a resource is judged (gateway), how launches are opened (launches).
Public verbs: service.open_use, end_use, review, list_uses, view_use, list_openable, view_settings, change_settings, facts; CARRY_OUT.
Invariants: it adds to no scope, role, launch context or write, and passes no switch; it is off unless the hospital switched it on, which
takes two people; nobody reviews their own use; what ended is never open again.
"""
