"""Upstream: the client to a tenant's FHIR server.

Owns: the connection pool, deadlines, the bound of an answer, the places at each tenant's server by traffic class, the credentials of the server.
Must not know: apps, tokens, scopes; who asked and why.
Public verbs: ``live.Upstreams.send``, ``live.Upstreams.read_inline``, ``live.Upstreams.base_of``, ``live.Surfaces.of``, ``live.seal_credentials``, ``checks.faults_of``.
Invariants: credentials are sent to the host that they were sealed for only, and returned to nobody; only headers that the gateway sets
are sent; one tenant's slow server takes no place of another tenant's.
"""
