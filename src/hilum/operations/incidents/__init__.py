"""Incidents: harm by an app, from the first signal to the closed record, with an owner, clocks, a playbook and notices.

Owns: incidents and their phases; the playbooks; the reach of an incident (whom it touched), counted from the access index and signed; the
notices to hospitals and vendors and their acknowledgements.
Must not know: how switches stop (controls); how accesses are indexed (audit); how mail is sent (notices).
Public verbs: service.open_incident, assign, rate, note, contain, settle, hold, measure, notify, advance, close, view, list_incidents,
related; notices.acknowledge, view_notice, list_notices; jobs.run.
Invariants:
- A phase is left only if each of its steps is done, or was skipped with a reason. What the platform can check itself, nobody can state.
- Containing uses the rights and the audit of kill switches, and releases nothing.
- A hospital sees the notices to itself only, and a vendor those to itself.
- One hospital gets one notice of each number, however often the job runs.
"""
