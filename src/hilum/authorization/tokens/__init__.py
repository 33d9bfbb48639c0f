"""Tokens: opaque access and refresh tokens, from their issue to their deletion.

Owns: their format and MAC, their rows, families and rotation, revocation, used ``jti`` values, each worker's cache of token
facts.
Must not know: how a client authenticated; what a scope permits; launches and authorizations beyond their ids.
Public verbs: ``service.mint``, ``redeem_refresh``, ``find_answer``, ``find_access``, ``find_refresh``, ``revoke_presented``, ``revoke_family``,
``revoke_authorization``, ``narrow_authorization``, ``revoke_launch``, ``end_access_at``, ``record_jti``, ``purge``, ``facts``;
``live.TokenTable``; ``policy.judge``, ``policy.require_proof``.
Invariants:
- Only the SHA-256 of a token is stored. A token with a wrong MAC never causes a database query.
- A refresh token works once. A second use revokes its family, unless it is the same request within REPEAT_WITHIN, before its tokens are used.
- Validity is decided at every use, never when a token is cached.
"""
