"""The gateway: every FHIR request of an app is judged here, and only here.

Owns: the enforcement point (decision, rewriting, filtering, record) and the client to hospitals' FHIR servers.
Must not know: OAuth endpoints, pages, and the database: it judges against one immutable snapshot.
"""
