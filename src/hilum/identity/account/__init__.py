"""Account: people's own account: its page, its sessions and API tokens, and its second factor.

Owns: the pages on which a second factor is entered, set up and changed; the page of one's own account, its sessions
and API tokens.
Must not know: apps, launches, OAuth codes and tokens; how factors and sessions are stored (factors, signin).
Public verbs: view, confirm, confirm_with_passkey, offer_totp, change_totp, registration_options, add_passkey, remove, renew_recovery_codes,
credentials, end_session, end_others, create_token, revoke_token, confirm_token.
Invariants:
- Every page works without script; only passkeys need one.
- A secret is shown in one answer and nowhere else.
- Second factors change only in a session with a fresh second factor, or a fresh password if the person has no factor yet.
"""
