"""The foundation: what every other package stands on.

Owns: values without I/O (kernel), the standards (OAuth, SMART, FHIR), infrastructure (database, HTTP, logs, nodes), and what web endpoints
share.
Must not know: any other package.
"""
