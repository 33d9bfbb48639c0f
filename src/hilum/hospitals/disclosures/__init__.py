"""Disclosures: what apps did with a patient's record, for the patient and people who act for them.

Owns: the page, downloads and API of the access history; whose history a person may read; why an access was permitted, in plain words.
Must not know: how accesses are recorded, indexed and purged (audit); how agreements are made and ended (consent).
Public verbs: service.read_page, service.read_all.
Invariants:
- A history covers one record. Only its patient, and people who act for them now, read it.
- It names apps and vendors, and nobody of the hospital's staff.
- Every read, also a refused one, is recorded before anything is returned.
"""
