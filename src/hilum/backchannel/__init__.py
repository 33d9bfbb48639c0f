"""Backchannel: what programs ask of the authorization server without a browser between; one issuer a tenant.

Owns: the token endpoint and its three grants, introspection, revocation, dynamic registration's door, discovery and the public
documents, how clients authenticate, their key sets, and what slows those who fail. It has no store: codes are frontchannel's,
tokens are the tokens room's; what it remembers lives in the process.
Must not know: people's pages, the gateway, the sandbox, how a code was agreed to.
Public verbs: ``service`` (exchange, authenticate), ``introspection``, ``revocation``, ``registration``, each one endpoint's.
Invariants: a client authenticates by the one method of its kind; every refusal is committed with its record, beyond a bound as a
count; no token outlives or exceeds what it rests on, which is read anew for each; nothing is advertised that no code enforces.
"""
