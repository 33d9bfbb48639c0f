"""Fhirserver: an embeddable FHIR R4 server over one SQLite file.

Owns: resources of every R4 type, their versions, the search index, validation of what is stored, the CapabilityStatement.
Must not know: tokens, tenants, apps, the platform. To the gateway it is one more upstream, spoken to as ASGI in process
or over HTTP; whoever reaches it may do everything, so it is never exposed by itself.
Public: ``routes.FhirServer`` (an ASGI callable with ``load`` and ``close``), ``models.FhirServerSettings``.
Invariants:
- What is stored is valid R4 structure, and is indexed in the same transaction.
- An unknown or unsupported parameter is refused by name, never ignored.
- No input makes a 500.
- Several processes may open the same file, and a cached answer is the one that would be read now.
"""
