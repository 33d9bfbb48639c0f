"""Departures: a hospital leaves the platform, with an export of what it had here, and a signed proof of what was erased.

Owns: departures: who asked and agreed, what the hospital had, its export, how far its erasure is, the proof; the list that says for each
table what becomes of a hospital's rows.
Must not know: what the rows mean; how an entry point refuses what is of no hospital.
Public verbs: preview, ask, view, list_departures, defer, read_export, sign_export, record_export, due, next_step, needed_before; policy.check_signed.
Invariants: two people agree, and from then on no door knows the hospital, for good; nothing is erased before the stated day, without an
export, or under a hold; each batch is erased in the transaction that counts it, so what was interrupted goes on where it stopped; the
audit's chains keep every record, and still verify; every table says what becomes of a hospital's rows, and one that says nothing fails a test.
"""
