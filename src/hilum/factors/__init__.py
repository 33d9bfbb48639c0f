"""Factors: what a person has besides a password.

Owns: authenticator apps (TOTP), passkeys and their challenges, recovery codes, which roles must have a second factor, when a code counts.
Must not know: passwords and sessions (signin), pages, apps, what a signed-in person may then do.
Public verbs: held, offer_totp, confirm_totp, use_code, renew_recovery_codes, ask_to_create, add_passkey, ask_to_get, use_passkey,
remove_passkey, remove_totp, remove_all.
Invariants: a seed is stored sealed, a recovery code as a MAC; a code of either kind and a challenge count once, over all workers and nodes; wrong codes
lock an authenticator app, never the account's other factors, and nobody else's.
"""
