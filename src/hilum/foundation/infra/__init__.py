"""Infra: database, HTTP client, logs and clock, shared by every module.

Owns: settings; the control-plane database, its transactions, lanes and deadlines; rows as values of dataclasses; the reads port; outgoing HTTP and its safe fetcher; logs;
the request context; the system's clock and randomness; the list of nodes, leases, and the schema gate.
Must not know: any domain module; what a tenant, an app or a token is.
Invariants:
- One request is one transaction, opened and committed by the unit of work. On SQLite, concurrent requests may share a commit.
- A decided refusal commits.
- No transaction waits for the network, and every wait for the database has a limit.
- No lane uses another's threads or connections.
- Cached facts are invalidated exactly, so a cached value is never stale.
"""
