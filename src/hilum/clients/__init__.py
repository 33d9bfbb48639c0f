"""Clients: what may be registered as one, by whichever door.

Owns: the kinds of client, their deployments and environments, the metadata somebody asks to register, and its one judgement.
Must not know: which clients there are, whose they are, what is certified or installed; storage.
Public: the types in ``models``; ``policy.normalized``, ``policy.validate_client_metadata``, ``policy.from_registration``.
Invariants: every door judges by the same rules and answers with the same field codes (C1); delegated and backend access never
share a client (C16); what cannot keep a secret is given none (C15). Pure throughout.
"""
