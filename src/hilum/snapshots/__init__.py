"""Snapshots: synthetic hospitals of a vendor's own in a sandbox, which are made, reset and removed at will, and which no other vendor sees.

Owns: which snapshots a vendor has, from which template, since when, when each was last used; the order of the steps that make, reset and
remove one.
Must not know: where the records of a hospital are kept and how they are copied (it is handed that as ``Furnisher``), the sandbox's pages.
Public verbs: live.Snapshots.create, reset, remove, put_apps; service.list_snapshots, view, open_card, ground_of, remove_unused.
Invariants: there is none in a production platform; a snapshot is a tenant that is its vendor's own, and whoever is no member is answered as
if it were not there; nothing that was issued before a reset works after it; a reset that broke off leaves the hospital closed, until it is
reset again; a vendor has as many at a time as there are places, and one that is unused for long is removed.
"""
