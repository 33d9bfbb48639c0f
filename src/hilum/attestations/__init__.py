"""Attestations: what is signed of rows that give something, so that one that somebody else wrote, changed or put back counts for nothing.

Owns: the newest signed state of each row (a leaf), the hash tree over all of them, and the chain of signed heads with its root.
Must not know: what the rows are; the rooms that have them name each by a subject and digest its state.
Public verbs: attest, intact, wholly_intact, matches, is_signed, begin_kinds, faults, newest_head, heads; policy.digest_of.
Invariants: a row counts only if its digest is the leaf of its subject and the tree leads from it to the root that the newest head signed;
one without a leaf was never signed and does not count; the newest head is no older than the audit trail says; a change costs what changed:
one leaf, its way to the root, one head, however many rows there are.
"""
