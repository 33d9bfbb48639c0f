"""Precedents: what hospitals decided about an app, shared with others that decide about it.

Owns: whether a hospital shares its approvals and reasons, in general or for one app; the comparison of its terms with another's.
Must not know: how an app is installed, how a certification run is judged, pages.
Public verbs: service.set_sharing, list_sharing, sharing_of, find; policy.compare.
Invariants:
- A hospital that does not share is invisible, and so is the fact that it has the app.
- Shared data holds nobody's name, network, facility or figure.
- Sandbox and production are separate.
- Only differences are left to decide, and what is unknown counts as different.
"""
