"""FHIR servers of hospitals: whether each works as apps need it, what it will refuse, and which settings it needs.

Owns: the last check of each hospital's FHIR server.
Must not know: what a check asks and how its answers are judged (``gateway.upstream``), credentials, pages.
Public verbs: service.check, view, list_servers; jobs.ask_due, run.
Invariants:
- A check runs outside of any transaction, in the jobs process; a hospital has one at a time, whoever asks.
- It is about the settings that it was made with; after a change of them the record says so, and it is made again.
- Whoever answers for the platform or the hospital is mailed once when its server begins to fail, not every night.
"""
