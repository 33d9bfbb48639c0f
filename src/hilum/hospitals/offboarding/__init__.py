"""Offboardings: hospitals that leave the platform, each with an export of its data, which is erased later.

Owns: offboardings: who asked and agreed, what the hospital had, its export, the progress of its erasure; the list of what happens to a
hospital's rows in each table.
Must not know: what the rows mean; how an entry point refuses a hospital that does not exist.
Public verbs: service.preview, ask, view, list_offboardings, defer, begin_export, read_export, record_export, due, next_step.
Invariants:
- Two people agree. From then on no entry point accepts the hospital again.
- Nothing is erased before the stated day, without an export, or under a hold.
- Each batch is erased in the transaction that counts it, so an interrupted erasure resumes where it stopped.
- The audit's chains keep every record, and still verify.
- Every table states what happens to a hospital's rows; a test fails for one that does not.
"""
