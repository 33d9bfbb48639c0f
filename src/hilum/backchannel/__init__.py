"""Backchannel: the authorization server's endpoints that programs call without a browser; one issuer per tenant.

Owns: the token endpoint and its three grants, introspection, revocation, the dynamic registration endpoint, discovery and the
public documents, client authentication, clients' key sets, and the limit on failed attempts. It has no store: codes are
frontchannel's, tokens are the tokens room's; its caches live in the process.
Must not know: people's pages, the gateway, the sandbox, how a code was authorized.
Public verbs: ``service`` (exchange, authenticate), ``introspection``, ``revocation``, ``registration``, one module per endpoint.
Invariants: a client authenticates by the one method of its kind; every refusal is committed with its record, beyond a bound as a
count; no token outlives or exceeds the grant, which is checked again for each token; only enforced features are advertised.
"""
