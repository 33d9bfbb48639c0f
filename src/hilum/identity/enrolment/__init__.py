"""Enrolment: how people get accounts, and which accounts take two people.

Owns: one-time links through which an owner sets the password, setup codes, the link's page, the API's people.
Must not know: apps, launches, OAuth codes and tokens; how passwords are stored (signin); what a role may do (identity).
Public verbs: add_person, reset, reset_factors, one_of_two, find_link, use_link, end_all.
Invariants:
- Only an account's owner ever knows its password.
- A link is used once, expires, and ends with a newer link, a stop or a deactivation.
- An account with power over others, or a link into an account in use, takes two people of age, neither of whom alone has all that opens it.
"""
