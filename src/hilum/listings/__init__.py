"""Listings: which certified apps are published, so that hospitals see them; independent of certification and of a hospital's approval.

Owns: whether an app is published, by whom, when and why; whether its listing is hidden for now.
Must not know: where an app is installed; why its listing is hidden; prices and plans.
Public verbs: publish, unpublish, hide, unhide, list_listings, view, statements, published.
Invariants:
- Nobody who certifies can publish.
- An app is published only with a valid certificate for production.
- Hospitals see listings that are published, not hidden, and validly certified now.
- Only what a check or a reviewer passed is shown as verified.
"""
