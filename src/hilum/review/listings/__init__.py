"""Listings: which certified apps hospitals see. Listed is what is certified, in an open category, and what its vendor publishes.

Owns: whether a vendor publishes an app, since when and why; whether its listing is hidden for now.
Must not know: where an app is installed; why its listing is hidden; prices and plans.
Public verbs: publish, unpublish, hide, unhide, list_listings, view, statements, published.
Invariants:
- Hospitals see listings that are published, not hidden, validly certified now and of an open category.
- Only what a check or a reviewer passed is shown as verified.
"""
