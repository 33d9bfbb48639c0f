"""Installations: a hospital's approval of an app, and the facts of apps and installations that enforcement follows.

Owns: installations (roles, scopes, an end; narrowed and removed), dynamic registration, which makes everything from the vendor to the
installation at once; the part of the facts that joins clients with installations.
Must not know: prices and plans; how certifications come about; sessions, codes, tokens.
Public verbs: install, narrow_installation, uninstall, list_installations, installation, origins_at, register_dynamically, facts.
Invariants: an installation never holds more than was certified, and narrowing never widens; installing again revives nothing; every
change of what is enforced advances the epoch and names what it touched.
"""
