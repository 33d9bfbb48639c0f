"""Snapshots: synthetic hospitals of a vendor's own in a sandbox, made, reset and removed at will, and invisible to other vendors.

Owns: which snapshots a vendor has, from which template, since when, and when each was last used; the order of the steps that make, reset
and remove one.
Must not know: where a hospital's records are kept and how they are copied (a ``Furnisher`` does that); the sandbox's pages.
Public verbs: live.Snapshots.create, reset, remove, put_apps; service.list_snapshots, view, open_card, ground_of, remove_unused.
Invariants:
- A production platform has none.
- A snapshot is a tenant that belongs to its vendor. For everybody else it does not exist.
- Nothing issued before a reset works after it. An interrupted reset leaves the hospital closed until it is reset again.
- A vendor has at most as many as its places. One that is unused for long is removed.
"""
