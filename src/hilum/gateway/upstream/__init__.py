"""Upstream: the client to a tenant's FHIR server.

Owns: the connection pool; deadlines; the size limit of an answer; the slots at each tenant's server by traffic class; the server's
access: credentials, tokens, TLS.
Must not know: apps, tokens, scopes; who asked and why.
Public verbs: ``live.Upstreams.send``, ``live.Upstreams.base_of``, ``live.CapabilityCache.of``, ``access.seal_secrets``,
``checks.check``.
Invariants:
- Credentials are sent only to the host for which they were sealed, and returned to nobody.
- Only headers that the gateway sets are sent.
- A slow server occupies slots of its own tenant only.
"""
