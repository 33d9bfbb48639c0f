"""Histories: what apps did with a patient's record, for the patient and for those who act for them.

Owns: the page, its downloads and the API of the access history; which records a person may see the history of; why an access was
permitted, in plain words.
Must not know: how accesses are recorded, indexed and purged (audit), how agreements are made and ended (consent).
Public verbs: service.read_page, service.read_all.
Invariants: a history is of one record, and only the patient and who acts for them now reads it; it names apps and vendors, and no member of
the hospital's staff; every read of it, and every refused one, is recorded before anything is returned.
"""
