"""Membership: who belongs to a vendor.

Owns: inviting and removing a vendor's members, and the API for it.
Must not know: apps and clients; how links and passwords are stored (enrolment, signin); what a role may do (identity).
Public verbs: invite, invite_again, list_members, remove.
Invariants:
- An invitation is a one-time link into a new account.
- The last owner who can sign in cannot be removed.
- For another vendor's members, neither the vendor nor its members exist.
"""
