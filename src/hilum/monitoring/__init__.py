"""Monitoring: how well apps work at hospitals, as their counted calls say.

Owns: the view of an app's service, how its calls ended by day and by hospital; alerts, that the calls of the last hour exceed a limit of
the cell of the rule book, with their mail; the record of the last run over all apps.
Must not know: how calls are counted (audit), what a finding is (revalidation), how mail is sent.
Public verbs: jobs.run; service.view_service, list_alerts, view_alert, newest_open, last_run, purge.
Invariants: one alert is open for an app, hospital and kind; what is not known opens none, and is counted as skipped; an alert closes by
itself and stops nothing; a vendor's member sees nothing of the time before the app was the vendor's, and nothing that the app was not
answered itself; a hospital sees its own calls only.
"""
