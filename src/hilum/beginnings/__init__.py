"""Beginnings: how hard it is for a vendor to begin: from sign-up to the first token in a sandbox and the first FHIR answer (K11).

Owns: for each vendor that signed up within a year, how far it came and its refused attempts; how far the job has followed them; the figure.
Must not know: what a vendor submits; what is certified, and whether that holds; pages.
Public verbs: service.follow_signups, follow_vendors, follow_refusals, view_figure; policy.friction_figure; jobs.follow.
Invariants:
- A moment is taken from the record that shows it, whenever the job finds it.
- A refused attempt is counted once, however often the job runs.
- A vendor that has read data is no longer followed.
"""
