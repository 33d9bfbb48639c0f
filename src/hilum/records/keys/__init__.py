"""Keys: sealing, MACs and signing under the key-encryption key, with one key for each purpose.

Owns: the vault that seals and authenticates small values; signing key rings (RS256 for id_tokens per tenant; Ed25519
for checkpoints, policies, certificates and runs) and their rotation.
Must not know: the meaning of what is signed or sealed; tenants beyond the name of a ring; HTTP.
Public verbs: ``live.install``, ``live.vault`` (``seal``, ``open``, ``mac``); ``service.ensure``, ``rotate``, ``sign_jwt``, ``public_jwks``,
``sign_compact``, ``sign_bytes``, ``public_key``, ``signer``, ``verify_bytes``, ``opens``, ``is_same_key``,
``store_key_check``.
Invariants:
- A private key is stored sealed and bound to its ring and kid. A ring has one active key.
- A retired key stays published for KEY_OVERLAP, so that rotation breaks no verification.
- Signatures are verified only with keys that this platform made, never with others in the database.
- A value sealed for one purpose or context opens for no other.
"""
