"""Membership: who belongs to a vendor.

Owns: inviting and removing a vendor's members, and their API.
Must not know: apps and clients; how links and passwords are stored (enrolment, signin), what a role may do (identity).
Public verbs: invite, invite_again, list_members, remove.
Invariants: an invitation is a one-time link into a new account; a vendor with an owner who can sign in keeps one; to members of another
vendor, neither the vendor nor its members exist.
"""
