"""Installations: a hospital's approval of an app, and the facts about apps and installations that enforcement needs.

Owns: installations (roles, scopes, facilities, networks of backend services and an end; installing, narrowing, validating, removing; the record of the approval);
the list of backend services for which nobody of a hospital answers; dynamic registration, which creates everything from the vendor to the installation at once; the part of the facts that joins clients
with installations.
Must not know: prices and plans; how review certifies; sessions, codes, tokens.
Public verbs: install, get_installation, revalidate, narrow_installation, widen, pin_networks, uninstall, compare_scopes, list_installations,
installation, origins_at, register_dynamically, facts; answering.list_unanswered.
Invariants: an installation never has more scopes than were certified, and narrowing never widens; widening gives nothing to what was
issued before, and installing again does not revive it; every change of an enforced fact advances the epoch and names what changed.
"""
