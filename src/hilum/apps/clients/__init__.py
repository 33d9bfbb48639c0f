"""Clients: the OAuth clients of apps, the rules for their metadata, and the facts about them that enforcement needs.

Owns: client metadata, parsed and validated in the same way for every way to register (C1, C16); clients and their secrets; the app version
whose certification counts for a client; a hospital's EHRs and resource servers, which two people must approve; edits that wait for a
reviewer; offers of an app to another vendor.
Must not know: where an app is installed; sessions, codes, tokens; how clients and people authenticate.
Public verbs: add_client, edit, approve, refuse, offer_app, accept_app, decline_app, adopt_version, rotate_secret, ask_system_client, ask_secret,
find_client, client_facts, facts_of_apps and their listings; policy.validate_client_metadata, normalized, from_registration,
redirect_matches, secret_matches.
Invariants:
- A client certified for production changes only as a reviewer agreed (C12).
- A redirect URI is compared exactly (C3).
- Secrets are stored as SHA-256 only (C9).
- Invalid metadata is refused for every caller.
- Every change advances the epoch and names the app.
"""
