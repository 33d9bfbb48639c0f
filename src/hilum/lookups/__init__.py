"""Lookups: from names to ids, and from ids to names.

Owns: which names of apps, vendors, hospitals, clients, people, facilities and versions an actor may resolve, and how.
Must not know: what is done with an id; each verb judges its own rights, so that an id that somebody knows opens nothing.
Public verbs: find, names.
Invariants: an exact name finds what the actor may see and nothing else; what exists and may not be seen is answered like what does not
exist; an id counts before a name, so that nobody takes another's id for a name.
"""
