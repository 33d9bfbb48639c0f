"""Frontchannel: the authorization endpoint and its pages, which an app reaches through a person's browser.

Owns: authorization requests and their pages (sign-in return, context picker, consent, first-use notice), the connected-apps page,
authorization codes from issue to redemption, and which scopes may be granted.
Must not know: who redeems a code (backchannel), the gateway, the sandbox, how tokens or authorizations are stored.
Public verbs: ``service`` (begin, resume, choose_context, decide; redeem_code; connected_apps, disconnect, narrow_app; purge),
``policy`` (grantable, disclosed_context, offline_of).
Invariants: an unknown client or redirect URI is shown an error and never redirected; a code is single use, lives 60 s and is
bound to client, redirect URI, PKCE challenge, tenant and grant, and its replay revokes what it obtained; granted = requested and
registered and certified and installed and the person's rights and consent; the steps of a request are bound to one session and
issue at most one code.
"""
