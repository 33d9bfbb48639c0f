"""Monitoring: how well apps work at hospitals, from the counts of their calls.

Owns: the service of an app: how its calls ended, by day and hospital; alerts when the last hour exceeds a limit of the policy's entry,
and their mail; the record of the last run over all apps.
Must not know: how calls are counted (audit); what a finding is (revalidation); how mail is sent.
Public verbs: jobs.run; service.view_service, list_alerts, view_alert, newest_open, last_run, purge.
Invariants:
- One alert is open for an app, hospital and kind. It closes by itself and stops nothing.
- Missing figures open no alert, and are counted as skipped.
- A vendor's member sees nothing from before the app was the vendor's, and only what the app itself was answered.
- A hospital sees its own calls only.
"""
