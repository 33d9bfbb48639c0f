"""Lookups: from names to ids, and from ids to names.

Owns: which names of apps, vendors, hospitals, clients, people, facilities and versions an actor may resolve, and how.
Must not know: what is done with an id. Each verb checks its own rights, so knowing an id grants nothing.
Public verbs: find, names.
Invariants:
- An exact name finds what the actor may see and nothing else. What exists but may not be seen is answered as if it did not exist.
- Ids match before names, so that nobody can name something after another's id.
"""
