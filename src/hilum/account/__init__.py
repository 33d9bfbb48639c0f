"""Account: what people see and change of their own account, and the pages of the second factor.

Owns: the pages on which a second factor is entered, set up and changed; the page of one's own account, its sessions
and API tokens.
Must not know: apps, launches, OAuth codes and tokens; how factors and sessions are stored (factors, signin).
Public verbs: view, confirm, confirm_with_passkey, offer_totp, change_totp, ask_to_create, add_passkey, remove, renew_recovery_codes,
credentials, end_session, end_others, create_token, revoke_token, confirm_token.
Invariants: every page works without script, except that a passkey needs it; what is shown once is in one answer and nowhere else; nothing
about factors changes in a session without a fresh second factor, or a fresh password where there is no factor yet.
"""
