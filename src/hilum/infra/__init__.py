"""Infra: the ground that rooms stand on and do not think about.

Owns: settings, the control-plane database, its transactions, lanes and deadlines, the reads port, outgoing HTTP and its safe fetcher,
logs, the request context, the system's clock and randomness; the list of nodes, leases, and the gate between release and schema.
Must not know: any domain room; what a tenant, an app or a token is.
Invariants: one request is one transaction, opened and committed at the edge, though several of one moment may share a commit; a decided
refusal commits; nothing waits on the network inside a transaction; no lane takes another's threads or
connections, and every wait for the database has an end; what is remembered of a part is as good as a read.
"""
