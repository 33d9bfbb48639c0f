"""The EHR simulator: what a hospital's own software does at the platform's door.

Owns: the chart a clinician looks at (read from the hospital's own store, as any EHR reads its own), EHR sessions with their patient
    and person, launches opened, moved and ended over the platform's launch API, the inspector's view of an app's calls, heard on the platform's stream.
Must not know: the platform's rooms; it speaks HTTP with an EHR client's token and a staff API token.
Public: ``records.Records``, ``platform.Platform``, ``sessions.Sessions``, ``feed.Feed``, ``routes.routes``.
Invariants: sessions are few and forgotten; the record is read by one connection, and only while somebody looks; nothing a browser sends names a launch that its session did not open.
"""
