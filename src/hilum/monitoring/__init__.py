"""Monitoring: how well apps work at hospitals, as their counted calls say.

Owns: the view of an app's service: how its calls ended, by day and by hospital.
Must not know: how calls are counted (audit), what a finding is (revalidation), how mail is sent.
Public verbs: view_service.
Invariants: a vendor's member sees nothing of the time before the app was the vendor's, and nothing that the app was not answered itself;
a hospital sees its own calls only.
"""
