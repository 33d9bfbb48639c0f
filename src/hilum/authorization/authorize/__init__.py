"""Authorize: the authorization endpoint and its pages, which an app reaches through a person's browser.

Owns: authorization requests and their pages (return from sign-in, context picker, consent, first-use notice); the connected-apps page;
authorization codes from issue to redemption; which scopes may be granted.
Must not know: who redeems a code (token); the gateway; the sandbox; how tokens and authorizations are stored.
Public verbs: ``service`` (begin, resume, choose_context, decide; redeem_code; connected_apps, disconnect, narrow_app; purge), ``policy``
(grantable, disclosed_context, offline_of).
Invariants:
- An unknown client or redirect URI gets an error page, never a redirect.
- A code works once, lives 60 s and is bound to client, redirect URI, PKCE challenge, tenant and grant. Its replay revokes what it obtained.
- Granted = requested and registered and certified and installed and the person's rights and consent.
- The steps of a request are bound to one session and issue at most one code.
"""
