"""Installations: a hospital's approval of an app, and the enforcement facts about apps and installations.

Owns: installations (roles, scopes, facilities, networks of backend services, an end) and what is done with them: install, narrow, validate,
remove; the record of each approval; backend services for which nobody at a hospital answers; dynamic registration, which creates everything
from the vendor to the installation at once; the facts that join clients with installations.
Must not know: prices and plans; how review certifies; sessions, codes, tokens.
Public verbs: install, preview, get_installation, revalidate, narrow_installation, widen, pin_networks, uninstall, compare_scopes,
list_installations, installation, origins_at, register_dynamically, facts; answering.list_unanswered.
Invariants:
- An installation never has more scopes than were certified, and narrowing never widens.
- Widening adds nothing to what was issued before, and installing again does not revive it.
- Every change of an enforced fact advances the epoch and names what changed.
"""
