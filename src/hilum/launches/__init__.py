"""Launches: the EHR's launch API, and the context in which an app was opened.

Owns: launch contexts (opened, taken, moved, ended), their two single-use secrets, ``open_url``, the EHR's activity counts.
Must not know: authorization requests, scopes granted, the gateway.
Public verbs: ``service.open_launch``, ``use_open_token``, ``take``, ``move``, ``end``, ``availability``, ``get_launch``, ``find_launch``, ``record_activity``,
``list_activity``, ``purge``, ``facts``; ``routes.routes``.
Invariants: a launch never authenticates anyone; its handle is taken once, by the client and person it was opened for, at its tenant, and an
attempt by another ends it; nothing an app sends changes it; only the EHR client that opened it moves or ends it.
"""
