"""Disposals: what an app's vendor is asked to delete after a withdrawal, and what it answered.

Owns: disposal requests, their deadlines, the signed text that an app receives, its answers, and the findings where none came in time.
Must not know: what ends an agreement, an installation or a certification (the rooms that end them ask here), how notices are sent.
Public verbs: ask_of_person, ask_of_hospital, ask_of_app, ask_of_expired, ask_of_lapse, ask_of_former; list_requests, get_request, answer,
open_of_client, answer_as_client; receivers.ask; mark_overdue, escalate, purge.
Invariants: a request exists if and only if what caused it committed, once for each cause; its deadline is that of the rule book on the day of the
withdrawal, and does not move; the patient's id is in the signed text to the app alone, never in a mail, a list or a log; whoever verifies
the text needs only the published keys.
"""
