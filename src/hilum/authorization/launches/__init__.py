"""Launches: the EHR's launch API, and the context in which an app was opened.

Owns: launch contexts (opened, taken, moved, ended); their two single-use secrets; ``open_url``; the EHR's activity counts.
Must not know: authorization requests; granted scopes; the gateway.
Public verbs: ``service.open_launch``, ``use_open_token``, ``take``, ``move``, ``end``, ``availability``, ``get_launch``, ``find_launch``,
``record_activity``, ``list_activity``, ``purge``, ``facts``; ``routes.routes``.
Invariants:
- A launch never authenticates anyone.
- Its handle is taken once, at its tenant, by the client and person for whom it was opened. An attempt by anybody else ends it.
- Nothing that an app sends changes it. Only the EHR client that opened it moves or ends it.
"""
