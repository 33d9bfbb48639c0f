"""The EHR simulator: what a hospital's own software does with the platform.

Owns: the chart a clinician looks at (read from the hospital's own store, as any EHR reads its own), EHR sessions with their patient
    and person, launches opened, moved and ended over the platform's launch API, the inspector's view of an app's calls, received from
    the platform's stream of decisions.
Must not know: the platform's modules; it speaks HTTP with an EHR client's token and a staff API token.
Public: ``records.Records``, ``platform.Platform``, ``sessions.Sessions``, ``feed.Feed``, ``routes.routes``.
Invariants: sessions are bounded in number and in time; the record is read over one connection, and only while a page is open; a browser can
    name only launches that its session opened.
"""
