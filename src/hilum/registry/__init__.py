"""Registry: which apps exist, what they may ask for, and where they are installed.

Owns: vendors, apps, versions, clients and their secrets, certification records, installations, platform peers (a tenant's
EHR and resource servers), dynamic registration; what of them enforcement must know, and what changed of it.
Must not know: prices and plans; how review comes to its verdict; sessions, codes, tokens.
Public verbs: add_vendor, add_app, add_version, add_client, rotate_secret, certify, install, uninstall, narrow_installation,
register_dynamically, suspend_app, client_facts, installation, facts and their listings.
Invariants: a redirect URI is compared exactly (C3); giving a standing back revives nothing that was issued before; every change of
what is enforced advances the epoch and names what it touched; an installation never holds more than was certified; secrets are stored as SHA-256
only (C9).
"""
