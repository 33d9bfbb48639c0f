"""Certificates: what is certified of an app, signed so that anybody verifies it offline, and whether it still holds.

Owns: the certificate of each certification, the status lists, the badge, the public addresses of all three.
Must not know: how review decides, where an app is installed, prices and plans.
Public verbs: service.step, list_certificates, view; live.Published; policy.verify, status_of, badge.
Invariants: a certificate is made only of a certification that is as it was signed, and never changes; its place in a status list is never used
again; its status is judged from the registry and the kill switches and never from its own row; what is not known to be valid now is not
shown as valid; no stranger's request costs more than what a snapshot of five seconds has, and a certificate is read once.
"""
