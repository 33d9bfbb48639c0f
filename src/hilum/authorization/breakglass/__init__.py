"""Break-glass: a clinician's emergency access, within one launch, to records of its patient that their security labels withhold (C82).

Owns: each use (reason, limits, end, review); a hospital's settings for it; the clinician's page; the facts about open uses.
Must not know: how a resource is judged (gateway); how launches are opened (launches).
Public verbs: service.open_use, end_use, review, list_uses, view_use, list_openable, view_settings, change_settings, facts; CARRY_OUT.
Invariants:
- It opens reads only, adds nothing to scopes, role or launch context, and overrides no kill switch.
- It is off until the hospital switches it on, which takes two people.
- Nobody reviews their own use.
- A use that has ended never opens again.
"""
