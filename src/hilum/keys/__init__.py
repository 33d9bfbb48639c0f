"""Keys: everything under the key-encryption key, each key for one purpose.

Owns: the vault that seals and authenticates small values, signing key rings (RS256 id_tokens per tenant, Ed25519 checkpoints), their rotation.
Must not know: what is signed or sealed, tenants beyond the name of a ring, HTTP.
Public verbs: ``live.install``, ``live.vault`` (``seal``, ``open``, ``mac``); ``service.ensure``, ``rotate``, ``sign_jwt``, ``public_jwks``,
``sign_bytes``, ``verify_bytes``, ``opens``, ``knows_key``, ``note_key``.
Invariants: a private key lies in the database sealed and bound to its ring and kid; a ring has one active key; a retired key
stays published for KEY_OVERLAP, so rotation fails nobody's verification; what was sealed for one purpose or context opens for no other.
"""
