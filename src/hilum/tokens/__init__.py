"""Tokens: opaque access and refresh tokens, from issue to the last use.

Owns: their format and MAC, their rows, families and rotation, revocation, the shared memory of used ``jti`` values, each worker's
table of positive facts.
Must not know: how a client authenticated, what a scope permits, launches or consent beyond their ids.
Public verbs: ``service.mint``, ``start_family``, ``redeem_refresh``, ``find_access``, ``find_refresh``, ``revoke_presented``,
``revoke_family``, ``revoke_authorization``, ``narrow_authorization``, ``revoke_launch``, ``revoke_person_app``, ``revoke_client``,
``remember_jti``, ``purge``, ``facts``; ``live.TokenTable``; ``policy.judge``, ``policy.require_proof``.
Invariants: only SHA-256 of a token is stored; a MAC that is wrong never reaches the database; a refresh token is used once, and a
second use ends its family; whether a token still counts is judged on every use, never when it is looked up.
"""
