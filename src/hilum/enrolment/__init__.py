"""Enrolment: how people get accounts, and which of them take two people.

Owns: one-time links through which an owner sets the password, setup codes, the link's page, the API's people.
Must not know: apps, launches, OAuth codes and tokens; how passwords are stored (signin), what a role may do (identity).
Public verbs: add_person, reset, reset_factors, one_of_two, find_link, use_link, end_all.
Invariants: nobody but its owner ever knows an account's password; a link is used once, expires, and dies with a newer one, a stop or a
deactivation; an account with power over others, and a way into an account in use, takes two people of age, and neither of the two alone
holds what opens it.
"""
