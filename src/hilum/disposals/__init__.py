"""Disposals: requests to vendors to delete data after a withdrawal, and their answers.

Owns: disposal requests, their deadlines, the signed text that an app receives, its answers, and the findings about late answers.
Must not know: what ends an agreement, an installation or a certification (the rooms that end them call this one); how notices are sent.
Public verbs: ask_of_person, ask_of_hospital, ask_of_app, ask_of_expired, ask_of_lapse, ask_of_former; list_requests, get_request, answer,
open_of_client, answer_as_client; receivers.ask; mark_overdue, escalate, purge.
Invariants:
- A request exists if and only if its cause committed, once for each cause.
- Its deadline is the rule book's on the day of the withdrawal, and does not move.
- The patient's id is in the signed text for the app alone, never in a mail, a list or a log.
- The published keys are enough to verify the text.
"""
