"""Factors: what a person signs in with besides a password.

Owns: authenticator apps (TOTP), passkeys and their challenges, recovery codes; which roles must have a second factor; when a code is valid.
Must not know: passwords and sessions (signin); pages; apps; what a signed-in person may do.
Public verbs: held, offer_totp, confirm_totp, use_code, renew_recovery_codes, registration_options, add_passkey, authentication_options, use_passkey,
remove_passkey, remove_totp, remove_all.
Invariants:
- A seed is stored sealed, a recovery code as a MAC.
- Codes of either kind and challenges count once, over all workers and nodes.
- Wrong codes lock an authenticator app, never the account's other factors or anybody else's.
"""
