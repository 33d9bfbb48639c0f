"""Registry: vendors, apps and versions, and their certifications.

Owns: vendors, apps, their profiles, names in use, versions and their suspension; certification records, until review owns them.
Must not know: the clients of an app; where it is installed; prices and plans; how review decides.
Public verbs: add_vendor, add_app, save_profile, change_owner, add_version, change_category, certify, withdraw_certification, suspend_app,
resume_app and their listings.
Invariants:
- Resuming or certifying again does not revive what was issued before.
- Every change of an enforced fact advances the epoch and names the app.
"""
