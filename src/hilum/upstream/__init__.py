"""Upstream: the client to a tenant's FHIR server.

Owns: the connection pool, deadlines, the bound of an answer, the bulkhead of each tenant, the credentials of the server.
Must not know: apps, tokens, scopes; who asked and why.
Public verbs: ``live.Upstreams.send``, ``live.Upstreams.peek``, ``live.Upstreams.base_of``, ``live.Surfaces.of``, ``live.seal_credentials``.
Invariants: credentials go to the host they were sealed for and come back to nobody; nothing of a client's own headers passes but
what the gateway names; one tenant's slow server takes no place of another's.
"""
