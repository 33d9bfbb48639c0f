"""Precedents: what a hospital decided about an app, for others that decide about it, where it shares that.

Owns: whether a hospital shares its approvals, in general or of one app, with its reasons; the comparison of a hospital's terms with another's.
Must not know: how an app is installed, how a certification run is judged, pages.
Public verbs: service.set_sharing, list_sharing, sharing_of, find; policy.compare.
Invariants: nothing of a hospital is seen that does not share it, nor that it has the app; nobody's name, network, facility or figure is in what
is shared; sandbox and production are apart; only what differs is left to decide, and what is not known differs.
"""
