"""Registry: which vendors, apps and versions exist, and what was certified.

Owns: vendors, apps, versions and their suspension; certification records, until review owns them.
Must not know: the clients of an app; where it is installed; prices and plans; how review comes to its verdict.
Public verbs: add_vendor, add_app, add_version, certify, withdraw_certification, suspend_app, resume_app and their listings.
Invariants: giving a standing back revives nothing that was issued before; every change of what is enforced advances the epoch and names
the app.
"""
