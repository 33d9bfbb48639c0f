"""Listings: which certified apps hospitals see, a decision of its own beside certification and a hospital's approval.

Owns: whether an app is published, by whom, when and why, and whether its listing is hidden for now.
Must not know: where an app is installed, why its listing is hidden, prices and plans.
Public verbs: publish, unpublish, hide, unhide, list_listings, view, statements, published.
Invariants: nobody publishes who certifies; nothing is published without a valid certificate for production; hospitals see what is published,
not hidden, and validly certified now; nothing is shown as verified but what a check or a reviewer passed.
"""
