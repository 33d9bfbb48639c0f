"""Token: the authorization server's endpoints that programs call without a browser; one issuer per tenant.

Owns: the token endpoint and its three grants, introspection, revocation, dynamic registration, discovery and the public documents, client
authentication, clients' key sets, the limit on failed attempts. It has no store: codes belong to authorize, tokens to tokens. Its caches
live in the process.
Must not know: people's pages; the gateway; the sandbox; how a code was authorized.
Public verbs: ``service`` (exchange, authenticate), ``introspection``, ``revocation``, ``registration``, one module per endpoint.
Invariants:
- A client authenticates by the one method of its kind.
- Every refusal commits with its record; beyond a limit, refusals are counted instead.
- No token outlives or exceeds its grant, which is checked again for each token.
- Only enforced features are advertised.
"""
