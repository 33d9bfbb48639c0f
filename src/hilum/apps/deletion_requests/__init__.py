"""Deletion requests: requests to vendors to delete data after a withdrawal or an end, and their answers.

Owns: deletion requests and their answers.
Must not know: what ends an agreement, an installation or a certification (the modules that end them call this one); how notices are sent.
Public verbs: service.ask_of_person, ask_of_hospital, ask_of_app, ask_of_expired, ask_of_former; list_requests, get_request, answer, purge.
Invariants:
- A request, its webhooks and its mail exist if and only if its cause committed, once for each cause.
- The patient's id is shown to who may answer for the vendor alone, never in a mail, a webhook, a list or a log.
"""
