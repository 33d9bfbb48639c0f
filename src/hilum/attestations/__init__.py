"""Attestations: signatures over rows that grant something, so that a row that was written, changed or restored behind the platform's back has no effect.

Owns: the newest signed state of each row (a leaf), the hash tree over the leaves, and the chain of signed heads with its root.
Must not know: what the rows mean; each owning room identifies a row by a subject and digests its state.
Public verbs: attest, attest_end, lock, require, intact, wholly_intact, matches, is_signed, begin_kinds, faults, newest_head, heads; policy.digest_of.
Invariants:
- A row is valid only if its digest is its subject's leaf and the tree leads from that leaf to the root that the newest head signed.
- A row without a leaf was never signed and has no effect.
- The newest head is no older than the audit trail says.
- A change costs one leaf, its path to the root and one head, however many rows exist.
"""
