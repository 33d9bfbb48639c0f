"""Registry: which vendors, apps and versions exist, their clients, and what was certified.

Owns: vendors, apps, versions, clients and their secrets, platform peers (a tenant's EHR and resource servers), certification records;
what of them enforcement must know, and what changed of it.
Must not know: where an app is installed; prices and plans; how review comes to its verdict; sessions, codes, tokens.
Public verbs: add_vendor, add_app, add_version, add_client, rotate_secret, certify, suspend_app, client_facts and their listings.
Invariants: a redirect URI is compared exactly (C3); giving a standing back revives nothing that was issued before; every change of
what is enforced advances the epoch and names what it touched; secrets are stored as SHA-256 only (C9).
"""
