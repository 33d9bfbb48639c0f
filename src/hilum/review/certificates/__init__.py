"""Certificates: signed documents about certifications, which anybody can verify offline, and their current status.

Owns: the certificate of each certification, the status lists, the badge, and the public addresses of all three.
Must not know: how review decides; where an app is installed; prices and plans.
Public verbs: service.step, list_certificates, view; live.Published; policy.verify, status_of, badge.
Invariants:
- A certificate is made only from a certification that can be read, and never changes.
- A place in a status list is never reused.
- The status comes from the registry and the kill switches, never from the certificate's own row.
- A certificate is shown as valid only if it is known to be valid now.
- A stranger's request costs no more than a look at a snapshot of five seconds; a certificate is read once.
"""
