"""Authserver: the SMART and OAuth 2.0 authorization server, one issuer a tenant.

Owns: authorization requests and their pages (sign-in return, context picker, consent, first-use notice), authorization codes,
the token endpoint, introspection, revocation, dynamic registration's door, discovery, the connected-apps page.
Must not know: the gateway, the sandbox, how tokens or authorizations are stored.
Public verbs: ``service`` (begin, resume, choose_context, decide, connected apps), ``grants`` (the token endpoint).
Invariants: an unknown client or redirect URI is shown an error and never redirected; a code is single use, lives 60 s and is
bound to client, redirect URI, PKCE challenge, tenant and grant; granted = asked and registered and certified and installed and the
person's rights and consent; the steps of a request are bound to one session and issue one code at most.
"""
