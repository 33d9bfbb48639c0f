"""Clients: the OAuth clients of apps, what they may be, and what enforcement must know of them.

Owns: client metadata, its one reading and one judgement, with the rules that no door may leave out (C1, C16); clients and their secrets;
the version that a client counts as; the EHRs and resource servers of a hospital, which take two people.
Must not know: where an app is installed; sessions, codes, tokens; how somebody authenticates.
Public verbs: add_client, adopt_version, rotate_secret, ask_peer, ask_secret, find_client, client_facts, facts_of_apps and their listings;
policy.validate_client_metadata, normalized, from_registration, redirect_matches, secret_matches.
Invariants: a redirect URI is compared exactly (C3); secrets are stored as SHA-256 only (C9); what a client may never be is refused whoever
asks; every change advances the epoch and names the app.
"""
