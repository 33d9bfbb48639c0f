"""Infra: database, HTTP client, logs and clock, shared by every room.

Owns: settings, the control-plane database, its transactions, lanes and deadlines, the reads port, outgoing HTTP and its safe fetcher,
logs, the request context, the system's clock and randomness; the list of nodes, leases, and the gate between release and schema.
Must not know: any domain room; what a tenant, an app or a token is.
Invariants: one request is one transaction, opened and committed by the unit of work (on SQLite, concurrent requests may share a commit); a
decided refusal commits; no transaction waits for the network; no lane uses another's threads or connections; every wait for
the database is bounded; cached facts are invalidated exactly, so a cached value is never stale.
"""
